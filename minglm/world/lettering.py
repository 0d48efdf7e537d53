"""Where a poster's letters are and what they look like: targets for losses on text.

Shapes: B batch · H, W image height and width · N image tokens of the decoder · S glyph tokens.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from minglm.world import layout
from minglm.world.posters import Poster

RASTER = 32                                # side of the raster that each byte's feature is trained to predict


def text_mask(batch: list[Poster]) -> Tensor:
    """(B, 1, H, W): 1 inside the cells of characters, 0 elsewhere."""
    mask = np.zeros((len(batch), 1, batch[0].height, batch[0].width), dtype=np.float32)
    for i, poster in enumerate(batch):
        for region in poster.regions:
            for letter in poster.letters(region):
                x0, x1 = round(letter.x), round(letter.x + letter.width)
                mask[i, 0, int(letter.y):int(letter.y + letter.height), x0:x1] = 1
    return torch.from_numpy(mask)


@cache
def raster(character: str, wide: bool) -> np.ndarray:
    """A character at full pitch, centred in a 32x32 raster, flattened, in [0, 1]."""
    canvas = Image.new("L", (RASTER, RASTER))
    step = layout.HAN_PITCH if wide else layout.LATIN_PITCH
    mask, dx, dy = layout.glyph(character, step, wide)
    canvas.paste(mask, ((RASTER - round(step)) // 2 + dx, dy))
    return np.asarray(canvas, dtype=np.float32).flatten() / 255


def lettering(batch: list[Poster], index: Tensor, token: int = 16) -> tuple[Tensor, Tensor]:
    """Targets for glyph tokens: where their letter is, and what it looks like.

    index (B, S) only gives the shape. Returns rasters (B, S, 32 * 32) and align (B, 2, N, S): the glyph token
    that each image token under text should attend to, one map for upper and one for lower halves of letters
    (rows sum to 1, or to 0 away from text). Of a letter of several bytes the left column attends to the
    first, the right column to the second. In each map, the rows of the other half attend to the string's end
    token. So an image token learns letter, column and half at once.
    """
    rows, columns = batch[0].height // token, batch[0].width // token
    # numpy, because torch is several times slower at writing single elements
    align = np.zeros((len(batch), 2, rows, columns, index.shape[1]), dtype=np.float32)
    rasters = np.zeros((*index.shape, RASTER ** 2), dtype=np.float32)
    for b, poster in enumerate(batch):
        s = 0
        for region in poster.regions:
            wide = layout.is_han(region.text)
            end = s + len(region.text.upper().encode())
            for letter in poster.letters(region):
                count = len(letter.character.encode())                           # bytes of the letter
                rasters[b, s:s + count] = raster(letter.character, wide)
                top, left, right = int(letter.y) // token, letter.x, letter.x + letter.width
                for column in range(int(left) // token, min(columns, -int(-right // token))):
                    overlap = min(right, (column + 1) * token) - max(left, column * token)
                    if overlap > 0:  # an image token on two letters attends to each by its share
                        byte = s + (count > 1 and column > int(left) // token)
                        for half in range(2):
                            align[b, half, top + half, column, byte] += overlap
                            align[b, half, top + 1 - half, column, end] += overlap
                s += count
            s = end + 1
    align = torch.from_numpy(align).flatten(2, 3)
    return align / align.sum(-1, keepdim=True).clamp_min(1e-6), torch.from_numpy(rasters)
