"""Checks of the exercises in notebook 05, Build the planner.

Shapes: B batch · H, G query and key/value heads · N tokens · E head width · R rotated channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from minglm.course.answers import Case, normal, run
from minglm.model import ops
from minglm.model.planner import positions
from minglm.model.rotary import rotate


def causal_mask(learner: Callable) -> None:
    """mask(new, stored): which of all tokens (columns) the new ones (rows) may attend to."""
    def case(new: int, stored: int) -> Case:
        every = torch.ones(new, stored + new, dtype=torch.bool)
        return Case((new, stored), every.tril(stored), {
            "off by one: a token may attend to itself": every.tril(stored - 1),
            "off by one: each token attends to the token after it": every.tril(stored + 1),
            "tokens attend to what comes after them: rows are queries, columns are keys": every.triu(stored),
            "True should mean 'may attend', not 'may not'": ~every.tril(stored),
            "row 0 is the first new token: it may attend to all stored tokens, too": every.tril()})

    run("causal_mask", learner, case(4, 0), case(3, 2), case(1, 5))


def grouped_attention(learner: Callable) -> None:
    """attention(q (B, H, N, E), k, v (B, G, N, E), mask (N, N)): G heads of keys and values for H queries."""
    def case(heads: int, groups: int, tokens: int, seed: int) -> Case:
        width, share = 8, heads // groups
        q, (k, v) = (normal(2, heads, tokens, width, seed=seed),
                     normal(2, 2, groups, tokens, width, seed=seed + 1))
        mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        tiled = ops.attention(q, k.repeat(1, share, 1, 1), v.repeat(1, share, 1, 1), mask)
        wide_k, wide_v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        scores = (q @ wide_k.transpose(-1, -2) / width ** 0.5).masked_fill(~mask, -torch.inf)
        return Case((q, k, v, mask), ops.attention(q, k, v, mask), {
            "the logits are not divided by sqrt(E)": ops.attention(q * width ** 0.5, k, v, mask),
            "the logits are divided by E, not by its root": ops.attention(q / width ** 0.5, k, v, mask),
            "the mask is not used": ops.attention(q, k, v),
            "the softmax should run over the keys, the last axis": scores.softmax(-2) @ wide_v,
            "each group serves adjacent heads (repeat_interleave), not every G-th one": tiled})

    run("grouped_attention", learner, case(4, 4, 5, 0), case(4, 2, 6, 2), case(6, 2, 3, 4))


def rotation(learner: Callable) -> None:
    """rotate(x (N, E), angles (N, R/2)): rotate the first R channels of x, pairing i with i + R/2."""
    def case(tokens: int, width: int, half: int, seed: int) -> Case:
        x, angles = normal(tokens, width, seed=seed), 3 * normal(tokens, half, seed=seed + 1)

        def turned(x, angles):
            both = torch.cat([angles, angles], -1)
            return rotate(x[None, None], both.cos(), both.sin())[0, 0]

        even, odd = x[:, 0:2 * half:2], x[:, 1:2 * half:2]
        pairs = torch.stack([even * angles.cos() - odd * angles.sin(),
                             odd * angles.cos() + even * angles.sin()], -1)
        return Case((x, angles), turned(x, angles), {
            "it rotates backwards: the sine has the wrong sign": turned(x, -angles),
            "the channels that are not rotated are missing": turned(x, angles)[:, :2 * half],
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
            "`start` is missing: a grid begins where the text before it ended": right - start,
            "`start` is added on all three axes": torch.stack([right[0], right[1] - start, right[2] - start]),
            "time is constant within a grid":
                torch.stack([start + torch.arange(rows * columns), right[1], right[2]]),
            "a grid is read row by row, not column by column": start + torch.stack([0 * row, row, column])})

    run("grid_positions", learner, case(10, 2, 3), case(3, 5, 2))
