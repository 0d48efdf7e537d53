"""What a poster is: colours, objects, words, and its picture.

A poster has a flat background, one object and one to three words, rarely none; layout.py says where they go,
draw.py chooses what they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from PIL import Image

from minglm.files import DATA
from minglm.world.layout import Letter, fits, glyph, is_han, object_box, set_text, slot_box

COLOURS = {  # name: (RGB, Chinese name)
    "red": ((220, 38, 38), "红色"), "orange": ((245, 130, 32), "橙色"),
    "yellow": ((250, 215, 60), "黄色"), "green": ((30, 140, 60), "绿色"),
    "blue": ((35, 80, 200), "蓝色"), "purple": ((125, 50, 165), "紫色"),
    "pink": ((250, 165, 200), "粉色"), "brown": ((115, 70, 35), "棕色"),
    "black": ((20, 20, 20), "黑色"), "white": ((250, 250, 250), "白色"),
    "gray": ((140, 140, 140), "灰色"), "cyan": ((60, 200, 215), "青色"),
}
PLACES = {"left": "左边", "right": "右边", "centre": "中间", "top": "顶部", "bottom": "底部"}
SLOTS = ("top", "left", "right", "bottom")  # reading order, also the order of words in a caption
MOST_TEXTS = 3                               # of one poster
LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !?"
NATURAL = {  # objects that people tend to name with their colour: "a red apple"
    "apple": "red", "banana": "yellow", "lemon": "yellow", "frog": "green", "pig": "pink",
    "fox": "orange", "strawberry": "red", "cherry": "red", "tomato": "red", "carrot": "orange",
    "grape": "purple", "eggplant": "purple", "tree": "green", "rose": "red", "car": "red",
    "heart": "red", "balloon": "red", "water": "blue", "sun": "yellow", "star": "yellow",
    "moon": "yellow", "whale": "blue", "bus": "yellow", "cactus": "green", "ladybug": "red",
}


@dataclass(frozen=True)
class Region:
    """One word: its slot, the text as written in the caption, and its colour name."""

    slot: str
    text: str
    colour: str


@dataclass
class Poster:
    """What a poster shows, its caption, and its picture, rendered on first use."""

    background: str
    thing: str                               # English name of the object
    place: str
    regions: tuple[Region, ...]
    height: int = 128
    width: int = 128
    caption: str = ""
    language: str = "en"

    @cached_property
    def image(self) -> Image.Image:
        """The picture, RGB, (height, width)."""
        background = COLOURS[self.background][0]
        # background, then the object with a margin of two pixels, then each letter's mask in its colour
        image = Image.new("RGB", (self.width, self.height), background)
        x0, y0, x1, y1 = object_box(self.place, self.height, self.width)
        picture = sprite(self.thing, x1 - x0 - 4)
        image.paste(picture, (x0 + 2, y0 + 2), picture)
        for region in self.regions:
            colour = COLOURS[region.colour][0]
            for letter in self.letters(region):
                mask, dx, dy = glyph(letter.character, letter.width, is_han(region.text))
                image.paste(colour, (round(letter.x + dx), round(letter.y + dy)), mask)
        return image

    def letters(self, region: Region) -> list[Letter]:
        """The characters of a region with their cells, left to right."""
        return set_text(region.text, slot_box(region.slot, self.height, self.width))


# ---------------------------------------------------------------- what there is to draw


@cache
def things() -> dict[str, tuple[str, int]]:
    """Object name -> (Chinese name, index in the sprite sheet)."""
    rows = json.loads((DATA / "names.json").read_text(encoding="utf-8"))
    return {row["en"]: (row["zh"], i) for i, row in enumerate(rows)}


@cache
def sheet() -> Image.Image:
    """All objects, 64 pixels square each, twelve to a row."""
    with Image.open(DATA / "sprites.png") as image:
        return image.convert("RGBA")


@cache
def sprite(thing: str, side: int) -> Image.Image:
    """An object's picture, RGBA, `side` pixels square."""
    i = things()[thing][1]
    x, y = 64 * (i % 12), 64 * (i // 12)
    # resized with premultiplied alpha ("RGBa"), or transparent pixels would bleed into the edges
    return sheet().crop((x, y, x + 64, y + 64)).convert("RGBa").resize(
        (side, side), Image.Resampling.LANCZOS).convert("RGBA")


@cache
def words(name: str) -> tuple[str, ...]:
    """A word list of data/words: en_seen, en_unseen, zh_seen, zh_unseen."""
    return tuple((DATA / "words" / f"{name}.txt").read_text(encoding="utf-8").split())


@cache
def han_characters() -> str:
    """The Chinese characters the models are trained to write."""
    return (DATA / "words" / "zh_chars.txt").read_text(encoding="utf-8").strip()


def unknown_characters(text: str) -> list[str]:
    """The characters of `text` that cannot be drawn, in order, each once."""
    return list(dict.fromkeys(c for c in text.upper() if c not in LATIN and
                              c not in han_characters()))


def luminance(rgb: tuple[int, int, int]) -> float:
    """WCAG relative luminance."""
    linear = [c / 3294.6 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@cache
def text_colours(background: str) -> tuple[str, ...]:
    """The colours readable on a background: WCAG contrast of at least 3."""
    base = luminance(COLOURS[background][0]) + 0.05
    ratios = {c: (luminance(rgb) + 0.05) / base for c, (rgb, _) in COLOURS.items()}
    return tuple(c for c, r in ratios.items() if max(r, 1 / r) >= 3)


@cache
def backgrounds(thing: str) -> tuple[str, ...]:
    """The backgrounds on which an object stands out: over 70 in RGB distance from its mean colour."""
    pixels = np.asarray(sprite(thing, 60), dtype=np.float32).reshape(-1, 4)
    mean = (pixels[:, :3] * pixels[:, 3:]).sum(0) / pixels[:, 3].sum()
    return tuple(c for c, (rgb, _) in COLOURS.items() if np.linalg.norm(mean - rgb) > 70)


def validate_texts(texts: list[str], width: int) -> list[str]:
    """The texts as written on a poster `width` pixels wide. Raises ValueError if one cannot be written."""
    for text in texts:
        if strange := unknown_characters(text):
            raise ValueError(f"cannot write {' '.join(strange)} in {text!r}: known are A-Z, 0-9, space, ! ? "
                             f"and the {len(han_characters())} Chinese characters of data/words/zh_chars.txt")
        if not fits(text, width):
            letter = next(filter(is_han, text), text[0])         # one Chinese character sets the pitch of all
            longest = max(n for n in range(1, len(text)) if fits(letter * n, width))
            raise ValueError(f"{text!r} is too long for {width} pixels: {len(text)} characters, "
                             f"at most {longest} fit")
    if len(texts) > MOST_TEXTS:
        raise ValueError(f"{len(texts)} quoted texts: a poster has room for {MOST_TEXTS}")
    return [text.upper() for text in texts]
