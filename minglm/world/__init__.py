"""The training data: posters, the captions that ask for them, edits, and what is held out for evaluation.

Reading order: characters, colours, objects, layout, posters, texts, quotes, explicit, phrases_en,
captions_en, captions_zh, draw, masks, lettering; then how prompts are understood: chinese, shades, names,
mentions, likened, declined, corrected, untold, setting, asked, whose_colour, together, whose_place,
counted_apart, counting, reading, enhancer; prompts; and a person's own pictures: folder.

Of pictures that are edited: looks, styles, scenes, carried, translations, changes, combine; what people say
to have it done: wording, edit_phrases_en, naming_en, instructions_en, edit_phrases_zh, naming_zh,
instructions_zh, goals, edit_told; edits, edit_prompts; then how a picture and what is asked of it are
understood: find, seen, edit_cues, edit_asked, edit_texts, edit_things, edit_reading, edit_joining,
edit_enhancer.
"""
