"""Colours told of several texts, or announced before one; and names of things that are none."""

import pytest
from as_read import colours

from minglm.world.reading import read


def things(prompt):
    return [group.thing for group in read(prompt).groups]


@pytest.mark.parametrize("prompt, background, wanted", [
    ('"A" and "B", both in white, green card', "green", ["white", "white"]), ('"A" and "B" all in yellow', None, ["yellow", "yellow"]),
    ('"A", "B", "C" each in red on white', "white", ["red", "red", "red"]), ("“甲”“乙”都用白色，黑底", "black", ["white", "white"]),
    ("“甲”“乙”，字都要黄的，蓝底", "blue", ["yellow", "yellow"]), ('"A", all white card', "white", [None]), ("猫和狗都是黑的，“甲”", None, [None]), ('"A" in white, "B" in white. All red.', "red", ["white", "white"]),
])
def test_a_colour_of_all_texts_is_each_ones(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


@pytest.mark.parametrize("prompt, background, wanted", [
    ('"A" and "B" in yellow and white respectively', None, ["yellow", "white"]), ('"A" "B", respectively red and blue, on white', "white", ["red", "blue"]),
    ('"A" "B", the first in red, the second in blue, white card', "white", ["red", "blue"]),
    ("“甲”和“乙”，前者红色，后者黑色，白底", "white", ["red", "black"]), ("“甲”“乙”，分别用红色和蓝色，白底", "white", ["red", "blue"]),
])
def test_colours_of_several_texts_are_told_in_their_order(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


@pytest.mark.parametrize("prompt, background, wanted", [
    ('a cup, and in white, "Winners"', None, ["white"]), ('in blue: "Left", in red: "Right"', None, ["blue", "red"]),
    ('poster in teal, "Hi"', "cyan", [None]), ("写“左”，颜色绿；写“右”，颜色蓝", None, ["green", "blue"]), ("写个红彤彤的“福”，黄底", "yellow", ["red"]),
    ("字大红，“囍”，粉底", "pink", ["red"]), ("“甲”要红字，“乙”要蓝字，白底", "white", ["red", "blue"]), ("白色粉笔字“早”，绿底", "green", ["white"]),
])
def test_a_colour_stands_before_or_after_its_text(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


@pytest.mark.parametrize("prompt, background, wanted", [
    ('"Hi" in white, the back blue', "blue", ["white"]), ("yellow bus, the back white", "white", []), ('"ZOO" RED!! BACK WHITE!!', "white", ["red"]),
    ('a cat, text "A" in black, and the wall orange', "orange", ["black"]), ('a pig on its back, "Oink" in white', None, ["white"]),
    ("“早安”白字，背后蓝色", "blue", ["white"]), ("红苹果，墙是绿的", "green", []), ("“春”红色，其余白色", "white", ["red"]),
    ("黄色的太阳，四周都是蓝色", "blue", []),
])
def test_what_is_behind_has_many_names(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


@pytest.mark.parametrize("prompt, wanted", [
    ("hello robot, please draw a cake on blue", ["cake"]), ("hi, dog poster please", ["dog"]), ("we sell pizza, sign with a bike", ["bicycle"]),
    ("Hello, tiger.", ["tiger"]), ("we sell pizza, a red sign", ["pizza"]), ('phone "555-0199", a pizza', ["pizza"]), ('a phone "Call me"', ["phone"]),
    ("电话“110”，一辆警车", ["police car"]), ("画一部电话“110”", ["phone"]), ("a lion at sunset", ["lion"]), ("a sunset", ["sunrise"]),
    ("orange, the fruit, on white", ["orange"]), ("an orange fox on white", ["fox"]), ("notebook cover, a star", ["star"]),
    ("something cute, like a bee", ["bee"]), ("blue, like the sea, a boat", ["boat"]), ("I would like a violin", ["violin"]),
    ("a shape like a star, a cat", ["cat"]), ("Hello computer. Draw a drum.", ["drum"]), ("课本封面，一支铅笔", ["pencil"]), ("雨天，一把伞", ["umbrella"]),
    ("毛笔字“福”，红底", []), ("毛笔一支，“书法”", ["paintbrush"]), ("门头，“小吃”", []),
])
def test_a_name_within_other_words_may_mean_no_object(prompt, wanted):
    assert things(prompt) == wanted
