"""Checks of the exercises in notebook 04, Turn a picture into tokens.

Shapes: B batch · h, w id grid · D width of features · N features · K codes · E code width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from minglm.config import TokenizerConfig
from minglm.course import twins
from minglm.course.answers import Case, Wrong, normal, run
from minglm.course.astray import OddQuantiser, odd_objective, odd_revision, scalar_quantised, unit
from minglm.measure import probe
from minglm.model.tokenizer import Tokenizer, VectorQuantiser
from minglm.training import stage_tokenizer
from minglm.training.stage_tokenizer import Alignment, revise_codes

SMALL = TokenizerConfig(patch=4, width=8, depth=1, heads=2, mlp=8, table=2, codebook=12, code_width=4)


def quantiser(learner: Callable) -> None:
    """VectorQuantiser(config): project(features (B, h, w, D)), nearest(z (B, h, w, E)), lookup(ids)."""
    def drive(make: Callable, weights: Mapping[str, Tensor], features: Tensor, z: Tensor,
              ids: Tensor) -> list:
        module = make(SMALL)
        if not isinstance(module, nn.Module) or {*module.state_dict()} != {*weights}:
            raise Wrong(f"quantiser: leave __init__ as it is: its weights are {', '.join(weights)}")
        module.load_state_dict(weights)
        with torch.no_grad():
            answers = [module.project(features), module.nearest(z), module.lookup(ids)]
            module.quant_conv.bfloat16()
            single = getattr(module.project(features.bfloat16()), "dtype", None) == torch.float32
        return [*answers, float(single)]

    mistakes = {"length": "project: only the angle counts, so give every vector length 1",
                "places": "project: normalise over the E numbers of a vector, the last dimension",
                "half": "project: call .float() before you normalise; the convolution may run in bfloat16",
                "norm": "nearest: codes with a large norm win: divide each code by its norm first",
                "euclid": "nearest: that is the smallest Euclidean distance; here only the angle counts",
                "farthest": "nearest: that is the farthest code: a large cosine means a small angle",
                "lookup": "lookup: codes have any length; give back unit vectors",
                "stored": "nearest and lookup: the stored codes have any length; normalise them in both"}

    def case(b: int, h: int, w: int, seed: int) -> Case:
        weights = {name: normal(*value.shape, seed=seed + i)
                   for i, (name, value) in enumerate(VectorQuantiser(SMALL).state_dict().items())}
        z = unit(normal(b, h, w, SMALL.code_width, seed=seed + 8))
        ids = torch.arange(b * h * w).view(b, h, w) % SMALL.codebook
        args = weights, normal(b, h, w, SMALL.width, seed=seed + 9), z, ids
        return Case(args, drive(VectorQuantiser, *args),
                    {why: drive(partial(OddQuantiser, off=off), *args) for off, why in mistakes.items()})

    run("quantiser", partial(drive, learner), case(2, 3, 5, 0), case(3, 4, 4, 20))


def codebook(learner: Callable) -> None:
    """revise_codes(quantiser, usage (K,), z (B, h, w, E), ids (B, h, w), generator, decay, twin)."""
    def drive(revise: Callable, codes: Tensor, usage: Tensor, z: Tensor, ids: Tensor, decay: float,
              twin: float) -> list[Tensor]:
        book, usage = VectorQuantiser(SMALL).requires_grad_(False), usage.clone()
        book.codes.copy_(codes)
        revise(book, usage, z, ids, torch.Generator().manual_seed(0), decay, twin)
        return [book.codes.clone(), usage]

    mistakes = {"sum": "take the direction of the sum of the features: normalise it before you mix",
                "mean": "the mean of unit vectors is shorter than 1: normalise it before you mix",
                "codes": "the codes stay where they are: change them in place, with copy_",
                "still": "neither codes nor usage change: update both in place (copy_, mul_, add_)",
                "length": "codes lie on the sphere: normalise them after the move, too",
                "decay": "decay and 1 - decay are exchanged: most of the old code stays",
                "jump": "a code moves only a little: decay * code + (1 - decay) * mean",
                "usage": "usage is not updated, in place",
                "share": "usage is a running mean of the counts, not of the shares",
                "seen": "count every feature that chose a code, not only whether there was one",
                "no twins": "mark as doubled each code whose cosine with one that is used more is above twin",
                "both": "of two twins only the one that is used less is doubled",
                "itself": "a code is no twin of its own: only one that is used more makes it doubled",
                "other": "of two twins the one that is used less goes, not the one that is used more"}

    def case(twin: float, decay: float, seed: int) -> Case:
        codes = unit(normal(SMALL.codebook, SMALL.code_width, seed=seed))
        codes[1], codes[4] = unit(codes[0] + 0.02), unit(codes[3] - 0.03)
        z = unit(normal(2, 3, 3, SMALL.code_width, seed=seed + 1))
        ids = (z @ codes[:9].T).argmax(-1)
        usage = normal(SMALL.codebook, seed=seed + 2).abs() + 0.5
        args = codes, usage, z, ids, decay, twin
        return Case(args, drive(revise_codes, *args),
                    {why: drive(partial(odd_revision, off=off), *args) for off, why in mistakes.items()})

    run("codebook", partial(drive, learner), case(0.96, 0.8, 0), case(0.9, 0.6, 30))


def straight_through(learner: Callable) -> None:
    """z and its codes, of one shape -> the values of the codes, with a gradient that goes to z unchanged."""
    def forward_and_back(function: Callable) -> Callable:
        def both(z: Tensor, codes: Tensor, weight: Tensor) -> list[Tensor]:
            z, codes = z.requires_grad_(), codes.requires_grad_()
            out = function(z, codes)
            if out is None:
                return None
            grads = (None, None)
            if out.requires_grad:
                grads = torch.autograd.grad((out * weight).sum(), (z, codes), allow_unused=True)
            return [out.detach(), *(torch.zeros_like(z) if g is None else g for g in grads)]
        return both

    z, codes, weight = (normal(4, 6, seed=i) for i in range(3))

    def answer(function: Callable) -> list[Tensor]:
        return forward_and_back(function)(z.clone(), codes.clone(), weight)

    right = answer(stage_tokenizer.straight_through)
    run("straight_through", forward_and_back(learner), Case((z, codes, weight), right, {
        "the value is right, but z gets no gradient: codes come from argmax, which has none":
            answer(lambda z, c: c),
        "nothing gets a gradient: z itself must stay outside of detach": answer(lambda z, c: c.detach()),
        "that is z; the value should be that of the codes": answer(lambda z, c: z),
        "the gradient goes to the codes: exchange z and codes": answer(lambda z, c: c + (z - c).detach()),
        "the gradient goes to the codes, too: detach the whole difference":
            answer(lambda z, c: z + c - z.detach())}))


def perplexity(learner: Callable) -> None:
    """ids (any shape) and the number of codes -> exp(entropy) of their distribution, a float."""
    def case(ids: Tensor, k: int) -> Case:
        count = torch.bincount(ids.flatten(), minlength=k).float()
        share = count[count > 0] / count.sum()
        entropy = -(share * share.log()).sum()
        return Case((ids, k), probe.perplexity(ids, k), {
            "that is the entropy; the perplexity is exp of it": float(entropy),
            "that is the number of codes in use; those used often should count more":
                float((count > 0).sum()),
            "the sign: probabilities have negative logarithms, so the entropy needs a minus":
                float((-entropy).exp()),
            "0 log 0 counts as 0, and is not a number in Python: leave out codes that never occur":
                float("nan"),
            "2 ** entropy goes with log2; with log it is exp": float(2 ** entropy),
            "exp goes with log, and log2 with 2 ** entropy": float((entropy / math.log(2)).exp())})

    skewed = (normal(400).abs() * 6).long()
    run("perplexity", learner, case(torch.arange(8).view(2, 4), 16), case(skewed, 64))


def objective(learner: Callable) -> None:
    """tokenizer, alignment, a batch and rarity (V,) -> (loss, dict of its four parts, z, ids)."""
    names = "words", "pixels", "parts", "commitment"

    def drive(function: Callable, seed: int) -> list[Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            tokenizer, alignment = Tokenizer(SMALL), Alignment(SMALL, 9)
        tokenizer.quantiser.codes.requires_grad_(False)
        covered = normal(2, 2, 2, seed=seed).clamp(0, 1)
        b = dict(images=normal(2, 3, 16, 16, seed=seed + 1),
                 words=(normal(2, 9, seed=seed + 2) > 0.3).float(),
                 targets=normal(2, 3, 8, 8, seed=seed + 3),
                 weight=1 + normal(2, 1, 8, 8, seed=seed + 4).abs(),
                 which=torch.arange(8).view(2, 2, 2), covered=covered, shown=(covered > 0.1).float(),
                 sums=dict(covered=covered.sum()))
        got = function(tokenizer, alignment, b, normal(9, seed=seed + 5).abs())
        if not isinstance(got, tuple) or len(got) != 4 or {*got[1]} != {*names}:
            raise Wrong(f"objective: return the loss, a dict of {', '.join(names)}, z, and ids")
        value, parts, z, ids = got
        weights = tokenizer.quantiser.quant_conv.weight, alignment.codes.weight
        grads: Any = (None, None)
        if isinstance(value, Tensor) and value.requires_grad:
            grads = torch.autograd.grad(value, weights, allow_unused=True)
        grads = [torch.zeros_like(w) if g is None else g for g, w in zip(grads, weights)]
        answers = *(parts[name] for name in names), value, z, ids, *grads
        return [torch.as_tensor(x).detach() for x in answers]

    mistakes = {"codes": "no gradient passes the codebook: hand straight_through(z, codes) to the heads",
                "z": "the heads see z: hand them straight_through(z, codes)",
                "shown": "pass on `shown`: words are asked of cells with something on them",
                "all cells": "parts are asked of covered cells only: multiply by covered, divide by its sum",
                "mean": "the mean over covered cells: divide by the sum of covered",
                "weight": "the squared error of a pixel is multiplied by its weight",
                "cosine": "the commitment is one minus the cosine",
                "factors": "the terms have factors: 0.3 words, 10 pixels, 1 parts, 0.5 commitment",
                **{name: f"the loss lacks {name}" for name in names}}
    cases = [Case((seed,), drive(stage_tokenizer.objective, seed),
                  {why: drive(partial(odd_objective, off=off), seed) for off, why in mistakes.items()})
             for seed in (0, 40)]
    run("objective", partial(drive, learner), *cases)


def chance(learner: Callable) -> None:
    """Answers learned from and answers asked for, class numbers -> the accuracy of the commonest answer."""
    def case(learned: Tensor, asked: Tensor) -> Case:
        return Case((learned, asked), twins.chance_level(learned, asked), {
            "that is 1 / number of answers; answers are not equally frequent": 1 / len(asked.unique()),
            "look for the commonest answer in `learned`; whoever guesses has not seen `asked`":
                float(torch.bincount(asked).max() / len(asked)),
            "that is its share in `learned`; count how often it is right in `asked`":
                float(torch.bincount(learned).max() / len(learned)),
            "that is the commonest answer itself": float(torch.bincount(learned).argmax()),
            "the most frequent answer, not the largest": float((asked == learned.max()).float().mean())})

    one, other = (normal(60, seed=1).abs() * 3).long(), (normal(40, seed=2).abs() * 2).long() + 1
    run("chance", learner, case(one, other), case(other, one))


def fsq(learner: Callable) -> None:
    """z (N, d) and d odd levels -> (values in [-1, 1] (N, d) with a gradient, ids (N,))."""
    def drive(function: Callable, z: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        z = z.clone().requires_grad_()
        got = function(z, levels)
        if not isinstance(got, tuple) or len(got) != 2:
            raise Wrong("fsq: return two things: the values and the ids")
        values, ids = got
        weight = torch.linspace(1, 2, values.numel()).view(values.shape)
        if not values.requires_grad:
            return [values, ids, torch.zeros_like(z)]
        return [values.detach(), ids.detach(), torch.autograd.grad((values * weight).sum(), z)[0]]

    mistakes = {"gradient": "rounding has no gradient: pass it straight through to the bounded value",
                "half": "L levels are (L - 1) / 2 steps to either side of 0",
                "floor": "round to the nearest level",
                "clamp": "bound z by tanh",
                "scale": "divide by (L - 1) / 2 at the end: values lie in [-1, 1]",
                "negative": "levels count from 0 in an id: add (L - 1) / 2",
                "order": "the first number is the last digit of the id: its factor is 1",
                "place": "the factor of a digit is the product of the levels before it"}

    def case(n: int, levels: tuple[int, ...], seed: int) -> Case:
        args = 1.5 * normal(n, len(levels), seed=seed), levels
        return Case(args, drive(twins.fsq, *args),
                    {why: drive(partial(scalar_quantised, off=off), *args) for off, why in mistakes.items()})

    run("fsq", partial(drive, learner), case(9, (7, 5, 3), 0), case(6, (5, 5, 9, 3), 5))
