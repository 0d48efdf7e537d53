"""How good a picture is, and what it costs.

Reading order: ocr, scores, evaluate, probe, cost.
"""
