"""What a prompt says not to want: no birds or bees, not yellow, 乌云不要, 《静夜思》不用写."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from minglm.world.asked import between, joined
from minglm.world.chinese import MEASURES
from minglm.world.mentions import Mention

NO_ZH = ("((?<![要是有想用])(不想要|不需要|不要|没有|没|不用|无需|不必|用不着|(?<![特区个分性送告离])别|甭)"
         "(再)?(画|放|加|有|出现|弄|搞|要|用|写|带)?)")
TAKE_ZH = "(去掉|删掉|删了|取消|拿掉|拿走|不画|不放|不加|不写|不带)"
END = r"(?=[了啦吧哈嘛呀哦喽]*\s*($|[，。；！？、…,.;!?\n]))"
# before an object. GONE: it was asked for before
NOT = re.compile(
    r"\b(no|without|neither|nor|not (an?|the)|never an?|instead of|rather than|avoid|"
    r"don'?t (want|need|like|use)|(do not|don'?t|can'?t|cannot|won'?t|not) "
    r"(draw|paint|add|include|put|do|show|have))( in| an?| any| the| more| another)* $|"
    rf"({NO_ZH}|不是)(那|这|任何|什么|啥)?[{MEASURES}]?$", re.IGNORECASE)
GONE = re.compile(
    r"(?<!n't )(?<!not )(?<!never )\b(skip|drop|omit|forget( about)?|leave out|lose|remove|delete|minus)"
    r"( the| that| those| these| any)+ $|"
    rf"{TAKE_ZH}(那|这|所有|全部)?[{MEASURES}]?$", re.IGNORECASE)
# after it: 蜡烛就不要了, 闪电、乌云都别画
LEFT_OUT = re.compile(
    rf"(的|我|咱|我们|咱们|那[{MEASURES}]|[一半][{MEASURES}])?[都全就也可先统通千万]*"
    rf"({NO_ZH}|{TAKE_ZH}|免了|算了){END}|"
    r"( is| are|'s) (not (needed|wanted|necessary)|unnecessary)\b|,? no thanks?\b", re.IGNORECASE)
ALL = re.compile("[我咱们]*[都全统通也]")
NOT_COLOUR = re.compile(
    r"\b(not|no|anything but|except|isn't|avoid|never|instead of|rather than) (an? |too |the )?$|"
    r"(不要|不用|不想要|不是|(?<![特区个分性送告离])别(给我)?[用弄要]?)$|"
    r"[得里中](发|透|带|泛)着?$", re.IGNORECASE)
BAD_COLOUR = re.compile(
    rf"色?的?(那个|那种|底色?|背景)?[就也都太有点]*({NO_ZH}|不好看|不行|不合适|不吉利|难看|算了|免了|"
    rf"太[暗亮艳丑俗土深浅]){END}|"
    r" (would (hide|clash|not|be too)|wouldn't|won't|doesn't|does not|is too|clashes|hides)\b", re.IGNORECASE)
NOT_TEXT = re.compile(
    r"\b(not|don'?t write|do not write|instead of|rather than) (the )?((words?|text|title|line) )?$|"
    "(不写|不要写|别写|不用写|(?<!是)不是)$", re.IGNORECASE)
OLD_TEXT = re.compile(f"(这[^，。]{{0,4}})?[就也都]*({NO_ZH}|{TAKE_ZH}|免了|算了){END}")
JUDGED = {"colour": (NOT_COLOUR, BAD_COLOUR), "text": (NOT_TEXT, OLD_TEXT)}
OR = re.compile(r",? (or|nor) (an? |any )?|, (any )?|[、和跟与及或]", re.IGNORECASE)
LIST = re.compile(r"[^,.;!?]*(, [^,.;!?]*)*,? (or|nor) ", re.IGNORECASE)
ONE = re.compile(r"[^.;!?]{0,30}\b(but|just|only|one)\b", re.IGNORECASE)      # no red cat but a black one


def declined(prompt: str, found: list[Mention]) -> list[Mention]:
    """The mentions, with those of what is not wanted as asides."""
    gone = set(colours_and_texts(prompt, found)) | set(objects(prompt, found))
    return [replace(m, kind="aside") if i in gone else m for i, m in enumerate(found)]


def colours_and_texts(prompt: str, found: list[Mention]) -> Iterator[int]:
    for i, m in enumerate(found):
        if m.kind in JUDGED:
            before, after = JUDGED[m.kind]
            if before.search(prompt[:m.start]) or after.match(prompt, m.end):
                yield i


def objects(prompt: str, found: list[Mention]) -> Iterator[int]:
    """The numbers of the objects not wanted, also of those mentioned before that are no longer."""
    things = [i for i, m in enumerate(found) if m.kind == "thing"]
    last = False                             # whether the object before was declined, and more may be
    for at, i in enumerate(things):
        m, start = found[i], described(prompt, found, i)
        told = NOT.search(prompt[:start]) and (start == m.start or not ONE.match(prompt, m.end))
        removed, after = GONE.search(prompt[:m.start]), LEFT_OUT.match(prompt, m.end)
        listed = last and OR.fullmatch(between(prompt, found[things[at - 1]], m)) is not None
        if listed and prompt[m.start].isascii() and "or" not in prompt[found[things[at - 1]].end:m.start]:
            listed = LIST.match(prompt, m.end) is not None                       # no cats, dogs or birds
        last = bool(told or removed or listed)
        if last or after:
            yield i
        if removed or after:
            yield from (j for j in things[:at] if found[j].value == m.value)
        if after and ALL.match(after[0]):    # 闪电、乌云都别画
            for a, b in zip(reversed(things[:at]), reversed(things[:at + 1])):
                if not OR.fullmatch(between(prompt, found[a], found[b])):
                    break
                yield a


def described(prompt: str, found: list[Mention], i: int) -> int:
    """Where what is said about English object number i begins: with the colours and sizes before it."""
    if prompt[found[i].start].isascii():
        while i and found[i - 1].kind in ("colour", "size") and joined(prompt, found[i - 1], found[i], 1):
            i -= 1
    return found[i].start
