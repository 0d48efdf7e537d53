"""What an instruction wants of the objects of a picture: they come, go, move, or change kind or number."""

from __future__ import annotations

from dataclasses import replace

from minglm.world import edit_cues as cues
from minglm.world.counting import how_many, is_measure
from minglm.world.edit_asked import Instruction
from minglm.world.posters import MOST_THINGS, Group
from minglm.world.reading import read
from minglm.world.scenes import Scene


def objects(asked: Instruction) -> Scene | None:
    """Objects that come, go, move, or change their kind or number."""
    scene = asked.scene
    if asked.kept:
        return moved(asked, scene)
    there = {group.thing: group for group in scene.groups}
    named = [(i, str(m.value)) for i, m in enumerate(asked.said)
             if m.kind == "thing" and not is_measure(asked.prompt, m)]
    new = {name: how_many(asked.prompt, asked.said, i) for i, name in named if name not in there}
    old = [there[name] for name in dict.fromkeys(name for _, name in named) if name in there]
    if not old and len(there) == 1 and meant(asked, bool(new)):
        old = list(scene.groups)
    if new:
        others = [Group(name, min(count, MOST_THINGS)) for name, (count, _) in new.items()]
        return exchanged(scene, old[0], others[0]) if old and swaps(asked) else joined(asked, scene, others)
    if len(old) == 1:
        return counted(asked, scene, old[0])
    if old and asked.has(cues.REMOVE):
        return without(scene, old)
    return moved(asked, scene) if old else scene


def meant(asked: Instruction, new: bool) -> bool:
    """Whether the only kind of object is meant where it is not named: make it two; turn it into a dog."""
    if new:
        return asked.has(cues.REPLACE) and not asked.has(cues.ADD)
    others = asked.quotes or asked.has(cues.LETTERS) or asked.has(cues.GROUND) or asked.free("colour")
    return not others and bool(numbers(asked) or not asked.scene.regions)


def swaps(asked: Instruction) -> bool:
    """Whether a new object is to stand in place of one that is there, not beside it."""
    if asked.has(cues.REMOVE):
        return True
    return not asked.has(cues.BESIDE) and (asked.has(cues.REPLACE) or not asked.has(cues.ADD))


def exchanged(scene: Scene, old: Group, new: Group) -> Scene:
    return replace(scene, groups=tuple(new if group == old else group for group in scene.groups))


def counted(asked: Instruction, scene: Scene, group: Group) -> Scene | None:
    """The scene with more or fewer of one kind of object, or none; or with its objects elsewhere."""
    told, gone = numbers(asked), asked.has(cues.REMOVE)
    if gone and not any(number < group.count for number in told):
        return without(scene, [group])
    if told or asked.has(cues.MORE):
        few = min(told, default=1)
        count = next((number for number in told if number != group.count), group.count)
        if gone and not asked.has(cues.ONLY) and len(told) == 1:
            count = group.count - few        # one of the cats
        elif asked.has(cues.MORE) and len(told) < 2:
            count = group.count + few        # another cat
        if count != group.count:
            return exchanged(scene, group, replace(group, count=max(1, min(count, MOST_THINGS))))
    return moved(asked, scene)


def numbers(asked: Instruction) -> list[int]:
    """The numbers of objects that an instruction tells, in order; not those of pictures."""
    pictures = [m for m in asked.words(cues.ORDINAL)]
    return [int(m.value) for m in asked.said if m.kind == "number" and 1 <= int(m.value) <= MOST_THINGS
            and not any(p.start <= m.start < p.end for p in pictures)]


def without(scene: Scene, gone: list[Group]) -> Scene | None:
    groups = tuple(g for g in scene.groups if g not in gone)
    if not groups and not scene.regions:
        return None
    return replace(scene, groups=groups, **({} if groups else dict(place="centre", size="normal")))


def moved(asked: Instruction, scene: Scene) -> Scene:
    """The scene with its objects elsewhere, if a place is told that belongs to no text."""
    places = [str(m.value) for m in asked.free("place")] or [asked.way][:bool(asked.way)]
    request = read(asked.prompt)
    if request.groups and request.place:     # it knows whose place each is
        places = [request.place]
    new = [place for place in places if place != scene.place] or places
    return replace(scene, place=new[-1]) if new and scene.groups else scene


def joined(asked: Instruction, scene: Scene, new: list[Group]) -> Scene | None:
    """The scene with objects more, at the end of the row that leaves the others where they are."""
    room = MOST_THINGS - sum(g.count for g in scene.groups)
    if room < 1:
        return None
    first = replace(new[0], count=min(new[0].count, room))
    if not scene.groups:
        places = [str(m.value) for m in asked.free("place")]
        return replace(scene, groups=(first,), place=(places or ["centre"])[-1])
    groups = (first, *scene.groups) if scene.place == "right" else (*scene.groups, first)
    return replace(scene, groups=groups)
