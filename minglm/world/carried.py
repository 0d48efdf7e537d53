"""What an edit carries over: which parts of the sources the target shows too, and where they stand in it.

The decoder attends to the tokens of the pictures to edit. It copies well what stays in place, and badly
what moves, which it has to find among all tokens by its looks alone. If an instruction is understood, it is
known what goes where: so the tokens of an object, or of a line of text, are moved to where it will stand
(`moved` in model/memory.py), further apart or closer together if its size changes, and tokens that the new
picture has no use for are left out of the memory: old letters would show through the new ones.

Shapes: h, w tokens of a source · R tokens of it that are remembered.
"""

from __future__ import annotations

from itertools import product
from math import ceil

import numpy as np

from minglm.world.posters import Box
from minglm.world.scenes import Edit, Part, Scene, parts

Carried = tuple[np.ndarray, np.ndarray]      # the numbers of tokens (R,), and how far each moves (R, 2)
Link = tuple[int, Part, Part]                # the number of a source, a part of it, and the target's like it


def carried(edit: Edit, token: int) -> list[Carried]:
    """For each source, which tokens (`token` pixels square) are remembered, and by how many tokens each moves
    down and to the right; columns are counted from the middle, as in the decoder. If the target is in another
    style, all tokens are remembered, and none moves."""
    linked = links(edit)
    return [of_one(edit, i, linked, token) for i in range(len(edit.sources))]


def links(edit: Edit) -> list[Link]:
    """The source part most like each part of the target, if any shows it; one may serve several times."""
    old = [(i, part) for i, scene in enumerate(edit.sources) for part in parts(scene)]
    new, found = parts(edit.target), []
    # what stays where it is comes first
    for part in sorted(new, key=lambda one: all(one != other for _, other in old)):
        used = [(i, other) for i, other, _ in found]
        some = [one for one in old if is_like(edit, one[1], part)]
        if some:
            found.append((*min(some, key=lambda one: (
                is_strange(edit, *one), one in used, unlike(one[1], part), one[1].box != part.box)), part))
    return found


def is_like(edit: Edit, old: Part, new: Part) -> bool:
    """Whether two parts are of the same kind: objects of one name, or lines of the same letters. Letters
    whose words are known (`is_said`) are not alike in another colour: they are written anew."""
    if not new.region or not old.region:
        return bool(new.thing) and old.thing == new.thing
    same = (old.line, old.region.text) == (new.line, new.region.text)
    return same and (old.region == new.region or not is_said(edit, new))


def is_said(edit: Edit, part: Part) -> bool:
    """Whether a part of the target belongs to a text whose words are known."""
    return part.region is not None and any((r.text, r.colour) == (part.region.text, part.region.colour)
                                           for r in edit.said)


def is_strange(edit: Edit, number: int, part: Part) -> bool:
    """Whether a source is not there to give such a part."""
    return bool(edit.roles) and edit.roles[number] != ("text" if part.region else "object")


def unlike(old: Part, new: Part) -> bool:
    return (old.look, old.region) != (new.look, new.region)


def of_one(edit: Edit, number: int, linked: list[Link], token: int) -> Carried:
    """What is remembered of source `number`."""
    source, target = edit.sources[number], edit.target
    h, w = source.height // token, source.width // token
    if target.style:
        return np.arange(h * w), np.zeros((h * w, 2))
    middle = target.width // token // 2 - w // 2     # how much further right the target's middle is
    every, mine = parts(source), [one for one in linked if one[0] == number]
    # ground stays where nothing will stand, that of the picture that gives the background
    gives = number == giver(edit) and source.background == target.background
    ground = {*product(range(h), range(w))} if gives else set()
    for part in every:
        ground -= {*within(part.box, token, source)}
    for part in parts(target):
        ground -= {(row, column - middle) for row, column in within(part.box, token, target)}
    kept = [(place, (0.0, 0.0)) for place in sorted(ground)]
    for _, old, new in mine:
        kept += [(place, way(place, old.box, new.box, token, middle))
                 for place in within(old.box, token, source)]
    # letters of which nobody told the words may be needed, even if it is not clear for what
    new = {one for _, _, one in linked}
    if any(part.region and part not in new and not is_said(edit, part) for part in parts(target)):
        lost = [part for part in every if part.region and all(part != old for _, old, _ in mine)]
        kept += [(place, (0.0, 0.0)) for part in lost for place in within(part.box, token, source)]
    places = np.array([row * w + column for (row, column), _ in kept], dtype=np.int64)
    return places, np.array([shift for _, shift in kept]).reshape(-1, 2)


def giver(edit: Edit) -> int:
    """The number of the picture whose background is taken."""
    return edit.roles.index("background") if "background" in edit.roles else 0


def within(box: Box, token: int, scene: Scene) -> list[tuple[int, int]]:
    """Row and column of the tokens that a box touches."""
    x0, y0, x1, y1 = box
    rows = range(max(0, y0 // token), min(scene.height // token, ceil(y1 / token)))
    columns = range(max(0, x0 // token), min(scene.width // token, ceil(x1 / token)))
    return [*product(rows, columns)]


def way(place: tuple[int, int], old: Box, new: Box, token: int, middle: int) -> tuple[float, float]:
    """How far a token in box `old` has to move to stand in the same part of box `new`."""
    def one(at: int, first: int, last: int, then: int, end: int) -> float:
        centre = (at + 0.5) * token
        return (then + (centre - first) * (end - then) / (last - first) - centre) / token

    row, column = place
    return (one(row, old[1], old[3], new[1], new[3]), one(column, old[0], old[2], new[0], new[2]) - middle)
