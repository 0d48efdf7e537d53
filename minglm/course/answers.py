"""Answers of exercises against the right ones: one line when they agree, a diagnosis when they do not.

A check (check_NN.py) gives the learner's function seeded inputs, and with them the right answers and those
that known mistakes give, so that it can say which mistake explains an answer.
"""

from __future__ import annotations

import math
import signal
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LONGEST = 60                                 # characters of arguments that a message shows
SECONDS = 20                                 # of computing for an answer; the slowest right one takes 0.5
SHOWN = 240                                  # characters of an answer that a message shows
ARRAYS = (np.ndarray, np.generic, Tensor)    # arrays of numbers, and numpy's single ones


class Wrong(AssertionError):
    """An answer that is not right yet. Jupyter shows its message without the stack, which helps nobody."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet. {self}"]


class Endless(BaseException):
    """An answer has taken too long. No Exception, which the learner's code may catch."""


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
            raise Wrong(f"{name}: {next(known, asked(case.args) + problem)}")
    print(f"{name}: right, {len(cases)} case{'s' * (len(cases) > 1)}")


def asked(args: tuple) -> str:
    """What the answer is for, if that is short enough to be said."""
    said = ", ".join(map(repr, args))
    return f"for {said}: " if len(said) <= LONGEST and "tensor" not in said else ""


def call(name: str, learner: Callable, *args):
    """The learner's answer, on copies of the arguments; raises Wrong if there is none, or if the code changes
    its arguments, which goes unnoticed here and does harm elsewhere."""
    copies = [a.clone() if isinstance(a, Tensor) else a for a in args]
    try:
        with limited(), warnings.catch_warnings(action="ignore"):         # nbgrader takes them for errors
            got = learner(*copies)
    except Wrong:
        raise
    except Endless:
        raise Wrong(f"{name}: your code has not come back after {SECONDS} seconds. "
                    "Is there a loop that never ends?") from None
    except NotImplementedError:
        raise Wrong(f"{name}: nothing here yet. Put your code where it says NotImplementedError.") from None
    except Exception as error:
        none = " Does a function of yours give back None? Is its last line a `return`?"
        raise Wrong(f"{name}: your code stops with {type(error).__name__}: {error}."
                    f"{none if 'NoneType' in str(error) else ''}{line_of(error)}") from error
    if got is None:
        raise Wrong(f"{name}: your code gives back None. Is its last line a `return`?")
    if any(isinstance(a, Tensor) and not same(a, copy) for a, copy in zip(args, copies)):
        raise Wrong(f"{name}: your code changes its input, which others still need. Make a new tensor: "
                    "x = x + y, not x += y; and do not assign to parts of x.")
    return got


def line_of(error: Exception) -> str:
    """The line of the learner's code where an error arose, in words, if it is known."""
    inside = str(Path(__file__).parents[1]), "site-packages", sysconfig.get_path("stdlib")
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__)
             if frame.line and not any(part in frame.filename for part in inside)]
    return f" It stops in the line: {lines[-1]}" if lines else ""


@contextmanager
def limited() -> Iterator[None]:
    """Raise Endless in what computes for longer than SECONDS.

    Time of the processor counts, not of the clock: a busy machine makes a right answer wait. Only the main
    thread gets signals, and Windows has no such timer; there nothing is limited.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_) -> None:
        raise Endless

    handler = signal.signal(signal.SIGPROF, stop)
    timer = signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, *timer)
        signal.signal(signal.SIGPROF, handler or signal.SIG_DFL)          # None: not set from Python


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape have the same numbers; nan is nan."""
    return bool(((one == other) | (one != one) & (other != other)).all())


def difference(got, right, tolerance: float) -> str:
    """What distinguishes two answers, in words; an empty string if nothing does."""
    if isinstance(right, Tensor):
        return tensors(got, right, tolerance)
    if isinstance(right, int | float):
        return numbers(got, right, tolerance)
    if isinstance(right, Mapping) and isinstance(got, Mapping):
        misfits = [f"{key!r} is missing" for key in right if key not in got] + [
            f"{key!r} does not belong there" for key in got if key not in right]
        return next(iter(misfits), "") or next(
            (f"{key}: {text}" for key in right if (text := difference(got[key], right[key], tolerance))), "")
    if isinstance(right, Sequence) and not isinstance(right, str):
        if isinstance(got, ARRAYS) and got.ndim and not any(isinstance(x, Tensor) for x in right):
            got = list(got)                                    # numbers of its library, which `numbers` takes
        if isinstance(got, Sequence) and not isinstance(got, str) and len(got) == len(right):
            return next((f"in entry {i}: {text}" for i, (a, b) in enumerate(zip(got, right))
                         if (text := difference(a, b, tolerance))), "")
        if any(isinstance(x, Tensor) for x in right):
            return f"{kind(right)} tensors is wanted, and this is {kind(got)}"
        if isinstance(got, Sequence) and not isinstance(got, str) and len(repr(right)) > SHOWN:
            return f"it has {len(got)} entries, and should have {len(right)}"
        return f"{shown(got)} is not {shown(right)}"                 # of another length, or no sequence
    return "" if type(got) is type(right) and got == right else f"{shown(got)} is not {shown(right)}"


def kind(value) -> str:
    """What an answer is, in a few words."""
    name = type(value).__name__
    size = f" of shape {tuple(value.shape)}" if isinstance(value, ARRAYS) else ""
    count = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}{size}{count}"


def shown(value) -> str:
    """An answer as a message shows it: as Python writes it, if that is short."""
    text = kind(value) if isinstance(value, Tensor) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def tensors(got, right: Tensor, tolerance: float) -> str:
    """`difference` where a tensor is right: the shape counts, and whether its numbers are whole."""
    if isinstance(got, np.ndarray | np.generic):
        got = torch.as_tensor(got)
    if not isinstance(got, Tensor):
        return f"a tensor is wanted, and this is a {type(got).__name__}"
    if got.shape != right.shape:
        return f"the shape is {tuple(got.shape)}, and should be {tuple(right.shape)}"
    if got.dtype.is_floating_point != right.dtype.is_floating_point:
        return f"the numbers are {got.dtype}, and should be {right.dtype}"
    got, right = got.double(), right.double()                            # bool and whole numbers, too
    off = (got - right).abs()
    off = off.masked_fill((got == right) | got.isnan() & right.isnan(), 0)       # infinities, too
    most = off.max().item() if off.numel() else 0.0
    finite = right[right.isfinite()].abs()
    if most <= tolerance * max(1.0, finite.max().item() if finite.numel() else 1.0):
        return ""
    where = tuple(int(i) for i in np.unravel_index(int(off.nan_to_num(torch.inf).argmax()), off.shape))
    one, other = apart(got[where].item(), right[where].item(), 4)
    if got.isnan().any() and not right.isnan().any():
        return f"{got.isnan().float().mean():.0%} of the numbers are nan: 0 / 0, or inf - inf, somewhere"
    return (f"the shape is right, but {(off > tolerance).float().mean():.0%} of the numbers are off; the "
            f"worst at {where}: {one}, should be {other}")


def numbers(got, right: int | float, tolerance: float) -> str:
    """`difference` where a number is right, and one of numpy or torch will do.

    A whole number may come out of a table of floats; True is no number.
    """
    value = got
    if isinstance(got, ARRAYS):
        if got.shape.numel() != 1 if isinstance(got, Tensor) else got.size != 1:
            return f"a number is wanted, and this is a {type(got).__name__} of shape {tuple(got.shape)}"
        value = got.item()
    if not isinstance(value, int | float):
        return f"{value!r} is not {apart(right, right, 6)[1]}"
    if isinstance(value, bool) != isinstance(right, bool):
        return f"{value!r} is of type {type(value).__name__}, not the {type(right).__name__} {right!r}"
    near = (isinstance(right, float) and math.isfinite(right)
            and abs(value - right) <= tolerance * max(1.0, abs(right)))
    same = near or value == right or value != value and right != right          # nan is nan
    return "" if same else "{} is not {}".format(*apart(value, right, 6))


def apart(one: float, other: float, digits: int) -> tuple[str, str]:
    """Two numbers in words, with as many digits as it takes to tell them from each other."""
    for count in range(digits, 18):
        words = f"{one:.{count}g}", f"{other:.{count}g}"
        if words[0] != words[1]:
            return words
    return f"{one:.{digits}g}", f"{other:.{digits}g}"
