"""Where a poster's letters and objects are, as weights for losses.

Shapes: B batch · H, W image height and width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from minglm.world.layout import CELL
from minglm.world.posters import Poster


def text_mask(batch: list[Poster]) -> Tensor:
    """(B, 1, H, W): 1 inside the cells of characters, 0 elsewhere."""
    mask = np.zeros((len(batch), 1, batch[0].height, batch[0].width), dtype=np.float32)
    for i, poster in enumerate(batch):
        for _, _, letters in poster.lines:
            for letter in letters:
                y = int(letter.y)
                mask[i, 0, y:y + CELL, round(letter.x):round(letter.x + letter.width)] = 1
    return torch.from_numpy(mask)


def object_mask(batch: list[Poster]) -> Tensor:
    """(B, 1, H, W): 1 inside the squares of objects, 0 elsewhere."""
    mask = torch.zeros(len(batch), 1, batch[0].height, batch[0].width)
    for i, poster in enumerate(batch):
        for _, (x0, y0, x1, y1) in poster.boxes:
            mask[i, 0, y0:y1, x0:x1] = 1
    return mask
