"""The objects a poster can show: their names in English and Chinese, and their pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image

from minglm.files import DATA
from minglm.world.colours import COLOURS

TILE, MARGIN, COLUMNS = 96, 2, 20  # of the sheet: pixels per picture and around it, pictures per row


@dataclass(frozen=True)
class Thing:
    """One object. `forms`: each English name with its article ("a", "an", "the", "none") and its plural."""

    en: str
    zh: str
    forms: dict[str, tuple[str, str]]
    zh_names: tuple[str, ...]
    measure: str                             # Chinese measure word: 一只猫
    colours: tuple[str, ...]                 # what people call its colour; may be empty
    index: int                               # in the sheet

    def __hash__(self) -> int:
        return hash(self.en)


@cache
def things() -> dict[str, Thing]:
    """Object name -> object, in the order of the sheet."""
    rows = json.loads((DATA / "objects.json").read_text(encoding="utf-8"))
    return {
        row["en"]: Thing(
            row["en"],
            row["zh"],
            {row["en"]: (row["article"], row["plural"])}
            | {name: tuple(form) for name, form in row["forms"].items()},
            (row["zh"], *row["zh_synonyms"]),
            row["measure"],
            tuple(c for c in row["colours_en"] if c in COLOURS),
            i,
        )
        for i, row in enumerate(rows)
    }


@cache
def sheet() -> Image.Image:
    """All objects, RGBA."""
    with Image.open(DATA / "objects.webp") as image:
        return image.convert("RGBA")


@lru_cache(maxsize=2048)
def sprite(name: str, side: int) -> Image.Image:
    """An object's picture, RGBA, `side` pixels square."""
    i = things()[name].index
    x, y = TILE * (i % COLUMNS), TILE * (i // COLUMNS)
    inner = sheet().crop((x + MARGIN, y + MARGIN, x + TILE - MARGIN, y + TILE - MARGIN))
    # resized with premultiplied alpha ("RGBa"), or transparent pixels would bleed into the edges
    return inner.convert("RGBa").resize((side, side), Image.Resampling.LANCZOS).convert("RGBA")


@cache
def thin() -> tuple[str, ...]:
    """The third of the objects whose outlines are longest for their areas, such as bicycles and spider webs:
    the hardest to draw."""
    def outline(name: str) -> float:
        alpha = np.asarray(sprite(name, 64), dtype=np.float32)[..., 3]
        return sum(float(np.abs(np.diff(alpha, axis=axis)).sum()) for axis in (0, 1)) / float(alpha.sum())

    return tuple(sorted(things(), key=outline)[-(len(things()) // 3):])


@cache
def backgrounds(name: str) -> tuple[str, ...]:
    """The backgrounds on which an object stands out."""
    return stands_out(sprite(name, 60))


def stands_out(picture: Image.Image) -> tuple[str, ...]:
    """The backgrounds on which an RGBA picture stands out: over 70 in RGB distance from its mean colour."""
    pixels = np.asarray(picture, dtype=np.float32).reshape(-1, 4)
    mean = (pixels[:, :3] * pixels[:, 3:]).sum(0) / pixels[:, 3].sum()
    return tuple(c for c, (rgb, _) in COLOURS.items() if np.linalg.norm(mean - rgb) > 70)
