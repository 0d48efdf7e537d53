"""Instructions that tell everything, in the way reserved for evaluation: one for each edit and language."""

from __future__ import annotations

from minglm.world.characters import is_han
from minglm.world.colours import COLOURS
from minglm.world.explicit import PLACES_EN, article, counted_en, counted_zh, join_en, marked
from minglm.world.goals import ORDINALS_EN, ORDINALS_ZH
from minglm.world.objects import things
from minglm.world.posters import PLACES, Group, Region
from minglm.world.quotes import quote
from minglm.world.scenes import Edit
from minglm.world.texts import contains_held_out
from minglm.world.wording import Difference, difference

STYLES_EN = {"outline": "as a line drawing", "pixel art": "as pixel art", "inverted": "with inverted colours"}
STYLES_ZH = {"outline": "变成了线稿", "pixel art": "变成了像素画", "inverted": "变成了反色的"}


def told(edit: Edit) -> str:
    """The instruction that tells everything, in the language of the edit."""
    return (told_en if edit.language == "en" else told_zh)(edit)


def unknowable(diff: Difference) -> bool:
    """Whether no training edit can have shown a translation, so that it has to be given."""
    return any(contains_held_out(region.text) for region in (*diff.gone, *diff.come))


# ---------------------------------------------------------------- English

def the(group: Group) -> str:
    """An object that is there: the cat, the two cats."""
    said = counted_en(group).removeprefix("the ")
    for indefinite in ("a ", "an "):
        said = said.removeprefix(indefinite) if group.count == 1 else said
    return f"the {said}"


def text_en(region: Region) -> str:
    return f"the text {quote(region.text)}"


def new_text_en(region: Region) -> str:
    return f"the {region.colour} text {quote(region.text)} {PLACES_EN[region.slot]}"


def told_en(edit: Edit) -> str:
    """The same poster, only the background is blue."""
    diff = difference(edit)
    if edit.kind == "combine":
        items = [gives_en(edit, i) for i in range(len(edit.roles))]
        ground = f"On {article(edit.target.background)} background, "
        return f"{ground}one poster of these pictures: {join_en(items)}."
    if edit.kind == "identity":
        where = [f"on {article(diff.target.background)} background", PLACES_EN[diff.target.place]]
        where += [f"with {new_text_en(region)}" for region in diff.come]
        return f"The same {the(diff.source.groups[0]).removeprefix('the ')}, only {', '.join(where)}."
    return f"The same poster, only {change_en(edit.kind, diff)}."


def change_en(kind: str, diff: Difference) -> str:
    """What is different in the target."""
    texts = " and ".join(map(text_en, diff.gone))
    one, other = (diff.gone or [None])[0], (diff.come or [None])[0]
    lost, won = (diff.lost or [None])[0], (diff.won or [None])[0]
    if kind == "translate text":
        result = f": {quote(other.text)}" if unknowable(diff) else ""
        return f"with {text_en(one)} in {'Chinese' if is_han(other.text) else 'English'}{result}"
    return {
        "background": lambda: f"the background is {diff.target.background}",
        "recolour text": lambda: f"{texts} in {diff.colour}",
        "replace text": lambda: f"with {quote(other.text)} in place of {quote(one.text)}",
        "add text": lambda: f"with {new_text_en(other)} as well",
        "remove text": lambda: f"without {texts}",
        "move text": lambda: f"with {text_en(one)} {PLACES_EN[other.slot]}",
        "swap object": lambda: f"with {counted_en(won)} in place of {the(lost)}",
        "move object": lambda: f"with {the(lost)} {PLACES_EN[diff.target.place]}",
        "add object": lambda: f"with {counted_en(won)} {beside_en(diff)} as well",
        "remove object": lambda: f"without {the(lost)}",
        "recount object": lambda: f"with {number_en(won)} in place of {number_en(lost)}",
        "restyle": lambda: STYLES_EN[diff.target.style],
    }[kind]()


def number_en(group: Group) -> str:
    """An object with its number: one cat."""
    return f"one {the(group).removeprefix('the ')}" if group.count == 1 else counted_en(group)


def beside_en(diff: Difference) -> str:
    if diff.source.groups:
        return f"next to {the(diff.source.groups[-1 if diff.source.place != 'right' else 0])}"
    return PLACES_EN[diff.target.place]


def gives_en(edit: Edit, i: int) -> str:
    """What picture number `i` gives, and where it goes."""
    role, of = edit.roles[i], f"of the {ORDINALS_EN[i]}"
    if role == "background":
        return f"the background {of}"
    if role == "object":
        return f"{the(edit.sources[i].groups[0])} {of} {PLACES_EN[edit.target.place]}"
    return join_en([f"the text {quote(r.text)} {of} {PLACES_EN[r.slot]}" for r in edit.target.regions])


# ---------------------------------------------------------------- Chinese

def thing_zh(group: Group) -> str:
    return things()[group.thing].zh


def new_text_zh(region: Region) -> str:
    return f"{PLACES[region.slot]}多了{COLOURS[region.colour][1]}的{marked(region.text)}"


def told_zh(edit: Edit) -> str:
    """还是这张海报，只是背景是蓝色的。"""
    diff = difference(edit)
    if edit.kind == "combine":
        items = [gives_zh(edit, i) for i in range(len(edit.roles))]
        return f"这几张图合成一张{COLOURS[edit.target.background][1]}背景的海报：{'，'.join(items)}。"
    if edit.kind == "identity":
        [group] = diff.source.groups
        where = [f"背景是{COLOURS[diff.target.background][1]}的", f"在{PLACES[diff.target.place]}"]
        where += map(new_text_zh, diff.come)
        return f"还是这{things()[group.thing].measure}{thing_zh(group)}，只是{'，'.join(where)}。"
    return f"还是这张海报，只是{change_zh(edit.kind, diff)}。"


def change_zh(kind: str, diff: Difference) -> str:
    """What is different in the target."""
    texts = "和".join(marked(region.text) for region in diff.gone)
    other, lost, won = (diff.come or [None])[0], (diff.lost or [None])[0], (diff.won or [None])[0]
    if kind == "translate text":
        result = marked(other.text) if unknowable(diff) else ""
        return f"{texts}换成了{'中文' if is_han(other.text) else '英文'}{result}"
    return {
        "background": lambda: f"背景是{COLOURS[diff.target.background][1]}的",
        "recolour text": lambda: f"{texts}是{COLOURS[diff.colour][1]}的",
        "replace text": lambda: f"{texts}换成了{marked(other.text)}",
        "add text": lambda: new_text_zh(other),
        "remove text": lambda: f"没有了{texts}",
        "move text": lambda: f"{texts}在{PLACES[other.slot]}",
        "swap object": lambda: f"{thing_zh(lost)}换成了{counted_zh(won, 'normal')}",
        "move object": lambda: f"{thing_zh(lost)}在{PLACES[diff.target.place]}",
        "add object": lambda: f"{beside_zh(diff)}多了{counted_zh(won, 'normal')}",
        "remove object": lambda: f"没有了{thing_zh(lost)}",
        "recount object": lambda: f"有{counted_zh(won, 'normal')}，不是{counted_zh(lost, 'normal')}",
        "restyle": lambda: STYLES_ZH[diff.target.style],
    }[kind]()


def beside_zh(diff: Difference) -> str:
    if diff.source.groups:
        return f"{thing_zh(diff.source.groups[-1 if diff.source.place != 'right' else 0])}旁边"
    return PLACES[diff.target.place]


def gives_zh(edit: Edit, i: int) -> str:
    """What picture number `i` gives, and where it goes."""
    role, of, scene = edit.roles[i], f"第{ORDINALS_ZH[i]}张的", edit.sources[i]
    if role == "background":
        return f"{of}背景"
    if role == "object":
        return f"{of}{thing_zh(scene.groups[0])}在{PLACES[edit.target.place]}"
    return of + "，".join(f"{marked(r.text)}在{PLACES[r.slot]}" for r in edit.target.regions)
