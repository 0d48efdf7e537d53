"""Checks of the exercises in notebook 12, Reward it.

Shapes: B samples, the groups of G one after the other · K actions · T decisions of a sample ·
C latent channels · h, w latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from minglm.config import preset
from minglm.course import twins
from minglm.course.answers import Case, Wrong, normal, run
from minglm.model import sde
from minglm.model.planner import Planner
from minglm.training import grpo
from minglm.training.stage_grpo_planner import log_probabilities


def advantages(learner: Callable) -> None:
    """advantages(rewards (B,), size): how many standard deviations each is above the mean of its group."""
    def case(rewards: Tensor, size: int) -> Case:
        groups = rewards.view(-1, size)
        off = groups - groups.mean(1, keepdim=True)
        spread = groups.std(1, correction=0, keepdim=True)
        every = rewards - rewards.mean()
        return Case((rewards, size), grpo.advantages(rewards, size), {
            "mean and standard deviation are those of each group, not of all samples":
                every / (rewards.std(correction=0) + 1e-4),
            "divide by the standard deviation of the group": off.flatten(),
            "divide by the standard deviation, not by the variance": (off / (spread ** 2 + 1e-4)).flatten(),
            "groups are contiguous: view(-1, size), not view(size, -1)":
                grpo.advantages(rewards.view(size, -1).T.reshape(-1), size).view(-1, size).T.reshape(-1),
            "below the mean must be negative: reward minus mean": -grpo.advantages(rewards, size),
            "divide by n, not by n - 1: correction=0": (
                off / (groups.std(1, keepdim=True) + 1e-4)).flatten(),
            "equal rewards are 0 / 0: add 1e-4 to the standard deviation": (off / spread).flatten()})

    solved = torch.tensor([1.0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1])
    run("advantages", learner, case(normal(12), 6), case(solved, 4), tolerance=1e-3)


def with_gradient(loss: Callable, logits: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
    """A loss of logits, and its gradient. Raises Wrong if there is none."""
    logits = logits.clone().requires_grad_(True)
    value = loss(logits, *rest)
    if value is None:
        raise Wrong("policy_loss: your code gives back None. Is its last line a `return`?")
    if not isinstance(value, Tensor) or not value.requires_grad or value.numel() != 1:
        raise Wrong("policy_loss: return one number, a tensor through which gradients reach the logits: "
                    "no item(), no detach(), no no_grad()")
    gradient, = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def policy_loss(learner: Callable) -> None:
    """policy_loss(logits (B, K), actions (B,), advantages (B,)): one number, whose gradient is minus the
    policy gradient. Its gradient is checked, too."""
    def case(count: int, actions: int, seed: int) -> Case:
        logits, better = normal(count, actions, seed=seed), normal(count, seed=seed + 1)
        taken = torch.arange(count) * 3 % actions
        each = taken[:, None]
        mistakes = {
            "a loss is minimised: minus the mean": lambda z, a, b: -twins.policy_loss(z, a, b),
            "weight the log-probabilities, not the probabilities":
                lambda z, a, b: -(b * z.softmax(-1).gather(1, each)[:, 0]).mean(),
            "logits are not normalised: take their log_softmax over the actions":
                lambda z, a, b: -(b * z.gather(1, each)[:, 0]).mean(),
            "softmax over the actions, the last axis": lambda z, a, b: -(
                b * z.log_softmax(0).gather(1, each)[:, 0]).mean(),
            "the mean over the samples, not the sum": lambda z, a, b: count * twins.policy_loss(z, a, b),
            "the advantages are not used": lambda z, a, b: twins.policy_loss(z, a, torch.ones_like(b)),
            "only the action that was taken counts, not all actions":
                lambda z, a, b: -(b[:, None] * z.log_softmax(-1)).mean()}
        args = logits, taken, better
        return Case(args, with_gradient(twins.policy_loss, *args), {
            why: with_gradient(wrong, *args) for why, wrong in mistakes.items()})

    run("policy_loss", partial(with_gradient, learner), case(7, 5, 0), case(4, 3, 2))


def clipped(learner: Callable) -> None:
    """clipped(new, old (B, T), advantage (B, 1), clip): the loss of each decision (B, T)."""
    new, old = 0.4 * normal(6, 5), 0.4 * normal(6, 5, seed=1)
    better, clip = normal(6, 1, seed=2), 0.2
    ratio = (new - old).exp()
    bound = ratio.clamp(1 - clip, 1 + clip)
    run("clipped", learner, Case((new, old, better, clip), grpo.clipped(new, old, better, clip), {
        "a loss is minimised: minus the smaller of the two": grpo.clipped(new, old, better, clip).neg(),
        "take the smaller of the clipped and the unclipped product, not always the clipped one":
            -(bound * better),
        "nothing is clipped": -(ratio * better),
        "with the larger of the two, a bad sample would be pushed without end":
            -torch.maximum(ratio * better, bound * better),
        "clip the ratio, not its product with the advantage":
            -torch.minimum(ratio * better, (ratio * better).clamp(1 - clip, 1 + clip)),
        "these are log-probabilities: the ratio is exp(new - old)": -torch.minimum(
            new / old * better, (new / old).clamp(1 - clip, 1 + clip) * better),
        "the ratio is new over old: exp(new - old)": grpo.clipped(old, new, better, clip)}))


def divergence(learner: Callable) -> None:
    """divergence(new, reference (...)), log-probabilities: k3 of each sample (...), never below 0."""
    new, reference = normal(7, 5), normal(7, 5, seed=1)
    apart = reference - new
    run("divergence", learner, Case((new, reference), grpo.divergence(new, reference), {
        "the ratio is reference over new, since the samples come from new": grpo.divergence(reference, new),
        "log(new / reference) alone is unbiased, but can be negative": new - reference,
        "that is k2, half the squared log-ratio: never negative, but biased": apart ** 2 / 2,
        "the sign of the logarithm: r - log r - 1": apart.exp() + apart - 1,
        "the - 1 is missing: equal probabilities must give 0": grpo.divergence(new, reference) + 1}))


@cache
def small_planner() -> Planner:
    """A planner of four codes, with weights that hide no input."""
    config = replace(preset("tiny").planner, codebook=4, vision_vocab=8, vocab=16)
    planner, generator = Planner(config), torch.Generator().manual_seed(0)
    for p in planner.parameters():
        p.data = 0.4 * torch.randn(p.shape, generator=generator) + (p.ndim < 2)
    return planner.eval().requires_grad_(False)


def plan_log_probabilities(learner: Callable) -> None:
    """log_probabilities(planner, data, temperature): log-probabilities (B, T) of the sampled ids, given all
    before them, with the legal ids and the temperature of sampling."""
    def case(temperature: float, seed: int, preview: bool) -> Case:
        planner, generator = small_planner(), torch.Generator().manual_seed(seed)
        grids = [torch.randint(4, (3, *shape), generator=generator) for shape in ((1, 2), (2, 3))]
        boi = planner.config.boi
        data = dict(prompts=[[10, 11, boi], [12, boi], [10, 13, 14, boi]], large=grids[1],
                    preview=grids[0] if preview else None)
        logits, target = planner.predict(*(data[name] for name in ("prompts", "preview", "large")))
        legal, ids = logits[:, :-1, :4], target[:, :-1, None]

        def of(scores: Tensor, ids: Tensor = ids) -> Tensor:
            return scores.gather(-1, ids)[..., 0]

        right = log_probabilities(planner, data, temperature)
        return Case((planner, data, temperature), right, {
            "only codes are legal: cut the logits to the first `codebook` ids before the softmax":
                of((logits[:, :-1] / temperature).log_softmax(-1)),
            "the end token is not sampled: leave out the last position":
                of((logits / temperature).log_softmax(-1), target[..., None]),
            "divide the logits by the temperature": of(legal.log_softmax(-1)),
            "divide the logits by the temperature, do not multiply":
                of((legal * temperature).log_softmax(-1)),
            "the temperature divides the logits, not the log-probabilities":
                of(legal.log_softmax(-1)) / temperature,
            "logits are not normalised: take their log_softmax": of(legal / temperature),
            "probabilities; their logarithms are wanted": right.exp(),
            "the logits already stand where they predict: do not shift them": of(
                (logits[:, 1:, :4] / temperature).log_softmax(-1)),
            "one number for each id, not their sum: clipping looks at each decision": right.sum(1)})

    run("plan_log_probabilities", learner, case(0.7, 0, True), case(1.6, 1, False))


class Table(nn.Module):
    """A policy whose log-probabilities are its parameters, to see what an update does to them."""

    def __init__(self, values: Tensor):
        super().__init__()
        self.values = nn.Parameter(values.clone())

    def forward(self) -> Tensor:
        return self.values * 1.0


def grpo_update(learner: Callable) -> None:
    """update(log_probabilities, optimiser, old, reference (B, T), advantages (B,), steps, clip, penalty):
    takes gradient steps; returns the clip fraction of each."""
    old, reference = normal(4, 4), normal(4, 4, seed=1)
    better = normal(4, seed=2)

    def drive(update: Callable, steps: int, clip: float, penalty: float) -> tuple[list[float], Tensor]:
        table = Table(old + 0.15 * normal(4, 4, seed=3))
        optimiser = torch.optim.SGD(table.parameters(), lr=1.0)
        found = update(table, optimiser, old, reference, better, steps, clip, penalty)
        if not isinstance(found, list):
            raise Wrong("grpo_update: return the list of clip fractions, one number per step")
        return [float(each) for each in found], table.values.detach()

    def slip(policy: Callable, optimiser: torch.optim.Optimizer, old: Tensor, reference: Tensor,
             better: Tensor, steps: int, clip: float, penalty: float, *, off: str) -> list[float]:
        fractions, better = [], better if off == "axis" else better[:, None]
        for _ in range(1 if off == "once" else steps):
            new = policy()
            base = new.detach() if off == "fresh" else reference if off == "base" else old
            gain = grpo.clipped(new, base, better, 1e9 if off == "unclipped" else clip)
            apart = grpo.divergence(new, old if off == "to old" else reference)
            weight = dict(free=0.0, sign=-penalty).get(off, penalty)
            if off != "add up":
                optimiser.zero_grad()
            loss = gain + weight * apart
            loss = loss.sum() if off == "sum" else loss.mean()
            (-loss if off == "up" else loss).backward()
            if off != "still":
                optimiser.step()
            far = ((policy() if off == "late" else new) - old).exp() - 1
            fractions.append(float(((far if off == "one side" else far.abs()) > clip).float().mean()))
        return fractions

    wrong = {
        "gradients of earlier steps add up: zero_grad before backward": "add up",
        "the parameters do not change: the optimiser has to take a step": "still",
        "as many gradient steps as `steps`, not only one": "once",
        "an advantage belongs to a whole sample: give it the shape (B, 1)": "axis",
        "the ratio is to `old`, not to the reference": "base",
        "the ratio is to `old`: to the current policy it is always 1": "fresh",
        "the ratio has to be clipped": "unclipped",
        "the KL penalty is not used": "free",
        "the KL penalty is added to the loss, not subtracted": "sign",
        "the KL penalty is to the reference, not to `old`": "to old",
        "average over samples and decisions, do not sum": "sum",
        "`clipped` is a loss, with its minus: minimise it as it is": "up",
        "the clip fraction is that of the log-probabilities from before the step": "late",
        "a ratio can leave the range on both sides: below 1 - clip, too": "one side"}

    def case(steps: int, clip: float, penalty: float) -> Case:
        return Case((steps, clip, penalty), drive(twins.grpo_update, steps, clip, penalty), {
            why: drive(partial(slip, off=off), steps, clip, penalty) for why, off in wrong.items()})

    run("grpo_update", partial(drive, learner), case(3, 0.2, 0.3), case(2, 0.1, 1.0))


def noisy_step(learner: Callable) -> None:
    """step(latents, velocity, sigma, following, level): the mean of the next latents, and the standard
    deviation of the noise; sigma > following."""
    x, v = normal(3, 4), normal(3, 4, seed=1)

    def case(sigma: float, following: float, level: float) -> Case:
        def answer(g2: float, noise: Tensor = x + (1 - sigma) * v, half: float = 2.0, sign: int = 1) -> tuple:
            length = following - sigma
            return x + (v + sign * g2 / (half * sigma) * noise) * length, math.sqrt(g2 * -length)

        at = following if sigma == 1 else sigma
        g2 = level ** 2 * at / (1 - at)
        right, deviation = sde.step(x, v, sigma, following, level)
        mistakes = {
            "g squared is level squared times sigma / (1 - sigma)": answer(level * at / (1 - at)),
            "the noise that v implies is x + (1 - sigma) v": answer(g2, x - sigma * v),
            "half of g squared enters the drift": answer(g2, half=1.0),
            "the drift is corrected towards the data, not away from it: the score is minus noise / sigma":
                answer(g2, sign=-1),
            "the deviation is g times the square root of the step": (right, g2 * (sigma - following)),
            "sigma falls: the mean moves by (...) * (following - sigma), a negative step": (
                2 * x - right, deviation),
            "sigma / (1 - sigma), not its inverse: more noise where the noise level is high":
                answer(level ** 2 * (1 - at) / at),
            "at sigma = 1 only g squared is computed with `following`": (
                x + (v + g2 / (2 * at) * (x + (1 - at) * v)) * (following - sigma), deviation),
            "the drift is not corrected: then the noise spreads the cloud":
                (x + v * (following - sigma), deviation)}
        return Case((x, v, sigma, following, level), (right, deviation), mistakes)

    def real(*args) -> tuple:
        got = learner(*args)
        if isinstance(got, tuple) and isinstance(got[-1], complex):
            raise Wrong("noisy_step: the length of the step is sigma - following, which is positive; this is "
                        "the root of a negative number")
        return got

    run("noisy_step", real, case(0.8, 0.7, 0.7), case(0.4, 0.25, 1.0), case(1.0, 0.9, 0.7))


def step_log_probability(learner: Callable) -> None:
    """log_probability(sample, mean (B, C, h, w), deviation): (B,), the mean over the numbers of a sample."""
    def case(deviation: float, *shape: int) -> Case:
        mean = normal(*shape)
        sample = mean + deviation * normal(*shape, seed=1)
        far = (sample - mean).square()
        scale, constant = math.log(deviation), math.log(2 * math.pi) / 2
        right = sde.log_probability(sample, mean, deviation)

        def of(each: Tensor) -> Tensor:
            return each.flatten(1).mean(1)

        return Case((sample, mean, deviation), right, {
            "the mean over the numbers of a sample, not their sum": right * far[0].numel(),
            "one number for each sample of the batch": right.mean(),
            "this is minus the log-probability": -right,
            "- log(deviation) is missing: a narrow Gaussian is higher": of(
                -far / (2 * deviation ** 2) - constant),
            "the half is missing: (sample - mean)^2 / (2 deviation^2)": of(
                -far / deviation ** 2 - scale - constant),
            "`deviation` is the standard deviation, not the variance: square it once": of(
                -far / (2 * deviation ** 4) - 2 * scale - constant),
            "divide by the squared deviation": of(-far / (2 * deviation) - scale - constant),
            "the constant, log(2 pi) / 2, is missing": of(-far / (2 * deviation ** 2) - scale)})

    run("step_log_probability", learner, case(0.3, 3, 2, 4, 4), case(1.7, 4, 1, 2, 3))
