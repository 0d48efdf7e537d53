"""Checks of the exercises in notebook 08, Build the decoder.

Shapes: B batch · C latent channels · h, w latents or ids · N tokens · D width · E head width.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from minglm.config import DecoderConfig
from minglm.course.answers import Case, normal, run
from minglm.model import decoder, ops
from minglm.model.rotary import frequencies


def patchify(learner: Callable) -> None:
    """latents (B, C, h, w), p -> tokens (B, N, C p p), row by row."""
    def case(h: int, w: int) -> Case:
        x, p = normal(2, 3, h, w), 2

        def cut(to: str) -> Tensor:
            return rearrange(x, f"b c (h p) (w q) -> {to}", p=p, q=p)

        right = cut("b (h w) (c p q)")
        return Case((x, p), right, {
            "inside a token the channel must come first, as in the published weights: (c p q), not (p q c)":
                cut("b (h w) (p q c)"),
            "inside a token rows and columns are exchanged: (c p q)": cut("b (h w) (c q p)"),
            "the tokens run down the columns: they must run along the rows, (h w)": cut("b (w h) (c p q)"),
            "a reshape alone does not cut patches: it takes neighbours along a row": x.reshape(right.shape)})

    run("patchify", learner, case(8, 12), case(4, 4))


def upsample_ids(learner: Callable) -> None:
    """ids (B, h, w) -> the id of each image token (B, 2 h 2 w): every id covers 2 x 2 tokens."""
    def case(h: int, w: int) -> Case:
        ids = torch.arange(2 * h * w).view(2, h, w)
        return Case((ids,), repeat(ids, "b h w -> b (h p w q)", p=2, q=2), {
            "the whole grid is repeated, like tiles: repeat each id instead (repeat_interleave)":
                ids.repeat(1, 2, 2).flatten(1),
            "each id comes four times in a row: two of its tokens are in the next row":
                ids.flatten(1).repeat_interleave(4, 1),
            "the tokens run down the columns: flatten row by row":
                repeat(ids, "b h w -> b (w q h p)", p=2, q=2)})

    run("upsample_ids", learner, case(4, 4), case(3, 5))


def modulate(learner: Callable) -> None:
    """x (B, N, D), shift, scale (B, D) -> layer_norm(x) (1 + scale) + shift."""
    x, (shift, scale) = normal(2, 5, 8), normal(2, 2, 8, seed=1)
    x, a, b = 3 * x + 1, shift[:, None], scale[:, None]
    normed = F.layer_norm(x, (8,), eps=1e-5)
    run("modulate", learner, Case((x, shift, scale), ops.modulate(x, shift, scale), {
        "the scale lacks its 1: a scale of zero must leave the normalised x unchanged": normed * b + a,
        "shift and scale are exchanged": normed * (1 + a) + b,
        "x is not normalised": x * (1 + b) + a,
        "the mean and deviation are those of each channel over the tokens: take those of each token":
            F.layer_norm(x.mT, (5,), eps=1e-5).mT * (1 + b) + a}))


def rotary_2d(learner: Callable) -> None:
    """rows, columns, E -> cosines and sines (N, E) of the angles of each token's row, then of its column."""
    def turn(angles: Tensor, twins: str = "(k e)") -> tuple[Tensor, Tensor]:
        angles = repeat(angles, f"n e -> n {twins}", k=2)
        return angles.cos(), angles.sin()

    def case(rows: int, columns: int, width: int) -> Case:
        fast, coarse = frequencies(width // 2, 10000.0), frequencies(width, 10000.0)[: width // 4]
        row = torch.arange(rows).repeat_interleave(columns)[:, None]
        column = torch.arange(columns).repeat(rows)[:, None]
        right = torch.cat([row * fast, column * fast], -1)
        without_weights = SimpleNamespace(config=DecoderConfig(head_dim=width))
        answer = decoder.Decoder.rotary(without_weights, rows, columns, row.device)
        return Case((rows, columns, width), answer, {
            "rows and columns are exchanged: the row comes first":
                turn(torch.cat([column * fast, row * fast], -1)),
            "each angle is next to its copy: channel i is paired with i + E/2, so repeat the whole vector":
                turn(right, "(e k)"),
            "row and column have frequencies of their own, from fast to slow: frequencies(E // 2, 10000.0)":
                turn(torch.cat([row * coarse, column * coarse], -1))})

    run("rotary_2d", learner, case(3, 5, 16), case(4, 4, 8))
