"""What a prompt names only for its colour: black as coal, the colour of the sea, 像香蕉皮那种黄.

Such a noun is no object to be painted. Where no colour is named beside it, it lends its own.
"""

from __future__ import annotations

import re
from dataclasses import replace

from minglm.world.asked import between
from minglm.world.chinese import MEASURES
from minglm.world.mentions import Mention
from minglm.world.objects import things
from minglm.world.shades import lenders

PART = "(皮|叶子?|花|汁|壳|毛|肉|瓤|籽|面)?"
SUCH = "(的?那种|那样的?|那么|这种|这样的?|这么|一样的?|一般的?|般的?|似的)"
# after a noun, its colour: 沙滩色, 香蕉皮的颜色, 跟草地一个颜色, but not 猫的颜色是; grass-coloured
ITS_COLOUR = re.compile(
    rf"{PART}(的|{SUCH}|一个)?(颜色|色调|色儿?)(?![是要为彩])|"
    r"[ -](colou?red|colou?r)\b(?! (is|should|must)\b)", re.IGNORECASE)
# before a noun: the colour of fresh grass, the same shade as my car; not the colour of the cat is blue
COLOUR_OF = re.compile(
    r"\b(colou?r|shade|hue|tone) (of|as|like) (an? |the |some |my )?([a-z]+ ){0,2}$", re.IGNORECASE)
IS = re.compile(r" ?(is|are|should|must|=|:)", re.IGNORECASE)
# between a colour and a noun: (as) black as a raven, blue like the sea, 红得像火
AS = re.compile(
    r"(,? (just |exactly )?like| as) ((an?|the|some|my) )?([a-z]+ ){0,2}|"
    rf"色?[得的]?，?[就好真]?[像如似](一?[{MEASURES}])?[\u4e00-\u9fff]{{0,3}}", re.IGNORECASE)
THE = re.compile(r"\b(the|that|this) $", re.IGNORECASE)
OF = re.compile(r" of ((an?|the|some|my) )?([a-z]+ ){0,2}", re.IGNORECASE)       # the blue of a winter sky
# between a noun and a colour: 海水那么蓝, 比雪还白, frog-green
SO = re.compile(f"{PART}({SUCH}的?|还要?|更)|-")
GROUND = re.compile(r"(的|色|[ -])?")         # between a noun and what is painted on: 森林底, moss paper
GROUND_IS = re.compile(r"(\s*(:|=|is|should be|in|：|是|为|用|要|选|色)\s*| )", re.IGNORECASE)
END = re.compile(r"的?\s*($|[，。；！？、,.;!?\n])")


def likened(prompt: str, found: list[Mention]) -> list[Mention]:
    """The mentions, with the nouns of comparisons as colours, or as asides where the colour is told."""
    out = list(found)
    for i, m in enumerate(found):
        if m.kind not in ("thing", "noun"):
            continue
        last, following = found[i - 1] if i else None, found[i + 1] if i + 1 < len(found) else None
        if beside_colour(prompt, last, m, following):
            out[i] = replace(m, kind="aside")
        elif colour := lent(m):
            told = ITS_COLOUR.match(prompt, m.end)
            if (told or COLOUR_OF.search(prompt[:m.start]) and not IS.match(prompt, m.end)
                    or m.kind == "noun" and beside_sheet(prompt, last, m, following)):
                out[i] = Mention("colour", colour, m.start, told.end() if told else m.end)
    return out


def beside_colour(prompt: str, last: Mention | None, m: Mention, following: Mention | None) -> bool:
    """Whether a noun is what the colour before or after it is likened to."""
    if last and last.kind == "colour":
        gap = between(prompt, last, m)
        if AS.fullmatch(gap) or THE.search(prompt[:last.start]) and OF.fullmatch(gap):
            return True
    return bool(following and following.kind == "colour" and SO.fullmatch(between(prompt, m, following)))


def beside_sheet(prompt: str, last: Mention | None, m: Mention, following: Mention | None) -> bool:
    """Whether a noun stands where a colour would: 森林底; background: moss."""
    return bool(following and following.kind == "sheet" and GROUND.fullmatch(between(prompt, m, following))
                or last and last.kind == "sheet" and GROUND_IS.fullmatch(between(prompt, last, m))
                and END.match(prompt, m.end))


def lent(m: Mention) -> str | None:
    """The colour that what a mention names is known for."""
    if m.kind == "noun":
        return str(m.value)
    own = things()[str(m.value)].colours
    known = [colour for colour in own if lenders().get(str(m.value)) == colour]
    return (known or own or (None,))[0]
