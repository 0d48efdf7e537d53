"""Pieces of notebook 11 that the library has in another form or not at all, as twins.py.

Shapes: N tokens · h, w id grid · H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from minglm.generate import paint
from minglm.generate.pipeline import Pipeline
from minglm.images import to_images
from minglm.measure.ssim import C1, C2
from minglm.model import flow
from minglm.model.planner import positions


def copy_distance(shapes: list[tuple[int, int]], text: int, which: int) -> int:
    """By how much the positions of a cell of a new picture exceed those of the same cell of source number
    `which`, where sources of these shapes (h, w) and `text` ids come before it; each has boi and eoi."""
    place = positions([part for shape in shapes for part in (1, shape, 1)] + [text, (1, 1)])
    before = sum(rows * columns + 2 for rows, columns in shapes[:which]) + 1
    return int(place[0, -1] - place[0, before])


def reference_mask(references: list[int], target: int) -> Tensor:
    """Block-causal attention: (N, N), True where a row may attend to a column, for tokens of each reference
    and then of the new picture, which alone attends to all."""
    sizes = torch.tensor([*references, target])
    block = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    return (block[:, None] == block) | (block[:, None] == len(references))


@torch.no_grad()
def one_edit(pipe: Pipeline, instruction: str, images: list[Image.Image], steps: int = 20,
             guidance: float = 1.5, seed: int = 0) -> Image.Image:
    """The picture that the library paints for one instruction, of the size of the first of `images`, if it
    draws one plan and does not guide it."""
    read, width = [pipe.read(image) for image in images], images[0].width
    rows, columns = read[0].ids.shape
    noise = pipe.noise(seed, 1, (pipe.config.vae.channels, 4 * rows, 4 * columns))
    with pipe.editing.on():
        _, plan = pipe.plan([instruction], rows, columns, [paint.generator(seed)], [read])
        memory = [[pipe.decoder.remember(one.latents, one.ids[None]) for one in read]]
        velocity = pipe.velocity([pipe.unwritten(instruction, read, width)], plan, guidance, memory)
        *_, latents = flow.sample(velocity, noise,
                                  *flow.schedule(steps, 4 * rows * columns, pipe.config.flow))
    return to_images(pipe.vae.decode(latents))[0]


def ssim_of_windows(x: Tensor, y: Tensor) -> Tensor:
    """The SSIM (...) of windows x, y (..., n) of brightness in 0..255."""
    mx, my = x.mean(-1), y.mean(-1)
    xx, yy, xy = (x * x).mean(-1) - mx * mx, (y * y).mean(-1) - my * my, (x * y).mean(-1) - mx * my
    return (2 * mx * my + C1) * (2 * xy + C2) / ((mx * mx + my * my + C1) * (xx + yy + C2))


def kept(picture: np.ndarray, target: np.ndarray, region: np.ndarray, similar: Callable) -> float:
    """The mean of similar(picture, target) (H, W) outside `region`, inside which the target stands for the
    picture; of everything if nothing is outside. picture, target (H, W): brightness."""
    rest = region if region.all() else ~region
    return float(similar(np.where(rest, picture, target), target)[rest].mean())
