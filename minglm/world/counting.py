"""How many: the number of each object that a prompt names, before it or after it."""

from __future__ import annotations

import re

from minglm.world.asked import between, joined
from minglm.world.characters import is_han
from minglm.world.chinese import DIGITS, MEASURES, NUMERAL
from minglm.world.counted_apart import SHEETS, paired, repeated, told_later, value
from minglm.world.mentions import Mention
from minglm.world.objects import things

TIMES = re.compile(r"(?<![\w.])([1-9]\d?) ?[x×*] ?$")  # 3x kiwi
AFTER = re.compile(r" ?[x×*] ?([1-9]\d*)\b|\s?[(（]([1-9]\d?)[)）]")  # kiwi x3, kiwi (3)
COUNTED = re.compile(rf"\s?(?:来|要|放|画)?({NUMERAL})([{MEASURES}])(?![的大小])")      # 灯笼两个
OWN = re.compile(rf"{NUMERAL}[{MEASURES}][^，。、；,\s]{{0,6}}$")                         # 两个灯笼
# 苹果和梨各一个
EACH = re.compile(rf"[^，。；{DIGITS}两]{{0,24}}?各(?:有|来|要|放|画)?({NUMERAL})[{MEASURES}]")
AGAIN = re.compile("(这|那|其中)[^，。；]*$")  # the same once more, no other
OTHER = re.compile("(另|还|再)[^，。；]*$")
TIGHT = re.compile(
    rf" ((?!(an?|the|and|with|or|on|in|at|for|to|by|my|our)\b)[a-z]+ )?|\s?[{MEASURES}]?", re.IGNORECASE
)
VAGUE = re.compile(r"(some|several|a few|many|lots of)\W*$", re.IGNORECASE)


def how_many(prompt: str, said: list[Mention], i: int) -> tuple[int, bool]:
    """(the number of the object that mention number `i` names, whether it is told)."""
    m = said[i]
    if told := AFTER.match(prompt, m.end) or TIMES.search(prompt[:m.start]):
        return int(told[told.lastindex]), True
    if count := told_later(prompt, said, i):
        return count, True
    told, after = COUNTED.match(prompt, m.end), said[i + 1:i + 3]
    if told and OWN.search(prompt[:m.start]) and any(x.kind == "thing" for x in after):
        told = None                          # 两个灯笼一个月亮
    if told or (told := EACH.match(prompt, m.end)):
        return value(told[1]) * paired(m, told[0]), True
    for j in range(i - 1, -1, -1):           # a number before it, over colours and sizes
        if not joined(prompt, said[j], said[j + 1], 24):
            break
        if said[j].kind == "number":
            if of_sheet(prompt, said[j], m):
                break
            vague = VAGUE.search(prompt[:said[j].end])
            if (
                prompt[: said[j].end].lower().endswith("pair of")
                and things()[m.value].forms[m.value][1] == m.value
            ):
                return 1, True               # a pair of glasses
            if is_pair(prompt, said[j], m):
                alone = j == 0 or said[j - 1].kind != "number" or said[j - 1].end != said[j].start
                return (1 if alone else int(said[j - 1].value)), True            # 一双鞋, 两双鞋
            if said[j].value > 10 and not counts(prompt, said[j], said[j + 1], m):
                continue
            return (int(said[j].value), True) if not vague or m.plural else (1, False)
        if said[j].kind not in ("colour", "size"):
            break
    return (2 if m.plural else 1), False


def is_measure(prompt: str, m: Mention) -> bool:
    """Whether the name of a vessel is only what something is measured in: 两碗米饭, 三桶爆米花, 米饭一碗."""
    return (m.kind == "thing" and prompt[m.start:m.end] in MEASURES
            and re.search(rf"{NUMERAL}$", prompt[:m.start]) is not None)


def of_sheet(prompt: str, number: Mention, m: Mention) -> bool:
    """Whether a number before an object counts posters: 一张寻狗启事."""
    measure = prompt[number.end:number.end + 1]
    return measure in SHEETS and things()[m.value].measure != measure and number.end + 1 < m.start


def is_pair(prompt: str, number: Mention, m: Mention) -> bool:
    """Whether a number is the measure of what is one in two parts: 一双鞋."""
    name, measure = prompt[number.start:number.end], things()[m.value].measure
    return measure in ("双", "对") and name in (measure, "一" + measure)


def counts(prompt: str, number: Mention, following: Mention, m: Mention) -> bool:
    """Whether a number over ten counts the objects after it and is no year, time or price: 12 (red) eggs."""
    plurals = [plural.lower() for _, plural in things()[m.value].forms.values()]
    several = m.plural or prompt[m.start:m.end].lower() in plurals or is_han(prompt[m.start:m.end])
    return several and TIGHT.fullmatch(between(prompt, number, following)) is not None


def adds(prompt: str, last: Mention, m: Mention, counts: dict[str, int], known: bool) -> bool:
    """Whether an object named again is another one: a kiwi and a kiwi; with a number, 两条红鱼和一条蓝鱼.

    After two, one of another clause may be one of them: 两只猫，一只猫在睡觉.
    """
    if repeated(prompt, last, m):
        return True
    if not known or not is_han(prompt[m.start:m.end]) or AGAIN.search(prompt[:m.start]):
        return False
    return counts[m.value] == 1 or joined(prompt, last, m, 45) or OTHER.search(prompt[:m.start]) is not None
