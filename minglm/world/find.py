"""What stands on a picture, wherever it stands: the background and the objects. No model is needed.

Posters are flat and the objects' pictures known, so an object is found by comparing every square of the
picture with all of them: with d = picture - background and o = object - background, the squared error falls
by 2 d.o - o.o when the object is put there. The square and object for which it falls most are taken, then the
next that do not overlap them.

Shapes: H, W pixels · K objects · P squares · s side of a square.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from minglm.images import rgb
from minglm.world.colours import COLOURS
from minglm.world.looks import Look, shown
from minglm.world.objects import sprite, things

STEP = 16                                    # pixels between squares
SIDES = (32, 64, 96, 128)
LIKE = 0.6                                   # of an object's own squared difference that must be there
ENOUGH = 0.4                                 # of what differs from the background the object has to explain
TALLEST = 46                                 # pixels of a box around one line of letters
SOFT = 3                                     # pixels around a box of text that may still be letters
Box = tuple[float, float, float, float]


def nearest_colour(colour: np.ndarray) -> str:
    """The name of the colour nearest to `colour` (3,), in 0..255."""
    return min(COLOURS, key=lambda name: float(np.square(colour - COLOURS[name][0]).sum()))


def background(image: Image.Image) -> str:
    """The colour that most pixels are nearest to, among those near to any, or among all if none is."""
    pixels = np.asarray(rgb(image), dtype=np.float32).reshape(-1, 3)
    table = np.array([value for value, _ in COLOURS.values()], dtype=np.float32)
    distance = np.square(pixels[:, None] - table).sum(-1)                        # (H W, 12)
    nearest, near = distance.argmin(1), distance.min(1) < 60 ** 2
    some = nearest[near] if near.any() else nearest
    return list(COLOURS)[int(np.bincount(some, minlength=len(COLOURS)).argmax())]


class Bank:
    """Objects that may stand on squares of one size, and how well squares match them on any background.

    On a background b an object of colours c and opacity a differs from it by o = a c - a b. The first term
    is the same on every background, so products with o are made of products with a c and with a.
    """

    def __init__(self, pictures: list[Image.Image]):
        values = np.stack([np.asarray(picture, dtype=np.float32) / 255 for picture in pictures])
        values = np.pad(values, ((0, 0), (2, 2), (2, 2), (0, 0)))                # (K, s, s, 4)
        alpha, colours = values[..., 3:], values[..., 3:] * values[..., :3]
        self.colours = colours.reshape(len(values), -1)                          # (K, 3 s s)
        self.alpha = alpha.reshape(len(values), -1)                              # (K, s s)
        # sums of squares and products: (K,), (K, 3), (K,)
        self.sums = (np.square(colours).sum((1, 2, 3)), (alpha * colours).sum((1, 2)),
                     np.square(alpha).sum((1, 2, 3)))

    def own(self, ground: str) -> np.ndarray:
        """o.o of every object, (K,)."""
        flat, (of_colours, of_both, of_alpha) = on(ground), self.sums
        return of_colours - 2 * of_both @ flat + of_alpha * (flat @ flat)

    def match(self, rows: np.ndarray, ground: str) -> np.ndarray:
        """2 d.o - o.o (P, K), for squares minus the background, rows (P, 3 s s), in 0..1."""
        both = rows @ self.colours.T - (rows.reshape(len(rows), -1, 3) @ on(ground)) @ self.alpha.T
        return 2 * both - self.own(ground)


def on(ground: str) -> np.ndarray:
    """The colour of a background, in 0..1."""
    return np.array(COLOURS[ground][0], dtype=np.float32) / 255


@lru_cache(maxsize=len(SIDES))
def bank(side: int) -> Bank:
    """Every object, on squares of one size; 200 MB for all sizes."""
    return Bank([sprite(name, side - 4) for name in things()])


def find_objects(image: Image.Image, text: list[Box] = (), most: int = 6,
                 looks: dict[str, tuple[str, Look]] | None = None, like: float = LIKE, enough: float = ENOUGH,
                 ) -> list[tuple[str, Box]]:
    """The objects of a picture with their squares (x0, y0, x1, y1), the clearest first.

    text: boxes where letters stand, which belong to no object. looks: objects in a look that may be there as
    well, each under a name of its own. like, enough: how sure it has to be.
    """
    ground, looks = background(image), looks or {}
    names = [*things(), *looks]
    offset = np.asarray(rgb(image), dtype=np.float32) / 255 - on(ground)
    for x0, y0, x1, y1 in text:
        if y1 - y0 > TALLEST:                # the reader has taken an object for a part of the line
            continue
        offset[max(0, int(y0) - SOFT):int(y1) + SOFT, max(0, int(x0) - SOFT):int(x1) + SOFT] = 0
    height, width = offset.shape[:2]
    candidates = []
    for side in SIDES:
        banks = [bank(side)]
        if looks:
            banks.append(Bank([shown(name, side - 4, look) for name, look in looks.values()]))
        squares = [
            (x, y) for y in range(0, height - side + 1, STEP) for x in range(0, width - side + 1, STEP)
        ]
        if not squares:
            continue
        rows = np.stack([offset[y:y + side, x:x + side].ravel() for x, y in squares])        # (P, 3 s s)
        energy = np.square(rows).sum(1)                                          # (P,)
        # the error cannot fall by more than there is: 2 d.o - o.o <= d.d, so nothing is in emptier squares
        own = np.concatenate([each.own(ground) for each in banks])               # (K,)
        full = energy > like * own.min()
        squares, rows, energy = [s for s, f in zip(squares, full) if f], rows[full], energy[full]
        if not squares:
            continue
        gain = np.concatenate([each.match(rows, ground) for each in banks], 1)   # (P, K)
        gain = np.where(gain > like * own, gain, -1)
        best = gain.argmax(1)
        for (x, y), k, e, g in zip(squares, best, energy, gain.max(1)):
            if g > max(0.0, enough * e):
                candidates.append((float(g), names[k], (x, y, x + side, y + side)))
    found: list[tuple[str, Box]] = []
    for _, name, box in sorted(candidates, key=lambda c: -c[0]):
        if len(found) < most and not any(overlap(box, other) for _, other in found):
            found.append((name, box))
    return found


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes share more than a third of the smaller one."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    least = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return width > 0 and height > 0 and width * height > least / 3
