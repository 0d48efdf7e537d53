"""Drawing a poster: `draw(seed, index)` is a deterministic function to a poster with its caption.

What evaluation uses is never drawn for training: a tenth of all texts, of the (object, background) and the
(object, place) pairs, and one way of phrasing per language.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from minglm.world.captions_en import english
from minglm.world.captions_zh import chinese
from minglm.world.colours import COLOURS, text_colours
from minglm.world.explicit import explicit
from minglm.world.explicit import held_out as held_out_caption
from minglm.world.layout import CELL, divided
from minglm.world.objects import backgrounds, thin, things
from minglm.world.posters import MOST_LINES, PLACES, SLOTS, Group, Poster, Region, arrange
from minglm.world.texts import choose_text, held_out, words

SPLITS = ("train", "words", "phrases", "random")
LARGEST_SIDE = 256
EXPLICIT = 0.3                               # of the training captions: as the enhancer writes them


def choose_groups(rng: random.Random, width: int, kinds: tuple[str, ...]) -> tuple[Group, ...]:
    """No object, one to three of a kind, or up to three of several kinds."""
    shape = rng.choices(((), (1,), (2,), (3,), (1, 1), (1, 2), (2, 1), (1, 1, 1)),
                        (20, 46, 9, 6, 11, 3, 3, 2))[0]
    while CELL * sum(shape) > width:
        shape = (1,)
    return tuple(Group(name, count) for name, count in zip(rng.sample(kinds, len(shape)), shape))


def choose_background(rng: random.Random, groups: tuple[Group, ...]) -> str:
    """A background on which all objects stand out, if there is one."""
    good = [c for c in COLOURS if all(c in backgrounds(group.thing) for group in groups)]
    return rng.choice(good or list(COLOURS))


def slots_for(rng: random.Random, place: str, objects: bool, count: int) -> list[str]:
    """The slots of `count` texts, in reading order. place: that of the objects, if there are any."""
    free = {"top": ["bottom"], "bottom": ["top"], "left": ["top", "bottom", "right"],
            "right": ["top", "left", "bottom"]}.get(place, ["top", "bottom"])
    if not objects:
        free = ["top", "centre", "bottom"]
    return sorted((rng.choice(free) for _ in range(count)), key=SLOTS.index)


def is_held_out(poster: Poster) -> bool:
    """Whether a poster pairs what is held out for evaluation."""
    return any(held_out(group.thing, poster.background) or held_out(group.thing, poster.place)
               for group in poster.groups)


def draw(seed: int | str, index: int, height: int = 128, width: int = 128, split: str = "train",
         language: str | None = None, count: int | None = None, objects: int | None = None,
         full: bool = False, told: float = EXPLICIT, filled: float = 0.0,
         thinner: float = 0.0) -> Poster:
    """Poster number `index` of stream `seed`; the same arguments always give the same poster.

    height, width: pixels, multiples of 32. split: "train", or what evaluation draws its texts from.
    language: "en" or "zh"; count: 0 to 5 texts; objects: 0 or 1 of them; random if None. full: no ground is
    left empty, which shows most per picture: text from top to bottom, or, with `objects`, a row of so many
    and text in what is left. told: how often a training caption tells everything, as the enhancer's do.
    filled: how often a text is as long as a line, see `choose_text`. thinner: how often all objects are
    among those that are `thin`.

    Raises ValueError for an invalid size or split.
    """
    if height % CELL or width % CELL or min(height, width) < 3 * CELL or max(height, width) > LARGEST_SIDE:
        raise ValueError(f"size {height}x{width}: both sides must be multiples of {CELL} "
                         f"from {3 * CELL} to {LARGEST_SIDE}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    rng, training = random.Random(f"{seed}/{index}"), split == "train"
    language = language or rng.choice(("en", "zh"))
    roomy = height * width > 128 * 192
    texts = rng.choices(range(6), (5, 45, 30, 12, 5, 3) if roomy else (5, 55, 30, 10, 0, 0))[0]
    row = min(objects or 0, width // (2 * CELL)) if full else 0
    big = row > 0 and rng.random() < 0.3         # one object in place of a row
    if full:
        texts = height // CELL - (3 if big else 2 if row else 0)
    elif count is not None:
        texts = count
    for tries in itertools.count():          # until everything has room and nothing held out is paired
        if count is None and tries % 40 == 39:
            texts = max(1, texts - 1)        # it is a small sheet
        kinds = thin() if thinner and rng.random() < thinner else tuple(things())
        groups = choose_groups(rng, width, kinds)
        if full:
            groups = tuple(Group(thing) for thing in rng.sample(kinds, 1 if big else row))
        elif objects is not None:
            groups = (Group(rng.choice(kinds)),)[:objects]
        if not groups and not texts:
            continue
        background = choose_background(rng, groups)
        place = rng.choices(tuple(PLACES), (22, 22, 36, 10, 10))[0] if groups else "centre"
        size = rng.choices(("normal", "big", "small"), (72, 22, 6))[0] if groups else "normal"
        if full and groups:
            place, size = rng.choice(("top", "centre", "bottom")), "big" if big else "normal"
        # English captions may quote Chinese and vice versa
        spoken = [{"en": "zh", "zh": "en"}[language] if training and rng.random() < 0.12 else language
                  for _ in range(texts)]
        colours = [rng.choice(text_colours(background)) for _ in spoken]
        if training and rng.random() < 0.5:
            colours = colours[:1] * texts                                        # as people do who name one
        slots = slots_for(rng, place, bool(groups), texts)
        if full:                             # a text a line, mostly Chinese, which has more to learn
            if groups:
                above = {"top": 0, "bottom": texts}.get(place, texts // 2)
                slots = ["top"] * above + ["bottom"] * (texts - above)
            spoken = rng.choices(("zh", "en"), (7, 3), k=texts)
        room = width if full else None
        regions = tuple(Region(slot, choose_text(rng, tongue, split, room, filled), colour)
                        for slot, tongue, colour in zip(slots, spoken, colours))
        poster = Poster(background, groups, place, regions, height, width, size, language=language)
        if not (training and is_held_out(poster)) and has_room(poster):
            poster.caption = caption(rng, poster, told) if training else held_out_caption(poster)
            return poster


def has_room(poster: Poster) -> bool:
    """Whether everything fits, and no word has to be divided."""
    try:
        _, lines = arrange(poster)
    except ValueError:
        return False
    return len(lines) <= MOST_LINES and not any(divided(r.text, poster.width) for r in poster.regions)


def caption(rng: random.Random, poster: Poster, told: float = EXPLICIT) -> str:
    """One training caption: a share `told` of them are the enhancer's, the others free."""
    if rng.random() < told:
        return explicit(poster)
    return (english if poster.language == "en" else chinese)(rng, poster)


def corpus(count: int = 20_000) -> Iterator[str]:
    """Captions, the text on which the BPE is trained; one in four is a line of the word lists."""
    names = ("en_words", "en_phrases", "zh_words", "zh_phrases")
    for i in range(count):
        yield draw(0, i).caption
        if i % 4 == 3:
            yield words(names[i // 4 % 4])[i * 7919 % len(words(names[i // 4 % 4]))]
