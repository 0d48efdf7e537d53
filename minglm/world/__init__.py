"""What there is to learn from: posters, the captions that ask for them, and what is held out.

Reading order: layout, posters, quotes, captions_en, captions_zh, draw, lettering, prompts.
"""
