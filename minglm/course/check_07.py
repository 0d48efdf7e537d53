"""Checks of the exercises in notebook 07, Go with the flow.

Shapes: B batch · C latent channels · h, w latents · D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minglm.config import FlowConfig
from minglm.course.answers import Case, normal, run
from minglm.model import flow


def straight_path(learner: Callable) -> None:
    """data, noise (B, D), sigma (B,) -> the point at sigma (B, D), and the velocity there (B, D)."""
    data, noise = normal(2, 5, 2)
    sigma = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])
    s, way = sigma[:, None], noise - data
    point = flow.mix(data[..., None, None], noise[..., None, None], sigma)[..., 0, 0]
    swapped = noise - s * way
    run("straight_path", learner, Case((data, noise, sigma), (point, way), {
        "data and noise are exchanged in the point: at sigma 0 it is the data, at sigma 1 the noise":
            (swapped, way),
        "the velocity has the wrong sign: sigma grows from data to noise, so it is noise - data":
            (point, -way),
        "both are the other way round: sigma is the noise level, and the velocity is noise - data":
            (swapped, -way),
        "the velocity is the same on the whole line, noise - data: do not multiply it by sigma":
            (point, s * way)}))


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
        "the velocity is evaluated at sigma: its second argument is the time":
            walk(lambda x, t, s, n: (n - s) * velocity(x, s)),
        "the velocity is always evaluated at the start: evaluate it at the current x":
            walk(lambda x, t, s, n: (n - s) * velocity(start, t)),
        "the last step is missing, the one to sigma 0":
            walk(lambda x, t, s, n: (n - s) * velocity(x, t), -1)}))


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
            "sigma is not a multiple of u, or it would exceed 1: it is mu / (mu + 1/u - 1)": mu * u})

    run("sigma_shift", learner, case(64), case(16), case(1024))


def guidance(learner: Callable) -> None:
    """conditional, unconditional (B, C, h, w), guidance -> guided: 1 gives the first, 0 the second."""
    a, b = normal(2, 2, 3, 4, 4)

    def case(g: float) -> Case:
        return Case((a, b, g), flow.guide(a, b, g), {
            "the two predictions are exchanged: it starts from the unconditional one": flow.guide(b, a, g),
            "you start from the conditional one, so your guidance 0 is guidance 1: start from the other":
                a + g * (a - b),
            "add g times the difference of the two, not g times the conditional one": b + g * a})

    run("guidance", learner, case(1.5), case(1.0), case(0.0), case(4.0))
