"""Captions in English: the many ways to ask for one poster. The Chinese ones are in captions_zh.py.

A caption is composed of clauses: the background, the object, and the words in reading order (top, beside the
object, bottom). Phrasing and order are random, because a model trained on a few fixed sentences would not
understand people's own. Pattern 0 of each language is reserved for evaluation, so that held-out prompts are
phrased in a held-out way too.
"""

from __future__ import annotations

import random

from minglm.world.posters import NATURAL, Poster
from minglm.world.quotes import written

PLAIN = ("bread", "cheese", "corn", "rice", "coffee", "tea", "fire", "water", "snow", "lightning",
         "fries", "scissors", "glasses")  # named without an article
ASK_EN = ("Draw", "Paint", "Make", "Design", "Create", "I want", "I need", "Please draw", "Please make",
          "Show me")
PLACE_EN = {"left": ("on the left", "at the left", "on the left side"),
            "right": ("on the right", "at the right", "on the right side"),
            "centre": ("in the centre", "in the middle", "in the center"),
            "top": ("at the top",), "bottom": ("at the bottom",)}


def article(noun: str) -> str:
    """The noun with its indefinite article, if it takes one."""
    if noun.split()[-1] in PLAIN:
        return noun
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def join_en(clauses: list[str]) -> str:
    """"a", "a and b", "a, b and c"."""
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def english(rng: random.Random, poster: Poster, pattern: int, training: bool) -> str:
    """One caption by the given pattern, 0 to 7; in training a place or a colour is sometimes left out."""
    def rarely(share: float) -> bool:
        return training and rng.random() < share

    noun = poster.thing
    if noun in NATURAL and rarely(0.3):
        noun = f"{NATURAL[noun]} {noun}"
    ground = f"{poster.background} {rng.choice(('poster', 'poster', 'background', 'card'))}"
    if pattern > 1 and rarely(0.2):
        ground = rng.choice((f"poster in {poster.background}",
                             f"poster with {article(poster.background)} background"))
    sheet, thing = article(ground), article(noun)
    thing += "" if rarely(0.08) else " " + rng.choice(PLACE_EN[poster.place])
    noun_there = thing if noun in PLAIN else thing.split(" ", 1)[1]
    if not poster.regions:
        return rng.choice((f"{capital(sheet)} with {thing}.", f"{capital(thing)} on {sheet}.",
                           f"{ground}, {noun_there}"))
    words = [(written(rng, r.text, "en"), "" if rarely(0.08) else r.colour, PLACE_EN[r.slot][0], r.slot)
             for r in poster.regions]

    def say(*ways: str) -> str:
        """All words, each phrased in one of the ways; without a colour, the words around it go too."""
        said = []
        for quote, colour, at, slot in words:
            way = rng.choice(ways)
            for phrase in ("in {c} letters ", " in {c}", "in {c} ", "{c} "):     # longest first
                way = way if colour else way.replace(phrase, "")
            said.append(way.format(q=quote, c=colour, at=at, slot=slot,
                                   w=rng.choice(("word", "word", "text"))))
        return join_en(said)

    the = ("the {c} {w} {q} {at}", "the {c} {w} {q} {at}", "the {w} {q} in {c} {at}",
           "{q} written in {c} {at}", "{q} in {c} letters {at}", "the {c} {w} {q} stands {at}")
    if pattern == 0:
        return f"On {sheet} there is {thing}, with {say('{q} in {c} {at}')}."
    if pattern == 1:
        return f"{capital(sheet)} with {thing} and {say(*the)}."
    if pattern == 2:
        return (f"{capital(thing)} on {sheet}. "
                f"{capital(say('the {slot} says {q} in {c}', '{at} it says {q} in {c}'))}.")
    if pattern == 3:
        return f"{capital(thing)} on {sheet}, with {say(*the)}."
    if pattern == 4:
        return f"{capital(say(the[0]))} of {sheet} with {thing}."
    if pattern == 5:
        return f"{ground}, {noun_there}, {say('{c} {q} {at}')}"
    if pattern == 6:
        return f"{capital(sheet)}. {capital(thing)}. {capital(say(*the))}."
    return f"{rng.choice(ASK_EN)} {sheet} with {thing} and {say(*the)}."


def capital(text: str) -> str:
    """The text with its first letter in upper case and the others unchanged."""
    return text[0].upper() + text[1:]
