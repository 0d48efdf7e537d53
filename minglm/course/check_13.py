"""Checks of the exercises in notebook 13: device-agnostic code, no host syncs, masks, sharding.

Neither a card nor a simulator is needed: PyTorch's fake tensors have a shape, a dtype and a device, here one
that is not the host's, but no values. So they raise an error when mixed with a host tensor, or when read.

Shapes: B batch · N tokens · D width · M inner width of a feed-forward.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._pytree import tree_leaves, tree_map_only

from minglm.course.answers import Case, Wrong, call, normal, run
from minglm.model.decoder import sinusoid
from minglm.model.ops import swiglu

HOST, ELSEWHERE = torch.device("cpu"), torch.device("meta")  # the second stands for any other device


def anywhere(name: str, learner: Callable) -> Callable:
    """The learner's function, which also runs on another device after computing its answer.

    Raises Wrong, quoting the line, where it mixes devices, reads from the device, or leaves it.
    """
    def answer(*args):
        here = call(name, learner, *tree_map_only(Tensor, Tensor.clone, args))
        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            there = moved(*tree_map_only(Tensor, lambda x: fake.from_tensor(x).to(ELSEWHERE), args))
        for out, device in ((here, HOST), (there, ELSEWHERE)):
            for x in (x for x in tree_leaves(out) if isinstance(x, Tensor)):
                if x.device != device:
                    raise Wrong(f"{name}: the question was on {device}, the answer is on {x.device} (meta "
                                "stands for any device but the host). Name no device: create new tensors on "
                                "the device of the input")
                if x.dtype == torch.float64:
                    raise Wrong(f"{name}: the answer is float64, which an npu refuses, and anything combined "
                                "with it becomes float64 too")
        return here

    def moved(*args):
        try:
            return learner(*args)
        except Exception as problem:
            error = problem
        line = next((f"in `{frame.line}`" for frame in reversed(traceback.extract_tb(error.__traceback__))
                     if frame.filename == learner.__code__.co_filename), "somewhere")
        if isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)):
            raise Wrong(f"{name}: {line} the host waits for the device, because it needs a number from there "
                        "(.item(), float() and if do that): use tensor operations instead") from error
        raise Wrong(f"{name}: with tensors on another device than the host your code stops {line}: {error} "
                    "(meta stands for that device)") from error

    return answer


def time_features(learner: Callable[[Tensor, int], Tensor]) -> None:
    """time (B,), width -> cosines, then sines, of time at width / 2 frequencies (B, width), on its device."""
    time = torch.tensor([0.0, 3.0, 500.0, 999.0])

    def case(width: int) -> Case:
        right = sinusoid(time, width)
        cos, sin = right.chunk(2, -1)
        return Case((time, width), right, {
            "the cosines come first": torch.cat([sin, cos], -1),
            "cosines and sines alternate: first all cosines, then all sines":
                torch.stack([cos, sin], -1).flatten(1)})

    run("time_features", anywhere("time_features", learner), case(8), case(64))


def clip(learner: Callable[[list[Tensor], float], tuple[list[Tensor], Tensor]]) -> None:
    """Gradients, limit -> gradients scaled to a global norm of at most limit; the norm before (a tensor)."""
    gradients = [normal(3, 4), normal(5, seed=1), 2 * normal(2, 2, seed=2)]
    norms = torch.stack([g.norm() for g in gradients])

    def scaled(*by: Tensor | float, norm: Tensor = norms.norm()) -> tuple[list[Tensor], Tensor]:
        return [g * b for g, b in zip(gradients, by * len(gradients))], norm

    def case(limit: float) -> Case:
        share = limit / norms.norm()
        kept = share.clamp(max=1)
        return Case((gradients, limit), scaled(kept), {
            "gradients below the limit are not changed: the factor is at most 1 (clamp)": scaled(share),
            "the norm is one number for all gradients together: the root of the sum of all squares":
                scaled(*(limit / norms).clamp(max=1)),
            "return the norm before scaling": scaled(kept, norm=norms.norm() * kept),
            "the square root is missing: the norm is the root of the sum of squares":
                scaled((limit / norms.norm() ** 2).clamp(max=1), norm=norms.norm() ** 2)})

    run("clip", anywhere("clip", learner), case(1.0), case(100.0))


def fused_mask(learner: Callable[[Tensor, int], Tensor]) -> None:
    """lengths (B,), N -> causal mask without padding (B, 1, N, N); True: a row may attend to a column."""
    def case(lengths: list[int], n: int) -> Case:
        told = torch.tensor(lengths)
        row, column = torch.arange(n)[:, None], torch.arange(n)[None]
        real = (column < told.view(-1, 1, 1, 1)).expand(-1, 1, n, n)
        right = (column <= row) & real
        return Case((told, n), right, {
            "True means may attend: yours is the other way round": ~right,
            "padding is attended to: columns from the length on are False": (column <= row).expand_as(right),
            "later tokens are attended to: a column may not come after its row": real,
            "a token may attend to itself: column <= row": (column < row) & real,
            "rows and columns are exchanged: rows are queries, columns are keys": right.mT,
            "a row that is padding follows the same rule: only columns are masked for being padding":
                right & real.mT,
            "attention has heads: the mask needs an axis of size 1 for them": right[:, 0]})

    def boolean(told: Tensor, n: int) -> Tensor:
        got = anywhere("fused_mask", learner)(told, n)
        if isinstance(got, Tensor) and got.dtype != torch.bool:
            raise Wrong(f"fused_mask: this mask is {got.dtype}. Added to the logits it may do the same, but "
                        "on an npu only a bool mask reaches the fused kernel")
        return got

    run("fused_mask", boolean, case([3, 5, 1], 5), case([4, 2], 6))


def shard(learner: Callable[[Tensor, Tensor, int], list[tuple[Tensor, Tensor]]]) -> None:
    """gate_up (2 M, D), down (D, M), cards -> a slice of both per card, so that the outputs add up."""
    def feed(x: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        return sum(swiglu(x @ gate_up.T) @ down.T for gate_up, down in parts)

    def case(cards: int) -> Case:
        x, gate_up, down = normal(3, 6), normal(2 * 8, 6, seed=1), normal(6, 8, seed=2)
        gates, ups, downs = gate_up[:8].chunk(cards), gate_up[8:].chunk(cards), down.chunk(cards, 1)
        return Case((x, gate_up, down, cards), feed(x, [(gate_up, down)]), {
            "gate_up holds all gates, then all ups: a card needs its gates and the ups that belong to them":
                feed(x, list(zip(gate_up.chunk(cards), downs))),
            "the columns of down must be those of the card's own gates and ups":
                feed(x, [(torch.cat(pair), d) for *pair, d in zip(gates, ups, downs[::-1])])})

    def together(x: Tensor, gate_up: Tensor, down: Tensor, cards: int) -> Tensor:
        parts, m = list(learner(gate_up, down, cards)), down.shape[1] // cards
        shapes = [tuple(tuple(w.shape) for w in part) for part in parts]
        wanted = ((2 * m, len(down)), (len(down), m))
        if len(parts) != cards or any(shape != wanted for shape in shapes):
            raise Wrong(f"shard: {cards} cards, each with {wanted}, are expected; yours are {shapes}. "
                        "gate_up is split by rows, its outputs; down by columns, its inputs")
        return feed(x, parts)

    run("shard", together, case(2), case(4), case(1))
