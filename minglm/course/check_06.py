"""Checks of the exercises in notebook 06, Plan coarse to fine.

Shapes: B batch · T ids to predict · V ids.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from minglm.course.answers import Case, normal, run


def next_targets(learner: Callable) -> None:
    """targets(prompt, grids, eoi): the planner's input ids, and for each the id it should predict."""
    def case(prompt: list[int], grids: list[int], eoi: int) -> Case:
        read, say = prompt + grids, [-100] * (len(prompt) - 1) + grids + [eoi]
        return Case((prompt, grids, eoi), (read, say), {
            "not shifted: the target of a token is the id after it": (read, [-100] * len(prompt) + grids),
            "the prompt is given and not to be learned: its targets are -100, except the last":
                (read, read[1:] + [eoi]),
            "off by one: the last token of the prompt, boi, should predict the first id":
                (read, [-100] * len(prompt) + say[len(prompt):]),
            "eoi is only predicted, never an input": (read + [eoi], say + [-100]),
            "after the last id the planner should predict eoi": (read[:-1], say[:-1])})

    run("next_targets", learner, case([50, 51, 40], [3, 1, 4, 1, 5], 41), case([40], [9], 41))


def weighted_loss(learner: Callable) -> None:
    """loss(logits (B, T, V), targets (B, T), small, weight): cross-entropy, a weighted mean in which the
    first `small` ids have weight `weight`, the others 1."""
    def case(batch: int, count: int, small: int, weight: float, seed: int) -> Case:
        scores = 2 * normal(batch, count, 7, seed=seed)
        targets = torch.randint(7, (batch, count), generator=torch.Generator().manual_seed(seed + 1))
        each = F.cross_entropy(scores.transpose(1, 2), targets, reduction="none")
        first = torch.arange(count) < small
        share, other = torch.where(first, weight, 1.0), torch.where(first, 1.0, weight)
        right = (each * share).sum() / (batch * share.sum())
        return Case((scores, targets, small, weight), right, {
            "all ids count the same": each.mean(),
            "divide by the sum of the weights, not by the number of ids": (each * share).mean(),
            "divide by the number of sequences, too": right * batch,
            "the wrong part has the larger weight: the preview comes first":
                (each * other).sum() / (batch * other.sum()),
            "the loss is minus the log of the probability": -right})

    run("weighted_loss", learner, case(3, 6, 2, 2.0, 0), case(2, 9, 4, 5.0, 2))


def legal_ids(learner: Callable) -> None:
    """legal(logits (V,), drawn, cells, codebook): -inf for every id that may not follow `drawn` ids."""
    def case(drawn: int, cells: int, codebook: int) -> Case:
        scores, ids = normal(codebook + 4, seed=drawn), torch.arange(codebook + 4)
        code, end = ids < codebook, ids == codebook + 1

        def only(allowed, other=-torch.inf):
            return torch.where(allowed, scores, torch.tensor(other))

        right = code if drawn < cells else end
        return Case((scores, drawn, cells, codebook), only(right), {
            "a logit of 0 does not exclude an id: illegal ids get -inf": only(right, 0.0),
            "once as many ids are sampled as there are cells, only eoi is legal": only(code),
            "id `codebook` is boi, which is not a code": only(ids <= codebook if drawn < cells else end),
            "eoi is id `codebook` + 1": only(code if drawn < cells else ids == codebook),
            "the grid is not yet full: no eoi": only(code | end if drawn < cells else end),
            "off by one: after `cells` - 1 ids, one is missing": only(code if drawn < cells - 1 else end)})

    run("legal_ids", learner, case(0, 4, 6), case(3, 4, 6), case(4, 4, 5))


def top_p(learner: Callable) -> None:
    """top_p(probabilities (V,), p): the smallest set whose sum reaches p, renormalised; all others 0."""
    def case(count: int, p: float, seed: int) -> Case:
        chances = (0.8 * normal(count, seed=seed)).softmax(0)

        def nucleus(falling: bool) -> tuple[torch.Tensor, torch.Tensor]:
            ordered, order = chances.sort(descending=falling)
            kept = int((ordered.cumsum(0) < p).sum()) + 1
            return ordered * (torch.arange(count) < kept), order

        best, order = nucleus(True)
        right = torch.zeros(count).index_put((order,), best)
        fewer = right.masked_fill(right == right[right > 0].min(), 0)
        worst, rising = nucleus(False)
        return Case((chances, p), right / right.sum(), {
            "what is left should sum to 1 again: divide by its sum": right,
            "one id too few: the one with which the sum reaches p stays": fewer / fewer.sum(),
            "these are sorted: put each probability back at its own id": best / best.sum(),
            "begin with the most probable: sort in descending order":
                torch.zeros(count).index_put((rising,), worst / worst.sum())})

    run("top_p", learner, case(6, 0.75, 0), case(12, 0.9, 1), case(5, 0.01, 2))
