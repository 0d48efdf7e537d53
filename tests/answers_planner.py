"""Right and wrong answers to the checks of notebooks 05 and 06; with each wrong one some words of its diagnosis."""

import torch


def ones(new, stored):
    return torch.ones(new, stored + new, dtype=torch.bool)


def attend(q, k, v, mask, scale=None, spread="interleave", axis=-1):
    share = q.shape[1] // k.shape[1]
    if spread == "interleave":
        k, v = (torch.stack([t] * share, 2).flatten(1, 2) for t in (k, v))
    else:
        k, v = (torch.cat([t] * share, 1) for t in (k, v))
    scores = torch.einsum("bhne,bhme->bhnm", q, k) * (scale or q.shape[-1] ** -0.5)
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e9))
    return scores.softmax(axis) @ v


def turn(x, angles, sign=1, near=False):
    """With complex numbers, which the library never uses."""
    half = angles.shape[1]
    a, b = (x[:, 0:2 * half:2], x[:, 1:2 * half:2]) if near else (x[:, :half], x[:, half:2 * half])
    z = torch.complex(a, b) * torch.exp(1j * sign * angles)
    pair = torch.stack([z.real, z.imag], -1).flatten(1) if near else torch.cat([z.real, z.imag], 1)
    return torch.cat([pair, x[:, 2 * half:]], 1)


def cells(start, rows, columns):
    return torch.tensor([[start, start + r, start + c] for r in range(rows) for c in range(columns)]).T


def targets(prompt, grids, eoi):
    return prompt + grids, [-100] * (len(prompt) - 1) + grids + [eoi]


def loss(scores, wanted, small, weight):
    total, mass = 0.0, 0.0
    for row, ids in zip(scores.log_softmax(-1), wanted):
        for t, i in enumerate(ids):
            share = weight if t < small else 1.0
            total, mass = total - share * row[t, i], mass + share
    return total / mass


def legal(scores, drawn, count, codebook):
    allowed = list(range(codebook)) if drawn < count else [codebook + 1]
    return torch.tensor([s if i in allowed else -torch.inf for i, s in enumerate(scores.tolist())])


def nucleus(rank, p, chances=None):
    chances, kept, total = rank if chances is None else chances, {}, 0.0
    for i in sorted(range(len(chances)), key=lambda i: -rank[i]):
        if total >= p:
            break
        kept[i] = chances[i].item()
        total += kept[i]
    return torch.tensor([kept.get(i, 0.0) / total for i in range(len(chances))])


RIGHT = dict(causal_mask=lambda new, stored: ones(new, stored).tril(stored), grouped_attention=attend, rotation=turn,
             grid_positions=cells, next_targets=targets, weighted_loss=loss, legal_ids=legal, top_p=nucleus)


def sorted_nucleus(chances, p):
    return nucleus(chances, p).sort(descending=True).values


def too_few(chances, p):
    ordered, order = chances.sort(descending=True)
    kept = torch.zeros_like(chances).index_put((order,), ordered * (ordered.cumsum(0) <= p))
    return kept / kept.sum()


WRONG = [
    ("causal_mask", lambda n, m: ones(n, m).tril(), "first new token"),
    ("causal_mask", lambda n, m: ones(n, m).tril(m - 1), "attend to itself"),
    ("causal_mask", lambda n, m: ones(n, m).tril(m + 1), "token after it"),
    ("causal_mask", lambda n, m: ones(n, m).triu(m), "rows are queries"),
    ("causal_mask", lambda n, m: ~ones(n, m).tril(m), "should mean"),
    ("causal_mask", lambda n, m: ones(n, m).tril(m).float(), "torch.bool"),
    ("grouped_attention", lambda q, k, v, m: attend(q, k, v, m, 1.0), "not divided by sqrt"),
    ("grouped_attention", lambda q, k, v, m: attend(q, k, v, m, 1 / q.shape[-1]), "not by its root"),
    ("grouped_attention", lambda q, k, v, m: attend(q, k, v, None), "mask is not used"),
    ("grouped_attention", lambda q, k, v, m: attend(q, k, v, m, axis=-2), "last axis"),
    ("grouped_attention", lambda q, k, v, m: attend(q, k, v, m, spread="tile"), "repeat_interleave"),
    ("rotation", lambda x, a: turn(x, a, -1), "backwards"),
    ("rotation", lambda x, a: turn(x, a, near=True), "not with its neighbour"),
    ("rotation", lambda x, a: turn(x, a)[:, :2 * a.shape[1]], "missing"),
    ("rotation", lambda x, a: torch.cat([turn(x, a)[:, :a.shape[1]], turn(x, -a)[:, a.shape[1]:]], 1), "multiplied"),
    ("grid_positions", lambda s, r, c: cells(s, r, c)[[0, 2, 1]], "swapped"),
    ("grid_positions", lambda s, r, c: cells(0, r, c), "is missing"),
    ("grid_positions", lambda s, r, c: cells(0, r, c) + torch.tensor([[s], [0], [0]]), "all three axes"),
    ("grid_positions", lambda s, r, c: torch.stack([s + torch.arange(r * c), *cells(s, r, c)[1:]]), "time is constant"),
    ("grid_positions", lambda s, r, c: cells(s, c, r)[[0, 2, 1]], "row by row"),
    ("next_targets", lambda p, g, e: (p + g, [-100] * len(p) + g), "not shifted"),
    ("next_targets", lambda p, g, e: (p + g, (p + g + [e])[1:]), "not to be learned"),
    ("next_targets", lambda p, g, e: (p + g, [-100] * len(p) + g[1:] + [e]), "off by one"),
    ("next_targets", lambda p, g, e: (p + g + [e], [-100] * (len(p) - 1) + g + [e, -100]), "never an input"),
    ("next_targets", lambda p, g, e: (p + g[:-1], [-100] * (len(p) - 1) + g), "predict eoi"),
    ("weighted_loss", lambda s, t, n, w: loss(s, t, 0, w), "count the same"),
    ("weighted_loss", lambda s, t, n, w: loss(s, t, n, w) * (1 + n * (w - 1) / t.shape[1]), "sum of the weights"),
    ("weighted_loss", lambda s, t, n, w: len(s) * loss(s, t, n, w), "number of sequences"),
    ("weighted_loss", lambda s, t, n, w: loss(s.flip(1), t.flip(1), t.shape[1] - n, w), "wrong part"),
    ("weighted_loss", lambda s, t, n, w: -loss(s, t, n, w), "minus the log"),
    ("legal_ids", lambda s, d, n, k: legal(s, d, n, k).nan_to_num(neginf=0.0), "does not exclude"),
    ("legal_ids", lambda s, d, n, k: legal(s, 0, n, k), "only eoi"),
    ("legal_ids", lambda s, d, n, k: legal(s, d, n, k + 1) if d < n else legal(s, d, n, k), "boi"),
    ("legal_ids", lambda s, d, n, k: legal(s, d, n, k) if d < n else legal(s, d, n, k - 1), r"`codebook` \+ 1"),
    ("legal_ids", lambda s, d, n, k: legal(s, d, n - 1, k), "one is missing"),
    ("top_p", lambda c, p: nucleus(c, p) * c[nucleus(c, p) > 0].sum(), "sum to 1"),
    ("top_p", too_few, "one id too few"),
    ("top_p", sorted_nucleus, "back at its own id"),
    ("top_p", lambda c, p: nucleus(-c, p, c), "begin with the most probable"),
]
