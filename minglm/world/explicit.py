"""Captions that tell everything, one for each poster, in English and in Chinese.

`explicit` is what the prompt enhancer writes, and a part of the training captions. `held_out` is phrased as
training never does, for evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from minglm.world.characters import is_han
from minglm.world.colours import COLOURS
from minglm.world.objects import things
from minglm.world.posters import PLACES, Group, Poster
from minglm.world.quotes import quote, quoted, unquoted

NUMBERS_EN = {1: "one", 2: "two", 3: "three"}
NUMBERS_ZH = {1: "一", 2: "两", 3: "三"}
PLACES_EN = {"left": "on the left", "right": "on the right", "centre": "in the centre", "top": "at the top",
             "bottom": "at the bottom"}
SIZES_ZH = {"small": "小小的", "big": "大大的"}
PAIRS = ("“”", "「」", "『』", "«»", "‘’")      # in the order in which they are tried
NEWLINE = "\n"


def explicit(poster: Poster, unsaid: Mapping[str, str] = {}) -> str:
    """The caption that tells everything, with each line of a text in its own quotation. unsaid: texts that
    are not quoted, each with what is said in its place, such as "words", once for all that are alike."""
    return (explicit_en if poster.language == "en" else explicit_zh)(poster, unsaid)


def bare(prompt: str) -> str:
    """The prompt that tells nothing of its poster, in the language of another."""
    return "一张海报。" if is_han(unquoted(prompt)) else "A poster."


def held_out(poster: Poster) -> str:
    """The caption that tells everything in the way reserved for evaluation."""
    return (held_out_en if poster.language == "en" else held_out_zh)(poster)


# ---------------------------------------------------------------- English

def article(noun: str) -> str:
    """A noun phrase with its indefinite article."""
    return ("an " if noun[0].lower() in "aeiou" and not noun.lower().startswith(("uni", "eu", "ufo", "one"))
            else "a ") + noun


def join_en(clauses: list[str]) -> str:
    """"a", "a and b", "a, b and c"."""
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def capital(text: str) -> str:
    """The text with its first letter in upper case and the others unchanged."""
    return text[:1].upper() + text[1:]


def is_plural(group: Group) -> bool:
    """Whether English says "there are": two cats, and scissors, of which one is a plural, too."""
    kind = things()[group.thing]
    return group.count > 1 or kind.forms[kind.en][0] == "none" and kind.en.endswith("s")


def counted_en(group: Group, name: str | None = None, looks: str = "", number: bool = True) -> str:
    """Objects of one kind: "a cat", "two big cats", "scissors"; number: with article or number."""
    kind = things()[group.thing]
    if not name:                             # not "two coffee" where "two cups of coffee" can be said
        countable = (one for one, (form, _) in kind.forms.items() if form != "none")
        uncounted = group.count > 1 and kind.forms[kind.en][0] == "none"
        name = next(countable, kind.en) if uncounted else kind.en
    form, plural = kind.forms[name]
    noun = f"{looks} {name if group.count == 1 else plural}".strip()
    if group.count > 1:
        return f"{NUMBERS_EN[group.count]} {noun}" if number else noun
    if form == "none" or not number:
        return noun
    return f"the {noun}" if form == "the" else article(noun)


def explicit_en(poster: Poster, unsaid: Mapping[str, str] = {}) -> str:
    """All told, line by line.

    A red poster with a cat on the left and the white words "Hello", "World" at the top.
    """
    looks = "" if poster.size == "normal" else poster.size
    clauses = []
    if poster.groups:
        clauses = [
            f"{join_en([counted_en(g, None, looks) for g in poster.groups])} {PLACES_EN[poster.place]}"
        ]
    for region, lines in groupby(poster.lines, key=lambda line: line[0]):
        words = unsaid.get(region.text) or "words " + ", ".join(quote(line) for _, line, _ in lines)
        clause = f"the {region.colour} {words} {PLACES_EN[region.slot]}"
        if clause not in clauses or region.text not in unsaid:
            clauses.append(clause)
    return (
        f"{capital(article(poster.background))} poster"
        + (f" with {join_en(clauses)}" if clauses else "")
        + "."
    )


def held_out_en(poster: Poster) -> str:
    """The pattern that evaluation uses and training never does: On a red poster there is a cat, with ..."""
    on = f"On {article(poster.background)} poster"
    said = join_en([f"{quote(region.text.replace(NEWLINE, ' '))} in {region.colour} {PLACES_EN[region.slot]}"
                    for region in poster.regions]) if poster.regions else ""
    if not poster.groups:
        return f"{on} stands {said}."
    looks = "" if poster.size == "normal" else poster.size
    shown = join_en([counted_en(group, None, looks) for group in poster.groups])
    there = "there are" if is_plural(poster.groups[0]) else "there is"
    return f"{on} {there} {shown} {PLACES_EN[poster.place]}{f', with {said}' if said else ''}."


# ---------------------------------------------------------------- Chinese

def marked(text: str, pairs: tuple[str, ...] = PAIRS) -> str:
    """A text in the first pair of marks that it does not contain. Raises ValueError if there is none."""
    for opening, closing in pairs:
        if opening not in text and closing not in text and quoted(opening + text + closing) == [text]:
            return opening + text + closing
    raise ValueError(f"{text!r} contains every kind of quotation marks")


def counted_zh(group: Group, size: str) -> str:
    """Objects of one kind with their number and, if it is unusual, their size: 一只猫, 两条小小的狗."""
    kind = things()[group.thing]
    return f"{NUMBERS_ZH[group.count]}{kind.measure}{SIZES_ZH.get(size, '')}{kind.zh}"


def explicit_zh(poster: Poster, unsaid: Mapping[str, str] = {}) -> str:
    """All told, line by line: 一张红色的海报，左边有一只猫，顶部写着白色的“你好”“世界”。"""
    clauses = [f"一张{COLOURS[poster.background][1]}的海报"]
    if poster.groups:
        clauses.append(
            f"{PLACES[poster.place]}有{'和'.join(counted_zh(g, poster.size) for g in poster.groups)}"
        )
    for region, lines in groupby(poster.lines, key=lambda line: line[0]):
        words = unsaid.get(region.text) or "".join(marked(line) for _, line, _ in lines)
        clause = f"{PLACES[region.slot]}写着{COLOURS[region.colour][1]}的{words}"
        if clause not in clauses or region.text not in unsaid:
            clauses.append(clause)
    return "，".join(clauses) + "。"


def held_out_zh(poster: Poster) -> str:
    """In evaluation: 请画一张红色的海报：一只猫在左边，顶部的字是白色的“你好”。"""
    said = []
    if poster.groups:
        shown = "和".join(counted_zh(group, poster.size) for group in poster.groups)
        said.append(f"{shown}在{PLACES[poster.place]}")
    for region in poster.regions:
        text = marked(region.text.replace(NEWLINE, " "))
        said.append(f"{PLACES[region.slot]}的字是{COLOURS[region.colour][1]}的{text}")
    return f"请画一张{COLOURS[poster.background][1]}的海报" + ("：" if said else "") + "，".join(said) + "。"
