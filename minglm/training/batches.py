"""The batch of a training step: its image size, its posters, its noise, all determined by the step number.

A batch is a pure function of (stage, step): posters by index, noise from a CPU generator seeded with the
step. So runs resume exactly, and devices agree. With several ranks each computes only its slice of the
samples; random tensors are generated for the whole batch, then sliced, whatever the number of ranks.

Shapes: B batch · H, W image size.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from minglm.images import to_tensor
from minglm.training.recipe import Recipe
from minglm.world.draw import draw
from minglm.world.layout import fits, is_han, slot_box
from minglm.world.posters import LATIN, Poster, han_characters

SIZES = ((128, 128), (96, 160), (160, 96))
SEEDS = dict(vae=1, tokenizer=2, planner=3, decoder=4)  # one stream of posters per stage
POOL = 4                                     # batches that are sorted by length together
WHOLE = slice(None)                          # all samples of a batch


def generator(stage: str, step: int) -> torch.Generator:
    """The CPU generator of one step."""
    return torch.Generator().manual_seed(1_000_003 * SEEDS[stage] + step)


def image_size(step: int, steps: int) -> tuple[int, int]:
    """The image size of a step: square; in the second half of training every third batch has another size."""
    late = step >= steps // 2
    return SIZES[1 + step // 3 % 2] if late and step % 3 == 0 else SIZES[0]


def drawn(stage: str, step: int, batch: int, size: tuple[int, int], share: slice = WHOLE) -> list[Poster]:
    """The posters of one step: `batch` of them, or a share."""
    first = step * batch
    return [draw(SEEDS[stage], first + i, *size) for i in range(batch)[share]]


def pixels(batch: list[Poster]) -> Tensor:
    """Pictures of one size -> (B, 3, H, W) in [-1, 1]."""
    return to_tensor([p.image for p in batch])


def alike(stage: str, step: int, recipe: Recipe, length: Callable[[Poster], int]) -> list[Poster]:
    """The posters of one step, of similar `length`, so that little of a batch is padding: POOL batches are
    drawn together and sorted. (That is cheap: a poster's picture is rendered on first use.)"""
    # step `place` of group `group`; the group counts as one step of a run with POOL times larger batches
    group, place = divmod(step, POOL)
    pool = drawn(stage, group, POOL * recipe.batch, image_size(group, recipe.steps // POOL))
    pool.sort(key=length)
    place = (place + group) % POOL               # rotate, or the shortest would always come first
    return pool[place * recipe.batch:(place + 1) * recipe.batch]


def text_bytes(poster: Poster) -> int:
    """The number of glyph tokens of a poster: one per byte, and an end token per text."""
    return sum(len(r.text.encode()) + 1 for r in poster.regions)


def misspell(rng: random.Random, text: str, room: int) -> str:
    """`text` with a letter replaced, removed or inserted, sometimes several; it still fits `room` pixels."""
    letters = han_characters() if is_han(text) else LATIN[:26]
    while True:
        at, letter = rng.randrange(len(text)), rng.choice(letters)
        wrong = rng.choice((text[:at] + letter + text[at + 1:], text[:at] + text[at + 1:],
                            text[:at] + letter + text[at:], text + letter))
        if wrong and fits(wrong, room) and is_han(wrong) == is_han(text):
            if rng.random() < 0.7:
                return wrong
            text = wrong


def planned(rng: random.Random, poster: Poster, share: float = 0.5) -> Poster:
    """The poster as an imperfect planner would plan it: each text misspelt with probability `share`."""
    def careless(region):
        x0, _, x1, _ = slot_box(region.slot, poster.height, poster.width)
        return replace(region, text=misspell(rng, region.text, x1 - x0)) if rng.random() < share else region

    return replace(poster, regions=tuple(careless(r) for r in poster.regions))
