"""Right and wrong answers to the checks of notebook 12; with each wrong one some words of its diagnosis."""

from functools import partial

import torch


def better(rewards, size, whole=False, scale=True, correction=0, sign=1, power=0.5, least=1e-4):
    out = torch.zeros(len(rewards))
    for start in range(0, len(rewards), size):
        group = rewards if whole else rewards[start:start + size]
        spread = group.var(correction=correction) ** power + least if scale else 1
        out[start:start + size] = sign * (rewards[start:start + size] - group.sum() / len(group)) / spread
    return out


def clip(new, old, advantage, limit, pick=min):
    ratio = torch.exp(new) / torch.exp(old)
    a, b = ratio * advantage, torch.minimum(torch.maximum(ratio, torch.tensor(1 - limit)), torch.tensor(1 + limit)) * advantage
    return -torch.where((a < b) if pick is min else (a > b), a, b)


def surrogate(logits, actions, advantages, sign=-1, axis=-1, kind="log", mean=True):
    total = 0
    p = logits.exp() / logits.exp().sum(axis, keepdim=True)
    for row, action, advantage in zip(logits if kind == "logits" else p if kind == "p" else p.log(), actions, advantages):
        total = total + sign * advantage * row[action]
    return total / len(logits) if mean else total


def k3(new, reference):
    ratio = torch.exp(reference) / torch.exp(new)
    return ratio - torch.log(ratio) - 1


def walk(x, v, sigma, following, a, power=2, share=0.5, guess=None, correct=True, root=0.5, inverse=False):
    g2 = a ** power * (late(sigma, following) / (1 - late(sigma, following))) ** (-1 if inverse else 1)
    noise = x + v - sigma * v if guess is None else guess(x, v, sigma)
    drift = v + (share * g2 * noise / sigma if correct else 0)
    return x - (sigma - following) * drift, (g2 * (sigma - following)) ** root


def everywhere(x, v, sigma, following, a):
    """`following` in place of a sigma of 1, in every term."""
    mean, deviation = walk(x, v, late(sigma, following), following - sigma + late(sigma, following), a)
    return mean, walk(x, v, sigma, following, a)[1]


def read_off(planner, data, temperature, legal=True, end=False, power=-1, log=True, later=0, together=False):
    """By a loop over samples, one prompt at a time."""
    rows = []
    for b, prompt in enumerate(data["prompts"]):
        preview = data["preview"][b:b + 1] if data["preview"] is not None else None
        logits, target = planner.predict([prompt], preview, data["large"][b:b + 1])
        p = (logits[0] * temperature ** power)[:, :planner.config.codebook if legal else None].softmax(-1)
        count = target.shape[1] - (not end)
        rows.append(torch.stack([p[t + later, target[0, t]] for t in range(count)]))
    p = torch.stack(rows)
    p = p.log() if log else p
    return p.sum(1) if together else p


def raw(planner, data):
    logits, target = planner.predict(data["prompts"], data["preview"], data["large"])
    return torch.take_along_dim(logits, target[..., None], -1)[:, :-1, 0]


def clip_gain(ratio, a, clip_at):
    return torch.min(ratio * a, ratio.clip(1 - clip_at, 1 + clip_at) * a)


def update(policy, optimiser, old, reference, advantages, steps=2, clip_at=0.2, penalty=0.0, off=""):
    fractions = []
    for _ in range(steps):
        ratio = torch.exp(policy() - old)
        if off != "add up":
            optimiser.zero_grad(set_to_none=True)
        a = advantages.unsqueeze(0 if off == "axis" else 1).expand_as(ratio)
        gain = clip_gain(ratio, a, clip_at)
        if off == "base":
            gain = clip_gain(torch.exp(policy() - reference), a, clip_at)
        if off == "fresh":
            gain = clip_gain(torch.exp(policy() - policy().detach()), a, clip_at)
        if off == "unclipped":
            gain = ratio * a
        apart = k3(policy(), old if off == "to old" else reference)
        weight = {"sign": -penalty, "free": 0}.get(off, penalty)
        loss = weight * apart - gain
        (loss.sum() if off == "sum" else -loss.mean() if off == "up" else loss.mean()).backward()
        if off != "still":
            optimiser.step()
        if off == "late":
            ratio = torch.exp(policy() - old)
        far = (ratio > 1 + clip_at) if off == "one side" else (ratio > 1 + clip_at) | (ratio < 1 - clip_at)
        fractions.append(far.float().mean().item())
        if off == "once":
            break
    return fractions


def gaussian(sample, mean, deviation, sign=1, power=2, half=0.5, whole=False, scale=True, constant=True, batch=False):
    out = []
    for x, m in zip(sample.flatten(1), mean.flatten(1)):
        each = -half * (x - m) ** 2 / deviation ** power
        each = each - (torch.log(torch.tensor(deviation)) if scale else 0)
        each = each - (0.5 * torch.log(torch.tensor(2 * torch.pi)) if constant else 0)
        out.append(sign * (each.sum() if whole else each.mean()))
    return torch.stack(out).mean() if batch else torch.stack(out)


def late(sigma, following):
    return following if sigma == 1 else sigma


RIGHT = dict(advantages=better, policy_loss=surrogate, clipped=clip, divergence=k3, plan_log_probabilities=read_off,
             grpo_update=update, noisy_step=walk, step_log_probability=gaussian)

WRONG = [
    ("advantages", lambda r, n: better(r, n, whole=True), "not of all samples"),
    ("advantages", lambda r, n: better(r, n, scale=False), "standard deviation of the group"),
    ("advantages", lambda r, n: better(r, n, power=1), "not by the variance"),
    ("advantages", lambda r, n: better(r, n, sign=-1), "must be negative"),
    ("advantages", lambda r, n: better(r, n, correction=1), "not by n - 1"),
    ("advantages", lambda r, n: better(r.view(n, -1).T.reshape(-1), n).view(-1, n).T.reshape(-1), "contiguous"),
    ("advantages", lambda r, n: better(r, n, least=0), "add 1e-4"),
    ("policy_loss", lambda z, a, b: surrogate(z, a, b, sign=1), "minimised"),
    ("policy_loss", lambda z, a, b: surrogate(z, a, b, kind="p"), "not the probabilities"),
    ("policy_loss", lambda z, a, b: surrogate(z, a, b, kind="logits"), "not normalised"),
    ("policy_loss", lambda z, a, b: surrogate(z, a, b, axis=0), "the last axis"),
    ("policy_loss", lambda z, a, b: surrogate(z, a, b, mean=False), "not the sum"),
    ("policy_loss", lambda z, a, b: surrogate(z, a, torch.ones_like(b)), "advantages are not used"),
    ("policy_loss", lambda z, a, b: -(b[:, None] * z.log_softmax(-1)).mean(), "only the action that was taken"),
    ("policy_loss", lambda z, a, b: surrogate(z, a, b).item(), "no item"),
    ("policy_loss", lambda z, a, b: None, "return"),
    ("clipped", lambda n, o, a, c: -clip(n, o, a, c), "minus the smaller"),
    ("clipped", lambda n, o, a, c: clip(n, o, a, c, pick=max), "with the larger of the two"),
    ("clipped", lambda n, o, a, c: -(n - o).exp() * a, "nothing is clipped"),
    ("clipped", lambda n, o, a, c: clip(o, n, a, c), "new over old"),
    ("clipped", lambda n, o, a, c: -torch.minimum((n - o).exp() * a, ((n - o).exp() * a).clamp(1 - c, 1 + c)),
     "not its product"),
    ("clipped", lambda n, o, a, c: -torch.minimum(n / o * a, (n / o).clamp(1 - c, 1 + c) * a), "these are log-prob"),
    ("clipped", lambda n, o, a, c: -(n - o).exp().clamp(1 - c, 1 + c) * a, "not always the clipped one"),
    ("divergence", lambda n, r: k3(r, n), "reference over new"),
    ("divergence", lambda n, r: n - r, "can be negative"),
    ("divergence", lambda n, r: (n - r) ** 2 / 2, "biased"),
    ("divergence", lambda n, r: (r - n).exp() + (r - n) - 1, "sign of the logarithm"),
    ("divergence", lambda n, r: k3(n, r) + 1, "- 1 is missing"),
    ("plan_log_probabilities", lambda *a: read_off(*a, legal=False), "only codes are legal"),
    ("plan_log_probabilities", lambda *a: read_off(*a, legal=False, end=True), "end token"),
    ("plan_log_probabilities", lambda *a: read_off(*a, power=0), "divide the logits by the temperature"),
    ("plan_log_probabilities", lambda *a: read_off(*a, power=1), "do not multiply"),
    ("plan_log_probabilities", lambda p, d, t: read_off(p, d, t, power=0) / t, "not the log-probabilities"),
    ("plan_log_probabilities", lambda p, d, t: raw(p, d) / t, "logits are not normalised"),
    ("plan_log_probabilities", lambda *a: read_off(*a, log=False), "logarithms are wanted"),
    ("plan_log_probabilities", lambda *a: read_off(*a, later=1), "do not shift"),
    ("plan_log_probabilities", lambda *a: read_off(*a, together=True), "not their sum"),
    *(("grpo_update", partial(update, off=off), words) for off, words in (
        ("add up", "zero_grad"), ("still", "take a step"), ("once", "not only one"), ("axis", r"shape \(B, 1\)"),
        ("base", "not to the reference"), ("fresh", "always 1"), ("unclipped", "has to be clipped"), ("free", "not used"), ("sign", "not subtracted"),
        ("to old", "not to `old`"), ("sum", "do not sum"), ("one side", "both sides"),
        ("up", "with its minus"), ("late", "from before the step"))),
    ("grpo_update", lambda *a: len(update(*a)), "return the list"),
    ("noisy_step", lambda *a: walk(*a, power=1), "level squared"),
    ("noisy_step", lambda *a: walk(*a, share=1), "half of g squared"),
    ("noisy_step", lambda *a: walk(*a, share=-0.5), "not away"),
    ("noisy_step", lambda *a: walk(*a, guess=lambda x, v, s: x - s * v), "implies"),
    ("noisy_step", lambda *a: walk(*a, correct=False), "not corrected"),
    ("noisy_step", lambda *a: walk(*a, root=1), "root of the step"),
    ("noisy_step", lambda *a: walk(*a, inverse=True), "not its inverse"),
    ("noisy_step", everywhere, "only g squared"),
    ("noisy_step", lambda x, *a: (2 * x - walk(x, *a)[0], walk(x, *a)[1]), "a negative step"),
    ("noisy_step", lambda *a: (walk(*a)[0], walk(*a)[1] * (-1) ** 0.5), "root of a negative number"),
    ("step_log_probability", lambda *a: gaussian(*a, whole=True), "not their sum"),
    ("step_log_probability", lambda *a: gaussian(*a, batch=True), "each sample of the batch"),
    ("step_log_probability", lambda *a: gaussian(*a, sign=-1), "minus the log-probability"),
    ("step_log_probability", lambda *a: gaussian(*a, scale=False), "deviation"),
    ("step_log_probability", lambda *a: gaussian(*a, half=1), "half is missing"),
    ("step_log_probability", lambda *a: gaussian(*a, power=1), "squared deviation"),
    ("step_log_probability", lambda x, m, s: gaussian(x, m, s * s), "not the variance"),
    ("step_log_probability", lambda *a: gaussian(*a, constant=False), "constant"),
]
