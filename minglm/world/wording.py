"""What instructions in either language are made from: how two pictures differ, and patterns with fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from string import Formatter

from minglm.world.posters import Group, Region
from minglm.world.scenes import Edit, Scene, missing

MORE, LESS = re.compile(r"\{more\}|不够"), re.compile(r"\{less\}|only|只|就够|太多")      # of an object


@dataclass(frozen=True)
class Difference:
    """What an edit changes between its first source and its target.

    gone, come: texts that are not, or not like that, in the other. lost, won: likewise objects; where only
    their place changes, these objects. colour, place: of what is new. count: by how many an object's number
    changes. looked: the objects that look unusual.
    """

    source: Scene
    target: Scene
    gone: tuple[Region, ...]
    come: tuple[Region, ...]
    lost: tuple[Group, ...]
    won: tuple[Group, ...]
    colour: str
    place: str
    count: int
    looked: frozenset[str]


def difference(edit: Edit) -> Difference:
    """How the first source of an edit and its target differ."""
    a, b = edit.sources[0], edit.target
    gone, come = missing(a.regions, b.regions), missing(b.regions, a.regions)
    lost, won = missing(a.groups, b.groups) or a.groups, missing(b.groups, a.groups) or b.groups
    return Difference(
        a, b, gone, come, lost, won,
        come[0].colour if come else b.background,
        come[0].slot if come else b.place,
        abs(won[0].count - lost[0].count) if won and lost else 0,
        frozenset(name for scene in edit.sources for name, _ in scene.looks),
    )


def fill(pattern: str, parts: dict[str, Callable[[], str]]) -> str:
    """A pattern with each of its fields made; what it has no field for is not made."""
    names = [name for _, name, _, _ in Formatter().parse(pattern) if name]
    return pattern.format(**{name: parts[name]() for name in names})


def suits(pattern: str, kind: str, diff: Difference) -> bool:
    """Whether a pattern says enough for an edit, and nothing that is not so."""
    if kind == "replace text" and len(diff.source.regions) > 1 and "{t}" not in pattern:
        return False                         # which of them?
    if kind == "recount object":
        return not (MORE if diff.won[0].count < diff.lost[0].count else LESS).search(pattern)
    return "{x}" not in pattern or bool(diff.source.groups)
