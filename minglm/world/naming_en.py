"""How an English instruction speaks of what is on a picture, and of what shall be on it."""

from __future__ import annotations

import random
from collections.abc import Callable

from minglm.world import edit_phrases_en as say
from minglm.world.captions_en import called
from minglm.world.characters import is_han
from minglm.world.explicit import NUMBERS_EN, article, counted_en, is_plural
from minglm.world.objects import things
from minglm.world.phrases_en import PLACE
from minglm.world.posters import Group, Region
from minglm.world.quotes import quote
from minglm.world.scenes import Edit
from minglm.world.wording import difference


class English:
    """The words for one edit. `quotes`: what has been quoted so far."""

    def __init__(self, rng: random.Random, edit: Edit):
        self.rng, self.edit, self.diff, self.quotes = rng, edit, difference(edit), []

    def parts(self) -> dict[str, Callable[[], str]]:
        """What the fields of the patterns stand for; see edit_phrases_en.py."""
        rng, diff = self.rng, self.diff
        return dict(
            t=self.text, q=lambda: self.quote(diff.come[0]), c=lambda: called(rng, diff.colour),
            a=lambda: article(called(rng, diff.colour)), b=lambda: called(rng, diff.source.background),
            p=lambda: self.place(diff.place), to=lambda: rng.choice(say.TO[diff.place]), d=self.details,
            o=lambda: self.object(diff.lost[0]), n=lambda: self.counted(diff.won[0]),
            x=lambda: self.object(diff.source.groups[0]),
            m=lambda: self.number(diff.lost[0]), k=lambda: self.number(diff.won[0]),
            more=self.more, less=self.less, s=lambda: rng.choice(say.STYLED[diff.target.style]),
            l=lambda: language(diff.come[0]), f=lambda: language(diff.gone[0]), r=self.result)

    # ------------------------------------------------------------ texts

    def quote(self, region: Region) -> str:
        text = region.text.replace("\n", " ")
        self.quotes.append(text)
        return quote(text, self.rng, "en")

    def text(self) -> str:
        """The text that changes, told from the others: the text, "Hello", the blue words, the line on top."""
        rng, regions, [text, *more] = self.rng, self.diff.source.regions, self.diff.gone
        if more:
            return rng.choice(say.WHOLE)
        if len(regions) == 1 and rng.random() < 0.5:
            return rng.choice(say.ONLY)
        way = rng.random()
        if way < 0.2 and sum(one.slot == text.slot for one in regions) == 1:
            return f"the {rng.choice(('text', 'words', 'line'))} {self.place(text.slot)}"
        if way > 0.8 and sum(one.colour == text.colour for one in regions) == 1:
            return f"the {called(rng, text.colour)} {rng.choice(('text', 'words', 'letters'))}"
        return rng.choice(say.NAMED).format(q=self.quote(text))

    def place(self, place: str) -> str:
        """Where something is or shall be: at the top."""
        return self.rng.choice([way for way in PLACE[place] if " " in way])

    def details(self) -> str:
        """What is told of a new text or object, in any order."""
        diff = self.diff
        if diff.come:
            told = [f"in {called(self.rng, diff.colour)}", self.place(diff.place)]
        elif diff.source.groups:
            told = [f"next to {self.object(diff.source.groups[0])}"]
        else:
            told = [self.place(diff.place)]
        self.rng.shuffle(told)
        return "".join(f" {one}" for one in told if self.rng.random() < 0.5)

    def result(self) -> str:
        """The translation, which some give and some want to be given."""
        if self.rng.random() < 0.6:
            return ""
        ways = (": {}", " ({})", ", {}", " as {}", ", that is {}")
        return self.rng.choice(ways).format(self.quote(self.diff.come[0]))

    # ------------------------------------------------------------ objects

    def name(self, group: Group) -> str:
        kind = things()[group.thing]         # a red fox may be blue here
        usual = self.rng.random() < 0.6 or group.thing in self.diff.looked
        return kind.en if usual else self.rng.choice(tuple(kind.forms))

    def object(self, group: Group) -> str:
        """An object that is on the picture: the cat, both kittens."""
        name = self.name(group)
        if group.count > 1:
            ways = ("the", "the two", "both") if group.count == 2 else ("the", "the three", "all three")
            return f"{self.rng.choice(ways)} {things()[group.thing].forms[name][1]}"
        those = ("the", "those", "these") if is_plural(group) else ("the", "the", "the", "that", "this")
        form = things()[group.thing].forms[name][0]
        if form == "none" and name[0].isupper():
            return name                      # Saturn
        return f"{'the' if form == 'the' else self.rng.choice(those)} {name}"

    def counted(self, group: Group) -> str:
        """An object that is not yet there: a cat, two kittens, 3 cats."""
        said = counted_en(group, None if group.count > 1 else self.name(group))
        if group.count > 1 and self.rng.random() < 0.25:
            return said.replace(NUMBERS_EN[group.count], str(group.count), 1)
        return said

    def number(self, group: Group) -> str:
        """An object where its number matters: one cat."""
        return f"one {countable(group.thing)}" if group.count == 1 else self.counted(group)

    def more(self) -> str:
        """How many shall be added: another cat, two more cats."""
        name, count = countable(self.diff.won[0].thing), self.diff.count
        if count == 1:
            return self.rng.choice((f"another {name}", f"one more {name}"))
        return f"{NUMBERS_EN[count]} more {things()[self.diff.won[0].thing].forms[name][1]}"

    def less(self) -> str:
        """How many shall go: one of the cats."""
        kind = things()[self.diff.lost[0].thing]
        return f"{NUMBERS_EN[self.diff.count]} of the {kind.forms[countable(kind.en)][1]}"


def countable(thing: str) -> str:
    """A name of an object that can be counted, if it has one: cup of coffee."""
    forms = things()[thing].forms
    return next((name for name, (form, _) in forms.items() if form != "none"), thing)


def language(region: Region) -> str:
    """What a text is written in."""
    return "Chinese" if is_han(region.text) else "English"
