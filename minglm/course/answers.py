"""Answers of exercises against the right ones: one line when they agree, a diagnosis when they do not.

A check (check_NN.py) gives the learner's function seeded inputs, and with them the right answers and those
that known mistakes give, so that it can say which mistake explains an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Wrong(AssertionError):
    """An answer that is not right yet. Jupyter shows its message without the stack, which helps nobody."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet. {self}"]


@dataclass
class Case:
    """Arguments, the right answer, and the answers that known mistakes give, by their diagnosis."""

    args: tuple
    right: Any
    mistakes: Mapping[str, Any] = field(default_factory=dict)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal noise for a case, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def run(name: str, learner: Callable, *cases: Case, tolerance: float = 1e-4) -> None:
    """Ask `learner` every case; print one line if all answers are right.

    Raises Wrong with a diagnosis at the first that is not.
    """
    for case in cases:
        got = call(name, learner, *case.args)
        if problem := difference(got, case.right, tolerance):
            known = (why for why, wrong in case.mistakes.items() if not difference(got, wrong, tolerance))
            raise Wrong(f"{name}: {next(known, problem)}")
    print(f"{name}: right, {len(cases)} case{'s' * (len(cases) > 1)}")


def call(name: str, learner: Callable, *args):
    """The learner's answer, on copies of the arguments; raises Wrong if there is none."""
    copies = [a.clone() if isinstance(a, Tensor) else a for a in args]
    try:
        got = learner(*copies)
    except Wrong:
        raise
    except NotImplementedError:
        raise Wrong(f"{name}: nothing here yet. Put your code where it says NotImplementedError.") from None
    except Exception as error:
        raise Wrong(f"{name}: your code stops with {type(error).__name__}: {error}") from error
    if got is None:
        raise Wrong(f"{name}: your code gives back None. Is its last line a `return`?")
    return got


def plain(value):
    """A number or an array of numpy or torch as Python's own; anything else as it is."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()
    return value


def difference(got, right, tolerance: float) -> str:
    """What distinguishes two answers, in words; an empty string if nothing does. Numbers and arrays of numpy
    are as
    good as Python's and torch's."""
    if isinstance(right, Tensor) and isinstance(got, np.ndarray | np.generic):
        got = torch.as_tensor(got)
    if isinstance(right, Tensor):
        if not isinstance(got, Tensor):
            return f"a tensor is wanted, and this is a {type(got).__name__}"
        if got.shape != right.shape:
            return f"the shape is {tuple(got.shape)}, and should be {tuple(right.shape)}"
        if got.dtype.is_floating_point != right.dtype.is_floating_point:
            return f"the numbers are {got.dtype}, and should be {right.dtype}"
        got, right = got.double(), right.double()                                # bool and whole numbers, too
        off = (got - right).abs()
        off = off.masked_fill(got == right, 0)                                   # infinities, too
        most = off.max().item() if off.numel() else 0.0
        if most <= tolerance * max(
            1.0, right[right.isfinite()].abs().max().item() if right.isfinite().any() else 1.0
        ):
            return ""
        where = tuple(int(i) for i in np.unravel_index(int(off.nan_to_num(torch.inf).argmax()), off.shape))
        return (
            f"the shape is right, but {(off > tolerance).float().mean():.0%} of the numbers are off; "
            f"the worst "
            f"at {where}: {got[where].item():.4g}, should be {right[where].item():.4g}"
        )
    got = plain(got)
    if (
        isinstance(right, int | float)
        and isinstance(got, int | float)
        and bool not in (type(got), type(right))
    ):
        slack = tolerance * max(1.0, abs(right)) if isinstance(right, float) else 0
        return "" if abs(got - right) <= slack else f"{got!r} is not {right!r}"
    if (
        isinstance(right, Sequence)
        and not isinstance(right, str)
        and isinstance(got, Sequence)
        and len(got) == len(right)
    ):
        return next((f"in entry {i}: {text}" for i, (a, b) in enumerate(zip(got, right))
                     if (text := difference(a, b, tolerance))), "")
    return "" if type(got) is type(right) and got == right else f"{got!r} is not {right!r}"
