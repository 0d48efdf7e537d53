"""Checks of the exercises in notebook 00, Meet minglm."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minglm.course.answers import Case, run
from minglm.generate.pipeline import Pipeline
from minglm.generate.request import Output


def greedy_plan(learner: Callable[[Pipeline, str, int], Tensor]) -> None:
    """The plan of a prompt, read as it stands, when the planner always takes the most probable id, whatever
    the seed."""
    pipe, prompt = Pipeline.from_pretrained("mini", "cpu"), 'A poster with the word "RUN".'

    def out(seed: int, enhance: bool = False, **how: float) -> Output:
        return pipe(prompt, steps=1, seed=seed, enhance=enhance, progress=False, **how)

    run("greedy_plan", learner, *(Case((pipe, prompt, seed), out(seed, temperature=0).plan[0], {
        "the enhancer still chooses what the prompt leaves open, by the seed: enhance=False":
            out(seed, enhance=True, temperature=0).plan[0],
        "the prompt is not read as it stands, but as the enhancer tells it: enhance=False":
            out(0, enhance=True, temperature=0).plan[0],
        "ids are still sampled, and the enhancer chooses, too: enhance=False and temperature 0":
            out(seed, enhance=True).plan[0],
        "ids are still sampled: with temperature 0 they are not": out(seed).plan[0],
        "a small top_p may still leave a choice; temperature 0 never does": out(seed, top_p=0.3).plan[0],
        "this is the preview; the plan is the large grid": out(seed, temperature=0).preview[0],
        "this is a list with the plan of each picture: take the first": out(seed, temperature=0).plan,
    }) for seed in (1, 2, 3)))


def move_right(learner: Callable[[Tensor], Tensor]) -> None:
    """A plan with rows 1 and 2 moved one column to the right, wrapping around; the other rows unchanged."""
    def case(seed: int) -> Case:
        plan = torch.randint(0, 4096, (4, 4), generator=torch.Generator().manual_seed(seed))

        def moved(rows: slice, by: int, axis: int) -> Tensor:
            out = plan.clone()
            out[rows] = plan[rows].roll(by, axis)
            return out

        cut = moved(slice(1, 3), 1, 1)
        cut[1:3, 0] = plan[1:3, 0]
        return Case((plan,), moved(slice(1, 3), 1, 1), {
            "all rows are moved; rows 0 and 3 should stay": moved(slice(0, 4), 1, 1),
            "row 2 should move too: a slice stops before its end": moved(slice(1, 2), 1, 1),
            "row 3 should stay: a slice stops before its end": moved(slice(1, 4), 1, 1),
            "the rows are moved to the left": moved(slice(1, 3), -1, 1),
            "the rows are moved down; a row runs along dimension 1": moved(slice(1, 3), 1, 0),
            "what leaves on the right should come back on the left": cut})

    run("move_right", learner, *map(case, range(3)))
