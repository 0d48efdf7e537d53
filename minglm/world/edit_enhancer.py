"""The enhancer of edits: an instruction becomes the caption of the picture that it leads to.

GLM-Image's planner reads an instruction as it is. One this small knows well what captions mean, from drawing,
and badly what instructions mean: given the ids before it, it gets 0.75 of the ids that change right from the
caption of the target, 0.56 from the instruction. So the pictures are looked at (seen.py), what the
instruction wants is read by rules (edit_reading.py, edit_joining.py), and what it leads to is told as a
poster would be (goals.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from minglm.world.characters import columns, is_han
from minglm.world.edit_asked import Instruction
from minglm.world.edit_joining import joined
from minglm.world.edit_reading import changed, paused
from minglm.world.layout import CELL, wrap
from minglm.world.posters import Region, arrange
from minglm.world.quotes import unquoted
from minglm.world.scenes import Edit, Scene


def lead(instruction: str, scenes: Sequence[Scene], height: int, width: int) -> Edit | None:
    """The edit that an instruction asks for, of scenes as they were seen; None if it is not understood.

    height, width: of the picture it leads to.
    """
    language = "zh" if is_han(unquoted(instruction)) else "en"
    scenes = tuple(replace(scene, language=language) for scene in scenes)
    if len(scenes) > 1:
        found = joined(instruction, scenes, height, width)
        return found and Edit("combine", language, scenes, found[0], found[1], instruction)
    if (scenes[0].height, scenes[0].width) != (height, width):
        return None
    target = changed(Instruction(paused(instruction), scenes[0]))
    return target and Edit("", language, scenes, target, (), instruction)


def worded(scene: Scene, rows: Mapping[str, float]) -> Scene:
    """A scene seen, with the words of some texts in place of x; rows: text -> a y at which it was read."""
    for text, y in rows.items():
        for i, region in enumerate(scene.regions):
            tops = [box[1] for of, _, box in arrange(scene)[1] if of is region]
            at = next((k for k, top in enumerate(tops) if top <= y < top + CELL), None)
            if at is not None and not set(region.text) - set("x\n"):
                there = parted(region, text, at, scene.width)
                scene = replace(scene, regions=(*scene.regions[:i], *there, *scene.regions[i + 1:]))
                break
    return scene


def parted(region: Region, text: str, at: int, width: int) -> list[Region]:
    """A text seen, in which another one was read at line number `at`: what is before it, itself, the rest."""
    seen, lines = region.text.split("\n"), wrap(text, width)

    def unlike(first: int) -> int:
        return sum(abs(columns(line) - len(one)) for line, one in zip(lines, seen[first:]))

    first = min(range(max(0, at - len(lines) + 1), max(0, min(at, len(seen) - len(lines))) + 1), key=unlike)
    parts = "\n".join(seen[:first]), text, "\n".join(seen[first + len(lines):])
    return [replace(region, text=part) for part in parts if part]
