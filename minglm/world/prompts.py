"""The evaluation prompts, data/prompts/*.jsonl, which this file generates.

    python -m minglm.world.prompts   # writes them again, the same every time
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

from minglm.files import DATA, whole_file
from minglm.world.draw import SPLITS, caption, draw
from minglm.world.layout import CELL, HAN_PITCH, LATIN_PITCH, slot_box
from minglm.world.posters import Poster, Region, words

PROMPTS = DATA / "prompts"
SEED = 1234                                  # this and the next are the posters' seeds; training uses neither


def miniposter() -> Iterator[tuple[str, Poster]]:
    """(cell, poster): 2 languages x 1, 2, 3 words x seen, unseen, random words x 40 posters."""
    cells = list(product(("en", "zh"), (1, 2, 3), SPLITS[1:]))
    for i in range(40 * len(cells)):
        language, count, split = cells[i % len(cells)]
        yield f"{language}-{split}-{count}", draw(SEED, i, 128, 128, split, language, count)


def long_text(rng: random.Random, language: str, room: int) -> str:
    """Two words, or one in a narrow slot, that take up at least 70 % of `room` pixels at full size."""
    names = [f"{language}_seen", f"{language}_unseen"]
    step, gap = (HAN_PITCH, "") if language == "zh" else (LATIN_PITCH, " ")
    while True:
        text = gap.join(rng.choice(words(rng.choice(names))) for _ in range(2 if room >= 4 * CELL else 1))
        if 0.7 * room <= len(text) * step <= room:
            return text


def minilong() -> Iterator[tuple[str, Poster]]:
    """(cell, poster): 40 English (12-24 letters) and 40 Chinese (6-12 characters), in 2 or 3 lines."""
    for i in range(80):
        language, (height, width) = ("en", "zh")[i % 2], ((96, 160), (128, 128))[i // 2 % 2]
        rng, letters, most = random.Random(f"long/{i}"), 0, {"en": 24, "zh": 12}[language]
        while not most // 2 <= letters <= most:
            poster = draw(SEED + 1, rng.randrange(10**6), height, width, "seen", language, 2 + i // 4 % 2)
            rooms = [slot_box(region.slot, height, width) for region in poster.regions]
            texts = [long_text(rng, language, x1 - x0) for x0, _, x1, _ in rooms]
            letters = sum(len(text.replace(" ", "")) for text in texts)
        regions = tuple(replace(region, text=text) for region, text in zip(poster.regions, texts))
        poster = replace(poster, regions=regions)
        poster.caption = caption(rng, poster, training=False)
        yield f"{language}-long", poster


SETS = dict(miniposter=miniposter, minilong=minilong)


def write_prompts(folder: Path = PROMPTS) -> None:
    """Write every set, one JSON object per line."""
    for name, posters in SETS.items():
        lines = [json.dumps(dict(cell=cell, **asdict(poster)), ensure_ascii=False)
                 for cell, poster in posters()]
        with whole_file(folder / f"{name}.jsonl") as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_prompts(name: str, limit: int | None = None) -> list[tuple[str, Poster]]:
    """The (cell, poster) pairs of a set, or its first `limit`; any 18 consecutive ones cover all cells.

    Raises ValueError for an unknown set or a limit below 1.
    """
    if name not in SETS:
        raise ValueError(f"unknown prompts {name!r}: choose one of {', '.join(SETS)}")
    if limit is not None and limit < 1:
        raise ValueError(f"a limit of {limit} prompts: at least 1 is needed")
    out = []
    for line in (PROMPTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:limit]:
        values = json.loads(line)
        values["regions"] = tuple(Region(**region) for region in values["regions"])
        out.append((values.pop("cell"), Poster(**values)))
    return out


if __name__ == "__main__":
    write_prompts()
