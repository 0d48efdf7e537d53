"""The characters a poster can hold, and how wide each is drawn.

Latin letters, digits and marks are narrow, half as wide as a Chinese character. Marks that both scripts use,
such as “ and …, take the width of the text they are in.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache

from minglm.files import DATA

ASCII = "".join(map(chr, range(0x20, 0x7F)))
ACCENTED = "".join(chr(i) for i in range(0xC0, 0x100) if chr(i) not in "×÷")     # of Latin-1: é, ü, ñ, ß
NARROW = ASCII + ACCENTED + "¡¿£¥€°–"
WIDE = "，。！？：；、（）《》【】「」『』～￥"
EITHER = "“”‘’…—·"                           # wide beside Chinese, narrow otherwise


@cache
def level_one() -> str:
    """The 3,500 characters of level 1 of the List of Commonly Used Standard Chinese Characters."""
    return (DATA / "words" / "zh_characters.txt").read_text(encoding="utf-8").strip()


@cache
def han_characters() -> str:
    """All Chinese characters that can be drawn: level 1, and of level 2 those of names and of our words."""
    return level_one() + (DATA / "words" / "zh_more.txt").read_text(encoding="utf-8").strip()


@cache
def known() -> frozenset[str]:
    """All characters that can be drawn."""
    return frozenset(NARROW + WIDE + EITHER + han_characters())


@cache
def simplified() -> dict[str, str]:
    """Traditional character -> the known character it is written as today: 龍 -> 龙."""
    lines = (DATA / "words" / "traditional.txt").read_text(encoding="utf-8").split()
    return {line[0]: line[1] for line in lines}


def is_han(text: str) -> bool:
    """Whether a text contains a Chinese character or a Chinese mark."""
    return any("\u3400" <= c <= "\u9fff" or c in WIDE for c in text)


def is_wide(character: str, text: str) -> bool:
    """Whether a character of `text` takes the width of a Chinese one."""
    return is_han(character) or character in EITHER and is_han(text)


def columns(line: str, text: str | None = None) -> int:
    """The width of a line in narrow characters; `text` is what the line is a part of."""
    return sum(1 + is_wide(c, text or line) for c in line)


def tidy(text: str) -> str:
    """A text as it is drawn: full-width letters and digits become narrow, runs of blanks one space."""
    narrow = "".join(unicodedata.normalize("NFKC", c) if "０" <= c <= "ｚ" and c not in WIDE else c
                     for c in unicodedata.normalize("NFC", text))
    lines = [" ".join(line.split()) for line in narrow.splitlines()]
    return "\n".join(line for line in lines if line)


def unknown_characters(text: str) -> list[str]:
    """The characters of a text that cannot be drawn, in order, each once."""
    return list(dict.fromkeys(c for c in text if c != "\n" and c not in known()))


def explain(character: str) -> str:
    """How an error names a character that cannot be drawn, with the form that can be if there is one."""
    if character in simplified():
        return f"{character} (in simplified form {simplified()[character]})"
    # what is not seen, such as a zero-width space, is named by its code: \u200b
    return character if character.isprintable() else repr(character).strip("'")


def unordered_bytes(character: str) -> tuple:
    """The first byte of a character, and its others in no order."""
    first, *others = character.encode()
    return first, *sorted(others)


@cache
def confusable() -> str:
    """The Chinese characters that share their bytes with another."""
    count = Counter(map(unordered_bytes, han_characters()))
    return "".join(c for c in han_characters() if count[unordered_bytes(c)] > 1)
