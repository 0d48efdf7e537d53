"""What a poster shows, as a scene: the enhancer of edits looks at the pictures first.

GLM-Image's users would ask a vision-language model. In a world this small, rules are enough: the background
is flat, objects are known (find.py), and what is left in one colour is letters. The letters are not read:
every text becomes a row of x as wide as it is.

Shapes: H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, product

import numpy as np
from PIL import Image

from minglm.images import rgb
from minglm.world.colours import COLOURS
from minglm.world.find import SIDES, Box, background, bank, find_objects, nearest_colour
from minglm.world.layout import CELL, PITCH
from minglm.world.objects import things as things_
from minglm.world.posters import MOST_THINGS, PLACES, SIZES, SLOTS, Group, Region
from minglm.world.scenes import OVERHANG, Scene

INK = 40                                     # distance from the ground's colour, 0..255, from which it is ink
GAP = 3 * PITCH                              # pixels without ink that part two texts side by side
SURE = 0.75                                  # of an object's difference from the ground, and of what is there
ONE_COLOUR = 0.85                            # of the pixels of letters
USUAL_FIRST = sorted(SIZES, key=lambda size: size != "normal")      # of what looks the same
LIGHT = np.array([0.299, 0.587, 0.114], dtype=np.float32)           # of which JPEG keeps every pixel
FRINGE = 8                                   # pixels over which a JPEG may spread the hue of letters
LEAST, SPECK = 6, 40                         # pixels of ink in a line, in an object
TALL = 1.4 * CELL                            # higher than letters


def see(image: Image.Image, language: str = "en", named: Sequence[str] = ()) -> Scene:
    """The scene that a poster shows, with x in place of every letter. named: objects that may be there
    with an unusual look; if it is a single name, the picture shows only one such object."""
    ground, (width, height) = background(image), image.size
    away = np.asarray(rgb(image), dtype=np.float32) - np.array(COLOURS[ground][0], dtype=np.float32)
    inked = np.linalg.norm(away, axis=-1) > INK                                  # (H, W)
    things = find_objects(image, like=SURE, enough=SURE)
    for _, box in things:
        inked[rows_columns(box)] = False
    missing = [name for name in named if all(name != one for one, _ in things)]
    # an object of one colour looks like letters, but for its height
    flat = inked & ~blobs(inked) if missing else inked
    letters = [(box, colour) for box in lines(flat) if (colour := colour_of(away, inked, ground, box))]
    for (x0, y0, x1, y1), _ in letters:
        inked[max(0, y0 - FRINGE):y1 + FRINGE, max(0, x0 - FRINGE):x1 + FRINGE] = False
    # what is neither: objects in unusual looks, or badly painted
    there = squares(inked, alone=len(missing) == 1 and not things)
    things += [(likeliest(away / 255, ground, box, missing), box) for box in there]
    shown = sorted(things[:MOST_THINGS], key=lambda one: one[1])                 # the surest come first
    return arranged(ground, shown, letters, height, width, language)


def rows_columns(box: Box) -> tuple[slice, slice]:
    x0, y0, x1, y1 = map(int, box)
    return slice(y0, y1), slice(x0, x1)


# ---------------------------------------------------------------- letters

def runs(filled: np.ndarray, gap: int) -> list[tuple[int, int]]:
    """Where a row of booleans is true, as (first, after the last); what is at most `gap` apart is one run."""
    found: list[tuple[int, int]] = []
    for at in np.flatnonzero(filled).tolist():
        if found and at - found[-1][1] <= gap:
            found[-1] = found[-1][0], at + 1
        else:
            found.append((at, at + 1))
    return found


def lines(inked: np.ndarray) -> list[Box]:
    """The boxes around what may be lines of text, inked (H, W), from the top: lines are a cell high, and
    stand on half cells."""
    found = []
    for x0, x1 in runs(inked.any(0), GAP):   # side by side
        for y0, y1 in runs(inked[:, x0:x1].any(1), PITCH // 2):
            count = max(1, round((y1 - y0) / CELL))
            first = round(((y0 + y1 - count * CELL) / 2) / PITCH) * PITCH
            for i in range(count):
                top = max(0, first + i * CELL)
                band = inked[top:top + CELL, x0:x1]
                found += [(x0 + a, top, x0 + b, top + CELL) for a, b in runs(band.any(0), GAP)
                          if band[:, a:b].sum() >= LEAST]
    return sorted(found, key=lambda box: (box[1], box[0]))


def colour_of(away: np.ndarray, inked: np.ndarray, ground: str, box: Box) -> str:
    """The colour of the letters in a box; "" if there are none. Every pixel of letters is a mixture of one
    colour and the background; where a JPEG has blurred the hue, it has less of the hue than of the light.
    away (H, W, 3): differences from the background's colour."""
    pixels, flat = away[rows_columns(box)][inked[rows_columns(box)]], np.array(COLOURS[ground][0])
    far = pixels[np.linalg.norm(pixels, axis=-1) >= np.quantile(np.linalg.norm(pixels, axis=-1), 0.7)]
    colour = nearest_colour(np.median(far, 0) + flat)
    ink = (np.array(COLOURS[colour][0]) - flat).astype(np.float32)
    return colour if (unlike(pixels, ink) < INK).mean() > ONE_COLOUR else ""


def unlike(pixels: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """How far pixels (N, 3) are from every mixture of ground and ink (3,), both from the ground's colour."""
    light, hue = pixels @ LIGHT, pixels - (pixels @ LIGHT)[:, None]
    own_light, own_hue = float(ink @ LIGHT), ink - ink @ LIGHT
    lit = (light * own_light / max(1.0, own_light ** 2)).clip(0, 1) * own_light
    tinted = (hue @ own_hue / max(1.0, float(own_hue @ own_hue))).clip(0, 1)[:, None] * own_hue
    apart = np.linalg.norm(pixels - lit[:, None] - tinted, axis=-1)
    share = (pixels @ ink / max(1.0, float(ink @ ink))).clip(0, 1)
    together = np.linalg.norm(pixels - share[:, None] * ink, axis=-1)            # as before a JPEG
    return np.maximum(apart, together / 2)   # the two differ much in objects that are shaded


# ---------------------------------------------------------------- objects

def blobs(inked: np.ndarray) -> np.ndarray:
    """(H, W) bool: what is taller than a letter, with no row between that is empty."""
    found = np.zeros_like(inked)
    for x0, x1 in runs(inked.any(0), 2):     # letters stand further apart
        for y0, y1 in runs(inked[:, x0:x1].any(1), 0):
            found[y0:y1, x0:x1] = y1 - y0 > TALL
    return found


def squares(inked: np.ndarray, alone: bool = False) -> list[Box]:
    """The squares of what is no text, side by side or one below the other; alone: there is but one, if one
    square has room for all."""
    if alone and inked.sum() >= SPECK:
        whole = [(int(at.min()), int(at.max()) + 1) for at in reversed(np.nonzero(inked))]
        most = max(b - a for a, b in whole)
        if side := next((side for side in SIDES if most <= side <= min(inked.shape)), 0):
            corner = [min(max(0, round(((a + b) / 2 - side / 2) / PITCH) * PITCH), end - side)
                      for (a, b), end in zip(whole, inked.shape[::-1])]
            return [(*corner, corner[0] + side, corner[1] + side)]
    found = []
    for x0, x1 in runs(inked.any(0), 2):
        for y0, y1 in runs(inked[:, x0:x1].any(1), PITCH):
            if inked[y0:y1, x0:x1].sum() < SPECK:
                continue
            high = next((side for side in SIDES if side >= y1 - y0), SIDES[-1])
            count = max(1, round((x1 - x0) / high))
            for i in range(count):
                centre = x0 + (x1 - x0) * (2 * i + 1) / (2 * count), (y0 + y1) / 2
                x, y = (min(max(0, round((at - high / 2) / PITCH) * PITCH), most - high)
                        for at, most in zip(centre, inked.shape[::-1]))
                if min(x, y) >= 0:
                    found.append((x, y, x + high, y + high))
    return found


def likeliest(away: np.ndarray, ground: str, box: Box, named: list[str]) -> str:
    """The name of the object that a square shows, one of `named` if there are any."""
    names = list(things_())
    gain = bank(box[2] - box[0]).match(away[rows_columns(box)].reshape(1, -1), ground)[0]    # (K,)
    some = [names.index(name) for name in named] or range(len(names))
    return names[max(some, key=lambda k: gain[k])]


# ---------------------------------------------------------------- where it belongs

def arranged(ground: str, things: list[tuple[str, Box]], texts: list[tuple[Box, str]], height: int,
             width: int, language: str) -> Scene:
    """The scene in which objects and texts stand as they were found."""
    row, found, tops = [box for _, box in things], [], [box[1] for box, _ in texts]
    for box, colour in texts:
        slot = slot_of(box, row, tops, height, width)
        letters = "x" * max(1, round((box[2] - box[0]) / PITCH))
        last = found[-1] if found else None
        if last and (last.slot, last.colour) == (slot, colour):
            found[-1] = replace(last, text=f"{last.text}\n{letters}")
        else:
            found.append(Region(slot, letters, colour))
    regions = tuple(sorted(found, key=lambda region: SLOTS.index(region.slot)))
    groups = tuple(Group(name, len(list(same))) for name, same in groupby(name for name, _ in things))
    scene = Scene(ground, groups, "centre", regions, height, width, language=language)
    ways = [scene] if not things else [replace(scene, place=place, size=size)
                                       for size, place in product(USUAL_FIRST, ("centre", *PLACES))]

    def distance(one: Scene) -> float:
        try:
            stand = [box for _, box in one.boxes]
            return float(np.abs(np.array(stand) - np.array(row)).sum()) if row else 0.0
        except ValueError:                   # no room
            return float("inf")

    best = min(ways, key=distance)
    if distance(best) < float("inf"):
        return best
    # no poster looks like this: what is surest of it, objects first
    if texts:
        least = min(texts, key=lambda one: one[0][2] - one[0][0])
        return arranged(ground, things, [one for one in texts if one != least], height, width, language)
    return arranged(ground, things[:-1], texts, height, width, language)


def slot_of(box: Box, row: list[Box], tops: Sequence[int], height: int, width: int) -> str:
    """The slot of a line, given where the objects stand, and all lines."""
    x0, y0, x1, y1 = box
    if row:
        left, top, right, bottom = (pick(side) for pick, side in zip((min, min, max, max), zip(*row)))
        if top < (y0 + y1) / 2 < bottom and (x1 <= left + OVERHANG or x0 >= right - OVERHANG):
            return "left" if x1 <= left + OVERHANG else "right"
        return "top" if y0 + y1 < top + bottom else "bottom"
    if all(y in tops for y in range(0, y0, CELL)) and y0 % CELL == 0:            # lines from the edge to it
        return "top"
    if all(y in tops for y in range(y0, height, CELL)) and (height - y0) % CELL == 0:
        return "bottom"
    centre = (x0 + x1) / 2
    return "left" if centre < 0.4 * width else "right" if centre > 0.6 * width else "centre"
