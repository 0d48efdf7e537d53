"""What an instruction wants of the objects of a picture: they come, go, move, or change kind or number."""

from __future__ import annotations

from dataclasses import replace

from minglm.world import edit_cues as cues
from minglm.world.characters import is_han
from minglm.world.counting import how_many, is_measure
from minglm.world.declined import declined
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
             if m.kind == "thing" and m not in asked.used and not is_measure(asked.prompt, m)]
    new = {name: how_many(asked.prompt, asked.said, i) for i, name in named if name not in there}
    old = [there[name] for name in dict.fromkeys(name for _, name in named) if name in there]
    no = unwanted(asked)
    if not old and len(there) == 1 and meant(asked, bool(new)):
        old = list(scene.groups)
    if new:
        if len(old) > 1:                     # not the cat, the dog should be a horse
            old = [group for group in old if group.thing not in no] or old
        others = [Group(name, min(number(asked, name, *told, old), MOST_THINGS))
                  for name, told in new.items()]
        if not old and len(there) > 1 and asked.has(cues.REPLACE) and not asked.has(cues.ADD):
            return replace(scene, groups=(others[0],)) if asked.has(cues.ALL_OF) else None
        if not old and not asked.has(cues.ADD) and (asked.has(cues.REMOVE) or asked.has(cues.MOVES)):
            return None                      # what is to go, or to move, is not there
        if not old or not swaps(asked):
            return joined(asked, scene, others)
        after = exchanged(scene, old[0], others[0])
        return moved(asked, after) if asked.has(cues.MOVES) else after
    if len(old) > 1 and any(group.thing in no for group in old) and asked.has(cues.WANTS):
        return without(scene, [group for group in old if group.thing in no])
    if len(old) == 1 < len(there) and asked.has(cues.ALONE) and not (
            asked.has(cues.REMOVE) or asked.free("colour") or asked.free("place") or numbers(asked)):
        return without(scene, [group for group in scene.groups if group not in old])
    if len(old) == 1:
        return counted(asked, scene, old[0])
    if old and asked.has(cues.REMOVE):
        return without(scene, old)
    return moved(asked, scene) if old else scene


def unwanted(asked: Instruction) -> set[str]:
    """The names of objects before or after which a "not" stands."""
    things = [m for m in declined(asked.prompt, asked.said) if m.kind == "thing"]
    return {str(m.value) for m in asked.said if m.kind == "thing" and (
        m not in things or cues.NOT.search(asked.plain[:m.start]))}


def number(asked: Instruction, name: str, count: int, known: bool, old: list[Group]) -> int:
    """How many there are of a new object: as many as of the old one, if nothing is told; a dog is one."""
    if known or len(old) != 1 or not swaps(asked):
        return count
    [m] = [m for m in asked.said if m.value == name][:1]
    one = count == 1 and not is_han(asked.prompt[m.start])
    return old[0].count if not one and old[0].count > 1 else count


def meant(asked: Instruction, new: bool) -> bool:
    """Whether the only kind of object is meant where it is not named: make it two; turn it into a dog."""
    if new:
        return (asked.has(cues.REPLACE) or asked.has(cues.INTO)) and not asked.has(cues.ADD)
    others = asked.quotes or asked.has(cues.LETTERS) or asked.has(cues.GROUND) or asked.free("colour")
    return not others and bool(numbers(asked) or not asked.scene.regions)


def swaps(asked: Instruction) -> bool:
    """Whether a new object is to stand in place of one that is there, not beside it."""
    if asked.has(cues.REMOVE):
        return True
    return not asked.has(cues.BESIDE) and (
        asked.has(cues.REPLACE) or not asked.has(cues.ADD))


def exchanged(scene: Scene, old: Group, new: Group) -> Scene:
    return replace(scene, groups=tuple(new if group == old else group for group in scene.groups))


def counted(asked: Instruction, scene: Scene, group: Group) -> Scene | None:
    """The scene with more or fewer of one kind of object, or none; or with its objects elsewhere."""
    told, gone = numbers(asked), asked.has(cues.REMOVE)
    if gone and not any(number < group.count for number in told):
        # what is to come in its place is not known
        return None if asked.has(cues.SWAPS) else without(scene, [group])
    if told or more(asked, group) or asked.has(cues.LESS):
        few = min(told, default=1)
        count = next((number for number in told if number != group.count), group.count)
        if (gone and len(told) == 1 or asked.has(cues.LESS) and len(told) < 2) and not asked.has(cues.ONLY):
            count = group.count - few        # one of the cats
        elif more(asked, group) and len(told) < 2:
            count = group.count + few        # another cat
        if count != group.count:
            return exchanged(scene, group, replace(group, count=max(1, min(count, MOST_THINGS))))
    return moved(asked, scene)


def more(asked: Instruction, group: Group) -> bool:
    """Whether more is wanted of an object, not something unknown beside it."""
    things = [m for m in asked.said if m.kind == "thing" and m.value == group.thing]
    for told in asked.words(cues.MORE):
        after = [m for m in things if m.start >= told.end]
        if not after or cues.OF_IT.fullmatch(asked.plain, told.end, after[0].start):
            return True
    return False


def numbers(asked: Instruction) -> list[int]:
    """The numbers of objects that an instruction tells, in order; not those of pictures."""
    pictures = asked.words(cues.ORDINAL)
    return [int(m.value) for m in asked.said if m.kind == "number" and 1 <= int(m.value) <= MOST_THINGS
            and not any(p.start <= m.start < p.end for p in pictures)
            and not cues.RATHER.match(asked.plain, m.start)]


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
