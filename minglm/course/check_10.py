"""Checks of the exercises in notebook 10, Put it together.

Shapes: B pictures · C latent channels · h, w id grid (latents 4 h x 4 w) · p, q preview grid ·
S glyph tokens · D features · H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from minglm import images
from minglm.config import Config, preset
from minglm.course import derailed, twins
from minglm.course.answers import Case, difference, normal, run
from minglm.generate import paint
from minglm.generate.pipeline import Pipeline
from minglm.generate.request import one_each
from minglm.model.bpe import BPE
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.planner import Planner
from minglm.model.weights import find


class Later(dict):
    """Answers of mistakes that take long: each is made when it is asked for."""

    def items(self) -> Any:
        return ((why, make()) for why, make in super().items())


def others(mistakes: dict, right: Any, tolerance: float = 1e-4) -> dict:
    """The mistakes that give something else than what is right."""
    return {why: wrong for why, wrong in mistakes.items() if difference(wrong, right, tolerance)}


def noise_of_seeds(learner: Callable) -> None:
    """noise(self, seed, count, shape): the noise of `count` pictures, (count, *shape); a method of the
    pipeline, of which it needs nothing. Picture i has a generator seeded seed + i, or the i-th seed of a
    list."""
    def case(seed: int | list[int], count: int, shape: tuple) -> Case:
        seeds = one_each(seed, count)
        generator = torch.Generator().manual_seed(seeds[0])

        def drawn(some: list[int]) -> Tensor:
            return torch.stack([normal(*shape, seed=s) for s in some])

        right = Pipeline.noise(None, seed, count, shape)
        return Case((None, seed, count, shape), right, others({
            "one generator for all pictures: then a picture depends on its neighbours":
                torch.randn(count, *shape, generator=generator),
            "all pictures have the same noise: seed the i-th with seed + i": drawn([seeds[0]] * count),
            "the first picture has seed, not seed + 1": drawn([s + 1 for s in seeds]),
            "a list has the seed of every picture: do not count on from its first":
                drawn([seeds[0] + i for i in range(count)])}, right))

    run("noise_of_seeds", learner, case(0, 3, (16, 16, 16)), case(7, 2, (16, 12, 20)),
        case([5, 2], 2, (4, 8, 8)))


def lively(module: nn.Module, seed: int) -> nn.Module:
    """A network with random weights, none of which hides an input."""
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=generator) * p.shape[-1] ** -0.5 + 0.1 * (p.ndim < 2)
    return module.eval().requires_grad_(False)


def sharp_planner() -> tuple[Config, BPE, Planner]:
    """A small planner with sharp logits, after its configuration and the shipped vocabulary."""
    config, bpe = preset("tiny"), BPE.load(find("mini") / "text" / "tokenizer.json")
    sizes = replace(config.planner, vocab=config.planner.vision_vocab + 4096)
    planner = lively(Planner(sizes), 0)
    planner.embed.weight.data *= 20
    planner.head.weight.data *= 200
    return replace(config, planner=sizes), bpe, planner


@cache
def small_planner() -> SimpleNamespace:
    """What planning needs of a pipeline."""
    config, bpe, planner = sharp_planner()
    return SimpleNamespace(planner=planner, bpe=bpe, config=config, specials=False)


def planned_grids(learner: Callable) -> None:
    """plan(self, prompts, rows, columns, generators, ...): preview (B, p, q) and large ids (B, rows, columns)
    of each prompt; a method of the pipeline, of which it uses bpe and planner."""
    def drive(make: Callable, prompts: list[str], rows: int, columns: int, seeds: list[int],
              how: dict) -> Any:
        generators = [paint.generator(seed) for seed in seeds]
        with torch.no_grad():
            return make(small_planner(), prompts, rows, columns, generators, **how)

    def case(prompts: list[str], rows: int, columns: int, **how: float) -> Case:
        args = prompts, rows, columns, [*range(3, 3 + len(prompts))], how
        right = drive(Pipeline.plan, *args)
        wrong = {why: drive(partial(derailed.plan, off), *args) for off, why in derailed.PLANS.items()}
        return Case(args, right, others(wrong, right))

    run("planned_grids", partial(drive, learner), case(["A red card.", "一张红色海报，画着猫。"], 3, 5),
        case(["A cat.", "Two cats on a card.", "A dog."], 4, 2, temperature=0.4, top_p=0.95, top_k=3))


@cache
def small_decoder() -> tuple[Decoder, GlyphEncoder]:
    config = preset("tiny")
    return lively(Decoder(config.decoder), 1), lively(GlyphEncoder(config.glyph), 2)


def glyph_tokens(learner: Callable) -> None:
    """glyphs(encoder, texts): the glyph tokens of the texts of each picture, (B, S, D), and their mask
    (B, S), False = padding."""
    def drive(make: Callable, texts: list[list[str]]) -> Any:
        with torch.no_grad():
            got = make(small_decoder()[1], [[*some] for some in texts])
        if not isinstance(got, tuple) or not all(isinstance(t, Tensor) for t in got):
            return got
        tokens, mask = got                                                   # padding may hold any numbers
        return tokens * mask.bool()[..., None] if mask.shape == tokens.shape[:2] else tokens, mask

    def case(*texts: list[str]) -> Case:
        right = drive(paint.glyphs, [*texts])
        wrong = {why: drive(partial(derailed.glyphs, off), [*texts])
                 for off, why in derailed.GLYPHS.items()}
        return Case(([*texts],), right, others(wrong, right))

    run("glyph_tokens", partial(drive, learner), case(["HI", "Moon"], ["月亮"], []),
        case(["A", "BC", "月光"]), case([]))


def guided_velocity(learner: Callable) -> None:
    """velocity(decoder, encoder, texts, plan, guidance): a function of latents (B, C, 4 h, 4 w) and a time
    that gives the guided velocity. Both branches are one batch of the decoder; guidance 1 needs only the
    first."""
    def drive(make: Callable, texts: list[list[str]], plan: Tensor, guidance: float) -> Any:
        (decoder, encoder), calls, encoded = small_decoder(), [], []
        count = decoder.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
        with torch.no_grad():
            at = make(decoder, encoder, texts, plan, guidance)
            watch = encoder.register_forward_pre_hook(lambda module, args: encoded.append(True))
            try:
                if not callable(at):
                    return at
                shape = len(texts), 16, 4 * plan.shape[1], 4 * plan.shape[2]
                found = [at(normal(*shape, seed=seed), time) for seed, time in ((0, 999.0), (1, 49.0))]
            finally:
                count.remove()
                watch.remove()
        return [*found, calls, len(encoded)]

    def case(texts: list[list[str]], rows: int, columns: int, guidance: float) -> Case:
        shape, generator = (len(texts), rows, columns), torch.Generator().manual_seed(0)
        args = texts, torch.randint(0, 256, shape, generator=generator), guidance
        right = drive(paint.velocity, *args)
        wrong = {why: drive(partial(derailed.velocity, off), *args)
                 for off, why in derailed.VELOCITIES.items()}
        return Case(args, right, others(wrong, right))

    run("guided_velocity", partial(drive, learner), case([["HI"], ["月亮", "MOON"]], 2, 3, 1.5),
        case([["GO"]], 2, 2, 3.0), case([["GO"], []], 2, 2, 1.0))


def pictures(learner: Callable) -> None:
    """to_images(x (B, 3, H, W)): a picture for each, -1 being 0 and 1 being 255; values beyond these are
    clipped."""
    def values(made: Any) -> Any:
        fine = isinstance(made, list) and made and all(isinstance(image, Image.Image) for image in made)
        return [torch.from_numpy(np.array(image)).long() for image in made] if fine else made

    def case(*shape: int) -> Case:
        x = 0.9 * normal(*shape, seed=1)
        y = (x.clamp(-1, 1) + 1) * 127.5
        over = ((x + 1) * 127.5).round() % 256
        wrong = {"clip to [-1, 1] first: beyond 255 a byte begins again at 0": over,
                 "round to the nearest whole number; a conversion to bytes cuts": y.floor(),
                 "the values are in [-1, 1], not in [0, 1]": (255 * x.clamp(0, 1)).round(),
                 "rows and columns are exchanged: a picture is (H, W, 3)": y.mT.round(),
                 "the colours are in reverse order": y.round().flip(1)}
        return Case((x,), values(images.to_images(x)), {
            why: [*t.permute(0, 2, 3, 1).long()] for why, t in wrong.items()})

    run("pictures", lambda x: values(learner(x)), case(2, 3, 8, 12), case(1, 3, 16, 4))


@cache
def shipped() -> Pipeline:
    return Pipeline.from_pretrained("mini", "cpu")


@cache
def by_library(*args: Any) -> Tensor:
    return array(twins.one_picture(shipped(), *args))


def array(image: Any) -> Any:
    """A picture as numbers, (H, W, 3)."""
    return torch.from_numpy(np.array(image)).float() if isinstance(image, Image.Image) else image


def whole_pipeline(learner: Callable) -> None:
    """pipeline(pipe, prompt, height=None, width=None, steps=20, guidance=1.5, seed=0): one picture, equal to
    that of the library's Pipeline up to rounding, by 2 of 255."""
    @torch.no_grad()
    def drive(make: Callable, *args: Any) -> Any:
        return array(make(shipped(), *args))

    def case(*args: Any) -> Case:
        return Case(args, by_library(*args), Later({
            why: partial(drive, partial(derailed.painted, off), *args)
            for off, why in derailed.PIPELINES.items()}))

    run("whole_pipeline", partial(drive, learner), case('a cat, "Good morning, 你好"', 128, 160, 3, 2.0, 5),
        case('a card with the word "Moon"', None, None, 2, 1.5, 1), tolerance=2 / 255)


def word_accuracy(learner: Callable[[list[tuple[list[str], list[str]]]], float]) -> None:
    """(requested texts, lines read) of each picture -> the fraction of requested words that were read, pooled
    over all pictures."""
    pictures = [(["GOOD NEWS"], ["GOOD", "news"]), (["CAT", "SUN"], ["CATS", "SUN"]),
                (["HALF", "MOON", "TEA"], []), (["BLUE SKY"], ["Sky blue", "ART"])]

    def share(found: Callable[[str, list[str]], bool], some: list) -> float:
        words = [found(word, lines) for targets, lines in some for target in targets
                 for word in target.split()]
        return sum(words) / len(words)

    def fold(lines: list[str]) -> list[str]:
        return [line.casefold() for line in lines]

    def case(some: list) -> Case:
        right, each = twins.pooled_accuracy(some), [twins.pooled_accuracy([one]) for one in some]
        anywhere = fold([word for _, lines in some for line in lines for word in line.split()])
        return Case((some,), right, others({
            "pool the words: a picture with three words counts three times as much as one with one":
                sum(each) / len(each),
            "capitals do not matter: compare words in one case":
                share(lambda word, lines: word in " ".join(lines).split(), some),
            "a word must be read whole: CAT is not found in CATS":
                share(lambda word, lines: word.casefold() in " ".join(fold(lines)), some),
            "a word must be read in its own picture":
                share(lambda word, _: word.casefold() in anywhere, some),
            "a line may hold several words: split it":
                share(lambda word, lines: word.casefold() in fold(lines), some)}, right))

    run("word_accuracy", learner, case(pictures[:1]), case(pictures),
        case([(["TEA"], ["COFFEE"]), (["COFFEE"], [])]))


def interval(learner: Callable[[int, int, float], tuple[float, float]]) -> None:
    """interval(right, count, z=1.96): Wilson's interval (low, high) of a fraction, `right` of `count`."""
    def case(right: int, count: int, *z: float) -> Case:
        p, width = right / count, z[0] if z else 1.96
        low, high = twins.wilson(right, count, *z)
        half = width * (p * (1 - p) / count) ** 0.5
        shrunk, middle = half / (1 + width ** 2 / count), (low + high) / 2
        return Case((right, count, *z), (low, high), others({
            "this is p plus or minus z standard errors, which has no width where p is 0 or 1":
                (p - half, p + half),
            "the centre is not p: it is drawn towards 1/2": (p - (high - low) / 2, p + (high - low) / 2),
            "under the root z^2 / (4 n^2) is missing": (middle - shrunk, middle + shrunk),
            "z is an argument, not always 1.96": twins.wilson(right, count),
            "give back both ends, the lower first": (high, low),
            "give back both ends, not centre and half the width":
                (middle, (high - low) / 2)}, (low, high)))

    run("interval", learner, case(38, 40), case(40, 40), case(0, 7), case(3, 12, 1.0))


def best_of(learner: Callable[[list[float], int], float]) -> None:
    """best_of(values, k): the mean, over all choices of k of the values, of the largest of them."""
    def case(values: list[float], k: int) -> Case:
        n, ordered = len(values), sorted(values)
        again = sum(v * (((i + 1) / n) ** k - (i / n) ** k) for i, v in enumerate(ordered))
        right = twins.best_of(values, k)
        return Case((values, k), right, others({
            "that is the best of the first k: the order should not matter": max(values[:k]),
            "that is the best of all n: only k of them are drawn": max(values),
            "that is the mean of all values, the best of one": sum(values) / n,
            "no value is drawn twice: draw without putting back": again,
            "that is the smallest of the k": sum(map(min, combinations(values, k))) / len(
                [*combinations(values, k)])}, right))

    run("best_of", learner, case([0.5, 0.0, 1.0, 0.75], 2), case([0.2, 0.2, 0.9, 0.4, 0.6], 3),
        case([1.0, 0.0], 1), case([0.0, 0.0, 1.0, 1.0], 2), case([0.3, 0.1, 0.2], 3))
