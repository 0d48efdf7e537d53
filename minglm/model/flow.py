"""Rectified flow: straight paths from noise to data, their loss, and the Euler sampler.

Shapes: B batch · C latent channels · h, w latents.

u in (0, 1] is the unshifted time, sigma the noise level. In GLM-Image's convention the model is given the
unshifted time, 1000 u - 1, while the latents are mixed at the shifted noise level sigma(u). (Given the
shifted time, the published model paints magenta pictures.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from minglm.config import FlowConfig


def shift(u: Tensor, tokens: int, config: FlowConfig) -> Tensor:
    """sigma(u), as u; the shift grows with the image tokens, since more pixels average out more noise."""
    mu = torch.full_like(u, config.max_shift * (tokens / config.base_tokens) ** 0.5 + config.base_shift)
    # mu is a tensor to round as published: PyTorch computes number / tensor as number * (1 / tensor)
    return mu / (mu + (1 / u - 1))


def mix(data: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The point at `sigma` (B,) on the straight path from data to noise, both (B, C, h, w)."""
    sigma = sigma[:, None, None, None]
    return (1 - sigma) * data + sigma * noise


def loss(velocity: Tensor, data: Tensor, noise: Tensor, weight: Tensor,
         total: Tensor | None = None) -> Tensor:
    """Weighted mean squared error of a velocity, whose target is noise - data; all (B, C, h, w).

    total: the sum of weights to divide by, if these are only some samples of a batch."""
    error = (velocity.float() - (noise - data)).square().mean(1, keepdim=True)
    return (error * weight).sum() / (weight.sum() if total is None else total)


def schedule(steps: int, tokens: int, config: FlowConfig) -> tuple[list[float], list[float]]:
    """(times given to the model, sigmas with a final 0), as the published scheduler computes them.

    The sigmas agree to the last bit, being rounded in the same order. Raises ValueError unless steps are
    1..1000.
    """
    if not 1 <= steps <= 1000:
        raise ValueError(f"{steps} steps: choose 1 to 1000")
    # numpy's, since torch.linspace rounds differently
    times = torch.from_numpy(np.linspace(1000, 1, steps + 1)[:-1]).trunc().float()
    return (times - 1).tolist(), [*shift(times / 1000, tokens, config).tolist(), 0.0]


def sample(velocity: Callable[[Tensor, float], Tensor], latents: Tensor, times: list[float],
           sigmas: list[float]) -> Iterator[Tensor]:
    """Euler's method from noise to data; yields the latents after every step."""
    for time, sigma, following in zip(times, sigmas, sigmas[1:]):
        # noise levels fall, so the step is negative: against the velocity, which points from data to noise
        latents = latents + (following - sigma) * velocity(latents, time)
        yield latents


def guide(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance: extrapolate from the unconditional through the conditional prediction."""
    return unconditional + guidance * (conditional - unconditional)
