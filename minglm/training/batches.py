"""The batch of a training step: its image size, its posters, its noise, all determined by the step number.

A batch is a pure function of (stage, step): posters by index, noise from a CPU generator seeded with the
step. So runs resume exactly, and devices agree. With several ranks each computes only its slice of the
samples; random tensors are generated for the whole batch, then sliced, whatever the number of ranks.

Shapes: B batch · H, W image size · p, q preview grid · h, w id grid.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from string import ascii_letters

import torch
import torch.nn.functional as F
from torch import Tensor

from minglm.images import to_tensor
from minglm.model.tokenizer import Tokenizer
from minglm.training.recipe import Recipe
from minglm.world.characters import han_characters, is_han
from minglm.world.draw import EXPLICIT, draw, has_room
from minglm.world.layout import CELL, PITCH
from minglm.world.posters import CANVASES, MOST_THINGS, Poster, Region

SMALL = ((128, 128),)
OTHERS = ((96, 96), (96, 160), (160, 96), (160, 160), (96, 256), (256, 96), (160, 224))
# what a stage is shown, each size as often as it stands here; height, width
SIZES = dict(vae=SMALL * 6 + CANVASES + OTHERS[:4], tokenizer=SMALL * 6 + CANVASES + OTHERS[:4],
             planner=SMALL * 5 + CANVASES + OTHERS[:4], decoder=SMALL)
SIZES["vae-decoder"] = SIZES["vae"]
SIZES["planner-large"] = SMALL * 8 + CANVASES + OTHERS
SIZES["decoder-large"] = SMALL * 14 + CANVASES + OTHERS
SIZES["planner-letters"] = SIZES["decoder-letters"] = SMALL * 8 + CANVASES * 2 + OTHERS
SIZES["planner-lines"] = SIZES["decoder-lines"] = SMALL * 6 + CANVASES * 3 + OTHERS
SIZES["planner-guided"] = SIZES["planner-lines"]
SIZES["decoder-wide"] = SMALL * 3 + CANVASES * 4 + OTHERS[4:]
SIZES["decoder-planned"] = SIZES["decoder-objects"] = SIZES["decoder-wide"]
SIZES["decoder-fine"] = SMALL * 10 + CANVASES * 2
SIZES["grpo-planner"] = SIZES["grpo-decoder"] = SMALL * 3 + CANVASES[:3]
# one stream of posters per stage
SEEDS = {"vae": 1, "tokenizer": 2, "planner": 3, "decoder": 4, "glyph": 5, "decoder-large": 6,
         "planner-large": 13, "planner-letters": 14, "decoder-letters": 15, "planner-lines": 16,
         "decoder-lines": 17, "planner-guided": 18, "decoder-wide": 19, "edit-planner": 7, "edit-decoder": 10,
         "grpo-planner": 8, "grpo-decoder": 9, "finetune-planner": 11, "finetune-decoder": 12,
         "glyph-order": 20, "decoder-planned": 21, "vae-decoder": 22, "decoder-objects": 23,
         "decoder-fine": 24}
# the share of posters that are full: letters and objects are learned by how often they are seen, and most of
# an ordinary poster is empty ground. Of full ones, the share with a row of objects, else there is only text
FULL = {"vae": 0.2, "vae-decoder": 0.4, "decoder": 0.3, "decoder-large": 0.3, "decoder-letters": 0.3,
        "decoder-lines": 0.5, "decoder-wide": 0.4, "decoder-planned": 0.3, "decoder-objects": 0.4,
        "decoder-fine": 0.5, "planner-letters": 0.15, "planner-lines": 0.3, "planner-guided": 0.2,
        "finetune-decoder": 0.2}
FULL_EARLY = {"decoder": 0.9, "decoder-large": 0.6, "decoder-letters": 0.6}
ROWS = {"vae-decoder": 0.8, "decoder": 0.5, "decoder-large": 0.5, "decoder-letters": 0.5,
        "decoder-lines": 0.4, "decoder-wide": 0.5, "decoder-planned": 0.5, "decoder-objects": 0.8,
        "decoder-fine": 0.7, "planner-guided": 0.5}
# of posters that are not full, the share with at most one text; and the share whose objects are thin ones
ALONE, THINNER = {"decoder-fine": 0.5}, {"decoder-fine": 0.5}
# the share of texts as long as a line; Chinese ones have digits and letters in them, which others seldom have
FILLED = {"decoder-wide": 0.5, "decoder-planned": 0.4, "decoder-objects": 0.4, "decoder-fine": 0.5}
# `share`, `again` and `wider` of `planned`, where a stage's plans are not as careless as usual
MISSPELT = {"decoder-letters": (0.9, 0.5), "decoder-lines": (0.9, 0.5), "decoder-wide": (0.9, 0.5, 0.35)}
MISSPELT |= dict.fromkeys(("decoder-planned", "decoder-objects", "decoder-fine"), MISSPELT["decoder-wide"])
# the share of plans, in stages that see such, that the planner guesses
GUESSED = 0.6
# the share of captions that tell everything: nothing about their posters has to be guessed, so what each word
# means for the ids is learned from them first, and from people's captions what may be left out, and how
TOLD = {"planner": 0.4, "planner-large": 0.4, "planner-letters": 0.6, "planner-lines": 0.5,
        "planner-guided": 0.4, "decoder-planned": 1.0, "decoder-objects": 1.0, "decoder-fine": 1.0,
        "grpo-planner": 0.7}
TOLD_EARLY = {"planner": 0.8}
# the share of prompts that are empty, for the unconditional branch of the planner's guidance
EMPTY = dict.fromkeys(("planner-guided", "edit-planner", "finetune-planner"), 0.1)
# which part of a stage's steps is early
EARLY = {"decoder": 0.75, "decoder-large": 0.5, "decoder-letters": 0.5, "planner": 0.4}
POOL = 4                                     # batches that are sorted by length together
WHOLE = slice(None)                          # all samples of a batch


def generator(stage: str, step: int) -> torch.Generator:
    """The CPU generator of one step."""
    return torch.Generator().manual_seed(1_000_003 * SEEDS[stage] + step)


def image_size(stage: str, step: int) -> tuple[int, int]:
    """The image size of a step, (height, width)."""
    return random.Random(f"size/{stage}/{step}").choice(SIZES[stage])


def is_early(stage: str, step: int, recipe: Recipe) -> bool:
    """Whether a step belongs to the first part of its stage, with posters and captions of its own."""
    return step < EARLY.get(stage, 0) * recipe.steps


def drawn(stage: str, step: int, batch: int, size: tuple[int, int], share: slice = WHOLE,
          early: bool = False) -> list[Poster]:
    """The posters of one step: `batch` of them, or a share. early: as many full posters, and as many captions
    that tell everything, as in the first part of the stage."""
    much, told = FULL.get(stage, 0.0), TOLD.get(stage, EXPLICIT)
    if early:
        much, told = FULL_EARLY.get(stage, much), TOLD_EARLY.get(stage, told)
    first = step * batch

    def one(index: int) -> Poster:
        rng = random.Random(f"full/{stage}/{index}")
        full = rng.random() < much
        row = full and rng.random() < ROWS.get(stage, 0.0)
        alone = not full and ALONE.get(stage) and rng.random() < ALONE[stage]
        return draw(SEEDS[stage], index, *size, full=full, count=rng.randrange(2) if alone else None,
                    objects=MOST_THINGS if row else None, told=told, filled=FILLED.get(stage, 0.0),
                    thinner=THINNER.get(stage, 0.0))

    return [one(first + i) for i in range(batch)[share]]


@lru_cache(maxsize=1)
def drawn_once(stage: str, step: int, batch: int, size: tuple[int, int], early: bool) -> tuple[Poster, ...]:
    """`drawn`, kept for the steps that share a pool."""
    return tuple(drawn(stage, step, batch, size, early=early))


def pixels(batch: list[Poster]) -> Tensor:
    """Pictures of one size -> (B, 3, H, W) in [-1, 1]."""
    return to_tensor([p.image for p in batch])


def true_ids(tokenizer: Tokenizer, images: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The ids of pictures (B, 3, H, W) in small, so that they fill the preview's `grid`, and at full size:
    (B, p, q) and (B, h, w)."""
    small = F.interpolate(images, (CELL * grid[0], CELL * grid[1]), mode="area")
    return tokenizer.encode(small), tokenizer.encode(images)


def alike(stage: str, step: int, recipe: Recipe, length: Callable[[Poster], int]) -> list[Poster]:
    """The posters of one step, of similar `length`, so that little of a batch is padding: POOL batches are
    drawn together and sorted. (That is cheap: a poster's picture is rendered on first use.)"""
    # step `place` of group `group`; the group counts as one step of a run with POOL times larger batches
    group, place = divmod(step, POOL)
    what = stage, group, POOL * recipe.batch, image_size(stage, group), is_early(stage, step - place, recipe)
    pool = sorted(drawn_once(*what), key=length)
    place = (place + group) % POOL               # rotate, or the shortest would always come first
    return pool[place * recipe.batch:(place + 1) * recipe.batch]


def read_as(stage: str, step: int, prompts: list[str]) -> list[str]:
    """The prompts of one step as the planner reads them: some are left empty, see EMPTY."""
    rng = random.Random(f"empty/{stage}/{step}")
    return ["" if rng.random() < EMPTY.get(stage, 0.0) else prompt for prompt in prompts]


def text_bytes(poster: Poster) -> int:
    """The number of glyph tokens of a poster: one per byte, and an end token per line."""
    return sum(len(line.encode()) + 1 for line in poster.strings)


def misspell(rng: random.Random, text: str, again: float = 0.3) -> str:
    """`text` with a letter replaced, removed or inserted; with probability `again` one more, and so on."""
    letters = han_characters() if is_han(text) else ascii_letters
    while True:
        at, letter = rng.randrange(len(text)), rng.choice(letters)
        wrong = rng.choice((text[:at] + letter + text[at + 1:], text[:at] + text[at + 1:],
                            text[:at] + letter + text[at:], text + letter)).strip()
        if wrong and rng.random() >= again:
            return wrong
        text = wrong or text


def widen(rng: random.Random, text: str, room: int) -> str:
    """`text` with one to three letters more at its ends, at most `room` of them."""
    for _ in range(min(room, rng.randint(1, 3))):
        letter = rng.choice(ascii_letters)
        text = letter + text if rng.random() < 0.5 else text + letter
    return text


def planned(rng: random.Random, poster: Poster, share: float = 0.5, again: float = 0.3, wider: float = 0.0
            ) -> Poster:
    """The poster as an imperfect planner would plan it: each text misspelt with probability `share`, in as
    many lines as before. A person's own picture stays as it is, since where its texts stand is not known.
    again: see `misspell`. wider: the share of English texts that get too much room instead, see `widen`."""
    if not poster.regions:
        return poster

    def careless(region: Region) -> Region:
        if wider and not is_han(region.text) and rng.random() < wider:
            return replace(region, text=widen(rng, region.text, poster.width // PITCH - len(region.text)))
        return replace(region, text=misspell(rng, region.text, again)) if rng.random() < share else region

    wrong = replace(poster, regions=tuple(map(careless, poster.regions)))
    same = has_room(wrong) and len(wrong.lines) == len(poster.lines)
    return wrong if same else poster
