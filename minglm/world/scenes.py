"""Scenes, posters whose objects may have looks and which may be restyled; edits; and how two scenes differ.

Shapes: H, W pixels · h, w id grid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from einops import reduce
from PIL import Image

from minglm.world.layout import CELL, Letter, glyph, line_box
from minglm.world.looks import Look, grounds, shown
from minglm.world.objects import backgrounds, sprite
from minglm.world.posters import Box, Poster, Region
from minglm.world.styles import restyle
from minglm.world.translations import told

OVERHANG = 2                                 # pixels by which a letter may leave its cell
EDGE = 2 * OVERHANG / CELL                   # of a cell: two of its sides


@dataclass
class Scene(Poster):
    """A poster with a style, in which the named objects have looks."""

    looks: tuple[tuple[str, Look], ...] = ()
    style: str = ""

    @cached_property
    def image(self) -> Image.Image:
        """The picture, RGB, (height, width)."""
        return restyle(super().image, self.style, [box for _, box in self.boxes])

    def look_of(self, name: str, side: int) -> Image.Image:
        """An object as it looks in this scene, RGBA, `side` pixels square."""
        look = dict(self.looks).get(name)
        return shown(name, side, look) if look else sprite(name, side)

    def stands_out(self, name: str, background: str) -> bool:
        """Whether an object as it looks here can be seen on a background."""
        look = dict(self.looks).get(name)
        return background in (grounds(name, look) if look else backgrounds(name))


@dataclass(frozen=True)
class Edit:
    """Pictures, an instruction, and the picture they lead to.

    sources: 1 to 4, which may differ in size. roles: of several, what each gives: "object", "text" or
    "background". Only the sources and the instruction are known when a picture is edited.
    """

    kind: str
    language: str
    sources: tuple[Scene, ...]
    target: Scene
    roles: tuple[str, ...] = ()
    instruction: str = ""

    @property
    def said(self) -> tuple[Region, ...]:
        """The texts of the target that the instruction quotes, or whose translation it asks for."""
        texts = told(self.instruction)
        return tuple(region for region in self.target.regions if " ".join(region.text.split()) in texts)

    @property
    def strings(self) -> list[str]:
        """The lines as the glyph encoder reads them: of the texts that are `said`. Every other letter of the
        target has to come from the sources."""
        return [line for _, line, _ in self.lines]

    @property
    def height(self) -> int:
        return self.target.height

    @property
    def width(self) -> int:
        return self.target.width

    @property
    def lines(self) -> list[tuple[Region, str, list[Letter]]]:
        """The lines of `strings`, as Poster.lines has its own."""
        said = self.said
        return [one for one in self.target.lines if one[0] in said]

    def without_texts(self) -> Edit:
        """The edit as one who cannot read would be told it."""
        return replace(self, instruction="")

    @property
    def region(self) -> np.ndarray:
        """(H, W) bool: where the target may differ from the first source."""
        return changed(self.sources[0], self.target)

    @property
    def cells(self) -> np.ndarray:
        """(h, w) bool: the cells of the id grid of which the target may differ from the first source in more
        than an eighth: what letters draw beyond their own cell does not count."""
        return reduce(self.region.astype(float), "(h y) (w x) -> h w", "mean", y=CELL, x=CELL) > EDGE


@dataclass(frozen=True)
class Part:
    """One object or one line of a text, and where it stands. Equal parts look alike, whatever is behind."""

    box: Box
    thing: str = ""
    look: Look | None = None
    region: Region | None = None
    line: str = ""


def parts(scene: Scene) -> list[Part]:
    """All that stands on a scene's background."""
    looks = dict(scene.looks)
    found = [Part(box, name, looks.get(name)) for name, box in scene.boxes]
    for region, line, letters in scene.lines:
        # where a text stands is a matter of its box, not of the name of its slot
        found.append(Part(line_box(letters), region=Region("", region.text, region.colour), line=line))
    return found


def missing(these: Sequence, those: Sequence) -> tuple:
    """What is among `these` and not among `those`: texts or objects that an edit takes away, or brings."""
    return tuple(one for one in these if one not in those)


def stays(before: Scene, after: Scene) -> bool:
    """Whether what is in both scenes stands where it stood, and no object has grown or shrunk."""
    texts = {region.text for region in before.regions if region in after.regions}
    names = {g.thing for g in before.groups if g in after.groups and before.place == after.place}

    def rest(scene: Scene) -> list[Part]:
        return [p for p in parts(scene) if p.thing in names or p.region and p.region.text in texts]

    sides = [{x1 - x0 for _, (x0, _, x1, _) in scene.boxes} for scene in (before, after)]
    return rest(before) == rest(after) and not (all(sides) and sides[0] != sides[1])


def is_seen(before: Scene, after: Scene) -> bool:
    """Whether two scenes look different; of one that only moves something, whether by a line or more."""
    if (before.background, before.style) != (after.background, after.style):
        return True
    gone, come = missing(parts(before), parts(after)), missing(parts(after), parts(before))
    if Counter(replace(p, box=None) for p in gone) != Counter(replace(p, box=None) for p in come):
        return True
    return bool(gone) and all(max(abs(a - b) for a, b in zip(p.box, q.box)) >= CELL
                              for p in gone for q in come)


def changed(before: Scene, after: Scene) -> np.ndarray:
    """(H, W) bool: where the picture `after` may differ from the picture `before`.

    All of it, if they differ in size or style. If they differ in background, all but what is solid in both:
    the edges of letters and objects are blended with what is behind them. Else the boxes of what is in one of
    them only.
    """
    shape = after.height, after.width
    if (before.height, before.width) != shape or before.style != after.style:
        return np.ones(shape, dtype=bool)
    mask = np.zeros(shape, dtype=bool) if before.background == after.background else ~solid(after)
    old, new = parts(before), parts(after)
    for part in (*missing(old, new), *missing(new, old)):
        mask[around(part.box)] = True
    return mask


def around(box: Box) -> tuple[slice, slice]:
    """A box and what letters may draw beyond it, as rows and columns of pixels."""
    x0, y0, x1, y1 = box
    return (slice(max(0, y0 - OVERHANG), y1 + OVERHANG), slice(max(0, x0 - OVERHANG), x1 + OVERHANG))


def solid(scene: Scene) -> np.ndarray:
    """(H, W) bool: the pixels of objects and letters through which nothing of the background is seen."""
    cover = Image.new("L", (scene.width, scene.height))
    for name, (x0, y0, x1, _) in scene.boxes:
        cover.paste(scene.look_of(name, x1 - x0 - 4).getchannel("A"), (x0 + 2, y0 + 2))
    mask = np.asarray(cover) == 255
    for _, _, letters in scene.lines:
        for letter in letters:
            raster, dx, dy = glyph(letter.character, letter.width, letter.wide)
            cover = Image.new("L", (scene.width, scene.height))
            cover.paste(raster, (round(letter.x + dx), round(letter.y + dy)))
            mask |= np.asarray(cover) == 255
    return mask
