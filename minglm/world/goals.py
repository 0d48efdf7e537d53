"""What an edit leads to, told as a poster is: the caption of the target.

    goal(edit(0, 21))  ->  A green poster with a bat on the right and the black words at the bottom.

The planner knows captions from drawing. A text that the instruction does not quote is mentioned without its
words, which nobody has told it: they stand in the pictures.
"""

from __future__ import annotations

from minglm.world.explicit import explicit
from minglm.world.scenes import Edit

ORDINALS_EN, ORDINALS_ZH = ("first", "second", "third", "fourth"), "一二三四"
STYLES_EN = {"outline": ", drawn in outlines", "pixel art": ", drawn in pixel art",
             "inverted": ", in inverted colours"}
STYLES_ZH = {"outline": "，画成线稿", "pixel art": "，画成像素画", "inverted": "，颜色反转"}


def goal(edit: Edit) -> str:
    """The explicit caption of an edit's target, in the language of the edit."""
    target, said = edit.target, edit.said
    instead = words(target.language, edit.roles.index("text") if "text" in edit.roles else None)
    caption = explicit(target, {region.text: instead for region in target.regions if region not in said})
    style = (STYLES_EN if target.language == "en" else STYLES_ZH).get(target.style, "")
    return caption[:-1] + style + caption[-1]


def words(language: str, picture: int | None) -> str:
    """What is said in place of a text: that it is one, and in which of several pictures it stands."""
    if language == "en":
        return "words" if picture is None else f"words of the {ORDINALS_EN[picture]} picture"
    return "字" if picture is None else f"第{ORDINALS_ZH[picture]}张图的字"
