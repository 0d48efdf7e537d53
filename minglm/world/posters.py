"""The poster world: `draw(seed, index)` gives a picture, its caption and where its words stand.

A poster has a flat background, one object and one to three words, rarely none; layout.py says
where they stand.

What evaluation uses is never drawn for training: held-out words, one random string in ten, one
(object, background) pair and one (object, place) pair in ten, and one caption pattern per language.
"""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from PIL import Image

from minglm.layout import (CELL, DATA, HAN_PITCH, LATIN_PITCH, Letter, fits, glyph, is_han, object_box, set_text,
                           slot_box)

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
LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !?"
SPLITS = ("train", "seen", "unseen", "random")


@dataclass(frozen=True)
class Region:
    """One word: its slot, the text as written in the caption, and its colour name."""

    slot: str
    text: str
    colour: str


@dataclass
class Poster:
    """What a poster shows, its caption, and (drawn on first use) its picture."""

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
    """Object name -> (Chinese name, place in the sprite sheet)."""
    rows = json.loads((DATA / "names.json").read_text(encoding="utf-8"))
    return {row["en"]: (row["zh"], i) for i, row in enumerate(rows)}


@cache
def sheet() -> Image.Image:
    """All objects, 64 pixels square each, twelve in a row."""
    with Image.open(DATA / "sprites.png") as image:
        return image.convert("RGBA")


@cache
def sprite(thing: str, side: int) -> Image.Image:
    """An object's picture, RGBA, `side` pixels square."""
    i = things()[thing][1]
    x, y = 64 * (i % 12), 64 * (i // 12)
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


def held_out(*parts: str) -> bool:
    """Whether this string, or pair, belongs to evaluation: a tenth of all, by checksum."""
    return zlib.crc32("/".join(parts).encode()) % 10 == 0


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
    """The backgrounds on which an object stands out: its mean colour is far enough away."""
    pixels = np.asarray(sprite(thing, 60), dtype=np.float32).reshape(-1, 4)
    mean = (pixels[:, :3] * pixels[:, 3:]).sum(0) / pixels[:, 3].sum()
    return tuple(c for c, (rgb, _) in COLOURS.items() if np.linalg.norm(mean - rgb) > 70)


# ---------------------------------------------------------------- choosing

ARRANGEMENTS = {  # object place -> the sets of slots that leave it free
    "centre": [(), ("top",), ("bottom",), ("top", "bottom")],
    "left": [(), ("top",), ("bottom",), ("right",), ("top", "right"), ("right", "bottom"),
             ("top", "bottom"), ("top", "right", "bottom")],
    "right": [(), ("top",), ("bottom",), ("left",), ("top", "left"), ("left", "bottom"),
              ("top", "bottom"), ("top", "left", "bottom")],
    "top": [(), ("bottom",)],
    "bottom": [(), ("top",)],
}


@cache
def arrangements(count: int, sides: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """All (place, slots) with `count` words; without `sides`, none stands beside the object."""
    return tuple((place, slots) for place, sets in ARRANGEMENTS.items() for slots in sets
                 if len(slots) == count and (sides or not {"left", "right"} & set(slots)))


@cache
def fitting(name: str, room: int, shrink: bool) -> tuple[str, ...]:
    """The words of a list that fit `room` pixels, at full size or (`shrink`) smaller."""
    step = HAN_PITCH if name.startswith("zh") else LATIN_PITCH
    return tuple(w for w in words(name) if (fits(w, room) if shrink else len(w) * step <= room))


def random_string(rng: random.Random, language: str, room: int, evaluation: bool) -> str:
    """A string of random characters; the tenth that `held_out` names is for evaluation only."""
    step = HAN_PITCH if language == "zh" else LATIN_PITCH
    low, high = ((2, 3) if language == "zh" else (3, 6)) if evaluation else (
        (1, 4) if language == "zh" else (2, 8))
    high = min(high, room // step)
    while True:
        length = rng.randint(min(low, high), high)
        if language == "zh":
            text = "".join(rng.choices(han_characters(), k=length))
        elif evaluation or rng.random() < 0.8:
            text = "".join(rng.choices(LATIN[:26], k=length))
        elif rng.random() < 0.5:
            text = "".join(rng.choices(LATIN[:36], k=length))
        else:  # two words, or a word with a mark behind it
            text = rng.choice(fitting("en_seen", room, False))
            text += rng.choice(["!", "?", " " + rng.choice(fitting("en_seen", 64, False))])
            if len(text) * step > room:
                continue
        if held_out(text) == evaluation and text not in words(f"{language}_unseen"):
            return text


def choose_text(rng: random.Random, language: str, room: int, split: str) -> str:
    """A word for a slot `room` pixels wide."""
    if split == "random" or (split == "train" and rng.random() < 0.35):
        return random_string(rng, language, room, split == "random")
    name = f"{language}_{'unseen' if split == 'unseen' else 'seen'}"
    return rng.choice(fitting(name, room, split == "train" and rng.random() < 0.1))


def draw(seed: int, index: int, height: int = 128, width: int = 128, split: str = "train",
         language: str | None = None, count: int | None = None) -> Poster:
    """Poster number `index` of stream `seed`; the same arguments give the same poster for ever.

    height, width: pixels, multiples of 32. split: "train", or what evaluation draws its words
    from ("seen", "unseen", "random"). language: "en" or "zh"; count: 1 to 3 words; both drawn
    at random if None. Raises ValueError for a size or split that does not exist.
    """
    if height % CELL or width % CELL or min(height, width) < 3 * CELL:
        raise ValueError(f"size {height}x{width}: both sides must be multiples of {CELL}, "
                         f"at least {3 * CELL}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    rng = random.Random(f"{seed}/{index}")
    language = language or rng.choice(("en", "zh"))
    sides = width >= 4 * CELL
    count = rng.choices((0, 1, 2, 3), (3, 44, 34, 19))[0] if count is None else count
    if not sides:
        count = min(count, 2)
    place, slots = rng.choice(arrangements(count, sides))
    training = split == "train"
    while True:
        thing = rng.choice(tuple(things()))
        background = rng.choice(backgrounds(thing))
        if not training or not (held_out(thing, background) or held_out(thing, place)):
            break
        place, slots = rng.choice(arrangements(count, sides))
    regions = []
    for slot in slots:
        x0, _, x1, _ = slot_box(slot, height, width)
        other = training and rng.random() < 0.12  # English captions may quote Chinese and vice versa
        spoken = {"en": "zh", "zh": "en"}[language] if other else language
        text = choose_text(rng, spoken, x1 - x0, split)
        regions.append(Region(slot, text, rng.choice(text_colours(background))))
    poster = Poster(background, thing, place, tuple(regions), height, width, language=language)
    from minglm.captions import caption
    poster.caption = caption(rng, poster, training)
    return poster
