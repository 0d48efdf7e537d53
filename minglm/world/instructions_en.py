"""Instructions in English: the many ways to ask for one edit. The Chinese ones are in instructions_zh.py.

As with captions, most of what a person may leave out is left out most of the time, with any words around it.
No training instruction says "the same" or "one poster of" unless quoted: evaluation's do (edit_told.py).
"""

from __future__ import annotations

import random
import re

from minglm.world import edit_phrases_en as say
from minglm.world.captions_en import called, lower_around
from minglm.world.combine import home
from minglm.world.explicit import article, capital, is_plural, join_en
from minglm.world.naming_en import English
from minglm.world.quotes import quotations, quoted, unquoted
from minglm.world.scenes import Edit, Scene
from minglm.world.wording import fill, suits

RESERVED = re.compile(r"\bthe same\b|\bone poster of\b", re.IGNORECASE)          # for evaluation
ALL_NEW = ("restyle", "combine", "identity")  # kinds of which nothing stays as it was
JOINTS = (" and ", " and ", ", ", " with ", " plus ", " & ")


def english(rng: random.Random, edit: Edit) -> str:
    """One training instruction."""
    ask = dict(combine=combine, identity=identity).get(edit.kind, request)
    while True:                              # 'CAT's has no quotation: a letter follows the mark
        words = English(rng, edit)
        said = finish(rng, ask(words), edit.kind)
        if sorted(quoted(said)) == sorted(words.quotes) and not RESERVED.search(unquoted(said)):
            return said


def request(words: English) -> str:
    """An edit of one picture, asked for by a verb or not."""
    rng, kind = words.rng, words.edit.kind
    if words.diff.target.style == "inverted" and rng.random() < 0.5:
        return politely(rng, rng.choice(say.INVERT))
    does = rng.random() < 0.6
    patterns = (say.DO if does else say.SAY)[kind]
    said = fill(rng.choice([one for one in patterns if suits(one, kind, words.diff)]), words.parts())
    return politely(rng, said) if does else said


def politely(rng: random.Random, said: str) -> str:
    return rng.choice(say.ASK).format(x=said)


# ---------------------------------------------------------------- several pictures, and who is kept

def combine(words: English) -> str:
    """One poster of several: the cat from the first picture with the words of the second."""
    rng, edit, way = words.rng, words.edit, words.rng.choice(say.PICTURES)
    items = []
    for i, (role, scene) in enumerate(zip(edit.roles, edit.sources)):
        of = f"{rng.choice(('of', 'from', 'in', 'on'))} {way.format(o=say.ORDINALS[i], i=i + 1)}"
        items.append(item(words, role, scene, of))
    if rng.random() < 0.25:
        rng.shuffle(items)
    said = join_en(items) if rng.random() < 0.5 else rng.choice(JOINTS).join(items)
    does = rng.random() < 0.6
    said = rng.choice(say.COMBINE if does else say.COMBINED).format(i=said)
    if home(edit.roles, edit.sources).background != edit.target.background:
        on = rng.choice((" on {} background", ", on {} background", ", all on {} background", ", on {}"))
        colour = called(rng, edit.target.background)
        said += on.format(colour if on.endswith("on {}") else article(colour))
    return politely(rng, said) if does else said


def item(words: English, role: str, scene: Scene, of: str) -> str:
    """What one picture gives, and where it goes if that is not where it was."""
    rng, target = words.rng, words.edit.target
    if role == "background":
        return f"the {rng.choice(('background', 'background', 'backdrop', 'background colour'))} {of}"
    if role == "object":
        alone = words.edit.roles.count("object") == 1
        told = alone and (target.place != scene.place or rng.random() < 0.3)
        return f"{words.object(scene.groups[0])} {of}" + (f" {words.place(target.place)}" if told else "")
    if any(region not in scene.regions for region in target.regions) or rng.random() < 0.3:
        quotes = [(words.quote(one), words.place(one.slot)) for one in target.regions]
        if len(quotes) == 1:
            return f"{quotes[0][0]} {of} {quotes[0][1]}"
        return f"{' and '.join(map(' '.join, quotes))} {of}"
    return f"the {rng.choice(('text', 'words', 'writing', 'lettering'))} {of}"


def identity(words: English) -> str:
    """Who is on the picture, elsewhere: put this cat on a blue background and write "Hi"."""
    rng, diff, where = words.rng, words.diff, []
    if diff.target.background != diff.source.background:
        on = rng.choice(("on {} background", "on {} poster", "against {} background", "on {} sheet"))
        where.append(on.format(article(called(rng, diff.target.background))))
    if diff.target.place != diff.source.place:
        where.append(words.place(diff.target.place))
    rng.shuffle(where)
    if diff.come:
        ways = ("with the text {q}{d}", "with {q}{d}", "and {q}{d}", "saying {q}{d}", "and the words {q}{d}")
        where.append(fill(rng.choice(ways), words.parts()))
    [group] = diff.source.groups
    does = rng.random() < 0.6
    it, clauses = "them" if is_plural(group) else "it", rng.choice((" ", ", ", " ")).join(where)
    said = rng.choice(say.KEEP if does else say.KEPT).format(o=words.object(group), it=it, w=clauses)
    return politely(rng, said) if does else said


# ---------------------------------------------------------------- around it

def finish(rng: random.Random, said: str, kind: str) -> str:
    """The instruction with what people write around it, and now and then typed in a hurry."""
    said = capital(said) if rng.random() < 0.75 else said
    if rng.random() < 0.08:
        said = f"{rng.choice(say.BEFORE)} {said}"
    if rng.random() < 0.22:
        joint = " " if said.endswith("?") else rng.choice((", ", ", ", " ", ". "))
        said += joint + rng.choice(say.THANKS if kind in ALL_NEW else (*say.THANKS, *say.REST))
    if rng.random() < 0.12:
        said = lower_around(said)
    if rng.random() < 0.03:
        said = mistyped(rng, said)
    return said + ("" if said.endswith(("?", "!")) else rng.choice((".", ".", ".", "", "", "!")))


def mistyped(rng: random.Random, said: str) -> str:
    """Two letters of a longer word outside the quotations exchanged."""
    inside = quotations(said)
    words = [m for m in re.finditer("[a-z]{5,}", said) if not any(a <= m.start() < b for a, b in inside)]
    if not words:
        return said
    word = rng.choice(words)
    i = rng.randrange(word.start() + 1, word.end() - 1)
    return said[:i] + said[i + 1] + said[i] + said[i + 2:]
