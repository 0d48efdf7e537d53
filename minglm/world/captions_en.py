"""Captions in English: the many ways to ask for one poster. The Chinese ones are in captions_zh.py.

A caption is composed of clauses: the sheet with its background, the objects, and the texts. In training most
of what a person may leave out is left out most of the time, in any order, with any words around it, because a
model trained on a few fixed sentences would not understand people's own.
"""

from __future__ import annotations

import random

from minglm.world.colours import CALLED_EN
from minglm.world.explicit import NUMBERS_EN, article, capital, counted_en, join_en
from minglm.world.objects import things
from minglm.world.phrases_en import (
    AFTER,
    ASK,
    BACKGROUND,
    BEFORE,
    DOING,
    LOOKS,
    PLACE,
    SAY,
    SHEETS,
    SIZE,
    WRITE,
)
from minglm.world.posters import Poster, Region
from minglm.world.quotes import quotations, quote


def called(rng: random.Random, colour: str) -> str:
    """A colour by its name or by one of the names people use for it."""
    return colour if rng.random() < 0.75 else rng.choice(CALLED_EN[colour])


def sheet(rng: random.Random, poster: Poster, bare: bool) -> str:
    """The sheet with or without its background, and with an article unless `bare`."""
    noun, colour = rng.choice(SHEETS), called(rng, poster.background)
    if rng.random() < 0.25:
        said = noun if rng.random() < 0.7 else f"{rng.choice(LOOKS)} {noun}"
    else:
        said = rng.choice(
            (f"{colour} {noun}",) * 6
            + (
                f"{colour} background",
                f"{noun} in {colour}",
                f"{noun} with {article(colour)} background",
                f"{noun} on {article(colour)} background",
                f"plain {colour} {noun}",
                f"{colour} {noun}",
                f"{noun}, {colour} background",
                f"{noun} whose background is {colour}",
                f"{rng.choice(LOOKS)} {colour} {noun}",
                f"{noun} ({colour})",
                f"{colour}-coloured {noun}",
            )
        )
        if bare and rng.random() < 0.35:
            return rng.choice(BACKGROUND).format(c=colour, n=noun)
    return said if bare else article(said)


def objects(rng: random.Random, poster: Poster, bare: bool) -> str:
    """The objects, by any of their names, sometimes with their place, size or looks."""
    said = []
    for group in poster.groups:
        kind = things()[group.thing]
        name = kind.en if rng.random() < 0.6 else rng.choice(tuple(kind.forms))
        looks = rng.choice(SIZE[poster.size]) if poster.size in SIZE and rng.random() < 0.7 else ""
        if rng.random() < 0.15:
            natural = kind.colours and rng.random() < 0.5
            looks = f"{looks} {rng.choice(kind.colours if natural else LOOKS)}"
        words = counted_en(group, name, looks.strip(), number=not bare or group.count > 1)
        if group.count > 1 and rng.random() < 0.15:
            words = words.replace(
                NUMBERS_EN[group.count],
                rng.choice((str(group.count), "a couple of" if group.count == 2 else "three")),
                1,
            )
        said.append(words)
    text = rng.choice((" and ", " and ", " and ", " & ", " plus ", ", ")).join(said)
    if rng.random() < 0.08:
        text += f" {rng.choice(DOING)}"
    return text if rng.random() < 0.6 else f"{text} {rng.choice(PLACE[poster.place])}"


def quoted_text(rng: random.Random, poster: Poster, region: Region) -> str:
    """A text in quotation marks: as a whole, or line by line."""
    lines = [line for owner, line, _ in poster.lines if owner == region]
    if len(lines) > 1 and rng.random() < 0.25:
        return rng.choice((", ", " ", " and ")).join(quote(line, rng, "en") for line in lines)
    return quote(region.text.replace("\n", " "), rng, "en")


def texts(rng: random.Random, poster: Poster, ways: tuple[str, ...]) -> list[str]:
    """A clause for each text; colour and place are told half of the time."""
    found, way = [], rng.choice(ways)
    told = rng.random() < 0.5, rng.random() < 0.5
    regions = list(poster.regions)
    if told[1] and len({region.slot for region in regions}) == len(regions) and rng.random() < 0.15:
        rng.shuffle(regions)                 # in any order, since each tells its place
    for region in regions:
        if rng.random() < 0.4:
            way = rng.choice(ways)
        said = way.format(q=quoted_text(rng, poster, region))
        if told[0]:
            colour = called(rng, region.colour)
            if said.startswith("the ") and rng.random() < 0.6:
                said = f"the {colour} {said[4:]}"
            else:
                said += rng.choice(
                    (
                        f" in {colour}",
                        f" in {colour} letters",
                        f" in {colour} text",
                        f" in {colour}",
                        f" written in {colour}",
                        f" ({colour})",
                        f" in {colour} font",
                        f", {colour} letters",
                    )
                )
        if told[1]:
            where = rng.choice(PLACE[region.slot])
            said = f"{where} {said}" if rng.random() < 0.2 else f"{said} {where}"
        found.append(said)
    return found


def english(rng: random.Random, poster: Poster) -> str:
    """One training caption."""
    form = rng.random()
    if form < 0.25:  # fragments in any order
        parts = [
            sheet(rng, poster, bare=rng.random() < 0.7),
            *([objects(rng, poster, True)] if poster.groups else []),
            *texts(rng, poster, WRITE + SAY),
        ]
        if len(poster.regions) < 2 or rng.random() < 0.1:
            rng.shuffle(parts)
        elif rng.random() < 0.5:             # the texts stay in order
            parts = parts[-len(poster.regions):] + parts[:-len(poster.regions)]
        said = rng.choice((", ", ", ", ", ", " ", ". ", "; ", " - ", "\n")).join(parts)
        return finish(rng, said if rng.random() < 0.5 else capital(said))
    shown = objects(rng, poster, False) if poster.groups else ""
    if form < 0.45:  # sentences in any order
        parts = [
            f"{rng.choice(ASK)} {sheet(rng, poster, False)}"
            if rng.random() < 0.5
            else sheet(rng, poster, False)
        ]
        if shown:
            parts.append(
                rng.choice(
                    (
                        "{}",
                        "There is {}",
                        "Show {}",
                        "It shows {}",
                        "Add {}",
                        "On it, {}",
                        "With {}",
                        "I want {} on it",
                        "Please include {}",
                        "Put {} on it",
                    )
                ).format(shown)
            )
        if poster.regions:
            parts.append(rng.choice((" and ", ", ", ". ", " and ")).join(texts(rng, poster, WRITE + SAY)))
        rng.shuffle(parts)
        return finish(rng, ". ".join(capital(part) for part in parts))
    # one sentence: the sheet with or without an opening, and what is on it in either order
    opening = (
        f"{rng.choice(ASK)} {sheet(rng, poster, False)}"
        if rng.random() < 0.55
        else sheet(rng, poster, rng.random() < 0.2)
    )
    clauses = [join_en(texts(rng, poster, WRITE))] if poster.regions else []
    if shown and form < 0.9:
        clauses.insert(rng.random() < 0.35 and len(clauses) or 0, shown)
    elif shown:                              # the object first: A cat on a red poster saying "Hello"
        opening = f"{shown} {rng.choice(('on', 'on', 'for', 'as'))} {sheet(rng, poster, False)}"
    said = opening
    if clauses:
        joint = rng.choice(
            (" with ",) * 6
            + (" featuring ", " showing ", " that has ", " and ", ", ", " including ", " of ")
        )
        if len(clauses) == 1 and poster.regions and (not shown or form >= 0.9) and rng.random() < 0.6:
            said += f" {' and '.join(texts(rng, poster, SAY))}"
        else:
            said += joint + rng.choice((" and ", " and ", ", ", " with ", " plus ")).join(clauses)
    return finish(rng, capital(said) if rng.random() < 0.75 else said)


def finish(rng: random.Random, said: str) -> str:
    """The caption with what people write around it: greetings, thanks, styles, and an end or none."""
    if rng.random() < 0.08:
        said = f"{rng.choice(BEFORE)} {said}"
    if rng.random() < 0.22:
        said += rng.choice((", ", ", ", " ", ". ")) + rng.choice(AFTER)
    if rng.random() < 0.1:
        said = lower_around(said)
    return said + rng.choice((".", ".", ".", "", "", "!"))


def lower_around(said: str) -> str:
    """The caption without capitals, the quotations as they are."""
    out, end = "", 0
    for a, b in quotations(said):
        out, end = out + said[end:a].lower() + said[a:b], b
    return out + said[end:].lower()
