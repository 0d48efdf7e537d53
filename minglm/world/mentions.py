"""What a prompt mentions: quoted texts, objects, colours, places, numbers and sizes, with where they stand.

The prompt is read from left to right; at each point the longest known name is taken, in either language, so
that 黄瓜 is a cucumber and not something yellow, and a police car no car. Quotations are set aside first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from minglm.world.characters import is_han
from minglm.world.chinese import COUNTS, free
from minglm.world.chinese import DIGITS as ONES
from minglm.world.colours import nearest
from minglm.world.names import vocabulary
from minglm.world.quotes import quotations
from minglm.world.texts import words


@dataclass(frozen=True)
class Mention:
    """One thing that a prompt says. kind: text, thing, colour, place, number, size, sheet, letters, noun or
    aside; value: the text itself, an English name, a number, the colour that a noun is known for."""

    kind: str
    value: str | int
    start: int
    end: int
    plural: bool = False


HEX = re.compile(r"#([0-9a-f]{6}|[0-9a-f]{3})(?![0-9a-z])")
DIGITS = re.compile(r"(?<![.,:/$£€#-])[0-9]{1,4}(?![.,:]?[0-9])")
WORD = re.compile(r"[a-z]{4,}")              # not a name, which begins with a capital
DRAW = re.compile(f"画(?=[{ONES}两几十])")         # the verb, not a sheet: 画两只猫


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
        size = longest_at(lower, at, limit)
        kind, value, plural = vocabulary()[lower[at:at + size]] if size else ("", "", False)
        if kind == "colour" and COUNTS.search(prompt[:at]) and (inner := thing_at(lower, at, at + size)):
            size = inner
            kind, value, plural = vocabulary()[lower[at:at + size]]
        if size < 3 and DRAW.match(lower, at) and kind in ("sheet", "aside"):
            kind, value, size = "aside", "画", 1
        elif size == 1 and kind in ("colour", "thing"):
            next_ = longest_at(lower, at + 1, limit)
            following = vocabulary()[lower[at + 1:at + 1 + next_]][0] if next_ else ""
            if not free(prompt, at, kind, bool(found) and found[-1].end == at, following):
                size = 0
        if size:
            found.append(Mention(kind, value, at, at + size, plural))
        elif other := code(lower, at) or misspelt(prompt, at):
            found.append(other)
            size = other.end - at
        at += size or 1
    return found


def longest_at(lower: str, at: int, limit: int) -> int:
    """The length of the longest name that stands at index `at` and ends by `limit`; 0: there is none."""
    return next((n for n in range(min(longest(), limit - at), 0, -1)
                 if lower[at:at + n] in vocabulary() and apart(lower, at, at + n)), 0)


def thing_at(lower: str, at: int, limit: int) -> int:
    """The length of the name of an object with which the one from `at` to `limit` begins; 0: with none."""
    size = longest_at(lower, at, limit - 1)
    return size if size and vocabulary()[lower[at:at + size]][0] == "thing" else 0


def code(lower: str, at: int) -> Mention | None:
    """A number in digits, or a colour as on web pages, #1e90ff or #fff, called by the name of the nearest."""
    if (told := HEX.match(lower, at)) and (any(map(str.isdigit, told[1])) or len(set(told[1])) == 1):
        digits = told[1] if len(told[1]) == 6 else "".join(2 * digit for digit in told[1])
        colour = nearest(tuple(bytes.fromhex(digits)))
        return Mention("colour", colour, at, told.end())
    if (told := DIGITS.match(lower, at)) and apart(lower, at, told.end()):
        return Mention("number", int(told[0]), at, told.end())
    return None


def misspelt(prompt: str, at: int) -> Mention | None:
    """The object or colour that an unknown word is with two letters exchanged, or with one letter doubled or
    not: flwoer, yelow. Other words differ so too rarely to be taken for it: a moose is no mouse."""
    told = WORD.match(prompt, at)
    if not told or not apart(prompt, at, told.end()) or told[0] in words("en_words"):
        return None
    word, size = told[0], len(told[0])
    near = [word[:i] + word[i + 1] + word[i] + word[i + 2:] for i in range(size - 1)]
    near += [word[:i] + word[i] + word[i:] for i in range(size)]
    near += [word[:i] + word[i + 1:] for i in range(1, size) if word[i] == word[i - 1]]
    known = {vocabulary()[name] for name in near if name in vocabulary()}
    kind, value, plural = known.pop() if len(known) == 1 else ("", "", False)
    if kind == "colour" or kind == "thing" and size > 4:
        return Mention(kind, value, at, told.end(), plural)
    return None


def apart(text: str, start: int, end: int) -> bool:
    """Whether a Latin name stands alone, not within a longer word."""
    def letter(c: str) -> bool:
        return c.isalnum() and not is_han(c)

    before, after = text[start - 1:start], text[end:end + 1]
    return not (letter(text[start]) and letter(before) or letter(text[end - 1]) and letter(after))
