"""Several plans of each picture: by the planner that draws, or by the one that edits.

If an instruction to edit is understood, the planner that draws can plan the result: its prompt is the caption
of the result, and the ids of cells in which nothing changes are fixed. It knows captions better than the
planner that edits knows instructions, or captions beside a picture. Other styles, which captions of posters
do not name, are left to the planner that edits.

Of a poster with big or small objects, half of the plans are for objects of the usual size, see `usual`.

Shapes: B pictures · K candidates · h, w id grid · p, q preview grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from minglm.generate.best import seeds
from minglm.generate.expected import kept, usual
from minglm.generate.paint import generator
from minglm.generate.request import Understood, one_each, repeat
from minglm.generate.sources import Source
from minglm.model.editing import Editing

Plan = Callable[..., tuple[Tensor, Tensor]]      # Pipeline.plan
AS_USUAL = "objects are painted at the usual size: the plans with {} ones were worse"


def plans(several: Plan, plan: Plan, editing: Editing, asked: Understood, read: list[list[Source]], each: int,
          candidates: int, rows: int, columns: int, seed: int | list[int], how: dict, drawing: float
          ) -> tuple[Tensor, Tensor, Tensor | None]:
    """Preview ids (B K, p, q) and large ids (B K, rows, columns), those of a picture one after the other, and
    of edits of posters the log-probability of each, (B K,). These have no preview, (B K, 0, 0).

    several, plan: Pipeline.plans and Pipeline.plan. read: the pictures to edit of each prompt, which is asked
    `each` times. seed: of the first candidates. how: arguments of `plan`; drawing: the guidance of the
    planner that draws.
    """
    count = len(asked.captions)
    own = seeds(seed, count, candidates)
    if not asked.expected or not any(read):
        captions = [caption for some in captions_of(asked, candidates) for caption in some]
        return *several(captions, each * candidates, rows, columns, own, read, **how), None
    own, read = one_each(own, count * candidates), repeat(read, each)
    expected = asked.expected
    large, likelihood = torch.zeros(len(own), rows, columns, dtype=torch.long), torch.zeros(len(own))
    for edits in (True, False):
        which = [b for b, one in enumerate(expected) if bool(one and one.caption) != edits]
        if not which:
            continue
        at = [b * candidates + k for b in which for k in range(candidates)]
        captions = [asked.captions[b] if edits else expected[b].caption for b in which]
        some, likely = [read[b] if edits else [] for b in which], torch.zeros(len(at))
        with editing.on(edits):
            _, large[at] = plan(repeat(captions, candidates), rows, columns, [generator(own[i]) for i in at],
                                repeat(some, candidates), **how | ({} if edits else dict(guidance=drawing)),
                                likelihood=likely, kept=kept([expected[b] for b in which], candidates))
        likelihood[at] = likely
    for b, one in enumerate(expected):
        if one and one.known:
            mine = slice(b * candidates, (b + 1) * candidates)
            large[mine] = one.known.laid(large[mine])
    return large[:, :0, :0], large, likelihood


def captions_of(asked: Understood, candidates: int) -> list[list[str]]:
    """What the planner reads for each plan of each poster."""
    second = [usual(one) for one in asked.expected] or [None] * len(asked.captions)
    return [[caption] * candidates if not other else
            [caption] * (candidates - candidates // 2) + [other.caption] * (candidates // 2)
            for caption, other in zip(asked.captions, second)]


def as_chosen(asked: Understood, which: list[int], candidates: int) -> Understood:
    """What is painted, given the number of the plan that is: its caption, and a note if it is for objects of
    another size."""
    if not asked.expected or any(one and one.edit for one in asked.expected):
        return asked
    captions = [some[one % candidates] for some, one in zip(captions_of(asked, candidates), which)]
    notes = [AS_USUAL.format(one.poster.size) for one, before, now in
             zip(asked.expected, asked.captions, captions) if one and now != before]
    return replace(asked, captions=captions, notes=[*asked.notes, *notes])
