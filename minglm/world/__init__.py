"""The training data: posters, the captions that ask for them, and what is held out for evaluation.

Reading order: characters, colours, objects, layout, posters, texts, quotes, explicit, phrases_en,
captions_en, captions_zh, draw, masks, lettering; then how prompts are understood: chinese, names, mentions,
untold, setting, asked, whose_colour, whose_place, counting, reading, enhancer; prompts.
"""
