"""Edits: `edit(seed, index)` is a deterministic function to pictures, an instruction, and what it leads to.

    edit(0, 21).instruction  ->  background in green

What evaluation uses is never drawn for training: a tenth of all texts, of the (object, background) and the
(object, place) pairs, some looks, and one way of phrasing per language.

What the networks may know is what somebody knows who edits a picture: the instruction and the pictures. The
planner reads both. The decoder writes the lines that the instruction quotes (`Edit.strings`); every other
letter of the target has to come from the pictures it attends to.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, replace

from minglm.world.changes import CHANGES
from minglm.world.characters import is_han
from minglm.world.colours import text_colours
from minglm.world.combine import ROLES, combined, gives
from minglm.world.draw import SPLITS, draw, has_room, is_held_out
from minglm.world.edit_told import told
from minglm.world.instructions_en import english
from minglm.world.instructions_zh import chinese
from minglm.world.looks import choose_look
from minglm.world.posters import CANVASES, Poster
from minglm.world.scenes import Edit, Scene, is_seen, stays

KINDS = (*CHANGES, "combine")
OFTEN = dict(combine=3, identity=3)          # how often a kind is drawn, if not as often as the others
SIZES = ((128, 128),) * 4 + CANVASES[1:] + ((96, 160), (160, 96), (160, 160))
TRIES = 6                                    # edits that are tried of one scene
ONE = {"object": 1}                          # a picture that gives an object shows one, others any number


def edit(seed: int, index: int, height: int | None = None, width: int | None = None, split: str = "train",
         kind: str | None = None, language: str | None = None) -> Edit:
    """Edit number `index` of stream `seed`; the same arguments always give the same edit.

    height, width: of the target and, if there is one source, of that; None: one of SIZES. split: "train", or
    what evaluation draws its texts from; then whatever can be is held out. kind: one of KINDS; language: of
    the instruction, "en" or "zh"; random if None. Raises ValueError for an unknown split, kind or size.
    """
    for name, value, known in (("split", split, SPLITS), ("kind", kind or KINDS[0], KINDS)):
        if value not in known:
            raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(known)}")
    rng, training = random.Random(f"edit/{seed}/{index}/{split}/{kind}/{language}"), split == "train"
    kind = kind or rng.choices(KINDS, [OFTEN.get(one, 1) for one in KINDS])[0]
    language, size = language or rng.choice(("en", "zh")), rng.choice(SIZES)
    size = height or size[0], width or size[1]
    candidates = of_several if kind == "combine" else of_one
    for sources, target, roles in candidates(rng, kind, language, size, split):
        shown = {group.thing for group in target.groups}
        target = replace(target, looks=tuple(one for one in target.looks if one[0] in shown))
        found = Edit(kind, language, sources, target, roles)
        if is_possible(found) and is_allowed(found, training):
            said = told(found) if not training else (english if language == "en" else chinese)(rng, found)
            return replace(found, instruction=said)
    raise AssertionError("the candidates never end")


Candidate = tuple[tuple[Scene, ...], Scene, tuple[str, ...]]     # sources, target, roles


def of_one(rng: random.Random, kind: str, language: str, size: tuple[int, int], split: str,
           ) -> Iterator[Candidate]:
    """Edits of one picture, without end, most of which will do."""
    looked = 1.0 if kind == "identity" else 0.3 if split == "train" else 0.0
    some = dict(count=0, objects=1) if kind == "identity" else {}
    while True:
        scene = begin(rng, language, size, split, looked, **some)
        if not scene.regions and "text" in kind.replace("add text", "") or (
                not scene.groups and "object" in kind.replace("add object", "")):
            continue
        for _ in range(TRIES):
            pair = CHANGES[kind](rng, scene, split)
            if pair:
                yield pair[:1], pair[1], ()


def of_several(rng: random.Random, kind: str, language: str, size: tuple[int, int], split: str,
               ) -> Iterator[Candidate]:
    """Edits of several pictures, of any sizes, without end."""
    while True:
        roles, scenes = rng.choice(ROLES), []
        looked = 0.3 if split == "train" else 0.5
        for role in roles:
            own = rng.choice((size, rng.choice(SIZES)))
            while not gives(scene := begin(rng, language, own, split, looked, objects=ONE.get(role)), role):
                pass
            scenes.append(scene)
        for _ in range(TRIES):
            if target := combined(rng, roles, tuple(scenes), *size):
                yield tuple(scenes), target, roles


def begin(rng: random.Random, language: str, size: tuple[int, int], split: str, looked: float,
          **content) -> Scene:
    """A scene to begin with; looked: how often its objects have looks."""
    poster = draw("edits", rng.randrange(10 ** 12), *size, split, language, **content)
    names = [group.thing for group in poster.groups] if rng.random() < looked else []
    looks = tuple((name, choose_look(rng, name, held_out=split != "train")) for name in names)
    values = {field.name: getattr(poster, field.name) for field in fields(Poster)}
    return Scene(**values | dict(caption="", language=language, looks=looks))


# ---------------------------------------------------------------- what will do

def is_possible(edit: Edit) -> bool:
    """Whether everything has room, can be seen and read, and nothing has moved that nobody mentioned."""
    source, target = edit.sources[0], edit.target
    for scene in (*edit.sources, target):
        if not has_room(scene) or not all(scene.stands_out(g.thing, scene.background) for g in scene.groups):
            return False
    if not all(region.colour in text_colours(target.background) for region in target.regions):
        return False
    return is_seen(source, target) and (edit.kind in ("identity", "combine") or stays(source, target))


def is_allowed(edit: Edit, training: bool) -> bool:
    """Whether nothing of an edit is held out, if it is for training; else whether what can be is."""
    scenes = [edit.target, *edit.sources]
    if training:
        return not any(is_held_out(scene) for scene in scenes)
    # of one letter or two it cannot be told whether they are there
    clear = all(len(r.text) >= (2 if is_han(r.text) else 3) for scene in scenes for r in scene.regions)
    paired = [scene for scene in scenes if scene.groups]
    return clear and (not paired or is_held_out(paired[0]))
