"""The enhancer on prompts that it once misunderstood, each a case of a rule: none is here for its own sake."""

import pytest

from minglm.world.colours import text_colours
from minglm.world.enhancer import NO_PARTNER, NO_TEXT, NOT_KNOWN, NOT_WORN, TOO_MANY, enhance
from minglm.world.mentions import mentions
from minglm.world.objects import backgrounds
from minglm.world.quotes import quoted
from minglm.world.reading import read


def colours(prompt):
    asked = read(prompt)
    return asked.background, [one.colour for one in asked.texts]


# ---------------------------------------------------------------- whose colour

@pytest.mark.parametrize("prompt, colour", [
    ('flyer with yellow "Open Mic"', "yellow"), ('a banner with white lettering: "Congrats"', "white"),
    ('card with a pink title "Baby Shower"', "pink"), ('a placard of big red letters, "STOP"', "red"),
])
def test_what_a_sheet_is_said_to_hold_is_not_its_background(prompt, colour):
    assert colours(prompt) == (None, [colour])
    assert colours('poster in teal, "Hi"')[0] == "cyan" and colours('sign in red with "Hi"')[0] == "red"


@pytest.mark.parametrize("prompt, shades", [
    ('dark flyer, "Late Show"', {"black", "blue", "purple"}), ('"Spa Day" on a light-coloured card', {"white", "yellow", "pink", "cyan"}),
    ("深色的海报，写“夜市”", {"black", "blue", "purple"}),
])
def test_a_sheet_called_dark_or_light_is(prompt, shades):
    found = {enhance(prompt, seed).poster.background for seed in range(20)}
    assert found <= shades and len(found) > 1


@pytest.mark.parametrize("prompt, background, wanted", [
    ('background pink; object: rose; text: "Be mine"; text colour: red', "pink", ["red"]),
    ('robot poster - gray - "Beep" in green at the top', "gray", ["green"]),
    ('"Pool Party" at the bottom in yellow', None, ["yellow"]),
    ('"One" on the left in red and "Two" in blue on the right', None, ["red", "blue"]),
    ('navy card, heading "Gala" in the top left corner, in cream, with a violin', "blue", ["white"]),
    ('"Gala" at the top of the page in orange', None, ["orange"]),
    ('"Wow" in big bold green', None, ["green"]), ('"Wow" along the bottom in thick red and a dog', None, ["red"]),
    ('"LAST CHANCE" huge red', None, ["red"]), ('"LAST CHANCE" huge red card', "red", [None]),
    ('at the top "A", and at the bottom in pink "B"', None, [None, "pink"]),
    ('"Menu" at the top, green background', "green", [None]),
])
def test_a_colour_is_told_of_a_text_over_its_place_or_size(prompt, background, wanted):
    assert colours(prompt) == (background, wanted)


@pytest.mark.parametrize("prompt, thing, colour", [
    ('card with "Stay" in blue and a green dog', "dog", "blue"), ('"Moo" in white letters, a pink cow', "cow", "white"),
    ('a purple elephant, text "Big" in red', "elephant", "red"),
])
def test_the_colour_of_an_object_is_no_background_where_the_text_could_not_be_read(prompt, thing, colour):
    for seed in range(6):
        poster = enhance(prompt, seed).poster
        assert poster.background in backgrounds(thing) and poster.regions[0].colour == colour
        assert colour in text_colours(poster.background)


def test_the_colour_of_an_object_is_not_that_of_the_text_before_it():
    assert colours('"Honk" with a blue cow on blue') == ("blue", [None])
    assert colours('"Meow" with a purple cat') == ("purple", [None])


# ---------------------------------------------------------------- places

@pytest.mark.parametrize("prompt, slot", [
    ('"Good Night", a moon above', "bottom"), ('"Woof" and a dog at the bottom', "top"),
    ('a kite at the top of a yellow card that says "Fly"', "bottom"), ("下面画一条鱼，“年年有余”", "top"),
])
def test_a_text_left_open_stands_opposite_to_the_objects(prompt, slot):
    assert all(enhance(prompt, seed).poster.regions[0].slot == slot for seed in range(8))


@pytest.mark.parametrize("prompt, slot", [
    ('a cactus on the right and "Desert" on the left', "left"), ('"Espresso" on the right, coffee on the left', "right"),
    ("左边画一只熊猫，右边写“竹子”", "right"),
])
def test_a_larger_canvas_is_taken_rather_than_another_place(prompt, slot):
    for seed in range(4):
        found = enhance(prompt, seed)
        assert found.poster.regions[0].slot == slot and not found.notes


def test_what_has_no_room_where_it_was_asked_for_is_told():
    found = enhance('"Congratulations" on the left and a rocket on the right', 0)
    assert found.poster.place == "right" and found.poster.regions[0].slot != "left"
    assert [note.split(":")[0] for note in found.notes] == ["no room on the left"]
    found = enhance('a heart and "Yes" in the middle of a white card', 0)
    assert found.poster.place != "centre" and found.notes[0].startswith("no room in the centre: 'Yes' is on the ")


@pytest.mark.parametrize("prompt, slots, place", [
    ('"Sweet Dreams" over a bed', ["top"], None), ('"Mind Your Step" beneath the old ladder', ["bottom"], None),
    ('under the tree "Picnic"', ["bottom"], None), ('over the house "Up" and under the house "Down"', ["top", "bottom"], None),
    ('a whale below the words "Sea Life"', ["top"], "bottom"), ('an eagle above the title "Free"', ["bottom"], "top"),
    ('"Fresh" in green above "Daily" with a carrot', ["top", None], None),
    ('footer "Page 2", a pencil', ["bottom"], None), ('a school header with an owl, "News"', ["top"], None),
    ('"Party" over a purple background with a balloon', [None], None), ('"No" to cars over the town and a bus', [None], None),
])
def test_what_is_over_or_under_something_or_a_header_has_a_place(prompt, slots, place):
    asked = read(prompt)
    assert [one.slot for one in asked.texts] == slots and asked.place == place


# ---------------------------------------------------------------- numbers and names

@pytest.mark.parametrize("prompt, count, more", [
    ("14 roses", 3, True), ("thirteen black bats", 3, True), ("two dozen donuts", 3, True), ("25 fish on cyan", 3, True),
    ("十二只羊", 3, True), ("lemon x12", 3, True), ("a pair of drums", 2, False), ("high heels and a handbag", 2, False),
    ("two cactuses", 2, False), ("three mangos", 3, False), ("fireworks", 1, False), ("New Year 2026 star", 1, False), ("open 24 hours, with a taxi", 1, False), ("at 11:30 bees", 2, False),
])
def test_numbers_over_ten_and_plurals(prompt, count, more):
    asked = read(prompt)
    assert (asked.groups[0].count, asked.too_many) == (count, more) and (TOO_MANY in enhance(prompt).notes) == more


@pytest.mark.parametrize("prompt, things", [
    ("0 cats", []), ('0 cats and two dogs, "Hi"', ["dog"]), ("0只猫", []), ("0衬衫和一只狗", ["dog"]),
])
def test_none_of_an_object_is_no_object(prompt, things):
    assert [group.thing for group in enhance(prompt).poster.groups] == things


def test_a_quotation_of_blanks_is_no_text():
    found = enhance('a red poster with a cat and "  "')
    assert found.notes == (NO_TEXT,) and not found.poster.regions


@pytest.mark.parametrize("prompt, mark", [('A cat says "hello', '"'), ("一只猫，写着“你好", "“")])
def test_a_quotation_mark_without_a_partner_is_said(prompt, mark):
    assert NO_PARTNER.format(mark) in enhance(prompt).notes


@pytest.mark.parametrize("prompt, texts", [
    ("a Rock 'N' Roll party", []), ("drum 'n bass poster, 'LOUD'", ["LOUD"]), ("'Salt 'n' Pepper' on a card", ["Salt 'n' Pepper"]),
    ("the letter 'n' in red", ["n"]), ("a card: ``Don't worry''", ["Don't worry"]), ("`Two words` and `one`", ["Two words", "one"]),
    ("that`s a dog`s life", []),
])
def test_marks_of_other_habits(prompt, texts):
    assert quoted(prompt) == texts
    assert not read("rock 'n' roll night").groups


@pytest.mark.parametrize("prompt, background, wanted", [
    ('"Ship" in navy-blue', None, "blue"), ('mint-green card with "Mint"', "green", None), ('"Hi" in off-white on hot-pink', "pink", "white"),
    ('#8b0000 card, "Dark" in #FFF', "red", "white"), ('"Sand" in #000 on a #ffd700 background', "yellow", "black"),
    ('gren card, "Leaf"', "green", None), ('"Dawn" in bule on a yelllow card', "yellow", "blue"), ('a card for #dad, "Hi" in red', None, "red"),
])
def test_colours_have_many_spellings(prompt, background, wanted):
    assert colours(prompt) == (background, [wanted])


@pytest.mark.parametrize("word, thing", [
    ("baloon", "balloon"), ("gutiar", "guitar"), ("umbrela", "umbrella"), ("caarrot", "carrot"), ("carotr", None), ("moose", None), ("peony", None),
    ("Baloon", None), ("angel", None),
])
def test_a_slip_of_the_pen_is_no_other_word(word, thing):
    assert [m.value for m in mentions(f"a {word}") if m.kind == "thing"] == ([thing] if thing else [])


@pytest.mark.parametrize("prompt, wanted, worn", [
    ('a cat wearing a hat, "Hi"', {"cat"}, ("hat",)), ('a penguin that wears a red scarf and "Cold"', {"penguin"}, ("scarf",)),
    ('a dog wearing glasses and a cat, "Pals"', {"dog", "cat"}, ("glasses",)), ('a hat and a cat, "Hi"', {"hat", "cat"}, ()),
    ('hats to wear: "Sale", a hat', {"hat"}, ()), ("戴着一顶帽子的猫，“你好”", {"cat"}, ("hat",)),
    ("企鹅围着红色的围巾，“冷”", {"penguin"}, ("scarf",)), ("一双靴子，“新款”", {"boot"}, ()),
    ("火车穿过桥，“出发”", {"train", "bridge"}, ()),
])
def test_what_is_worn_is_left_out_and_told(prompt, wanted, worn):
    asked = read(prompt)
    assert {group.thing for group in asked.groups} == wanted and asked.worn == worn
    notes = [note for note in enhance(prompt).notes if note.startswith(NOT_WORN)]
    assert notes == ([NOT_WORN + ", ".join(worn)] if worn else [])


@pytest.mark.parametrize("prompt, missing", [
    ('a cat and a saucepan, "Hi"', "saucepan"), ('"Zoo" with two red walruses and a lion', "walruses"), ('a dog with a cat, "Hi"', None),
    ('"Hi" with a vintage look and a camera', None), ('a tree and a small "Hi"', None), ('two pears with a red title "Hi"', None),
])
def test_an_object_without_a_picture_is_told(prompt, missing):
    told = [note.removeprefix(NOT_KNOWN) for note in enhance(prompt).notes if note.startswith(NOT_KNOWN)]
    assert told == ([missing] if missing else [])


@pytest.mark.parametrize("prompt, background, colour", [
    ("a crab on orange “Low tide”", "orange", None),
    ("on pink 'It is a girl'", "pink", None),
    ('brown: "Bakery" in white', "brown", "white"),
    ("一只猫头鹰 紫色 “晚安”", "purple", None),
    ("灰色 复古风 「旧书」", "gray", None),
    ('黑色 一枚奖牌 "WIN" 黄色的英文', "black", "yellow"),
    # not: beside the words themselves, or with a background told
    ("红底 白色 “福”", "red", "white"), ("白色 “福” 红底", "red", "white"), ('a poster, white "Hello", on blue', "blue", "white"),
    ("蓝色背景，标题 红色 “开会”", "blue", "red"), ("绿底，白色：“春天”", "green", "white"),
])
def test_a_colour_that_stands_alone_is_the_background_s(prompt, background, colour):
    poster = enhance(prompt).poster
    assert poster.background == background and (colour is None or [r.colour for r in poster.regions] == [colour])
