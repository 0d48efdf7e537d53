"""Right and wrong answers to the checks of notebooks 00, 09 and 10; with each wrong one some words of its diagnosis."""

import difflib
import math

import torch


def glyph_ids(text):
    return [*(byte + 3 for byte in bytes(text, "utf-8")), 1]


def bucket(offset, half=16, exact=8, farthest=128):
    far = abs(offset)
    if far >= exact:
        far = min(half - 1, exact + int(math.log(far / exact) / math.log(farthest / exact) * (half - exact) + 1e-9))
    return far + half * (offset > 0)


def relative_buckets(length):
    return torch.tensor([[bucket(key - query) for key in range(length)] for query in range(length)])


def glyph_attention(q, k, v, bias, mask, scale=1.0):
    scores = scale * torch.einsum("rhqe,rhke->rhqk", q, k) + bias
    weights = scores.exp() * mask[:, None, None]
    return weights / weights.sum(-1, keepdim=True) @ v


def noise_of_seeds(seed, count, shape):
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(count)])


def edit_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(edit_distance(a[1:], b) + 1, edit_distance(a, b[1:]) + 1, edit_distance(a[1:], b[1:]) + (a[0] != b[0]))


def word_accuracy(pictures, read=lambda line: line.lower().split()):
    found = [word.lower() in [w for line in lines for w in read(line)]
             for targets, lines in pictures for target in targets for word in target.split()]
    return sum(found) / len(found)


def greedy_plan(pipe, prompt, seed):
    return pipe([prompt] * 2, enhance=False, temperature=0, planner_seed=7, seed=seed, steps=1, progress=False).plan[1]


def move_right(plan):
    return torch.stack([row if r in (0, 3) else torch.cat([row[-1:], row[:-1]]) for r, row in enumerate(plan)])


RIGHT = dict(greedy_plan=greedy_plan, move_right=move_right, glyph_ids=glyph_ids, relative_buckets=relative_buckets,
             glyph_attention=glyph_attention, noise_of_seeds=noise_of_seeds, edit_distance=edit_distance,
             word_accuracy=word_accuracy)


def one_generator(seed, count, shape):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


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
    ("glyph_ids", lambda text: [ord(c) + 3 for c in text] + [1], "characters"),
    ("glyph_ids", lambda text: [b + 3 for b in text.encode()], "1 at the end"),
    ("glyph_ids", lambda text: [*text.encode(), 1], "add 3"),
    ("glyph_ids", lambda text: [0, *glyph_ids(text)], "is not"),
    ("relative_buckets", lambda n: relative_buckets(n).T, "key - query"),
    ("relative_buckets", lambda n: relative_buckets(n) % 16, "buckets of their own"),
    ("relative_buckets", lambda n: (torch.arange(n)[None] - torch.arange(n)[:, None]).abs().clamp(max=15)
        + 16 * torch.ones(n, n, dtype=torch.long).triu(1), "buckets grow"),
    ("relative_buckets", lambda n: torch.tensor([[bucket(k - q, farthest=200) for k in range(n)] for q in range(n)]),
     "numbers are off"),
    ("glyph_attention", lambda *a: glyph_attention(*a, scale=a[0].shape[-1] ** -0.5), "divide"),
    ("glyph_attention", lambda q, k, v, bias, mask: glyph_attention(q, k, v, 0 * bias, mask), "bias is not added"),
    ("glyph_attention", lambda q, k, v, bias, mask: glyph_attention(q, k, v, bias, mask | True), "padding"),
    ("glyph_attention", lambda q, k, v, bias, mask: glyph_attention(q, k, v, bias, mask)[..., :1], "shape"),
    ("noise_of_seeds", one_generator, "neighbours"),
    ("noise_of_seeds", lambda seed, count, shape: noise_of_seeds(seed, 1, shape).repeat(count, 1, 1, 1), "same noise"),
    ("noise_of_seeds", lambda seed, count, shape: noise_of_seeds(seed + 1, count, shape), r"not seed \+ 1"),
    ("edit_distance", lambda a, b: sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b)), "shifts all letters"),
    ("edit_distance", lambda a, b: sum(x != y for x, y in zip(a, b)), "additional letters"),
    ("edit_distance", lambda a, b: sum(j1 - i1 + j2 - i2 for tag, i1, j1, i2, j2 in
        difflib.SequenceMatcher(None, a, b).get_opcodes() if tag != "equal"), "counts once"),
    ("word_accuracy", lambda some: sum(word_accuracy([one]) for one in some) / len(some), "pool"),
    ("word_accuracy", lambda some: word_accuracy(some, lambda line: line.split()), "capitals"),
    ("word_accuracy", lambda some: word_accuracy(some, lambda line: [line.lower()]), "split"),
    ("word_accuracy", lambda some: word_accuracy([(sum((s[0] for s in some), []), sum((s[1] for s in some), []))]),
     "own picture"),
    ("word_accuracy", lambda some: sum(w.lower() in " ".join(lines).lower() for targets, lines in some for t in targets
        for w in t.split()) / sum(len(t.split()) for targets, _ in some for t in targets), "CATS"),
]
