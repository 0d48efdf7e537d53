"""Whose place: each place that a prompt names belongs to the text or to the object before or after it.

What is said to be over or under something is at the top or at the bottom.
"""

from __future__ import annotations

import re
from dataclasses import replace

from minglm.world.asked import STOP, Request, joined
from minglm.world.characters import is_han
from minglm.world.mentions import Mention

ELSE = re.compile(r"\b(and|with|plus)\b", re.IGNORECASE)
ROW = ("left", "centre", "right")
KINDS = ("place", "text", "thing")
# over the old house, below the words
RELATION = re.compile(
    r"\b(over|above|on top of|under|underneath|below|beneath) "
    r"((the|an?|my|our|your|his|her|this|that) ((?!and\b|with\b)[a-z-]+ ){0,3})?$",
    re.IGNORECASE,
)
OVER = ("over", "above", "on top of")
OF_IT = re.compile("的?正?")                 # between 猫 and 下面
# “早安”写在, 猫趴在, before 太阳下面
AT_IT = re.compile("[写放画印站坐摆位是趴躺蹲停飞挂睡]?[着在于]+(文字|字|标题)?")
THERE = re.compile(r"[^，。；！？,;.!?\n]{0,12}")  # after 猫下面: 写着白色的“早安”
END = re.compile(r"[.;!?\n]")


def places(prompt: str, said: list[Mention], shown: list[Mention], request: Request) -> None:
    """Give each place to the text or the object that stands there."""
    texts = [m for m in said if m.kind == "text"]
    owners = sorted(texts + shown, key=lambda m: m.start)
    first = next((m for m in said if m.kind == "place" or m in owners), None)
    there = [m for m in said if m.value in {x.value for x in shown}]
    related = relations(prompt, texts, there) + relations_zh(prompt, said, texts + there)

    stand: list[tuple[str, str]] = []        # objects, with their places

    def put(owner: Mention, place: str) -> None:
        if owner.kind == "thing":
            stand.append((owner.value, place))
            request.place = request.place or place
        elif request.texts[i := texts.index(owner)].slot is None:
            request.texts[i] = replace(request.texts[i], slot=place)

    for _, _, owner, place, other in related:
        put(owner, place)
        if owner.kind == "thing":            # objects stand in one row: only a text can be opposite to them
            put(other, "bottom" if place == "top" else "top")
    for m in said:
        if m.kind != "place" or any(start <= m.start < end for start, end, *_ in related):
            continue
        written = texts and prompt[m.start:m.end].lower() in ("header", "footer")
        some = texts if written else owners  # a header is a text, or the sheet it stands on
        before = next((x for x in reversed(some) if x.end <= m.start), None)
        after = next((x for x in some if x.start >= m.end), None)
        near_before = before is not None and joined(prompt, before, m, 45)
        near_after = after is not None and joined(prompt, m, after, 45)
        leads = is_han(prompt[m.start : m.end]) and not re.search(
            r"(在|于|放|置|靠|到|摆|的)$", prompt[: m.start]
        )
        if near_before and near_after:  # "A" at the top and "B" below; top "A" bottom "B"; 顶部“A”底部“B”
            owner = after if leads or first is not None and first.kind == "place" else before
        else:
            owner = before if near_before else after if near_after else after or before
        if owner is None:
            continue
        if owner is after and before is None and ELSE.search(prompt[m.end:owner.start]):
            # a submarine on the left and "Hello" at the top: the text has a place of its own
            following = next((x for x in said if x.start >= owner.end and x.kind in KINDS), None)
            if following and following.kind == "place":
                continue
        put(owner, m.value)
    if len({place for _, place in stand} & set(ROW)) > 1:
        # a cat on the left and a dog on the right: objects stand in one row, in this order
        request.groups = tuple(sorted(request.groups, key=lambda group: next(
            (ROW.index(place) for thing, place in stand if thing == group.thing and place in ROW), 1)))
        request.place = "centre"


def relations(
    prompt: str, texts: list[Mention], shown: list[Mention]
) -> list[tuple[int, int, Mention, str, Mention]]:
    """What stands over or under what, as (start, end, owner, its place, the other), one of them a text:
    "Hi" under a cat; below the cat "Hi"; a cat over the words "Hi"."""
    found, some = [], sorted(texts + shown, key=lambda m: m.start)
    for i, other in enumerate(some):
        told = RELATION.search(prompt[:other.start])
        if not told or not (told[2] or other.kind == "text" or other.plural):
            continue
        before, after = some[i - 1] if i else None, some[i + 1] if i + 1 < len(some) else None
        if before and before.end > told.start():
            continue                         # another stands between
        gap = prompt[before.end:told.start()] if before else ""
        if before and (STOP.search(gap) or ELSE.search(gap)):
            before = None                    # "A" and below the cat "B"
        gap = prompt[other.end:after.start] if after else ""
        if len(gap) > 45 or END.search(gap) or ELSE.search(gap):
            after = None
        owner = before or after
        if owner and "text" in (owner.kind, other.kind):
            place = "top" if told[1].lower() in OVER else "bottom"
            found.append((told.start(), other.start, owner, place, other))
    return found


def relations_zh(prompt: str, said: list[Mention], some: list[Mention]
                 ) -> list[tuple[int, int, Mention, str, Mention]]:
    """`relations` in Chinese, where the place comes last: “早安”在太阳下面; 太阳下面写着“早安”."""
    found, some = [], sorted(some, key=lambda m: m.start)
    for other, m in zip(said, said[1:]):
        if not (m.kind == "place" and m.value in ("top", "bottom") and is_han(prompt[m.start:m.end])
                and other in some and OF_IT.fullmatch(prompt[other.end:m.start])):
            continue
        i = some.index(other)
        before, after = some[i - 1] if i else None, some[i + 1] if i + 1 < len(some) else None
        if before and not AT_IT.fullmatch(prompt[before.end:other.start]):
            before = None
        if after and not THERE.fullmatch(prompt[m.end:after.start]):
            after = None
        owner = before or after
        if owner and "text" in (owner.kind, other.kind):
            found.append((m.start, m.end, owner, str(m.value), other))
    return found
