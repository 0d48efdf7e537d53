"""Whose colour: each colour that a prompt names belongs to the background, to a text, or to an object.

Each looks at its neighbours. Before a sheet, after "background" or "on", it is the background's; beside a
quotation or a word for letters it is the text's; before an object it is only what people call it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from minglm.world.asked import Request, between, joined
from minglm.world.characters import is_han
from minglm.world.chinese import MEASURES, NUMERAL
from minglm.world.colours import text_colours
from minglm.world.mentions import Mention
from minglm.world.objects import backgrounds, things

IS = (
    r"(is|are|be|should be|must be|colou?rs?|coloured|colored|in|on|of|with|an?|the|all|bright|plain|solid|"
    r"bold|big|large|huge|small|thick|thin|neon|painted|printed|"
    r"written|set|please|made|sort of|kind of|rather|very|a bit|pretty|just|simply|:|=|\(|,|"
    r"用|是|为|要|选|的|颜色|色|写成|涂|刷|染|成|做|设|换|采用|使用|：|（|，|\s)*"
)
LINKS = re.compile(IS, re.IGNORECASE)
TELLS = re.compile(
    r"\b(?!(an?|the|all|bright|plain|solid|please|bold|big|large|huge|small|thick|thin|neon)\b)\w|[:：(（=]",
    re.IGNORECASE,
)
ON = re.compile(
    r"\b(on|against|over|onto) (an? |the )?(all |plain |solid |bright |dark |deep |light |\w+ly )?$",
    re.IGNORECASE,
)
# "make it blue": what follows is the background's colour
MAKE = re.compile(
    r"\b(make|paint|do|have|want|keep|turn|need|like|set|colou?r) "
    r"(it|this|that|the (whole|entire) \w+|everything|"
    r"all of it|them)( to be| all| in| an?)* $|"
    r"\bcolou?r(,| is| should be|:)? $|\b(all|everything|entirely) (in )?$",
    re.IGNORECASE,
)
HOLDS = re.compile(r"\b(with|of) (an? |the |some )?(big |large |small |bright |\w+ly )*$", re.IGNORECASE)
# between a place and the colour of what stands there
IN = re.compile(
    r"( (?!and\b|with\b)[a-z]+)?,? ?(in|colou?red|painted|printed) "
    r"((an?|the|all|bright|bold|big|large|huge|small|thick|thin|neon|plain|solid|pure|very|colou?r) )*",
    re.IGNORECASE,
)
SHADES = {"dark": ("dark", "deep", "深", "暗"), "light": ("light", "pale", "浅", "淡")}
TONE = re.compile(r"[ -]?((colou?red|toned?) )?|色调?的?")
OF_THE = re.compile(r"( [a-z]+)? (of|on|in) (the|an?|my|our|this) ", re.IGNORECASE)
ELSE = re.compile(r"\b(and|with|plus)\b", re.IGNORECASE)


# what one or more objects are, or what they wear: 一朵红花, 两个蓝色的三角形, 穿红衣服
NUMBERED = re.compile(rf"{NUMERAL}(?![张幅份面])[{MEASURES}](大大的|小小的|[小大])?$|[穿戴拿抱举]着?$")
NOUN = re.compile(r"的?(?![的个]|主题|风格|色?调|色?系|基调|感觉|版|背景|底|字)[\u4e00-\u9fff]")
EACH = re.compile(r"(?<!第)[一二两三]$")
ARE = re.compile(r"(都|全|各)?[是要为]")
DIRECT = re.compile(r"\s*的?(小小的|大大的|可爱的|[小大老胖])?\s*")
# before and after a colour that is a clause of its own: grey: "Reserved"
BEGIN = re.compile(r"(^|[，。；！？、：,;:!?.\n]|[\u4e00-\u9fff]\s)\s*$")
APART = re.compile(r"\s*[，。；！？：,;:!?.\n]")
END = re.compile(r"\s*($|[，。；！？、,;!?\n])")


def colours(prompt: str, said: list[Mention], request: Request) -> None:
    """Give each colour to the background or to a text."""
    open_: list[Mention] = []
    lent: list[tuple[str, str]] = []         # colours of objects, with the object
    worn: set[str] = set()                   # colours of objects, in Chinese
    texts = [m for m in said if m.kind == "text"]

    def paint(text: Mention, colour: str) -> None:
        i = texts.index(text)
        if request.texts[i].colour is None:
            request.texts[i] = replace(request.texts[i], colour=colour)

    for i, m in enumerate(said):
        if m.kind != "colour":
            continue
        chinese, on = is_han(prompt[m.start:m.end]), ON.search(prompt[: m.start])
        before, after = beside(said, i)
        link = between(prompt, before, m) if before else ""
        linked = before is not None and LINKS.fullmatch(link) is not None
        told = linked and TELLS.search(link) is not None
        direct = after is not None and DIRECT.fullmatch(between(prompt, m, after)) is not None
        of_letters = before is not None and before.kind == "letters" and told    # text colour: red
        holds = direct and HOLDS.search(prompt[:m.start]) is not None      # a sign with red letters
        if further := over_place(prompt, said, i, direct):
            before, linked, told = further, True, True
        if before and before.kind == "text" and chinese and not link and END.match(prompt, m.end):
            paint(before, m.value)           # “爱”红色，“家”蓝色
        elif (
            request.background is None
            and (on or MAKE.search(prompt[: m.start]) and not of_letters)
            and not (
                after
                and (
                    direct
                    and (after.kind == "thing" or after.kind == "text" and not on)
                    or after.kind == "letters"
                    and joined(prompt, m, after, 9)
                )
            )
        ):
            request.background = m.value  # on red, make it red
        elif (
            before
            and before.kind == "text"
            and told
            and not (after and after.kind == "sheet" and joined(prompt, m, after, 14))
            and not (holds and after.kind == "thing")
        ):
            paint(before, m.value)           # "Hello" in white
        elif (
            before
            and before.kind == "sheet"
            and (told or link == " " and END.match(prompt, m.end))
            and request.background is None
            and not (holds and after.kind in ("text", "letters", "thing"))
        ):
            request.background = m.value  # poster in red, background: red, background red
        elif (
            before
            and before.kind == "letters"
            and (
                told
                or linked
                and chinese
                and not (
                    after and after.kind in ("text", "sheet", "letters") and joined(prompt, m, after, 9)
                )
            )
        ):
            paint_nearest(prompt, before, texts, paint, m.value)                 # text in white
        elif after and after.kind == "sheet" and joined(prompt, m, after, 24) and request.background is None:
            request.background = m.value  # red poster
        elif (
            after
            and after.kind == "text"
            and joined(prompt, m, after, 12)
            and " and " not in between(prompt, m, after)
            and not (request.background is None and alone(prompt, m, after))
        ):
            paint(after, m.value)            # white "Hello"
        elif after and after.kind == "letters" and joined(prompt, m, after, 14):
            paint_nearest(prompt, after, texts, paint, m.value)                  # white letters
        elif after and after.kind == "thing" and (direct and (
                " " not in between(prompt, m, after) or not chinese)):
            worn |= {m.value} if chinese else set()
            counted = chinese and NUMBERED.search(prompt[:m.start])
            if not counted and m.value not in things()[after.value].colours:
                lent.append((m.value, after.value))      # a blue cat: what is blue is open
        elif not (chinese and of_object(prompt, said, i)):
            open_.insert(0, m)               # on red; red, cat
    for m in open_:
        if request.background is None:
            request.background = m.value
        elif len(texts) == 1:
            paint(texts[0], m.value)
    if len(worn) > 1:
        lent = []                            # red flowers and green leaves ask for neither
    for colour, thing in lent:               # only suggested, so not where it could not be seen
        readable = all(one.colour is None or one.colour in text_colours(colour) for one in request.texts)
        if request.background is None:
            if readable and colour in backgrounds(thing):
                request.background = colour
        elif len(texts) == 1 and colour in text_colours(request.background):
            paint(texts[0], colour)


def alone(prompt: str, m: Mention, text: Mention) -> bool:
    """Whether a colour before a quotation is a clause of its own: grey: "Reserved"; 黄色 “排排队”."""
    gap = between(prompt, m, text)
    apart = APART.match(gap) or is_han(prompt[m.start:m.end]) and gap[:1].isspace()
    return bool(BEGIN.search(prompt[:m.start]) and apart)


def of_object(prompt: str, said: list[Mention], i: int) -> bool:
    """Whether Chinese colour number i is that of objects, known or not: 一个红色方块, 两只猫，一黑一白."""
    m, things_said = said[i], [x for x in said if x.kind == "thing"]
    before = next((x for x in reversed(said[:i]) if x.kind == "thing"), None)
    return bool(
        NUMBERED.search(prompt[:m.start]) and NOUN.match(prompt, m.end)
        or EACH.search(prompt[:m.start]) and things_said
        or before and ARE.fullmatch(between(prompt, before, m))
    )


def shade(prompt: str, found: list[Mention]) -> str | None:
    """Whether a sheet is called dark or light, where that is not a part of a colour's name."""
    for m, after in zip(found, found[1:]):
        if m.kind == "aside" and after.kind == "sheet" and TONE.fullmatch(between(prompt, m, after)):
            for name, words in SHADES.items():
                if m.value in words:
                    return name
    return None


def beside(said: list[Mention], i: int) -> tuple[Mention | None, Mention | None]:
    """The mentions before and after number i, over sizes and numbers."""
    before = next((x for x in reversed(said[:i]) if x.kind not in ("size", "number")), None)
    after = next((x for x in said[i + 1:] if x.kind not in ("size", "number")), None)
    return before, after


def over_place(prompt: str, said: list[Mention], i: int, direct: bool) -> Mention | None:
    """The text whose colour number i is although a place or a size stands between, or None:
    "Hello" at the top in white, "Hello" big white."""
    m, before = said[i], said[:i]
    if [x.kind for x in before[-2:]] == ["text", "size"] and not direct:
        text, size = before[-2:]
        return None if (between(prompt, text, size) + between(prompt, size, m)).strip(" ,") else text
    if len(before) > 1 and before[-1].kind == "sheet" and OF_THE.fullmatch(between(prompt, *before[-2:])):
        before = before[:-1]                 # at the top of the poster
    if not before or before[-1].kind != "place" or not IN.fullmatch(prompt[said[i - 1].end:m.start]):
        return None
    place = before[-1]
    owner = next((x for x in reversed(before[:-1]) if x.kind not in ("size", "number", "colour")), None)
    if owner is None or owner.kind not in ("text", "letters") or not joined(prompt, owner, place, 45):
        return None
    return None if ELSE.search(between(prompt, owner, place)) else owner


def paint_nearest(prompt: str, letters: Mention, texts: list[Mention], paint, colour: str) -> None:
    """Give a colour of letters to the text they are about: the next in the clause, else the one before, or
    all if that stands in another clause."""
    after = [t for t in texts if t.start >= letters.end and joined(prompt, letters, t, 30)]
    before = [t for t in texts if t.end <= letters.start]
    far = before and not after and not joined(prompt, before[-1], letters, 30)
    for text in texts if far else after[:1] or before[-1:] or texts[:1]:
        paint(text, colour)
