"""Numbers before, after and apart from their objects, and objects named again instead of a number."""

import pytest
from as_read import counts


@pytest.mark.parametrize("prompt, wanted", [
    ('3 x apple, "Hi"', {"apple": 3}), ("kite (2), white", {"kite": 2}), ("Lanterns! Three!", {"lantern": 3}),
    ("a cat, make it two please, on red", {"cat": 2}), ("candle, three of them, black background", {"candle": 3}),
    ("灯笼俩，红底", {"lantern": 2}), ("鸽子一对，粉底", {"dove": 2}), ("筷子一双", {"chopsticks": 1}), ("恐龙……三只", {"dinosaur": 3}),
    ("来个小羊图，两只，绿底", {"sheep": 2}), ("动车，两列", {"bullet train": 2}), ("鱼，一共三条", {"fish": 3}), ("床，两张", {"bed": 2}),
    ("一本书，不，三本", {"book": 3}), ("蜡烛一根就行", {"candle": 1}), ("蝴蝶，来两只吧", {"butterfly": 2}),
])
def test_a_number_may_follow_its_object_in_a_clause_of_its_own(prompt, wanted):
    assert counts(prompt) == wanted


@pytest.mark.parametrize("prompt, wanted", [
    ("a cake, two years", {"cake": 1}), ('a balloon, 2026, "Hi"', {"balloon": 1}), ("apples and pears, two", {"apple": 2, "pear": 1}),
    ("苹果和梨，两个", {"apple": 1, "pear": 1}), ("一只猫，写“三只”", {"cat": 1}), ("一只狗，三个字“汪汪汪”", {"dog": 1}),
    ("两个灯笼一个月亮", {"lantern": 2, "moon": 1}), ("手套一副，两双袜子", {"gloves": 1, "socks": 2}), ("3只猫，海报两张", {"cat": 3}),
    ("两只蜜蜂一罐蜂蜜", {"bee": 2, "honey": 1}), ("两只猫，一只猫在睡觉", {"cat": 2}),
])
def test_a_number_of_something_else_is_none_of_the_object(prompt, wanted):
    assert counts(prompt) == wanted


@pytest.mark.parametrize("prompt, wanted", [
    ("a pear and a pear", {"pear": 2}), ("bell, bell, bell", {"bell": 3}), ('bell; bell; "ding"', {"bell": 2}),
    ("- key\n- key\n- blue", {"key": 2}), ("one black cat and one white cat", {"cat": 2}), ("气球、气球，白底", {"balloon": 2}),
    ("a dog and dog food", {"dog": 1}), ("a dog and a dog bowl", {"dog": 1, "bowl": 1}), ("a cat, the cat is big", {"cat": 1}),
    ("a cat. The cat is on red.", {"cat": 1}),
])
def test_what_is_named_again_in_a_list_is_another(prompt, wanted):
    assert counts(prompt) == wanted
