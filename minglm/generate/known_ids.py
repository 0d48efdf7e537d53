"""The ids of an edit that are known before its plan is sampled: those of cells in which nothing changes, and
those of what stays in place or moves by whole cells.

An id says what its cell shows and, less clearly, on which background. On another background some ids would
differ, but about unquoted letters, or an object with an unusual look ("the same cat, on blue"), the ids of
the source still say more than a caption can. So they are kept there, too, if enough bare cells are left to
show the decoder the new background. But they are put into the plan only after it is sampled: any earlier,
they would suggest the old background to the planner.

Shapes: K plans · h, w id grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from minglm.world.carried import Link, giver, is_said, links, within
from minglm.world.layout import CELL
from minglm.world.scenes import Edit, Scene, parts

BARE = 0.3                                   # least share of cells that show only background
Cells = set[tuple[int, int]]                 # rows and columns of the id grid


@dataclass(frozen=True)
class KnownIds:
    """What is known of an edit's ids. before: ids known before planning; after: ids from another background,
    put in after sampling; both (h, w), -1 where unknown. bare: cells, (h, w) bool, that should show only
    background and have no id in `before`."""

    before: Tensor
    after: Tensor
    bare: Tensor

    def laid(self, plans: Tensor) -> Tensor:
        """Plans (K, h, w) with the ids of `after` put in; the `bare` cells of a plan all get the id that most
        of them have."""
        plans = plans.clone()
        if self.bare.any():
            plans[:, self.bare] = plans[:, self.bare].mode(1, keepdim=True).values
        return self.after.where(self.after >= 0, plans)


def known_ids(edit: Edit, old: list[Tensor]) -> KnownIds:
    """What is known of the ids of the target from those of its sources, (h, w) each."""
    h, w = edit.height // CELL, edit.width // CELL
    ids, old = torch.full((h, w), -1), [one.cpu() for one in old]
    after, empty = ids.clone(), torch.zeros(h, w, dtype=torch.bool)
    if edit.target.style:
        return KnownIds(ids, after, empty)
    if len(old) == 1 and old[0].shape == ids.shape:
        ids = old[0].where(~torch.from_numpy(edit.cells), ids)
    source = edit.sources[giver(edit)]
    bare = sorted(ground(source))
    if bare and source.background == edit.target.background:
        plain = torch.stack([old[giver(edit)][cell] for cell in bare]).mode().values
        for cell in ground(edit.target):
            ids[cell] = plain if ids[cell] < 0 else ids[cell]
    for cell in ground(edit.target):
        empty[cell] = ids[cell] < 0
    for link in links(edit):
        same = edit.sources[link[0]].background == edit.target.background
        for there, here in taken(edit, link):
            (ids if same else after)[here] = old[link[0]][there]
    return KnownIds(ids, after, empty)


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
