"""MiniEdit: 300 held-out edits, 10 of each kind in each language. data/prompts/miniedit.jsonl holds them.

    python -m minglm.world.edit_prompts   # writes them again, the same every time

Their texts, their looks, their way of phrasing and one of their pairs of an object with a background or a
place never occur in training. Only half of the translations can be held out: a word that was never translated
cannot be known, so those are given in the instruction.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path

from minglm.files import whole_file
from minglm.world.edits import KINDS, SIZES, edit
from minglm.world.looks import Look
from minglm.world.posters import Group, Region
from minglm.world.prompts import PROMPTS, SEED
from minglm.world.scenes import Edit, Scene

EACH = 10                                    # edits of a kind in a language


def miniedit() -> Iterator[Edit]:
    """The edits, made anew."""
    for kind, language, i in product(KINDS, ("en", "zh"), range(EACH)):
        # phrases are longer than words: a third of the edits, on larger pictures
        split = ("words", "words", "phrases")[i % 3]
        size = SIZES[0] if split == "words" else (192, 192)
        yield edit(SEED, i, *size, split, kind, language)


def write_edits(folder: Path = PROMPTS) -> None:
    """Write the edits, one JSON object per line."""
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in miniedit()]
    with whole_file(folder / "miniedit.jsonl") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_edits(limit: int | None = None) -> list[Edit]:
    """The edits, or `limit` of them at random, always the same. Raises ValueError for a limit below 1."""
    if limit is not None and limit < 1:
        raise ValueError(f"a limit of {limit} edits: at least 1 is needed")
    rows = (PROMPTS / "miniedit.jsonl").read_text(encoding="utf-8").splitlines()
    found = [read_edit(json.loads(row)) for row in rows]
    if limit is None or limit >= len(found):
        return found
    return [found[i] for i in sorted(random.Random(0).sample(range(len(found)), limit))]


def read_edit(values: dict) -> Edit:
    """An edit from what `asdict` made of it."""
    scenes = [read_scene(one) for one in (*values["sources"], values["target"])]
    return Edit(**values | dict(sources=tuple(scenes[:-1]), target=scenes[-1], roles=tuple(values["roles"])))


def read_scene(values: dict) -> Scene:
    """A scene from what `asdict` made of it."""
    return Scene(**values | dict(
        groups=tuple(Group(**group) for group in values["groups"]),
        regions=tuple(Region(**region) for region in values["regions"]),
        looks=tuple((name, Look(**look)) for name, look in values["looks"])))


if __name__ == "__main__":
    write_edits()
