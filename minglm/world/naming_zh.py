"""How a Chinese instruction speaks of what is on a picture, and of what shall be on it."""

from __future__ import annotations

import random
from collections.abc import Callable

from minglm.world import edit_phrases_zh as say
from minglm.world.captions_zh import ADVERBS, PLACE, called
from minglm.world.characters import is_han
from minglm.world.explicit import NUMBERS_ZH, PAIRS, marked
from minglm.world.objects import things
from minglm.world.posters import Group, Region
from minglm.world.quotes import QUOTES
from minglm.world.scenes import Edit
from minglm.world.wording import difference


class Chinese:
    """The words for one edit. `quotes`: what has been quoted so far, all in one kind of marks if they can."""

    def __init__(self, rng: random.Random, edit: Edit):
        self.rng, self.edit, self.diff, self.quotes = rng, edit, difference(edit), []
        self.marks = rng.choice((*QUOTES["zh"] * 3, "『』", "‘’"))

    def parts(self) -> dict[str, Callable[[], str]]:
        """What the fields of the patterns stand for; see edit_phrases_zh.py."""
        rng, diff = self.rng, self.diff
        return dict(
            t=self.text, q=lambda: self.quote(diff.come[0]), c=lambda: self.colour(diff.colour),
            b=lambda: self.colour(diff.source.background), p=lambda: self.place(diff.place),
            w=self.where, u=self.ink,
            o=lambda: self.object(diff.lost[0]), n=lambda: self.counted(diff.won[0]),
            x=lambda: self.object(diff.source.groups[0]),
            m=lambda: self.counted(diff.lost[0]), k=lambda: self.counted(diff.won[0]),
            more=lambda: self.counted(Group(diff.won[0].thing, diff.count)),
            less=lambda: self.counted(Group(diff.won[0].thing, diff.count)),
            s=lambda: rng.choice(say.STYLED[diff.target.style]),
            l=lambda: language(diff.come[0]), f=lambda: language(diff.gone[0]), r=self.result)

    # ------------------------------------------------------------ texts

    def quote(self, region: Region) -> str:
        text = region.text.replace("\n", " ")
        self.quotes.append(text)
        return marked(text, (self.marks, *PAIRS))

    def colour(self, colour: str) -> str:
        return called(self.rng, colour, False)[0]

    def text(self) -> str:
        """The text that changes, told from the others: 文字, “你好”, 蓝色的字, 上面的字."""
        rng, regions, [text, *more] = self.rng, self.diff.source.regions, self.diff.gone
        if more:
            return rng.choice(say.WHOLE)
        if len(regions) == 1 and rng.random() < 0.5:
            return rng.choice(say.ONLY)
        way = rng.random()
        if way < 0.2 and sum(one.slot == text.slot for one in regions) == 1:
            return f"{self.place(text.slot)}的{rng.choice(('字', '文字'))}"
        if way > 0.8 and sum(one.colour == text.colour for one in regions) == 1:
            return f"{self.colour(text.colour)}的{rng.choice(('字', '文字'))}"
        return rng.choice(say.NAMED).format(q=self.quote(text))

    def place(self, place: str) -> str:
        """A place that 在 or 到 can stand before."""
        return self.rng.choice([way for way in PLACE[place] if way not in ADVERBS])

    def where(self) -> str:
        """Where something new shall be, if that is told, as an adverb: 在顶部, 猫旁边."""
        rng, diff = self.rng, self.diff
        if rng.random() < 0.5:
            return ""
        at = self.place(diff.place)
        if not diff.come and diff.source.groups:
            at = self.object(diff.source.groups[0]) + rng.choice(("旁边", "边上", "的旁边"))
        return rng.choice(("在", "在", "")) + at

    def ink(self) -> str:
        """The colour of a new text, if it is told."""
        rng = self.rng
        if rng.random() < 0.5:
            return ""
        full, short = called(rng, self.diff.colour, False)
        return rng.choice((f"{full}的", f"{full}的", full, f"{short}字"))

    def result(self) -> str:
        """The translation, which some give and some want to be given."""
        if self.rng.random() < 0.6:
            return ""
        ways = ("{}", "：{}", "，{}", "（{}）", "，就是{}")
        return self.rng.choice(ways).format(self.quote(self.diff.come[0]))

    # ------------------------------------------------------------ objects

    def name(self, group: Group) -> str:
        """A name that a number can stand before, which 一本书 is not."""
        kind = things()[group.thing]
        names = [name for name in kind.zh_names if name[0] not in "一半" or name == kind.zh]
        usual = self.rng.random() < 0.6 or group.thing in self.diff.looked       # 棕熊 may be blue here
        return kind.zh if usual else self.rng.choice(names)

    def object(self, group: Group) -> str:
        """An object that is on the picture: 猫, 这只猫, 两只猫."""
        name, measure, way = self.name(group), things()[group.thing].measure, self.rng.random()
        if group.count > 1:
            number = NUMBERS_ZH[group.count] + measure
            return name if way < 0.3 else f"{'这' if way < 0.7 else ''}{number}{name}"
        return name if way < 0.6 else f"{self.rng.choice(('这', '这', '那'))}{measure}{name}"

    def counted(self, group: Group) -> str:
        """An object with its number: 一只猫, 只猫, 2只猫."""
        measure, way = things()[group.thing].measure, self.rng.random()
        number = str(group.count) if way > 0.8 else NUMBERS_ZH[group.count]
        return f"{number}{'个' if way < 0.05 else measure}{self.name(group)}"


def language(region: Region) -> str:
    """What a text is written in."""
    return "中文" if is_han(region.text) else "英文"
