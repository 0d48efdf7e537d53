"""Right and wrong answers to the checks of notebook 12; with each wrong one some words of its diagnosis."""

import torch


def better(rewards, size, whole=False, scale=True, correction=0, sign=1):
    out = torch.zeros(len(rewards))
    for start in range(0, len(rewards), size):
        group = rewards if whole else rewards[start:start + size]
        spread = group.var(correction=correction) ** 0.5 + 1e-4 if scale else 1
        out[start:start + size] = sign * (rewards[start:start + size] - group.sum() / len(group)) / spread
    return out


def clip(new, old, advantage, limit, pick=min):
    ratio = torch.exp(new) / torch.exp(old)
    a, b = ratio * advantage, torch.minimum(torch.maximum(ratio, torch.tensor(1 - limit)), torch.tensor(1 + limit)) * advantage
    return -torch.where((a < b) if pick is min else (a > b), a, b)


def k3(new, reference):
    ratio = torch.exp(reference) / torch.exp(new)
    return ratio - torch.log(ratio) - 1


def walk(x, v, sigma, following, a, power=2, share=0.5, guess=None, correct=True, root=0.5):
    g2 = a ** power * sigma / (1 - sigma)
    noise = x + v - sigma * v if guess is None else guess(x, v, sigma)
    drift = v + (share * g2 * noise / sigma if correct else 0)
    return x - (sigma - following) * drift, (g2 * (sigma - following)) ** root


RIGHT = dict(advantages=better, clipped=clip, divergence=k3, noisy_step=walk)

WRONG = [
    ("advantages", lambda r, n: better(r, n, whole=True), "not of all samples"),
    ("advantages", lambda r, n: better(r, n, scale=False), "standard deviation of the group"),
    ("advantages", lambda r, n: better(r, n, sign=-1), "must be negative"),
    ("advantages", lambda r, n: better(r, n, correction=1), "not by n - 1"),
    ("advantages", lambda r, n: better(r.view(n, -1).T.reshape(-1), n).view(-1, n).T.reshape(-1), "one after the other"),
    ("clipped", lambda n, o, a, c: -clip(n, o, a, c), "minus the smaller"),
    ("clipped", lambda n, o, a, c: clip(n, o, a, c, pick=max), "the larger of the two"),
    ("clipped", lambda n, o, a, c: -(n - o).exp() * a, "nothing is clipped"),
    ("clipped", lambda n, o, a, c: clip(o, n, a, c), "new over old"),
    ("clipped", lambda n, o, a, c: -(n - o).exp().clamp(1 - c, 1 + c) * a, "not the clipped one always"),
    ("divergence", lambda n, r: k3(r, n), "reference over new"),
    ("divergence", lambda n, r: n - r, "may be negative"),
    ("divergence", lambda n, r: k3(n, r) + 1, "- 1 is missing"),
    ("noisy_step", lambda *a: walk(*a, power=1), "a\\^2"),
    ("noisy_step", lambda *a: walk(*a, share=1), "half of g squared"),
    ("noisy_step", lambda *a: walk(*a, guess=lambda x, v, s: x - s * v), "stands for"),
    ("noisy_step", lambda *a: walk(*a, correct=False), "not corrected"),
    ("noisy_step", lambda *a: walk(*a, root=1), "root of the step"),
]
