"""Checks of the exercises in notebook 11, Edit a poster.

Shapes: N tokens · R tokens of a reference image · h, w id grid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minglm.course.answers import Case, normal, run
from minglm.measure import ssim
from minglm.model.planner import positions


def edit_prompt(learner: Callable) -> None:
    """The ids of each source (h, w), ids of the instruction, boi and eoi -> one list of ids."""
    def case(sources: list[Tensor], text: list[int], boi: int, eoi: int) -> Case:
        grids = [source.flatten().tolist() for source in sources]
        around = [[boi, *ids, eoi] for ids in grids]
        return Case((sources, text, boi, eoi), [*sum(around, []), *text], {
            "the instruction comes after the pictures": [*text, *sum(around, [])],
            "each picture stands between its own boi and eoi": [boi, *sum(grids, []), eoi, *text],
            "the ids run along the rows: flatten each grid as it is":
                [*sum(([boi, *source.T.flatten().tolist(), eoi] for source in sources), []), *text],
            "the eoi after each picture is missing": [*sum(([boi, *ids] for ids in grids), []), *text],
            "the order of the pictures is that in which they were given":
                [*sum(around[::-1], []), *text]})

    a, b = torch.arange(6).view(2, 3), torch.arange(20, 32).view(3, 4)
    run("edit_prompt", learner, case([a, b], [71, 72, 73], 40, 41), case([b, a, b + 1], [9], 50, 60))


def edit_positions(learner: Callable) -> None:
    """Shapes (h, w) of the sources, length of the text, shape of the target -> positions (3, N)."""
    def case(sources: list[tuple[int, int]], text: int, target: tuple[int, int]) -> Case:
        parts = [part for shape in sources for part in (1, shape, 1)]
        right = positions([*parts, text, target])
        flat = positions([sum(h * w + 2 for h, w in sources) + text, target])
        bare = positions([*sources, text + 2 * len(sources), target])
        return Case((sources, text, target), right, {
            "the cells of a source spread over rows and columns, like those of the target": flat,
            "boi and eoi around each source count as one token of text each": bare})

    run("edit_positions", learner, case([(2, 3)], 4, (2, 3)), case([(4, 4), (3, 5)], 6, (4, 4)))


def reference_mask(learner: Callable) -> None:
    """Lengths of the references and of the target -> (N, N) bool: True where a row may look at a column."""
    def case(references: list[int], target: int) -> Case:
        kind = torch.repeat_interleave(torch.arange(len(references) + 1),
                                       torch.tensor([*references, target]))
        last = len(references)
        right = (kind[:, None] == kind) | (kind[:, None] == last)
        return Case((references, target), right, {
            "rows look, columns are looked at: yours is the other way round": right.T.clone(),
            "a reference sees itself only, not those before it": kind[:, None] >= kind,
            "the target sees itself and all references": kind[:, None] == kind,
            "the references must not see the target: they are computed once, before there is one":
                torch.ones_like(right)})

    run("reference_mask", learner, case([4], 3), case([2, 5, 3], 4))


def ssim_of_windows(learner: Callable) -> None:
    """Two windows x, y (..., n) of brightness in 0..255 -> the SSIM of each (...)."""
    x = 60 * normal(3, 40) + 120
    y = 0.7 * x + 30 * normal(3, 40, seed=1) + 20
    x, y = torch.stack([x, x, x]), torch.stack([y, x, 255 - x])

    def value(c1: float = ssim.C1, c2: float = ssim.C2, unbiased: bool = False, root: bool = False) -> Tensor:
        mx, my = x.mean(-1), y.mean(-1)
        count = x.shape[-1] - unbiased
        xx, yy = ((t - t.mean(-1, keepdim=True)).square().sum(-1) / count for t in (x, y))
        xy = ((x - mx[..., None]) * (y - my[..., None])).sum(-1) / count
        if root:
            xx, yy = xx.sqrt(), yy.sqrt()
        return (2 * mx * my + c1) * (2 * xy + c2) / ((mx ** 2 + my ** 2 + c1) * (xx + yy + c2))

    run("ssim_of_windows", learner, Case((x, y), value(), {
        "the two constants are exchanged: C1 stands with the means": value(ssim.C2, ssim.C1),
        "the constants are missing: where a picture is flat, 0 is divided by 0": value(0.0, 0.0),
        "divide by n, not by n - 1": value(unbiased=True),
        "the formula has variances, not standard deviations": value(root=True)}))
