"""What reading Chinese takes besides names: one script, one kind of marks, numerals, and where a word ends.

Chinese sets no spaces, so 白 is a colour in 白底 and not in 李白, and 龙 is a dragon, but not in 马卡龙色.
"""

from __future__ import annotations

import re

from minglm.world.characters import simplified
from minglm.world.quotes import quotations

HAN = re.compile(r"[\u3400-\u9fff]")
FULL = dict(zip(",:;!?", "，：；！？"))
DIGITS = "一二三四五六七八九"
NUMERAL = r"(?:[一两二三四五六七八九十]+|[俩仨几]|[1-9]\d?)"
MEASURES = ("个只条张块片颗朵本棵把枚件头匹架辆艘座栋瓶杯碗盘串"
            "根双对份支盏束粒枝位台副幅轮道株尾顶桶罐袋盒箱篮列滴捧团")
# before a name that is counted: 两个苹果绿底 has two apples, but 一个苹果绿的底 none
COUNTS = re.compile(rf"({NUMERAL}(?![个张款种幅份])[{MEASURES}]|[两二三四五六七八九俩仨2-9]个)$")
OBJECT = ("thing", "sheet", "letters", "size")
# what may stand before and after a colour of one character: 用红, 很红, 红的, 红配绿, 红彤彤
BEFORE_COLOUR = re.compile(
    "[用是为要成选换配涂刷染做变和与跟或加很最太偏大正鲜通亮纯全又上下左右的有就种么样般得发色还更]$|[给来用要][个点]$|"
    # an unknown word before it in what tells the background's: 背景用天青石蓝
    "(?:背景|底色|底子|颜色)[^，。；：！？…、写画字放有在上下个只条张和]{0,5}$")
AFTER_COLOUR = re.compile(
    r"[的和与跟或配加做为打当色底字吧呀呗嘛呢]|背景|得[像发跟如]|[里中][透带泛]|([\u4e00-\u9fff])\1")
# what may stand before and after an object of one character: 一只猫, 小猫, 猫在
BEFORE_THING = re.compile(f"[{MEASURES}{DIGITS}两小大老这那的和与跟及或有是在画加配要着了上里中旁群]$")
AFTER_THING = re.compile("[的和与跟及或在从是有要上下里中旁边加配年飞跑游站坐走睡吃喝趴躺蹲跳爬抱玩看笑]")


def plain(prompt: str) -> str:
    """The prompt in simplified characters and Chinese marks, as long as before; quotations as they are."""
    quotes, inside = quotations(prompt), set()
    for a, b in quotes:
        inside |= set(range(a, b))
    chinese = any(HAN.match(c) for i, c in enumerate(prompt) if i not in inside)
    edges = {i for a, b in quotes for i in (a - 1, b)} if chinese else set()

    def one(i: int, c: str) -> str:
        if i in inside:
            return c
        beside = i in edges or HAN.match(prompt[i - 1:i]) or HAN.match(prompt, i + 1)
        return FULL[c] if c in FULL and beside else simplified().get(c, c)

    return "".join(one(i, c) for i, c in enumerate(prompt))


def numerals() -> dict[str, int]:
    """The numbers from 11 to 99 as they are written: 十二, 二十, 三十五."""
    tens = {"十": 10} | {digit + "十": 10 * i for i, digit in enumerate(DIGITS, 1) if i > 1}
    table = {ten + one: tens[ten] + i for ten in tens for i, one in enumerate(("", *DIGITS))}
    return {name: number for name, number in table.items() if number > 10}


def free(prompt: str, at: int, kind: str, known_before: bool, following: str) -> bool:
    """Whether the name of one character at index `at` is a word, not a part of an unknown one.

    known_before: whether a known name ends there; following: the kind of the name after it, if there is one.
    """
    after = prompt[at + 1:at + 2]
    if not HAN.match(prompt, at):
        return True
    if kind == "thing":
        before = at == 0 or known_before or not HAN.match(prompt[at - 1]) or BEFORE_THING.search(prompt[:at])
        return bool(before or following or not HAN.match(after) or AFTER_THING.match(after))
    if following in OBJECT or AFTER_COLOUR.match(prompt, at + 1) and after in ("色", "底", "字", "背"):
        return True
    before = at == 0 or known_before or not HAN.match(prompt[at - 1]) or BEFORE_COLOUR.search(prompt[:at])
    return bool(before and (following or not HAN.match(after) or AFTER_COLOUR.match(prompt, at + 1)))
