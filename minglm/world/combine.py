"""Several pictures made one: the panda of the first with the text of the second on the third's background.

What nobody asks otherwise is as in the picture it comes from: an object's place and size, a text's slot and
colour. The background is the first picture's, unless it is asked for.
"""

from __future__ import annotations

import random

from minglm.world.colours import COLOURS
from minglm.world.draw import slots_for
from minglm.world.posters import MOST_THINGS, PLACES, Region
from minglm.world.scenes import Scene

ROLES = (  # what each picture gives, as often as it stands here
    ("object", "text"), ("object", "text"), ("object", "text"), ("text", "object"), ("text", "object"),
    ("object", "object"), ("object", "object"), ("object", "background"), ("background", "object"),
    ("text", "background"), ("object", "object", "text"), ("object", "text", "background"),
    ("background", "object", "text"), ("object", "object", "background"),
    ("object", "object", "text", "background"),
)


def gives(scene: Scene, role: str) -> bool:
    """Whether a picture has what it is to give."""
    return bool({"object": scene.groups, "text": scene.regions}.get(role, True))


def home(roles: tuple[str, ...], scenes: tuple[Scene, ...]) -> Scene:
    """The picture whose background is taken unless another colour is told."""
    return scenes[roles.index("background")] if "background" in roles else scenes[0]


def combined(rng: random.Random, roles: tuple[str, ...], scenes: tuple[Scene, ...], height: int, width: int,
             ) -> Scene | None:
    """One scene of `height` x `width` from several, or None where they cannot be joined."""
    objects = [scene for scene, role in zip(scenes, roles) if role == "object"]
    regions = [region for scene, role in zip(scenes, roles) if role == "text" for region in scene.regions]
    groups = tuple(group for scene in objects for group in scene.groups)
    if sum(group.count for group in groups) > MOST_THINGS or len({g.thing for g in groups}) < len(groups):
        return None
    background = home(roles, scenes).background
    if "background" not in roles and rng.random() < 0.3:
        background = rng.choice([colour for colour in COLOURS if colour != background])
    place, size = (objects[0].place, objects[0].size) if objects else ("centre", "normal")
    if objects and rng.random() < 0.3:
        place = rng.choice([other for other in PLACES if other != place])
    if rng.random() < 0.3:                   # and the texts elsewhere
        slots = slots_for(rng, place, bool(groups), len(regions))
        regions = [Region(slot, region.text, region.colour) for slot, region in zip(slots, regions)]
    looks = tuple(look for scene in objects for look in scene.looks)
    return Scene(background, groups, place, tuple(regions), height, width, size,
                 language=scenes[0].language, looks=looks)
