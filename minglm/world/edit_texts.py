"""What an instruction wants of the texts of a picture: they come, go, move, or change words or colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from minglm.world import edit_cues as cues
from minglm.world.asked import Asked
from minglm.world.changes import in_order
from minglm.world.colours import text_colours
from minglm.world.edit_asked import Instruction, gap
from minglm.world.mentions import Mention
from minglm.world.posters import Region
from minglm.world.reading import read
from minglm.world.scenes import Scene
from minglm.world.translations import ASKS, translated

NEAR = 24                                    # characters between a text and its colour or place
COMMON = ("black", "white", "yellow", "blue", "red")     # colours of a text of which none is told


def texts(asked: Instruction) -> Scene | None:
    """Texts that come, go, move, or change their words or their colour; None if it is not clear which."""
    scene, told, where = asked.scene, details(asked), relation(asked)
    old = [(m, region) for m, text in asked.quotes if (region := asked.region(text))]
    new = [text for _, text in asked.quotes if not asked.region(text)]
    as_well = asked.has(cues.ADD) and not any(map(asked.has, (ASKS, cues.REPLACE, cues.REMOVE)))
    if not old and len(new) < 2 and (not new or replaces(asked)):
        old = [(None, region) for region in described(asked)]
    lost = asked.has(cues.REMOVE) or len(new) > 1 and asked.has(cues.REPLACE) and not as_well
    if new and not old and lost:
        return None                          # what is to go, or to be replaced, is not there
    if old and not new and asked.has(ASKS):  # the dictionary has it, or nobody knows
        new = [translated(region.text) or "" for _, region in old]
        if not all(new):
            return None
    if alone(asked, old, new):               # only keep "Hello"
        return replace(scene, regions=tuple(region for _, region in old))
    if new and old and not as_well:
        for text, (_, region) in zip(new, old):
            one = told.get(text, Asked(text))
            scene = swapped(scene, region, Region(one.slot or region.slot, text, one.colour or region.colour))
        new = new[len(old):]
    elif not new:
        spent = list(asked.used)
        for m, region in old:
            if m is None:                    # all that are meant become alike
                asked.used = list(spent)
            scene = altered(asked, scene, m, region, told, where)
    for text in new:
        scene = written(asked, scene, told.get(text, Asked(text)))
    if asked.quotes or old:
        use(asked)
    return scene


def details(asked: Instruction) -> dict[str, Asked]:
    """What an instruction says about each text that it quotes. A single colour holds for all of them ("A" and
    "B" in red), if all are in the picture. Places understood already, such as an object's, do not count."""
    prompt = asked.prompt
    for m in asked.used:
        if m.kind == "place":
            prompt = prompt[:m.start] + " " * (m.end - m.start) + prompt[m.end:]
    told = {" ".join(one.text.split()): one for one in read(prompt).texts}
    colours = {one.colour for one in told.values() if one.colour}
    if len(colours) == 1 and all(asked.region(text) for text in told):
        told = {text: replace(one, colour=min(colours)) for text, one in told.items()}
    return told


def replaces(asked: Instruction) -> bool:
    """Whether new words are for a text that is there."""
    if not asked.scene.regions:
        return False
    if asked.has(cues.REMOVE):
        return asked.has(cues.LETTERS)
    says = asked.has(cues.SAYS) or asked.has(cues.REPLACE) or asked.has(ASKS)
    return says and not asked.has(cues.ADD)


def described(asked: Instruction) -> list[Region]:
    """The texts that an instruction means without quoting them: the text at the top, the blue words."""
    regions, letters = asked.scene.regions, cues.LETTERS.search(asked.plain)
    alone = not asked.scene.groups and not asked.has(cues.GROUND)
    if not regions or not (letters or asked.quotes or alone and asked.has(cues.REMOVE) or by_colour(asked)):
        return []
    if len(regions) == 1 or asked.has(cues.EVERY):
        which = list(regions)
    elif asked.has(cues.FIRST) != asked.has(cues.LAST):
        which = [regions[0 if asked.has(cues.FIRST) else -1]]
    else:
        which = [r for r in regions if any(m.value == r.slot for m in asked.free("place"))] or [
            r for r in regions if any(m.value == r.colour for m in asked.free("colour"))]
    # what tells which text is meant tells nothing else; 上面的字 may be all that is on the picture
    asked.used += [m for m in asked.free("place") if cues.ON_IT.match(asked.plain, m.end)]
    for kind, of in (("place", "slot"), ("colour", "colour")):
        asked.used += [m for m in asked.free(kind) if any(m.value == getattr(r, of) for r in which)]
    return which or list(regions if letters else ())


def alone(asked: Instruction, old: list, new: list[str]) -> bool:
    """Whether of several texts only some are to stay."""
    if not old or new or len(old) == len(asked.scene.regions) or not asked.has(cues.ALONE):
        return False
    others = asked.free("colour") or asked.free("place") or asked.has(ASKS)
    return not others and (asked.has(cues.OTHERS) or not asked.has(cues.REMOVE))


def by_colour(asked: Instruction) -> bool:
    """Whether only its colour tells that a text is meant: red, not white."""
    colours = {str(m.value) for m in asked.free("colour")}
    return len(colours) > 1 and not asked.has(cues.GROUND) and asked.scene.background not in colours and any(
        region.colour in colours for region in asked.scene.regions)


def relation(asked: Instruction) -> str:
    """Where a text is to stand, if that is said relative to an object: put "Hello" under the cat. The object
    is set aside: the instruction wants no change to it."""
    names = {group.thing for group in asked.scene.groups}
    for m in asked.free("thing") if asked.quotes or asked.has(cues.LETTERS) else ():
        after = asked.plain[m.end:]
        for slot, before, behind in (("top", cues.OVER, cues.OVER_ZH), ("bottom", cues.UNDER, cues.UNDER_ZH)):
            if m.value in names and (told := before.search(asked.plain[:m.start]) or behind.match(after)):
                start, end = (told.start(), m.end) if told.re is before else (m.start, m.end + told.end())
                asked.used += [x for x in asked.said if start <= x.start < end]
                return slot
    return ""


def swapped(scene: Scene, old: Region, new: Region | None) -> Scene:
    regions = [new if r == old else r for r in scene.regions]
    return replace(scene, regions=in_order([r for r in regions if r]))


def altered(asked: Instruction, scene: Scene, m: Mention | None, region: Region, told: Mapping[str, Asked],
            where: str) -> Scene:
    """The scene with a text gone, or in another colour or place. m: where it is quoted; where: over or under
    an object."""
    if asked.has(cues.REMOVE):
        return swapped(scene, region, None)
    one = told.get(" ".join(region.text.split())) if m else None
    colours, slots = ([c for c in asked.free(kind) if str(c.value) != now]
                      for kind, now in (("colour", region.colour), ("place", region.slot)))
    if asked.free("thing") or m and asked.has(cues.GROUND):
        colours, slots = [], []              # they may be another's
    asked.used += colours[-1:] + slots[-1:]
    colour = one and one.colour or "".join(str(c.value) for c in colours[-1:])
    slot = where or one and one.slot or "".join(str(p.value) for p in slots[-1:]) or asked.way
    return swapped(scene, region, replace(region, colour=colour or region.colour, slot=slot or region.slot))


def readable(background: str, first: Sequence[str] = ()) -> str:
    """A colour that can be read on a background, one of `first` if possible."""
    every = text_colours(background)
    return next(colour for colour in (*first, *COMMON, *every) if colour in every)


def written(asked: Instruction, scene: Scene, one: Asked) -> Scene:
    """The scene with one more text, in the colour of those that are there if none is told."""
    colour = one.colour or readable(scene.background, [region.colour for region in scene.regions])
    slots = ("top", "bottom", *(() if scene.groups else ("centre",)))
    free = [slot for slot in slots if slot != scene.place and all(r.slot != slot for r in scene.regions)]
    # a place may be told that is another's
    told = any(m.value == one.slot for m in asked.free("place"))
    slot = one.slot if one.slot and told else (free or ["bottom"])[0]
    if not scene.groups and asked.has(cues.BETWEEN):
        slot = "centre"
    return replace(scene, regions=in_order([*scene.regions, Region(slot, one.text, colour)]))


def use(asked: Instruction) -> None:
    """Set aside the colours and places that belong to texts: those beside a quotation, or beside the word
    for a text, unless it is the ground or an object they stand beside."""
    spots = [m for m, _ in asked.quotes] + asked.words(cues.LETTERS)
    others = asked.free("thing") + asked.words(cues.GROUND)
    asked.used += [m for m in asked.free("colour") + asked.free("place")
                   if gap(m, spots) <= min(NEAR, gap(m, others))]
