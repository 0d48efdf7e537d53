"""Whose place: each place that a prompt names belongs to the text or to the object before or after it."""

from __future__ import annotations

import re
from dataclasses import replace

from minglm.world.asked import Request, joined
from minglm.world.characters import is_han
from minglm.world.mentions import Mention

ELSE = re.compile(r"\b(and|with|plus)\b", re.IGNORECASE)
KINDS = ("place", "text", "thing")


def places(prompt: str, said: list[Mention], shown: list[Mention], request: Request) -> None:
    """Give each place to the text or the object that stands there."""
    texts = [m for m in said if m.kind == "text"]
    owners = sorted(texts + shown, key=lambda m: m.start)
    first = next((m for m in said if m.kind == "place" or m in owners), None)
    for m in said:
        if m.kind != "place":
            continue
        before = next((x for x in reversed(owners) if x.end <= m.start), None)
        after = next((x for x in owners if x.start >= m.end), None)
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
        if owner.kind == "thing":
            request.place = request.place or m.value
        else:
            i = texts.index(owner)
            if request.texts[i].slot is None:
                request.texts[i] = replace(request.texts[i], slot=m.value)
