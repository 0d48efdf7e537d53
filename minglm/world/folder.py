"""A person's own pictures with captions, to train on: a folder, checked as a whole before anything trains.

    lighthouse/captions.jsonl    {"file": "1.png", "caption": "a red poster, a lighthouse and “SEA” below"}
    lighthouse/1.png ...         one such line for every picture

What a caption quotes is text that the picture shows. Pictures of any size are resized to one that can be
painted; the aspect changes as little as that allows. The same file may stand in several lines, with a caption
in English and one in Chinese, say.

Units: pixels.
"""

from __future__ import annotations

import json
import math
import os
import unicodedata
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path, PureWindowsPath
from typing import ClassVar

from PIL import Image

from minglm.images import open_image, opened
from minglm.world.layout import CELL, wrap
from minglm.world.posters import Box, validate_texts
from minglm.world.quotes import quoted, unpaired

CAPTIONS, KEYS = "captions.jsonl", ("file", "caption")
EXAMPLE = '{"file": "1.png", "caption": "A red poster with a lighthouse."}'
SHORTEST = 3 * CELL                          # side that can be painted
SMALLEST = CELL                              # side of a picture that is worth enlarging
STRETCH = 1.25                               # by how much the aspect may change
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Picture:
    """One picture with its caption: to training, a poster (posters.py) of which less is known.

    Where its letters stand is not known, so it has no regions and no lines; its object is all of it.
    """

    path: Path
    caption: str
    height: int                              # as it is trained on
    width: int
    texts: tuple[str, ...] = ()              # that it shows
    where: str = field(default="", compare=False)        # file and row of its caption, for errors

    regions: ClassVar[tuple] = ()
    lines: ClassVar[tuple] = ()

    @cached_property
    def image(self) -> Image.Image:
        """The picture, RGB, (height, width), read on first use."""
        image = open_image(self.path)
        size = self.width, self.height
        return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)

    @property
    def boxes(self) -> list[tuple[str, Box]]:
        return [("", (0, 0, self.width, self.height))]

    @property
    def strings(self) -> list[str]:
        """The lines as the glyph encoder reads them."""
        return [line for text in self.texts for line in wrap(text, self.width)]

    def without_texts(self) -> Picture:
        return replace(self, texts=())


def read(folder: str | Path, longest: int = 256) -> tuple[list[Picture], list[str]]:
    """The pictures of a folder in the order of its captions, and notes about what is not used.

    longest: of the sides that can be painted. Every picture is opened once, to be sure, and forgotten again.
    Raises ValueError, of one line that names the file and the row, for whatever cannot be trained on.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file: the folder that holds it is needed" if folder.exists() else
                         f"no folder {str(folder)!r}")
    table, found, rows = folder / CAPTIONS, [], {}
    for number, line in enumerate(text_of(table).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{table}, row {number}"
        try:
            picture = replace(picture_of(folder, line, longest), where=where)
            if (first := rows.setdefault((picture.path, picture.caption), number)) != number:
                raise ValueError(f"file and caption are those of row {first}")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        found.append(picture)
    if not found:
        raise ValueError(f"{table} is empty: a line such as {EXAMPLE} for every picture is needed")
    named = {picture.path for picture in found}
    others = sorted(str(path.relative_to(folder)) for path in folder.rglob("*")
                    if path.suffix.lower() in SUFFIXES and path not in named)
    more = f" and {len(others) - 3} more" * (len(others) > 3)
    return found, [f"not in {table}, so not used: {', '.join(others[:3])}{more}"] * bool(others)


def text_of(path: Path) -> str:
    """The text of a file, without a byte order mark. Raises ValueError naming the file."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: it holds a line such as {EXAMPLE} for every picture") from None
    except UnicodeDecodeError as error:
        row = error.object[:error.start].count(b"\n") + 1
        raise ValueError(f"{path}, row {row}: not UTF-8, save the file in that encoding") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None


def picture_of(folder: Path, line: str, longest: int) -> Picture:
    """The picture of one line. Raises ValueError saying what is wrong with it."""
    file, caption = values_of(line)
    if PureWindowsPath(file).anchor or ".." in PureWindowsPath(file).parts:      # which splits at / and at \
        raise ValueError(f"file {file!r} must be a path from the folder on, and stay in it")
    path = folder / file
    if not os.path.isfile(path):
        raise ValueError(f"there is no file {file!r} in {folder}")
    size = fitted(*size_of(path), longest)
    if mark := unpaired(caption):
        raise ValueError(f"the quotation mark {mark} has no partner, or an empty text, in {caption!r}")
    texts = validate_texts(quoted(caption), *size)
    if not all(texts):
        raise ValueError(f"an empty quotation in {caption!r}")
    return Picture(path, caption, *size, tuple(texts))


def values_of(line: str) -> tuple[str, str]:
    """File and caption of one line. Raises ValueError unless it is an object with these two texts."""
    def once(pairs: list) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"a key stands twice in {line.strip()}")
        return dict(pairs)

    try:
        values = json.loads(line, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        where = f"{error.msg} at column {error.colno}"
        raise ValueError(f"not JSON, {where}: a line such as {EXAMPLE} is needed") from None
    except RecursionError:
        raise ValueError(f"not JSON, too deep: a line such as {EXAMPLE} is needed") from None
    if not isinstance(values, dict) or set(values) != set(KEYS):
        some = values and isinstance(values, dict)
        what = f"the keys {', '.join(map(repr, values))}" if some else repr(values)
        raise ValueError(f"{what}: 'file' and 'caption' are needed, and nothing else, as in {EXAMPLE}")
    for key in KEYS:
        value = values[key]
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{key} {value!r}: a text is needed")
        # half a surrogate pair cannot be written, and a control character is no part of a name or a sentence
        if strange := [c for c in value if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]:
            raise ValueError(f"{key} {value!r}: {strange[0]!r} is no character of a text")
    return values["file"], values["caption"]


def size_of(path: Path) -> tuple[int, int]:
    """Height and width of a picture, upright. Raises ValueError if it cannot be read, or is several."""
    image = open_image(path)
    with opened(path) as file:
        count, kind = getattr(file, "n_frames", 1), file.format
    if count > 1 and kind != "MPO":          # of an MPO, as telephones write, the first is meant
        raise ValueError(f"{str(path)!r} is an animation, or has several pages: save one of its {count}")
    if min(image.size) < SMALLEST:
        raise ValueError(f"{str(path)!r} is {image.height}x{image.width} pixels: at least {SMALLEST} a side "
                         "are needed")
    return image.height, image.width


def fitted(height: int, width: int, longest: int) -> tuple[int, int]:
    """The size to which a picture of any size is brought: both sides multiples of 32 from 96 to `longest`.

    Of these the one nearest in aspect and, less important, in area; a picture is made smaller only where it
    is too large. Raises ValueError if that would stretch it too much.
    """
    scale = min(1.0, longest / max(height, width))
    area = math.prod(max(SHORTEST, side * scale) for side in (height, width))
    sides = range(SHORTEST, longest + 1, CELL)

    def stretch(size: tuple[int, int]) -> float:
        return abs(math.log(size[0] * width / (size[1] * height)))

    def cost(size: tuple[int, int]) -> float:
        return stretch(size) + abs(math.log(math.prod(size) / area)) / 6

    best = min(product(sides, sides), key=cost)
    if stretch(best) > math.log(STRETCH):
        most = STRETCH * longest / SHORTEST
        raise ValueError(f"a picture of {height}x{width}: a side can be {most:.1f} times the other at most")
    return best
