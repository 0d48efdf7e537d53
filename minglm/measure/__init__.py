"""Measurements: how good pictures are, what ids encode, and what painting costs.

Reading order: ocr, scores, ssim, edit_scores, rewards, evaluate, evaluate_edits, probe, patches, cost.
"""
