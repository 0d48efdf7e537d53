"""Right and wrong answers to the checks of notebooks 13, 14 and 16; with each wrong one some words of its diagnosis.

Those to planner_size and roofline, of notebook 14, are in test_check_real.py.
"""

import math
import re
from itertools import groupby

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from minglm.ascend.launches import Timeline
from minglm.training import ranks


def features(time, width, device=None, dtype=torch.float32, first="cos", where=lambda x: x, sign=-1):
    power = torch.arange(width // 2, dtype=dtype, device=device or time.device) * (2 / width)
    angles = where(time).view(-1, 1) * torch.pow(torch.tensor(10000.0), sign * power)
    return torch.cat([angles.cos(), angles.sin()] if first == "cos" else [angles.sin(), angles.cos()], 1)


def from_the_laptop(values, width, device="cpu", precise=torch.float64):
    """The version of the exercise's text; without some of its mistakes."""
    power = torch.arange(width // 2, dtype=precise, device=device) * (2 / width)
    turned = torch.exp(1j * values[:, None] * 10000.0 ** -power)
    return torch.cat([turned.real, turned.imag], -1).float()


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


def rounds(x, norm=lambda x: torch.linalg.matrix_norm(x, keepdim=True), count=4, square=lambda g: g @ g):
    """Newton-Schulz, by fused products where it can be; of one matrix or of a stack."""
    x = x / norm(x)
    for _ in range(count):
        gram = x @ x.mT
        x = torch.add(3.4445 * x, (-4.775 * gram + 2.0315 * square(gram)) @ x)
    return x


def stacked(updates, how=rounds, sort=False):
    """The shapes one after the other; each goes through the whole list."""
    out = dict.fromkeys(range(len(updates)))
    for shape in {u.shape: None for u in updates}:
        mine = [i for i, u in enumerate(updates) if u.shape == shape]
        out.update(zip(mine, how(torch.stack([updates[i] for i in mine])).unbind()))
    return [out[i] for i in (sorted(out, key=lambda i: updates[i].shape) if sort else out)]


def neighbours(updates):
    """Stacked only where matrices of a shape stand next to each other."""
    return [made for _, few in groupby(updates, lambda u: u.shape) for made in rounds(torch.stack([*few]))]


def padded(updates, remember=True):
    """All of them in one stack, with zeros around, which change no singular value but those that are 0."""
    tall, wide = (max(u.shape[k] for u in updates) for k in (0, 1))
    made = rounds(torch.stack([F.pad(u, (0, wide - u.shape[1], 0, tall - u.shape[0])) for u in updates]))
    return [x[:u.shape[0], :u.shape[1]] if remember else x for x, u in zip(made, updates)]


def normed_in_place(updates):
    return stacked([u.div_(u.norm()) for u in updates], lambda x: rounds(x, norm=lambda x: 1))


def measured(updates):
    return stacked(updates, lambda x: rounds(x, norm=lambda x: torch.tensor([m.norm().item() for m in x])[:, None, None]))


def by_torch(weights, gradients, means, squares, step, lr, betas=(0.9, 0.98), eps=1e-8, decay=0.1, kind=torch.optim.AdamW,
             sign=1, **changes):
    """torch's own, with the state put into it and taken out again."""
    how = dict(lr=lr, betas=betas, eps=eps, weight_decay=decay) | changes
    ps = [torch.nn.Parameter(w.clone()) for w in weights]
    optimiser = kind(ps, fused=True, **how)
    for p, g, m, v in zip(ps, gradients, means, squares):
        p.grad = sign * g
        optimiser.state[p] = dict(step=torch.tensor(float(step - 1)), exp_avg=m, exp_avg_sq=v)
    optimiser.step()
    with torch.no_grad():
        torch._foreach_copy_(weights, ps)


def lists_of_adamw(weights, gradients, means, squares, step, lr, betas=(0.9, 0.98), eps=1e-8, decay=0.1, corrected=True,
                   inside=False, power=0.5, moves=None, shrinks=None, late=False):
    """With as few kinds of foreach operators as will do."""
    b1, b2 = betas
    moves = 1 - b1 if moves is None else moves(b1)
    torch._foreach_mul_(means, 1 - moves)
    torch._foreach_add_(means, gradients, alpha=moves)
    torch._foreach_mul_(squares, b2)
    torch._foreach_add_(squares, torch._foreach_mul(gradients, gradients), alpha=1 - b2)
    if corrected:
        root = torch._foreach_div(torch._foreach_sqrt(torch._foreach_add(squares, eps if inside else 0.0)), (1 - b2 ** step) ** power)
    else:
        root = torch._foreach_sqrt(squares)
    ratio = torch._foreach_div(means, torch._foreach_add(root, 0.0 if inside else eps))
    last = -lr / (1 - b1 ** step if corrected else 1)
    shrinks = shrinks or 1 - lr * decay
    if late:                                         # as if the decay were the last thing that happens
        torch._foreach_add_(weights, ratio, alpha=last)
        torch._foreach_mul_(weights, shrinks)
    else:
        torch._foreach_mul_(weights, shrinks)
        torch._foreach_add_(weights, ratio, alpha=last)


def each_by_itself(weights, gradients, means, squares, *rest):
    for w, g, m, v in zip(weights, gradients, means, squares):
        lists_of_adamw([w], [g], [m], [v], *rest)


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


# ---------------------------------------------------------------- 16

def averaged(parameters, divide=lambda n: n, some=lambda ps: ps):
    own = some([p for p in parameters if p.grad is not None])
    flat = torch.cat([p.grad.flatten() for p in own])
    dist.all_reduce(flat, op=dist.ReduceOp.SUM)
    for p, g in zip(own, flat.split([p.numel() for p in own])):
        p.grad = g.view_as(p) / divide(dist.get_world_size())


def averaged_by_gathering(parameters):
    for p in parameters:
        if p.grad is not None:
            p.grad.copy_(torch.stack(ranks.gather(p.grad[None]).unbind()).mean(0))


def one_rank_only(parameters):
    if dist.get_rank() == 0:
        averaged(parameters)


def ringed(pieces, rank, swap, second=True, shift=0):
    """What goes around is kept apart from what is done."""
    n, at, moving = len(pieces), rank, pieces[rank]
    for _ in range(n - 1):
        moving, at = swap(moving), (at - 1) % n
        moving = moving + pieces[at]
    out = [None] * n if second else list(pieces)
    for _ in range(n):
        out[at] = moving
        if not second or all(x is not None for x in out):
            break
        moving, at = swap(moving), (at - 1) % n
    return out[shift:] + out[:shift]


def halved(pieces, rank, swap):
    """Only the first round, with every partial sum left where it is."""
    n, pieces = len(pieces), list(pieces)
    for step in range(n - 1):
        give = (rank - step) % n
        take = (give - 1) % n
        pieces[take] = pieces[take] + swap(pieces[give])
    return pieces


def everything_around(pieces, rank, swap):
    whole = torch.cat(pieces)
    total, moving = whole, whole
    for _ in range(len(pieces) - 1):
        moving = swap(moving)
        total = total + moving
    return list(total.chunk(len(pieces)))


def time_of_ring(size, cards, wire, latency, rounds=2, unit=1e6):
    return np.float64(latency) + rounds * unit * (size / cards) / wire * (cards - 1)


def line(device, host=(20.0,), depth=4096, reads=(), pauses=None, queue=True):
    """With the moment at which each stage is free again."""
    ends, lanes, barrier = [0.0] * (len(host) + 1), [[] for _ in range(len(host) + 1)], 0.0
    for i, time in enumerate(device):
        now = max([barrier] + ([lanes[-1][i - depth][1]] if i >= depth else []))
        costs = [host[0] + (pauses or {}).get(i, 0.0), *host[1:], time]
        for k, cost in enumerate(costs):
            now = max(now, ends[k]) if queue else now
            lanes[k].append((now, now + cost))
            ends[k] = now = now + cost
        if i in reads:
            barrier = now
    return Timeline(lanes)


def on_wire(messages, after=0.0, wire=True, begin=lambda ready, free: max(ready, free)):
    free, out = after, []
    for ready, time in messages:
        start = begin(ready, free if wire else after)
        out.append((start, start + time))
        free = start + time
    return out


def scattered(gradient, op=dist.ReduceOp.SUM, divide=1):
    pieces = [piece.contiguous() for piece in gradient.chunk(dist.get_world_size())]
    out = torch.empty_like(pieces[0])
    dist.reduce_scatter(out, pieces, op=op)
    return out / divide


def scattered_whole(gradient):
    gradient = gradient.clone()
    dist.all_reduce(gradient)
    return gradient


def scattered_in_place(gradient):
    dist.all_reduce(gradient)
    return gradient.chunk(dist.get_world_size())[dist.get_rank()]


RIGHT = dict(time_features=features, clip=clipped_in_place, fused_mask=mask, shard=shards,
             orthogonal=padded, adamw=lists_of_adamw,
             passes=lambda n, d, w: (28e6 * n * d / w, np.float64(8e6 * n * d / w)),
             published=renamed, cache_bytes=kept, break_even=balance,
             average=averaged, ring=ringed, ring_time=time_of_ring, replay=line, send=on_wire, scatter=scattered)

WRONG = [
    ("time_features", lambda t, w: features(t, w, "cpu"), r"another device.*in `.*at least two devices"),
    ("time_features", lambda t, w: features(t, w, "cpu", where=lambda x: x.cpu()), "on meta, the answer is on cpu"),
    ("time_features", lambda t, w: features(t, w, "meta", where=lambda x: x.to("meta")),
     "on cpu, the answer is on meta"),
    ("time_features", lambda t, w: features(t, w, dtype=torch.float64), "in `power = .*float64, which an npu refuses"),
    ("time_features", from_the_laptop, "in `turned = .*complex64, which an npu refuses"),
    ("time_features", lambda t, w: from_the_laptop(t, w, t.device), "in `power = .*float64, which an npu refuses"),
    ("time_features", lambda t, w: from_the_laptop(t, w, t.device, torch.float32), "in `turned = .*complex64, which an npu"),
    ("time_features", lambda t, w: features(t, w).double(), "float64, which an npu refuses"),
    ("time_features", lambda t, w: features(t, w, sign=1), "the exponent is negative"),
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
    ("average", lambda ps: averaged(ps, divide=lambda n: 1), "that is the sum"),
    ("average", lambda ps: None, "nothing has travelled"),
    ("average", lambda ps: averaged(ps, divide=lambda n: n * n), "once more"),
    ("average", lambda ps: averaged(ps, some=lambda own: own[:1]), "only the first"),
    ("average", lambda ps: [dist.all_reduce(p.grad) for p in ps], "that is the sum"),
    ("average", lambda ps: [p.grad.div_(2) for p in ps], "NoneType|are off"),
    ("average", lambda ps: [dist.all_reduce(p.grad, op=dist.ReduceOp.AVG) for p in ps], "gloo has no"),
    ("average", one_rank_only, "same exchanges"),
    ("ring", lambda p, r, swap: ringed(p, r, swap, shift=1), "not in the order"),
    ("ring", lambda p, r, swap: p, "use swap"),
    ("ring", halved, "second round"),
    ("ring", everything_around, "sums are right, but each rank sent"),
    ("ring", lambda p, r, swap: [x / len(p) for x in ringed(p, r, swap)], "not the sums"),
    ("ring", lambda p, r, swap: ringed(p, r, swap) if r else p, "same exchanges"),
    ("ring_time", lambda *a: time_of_ring(*a, rounds=1), "two rounds"),
    ("ring_time", lambda *a: time_of_ring(*a, unit=1), "microseconds"),
    ("ring_time", lambda size, n, w, late: late + 2e6 * size / w, "1 / cards of all"),
    ("ring_time", lambda size, n, w, late: late + 2e6 * (n - 1) * size / w, "pieces have"),
    ("ring_time", lambda size, n, w, late: time_of_ring(size, n, w, 0), "latency is missing"),
    ("replay", lambda *a: line(*a, queue=False), "one operator at a time"),
    ("replay", lambda d, h, depth, reads, pauses: line(d, h, 999, reads, pauses), "`depth` operators"),
    ("replay", lambda d, h, depth, reads, pauses: line(d, h, depth, (), pauses), "after a read"),
    ("replay", lambda d, h, depth, reads, pauses: line(d, h, depth, reads), "a pause makes"),
    ("replay", lambda *a: line(*a).lanes, "return a Timeline"),
    ("replay", lambda *a: Timeline(line(*a).lanes[:-1]), "shape is"),
    ("replay", lambda *a: Timeline([lane[:i + 8] for i, lane in enumerate(line(*a).lanes)]), "all of them hold"),
    ("send", lambda m, after: on_wire(m, after, wire=False), "one message at a time"),
    ("send", lambda m, after: on_wire(m), "nothing leaves before"),
    ("send", lambda m, after: on_wire(m, after, begin=lambda ready, free: free), "before it is ready"),
    ("send", lambda m, after: [(a, b - a) for a, b in on_wire(m, after)], "its end, not its duration"),
    ("scatter", lambda g: g.chunk(dist.get_world_size())[dist.get_rank()], "own gradient"),
    ("scatter", scattered_whole, "own piece only"),
    ("scatter", lambda g: scattered(g, divide=dist.get_world_size()), "not the mean"),
    ("scatter", lambda g: scattered_whole(g).chunk(dist.get_world_size())[0], "piece of rank 0"),
    ("scatter", scattered_in_place, "in place"),
    ("orthogonal", lambda us: [rounds(u) for u in us], "launches for 10 tensors.*Stack all matrices"),
    ("orthogonal", neighbours, "wherever they stand in the list"),
    ("orthogonal", lambda us: stacked(us, sort=True), "shape by shape|shape is"),
    ("orthogonal", lambda us: stacked(us, lambda x: rounds(x, norm=lambda x: x.norm())), "that of a whole stack"),
    ("orthogonal", lambda us: stacked(us, lambda x: rounds(x, norm=lambda x: x.norm(dim=2, keepdim=True))), "one for each row"),
    ("orthogonal", lambda us: stacked(us, lambda x: rounds(x, norm=lambda x: 1)), "at most 1|nan"),
    ("orthogonal", lambda us: stacked(us, lambda x: rounds(x, square=lambda g: g)), "square of gram"),
    ("orthogonal", lambda us: stacked(us, lambda x: rounds(x, count=3)), "yours are fewer"),
    ("orthogonal", lambda us: stacked(us, lambda x: rounds(x, count=5)), "yours are more"),
    ("orthogonal", lambda us: stacked(us, lambda x: rounds(x.mT)), "shape is"),
    ("orthogonal", lambda us: padded(us, remember=False), "shape is"),
    ("orthogonal", lambda us: us, "as they came"),
    ("orthogonal", normed_in_place, "the updates have changed"),
    ("orthogonal", measured, "the host waits"),
    ("adamw", each_by_itself, "launches for 5 tensors"),
    ("adamw", lambda *a: lists_of_adamw(*a, corrected=False), "start at 0"),
    ("adamw", lambda *a: lists_of_adamw(*a, power=1.0), "under the root"),
    ("adamw", lambda *a: lists_of_adamw(*a, moves=lambda b1: b1), "moves by 1 - beta"),
    ("adamw", lambda *a: lists_of_adamw(*a, shrinks=1 - a[-1]), r"1 - lr \* decay"),
    ("adamw", lambda *a: lists_of_adamw(*a, late=True), "decay first"),
    ("adamw", lambda w, g, m, v, *rest: lists_of_adamw(w, [-x for x in g], m, v, *rest), "against the gradient"),
    ("adamw", lambda w, g, m, v, t, lr, betas, *rest: lists_of_adamw(w, g, m, v, t, lr, betas[::-1], *rest), "exchanged"),
    ("adamw", lambda w, g, m, v, t, lr, b, eps, decay: lists_of_adamw(w, g, m, v, t, lr, b, eps, 0.0), "do not decay"),
    ("adamw", lambda *a: by_torch(*a, kind=torch.optim.Adam), "Adam with L2"),
    ("adamw", lambda *a: None, "are off|stands"),
    ("passes", lambda n, d, w: (28e6 * n * d / w, 4e6 * n * d / w), "writes the result once"),
    ("passes", lambda n, d, w: (16e6 * n * d / w, 8e6 * n * d / w), "also writes"),
    ("passes", lambda n, d, w: (7e6 * n * d / w, 2e6 * n * d / w), "4 bytes"),
    ("passes", lambda n, d, w: (32e6 * n * d / w, 8e6 * n * d / w), "one number a token"),
    ("passes", lambda n, d, w: (48e6 * n * d / w, 8e6 * n * d / w), "the add and the root"),
    ("passes", lambda n, d, w: (28e6 * n * d / w, 12e6 * n * d / w), "reads w, but that is small"),
    ("passes", lambda n, d, w: (28 * n * d / w, 8 * n * d / w), "microseconds"),
]
