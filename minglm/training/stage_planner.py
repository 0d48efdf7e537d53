"""Stage `planner`: next-id prediction, given the caption.

Stage `planner-large` goes on from its weights, with canvases of more sizes, and `planner-letters` from those,
with quoted texts spelled out (model/spelling.py); `planner-lines` shows more posters of several lines;
`planner-guided` shows rows of objects, and leaves some prompts empty, as is usual for guidance.

Shapes: B batch · h, w id grid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from minglm.config import Config
from minglm.device import Device
from minglm.model.bpe import BPE
from minglm.model.planner import Planner
from minglm.model.prompt import preview_grid, prompt_ids, source_places, with_sources
from minglm.model.tokenizer import Tokenizer
from minglm.training.batches import WHOLE, alike, pixels, read_as, true_ids
from minglm.training.cooccurrence import begin
from minglm.training.recipe import Recipe, Stage
from minglm.training.references import references
from minglm.world.layout import CELL
from minglm.world.scenes import Edit

WORDS = 0.5                                  # the weight of what the words of a prompt say of its plan


def planner_stage(name: str, config: Config, device: Device, recipe: Recipe, bpe: BPE, tokenizer: Tokenizer,
                  planner: Planner | None = None, samples: Callable[[int], list] | None = None) -> Stage:
    """Cross-entropy of the ids of preview (the downscaled picture) and large grid, given the caption.

    planner: to go on with; None: a new one. samples: what is shown at a step, all edits or none; None:
    posters. Of an edit the planner reads the ids of the sources, then the instruction, and draws no preview.
    """
    model = (planner or Planner(config.planner)).to(device.device).requires_grad_(True)
    tokenizer = tokenizer.to(device.device).eval()

    def posters(step: int) -> list:
        # of similar caption length, which is what is padded
        return alike(name, step, recipe, lambda p: len(p.caption.encode()))

    def batch(step: int, share: slice = WHOLE) -> dict:
        posters_ = (samples or posters)(step)
        editing = isinstance(posters_[0], Edit)
        # some prompts are left empty, whichever samples are this rank's
        asked = read_as(name, step, [p.instruction if editing else p.caption for p in posters_])[share]
        posters_ = posters_[share]
        if editing:
            return edits(posters_, asked)
        rows, columns = posters_[0].height // CELL, posters_[0].width // CELL
        grid = preview_grid(rows, columns, config.planner.preview_tokens)
        prompts = [prompt_ids(bpe, prompt, rows, columns, grid, config.planner.vision_vocab,
                              config.planner.boi) for prompt in asked]
        # the targets
        images = pixels(posters_).to(device.device)
        with torch.no_grad(), device.autocast():
            preview, large = true_ids(tokenizer, images, grid)
            return dict(prompts=prompts, preview=preview, large=large)

    def edits(batch: list[Edit], instructions: list[str]) -> dict:
        rows, columns = batch[0].height // CELL, batch[0].width // CELL
        sources, prompts = references([one.sources for one in batch], CELL), []
        for one, instruction in zip(batch, instructions):
            shapes = [(each.height // CELL, each.width // CELL) for each in one.sources]
            text = prompt_ids(bpe, instruction, rows, columns, None, config.planner.vision_vocab,
                              config.planner.boi)
            # the ids of the sources are filled in on the device
            ids, parts = with_sources([torch.zeros(shape, dtype=torch.long) for shape in shapes], text,
                                      config.planner)
            prompts.append((ids, parts, source_places(shapes)))
        images = pixels([one.target for one in batch]).to(device.device)
        with torch.no_grad(), device.autocast():
            read = [tokenizer.encode(some.to(device.device)).flatten() for some in sources.images]
            return dict(prompts=[ids for ids, _, _ in prompts], preview=None, large=tokenizer.encode(images),
                        parts=[parts for _, parts, _ in prompts],
                        sources=(torch.cat(read)[sources.where.to(device.device)],
                                 [places for _, _, places in prompts]))

    def hidden(parameter: str) -> bool:
        return parameter.startswith("blocks")

    def first_words() -> None:
        if planner is None:                  # a new one: counted in a twentieth of its posters, beforehand
            begin(model, device, bpe, tokenizer, recipe.steps * recipe.batch // 20)

    return Stage(name, model, batch, lambda b: model.loss(**b, words=WORDS), recipe, hidden,
                 rare=lambda name: name == "embed.weight", begin=first_words)
