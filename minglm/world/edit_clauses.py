"""The clauses of an instruction that each ask for a change of their own, to be made one after the other.

    make the background blue | and the text yellow
    猫换成狗 | ，下面加上“汪汪”

A comma or an "and" parts two of them only if they are about different things, and if each says what to do.
"""

from __future__ import annotations

import re

from minglm.world import edit_cues as cues
from minglm.world.counting import is_measure
from minglm.world.edit_asked import Instruction
from minglm.world.quotes import masked

BREAK = re.compile(r"[,;.!?](?=\s)|\s(?:and|then|plus)\b|[，；。！？\n]|并且|并(?=[把将])|然后|同时|而且",
                   re.IGNORECASE)
PRONOUN = re.compile(r"\b(?:it|them|that|this|one)\b|它", re.IGNORECASE)   # named before
TELLS = ("colour", "place", "number", "text")
DOES = (cues.REMOVE, cues.REPLACE, cues.ADD, cues.SAYS, cues.UP, cues.DOWN, cues.MAKES,
        *cues.STYLES.values())
THEN = re.compile("(?<=[\u4e00-\u9fff])(?=(?:然后|同时|并且|而且|并[把将换改加移]))")


def clauses(asked: Instruction) -> list[str]:
    """The clauses; one if the instruction asks for one change, or if it is not clear where another begins."""
    stops = [told.start() for told in BREAK.finditer(asked.plain)]
    found: list[tuple[int, int, set[str]]] = []
    for start, end in zip([0, *stops], [*stops, len(asked.plain)]):
        what = about(asked, start, end)
        if found and (not what or what & found[-1][2] or PRONOUN.search(asked.plain, start, end)):
            start, _, before = found.pop()
            what |= before
        elif found and not found[-1][2]:     # a greeting, or where it is said to be
            start = found.pop()[0]
        found.append((start, end, what))
    if len(found) > 1 and all(does(asked, start, end) for start, end, _ in found):
        return [asked.prompt[start:end].lstrip(" ,;.!?，；。！？") for start, end, _ in found]
    return [asked.prompt]


def paused(prompt: str) -> str:
    """The instruction with a comma before "then": in 狗然后 the name would be a part of a word."""
    stops = [told.start() for told in THEN.finditer(masked(prompt))]
    parts = [prompt[start:end] for start, end in zip([0, *stops], [*stops, len(prompt)])]
    return "，".join(parts)


def about(asked: Instruction, start: int, end: int) -> set[str]:
    """What a clause is about."""
    kinds = {m.kind for m in asked.said if start <= m.start < end and not is_measure(asked.prompt, m)}
    what = kinds & {"thing", "text"}
    return what | {name for name, some in (("text", (cues.LETTERS,)), ("ground", (cues.GROUND,)),
                                           ("style", cues.STYLES.values()))
                   if any(cue.search(asked.plain, start, end) for cue in some)}


def does(asked: Instruction, start: int, end: int) -> bool:
    """Whether a clause says what to do."""
    return any(cue.search(asked.plain, start, end) for cue in DOES) or any(
        m.kind in TELLS and start <= m.start < end for m in asked.said)
