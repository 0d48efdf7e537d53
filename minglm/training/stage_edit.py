"""Stages `edit-planner` and `edit-decoder`: editing, learned by the models that draw posters.

Both are the last stages of planner and decoder, gone on with, in which most samples are edits: pictures, an
instruction, and the picture they lead to. The others are posters, so that drawing is not forgotten. GLM-Image
is one model for both, too.

Shapes: none of its own; see stage_planner.py and stage_decoder.py.
"""

from __future__ import annotations

import random
from dataclasses import replace

from minglm.config import Config
from minglm.device import Device
from minglm.model.bpe import BPE
from minglm.model.copying import Copying
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.planner import Planner
from minglm.model.tokenizer import Tokenizer
from minglm.model.vae import VAE
from minglm.training.batches import SEEDS, alike, drawn
from minglm.training.recipe import Recipe, Stage
from minglm.training.stage_decoder import decoder_stage
from minglm.training.stage_planner import planner_stage
from minglm.world.edits import KINDS, OFTEN, SIZES, edit
from minglm.world.posters import Poster
from minglm.world.scenes import Edit

POSTERS = 3                                  # every third sample is a poster
ALONE = tuple(kind for kind in KINDS if kind != "combine")       # edits of one picture
SEVERAL = OFTEN["combine"] / sum(OFTEN.get(kind, 1) for kind in KINDS)   # the share of those of several


def edits(name: str, step: int, count: int) -> list[Edit]:
    """The edits of a step, all of one size, and all of one picture or all of several: prompts with several
    pictures are much longer, and what is shorter is padded."""
    rng = random.Random(f"{name}/{step}")
    height, width = rng.choice(SIZES)
    kinds = ["combine"] if rng.random() < SEVERAL else ALONE
    often = [OFTEN.get(kind, 1) for kind in kinds]
    return [edit(SEEDS[name], step * count + i, height, width, kind=rng.choices(kinds, often)[0])
            for i in range(count)]


def edit_planner_stage(config: Config, device: Device, recipe: Recipe, bpe: BPE, tokenizer: Tokenizer,
                       planner: Planner) -> Stage:
    """As stage `planner`: two steps of edits, one of posters. (A batch is all of one kind, since only posters
    have a preview.) A planner that has only drawn posters learns to copy, too."""
    name = "edit-planner"
    if planner.copying is None:
        planner.copying = Copying(planner.config.width)
        planner.config = replace(planner.config, copies=True)

    def samples(step: int) -> list:
        if step % POSTERS:
            return edits(name, step, recipe.batch)
        return alike(name, step // POSTERS, recipe, lambda p: len(p.caption.encode()))

    return planner_stage(name, config, device, recipe, bpe, tokenizer, planner, samples)


def edit_decoder_stage(config: Config, device: Device, recipe: Recipe, vae: VAE, tokenizer: Tokenizer,
                       glyph: GlyphEncoder, decoder: Decoder) -> Stage:
    """As the last stage of the decoder: a third of each batch are posters, of the size of the edits."""
    name = "edit-decoder"

    def samples(step: int) -> list[Edit | Poster]:
        count = recipe.batch // POSTERS
        given: list[Edit | Poster] = list(edits(name, step, recipe.batch - count))
        return given + drawn(name, step, count, (given[0].height, given[0].width))

    return decoder_stage(name, config, device, recipe, vae, tokenizer, glyph, decoder, samples)
