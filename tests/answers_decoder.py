"""Right and wrong answers to the checks of notebooks 07 and 08; with each wrong one some words of its diagnosis."""

import torch


def path(data, noise, sigma):
    s = sigma.view(-1, 1)
    return data + s * (noise - data), noise - data


def walk(velocity, x, times, sigmas):
    for i in range(len(times)):
        x = x - (sigmas[i] - sigmas[i + 1]) * velocity(x, times[i])
    return x


def shifted(u, tokens, power=0.5, base=0.25):
    mu = 0.75 * (tokens / 16) ** power + base
    noise_to_signal = mu * u / (1 - u)
    return torch.where(u < 1, noise_to_signal / (1 + noise_to_signal), 1.0)


def patches(x, p):
    b, c, h, w = x.shape
    return torch.stack([x[:, :, i:i + p, j:j + p].reshape(b, -1) for i in range(0, h, p) for j in range(0, w, p)], 1)


def spread(ids):
    b, h, w = ids.shape
    return torch.stack([ids[:, i // 2, j // 2] for i in range(2 * h) for j in range(2 * w)], 1)


def adaptive(x, shift, scale):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    return x + x * scale[:, None] + shift[:, None]


def turns(rows, columns, width, row_first=True, interleave=False, slowing=4):
    out = torch.zeros(rows * columns, width)
    for n in range(rows * columns):
        for i in range(width // 4):
            f = 10000 ** (-slowing * i / width)
            row, column = n // columns * f, n % columns * f
            one, two = (row, column) if row_first else (column, row)
            for angle, at in ((one, i), (two, i + width // 4)):
                out[n, [2 * at, 2 * at + 1] if interleave else [at, at + width // 2]] = angle
    return out.cos(), out.sin()


RIGHT = dict(straight_path=path, euler=walk, sigma_shift=shifted, guidance=lambda c, u, g: g * c + (1 - g) * u,
             patchify=patches, upsample_ids=spread, modulate=adaptive, rotary_2d=turns)

WRONG = [
    ("straight_path", lambda d, n, s: (path(n, d, s)[0], n - d), "exchanged in the point"),
    ("straight_path", lambda d, n, s: (path(d, n, s)[0], d - n), "wrong sign"),
    ("straight_path", lambda d, n, s: path(n, d, s), "both are the other way round"),
    ("straight_path", lambda d, n, s: (path(d, n, s)[0], path(d, n, s)[0] - d), "do not multiply"),
    ("straight_path", lambda d, n, s: (s * n, n - d), "RuntimeError"),
    ("euler", lambda v, x, t, s: walk(lambda y, time: -v(y, time), x, t, s), "other sign"),
    ("euler", lambda v, x, t, s: walk(v, x, s[:-1], s), "second argument is the time"),
    ("euler", lambda v, x, t, s: walk(lambda _, time: v(x, time), x, t, s), "at the current x"),
    ("euler", lambda v, x, t, s: walk(v, x, t[:-1], s[:-1]), "last step is missing"),
    ("sigma_shift", lambda u, n: shifted(u, n, power=1), "square root"),
    ("sigma_shift", lambda u, n: shifted(u, n, base=0), "lacks the 0.25"),
    ("sigma_shift", lambda u, n: 1 - shifted(1 - u, n), "towards less noise"),
    ("sigma_shift", lambda u, n: u * (0.75 * (n / 16) ** 0.5 + 0.25), "exceed 1"),
    ("guidance", lambda c, u, g: u + g * (u - c), "off"),
    ("guidance", lambda c, u, g: c + g * (u - c), "exchanged"),
    ("guidance", lambda c, u, g: c + g * (c - u), "guidance 0 is guidance 1"),
    ("guidance", lambda c, u, g: u + g * c, "difference"),
    ("patchify", lambda x, p: patches(x.mT, p).unflatten(2, (-1, p, p)).mT.flatten(2), "down the columns"),
    ("patchify", lambda x, p: patches(x, p).unflatten(2, (-1, p, p)).mT.flatten(2), "exchanged"),
    ("patchify", lambda x, p: patches(x, p).unflatten(2, (-1, p * p)).mT.flatten(2), "channel must come first"),
    ("patchify", lambda x, p: x.reshape(len(x), -1, x.shape[1] * p * p), "reshape alone"),
    ("upsample_ids", lambda ids: ids.repeat(1, 2, 2).flatten(1), "tiles"),
    ("upsample_ids", lambda ids: ids.flatten(1).repeat_interleave(4, 1), "four times in a row"),
    ("upsample_ids", lambda ids: spread(ids.mT), "down the columns"),
    ("upsample_ids", lambda ids: spread(ids).view(len(ids), 2 * ids.shape[1], -1), "shape is"),
    ("modulate", lambda x, a, b: adaptive(x, a, b - 1), "lacks its 1"),
    ("modulate", lambda x, a, b: adaptive(x, b, a), "exchanged"),
    ("modulate", lambda x, a, b: x * (1 + b[:, None]) + a[:, None], "not normalised"),
    ("modulate", lambda x, a, b: adaptive(x.mT, x.mT[:, 0] * 0, x.mT[:, 0] * 0).mT * (1 + b[:, None]) + a[:, None],
     "over the tokens"),
    ("rotary_2d", lambda r, c, e: turns(r, c, e, row_first=False), "exchanged"),
    ("rotary_2d", lambda r, c, e: turns(r, c, e, interleave=True), "next to its copy"),
    ("rotary_2d", lambda r, c, e: turns(r, c, e, slowing=2), "frequencies of their own"),
    ("rotary_2d", lambda r, c, e: [t[:, :e // 2] for t in turns(r, c, e)], "shape is"),
]
