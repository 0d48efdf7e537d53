"""The open world: characters, lines, layout, captions, held-out data and the enhancer."""

import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from minglm.world import texts
from minglm.world.characters import (
    ASCII,
    EITHER,
    WIDE,
    han_characters,
    level_one,
    simplified,
    tidy,
    unknown_characters,
)
from minglm.world.colours import CALLED_EN, CALLED_ZH, COLOURS
from minglm.world.draw import draw, is_held_out
from minglm.world.enhancer import enhance
from minglm.world.explicit import explicit, explicit_en
from minglm.world.find import Bank, background, find_objects
from minglm.world.layout import CELL, PITCH, TIGHT, divided, glyph, measure, set_line, tight, wrap
from minglm.world.lettering import cells, raster
from minglm.world.objects import backgrounds, sprite, things
from minglm.world.posters import Group, Poster, Region, canvas, validate_texts
from minglm.world.prompts import load_prompts
from minglm.world.quotes import quoted, unquoted
from minglm.world.reading import read

SIZES = ((128, 128), (192, 128), (128, 256), (256, 256))
SOME = ("Hello World", "it's 50% OFF!", "新年快乐", "春眠不觉晓，处处闻啼鸟。", "iPhone手机9折", "《三体》（上）", "A\nB",
        "“你好”", "Congratulations", "résumé, naïve", "9:00-18:00 开门", "一二三四五六七八九十，十一。")


# ---------------------------------------------------------------- characters and lines

def test_every_character_has_a_picture_of_its_own():
    seen = Counter(raster(c, True).tobytes() for c in han_characters())
    assert len(level_one()) == 3500 < len(han_characters()) == len(seen) and min(raster(c, True).max() for c in "一丶乙") > 0.5


def test_what_is_outside_is_named_with_its_simplified_form():
    assert unknown_characters("龍年 héllo 你好 Ж") == ["龍", "Ж"]
    with pytest.raises(ValueError, match="龍 .in simplified form 龙., Ж"):
        validate_texts(["龍Ж"], 128, 128)
    assert all(traditional not in han_characters() and modern in han_characters()
               for traditional, modern in simplified().items())


def test_full_width_letters_become_narrow_and_blanks_one():
    assert tidy("ＡＢ１  c\t d ") == "AB1 c d" and tidy("a\n\n b") == "a\nb" and tidy("cafe\u0301") == "café"


@pytest.mark.parametrize("room", (96, 128, 192, 256))
@pytest.mark.parametrize("text", SOME)
def test_lines_hold_the_text_fit_the_room_and_begin_well(text, room):
    lines = wrap(text, room)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    for line in lines:
        assert (TIGHT if len(line.split()) == 1 else 1) * measure(line, text) <= room
    assert not any(line[0] in "，。！？：；、）》”" for line in lines)
    assert not any(line[-1] in "（《“" for line in lines)
    if not divided(text, room):              # every word of Latin letters is whole in one of the lines
        assert all(any(word in line for line in lines) for word in text.split() if word.isascii())
    assert len(wrap(text, room + 32)) <= len(lines)                              # more room never takes more


def test_only_a_word_is_tightened_before_it_is_divided():
    assert wrap("123456789", 128) == ("123456789",) and wrap("a 123456789", 128) == ("a", "123456789")
    assert wrap("1234 5678", 128) == ("1234", "5678") and wrap("一二三四五", 128) == ("一二三", "四五")
    assert wrap("12345678901", 128) == ("12345678", "901")
    assert tight("123456789", 128) and not tight("1234 5678", 128) and not tight("一二三四五", 128)


def test_letters_at_full_pitch_stand_on_the_grid_of_tokens():
    for text in SOME:
        for line in wrap(text, 256):
            letters = set_line(line, 0, 256, 0)
            if measure(line) <= 256:
                assert all(letter.x % PITCH == 0 for letter in letters)
            assert letters[0].x >= 0 and letters[-1].x + letters[-1].width <= 256.01
            assert all(abs(a.x + a.width - b.x) < 1e-6 for a, b in zip(letters, letters[1:]))


def test_glyphs_stay_inside_their_line():
    for c in ASCII[1:] + "éÀçÿ":
        mask, _, dy = glyph(c, 16, False)
        assert dy >= -2 and dy + mask.height <= CELL + 2, c
    for c in han_characters()[::50] + WIDE + EITHER:
        mask, dx, dy = glyph(c, 32, True)
        assert dx >= -1 and dy >= -1 and dx + mask.width <= 33 and dy + mask.height <= 33, c


# ---------------------------------------------------------------- posters

@pytest.mark.parametrize("size", SIZES)
def test_nothing_overlaps_on_a_poster(size):
    for i in range(60):
        poster = draw(11, i, *size)
        taken = np.zeros(size, dtype=int)
        for _, (x0, y0, x1, y1) in poster.boxes:
            assert 0 <= x0 < x1 <= size[1] and 0 <= y0 < y1 <= size[0] and (x1 - x0) % CELL == 0
            taken[y0:y1, x0:x1] += 1
        for _, _, letters in poster.lines:
            for letter in letters:
                taken[int(letter.y):int(letter.y) + CELL, round(letter.x):round(letter.x + letter.width)] += 1
        assert taken.max() <= 1, poster.caption


def test_cells_of_letters_are_those_of_their_bytes():
    poster = Poster("red", (), "centre", (Region("top", "é你!", "white"),))
    tokens = list("é你!".encode()) + [None]
    found = {byte: (x0, x1) for byte, _, x0, x1, _ in cells(poster)}
    assert sorted(found) == [0, 2, 3, 5] and len(tokens) == 7    # é: first byte; 你: first two; !: its own
    assert found[2][1] == found[3][0] and found[0][1] == found[2][0]


def test_the_canvas_is_the_smallest_in_which_all_fits():
    assert canvas(["HELLO"], 1) == (128, 128) and canvas(["Congratulations"], 0) == (192, 256)
    assert canvas([], 3) == (128, 192) and canvas(["a"] * 8, 0) == (256, 192)


def test_a_poster_is_a_function_of_seed_and_index():
    a, b = draw(3, 7), draw(3, 7)
    assert a == b and a.image.tobytes() == b.image.tobytes() and draw(3, 8) != a


# ---------------------------------------------------------------- captions and what is held out

@pytest.mark.parametrize("language", ("en", "zh"))
def test_a_caption_quotes_every_text(language):
    for i in range(400):
        poster = draw(12, i, *SIZES[i % 4], language=language)
        said = sorted("".join("".join(quoted(poster.caption)).split()))
        assert said == sorted("".join("".join(r.text for r in poster.regions).split())), poster.caption


def test_nothing_held_out_is_drawn_for_training():
    evaluated = {p.prompt for name in ("miniposter", "minilong", "minicompose", "miniopen") for p in load_prompts(name)}
    for i in range(1500):
        poster = draw(13, i, *SIZES[i % 4])
        assert not is_held_out(poster) and poster.caption not in evaluated
        for region in poster.regions:
            assert not texts.contains_held_out(region.text), region.text
        outside = unquoted(poster.caption)
        assert not outside.startswith("On a") and "请画" not in outside and "的字是" not in outside


def test_what_evaluation_asks_for_is_held_out():
    for name in ("miniposter", "minilong"):
        for prompt in load_prompts(name, 60):
            if name == "miniposter":
                assert all(texts.held_out(region.text.casefold()) for region in prompt.regions)
            outside = unquoted(prompt.prompt)
            assert outside.startswith("On a") or "请画" in outside


def test_captions_leave_out_what_people_leave_out():
    told = Counter()
    for i in range(600):
        poster = draw(14, i, language="en")
        if poster.caption == explicit_en(poster):
            continue
        outside = unquoted(poster.caption).lower()
        told["all"] += 1
        names = (poster.background, *CALLED_EN[poster.background])
        told["background"] += any(name in outside for name in names)
    assert 0.6 < told["background"] / told["all"] < 0.9


def test_colours_have_names_of_their_own():
    for table in (CALLED_EN, CALLED_ZH):
        names = [name for names in table.values() for name in names]
        assert set(table) == set(COLOURS) and len(names) == len(set(names)) and not set(names) & set(COLOURS)


# ---------------------------------------------------------------- the enhancer

@pytest.mark.parametrize("size", SIZES)
def test_an_explicit_caption_is_understood_as_what_it_says(size):
    """The reader and the grammar of explicit captions are two programs: they have to agree."""
    wrong = 0
    for i in range(300):
        poster = draw(15, i, *size)
        asked = read(explicit(poster))
        same = (asked.background == poster.background and asked.groups == poster.groups
                and [one.text for one in asked.texts] == poster.strings)
        if same and poster.groups:
            same = asked.place == poster.place
        wrong += not same
    assert wrong <= 9


def test_what_is_told_is_kept_and_the_rest_depends_on_the_seed():
    prompt = 'a red poster with two cats and the words "Hello World"'
    found = [enhance(prompt, seed) for seed in range(8)]
    assert {one.poster.background for one in found} == {"red"}
    assert {one.poster.groups for one in found} == {(Group("cat", 2),)}
    assert len({one.caption for one in found}) > 2 and enhance(prompt, 3) == found[3]
    assert all("Hello" in one.caption and "World" in one.caption for one in found)


@pytest.mark.parametrize("prompt, background_, groups, texts_, colours", [
    ('"Open" in white letters on blue, with a coffee cup', "blue", {"coffee": 1}, ["Open"], ["white"]),
    ("红底，三只小猫，写“你好，世界！”，字用黄色", "red", {"cat": 3}, ["你好，世界！"], ["yellow"]),
    ("黄瓜和茄子，绿色背景，“新鲜蔬菜”", "green", {"cucumber": 1, "eggplant": 1}, ["新鲜蔬菜"], [None]),
    ("an orange and a banana on a purple card", "purple", {"orange": 1, "banana": 1}, [], []),
    ('Poster for my shop: "SALE"', None, {}, ["SALE"], [None]),
    ("A sign with background: grey and five stars", "gray", {"star": 3}, [], []),
])
def test_prompts_are_read(prompt, background_, groups, texts_, colours):
    asked = read(prompt)
    assert (asked.background, {g.thing: g.count for g in asked.groups}) == (background_, groups)
    assert [one.text for one in asked.texts] == texts_ and [one.colour for one in asked.texts] == colours


def test_hard_prompts_end_in_time_and_without_an_error():
    rng = random.Random(0)
    for i in range(60):
        prompt = "".join(rng.choices('ab 你好，"“”红猫.\n\'《》top左', k=rng.randint(1, 300)))
        try:
            enhance(prompt, i)
        except ValueError as error:
            assert str(error)


# ---------------------------------------------------------------- finding objects again

@pytest.mark.parametrize("ground", ["white", "blue", "black"])
def test_matching_on_any_ground_is_matching_with_the_object_on_it(ground):
    """As with every object drawn on the background, pixel by pixel."""
    pictures = [sprite(name, 28) for name in ("cat", "cloud", "rainbow")]
    flat, rows = np.array(COLOURS[ground][0]) / 255, np.random.default_rng(0).uniform(-1, 1, (5, 3 * 32 * 32))
    drawn = []
    for picture in pictures:
        whole = Image.new("RGBA", (32, 32))
        whole.paste(picture, (2, 2))
        values = np.asarray(whole) / 255
        drawn.append((values[..., 3:] * values[..., :3] + (1 - values[..., 3:]) * flat - flat).ravel())
    wanted = [[2 * row @ one - one @ one for one in drawn] for row in rows]
    bank = Bank(pictures)
    assert np.allclose(bank.match(rows.astype(np.float32), ground), wanted, atol=1e-2)
    assert np.allclose(bank.own(ground), [one @ one for one in drawn], atol=1e-2)


def test_objects_are_found_where_they_were_drawn():
    right = 0
    for i in range(24):
        poster = draw(16, i, *SIZES[i % 4])
        boxes = [(ls[0].x, ls[0].y, ls[-1].x + ls[-1].width, ls[0].y + CELL) for _, _, ls in poster.lines]
        found = find_objects(poster.image, boxes)
        right += Counter(found) == Counter(poster.boxes) and background(poster.image) == poster.background
    assert right >= 22


def test_every_object_stands_out_somewhere():
    assert len(things()) == 420 and all(backgrounds(name) for name in things())


def test_every_long_prompt_is_understood_at_its_size():
    """With a size given, objects become small before a prompt is refused."""
    for prompt in load_prompts("minilong"):
        poster = enhance(prompt.prompt, 0, prompt.height, prompt.width).poster
        assert (poster.height, poster.width) == (prompt.height, prompt.width)


def test_the_place_of_what_is_unknown_is_not_taken_for_the_place_of_a_text():
    assert enhance('a submarine in the centre and "Deep sea" at the top').poster.regions[0].slot == "top"
    assert enhance('at the top "Hello" and at the bottom "World"').poster.regions[1].slot == "bottom"
