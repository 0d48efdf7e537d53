"""Checks of the exercises in notebook 06, Plan coarse to fine.

Shapes: B batch · T ids to predict · V ids · p, q preview grid · h, w large grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minglm.config import preset
from minglm.course.answers import Case, Wrong, normal, run
from minglm.model.planner import Planner, positions


def whole(*shape: int, seed: int, most: int = 12) -> Tensor:
    """Whole numbers below `most` for a case."""
    return torch.randint(most, shape, generator=torch.Generator().manual_seed(seed))


@cache
def planner() -> Planner:
    """A small one whose predictions depend on everything: ids, their order, their positions."""
    config = replace(preset("tiny").planner, codebook=12, vision_vocab=15, vocab=40, width=32)
    made = Planner(config).requires_grad_(False)
    for i, (name, parameter) in enumerate(made.named_parameters()):
        if "norm" in name:
            parameter.fill_(1)                                    # a new one lets little through
        if parameter.ndim > 1:
            parameter.copy_(normal(*parameter.shape, seed=i) * (1.5 if i else 1) / parameter.shape[1] ** 0.5)
    made.head.weight[config.codebook:] *= 1.5                     # ids that are no codes are often likely
    return made


def one_by_one(prompts: list, preview: Tensor | None, large: Tensor, parts: list | None = None,
               off: str = "") -> tuple[Tensor, Tensor]:
    """Planner.predict without padding, a sequence at a time, with one thing wrong: what `off` says."""
    model, grids = planner(), [large] if preview is None else [preview, large]
    grids = grids[::-1] if off == "order" else grids
    shapes, longest, rows = [tuple(grid.shape[1:]) for grid in grids], max(map(len, prompts)), []
    drawn = torch.cat([grid.flatten(1) for grid in grids], 1)
    target = F.pad(drawn, (0, 1), value=model.config.boi if off == "boi" else model.config.eoi)
    for b, prompt in enumerate(prompts):
        before = parts[b] if parts and off != "parts" else [len(prompt)]
        text, seen = list(prompt), drawn[b].tolist()
        if off == "gap":
            text = prompt[:-1] + [0] * (longest - len(prompt)) + prompt[-1:]
            before = before if parts else [longest]
        ids = text + ([0] * len(seen) if off == "blank" else seen) + [model.config.eoi] * (off == "late")
        place = positions([len(ids)] if off == "text" else [*before, *shapes, 1])[:, :len(ids)]
        if off == "left":
            ids, place = [0] * (longest - len(prompt)) + ids, F.pad(place, (longest - len(prompt), 0))
        rows.append(model.head(model(torch.tensor([ids]), place[None]))[0, -target.shape[1]:])
    return torch.stack(rows), target


def teacher_forcing(learner: Callable) -> None:
    """predict(self, prompts, preview, large, parts=None, sources=None): logits (B, T, V) and targets (B, T)
    of the grids and eoi, each given all before it."""
    why = {"late": "off by one: boi predicts the first id, and each id the next",
           "text": "the cells of a grid have positions of their own: positions([..., *shapes])",
           "blank": "teacher forcing: the input holds the true ids of the grids",
           "gap": "pad on the right, after the grids, not between prompt and grids",
           "left": "pad on the right: the causal mask hides what comes after, not padding before",
           "order": "the preview comes first", "boi": "the last target is eoi, not boi",
           "parts": "`parts` is not used: it takes the place of [len(prompt)]"}

    def case(lengths: list[int], preview: tuple | None, large: tuple, parts: list | None = None) -> Case:
        prompts = [[*(15 + whole(n - 1, seed=n)).tolist(), 12] for n in lengths]
        args = (prompts, None if preview is None else whole(len(prompts), *preview, seed=2),
                whole(len(prompts), *large, seed=3), parts)
        right, wrong = one_by_one(*args), {words: one_by_one(*args, off) for off, words in why.items()}
        return Case((planner(), *args), right, {words: one for words, one in wrong.items() if any(
            not torch.equal(a, b) for a, b in zip(one, right))})

    run("teacher_forcing", learner, case([4, 4], (1, 2), (2, 3)), case([6, 3, 5], (2, 2), (3, 2)),
        case([8, 8], None, (2, 2), [[1, (2, 2), 1, 2]] * 2))


def planner_loss(learner: Callable) -> None:
    """loss(self, prompts, preview, large, parts=None, sources=None): cross-entropy, a weighted mean in which
    ids of the preview weigh `self.config.preview_weight` and all others 1; and statistics."""
    def drive(*args) -> list:
        loss, stats = learner(*args)
        return [loss, *(stats[name] for name in ("preview", "large", "right") if name in stats)]

    def case(batch: int, preview: tuple[int, int] | None, weight: float, seed: int) -> Case:
        coarse = preview[0] * preview[1] if preview else 0
        count = coarse + 7                                                       # 2 x 3, and eoi
        logits = 2 * normal(batch, count, 9, seed=seed)
        target = whole(batch, count, seed=seed + 1, most=9)
        given, each = (logits, target), F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
        first = torch.arange(count) < coarse
        share, other = torch.where(first, weight, 1.0), torch.where(first, 1.0, weight)
        right, plain = (each * share).sum() / (batch * share.sum()), -(-each).exp()
        stats = [each[:, :coarse].mean()] * bool(coarse) + [
            each[:, coarse:-1].mean(), (logits.argmax(-1) == target)[:, :-1].float().mean()]
        wrong = {
            "divide by the number of sequences, too": right * batch,
            "eoi counts, too": (each * share)[:, :-1].sum() / (batch * share[:-1].sum())} | ({
            "all ids count the same": each.mean(),
            "divide by the sum of the weights, not by the number of ids": (each * share).mean(),
            "the wrong part has the larger weight: the preview comes first":
                (each * other).sum() / (batch * other.sum())} if coarse else {})
        wrong = {why: [loss, *stats] for why, loss in wrong.items()} | {
            "the loss is minus the log of the probability": [-right, *(-s for s in stats[:-1]), stats[-1]],
            "the logarithm is missing: log_softmax, not softmax": [
                (plain * share).sum() / (batch * share.sum()), *[plain[:, :coarse].mean()] * bool(coarse),
                plain[:, coarse:-1].mean(), stats[-1]]}
        self = SimpleNamespace(config=SimpleNamespace(preview_weight=weight), predict=lambda *_: given)
        grids = torch.zeros(batch, *preview) if preview else None, torch.zeros(batch, 2, 3)
        return Case((self, [[0]] * batch, *grids), [right, *stats], wrong)

    run("planner_loss", drive, case(3, (1, 2), 2.0, 0), case(2, (2, 2), 5.0, 2), case(2, None, 3.0, 4))


def moving_average(learner: Callable) -> None:
    """EMA(model, decay): update(step) after each step of training; swap() exchanges average and weights."""
    def drive(values: Tensor, decay: float) -> list[Tensor]:
        model, out = nn.Linear(values.shape[1], 1, bias=False), []
        with torch.no_grad():
            model.weight.copy_(values[:1])
        average = learner(model, decay)
        for step, value in enumerate(values[1:]):
            with torch.no_grad():
                model.weight.copy_(value[None])
            average.update(step)
        apart = any(isinstance(mean, Tensor) and mean.data_ptr() != model.weight.data_ptr()
                    for mean in getattr(average, "mean", ()))
        for _ in range(2):
            average.swap()
            out.append(model.weight.detach()[0].clone())
        if apart and torch.equal(out[0], values[-1]):
            raise Wrong("moving_average: swap does not reach the model: change the values of the tensors, "
                        "with copy_, not the lists that hold them")
        return out

    def case(steps: int, decay: float, seed: int) -> Case:
        values = normal(steps + 1, 4, seed=seed)

        def averaged(keep: Callable[[int], float], start: Tensor) -> Tensor:
            for step, value in enumerate(values[1:]):
                start = keep(step) * start + (1 - keep(step)) * value
            return start

        def soon(step: int) -> float:
            return min(decay, (1 + step) / (10 + step))

        mean, last = averaged(soon, values[0]), values[-1]
        return Case((values, decay), [mean, last], {
            "early on it must forget sooner: keep min(decay, (1 + step) / (10 + step))":
                [averaged(lambda step: decay, values[0]), last],
            "keep most of the average, and take a little of the new weights":
                [averaged(lambda step: 1 - soon(step), values[0]), last],
            "it begins with the weights of the model, not with zeros": [averaged(soon, 0 * last), last],
            "that is the model itself: the average needs a copy (clone)": [last, last],
            "a second swap should bring the weights back": [mean, mean]})

    run("moving_average", drive, case(30, 0.9, 0), case(5, 0.5, 1))


def flawless(learner: Callable) -> None:
    """accuracy(share, ids): how often each id must be right for a share of all plans to have no wrong id."""
    def case(share: float, ids: int) -> Case:
        return Case((share, ids), share ** (1 / ids), {
            "that is the share of flawless plans if each id is right that often": share ** ids,
            "errors are independent: probabilities multiply, they do not add": 1 - (1 - share) / ids,
            "that is the probability of a wrong id": 1 - share ** (1 / ids)})

    run("flawless", learner, case(0.5, 16), case(0.9, 20), case(0.3, 64))


def chosen_ids(learner: Callable) -> None:
    """choose(logits (B, V), temperature, top_p, top_k, generators): an id per row, (B,)."""
    def drive(logits: Tensor, *how: float) -> Tensor:
        """How often each id comes, in 3,000 draws for each row."""
        many = logits.repeat_interleave(3000, 0)
        drawn, again = (torch.as_tensor(learner(many.clone(), *how, [
            torch.Generator().manual_seed(i) for i in range(len(many))])) for _ in range(2))
        if drawn.shape != many.shape[:1]:
            raise Wrong(f"chosen_ids: one id per row, {tuple(many.shape[:1])}, not {tuple(drawn.shape)}")
        if not torch.equal(drawn, again):
            raise Wrong("chosen_ids: each row has a generator of its own: multinomial(..., generator=g)")
        return F.one_hot(drawn.view(len(logits), -1), logits.shape[1]).float().mean(1)

    def spread(logits: Tensor, temperature: float, top_p: float, top_k: int, off: str = "") -> Tensor:
        if not temperature or off == "greedy":
            return F.one_hot(logits.argmax(-1), logits.shape[1]).float()
        out, divisor = [], {"temperature": 1.0, "hot": 1 / temperature}.get(off, temperature)
        for row in logits / divisor:
            ordered, order = row.softmax(0).sort(descending=off != "least")
            total = ordered.cumsum(0)
            kept = total <= max(top_p, ordered[0].item()) if off == "few" else total - ordered < top_p
            fewest = torch.arange(len(row)) < (top_k or len(row)) if off != "k" else True
            kept = ordered * ((kept | (off == "p")) & fewest)
            kept = kept / kept.sum()
            out.append(kept if off == "sorted" else torch.zeros_like(row).index_put((order,), kept))
        return torch.stack(out)

    why = {"temperature": "the temperature is not used", "hot": "divide by the temperature, do not multiply",
           "p": "top-p is not used", "few": "one id too few: the one with which the sum reaches p stays",
           "least": "begin with the most probable: sort in descending order", "k": "top-k is not used",
           "sorted": "these are places in the sorted row: say which id stands there",
           "greedy": "always the most probable id: only at temperature 0; otherwise draw, by multinomial"}

    def case(temperature: float, top_p: float, top_k: int, seed: int) -> Case:
        args = 1.2 * normal(2, 6, seed=seed), temperature, top_p, top_k
        right = spread(*args)
        wrong = {words: spread(*args, off) for off, words in why.items()}
        return Case(args, right, {w: one for w, one in wrong.items() if (one - right).abs().max() > 0.08})

    run("chosen_ids", drive, case(1.0, 1.0, 0, 0), case(0.5, 1.0, 0, 1), case(2.0, 0.6, 0, 2),
        case(1.0, 1.0, 2, 3), case(0, 0.75, 0, 4), tolerance=0.04)


def drawing_loop(learner: Callable) -> None:
    """sample_ids(planner, prompts, grids, generators, temperature, top_p, top_k, parts, progress): the ids of
    each grid, (B, rows, columns)."""
    def drive(prompts: list, grids: list, *how) -> list[Tensor]:
        read, model = [], planner()
        hook = model.register_forward_pre_hook(lambda _, args: read.append(args[0].numel()))
        try:
            out = learner(model, prompts, grids, [torch.Generator() for _ in prompts], *how)
        finally:
            hook.remove()
        if sum(read) > len(prompts) * (max(map(len, prompts)) + sum(h * w for h, w in grids)):
            raise Wrong("drawing_loop: the whole sequence is read again for each id: use the cache")
        return list(out)

    def slowly(prompts: list, grids: list, parts: list | None, off: str = "") -> list[Tensor]:
        model, rows, sizes = planner(), [], [h * w for h, w in grids]
        for b, prompt in enumerate(prompts):
            seen, ids, before = [], list(prompt), parts[b] if parts and off != "parts" else [len(prompt)]
            place = positions([*before, sum(sizes)] if off == "text" else [*before, *grids])
            if off == "late":
                place = torch.cat([place[:, :len(prompt)], place[:, len(prompt) + 1:], place[:, -1:] + 1], 1)
            for _ in range(sum(sizes)):
                logits = model.head(model(torch.tensor([ids]), place[None, :, :len(ids)]))[0, -1]
                seen.append(logits[:None if off == "legal" else model.config.codebook].argmax().item())
                ids.append(model.config.boi if off == "blank" else seen[-1])
            rows.append(torch.tensor(seen))
        return [ids.view(-1, h, w) for ids, (h, w) in zip(torch.stack(rows).split(sizes, 1), grids)]

    why = {"legal": "only codes are legal in a grid: cut the logits at `codebook`",
           "text": "the cells of a grid have positions of their own: positions([..., *grids])",
           "late": "off by one: the id just drawn is fed back at its own position",
           "blank": "the id just drawn is what is fed back",
           "parts": "`parts` is not used: it takes the place of [len(prompt)]"}

    def case(prompts: list, grids: list, *how, parts: list | None = None) -> Case:
        right = slowly(prompts, grids, parts)
        wrong = {words: slowly(prompts, grids, parts, off) for off, words in why.items()}
        return Case((prompts, grids, *how, parts), right, {
            words: one for words, one in wrong.items() if any((a != b).any() for a, b in zip(one, right))})

    run("drawing_loop", drive, case([[20, 30, 12]], [(2, 2), (3, 2)], 0, 1.0, 0),
        case([[20, 21, 12], [33, 18, 25, 31, 12]], [(1, 2), (2, 3)], 1e-6, 1.0, 0),
        case([[12, 3, 5, 13, 22, 12]], [(3, 3)], 1.0, 1.0, 1, parts=[[1, (1, 2), 1, 2]]))
