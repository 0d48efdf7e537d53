"""Numbers that stand apart from their object: Balloons! Three!, 月饼，两块就够; and objects named again.

The clause of such a number says nothing else: in 一只猫，三个字 the number is that of the characters.
"""

from __future__ import annotations

import re

from minglm.world.asked import between
from minglm.world.characters import is_han
from minglm.world.chinese import MEASURES, NUMERAL
from minglm.world.mentions import Mention
from minglm.world.names import vocabulary
from minglm.world.objects import things
from minglm.world.quotes import masked

SHEETS = tuple("张幅份面")
EDGE = r"，。；！？、…—,.;!?\s"
ALONE_ZH = re.compile(
    rf"(?:^|(?<=[{EDGE}])|照旧|不变)(?:一共|总共|合计|共|就|只|要|来|画|有|放|应该|是|改成|得|抱歉)*"
    rf"(?:([俩仨])|({NUMERAL})([{MEASURES}]))(?:就[好行够成]|足够|够|好|吧|即可|而已|都|了|哦|啊|呀|哈)*(?=[{EDGE}]|$)")
ALONE = re.compile(
    r"(?:^|(?<=[,.!?;:…—–(\n-]))\s*"
    r"(?:(?:no|wait|actually|just|only|exactly|please|make (?:it|that|them)|or|say)[, ]+)*"
    r"(one|two|three|four|five|six)"
    r"(?: (?:of (?:them|those|these)|in (?:total|all)|altogether|please|is enough|will do|only|then|though))*"
    r"\s*(?=[,.!?;:)…—\n]|$)", re.IGNORECASE)
LISTED = re.compile(r"\s*(,|and|&|\+|[、和跟与及])\s*(an? |the )?", re.IGNORECASE)
# between two of a kind: a kiwi and a kiwi; a green kiwi and a red kiwi; kiwi, kiwi; 猕猴桃、猕猴桃
AGAIN = re.compile(
    r"\s*(?:[,;+&\n]|and\b|plus\b)[\s•*-]*(?:and |then )?(?:an |a |another |one )?"
    r"(?:(?!the\b|my\b|this\b|that\b|his\b|her\b|its\b|no\b)[a-z]+ )?", re.IGNORECASE)
AGAIN_ZH = re.compile("[、和跟与+＋]")
# not a part of another noun: a dog and dog food
ENDS = re.compile(r"\s*($|[^\sa-z]|(and|on|in|at|with|for|behind|under|please|thanks?)\b)", re.IGNORECASE)


def told_later(prompt: str, said: list[Mention], i: int) -> int:
    """The number that a later clause says of mention i, the last if there are several; 0: none does."""
    m, last = said[i], next((x for x in reversed(said[:i]) if x.kind == "thing"), None)
    if last and LISTED.fullmatch(between(prompt, last, m)):
        return 0                             # 苹果和梨，两个: of which?
    end = next((x.start for x in said[i + 1:] if x.kind == "thing"), len(prompt))
    gap, found = masked(prompt)[m.end:end + 1], 0                                # 一只猫，写“三只”
    for told in ALONE_ZH.finditer(gap):
        if told[3] not in SHEETS or told[3] == things()[str(m.value)].measure:
            found = value(told[1] or told[2]) * paired(m, told[0])
    for told in ALONE.finditer(gap):
        found = value(told[1].lower())
    return found


def repeated(prompt: str, last: Mention, m: Mention) -> bool:
    """Whether an object is named twice in a list, so that there are two: a kiwi and a kiwi."""
    gap = between(prompt, last, m)
    if is_han(prompt[m.start:m.end]):
        return AGAIN_ZH.fullmatch(gap) is not None
    return AGAIN.fullmatch(gap) is not None and ENDS.match(prompt, m.end) is not None


def paired(m: Mention, number: str) -> int:
    """How many one of a number's measure is: 天鹅一对 are two, but 筷子一双 is one."""
    own = things()[str(m.value)].measure
    return 2 if re.search("[对双]", number) and own not in ("对", "双") else 1


def value(numeral: str) -> int:
    """The number that a numeral is, Chinese or in digits."""
    return int(numeral) if numeral.isdigit() else int(vocabulary().get(numeral, ("number", 1, False))[1])
