"""What a prompt quotes: the marks of many keyboards, and apostrophes that are none. More cases in test_text.py."""

import itertools
import random
import time

import pytest

from minglm.world.draw import draw
from minglm.world.quotes import DOUBLE, QUOTES, quotations, quote, quoted, unquoted

EN, ZH = "A yellow poster with the red word {} at the bottom.", "一张黄色海报，顶部是红色文字{}。"


@pytest.mark.parametrize("marks", ["‘’", "””", '“"', '"”', "„“", "«»", "»«", "＂＂", "''", "’’", "‹›", "『』", "《》", "「』", "〝〞"])
def test_marks_of_many_keyboards(marks):
    assert quoted(EN.format(marks[0] + "HELLO" + marks[1])) == ["HELLO"]
    assert quoted(ZH.format(marks[0] + "你好" + marks[1])) == ["你好"]


def test_any_double_mark_closes_what_another_opened():
    assert all(quoted(EN.format(a + "IT'S" + b)) == ["IT'S"] for a, b in itertools.product(DOUBLE, repeat=2))


@pytest.mark.parametrize("prompt, wanted", [
    (EN.format("HELLO"), []), (EN.format('"HELLO'), []), (ZH.format("你好"), []),
    ("A '90s poster of l'arbre et l'oiseau, d'une image, and \"HELLO\"", ["HELLO"]),
    ("'tis five o'clock, they're here: “HI”", ["HI"]), ("the dogs' house, 'HI'", ["HI"]),
    ('a 12" x 18" poster that says "HI"', ["HI"]), ("18\", then 'HI'", ["HI"]),
    ('2026"新年"', ["新年"]), ("‘don’t’ and ‘it’s’", ["don’t", "it’s"]),
    ("' \n 'A'", ["A"]), ("“” then “X”", ["X"]),
])
def test_what_is_quoted(prompt, wanted):
    assert quoted(prompt) == wanted


@pytest.mark.parametrize("piece", ["'a ", "l'arbre d'une ", "“", "「x", '"', "'90s o'clock ", "'\n", "‘’"])
def test_long_prompts_take_no_time(piece):
    began = time.monotonic()
    quoted(piece * 20_000 + '"HELLO"')
    assert time.monotonic() - began < 5      # backtracking takes years


def test_quotations_are_where_they_are_and_unquoted_empties_them():
    for i in range(200):
        poster = draw(7, i)
        spans = quotations(poster.caption)
        assert [poster.caption[a + 1:b - 1] for a, b in spans] == quoted(poster.caption)
        bare = unquoted(poster.caption)
        assert len(bare) == len(poster.caption) - sum(b - a - 2 for a, b in spans) and quoted(bare) == []
    assert unquoted("a 'B' and “C”.") == "a '' and “”."


# ---------------------------------------------------------------- putting in marks

@pytest.mark.parametrize("text", ["HELLO", "it's", 'say "hi"', "“你好”", "《三体》", "a “b” c", "12\" 'x'", "'90s"])
def test_a_text_in_marks_is_read_back_as_it_was(text):
    assert quoted(quote(text)) == [text]
    rng = random.Random(1)
    for language in ("en", "zh"):
        found = {quote(text, rng, language) for _ in range(40)}
        assert all(quoted(marked) == [text] for marked in found)


def test_marks_vary_by_language_and_are_straight_by_default():
    assert quote("HELLO") == '"HELLO"' and quote('a "b"') == '「a "b"」'            # curly ones are of the family
    rng = random.Random(1)
    for language in ("en", "zh"):
        assert {quote("A", rng, language) for _ in range(100)} == {f"{a}A{b}" for a, b in QUOTES[language]}


def test_a_text_with_every_kind_of_marks_is_refused():
    with pytest.raises(ValueError, match="contains every kind of quotation marks"):
        quote('a"b”c」d』e»f')
