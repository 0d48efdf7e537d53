"""Checks of the exercises in notebook 01, Draw the data."""

from __future__ import annotations

from collections.abc import Callable

from minglm.course.answers import Case, Wrong, call, run
from minglm.world import quotes
from minglm.world.colours import COLOURS, luminance, text_colours
from minglm.world.draw import draw
from minglm.world.posters import Group, Poster, Region


def set_poster(learner: Callable) -> None:
    """() -> a white Poster, a robot on the right, Go! in green on the left, 早上 in black at the bottom."""
    go, morning = Region("left", "Go!", "green"), Region("bottom", "早上", "black")
    robot = (Group("robot"),)

    def poster(place: str = "right", regions: tuple = (go, morning), groups: tuple = robot) -> Poster:
        return Poster("white", groups, place, regions)

    run("set_poster", learner, Case((), poster(), {
        "the regions are not in reading order: top, left, centre, right, bottom":
            poster(regions=(morning, go)),
        "the robot is on the left, where Go! should be": poster("left"),
        "the objects are a tuple of Groups, one for each kind, even if there is only one":
            poster(groups=robot[0]),
        "the object is a name; a tuple of Groups is expected": poster(groups="robot"),
        "the regions are a list; a tuple is expected, which cannot be changed later":
            poster(regions=[go, morning])}))


def count_tokens(learner: Callable) -> None:
    """height, width in pixels -> how many latents, decoder tokens and ids of the large grid."""
    def count(height: int, width: int, *steps: int) -> tuple[int, ...]:
        return tuple((height // s) * (width // s) for s in steps)

    run("count_tokens", learner, *(Case(size, count(*size, 8, 16, 32), {
        "the order is latents, decoder tokens, ids: the finest grid first": count(*size, 32, 16, 8),
        "those are numbers along one side; a picture has rows times columns":
            tuple(size[0] // s for s in (8, 16, 32)),
        "a decoder token is 2 x 2 latents, so 16 pixels wide, and an id 2 x 2 tokens":
            count(*size, 8, 8, 32),
    }) for size in ((128, 128), (96, 160), (1024, 1024))))


def readable(learner: Callable) -> None:
    """A background's name -> the names of the colours with a contrast of at least 3, in the order of
    COLOURS."""
    def chosen(background: str, least: float = 3, haze: float = 0.05, both: bool = True) -> tuple[str, ...]:
        light = {name: luminance(rgb) + haze for name, (rgb, _) in COLOURS.items()}
        ratios = {name: one / light[background] for name, one in light.items()}
        return tuple(name for name, r in ratios.items() if max(r, 1 / r if both else 0) >= least)

    run("readable", learner, *(Case((name,), text_colours(name), {
        "only lighter colours found; divide the larger luminance by the smaller": chosen(name, both=False),
        "0.05 is missing: add it to both luminances before dividing": chosen(name, haze=1e-9),
        "a contrast of 3 is enough; 4.5 is the rule for small text": chosen(name, least=4.5),
    }) for name in ("white", "gray", "black", "orange")))


def ask(learner: Callable) -> None:
    """A poster -> an English caption that names the background, each kind of object (with its number if there
    are several), and their place; and for each text, in reading order, the quoted text, its slot, its colour.
    """
    for i in range(200):
        poster = draw(5, i)
        caption = call("ask", learner, poster)
        if not isinstance(caption, str):
            raise Wrong(f"ask: a string is expected, and this is a {type(caption).__name__}")
        wanted, found = [region.text for region in poster.regions], quotes.quoted(caption)
        if found != wanted:
            if sorted(found) == sorted(wanted):
                why = "the order is not top, left, centre, right, bottom"
            elif [text.casefold() for text in found] == [text.casefold() for text in wanted]:
                why = "the letters changed"
            else:
                why = "every text needs quotation marks, of a kind that it does not contain itself"
            raise Wrong(f"ask: given {caption!r} the model would write {found}, not {wanted}: {why}")
        named = dict(background=poster.background)
        for group in poster.groups:
            named |= {f"object {group.thing}": group.thing, "place of the objects": poster.place}
            named |= {f"number of {group.thing}": str(group.count)} if group.count > 1 else {}
        for region in poster.regions:
            named |= {f"slot of {region.text}": region.slot, f"colour of {region.text}": region.colour}
        for what, name in named.items():
            if name not in quotes.unquoted(caption):
                raise Wrong(f"ask: {caption!r} does not name the {what}, {name}")
    print("ask: right, 200 posters")
