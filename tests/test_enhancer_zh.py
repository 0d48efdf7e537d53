"""The enhancer on free Chinese prompts, each a case of a rule: none is here for its own sake."""

import pytest

from minglm.generate.request import posters
from minglm.world.enhancer import NO_TEXT, TOO_MANY, enhance
from minglm.world.objects import backgrounds
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
    "一个穿绿裙子的女孩，“舞”", "猫戴着蓝色的帽子，“帅”",
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
    ("“天”蓝色背景", "blue", [None]), ("把“早安”写成绿色的", None, ["green"]),
])
def test_a_colour_that_touches_a_text_is_the_texts(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


# ---------------------------------------------------------------- writing

def test_traditional_prompts_are_read_in_simplified_characters():
    asked = read("請畫兩隻鳥,寫“龍”,黃色的字,綠色背景")
    assert (asked.background, asked.texts[0].colour, asked.texts[0].text) == ("green", "yellow", "龍")
    assert counts("三條魚和一隻龜") == counts("三条鱼和一只龟") and enhance("一隻龜").poster.groups[0].thing == "turtle"


def test_a_traditional_text_that_is_refused_is_told_in_simplified_characters():
    with pytest.raises(ValueError, match="見 .in simplified form 见.+in simplified characters: 再见$"):
        posters(["寫“再見”"], [0], None, None, True)
    with pytest.raises(ValueError, match=r"zh_more.txt\)$"):
        posters(["寫“再見Ж”"], [0], None, None, True)


def test_a_blackboard_is_a_sheet():
    assert colours("黑板，上面是“上课”") == colours("白板上有“开会”") == (None, [None])


@pytest.mark.parametrize("prompt, texts", [
    ("绿底黄字：清凉一夏", ["清凉一夏"]), ("写个寿字，红色", ["寿"]), ("写一个大大的春字", ["春"]), ("标题：招新，内容：周五见", ["招新", "周五见"]),
    ("牌子上写着禁止停车", ["禁止停车"]), ("写着晚安的蓝色卡片", ["晚安"]), ("一只猫，写上你好三个字", ["你好"]), ("用黄色写 SALE，黑底", ["SALE"]),
    ("店名叫晨光，红底", ["晨光"]), ("写上名字小丽", ["小丽"]), ("中秋团圆！", ["中秋团圆！"]), ("祝老师健康", ["祝老师健康"]), ("MERRY CHRISTMAS", ["MERRY CHRISTMAS"]),
    ("a blue sign that says CLOSED", ["CLOSED"]), ("red card saying Thank You with a dog", ["Thank You"]), ("green poster, text: Fresh fruit", ["Fresh fruit"]),
])
def test_a_text_without_quotation_marks_is_written_and_told(prompt, texts):
    found = enhance(prompt, 0)
    written = "".join(region.text for region in found.poster.regions)
    assert written == "".join(texts)
    told = ", ".join(f'"{text}"' for text in texts)
    assert f"nothing is in quotation marks: {told} {'are' if texts[1:] else 'is'} taken as the text" in found.notes
    assert posters([prompt], [0], None, None, True).captions == [found.caption]


@pytest.mark.parametrize("prompt", [
    "三只狗", "不写字，一只猫", "蓝色卡片", "请画外星飞船", "元旦海报", "写首诗", "什么都不写", "a cat reading a book", "a dog saying hello", "hello world",
    "手写风格的卡片", "a poster saying I love you", "背景是雪地", "画个写字楼", "文字：不要，一只鸟",
    "字：红色，一只鸟", "请写下你的名字", "写三个字", "写着字的牌子", "内容：两只鸟在飞", "写个红字", "text: none", "给爸爸写封信",
])
def test_where_no_text_is_clearly_told_none_is_written(prompt):
    found = enhance(prompt, 0)
    assert not found.poster.regions and NO_TEXT in found.notes


def test_where_something_is_quoted_nothing_else_is_a_text():
    assert [one.text for one in enhance("红底白字：“甲”，写着乙", 0).poster.regions] == ["甲"]
    with pytest.raises(ValueError, match="cannot write Ж"):
        posters(["白底黑字：Ж"], [0], None, None, True)
    assert posters(["白底黑字：甲"], [0], None, None, False).lines == [[]]           # without the enhancer


# ---------------------------------------------------------------- how many

@pytest.mark.parametrize("prompt, wanted", [
    ("一双靴子", {"boot": 1}), ("两双袜子", {"socks": 2}), ("一双筷子", {"chopsticks": 1}), ("一对鸽子和一双鞋", {"dove": 2, "shoe": 1}),
    ("画一对蜜蜂", {"bee": 2}), ("画两只羊", {"sheep": 2}), ("西瓜两个，写“甜”", {"melon": 2}),
    ("一条红鱼和一条蓝鱼", {"fish": 2}), ("一只狗，旁边还有一只狗", {"dog": 2}), ("两只羊，这两只羊是白的", {"sheep": 2}),
    ("三只猫，一只猫在睡觉", {"cat": 3}), ("一把伞、一把锁各一", {"umbrella": 1, "lock": 1}), ("星星和月亮各一个", {"star": 1, "moon": 1}),
    ("2碗米饭", {"rice": 2}), ("三桶爆米花", {"popcorn": 3}), ("一个桶和两个碗", {"bucket": 1, "bowl": 2}),
    ("五颜六色的气球", {"balloon": 1}), ("一把锁两把钥匙", {"lock": 1, "key": 2}), ("红色的马和白色的马各一匹", {"horse": 2}),
])
def test_objects_are_counted(prompt, wanted):
    assert counts(prompt) == wanted


@pytest.mark.parametrize("prompt", ["十二只羊", "来三十五只羊", "羊十五只"])
def test_large_numbers_are_many(prompt):
    assert counts(prompt) == {"sheep": 3} and read(prompt).too_many


@pytest.mark.parametrize("prompt, wanted", [
    ("三只猫和三只狗", {"cat": 2, "dog": 1}), ("五个苹果，一个梨，一根香蕉", {"apple": 1, "pear": 1, "banana": 1}),
    ("three dogs and two cats", {"dog": 2, "cat": 1}), ("a key and four stars", {"key": 1, "star": 2}),
])
def test_each_kind_named_has_room_before_a_second_of_another(prompt, wanted):
    assert counts(prompt) == wanted and TOO_MANY in enhance(prompt, 0).notes


@pytest.mark.parametrize("prompt, wanted", [
    ("除了狗什么都行", {}), ("除了狗还有一只羊", {"dog": 1, "sheep": 1}), ("除狗外都可以", {}),
    ("字用香蕉的颜色，“甜”", {}), ("西瓜的颜色是什么", {"melon": 1}),
])
def test_what_is_excepted_or_named_for_its_colour_is_no_object(prompt, wanted):
    assert counts(prompt) == wanted


# ---------------------------------------------------------------- where and on what

@pytest.mark.parametrize("prompt, order", [
    ("右边一只羊，左边一头牛", ["cow", "sheep"]), ("左边一只羊，右边一头牛", ["sheep", "cow"]),
    ("a cow on the right and a sheep on the left", ["sheep", "cow"]), ("右边一把锁，左边一个闹钟，中间一棵树", ["clock", "oak", "lock"]),
])
def test_objects_on_both_sides_stand_in_this_order(prompt, order):
    asked = read(prompt)
    assert [group.thing for group in asked.groups] == order and asked.place == "centre"


@pytest.mark.parametrize("prompt, size", [
    ("竖版，“春”", (192, 128)), ("横版卡片，“春”", (128, 192)), ('portrait format, "Hi"', (192, 128)), ('"Hi" in landscape orientation', (128, 192)),
    ("192x96，“春”", (96, 192)), ("160×224的图，“春”", (224, 160)), ("正方形，两个苹果，“春”", (128, 128)), ('a portrait of a cat, "Hi"', (128, 128)),
])
def test_a_format_is_kept(prompt, size):
    poster = enhance(prompt, 0).poster
    assert (poster.height, poster.width) == size
    poster = enhance(prompt, 0, 256, 256).poster                 # who calls it with a size knows better
    assert (poster.height, poster.width) == (256, 256)


def test_a_size_that_cannot_be_is_told():
    assert enhance("1024x768，“春”", 0).notes[0] == "1024x768 is no size it paints (multiples of 32 from 96 to 256)"
    assert not [note for note in enhance("“1024x768”，一只猫", 0).notes]


@pytest.mark.parametrize("prompt, wanted", [
    ("草地上一只熊猫", {"green"}), ("夜空，一颗星星", {"black", "blue"}), ("大海里一条鲨鱼", {"blue"}), ("雪地里一只狗", {"white"}),
    ("a sheep on the grass", {"green"}), ("a rocket in the night sky", {"black", "blue"}), ("黑板，“上课”", {"black"}),
    ("红底，草地上一只熊猫", {"red"}),
])
def test_a_scene_has_its_colour_where_the_objects_stand_out(prompt, wanted):
    found = [enhance(prompt, seed).poster for seed in range(12)]
    assert {one.background for one in found} == wanted and all(len(one.groups) <= 1 for one in found)


def test_no_object_is_lost_in_its_scene():
    for seed in range(8):
        assert enhance("草地上一只青蛙", seed).poster.background in backgrounds("frog")
    assert len({enhance("不要草地，一只羊", seed).poster.background for seed in range(12)} - {"green"}) > 1


# ---------------------------------------------------------------- over and under

@pytest.mark.parametrize("prompt, slot, place", [
    ("两只猫在“晚安”下面", "top", "bottom"), ("一只橘猫趴在“晚安”下面", "top", "bottom"), ("太阳在文字“早安”的上方", "bottom", "top"), ("“晚安”在猫的下面", "bottom", None),
    ("“早安”写在太阳上面", "top", None), ("猫的上方写着“晚安”", "top", None), ("在太阳下面写“早安”", "bottom", None),
    ("猫下面是红色的“喵”", "bottom", None), ("文字“早安”，下面是太阳", None, "bottom"), ("桌子上面有一只猫，“喵”", None, "top"),
])
def test_what_is_over_or_under_something_has_a_place(prompt, slot, place):
    asked = read(prompt)
    assert ([one.slot for one in asked.texts], asked.place) == ([slot], place)


@pytest.mark.parametrize("prompt, wanted", [
    ("请做一张寻狗启事，画一只狗，“寻狗”", {"dog": 1}), ("一张床，“卧室”", {"bed": 1}), ("两只橘猫躺着，“懒”", {"cat": 2}),
    ("“晚安”在猫的下面", {"cat": 1}), ("把“早安”写在猫的上面，狗在旁边", {"cat": 1, "dog": 1}), ("在猫旁边写“喵”", {"cat": 1}),
    ("贴在冰箱上面的海报，“记得关门”", {}), ("放在桌子上的，“请勿吸烟”", {}),
])
def test_what_something_is_beside_is_an_object_and_where_a_poster_hangs_is_none(prompt, wanted):
    assert counts(prompt) == wanted


@pytest.mark.parametrize("prompt, texts", [
    ("标题是新年快乐，一只猫", ["新年快乐"]), ("标题叫我爱读书，红色", ["我爱读书"]), ("标题是红色的", []), ("标题是大字，一只猫", []),
])
def test_a_title_needs_no_quotation_marks(prompt, texts):
    assert [region.text for region in enhance(prompt).poster.regions] == texts
