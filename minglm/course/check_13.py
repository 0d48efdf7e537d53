"""Checks of the exercises in notebook 13: device-agnostic code, no host syncs, masks, few launches.

Neither a card nor a simulator is needed: PyTorch's fake tensors have a shape, a dtype and a device, here one
that is not the host's, but no values. So they raise an error when mixed with a host tensor, or when read.

Shapes: B batch · N tokens · D width.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from minglm.ascend.launches import Launch, Recorder
from minglm.course.answers import Case, Wrong, call, normal, run
from minglm.course.twins import foreach_adamw
from minglm.model.decoder import sinusoid

HOST, ELSEWHERE = torch.device("cpu"), torch.device("meta")  # the second stands for any other device


class Refused(Exception):
    """A tensor of another device has a dtype that an npu refuses."""


class Narrow(TorchDispatchMode):
    """Raises Refused where an operator makes float64 or complex numbers elsewhere; as for the simulator, a
    lone number may be float64."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out = operator(*args, **kwargs or {})
        for x in (x for x in tree_leaves(out) if isinstance(x, Tensor) and x.device == ELSEWHERE):
            if x.is_complex() or x.dtype == torch.float64 and x.dim():
                raise Refused(x.dtype)
        return out


def anywhere(name: str, learner: Callable) -> Callable:
    """The learner's function, which also runs on another device after computing its answer.

    Raises Wrong, quoting the line, where it mixes devices, reads from the device, leaves it, or makes numbers
    there that an npu refuses.
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
            with Narrow():
                return learner(*args)
        except Exception as problem:
            error = problem
        line = next((f"in `{frame.line}`" for frame in reversed(traceback.extract_tb(error.__traceback__))
                     if frame.filename == learner.__code__.co_filename), "somewhere")
        if isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)):
            raise Wrong(f"{name}: {line} the host waits for the device, because it needs a number from there "
                        "(.item(), float() and if do that): use tensor operations instead") from error
        if isinstance(error, Refused):
            raise Wrong(f"{name}: {line} there are numbers of {error}, which an npu refuses: use float32, or "
                        "pairs of real numbers") from error
        raise Wrong(f"{name}: with tensors on another device than the host your code stops {line}: {error} "
                    "(meta stands for that device)") from error

    return answer


def time_features(learner: Callable[[Tensor, int], Tensor]) -> None:
    """time (B,), width -> cosines, then sines, of time at width / 2 frequencies (B, width), on its device."""
    time = torch.tensor([0.0, 3.0, 500.0, 999.0])

    def case(width: int) -> Case:
        right = sinusoid(time, width)
        cos, sin = right.chunk(2, -1)
        grown = time[:, None] * 10000.0 ** (torch.arange(width // 2) * (2 / width))
        return Case((time, width), right, {
            "the cosines come first": torch.cat([sin, cos], -1),
            "cosines and sines alternate: first all cosines, then all sines":
                torch.stack([cos, sin], -1).flatten(1),
            "the frequencies fall: the exponent is negative": torch.cat([grown.cos(), grown.sin()], -1)})

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


# ---------------------------------------------------------------- few launches


def few(name: str, most: int, tensors: int, step: Callable[[], object], remedy: str) -> None:
    """Run a step. Raises Wrong, with the remedy, if it took more than `most` operators."""
    found: list[Launch] = []
    with Recorder("cpu", found):
        step()
    if len(found) > most:
        raise Wrong(f"{name}: right, but with {len(found)} launches for {tensors} tensors: one or more for "
                    f"each. {remedy}")


def newton_schulz(x: Tensor, rounds: int = 4, divisor: Tensor | float | None = None, last: int = 2) -> Tensor:
    """The nearest orthogonal matrix to x (R, C), roughly; of a stack (n, R, C), that to each."""
    a, b, c = 3.4445, -4.775, 2.0315
    x = x / (x.norm(dim=(-2, -1), keepdim=True) if divisor is None else divisor)
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * torch.linalg.matrix_power(gram, last)) @ x
    return x


def by_shape(matrices: list[Tensor], made: Callable = newton_schulz, back: bool = True) -> list[Tensor]:
    """made(stack) of the matrices of each shape, in the order of `matrices`; back=False: shape by shape."""
    stacks: dict[torch.Size, list[int]] = {}
    for i, matrix in enumerate(matrices):
        stacks.setdefault(matrix.shape, []).append(i)
    order = [i for numbers in stacks.values() for i in numbers]
    out = [one for numbers in stacks.values() for one in made(torch.stack([matrices[i] for i in numbers]))]
    return [out[order.index(i)] for i in range(len(matrices))] if back else out


def orthogonal(learner: Callable[[list[Tensor]], list[Tensor]]) -> None:
    """Matrices of several shapes -> what newton_schulz makes of each; in at most 40 launches per shape."""
    def case(*shapes: tuple[int, int]) -> Case:
        given = [(i + 1) * normal(*shape, seed=i) for i, shape in enumerate(shapes)]
        return Case((given,), by_shape(given), {
            "each matrix belongs where its update was; yours stand shape by shape":
                by_shape(given, back=False),
            "each matrix has a norm of its own; yours are divided by that of a whole stack: norm(dim=(1, 2), "
            "keepdim=True)": by_shape(given, lambda x: newton_schulz(x, divisor=x.norm())),
            "the norm is one number for a matrix; yours is one for each row: norm(dim=(1, 2), keepdim=True)":
                by_shape(given, lambda x: newton_schulz(x, divisor=x.norm(dim=-1, keepdim=True))),
            "the rounds need singular values of at most 1: divide each matrix by its norm first":
                by_shape(given, partial(newton_schulz, divisor=1)),
            "C belongs to the square of gram": by_shape(given, partial(newton_schulz, last=1)),
            "four rounds; yours are fewer": by_shape(given, partial(newton_schulz, rounds=3)),
            "four rounds; yours are more": by_shape(given, partial(newton_schulz, rounds=5)),
            "these are the updates as they came": given})

    def kept(matrices: list[Tensor]) -> list[Tensor]:
        copies = [x.clone() for x in matrices]
        call("orthogonal", learner, copies)
        if any(not torch.equal(x, copy) for x, copy in zip(matrices, copies)):
            raise Wrong("orthogonal: the updates have changed, which others still need: make new tensors")
        return anywhere("orthogonal", learner)(matrices)

    many = [normal(*shape) for shape in [(3, 5), (4, 4), (5, 3)] * 3 + [(4, 4)]]
    run("orthogonal", kept, case((3, 4), (3, 4)), case((2, 3), (4, 4), (2, 3), (3, 2)))
    few("orthogonal", 40 * 3, len(many), lambda: learner(many),
        "Stack all matrices of a shape, wherever they stand in the list, and multiply the stacks")


def adamw(learner: Callable[..., None]) -> None:
    """Weights, gradients, means, squares, number of the step, lr, betas, eps, decay -> in place: AdamW's
    step, in at most 12 launches."""
    shapes = [(2, 3), (4,), (3, 3), (1,), (5, 2)]

    def state(eps: float) -> list[list[Tensor]]:
        tensors = [[normal(*shape, seed=10 * k + i) for i, shape in enumerate(shapes)] for k in range(2)]
        zeros = [[torch.zeros(shape) for shape in shapes] for _ in range(2)]
        return [tensors[0], [eps * g for g in tensors[1]], *zeros]

    def stepped(how: Callable, lr: float, betas: tuple, eps: float, decay: float) -> list[list[Tensor]]:
        weights, gradients, means, squares = state(eps)
        for step in (1, 2, 3):
            given = [g.clone() for g in gradients]
            how(weights, given, means, squares, step, lr, betas, eps, decay)
            gradients = [1.5 * g.flip(0) for g in gradients]
        return [weights, means, squares]

    def slip(weights, gradients, means, squares, step, lr, betas, eps, decay, *, off: str) -> None:
        b1, b2 = betas
        for w, g, m, v in zip(weights, gradients, means, squares):
            w.mul_(1 if off == "late" else 1 - lr * decay)
            m.lerp_(g, b1 if off == "hasty" else 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            root = (1 - b2 ** step) ** (1.0 if off == "root" else 0.5)
            w.addcdiv_(m, v.sqrt().div_(root).add_(eps), value=-lr / (1 - b1 ** step))
            w.mul_(1 - lr * decay if off == "late" else 1)

    def mine(*options) -> list[list[Tensor]]:
        return stepped(learner, *options)

    def case(*options) -> Case:
        def wrong(**which) -> list[list[Tensor]]:
            return stepped(lambda *args: foreach_adamw(*args, **which), *options)

        lr, betas, eps, decay = options
        return Case(options, stepped(foreach_adamw, *options), {
            "the means start at 0: divide them by 1 - beta ** step": wrong(corrected=False),
            "eps stands outside the root": wrong(inside=True),
            "1 - b2 ** step divides v, under the root: divide the root of v by its square root":
                stepped(partial(slip, off="root"), *options),
            "the mean moves by 1 - beta towards the gradient": stepped(partial(slip, off="hasty"), *options),
            "the weights decay first, then they take the step": stepped(partial(slip, off="late"), *options),
            "the weights shrink by the factor 1 - lr * decay": stepped(
                foreach_adamw, lr, betas, eps, decay / lr),
            "decay shrinks the weights by themselves; added to the gradients it is Adam with L2":
                wrong(coupled=True),
            "the weights do not decay": stepped(foreach_adamw, lr, betas, eps, 0.0),
            "the betas are exchanged: the first is the gradient's, the second its square's":
                stepped(foreach_adamw, lr, betas[::-1], eps, decay),
            "a step goes against the gradient": stepped(
                lambda w, g, *rest: foreach_adamw(w, [-x for x in g], *rest), *options)})

    run("adamw", mine, case(0.1, (0.9, 0.98), 1e-3, 0.1), case(0.01, (0.8, 0.9), 1e-2, 0.5))
    before = state(1e-3)
    few("adamw", 12, len(shapes), lambda: learner(*before, 1, 0.1, (0.9, 0.98), 1e-8, 0.1),
        "A torch._foreach_ operator takes the whole list in one launch")


def traffic(tokens: int, width: int, bandwidth: float) -> tuple[float, float]:
    """Microseconds of memory traffic of a float32 RMS norm: of six operators, seven passes, and fused."""
    once = 1e6 * 4 * tokens * width / bandwidth
    return 7 * once, 2 * once


def passes(learner: Callable[[int, int, float], tuple[float, float]]) -> None:
    """Tokens, width, bytes/s -> the microseconds of memory traffic of an RMS norm: unfused, fused."""
    cases = []
    for tokens, width, bandwidth in ((2048, 4096, 1e12), (100, 64, 2e11)):
        right = traffic(tokens, width, bandwidth)
        once = right[1] / 2                  # one pass over memory
        cases.append(Case((tokens, width, bandwidth), right, {
            "a fused operator reads x once and writes the result once": (7 * once, once),
            "every operator that makes a tensor also writes it": (4 * once, 2 * once),
            "a float32 number has 4 bytes": (7 * once / 4, 2 * once / 4),
            "the mean reads a whole tensor, but writes one number a token": (8 * once, 2 * once),
            "the add and the root read and write one number a token: neglect them": (12 * once, 2 * once),
            "a fused operator also reads w, but that is small: neglect it": (7 * once, 3 * once),
            "microseconds: a second has 1e6 of them": (7e-6 * once, 2e-6 * once),
            "first the six operators, then the fused one": (2 * once, 7 * once)}))
    run("passes", learner, *cases, tolerance=0.02)
