"""Where a poster's letters and objects are: for losses that count them more, or less.

Shapes: B batch · H, W image height and width · h, w id grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from minglm.world.colours import COLOURS
from minglm.world.layout import CELL
from minglm.world.objects import sprite, things
from minglm.world.posters import Poster, Region

PARTS = ("all", "upper left", "upper right", "lower left", "lower right")        # of an object in a cell


def letter_cells(poster: Poster) -> Iterator[tuple[Region, slice, slice]]:
    """The rows and columns of pixels of every letter's cell, with the text it belongs to."""
    for region, _, letters in poster.lines:
        for letter in letters:
            y = int(letter.y)
            yield region, slice(y, y + CELL), slice(round(letter.x), round(letter.x + letter.width))


def text_mask(batch: list[Poster]) -> Tensor:
    """(B, 1, H, W): 1 inside the cells of characters, 0 elsewhere."""
    # numpy, since torch is several times slower at writing many small parts
    mask = np.zeros((len(batch), 1, batch[0].height, batch[0].width), dtype=np.float32)
    for i, poster in enumerate(batch):
        for _, rows, columns in letter_cells(poster):
            mask[i, 0, rows, columns] = 1
    return torch.from_numpy(mask)


def square_mask(batch: list[Poster]) -> Tensor:
    """(B, 1, H, W): 1 inside the squares of objects, 0 elsewhere."""
    mask = torch.zeros(len(batch), 1, batch[0].height, batch[0].width)
    for i, poster in enumerate(batch):
        for _, (x0, y0, x1, y1) in poster.boxes:
            mask[i, 0, y0:y1, x0:x1] = 1
    return mask


@lru_cache(maxsize=2048)
def silhouette(name: str, side: int) -> np.ndarray:
    """(side, side): how much of each pixel an object covers."""
    return np.asarray(sprite(name, side).getchannel("A"), dtype=np.float32) / 255


def silhouettes(poster: Poster) -> Iterator[tuple[str, slice, slice, np.ndarray]]:
    """Every object with the rows and columns that its picture has, and how much of each pixel it covers."""
    for name, (x0, y0, x1, y1) in poster.boxes:
        # a margin of two pixels, as in Poster.image; what a person's own picture shows has no name
        covered = silhouette(name, x1 - x0 - 4) if name else np.ones((y1 - y0 - 4, x1 - x0 - 4), np.float32)
        yield name, slice(y0 + 2, y1 - 2), slice(x0 + 2, x1 - 2), covered


def object_mask(batch: list[Poster]) -> Tensor:
    """(B, 1, H, W): 1 where an object covers a pixel, 0 where the ground is seen."""
    mask = np.zeros((len(batch), 1, batch[0].height, batch[0].width), dtype=np.float32)
    for i, poster in enumerate(batch):
        for _, ys, xs, covered in silhouettes(poster):
            mask[i, 0, ys, xs] = covered
    return torch.from_numpy(mask)


def object_cells(batch: list[Poster], cell: int = CELL) -> tuple[Tensor, Tensor, Tensor]:
    """What is on each cell of the id grid, (B, h, w) each: the number of the object that covers most of it;
    which part of the object, one of PARTS; and the share of the cell that it covers, 0 where there is none.
    cell: its side in pixels."""
    rows, columns = batch[0].height // cell, batch[0].width // cell
    which, part = (np.zeros((len(batch), rows, columns), dtype=np.int64) for _ in range(2))
    share = np.zeros((len(batch), rows, columns), dtype=np.float32)
    y, x = (np.arange(rows)[:, None] + 0.5) * cell, (np.arange(columns) + 0.5) * cell    # centres of cells
    for i, poster in enumerate(batch):
        for name, ys, xs, covered in silhouettes(poster):
            alone = np.zeros((poster.height, poster.width), dtype=np.float32)
            alone[ys, xs] = covered
            covers = alone.reshape(rows, cell, columns, cell).mean((1, 3))
            more = covers > share[i]
            which[i][more], share[i][more] = things()[name].index, covers[more]
            part[i][more] = shown_part(ys, xs, y, x, cell)[more]
    return torch.from_numpy(which), torch.from_numpy(part), torch.from_numpy(share)


def shown_part(ys: slice, xs: slice, y: np.ndarray, x: np.ndarray, cell: int) -> np.ndarray:
    """Which of PARTS of an object in rows ys and columns xs the cells with centres y (h, 1), x (w,) show."""
    down, right = y - (ys.start + ys.stop) / 2, x - (xs.start + xs.stop) / 2
    inside = (xs.stop - xs.start <= cell) & (abs(down) < cell / 4) & (abs(right) < cell / 4)
    return np.where(inside, 0, 1 + 2 * (down > 0) + (right > 0))


def filled(batch: list[Poster], images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) of posters with each letter's cell filled with its colour: they show where texts
    are and in which colour, but not what they say."""
    images = images.clone()
    for image, poster in zip(images, batch):
        for region, rows, columns in letter_cells(poster):
            image[:, rows, columns] = torch.tensor(COLOURS[region.colour][0])[:, None, None] / 127.5 - 1
    return images
