"""What a new planner knows of words: those that are seen with an id start close to it.

GLM-Image's planner starts from GLM-4, a language model; ours from random numbers, and there are thousands of
words for things and of ids that show them, each seen rarely. So before its first step a planner counts which
words and ids occur in the same posters. Their pointwise mutual information (PMI), log p(w, k) / p(w) p(k),
has a best approximation of few dimensions, u_w . v_k, by singular value decomposition. This is what word
vectors approximate (Levy and Goldberg, Neural Word Embedding as Implicit Matrix Factorization, 2014). u and v
become rows of the planner's embedding, and v of its head: where a word is passed on, its ids are likely.

Shapes: W words (text ids) · K codes · D width of the planner.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minglm.config import PlannerConfig
from minglm.device import Device
from minglm.model.bpe import BPE
from minglm.model.planner import EMBEDDING, Planner
from minglm.model.prompt import preview_grid
from minglm.model.tokenizer import Tokenizer
from minglm.training.batches import SMALL, drawn, pixels, true_ids
from minglm.world.layout import CELL

CHUNK = 128                                  # posters that are read at once


@torch.no_grad()
def count(config: PlannerConfig, device: Device, bpe: BPE, tokenizer: Tokenizer, posters: int) -> Tensor:
    """In how many of `posters` training posters a word and a code both occur: (W + 1, K + 1), on the CPU.

    The last row counts each code, the last column each word, and their corner the posters.
    """
    words, codes = config.vocab - config.vision_vocab, config.codebook
    together = torch.zeros(words + 1, codes + 1)
    size, = SMALL
    grid = preview_grid(size[0] // CELL, size[1] // CELL, config.preview_tokens)
    for first in range(0, posters, CHUNK):
        seen = drawn("planner", first // CHUNK, CHUNK, size, slice(0, posters - first))
        images = pixels(seen).to(device.device)
        with device.autocast():
            ids = torch.cat([x.flatten(1) for x in true_ids(tokenizer, images, grid)], 1).cpu()  # (B, M)
        for poster, plan in zip(seen, ids):
            w = torch.tensor([*{*bpe.encode(poster.caption)}, words])
            k = torch.cat([plan.unique(), torch.tensor([codes])])
            together[w[:, None], k] += 1
    return together


def pmi(together: Tensor) -> Tensor:
    """Positive PMI (W, K) of what was counted; 0 for pairs seen once or never, of which nothing is known."""
    pairs, words, codes = together[:-1, :-1], together[:-1, -1:], together[-1:, :-1]
    ratio = pairs * together[-1, -1] / (words * codes).clamp_min(1)
    return torch.where(pairs > 1, ratio.clamp_min(1).log(), torch.zeros(()))


@torch.no_grad()
def begin(planner: Planner, device: Device, bpe: BPE, tokenizer: Tokenizer, posters: int) -> None:
    """Let a new planner start from the PMI of words and codes in `posters` posters of its training."""
    config, table = planner.config, pmi(count(planner.config, device, bpe, tokenizer, posters))
    if not table.any():
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)                 # the decomposition starts from random vectors
        u, sizes, v = torch.svd_lowrank(table, min(config.width, *table.shape))
    u, v = (F.pad(t * sizes.sqrt(), (0, config.width - len(sizes))) for t in (u, v))  # (W, D), (K, D)
    # in the embedding about as long as its rows were, which keep a part of what tells them apart; in the
    # head such that the product with a normalised feature, of length sqrt(D), is about the PMI
    length = config.width ** 0.5
    for rows, near in ((slice(config.vision_vocab, None), u), (slice(config.codebook), v)):
        near = near * (EMBEDDING * length / near.norm(dim=1).mean())
        planner.embed.weight[rows] = 0.2 * planner.embed.weight[rows] + near.to(planner.embed.weight.device)
    head = planner.head.weight
    head[:config.codebook] += (u.norm(dim=1).mean() / length * v).to(head.device)
