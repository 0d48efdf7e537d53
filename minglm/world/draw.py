"""Drawing a poster: `draw(seed, index)` is a deterministic function to a poster with its caption.

What evaluation uses is never drawn for training: held-out words, one in ten random strings, (object,
background) pairs and (object, place) pairs, and one caption pattern per language.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from functools import cache

from minglm.world.captions_en import english
from minglm.world.captions_zh import chinese
from minglm.world.layout import CELL, HAN_PITCH, LATIN_PITCH, fits, slot_box
from minglm.world.posters import (
    COLOURS,
    LATIN,
    PLACES,
    Poster,
    Region,
    backgrounds,
    han_characters,
    text_colours,
    things,
    words,
)

SPLITS = ("train", "seen", "unseen", "random")


def held_out(*parts: str) -> bool:
    """Whether this string, or pair, is held out for evaluation: a tenth of all, by checksum."""
    return zlib.crc32("/".join(parts).encode()) % 10 == 0


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
    """All (place, slots) with `count` words; without `sides`, none beside the object."""
    return tuple((place, slots) for place, sets in ARRANGEMENTS.items() for slots in sets
                 if len(slots) == count and (sides or not {"left", "right"} & set(slots)))


@cache
def fitting(name: str, room: int, shrink: bool) -> tuple[str, ...]:
    """The words of a list that fit `room` pixels, at full size or, with `shrink`, smaller."""
    step = HAN_PITCH if name.startswith("zh") else LATIN_PITCH
    return tuple(w for w in words(name) if (fits(w, room) if shrink else len(w) * step <= room))


def random_string(rng: random.Random, language: str, room: int, evaluation: bool) -> str:
    """A string of random characters; the tenth selected by `held_out` is for evaluation only."""
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
        else:  # two words, or a word followed by a punctuation mark
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
    """Poster number `index` of stream `seed`; the same arguments always give the same poster.

    height, width: pixels, multiples of 32. split: "train", or what evaluation draws its words from ("seen",
    "unseen", "random"). language: "en" or "zh"; count: 0 to 3 words; both random if None. Raises ValueError
    for an invalid size or split.
    """
    if height % CELL or width % CELL or min(height, width) < 3 * CELL:
        raise ValueError(f"size {height}x{width}: both sides must be multiples of {CELL}, "
                         f"at least {3 * CELL}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    rng = random.Random(f"{seed}/{index}")
    language = language or rng.choice(("en", "zh"))
    sides = width >= 4 * CELL                            # room for a slot beside the object
    count = rng.choices((0, 1, 2, 3), (3, 44, 34, 19))[0] if count is None else count
    if not sides:
        count = min(count, 2)
    place, slots = rng.choice(arrangements(count, sides))
    training = split == "train"
    while True:  # until nothing held out is paired
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
    poster.caption = caption(rng, poster, training)
    return poster


def caption(rng: random.Random, poster: Poster, training: bool) -> str:
    """One way of asking for `poster`: patterns 1 and up in training, pattern 0 otherwise."""
    write, patterns = (english, 7) if poster.language == "en" else (chinese, 5)
    return write(rng, poster, rng.randint(1, patterns) if training else 0, training)


def corpus(captions: int = 20_000, weight: int = 5_000) -> Iterator[str]:
    """The BPE's training texts: captions, and `weight` times each the Chinese words they are composed of.

    The words stand in for the natural text of which a real vocabulary is learned. In captions alone the most
    frequent pairs are not words: 色 and 海 in 蓝色海报, "blue poster".
    """
    yield from (draw(0, i).caption for i in range(captions))
    names = [*(zh for zh, _ in things().values()), *(zh for _, zh in COLOURS.values()), *PLACES.values(),
             "海报", "背景", "文字"]
    yield from (name for name in names for _ in range(weight))
