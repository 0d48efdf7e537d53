"""Drawing posters: what can be chosen, what training and evaluation draw from, how captions ask for it."""

import random
import re
import string
from collections import Counter

import numpy as np
import pytest

from minglm.training import batches
from minglm.world.characters import columns, han_characters, is_han, is_wide, unknown_characters
from minglm.world.colours import COLOURS
from minglm.world.draw import SPLITS, caption, draw
from minglm.world.explicit import article, explicit, explicit_en
from minglm.world.layout import wrap
from minglm.world.names import PLACES as CALLED_PLACES
from minglm.world.objects import COLUMNS, TILE, backgrounds, sheet, sprite, thin, things
from minglm.world.posters import CANVASES, PLACES, Group, Poster, Region, arrange, canvas, fits
from minglm.world.quotes import unquoted
from minglm.world.texts import (
    chinese_text,
    choose_text,
    contains_held_out,
    english_text,
    held_out,
    long_latin,
    mixed_han,
    words,
)

SIZES = ((96, 96), (96, 160), (128, 128), (160, 96), (128, 192), (192, 128), (256, 96), (96, 256), (256, 256))


@pytest.fixture(scope="module")
def trained():
    """What 3,000 training draws show; half of them square."""
    return [draw(3, i, *SIZES[i // 4 % 6] if i % 2 else (128, 128)) for i in range(3000)]


@pytest.fixture(scope="module", params=SPLITS[1:])
def evaluated(request):
    return request.param, [draw(11, i, split=request.param, height=192, width=192) for i in range(150)]


# ---------------------------------------------------------------- drawing

@pytest.mark.parametrize("height, width", SIZES)
def test_the_same_arguments_give_the_same_poster(height, width):
    one, two = draw(1, 5, height, width), draw(1, 5, height, width)
    assert one == two and one.image.tobytes() == two.image.tobytes()
    assert one.image.size == (width, height) and one.image.mode == "RGB"


def test_posters_differ():
    drawn = [draw(1, i) for i in range(50)] + [draw(2, i) for i in range(50)]
    assert len({p.caption for p in drawn}) > 97 and len({p.image.tobytes() for p in drawn}) > 97


def test_drawing_leaves_the_random_module_alone():
    random.seed(1)
    first = random.random()
    random.seed(1)
    draw(0, 3)
    assert random.random() == first


@pytest.mark.parametrize("language", ("en", "zh"))
@pytest.mark.parametrize("objects", (0, 1))
def test_language_and_numbers_can_be_chosen(language, objects):
    for count in (1, 2, 3):
        p = draw(0, count, 192, 192, "words", language, count, objects)
        assert p.language == language and len(p.regions) == count
        assert [group.count for group in p.groups] == [1] * objects
        assert all(is_han(r.text) == (language == "zh") for r in p.regions)
        assert is_han(unquoted(p.caption)) == (language == "zh")
    assert draw(0, 0, language=language, count=0).regions == ()


@pytest.mark.parametrize("objects", (None, 3))
@pytest.mark.parametrize("height, width", SIZES)
def test_full_posters_leave_no_row_empty(height, width, objects):
    """Text in every row of cells, or objects: most of an ordinary poster is ground, of which nothing is learned."""
    several = 0
    for i in range(20):
        poster = draw(1, i, height, width, full=True, objects=objects)
        rows = {y // 32 for _, _, letters in poster.lines for y in [letters[0].y]}
        rows |= {y // 32 for _, (_, y0, _, y1) in poster.boxes for y in range(y0, y1, 32)}
        assert rows == set(range(height // 32)) and bool(poster.groups) == bool(objects)
        several += len(poster.boxes) > 1
    assert bool(several) == bool(objects and width >= 128)


def test_objects_can_be_thin_ones():
    assert len(thin()) == len(things()) // 3
    assert {"bicycle", "spider web", "scissors"} <= set(thin()) and not {"apple", "tomato", "egg"} & set(thin())
    for how in (dict(), dict(full=True, objects=3), dict(objects=1)):
        groups = [g.thing for i in range(40) for g in draw(2, i, 192, 192, thinner=1.0, **how).groups]
        assert groups and set(groups) <= set(thin())
    share = [set(g.thing for g in p.groups) <= set(thin()) for i in range(300) if (p := draw(2, i, thinner=0.5)).groups]
    assert 0.5 < sum(share) / len(share) < 0.8               # one in three of the others is thin, too


def test_a_stage_shows_objects_with_one_text_or_none():
    """Half of what is left of its posters, when the full ones are drawn; an ordinary stage has fewer of them."""
    few = {}
    for stage in ("decoder-fine", "decoder-wide"):
        posters = [p for step in range(12) for p in batches.drawn(stage, step, 32, (128, 128))]
        few[stage] = sum(len(p.regions) < 2 and bool(p.groups) for p in posters) / len(posters)
    assert few["decoder-fine"] > 0.4 > few["decoder-wide"]


@pytest.mark.parametrize("height, width", [(100, 128), (128, 130), (64, 128), (128, 288), (0, 0), (-128, 128)])
def test_a_bad_size_is_named(height, width):
    with pytest.raises(ValueError, match=f"size {height}x{width}"):
        draw(0, 0, height, width)


@pytest.mark.parametrize("split", ["test", "", "Train"])
def test_a_bad_split_is_named(split):
    with pytest.raises(ValueError, match=f"split '{split}'.*{', '.join(SPLITS)}"):
        draw(0, 0, split=split)


# ---------------------------------------------------------------- what there is to draw

def test_things_and_colours_have_names_and_places_of_their_own():
    assert len({thing.zh for thing in things().values()}) == len(things())
    assert sorted(thing.index for thing in things().values()) == list(range(len(things())))
    assert len({rgb for rgb, _ in COLOURS.values()}) == len({zh for _, zh in COLOURS.values()}) == 12
    assert sheet().size == (COLUMNS * TILE, -(-len(things()) // COLUMNS) * TILE)


def test_every_thing_can_be_trained_on_a_background_and_at_a_place():
    for thing in things():
        assert [b for b in backgrounds(thing) if not held_out(thing, b)]
        assert any(not held_out(thing, place) for place in PLACES)
        assert np.asarray(sprite(thing, 60))[..., 3].mean() > 25                 # it is not empty
    every = [held_out(thing, place) for thing in things() for place in PLACES]
    assert 0.07 < sum(every) / len(every) < 0.13


@pytest.mark.parametrize("name", ("en_words", "en_phrases", "zh_words", "zh_phrases"))
def test_word_lists_can_be_drawn_and_a_tenth_is_held_out(name):
    found = words(name)
    assert len(found) == len(set(found)) and not unknown_characters("".join(found))
    han = sum(map(is_han, found)) / len(found)                                    # ¥99 is a Chinese phrase too
    assert han > 0.95 if name.startswith("zh") else han == 0
    assert 0.05 < sum(held_out(text.casefold()) for text in found) / len(found) < 0.15


def test_what_is_held_out_is_found_within_longer_texts():
    english = next(word for word in words("en_words") if len(word) > 4 and held_out(word))
    chinese = next(word for word in words("zh_words") if len(word) == 2 and held_out(word))
    phrase = next(text for text in words("en_phrases") if " " in text and held_out(text.casefold()))
    for part in (english, english.upper(), chinese, phrase):
        assert contains_held_out(part)
    for text in (f"{english}!", f"Big {english.title()}, 5%", f"又{chinese}了", f"《{chinese}》no", f"a {phrase} b"):
        assert contains_held_out(text)
    # letters of another word are no word, and the two halves of a word do not meet across a mark
    seen = next(word for word in words("en_words") if word != "a" and not held_out(word))
    assert contains_held_out(f"{english}zzz") == held_out(f"{english}zzz")
    assert not contains_held_out(f"{seen} {seen}") or held_out(f"{seen} {seen}")
    apart = "，".join(chinese)
    assert contains_held_out(apart) == held_out(apart)


def test_texts_of_every_kind_can_be_drawn():
    rng = random.Random(0)
    for make in (english_text, chinese_text):
        assert not [text for text in (make(rng) for _ in range(2000)) if not text.strip() or unknown_characters(text)]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("language", ("en", "zh"))
def test_a_text_is_of_its_split(language, split):
    rng = random.Random(0)
    for _ in range(200):
        text = choose_text(rng, language, split)
        assert (contains_held_out if split == "train" else held_out)(text.casefold()) == (split != "train")
        if split in ("words", "phrases"):
            assert text in words(f"{language}_{split}")
        if split == "random":
            assert set(text) <= set(han_characters()) if language == "zh" else text.isascii() and text.isalpha()


def contrast(a, b):
    def luminance(rgb):
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    light, dark = sorted((luminance(COLOURS[a][0]), luminance(COLOURS[b][0])), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_can_be_told_from_its_background(trained):
    pairs = {(p.background, r.colour) for p in trained for r in p.regions}
    assert min(contrast(*pair) for pair in pairs) >= 2.99
    assert {background for background, _ in pairs} == set(COLOURS)


def test_objects_stand_out_from_their_background(trained):
    assert all(p.background in backgrounds(group.thing) for p in trained for group in p.groups
               if set(backgrounds(p.groups[0].thing)) & set(backgrounds(p.groups[-1].thing)))


def test_training_shows_everything(trained):
    """Every object, place, size, number of objects and of texts, and both languages in captions of both."""
    assert len({group.thing for p in trained for group in p.groups}) > 0.99 * len(things())
    assert {p.place for p in trained} == set(PLACES) and {p.size for p in trained} == {"small", "normal", "big"}
    assert {tuple(group.count for group in p.groups) for p in trained} == {
        (), (1,), (2,), (3,), (1, 1), (1, 2), (2, 1), (1, 1, 1)}
    assert {len(p.regions) for p in trained if p.groups} == {0, 1, 2, 3}
    mixed = Counter((p.language, is_han(r.text)) for p in trained for r in p.regions)
    assert len(mixed) == 4 and mixed["en", True] > 100 and mixed["zh", False] > 100


def test_evaluation_asks_for_pairs_that_training_never_shows(evaluated):
    _, drawn = evaluated
    for pair in ("background", "place"):
        assert any(held_out(group.thing, getattr(p, pair)) for p in drawn for group in p.groups)
    assert all(held_out(r.text.casefold()) for p in drawn for r in p.regions)


# ---------------------------------------------------------------- the canvas

def test_a_canvas_has_room_for_what_fits():
    """Whatever `fits` allows can be arranged, in one slot."""
    rng = random.Random(0)
    for _ in range(300):
        texts = [choose_text(rng, rng.choice(("en", "zh"))) for _ in range(rng.randint(0, 4))]
        count = rng.randint(0, 3)
        size = canvas(texts, count)
        if not fits(texts, count, *size):
            assert size == CANVASES[-1]
            continue
        groups = (Group("cat", count),) if count else ()
        p = Poster("white", groups, "centre", tuple(Region("top", text, "black") for text in texts), *size)
        assert len(p.lines) == sum(len(wrap(text, size[1])) for text in texts)
        assert all(x1 - x0 == 64 for _, (x0, _, x1, _) in p.boxes) and len(p.boxes) == count
        smaller = [one for one in CANVASES if one[0] * one[1] < size[0] * size[1]]
        assert not any(fits(texts, count, *one) for one in smaller)


@pytest.mark.parametrize("place, texts, words", [
    ("centre", (("top", "A\nB\nC"), ("bottom", "D")), "the objects and 4 lines of text do not fit 128x128"),
    ("centre", (("centre", "A"),), "do not fit 128x128"),
    ("left", (("right", "HELLO"),), "no room for 'HELLO' beside the objects"),
    ("left", (("top", "A\nB"), ("right", "B\nC\nD")), "no room for"),
])
def test_objects_and_texts_without_room_are_refused(place, texts, words):
    regions = tuple(Region(slot, text, "black") for slot, text in texts)
    with pytest.raises(ValueError, match=words):
        arrange(Poster("white", (Group("cat"),), place, regions))


def test_capitals_and_small_letters_are_drawn_as_written():
    one, two = (Poster("red", (), "centre", (Region("top", text, "white"),)).image for text in ("hello", "HELLO"))
    assert one.tobytes() != two.tobytes()


# ---------------------------------------------------------------- captions

def test_evaluation_captions_name_everything(evaluated):
    for p in evaluated[1]:
        said, zh = unquoted(p.caption), p.language == "zh"
        for name in (*(p.place for _ in p.groups), *(r.slot for r in p.regions)):
            assert any(way.strip() in said for way in CALLED_PLACES[name].split(",")), p.caption
        for name in (p.background, *(r.colour for r in p.regions)):
            assert (COLOURS[name][1].removesuffix("色") if zh else name) in said, p.caption
        for group in p.groups:
            kind = things()[group.thing]
            assert (kind.zh if zh else kind.forms[kind.en][group.count > 1]) in said or group.count == 1 and kind.en in said


def test_one_poster_has_many_captions():
    p = next(p for p in (draw(0, i, language="en", count=2) for i in range(99)) if p.groups)
    said = [caption(random.Random(i), p) for i in range(300)]
    assert len(set(said)) > 150 and 50 < said.count(explicit(p)) < 130                       # three in ten
    kinds = ("with", " says ", "written", " and ", ", ", "background")
    assert all(any(kind in text for text in said) for kind in kinds)


def test_articles_are_grammatical():
    """A before a consonant, an before a vowel, as they are spoken."""
    spoken = ("a unicorn", "a ufo", "an umbrella", "an apple", "a cat", "a euro", "an onion", "an ear")
    assert [article(phrase.split()[1]) for phrase in spoken] == list(spoken)
    for i in range(300):
        p = draw(17, i, language="en")
        for a, noun in re.findall(r"\b(an?) (\w+)", unquoted(explicit_en(p)).lower()):
            assert f"{a} {noun}" == article(noun), p.caption


# ---------------------------------------------------------------- texts that fill a line

@pytest.mark.parametrize("cells", (8, 12, 16))
def test_long_english_texts_fill_their_line(cells):
    rng = random.Random(cells)
    found = [long_latin(rng, cells) for _ in range(500)]
    several = [text for text in found if " " in text]            # a single word may be longer than the line
    assert all(len(text) <= cells for text in several) and len(several) > 250
    assert sum(len(text) >= cells - 2 for text in several) > 0.8 * len(several)


@pytest.mark.parametrize("cells", (8, 12, 16))
def test_mixed_chinese_texts_stand_on_odd_cells_too(cells):
    rng = random.Random(cells)
    found = [mixed_han(rng, cells) for _ in range(500)]
    assert all(map(is_han, found))
    mixed = [any(c in string.ascii_letters + string.digits for c in text) for text in found]
    assert 0.65 < sum(mixed) / 500 < 0.85    # a fourth is of characters alone
    assert sum(columns(text) <= cells for text in found) > 400

    def odd(text):
        return any(is_wide(c, text) and columns(text[:i], text) % 2 for i, c in enumerate(text))

    assert 0.2 < sum(map(odd, found)) / 500 < 0.7


def test_only_the_stages_that_ask_for_them_have_texts_that_fill_a_line():
    """And only where texts are for training."""
    def share(filled):
        rng = random.Random(0)
        texts = [choose_text(rng, "zh", room=192, filled=filled) for _ in range(400)]
        return sum(any(c in string.ascii_letters + string.digits for c in text) for text in texts) / 400

    assert share(0.0) < 0.1 and 0.33 < share(0.5) < 0.53
    assert choose_text(random.Random(3), "zh", "words", filled=1.0) in words("zh_words")
    counts = []
    for name in ("decoder-wide", "decoder-lines"):
        texts = [region.text for poster in batches.drawn(name, 1, 64, (128, 192)) for region in poster.regions]
        counts.append(sum(is_han(text) and any(c.isdigit() for c in text) for text in texts))
    assert counts[0] > 3 * counts[1]
