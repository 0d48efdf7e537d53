"""How each kind of edit leads from one scene to another: one function a kind.

Each takes a scene and returns (the source, the target), or None where the scene gives no occasion. Whether
the rest stays where it was is asked afterwards (`scenes.stays`): a poster's layout may move what nobody
mentioned, and such edits are not made.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from minglm.world.characters import is_han
from minglm.world.colours import COLOURS, text_colours
from minglm.world.draw import slots_for
from minglm.world.objects import things
from minglm.world.posters import MOST_THINGS, PLACES, SLOTS, Group, Region
from minglm.world.scenes import Scene
from minglm.world.styles import STYLES
from minglm.world.texts import choose_text, contains_held_out
from minglm.world.translations import pairs

Pair = tuple[Scene, Scene] | None


def in_order(regions: list[Region]) -> tuple[Region, ...]:
    """Texts in reading order."""
    return tuple(sorted(regions, key=lambda region: SLOTS.index(region.slot)))


def exchanged(scene: Scene, old: Region, new: Region) -> Scene:
    """A scene with one text in place of another."""
    return replace(scene, regions=in_order([new if r == old else r for r in scene.regions]))


def another_text(rng: random.Random, text: str, split: str) -> str:
    """A text that shares no more than letters with `text`, mostly in the same script."""
    language = "zh" if is_han(text) != (rng.random() < 0.15) else "en"
    while True:
        found = choose_text(rng, language, split)
        if found.casefold() not in text.casefold() and text.casefold() not in found.casefold():
            return found


# ---------------------------------------------------------------- background and texts

def background(rng: random.Random, scene: Scene, split: str) -> Pair:
    return scene, replace(scene, background=rng.choice([c for c in COLOURS if c != scene.background]))


def recolour_text(rng: random.Random, scene: Scene, split: str) -> Pair:
    """One text, or all."""
    chosen = rng.choice((scene.regions, (rng.choice(scene.regions),)))
    free = [c for c in text_colours(scene.background) if all(c != r.colour for r in chosen)]
    if not free:
        return None
    colour = rng.choice(free)
    return scene, replace(scene, regions=tuple(
        replace(r, colour=colour) if r in chosen else r for r in scene.regions))


def replace_text(rng: random.Random, scene: Scene, split: str) -> Pair:
    old = rng.choice(scene.regions)
    return scene, exchanged(scene, old, replace(old, text=another_text(rng, old.text, split)))


def add_text(rng: random.Random, scene: Scene, split: str) -> Pair:
    """In a slot that is free, in the colour of the others as a rule."""
    slot = slots_for(rng, scene.place, bool(scene.groups), 1)[0]
    if any(region.slot == slot for region in scene.regions):
        return None
    alike = scene.regions and rng.random() < 0.5
    colour = scene.regions[0].colour if alike else rng.choice(text_colours(scene.background))
    tongue = scene.language if rng.random() < 0.88 else {"en": "zh", "zh": "en"}[scene.language]
    new = Region(slot, choose_text(rng, tongue, split), colour)
    return scene, replace(scene, regions=in_order([*scene.regions, new]))


def remove_text(rng: random.Random, scene: Scene, split: str) -> Pair:
    """One text, or all; something is left."""
    gone = rng.choice((scene.regions, (rng.choice(scene.regions),)))
    target = replace(scene, regions=tuple(r for r in scene.regions if r not in gone))
    return (scene, target) if target.regions or target.groups else None


def move_text(rng: random.Random, scene: Scene, split: str) -> Pair:
    """To a slot that is free."""
    old = rng.choice(scene.regions)
    slot = slots_for(rng, scene.place, bool(scene.groups), 1)[0]
    if any(region.slot == slot for region in scene.regions):
        return None
    return scene, exchanged(scene, old, replace(old, slot=slot))


@cache
def translations(held_out: bool) -> list[tuple[str, str]]:
    """The pairs of the dictionary for evaluation, or those for training."""
    return [pair for pair in pairs() if any(map(contains_held_out, pair)) == held_out]


def translate_text(rng: random.Random, scene: Scene, split: str) -> Pair:
    """A text of the dictionary stands on the source. In evaluation half of the pairs are held out."""
    held_out = split != "train" and rng.random() < 0.5
    one, other = rng.choice(translations(held_out))[::rng.choice((1, -1))]
    if is_han(one) == is_han(other) or any(r.text in (one, other) for r in scene.regions):
        return None                          # T恤 is Chinese and DNA is DNA
    old = rng.choice(scene.regions)
    source = exchanged(scene, old, replace(old, text=one))
    return source, exchanged(scene, old, replace(old, text=other))


# ---------------------------------------------------------------- objects, and the whole

def another_thing(rng: random.Random, scene: Scene) -> str:
    shown = [group.thing for group in scene.groups]
    return rng.choice([name for name in things() if name not in shown])


def swap_object(rng: random.Random, scene: Scene, split: str) -> Pair:
    old = rng.choice(scene.groups)
    new = Group(another_thing(rng, scene), old.count)
    return scene, replace(scene, groups=tuple(new if g == old else g for g in scene.groups))


def move_object(rng: random.Random, scene: Scene, split: str) -> Pair:
    """All that stand in the row, so there is one kind."""
    place = rng.choice([place for place in PLACES if place != scene.place])
    return (scene, replace(scene, place=place)) if len(scene.groups) == 1 else None


def add_object(rng: random.Random, scene: Scene, split: str) -> Pair:
    """At the end of the row that leaves the others where they are; or anywhere, where there is none."""
    shown = sum(group.count for group in scene.groups)
    new = Group(another_thing(rng, scene), rng.choice((1, 1, 1, 2)) if shown < 2 else 1)
    if not scene.groups:
        return scene, replace(scene, groups=(new,), place=rng.choice(tuple(PLACES)))
    groups = (new, *scene.groups) if scene.place == "right" else (*scene.groups, new)
    return (scene, replace(scene, groups=groups)) if shown + new.count <= MOST_THINGS else None


def remove_object(rng: random.Random, scene: Scene, split: str) -> Pair:
    """One kind; something is left."""
    gone = rng.choice(scene.groups)
    groups = tuple(group for group in scene.groups if group != gone)
    bare = {} if groups else dict(place="centre", size="normal")
    return (scene, replace(scene, groups=groups, **bare)) if groups or scene.regions else None


def recount_object(rng: random.Random, scene: Scene, split: str) -> Pair:
    old = rng.choice(scene.groups)
    if all(form == "none" for form, _ in things()[old.thing].forms.values()):
        return None                          # two jeans
    most = MOST_THINGS - sum(group.count for group in scene.groups if group != old)
    new = replace(old, count=rng.randint(1, most))
    return scene, replace(scene, groups=tuple(new if g == old else g for g in scene.groups))


def restyled(rng: random.Random, scene: Scene, split: str) -> Pair:
    """Pixel art is seen on objects."""
    return scene, replace(scene, style=rng.choice([s for s in STYLES if scene.groups or s != "pixel art"]))


def identity(rng: random.Random, scene: Scene, split: str) -> Pair:
    """The object elsewhere: on another background, at another place, with a text; the first two or all."""
    target = replace(scene, regions=())
    if rng.random() < 0.75:
        target = background(rng, target, split)[1]
    if rng.random() < 0.5:
        target = move_object(rng, target, split)[1]
    if target != scene and rng.random() < 0.6:
        target = (add_text(rng, target, split) or (scene, target))[1]
    return scene, target


CHANGES = {
    "background": background, "recolour text": recolour_text, "replace text": replace_text,
    "add text": add_text, "remove text": remove_text, "move text": move_text,
    "translate text": translate_text, "swap object": swap_object, "move object": move_object,
    "add object": add_object, "remove object": remove_object, "recount object": recount_object,
    "restyle": restyled, "identity": identity,
}
