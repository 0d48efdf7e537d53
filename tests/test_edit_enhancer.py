"""The enhancer of edits: what instructions lead to, as people type them; and what is seen on pictures."""

from dataclasses import replace
from functools import cache
from io import BytesIO
from itertools import count, islice

import numpy as np
import pytest
from PIL import Image, ImageFilter

from minglm.world.characters import columns
from minglm.world.colours import text_colours
from minglm.world.draw import draw, has_room
from minglm.world.edit_enhancer import lead, parted, worded
from minglm.world.edits import KINDS, edit
from minglm.world.goals import goal
from minglm.world.layout import wrap
from minglm.world.posters import Group, Poster, Region, arrange
from minglm.world.quotes import quoted
from minglm.world.scenes import Scene
from minglm.world.seen import see

SIDE = 192


def scene(background: str, groups: str, place: str, *texts: tuple[str, str, str]) -> Scene:
    """A scene; groups: such as "cat 2, dog 1"; texts: slot, words, colour."""
    some = [one.rsplit(" ", 1) for one in filter(None, groups.split(", "))]
    return Scene(background, tuple(Group(name, int(number)) for name, number in some), place,
                 tuple(Region(*text) for text in texts), SIDE, SIDE)


SCENES = {
    "A": scene("red", "cat 1", "centre", ("top", "SALE", "white")),
    "B": scene("blue", "", "centre", ("top", "SALE", "white"), ("bottom", "Open today", "yellow")),
    "C": scene("green", "cat 1, dog 1", "centre", ("bottom", "Hello", "white")),
    "D": scene("white", "cat 2", "centre"),
    "E": scene("yellow", "apple 1", "left", ("top", "小心", "black")),
    "H": scene("blue", "", "centre", ("top", "欢迎", "white"), ("bottom", "新年快乐", "yellow")),
}
# pictures | instruction | what is different in the target: bg, g(roups), p(lace), style, - or a text by number
TOLD = """
A | could u change the bg colour to dark green? | bg green
C | swap the green for blue in the background | bg blue
E | not a yellow background, make it cyan please | bg cyan
H | 背景太蓝了，换成绿色 | bg green
A | the letters are hard to read, make them yellow | 0 top yellow SALE
B | I want all the text in black | 0 top black SALE; 1 bottom black Open today
H | 把黄色的字改成绿色 | 1 bottom green 新年快乐
A | SALE is too harsh. Make it say «Careful» | 0 top white Careful
H | 第一行换成"热烈欢迎"，第二行别动 | 0 top white 热烈欢迎
H | 写错了，不是“新年快乐”，是“生日快乐” | 1 bottom yellow 生日快乐
A | add "Free" at the bottom in yellow | + bottom yellow Free
B | add a line 'call us' between the two lines | + centre white call us
E | 苹果下面写“甜”，红字 | + bottom red 甜
H | 只留“欢迎”，另一行删掉 | 1
C | no words please, just the animals | 0
A | "SALE" should go below the cat | 0 bottom white SALE
A | “SALE”放猫下面 | 0 bottom white SALE
C | not the cat, the dog should be a horse | g cat 1, horse 1
C | 不是换猫，是把狗换成马 | g cat 1, horse 1
D | make them dogs | g dog 2
A | replace the cat with a pencil | g pencil 1
E | 苹果放右边好一些 | p right
A | 猫换成狗然后移到左边 | g dog 1; p left
E | 给苹果配根香蕉 | g apple 1, banana 1
D | one cat is enough | g cat 1
C | I only want the dog, not the cat | g dog 1
C | take the cat out and leave the dog where it is | g dog 1
C | erase everything except the dog | g dog 1; 0
C | 除了狗都删掉 | g dog 1; 0
A | 搞成马赛克那种 | style pixel art
B | can i get the negative of it | style inverted
A | take the cat and put it on a blue background, no text | bg blue; 0
A | 还是这只猫，背景换黄色 | bg yellow; 0
A | 猫换成狗，下面加上“汪汪” | g dog 1; + bottom white 汪汪
A | remove the cat and make the text "Hi" | g ; 0 top white Hi
B | remove both texts and put a sun in the middle | 0; 1; g sun 1
AE | the cat of image 1 and the apple of image 2 on a white background | bg white; g cat 1, apple 1; 0
CAB | dog and cat from the first, words from the third | -
AB | put the cat from the first picture and the text from the second one together | 0; + top white xxxx; \
+ bottom yellow xxxxxxxxxx
AH | 猫用图1的，字用图2的，背景绿色 | bg green; 0; + top white xxxx; + bottom yellow xxxxxxxx
AB | use the background of picture 2 with the cat from picture 1 | bg blue; 0
A | do something nice | -
B | write Happy New Year in red at the top | -
A | replace the cat with a samovar | -
A | add a samovar next to the cat | -
A | remove the dog | -
A | 再好看点 | -
A | 先把字删了，再把猫移到右边 | 0; p right
C | replace both animals with a single bear | g bear 1
C | the cat can stay, the dog can go | g cat 1
A | 把“打折”改成“免费” | -
""".strip().split("\n")


def unread(one: Scene, instruction: str) -> Scene:
    """The scene as it is seen: texts that nobody quotes are rows of x."""
    return replace(one, regions=tuple(replace(region, text=seen(region.text, instruction))
                                      for region in one.regions))


def seen(text: str, instruction: str) -> str:
    there = any(text == region.text for one in SCENES.values() for region in one.regions)
    if not there or text in quoted(instruction):
        return text
    return "\n".join("x" * columns(line) for line in wrap(text, SIDE))


def wanted(one: Scene, told: str, instruction: str) -> tuple | None:
    """The target that a row of TOLD tells, as `short` has it."""
    texts = dict(enumerate(one.regions))
    for part in told.split("; "):
        what, _, rest = part.partition(" ")
        if what == "-":
            return None
        if what in ("bg", "p", "style"):
            one = replace(one, **{dict(bg="background", p="place").get(what, what): rest})
        elif what == "g":
            one = replace(one, groups=scene("red", rest, "centre").groups)
        elif not rest:
            del texts[int(what)]
        else:
            slot, colour, words = rest.split(" ", 2)
            texts[len(texts) + 9 if what == "+" else int(what)] = Region(slot, words, colour)
    return short(unread(replace(one, regions=tuple(texts.values())), instruction))


def short(one: Scene) -> tuple:
    return (one.background, one.groups, one.place if one.groups else "", one.style,
            sorted((region.slot, region.colour, region.text) for region in one.regions))


ROWS = [tuple(part.strip() for part in row.split("|")) for row in TOLD]


@pytest.mark.parametrize(("pictures", "instruction", "told"), ROWS)
def test_what_an_instruction_leads_to(pictures, instruction, told):
    scenes = [unread(SCENES[name], instruction) for name in pictures]
    found = lead(instruction, scenes, SIDE, SIDE)
    assert (found and short(found.target)) == wanted(SCENES[pictures[0]], told, instruction)


def test_what_an_instruction_leads_to_has_room_and_is_the_same_every_time():
    for pictures, instruction, told in ROWS:
        scenes = [unread(SCENES[name], instruction) for name in pictures]
        found = lead(instruction, scenes, SIDE, SIDE)
        assert found == lead(instruction, scenes, SIDE, SIDE)
        assert (found is None) == (told == "-") and (found is None or has_room(found.target))


def test_the_caption_quotes_what_the_instruction_tells_and_the_target_shows():
    for i in range(60):
        one = edit(7, i, kind=KINDS[i % len(KINDS)])
        found = lead(one.instruction, one.sources, one.height, one.width)
        if found:
            lines = [line for region in found.target.regions if region in found.said
                     for line in wrap(region.text, found.width)]
            assert quoted(goal(found)) == lines
    said = lead('add "Hi" at the bottom', [unread(SCENES["A"], "")], SIDE, SIDE)
    assert quoted(goal(said)) == ["Hi"] and "x" not in goal(said)


def test_instructions_for_training_are_understood():
    right = 0
    for i in range(120):
        one = edit(8, i, kind=KINDS[i % len(KINDS)])
        found = lead(one.instruction, one.sources, one.height, one.width)
        right += found is not None and short(found.target)[:4] == short(one.target)[:4]
    assert right >= 108


def test_nothing_is_led_to_that_has_no_room():
    full = scene("red", "", "centre", ("top", "x\nx\nx", "white"), ("bottom", "x\nx", "white"))
    assert "Hello" in lead('add "Hello" at the top', [full], SIDE, SIDE).target.strings
    full = replace(full, regions=(*full.regions, Region("bottom", "x", "black")))
    assert lead('add "Hello" at the top', [full], SIDE, SIDE) is None
    assert lead("make it blue", [SCENES["A"]], 128, SIDE) is None                # another size


# ---------------------------------------------------------------- texts that were read

def test_a_text_that_was_read_gets_its_words_and_the_rest_stays_unread():
    one = scene("blue", "", "centre", ("top", "xxxx\nxxxxxx", "white"), ("bottom", "xxx", "black"))
    first, second, third = worded(one, {"Monday": 40.0}).regions
    assert (first.text, second.text, third.text) == ("xxxx", "Monday", "xxx")
    assert {first.colour, second.colour} == {"white"} and (first.slot, second.slot) == ("top", "top")
    assert worded(one, {"Monday": 100.0}) == one                                 # nothing stands there
    assert worded(one, {"Sun": SIDE - 5.0}).regions[-1] == Region("bottom", "Sun", "black")


def test_a_text_of_several_lines_is_found_among_others():
    unread_ = Region("top", "xx\nxxxxxxxxxxxx\nxxxxx\nxxxx", "white")
    parts = parted(unread_, "thunderstorm later", 2, SIDE)
    assert [part.text for part in parts] == ["xx", "thunderstorm later", "xxxx"]


# ---------------------------------------------------------------- pictures

GROUNDS, SIZES = ("white", "black", "blue"), ((128, 128), (96, 160), (128, 192))


@cache
def posters() -> tuple[Poster, ...]:
    """Posters on few grounds: every other one takes seconds to know the objects on."""
    drawn = (draw("seen", i, *SIZES[i % len(SIZES)]) for i in count())
    return tuple(islice((poster for poster in drawn if poster.background in GROUNDS), 60))


def is_seen(poster: Poster, image: Image.Image) -> bool:
    """Whether ground and objects, places and colours are found."""
    one = see(image)
    (boxes, _), (found, _) = arrange(poster), arrange(one)
    return (poster.background, boxes) == (one.background, found) and (
        {(region.slot, region.colour) for region in poster.regions}
        == {(region.slot, region.colour) for region in one.regions})


def test_posters_are_seen():
    assert sum(is_seen(poster, poster.image) for poster in posters()) >= 57


def jpeg(image: Image.Image) -> Image.Image:
    image.save(file := BytesIO(), "JPEG", quality=60)
    return Image.open(file)


def noisy(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float32)
    values = values + np.random.default_rng(0).normal(0, 6, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("damage", [jpeg, noisy, lambda image: image.filter(ImageFilter.GaussianBlur(0.8))])
def test_damaged_posters_are_seen(damage):
    assert sum(is_seen(poster, damage(poster.image)) for poster in posters()[:15]) >= 13


def test_any_picture_is_seen_as_a_scene_with_room():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).resize((160, 128))
    noise = Image.fromarray(rng.integers(0, 255, (96, 96, 3), dtype=np.uint8))
    odd = [Image.new("RGB", (96, 96)), Image.new("RGBA", (96, 128)).convert("RGB"), photo, noise,
           Image.new("L", (100, 70), 90)]
    for image in odd:
        one = see(image, named=["cat"])
        assert (one.width, one.height) == image.size and arrange(one) is not None
    assert not see(odd[0]).regions and not see(odd[0]).groups and see(odd[0]).background == "black"


def test_texts_stay_legible_on_another_ground():
    words = (Region("top", "xxx", "blue"), Region("bottom", "xx", "black"))
    for ground in ("blue", "white", "black", "yellow"):
        scene = Scene("red" if ground == "white" else "pink", (), "centre", words)
        target = lead(f"make the background {ground}", [scene], 128, 128).target
        assert target.background == ground and all(r.colour in text_colours(ground) for r in target.regions)
        assert all(a.colour == b.colour for a, b in zip(words, target.regions) if a.colour in text_colours(ground))
