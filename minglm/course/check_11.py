"""Checks of the exercises in notebook 11, Edit a poster.

Shapes: B batch · N tokens · D width · V ids · R tokens of a reference image · h, w id grid ·
H, W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from minglm.course import edit_twins, mistaken
from minglm.course.answers import Case, Wrong, normal, run
from minglm.course.check_10 import Later, array, lively, others, sharp_planner, small_decoder
from minglm.device import pick
from minglm.generate.pipeline import Pipeline
from minglm.measure.ssim import C1, C2, ssim_map
from minglm.model import lora
from minglm.model.copying import Copying
from minglm.model.decoder import Decoder
from minglm.model.editing import Editing
from minglm.model.glyph import GlyphEncoder
from minglm.model.prompt import with_sources
from minglm.model.tokenizer import Tokenizer
from minglm.model.vae import VAE


def edit_prompt(learner: Callable) -> None:
    """with_sources(sources, text, config): the ids of the whole prompt as a list, and its parts as
    `planner.positions` wants them; sources are grids of ids (h, w), config has boi and eoi."""
    def case(boi: int, eoi: int, text: list[int], *sources: Tensor) -> Case:
        config = SimpleNamespace(boi=boi, eoi=eoi)
        right = with_sources([*sources], text, config)
        parts = right[1]
        shapes, grids = [tuple(source.shape) for source in sources], [s.flatten().tolist() for s in sources]
        marked = [[boi, *ids, eoi] for ids in grids]
        bare = [part for shape in shapes for part in (1, shape)]
        return Case(([*sources], text, config), right, others({
            "the instruction comes after the pictures": ([*text, *sum(marked, [])], parts),
            "each picture stands between its own boi and eoi":
                ([boi, *sum(grids, []), eoi, *text], [1, *shapes, 1, len(text)]),
            "a grid is read row by row: flatten it as it is": (
                [i for s in sources for i in (boi, *s.T.flatten().tolist(), eoi)] + text, parts),
            "the eoi after each picture is missing":
                (sum(([boi, *ids] for ids in grids), []) + text, [*bare, len(text)]),
            "the pictures keep the order in which they are given": (sum(marked[::-1], []) + text, parts),
            "the ids are right; of the parts, boi and eoi count as one text token each":
                (right[0], [*shapes, len(text)]),
            "the ids are right; in the parts a picture is a grid (rows, columns), not a number of ids":
                (right[0], [p if isinstance(p, int) else p[0] * p[1] for p in parts]),
            "the ids are right; the last part is the number of text ids": (right[0], parts[:-1]),
            "give back two things: the ids and the parts": right[0]}, right))

    a, b = torch.arange(6).view(2, 3), torch.arange(20, 32).view(3, 4)
    run("edit_prompt", learner, case(40, 41, [71, 72, 73], a, b), case(50, 60, [9], b + 1, a, b))


def copy_distance(learner: Callable) -> None:
    """copy_distance(shapes, text, which): by how much the positions of a cell of the new picture exceed those
    of the same cell of source number `which`; shapes (h, w) of all sources, text: the number of text ids."""
    def case(shapes: list[tuple[int, int]], text: int, which: int) -> Case:
        after, (rows, columns) = shapes[which + 1:], shapes[which]
        right = edit_twins.copy_distance(shapes, text, which)
        longer = [max(shape) for shape in after]
        return Case((shapes, text, which), right, others({
            "boi and eoi count, too: the eoi of this source, and both of every later one":
                max(rows, columns) + sum(longer) + text,
            "after a grid the count moves on by its longer side, not by its number of cells":
                rows * columns + sum(h * w for h, w in after) + right - max(rows, columns) - sum(longer),
            "after a grid the count moves on by its longer side, not by its rows":
                rows + sum(h for h, _ in after) + right - max(rows, columns) - sum(longer),
            "the sources after this one lie in between, too": max(rows, columns) + 1 + text,
            "what comes before this source comes before both cells: leave it out":
                edit_twins.copy_distance(shapes, text, 0) + 1 if which else right,
            "the text lies in between, too": right - text,
            "the source starts after its boi, which does not lie in between": right + 1}, right))

    three = [(2, 5), (4, 3), (3, 7)]
    run("copy_distance", learner, case(three, 7, 1), case([(4, 4)], 9, 0), case(three, 7, 0),
        case([(5, 3), (2, 4)], 12, 1))


def pointer_vote(learner: Callable) -> None:
    """voted(self, logits, features, old): logits (B, N, V), each token's vote, `self.vote` of its features
    (B, N, D), added to that of its old id (B, N), which is -1 where there is none; a method of Copying."""
    def drive(make: Callable, *args: Tensor) -> Any:
        with torch.no_grad():
            return make(lively(Copying(args[1].shape[-1]), 6), *args)

    def case(seed: int, old: list[list[int]], ids: int, width: int) -> Case:
        batch, count = len(old), len(old[0])
        features = 3 * normal(batch, count, width, seed=seed + 1)
        args = normal(batch, count, ids, seed=seed), features, torch.tensor(old)
        right = drive(Copying.voted, *args)
        return Case(args, right, others({
            why: drive(partial(mistaken.voted, off), *args) for off, why in mistaken.VOTES.items()}, right))

    run("pointer_vote", partial(drive, learner), case(0, [[3, 0, -1, 6, 3]], 7, 6),
        case(2, [[-1, 2, 2, -1], [1, -1, 4, 0]], 5, 8))


def reference_mask(learner: Callable) -> None:
    """reference_mask(references, target): from the numbers of tokens of each reference and of the new
    picture, (N, N) bool, True where the token of a row may attend to the token of a column."""
    def case(references: list[int], target: int) -> Case:
        block = torch.repeat_interleave(torch.arange(len(references) + 1),
                                        torch.tensor([*references, target]))
        right = edit_twins.reference_mask(references, target)
        return Case((references, target), right, others({
            "rows attend, columns are attended to: yours is the other way round": right.T.clone(),
            "a reference attends to itself only, not to those before it": block[:, None] >= block,
            "the new picture attends to itself and to all references": block[:, None] == block,
            "the references must not attend to the new picture: they are computed before there is one":
                torch.ones_like(right),
            "this is causal token by token: inside a block all attend to all": torch.ones_like(right).tril(),
            "the new picture attends to itself, too, not only to the references":
                (block[:, None] == block) & (block < len(references))
                | (block[:, None] == len(references)) & (block < len(references))}, right))

    run("reference_mask", learner, case([4], 3), case([2, 5, 3], 4))


def remembered(learner: Callable) -> None:
    """remember(self, latents, ids): the keys and values (B, H, R, E) of a reference image in every block, as
    a list of pairs; a method of the decoder. Clean latents at time 0, no glyph tokens."""
    def drive(make: Callable, *args: Tensor) -> Any:
        with torch.no_grad():
            return make(small_decoder()[0], *args)

    def case(seed: int, batch: int, rows: int, columns: int) -> Case:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, 256, (batch, rows, columns), generator=generator)
        args = normal(batch, 16, 4 * rows, 4 * columns, seed=seed), ids
        right = drive(Decoder.remember, *args)
        return Case(args, right, others({
            why: drive(partial(mistaken.remember, off), *args) for off, why in mistaken.MEMORIES.items()},
            right))

    run("remembered", partial(drive, learner), case(0, 1, 2, 3), case(1, 2, 3, 2))


@cache
def small_pipeline() -> Pipeline:
    """A pipeline of small networks with random weights, whose plans depend on all that it reads."""
    config, bpe, planner = sharp_planner()
    for block in planner.blocks:             # attention that depends on positions
        for parameter, factor in ((block.norm1.weight, 10), (block.q.weight, 30), (block.q.bias, 30),
                                  (block.norm2.weight, 3)):
            parameter.data *= factor
    # pixels are far beyond what is clipped, so that small differences of the latents can be told
    parts = dict(planner=planner, decoder=lively(Decoder(config.decoder), 1),
                 glyph=lively(GlyphEncoder(config.glyph), 2),
                 tokenizer=lively(Tokenizer(config.tokenizer), 3), vae=lively(VAE(config.vae), 4))
    pipe = Pipeline(replace(config, posters=True, edits=True), bpe, parts, pick("cpu"))
    adapters = {}
    for part in ("planner", "decoder"):
        adapters[part] = lora.create(parts[part], 4)
        for i, layer in enumerate(adapters[part].values()):
            lively(layer.lora_A, i), lively(layer.lora_B, i)
        lora.detach(parts[part], adapters[part])
    pipe.editing = Editing(planner, parts["decoder"], adapters, lively(Copying(config.planner.width), 5))
    return pipe


def whole_edit(learner: Callable) -> None:
    """edit(pipe, instruction, images, steps=20, guidance=1.5, seed=0): one edited picture, of the size of the
    first; equal to that of the library's Pipeline up to rounding, by 2 of 255."""
    def drive(make: Callable, instruction: str, seeds: list[int], sides: list[tuple[int, int]],
              *how: Any) -> Any:
        images = []
        for seed, (height, width) in zip(seeds, sides):
            noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
            images.append(Image.fromarray(noise).resize((width, height)))
        with torch.no_grad():
            return array(make(small_pipeline(), instruction, images, *how))

    def case(instruction: str, sides: list[tuple[int, int]], *how: Any) -> Case:
        args = instruction, [*range(len(sides))], sides, *how
        return Case(args, drive(edit_twins.one_edit, *args), Later({
            why: partial(drive, partial(mistaken.edited, off), *args)
            for off, why in mistaken.EDITS.items()}))

    run("whole_edit", partial(drive, learner),
        case('write "Moon" at the top', [(96, 128)], 3, 2.0, 5),
        case("把图一的猫和图二的“月亮”放在一起", [(128, 96), (96, 96)], 2, 1.5, 1),
        tolerance=2 / 255)


def ssim_of_windows(learner: Callable) -> None:
    """ssim(x, y): the SSIM (...) of windows x, y (..., n) of brightness in 0..255."""
    x = 60 * normal(3, 40) + 120
    y = 0.7 * x + 30 * normal(3, 40, seed=1) + 20
    x, y = (torch.stack([t, u, v, torch.full_like(t, 80.0)]) for t, u, v in ((x, x, x), (y, x, 255 - x)))

    def value(c1: float = C1, c2: float = C2, unbiased: bool = False, root: bool = False) -> Tensor:
        mx, my = x.mean(-1), y.mean(-1)
        count = x.shape[-1] - unbiased
        xx, yy = ((t - t.mean(-1, keepdim=True)).square().sum(-1) / count for t in (x, y))
        xy = ((x - mx[..., None]) * (y - my[..., None])).sum(-1) / count
        if root:
            xx, yy = xx.sqrt(), yy.sqrt()
        return (2 * mx * my + c1) * (2 * xy + c2) / ((mx ** 2 + my ** 2 + c1) * (xx + yy + c2))

    run("ssim_of_windows", learner, Case((x, y), edit_twins.ssim_of_windows(x, y), {
        "the two constants are exchanged: C1 belongs to the means": value(C2, C1),
        "the constants are missing: where both windows are flat, 0 is divided by 0": value(0.0, 0.0),
        "divide by n, not by n - 1": value(unbiased=True),
        "the formula has variances, not standard deviations": value(root=True)}))


def rest_kept(learner: Callable) -> None:
    """kept(picture, target, region, similar): the mean SSIM outside the region (H, W) where the edit may
    change something; of everything if nothing is outside. picture, target (H, W): brightness;
    similar(x, y): SSIM (H, W)."""
    def drive(make: Callable, *args: Any) -> Any:
        with np.errstate(all="ignore"):
            got = make(*(np.copy(a) if isinstance(a, np.ndarray) else a for a in args))
        if isinstance(got, float | np.floating) and math.isnan(got):
            raise Wrong("rest_kept: nan, the mean of nothing: where everything may change there is no rest, "
                        "so compare the whole picture")
        return got

    def case(seed: int, region: np.ndarray) -> Case:
        rng = np.random.default_rng(seed)
        target = np.kron(rng.uniform(0, 255, (6, 6)), np.ones((6, 6)))
        picture = np.clip(target + rng.normal(0, 12, target.shape), 0, 255)
        picture[region] = rng.uniform(0, 255, int(region.sum()))
        right, rest = edit_twins.kept(picture, target, region, ssim_map), ~region
        wrong = {
            "that is the mean over the whole picture, the region included": ssim_map(picture, target).mean()}
        if rest.any():
            wrong |= {
                "windows at the border look into the region: put the target's pixels there before you "
                "compare": ssim_map(picture, target)[rest].mean(),
                "that is the mean inside the region; what should stay is outside":
                    ssim_map(picture, target)[region].mean(),
                "the region is True where something may change: yours is the other way round":
                    edit_twins.kept(picture, target, rest, ssim_map),
                "give the region the target's pixels in the picture, but average only outside it":
                    ssim_map(np.where(region, target, picture), target).mean()}
        else:
            wrong["where everything may change, compare the picture as it is: with the target put into the "
                  "region nothing of it is left"] = 1.0
        return Case((picture, target, region, ssim_map), right, others(wrong, right))

    some = np.zeros((36, 36), dtype=bool)
    some[4:20, 10:30] = True
    run("rest_kept", partial(drive, learner), case(0, some), case(1, some.T), case(2, np.ones_like(some)))
