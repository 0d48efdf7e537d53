"""Checks of the exercises in notebook 07, Go with the flow; and the twins of those pieces that the library
does not need.

Shapes: B batch · C channels · h, w pixels of a "picture", be it latents or a point of the plane (1 x 1) ·
M pictures of the data set.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from minglm.config import FlowConfig, preset
from minglm.course.answers import Case, Wrong, normal, run
from minglm.course.slipped import Line, Slip, train_with
from minglm.course.twins import exact, heun_steps, trained
from minglm.model import flow


def mix(learner: Callable) -> None:
    """mix(data, noise (B, C, h, w), sigma (B,)): the point at `sigma` on the straight path, (B, C, h, w)."""
    def case(seed: int, *shape: int) -> Case:
        data, noise = normal(2, *shape, seed=seed)
        sigma = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])[:shape[0]]
        s = sigma[:, None, None, None]
        mistakes = {
            "data and noise are exchanged: at sigma 0 it is the data, at sigma 1 the noise":
                flow.mix(noise, data, sigma),
            "at sigma 1 nothing is left of the data: its weight is 1 - sigma": data + s * noise,
            "this path is straight: the weights sum to 1, not their squares":
                (1 - s * s).sqrt() * data + s * noise}
        if shape[0] == shape[3]:
            mistakes["sigma belongs to the pictures, not to the columns: give it the shape (B, 1, 1, 1)"] = (
                (1 - sigma) * data + sigma * noise)
        return Case((data, noise, sigma), flow.mix(data, noise, sigma), mistakes)

    run("mix", learner, case(0, 4, 3, 4, 4), case(2, 5, 2, 1, 1))


def flow_loss(learner: Callable) -> None:
    """loss(velocity, data, noise (B, C, h, w), weight (B, 1, h, w), total=None): the weighted mean square of
    what the velocity is off, divided by the sum of the weights, or by `total` if it is given."""
    def case(seed: int, total: float | None, *shape: int) -> Case:
        velocity, data, noise = normal(3, *shape, seed=seed)
        weight = 1 + normal(shape[0], 1, *shape[2:], seed=seed + 1).square()
        off, by = velocity - (noise - data), weight.sum() if total is None else total
        square = off.square()
        mistakes = {
            "the target has the wrong sign: sigma grows from data to noise, so it is noise - data":
                flow.loss(velocity, noise, data, weight, total),
            "the weights are not used": square.mean(),
            "divide by the sum of the weights, not by their number": (square * weight).mean(),
            "average over the channels, do not sum": (square.sum(1, keepdim=True) * weight).sum() / by,
            "the error is not squared": (off.abs() * weight).sum() / off.shape[1] / by,
            "the weight is not squared: it multiplies the squared error":
                ((off * weight).square().mean(1, keepdim=True)).sum() / by}
        if total is not None:
            mistakes["divide by `total` if it is given"] = flow.loss(velocity, data, noise, weight)
        return Case((velocity, data, noise, weight, None if total is None else torch.tensor(total)),
                    flow.loss(velocity, data, noise, weight, total), mistakes)

    run("flow_loss", learner, case(0, None, 3, 2, 4, 5), case(2, 40.0, 2, 3, 2, 2))


def exact_velocity(learner: Callable) -> None:
    """exact(x (B, C, h, w), sigma (B,), data (M, C, h, w)): the mean velocity of all lines through x."""
    def case(seed: int, batch: int, many: int, *shape: int) -> Case:
        x, data = normal(batch, *shape, seed=seed), normal(many, *shape, seed=seed + 1)
        sigma = torch.linspace(0.3, 0.9, batch)
        s, points = sigma[:, None, None], data.flatten(1)
        noise = (x.flatten(1)[:, None] - (1 - s) * points) / s
        lengths = noise.square().sum(-1)

        def mean(weights: Tensor, ways: Tensor = noise - points) -> Tensor:
            return (weights[..., None] * ways).sum(1).view(x.shape)

        right = (-lengths / 2).softmax(1)
        return Case((x, sigma, data), exact(x, sigma, data), {
            "the lines do not count equally: short noise is more probable": mean(right * 0 + 1 / many),
            "long noise is less probable, not more: the exponent is negative": mean((lengths / 2).softmax(1)),
            "the density of a normal distribution is exp(-|n|^2 / 2): the half is missing":
                mean((-lengths).softmax(1)),
            "the exponent is the squared length of the noise, not the length": mean(
                (-lengths.sqrt() / 2).softmax(1)),
            "average the velocities, noise - data, not the noise": mean(right, noise),
            "the velocity is noise - data: yours has the other sign": mean(right, points - noise),
            "the weights of all data sum to 1 for each x: softmax over axis 1": mean(
                (-lengths / 2).softmax(0)),
            "compare the noise that each line needs, (x - (1 - sigma) data) / sigma, not the distance to x":
                mean((-(x.flatten(1)[:, None] - points).square().sum(-1) / 2).softmax(1))})

    run("exact_velocity", learner, case(0, 3, 6, 2, 1, 1), case(2, 2, 5, 2, 2, 1))


def flow_training(learner: Callable) -> None:
    """train(field, optimiser, batches): one step per batch (data, noise, sigma, k); a list of the losses."""
    def drive(loop: Callable, seed: int, steps: int) -> tuple[list[float], Tensor, Tensor]:
        field = Line()
        with torch.no_grad():
            field.map.weight.copy_(0.3 * normal(2, 4, seed=seed))
            field.map.bias.zero_()
        batches = [(*normal(2, 8, 2, 1, 1, seed=10 * seed + n), torch.linspace(0.1, 1, 8),
                    torch.arange(8) % 3) for n in range(steps)]
        losses = loop(field, torch.optim.SGD(field.parameters(), lr=0.3), iter(batches))
        return losses, field.map.weight.detach(), field.map.bias.detach()

    wrong = {
        "gradients of earlier batches are added up: zero_grad before backward": Slip(clear=False),
        "the parameters do not change: the optimiser has to take a step": Slip(learn=False),
        "data and noise are exchanged in x: mix(data, noise, sigma)": Slip(swapped=True),
        "the target has the wrong sign: it is noise - data": Slip(target=-1),
        "the field is told sigma, not 1 - sigma": Slip(told=lambda sigma: 1 - sigma),
        "one step for each batch, not only for the first: return after the loop": Slip(first=True)}

    def case(seed: int, steps: int) -> Case:
        return Case((seed, steps), drive(trained, seed, steps), {
            why: drive(partial(train_with, slip), seed, steps) for why, slip in wrong.items()})

    def asked(seed: int, steps: int) -> tuple:
        losses, *parameters = drive(learner, seed, steps)
        if losses is None:
            raise Wrong("flow_training: return the list of losses")
        return [float(loss) for loss in losses], *parameters

    run("flow_training", asked, case(1, 3), case(2, 2))


def states(sampler: Callable, *args) -> list[Tensor]:
    """What a sampler yields; raises Wrong if it is no generator of latents."""
    found = sampler(*args)
    if isinstance(found, Tensor) or found is None:
        raise Wrong("yield the latents after every step: `yield latents` inside the loop, and no return")
    return list(found)


def velocity(x: Tensor, time: float) -> Tensor:
    """A velocity to try samplers with."""
    return x.sin() + time / 500


def sample(learner: Callable) -> None:
    """sample(velocity, latents, times (n), sigmas (n + 1)): yields the latents after each step of Euler's
    method; velocity(latents, time)."""
    def case(seed: int, steps: int) -> Case:
        start, (times, sigmas) = normal(4, 2, 1, 1, seed=seed), flow.schedule(steps, 64, FlowConfig())

        def walk(step: Callable, count: int | None = None) -> list[Tensor]:
            x, found = start, []
            for time, sigma, following in list(zip(times, sigmas, sigmas[1:]))[:count]:
                x = x + step(x, time, sigma, following)
                found.append(x)
            return found

        right = [*flow.sample(velocity, start, times, sigmas)]
        return Case((velocity, start, times, sigmas), right, {
            "a step is (next sigma - sigma) times the velocity, a negative number: yours has the other sign":
                walk(lambda x, t, s, n: (s - n) * velocity(x, t)),
            "each step goes all the way to sigma 0: walk only from this sigma to the next":
                walk(lambda x, t, s, n: -s * velocity(x, t)),
            "the velocity is evaluated at sigma: its second argument is the time":
                walk(lambda x, t, s, n: (n - s) * velocity(x, s)),
            "the velocity is always evaluated at the start: evaluate it at the current latents":
                walk(lambda x, t, s, n: (n - s) * velocity(start, t)),
            "the last step is missing, the one to sigma 0": right[:-1],
            "yield after every step, not only at the end": right[-1:],
            "yield the latents after each step: the start is not one of them": [start, *right],
            "yield the latents after each step, not before it": [start, *right[:-1]]})

    run("sample", partial(states, learner), case(4, 5), case(5, 2))


def heun(learner: Callable) -> None:
    """heun(velocity, latents, times (n), sigmas (n + 1)): yields the latents after each step."""
    def count(sampler: Callable, *args) -> tuple[list[Tensor], int]:
        asked = []

        def counted(x: Tensor, time: float) -> Tensor:
            asked.append(time)
            return velocity(x, time)

        return states(sampler, counted, *args), len(asked)

    def case(seed: int, steps: int) -> Case:
        start, (times, sigmas) = normal(4, 2, 1, 1, seed=seed), flow.schedule(steps, 64, FlowConfig())

        def walk(step: Callable) -> tuple[list[Tensor], int]:
            x, found = start, []
            for i, (sigma, following) in enumerate(zip(sigmas, sigmas[1:])):
                first, long = velocity(x, times[i]), following - sigma
                x = x + (long * step(x, x + long * first, first, i) if i + 1 < len(times) else long * first)
                found.append(x)
            return found, 2 * len(times) - 1

        right = count(heun_steps, start, times, sigmas)
        return Case((start, times, sigmas), right, {
            "that is Euler's method: ask a second time, at the end of the step":
                ([*flow.sample(velocity, start, times, sigmas)], len(times)),
            "take the mean of the two velocities, not the second alone":
                walk(lambda x, ahead, first, i: velocity(ahead, times[i + 1])),
            "take the mean of the two velocities, not their sum":
                walk(lambda x, ahead, first, i: first + velocity(ahead, times[i + 1])),
            "the second velocity is that at the end of the step: ask for it at the next time":
                walk(lambda x, ahead, first, i: (first + velocity(ahead, times[i])) / 2),
            "the second velocity is that at the end of the step: ask for it where Euler's step ends":
                walk(lambda x, ahead, first, i: (first + velocity(x, times[i + 1])) / 2),
            "the step starts again from where it began, not from where Euler's step ended":
                walk(lambda x, ahead, first, i: (ahead - x) / (sigmas[i + 1] - sigmas[i])
                     + (first + velocity(ahead, times[i + 1])) / 2),
            "the places are right, but the network is asked more often than twice a step (once in the last)":
                (right[0], 3 * len(times) - 2)})

    run("heun", partial(count, learner), case(4, 5), case(5, 3))


def guidance(learner: Callable) -> None:
    """guide(conditional, unconditional (B, C, h, w), guidance): 1 gives the first, 0 the second."""
    a, b = normal(2, 2, 3, 4, 4)

    def case(g: float) -> Case:
        return Case((a, b, g), flow.guide(a, b, g), {
            "the two predictions are exchanged: guidance 1 gives the conditional one": flow.guide(b, a, g),
            "you start from the conditional one, so your guidance 0 is guidance 1: start from the other":
                a + g * (a - b),
            "add g times the difference of the two, not g times the conditional one": b + g * a})

    run("guidance", learner, case(1.5), case(1.0), case(0.0), case(4.0))


def shift(learner: Callable) -> None:
    """shift(u (B,), tokens, config) -> sigma (B,), with mu = max_shift sqrt(tokens / base_tokens) +
    base_shift."""
    u = torch.tensor([0.05, 0.3, 0.5, 0.8, 1.0])

    def sigma(mu: float) -> Tensor:
        return mu / (mu + 1 / u - 1)

    def case(tokens: int, config: FlowConfig) -> Case:
        ratio, slope, base = tokens / config.base_tokens, config.max_shift, config.base_shift
        mu = slope * ratio ** 0.5 + base
        return Case((u, tokens, config), flow.shift(u, tokens, config), {
            "the square root is missing: mu grows with the side of the picture, not with its area":
                sigma(slope * ratio + base),
            "mu lacks base_shift": sigma(slope * ratio ** 0.5),
            "mu lacks max_shift, the slope": sigma(ratio ** 0.5 + base),
            "base_shift and max_shift are exchanged": sigma(base * ratio ** 0.5 + slope),
            "the base is config.base_tokens, which is 256 for GLM-Image": sigma(
                slope * (tokens / 16) ** 0.5 + base),
            "you shifted towards less noise: larger pictures need more, so mu multiplies sigma / (1 - sigma)":
                sigma(1 / mu),
            "that is sigma / (1 - sigma): solve for sigma": mu * u / (1 - u),
            "sigma is not a multiple of u, or it would exceed 1": mu * u})

    released = preset("glm_image").flow
    run("shift", learner, case(64, FlowConfig()), case(16, FlowConfig()), case(3456, released),
        case(4096, released))


def schedule(learner: Callable) -> None:
    """schedule(steps, tokens, config) -> (times told to the model, sigmas with a final 0), two lists."""
    def case(steps: int, tokens: int, config: FlowConfig) -> Case:
        grid = np.linspace(1000, 1, steps + 1)
        kept, closed = grid[:-1], np.linspace(1000, 1, steps)
        times, sigmas = flow.schedule(steps, tokens, config)

        def of(values: np.ndarray) -> tuple[list[float], list[float]]:
            u = torch.from_numpy(values).float() / 1000
            return (1000 * u - 1).tolist(), [*flow.shift(u, tokens, config).tolist(), 0.0]

        return Case((steps, tokens, config), (times, sigmas), {
            "the model is told the unshifted time, 1000 u - 1, not the sigma":
                ([1000 * s - 1 for s in sigmas[:-1]], sigmas),
            "the time is 1000 u - 1: 999 for u = 1": ([t + 1 for t in times], sigmas),
            "times are whole numbers: cut off what is after the decimal point": of(kept),
            "cut off what is after the decimal point before sigmas are computed": (times, of(kept)[1]),
            "divide the way into `steps` steps: linspace needs steps + 1 numbers, the last of which is left "
            "out": of(np.trunc(closed)),
            "leave out the last number of linspace: sigma ends with 0 instead": of(np.trunc(grid)),
            "sigmas end with a 0, where the data are": (times, sigmas[:-1]),
            "sigmas are the shifted ones: shift(u, tokens, config)":
                (times, [*((t + 1) / 1000 for t in times), 0.0]),
            "times come first, then sigmas": (sigmas, times)})

    released = preset("glm_image").flow
    run("schedule", learner, case(5, 64, FlowConfig()), case(20, 256, FlowConfig()),
        case(50, 4096, released))
