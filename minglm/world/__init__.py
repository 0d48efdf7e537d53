"""The training data: posters, the captions that ask for them, and what is held out for evaluation.

Reading order: layout, posters, quotes, captions_en, captions_zh, draw, lettering, prompts.
"""
