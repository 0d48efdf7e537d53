"""Checks of the exercises in notebook 05, Build the planner.

Shapes: B batch · H, G query and key/value heads · N, M new and all tokens · E head width · R rotated
channels · D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from minglm.config import preset
from minglm.course.answers import Case, Wrong, difference, normal, run
from minglm.course.muddled import MISSTEPS, Sandwich
from minglm.model.layers import KVCache
from minglm.model.ops import plain_attention
from minglm.model.planner import Planner, PlannerBlock, positions
from minglm.model.rotary import frequencies, rotate


def attention(learner: Callable) -> None:
    """attention(q (B, H, N, E), k, v (B, G, M, E), mask=None, causal=False, exact=False): grouped heads."""
    def case(heads: int, groups: int, new: int, every: int, mask: str, seed: int, values: int = 8) -> Case:
        width, group = 8, heads // groups
        q, k = normal(2, heads, new, width, seed=seed), normal(2, groups, every, width, seed=seed + 1)
        v, given = normal(2, groups, every, values, seed=seed + 2), None
        if mask == "given":                                       # padding on the left of the second sequence
            given = torch.ones(2, 1, new, every, dtype=torch.bool).tril(every - new)
            given[1, ..., :2] = False
        causal = mask == "causal"
        right = partial(plain_attention, mask=given, causal=causal)
        wide_k, wide_v = (t.repeat_interleave(group, 1) for t in (k, v))
        allowed = torch.ones(new, every, dtype=torch.bool).tril() if causal else given
        logits = q @ wide_k.transpose(-1, -2) / width ** 0.5
        hidden = logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)
        mistakes = {
            "the logits are not divided by sqrt(E)": right(q * width ** 0.5, k, v),
            "the logits are divided by E, not by its root": right(q / width ** 0.5, k, v),
            "the softmax should run over the keys, the last axis": hidden.softmax(-2) @ wide_v,
            "the logits are divided by the root of the queries' width E, not by that of the values":
                right(q * (width / values) ** 0.5, k, v),
            "each group serves adjacent heads (repeat_interleave), not every G-th one":
                right(q, k.repeat(1, group, 1, 1), v.repeat(1, group, 1, 1))}
        if allowed is not None:
            mistakes |= {f"{'`causal`' if causal else 'the mask'} is not used": plain_attention(q, k, v)}
        if causal:
            mistakes["a token may attend to earlier ones and to itself (tril), not to later ones (triu)"] = (
                logits.masked_fill(~allowed.mT, -torch.inf).softmax(-1) @ wide_v)
            mistakes["each token may attend to itself, too"] = (
                logits.masked_fill(~allowed.tril(-1), -torch.inf).softmax(-1) @ wide_v)
        if allowed is not None:
            mistakes |= {
                "True means 'may attend': it is the others that are masked":
                    logits.masked_fill(allowed, -torch.inf).softmax(-1) @ wide_v,
                "True means 'may attend': the mask is the wrong way round":
                    logits.masked_fill(allowed, -1e9).softmax(-1) @ wide_v,
                "mask the logits before the softmax, or the weights do not sum to 1":
                    logits.softmax(-1).masked_fill(~allowed, 0) @ wide_v,
                "a logit of 0 does not exclude a token: masked logits are -inf":
                    logits.masked_fill(~allowed, 0).softmax(-1) @ wide_v}
        return Case((q, k, v, given, causal, False), right(q, k, v), mistakes)

    run("attention", learner, case(4, 4, 5, 5, "causal", 0), case(4, 2, 6, 6, "causal", 2),
        case(6, 2, 3, 7, "given", 4), case(4, 1, 1, 5, "none", 6, values=3))


def rms_norm(learner: Callable) -> None:
    """RMSNorm(width, eps): a module with one parameter, `weight`; norm(x (..., D)) -> x / rms(x) * weight."""
    def drive(x: Tensor, weight: Tensor, eps: float) -> Tensor:
        norm = learner(len(weight), eps)
        fill(norm, dict(weight=weight))
        y = norm(x)
        if not y.requires_grad and not difference(y, right(x, weight, eps), 1e-4):
            raise Wrong("rms_norm: no gradient gets to the weight, so it would never learn: use self.weight "
                        "itself, outside of no_grad")
        return y.detach()

    def right(x: Tensor, weight: Tensor, eps: float) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight

    def case(*shape: int, eps: float, seed: int) -> Case:
        x, weight = normal(*shape, seed=seed) + 0.5, 1 + 0.3 * normal(shape[-1], seed=seed + 1)
        mean = x.square().mean(-1, keepdim=True)
        return Case((x, weight, eps), right(x, weight, eps), {
            "the mean is not subtracted (that is LayerNorm)":
                F.layer_norm(x, x.shape[-1:], weight, None, eps),
            "the mean of the squares is wanted, not their sum":
                x / (x.square().sum(-1, keepdim=True) + eps).sqrt() * weight,
            "divide by the root of the mean square, not by the mean square": x / (mean + eps) * weight,
            "eps is missing: it is added to the mean, under the root": x / mean.sqrt() * weight,
            "square first, then average: the mean of the squares is wanted, not the square of the mean":
                x / (x.mean(-1, keepdim=True).square() + eps).sqrt() * weight,
            "the weight is missing": x / (mean + eps).sqrt(),
            "eps belongs inside the root": x / (mean.sqrt() + eps) * weight,
            "average over the last axis only": x / (x.square().mean() + eps).sqrt() * weight})

    run("rms_norm", drive, case(2, 3, 8, eps=0.1, seed=0), case(5, 6, eps=1e-2, seed=2))


def rotation(learner: Callable) -> None:
    """rotate(x (B, H, N, E), cos, sin (B, 1, N, R)): rotate the first R channels, pairing i with i + R/2."""
    def case(tokens: int, width: int, half: int, seed: int, lead: tuple = (2, 1)) -> Case:
        x, angles = normal(2, 3, tokens, width, seed=seed), 3 * normal(*lead, tokens, half, seed=seed + 1)
        both = torch.cat([angles, angles], -1)
        cos, sin = both.cos(), both.sin()
        even, odd = x[..., 0:2 * half:2], x[..., 1:2 * half:2]
        near = torch.stack([even * angles.cos() - odd * angles.sin(),
                            odd * angles.cos() + even * angles.sin()], -1).flatten(-2)
        right, back = rotate(x, cos, sin), rotate(x, cos, -sin)
        return Case((x, cos, sin), right, {
            "it rotates backwards: the sine has the wrong sign": back,
            "the channels that are not rotated are missing": right[..., :2 * half],
            "pair channel i with channel i + R/2, not with its neighbour": torch.cat(
                [near, x[..., 2 * half:]], -1),
            "the first channel of a pair is a cos - b sin: its sign is wrong": torch.cat(
                [back[..., :half], right[..., half:]], -1),
            "the second channel of a pair is b cos + a sin: its sign is wrong": torch.cat(
                [right[..., :half], back[..., half:]], -1)})

    run("rotation", learner, case(5, 8, 4, 0), case(4, 12, 3, 2), case(4, 8, 2, 4, lead=()))


def token_positions(learner: Callable) -> None:
    """positions(parts): time, row and column of every token, (3, N); a part is a number of text tokens or the
    (rows, columns) of a grid."""
    def other(parts: list, grow: Callable = max, time: int = 0, base: int = 1) -> Tensor:
        """As the library, but for how a grid moves the counter, its time, and the count in rows, columns."""
        out, n = [], 0
        for part in parts:
            if isinstance(part, int):
                out += [(n + i,) * 3 for i in range(part)]
                n += part
            else:
                out += [(n + time * (r * part[1] + c), base * n + r, base * n + c)
                        for r in range(part[0]) for c in range(part[1])]
                n += grow(*part)
        return torch.tensor(out).T

    def case(*parts: int | tuple[int, int]) -> Case:
        right = positions(list(parts))
        return Case((list(parts),), right, {
            "rows and columns are swapped: the order is time, row, column": right[[0, 2, 1]],
            "after a grid the counter moves on by its longer side, not by its number of cells":
                other(parts, lambda h, w: h * w),
            "after a grid the counter moves on by its longer side": other(parts, lambda h, w: h),
            "after a grid the next position is free: one more than the largest in the grid":
                other(parts, lambda h, w: max(h, w) - 1),
            "a grid is read row by row: first all columns of row 0":
                other([part if isinstance(part, int) else part[::-1] for part in parts])[[0, 2, 1]],
            "a grid begins where the counter stands: not so its rows and columns": other(parts, base=0),
            "time is constant within a grid": other(parts, time=1)})

    run("token_positions", learner, case(3, (2, 4), 1), case(2, (2, 2), (5, 3), 2),
        case(1, (1, 3), 4, (2, 2)))


def rotary_3d(learner: Callable) -> None:
    """rotary(self, place (B, 3, N)): cosines and sines (B, 1, N, R) of every token's time, row and column; a
    method of the planner, which reads self.config only."""
    def case(width: int, fraction: float, theta: float, *sections: int) -> Case:
        place, size = positions([2, (2, 3), 1]) + torch.tensor([0, 4])[:, None, None], round(width * fraction)
        fall, axes = frequencies(size, theta), [i for i in range(3) for _ in range(sections[i])]
        config = replace(preset("tiny").planner, head_dim=width, rotary_fraction=fraction, rope_theta=theta,
                         mrope_section=sections)

        def turn(falling: Tensor, axes: list[int], both: str = "(k r)") -> tuple[Tensor, Tensor]:
            angles = repeat(place[:, axes].mT * falling, f"b n r -> b 1 n {both}", k=2)
            return angles.cos(), angles.sin()

        args = SimpleNamespace(config=config), place
        return Case(args, Planner.rotary(*args), {
            "the frequencies fall along one list: they do not begin again with each axis":
                turn(torch.cat([fall[:n] for n in sections]), axes),
            "rows and columns are exchanged: the order is time, row, column":
                turn(fall, [(0, 2, 1)[i] for i in axes]),
            "each axis has positions of its own: row 1 of place are the rows, row 2 the columns":
                turn(fall, [0] * len(axes)),
            "an axis gets pairs side by side: first those of time, then of the row, then of the column":
                turn(fall, [i for k in range(size) for i in range(3) if k < sections[i]]),
            "each angle is next to its copy: channel i is paired with i + R/2, so repeat the whole list":
                turn(fall, axes, "(r k)"),
            "the exponent has R, the number of channels that rotate, not all E of a head":
                turn(frequencies(width, theta)[:size // 2], axes),
            "theta is self.config.rope_theta, not always 10,000": turn(frequencies(size, 10_000.0), axes),
            "frequencies fall from 1: their exponent is negative": turn(1 / fall, axes),
            "cosines first, then sines": turn(fall, axes)[::-1]})

    run("rotary_3d", learner, case(32, 0.5, 30.0, 2, 3, 3), case(16, 0.5, 99.0, 1, 1, 2),
        case(8, 1.0, 50.0, 1, 2, 1))


def planner_block(learner: Callable) -> None:
    """PlannerBlock(config): block(x (B, N, D), rotary, mask, cache), GLM-4's sandwich, with parameters named
    as in minglm's own."""
    config = replace(preset("tiny").planner, width=12, heads=4, kv_heads=2, head_dim=8, mlp=10)

    def drive(make: Callable, weights: dict, x: Tensor, mask: Tensor | None, steps: list) -> Tensor:
        block = make(config)
        fill(block, weights)
        both = normal(1, 1, x.shape[1], 2, seed=9).repeat(1, 1, 1, 2)             # angles; R = 4
        cache = KVCache(len(x), config.kv_heads, x.shape[1], config.head_dim, x) if steps else None
        with torch.no_grad():
            return torch.cat([block(x[:, a:b], (both[:, :, a:b].cos(), both[:, :, a:b].sin()), mask, cache)
                              for a, b in steps or [(0, x.shape[1])]], 1)

    weights = {name: 0.6 * normal(*p.shape, seed=i) + (name.startswith("norm"))
               for i, (name, p) in enumerate(PlannerBlock(config).state_dict().items())}

    def case(tokens: int, seed: int, mask: Tensor | None = None, steps: tuple = ()) -> Case:
        args = weights, normal(2, tokens, config.width, seed=seed), mask, [*steps]
        wrong = {why: drive(lambda c, off=off: Sandwich(c, off), *args) for off, why in MISSTEPS.items()}
        right = drive(PlannerBlock, *args)
        return Case(args, right, {why: one for why, one in wrong.items() if not torch.allclose(one, right)})

    padded = torch.ones(2, 1, 6, 6, dtype=torch.bool).tril()
    padded[1, ..., 1:3] = False
    padded[0, ..., 0, 1] = True                                   # a mask may allow a later token
    run("planner_block", partial(drive, learner), case(6, 20), case(6, 21, padded),
        case(5, 22, steps=((0, 3), (3, 4), (4, 5))))


def kv_cache(learner: Callable) -> None:
    """KVCache(batch, heads, length, width, like): append(k, v (B, G, N, E)) returns all stored so far."""
    def drive(k: Tensor, v: Tensor, counts: list[int]) -> dict[str, Tensor]:
        cache, out, at = learner(len(k), k.shape[1], k.shape[2], k.shape[3], k), [], 0
        for count in counts:
            found = cache.append(k[:, :, at:at + count], v[:, :, at:at + count])
            if found is None:
                raise Wrong("kv_cache: append gives back None. Is its last line a `return`?")
            out += [t.clone() for t in found]
            at += count
        return named(out)

    def named(found: list[Tensor]) -> dict[str, Tensor]:
        return {f"the {'values' if i % 2 else 'keys'} that append number {i // 2 + 1} returns": t
                for i, t in enumerate(found)}

    def case(batch: int, groups: int, counts: list[int], seed: int) -> Case:
        k, v = normal(2, batch, groups, sum(counts), 4, seed=seed)
        ends = [sum(counts[:i + 1]) for i in range(len(counts))]
        blank = [torch.arange(ends[-1])[:, None] < end for end in ends]
        return Case((k, v, counts), named([t[:, :, :end] for end in ends for t in (k, v)]), {
            "append returns what is stored, not the whole buffer: the rest of it is still zeros":
                named([t * full for full in blank for t in (k, v)]),
            "append returns all that is stored, not only what is new; and `length` moves on with each append":
                named([t[:, :, end - new:end] for end, new in zip(ends, counts) for t in (k, v)]),
            "keys first, then values": named([t[:, :, :end] for end in ends for t in (v, k)])})

    run("kv_cache", drive, case(2, 2, [3, 1, 1], 0), case(1, 3, [1, 4, 2], 2))


def fill(module: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Load weights; raises Wrong if the module's parameters have other names."""
    if {*module.state_dict()} != {*weights}:
        raise Wrong(f"its parameters should be named {', '.join(weights)}")
    module.load_state_dict(weights)
