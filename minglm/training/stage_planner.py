"""Stage `planner`: next-id prediction, given the caption.

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


def planner_stage(config: Config, device: Device, recipe: Recipe, bpe: BPE,
                  tokenizer: Tokenizer) -> Stage:
    """Cross-entropy of the ids of preview (the downscaled picture) and large grid, given the caption."""
    model = Planner(config.planner).to(device.device)
    tokenizer = tokenizer.to(device.device).eval()

    def batch(step: int, share: slice = WHOLE) -> dict:
        # of similar caption length, which is what is padded
        posters_ = alike("planner", step, recipe, lambda p: len(p.caption.encode()))[share]
        rows, columns = posters_[0].height // CELL, posters_[0].width // CELL
        grid = preview_grid(rows, columns, config.planner.preview_tokens)
        prompts = [prompt_ids(bpe, p.caption, rows, columns, grid, config.planner.vision_vocab,
                              config.planner.boi) for p in posters_]
        # the targets: the trained tokenizer's ids of the picture and of its small version
        images = pixels(posters_).to(device.device)
        small = F.interpolate(images, (CELL * grid[0], CELL * grid[1]), mode="area")
        with torch.no_grad(), device.autocast():
            return dict(prompts=prompts, preview=tokenizer.encode(small), large=tokenizer.encode(images))

    def hidden(name: str) -> bool:
        return name.startswith("blocks")

    # a twentieth of the posters of its training, counted beforehand
    def first_words() -> None:
        begin(model, device, bpe, tokenizer, recipe.steps * recipe.batch // 20)

    return Stage("planner", model, batch, lambda b: model.loss(**b, words=WORDS), recipe, hidden,
                 rare=lambda name: name == "embed.weight", begin=first_words)
