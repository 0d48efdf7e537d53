"""Validation of arguments: numbers of any library are accepted, and errors name value and range.

And what other libraries' errors say, in one line.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from numbers import Real


def whole(name: str, value, least: int = 0, most: int = 2 ** 63 - 1) -> int:
    """`value` as an int. Raises ValueError unless it is an integer (numpy's too, but not True) in range."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        # the largest number of 64 bits is a limit worth telling only where it was passed
        bounded = most < 2 ** 63 - 1 or number is not None and number > most
        limit = f"from {least} to {most}" if bounded else f"of at least {least}"
        raise ValueError(f"{name} {value!r}: a whole number {limit} is needed")
    return number


def real(name: str, value, least: float = -math.inf, most: float = math.inf, above: bool = False) -> float:
    """`value` as a float. Raises ValueError unless finite and in range; above: `least` itself is not."""
    scalar = getattr(value, "item", None)                # of numpy or torch
    number = scalar() if scalar and getattr(value, "ndim", 1) == 0 else value
    fine = isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)
    if not fine or not least <= number <= most or (above and number == least):
        lower = f"above {least:g}" if above else f"of at least {least:g}"
        limits = [lower] * math.isfinite(least) + [f"up to {most:g}"] * math.isfinite(most)
        raise ValueError(f"{name} {value!r}: a finite number {' and '.join(limits)}".rstrip() + " is needed")
    return float(number)


def seed_or_seeds(value, count: int) -> int | list[int]:
    """A seed as an int, or those of a sequence (list, tuple, range, array) for `count` pictures.

    Raises ValueError for an invalid seed, or if there are not as many as pictures.
    """
    if (not isinstance(value, Iterable) or isinstance(value, (str, bytes, dict))
            or getattr(value, "ndim", 1) == 0):
        return whole("seed", value)
    many = [whole("seed", each) for each in value]
    if len(many) != count:
        raise ValueError(f"{len(many)} seeds for {count} pictures")
    return many


def first_line(error: Exception) -> str:
    """The first line of an error's message; empty if it has none."""
    return (str(error).splitlines() or [""])[0]
