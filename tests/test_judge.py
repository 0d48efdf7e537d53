"""The judge: published formulas on cases worked by hand, and gold posters judged as right."""

import random
from dataclasses import replace

import pytest
from PIL import Image, ImageDraw

from minglm.measure import ocr
from minglm.measure.ocr import Found
from minglm.measure.scores import canon, check_picture, edit_distance, score_text, similarity
from minglm.world.draw import draw
from minglm.world.layout import object_box, slot_box
from minglm.world.posters import COLOURS, sprite, text_colours


def lines(*texts: str, score: float = 1.0) -> list[Found]:
    return [Found(text, score, (0, 0, 1, 1)) for text in texts]


def slow_distance(a: str, b: str) -> int:
    """The recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(slow_distance(a[1:], b) + 1, slow_distance(a, b[1:]) + 1,
               slow_distance(a[1:], b[1:]) + (a[0] != b[0]))


# ---------------------------------------------------------------- text

def test_edit_distance_is_levenshteins():
    rng = random.Random(0)
    for _ in range(50):
        a, b = ("".join(rng.choices("ab中", k=rng.randint(0, 5))) for _ in range(2))
        assert edit_distance(a, b) == slow_distance(a, b)


def test_look_alikes_merge_only_in_their_script():
    assert canon("HELLO 10!", True) == canon("hell0 lo", True)
    assert canon("ロ", False) == "口" and canon("ロ", True) != "口"


@pytest.mark.parametrize("word", ["WINTER", "SILK", "HI"])
def test_a_word_read_in_small_letters_is_right(word):
    for read in (word, word.lower(), word.capitalize(), word.replace("I", "l"), word.replace("I", "1")):
        assert similarity(word, read) == 1, read
    assert score_text([word], lines(word.lower())) == dict(right=[1], ned=[1], kept=1, asked=1, extra=False)


def test_similarity_is_one_minus_distance_over_the_longer():
    assert similarity("HOUSE", "house") == 1
    assert similarity("HOUSE", "HORSE") == pytest.approx(4 / 5)
    assert similarity("你好", "你好吗") == pytest.approx(2 / 3)
    assert similarity("HI", "") == 0


def test_words_count_by_membership_and_best_match():
    scores = score_text(["GOOD DAY", "你好"], lines("GOOD DOY", "你好"))
    assert scores["right"] == [1, 0, 1]
    assert scores["ned"] == pytest.approx([1, 2 / 3, 1])


def test_recall_is_of_multisets():
    scores = score_text(["上上下"], lines("上下下"))
    assert (scores["kept"], scores["asked"]) == (2, 3)
    scores = score_text(["GO GO UP"], lines("GO UP"))
    assert (scores["kept"], scores["asked"]) == (2, 3)


def test_only_sure_and_strange_lines_are_extra():
    assert score_text(["HELLO"], lines("HELLO", "XYZ"))["extra"]
    assert not score_text(["HELLO"], lines("HELLO", "XYZ", score=0.5))["extra"]
    assert not score_text(["HELLO"], lines("HELLO", "HELL"))["extra"]


def test_nothing_read_is_nothing_right():
    assert score_text(["HELLO"], []) == dict(right=[0], ned=[0], kept=0, asked=1, extra=False)


# ---------------------------------------------------------------- pictures

def gold(count: int):
    return [draw(5, i, split="seen") for i in range(count)]


def test_gold_posters_are_right_in_every_check():
    for poster in gold(20):
        found = check_picture(poster.image, poster)
        assert found["background"] and found["object"] and found["place"] and all(found["text_colour"])


def test_each_check_notices_its_own_mistake():
    poster = next(p for p in gold(50) if p.regions and p.place == "left" and p.background != "white")
    x0, y0, x1, y1 = object_box("left", 128, 128)
    base = COLOURS[poster.background][0]

    other = poster.image.copy()
    ImageDraw.Draw(other).rectangle((x0, y0, x1 - 1, y1 - 1), fill=base)
    picture = sprite("bus" if poster.thing != "bus" else "cat", 60)
    other.paste(picture, (x0 + 2, y0 + 2), picture)
    assert not check_picture(other, poster)["object"]
    assert not check_picture(poster.image, replace(poster, place="right"))["place"]
    assert not check_picture(poster.image, replace(poster, background="white"))["background"]
    colour = next(c for c in text_colours(poster.background) if c != poster.regions[0].colour)
    wrong = (replace(poster.regions[0], colour=colour), *poster.regions[1:])
    assert not check_picture(poster.image, replace(poster, regions=wrong))["text_colour"][0]
    blank = Image.new("RGB", (128, 128), base)
    assert not all(check_picture(blank, poster)["text_colour"])


@pytest.fixture(scope="module")
def judge():
    pytest.importorskip("rapidocr")
    return ocr.Judge()


def test_ocr_reads_what_is_written_and_not_what_would_make_sense(judge):
    for i, language in enumerate(("en", "zh") * 4):
        poster = draw(6, i, split="random", language=language, count=1)
        assert score_text([poster.regions[0].text], judge.read(poster.image))["right"] == [1], poster.regions


def test_ocr_boxes_lie_on_the_text(judge):
    poster = next(p for p in gold(50) if len(p.regions) == 1 and p.regions[0].slot == "bottom")
    [line] = [f for f in judge.read(poster.image) if similarity(poster.regions[0].text, f.text) == 1]
    y0, y1 = slot_box("bottom", 128, 128)[1::2]
    assert y0 - 4 <= line.box[1] < line.box[3] <= y1 + 4


def test_a_blank_poster_holds_no_text(judge):
    assert judge.read(Image.new("RGB", (128, 128), "teal")) == []
