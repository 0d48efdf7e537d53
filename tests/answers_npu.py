"""Right and wrong answers to the checks of notebook 13; with each wrong one some words of its diagnosis."""

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


RIGHT = dict(time_features=features, clip=clipped_in_place, fused_mask=mask, shard=shards)

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
]
