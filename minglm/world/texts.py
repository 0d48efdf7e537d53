"""Texts for training posters: words, phrases, numbers, names, and strings of random characters.

Random Chinese strings take every character equally often, since a model learns a character by how often it
has seen it. What `held_out` selects, a tenth of all texts, is for evaluation only.
"""

from __future__ import annotations

import random
import re
import zlib
from functools import cache

from minglm.files import DATA
from minglm.world.characters import ACCENTED, ASCII, EITHER, WIDE, confusable, han_characters
from minglm.world.layout import PITCH, wrap

LINE = 192                                   # pixels that a long text fills where nothing says how many
MIXED = "".join(c for c in ASCII[1:] if c not in "\"'`")  # marks that cannot be taken for quotation marks


def held_out(*parts: str) -> bool:
    """Whether this text, or pair, is held out for evaluation: a tenth of all, by checksum."""
    return zlib.crc32("/".join(parts).encode()) % 10 == 0


@cache
def words(name: str) -> tuple[str, ...]:
    """A list of data/words, one entry a line: en_words, en_phrases, zh_words, zh_phrases."""
    lines = (DATA / "words" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line)


@cache
def kept_back(language: str) -> frozenset[str]:
    """The words and phrases of a language that are held out; not single characters: all are learned."""
    lists = (words(f"{language}_words"), words(f"{language}_phrases"))
    return frozenset(text.casefold() for texts in lists for text in texts
                     if len(text) > 1 and held_out(text.casefold()))


def contains_held_out(text: str) -> bool:
    """Whether a text is held out for evaluation, or a held-out word or phrase is a part of it."""
    text = text.casefold()
    latin, han = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text), re.findall(r"[\u3400-\u9fff]+", text)
    parts = {" ".join(latin[i:j]) for j in range(len(latin) + 1) for i in range(j)}
    if held_out(text) or not parts.isdisjoint(kept_back("en")):
        return True
    return not kept_back("zh").isdisjoint(
        run[i:j] for run in han for j in range(2, len(run) + 1) for i in range(j - 1))


def cased(rng: random.Random, text: str) -> str:
    """An English text as it stands, or in another case."""
    return rng.choices((text, text.upper(), text.lower(), text.title() if "'" not in text else text,
                        text[0].upper() + text[1:]), (40, 20, 12, 14, 14))[0]


def number(rng: random.Random) -> str:
    """A price, a time, a date, a percentage, a year, a telephone number, or a plain number."""
    return rng.choice(
        (
            lambda: f"{rng.choice('$€£￥¥')}{rng.randint(1, 999)}",
            lambda: f"${rng.randint(0, 99)}.{rng.randint(0, 99):02}",
            lambda: f"{rng.randint(0, 23)}:{rng.randint(0, 59):02}",
            lambda: f"{rng.randint(1, 99)}%",
            lambda: f"{rng.randint(1900, 2039)}",
            lambda: f"{rng.randint(1, 12)}/{rng.randint(1, 31)}",
            lambda: f"{rng.randint(0, 23)}:00-{rng.randint(0, 23)}:00",
            lambda: str(rng.randint(0, 10 ** rng.randint(1, 6))),
            lambda: f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}",
            lambda: f"No.{rng.randint(1, 99)}",
            lambda: f"#{rng.randint(1, 99)}",
            lambda: f"{rng.randint(1, 12)}{rng.choice((' am', ' pm', 'am', 'pm'))}",
        )
    )()


def random_latin(rng: random.Random) -> str:
    """Letters, digits and marks at random, mostly letters of one case."""
    letters = rng.choices(
        (
            "abcdefghijklmnopqrstuvwxyz",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            ASCII[33:59] + ASCII[65:91],
            ASCII[16:26] + ASCII[33:59],
            MIXED,
            ACCENTED + ASCII[33:91],
        ),
        (28, 22, 20, 10, 14, 6),
    )[0]
    return "".join(rng.choices(letters, k=rng.randint(2, 8)))


@cache
def names() -> tuple[str, str]:
    """Common Chinese surnames, and characters of given names."""
    surnames, given = (DATA / "words" / "zh_names.txt").read_text(encoding="utf-8").split()
    return surnames, given


def name(rng: random.Random) -> str:
    """A Chinese name of two or three characters."""
    surnames, given = names()
    return rng.choice(surnames) + "".join(rng.choices(given, k=rng.randint(1, 2)))


def random_han(rng: random.Random, most: int = 6) -> str:
    """Chinese characters at random."""
    return "".join(rng.choices(han_characters(), k=rng.randint(1, most)))


def english_text(rng: random.Random) -> str:
    """One English text."""
    kind = rng.random()
    if kind < 0.30:
        return cased(rng, rng.choice(words("en_words")))
    if kind < 0.55:
        return cased(rng, rng.choice(words("en_phrases")))
    if kind < 0.70:
        return cased(rng, " ".join(rng.choice(words("en_words")) for _ in range(rng.choice((2, 2, 3, 4)))))
    if kind < 0.86:
        return random_latin(rng)
    if kind < 0.93:
        return number(rng)
    text = rng.choice(words("en_words"))
    return rng.choice(
        (
            f"{text}!",
            f"{text}?",
            f"{text}.",
            f"{text.title()}'s",
            f"{text}, {number(rng)}",
            f"{text} & {rng.choice(words('en_words'))}",
            f"{number(rng)} {text}",
            f"@{text}",
            f"({text})",
            f"{text}: {number(rng)}",
            f"{text}...",
            f"“{text}”",
        )
    )


def chinese_text(rng: random.Random) -> str:
    """One Chinese text; half of them are random characters, which all occur equally often."""
    kind = rng.random()
    if kind < 0.45:
        return random_han(rng)
    if kind < 0.62:
        return rng.choice(words("zh_phrases"))
    if kind < 0.78:
        return "".join(rng.choice(words("zh_words")) for _ in range(rng.choice((1, 1, 2, 3))))
    if kind < 0.84:
        return name(rng)
    text = random_han(rng, 4) if rng.random() < 0.6 else rng.choice(words("zh_words"))
    more = rng.choice(words("zh_words"))
    return rng.choice(
        (
            f"{text}！",
            f"{text}？",
            f"{text}。",
            f"{text}，{more}",
            f"{text}，{more}！",
            f"《{text}》",
            f"“{text}”",
            f"{text}：{more}",
            f"{number(rng)}{text}",
            f"{text}{number(rng)}",
            f"{text}、{more}",
            f"{text}（{more}）",
            f"{text}{rng.choice(words('en_words')).upper()}",
            f"{text}…",
            f"{text}—{more}",
            f"{text}·{more}",
            f"第{rng.randint(1, 99)}{rng.choice('届期名页次')}{text}",
            f"{text} {more}",
            rng.choice(WIDE + EITHER) + text,
        )
    )


def long_latin(rng: random.Random, cells: int) -> str:
    """Words, numbers and strings of letters that fill a line of `cells` narrow characters."""
    text = ""
    while True:
        kind = rng.random()
        more = (random_latin(rng) if kind < 0.4 else number(rng) if kind < 0.5 else
                cased(rng, rng.choice(words("en_words"))))
        if text and len(text) + 1 + len(more) > cells:
            left = cells - len(text) - 1                         # room for a part of a string
            return f"{text} {random_latin(rng)[:left]}".strip() if left > 1 else text
        text = f"{text} {more}".strip()


def mixed_han(rng: random.Random, cells: int) -> str:
    """Chinese characters in a line of `cells` narrow characters, half of them such as share their bytes with
    another; three lines in four have a number, digits or letters among them. What follows an odd number of
    these stands elsewhere on the grids of tokens and ids than Chinese alone."""
    parts = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        kind = rng.random()
        if kind < 0.3:
            parts.append(number(rng))
        elif kind < 0.75:
            parts.append(str(rng.randint(0, 10 ** rng.randint(1, 4))))
        else:
            parts.append("".join(rng.choices(ASCII[33:59] + ASCII[65:91], k=rng.randint(1, 4))))
    count = max(1, (cells - sum(map(len, parts))) // 2 - rng.choice((0, 0, 1, 2)))
    text = [rng.choice(confusable() if rng.random() < 0.5 else han_characters()) for _ in range(count)]
    for part in parts:
        text.insert(rng.randint(0, len(text)), part)
    return "".join(text)


def choose_text(rng: random.Random, language: str, split: str = "train", room: int | None = None,
                filled: float = 0.0) -> str:
    """A text of a split: "train", or, never met in training, "words", "phrases" and "random".

    room: pixels into which it has to fit as one line; None: it may be longer. filled: how often a text for
    training is one of `long_latin` or `mixed_han`.
    """
    while True:
        if split == "train" and filled and rng.random() < filled:
            text = (long_latin if language == "en" else mixed_han)(rng, (room or LINE) // PITCH)
        elif split == "train":
            text = english_text(rng) if language == "en" else chinese_text(rng)
            if room and language == "zh" and rng.random() < 0.6:
                text = "".join(rng.choices(han_characters(), k=room // (2 * PITCH) - rng.randint(0, 1)))
        elif split == "random":
            text = (
                "".join(rng.choices(ASCII[65:91], k=rng.randint(3, 6)))
                if language == "en"
                else random_han(rng, 4)
            )
        else:
            text = rng.choice(words(f"{language}_{split}"))
        if room and len(wrap(text, room)) > 1:
            continue
        if contains_held_out(text) if split == "train" else not held_out(text.casefold()):
            continue
        return text
