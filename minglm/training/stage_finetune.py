"""Fine-tuning: planner or decoder go on to train on a person's own pictures, whole or by LoRA.

Half of every batch are posters, so that what was learned before is not forgotten. Otherwise these are the
stages `planner` and `decoder`, where an own picture differs from a poster only in what is known of it: its
caption and the texts in it, but not where these stand.

Shapes: none of its own; see stage_planner.py and stage_decoder.py.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import torch

from minglm.device import Device
from minglm.generate.request import MOST_PROMPT_IDS
from minglm.model import lora, weights
from minglm.training.batches import SEEDS, drawn
from minglm.training.recipe import Recipe, Stage
from minglm.training.stage_decoder import decoder_stage
from minglm.training.stage_planner import planner_stage
from minglm.world.folder import Picture
from minglm.world.posters import Poster

SHARE = 0.5                                  # of own pictures in a batch
MOST_CAPTION_IDS = MOST_PROMPT_IDS - 20      # the sizes of both grids stand in the prompt, too
Sample = Picture | Poster


def mixed(name: str, pictures: Sequence[Picture], recipe: Recipe) -> Callable[[int], list[Sample]]:
    """What stage `name` is shown at a step: pictures of one size, each as often as others, and posters."""
    alike, mine = defaultdict(list), max(1, round(recipe.batch * SHARE))
    for picture in pictures:
        alike[picture.height, picture.width].append(picture)

    def samples(step: int) -> list[Sample]:
        rng = random.Random(f"{name}/{step}")
        one = rng.choice(pictures)           # a size is as frequent as its pictures are
        size = one.height, one.width
        own: list[Sample] = []
        while len(own) < mine:               # all of that size once, in any order, before one comes again
            own += rng.sample(alike[size], len(alike[size]))
        return own[:mine] + drawn(name, step, recipe.batch - mine, size)

    return samples


def finetune_stage(part: str, folder: Path, device: Device, recipe: Recipe, pictures: Sequence[Picture],
                   rank: int | None = None) -> Stage:
    """Planner or decoder of a folder of weights, to be trained on pictures and posters.

    rank: of new LoRA adapters, which alone are trained then; None: all weights of the part are. The glyph
    encoder is not trained: it knows its letters. The stage's name tells weights and pictures, so that a
    checkpoint of others is refused. Raises ValueError for a caption too long, or a rank too large.
    """
    config, name = weights.load_config(folder), f"finetune-{part}"
    tokenizer, model = (weights.load_part(folder, each, config) for each in ("tokenizer", part))
    samples = mixed(name, pictures, recipe)
    torch.manual_seed(SEEDS[name])           # of the adapters
    if part == "planner":
        bpe = weights.load_text(folder, config)
        for picture in pictures:
            if (count := len(bpe.encode(picture.caption))) > MOST_CAPTION_IDS:
                raise ValueError(f"{picture.where}: a caption of {count} ids is too long: at most "
                                 f"{MOST_CAPTION_IDS}")
        stage = planner_stage(name, config, device, recipe, bpe, tokenizer, model, samples)
    else:
        vae, glyph = (weights.load_part(folder, each, config) for each in ("vae", "glyph"))
        stage = decoder_stage(name, config, device, recipe, vae, tokenizer, glyph, model, samples)
        glyph.requires_grad_(False)
    if rank is not None:
        stage.model.requires_grad_(False)    # heads that training adds, too
        lora.create(model, rank)
    how = "all weights" if rank is None else f"LoRA of rank {rank}"
    stage.name = (f"{name}, {how}, from weights {mark(sorted(folder.glob('*/model.safetensors')))}, "
                  f"on pictures {mark((p.path for p in pictures), *(p.caption for p in pictures))}")
    return stage


def mark(paths: Iterable[Path], *texts: str) -> str:
    """Eight letters that are others for other files, or other texts."""
    found = sha256("\0".join(texts).encode())
    for path in paths:
        found.update(sha256(path.read_bytes()).digest())
    return found.hexdigest()[:8]
