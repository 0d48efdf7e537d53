"""Self-checks of notebooks 07 and 08: straight paths, Euler's method, guidance, and the decoder's parts.

Shapes: B batch · C latent channels · h, w latents or ids · N tokens · D width · E head width.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from minglm import decoder, flow
from minglm.answers import Case, normal, run
from minglm.config import DecoderConfig, FlowConfig
from minglm.layers import frequencies


# ---------------------------------------------------------------- 07 Go with the flow

def straight_path(learner: Callable) -> None:
    """data, noise (B, D), sigma (B,) -> the point at sigma (B, D), and the velocity there (B, D)."""
    data, noise = normal(2, 5, 2)
    sigma = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])
    s, way = sigma[:, None], noise - data
    point = flow.mix(data[..., None, None], noise[..., None, None], sigma)[..., 0, 0]
    swapped = noise - s * way
    run("straight_path", learner, Case((data, noise, sigma), (point, way), {
        "data and noise are exchanged in the point: at sigma 0 it is the data, at sigma 1 the noise": (swapped, way),
        "the velocity has the wrong sign: sigma grows from data to noise, so it is noise - data": (point, -way),
        "both are the other way round: sigma is the share of noise, and the velocity is noise - data": (swapped, -way),
        "the velocity is that of the whole line, noise - data: do not multiply it by sigma": (point, s * way)}))


def euler(learner: Callable) -> None:
    """velocity(x, time), x, times (n), sigmas (n + 1) -> x after n steps of Euler's method."""
    def velocity(x: Tensor, time: float) -> Tensor:
        return x.sin() + time / 500

    def walk(step: Callable, steps: int | None = None) -> Tensor:
        x = start
        for time, sigma, following in list(zip(times, sigmas, sigmas[1:]))[:steps]:
            x = x + step(x, time, sigma, following)
        return x

    start, (times, sigmas) = normal(4, 2), flow.schedule(5, 64, FlowConfig())
    *_, right = flow.sample(velocity, start, times, sigmas)
    run("euler", learner, Case((velocity, start, times, sigmas), right, {
        "a step is (next sigma - sigma) times the velocity, a negative number: yours has the other sign":
            walk(lambda x, t, s, n: (s - n) * velocity(x, t)),
        "each step goes all the way to sigma 0: walk only from this sigma to the next":
            walk(lambda x, t, s, n: -s * velocity(x, t)),
        "the velocity is asked with sigma: it wants to be told the time":
            walk(lambda x, t, s, n: (n - s) * velocity(x, s)),
        "the velocity is always asked at the start: ask it where you are now":
            walk(lambda x, t, s, n: (n - s) * velocity(start, t)),
        "the last step is missing, the one to sigma 0": walk(lambda x, t, s, n: (n - s) * velocity(x, t), -1)}))


def sigma_shift(learner: Callable) -> None:
    """u (B,), tokens -> sigma (B,), with mu = 0.75 sqrt(tokens / 16) + 0.25."""
    u = torch.tensor([0.05, 0.3, 0.5, 0.8, 1.0])

    def sigma(mu: float) -> Tensor:
        return mu / (mu + 1 / u - 1)

    def case(tokens: int) -> Case:
        ratio = tokens / 16
        mu = 0.75 * ratio ** 0.5 + 0.25
        return Case((u, tokens), flow.shift(u, tokens, FlowConfig()), {
            "the square root is missing: mu grows with the side of the picture, not with its area":
                sigma(0.75 * ratio + 0.25),
            "mu lacks the 0.25": sigma(0.75 * ratio ** 0.5),
            "you shifted towards less noise: larger pictures need more, so mu multiplies sigma / (1 - sigma)":
                sigma(1 / mu),
            "sigma is more than a multiple of u, or it would pass 1: it is mu / (mu + 1/u - 1)": mu * u})

    run("sigma_shift", learner, case(64), case(16), case(1024))


def guidance(learner: Callable) -> None:
    """conditional, unconditional (B, C, h, w), and a number: 1 gives the first, 0 the second."""
    a, b = normal(2, 2, 3, 4, 4)

    def case(g: float) -> Case:
        return Case((a, b, g), flow.guide(a, b, g), {
            "the two predictions are exchanged: it starts from the unconditional one": flow.guide(b, a, g),
            "you start from the conditional one, so your guidance 0 is guidance 1: start from the other":
                a + g * (a - b),
            "add g times the difference of the two, not g times the conditional one": b + g * a})

    run("guidance", learner, case(1.5), case(1.0), case(0.0), case(4.0))


# ---------------------------------------------------------------- 08 Build the decoder

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
    """ids (B, h, w) -> one id for each image token (B, 2 h 2 w): every id on a square of 2 x 2."""
    def case(h: int, w: int) -> Case:
        ids = torch.arange(2 * h * w).view(2, h, w)
        return Case((ids,), repeat(ids, "b h w -> b (h p w q)", p=2, q=2), {
            "the whole grid is repeated, like tiles: repeat each id instead (repeat_interleave)":
                ids.repeat(1, 2, 2).flatten(1),
            "each id comes four times in a row: two of its tokens are in the next row":
                ids.flatten(1).repeat_interleave(4, 1),
            "the tokens run down the columns: flatten row by row": repeat(ids, "b h w -> b (w q h p)", p=2, q=2)})

    run("upsample_ids", learner, case(4, 4), case(3, 5))


def modulate(learner: Callable) -> None:
    """x (B, N, D), shift, scale (B, D) -> layer_norm(x) (1 + scale) + shift."""
    x, (shift, scale) = normal(2, 5, 8), normal(2, 2, 8, seed=1)
    x, a, b = 3 * x + 1, shift[:, None], scale[:, None]
    normed = F.layer_norm(x, (8,), eps=1e-5)
    run("modulate", learner, Case((x, shift, scale), decoder.modulate(x, shift, scale), {
        "the scale lacks its 1: a scale of zero must leave the normalised x as it is": normed * b + a,
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
            "rows and columns are exchanged: the row comes first": turn(torch.cat([column * fast, row * fast], -1)),
            "each angle stands beside its twin: number i turns with number i + E/2, so write the whole row twice":
                turn(right, "(e k)"),
            "row and column each have frequencies of their own, from fast to slow: frequencies(E // 2, 10000.0)":
                turn(torch.cat([row * coarse, column * coarse], -1))})

    run("rotary_2d", learner, case(3, 5, 16), case(4, 4, 8))
