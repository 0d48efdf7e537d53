"""Scores of a picture: its text as read by OCR, its colours, object and place.

Shapes: H, W height and width of a picture.

Text is scored by two published formulas. CVTG-2K: a word is correct if it is among the words read (word
accuracy), and its best match scores 1 - edit distance / length (NED). LongText-Bench: the fraction of the
characters (Chinese) or words (English) that were read, as multisets (recall). Pictures are flat and the
sprites known, so colours and objects are checked by comparing pixels, without a model.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache

import numpy as np
from PIL import Image

from minglm.images import rgb
from minglm.measure.ocr import Found
from minglm.world.layout import is_han, object_box, slot_box
from minglm.world.posters import COLOURS, PLACES, Poster, sprite, things

SURE = 0.9                                   # OCR confidence from which an unrequested text counts as extra
# Characters that look the same in a font cannot be told apart. Latin without case: a capital I looks like l.
LATIN_TWINS = str.maketrans({"0": "o", "i": "l", "1": "l", "|": "l"})
HAN_TWINS = str.maketrans({"カ": "力", "ロ": "口", "ニ": "二", "エ": "工", "ハ": "八", "タ": "夕",
                           "曰": "日", "黒": "黑"})


# ---------------------------------------------------------------- scores of text


def canon(text: str, latin: bool) -> str:
    """Letters, digits and Han only, without case, with look-alikes of the target's script merged."""
    text = unicodedata.normalize("NFKC", text).casefold().translate(LATIN_TWINS if latin else HAN_TWINS)
    return "".join(c for c in text if c.isalnum())


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance: the insertions, deletions and substitutions that turn `a` into `b`."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def similarity(target: str, text: str) -> float:
    """1 - edit distance / length of the longer, after `canon`; 1 if both are then equal."""
    latin = target.isascii()
    a, b = canon(target, latin), canon(text, latin)
    longer = max(len(a), len(b))
    return 1 - edit_distance(a, b) / longer if longer else 0.0


def score_text(targets: list[str], found: list[Found]) -> dict:
    """CVTG-2K's and LongText-Bench's counts for one picture.

    targets: the quoted texts. Returns lists over their words (`right`, 0 or 1, and `ned`), the recall counts
    (`kept` of `asked`), and `extra`: whether a line read with confidence resembles no target.
    """
    lines = [f.text for f in found]
    # a word may be read as a line of its own or within one
    read = lines + [word for line in lines for word in line.split()]
    words = [word for target in targets for word in target.split()]
    best = [max((similarity(word, text) for text in read), default=0.0) for word in words]

    def bag(texts: list[str]) -> Counter:
        """Words of Latin text, characters of Chinese text."""
        parts = [part for text in texts for part in text.split()]
        return Counter(unit for part in parts
                       for unit in (list(canon(part, False)) if is_han(part) else [canon(part, True)]))

    asked, got = bag(targets), bag(lines)
    kept = sum((asked & got).values())
    extra = any(f.score >= SURE and max((similarity(t, f.text) for t in targets), default=0.0) < 0.5
                and not any(similarity(w, f.text) >= 0.5 for w in words) for f in found)
    return dict(right=[float(b == 1) for b in best], ned=best, kept=kept, asked=sum(asked.values()),
                extra=extra)


# ---------------------------------------------------------------- checks of the picture


def nearest_colour(rgb: np.ndarray) -> str:
    """The name of the colour nearest to `rgb` (3,)."""
    return min(COLOURS, key=lambda name: float(np.square(rgb - COLOURS[name][0]).sum()))


@cache
def sprite_bank(side: int) -> np.ndarray:
    """All objects as RGBA with premultiplied alpha, in the order of names.json: (120, side, side, 4)."""
    bank = np.stack([np.asarray(sprite(thing, side), dtype=np.float32) for thing in things()])
    bank[..., :3] *= bank[..., 3:] / 255
    return bank / 255


def find_object(pixels: np.ndarray, background: np.ndarray, free: np.ndarray) -> tuple[str, str]:
    """The (object, place) that fits the poster best.

    pixels (H, W, 3) and background (3,) in 0..1; free (H, W), False where text may be. Each candidate is the
    flat background with one object on it; its squared error is summed over all free pixels.
    """
    height, width = pixels.shape[:2]
    flat = np.square(pixels - background).sum(-1) * free
    errors = {}
    for place in PLACES:
        x0, y0, x1, y1 = object_box(place, height, width)
        x0, y0, x1, y1 = x0 + 2, y0 + 2, x1 - 2, y1 - 2
        bank = sprite_bank(x1 - x0)
        drawn = bank[..., :3] + (1 - bank[..., 3:]) * background                  # (120, side, side, 3)
        error = np.square(pixels[y0:y1, x0:x1] - drawn).sum(-1) * free[y0:y1, x0:x1]
        error = flat.sum() - flat[y0:y1, x0:x1].sum() + error.sum((1, 2))         # outside and inside the box
        errors |= {(thing, place): e for thing, e in zip(things(), error)}
    return min(errors, key=errors.get)


def check_picture(image: Image.Image, poster: Poster) -> dict:
    """What is right in a poster's picture, apart from spelling: background, object, place, text colours."""
    # the background colour: the median of a border of three pixels
    pixels = np.asarray(rgb(image), dtype=np.float32)
    ring = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3),
                           pixels[:, :3].reshape(-1, 3), pixels[:, -3:].reshape(-1, 3)])
    background = np.median(ring, 0)
    free, colours = np.ones(pixels.shape[:2], dtype=bool), []
    for region in poster.regions:
        x0, y0, x1, y1 = slot_box(region.slot, poster.height, poster.width)
        free[y0:y1, x0:x1] = False
        letters = poster.letters(region)
        box = pixels[y0:y1, int(letters[0].x):round(letters[-1].x + letters[-1].width)].reshape(-1, 3)
        distance = np.square(box - background).sum(-1)
        ink = box[distance >= np.quantile(distance, 0.9)]                         # the least blended tenth
        colours.append(nearest_colour(np.median(ink, 0)) == region.colour)
    thing, place = find_object(pixels / 255, background / 255, free)
    return dict(background=nearest_colour(background) == poster.background, object=thing == poster.thing,
                place=place == poster.place, text_colour=colours)
