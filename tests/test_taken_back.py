"""What a prompt does not want, or takes back, in the order and the words in which people do so."""

import pytest
from as_read import colours, counts

from minglm.world.quotes import masked
from minglm.world.reading import read


def texts(prompt):
    return [one.text for one in read(prompt).texts]


# ---------------------------------------------------------------- declined

@pytest.mark.parametrize("prompt, wanted", [
    ("a card with no birds or bees, just a flower", {"flower": 1}), ("no cats, dogs or mice please, one fox", {"fox": 1}),
    ("don't draw a bus, draw a train", {"train": 1}), ("instead of a cat paint a dog", {"dog": 1}), ("no red cats", {}),
    ("a cake and a candle. Actually, leave out the candle.", {"cake": 1}), ("a bear and a drum, but lose the drum", {"bear": 1}),
    ("一只狗一只猫，猫就算了，绿底", {"dog": 1}), ("星星、月亮都不要，画个太阳", {"sun": 1}), ("不要猫和狗，一只羊", {"sheep": 1}),
    ("别画蛇，画条龙", {"dragon": 1}), ("猫不要，狗也不要，画只鸟", {"bird": 1}), ("一朵云和一把伞，云一朵也别画", {"umbrella": 1}),
    ("我不是猫，我是狗", {"dog": 1}),
])
def test_what_is_declined_is_not_painted(prompt, wanted):
    assert counts(prompt) == wanted


@pytest.mark.parametrize("prompt, wanted", [
    ("no cats, a dog and a fox", {"dog": 1, "fox": 1}), ("not a red cat but a black one", {"cat": 1}),
    ("a black cat, not a white cat", {"cat": 1}), ("don't forget the milk and a cow", {"milk": 1, "cow": 1}), ("no problem, a cat", {"cat": 1}),
    ("一只猫不要太胖", {"cat": 1}), ("有没有猫？一只狗", {"cat": 1, "dog": 1}), ("不要黑猫，要白猫", {"cat": 1}),
    ("别忘了画猫", {"cat": 1}), ("一只特别的猫", {"cat": 1}), ("画只猫，别挡住字", {"cat": 1}),
])
def test_what_is_not_declined_is(prompt, wanted):
    assert counts(prompt) == wanted


@pytest.mark.parametrize("prompt, background, wanted", [
    ("black would clash, so white please, a hat", "white", []), ("the red one won't do: yellow, a bee", "yellow", []),
    ('"Hi" in red would be great', None, ["red"]), ("绿色的不好看，用紫色，一朵花", "purple", []), ("灰里透蓝的底，“雾”", "gray", [None]),
    ("黑底太暗，白底吧，一把锁", "white", []),
])
def test_a_colour_found_wanting_is_not_taken(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


@pytest.mark.parametrize("prompt, wanted", [
    ('a poster that says "Sale", not "Sales"', ["Sale"]), ("写“开业大吉”，不要写“停业”", ["开业大吉"]), ("标题“诗经”不用写，写“关雎”", ["关雎"]),
    ('"To be" or not', ["To be"]), ("“禁止吸烟”不要太小", ["禁止吸烟"]), ("是不是“好”字", ["好"]),
])
def test_a_text_may_be_declined(prompt, wanted):
    assert texts(prompt) == wanted


# ---------------------------------------------------------------- corrected

@pytest.mark.parametrize("prompt, background, wanted", [
    ("two dogs and a cat... scratch that, a fox", None, {"fox": 1}), ("a lion, no, a tiger, on green", "green", {"tiger": 1}),
    ("a lion and a bear, no, a tiger", None, {"lion": 1, "tiger": 1}), ("a cat on red, no, on blue, with a dog", "blue", {"cat": 1, "dog": 1}),
    ("an owl. oops, I meant an eagle. brown", "brown", {"eagle": 1}), ("purple background... hmm, no, green instead", "green", {}),
    ("a dog. never mind. a rabbit on pink", "pink", {"rabbit": 1}), ("a balloon, no wait, add a cake too", None, {"balloon": 1, "cake": 1}),
    ("a bear in a tent, no wait, on a bed", None, {"bear": 1, "tent": 1, "bed": 1}), ("a red card, a key. Change it to blue", "blue", {"key": 1}),
    ("purple. nope, green. a bell", "green", {"bell": 1}), ("blue paper (or rather white), a duck", "white", {"duck": 1}),
    ("一头牛，不，一匹马，黄底", "yellow", {"horse": 1}), ("还是粉色好，一只兔子", "pink", {"rabbit": 1}),
    ("蓝底……就绿底吧，一只青蛙", "green", {"frog": 1}), ("把背景从白色改成灰色，一把锁", "gray", {"lock": 1}),
    ("一只狗和一只猫，算了，一只熊", None, {"bear": 1}), ("一只狗和一只猫，不，一只熊", None, {"dog": 1, "bear": 1}),
    ("三个苹果太多了，两个苹果", None, {"apple": 2}), ("一只熊，再加一只狗", None, {"bear": 1, "dog": 1}),
    ("苹果、梨等等，红底", "red", {"apple": 1, "pear": 1}), ("背景用红色还是蓝色都行，一只猫", "red", {"cat": 1}),
])
def test_of_what_is_said_anew_the_last_counts(prompt, background, wanted):
    assert (read(prompt).background, counts(prompt)) == (background, wanted)


@pytest.mark.parametrize("prompt, background, wanted", [
    ('a red poster with "Hi" in yellow, wait, make the letters white', "red", ["white"]),
    ('a red poster with "Hi" in yellow, actually make it blue', "blue", ["yellow"]),
    ("红底，哦不对，蓝底，“春”", "blue", [None]), ("红底白字“爱”，算了，白底红字", "white", ["red"]),
])
def test_a_new_colour_replaces_one_of_the_same(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


@pytest.mark.parametrize("prompt, wanted", [
    ('"Tuesday", sorry, "Wednesday", white card', ["Wednesday"]), ("写“开业”，算了，写“开张”，红底", ["开张"]),
    ('"No", "wait", "actually"', ["No", "wait", "actually"]), ('"Go", no exclamation mark, "Stop"', ["Go", "Stop"]),
])
def test_a_new_text_replaces_the_one_before(prompt, wanted):
    assert texts(prompt) == wanted and masked('a "no" b') == 'a "\0\0" b'
