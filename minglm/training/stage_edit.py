"""Stages `edit-planner` and `edit-decoder`: editing, learned by the models that draw posters.

Both train adapters beside the weights that draw posters, which stay as they are (model/editing.py). All
samples are edits: pictures, an instruction, and the picture they lead to. In most of what the planner reads,
the caption of that picture (world/goals.py) stands in place of the instruction, as the enhancer of edits
writes it: what a caption means for the ids is known from drawing.

Shapes: none of its own; see stage_planner.py and stage_decoder.py.
"""

from __future__ import annotations

import random
from dataclasses import replace

from minglm.config import Config
from minglm.device import Device
from minglm.model import lora
from minglm.model.bpe import BPE
from minglm.model.copying import Copying
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.planner import Planner
from minglm.model.tokenizer import Tokenizer
from minglm.model.vae import VAE
from minglm.training.batches import SEEDS
from minglm.training.guessed import Guess
from minglm.training.recipe import Recipe, Stage
from minglm.training.stage_decoder import decoder_stage
from minglm.training.stage_planner import planner_stage
from minglm.world.edits import KINDS, OFTEN, SIZES, edit
from minglm.world.explicit import explicit
from minglm.world.goals import goal
from minglm.world.scenes import Edit

RANK = 32                                    # of the adapters
GOALS = 0.85                                 # the share of instructions that are told as goals
ALONE = tuple(kind for kind in KINDS if kind != "combine")       # edits of one picture
# other styles are planned by the planner that edits; what else is understood, by the one that draws
MORE = {"edit-planner": dict(restyle=8)}
SEVERAL = OFTEN["combine"] / sum(OFTEN.get(kind, 1) for kind in KINDS)   # the share of those of several


def edits(name: str, step: int, count: int) -> list[Edit]:
    """The edits of a step, all of one size, and all of one picture or all of several: prompts with several
    pictures are much longer, and what is shorter is padded."""
    rng = random.Random(f"{name}/{step}")
    height, width = rng.choice(SIZES)
    kinds, often = ["combine"] if rng.random() < SEVERAL else ALONE, OFTEN | MORE.get(name, {})
    weights = [often.get(kind, 1) for kind in kinds]
    return [edit(SEEDS[name], step * count + i, height, width, kind=rng.choices(kinds, weights)[0])
            for i in range(count)]


def edit_planner_stage(config: Config, device: Device, recipe: Recipe, bpe: BPE, tokenizer: Tokenizer,
                       planner: Planner) -> Stage:
    """As stage `planner`, on edits: the ids of a picture, given those of the old one and the instruction."""
    name = "edit-planner"

    def samples(step: int) -> list[Edit]:
        rng = random.Random(f"goal/{name}/{step}")
        return [replace(one, instruction=goal(one)) if rng.random() < GOALS else one
                for one in edits(name, step, recipe.batch)]

    stage = planner_stage(name, config, device, recipe, bpe, tokenizer, planner, samples)
    lora.create(planner, RANK)
    planner.copying = Copying(planner.config.width).to(device.device)
    # without `words`: which ids a word stands for is known by now
    stage.loss = lambda batch: planner.loss(**batch)
    return stage


def edit_decoder_stage(config: Config, device: Device, recipe: Recipe, vae: VAE, tokenizer: Tokenizer,
                       glyph: GlyphEncoder, decoder: Decoder, guess: Guess) -> Stage:
    """As the last stage of the decoder, on edits; guess: by the planner that draws, told the target."""
    name = "edit-decoder"

    def samples(step: int) -> list[Edit]:
        return [replace(one, target=replace(one.target, caption=explicit(one.target)))
                for one in edits(name, step, recipe.batch)]

    stage = decoder_stage(name, config, device, recipe, vae, tokenizer, glyph, decoder, samples, guess)
    stage.model.requires_grad_(False)        # glyph encoder and heads, too
    lora.create(decoder, RANK)
    return stage
