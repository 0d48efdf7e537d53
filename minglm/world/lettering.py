"""Where a poster's letters are and what they look like: targets for losses on text.

Every byte that stands for something visible has one cell of 16 x 32 pixels: a narrow character's first byte
all of it, a wide character's first byte its left half and its second byte its right half.

Shapes: B batch · H, W image height and width · N image tokens of the decoder · S glyph tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from minglm.world.characters import is_wide
from minglm.world.layout import CELL, PITCH, glyph
from minglm.world.posters import Poster

RASTER = (CELL, PITCH)                       # height and width of what each byte's feature is trained to draw


@cache
def raster(character: str, wide: bool) -> np.ndarray:
    """A character at full pitch, (2, 32, 16) or (1, 32, 16), in [0, 1]: one plane for each of its cells."""
    cells = 1 + wide
    canvas = Image.new("L", (PITCH * cells, CELL))
    mask, dx, dy = glyph(character, PITCH * cells, wide)
    canvas.paste(mask, (dx, dy))
    pixels = np.asarray(canvas, dtype=np.float32) / 255
    return np.stack(np.split(pixels, cells, axis=1))


def rasters(lines: list[str]) -> np.ndarray:
    """What the glyph tokens of one picture's lines draw: (S, 32 * 16), zeros where a byte draws nothing."""
    length = sum(len(line.encode()) + 1 for line in lines)
    found = np.zeros((length, *RASTER), dtype=np.float32)
    at = 0
    for line in lines:
        for c in line:
            planes = raster(c, is_wide(c, line))
            found[at:at + len(planes)] = planes
            at += len(c.encode())
        at += 1                              # the end token
    return found.reshape(length, RASTER[0] * RASTER[1])


def cells(poster: Poster) -> Iterator[tuple[int, int, float, float, float]]:
    """(glyph token, the end token of its line, x0, x1, y) of every cell of a poster's letters."""
    at = 0
    for _, line, letters in poster.lines:
        end = at + len(line.encode())
        for letter in letters:
            width = letter.width / (1 + letter.wide)
            for k in range(1 + letter.wide):
                yield at + k, end, letter.x + k * width, letter.x + (k + 1) * width, letter.y
            at += len(letter.character.encode())
        at = end + 1


def lettering(batch: list[Poster], index: Tensor, token: int = PITCH) -> tuple[Tensor, Tensor]:
    """Targets for glyph tokens: where their cell is, and what it looks like.

    index (B, S) only gives the shape. Returns rasters (B, S, 32 * 16) and align (B, 2, N, S): the glyph token
    that each image token under text should attend to, one map for upper and one for lower halves of letters
    (rows sum to 1, or to 0 away from text). In each map, the rows of the other half attend to the line's end
    token. So an image token learns letter, column and half at once.
    """
    rows, columns = batch[0].height // token, batch[0].width // token
    # numpy, because torch is several times slower at writing single elements
    align = np.zeros((len(batch), 2, rows, columns, index.shape[1]), dtype=np.float32)
    drawn = np.zeros((*index.shape, RASTER[0] * RASTER[1]), dtype=np.float32)
    for b, poster in enumerate(batch):
        if poster.strings:
            picture = rasters(poster.strings)
            drawn[b, :len(picture)] = picture
        for byte, end, x0, x1, y in cells(poster):
            top = int(y) // token
            for column in range(int(x0) // token, min(columns, -int(-x1 // token))):
                overlap = min(x1, (column + 1) * token) - max(x0, column * token)
                if overlap > 0:  # an image token on two letters attends to each by its share
                    for half in range(2):
                        align[b, half, top + half, column, byte] += overlap
                        align[b, half, top + 1 - half, column, end] += overlap
    align = torch.from_numpy(align).flatten(2, 3)
    return align / align.sum(-1, keepdim=True).clamp_min(1e-6), torch.from_numpy(drawn)
