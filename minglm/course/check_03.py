"""Checks of the exercises in notebook 03, Squeeze pixels into latents.

Shapes: B batch · C channels · H, W image height and width · s side of a patch · N rows of D numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from minglm.course.answers import Case, normal, run


def psnr(learner: Callable) -> None:
    """Two tensors of pictures in [-1, 1] -> the peak signal-to-noise ratio in decibels, a float."""
    def case(a: Tensor, b: Tensor) -> Case:
        error, distance = (a - b).square().mean(), (a - b).abs().mean()
        right = float(10 * torch.log10(4 / error))
        return Case((a, b), right, {
            "6 dB too low: from -1 to 1 the range is 2, so the peak squared is 4":
                float(10 * torch.log10(1 / error)),
            "the sign is wrong: the smaller the error, the more decibels": -right,
            "that is the natural logarithm; decibels use log10": float(10 * torch.log(4 / error)),
            "10 log10 of a square is 20 log10 of the amplitude; you applied the square twice": 2 * right,
            "the absolute difference was averaged; PSNR averages its square":
                float(10 * torch.log10(4 / distance))})

    a = normal(2, 3, 8, 8).clamp(-1, 1)
    run("psnr", learner, case(a, (a + 0.1 * normal(2, 3, 8, 8, seed=1)).clamp(-1, 1)),
        case(a, torch.zeros_like(a)))


def patches(learner: Callable) -> None:
    """Images (B, C, H, W) and a side s -> one row of C s s numbers for each s x s patch, row by row."""
    def case(b: int, c: int, h: int, w: int, s: int) -> Case:
        x = torch.arange(float(b * c * h * w)).view(b, c, h, w)
        right = rearrange(x, "b c (h p) (w q) -> (b h w) (c p q)", p=s, q=s)
        return Case((x, s), right, {
            "a reshape alone keeps the pixels in the order of memory; first move (h, w) before (c, p, q)":
                x.reshape(right.shape),
            "the patches run down the columns; they should run along the rows":
                rearrange(x, "b c (h p) (w q) -> (b w h) (c p q)", p=s, q=s),
            "in each row the colours come last; they should come first, as in the picture":
                rearrange(x, "b c (h p) (w q) -> (b h w) (p q c)", p=s, q=s),
            "within a patch rows and columns are exchanged":
                rearrange(x, "b c (h p) (w q) -> (b h w) (c q p)", p=s, q=s),
            "pixels far apart were combined; a patch is s x s adjacent pixels":
                rearrange(x, "b c (p h) (q w) -> (b h w) (c p q)", p=s, q=s)})

    run("patches", learner, case(2, 3, 4, 6, 2), case(1, 3, 16, 24, 8))


def pca(learner: Callable) -> None:
    """Rows (N, D) and k -> the rows projected onto the first k principal components and back, (N, D)."""
    def through(x: Tensor, center: Tensor, basis: Tensor, back: Tensor) -> Tensor:
        return (x - center) @ basis @ basis.T + back

    def case(n: int, d: int, k: int) -> Case:
        x = normal(n, d) @ normal(d, d, seed=1) + 3
        center, zero = x.mean(0), torch.zeros(d)
        vectors = torch.linalg.eigh((x - center).T @ (x - center))[1]
        raw = torch.linalg.eigh(x.T @ x)[1]
        return Case((x, k), through(x, center, vectors[:, -k:], center), {
            "eigh sorts in ascending order: take the last k columns":
                through(x, center, vectors[:, :k], center),
            "the mean was subtracted and not added again": through(x, center, vectors[:, -k:], zero),
            "subtract the mean first, or the first component is spent on it":
                through(x, zero, raw[:, -k:], zero),
            "eigenvectors are columns, and you took rows": through(x, center, vectors[-k:].T, center)})

    run("pca", learner, case(64, 6, 2), case(200, 12, 5), tolerance=1e-3)
