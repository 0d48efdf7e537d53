"""What an instruction wants of one picture: the scene after it, given the scene before it.

    changed(Instruction("make it two cats on blue", scene))  ->  the scene with two cats on blue

What is named and is in the scene is what changes; what is named and is not in it is new. Verbs decide where
that leaves a choice (edit_cues.py). Several changes in one instruction are made one after the other.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, product

from minglm.world import edit_cues as cues
from minglm.world.changes import in_order
from minglm.world.draw import has_room
from minglm.world.edit_asked import Instruction
from minglm.world.edit_texts import texts
from minglm.world.edit_things import objects
from minglm.world.posters import SLOTS
from minglm.world.reading import read
from minglm.world.scenes import Scene


def changed(asked: Instruction) -> Scene | None:
    """The scene after an instruction; None if nothing of it is understood, or it cannot be."""
    before = asked.scene
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


def is_kept(asked: Instruction) -> bool:
    """Whether an object is to be shown elsewhere, without the texts beside it."""
    groups = asked.scene.groups
    if len(groups) != 1 or not any(m.value == groups[0].thing for m in asked.said if m.kind == "thing"):
        return False
    if asked.has(cues.POSTER) or asked.has(cues.REMOVE):
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
    """The scene on another ground: of the colours that belong to nothing else, the first that it has not."""
    new = [str(m.value) for m in asked.free("colour") if m.value != asked.scene.background]
    return replace(asked.scene, background=new[0]) if new else asked.scene


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
