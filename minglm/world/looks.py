"""Looks: one object drawn in a way of its own, so that a picture must be looked at to draw it again.

A cat is always the same picture on posters, and its name is enough to paint it. For an edit that must keep
who is shown ("this cat, but on blue"), the cat is given a look: other hues, mirrored, turned, drawn on. Some
looks are held out for evaluation, so that copying a look is tested and not remembering it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageOps

from minglm.world.colours import COLOURS
from minglm.world.objects import sprite, stands_out

MARKS = ("spots", "stripes", "belt", "ring", "cross")
INKS = ("red", "yellow", "blue", "white", "black", "green")
# for evaluation: complementary hues, oblique turns, crossed out
HELD_OUT_HUES, HELD_OUT_TURNS, HELD_OUT_MARK = range(150, 211), range(40, 61), "cross"
VISIBLE = 12                                 # the least mean difference from the usual look, of 255


@dataclass(frozen=True)
class Look:
    """How an object differs from its usual picture. hue, turn: degrees (counter-clockwise); mark: what is
    drawn on it, in the colour `ink`."""

    hue: int = 0
    flip: bool = False
    turn: int = 0
    mark: str = ""
    ink: str = "white"


PLAIN = Look()


def held_out_look(look: Look) -> bool:
    """Whether a look is for evaluation only."""
    return (look.hue in HELD_OUT_HUES or abs(look.turn) in HELD_OUT_TURNS or look.mark == HELD_OUT_MARK)


def choose_look(rng: random.Random, name: str, held_out: bool = False) -> Look:
    """A look that is seen to differ from the usual: any that training may show, or one that it never does."""
    while True:
        look = Look(
            rng.randrange(30, 331) if rng.random() < 0.6 else 0,
            rng.random() < 0.4,
            rng.randint(-90, 90) if rng.random() < 0.3 else 0,
            rng.choice(MARKS) if rng.random() < 0.5 else "",
            rng.choice(INKS),
        )
        if held_out_look(look) == held_out and difference(name, look) > VISIBLE:
            return look


@lru_cache(maxsize=512)
def shown(name: str, side: int, look: Look) -> Image.Image:
    """An object's picture in a look, RGBA, `side` pixels square."""
    picture = sprite(name, side).copy()      # the other is shared
    if look.flip:
        picture = ImageOps.mirror(picture)
    alpha = picture.getchannel("A")
    if look.hue:
        h, s, v = picture.convert("RGB").convert("HSV").split()
        h = h.point([(value + round(look.hue * 256 / 360)) % 256 for value in range(256)])
        picture = Image.merge("HSV", (h, s, v)).convert("RGB")
        picture.putalpha(alpha)
    if look.mark:
        drawn = ImageChops.multiply(stencil(look.mark, side), alpha)             # only on the object
        picture.paste(COLOURS[look.ink][0] + (255,), (0, 0), drawn)
    return turned(picture, look.turn) if look.turn else picture


def turned(picture: Image.Image, degrees: int) -> Image.Image:
    """A square RGBA picture turned, and made smaller where its corners would leave the square."""
    side = picture.width
    whole = picture.convert("RGBa").rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    box = whole.getbbox() or (0, 0, side, side)
    whole = whole.crop(box)
    scale = min(1.0, side / max(whole.size))
    if scale < 1:
        size = tuple(max(1, min(side, round(scale * n))) for n in whole.size)
        whole = whole.resize(size, Image.Resampling.LANCZOS)
    out = Image.new("RGBa", (side, side))
    out.paste(whole, ((side - whole.width) // 2, (side - whole.height) // 2))
    return out.convert("RGBA")


def stencil(mark: str, side: int) -> Image.Image:
    """Where a mark is drawn, L, `side` pixels square."""
    big = 4 * side                           # drawn large, then made small, for smooth edges
    image = Image.new("L", (big, big))
    pen, part = ImageDraw.Draw(image), big // 16
    if mark == "spots":
        for x, y in ((5, 4), (11, 5), (8, 9), (4, 11), (12, 12)):
            pen.ellipse(((x - 1) * part, (y - 1) * part, (x + 1) * part, (y + 1) * part), fill=255)
    elif mark == "stripes":
        for x in range(-16, 16, 4):
            pen.line((x * part, big, (x + 16) * part, 0), fill=255, width=part)
    elif mark == "belt":
        pen.rectangle((0, 8 * part, big, 10 * part), fill=255)
    elif mark == "ring":
        pen.ellipse((4 * part, 4 * part, 12 * part, 12 * part), outline=255, width=part)
    elif mark == "cross":
        pen.line((2 * part, 2 * part, 14 * part, 14 * part), fill=255, width=part)
        pen.line((2 * part, 14 * part, 14 * part, 2 * part), fill=255, width=part)
    return image.resize((side, side), Image.Resampling.BOX)


@lru_cache(maxsize=4096)
def difference(name: str, look: Look, other: Look = PLAIN) -> float:
    """By how much an object in two looks differs: mean over what either covers, 0..255."""
    one, two = (np.asarray(shown(name, 60, each), dtype=np.float32) for each in (look, other))
    covered = np.maximum(one[..., 3], two[..., 3]) > 127
    # on gray, so that where only one of them is counts as well
    on_gray = [p[..., :3] * p[..., 3:] / 255 + 128 * (1 - p[..., 3:] / 255) for p in (one, two)]
    return float(np.abs(on_gray[0] - on_gray[1])[covered].mean())


@lru_cache(maxsize=4096)
def grounds(name: str, look: Look) -> tuple[str, ...]:
    """The backgrounds on which an object stands out in a look."""
    return stands_out(shown(name, 60, look))
