"""Edits: what they change and what they leave, how they are asked for, and that nothing held out is trained on."""

import random
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from minglm.images import rgb
from minglm.world import edit_prompts, instructions_en, instructions_zh
from minglm.world.characters import is_han, unknown_characters
from minglm.world.colours import CALLED_EN, CALLED_ZH, COLOURS
from minglm.world.draw import has_room, is_held_out
from minglm.world.edit_prompts import load_edits, write_edits
from minglm.world.edits import KINDS, SIZES, edit
from minglm.world.explicit import explicit
from minglm.world.goals import STYLES_EN, STYLES_ZH, goal
from minglm.world.instructions_en import english
from minglm.world.instructions_zh import chinese
from minglm.world.layout import wrap
from minglm.world.looks import MARKS, PLAIN, VISIBLE, Look, choose_look, difference, held_out_look, shown
from minglm.world.objects import sprite, things
from minglm.world.posters import PLACES, Region
from minglm.world.quotes import quote, quoted, unquoted
from minglm.world.scenes import Edit, Scene, missing, parts
from minglm.world.styles import STYLES, restyle
from minglm.world.texts import contains_held_out, held_out
from minglm.world.translations import pairs, to_write, told, translated

LOCAL = [kind for kind in KINDS if kind not in ("background", "restyle", "identity", "combine")]


@pytest.fixture(scope="module")
def trained() -> list[Edit]:
    """1,000 training edits, of every kind as often as training sees it."""
    return [edit(5, i) for i in range(1000)]


@pytest.fixture(scope="module")
def each() -> list[Edit]:
    """12 training edits of each kind."""
    return [edit(6, i, kind=kind) for kind in KINDS for i in range(12)]


def pixels(scene: Scene) -> np.ndarray:
    return np.asarray(scene.image)


# ---------------------------------------------------------------- drawing edits

def test_an_edit_is_a_function_of_its_arguments():
    for i in range(30):
        one, two = edit(1, i), edit(1, i)
        assert one == two
        assert all((pixels(a) == pixels(b)).all() for a, b in zip((*one.sources, one.target), (*two.sources, two.target)))
    assert edit(1, 3) != edit(2, 3) and edit(1, 3) != edit(1, 4)


def test_drawing_leaves_the_random_module_alone():
    random.seed(1)
    first = random.random()
    random.seed(1)
    edit(0, 3)
    assert random.random() == first


def test_all_kinds_sizes_languages_and_numbers_of_pictures_appear(trained):
    kinds = Counter(one.kind for one in trained)
    assert set(kinds) == set(KINDS) and min(kinds.values()) > 25
    assert kinds["combine"] > 100 < kinds["identity"]                            # these have the most to learn
    assert {(one.target.height, one.target.width) for one in trained} == set(SIZES)
    assert 400 < sum(one.language == "en" for one in trained) < 600
    assert set(Counter(len(one.sources) for one in trained)) == {1, 2, 3, 4}
    assert all(len(one.sources) == 1 for one in trained if one.kind != "combine")
    mixed = [one for one in trained if len({(s.height, s.width) for s in one.sources}) > 1]
    assert len(mixed) > 60
    assert {style for one in trained if (style := one.target.style)} == set(STYLES)


def test_size_kind_and_language_can_be_chosen():
    for kind in KINDS:
        one = edit(2, 0, 128, 192, kind=kind, language="zh")
        assert (one.kind, one.language, one.target.height, one.target.width) == (kind, "zh", 128, 192)
        assert kind == "combine" or one.sources[0].image.size == one.target.image.size == (192, 128)


@pytest.mark.parametrize("bad, words", [(dict(split="test"), "unknown split 'test'.*train"),
                                        (dict(kind="repaint"), "unknown kind 'repaint'.*recolour text"),
                                        (dict(height=100), "size 100x")])
def test_bad_arguments_are_named(bad, words):
    with pytest.raises(ValueError, match=words):
        edit(0, 0, **bad)


# ---------------------------------------------------------------- what changes and what does not

def test_source_and_target_differ_only_inside_the_region(each):
    for one in each:
        if len(one.sources) > 1:
            continue
        source, target, region = pixels(one.sources[0]), pixels(one.target), one.region
        differ = (source != target).any(-1)
        assert differ.any() and not (differ & ~region).any(), one.instruction
        if one.kind in LOCAL:                # and the region is no larger than it has to be
            assert region.mean() < 0.75
            for part in missing(parts(one.sources[0]), parts(one.target)):
                x0, y0, x1, y1 = part.box
                assert region[y0:y1, x0:x1].all()


def test_with_another_background_letters_and_objects_stay_as_they_are():
    for i in range(20):
        one = edit(7, i, kind="background")
        rest = ~one.region
        assert 0.01 < rest.mean() < 0.9
        assert (pixels(one.sources[0])[rest] == pixels(one.target)[rest]).all()
        colour = COLOURS[one.target.background][0]
        assert not (pixels(one.target)[rest] == colour).all(-1).any()            # nothing of it is background


def test_only_what_the_kind_says_is_changed(each):
    for one in each:
        a, b = one.sources[0], one.target
        same = {name for name in ("background", "groups", "place", "regions", "style", "looks") if getattr(a, name) == getattr(b, name)}
        changed = {"background", "groups", "place", "regions", "style"} - same
        if one.kind.endswith("text"):
            assert changed == {"regions"}
        elif one.kind.endswith("object"):
            assert changed <= {"groups", "place"} and changed
        elif one.kind in ("background", "restyle"):
            assert changed == {dict(background="background", restyle="style")[one.kind]}
        if one.kind not in ("combine", "identity"):                              # and what is not, has not moved
            gone, come = missing(parts(a), parts(b)), missing(parts(b), parts(a))
            texts = {r.text for r in (*missing(a.regions, b.regions), *missing(b.regions, a.regions))}
            assert all(p.region is None or p.region.text in texts for p in (*gone, *come)), one.instruction
            assert not one.kind.endswith("text") or not any(p.thing for p in (*gone, *come))


def test_each_kind_does_what_it_is_called(each):
    for one in each:
        a, b = one.sources[0], one.target
        gone, come = missing(a.regions, b.regions), missing(b.regions, a.regions)
        number = sum(g.count for g in b.groups) - sum(g.count for g in a.groups)
        if one.kind == "recolour text":
            assert [r.text for r in gone] == [r.text for r in come] and gone[0].colour != come[0].colour
        elif one.kind in ("replace text", "translate text"):
            assert len(gone) == len(come) == 1 and (gone[0].slot, gone[0].colour) == (come[0].slot, come[0].colour)
            assert one.kind == "replace text" or translated(gone[0].text) == come[0].text
        elif one.kind == "move text":
            assert gone[0].text == come[0].text and gone[0].slot != come[0].slot
        elif one.kind in ("add text", "remove text"):
            assert bool(come) == (one.kind == "add text") == (not gone)
        elif one.kind == "swap object":
            assert number == 0 and {g.thing for g in a.groups} != {g.thing for g in b.groups}
        elif one.kind in ("add object", "remove object"):
            assert (number > 0) == (one.kind == "add object") and number != 0
        elif one.kind == "recount object":
            assert number != 0 and [g.thing for g in a.groups] == [g.thing for g in b.groups]
        elif one.kind == "move object":
            assert number == 0 and a.place != b.place


def test_everything_has_room_and_can_be_seen(trained):
    for one in trained[:400]:
        for scene in (*one.sources, one.target):
            assert has_room(scene)
            assert all(scene.stands_out(group.thing, scene.background) for group in scene.groups)


def test_who_is_shown_keeps_the_look():
    for kind in ("identity", "combine"):
        for i in range(25):
            one = edit(8, i, kind=kind)
            looks = {name: look for scene in one.sources for name, look in scene.looks}
            kept = {name: look for name, look in looks.items() if name in {g.thing for g in one.target.groups}}
            assert dict(one.target.looks) == kept and (kept or kind == "combine")
            # and whoever sees the first picture only by its name would paint another
            assert all(difference(name, look) > VISIBLE for name, look in kept.items())


def test_several_pictures_give_what_their_roles_say():
    for i in range(60):
        one = edit(9, i, kind="combine")
        given = dict(zip(one.roles, one.sources))
        groups = tuple(g for role, scene in zip(one.roles, one.sources) if role == "object" for g in scene.groups)
        assert len(one.roles) == len(one.sources) and one.target.groups == groups
        assert sorted(r.text for r in one.target.regions) == sorted(r.text for r in given["text"].regions if "text" in given) if "text" in given else not one.target.regions
        if "background" in given:
            assert one.target.background == given["background"].background


# ---------------------------------------------------------------- instructions

def test_only_texts_are_quoted_and_what_cannot_be_known_is(trained):
    for one in trained:
        said = [text for text in quoted(one.instruction)]
        every = [r.text.replace("\n", " ") for scene in (*one.sources, one.target) for r in scene.regions]
        assert set(said) <= set(every), one.instruction
        new = {r.text for r in one.target.regions} - {r.text for scene in one.sources for r in scene.regions}
        if one.kind != "translate text":
            assert {text.replace("\n", " ") for text in new} <= set(said), one.instruction


def test_the_decoder_is_given_what_the_instruction_quotes_and_the_target_shows(trained):
    for one in trained:
        shown = [r.text for r in one.target.regions if " ".join(r.text.split()) in told(one.instruction)]
        assert one.strings == [line for text in shown for line in wrap(text, one.target.width)], one.instruction
    replaced = [one for one in trained if one.kind == "replace text" and len(quoted(one.instruction)) == 2]
    assert replaced
    for one in replaced:                     # not the old words
        assert one.strings and not {region.text for region in one.sources[0].regions} & set(one.strings)
    moved = [one for one in trained if one.kind == "move text" and quoted(one.instruction)]
    assert moved and all(one.strings for one in moved)
    plain = [one for one in trained if one.kind == "background"]
    assert plain and not any(one.strings for one in plain)


def test_a_goal_tells_the_target_and_quotes_no_word_that_nobody_told(trained):
    for one in trained:
        caption = goal(one)
        assert quoted(caption) == one.strings, caption
        told_all = replace(one, instruction=" ".join(quote(" ".join(r.text.split())) for r in one.target.regions))
        if not one.target.style and one.kind != "combine":
            assert goal(told_all) == explicit(one.target)
        assert (one.target.style != "") == any(style in caption for style in (*STYLES_EN.values(), *STYLES_ZH.values()))
    both = [one for one in trained if one.kind == "combine" and "text" in one.roles and not one.strings]
    assert both and all("picture" in goal(one) or "张图" in goal(one) for one in both)
    twice = edit(1, 0, 192, 192, kind="background")
    words = [Region("top", "Hi", "black"), Region("top", "Bye", "black")]
    twice = replace(twice, instruction="blue", target=replace(twice.target, regions=tuple(words), language="en", background="white"))
    assert goal(twice).count("black words at the top") == 1


def test_what_may_change_is_told_by_cells(trained):
    for one in trained:
        height, width = one.region.shape
        assert one.cells.shape == (height // 32, width // 32)
        for (y, x), free in np.ndenumerate(one.cells):
            inside = one.region[32 * y:32 * y + 32, 32 * x:32 * x + 32]
            assert free == (inside.mean() > 1 / 8)                               # two sides of two pixels


def colour_names(colour: str) -> list[str]:
    return [colour, *CALLED_EN[colour], *(name.removesuffix("色") for name in (COLOURS[colour][1], *CALLED_ZH[colour]))]


def thing_names(name: str) -> list[str]:
    kind = things()[name]
    return [*(n.lower() for form, (_, plural) in kind.forms.items() for n in (form, plural)), *kind.zh_names]


def mistyped(said: str, names: list[str]) -> bool:
    """Whether a name is in what is said, but for two letters exchanged."""
    letters = [sorted(name) for name in names]
    return any(sorted(said[i:i + len(one)]) == one for one in letters for i in range(len(said)))


def test_instructions_mention_what_they_must(trained):
    for one in trained:
        said, a, b = unquoted(one.instruction).lower(), one.sources[0], one.target
        must = []
        if one.kind in ("background", "recolour text"):
            come = missing(b.regions, a.regions)
            must.append(colour_names(come[0].colour if come else b.background))
        if one.kind in ("swap object", "add object"):
            must += [thing_names(g.thing) for g in missing(b.groups, a.groups)]
        if one.kind in ("swap object", "remove object", "identity"):
            must += [thing_names(g.thing) for g in (missing(a.groups, b.groups) or a.groups)]
        if one.kind == "combine":
            must += [thing_names(g.thing) for g in b.groups]
        if one.kind == "identity" and a.background != b.background:
            must.append(colour_names(b.background))
        for names in must:
            assert any(name in said for name in names) or mistyped(said, names), (one.instruction, names)


def test_an_instruction_is_in_its_language(trained):
    for one in trained:                      # marks may be the other's
        assert bool(re.search("[\u3400-\u9fff]", unquoted(one.instruction))) == (one.language == "zh"), one.instruction


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write, language", [(english, "en"), (chinese, "zh")])
def test_an_edit_can_be_asked_for_in_many_ways(kind, write, language):
    one = edit(10, 1, kind=kind, language=language)
    said = [write(random.Random(i), one) for i in range(200)]
    assert len(set(said)) > 120, Counter(said).most_common(3)
    ends = Counter(text[-1] for text in said)
    assert len(ends) > 3                                                          # a full stop, another mark, none
    if language == "en":
        assert any(text[0].islower() for text in said) and any(text[0].isupper() for text in said)


def test_what_may_be_left_out_is_told_half_of_the_time():
    told = Counter()
    for i in range(200):
        one = edit(11, i, kind="add text", language="en")
        [new] = missing(one.target.regions, one.sources[0].regions)
        said = unquoted(one.instruction).lower()
        told["colour"] += any(name in said for name in colour_names(new.colour))
        told["place"] += any(way in said for way in ("top", "bottom", "left", "right", "middle", "cent", "upper", "lower", "above", "below"))
    assert 40 < told["colour"] < 140 and 60 < told["place"] < 160


@pytest.mark.parametrize("kind", ["recolour text", "replace text", "remove text", "move text", "translate text"])
def test_of_several_texts_the_one_that_is_meant_is_named(kind):
    ways = ("top", "bottom", "left", "right", "middle", "cent", "up", "lower", "above", "below")
    several = 0
    for i in range(60):
        one = edit(12, i, kind=kind, language="en")
        a = one.sources[0]
        gone = missing(a.regions, one.target.regions)
        if len(a.regions) == 1 or len(gone) > 1:
            continue
        said, several = unquoted(one.instruction).lower(), several + 1
        named = gone[0].text.replace("\n", " ") in quoted(one.instruction)
        by_colour = any(name in said for name in colour_names(gone[0].colour))
        assert named or by_colour or any(way in said for way in ways), one.instruction
    assert several > 10


# ---------------------------------------------------------------- held out

def test_nothing_held_out_is_drawn_for_training(trained, each):
    evaluated = {one.instruction for one in load_edits()}
    for one in (*trained, *each):
        scenes = (*one.sources, one.target)
        assert not any(is_held_out(scene) for scene in scenes)
        for text in (*(r.text for scene in scenes for r in scene.regions), *quoted(one.instruction)):
            assert not contains_held_out(text), text
        assert not any(held_out_look(look) for scene in scenes for _, look in scene.looks)
        outside = unquoted(one.instruction)
        assert not instructions_en.RESERVED.search(outside) and not re.search("the same|one poster of", outside, re.IGNORECASE)
        assert not any(word in outside for word in ("还是这", "合成一张")) and one.instruction not in evaluated
    assert instructions_zh.RESERVED == ("还是这", "合成一张")


def test_training_shows_looks_on_both_sides_of_what_is_held_out(trained):
    looks = [look for one in trained for _, look in one.target.looks]
    assert len(looks) > 150 and {look.mark for look in looks} == {"", *MARKS} - {"cross"}
    assert any(look.hue > 210 for look in looks) and any(0 < look.hue < 150 for look in looks)
    assert any(abs(look.turn) > 60 for look in looks) and any(0 < abs(look.turn) < 40 for look in looks)


def test_committed_edits_are_what_the_code_writes(tmp_path):
    write_edits(tmp_path)
    assert (tmp_path / "miniedit.jsonl").read_bytes() == (edit_prompts.PROMPTS / "miniedit.jsonl").read_bytes()


def test_miniedit_has_its_cells_and_is_held_out():
    found = load_edits()
    assert Counter((one.kind, one.language) for one in found) == {(kind, way): 10 for kind in KINDS for way in ("en", "zh")}
    given = 0
    for one in found:
        scenes = (one.target, *one.sources)
        shown_first = [scene for scene in scenes if scene.groups]
        assert not shown_first or is_held_out(shown_first[0])
        own = set() if one.kind != "translate text" else {r.text for r in missing(one.target.regions, one.sources[0].regions) + missing(one.sources[0].regions, one.target.regions)}
        assert all(held_out(r.text.casefold()) for scene in scenes for r in scene.regions if r.text not in own)
        if one.kind == "translate text":     # a pair that training never shows is given
            seen = not any(map(contains_held_out, own))
            assert len(quoted(one.instruction)) == (1 if seen else 2)
            given += not seen
        assert all(held_out_look(look) for scene in scenes for _, look in scene.looks)
        assert one.kind != "identity" or one.target.looks
        start = ("The same ", "On a") if one.language == "en" else ("还是这", "这几张图合成一张")
        assert one.instruction.startswith(start)
        assert not unknown_characters("".join(one.strings))
    assert 6 <= given <= 14
    some = load_edits(20)
    assert len(some) == 20 and some == load_edits(20) and all(one in found for one in some)


def test_miniedit_tells_everything_that_is_new():
    for one in load_edits():
        said = unquoted(one.instruction)
        come = missing(one.target.regions, one.sources[0].regions)
        zh = one.language == "zh"
        if one.kind in ("add text", "identity"):
            for region in come:
                assert (COLOURS[region.colour][1] if zh else region.colour) in said
                assert (PLACES[region.slot] if zh else dict(centre="in the centre").get(region.slot, region.slot)) in said
        if one.kind in ("background", "identity", "combine"):
            assert (COLOURS[one.target.background][1] if zh else one.target.background) in said
        if one.kind in ("identity", "move object"):
            assert (PLACES[one.target.place] if zh else one.target.place) in said


def test_a_bad_limit_is_named():
    with pytest.raises(ValueError, match="limit of 0"):
        load_edits(0)


# ---------------------------------------------------------------- translations, looks, styles

def test_the_dictionary_is_one_to_one_and_can_be_drawn():
    found = pairs()
    assert len(found) > 500 and len({en.casefold() for en, _ in found}) == len({zh for _, zh in found}) == len(found)
    assert not unknown_characters("".join(en + zh for en, zh in found))
    assert all(not is_han(en) for en, _ in found) and sum(is_han(zh) for _, zh in found) > len(found) - 3
    for en, zh in found:
        assert translated(en) == translated(en.upper()) == zh and (translated(zh) == en or not is_han(zh))
    assert translated("no such text") is None
    free = [pair for pair in found if not any(map(contains_held_out, pair))]
    assert len(free) > 300                                                        # enough to train on


@pytest.mark.parametrize("said, lines", [
    ("make the background blue", []),
    ('change "Welcome" to "Nice to meet you"', ["Welcome", "Nice to", "meet you"]),
    ('translate "Welcome" into Chinese', ["Welcome", "欢迎"]),
    ("把“欢迎”翻译成英文", ["欢迎", "Welcome"]),
    ("把“欢迎”翻译成英文：“Come in”", ["欢迎", "Come in"]),
    ('remove "Welcome"', ["Welcome"]),
    ("translate the text", []),
    ("“Chinese” in red", ["Chinese"]),
])
def test_what_is_told_is_the_quoted_and_the_looked_up(said, lines):
    assert to_write(told(said), [], 128) == lines


def test_every_word_for_translation_asks_for_one(trained):
    """Where a quoted text is to be translated, the decoder gets its translation, however it is put."""
    some = [one for one in trained if one.kind == "translate text" and quoted(one.instruction)]
    assert len(some) > 20
    for one in some:
        [new] = missing(one.target.regions, one.sources[0].regions)
        assert set(wrap(new.text, one.target.width)) <= set(one.strings) or "翻" in one.instruction or "ranslat" in one.instruction.lower(), one.instruction


@pytest.mark.parametrize("feature", [dict(hue=120), dict(flip=True), dict(turn=30), dict(turn=-90), *(dict(mark=mark, ink="blue") for mark in MARKS)])
def test_a_look_is_seen_and_leaves_the_usual_one_alone(feature):
    before = sprite("dog", 60).tobytes()
    look = Look(**feature)
    picture = shown("dog", 60, look)
    assert picture.size == (60, 60) and picture.mode == "RGBA" and picture.tobytes() != before
    assert difference("dog", look) > 5 and sprite("dog", 60).tobytes() == before
    assert difference("dog", PLAIN) == 0
    alpha = np.asarray(picture)[..., 3]
    assert alpha[alpha > 0].size > 500       # it is still there


@pytest.mark.parametrize("held", (False, True))
def test_looks_are_chosen_from_their_side(held):
    rng = random.Random(0)
    for _ in range(50):
        name = rng.choice(list(things()))
        look = choose_look(rng, name, held)
        assert held_out_look(look) == held and difference(name, look) > VISIBLE


def test_styles_differ_and_keep_the_size():
    one = edit(13, 0, kind="background")
    image = edit(13, 2, kind="swap object").target.image
    seen = {restyle(image, style, [(0, 0, 64, 64)]).tobytes() for style in ("", *STYLES)}
    assert len(seen) == 4 and restyle(image, "inverted", []).getpixel((0, 0)) == tuple(255 - v for v in image.getpixel((0, 0)))
    assert all(rgb(restyle(image, style, [])).size == image.size for style in STYLES) and one.target.style == ""
    with pytest.raises(ValueError, match="unknown style 'cubism'.*outline"):
        restyle(image, "cubism", [])


def test_a_scene_is_restyled_as_a_whole():
    scene = replace(edit(14, 0, kind="swap object").target, looks=())
    again = replace(scene, style="inverted")
    assert (pixels(again) == 255 - pixels(scene)).all()
