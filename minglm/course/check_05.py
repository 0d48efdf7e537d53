"""Self-checks of the exercises of 05 Build the planner and 06 Plan coarse to fine.

Shapes: B batch · H, G query and key/value heads · N tokens · E head width · V ids · T ids to predict.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from minglm import layers
from minglm.answers import Case, normal, run
from minglm.planner import positions


# ---------------------------------------------------------------- 05 Build the planner

def causal_mask(learner: Callable) -> None:
    """mask(new, stored): which of all tokens (columns) the new ones (rows) may look at."""
    def case(new: int, stored: int) -> Case:
        every = torch.ones(new, stored + new, dtype=torch.bool)
        return Case((new, stored), every.tril(stored), {
            "off by one: a token may look at itself": every.tril(stored - 1),
            "off by one: each token may look at the token after it": every.tril(stored + 1),
            "each token looks at what comes after it: rows are who looks, columns are at whom": every.triu(stored),
            "True should mean 'may look', not 'may not'": ~every.tril(stored),
            "row 0 is the first new token: it may look at all stored tokens, too": every.tril()})

    run("causal_mask", learner, case(4, 0), case(3, 2), case(1, 5))


def grouped_attention(learner: Callable) -> None:
    """attention(q, k, v, mask): H query heads share G heads of keys and values."""
    def case(heads: int, groups: int, tokens: int, seed: int) -> Case:
        width, share = 8, heads // groups
        q, (k, v) = normal(2, heads, tokens, width, seed=seed), normal(2, 2, groups, tokens, width, seed=seed + 1)
        mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        tiled = layers.attention(q, k.repeat(1, share, 1, 1), v.repeat(1, share, 1, 1), mask)
        wide_k, wide_v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        scores = (q @ wide_k.transpose(-1, -2) / width ** 0.5).masked_fill(~mask, -torch.inf)
        return Case((q, k, v, mask), layers.attention(q, k, v, mask), {
            "your scores are not divided by sqrt(E)": layers.attention(q * width ** 0.5, k, v, mask),
            "the scores are divided by E, not by its square root": layers.attention(q / width ** 0.5, k, v, mask),
            "the mask is not used": layers.attention(q, k, v),
            "the softmax should run over the tokens looked at, the last axis": scores.softmax(-2) @ wide_v,
            "each group serves neighbouring heads (repeat_interleave), not every G-th one": tiled})

    run("grouped_attention", learner, case(4, 4, 5, 0), case(4, 2, 6, 2), case(6, 2, 3, 4))


def rotation(learner: Callable) -> None:
    """rotate(x, angles): turn the first R channels of x (N, E) by angles (N, R/2), pairing i with i + R/2."""
    def case(tokens: int, width: int, half: int, seed: int) -> Case:
        x, angles = normal(tokens, width, seed=seed), 3 * normal(tokens, half, seed=seed + 1)

        def turned(x, angles):
            both = torch.cat([angles, angles], -1)
            return layers.rotate(x[None, None], both.cos(), both.sin())[0, 0]

        even, odd = x[:, 0:2 * half:2], x[:, 1:2 * half:2]
        pairs = torch.stack([even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin()], -1)
        return Case((x, angles), turned(x, angles), {
            "it turns backwards: the sine has the wrong sign": turned(x, -angles),
            "the channels that do not turn are missing": turned(x, angles)[:, :2 * half],
            "pair channel i with channel i + R/2, not with its neighbour":
                torch.cat([pairs.flatten(1), x[:, 2 * half:]], 1),
            "b has to be multiplied by the cosine of its angle, and a by the sine": torch.cat(
                [turned(x, angles)[:, :half], turned(x, -angles)[:, half:]], 1)})

    run("rotation", learner, case(5, 8, 4, 0), case(4, 12, 3, 2))


def grid_positions(learner: Callable) -> None:
    """positions(start, rows, columns): time, row and column of every cell of a grid, (3, rows * columns)."""
    def case(start: int, rows: int, columns: int) -> Case:
        right = positions([start, (rows, columns)])[:, start:]
        row, column = torch.arange(rows).repeat(columns), torch.arange(columns).repeat_interleave(rows)
        return Case((start, rows, columns), right, {
            "rows and columns are swapped: the order is time, row, column": right[[0, 2, 1]],
            "`start` is missing: a grid begins where the counter stands": right - start,
            "`start` belongs to all three axes": torch.stack([right[0], right[1] - start, right[2] - start]),
            "time stands still in a grid": torch.stack([start + torch.arange(rows * columns), right[1], right[2]]),
            "a grid is read row by row, not column by column": start + torch.stack([0 * row, row, column])})

    run("grid_positions", learner, case(10, 2, 3), case(3, 5, 2))


# ---------------------------------------------------------------- 06 Plan coarse to fine

def next_targets(learner: Callable) -> None:
    """targets(prompt, grids, eoi): the ids the planner reads, and for each the id it should say next."""
    def case(prompt: list[int], grids: list[int], eoi: int) -> Case:
        read, say = prompt + grids, [-100] * (len(prompt) - 1) + grids + [eoi]
        return Case((prompt, grids, eoi), (read, say), {
            "not shifted: the target of a token is the id after it": (read, [-100] * len(prompt) + grids),
            "the prompt is given and not to be learned: its targets are -100, but for the last":
                (read, read[1:] + [eoi]),
            "off by one: the last token of the prompt, boi, should say the first id":
                (read, [-100] * len(prompt) + say[len(prompt):]),
            "eoi is only said, never read": (read + [eoi], say + [-100]),
            "behind the last id the planner should say eoi": (read[:-1], say[:-1])})

    run("next_targets", learner, case([50, 51, 40], [3, 1, 4, 1, 5], 41), case([40], [9], 41))


def weighted_loss(learner: Callable) -> None:
    """loss(scores, targets, small, weight): cross-entropy; the first `small` ids count `weight` times."""
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
            "the wrong part counts more: the preview comes first": (each * other).sum() / (batch * other.sum()),
            "the loss is minus the log of the chance": -right})

    run("weighted_loss", learner, case(3, 6, 2, 2.0, 0), case(2, 9, 4, 5.0, 2))


def legal_ids(learner: Callable) -> None:
    """legal(scores, drawn, cells, codebook): -inf for every id that may not come after `drawn` ids."""
    def case(drawn: int, cells: int, codebook: int) -> Case:
        scores, ids = normal(codebook + 4, seed=drawn), torch.arange(codebook + 4)
        code, end = ids < codebook, ids == codebook + 1

        def only(allowed, other=-torch.inf):
            return torch.where(allowed, scores, torch.tensor(other))

        right = code if drawn < cells else end
        return Case((scores, drawn, cells, codebook), only(right), {
            "a score of 0 is no ban: what is illegal gets -inf": only(right, 0.0),
            "when as many ids are drawn as there are cells, only eoi is legal": only(code),
            "id `codebook` is boi, which is no code": only(ids <= codebook if drawn < cells else end),
            "eoi is id `codebook` + 1": only(code if drawn < cells else ids == codebook),
            "the grid is not yet full: no eoi": only(code | end if drawn < cells else end),
            "off by one: with `cells` - 1 ids drawn, one is missing": only(code if drawn < cells - 1 else end)})

    run("legal_ids", learner, case(0, 4, 6), case(3, 4, 6), case(4, 4, 5))


def top_p(learner: Callable) -> None:
    """top_p(chances, p): the chances of the smallest set of ids that reaches p; all others 0."""
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
            "these are sorted: put each chance back at its own id": best / best.sum(),
            "begin with the likeliest: sort in falling order":
                torch.zeros(count).index_put((rising,), worst / worst.sum())})

    run("top_p", learner, case(6, 0.75, 0), case(12, 0.9, 1), case(5, 0.01, 2))
