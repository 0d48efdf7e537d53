"""The prompt enhancer: any prompt becomes the explicit caption that the planner knows best.

GLM-Image ships one that asks a language model, GLM-4.7, to rewrite the prompt. In a world this small rules
do: what the prompt tells is kept (reading.py), what it leaves open is chosen, readably and by the seed, and
lines are broken as they will be drawn.

    enhance('a red poster with a cat and the words "Hello World"', seed=0).caption
    -> A red poster with a cat on the right and the black words "Hello", "World" at the top.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import product

from minglm.world.asked import Request
from minglm.world.characters import is_han, tidy
from minglm.world.colours import COLOURS, luminance, text_colours
from minglm.world.explicit import PLACES_EN, explicit
from minglm.world.layout import tight
from minglm.world.objects import backgrounds
from minglm.world.posters import CANVASES, SLOTS, Poster, Region, arrange
from minglm.world.quotes import unpaired, unquoted
from minglm.world.reading import read
from minglm.world.setting import shape_of
from minglm.world.untold import quoting

NO_TEXT = "no words in quotation marks: none will be written"
NO_PARTNER = "the quotation mark {} has no partner: no words will be written"
NO_THING = "no object it knows is named: none will be painted"
NOT_KNOWN = "not among the objects it knows, so not painted: "
NOT_WORN = "nothing in its world wears anything, so not painted: "
TAKEN = "nothing is in quotation marks: {} taken as the text"
NO_SIZE = "{} is no size it paints (multiples of 32 from 96 to 256)"
TOO_MANY = "a poster has room for three objects: the others are left out"
PLAIN = ("white", "yellow", "blue", "red", "green", "pink", "black", "orange", "cyan", "purple")


@dataclass(frozen=True)
class Enhanced:
    """An enhanced prompt: the poster it was understood as, its caption, and what the user should know."""

    poster: Poster
    notes: tuple[str, ...]

    @property
    def caption(self) -> str:
        return self.poster.caption


def enhance(prompt: str, seed: int = 0, height: int | None = None, width: int | None = None) -> Enhanced:
    """Understand a prompt and choose what it leaves open.

    height, width: pixels; None: the smallest canvas in which everything fits. The same prompt and seed give
    the same poster. Raises ValueError if the texts do not fit the canvas.
    """
    given, taken = quoting(prompt)
    asked, rng = read(given), random.Random(f"enhance/{seed}/{prompt}")
    asked.language = "zh" if is_han(unquoted(prompt)) else "en"
    asked.texts = [replace(one, text=text) for one in asked.texts if (text := tidy(one.text))]
    texts = ", ".join(f'"{text}"' for text in taken)
    notes = [TAKEN.format(f"{texts} {'are' if taken[1:] else 'is'}")] if taken else []
    notes += [NO_SIZE.format(asked.refused)] if asked.refused else []
    alone = unpaired(prompt)
    notes += [NO_PARTNER.format(alone) if alone else NO_TEXT] * (not asked.texts)
    notes += [NO_THING] * (not asked.groups) + [TOO_MANY] * asked.too_many
    if asked.groups and asked.unknown:
        notes.append(NOT_KNOWN + ", ".join(asked.unknown))
    notes += [NOT_WORN + ", ".join(asked.worn)] if asked.worn else []
    background = asked.background or choose_background(rng, asked)
    readable = text_colours(background)
    usual = rng.choice(
        [c for c in ("white", "black", "yellow", "red", "blue", "brown") if c in readable] or readable
    )
    # a colour told for one text is meant for those without, as a rule: 黄字，“新年快乐”，“万事如意”
    told = [one.colour for one in asked.texts if one.colour in readable]
    colours = [one.colour or (told or [usual])[0] for one in asked.texts]
    some = canvases(height, width, asked)
    if not asked.texts and not asked.groups:
        size = some[0] if not (height or width) else (height or 128, width or 128)
        return Enhanced(captioned(Poster(background, (), "centre", (), *size, language=asked.language)),
                        tuple(notes))
    first = rng.choice(("centre", "centre", "left", "right"))
    places = (
        [asked.place] if asked.place else [first, *(p for p in ("centre", "left", "right") if p != first)]
    )
    open_slots = [slots(rng, one.slot, asked) for one in asked.texts]
    told_slots = [options[:1] if one.slot else options for one, options in zip(asked.texts, open_slots)]
    tries = [(told_slots, canvas) for canvas in some]
    if asked.groups and any(one.slot == "centre" for one in asked.texts):
        # objects and texts share no row: next to it is as near to the middle as there is room for
        places = [asked.place] if asked.place else ["left", "right", "centre"]
    tries += [(open_slots, canvas) for canvas in some]
    for options, canvas in tries:            # what is told is kept on a larger canvas rather than dropped
        last = canvas == some[-1]            # nor is a word divided or an object made smaller where it fits
        for divide in (False, True)[:1 + last]:
            poster = place_all(asked, background, colours, places, options, canvas, divide, last)
            if poster:
                return Enhanced(captioned(poster), (*notes, *moved(asked, poster)))
    raise ValueError(f"{' / '.join(one.text for one in asked.texts)!r} does not fit "
                     f"{'x'.join(map(str, some[-1]))}" + ("" if height and width else ", the largest size"))


def moved(asked: Request, poster: Poster) -> list[str]:
    """A note for each text that does not stand where it was asked for."""
    stands = {(region.text, region.slot): None for region in poster.regions}
    return [f"no room {PLACES_EN[one.slot]}: {one.text!r} is {PLACES_EN[slot]}"
            for one in asked.texts if one.slot and (one.text, one.slot) not in stands
            for slot in [next(slot for text, slot in stands if text == one.text)]]


def canvases(height: int | None, width: int | None, asked: Request) -> list[tuple[int, int]]:
    """The canvases to try: as told, then the smallest first."""
    if height and width:
        return [(height, width)]
    some = [(height or h, width or w) for h, w in CANVASES]
    if not (height or width) and asked.canvas:
        some = [asked.canvas, *some]

    def order(one: tuple[int, int]) -> tuple:
        told = not (height or width)
        return (told and one != asked.canvas, told and asked.shape not in (None, shape_of(*one)),
                one[0] * one[1], some.index(one))

    return sorted(set(some), key=order)


def choose_background(rng: random.Random, asked: Request) -> str:
    """A background on which the objects stand out and the colours of the texts can be read."""
    shaded = [c for c in COLOURS if has_shade(c, asked.shade)]
    good = [c for c in PLAIN if c in shaded and all(c in backgrounds(group.thing) for group in asked.groups)
            and all(one.colour is None or one.colour in text_colours(c) for one in asked.texts)]
    good = [c for c in good if c in asked.scene] or good
    return rng.choice(good or [c for c in shaded if all(one.colour != c for one in asked.texts)]
                      or list(COLOURS))


def has_shade(colour: str, shade: str | None) -> bool:
    """Whether a colour is dark or light, if it has to be."""
    light = luminance(COLOURS[colour][0])
    return shade is None or (light < 0.15 if shade == "dark" else light > 0.45)


def slots(rng: random.Random, told: str | None, asked: Request) -> list[str]:
    """The slots to try for a text, the told one first."""
    usual = ["top", "bottom"] if asked.groups else ["centre", "top", "bottom"]
    if not asked.groups and told is None:
        return usual
    if rng.random() < 0.4:
        usual = usual[::-1]
    if asked.groups and asked.place in ("top", "bottom"):    # opposite to the objects
        usual = ["bottom", "top"] if asked.place == "top" else ["top", "bottom"]
    if asked.groups and told == "centre":
        usual = ["right", "left", *usual]
    return ([told] if told else []) + [slot for slot in usual if slot != told]


def place_all(
    asked: Request,
    background: str,
    colours: list[str],
    places: list[str],
    open_slots: list[list[str]],
    canvas: tuple[int, int],
    divide: bool,
    shrink: bool,
) -> Poster | None:
    """The first arrangement of all texts and objects that fits the canvas, as near to what was asked for as
    possible.

    divide: words may be set tighter, or divided; shrink: objects may be small where that was not asked for.
    """
    if not divide and any(tight(one.text, canvas[1]) for one in asked.texts):
        return None
    count = sum(group.count for group in asked.groups)
    for size in dict.fromkeys((asked.size or "normal", "normal", "small")):
        if size == "small" != asked.size and not shrink:
            continue
        for place, chosen in product(places, choices(open_slots)):
            regions = [
                Region(slot, one.text, colour) for one, slot, colour in zip(asked.texts, chosen, colours)
            ]
            regions = tuple(sorted(regions, key=lambda region: SLOTS.index(region.slot)))
            poster = Poster(background, asked.groups, place if count else "centre", regions, *canvas, size,
                            language=asked.language)
            try:
                boxes, _ = arrange(poster)
            except ValueError:
                continue
            if size != "small" and any(x1 - x0 < 64 for _, (x0, _, x1, _) in boxes):
                continue
            return poster
    return None


def choices(open_slots: list[list[str]]) -> list[tuple[str, ...]]:
    """Ways to give each text a slot, the first choices of all first."""
    if not open_slots:
        return [()]
    first = tuple(options[0] for options in open_slots)
    return [first, *(way for way in product(*open_slots[:6]) if way != first and len(way) == len(first))]


def captioned(poster: Poster) -> Poster:
    return replace(poster, caption=explicit(poster))
