"""Instructions in Chinese: the many ways to ask for one edit. Why they vary so much: see instructions_en.py.

No training instruction has 还是这 or 合成一张 unless quoted: evaluation's have (edit_told.py).
"""

from __future__ import annotations

import random

from minglm.world import edit_phrases_zh as say
from minglm.world.combine import home
from minglm.world.naming_zh import Chinese
from minglm.world.quotes import quoted, unquoted
from minglm.world.scenes import Edit, Scene
from minglm.world.wording import fill, suits

RESERVED = ("还是这", "合成一张")             # for evaluation
ALL_NEW = ("restyle", "combine", "identity")  # kinds of which nothing stays as it was
JOINTS = ("和", "和", "，", "、", "加上", "，再加", "加", "还有")


def chinese(rng: random.Random, edit: Edit) -> str:
    """One training instruction."""
    ask = dict(combine=combine, identity=identity).get(edit.kind, request)
    while True:                              # ‘CAT’3只猫 has no quotation: a digit follows the mark
        words = Chinese(rng, edit)
        said = finish(rng, ask(words), edit.kind)
        reserved = any(one in unquoted(said) for one in RESERVED)
        if sorted(quoted(said)) == sorted(words.quotes) and not reserved:
            return said


def request(words: Chinese) -> str:
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

def combine(words: Chinese) -> str:
    """One poster of several: 第一张图的猫和第二张的文字放在一起."""
    rng, edit, way = words.rng, words.edit, words.rng.choice(say.PICTURES)
    items = []
    for i, (role, scene) in enumerate(zip(edit.roles, edit.sources)):
        of = way.format(z=say.ORDINALS[i], i=i + 1) + rng.choice(("的", "的", "的", "里的", "上的"))
        items.append(item(words, role, scene, of))
    if rng.random() < 0.25:
        rng.shuffle(items)
    said = rng.choice(JOINTS).join(items)
    said = politely(rng, rng.choice(say.COMBINE).format(i=said)) if rng.random() < 0.6 else \
        rng.choice(say.COMBINED).format(i=said)
    if home(edit.roles, edit.sources).background != edit.target.background:
        colour = words.colour(edit.target.background)
        ways = ("，背景用{}", "，{}背景", "，背景{}", "，背景要{}的")
        said = said.rstrip("？") + rng.choice(ways).format(colour)
    return said


def item(words: Chinese, role: str, scene: Scene, of: str) -> str:
    """What one picture gives, and where it goes if that is not where it was."""
    rng, target = words.rng, words.edit.target
    if role == "background":
        return of + rng.choice(("背景", "背景", "底色", "背景颜色"))
    if role == "object":
        alone = words.edit.roles.count("object") == 1
        told = alone and (target.place != scene.place or rng.random() < 0.3)
        return of + words.object(scene.groups[0]) + (f"（{words.place(target.place)}）" if told else "")
    if any(region not in scene.regions for region in target.regions) or rng.random() < 0.3:
        return of + "".join(words.quote(one) + f"（{words.place(one.slot)}）" for one in target.regions)
    return of + rng.choice(("文字", "文字", "字"))


def identity(words: Chinese) -> str:
    """Who is on the picture, elsewhere: 这只猫不变，换成蓝色背景，写上“你好”."""
    rng, diff, where = words.rng, words.diff, []
    if diff.target.background != diff.source.background:
        where.append(rng.choice(say.ELSEWHERE).format(c=words.colour(diff.target.background)))
    if diff.target.place != diff.source.place:
        where.append(rng.choice(("放在", "放到", "移到", "放")) + words.place(diff.target.place))
    rng.shuffle(where)
    if diff.come:
        ways = ("{w}写上{u}{q}", "{w}写{u}{q}", "{w}加上{u}{q}", "{w}配上{u}{q}", "{w}加{u}文字{q}")
        where.append(fill(rng.choice(ways), words.parts()))
    does = rng.random() < 0.6
    said = rng.choice(say.KEEP if does else say.KEPT).format(
        o=words.object(diff.source.groups[0]), w=rng.choice(("，", "，", "，", " ")).join(where))
    return politely(rng, said) if does else said


# ---------------------------------------------------------------- around it

def finish(rng: random.Random, said: str, kind: str) -> str:
    """The instruction with what people write around it."""
    if rng.random() < 0.1:
        said = rng.choice(say.BEFORE) + rng.choice(("，", "，", " ", "！", "。")) + said
    if rng.random() < 0.22:
        joint = "" if said.endswith("？") else rng.choice(("，", "，", " ", "。", ","))
        said += joint + rng.choice(say.THANKS if kind in ALL_NEW else say.THANKS + say.REST)
    if rng.random() < 0.08:                  # as on a telephone: blanks for marks
        said = said.replace("，", " ")
    return said + ("" if said.endswith("？") else rng.choice(("。", "。", "", "", "", "！", "~")))
