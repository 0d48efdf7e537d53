"""What a training step sees: its size, its posters, its noise, all from the number of the step.

A batch is a pure function of (stage, step): posters by index, noise from a CPU generator seeded
with the step. So runs resume exactly, and devices agree.

Shapes: B batch · H, W image size.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minglm.pipeline import to_tensor
from minglm.posters import Poster, draw
from minglm.train import Recipe

SIZES = ((128, 128), (96, 160), (160, 96))
SEEDS = dict(vae=1, tokenizer=2, planner=3, decoder=4)  # one stream of posters per stage
POOL = 4                                     # batches sorted together by length of text


def generator(stage: str, step: int) -> torch.Generator:
    """The CPU generator of one step."""
    return torch.Generator().manual_seed(1_000_003 * SEEDS[stage] + step)


def batch_size(step: int, recipe: Recipe) -> tuple[int, int]:
    """The image size of a step: square first; in the last half every third batch another size."""
    late = step >= recipe.steps // 2
    return SIZES[1 + step // 3 % 2] if late and step % 3 == 0 else SIZES[0]


def drawn(stage: str, step: int, recipe: Recipe, size: tuple[int, int]) -> list[Poster]:
    """The posters of one step."""
    first = step * recipe.batch
    return [draw(SEEDS[stage], first + i, *size) for i in range(recipe.batch)]


def pixels(batch: list[Poster]) -> Tensor:
    """Pictures of one size -> (B, 3, H, W) in [-1, 1]."""
    return to_tensor([p.image for p in batch])


def alike(step: int, recipe: Recipe) -> list[Poster]:
    """The posters of a decoder step: of POOL batches drawn together, those with alike many bytes
    of text form a batch, so that little of it is padding."""
    group, place = divmod(step, POOL)
    larger = Recipe(steps=recipe.steps, batch=POOL * recipe.batch)
    pool = drawn("decoder", group, larger, batch_size(group, replace(recipe, steps=recipe.steps // POOL)))
    pool.sort(key=lambda p: sum(len(r.text.encode()) + 1 for r in p.regions))
    place = (place + group) % POOL                                               # vary the order
    return pool[place * recipe.batch:(place + 1) * recipe.batch]
