"""What an instruction wants of several pictures: one scene of what each gives.

In English, what a picture gives is named before the picture ("the cat of the first picture"), in Chinese
after it (第一张图的猫). What the instruction does not change stays as in its picture; see combine.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from minglm.world import edit_cues as cues
from minglm.world.changes import in_order
from minglm.world.characters import is_han
from minglm.world.combine import home
from minglm.world.edit_asked import Instruction
from minglm.world.edit_reading import settled
from minglm.world.mentions import Mention
from minglm.world.posters import MOST_THINGS
from minglm.world.quotes import unquoted
from minglm.world.scenes import Scene

AFTER = re.compile(r"\s*['’]s\b|\s*[里上中]?的")      # the first picture's cat, 第一张的猫
OF = re.compile(r"[里上中]?的(?=\s|[，。；、！,;.!]|$)")   # 猫用第一张的


def joined(prompt: str, scenes: Sequence[Scene], height: int, width: int,
           ) -> tuple[Scene, tuple[str, ...]] | None:
    """(the scene of `height` x `width`, what each picture gives); None if the instruction does not tell."""
    asked = [Instruction(prompt, scene) for scene in scenes]
    spans = pictures(asked[0].plain)
    roles = [gives(asked[i], spans.get(i, []))[0] for i in range(len(scenes))]
    if not all(roles) or len(scenes) < 2:
        return None
    objects = [scene for scene, one in zip(scenes, roles) if one == "object"]
    regions = [region for scene, one in zip(scenes, roles) if one == "text" for region in scene.regions]
    groups = tuple(group for scene in objects for group in scene.groups)
    if sum(group.count for group in groups) > MOST_THINGS:
        return None
    first = asked[0]
    colours = [str(m.value) for m in first.said if m.kind == "colour"]
    background = colours[-1] if colours else home(tuple(roles), tuple(scenes)).background
    place, size = (objects[0].place, objects[0].size) if objects else ("centre", "normal")
    things = [m for m in first.said if m.kind == "thing"]
    texts = [m for m, _ in first.quotes] + first.words(cues.LETTERS)
    for m in (m for m in first.said if m.kind == "place"):       # of what was named last
        owner = max((one for one in things + texts if one.end <= m.start), key=lambda one: one.end,
                    default=None)
        if owner in things:
            place = str(m.value)
        elif owner:
            words = " ".join(str(owner.value).split()) if owner.kind == "text" else None
            regions = [replace(region, slot=str(m.value)) if words in (None, region.text) else region
                       for region in regions]
    scene = settled(Scene(background, groups, place, in_order(regions), height, width, size,
                          language="zh" if is_han(unquoted(prompt)) else "en",
                          looks=tuple(look for scene in objects for look in scene.looks)))
    return (scene, tuple(roles)) if scene else None


def pictures(plain: str) -> dict[int, list[re.Match]]:
    """Where an instruction names each picture."""
    found: dict[int, list[re.Match]] = {}
    for told in cues.ORDINAL.finditer(plain):
        number = next(part for part in told.groups() if part).lower()
        found.setdefault(cues.NUMBERS[number], []).append(told)
    return found


def named(prompt: str, count: int) -> list[list[str]]:
    """For each of `count` pictures, the names of the objects that it may show, judging by the instruction; a
    name comes twice if there may be several of it."""
    asked = Instruction(prompt, Scene("white", (), "centre", ()))
    spans, things = pictures(asked.plain), [m for m in asked.said if m.kind == "thing"]
    many = any(m.kind == "number" and m.value != 1 for m in asked.said)

    def names(some: list[Mention]) -> list[str]:
        return [str(m.value) for m in some for _ in range(2 if m.plural or many else 1)]

    if count == 1 or not spans:
        return [names(things)] * count
    given = [gives(asked, spans.get(i, [])) for i in range(count)]
    return [names([m]) if m and role == "object" else [] for role, m in given]


def gives(asked: Instruction, spans: list[re.Match]) -> tuple[str, Mention | None]:
    """What a picture gives, "object", "text" or "background", and its mention: what is nearest to its name;
    "" if that is unknown."""
    items = [(m, "object") for m in asked.said if m.kind == "thing"]
    items += [(m, "text") for m, _ in asked.quotes]
    items += [(m, "text") for m in asked.words(cues.LETTERS)]
    items += [(m, "background") for m in asked.words(cues.GROUND)]
    best: tuple[int, str, Mention | None] = (10 ** 6, "", None)
    for told in spans:
        follows = AFTER.match(asked.plain, told.end()) is not None or is_han(told[0])
        follows = follows and not OF.match(asked.plain, told.end())
        for m, kind in items:
            distance = m.start - told.end() if follows else told.start() - m.end
            if distance >= 0:
                best = min(best, (distance, kind, m), key=lambda one: one[:2])
    return best[1:]
