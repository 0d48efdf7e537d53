"""Checks of the exercises in notebook 12, Reward it.

Shapes: B samples, the groups of G one after the other · T decisions of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from minglm.course.answers import Case, normal, run
from minglm.model import sde
from minglm.training import grpo


def advantages(learner: Callable) -> None:
    """rewards (B,), group size G -> advantages (B,): how many deviations better than its group each is."""
    def case(rewards: torch.Tensor, size: int) -> Case:
        groups = rewards.view(-1, size)
        apart = groups - groups.mean(1, keepdim=True)
        every = rewards - rewards.mean()
        return Case((rewards, size), grpo.advantages(rewards, size), {
            "mean and deviation are those of each group, not of all samples":
                every / (rewards.std(correction=0) + 1e-4),
            "divide by the standard deviation of the group": apart.flatten(),
            "the groups stand one after the other: view(-1, size), not view(size, -1)":
                grpo.advantages(rewards.view(size, -1).T.reshape(-1), size).view(-1, size).T.reshape(-1),
            "worse than the group must be negative: reward minus mean": -grpo.advantages(rewards, size),
            "divide by n, not by n - 1": (apart / (groups.std(1, keepdim=True) + 1e-4)).flatten()})

    solved = torch.tensor([1.0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1])
    run("advantages", learner, case(normal(12), 4), case(solved, 6),
        tolerance=1e-3)


def clipped(learner: Callable) -> None:
    """new, old log-probabilities (B, T), advantage (B, 1), clip -> the loss of each decision (B, T)."""
    new, old = 0.4 * normal(6, 5), 0.4 * normal(6, 5, seed=1)
    better, clip = normal(6, 1, seed=2), 0.2
    ratio = (new - old).exp()
    bound = ratio.clamp(1 - clip, 1 + clip)
    run("clipped", learner, Case((new, old, better, clip), grpo.clipped(new, old, better, clip), {
        "a loss is to be made small: minus the smaller of the two":
            grpo.clipped(new, old, better, clip).neg(),
        "take the smaller of the clipped and the unclipped product, not the clipped one always":
            -(bound * better),
        "nothing is clipped": -(ratio * better),
        "the larger of the two would let a bad sample go on being pushed": -torch.maximum(ratio * better,
                                                                                          bound * better),
        "the ratio is new over old: exp(new - old)": grpo.clipped(old, new, better, clip)}))


def divergence(learner: Callable) -> None:
    """new, reference log-probabilities (...) -> an estimate of their KL divergence, never below 0 (...)."""
    new, reference = normal(7, 5), normal(7, 5, seed=1)
    run("divergence", learner, Case((new, reference), grpo.divergence(new, reference), {
        "the ratio is reference over new, since the samples come from new": grpo.divergence(reference, new),
        "log(new / reference) alone is right on average, but may be negative": new - reference,
        "the - 1 is missing: equal probabilities must give 0": grpo.divergence(new, reference) + 1}))


def noisy_step(learner: Callable) -> None:
    """x, velocity, noise levels sigma > following, a -> the mean of the next x, and its deviation."""
    x, v = normal(3, 4), normal(3, 4, seed=1)

    def case(sigma: float, following: float, a: float) -> Case:
        def answer(g2: float, noise: torch.Tensor = x + (1 - sigma) * v, half: float = 2.0) -> tuple:
            apart = following - sigma
            return x + (v + g2 / (half * sigma) * noise) * apart, math.sqrt(g2 * -apart)

        g2 = a * a * sigma / (1 - sigma)
        return Case((x, v, sigma, following, a), sde.step(x, v, sigma, following, a), {
            "g squared is a^2 sigma / (1 - sigma)": answer(a * sigma / (1 - sigma)),
            "the noise that v stands for is x + (1 - sigma) v": answer(g2, x - sigma * v),
            "half of g squared goes into the drift": answer(g2, half=1.0),
            "the deviation is g times the root of the step": (answer(g2)[0], g2 * (sigma - following)),
            "the drift is not corrected: then the noise makes every picture noisier":
                (x + v * (following - sigma), answer(g2)[1])})

    run("noisy_step", learner, case(0.8, 0.7, 0.7), case(0.4, 0.25, 1.0))
