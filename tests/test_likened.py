"""Colours as people name them: shades, nouns that lend their colour, and comparisons, whose nouns are no objects."""

import pytest

from minglm.world.names import vocabulary
from minglm.world.reading import read
from minglm.world.shades import ALSO, ENDINGS, NOUNS


def reads(prompt):
    asked = read(prompt)
    return asked.background, {group.thing: group.count for group in asked.groups}


def test_every_shade_is_one_of_the_twelve_colours():
    assert set(ALSO) == set(NOUNS) == set(ENDINGS)
    assert {vocabulary()[name][1] for name in ("brick red", "brick-red", "砖红", "砖红色")} == {"red"}
    assert vocabulary()["咖啡"][0] == "thing" and vocabulary()["咖啡色"][:2] == ("colour", "brown")


@pytest.mark.parametrize("prompt, background, things", [
    ("moss-green card with a frog", "green", {"frog": 1}), ("an orange cat on coal black", "black", {"cat": 1}),
    ("bg: lilac, a cat", "purple", {"cat": 1}), ("tomato red, a pizza", "red", {"pizza": 1}),
    ("a horse on a barn-red page", "red", {"horse": 1}), ("frog, green background", "green", {"frog": 1}),
    ("rose gold card", "pink", {}), ("frog green background", "green", {"frog": 1}), ("a rose on black", "black", {"rose": 1}),
    ("背景用莫兰迪蓝，一把锁", "blue", {"lock": 1}), ("背景是冰川蓝的，一只企鹅", "blue", {"penguin": 1}),
    ("底要雾霾蓝，一只猫", "blue", {"cat": 1}), ("蓝宝石蓝的底，一枚戒指", "blue", {"ring": 1}),
    ("玫瑰红的底，一个蛋糕", "red", {"cake": 1}), ("来点绿，一只羊", "green", {"sheep": 1}),
    ("黄澄澄的底，一只小鸡", "yellow", {"chick": 1}), ("粉嘟嘟的背景，一只猪", "pink", {"pig": 1}),
    ("一朵玫瑰红底", "red", {"rose": 1}), ("两个苹果绿底", "green", {"apple": 2}), ("一个苹果绿的底", "green", {}),
    ("灰白色的墙，一把锁", "white", {"lock": 1}), ("红得像火的背景，一匹马", "red", {"horse": 1}),
])
def test_a_compound_ends_in_its_colour(prompt, background, things):
    assert reads(prompt) == (background, things)


@pytest.mark.parametrize("prompt, background, things", [
    ("a poster as black as a raven, with an owl", "black", {"owl": 1}), ("white as snow background, a dog", "white", {"dog": 1}),
    ("the same red as a fire truck behind a dog", "red", {"dog": 1}), ("a boat on the blue of the sea", "blue", {"boat": 1}),
    ("brown like chocolate, a teddy bear", "brown", {"teddy bear": 1}), ("树皮那种棕，一只松鼠", "brown", {"squirrel": 1}),
    ("像夕阳那样的橙色背景，一艘帆船", "orange", {"boat": 1}), ("跟西红柿一样红的底，一个汉堡", "red", {"burger": 1}),
    ("夜一样黑的背景，一颗星星", "black", {"star": 1}), ("比雪还白的底，一只狗", "white", {"dog": 1}),
    ("背景蓝蓝的，像大海，一只鲸鱼", "blue", {"whale": 1}),
])
def test_what_a_colour_is_likened_to_is_no_object(prompt, background, things):
    assert reads(prompt) == (background, things)


@pytest.mark.parametrize("prompt, background, things", [
    ("a banner the colour of fresh grass, a goat", "green", {"goat": 1}), ("a camel on sand-coloured paper", "yellow", {"camel": 1}),
    ("底色和草地一个颜色，一头牛", "green", {"cow": 1}), ("用胡萝卜的颜色做底，一只兔子", "orange", {"rabbit": 1}),
    ("薄荷底色，一个冰淇淋", "green", {"icecream": 1}),
])
def test_a_noun_lends_its_colour_where_none_is_named(prompt, background, things):
    assert reads(prompt) == (background, things)


@pytest.mark.parametrize("prompt, things", [
    ("red roses and a blue sea", {"rose": 2, "wave": 1}), ("the colour of the cat is orange", {"cat": 1}),
    ("咖啡和巧克力，白底", {"coffee": 1, "chocolate": 1}), ("一杯咖啡色彩鲜艳", {"coffee": 1}), ("西瓜的颜色要鲜艳", {"melon": 1}),
    ("像猫一样的狗", {"dog": 1}),
])
def test_other_nouns_are_objects(prompt, things):
    assert reads(prompt)[1] == things


@pytest.mark.parametrize("prompt", ["明白了吗，“明白”", "小白的店，“开业”", "表白，“我爱你”", "奶粉，一个奶瓶", "石灰和烟灰缸", "白酒，“干杯”"])
def test_the_last_character_of_another_word_is_no_colour(prompt):
    assert reads(prompt)[0] is None
