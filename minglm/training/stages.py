"""The stages of a model: which parts each needs and trains, how it is made, and what it leaves.

Shapes: none.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from minglm.config import Config, DecoderConfig
from minglm.device import Device
from minglm.files import read_json
from minglm.model import editing, weights
from minglm.model.bpe import BPE
from minglm.training.batches import SEEDS, pixels
from minglm.training.guessed import guessed
from minglm.training.recipe import DECODERS, PLANNERS, WRITERS, Recipe, Stage
from minglm.training.stage_decoder import decoder_stage
from minglm.training.stage_edit import edit_decoder_stage, edit_planner_stage
from minglm.training.stage_glyph import glyph_stage
from minglm.training.stage_grpo_decoder import grpo_decoder_stage
from minglm.training.stage_grpo_planner import grpo_planner_stage
from minglm.training.stage_order import glyph_order_stage
from minglm.training.stage_planner import planner_stage
from minglm.training.stage_tokenizer import tokenizer_stage
from minglm.training.stage_vae import vae_stage
from minglm.world.draw import corpus, draw

STAGES = "vae", "vae-decoder", "tokenizer", "glyph", *PLANNERS, *WRITERS
EDITS, REWARDS = ("edit-planner", "edit-decoder"), ("grpo-planner", "grpo-decoder")
AFTERWARDS = EDITS + REWARDS                 # trained by name only: `all` is what they start from
NEEDS = {name: ("tokenizer", *PLANNERS[:i][:1]) for i, name in enumerate(PLANNERS)}
NEEDS |= {name: ("vae", "tokenizer", "glyph", *DECODERS[:i][:1]) for i, name in enumerate(DECODERS)}
GUESSING = "decoder-planned", "decoder-objects", "decoder-fine"  # they see plans of the finished planner
NEEDS |= {name: (*NEEDS[name], "planner") for name in GUESSING}
NEEDS |= {"vae-decoder": ("vae",), "glyph-order": ("glyph",), "edit-planner": ("tokenizer", "planner"),
          "edit-decoder": ("vae", "tokenizer", "glyph", "decoder", "planner"),
          "grpo-planner": ("vae", "tokenizer", "glyph", "planner", "decoder"),
          "grpo-decoder": ("vae", "tokenizer", "glyph", "decoder")}
# stages of the other lane that have to end first, where the weights of an earlier one would not do
AFTER = dict.fromkeys(GUESSING, PLANNERS[-1:])
OUTPUTS = {name: (name,) for name in STAGES} | {"glyph-order": ("glyph",)}
OUTPUTS["vae-decoder"] = ("vae",)
OUTPUTS |= dict.fromkeys((*PLANNERS, "grpo-planner"), ("planner",))
OUTPUTS |= dict.fromkeys((*DECODERS, "grpo-decoder"), ("decoder", "glyph"))
OUTPUTS |= {name: (f"{editing.FOLDER}/{name.removeprefix('edit-')}",) for name in EDITS}


def known(name: str) -> str:
    """The name of a stage. Raises ValueError if there is none of that name."""
    if name not in STAGES + AFTERWARDS:
        raise ValueError(f"unknown stage {name!r}: choose one of {', '.join(STAGES + AFTERWARDS)} or all")
    return name


def as_there(folder: Path, config: Config) -> Config:
    """The configuration with a glyph encoder like that in `folder`, which may not know the order of bytes."""
    order = bool(read_json(folder / "glyph" / "config.json").get("order"))
    return replace(config, glyph=replace(config.glyph, order=order))


def build(name: str, config: Config, device: Device, recipe: Recipe, folder: Path) -> Stage:
    """The stage called `name`, with what earlier stages left in `folder`.

    Raises ValueError if the name is unknown or an earlier stage has not been trained there.
    """
    torch.manual_seed(SEEDS[known(name)])
    if name in ("vae", "vae-decoder"):
        vae = None if name == "vae" else weights.load_part(folder, "vae", config)
        return vae_stage(config, device, recipe, vae)
    if name == "tokenizer":
        path = folder / "text" / "tokenizer.json"
        if not path.exists():
            BPE.train(corpus(), config.planner.vocab - config.planner.vision_vocab).save(path)
        return tokenizer_stage(config, device, recipe, weights.load_text(folder, config))
    if name == "glyph":
        return glyph_stage(config, device, recipe)
    if "glyph" in NEEDS.get(name, ()):
        config = as_there(folder, config)
    if name == "glyph-order":
        return glyph_order_stage(config, device, recipe, weights.load_part(folder, "glyph", config))
    tokenizer = weights.load_part(folder, "tokenizer", config)
    if name in PLANNERS:
        planner = None if name == "planner" else weights.load_part(folder, "planner", config)
        bpe = weights.load_text(folder, config)
        return planner_stage(name, config, device, recipe, bpe, tokenizer, planner)
    if name == "edit-planner":
        return edit_planner_stage(config, device, recipe, weights.load_text(folder, config), tokenizer,
                                  weights.load_part(folder, "planner", config))
    if name in REWARDS:
        parts = {part: weights.load_part(folder, part, config) for part in NEEDS[name]}
        if name == "grpo-decoder":
            return grpo_decoder_stage(config, device, recipe, parts)
        return grpo_planner_stage(config, device, recipe, weights.load_text(folder, config), parts)
    vae, glyph = (weights.load_part(folder, part, config) for part in ("vae", "glyph"))
    decoder = None
    if name != "decoder":                    # it may have fewer blocks than the stage will train
        saved = DecoderConfig(**read_json(folder / "decoder" / "config.json"))
        decoder = weights.load_part(folder, "decoder", replace(config, decoder=saved))
    guess = None
    if name in (*GUESSING, "edit-decoder"):
        planner = weights.load_part(folder, "planner", config).to(device.device)
        guess = partial(guessed, planner, weights.load_text(folder, config), tokenizer)
    if name == "edit-decoder":
        return edit_decoder_stage(config, device, recipe, vae, tokenizer, glyph, decoder, guess)
    return decoder_stage(name, config, device, recipe, vae, tokenizer, glyph, decoder, guess=guess)


def finish(stage: Stage, config: Config, folder: Path) -> None:
    """Write what `stage` has trained as weights that a pipeline, and the next stages, can load."""
    model, name = stage.model, stage.name.partition(",")[0]      # the rest tells checkpoints apart
    if name == "vae":
        model.normalise(pixels([draw(0, i) for i in range(512)]).to(model.mean.device))
    if name == "edit-planner":
        editing.save_part(folder, "planner", model, config.name, copying=model.copying)
    elif name == "edit-decoder":
        editing.save_part(folder, "decoder", model.decoder, config.name)
    else:
        if "glyph" in OUTPUTS[name]:         # which may not know the order of bytes yet
            config = replace(config, glyph=getattr(model, "glyph", model).config)
        for part in OUTPUTS[name]:           # a model of several parts has each under its name
            weights.save_part(folder, part, getattr(model, part, model), config)
    # what has learned to edit can edit after other stages, too
    weights.save_config(folder, replace(config, edits=editing.complete(folder)))
