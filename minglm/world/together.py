"""Colours told of several texts at once: both in white; red and blue respectively; 前者红色，后者黑色."""

from __future__ import annotations

import re
from dataclasses import replace

from minglm.world.asked import Request, between
from minglm.world.mentions import Mention
from minglm.world.whose_colour import beside

# before a colour of all texts: "A" and "B" both in white; “甲”“乙”都用白色
ALL = re.compile(
    r"\b(both|all|each)( of (them|these))?( (texts|words|lines|titles|phrases))?"
    r"( (in|is|are|being|should be|written|set|printed|of|a|bright|plain|bold|big|large))* $|"
    "(都|均|全部?|统统|一律)[用是要为得选]?(写成|写|印成)?[用要]?$", re.IGNORECASE)
# before the colour of one of two: the first in red, the latter blue; 前者红色
FIRST = re.compile(r"\bthe (first|former)( (one|line|text|word))?,?( (is|in|should be|be))* $|"
                   "(前者|前一[个句行条]|第一[个句行条])(的?字|颜色)?[用是要为]?$", re.IGNORECASE)
SECOND = re.compile(r"\bthe (second|latter|other)( (one|line|text|word))?,?( (is|in|should be|be))* $|"
                    "(后者|后一[个句行条]|第二[个句行条])(的?字|颜色)?[用是要为]?$", re.IGNORECASE)
EACH = re.compile(r"\brespectively\b|分别", re.IGNORECASE)
AND = re.compile(r",? and |, |[和与跟、，]|,", re.IGNORECASE)
CLAUSE = re.compile(r"[.;!?。；！？\n]")
# a colour announced before its text: a cup, and in white, "Winners"; in blue: "Left"
BEFORE_TEXT = re.compile(r"\band in $", re.IGNORECASE), re.compile(r"\bin $", re.IGNORECASE)
GAPS = re.compile(r"[,:]? "), re.compile(": ?")


def together(prompt: str, said: list[Mention], request: Request) -> list[Mention]:
    """Give the texts the colours told of several of them; returns the mentions without these colours."""
    texts = [m for m in said if m.kind == "text"]
    given: dict[int, dict[int, str]] = {}    # number of a mention -> number of a text -> its colour
    if texts:
        for i, m in enumerate(said):
            if m.kind == "colour":
                given[i] = {j: str(m.value) for j in whose(prompt, said, i, texts)}
        given |= respectively(prompt, said, texts)
    for mine in given.values():
        for j, colour in mine.items():
            if request.texts[j].colour is None:
                request.texts[j] = replace(request.texts[j], colour=colour)
    return [m for i, m in enumerate(said) if not given.get(i)]


def whose(prompt: str, said: list[Mention], i: int, texts: list[Mention]) -> list[int]:
    """The numbers of the texts that colour number i is told of in one of these ways."""
    m, before = said[i], prompt[:said[i].start]
    last, following = beside(said, i)
    so_far = [j for j, text in enumerate(texts) if text.end <= m.start]
    of_sheet = following and following.kind == "sheet" and between(prompt, m, following) in ("", " ", "的")
    if (ALL.search(before) and last and last.kind in ("text", "letters") and len(texts) > 1 and not of_sheet
            and not CLAUSE.search(between(prompt, last, m))):
        return so_far or list(range(len(texts)))
    if len(so_far) > 1 and FIRST.search(before):
        return so_far[-2:-1]
    if len(so_far) > 1 and SECOND.search(before):
        return so_far[-1:]
    if following and following.kind == "text" and any(
            way.search(before) and gap.fullmatch(between(prompt, m, following))
            for way, gap in zip(BEFORE_TEXT, GAPS)):
        return [texts.index(following)]
    return []


def respectively(prompt: str, said: list[Mention], texts: list[Mention]) -> dict[int, dict[int, str]]:
    """The colours of a list that has one for each of the texts before it."""
    for told in EACH.finditer(prompt):
        if any(text.start <= told.start() < text.end for text in texts):
            continue
        stops = [one.start() for one in CLAUSE.finditer(prompt)]
        start = max((stop for stop in stops if stop < told.start()), default=0)
        end = min((stop for stop in stops if stop > told.start()), default=len(prompt))
        row: list[int] = []
        for i, m in enumerate(said):
            if m.kind == "colour" and start <= m.start < end and m.start >= texts[0].end:
                row = [*row, i] if row and AND.fullmatch(between(prompt, said[row[-1]], m)) else row or [i]
        before = [j for j, text in enumerate(texts) if row and text.end <= said[row[0]].start]
        row = row[:len(before)]              # 分别用红色和蓝色，白底
        if len(row) > 1:
            return {i: {j: str(said[i].value)} for i, j in zip(row, before[-len(row):])}
    return {}
