"""The ids of an edit that are known before it is planned: of cells in which nothing changes, and of what is
carried over, whole cells away.

An id tells what its cell shows and, less clearly, on what ground. On another ground some ids would be others,
but those of the source still say more than a caption can of letters that nobody quotes, and of an object in
an unusual look: "the same cat, on blue". So they are taken there, too, if enough cells are left to tell the
decoder the new ground.

Shapes: h, w id grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minglm.generate.sources import Source
from minglm.world.carried import Link, giver, is_said, links, within
from minglm.world.layout import CELL
from minglm.world.scenes import Edit, Scene, parts

BARE = 0.3                                   # of the cells that tell the ground
Cells = set[tuple[int, int]]                 # rows and columns of the id grid


def known_ids(edit: Edit, read: list[Source]) -> Tensor:
    """The ids (h, w) of the target that are those of its sources, elsewhere -1."""
    h, w = edit.height // CELL, edit.width // CELL
    ids, old = torch.full((h, w), -1), [one.ids.cpu() for one in read]
    if edit.target.style:
        return ids
    if len(old) == 1 and old[0].shape == ids.shape:
        ids = old[0].where(~torch.from_numpy(edit.cells), ids)
    source = edit.sources[giver(edit)]
    bare = sorted(ground(source))
    if bare and source.background == edit.target.background:
        plain = torch.stack([old[giver(edit)][cell] for cell in bare]).mode().values
        for cell in ground(edit.target):
            ids[cell] = plain if ids[cell] < 0 else ids[cell]
    for link in links(edit):
        for there, here in taken(edit, link):
            ids[here] = old[link[0]][there]
    return ids


def ground(scene: Scene) -> Cells:
    """The cells on which nothing stands."""
    every = {(y, x) for y in range(scene.height // CELL) for x in range(scene.width // CELL)}
    return every.difference(*(within(part.box, CELL, scene) for part in parts(scene)))


def taken(edit: Edit, link: Link) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The cells of a part whose ids can be taken, and where they go: if it looks the same, and shares no cell
    with anything else, neither there nor here."""
    number, old, new = link
    source, target = edit.sources[number], edit.target
    (x0, y0, x1, y1), (left, top, right, bottom) = old.box, new.box
    same = (old.look, old.region) == (new.look, new.region)
    if source.background != target.background:
        told = len(ground(target)) * CELL ** 2 >= BARE * target.height * target.width
        same = same and told and not is_said(edit, new)
    whole = not (top - y0) % CELL and not (left - x0) % CELL                     # cells away
    whole = whole and (right - left, bottom - top) == (x1 - x0, y1 - y0)
    if not same or not whole or source.style != target.style:
        return []
    down, further = (top - y0) // CELL, (left - x0) // CELL
    pairs = [((y, x), (y + down, x + further)) for y, x in within(old.box, CELL, source)]
    others = [within(part.box, CELL, source) for part in parts(source) if part != old]
    here = [within(part.box, CELL, target) for part in parts(target) if part != new]
    alone = not any(set(cells) & {a for a, _ in pairs} for cells in others)
    return pairs if alone and not any(set(cells) & {b for _, b in pairs} for cells in here) else []
