"""Right and wrong answers to the checks of notebooks 05 and 06; with each wrong one some words of its diagnosis."""

import math
import re
from functools import partial

import torch
from torch import nn

from minglm.course.muddled import MISSTEPS, Sandwich


def attend(q, k, v, mask=None, causal=False, exact=False, scale=None, spread="interleave", axis=-1, blank=-1e9,
           strict=0):
    group = q.shape[1] // k.shape[1]
    if spread == "interleave":
        k, v = (torch.stack([t] * group, 2).flatten(1, 2) for t in (k, v))
    else:
        k, v = (torch.cat([t] * group, 1) for t in (k, v))
    logits = torch.einsum("bhne,bhme->bhnm", q, k) * (scale or q.shape[-1] ** -0.5)
    if causal:
        mask = torch.arange(k.shape[2]) <= torch.arange(q.shape[2])[:, None] - strict
    if mask is not None:
        logits = torch.where(mask, logits, torch.tensor(blank))
    return logits.softmax(axis) @ v


def late_mask(q, k, v, mask=None, causal=False, exact=False):
    """The mask after the softmax."""
    if causal:
        mask = torch.arange(k.shape[2]) <= torch.arange(q.shape[2])[:, None]
    eye = torch.eye(k.shape[2]).expand(*k.shape[:2], -1, -1)
    weights = attend(q, k, eye)
    group = q.shape[1] // k.shape[1]
    return (weights if mask is None else weights * mask) @ torch.stack([v] * group, 2).flatten(1, 2)


def norm_class(forward):
    """A norm whose forward pass is a function of x, weight and eps."""
    class Norm(nn.Module):
        def __init__(self, width, eps):
            super().__init__()
            self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

        def forward(self, x):
            return forward(x, self.weight, self.eps)

    return Norm


def turn(x, cos, sin, sign=1, near=False):
    """With complex numbers, which the library never uses."""
    half = cos.shape[-1] // 2
    turns = torch.complex(cos, sign * sin)[..., :half]
    a, b = (x[..., 0:2 * half:2], x[..., 1:2 * half:2]) if near else (x[..., :half], x[..., half:2 * half])
    z = torch.complex(a, b) * turns
    pair = torch.stack([z.real, z.imag], -1).flatten(-2) if near else torch.cat([z.real, z.imag], -1)
    return torch.cat([pair, x[..., 2 * half:]], -1)


def places(parts, step=max, time=False, base=1):
    out, n = [], 0
    for part in parts:
        if isinstance(part, int):
            out += [[n + i] * 3 for i in range(part)]
            n += part
        else:
            cells = [(r, c) for r in range(part[0]) for c in range(part[1])]
            out += [[n + i * time, base * n + r, base * n + c] for i, (r, c) in enumerate(cells)]
            n += step(part)
    return torch.tensor(out).T


def axis_turns(self, place, base=None, width=None, order=(0, 1, 2), restart=False, twice="tile", sign=-1):
    """One column of angles after the other."""
    c, columns = self.config, []
    rotated = int(c.head_dim * c.rotary_fraction)
    axes = [axis for axis, n in zip(order, c.mrope_section) for _ in range(n)]
    for i, axis in enumerate(axes):
        i -= axes.index(axis) * restart
        columns.append(place[:, axis] * (base or c.rope_theta) ** (sign * 2 * i / (width or rotated)))
    angles = torch.stack(columns, -1).unsqueeze(1)
    angles = torch.cat([angles] * 2, -1) if twice == "tile" else torch.stack([angles] * 2, -1).flatten(-2)
    return torch.cos(angles), torch.sin(angles)


def in_turns(self, place):
    """Time, row, column, time ... as long as an axis has pairs."""
    sections = self.config.mrope_section
    axes = sorted((k, axis) for axis, n in enumerate(sections) for k in range(n))
    angles = torch.stack([place[:, axis] * self.config.rope_theta ** (-i / len(axes)) for i, (_, axis) in enumerate(axes)], -1)
    angles = torch.cat([angles] * 2, -1)[:, None]
    return angles.cos(), angles.sin()


def block_class(off=""):
    """GLM-4's block by torch's own norms, cut into heads by hand; `off` names what is wrong with it."""
    class Block(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.c = c
            for i in range(1, 5):
                setattr(self, f"norm{i}", nn.RMSNorm(c.width, c.eps))
            inner, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
            self.q, self.k, self.v = nn.Linear(c.width, inner), nn.Linear(c.width, kv), nn.Linear(c.width, kv)
            self.o, self.down = nn.Linear(inner, c.width, False), nn.Linear(c.mlp, c.width, False)
            self.gate_up = nn.Linear(c.width, 2 * c.mlp, off == "bias")

        def forward(self, x, rotary, mask, cache):
            h = x if off == "norm1" else self.norm1(x)
            q, k, v = (t.unflatten(-1, (-1, self.c.head_dim)).transpose(1, 2) for t in (self.q(h), self.k(h), self.v(h)))
            if off == "split":
                q, k, v = (f(h).unflatten(-1, (self.c.head_dim, -1)).permute(0, 3, 1, 2) for f in (self.q, self.k, self.v))
            if off == "view":
                q, k, v = (f(h).reshape(len(x), -1, x.shape[1], self.c.head_dim) for f in (self.q, self.k, self.v))
            q, k = turn(q, *rotary), (k if off in ("rotate k", "late") else turn(k, *rotary))
            if cache is not None and off != "cache":
                k, v = cache.append(k, v)
            if off == "late":
                k = turn(k, *(rotary if k.shape[2] == x.shape[1] else [t[:, :, -1:] for t in rotary]))
            causal = off != "causal" and mask is None and q.shape[2] == k.shape[2] > 1
            h = attend(q, k, v, None if off == "mask" else mask, causal or off == "always")
            h = self.o(h.reshape(len(x), x.shape[1], -1) if off == "back" else h.transpose(1, 2).flatten(2))
            if off == "in place":
                x += self.norm2(h)
                h = 0 * h
            x = (0 if off == "x1" else x) + (h if off == "norm2" else self.norm2(h))
            gate, up = self.gate_up(self.norm3(x)).chunk(2, -1)
            h = self.down(gate * torch.sigmoid(gate) * up if off != "gate" else gate * nn.functional.silu(up))
            return (0 if off == "x2" else x) + (h if off == "norm4" else self.norm4(h))

    return Block


def cache_class(new=False, whole=False, swapped=False):
    """A cache that grows by torch.cat, or one with something wrong."""
    class Cache:
        def __init__(self, batch, heads, length, width, like):
            self.k = self.v = like.new_zeros(batch, heads, 0, width)
            self.length = length

        def append(self, k, v):
            self.k, self.v = torch.cat([self.k, k], 2), torch.cat([self.v, v], 2)
            if new:
                return k, v
            rest = self.length - self.k.shape[2] if whole else 0
            out = tuple(nn.functional.pad(t, (0, 0, 0, rest)) for t in (self.k, self.v))
            return out[::-1] if swapped else out

    return Cache


def predict(self, prompts, preview, large, parts=None, sources=None, off=""):
    """With the cells of all grids known at once: a batch whose rows are padded with eoi."""
    grids = [large] if preview is None else [preview, large]
    grids = grids[::-1] if off == "order" else grids
    drawn = torch.cat([g.reshape(len(g), -1) for g in grids], 1)
    target = torch.cat([drawn, torch.full((len(drawn), 1), self.config.boi if off == "boi" else self.config.eoi)], 1)
    count, most = target.shape[1], max(len(p) for p in prompts)
    if off == "gap":
        prompts = [p[:-1] + [0] * (most - len(p)) + p[-1:] for p in prompts]
    late = off == "late"
    rows = [torch.cat([torch.tensor(p), target[b] * (off != "blank"), torch.full((most - len(p),), self.config.eoi)])
            for b, p in enumerate(prompts)]
    shapes = [tuple(g.shape[1:]) for g in grids]
    where = [[*(parts[b] if parts and off != "parts" else [len(p)]), *shapes, most - len(p) + 1] for b, p in enumerate(prompts)]
    if off == "text":
        where = [[len(rows[0])]] * len(rows)
    features = self(torch.stack(rows), torch.stack([places(each) for each in where]))
    at = [slice(len(p) - 1 + late, len(p) - 1 + late + count) for p in prompts]
    return self.head(torch.stack([row[each] for row, each in zip(features, at)])), target


def padded_left(self, prompts, preview, large, parts=None, sources=None):
    """As for drawing, but without the mask that this needs."""
    grids, most, rows, where = [g for g in (preview, large) if g is not None], max(map(len, prompts)), [], []
    drawn = torch.cat([g.flatten(1) for g in grids], 1)
    for b, p in enumerate(prompts):
        rows.append([0] * (most - len(p)) + p + drawn[b].tolist())
        place = places([*(parts[b] if parts else [len(p)]), *(tuple(g.shape[1:]) for g in grids)])
        where.append(nn.functional.pad(place, (most - len(p), 0)))
    features = self(torch.tensor(rows), torch.stack(where))
    return self.head(features[:, most - 1:]), nn.functional.pad(drawn, (0, 1), value=self.config.eoi)


def loss(self, prompts, preview, large, parts=None, sources=None, change=lambda each, weight: (each * weight).sum() / weight.sum(),
         later=False, weight=None, raw=lambda each: each):
    logits, target = self.predict(prompts, preview, large, parts, sources)
    coarse = 0 if preview is None else preview[0].numel()
    each = raw(torch.logsumexp(logits, -1) - (logits * nn.functional.one_hot(target, logits.shape[-1])).sum(-1))
    counts = [self.config.preview_weight if (t < coarse) != later else 1.0 for t in range(each.shape[1])]
    counts = torch.tensor(counts if weight is None else [weight] * len(counts)).expand_as(each)
    stats = dict(large=each[:, coarse:-1].mean(), right=(logits.argmax(-1) == target)[:, :-1].float().mean())
    if coarse:
        stats["preview"] = each[:, :coarse].mean()
    return change(each, counts), stats


def average_class(keep=lambda decay, step: min(decay, (1 + step) / (10 + step)), zeros=False, alias=False, back=True):
    """A moving average in a list of numpy arrays."""
    class Average:
        def __init__(self, model, decay):
            self.model, self.decay = model, decay
            self.kept = [p.detach().numpy().copy() * (not zeros) for p in model.parameters()]

        def update(self, step):
            share = keep(self.decay, step)
            for mean, p in zip(self.kept, self.model.parameters()):
                mean[...] = p.detach().numpy() if alias else share * mean + (1 - share) * p.detach().numpy()

        def swap(self):
            for i, p in enumerate(self.model.parameters()):
                old = p.detach().numpy().copy()
                p.data = torch.from_numpy(self.kept[i].copy())
                if back:
                    self.kept[i] = old

    return Average


class ListsSwapped:
    """Its swap exchanges two lists, of which the model knows nothing."""

    def __init__(self, model, decay):
        self.decay, self.live = decay, list(model.parameters())
        self.mean = [p.detach().clone() for p in self.live]

    def update(self, step):
        keep = min(self.decay, (1 + step) / (10 + step))
        for mean, p in zip(self.mean, self.live):
            mean.copy_(keep * mean + (1 - keep) * p.detach())

    def swap(self):
        self.live, self.mean = self.mean, self.live


def chosen(logits, temperature, top_p, top_k, generators, off=""):
    """By the inverse of the summed probabilities, one uniform number per row."""
    if temperature == 0:
        return logits.max(-1).indices
    hot = {"temperature": 1.0, "hot": 1 / temperature}.get(off, temperature)
    p, order = (logits / hot).softmax(-1).sort(-1, descending=off != "least")
    before = p.cumsum(-1) - p
    p = p * (before < top_p if off not in ("p", "few") else p.cumsum(-1) <= (top_p if off == "few" else 2))
    if top_k and off != "k":
        p[:, top_k:] = 0
    uniform = torch.cat([torch.rand(1, 1, generator=None if off == "global" else g) for g in generators])
    place = (p.cumsum(-1) < uniform * p.sum(-1, True)).sum(-1, True)
    return (place if off == "sorted" else order.gather(1, place))[:, 0]


def draw(planner, prompts, grids, generators, temperature=0.9, top_p=0.75, top_k=0, parts=None, progress=None, off=""):
    """One prompt after the other."""
    total, rows = sum(h * w for h, w in grids), []
    for b, prompt in enumerate(prompts):
        before = parts[b] if parts and off != "parts" else [len(prompt)]
        place, config = places([*before, total] if off == "text" else [*before, *grids])[None], planner.config
        kept = [cache_class()(1, config.kv_heads, 999, config.head_dim, planner.embed.weight) for _ in planner.blocks]
        ids, drawn = torch.tensor([prompt]), []
        for i in range(total):
            at = place[..., :len(prompt)] if i == 0 else place[..., [len(prompt) + i - (off != "late")]]
            if off == "again":
                ids = torch.tensor([prompt + drawn])
                features = planner(ids, place[..., :ids.shape[1]])
            else:
                features = planner(ids, at, None, kept)
            logits = planner.head(features[:, -1])[:, :config.vision_vocab if off == "legal" else config.codebook]
            drawn.append(chosen(logits, temperature, top_p, top_k, [generators[b]]).item())
            ids = torch.tensor([[config.boi if off == "blank" else drawn[-1]]])
        rows.append(drawn)
    whole, out, start = torch.tensor(rows), [], 0
    for h, w in grids:
        ids = whole[:, start:start + h * w]
        out.append(ids.reshape(-1, h, w))
        start += h * w
    return out


def mean_square(x):
    return (x * x).mean(-1, keepdim=True)


RIGHT = dict(attention=attend, rms_norm=norm_class(lambda x, w, eps: w * x * torch.rsqrt(mean_square(x) + eps)),
             rotation=turn, token_positions=places, rotary_3d=axis_turns, planner_block=block_class(),
             kv_cache=cache_class(), teacher_forcing=predict, planner_loss=loss,
             moving_average=average_class(), flawless=lambda share, ids: math.exp(math.log(share) / ids),
             chosen_ids=chosen, drawing_loop=draw)


WRONG = [
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m, c, scale=1.0), "not divided by sqrt"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m, c, scale=1 / q.shape[-1]), "not by its root"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m), "`causal` is not used"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, None, c), "the mask is not used"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m, c, axis=-2), "last axis"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m, c, spread="tile"), "repeat_interleave"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m, c, blank=0.0), "does not exclude"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m if m is None else ~m, c), "wrong way round"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m if m is None else ~m, c, blank=-torch.inf), "others that are masked"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m, c, blank=-torch.inf, strict=1), "to itself, too"),
    ("attention", lambda q, k, v, m, c, e: attend(q.div_(2), k, v, m, c, scale=2 * q.shape[-1] ** -0.5), "changes its input"),
    ("attention", late_mask, "before the softmax"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, m, c, scale=v.shape[-1] ** -0.5), "not by that of the values"),
    ("attention", lambda q, k, v, m, c, e: attend(q, k, v, torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu() if c else m), "triu"),
    ("rms_norm", norm_class(lambda x, w, eps: w * (x - x.mean(-1, True)) / (x.var(-1, False, keepdim=True) + eps).sqrt()),
     "LayerNorm"),
    ("rms_norm", norm_class(lambda x, w, eps: w * x / (mean_square(x) * x.shape[-1] + eps).sqrt()), "not their sum"),
    ("rms_norm", norm_class(lambda x, w, eps: w * x / (mean_square(x) + eps)), "not by the mean square"),
    ("rms_norm", norm_class(lambda x, w, eps: x / (mean_square(x) + eps).sqrt()), "weight is missing"),
    ("rms_norm", norm_class(lambda x, w, eps: w * x / mean_square(x).sqrt()), "eps is missing"),
    ("rms_norm", norm_class(lambda x, w, eps: w * x / (x.mean(-1, keepdim=True) ** 2 + eps).sqrt()), "square first"),
    ("rms_norm", norm_class(lambda x, w, eps: w * x / (mean_square(x).sqrt() + eps)), "inside the root"),
    ("rms_norm", norm_class(lambda x, w, eps: w * x / (x.square().mean() + eps).sqrt()), "last axis only"),
    ("rms_norm", norm_class(lambda x, w, eps: w.data * x / (mean_square(x) + eps).sqrt()), "never learn"),
    ("rms_norm", norm_class(lambda x, w, eps: w * x.div_((mean_square(x) + eps).sqrt())), "changes its input"),
    ("rms_norm", lambda width, eps: nn.LayerNorm(width, eps), "should be named weight"),
    ("rotation", lambda x, cos, sin: turn(x, cos, sin, -1), "backwards"),
    ("rotation", lambda x, cos, sin: turn(x, cos, sin, near=True), "not with its neighbour"),
    ("rotation", lambda x, cos, sin: turn(x, cos, sin)[..., :cos.shape[-1]], "missing"),
    ("rotation", lambda x, cos, sin: torch.cat([turn(x, cos, sin)[..., :cos.shape[-1] // 2],
                                                turn(x, cos, -sin)[..., cos.shape[-1] // 2:]], -1), "its sign is wrong"),
    ("rotation", lambda x, cos, sin: torch.cat([turn(x, cos, -sin)[..., :cos.shape[-1] // 2],
                                                turn(x, cos, sin)[..., cos.shape[-1] // 2:]], -1), "a cos - b sin: its sign"),
    ("token_positions", lambda parts: places(parts)[[0, 2, 1]], "swapped"),
    ("token_positions", lambda parts: places(parts, lambda part: max(part) - 1), "next position is free"),
    ("token_positions", lambda parts: places([p if isinstance(p, int) else p[::-1] for p in parts])[[0, 2, 1]], "row by row"),
    ("rotary_3d", lambda self, place: torch.stack(axis_turns(self, place)), "tuple of 2 tensors is wanted, and this is a Tensor"),
    ("token_positions", lambda parts: places(parts, math.prod), "number of cells"),
    ("token_positions", lambda parts: places(parts, lambda part: part[0]), "longer side"),
    ("token_positions", lambda parts: places(parts, base=0), "where the counter stands"),
    ("token_positions", lambda parts: places(parts, time=True), "time is constant"),
    ("rotary_3d", partial(axis_turns, restart=True), "do not begin again"),
    ("rotary_3d", partial(axis_turns, order=(0, 2, 1)), "rows and columns are exchanged"),
    ("rotary_3d", partial(axis_turns, order=(0, 0, 0)), "positions of its own"),
    ("rotary_3d", in_turns, "side by side"), ("rotary_3d", partial(axis_turns, twice="near"), "next to its copy"),
    ("rotary_3d", lambda self, place: axis_turns(self, place, width=self.config.head_dim), "not all E of a head"),
    ("rotary_3d", partial(axis_turns, base=10_000), "not always 10,000"),
    ("rotary_3d", partial(axis_turns, sign=1), "exponent is negative"),
    ("rotary_3d", lambda self, place: axis_turns(self, place)[::-1], "cosines first"),
    ("rotary_3d", lambda self, place: [t[:, 0] for t in axis_turns(self, place)], "the shape is"),
    *[("planner_block", block_class(off), words) for off, words in (
        ("x1", "what attention computed"), ("x2", "what the MLP computed"), ("norm1", "norm1 is missing"),
        ("norm2", "norm2 is missing"), ("norm4", "norm4 is missing"), ("rotate k", "keys are not rotated"),
        ("causal", "block is causal"), ("mask", "mask is not used"), ("cache", "cache is not used"),
        ("always", "whole cache"), ("view", "swap heads and tokens"), ("back", "back beside their channels"),
        ("late", "rotated keys"), ("in place", "changes its input"),
        ("split", "neighbouring channels"), ("gate", "first half of gate_up"), ("bias", "should be named"))],
    *[("planner_block", partial(Sandwich, off=off), re.escape(MISSTEPS[off])) for off in ("both", "normed", "post", "silus")],
    ("kv_cache", cache_class(new=True), "not only what is new"), ("kv_cache", cache_class(whole=True), "whole buffer"),
    ("kv_cache", cache_class(swapped=True), "keys first"),
    *[("teacher_forcing", partial(predict, off=off), words) for off, words in (
        ("late", "off by one"), ("text", "positions of their own"), ("blank", "holds the true ids"),
        ("gap", "pad on the right"), ("order", "preview comes first"), ("boi", "eoi, not boi"),
        ("parts", "is not used"))],
    ("teacher_forcing", padded_left, "not padding before"),
    ("planner_loss", partial(loss, raw=lambda each: -(-each).exp()), "the logarithm is missing"),
    ("planner_loss", partial(loss, weight=1.0), "count the same"),
    ("planner_loss", partial(loss, change=lambda e, w: (e * w).mean()), "sum of the weights"),
    ("planner_loss", partial(loss, change=lambda e, w: (e * w).sum() / w[0].sum()), "number of sequences"),
    ("planner_loss", partial(loss, later=True), "wrong part"),
    ("planner_loss", partial(loss, change=lambda e, w: (e * w)[:, :-1].sum() / w[:, :-1].sum()), "eoi counts"),
    ("moving_average", average_class(lambda decay, step: decay), "forget sooner"),
    ("moving_average", average_class(lambda decay, step: 1 - min(decay, (1 + step) / (10 + step))), "keep most"),
    ("moving_average", average_class(zeros=True), "not with zeros"),
    ("moving_average", average_class(alias=True), "the model itself"),
    ("moving_average", average_class(back=False), "second swap"),
    ("moving_average", ListsSwapped, "does not reach the model"),
    ("flawless", lambda share, ids: share ** ids, "share of flawless plans"),
    ("flawless", lambda share, ids: 1 - (1 - share) / ids, "multiply"),
    ("flawless", lambda share, ids: 1 - share ** (1 / ids), "wrong id"),
    *[("chosen_ids", partial(chosen, off=off), words) for off, words in (
        ("temperature", "temperature is not used"), ("hot", "do not multiply"), ("p", "top-p is not used"),
        ("few", "one id too few"), ("least", "begin with the most probable"), ("k", "top-k is not used"),
        ("sorted", "places in the sorted row"), ("global", "generator of its own"))],
    ("chosen_ids", lambda *args: chosen(*args)[:, None], "one id per row"),
    ("chosen_ids", lambda logits, *how: logits.max(-1).indices, "always the most probable"),
    *[("drawing_loop", partial(draw, off=off), words) for off, words in (
        ("legal", "only codes are legal"), ("text", "positions of their own"), ("late", "off by one"),
        ("blank", "is what is fed back"), ("parts", "is not used"), ("again", "use the cache"))],
]
