"""Right and wrong answers to the checks of notebooks 07 and 08; with each wrong one some words of its diagnosis."""

import re
from functools import partial

import numpy as np
import torch

from minglm.course import slipped


def mixed(data, noise, sigma):
    return torch.stack([torch.lerp(d, n, s.item()) for d, n, s in zip(data, noise, sigma)])


def off_by(velocity, data, noise, weight, total=None, sign=1, power=2):
    off = (velocity - sign * (noise - data)).abs() ** power
    return (off * weight).sum() / off.shape[1] / (weight.sum() if total is None else total)


def mean_velocity(x, sigma, data, half=0.5, sign=1, ends=True):
    """As (x - mean of the data) / sigma, by a loop."""
    out = []
    for point, s in zip(x, sigma):
        noise = (point - (1 - s) * data) / s
        weight = torch.exp(-half * noise.flatten(1).square().sum(1))
        ways = noise - data if ends else noise
        out.append(sign * (ways * weight.view(-1, 1, 1, 1)).sum(0) / weight.sum())
    return torch.stack(out)


def loop(field, optimiser, batches, clear=True, step=True, told=lambda s: s, sign=1):
    losses = []
    for data, noise, sigma, k in batches:
        if clear:
            for p in field.parameters():
                p.grad = None
        x = data + sigma.view(-1, 1, 1, 1) * (noise - data)
        loss = (field(x, told(sigma), k) - sign * (noise - data)).square().mean()
        loss.backward()
        if step:
            optimiser.step()
        losses.append(loss.detach())
    return losses


def walk(velocity, x, times, sigmas):
    for i in range(len(times)):
        x = x - (sigmas[i] - sigmas[i + 1]) * velocity(x, times[i])
        yield x


def two_ends(velocity, x, times, sigmas, average=True, later=1, again=False):
    for i in range(len(times)):
        length = sigmas[i + 1] - sigmas[i]
        v = velocity(x, times[i])
        if i < len(times) - 1:
            second = velocity(x + length * v, times[i + later])
            if again:
                second = velocity(x + length * v, times[i + later])
            v = 0.5 * v + 0.5 * second if average else second
        x = x + length * v
        yield x


def shifted(u, tokens, config, power=0.5, base=None, slope=None):
    base = config.base_shift if base is None else base
    mu = (slope or config.max_shift) * (tokens / config.base_tokens) ** power + base
    noise_to_signal = mu * u / (1 - u)
    return torch.where(u < 1, noise_to_signal / (1 + noise_to_signal), 1.0)


def timetable(steps, tokens, config, cut=np.floor, extra=0, end=(0.0,), less=1):
    grid = [cut(1000 - 999 * i / (steps - extra)) for i in range(steps)]
    return np.array(grid) - less, [*shifted(torch.tensor(grid) / 1000, tokens, config).tolist(), *end]


def told_sigma(steps, tokens, config):
    sigmas = timetable(steps, tokens, config)[1]
    return [1000 * s - 1 for s in sigmas[:-1]], sigmas


def told(self, ids, keep=None, drop="early", order=(0, 1, 2, 3), apart=False, near=True):
    """Token by token."""
    (_, h, w), width = ids.shape, self.config.width
    kept = torch.ones(len(ids)) if keep is None else keep
    vectors = self.prior.weight[ids]
    if drop == "early":
        vectors = torch.stack([v * k for v, k in zip(vectors, kept)])
    if near:
        vectors = torch.cat([self.near(v[None]) for v in vectors])
    cells = self.prior_in(vectors)
    if self.config.quarters and apart:
        cells = cells.unflatten(-1, (width, 4)).mT.flatten(-2)
    cells = cells.unflatten(-1, (4, width)) if self.config.quarters else torch.stack([cells] * 4, -2)
    if drop == "late":
        cells = torch.stack([v * k for v, k in zip(cells, kept)])
    return torch.stack([cells[:, r // 2, c // 2, order[r % 2 * 2 + c % 2]] for r in range(2 * h) for c in range(2 * w)], 1)


def by_cell(tokens, ids, order):
    """Tokens in another order of batch, row of the cell, row within it, column of the cell, column within it, channels."""
    b, h, w = ids.shape
    return tokens.reshape(b, h, 2, w, 2, -1).permute(order).flatten(1, 4)


def glued(tokens, rows, p):
    b, n, d = tokens.shape
    out = tokens.new_zeros(b, d // p ** 2, rows * p, n // rows * p)
    for i in range(n):
        r, c = divmod(i, n // rows)
        out[:, :, r * p:(r + 1) * p, c * p:(c + 1) * p] = tokens[:, i].view(b, -1, p, p)
    return out


def waves(values, width, half=None, sign=-1, order=1):
    angles = [[v * 10000 ** (sign * i / (half or width // 2)) for i in range(width // 2)] for v in values.tolist()]
    parts = [np.cos(angles), np.sin(angles)][::order]
    return np.concatenate(parts, 1).astype(np.float32)


def reached(model, loss):
    """The new gradients, whatever they are; the names of all parameters."""
    model.zero_grad()
    loss.backward()
    return [*dict(model.named_parameters())]


def adaptive(x, shift, scale, eps=1e-5):
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + eps).sqrt()
    return x + x * scale[:, None] + shift[:, None]


def turns(self, rows, columns, device, row_first=True, interleave=False, slowing=4, theta=None,
          centred=True, up=0):
    width, theta = self.config.head_dim, theta or self.config.rope_theta
    out = torch.zeros(rows * columns, width)
    for n in range(rows * columns):
        for i in range(width // 4):
            f = theta ** (-slowing * i / width)
            shift = self.config.middle - (columns + up) // 2 if centred and self.config.middle is not None else 0
            row, column = n // columns * f, (n % columns + shift) * f
            one, two = (row, column) if row_first else (column, row)
            for angle, at in ((one, i), (two, i + width // 4)):
                out[n, [2 * at, 2 * at + 1] if interleave else [at, at + width // 2]] = angle
    return out.cos(), out.sin()


class Block(torch.nn.Module):
    """Another way to write the block: image and glyph tokens apart, one head after the other."""

    def __init__(self, config, off=""):
        super().__init__()
        width, inner = config.width, config.heads * config.head_dim
        self.heads, self.off = config.heads, off
        sizes = dict(modulation=(config.time_width, 12 * width), q=(width, inner), k=(width, inner), v=(width, inner),
                     o=(inner, width), fc1=(width, 4 * width), fc2=(4 * width, width))
        for name, size in sizes.items():
            setattr(self, name if off != "named" else name + "_", torch.nn.Linear(*size))

    def forward(self, x, c, m, rotary, mask, memory=None, last=False):
        if self.off == "in place":
            x += 0.1
        a = torch.nn.functional.linear(m, self.modulation.weight, self.modulation.bias).view(len(m), 12, 1, -1)
        if self.off == "twelve":                                 # all of the image first, then all of the text
            a = a[:, [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]]
        qs, ks, vs = [], [], []
        for t, kind in ((c, 1), (x, 0)):
            t = adaptive(t, a[:, kind, 0], a[:, 2 + kind, 0])
            q, k, v = (part(t).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
            q, k = (z - z.mean(-1, keepdim=True) * (self.off != "rms") for z in (q, k))
            q, k = (z / (z.square().mean(-1, keepdim=True) + 1e-5).sqrt() for z in (q, k))
            if not kind:
                q, k = (z * rotary[0] + torch.cat([-z.chunk(2, -1)[1], z.chunk(2, -1)[0]], -1) * rotary[1]
                        for z in (q, k))
            qs, ks, vs = [*qs, q], [*ks, k], [*vs, v]
        own = [torch.cat(z, 2) for z in (qs, ks, vs)]
        k, v = (torch.cat([past, z], 2) for past, z in zip(memory, own[1:])) if memory else own[1:]
        logits = own[0] @ k.mT / k.shape[-1] ** 0.5
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf)
        h = logits.softmax(-1) @ v
        h = self.o((h if self.off == "glue" else h.transpose(1, 2)).reshape(len(x), h.shape[2], -1))
        out = []
        for t, h, kind in ((c, h[:, :c.shape[1]], 1), (x, h[:, c.shape[1]:], 0)):
            t = t + (a[:, 4 + kind] + (self.off == "more")) * h
            inner = self.fc1(adaptive(t, a[:, 6 + kind, 0], a[:, 8 + kind, 0]))
            t = t + (a[:, 10 + kind] + (self.off == "more")) * self.fc2(torch.nn.functional.gelu(inner, approximate="tanh"))
            out.append(t)
        return out[1], out[0][:, :0] if last else out[0], own


def awake(model, loss):
    for p in model.parameters():
        p.grad = None
    loss.backward()
    return [name for name, p in model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())]


def counted(config, streams, biases=1, twelve=12, wide=4, inner=None):
    d, inner = config.width, inner or config.heads * config.head_dim
    layers = [(d, inner)] * 3 + [(inner, d), (d, wide * d), (wide * d, d)]
    return twelve * d * (config.time_width + biases) + streams * sum(i * o + biases * o for i, o in layers)


RIGHT = dict(mix=mixed, flow_loss=off_by, exact_velocity=mean_velocity, flow_training=loop, sample=walk,
             heun=two_ends, guidance=lambda c, u, g: g * c + (1 - g) * u, shift=shifted, schedule=timetable,
             heard=told, unpatchify=glued, sinusoid=waves, modulate=adaptive, rotary_2d=turns,
             decoder_block=Block, first_learners=awake, block_size=counted)

WRONG = [
    ("mix", lambda d, n, s: mixed(n, d, s), "exchanged"),
    ("mix", lambda d, n, s: d + s.view(-1, 1, 1, 1) * n, "nothing is left of the data"),
    ("mix", lambda d, n, s: (1 - s.view(-1, 1, 1, 1) ** 2) ** 0.5 * d + s.view(-1, 1, 1, 1) * n, "not their squares"),
    ("mix", lambda d, n, s: d + s * (n - d), "belongs to the pictures"),
    ("mix", lambda d, n, s: d + s[:, None] * (n - d), "RuntimeError|off"),
    ("flow_loss", partial(off_by, sign=-1), "wrong sign"),
    ("flow_loss", partial(off_by, power=1), "not squared"),
    ("flow_loss", lambda v, d, n, w, total=None: off_by(v, d, n, torch.ones_like(w)), "weights are not used"),
    ("flow_loss", lambda v, d, n, w, total=None: off_by(v, d, n, w, w.numel()), "not by their number"),
    ("flow_loss", lambda v, d, n, w, total=None: off_by(v, d, n, w, total) * v.shape[1], "do not sum"),
    ("flow_loss", lambda v, d, n, w, total=None: off_by(v, d, n, w), "`total`"),
    ("flow_loss", lambda v, d, n, w, total=None: off_by(v, d, n, w, total).item(), "a tensor is wanted"),
    ("exact_velocity", partial(mean_velocity, half=1), "half is missing"),
    ("exact_velocity", partial(mean_velocity, half=-0.5), "not more"),
    ("exact_velocity", partial(mean_velocity, half=0), "do not count equally"),
    ("exact_velocity", partial(mean_velocity, sign=-1), "other sign"),
    ("exact_velocity", partial(mean_velocity, ends=False), "not the noise"),
    ("exact_velocity", lambda x, s, d: mean_velocity(x, s, d).flatten(1), "shape is"),
    ("flow_training", partial(loop, clear=False), "zero_grad"),
    ("flow_training", partial(loop, step=False), "do not change"),
    ("flow_training", partial(loop, told=lambda s: 1 - s), "not 1 - sigma"),
    ("flow_training", partial(loop, sign=-1), "wrong sign"),
    ("flow_training", lambda f, o, b: loop(f, o, [next(b)]), "not only for the first"),
    ("flow_training", lambda f, o, b: loop(f, o, b) and None, "list of losses"),
    ("sample", lambda v, x, t, s: walk(lambda y, time: -v(y, time), x, t, s), "other sign"),
    ("sample", lambda v, x, t, s: walk(v, x, s[:-1], s), "second argument is the time"),
    ("sample", lambda v, x, t, s: walk(lambda _, time: v(x, time), x, t, s), "at the current latents"),
    ("sample", lambda v, x, t, s: walk(v, x, t[:-1], s[:-1]), "last step is missing"),
    ("sample", lambda v, x, t, s: [*walk(v, x, t, s)][-1], "yield latents"),
    ("sample", lambda v, x, t, s: [*walk(v, x, t, s)][-1:], "not only at the end"),
    ("sample", lambda v, x, t, s: [x, *walk(v, x, t, s)], "start is not one"),
    ("heun", walk, "that is Euler's"),
    ("heun", partial(two_ends, average=False), "not the second alone"),
    ("heun", partial(two_ends, later=0), "at the next time"),
    ("heun", partial(two_ends, again=True), "more often"),
    ("guidance", lambda c, u, g: u + g * (u - c), "off"),
    ("guidance", lambda c, u, g: c + g * (u - c), "exchanged"),
    ("guidance", lambda c, u, g: c + g * (c - u), "guidance 0 is guidance 1"),
    ("guidance", lambda c, u, g: u + g * c, "difference"),
    ("shift", partial(shifted, power=1), "square root"),
    ("shift", partial(shifted, base=0), "lacks base_shift"),
    ("shift", partial(shifted, slope=1), "lacks max_shift"),
    ("shift", lambda u, n, c: shifted(u, n, c, slope=c.base_shift, base=c.max_shift), "are exchanged"),
    ("shift", lambda u, n, c: shifted(u, n * c.base_tokens / 16, c), "256 for GLM-Image"),
    ("shift", lambda u, n, c: 1 - shifted(1 - u, n, c), "towards less noise"),
    ("shift", lambda u, n, c: u * (c.max_shift * (n / c.base_tokens) ** 0.5 + c.base_shift), "exceed 1"),
    ("schedule", told_sigma, "not the sigma"),
    ("schedule", partial(timetable, less=0), "999 for u = 1"),
    ("schedule", partial(timetable, cut=float), "whole numbers"),
    ("schedule", partial(timetable, extra=1), r"steps \+ 1 numbers"),
    ("schedule", partial(timetable, end=()), "end with a 0"),
    ("schedule", lambda n, t, c: timetable(n, t, c)[::-1], "times come first"),
    ("heard", lambda self, ids, keep: told(self, ids, keep, drop="never"), "is not used"),
    ("heard", lambda self, ids, keep: told(self, ids, keep, drop="late"), "before the network"),
    ("heard", lambda self, ids, keep: told(self, ids, keep, near=False), "self.near"),
    ("heard", lambda self, ids, keep: told(self, ids, keep if keep is None else ~keep), "True where there is a plan"),
    ("heard", lambda self, ids, keep: by_cell(told(self, ids, keep), ids, (0, 1, 3, 2, 4, 5)), "cell by cell"),
    ("heard", lambda self, ids, keep: by_cell(told(self, ids, keep), ids, (0, 3, 4, 1, 2, 5)), "along the rows"),
    ("heard", lambda self, ids, keep: by_cell(told(self, ids, keep), ids, (0, 2, 1, 4, 3, 5)), "are neighbours"),
    ("heard", lambda self, ids, keep: told(self, ids, keep, order=(0, 2, 1, 3)), "top right one"),
    ("heard", lambda self, ids, keep: told(self, ids, keep)[:, ::2], "the shape is"),
    ("heard", lambda self, ids, keep: told(self, ids, keep, apart=True), "not \\(d p q\\)"),
    ("unpatchify", lambda x, r, p: glued(x.unflatten(2, (-1, p, p)).mT.flatten(2), r, p), "exchanged"),
    ("unpatchify", lambda x, r, p: glued(x.unflatten(2, (p * p, -1)).mT.flatten(2), r, p), "channel comes first"),
    ("unpatchify", lambda x, r, p: glued(x.unflatten(1, (-1, r)).transpose(1, 2).flatten(1, 2), r, p), "along the rows"),
    ("unpatchify", lambda x, r, p: glued(x, r, p).unflatten(2, (r, p)).transpose(2, 3).flatten(2, 3).unflatten(3, (-1, p)).mT.flatten(3),
     "not \\(p h\\)"),
    ("unpatchify", lambda x, r, p: x.reshape(len(x), x.shape[2] // p ** 2, r * p, -1), "reshape alone"),
    ("sinusoid", partial(waves, order=-1), "cosines come first"),
    ("sinusoid", lambda v, w: waves(v, w, half=w), "divided by width / 2"),
    ("sinusoid", partial(waves, sign=1), "exponent is negative"),
    ("sinusoid", lambda v, w: waves(v, w, half=w // 2 - 1), "not by width / 2 - 1"),
    ("sinusoid", lambda v, w: waves(v, 2 * w), "shape is"),
    ("modulate", lambda x, a, b: adaptive(x, a, b - 1), "lacks its 1"),
    ("modulate", lambda x, a, b: adaptive(x, b, a), "exchanged"),
    ("modulate", lambda x, a, b, eps=1e-5: adaptive(x, a * 0, b * 0, eps) * (1 + b[:, None]) * (1 - 1 / x.shape[-1]) ** 0.5 + a[:, None],
     "D - 1"),
    ("modulate", lambda x, a, b, eps=1e-5: (adaptive(x, a * 0, b * 0, eps) + a[:, None]) * (1 + b[:, None]), "then add shift"),
    ("modulate", lambda x, a, b, eps=1e-5: (x - x.mean((1, 2), True)) / x.std((1, 2), False, keepdim=True) * (1 + b[:, None]) + a[:, None],
     "last axis only"),
    ("modulate", lambda x, a, b: x * (1 + b[:, None]) + a[:, None], "not normalised"),
    ("modulate", lambda x, a, b: adaptive(x.mT, x.mT[:, 0] * 0, x.mT[:, 0] * 0).mT * (1 + b[:, None]) + a[:, None],
     "over the tokens"),
    ("modulate", lambda x, a, b, eps=1e-5: adaptive(x, a, b), "eps is not used"),
    ("modulate", lambda x, a, b: adaptive(x * (1 + b[:, None]) + a[:, None], 0 * a, 0 * b), "normalise first"),
    ("rotary_2d", partial(turns, row_first=False), "exchanged"),
    ("rotary_2d", partial(turns, interleave=True), "next to its copy"),
    ("rotary_2d", partial(turns, slowing=2), "frequencies of their own"),
    ("rotary_2d", partial(turns, theta=10000.0), "not always"),
    ("rotary_2d", partial(turns, centred=False), "from the middle"),
    ("rotary_2d", partial(turns, up=1), "rounds down"), ("rotary_2d", lambda *a: turns(*a)[::-1], "cosines first"),
    ("rotary_2d", lambda *a: [torch.cat([t[:, :t.shape[1] // 4]] * 2 + [t[:, t.shape[1] // 4:t.shape[1] // 2]] * 2, 1) for t in turns(*a)],
     "not row, row"),
    ("rotary_2d", lambda self, r, c, d: [t.unflatten(0, (r, c)).transpose(0, 1).flatten(0, 1) for t in turns(self, r, c, d)], "token to token"),
    ("rotary_2d", lambda self, *a: turns(self, *a, centred=bool(self.config.middle)), "0 is a middle"),
    ("rotary_2d", lambda *a: [t[:, :t.shape[1] // 2] for t in turns(*a)], "written twice"),
    *[("decoder_block", partial(slipped.Slipped, off=off), re.escape(slipped.SLIPS[off])) for off in slipped.SLIPS],
    ("decoder_block", partial(Block, off="named"), "should be named modulation.weight"),
    ("decoder_block", partial(Block, off="twelve"), "^decoder_block: for 6 image and 3 glyph tokens: x: .* off"),
    ("decoder_block", partial(Block, off="rms"), "an RMS norm does not"), ("decoder_block", partial(Block, off="glue"), "side by side"),
    ("decoder_block", partial(Block, off="more"), "no 1 of its own"), ("decoder_block", partial(Block, off="in place"), "changes x or c"),
    ("first_learners", lambda m, loss: [*dict(m.named_parameters())], "is not"),
    ("first_learners", lambda m, loss: None, "return"),
    ("first_learners", lambda m, loss: [n for (n, _), g in zip(m.named_parameters(), torch.autograd.grad(
        loss, [*m.parameters()], allow_unused=True)) if g is not None and g.any()], "clear the old ones"),
    ("first_learners", lambda m, loss: [n for n in awake(m, loss) if (m.get_parameter(n).grad != 0).all()], "not all"),
    ("first_learners", lambda m, loss: loss.backward() or [n for n, p in m.named_parameters() if p.grad.any()], "clear them first"),
    ("first_learners", lambda m, loss: [n for n in reached(m, loss) if m.get_parameter(n).grad is not None], "any number in it"),
    ("first_learners", lambda m, loss: reached(m, loss) and [n for n, p in m.named_parameters() if p.grad.any()], "does not get to"),
    ("first_learners", lambda m, loss: set(awake(m, loss)), "is not \\["),
    ("first_learners", lambda m, loss: (awake(m, loss), m.zero_grad())[0], "stay in .grad"),
    ("first_learners", lambda m, loss: [n for n, p in m.named_parameters() if p.any()], "ask for their gradients"),
    ("first_learners", lambda m, loss: sorted(awake(m, loss)), "in the order"),
    ("block_size", partial(counted, biases=0), "biases"),
    ("block_size", partial(counted, wide=1), "four times"),
    ("block_size", lambda c, n: counted(c, n, twelve=12 * n), "twelve|12 vectors"),
    ("block_size", lambda c, n: counted(c, n, twelve=6 * n), "12 vectors"),
    ("block_size", lambda c, n: counted(c, n, inner=c.width), "need not be the width"),
]
