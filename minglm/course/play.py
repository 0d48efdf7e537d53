"""Play with a picture: paint it, change ids of its plan, paint it again. (playground.py has buttons for it.)

    from minglm import Pipeline
    from minglm.course import play

    pipe = Pipeline.from_pretrained("mini")
    one = play.paint(pipe, 'a red poster with a cat and the words "Hello"', seed=0)
    play.show(pipe, one)                                # preview, plan and picture side by side
    play.alternatives(pipe, one, row=1, column=2)       # ids that the planner might have put there
    two = play.repaint(pipe, one, {(1, 2): 317})        # with another id in row 1, column 2
    play.show(pipe, one, two)

Shapes: N text ids · p, q preview grid · h, w plan · K ids of the codebook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from minglm import plot
from minglm.device import usual_defaults
from minglm.generate.pipeline import Pipeline
from minglm.generate.request import Output, guided, unconditional
from minglm.measure.patches import POSTERS, mean_patches, mosaic
from minglm.model import flow
from minglm.model.planner import positions
from minglm.model.prompt import prompt_ids, text_offset
from minglm.validate import whole

Changes = Mapping[tuple[int, int], int]      # (row, column) of the plan -> another id
OnStep = Callable[[int, Tensor], None]       # called after every step of the decoder


@dataclass(frozen=True)
class Painting:
    """A picture and what led to it."""

    how: dict                                # the pipeline's arguments, the prompt among them
    understood: str                          # the prompt as the planner read it
    notes: list[str]
    preview: Tensor                          # (p, q)
    plan: Tensor                             # (h, w)
    image: Image.Image


def paint(pipe: Pipeline, prompt: str, on_step: OnStep | None = None, **how) -> Painting:
    """Paint a prompt. how: arguments of the pipeline, such as seed, steps, guidance, temperature, enhance.

    Raises ValueError for what cannot be painted.
    """
    out = pipe(prompt, progress=False, on_step=on_step, **how)
    return painting(out, dict(prompt=prompt) | how, out.preview[0])


def repaint(pipe: Pipeline, before: Painting, changes: Changes, on_step: OnStep | None = None, **how
            ) -> Painting:
    """Paint the plan of `before` once more, with some ids changed, by the same noise and words.

    how: arguments that are to be others than before, such as steps, seed or the prompt. Of a prompt only the
    quoted words matter now: it was the planner that read the rest. Raises ValueError for a place or an id
    that there is not.
    """
    how, plan = before.how | how, changed(before.plan, changes)
    height, width = (pipe.config.cell * side for side in plan.shape)
    given = how | dict(height=height, width=width, prior_ids=plan)
    after = painting(pipe(**given, progress=False, on_step=on_step), how, before.preview)
    if how["prompt"] != before.how["prompt"]:
        return after
    # the plan is still one of the caption that was chosen with it
    return replace(after, understood=before.understood, notes=before.notes)


def painting(out: Output, how: dict, preview: Tensor) -> Painting:
    """The one picture of a call."""
    return Painting(how, out.prompts[0], out.notes, preview, out.plan[0], out.images[0])


def changed(plan: Tensor, changes: Changes) -> Tensor:
    """A copy of a plan with other ids in some places. Raises ValueError for a place that there is not."""
    plan = plan.clone()
    for (row, column), id in changes.items():
        plan[cell(plan, row, column)] = id
    return plan


def cell(plan: Tensor, row: int, column: int) -> tuple[int, int]:
    """A place of the plan. Raises ValueError if there is no such place."""
    rows, columns = plan.shape
    return whole("row", row, 0, rows - 1), whole("column", column, 0, columns - 1)


# ---------------------------------------------------------------- what else the planner might have put


def alternatives(pipe: Pipeline, painting: Painting, row: int, column: int, count: int = 12,
                 changes: Changes | None = None) -> list[tuple[int, float]]:
    """The `count` most probable ids in one place of the plan, as (id, probability), the likeliest first.

    The id that was painted there comes last if it is not among them. Probabilities are the planner's at
    temperature 1, guided as they were, given the prompt, the preview and the ids before this place in reading
    order, changed ones included.
    """
    place, plan = cell(painting.plan, row, column), changed(painting.plan, changes or {})
    guidance = guided(painting.how.get("planner_guidance"), pipe.config)
    chances = probabilities(pipe, painting.understood, painting.preview, plan, guidance)[place]
    likely = chances.topk(min(count, len(chances))).indices.tolist()
    return [(id, float(chances[id])) for id in dict.fromkeys([*likely, int(painting.plan[place])])]


@torch.no_grad()
def probabilities(pipe: Pipeline, prompt: str, preview: Tensor, plan: Tensor, guidance: float = 1) -> Tensor:
    """How probable each id is in each place of a plan, given all before it: (h, w, K)."""
    with usual_defaults():
        logits = logits_of(pipe, prompt, preview, plan)
        if guidance != 1:
            other = logits_of(pipe, unconditional(prompt, pipe.config), preview, plan)
            logits = flow.guide(logits, other, guidance)
    return logits.softmax(-1).view(*plan.shape, -1)


def logits_of(pipe: Pipeline, prompt: str, preview: Tensor, plan: Tensor) -> Tensor:
    """The logits of the plan's ids, (h w, K), each given all before it: one pass over what the planner read
    and wrote, without the last id, which predicts nothing here."""
    config, device = pipe.planner.config, pipe.device.device
    text = prompt_ids(pipe.bpe, prompt, *plan.shape, tuple(preview.shape), text_offset(pipe.bpe, config),
                      config.boi, pipe.specials)
    ids = torch.cat([torch.tensor(text), preview.flatten(), plan.flatten()])[:-1]
    place = positions([len(text), tuple(preview.shape), tuple(plan.shape)])[:, :-1]
    features = pipe.planner(ids[None].to(device), place[None].to(device))[0, -plan.numel():]
    return pipe.planner.head(features)[:, :config.codebook].float().cpu()


# ---------------------------------------------------------------- what it looks like


def views(pipe: Pipeline, painting: Painting) -> list[Image.Image]:
    """Preview, plan and picture, as pictures of one size. Each id is drawn as the mean of its patches."""
    large, small = mean_patches(pipe.tokenizer, POSTERS)
    grids = mosaic(painting.preview, small), mosaic(painting.plan, large)
    size = painting.image.size
    return [Image.fromarray(grid).resize(size, Image.Resampling.BOX) for grid in grids] + [painting.image]


def show(pipe: Pipeline, *paintings: Painting):
    """A figure: preview, plan and picture side by side, one painting a row; ids are written on the plans."""
    plt = plot.pyplot()
    figure, axes = plt.subplots(len(paintings), 3, figsize=(7.2, 2.5 * len(paintings)), squeeze=False)
    for row, one in zip(axes, paintings):
        preview, plan, picture = views(pipe, one)
        plot.grid_over(row[0], preview, one.preview)
        plot.grid_over(row[1], plan, one.plan)
        row[2].imshow(np.asarray(picture))
        row[2].axis("off")
        for axis, title in zip(row, ("preview", "plan", "picture")):
            axis.set_title(title, fontsize=9)
    figure.tight_layout(pad=0.4)
    return figure
