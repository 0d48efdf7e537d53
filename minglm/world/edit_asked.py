"""An instruction to edit, as its readers share it: what it says, outside quotations and in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property

from minglm.world import edit_cues as cues
from minglm.world.mentions import Mention, mentions
from minglm.world.posters import Region
from minglm.world.quotes import masked
from minglm.world.scenes import Scene


@dataclass
class Instruction:
    """An instruction, and the scene that it is about; texts of which it quotes the words have these."""

    prompt: str
    scene: Scene
    used: list[Mention] = field(default_factory=list)        # colours and places that are understood
    kept: bool = False                       # only an object is wanted of the picture

    @cached_property
    def plain(self) -> str:
        """The instruction without what it quotes, and without what says that the rest stays."""
        return cues.REST.sub(lambda told: " " * len(told[0]), masked(self.prompt))

    @cached_property
    def said(self) -> list[Mention]:
        rest = [told.span() for told in cues.REST.finditer(masked(self.prompt))]
        found = [fruit(self.prompt, m) for m in mentions(self.prompt)]
        return [m for m in found if not any(a <= m.start < b for a, b in rest)]

    def has(self, cue: re.Pattern[str]) -> bool:
        return cue.search(self.plain) is not None

    def free(self, kind: str) -> list[Mention]:
        """The mentions of a kind that are not understood yet."""
        return [m for m in self.said if m.kind == kind and m not in self.used]

    @cached_property
    def quotes(self) -> list[tuple[Mention, str]]:
        return [(m, " ".join(str(m.value).split())) for m in self.said if m.kind == "text"]

    def words(self, cue: re.Pattern[str]) -> list[Mention]:
        """Where a cue stands."""
        return [Mention("word", found[0], *found.span()) for found in cue.finditer(self.plain)]

    @property
    def way(self) -> str:
        """Up or down, where no place is told."""
        if any(m.kind == "place" for m in self.said):
            return ""
        return "top" if self.has(cues.UP) else "bottom" if self.has(cues.DOWN) else ""

    def region(self, text: str) -> Region | None:
        """The text of the scene that has these words."""
        return next((r for r in self.scene.regions if " ".join(r.text.split()) == text), None)


def fruit(prompt: str, m: Mention) -> Mention:
    """A mention; of a fruit, if "orange" stands like one: an orange instead of the apple."""
    if m.kind == "colour" and prompt[m.start:m.end].lower() == "orange" and (
            cues.ONE.search(prompt[:m.start]) and cues.ENDS.match(prompt, m.end)):
        return replace(m, kind="thing", value="orange")
    return m


def gap(m: Mention, others: list[Mention]) -> int:
    """Characters between a mention and the nearest of others."""
    return min((max(o.start - m.end, m.start - o.end, 0) for o in others), default=10 ** 6)
