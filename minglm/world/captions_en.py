"""Captions: the many ways to ask for one poster, in English and in Chinese.

A caption is put together from clauses: the background, the object, and the words in reading order
(top, beside the object, bottom). Clauses are phrased and ordered at random, because a model that
knew a few fixed sentences would not understand a person's own. One way of phrasing per language,
pattern 0, is kept for evaluation, so that held-out prompts are also phrased in a held-out way.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from minglm.layout import is_han
from minglm.posters import COLOURS, PLACES, Poster, Region, draw, things

NATURAL = {  # objects people like to name with their colour: "a red apple"
    "apple": "red", "banana": "yellow", "lemon": "yellow", "frog": "green", "pig": "pink",
    "fox": "orange", "strawberry": "red", "cherry": "red", "tomato": "red", "carrot": "orange",
    "grape": "purple", "eggplant": "purple", "tree": "green", "rose": "red", "car": "red",
    "heart": "red", "balloon": "red", "water": "blue", "sun": "yellow", "star": "yellow",
    "moon": "yellow", "whale": "blue", "bus": "yellow", "cactus": "green", "ladybug": "red",
}
QUOTES = {"en": ('""', '""', '""', "“”", "''"), "zh": ("“”", "“”", "“”", "「」", '""')}
PLAIN = ("bread", "cheese", "corn", "rice", "coffee", "tea", "fire", "water", "snow", "lightning",
         "fries", "scissors", "glasses")  # named without an article
ASK_EN = ("Draw", "Paint", "Make", "Design", "Create", "I want", "I need", "Please draw", "Please make", "Show me")
ASK_ZH = ("画", "做", "来", "设计", "生成", "帮我画", "帮我做", "我想要", "我要", "给我", "请做", "请设计", "请生成",
          "请帮我画", "请给我")             # but not 请画, the opening of pattern 0
PLACE_EN = {"left": ("on the left", "at the left", "on the left side"),
            "right": ("on the right", "at the right", "on the right side"),
            "centre": ("in the centre", "in the middle", "in the center"),
            "top": ("at the top",), "bottom": ("at the bottom",)}


def article(noun: str) -> str:
    if noun.split()[-1] in PLAIN:
        return noun
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
    write, patterns = (english, 7) if poster.language == "en" else (chinese, 5)
    return write(rng, poster, rng.randint(1, patterns) if training else 0, training)


def english(rng: random.Random, poster: Poster, pattern: int, training: bool) -> str:
    def rarely(share: float) -> bool:
        return training and rng.random() < share

    noun = poster.thing
    if noun in NATURAL and rarely(0.3):
        noun = f"{NATURAL[noun]} {noun}"
    ground = f"{poster.background} {rng.choice(('poster', 'poster', 'background', 'card'))}"
    if pattern > 1 and rarely(0.2):
        ground = rng.choice((f"poster in {poster.background}", f"poster with {article(poster.background)} background"))
    sheet, thing = article(ground), article(noun)
    thing += "" if rarely(0.08) else " " + rng.choice(PLACE_EN[poster.place])
    noun_there = thing if noun in PLAIN else thing.split(" ", 1)[1]
    if not poster.regions:
        return rng.choice((f"{capital(sheet)} with {thing}.", f"{capital(thing)} on {sheet}.", f"{ground}, {noun_there}"))
    words = [(written(rng, r, "en"), "" if rarely(0.08) else r.colour, PLACE_EN[r.slot][0], r.slot)
             for r in poster.regions]

    def say(*ways: str) -> str:
        """All words, each phrased in one of the ways; a colour left out takes its words with it."""
        said = []
        for quote, colour, at, slot in words:
            way = rng.choice(ways)
            for phrase in ("in {c} letters ", " in {c}", "in {c} ", "{c} "):
                way = way if colour else way.replace(phrase, "")
            said.append(way.format(q=quote, c=colour, at=at, slot=slot, w=rng.choice(("word", "word", "text"))))
        return join_en(said)

    the = ("the {c} {w} {q} {at}", "the {c} {w} {q} {at}", "the {w} {q} in {c} {at}", "{q} written in {c} {at}",
           "{q} in {c} letters {at}", "the {c} {w} {q} stands {at}")
    if pattern == 0:
        return f"On {sheet} there is {thing}, with {say('{q} in {c} {at}')}."
    if pattern == 1:
        return f"{capital(sheet)} with {thing} and {say(*the)}."
    if pattern == 2:
        return f"{capital(thing)} on {sheet}. {capital(say('the {slot} says {q} in {c}', '{at} it says {q} in {c}'))}."
    if pattern == 3:
        return f"{capital(thing)} on {sheet}, with {say(*the)}."
    if pattern == 4:
        return f"{capital(say(the[0]))} of {sheet} with {thing}."
    if pattern == 5:
        return f"{ground}, {noun_there}, {say('{c} {q} {at}')}"
    if pattern == 6:
        return f"{capital(sheet)}. {capital(thing)}. {capital(say(*the))}."
    return f"{rng.choice(ASK_EN)} {sheet} with {thing} and {say(*the)}."


def corpus(captions: int = 20_000, weight: int = 5_000) -> Iterator[str]:
    """What the BPE learns from: captions, and again and again the Chinese words they are made of.

    The words stand in for the natural text a real vocabulary is learned from. From captions alone
    the commonest neighbours are not words: 色 and 海 in 蓝色海报, "blue poster".
    """
    yield from (draw(0, i).caption for i in range(captions))
    names = [*(zh for zh, _ in things().values()), *(zh for _, zh in COLOURS.values()), *PLACES.values(),
             "海报", "背景", "文字"]
    yield from (name for name in names for _ in range(weight))


def capital(text: str) -> str:
    """The text with a capital first letter, and the others as they are."""
    return text[0].upper() + text[1:]


def chinese(rng: random.Random, poster: Poster, pattern: int, training: bool) -> str:
    def rarely(share: float) -> bool:
        return training and rng.random() < share

    thing, background = things()[poster.thing][0], COLOURS[poster.background][1]
    if poster.thing in NATURAL and rarely(0.3):
        thing = f"{COLOURS[NATURAL[poster.thing]][1]}的{thing}"
    place = "" if rarely(0.08) else PLACES[poster.place]
    words = [(written(rng, r, "zh"), "" if rarely(0.08) else COLOURS[r.colour][1], PLACES[r.slot])
             for r in poster.regions]
    if pattern == 0:
        said = "".join(f"，{at}的字是{c}{q}" for q, c, at in words)
        return f"请画一张{background}的海报：{thing}在{place}{said}。"
    ground = rng.choice(("一张{b}海报", "一张{b}海报", "一张{b}的海报", "一张{b}背景的海报", "{b}背景的海报", "{b}的海报",
                         "海报背景是{b}", "背景是{b}的海报", "一幅{b}底色的画")).format(b=background)
    if ground[0] == "一" and rarely(0.5):
        ground = rng.choice(ASK_ZH) + ground
    shown = rng.choice(("{p}画着{t}", "{p}有{t}", "{p}有一个{t}", "{p}是{t}", "{t}在{p}") if place else
                       ("画着{t}", "有{t}", "画一个{t}")).format(p=place, t=thing)
    ways = rng.choice((("{at}是{c}文字{q}",), ("{at}写着{c}的{q}",), ("{c}的{q}在{at}",),
                       ("{at}用{c}写着{q}", "{at}有{c}的{q}", "{at}的{c}文字是{q}", "{c}文字{q}写在{at}")))
    said = []
    for q, c, at in words:
        way = rng.choice(ways)
        for phrase in ("用{c}", "{c}的", "{c}"):
            way = way if c else way.replace(phrase, "")
        said.append(way.format(q=q, c=c, at=at))
    comma, end = rng.choice(("，", "，", "，", "。", "；")), rng.choice(("。", "。", ""))
    if pattern in (1, 2, 4) and rarely(0.3):
        ground += "："
    order = {1: [ground, shown, *said], 2: [ground, shown, *said], 3: [*said, shown, ground],
             4: [ground, *said, shown], 5: [shown, ground, *said]}[pattern]
    return comma.join(order).replace("：" + comma, "：") + end
