"""Captions: the many ways to ask for one poster, in English and in Chinese.

A caption is put together from clauses: the background and the object, then the words in reading
order (top, beside the object, bottom), or the words first. The pattern numbered 0 of each
language is kept for evaluation, so that held-out prompts are also phrased in a held-out way.
"""

from __future__ import annotations

import random

from minglm.posters import COLOURS, PLACES, Poster, Region, is_han, things

NATURAL = {  # objects people like to name with their colour: "a red apple"
    "apple": "red", "banana": "yellow", "lemon": "yellow", "frog": "green", "pig": "pink",
    "fox": "orange", "strawberry": "red", "cherry": "red", "tomato": "red", "carrot": "orange",
    "grape": "purple", "eggplant": "purple", "tree": "green", "rose": "red", "car": "red",
    "heart": "red", "balloon": "red", "water": "blue", "sun": "yellow", "star": "yellow",
    "moon": "yellow", "whale": "blue", "bus": "yellow", "cactus": "green", "ladybug": "red",
}
QUOTES = {"en": ('""', '""', '""', "“”", "''"), "zh": ("“”", "“”", "“”", "「」", '""')}
PLACE_EN = {"left": ("on the left", "at the left", "on the left side"),
            "right": ("on the right", "at the right", "on the right side"),
            "centre": ("in the centre", "in the middle", "in the center"),
            "top": ("at the top",), "bottom": ("at the bottom",)}


def article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def join_en(clauses: list[str]) -> str:
    """"a", "a and b", "a, b and c"."""
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def written(rng: random.Random, region: Region, language: str) -> str:
    """The quoted text, mostly in capitals as it is drawn, sometimes not."""
    text = region.text
    if not is_han(text):
        text = rng.choices((text, text.lower(), text.capitalize()), (70, 15, 15))[0]
    opening, closing = rng.choice(QUOTES[language])
    return opening + text + closing


def caption(rng: random.Random, poster: Poster, training: bool) -> str:
    """One way of asking for `poster`. Patterns from 1 up in training, pattern 0 otherwise."""
    write = english if poster.language == "en" else chinese
    return write(rng, poster, rng.randint(1, 5) if training else 0, training)


def english(rng: random.Random, poster: Poster, pattern: int, training: bool) -> str:
    def rarely(share: float) -> bool:
        return training and rng.random() < share

    noun = poster.thing
    if noun in NATURAL and rarely(0.3):
        noun = f"{NATURAL[noun]} {noun}"
    thing, poster_en = article(noun), f"{poster.background} {rng.choice(('poster', 'poster', 'background', 'card'))}"
    place = "" if rarely(0.08) else " " + rng.choice(PLACE_EN[poster.place])
    if not poster.regions:
        return rng.choice((f"{article(poster_en).capitalize()} with {thing}{place}.",
                           f"{thing.capitalize()}{place} on {article(poster_en)}.", f"{poster_en}, {noun}{place}"))
    quotes = [written(rng, r, "en") for r in poster.regions]
    colours = ["" if rarely(0.08) else r.colour for r in poster.regions]
    at = [PLACE_EN[r.slot][0] for r in poster.regions]
    noun_phrases = join_en([f"the {c + ' ' if c else ''}{rng.choice(('word', 'word', 'text'))} {q} {a}"
                            for q, c, a in zip(quotes, colours, at)])
    if pattern == 0:
        said = join_en([f"{q} in {c} {a}" for q, c, a in zip(quotes, colours, at)])
        return f"On a {poster_en} there is {thing}{place}, with {said}."
    if pattern == 1:
        return f"{article(poster_en).capitalize()} with {thing}{place} and {noun_phrases}."
    if pattern == 2:
        said = join_en([f"the {r.slot} says {q}{' in ' + c if c else ''}"
                        for r, q, c in zip(poster.regions, quotes, colours)])
        return f"{thing.capitalize()}{place} on {article(poster_en)}. {said[0].upper()}{said[1:]}."
    if pattern == 3:
        said = join_en([f"{q} written {'in ' + c + ' ' if c else ''}{a}"
                        for q, c, a in zip(quotes, colours, at)])
        return f"{thing.capitalize()}{place} on {article(poster_en)}, with {said}."
    if pattern == 4:
        return f"{noun_phrases[0].upper()}{noun_phrases[1:]} of {article(poster_en)} with {thing}{place}."
    said = join_en([f"{c + ' ' if c else ''}{q} {a}" for q, c, a in zip(quotes, colours, at)])
    return f"{poster_en}, {noun}{place}, {said}"


def chinese(rng: random.Random, poster: Poster, pattern: int, training: bool) -> str:
    def rarely(share: float) -> bool:
        return training and rng.random() < share

    thing, background = things()[poster.thing][0], COLOURS[poster.background][1]
    if poster.thing in NATURAL and rarely(0.3):
        thing = f"{COLOURS[NATURAL[poster.thing]][1]}的{thing}"
    place = "" if rarely(0.08) else PLACES[poster.place]
    if not poster.regions:
        return rng.choice((f"一张{background}海报，{place}画着{thing}。", f"{background}背景的海报，{place}有{thing}。",
                           f"{background}海报，{place}{thing}"))
    quotes = [written(rng, r, "zh") for r in poster.regions]
    colours = ["" if rarely(0.08) else COLOURS[r.colour][1] for r in poster.regions]
    at = [PLACES[r.slot] for r in poster.regions]
    plain = "，".join(f"{a}是{c}文字{q}" for q, c, a in zip(quotes, colours, at))
    says = "，".join(f"{a}写着{c + '的' if c else ''}{q}" for q, c, a in zip(quotes, colours, at))
    if pattern == 0:
        said = "，".join(f"{a}的字是{c}{q}" for q, c, a in zip(quotes, colours, at))
        return f"请画一张{background}的海报：{thing}在{place}，{said}。"
    if pattern == 1:
        return f"一张{background}海报，{place}画着{thing}，{plain}。"
    if pattern == 2:
        return f"{background}背景的海报，{place}有{rng.choice(('', '一个'))}{thing}，{says}。"
    if pattern == 3:
        return f"{says}，{place}有{thing}，背景是{background}。"
    if pattern == 4:
        said = "，".join(f"{c + '的' if c else ''}{q}在{a}" for q, c, a in zip(quotes, colours, at))
        where = f"{thing}在{place}" if place else thing
        return f"海报背景是{background}，{where}，{said}。"
    return f"{background}海报，{place}{thing}，{plain}"
