"""Stage `planner`: next-id prediction, given the caption.

Stage `planner-large` goes on from its weights, with canvases of more sizes, and `planner-letters` from those,
with quoted texts spelled out (model/spelling.py); `planner-lines` shows more posters of several lines.

Shapes: B batch · h, w id grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from minglm.config import Config
from minglm.device import Device
from minglm.model.bpe import BPE
from minglm.model.planner import Planner
from minglm.model.prompt import preview_grid, prompt_ids
from minglm.model.tokenizer import Tokenizer
from minglm.training.batches import WHOLE, alike, pixels
from minglm.training.cooccurrence import begin
from minglm.training.recipe import Recipe, Stage
from minglm.world.layout import CELL

WORDS = 0.5                                  # the weight of what the words of a prompt say of its plan


def planner_stage(name: str, config: Config, device: Device, recipe: Recipe, bpe: BPE, tokenizer: Tokenizer,
                  planner: Planner | None = None) -> Stage:
    """Cross-entropy of the ids of preview (the downscaled picture) and large grid, given the caption;
    from the weights of `planner`, or a new one."""
    model = (planner or Planner(config.planner)).to(device.device).requires_grad_(True)
    tokenizer = tokenizer.to(device.device).eval()

    def batch(step: int, share: slice = WHOLE) -> dict:
        # of similar caption length, which is what is padded
        posters_ = alike(name, step, recipe, lambda p: len(p.caption.encode()))[share]
        rows, columns = posters_[0].height // CELL, posters_[0].width // CELL
        grid = preview_grid(rows, columns, config.planner.preview_tokens)
        prompts = [prompt_ids(bpe, p.caption, rows, columns, grid, config.planner.vision_vocab,
                              config.planner.boi) for p in posters_]
        # the targets: the trained tokenizer's ids of the picture and of its small version
        images = pixels(posters_).to(device.device)
        small = F.interpolate(images, (CELL * grid[0], CELL * grid[1]), mode="area")
        with torch.no_grad(), device.autocast():
            return dict(prompts=prompts, preview=tokenizer.encode(small), large=tokenizer.encode(images))

    def hidden(parameter: str) -> bool:
        return parameter.startswith("blocks")

    def first_words() -> None:
        if planner is None:                  # a new one: counted in a twentieth of its posters, beforehand
            begin(model, device, bpe, tokenizer, recipe.steps * recipe.batch // 20)

    return Stage(name, model, batch, lambda b: model.loss(**b, words=WORDS), recipe, hidden,
                 rare=lambda name: name == "embed.weight", begin=first_words)
