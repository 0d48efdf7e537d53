"""Rectified flow: straight paths from noise to data, their loss, and the Euler sampler.

Shapes: B batch · C channels · h, w latents. u in (0, 1] is the unshifted time, sigma the share of
noise. GLM-Image's convention: the model is told the unshifted time, 1000 u - 1, while the latents
are mixed with the shifted sigma(u). (Feeding it the shifted one gives the published model magenta
pictures.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from minglm.config import FlowConfig


def shift(u: Tensor, tokens: int, config: FlowConfig) -> Tensor:
    """sigma(u): larger pictures need more noise, so the shift grows with the image tokens."""
    mu = torch.full_like(u, config.max_shift * (tokens / config.base_tokens) ** 0.5 + config.base_shift)
    return mu / (mu + (1 / u - 1))           # rounds in the published order; a number / tensor would be a reciprocal


def mix(data: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The point at `sigma` (B,) on the straight path from data to noise, both (B, C, h, w)."""
    sigma = sigma[:, None, None, None]
    return (1 - sigma) * data + sigma * noise


def loss(velocity: Tensor, data: Tensor, noise: Tensor, weight: Tensor, total: Tensor | None = None) -> Tensor:
    """Weighted mean square error of a velocity, whose target is noise - data; all (B, C, h, w).

    total: the sum of weights to divide by, where these are not all samples of a batch."""
    error = (velocity.float() - (noise - data)).square().mean(1, keepdim=True)
    return (error * weight).sum() / (weight.sum() if total is None else total)


def schedule(steps: int, tokens: int, config: FlowConfig) -> tuple[list[float], list[float]]:
    """(times told to the model, sigmas with a final 0), as the published scheduler makes them.

    The sigmas are its to the last bit, by rounding in its order. Raises ValueError unless 1 <= steps <= 1000.
    """
    if not 1 <= steps <= 1000:
        raise ValueError(f"{steps} steps: choose 1 to 1000")
    times = torch.from_numpy(np.linspace(1000, 1, steps + 1)[:-1]).trunc().float()  # torch's rounds otherwise
    return (times - 1).tolist(), [*shift(times / 1000, tokens, config).tolist(), 0.0]


def sample(velocity: Callable[[Tensor, float], Tensor], latents: Tensor, times: list[float],
           sigmas: list[float]) -> Iterator[Tensor]:
    """Euler's method from noise to data; yields the latents after every step."""
    for time, sigma, following in zip(times, sigmas, sigmas[1:]):
        latents = latents + (following - sigma) * velocity(latents, time)
        yield latents


def guide(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance: past the conditional prediction, away from the unconditional."""
    return unconditional + guidance * (conditional - unconditional)
