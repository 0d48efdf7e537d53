"""What a prompt mentions: quoted texts, objects, colours, places, numbers and sizes, with where they stand.

The prompt is read from left to right; at each point the longest known name is taken, in either language, so
that 黄瓜 is a cucumber and not something yellow, and a police car no car. Quotations are set aside first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from minglm.world.characters import is_han
from minglm.world.names import vocabulary
from minglm.world.quotes import quotations


@dataclass(frozen=True)
class Mention:
    """One thing that a prompt says. kind: text, thing, colour, place, number, size, sheet, letters or
    aside; value: the text itself, an English name, a number."""

    kind: str
    value: str | int
    start: int
    end: int
    plural: bool = False


@cache
def longest() -> int:
    return max(map(len, vocabulary()))


def mentions(prompt: str) -> list[Mention]:
    """Everything that a prompt mentions, in order."""
    lower, found, at = prompt.lower(), [], 0
    if len(lower) != len(prompt):            # a few letters change their length: keep the places right
        lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in prompt)
    quotes = {a: b for a, b in quotations(prompt)}
    while at < len(prompt):
        if at in quotes:
            found.append(Mention("text", prompt[at + 1:quotes[at] - 1], at, quotes[at]))
            at = quotes[at]
            continue
        limit = min([a for a in quotes if a > at], default=len(prompt))
        size = next((n for n in range(min(longest(), limit - at), 0, -1)
                     if lower[at:at + n] in vocabulary() and apart(lower, at, at + n)), 0)
        if size:
            kind, value, plural = vocabulary()[lower[at:at + size]]
            found.append(Mention(kind, value, at, at + size, plural))
            at += size
        else:
            at += 1
    return found


def apart(text: str, start: int, end: int) -> bool:
    """Whether a Latin name stands alone, not within a longer word."""
    def letter(c: str) -> bool:
        return c.isalnum() and not is_han(c)

    before, after = text[start - 1:start], text[end:end + 1]
    return not (letter(text[start]) and letter(before) or letter(text[end - 1]) and letter(after))
