"""Measurements: how good pictures are, what ids encode, and what painting costs.

Reading order: ocr, find, scores, evaluate, probe, cost.
"""
