"""What an instruction wants of one picture: the scene after it, given the scene before it.

    changed(Instruction("make it two cats on blue", scene))  ->  the scene with two cats on blue

What is named and is in the scene is what changes; what is named and is not in it is new. Verbs decide where
that leaves a choice (edit_cues.py). Several changes in one instruction are made one after the other: a comma
or an "and" parts two of them if they are about different things, and if each says what to do.

    make the background blue | and the text yellow
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain, product

from minglm.world import edit_cues as cues
from minglm.world.changes import in_order
from minglm.world.counting import is_measure
from minglm.world.draw import has_room
from minglm.world.edit_asked import Instruction
from minglm.world.edit_texts import readable, texts
from minglm.world.edit_things import objects
from minglm.world.posters import SLOTS
from minglm.world.quotes import masked
from minglm.world.reading import read
from minglm.world.scenes import Scene

BREAK = re.compile(r"[,;.!?](?=\s)|\s(?:and|then|plus)\b|[，；。！？\n]|并且|并(?=[把将])|然后|同时|而且",
                   re.IGNORECASE)
PRONOUN = re.compile(r"\b(?:it|them|that|this|one)\b|它", re.IGNORECASE)   # named before
TELLS = ("colour", "place", "number", "text")
DOES = (cues.REMOVE, cues.REPLACE, cues.ADD, cues.SAYS, cues.UP, cues.DOWN, cues.MAKES,
        *cues.STYLES.values())
THEN = re.compile("(?<=[\u4e00-\u9fff])(?=(?:然后|同时|并且|而且|并[把将换改加移]))")


def changed(asked: Instruction) -> Scene | None:
    """The scene after an instruction; None if nothing of it is understood, or it cannot be."""
    told = [] if is_kept(asked) else clauses(asked)
    if len(told) > 1:
        scene: Scene | None = asked.scene
        for clause in told:
            scene = scene and once(Instruction(clause, scene))
        if scene:
            return scene
    return once(asked)


def once(asked: Instruction) -> Scene | None:
    """The scene after an instruction that is read as a whole."""
    before = asked.scene
    if asked.has(cues.WRITES) and not asked.quotes and not asked.has(cues.LETTERS):
        return None                          # words that are not quoted are not known for words
    if asked.has(cues.EXCEPT) and (scene := spared(asked)):
        return scene
    for name, cue in cues.STYLES.items():
        if asked.has(cue) and not asked.quotes:
            return replace(before, style=name)
    if is_kept(asked):
        asked.kept, asked.scene = True, elsewhere(asked)
    for step in (texts, objects, ground):
        after = step(asked)
        if after is None:
            return None
        asked.scene = after
    after = settled(asked.scene)
    return after if after and after != before else None


def spared(asked: Instruction) -> Scene | None:
    """What is left if everything goes but what is named; None if it is not there, or all that is."""
    names, words = {m.value for m in asked.said if m.kind == "thing"}, asked.has(cues.LETTERS)
    groups = tuple(group for group in asked.scene.groups if group.thing in names)
    quoted = [asked.region(text) for _, text in asked.quotes]
    regions = tuple(region for region in asked.scene.regions if words or region in quoted)
    scene = replace(asked.scene, groups=groups, regions=regions)
    return scene if (groups or regions) and scene != asked.scene else None


def is_kept(asked: Instruction) -> bool:
    """Whether an object is to be shown elsewhere, without the texts beside it."""
    groups = asked.scene.groups
    if len(groups) != 1 or not any(m.value == groups[0].thing for m in asked.said if m.kind == "thing"):
        return False
    if asked.has(cues.POSTER) or asked.has(cues.REMOVE) and not asked.has(cues.LETTERS):
        return False
    if any(asked.region(text) for _, text in asked.quotes):
        return False
    return asked.has(cues.KEEP) or cues.ELSEWHERE.search(asked.plain) is not None


def elsewhere(asked: Instruction) -> Scene:
    """The object of a scene alone, where it is put."""
    scene = replace(asked.scene, regions=())
    put = next((m for m in asked.free("place") if cues.PUT.search(asked.plain[:m.start])), None)
    if put:
        asked.used.append(put)
        scene = replace(scene, place=str(put.value))
    if ground := read(asked.prompt).background:
        asked.used += [m for m in asked.free("colour") if m.value == ground][:1]
        scene = replace(scene, background=ground)
    return scene


def ground(asked: Instruction) -> Scene:
    """The scene on another ground: of the colours that belong to nothing else, the first that it has not.
    Texts that could not be read there get another colour."""
    new = [str(m.value) for m in asked.free("colour") if m.value != asked.scene.background]
    if not new:
        return asked.scene
    return replace(asked.scene, background=new[0], regions=tuple(
        replace(region, colour=readable(new[0], [region.colour])) for region in asked.scene.regions))


def settled(scene: Scene) -> Scene | None:
    """The scene, with what has no room where it should be put elsewhere; None if it has room nowhere."""
    for size in dict.fromkeys((scene.size, "normal", "small")):
        sized = replace(scene, size=size)
        elsewhere = (replace(sized, regions=in_order([replace(r, slot=slot) if r is one else r
                                                      for r in sized.regions]))
                     for one, slot in product(sized.regions, SLOTS))
        if found := next(filter(has_room, chain([sized], elsewhere)), None):
            return found
    return None


# ---------------------------------------------------------------- several changes

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
