"""Captions in Chinese: the many ways to ask for one poster. Why they vary: see captions_en.py."""

from __future__ import annotations

import random

from minglm.world.posters import COLOURS, NATURAL, PLACES, Poster, things
from minglm.world.quotes import written

ASK_ZH = ("画", "做", "来", "设计", "生成", "帮我画", "帮我做", "我想要", "我要", "给我", "请做", "请设计",
          "请生成", "请帮我画", "请给我")   # but not 请画, the opening of pattern 0


def chinese(rng: random.Random, poster: Poster, pattern: int, training: bool) -> str:
    """One caption by the given pattern, 0 to 5; in training a place or a colour is sometimes left out."""
    def rarely(share: float) -> bool:
        return training and rng.random() < share

    thing, background = things()[poster.thing][0], COLOURS[poster.background][1]
    if poster.thing in NATURAL and rarely(0.3):
        thing = f"{COLOURS[NATURAL[poster.thing]][1]}的{thing}"
    place = "" if rarely(0.08) else PLACES[poster.place]
    words = [(written(rng, r.text, "zh"), "" if rarely(0.08) else COLOURS[r.colour][1], PLACES[r.slot])
             for r in poster.regions]
    if pattern == 0:
        said = "".join(f"，{at}的字是{c}{q}" for q, c, at in words)
        return f"请画一张{background}的海报：{thing}在{place}{said}。"
    ground = rng.choice(("一张{b}海报", "一张{b}海报", "一张{b}的海报", "一张{b}背景的海报", "{b}背景的海报",
                         "{b}的海报", "海报背景是{b}", "背景是{b}的海报",
                         "一幅{b}底色的画")).format(b=background)
    if ground[0] == "一" and rarely(0.5):
        ground = rng.choice(ASK_ZH) + ground
    shown = rng.choice(("{p}画着{t}", "{p}有{t}", "{p}有一个{t}", "{p}是{t}", "{t}在{p}") if place else
                       ("画着{t}", "有{t}", "画一个{t}")).format(p=place, t=thing)
    # a single phrasing for all words of the caption, or a mixture
    ways = rng.choice((("{at}是{c}文字{q}",), ("{at}写着{c}的{q}",), ("{c}的{q}在{at}",),
                       ("{at}用{c}写着{q}", "{at}有{c}的{q}", "{at}的{c}文字是{q}", "{c}文字{q}写在{at}")))
    said = []
    for q, c, at in words:
        way = rng.choice(ways)
        for phrase in ("用{c}", "{c}的", "{c}"):
            way = way if c else way.replace(phrase, "")
        said.append(way.format(q=q, c=c, at=at))
    comma, end = rng.choice(("，", "，", "，", "。", "；")), rng.choice(("。", "。", ""))
    if pattern in (1, 2, 4) and rarely(0.3):
        ground += "："
    order = {1: [ground, shown, *said], 2: [ground, shown, *said], 3: [*said, shown, ground],
             4: [ground, *said, shown], 5: [shown, ground, *said]}[pattern]
    return comma.join(order).replace("：" + comma, "：") + end
