"""The panel of the playground: play.py with a text box, sliders and buttons.

"Paint" paints the prompt. A click on a cell of the plan offers other ids for it; "Paint again" paints the
plan as it then stands. What is computed is in play.py; here is what is shown, and what a click does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import ipywidgets as widgets
from PIL import Image
from torch import Tensor

from minglm.course import play
from minglm.course.buttons import (
    LARGE,
    SMALL,
    button,
    dress,
    png,
    refill,
    sheet,
    square,
    tell,
    titled,
    visible,
    wrapped,
)
from minglm.generate.pipeline import Pipeline
from minglm.measure.patches import mean_patches
from minglm.validate import first_line

PROMPT = 'a yellow poster with an apple, and "Hello" in red at the bottom'


class Panel:
    """The widgets, and what a click on each does. `box` holds all of them."""

    def __init__(self, pipe: Pipeline):
        self.pipe = pipe
        self.painting: play.Painting | None = None
        self.changes: dict[tuple[int, int], int] = {}    # ids that are to differ from its plan
        self.place: tuple[int, int] | None = None        # the cell that was clicked
        self.cells: dict[tuple[int, int], widgets.Button] = {}
        self.offers: dict[int, widgets.Button] = {}      # ids to choose from
        # what is asked for; each widget is called as the pipeline's argument that it sets
        self.asked = dict(
            prompt=widgets.Textarea(PROMPT, rows=2, layout=dict(width="640px")),
            seed=widgets.BoundedIntText(0, max=2 ** 31 - 1),
            steps=widgets.IntSlider(20, min=1, max=50),
            guidance=widgets.FloatSlider(1.5, min=1, max=5),
            temperature=widgets.FloatSlider(0.9, min=0, max=2),
            enhance=widgets.Checkbox(True),
        )
        for name, widget in self.asked.items():
            widget.description, widget.style.description_width = name, "90px"
        self.paint = button("Paint", "plan the prompt and paint it", self.on_paint)
        self.again = button("Paint again", "paint the plan as it stands", self.on_again)
        self.again.disabled = True
        # what is shown
        self.bar, self.status = widgets.IntProgress(layout=dict(visibility="hidden")), widgets.HTML()
        self.understood, self.css = widgets.HTML(), widgets.HTML(layout=dict(display="none"))
        self.preview, self.picture, self.before = (widgets.Image() for _ in range(3))
        self.plan = widgets.GridBox()
        self.figures = [titled(title, figure) for title, figure in (
            ("preview", self.preview), ("plan: click a cell", self.plan), ("picture", self.picture),
            ("picture before", self.before))]
        # what a clicked cell offers
        self.hint, self.palette = widgets.HTML(), wrapped()
        self.number = widgets.BoundedIntText(max=pipe.config.planner.codebook - 1, description="any id")
        self.take = button("Take it", "put this id there", lambda: self.put(self.number.value))
        self.choice = widgets.VBox([self.hint, self.palette, widgets.HBox([self.number, self.take])])
        prompt, *numbers = self.asked.values()
        row = widgets.HBox([self.paint, self.again, self.bar])
        self.box = widgets.VBox([self.css, prompt, wrapped(*numbers), row, self.status, self.understood,
                                 wrapped(*self.figures), self.choice])
        self.scope = f"minglm-{self.box.model_id}"
        self.box.add_class(self.scope)
        visible(False, *self.figures, self.choice)

    # ------------------------------------------------------------ what a click does

    def on_paint(self) -> None:
        """Plan and paint what is asked for."""
        with self.working("planning"):
            self.draw(play.paint(self.pipe, on_step=self.on_step, **self.how()))

    def on_again(self) -> None:
        """Paint the plan as it stands, by the prompt and the numbers as they stand."""
        with self.working("painting"):
            before, place = self.painting, self.place
            self.draw(play.repaint(self.pipe, before, self.changes, self.on_step, **self.how()), before)
            if place:
                self.offer(place)            # for another try in the same cell

    def choose(self, place: tuple[int, int]) -> None:
        """Offer ids for a cell of the plan."""
        with self.working("asking the planner"):
            self.offer(place)

    def put(self, id: int) -> None:
        """Put an id into the chosen cell."""
        (row, column), planned = self.place, int(self.painting.plan[self.place])
        self.changes = {place: other for place, other in self.changes.items() if place != self.place}
        if id != planned:
            self.changes[self.place] = id
        tell(self.status, f"row {row}, column {column}: id {planned} "
             + (f"becomes {id}; paint again to see what that does" if id != planned else "stays"))
        self.colour()

    # ------------------------------------------------------------ what is shown

    def how(self) -> dict:
        """The pipeline's arguments, as they stand in the widgets."""
        return {name: widget.value for name, widget in self.asked.items()}

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """While something is computed buttons are off; what goes wrong is told in a line."""
        began = time.monotonic()
        self.paint.disabled = self.again.disabled = True
        self.bar.value, self.bar.layout.visibility = 0, "visible"
        tell(self.status, f"{what} ...")
        try:
            yield
            tell(self.status, f"done in {time.monotonic() - began:.1f} s")
        except (ValueError, RuntimeError) as error:      # the second where a card has no memory left
            tell(self.status, f"That cannot be done: {first_line(error)}")
        finally:
            self.bar.layout.visibility = "hidden"
            self.paint.disabled, self.again.disabled = False, self.painting is None

    def on_step(self, number: int, latents: Tensor) -> None:
        self.progress("painting: step", number + 1, self.asked["steps"].value)

    def progress(self, what: str, done: int, total: int) -> None:
        self.bar.max, self.bar.value = total, done
        tell(self.status, f"{what} {done} of {total}")

    def draw(self, painting: play.Painting, before: play.Painting | None = None) -> None:
        """Show a painting, and the picture before, if it is to be compared with one."""
        mean_patches(self.pipe.tokenizer, play.POSTERS, lambda *done: self.progress(
            "learning what ids look like, once: poster", *done))
        self.painting, self.changes, self.place, self.offers = painting, {}, None, {}
        rows, columns = painting.plan.shape
        side = max(SMALL, 4 * LARGE // max(rows, columns))
        size = dict(width=f"{side * columns}px", height=f"{side * rows}px")
        preview, _, picture = play.views(self.pipe, painting)
        earlier = before.image if before else picture
        for figure, image in ((self.preview, preview), (self.picture, picture), (self.before, earlier)):
            figure.value, figure.layout = png(image), size
        self.cells = {(row, column): square(side, lambda place=(row, column): self.choose(place))
                      for row in range(rows) for column in range(columns)}
        refill(self.plan, list(self.cells.values()))
        self.plan.layout = size | dict(grid_template_columns=f"repeat({columns}, {side}px)", margin="2px")
        tell(self.understood, "\n".join(painting.notes) or "the prompt is read as it stands")
        visible(True, *self.figures)
        visible(before is not None, self.figures[-1])
        visible(False, self.choice)
        self.colour()

    def offer(self, place: tuple[int, int]) -> None:
        """Show what else the planner thinks likely in a cell of the plan."""
        likely = play.alternatives(self.pipe, self.painting, *place, changes=self.changes)
        self.place = place
        self.offers = {id: square(LARGE, lambda id=id: self.put(id)) for id, _ in likely}
        refill(self.palette, [titled(f"{chance:.1%}", self.offers[id]) for id, chance in likely])
        painted = int(self.painting.plan[place])
        tell(self.hint, f"Row {place[0]}, column {place[1]}: id {painted} was painted. The planner thinks "
                        "these likely here, given the prompt and all ids before:")
        self.number.value = self.changes.get(place, painted)
        visible(True, self.choice)
        self.colour()

    def colour(self) -> None:
        """Draw every id of the plan as it stands, and every id on offer."""
        plan = play.changed(self.painting.plan, self.changes)
        for place, cell in self.cells.items():
            dress(cell, int(plan[place]), f"row {place[0]}, column {place[1]}: id {plan[place]}",
                  changed=place in self.changes, chosen=place == self.place)
        for id, offer in self.offers.items():
            dress(offer, id, f"take id {id}", chosen=id == int(plan[self.place]))
        patches, _ = mean_patches(self.pipe.tokenizer, play.POSTERS)
        shown = {*plan.flatten().tolist(), *self.offers}
        self.css.value = sheet(self.scope, {id: Image.fromarray(patches[id].numpy()) for id in shown})
