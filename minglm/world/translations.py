"""A small dictionary between English and Chinese: everyday words of posters, and the names of the objects.

A planner this small cannot translate what it never saw, nor can a decoder write letters that nobody spelled
to it. So the translation of a quoted text is looked up, as GLM-Image's prompt enhancer asks a language model.
"""

from __future__ import annotations

import re
from functools import cache

from minglm.files import DATA
from minglm.world.characters import is_han
from minglm.world.layout import wrap
from minglm.world.objects import things
from minglm.world.quotes import quoted, unquoted

ASKS = re.compile(r"\b(translat\w*|chinese|english)\b|译|中文|汉语|英文|英语", re.IGNORECASE)


@cache
def pairs() -> tuple[tuple[str, str], ...]:
    """(English, Chinese), each text in one pair only: those of data/words/translations.txt, then objects."""
    lines = (DATA / "words" / "translations.txt").read_text(encoding="utf-8").splitlines()
    found = [tuple(line.split("\t")) for line in lines]
    taken = {text.casefold() for pair in found for text in pair}
    for thing in things().values():
        english = " ".join(word[:1].upper() + word[1:] for word in thing.en.split())
        if taken.isdisjoint((english.casefold(), thing.zh)):
            found.append((english, thing.zh))
    return tuple(found)


@cache
def dictionary() -> dict[str, str]:
    """A text, English in lower case -> its translation."""
    return {en.casefold(): zh for en, zh in pairs()} | {zh: en for en, zh in pairs()}


def translated(text: str) -> str | None:
    """The text in the other language, if it is in the dictionary."""
    return dictionary().get(" ".join(text.split()).casefold())


def told(instruction: str) -> list[str]:
    """The texts that an instruction quotes, those to be replaced or removed too; and, where a translation is
    asked for and not given, that of each quoted text the dictionary has."""
    texts = [" ".join(text.split()) for text in quoted(instruction) if text.strip()]
    one_language = len({is_han(text) for text in texts}) == 1                    # no translation is given
    if one_language and ASKS.search(unquoted(instruction)):
        texts += [other for text in texts if (other := translated(text))]
    return texts


def to_write(texts: list[str], there: list[bool], width: int) -> list[str]:
    """The lines that the decoder writes when it edits, on a picture `width` pixels wide: of texts that are
    `told`, those that are not there yet, or if all are, as when one is moved, all. Every other letter of the
    picture has to come from the pictures."""
    new = [text for text, old in zip(texts, there) if not old]
    return [line for text in new or texts for line in wrap(text, width)]
