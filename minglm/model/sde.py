"""The flow's stochastic sampler: the same marginals as the ODE's, with a probability for every step.

Shapes: B batch · C latent channels · h, w latents.

Euler's method has no randomness after the first noise, so there is nothing to make more probable. At noise
level s, x = (1 - s) data + s noise, so the noise that a velocity v = noise - data stands for is
x + (1 - s) v, and the score is minus that over s. Any diffusion g then has the same marginals, backwards in
s, if the drift is v - g^2 score / 2. With g = a sqrt(s / (1 - s)), more at high noise, each step is a
Gaussian, whose log-probability can be learned from. Source: Flow-GRPO, arXiv:2505.05470, section 4.
"""

from __future__ import annotations

import math

from torch import Tensor


def step(latents: Tensor, velocity: Tensor, sigma: float, following: float, level: float
         ) -> tuple[Tensor, float]:
    """The mean (B, C, h, w) and standard deviation of the latents at noise level `following`, given those at
    `sigma`, which is larger.

    level: a, how random; 0 is Euler's step. Raises ValueError unless 1 >= sigma > following >= 0.
    """
    if not 1 >= sigma > following >= 0:
        raise ValueError(f"a step from noise level {sigma} to {following}: it has to fall, within 1 and 0")
    apart = following - sigma
    # g grows without bound towards pure noise; the first step takes it where it ends
    at = sigma if sigma < 1 else following
    g2 = level ** 2 * at / (1 - at)
    noise = latents + (1 - sigma) * velocity
    mean = latents + (velocity + g2 / (2 * sigma) * noise) * apart
    return mean, math.sqrt(g2 * -apart)


def log_probability(sample: Tensor, mean: Tensor, deviation: float) -> Tensor:
    """Of a step's sample, per number and so comparable between sizes: (B, C, h, w) twice -> (B,)."""
    squares = (sample - mean).float().square() / (2 * deviation ** 2)
    return -(squares + math.log(deviation) + 0.5 * math.log(2 * math.pi)).flatten(1).mean(1)


def divergence(mean: Tensor, other: Tensor, deviation: float) -> Tensor:
    """KL of two steps of one deviation, per number: means (B, C, h, w) -> (B,)."""
    return ((mean - other).float().square() / (2 * deviation ** 2)).flatten(1).mean(1)
