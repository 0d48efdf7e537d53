"""Pieces of the playground: buttons that look like ids, and short words for what widgets are told.

ipywidgets comes with the extra `notebooks`; only panel.py imports this.
"""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO

import ipywidgets as widgets
from PIL import Image

LARGE, SMALL = 48, 32                        # pixels of the screen for an id; in a large plan
STYLE = """
.minglm-says {line-height: 1.4; white-space: pre-wrap; overflow-wrap: anywhere}
button.jupyter-button.minglm-id {margin: 0; padding: 0; border-radius: 0; background-size: cover}
button.jupyter-button.minglm-changed {box-shadow: inset 0 0 0 3px #0072B2}
button.jupyter-button.minglm-chosen {outline: 3px solid #D55E00; outline-offset: -3px}
"""


def button(text: str, tooltip: str, action: Callable[[], None]) -> widgets.Button:
    made = widgets.Button(description=text, tooltip=tooltip)
    made.on_click(lambda _: action())
    return made


def square(side: int, action: Callable[[], None]) -> widgets.Button:
    """A button to be dressed as an id. side: in pixels."""
    made = button("", "", action)
    made.layout = dict(width=f"{side}px", height=f"{side}px")
    return made


def dress(cell: widgets.Button, id: int, tooltip: str, changed: bool = False, chosen: bool = False) -> None:
    """Make a square look like an id, which `sheet` says how to draw."""
    marks = ["minglm-changed"] * changed + ["minglm-chosen"] * chosen
    cell.tooltip, cell._dom_classes = tooltip, ("minglm-id", f"minglm-id-{id}", *marks)


def sheet(scope: str, pictures: dict[int, Image.Image]) -> str:
    """The style sheet that draws ids, inside of what has the class `scope`: other weights have other ids."""
    rules = [f".{scope} .minglm-id-{id} {{background-image: url(data:image/png;base64,"
             f"{b64encode(png(picture)).decode()})}}" for id, picture in pictures.items()]
    return f"<style>{STYLE}{''.join(rules)}</style>"


def titled(title: str, widget: widgets.Widget) -> widgets.VBox:
    return widgets.VBox([widgets.Label(title), widget])


def wrapped(*children: widgets.Widget) -> widgets.Box:
    """Widgets side by side, in as many rows as it takes."""
    return widgets.Box(children, layout=dict(flex_flow="row wrap"))


def refill(box: widgets.Box, children: list[widgets.Widget]) -> None:
    """Put other widgets into a box; those that were there are given up, here and in the browser."""
    before, box.children = box.children, children
    for child in before:
        child.close()


def visible(on: bool, *some: widgets.Widget) -> None:
    for widget in some:
        widget.layout.display = None if on else "none"


def tell(widget: widgets.HTML, text: str) -> None:
    """Show a text as it is: what somebody typed may mean something in HTML."""
    widget.value = f'<div class="minglm-says">{html.escape(text)}</div>'


def png(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    data = BytesIO()
    image.save(data, "png")
    return data.getvalue()
