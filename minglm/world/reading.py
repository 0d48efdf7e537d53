"""What a prompt asks for: which colour, number and place belongs to which text or object.

    read('a red poster, two cats and "Hello" in white at the top')
    -> background red, two cats, the text Hello in white at the top; the place of the cats is left open

A number belongs to the object it stands before, a place to what stands before or after it in its clause; see
whose_colour.py and whose_place.py.
"""

from __future__ import annotations

import re
from dataclasses import replace

from minglm.world.asked import Asked, Request, between, joined
from minglm.world.characters import is_han
from minglm.world.chinese import plain
from minglm.world.corrected import corrected
from minglm.world.counting import adds, how_many, is_measure
from minglm.world.declined import declined
from minglm.world.likened import likened
from minglm.world.mentions import Mention, mentions
from minglm.world.posters import MOST_THINGS, Group
from minglm.world.quotes import unquoted
from minglm.world.setting import GROUND, format_, scene
from minglm.world.together import together
from minglm.world.whose_colour import colours, shade
from minglm.world.whose_place import places

CHATTER = re.compile(
    r"\b(for|at|from|to|into|on|near) (my|our|the|your|his|her|their|this)( \w+)? $", re.IGNORECASE
)
CHATTER_ZH = re.compile(r"(给|挂在|贴在|放在|摆在|为了|送给|用于|卖|发到|我家|我们|为|去|在)$")
# no chatter: what is written or drawn 在太阳下面, 在太阳旁边
BESIDE_ZH = re.compile(r"的?正?([上下](面|方|边)|底下|旁边?|[左右][边侧面])")
THERE_ZH = re.compile(r"(^|[写画印站坐是”」\"，。：]|字|标题)在$")
WORN = re.compile(
    r"\b(wearing|wears?|dressed in) (an? |his |her |the |its )?((?!and\b)[a-z]+ ){0,2}$|"
    "([戴穿披系]|围(?!绕))(?!过|越|列|统)[着了]?([一两][顶条双件副个只])?"
    "([深浅]?[红橙黄绿蓝紫粉棕黑白灰青]色?的?)?[大小厚新]?$", re.IGNORECASE
)
# not: I would like a bee; something cute, like a bee
LIKE = re.compile(
    r"(?<!, )(?<!would )(?<!['’]d )(?<!\bi )(?<!\bwe )\blike (an? |the |on |in )[^,.]{0,24}$", re.IGNORECASE)
GREETED = re.compile(r"(^|[.!?\n])\s*(hi|hello|hey|dear|good morning),? $", re.IGNORECASE)
NAME = re.compile(r"\s*[,.!]")                # hello robot!
# what is followed by a quotation or digits only says what they are: phone "555-0199", 电话：“110”
LABELS = ("phone", "smartphone", "envelope")
LABEL = re.compile(r"( ?numbers?|号码?)?( is|是|为)?[ ：:]*[\d+“\"「『]", re.IGNORECASE)
SOLD = re.compile(r"\b(sell|sells|selling) ([a-z]+ )?$", re.IGNORECASE)
EXCEPT = re.compile(r"除了?$")                 # 除了猫, but not 除了猫还有狗
BESIDES = re.compile(r"[^。；]*?(还|也要|另)")
FORM = re.compile(r"(一样|似的|样子|形状|造型|的颜色(?![是要为])|色调)")
VESSEL = re.compile(r" of (an? |the |some |hot |fresh )?$", re.IGNORECASE)
# what follows the name of an object that is a business or an event and no picture: coffee shop, 火锅店
TRADE = re.compile(
    r" ?(shops?|stores?|bars?|clubs?|class(es)?|part(y|ies)|fairs?|contests?|competitions?|lessons?|"
    r"festivals?|"
    r"seasons?|sales?|shows?|museums?|stands?|stalls?|lovers?|week|day|covers?)\b|"
    r"(店|馆|厅|铺|摊|酒吧|大赛|比赛|节|班|课|社|协会|俱乐部|主题|行|培训|专卖|封面|封皮|的?感觉|的?氛围|的?气氛)",
    re.IGNORECASE,
)
# what may be an object: its nouns end a clause or stand before the next word of another
WANTED = re.compile(
    r"\b(?:with|and|of|plus) (an?|two|three|four|five|several) (?:[a-z-]+ ){0,2}?"
    r"((?!(?:style|look|feel|mood|vibe|theme|tone|touch|bit|lot|hint|border|frame|smile|view|line)s?\b)[a-z-]{3,})"
    r"(?= ?[,.;:!?\"“(]| (?:and|with|on|in|at|that|which|above|below|under|over|next|beside|saying)\b|$)",
    re.IGNORECASE,
)
WEAK = ("shop", "hospital", "school", "door", "window", "toilet")  # more often where a poster hangs


def read(prompt: str) -> Request:
    """What a prompt asks for."""
    prompt = plain(prompt)
    found = corrected(prompt, declined(prompt, likened(prompt, mentions(prompt))))
    said = [m for m in fruit(prompt, found) if m.kind not in ("aside", "noun") and not is_measure(prompt, m)]
    request = Request(language="zh" if is_han(unquoted(prompt)) else "en")
    request.texts = [Asked(m.value) for m in said if m.kind == "text"]
    colours(prompt, together(prompt, said, request), request)
    request.shade = shade(prompt, found)
    request.scene = scene(unquoted(prompt))
    request.shape, request.canvas, request.refused = format_(unquoted(prompt))
    shown = objects(prompt, said, request)
    request.unknown = unknown(prompt, found)
    places(prompt, said, shown, request)
    sizes = [
        said[i].value
        for i in range(len(said) - 1)
        if said[i].kind == "size"
        and said[i + 1].kind == "thing"
        and joined(prompt, said[i], said[i + 1], 12)
    ]
    request.size = sizes[0] if sizes else None
    return request


# ---------------------------------------------------------------- objects

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
            if re.match(r"\W{1,3}(the |a |as a )?fruit\b", prompt[m.end:].lower()) or re.search(
                    r"\b(an|one|the|1|single|and) $", prompt[:m.start].lower()) and not named and not noun:
                out[i] = replace(m, kind="thing", value="orange")
    return out


def objects(prompt: str, said: list[Mention], request: Request) -> list[Mention]:
    """Count the objects; returns their mentions."""
    shown, counts, sure, unsure = [], {}, set(), []
    for i, m in enumerate(said):
        before, after = prompt[:m.start], prompt[m.end:]
        if m.kind != "thing" or any(way.search(before) for way in (CHATTER, LIKE)):
            continue
        if CHATTER_ZH.search(before) and not (THERE_ZH.search(before) and BESIDE_ZH.match(after)):
            continue
        following = said[i + 1] if i + 1 < len(said) else None
        if (
            FORM.match(after)
            or GROUND.match(prompt, m.start)
            or EXCEPT.search(before) and not BESIDES.match(after)
            or following
            and following.kind == "thing"
            and VESSEL.fullmatch(between(prompt, m, following))
        ):
            continue  # red like a strawberry; on the sea; except cats; a bowl of noodles
        count, known = how_many(prompt, said, i)
        if count == 0:
            continue                         # 0 cats
        article = re.search(r"\b(an?|the|my)\s+(\w+\s+)?$", before, re.IGNORECASE)
        worn = WORN.search(before) is not None
        if m.value in LABELS and not (known or article) and LABEL.match(after):
            continue
        weak = m.value in WEAK and not article or GREETED.search(before) and NAME.match(after)
        weak = weak or SOLD.search(before) or TRADE.match(after)
        if weak and not known or worn:
            unsure.append((m, count, worn))  # a coffee shop, a hat worn; for want of anything else, coffee
        elif m.value not in counts or known and m.value not in sure:
            counts[m.value] = count          # mentioned again without a number: beside the cat
            shown.append(m)
        elif adds(prompt, next(x for x in reversed(shown) if x.value == m.value), m, counts, known):
            counts[m.value] += count
            shown.append(m)
        else:
            counts[m.value] = max(counts[m.value], count if known else 1)
        sure |= {m.value} if known else set()
    if shown:
        request.worn = tuple(m.value for m, _, worn in unsure if worn)
    else:
        for m, count, _ in unsure:
            counts[m.value] = count
            shown.append(m)
    groups = dict.fromkeys(list(counts)[:MOST_THINGS], 1)                        # one of each kind first
    for name in groups:
        groups[name] += min(counts[name] - 1, MOST_THINGS - sum(groups.values()))
    request.groups = tuple(Group(name, count) for name, count in groups.items())
    request.too_many = sum(counts.values()) > MOST_THINGS
    return shown


def unknown(prompt: str, found: list[Mention]) -> tuple[str, ...]:
    """The nouns that are asked for like objects and are none it knows: with a mug and two samovars."""
    looks = ("colour", "size", "number", "aside")        # may stand before an unknown noun, but be none
    return tuple(told[2] for told in WANTED.finditer(prompt)
                 if not any(m.start < told.end() and m.end > told.start(2 if m.kind in looks else 0)
                            for m in found if m.kind != "noun"))
