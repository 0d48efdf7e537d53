"""Right and wrong answers to the checks of notebooks 13, 14 and 16; with each wrong one some words of its diagnosis.

Those to planner_size and roofline, of notebook 14, are in test_check_real.py.
"""

import math
import re

import numpy as np
import torch


def features(time, width, device=None, dtype=torch.float32, first="cos", where=lambda x: x):
    power = torch.arange(width // 2, dtype=dtype, device=device or time.device) * (2 / width)
    angles = where(time).view(-1, 1) * torch.pow(torch.tensor(10000.0), -power)
    return torch.cat([angles.cos(), angles.sin()] if first == "cos" else [angles.sin(), angles.cos()], 1)


def norm_of(gradients):
    return sum(g.pow(2).sum() for g in gradients).sqrt()


def clipped_in_place(gradients, limit):
    norm = norm_of(gradients)
    for g in gradients:
        g.mul_(torch.minimum(torch.ones_like(norm), limit / norm))
    return gradients, norm


def clipped(gradients, limit):
    norm = norm_of(gradients)
    return [torch.where(norm > limit, g * limit / norm, g) for g in gradients], norm


def clipped_if(gradients, limit):
    norm = norm_of(gradients)
    if norm > limit:
        gradients = [g * (limit / norm) for g in gradients]
    return gradients, norm


def each_clipped(gradients, limit):
    return [clipped([g], limit)[0][0] for g in gradients], norm_of(gradients)


def mask(lengths, n, causal=True, padded=True):
    may = torch.ones(len(lengths), 1, n, n, dtype=torch.bool, device=lengths.device)
    if causal:
        may = may.tril()
    return may & (torch.arange(n, device=lengths.device) < lengths[:, None])[:, None, None] if padded else may


def added(lengths, n):
    return torch.zeros(len(lengths), 1, n, n, device=lengths.device).masked_fill(~mask(lengths, n), -torch.inf)


def shards(gate_up, down, n, take=lambda i: i):
    m = down.shape[1] // n
    own = [torch.arange(i * m, (i + 1) * m) for i in range(n)]
    return [(torch.cat([gate_up[own[i]], gate_up[down.shape[1] + own[i]]]), down[:, own[take(i)]]) for i in range(n)]


# ---------------------------------------------------------------- 14

def renamed(name, table, sub=re.sub, rules=lambda table, name: table):
    for pattern, replacement in rules(table, name):
        name = sub(pattern, replacement, name)
    return name


def first_hit(table, name):
    return [rule for rule in table if re.search(rule[0], name)][:1]


def kept(c, positions, both=2, heads="kv_heads", size=2):
    return np.float64(both * size * c.depth * getattr(c, heads) * c.head_dim * positions)


def balance(n, bits, cache, flops, bandwidth):
    """By bisection: the batch at which computing has caught up with reading."""
    def ahead(b):
        return 2 * n * b / flops - (n * bits / 8 + b * cache) / bandwidth

    low, high = 0.0, 1e12
    if ahead(high) < 0:
        return math.inf
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if ahead(middle) > 0 else (middle, high)
    return torch.tensor(low, dtype=torch.float64)


RIGHT = dict(time_features=features, clip=clipped_in_place, fused_mask=mask, shard=shards,
             published=renamed, cache_bytes=kept, break_even=balance)

WRONG = [
    ("time_features", lambda t, w: features(t, w, "cpu"), r"another device.*in `.*at least two devices"),
    ("time_features", lambda t, w: features(t, w, "cpu", where=lambda x: x.cpu()), "on meta, the answer is on cpu"),
    ("time_features", lambda t, w: features(t, w, "meta", where=lambda x: x.to("meta")),
     "on cpu, the answer is on meta"),
    ("time_features", lambda t, w: features(t, w, dtype=torch.float64), "float64, which an npu refuses"),
    ("time_features", lambda t, w: features(t, w, first="sin"), "the cosines come first"),
    ("time_features", lambda t, w: features(t, w).view(len(t), 2, -1).mT.flatten(1), "alternate"),
    ("time_features", lambda t, w: features(t, w)[:, 1:], "shape is"),
    ("time_features", lambda t, w: features(t, w) @ features(t, w), "your code stops with RuntimeError"),
    ("clip", clipped_if, "in `if norm > limit:` the host waits"),
    ("clip", lambda g, limit: (clipped(g, limit)[0], norm_of(g).item()), "the host waits"),
    ("clip", lambda g, limit: clipped(g, min(limit, float(norm_of(g)))), "the host waits"),
    ("clip", lambda g, limit: ([x * limit / norm_of(g) for x in g], norm_of(g)), "at most 1"),
    ("clip", each_clipped, "all gradients together"),
    ("clip", lambda g, limit: (clipped(g, limit)[0], norm_of(clipped(g, limit)[0])), "before scaling"),
    ("clip", lambda g, limit: ([x * (limit / norm_of(g) ** 2).clamp(max=1) for x in g], norm_of(g) ** 2),
     "root is missing"),
    ("clip", lambda g, limit: (g, norm_of(g)), "is right, but"),
    ("fused_mask", added, "float32.*only a bool mask"),
    ("fused_mask", lambda t, n: mask(t, n).long(), "int64"),
    ("fused_mask", lambda t, n: ~mask(t, n), "other way round"),
    ("fused_mask", lambda t, n: mask(t, n, padded=False), "padding is attended to"),
    ("fused_mask", lambda t, n: mask(t, n, causal=False), "after its row"),
    ("fused_mask", lambda t, n: mask(t, n).tril(-1), "attend to itself"),
    ("fused_mask", lambda t, n: mask(t, n).mT, "exchanged"),
    ("fused_mask", lambda t, n: mask(t, n)[:, 0], "an axis of size 1"),
    ("fused_mask", lambda t, n: mask(t, n) & mask(t, n, causal=False).mT, "a row that is padding"),
    ("fused_mask", lambda t, n: mask(t, n) & torch.ones(n, n, dtype=torch.bool), "at least two devices"),
    ("fused_mask", lambda t, n: torch.stack([mask(t[i:i + 1], n)[0] for i in range(len(t)) if t[i] > 0]),
     "the host waits"),
    ("shard", lambda gu, d, n: list(zip(gu.chunk(n), d.chunk(n, 1))), "the ups that belong to them"),
    ("shard", lambda gu, d, n: shards(gu, d, n, take=lambda i: n - 1 - i), "the columns of down"),
    ("shard", lambda gu, d, n: [(gu, d)] * n, "are expected"),
    ("shard", lambda gu, d, n: list(zip(gu.chunk(n), d.chunk(n))), "down by columns"),
    ("shard", lambda gu, d, n: shards(gu, d, 1), "are expected"),
    ("published", lambda n, t: renamed(n, t, sub=lambda a, b, x: x.replace(a, b)), "regular expressions"),
    ("published", lambda n, t: renamed(n, t, rules=first_hit), "after the first substitution"),
    ("published", lambda n, t: renamed(n, t, rules=lambda t, n: t[::-1]), "order of the table"),
    ("published", lambda n, t: [re.sub(a, b, n) for a, b in t if re.search(a, n)][-1], "before it returned"),
    ("cache_bytes", lambda c, n: kept(c, n, both=1), "factor of 2"),
    ("cache_bytes", lambda c, n: kept(c, n, heads="heads"), "only kv_heads"),
    ("cache_bytes", lambda c, n: kept(c, n, size=1), "factor of 2|2 bytes"),
    ("cache_bytes", lambda c, n: kept(c, n) / c.depth, "cache of its own"),
    ("cache_bytes", lambda c, n: kept(c, 1), "every position is kept"),
    ("break_even", lambda n, bits, cache, f, w: balance(n, bits, 0.0, f, w), "more caches"),
    ("break_even", lambda n, bits, cache, f, w: balance(n, 8 * bits, cache, f, w), "8 to a byte"),
    ("break_even", lambda n, bits, cache, f, w: balance(n, 16, cache, f, w), "not 16"),
    ("break_even", lambda n, bits, cache, f, w: balance(n, bits, -cache, f, w), "other side"),
    ("break_even", lambda n, bits, cache, f, w: n * bits / 8 / w / (2 * n / f - cache / w), "no such batch"),
]
