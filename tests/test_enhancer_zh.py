"""The enhancer on free Chinese prompts, each a case of a rule: none is here for its own sake."""

import pytest

from minglm.world.enhancer import enhance
from minglm.world.reading import read


def colours(prompt):
    asked = read(prompt)
    return asked.background, [one.colour for one in asked.texts]


def counts(prompt):
    return {group.thing: group.count for group in read(prompt).groups}


# ---------------------------------------------------------------- whose colour

@pytest.mark.parametrize("prompt", [
    "三辆汽车,两黄一黑,写“停车”", "一只绿色的狗和三朵蓝花，“早”", "画两只紫色的猫，“喵”", "一颗蓝色五角星，“奖”",
    "紫色的马和绿色的马各一匹，“跑”", "两个绿色长方形和一个红色圆圈，“图”", "猫是绿色的，“喵”", "一个大大的紫色圆球，“玩”",
])
def test_the_colour_of_counted_objects_is_not_the_background(prompt):
    assert colours(prompt) == (None, [None])


@pytest.mark.parametrize("prompt, background", [
    ("一张紫色的，写“寿”", "purple"), ("一个橙色背景，三只紫色的狗", "orange"), ("绿色的狗，“汪”", "green"),
    ("两个蓝色气球，黄底", "yellow"), ("一个绿色风格的，“茶”", "green"), ("来一个粉色的，“甜”", "pink"),
])
def test_what_has_no_object_is_still_the_background(prompt, background):
    assert colours(prompt)[0] == background


@pytest.mark.parametrize("prompt", [
    "杜白，写“诗”", "陈红的店，写“开张”", "青春“无悔”", "黑客大会“开幕”", "长江黄河，写“奔流”", "刘青，孙蓝，“结婚”", "红军“长征”",
])
def test_a_colour_within_another_word_is_none(prompt):
    assert colours(prompt) == (None, [None])


@pytest.mark.parametrize("prompt, background, colour", [
    ("背景紫，字白，“夜”", "purple", "white"), ("用绿的，写“茶”", "green", None), ("底要黑，“夜”", "black", None),
    ("绿，“春”", "green", None), ("绿底粉字“花”", "green", "pink"), ("黑漆漆的，“夜”", "black", None), ("颜色：蓝，“海”", "blue", None),
])
def test_a_colour_of_one_character_is_one_where_it_stands_alone(prompt, background, colour):
    assert colours(prompt) == (background, [colour])


@pytest.mark.parametrize("prompt, wanted", [
    ("马卡龙配色，“甜”", {}), ("恭贺蛇年吉祥", {"snake": 1}), ("他叫李龙辉，“生日”", {}), ("大灰狼来了", {"wolf": 1}),
    ("画只羊在吃草", {"sheep": 1}), ("小鹿和老虎", {"deer": 1, "tiger": 1}), ("门庭若市，“旺”", {"door": 1}),
])
def test_an_object_of_one_character_within_another_word_is_none(prompt, wanted):
    assert counts(prompt) == wanted


@pytest.mark.parametrize("prompt, background, wanted", [
    ("底色不要绿色,要紫色,写“静”", "purple", [None]), ("“春”,绿色背景,“秋”", "green", [None, None]),
    ("粉底,字用黑色,“花”", "pink", ["black"]),
])
def test_a_comma_without_a_space_ends_a_clause(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)
    assert colours(prompt.replace(",", "，")) == (background, wanted)


@pytest.mark.parametrize("prompt, background, wanted", [
    ("“风”绿色，“雨”灰色", None, ["green", "gray"]), ("“甲”紫色,“乙”黑色,黄底", "yellow", ["purple", "black"]),
    ("“天”蓝色背景", "blue", [None]),
])
def test_a_colour_that_touches_a_text_is_the_texts(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


# ---------------------------------------------------------------- writing

def test_traditional_prompts_are_read_in_simplified_characters():
    asked = read("請畫兩隻鳥,寫“龍”,黃色的字,綠色背景")
    assert (asked.background, asked.texts[0].colour, asked.texts[0].text) == ("green", "yellow", "龍")
    assert counts("三條魚和一隻龜") == counts("三条鱼和一只龟") and enhance("一隻龜").poster.groups[0].thing == "turtle"


def test_a_blackboard_is_a_sheet():
    assert colours("黑板，上面是“上课”") == colours("白板上有“开会”") == (None, [None])
