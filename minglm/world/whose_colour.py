"""Whose colour: each colour that a prompt names belongs to the background, to a text, or to an object.

Each looks at its neighbours. Before a sheet, after "background" or "on", it is the background's; beside a
quotation or a word for letters it is the text's; before an object it is only what people call it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from minglm.world.asked import Request, between, joined
from minglm.world.characters import is_han
from minglm.world.mentions import Mention
from minglm.world.objects import things

IS = (
    r"(is|are|be|should be|must be|colou?rs?|coloured|colored|in|on|of|with|an?|the|all|bright|plain|solid|"
    r"painted|printed|"
    r"written|set|please|made|sort of|kind of|rather|very|a bit|pretty|just|simply|:|=|\(|,|"
    r"用|是|为|要|选|的|颜色|色|成|做|设|换|采用|使用|：|（|，|\s)*"
)
LINKS = re.compile(IS, re.IGNORECASE)
TELLS = re.compile(r"\b(?!(an?|the|all|bright|plain|solid|please)\b)\w|[:：(（=]", re.IGNORECASE)
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
NOT_COLOUR = re.compile(
    r"\b(not|no|anything but|except|isn't|avoid|never) (an? |too )?$|"
    r"(不要|别|不用|别用|不想要|别给我弄|别弄|不是)$",
    re.IGNORECASE,
)


def fruit(prompt: str, found: list[Mention]) -> list[Mention]:
    """The mentions, with "orange" as a fruit where it stands like one: an orange and a pear."""
    out = list(found)
    for i, m in enumerate(found):
        if m.kind == "colour" and prompt[m.start:m.end].lower() == "orange":
            after = found[i + 1] if i + 1 < len(found) else None
            gap = between(prompt, m, after) if after else ""
            noun = re.match(
                r" (?!and\b|on\b|with\b|in\b|at\b|next\b|or\b|for\b|under\b|over\b|beside\b)[a-z]+",
                prompt[m.end :],
            )
            named = after and (
                gap == " "
                or after.kind in ("sheet", "letters", "text")
                and joined(prompt, m, after, 14)
                and " on " not in gap
                and " and " not in gap
            )
            if re.search(r"\b(an|one|the|1|single|and) $", prompt[:m.start].lower()) and not named:
                out[i] = m if noun else replace(m, kind="thing", value="orange")
    return out


def colours(prompt: str, said: list[Mention], request: Request) -> None:
    """Give each colour to the background or to a text."""
    open_: list[Mention] = []
    texts = [m for m in said if m.kind == "text"]

    def paint(text: Mention, colour: str) -> None:
        i = texts.index(text)
        if request.texts[i].colour is None:
            request.texts[i] = replace(request.texts[i], colour=colour)

    for i, m in enumerate(said):
        if m.kind != "colour" or NOT_COLOUR.search(prompt[:m.start]):
            continue
        before = next((x for x in reversed(said[:i]) if x.kind not in ("size", "number")), None)
        after = next((x for x in said[i + 1:] if x.kind not in ("size", "number")), None)
        linked = before is not None and LINKS.fullmatch(between(prompt, before, m)) is not None
        told = linked and before is not None and TELLS.search(between(prompt, before, m)) is not None
        direct = after is not None and between(prompt, m, after).strip() in ("", "的")
        if (
            request.background is None
            and (ON.search(prompt[: m.start]) or MAKE.search(prompt[: m.start]))
            and not (
                after
                and (
                    direct
                    and after.kind in ("text", "thing")
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
        ):
            paint(before, m.value)           # "Hello" in white
        elif before and before.kind == "sheet" and told and request.background is None:
            request.background = m.value  # poster in red, background: red
        elif (
            before
            and before.kind == "letters"
            and (
                told
                or linked
                and is_han(prompt[m.start : m.end])
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
        ):
            paint(after, m.value)            # white "Hello"
        elif after and after.kind == "letters" and joined(prompt, m, after, 14):
            paint_nearest(prompt, after, texts, paint, m.value)                  # white letters
        elif after and after.kind == "thing" and (direct and (
                " " not in between(prompt, m, after) or not is_han(prompt[m.start:m.end]))):
            if m.value not in things()[after.value].colours:
                open_.append(m)              # a blue cat: what is blue is open
        else:
            open_.insert(0, m)               # on red; red, cat
    for m in open_:
        if request.background is None:
            request.background = m.value
        elif len(texts) == 1:
            paint(texts[0], m.value)


def paint_nearest(prompt: str, letters: Mention, texts: list[Mention], paint, colour: str) -> None:
    """Give a colour of letters to the text they are about: the next in the clause, else the one before."""
    after = [t for t in texts if t.start >= letters.end and joined(prompt, letters, t, 30)]
    before = [t for t in texts if t.end <= letters.start]
    near = after[:1] or before[-1:] or texts[:1]
    for text in (
        near
        if len(texts) > 1 and (after or joined(prompt, before[-1], letters, 30) if before else True)
        else texts
    ):
        paint(text, colour)
