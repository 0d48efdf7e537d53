"""Checks of the exercises in notebook 00, Meet minglm.

Shapes: N patches · K ids · p side of a patch · h, w id grid.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from minglm.course import twins
from minglm.course.answers import Case, Wrong, normal, run
from minglm.generate.pipeline import Pipeline
from minglm.generate.request import Output, as_list, one_each


def mean_patches(learner: Callable) -> None:
    """mean_patches(ids (N,), patches (N, 3, p, p), count) -> (count, 3, p, p): the mean of all patches that
    have an id; zeros for an id that none has."""
    def case(seed: int, number: int, count: int) -> Case:
        ids = torch.randint(0, count - 1, (number,), generator=torch.Generator().manual_seed(seed))
        patches = normal(number, 3, 4, 4, seed=seed)
        right = twins.mean_patches(ids, patches, count)
        times = torch.bincount(ids, minlength=count).view(-1, 1, 1, 1)
        last = torch.zeros_like(right)
        last[ids] = patches
        return Case((ids, patches, count), right, {
            "this is the sum: divide by how many patches have the id": right * times,
            "every id has the number of all patches under it, not its own": right * times / number,
            "total[ids] += patches keeps one patch per id: it does not add up; see index_add_": last,
            "total[ids] += patches keeps one patch per id; then it is divided": last / times.clamp_min(1),
            "the mean runs over patches alone: every pixel and colour keeps its own":
                right.mean((1, 2, 3), keepdim=True).expand_as(right),
            "a row for every id from 0 to count - 1, also for those that no patch has": right[:-1]})

    def asked(*args) -> Tensor:
        got = learner(*args)
        if isinstance(got, Tensor) and got.isnan().any():
            raise Wrong("mean_patches: an id that no patch has is divided by zero; its mean should be 0")
        return got

    run("mean_patches", asked, case(0, 40, 12), case(1, 9, 30))


class Chance:
    """Plans by arithmetic in the pipeline's stead: they depend on what the pipeline's depend on, no model
    needed. The enhancer goes by the prompt and its seed, the planner by what it reads and, if there is any
    temperature, by its seed."""

    def __call__(self, prompt: str | list[str], height: int | None = None, width: int | None = None,
                 temperature: float = 0.9, top_p: float = 0.75, seed: int | list[int] = 0,
                 planner_seed: int | None = None, enhance: bool = True, top_k: int | None = None,
                 **how) -> Output:
        prompts = as_list(prompt)
        seeds = one_each(seed, len(prompts))
        plans, previews = [], []
        for text, first, second in zip(prompts, seeds, one_each(planner_seed, len(prompts))
                                       if planner_seed is not None else seeds):
            likely = numbers(f"{text}/{first}" if enhance else text)
            share = 0 if temperature < 0.05 or top_k == 1 else 0.5 if top_p > 0.5 else 0.2
            sampled = numbers(f"{text}/{second}", 1000) < 1000 * share
            ids = torch.where(sampled, numbers(f"sampled/{second}"), likely)
            previews.append(ids[:4].view(2, 2))
            plans.append(ids[4:].view(4, 4))
        return Output([Image.new("RGB", (128, 128))] * len(plans), plans, previews, prompts, [])


def numbers(words: str, most: int = 4096) -> Tensor:
    """20 whole numbers that depend on some words."""
    generator = torch.Generator().manual_seed(zlib.crc32(words.encode()))
    return torch.randint(0, most, (20,), generator=generator)


def greedy_plan(learner: Callable[[Pipeline, str, int], Tensor]) -> None:
    """The plan of a prompt, read as it stands, when the planner always takes the most probable id, whatever
    the seed."""
    pipe, prompt = Chance(), 'A poster with the word "RUN".'

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
        return Case((plan,), twins.move_right(plan), {
            "all rows are moved; rows 0 and 3 should stay": moved(slice(0, 4), 1, 1),
            "row 2 should move too: a slice stops before its end": moved(slice(1, 2), 1, 1),
            "row 3 should stay: a slice stops before its end": moved(slice(1, 4), 1, 1),
            "the rows are moved to the left": moved(slice(1, 3), -1, 1),
            "the rows are moved down; a row runs along dimension 1": moved(slice(1, 3), 1, 0),
            "what leaves on the right should come back on the left": cut})

    run("move_right", learner, *map(case, range(3)))


def nearest_ids(learner: Callable[[Tensor, Tensor], Tensor]) -> None:
    """nearest_ids(picture (3, h p, w p), patches (K, 3, p, p)) -> (h, w): for each patch of a picture the
    number of the one in `patches` with the smallest sum of squared differences."""
    def case(seed: int, rows: int, columns: int) -> Case:
        patches = normal(40, 3, 4, 4, seed=seed) * (1 + torch.arange(40) % 3)[:, None, None, None]
        noise = 0.8 * normal(rows * columns, 3, 4, 4, seed=seed + 1)
        own = patches[torch.arange(rows * columns) * 7 % 40] + noise
        picture = rearrange(own, "(h w) c p q -> c (h p) (w q)", h=rows)
        right, cells = twins.nearest_ids(picture, patches), own.flatten(1)
        flat, by_mean = patches.flatten(1), torch.cdist(own.mean((2, 3)), patches.mean((2, 3)))
        wrong = {
            "that is the patch that differs most": torch.cdist(cells, flat).argmax(-1),
            "the largest product is not the smallest difference: long patches win it":
                (cells @ flat.T).argmax(-1),
            "compare all pixels, not only the mean colours": by_mean.argmin(-1),
            "the patches of the picture are shuffled: a reshape alone does not cut them":
                torch.cdist(picture.reshape(rows * columns, -1), flat).argmin(-1)}
        wrong = {why: ids.view(rows, columns) for why, ids in wrong.items()}
        wrong["row by row: these run down the columns"] = right.T.reshape(rows, columns)
        return Case((picture, patches), right, wrong)

    run("nearest_ids", learner, case(0, 4, 4), case(2, 2, 5))
