"""What a prompt asks for, as data; what it leaves open is None."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from minglm.world.characters import is_han
from minglm.world.mentions import Mention
from minglm.world.posters import SLOTS, Group

# where a clause ends; a comma without a space does beside a Chinese character or a quotation
STOP = re.compile(r"[.;!?|\n。；！？，]|\s[-–—]+\s|,[\s\"“„«「\u3400-\u9fff]|(?<=[\"”»」\u3400-\u9fff]),")


@dataclass(frozen=True)
class Asked:
    """One quoted text as asked for; None: left open."""

    text: str
    slot: str | None = None
    colour: str | None = None


@dataclass
class Request:
    """What a prompt asks for; None: left open."""

    texts: list[Asked] = field(default_factory=list)
    groups: tuple[Group, ...] = ()
    background: str | None = None
    shade: str | None = None                 # of a background whose colour is open: dark or light
    place: str | None = None                 # of the objects
    size: str | None = None
    language: str = "en"
    unknown: tuple[str, ...] = ()            # objects without a picture
    worn: tuple[str, ...] = ()               # objects that another one is to wear
    scene: tuple[str, ...] = ()              # colours of the background, where none is told: green on grass
    shape: str | None = None                 # portrait, landscape or square
    canvas: tuple[int, int] | None = None    # (height, width)
    refused: str | None = None               # a size that cannot be
    too_many: bool = False                   # more objects than a poster has room for

    def in_order(self) -> list[Asked]:
        """The texts from top to bottom, if each tells its place, else as quoted."""
        if any(one.slot is None for one in self.texts):
            return self.texts
        return sorted(self.texts, key=lambda one: SLOTS.index(one.slot))


def between(prompt: str, a: Mention, b: Mention) -> str:
    return prompt[a.end:b.start]


def joined(prompt: str, a: Mention, b: Mention, most: int) -> bool:
    """Whether two mentions stand in one clause, at most `most` Latin letters (a third of Chinese) apart."""
    gap = between(prompt, a, b)
    return not STOP.search(gap) and sum(3 if is_han(c) else 1 for c in gap) <= most
