"""The poster world: layout, words, captions, and that what evaluation uses is never drawn for training."""

import random
import unicodedata

import numpy as np
import pytest

from minglm.world import posters
from minglm.world.draw import ARRANGEMENTS, SPLITS, caption, draw, held_out
from minglm.world.layout import (
    CELL,
    HAN_PITCH,
    LATIN_PITCH,
    fits,
    glyph,
    is_han,
    object_box,
    set_text,
    slot_box,
)
from minglm.world.posters import COLOURS, LATIN, PLACES, SLOTS, Poster, Region, things, words
from minglm.world.quotes import quoted

SIZES = [(96, 96), (96, 160), (128, 128), (160, 96), (128, 192), (192, 128), (256, 96), (512, 512), (96, 512)]


@pytest.fixture(scope="module")
def trained():
    """What 20,000 training draws show; half of them square."""
    return [draw(3, i, *SIZES[i // 4 % 6] if i % 2 else (128, 128)) for i in range(20_000)]


@pytest.fixture(scope="module", params=["seen", "unseen", "random"])
def evaluated(request):
    return request.param, [draw(11, i, split=request.param) for i in range(600)]


def overlap(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


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


def test_language_and_count_can_be_chosen():
    for language in ("en", "zh"):
        for count in (1, 2, 3):
            p = draw(0, count, language=language, count=count, split="unseen")
            assert p.language == language and len(p.regions) == count
            assert all(is_han(r.text) == (language == "zh") for r in p.regions)
    assert len(draw(0, 0, 128, 96, count=3).regions) == 2                        # no room beside the object


@pytest.mark.parametrize("height, width", [(100, 128), (128, 130), (64, 128), (128, 64), (0, 0), (-128, 128)])
def test_a_bad_size_is_named(height, width):
    with pytest.raises(ValueError, match=f"size {height}x{width}"):
        draw(0, 0, height, width)


@pytest.mark.parametrize("split", ["test", "", "Train"])
def test_a_bad_split_is_named(split):
    with pytest.raises(ValueError, match=f"split '{split}'.*{', '.join(SPLITS)}"):
        draw(0, 0, split=split)


# ---------------------------------------------------------------- layout

@pytest.mark.parametrize("height, width", SIZES)
def test_nothing_overlaps_and_nothing_leaves_the_picture(height, width):
    for place, sets in ARRANGEMENTS.items():
        for slots in sets:
            if width < 4 * CELL and {"left", "right"} & set(slots):
                continue
            boxes = [object_box(place, height, width), *(slot_box(slot, height, width) for slot in slots)]
            for i, box in enumerate(boxes):
                assert 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height
                assert not any(overlap(box, other) for other in boxes[:i]), (place, slots, i)


def test_arrangements_are_in_reading_order():
    for place, sets in ARRANGEMENTS.items():
        assert place in PLACES and len(set(sets)) == len(sets)
        assert all(list(slots) == sorted(slots, key=SLOTS.index) for slots in sets)


@pytest.mark.parametrize("height, width", SIZES)
def test_text_stays_in_its_slot(height, width):
    """The ink of every letter, for words of every length that fits."""
    rng = random.Random(0)
    for slot in SLOTS if width >= 4 * CELL else ("top", "bottom"):
        x0, y0, x1, y1 = slot_box(slot, height, width)
        for language, alphabet in (("en", LATIN), ("zh", posters.han_characters())):
            for length in range(1, 40):
                text = "".join(rng.choices(alphabet, k=length))
                if language == "zh" and not is_han(text) or not fits(text, x1 - x0):
                    continue
                for letter in set_text(text, (x0, y0, x1, y1)):
                    mask, dx, dy = glyph(letter.character, letter.width, is_han(text))
                    left, top = round(letter.x + dx), round(letter.y + dy)
                    give = int(letter.width % 16 > 0)                            # a shrunken letter: one pixel
                    assert x0 - give <= left and left + mask.width <= x1 + give, (slot, text)
                    assert y0 <= top and top + mask.height <= y1, (slot, text)


def test_letters_of_one_text_do_not_touch():
    for text in (*words("en_seen")[:80], *words("zh_seen")[:80]):
        letters = set_text(text, (0, 0, 256, 32))
        edges = []
        for letter in letters:
            mask, dx, _ = glyph(letter.character, letter.width, is_han(text))
            edges.append((round(letter.x + dx), round(letter.x + dx) + mask.width))
        assert all(a[1] <= b[0] + 1 for a, b in zip(edges, edges[1:])), text


@pytest.mark.parametrize("height, width", SIZES)
def test_letters_stand_on_the_grid_of_the_tokens(height, width):
    for slot in SLOTS:
        box = slot_box(slot, height, width)
        room = box[2] - box[0]
        for text in ("A", "AB", "ABC", "ABCD", "好", "你好", "你好吗"):
            pitch = HAN_PITCH if is_han(text) else LATIN_PITCH
            if pitch * len(text) > room:
                continue
            for i, letter in enumerate(set_text(text, box)):
                assert letter.x % 16 == 0 and letter.y % 16 == 0 and letter.width == pitch
                assert letter.x == set_text(text, box)[0].x + i * pitch


def test_text_is_drawn_where_it_says_and_nowhere_else():
    plain = Poster("white", "cat", "centre", ())
    for text in ("HELLO", "你好"):
        p = Poster("white", "cat", "centre", (Region("bottom", text, "black"),))
        changed = np.argwhere((np.asarray(p.image) != np.asarray(plain.image)).any(-1))
        letters = p.letters(p.regions[0])
        assert changed[:, 0].min() >= 96 and letters[0].x - 2 <= changed[:, 1].min()
        assert changed[:, 1].max() < letters[-1].x + letters[-1].width + 2
        for letter in letters:
            inside = (changed[:, 1] >= letter.x) & (changed[:, 1] < letter.x + letter.width)
            assert inside.sum() > 20


def test_lower_case_is_drawn_in_capitals():
    one, two = (Poster("red", "dog", "left", (Region("top", text, "white"),)).image for text in ("hello", "HELLO"))
    assert one.tobytes() == two.tobytes()


def test_every_known_character_has_a_shape_of_its_own():
    for alphabet, wide in ((LATIN.replace(" ", ""), False), (posters.han_characters(), True)):
        step = HAN_PITCH if wide else LATIN_PITCH
        shapes = {(m.size, m.tobytes(), dx, dy) for m, dx, dy in (glyph(c, step, wide) for c in alphabet)}
        assert len(shapes) == len(set(alphabet)) == len(alphabet)


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


# ---------------------------------------------------------------- what there is to draw

def test_a_hundred_and_twenty_things_in_twelve_colours():
    assert len(things()) == 120 and len(COLOURS) == 12
    assert len({zh for zh, _ in things().values()}) == 120
    assert sorted(place for _, place in things().values()) == list(range(120))
    assert len({rgb for rgb, _ in COLOURS.values()}) == len({zh for _, zh in COLOURS.values()}) == 12
    assert posters.sheet().size == (12 * 64, 10 * 64)


def test_every_thing_stands_out_of_several_backgrounds():
    for thing in things():
        assert len(posters.backgrounds(thing)) >= 4
        free = [b for b in posters.backgrounds(thing) if not held_out(thing, b)]
        assert free and any(not held_out(thing, place) for place in PLACES)
        assert np.asarray(posters.sprite(thing, 60))[..., 3].mean() > 40


def test_word_lists():
    en, zh = (words(f"{language}_seen") + words(f"{language}_unseen") for language in ("en", "zh"))
    assert len(en) == len(set(en)) and len(zh) == len(set(zh))
    assert 450 <= len(en) <= 550 and 270 <= len(zh) <= 330
    assert all(2 <= len(word) <= 8 and set(word) <= set(LATIN[:26]) for word in en)
    assert all(1 <= len(word) <= 4 and is_han(word) for word in zh)
    for name in ("en_unseen", "zh_unseen"):
        assert 40 <= len(words(name)) <= 100


def test_every_character_is_known_and_learnable():
    for name in ("en_seen", "en_unseen", "zh_seen", "zh_unseen"):
        assert posters.unknown_characters("".join(words(name))) == []
    assert set("".join(words("zh_unseen"))) <= set("".join(words("zh_seen")))
    assert set("".join(words("en_unseen"))) <= set("".join(words("en_seen")))
    characters = posters.han_characters()
    assert len(characters) == len(set(characters)) and all(unicodedata.category(c) == "Lo" for c in characters)


def test_unknown_characters_are_named_once_in_order():
    assert posters.unknown_characters("aé你龘é#") == ["É", "龘", "#"]
    assert posters.unknown_characters("Hello World 42!?") == []


def test_fits_is_the_smallest_font():
    assert fits("ABCDEFGH", 128) and fits("A" * 13, 128) and not fits("A" * 14, 128)
    assert fits("好" * 7, 128) and not fits("好" * 8, 128) and fits("", 32)


# ---------------------------------------------------------------- held out

def test_training_never_draws_held_out_texts(trained):
    texts = {r.text for p in trained for r in p.regions}
    assert len(texts) > 5000
    assert not texts & {*words("en_unseen"), *words("zh_unseen")}
    lists = {*words("en_seen"), *words("zh_seen")}
    assert not [text for text in texts - lists if held_out(text)]
    assert lists <= texts


def test_training_never_draws_held_out_pairs(trained):
    assert not [p for p in trained if held_out(p.thing, p.background) or held_out(p.thing, p.place)]
    assert {p.thing for p in trained} == set(things()) and {p.place for p in trained} == set(PLACES)
    every = [(thing, place) for thing in things() for place in PLACES]
    assert 0.05 < sum(held_out(*pair) for pair in every) / len(every) < 0.15


def test_training_never_speaks_as_evaluation_does(trained):
    assert not [p.caption for p in trained if p.caption.startswith(("On a ", "On an ", "请画"))]
    for i in range(200):
        p = draw(0, i, split="seen")
        if p.regions:
            assert p.caption.startswith({"en": ("On a ", "On an "), "zh": "请画"}[p.language])


def test_evaluation_draws_from_its_lists(evaluated):
    split, drawn = evaluated
    for p in drawn:
        for r in p.regions:
            if split == "random":
                assert held_out(r.text) and r.text not in words(f"{p.language}_unseen")
                assert 2 <= len(r.text) <= 6 and posters.unknown_characters(r.text) == []
            else:
                assert r.text in words(f"{p.language}_{split}")
            x0, _, x1, _ = slot_box(r.slot, 128, 128)
            assert len(r.text) * (HAN_PITCH if is_han(r.text) else LATIN_PITCH) <= x1 - x0
    assert any(held_out(p.thing, p.background) for p in drawn) and any(held_out(p.thing, p.place) for p in drawn)


# ---------------------------------------------------------------- captions

def agrees(p):
    return [text.upper() for text in quoted(p.caption)] == [r.text.upper() for r in p.regions]


def test_training_captions_quote_every_text_in_order(trained):
    assert [p.caption for p in trained if not agrees(p)] == []


def test_evaluation_captions_quote_every_text_in_order(evaluated):
    assert [p.caption for p in evaluated[1] if not agrees(p)] == []


def test_captions_name_thing_and_background(trained):
    for p in trained[:3000]:
        thing, background = p.thing, p.background
        if p.language == "zh":
            thing, background = things()[thing][0], COLOURS[background][1]
        assert thing in p.caption.lower() and background in p.caption.lower(), p.caption


def test_evaluation_captions_name_everything(evaluated):
    for p in evaluated[1]:
        zh = p.language == "zh"
        for name, chinese in [(p.place, PLACES), *((r.slot, PLACES) for r in p.regions)]:
            wanted = [chinese[name]] if zh else [name, "middle", "center"][: 3 if name == "centre" else 1]
            assert any(w in p.caption for w in wanted), p.caption
        for r in p.regions:
            assert (COLOURS[r.colour][1] if zh else r.colour) in p.caption
            assert (PLACES[r.slot] if zh else r.slot) in p.caption


def test_one_poster_has_many_captions():
    p = draw(0, 7, language="en", count=2)
    said = {caption(random.Random(i), p, True) for i in range(200)}
    assert len(said) > 50
    patterns = ("poster with", " says ", "written", " of a", ", ")
    assert all(any(pattern in text for text in said) for pattern in patterns)


def test_articles_are_grammatical(trained):
    for p in trained[:3000]:
        if p.language == "en":
            spoken = p.caption
            for text in quoted(spoken):
                spoken = spoken.replace(text, "")
            tokens = spoken.lower().split()
            for article, noun in zip(tokens, tokens[1:]):
                if article in ("a", "an"):
                    assert (article == "an") == (noun[0] in "aeiou"), p.caption
