"""Words of a command line as values, or one line that says what is wrong."""

from __future__ import annotations

import argparse

from minglm.validate import real


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage in front of it."""

    def error(self, message: str) -> None:
        raise ValueError(message)


def seconds(text: str) -> float:
    """A length of time: a finite number from 0 up."""
    try:
        return real("a time of", float(text), 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number from 0 up") from None


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def size(text: str) -> tuple[int, int]:
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 128x128")
    return int(height), int(width)
