"""Right and wrong answers to the checks of notebooks 00 and 09; with each wrong one some words of its diagnosis."""

import math
from functools import partial

import torch
from torch import nn

from minglm.world.characters import is_wide


def ordered(ids, least=128 + 3, most=191 + 3, before=1, fourth=True):
    """Id by id."""
    rows = []
    for row in ids.tolist():
        new = list(row)
        for i in range(1, len(row)):
            pair = [least <= row[j] <= most for j in (i, i - before) if j < len(row)]
            if len(pair) == 2 and all(pair) and (fourth or new[i - 1] == row[i - 1]):
                new[i] += 128
        rows.append(new)
    return torch.tensor(rows)


def owners(text, end=True, second=1, widths=(1, 2)):
    chars = [i for i, c in enumerate(text) for _ in c.encode()]
    first = [sum(widths[is_wide(c, text)] for c in text[:i]) for i in range(len(text) + 1)]
    cells = [first[i] + second * (is_wide(text[i], text) and chars[:n].count(i) > 0) for n, i in enumerate(chars)]
    return (cells + first[-1:], [*chars, len(text)]) if end else (cells, chars)


def bucket(offset, half=16, exact=8, farthest=128):
    far = abs(offset)
    if far >= exact:
        far = min(half - 1, exact + int(math.log(far / exact) / math.log(farthest / exact) * (half - exact) + 1e-9))
    return far + half * (offset > 0)


def relative_buckets(self, length):
    n, far = self.config.buckets, self.config.max_distance
    return torch.tensor([[bucket(key - query, n // 2, n // 4, far) for key in range(length)] for query in range(length)])


def biased_attention(q, k, v, bias, scale=1.0):
    logits = scale * torch.einsum("rhqe,rhke->rhqk", q, k) + bias
    weights = (logits - logits.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True) @ v


class Block(nn.Module):
    """A T5 block, without einops and with weights of its own names."""

    def __init__(self, config):
        super().__init__()
        wide = config.heads * config.head_dim
        sizes = dict(q=(config.width, wide), k=(config.width, wide), v=(config.width, wide), o=(wide, config.width),
                     gate=(config.width, config.mlp), up=(config.width, config.mlp), down=(config.mlp, config.width))
        for name, (inner, outer) in sizes.items():
            setattr(self, name, nn.Linear(inner, outer, bias=False))
        self.norm1, self.norm2 = nn.RMSNorm(config.width, config.eps), nn.RMSNorm(config.width, config.eps)
        self.config = config

    def heads(self, x):
        return x.unflatten(-1, (self.config.heads, self.config.head_dim)).transpose(1, 2)

    def forward(self, x, bias):
        h = self.norm1(x)
        h = self.attend(self.heads(self.q(h)), self.heads(self.k(h)), self.heads(self.v(h)), bias)
        x = x + self.o(h.transpose(1, 2).flatten(2))
        return x + self.fed(self.norm2(x))

    def attend(self, *qkv):
        return biased_attention(*qkv)

    def fed(self, h):
        return self.down(torch.nn.functional.gelu(self.gate(h), approximate="tanh") * self.up(h))


class Scaled(Block):
    def attend(self, *qkv):
        return biased_attention(*qkv, scale=self.config.head_dim ** -0.5)


class Exact(Block):
    def fed(self, h):
        return self.down(torch.nn.functional.gelu(self.gate(h)) * self.up(h))


class Ungated(Block):
    def fed(self, h):
        return self.down(torch.nn.functional.gelu(self.up(h), approximate="tanh"))


class Unadded(Block):
    def forward(self, x, bias):
        return super().forward(x, bias) - x


class Renamed(Block):
    def __init__(self, config):
        super().__init__(config)
        self.output = self.o
        del self.o


def alignment(seen, align, total, sign=-1.0, least=-20.0):
    upper, lower = (part.clamp(min=least).mean(1) for part in seen.chunk(2, 1))
    return sign * ((align[:, 0] * upper).sum() + (align[:, 1] * lower).sum()) / total


def greedy_plan(pipe, prompt, seed):
    return pipe([prompt] * 2, enhance=False, temperature=0, planner_seed=7, seed=seed, steps=1, progress=False).plan[1]


def move_right(plan):
    return torch.stack([row if r in (0, 3) else torch.cat([row[-1:], row[:-1]]) for r, row in enumerate(plan)])


RIGHT = dict(greedy_plan=greedy_plan, move_right=move_right, ordered=ordered, owners=owners,
             relative_buckets=relative_buckets, biased_attention=biased_attention, glyph_block=Block, alignment=alignment)


def planned(pipe, prompt, grid="plan", enhance=False, **how):
    return getattr(pipe(prompt, enhance=enhance, steps=1, progress=False, **how), grid)


WRONG = [
    ("greedy_plan", lambda pipe, prompt, seed: planned(pipe, prompt, seed=seed)[0], "are not"),
    ("greedy_plan", lambda pipe, prompt, seed: planned(pipe, prompt, seed=seed, enhance=True)[0], "sampled, and the enhancer"),
    ("greedy_plan", lambda pipe, prompt, seed: planned(pipe, prompt, temperature=0, seed=seed, enhance=True)[0], "by the seed"),
    ("greedy_plan", lambda pipe, prompt, seed: planned(pipe, prompt, temperature=0, enhance=True)[0], "as it stands"),
    ("greedy_plan", lambda pipe, prompt, seed: planned(pipe, prompt, temperature=0), "take the first"),
    ("greedy_plan", lambda pipe, prompt, seed: planned(pipe, prompt, "preview", temperature=0)[0], "preview"),
    ("move_right", lambda plan: plan.roll(1, 1), "rows 0 and 3"),
    ("move_right", lambda plan: torch.cat([plan[:1], plan[1:3].roll(1, 0), plan[3:]]), "dimension 1"),
    ("move_right", lambda plan: torch.cat([plan[:1], plan[1:3].roll(-1, 1), plan[3:]]), "left"),
    ("move_right", lambda plan: torch.cat([plan[:1], plan[1:].roll(1, 1)]), "row 3"),
    ("ordered", partial(ordered, before=0), "keeps its id"), ("ordered", partial(ordered, fourth=False), "a fourth byte"),
    ("ordered", partial(ordered, least=128, most=191), "131 to 194"), ("ordered", partial(ordered, before=-1), "not at the one after"),
    ("ordered", partial(ordered, most=300), "its id stays"), ("ordered", lambda ids: ordered(ids).tolist(), "a tensor is wanted"),
    ("ordered", lambda ids: ordered(ids) - ids, "off"),
    ("owners", lambda text: owners(text, end=False), "the end has"),
    ("owners", lambda text: owners(text, second=0), "left one"),
    ("owners", lambda text: owners(text, widths=(1, 1)), "two further"),
    ("owners", lambda text: owners(text)[::-1], "cells first"),
    ("owners", lambda text: ([*range(len(text.encode()) + 1)], owners(text)[1]), "a byte is not a cell"),
    ("relative_buckets", lambda self, n: relative_buckets(self, n).T, "key - query"),
    ("relative_buckets", lambda self, n: relative_buckets(self, n) % (self.config.buckets // 2), "buckets of their own"),
    ("relative_buckets", lambda self, n: (torch.arange(n)[None] - torch.arange(n)[:, None]).abs().clamp(max=15)
        + 16 * torch.ones(n, n, dtype=torch.long).triu(1), "like the logarithm"),
    ("relative_buckets", lambda self, n: torch.tensor([[bucket(k - q, farthest=200) for k in range(n)] for q in range(n)]),
     "numbers are off"),
    ("relative_buckets", lambda self, n: torch.tensor([[bucket(k - q) for k in range(n)] for q in range(n)]),
     "numbers are off"),
    ("biased_attention", lambda *a: biased_attention(*a, scale=a[0].shape[-1] ** -0.5), "divide"),
    ("biased_attention", lambda q, k, v, bias: biased_attention(q, k, v, 0 * bias), "bias is not added"),
    ("biased_attention", lambda q, k, v, bias: biased_attention(k, q, v, bias), "not keys times queries"),
    ("biased_attention", lambda q, k, v, bias: (q @ k.mT + bias).softmax(-2) @ v, "over the keys"),
    ("biased_attention", lambda q, k, v, bias: biased_attention(q, k, v, bias)[..., :1], "shape"),
    ("glyph_block", Scaled, "does not divide"),
    ("glyph_block", Exact, "tanh form"),
    ("glyph_block", Ungated, "gate is missing"),
    ("glyph_block", Unadded, "off"),
    ("glyph_block", Renamed, "parameters that are missing"),
    ("alignment", lambda *a: alignment(*a, sign=1.0), "minus"),
    ("alignment", lambda *a: alignment(*a, least=-99.0), "clamp"),
    ("alignment", lambda seen, align, total: alignment(seen, align.flip(1), total), "exchanged"),
    ("alignment", lambda seen, align, total: alignment(seen, align, total) * seen.shape[1] / 2, "H / 2"),
    ("alignment", lambda seen, align, total: alignment(seen, align, seen[:, 0, :, 0].numel()), "not by the number"),
    ("alignment", lambda seen, align, total: alignment(seen.exp(), align, total), "holds logarithms"),
]
