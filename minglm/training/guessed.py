"""Plans that the planner guesses, for the decoder's last stages: each id is sampled given the true ids before
it (teacher forcing).

A planner cannot know the ids of a picture: given all ids before it, it finds three in four. Where letters
stand it guesses ids that show other letters, and a decoder that has only seen ids of pictures believes them.
With teacher forcing, one pass gives the ids of all cells of a batch, and each still belongs to the picture
that the decoder has to paint. Ids sampled one after the other would belong to another picture.

Shapes: B posters · h, w id grid · p, q preview grid · T predicted ids · V ids.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minglm.model import flow
from minglm.model.bpe import BPE
from minglm.model.planner import Planner
from minglm.model.prompt import preview_grid, prompt_ids
from minglm.model.tokenizer import Tokenizer
from minglm.training.batches import true_ids
from minglm.world.explicit import bare
from minglm.world.layout import CELL

GUIDANCE, TEMPERATURE, TOP_P = 1.5, 0.9, 0.75        # the pipeline's defaults
LIKELY = 64                                  # how many ids may be sampled; top-p seldom keeps more
Guess = Callable[[list[str], Tensor, Tensor], Tensor]  # captions, pictures, chance -> ids


@torch.no_grad()
def guessed(planner: Planner, bpe: BPE, tokenizer: Tokenizer, captions: list[str], images: Tensor,
            chance: Tensor) -> Tensor:
    """The ids (B, h, w) that a planner guesses for pictures (B, 3, H, W), given their captions.

    chance (B, h, w): what chance decides, from 0 to 1.
    """
    rows, columns = images.shape[2] // CELL, images.shape[3] // CELL
    config, grid = planner.config, preview_grid(rows, columns, planner.config.preview_tokens)
    preview, large = true_ids(tokenizer, images, grid)                           # (B, p, q), (B, h, w)

    def logits(prompts: list[str]) -> Tensor:
        ids = [prompt_ids(bpe, prompt, rows, columns, grid, config.vision_vocab, config.boi)
               for prompt in prompts]
        of_all, _ = planner.predict(ids, preview, large)                         # (B, T, V)
        return of_all[:, preview[0].numel():-1, :config.codebook]                # without preview and end

    # sampled as the pipeline does, but from the likeliest ids only, since sorting all of them is slow; by
    # numbers that are given, so that a rank's share of a batch is the same as in the whole
    scores = flow.guide(logits(captions), logits([bare(c) for c in captions]), GUIDANCE) / TEMPERATURE
    best = scores.topk(LIKELY)                                                   # likeliest first
    share = (best.values - scores.logsumexp(-1, keepdim=True)).exp()             # (B, h w, LIKELY)
    kept = share.cumsum(-1) - share < TOP_P                                      # as top-p keeps them
    sums = (share * kept).cumsum(-1)
    # the first whose sum exceeds the number, or the last that is kept, should rounding leave none
    chosen = (sums <= chance.flatten(1)[..., None].to(sums.device) * sums[..., -1:]).sum(-1, keepdim=True)
    chosen = chosen.minimum(kept.sum(-1, keepdim=True) - 1)                      # (B, h w, 1)
    return best.indices.gather(-1, chosen).view_as(large)
