"""Right and wrong answers to the checks of notebook 10; with each wrong one some words of its diagnosis."""

from functools import partial
from itertools import combinations
from statistics import mean

import numpy as np
import torch
from PIL import Image

from minglm.course import derailed
from minglm.course.answers import normal
from minglm.generate.plan import sample_ids
from minglm.model.glyph import MOST_CELLS, MOST_STRINGS, both_ends, owners
from minglm.world.enhancer import enhance


def noise_of_seeds(self, seed, count, shape):
    seeds = seed if isinstance(seed, list) else range(seed, seed + count)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])


def planned(self, prompts, rows, columns, generators, read=None, temperature=0.9, top_p=0.75, top_k=None, progress=False):
    """By the formats as text, one prompt after the other."""
    config = self.planner.config
    small = max(1, int((config.preview_tokens * rows / columns) ** 0.5)), max(1, int((config.preview_tokens * columns / rows) ** 0.5))
    found = []
    for prompt, generator in zip(prompts, generators):
        ids = self.bpe.encode(prompt)
        for h, w in ((rows, columns), small):
            ids += [self.bpe.specials["<sop>"], *self.bpe.encode(f"{h} {w}"), self.bpe.specials["<eop>"]]
        ids = [i + config.vision_vocab for i in ids] + [config.boi]
        found.append(sample_ids(self.planner, [ids], [small, (rows, columns)], [generator], temperature, top_p, top_k or 0))
    return tuple(torch.cat(grids) for grids in zip(*found))


def one_by_one(encoder, texts, blank=("",), own=True, ending=None):
    """Each string through the encoder alone, so that nothing has to be masked."""
    rows = []
    for strings in texts:
        strings = strings or blank
        numbers = both_ends([*range(max(1, len(strings)))], MOST_STRINGS)
        parts = [torch.zeros(0, encoder.config.width)]
        for text, number in zip(strings, numbers):
            ids = torch.tensor([[*(b + 3 for b in text.encode()), 1]])
            cells, characters = (both_ends(owner, MOST_CELLS) for owner in owners(text))
            places = torch.stack([cells, characters, number.expand(len(cells)) if own else 0 * cells], -1)
            parts.append(encoder(ids, torch.ones_like(ids, dtype=torch.bool), places[None])[0][:ending])
        rows.append(torch.cat(parts))
    tokens = torch.full((len(rows), max(map(len, rows)), encoder.config.width), 7.0)         # padding may hold anything
    for token, row in zip(tokens, rows):
        token[:len(row)] = row
    return tokens, torch.arange(tokens.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]


def guided(decoder, encoder, texts, plan, guidance, memory=None, order=1):
    batch = len(texts)
    words, mask = one_by_one(encoder, [*texts, *[[]] * batch])
    if guidance == 1:
        words, mask = one_by_one(encoder, texts)
        return lambda x, time: decoder(x, torch.full((batch,), time), plan, words, mask)
    keep = torch.tensor([True] * batch + [False] * batch)

    def at(x, time):
        v = decoder(x.repeat(2, 1, 1, 1), torch.full((2 * batch,), time), plan.repeat(2, 1, 1), words, mask, keep)
        one, two = [*v.view(2, *x.shape)][::order]
        return guidance * one + (1 - guidance) * two

    return at


def bytes_of(x, scale=127.5, offset=1, change=lambda y: y.clip(0, 255)):
    y = change(np.rint((x.numpy() + offset) * scale))
    return [Image.fromarray(np.moveaxis(one, 0, -1).astype(np.uint8)) for one in y]


def pipeline(pipe, prompt, height=None, width=None, steps=20, guidance=1.5, seed=0, sign=1):
    """With schedule and Euler steps of its own."""
    told = enhance(prompt, seed, height, width)
    height, width = told.poster.height, told.poster.width
    _, plan = planned(pipe, [told.caption], height // 32, width // 32, [torch.Generator().manual_seed(seed)])
    at, x = guided(pipe.decoder, pipe.glyph, [told.poster.strings], plan, guidance), normal(1, 16, height // 8, width // 8, seed=seed)
    mu = 0.75 * (plan.numel() / 4) ** 0.5 + 0.25
    times = [int(1000 - 999 * i / steps) for i in range(steps)]
    sigmas = [mu * t / (mu * t + 1000 - t) for t in times] + [0.0]
    for i, time in enumerate(times):
        x = x - sign * (sigmas[i] - sigmas[i + 1]) * at(x, time - 1.0)
    return bytes_of(pipe.vae.decode(x))[0]


def word_accuracy(pictures, read=lambda line: line.lower().split()):
    found = [word.lower() in [w for line in lines for w in read(line)]
             for targets, lines in pictures for target in targets for word in target.split()]
    return sum(found) / len(found)


def interval(right, count, z=1.96, middle=True, root=True):
    """The two solutions of (p - share)^2 = z^2 p (1 - p) / count."""
    share = right / count
    return tuple(sorted(np.roots([1 + z ** 2 / count, -2 * share - z ** 2 / count, share ** 2]).real))


def best_of(values, k, best=max):
    return mean(best(some) for some in combinations(values, k))


RIGHT = dict(noise_of_seeds=noise_of_seeds, planned_grids=planned, glyph_tokens=one_by_one, guided_velocity=guided,
             pictures=bytes_of, whole_pipeline=pipeline, word_accuracy=word_accuracy, interval=interval, best_of=best_of)


def one_generator(self, seed, count, shape):
    seed = seed[0] if isinstance(seed, list) else seed
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def first(seed):
    return seed[0] if isinstance(seed, list) else seed


def of_the_derailed(function, names):
    """What the checks know to be wrong, asked as a learner's own."""
    check = {"plan": "planned_grids", "glyphs": "glyph_tokens", "velocity": "guided_velocity", "painted": "whole_pipeline"}
    return [(check[function.__name__], partial(function, off), why[:30].replace("(", r"\(")) for off, why in names.items()]


WRONG = [
    ("noise_of_seeds", one_generator, "neighbours"),
    ("noise_of_seeds", lambda self, seed, count, shape: noise_of_seeds(self, [first(seed)] * count, count, shape), "same noise"),
    ("noise_of_seeds", lambda self, seed, count, shape: noise_of_seeds(self, first(seed) + 1, count, shape), r"not seed \+ 1"),
    ("noise_of_seeds", lambda self, seed, count, shape: noise_of_seeds(self, first(seed), count, shape), "count on from its first"),
    *of_the_derailed(derailed.plan, derailed.PLANS),
    ("planned_grids", lambda *a, **how: planned(*a, **how)[1], "is wanted, and this is a Tensor"),
    ("planned_grids", lambda self, prompts, *a, **how: planned(self, prompts[:1], *a, **how), "the shape is"),
    *of_the_derailed(derailed.glyphs, derailed.GLYPHS),
    ("glyph_tokens", lambda e, texts: one_by_one(e, texts, blank=()), "one empty text"),
    ("glyph_tokens", lambda e, texts: one_by_one(e, texts, ending=-1), "the shape is"),
    ("glyph_tokens", lambda e, texts: one_by_one(e, texts, own=False), "off"),
    ("glyph_tokens", lambda e, texts: one_by_one(e, texts)[0], "is wanted, and this is a Tensor"),
    ("glyph_tokens", lambda e, texts: (one_by_one(e, texts)[0], one_by_one(e, texts)[1].float()), "torch.float32, and should be torch.bool"),
    *of_the_derailed(derailed.velocity, derailed.VELOCITIES),
    ("guided_velocity", partial(guided, order=-1), "exchanged"),
    ("guided_velocity", lambda *a: guided(*a)(normal(2, 16, 8, 12), 999.0), "is wanted, and this is a Tensor"),
    ("pictures", partial(bytes_of, change=lambda y: y % 256), "begins again at 0"),
    ("pictures", lambda x: bytes_of(((x.clamp(-1, 1) + 1) * 127.5).floor(), 1, 0), "nearest whole number"),
    ("pictures", partial(bytes_of, scale=255, offset=0), r"not in \[0, 1\]"),
    ("pictures", lambda x: bytes_of(x.mT), "exchanged"),
    ("pictures", lambda x: bytes_of(x.flip(1)), "reverse order"),
    ("pictures", lambda x: bytes_of(x)[0], "is wanted, and this is an Image"),
    *of_the_derailed(derailed.painted, derailed.PIPELINES),
    ("whole_pipeline", partial(pipeline, sign=-1), "off"),
    ("whole_pipeline", lambda *a: None, "return"),
    ("word_accuracy", lambda some: sum(word_accuracy([one]) for one in some) / len(some), "pool"),
    ("word_accuracy", lambda some: word_accuracy(some, lambda line: line.split()), "capitals"),
    ("word_accuracy", lambda some: word_accuracy(some, lambda line: [line.lower()]), "split"),
    ("word_accuracy", lambda some: word_accuracy([(sum((s[0] for s in some), []), sum((s[1] for s in some), []))]),
     "own picture"),
    ("word_accuracy", lambda some: sum(w.lower() in " ".join(lines).lower() for targets, lines in some for t in targets
        for w in t.split()) / sum(len(t.split()) for targets, _ in some for t in targets), "CATS"),
    ("interval", lambda r, n, z=1.96: (r / n - z * (r / n * (1 - r / n) / n) ** 0.5, r / n + z * (r / n * (1 - r / n) / n) ** 0.5),
     "no width"),
    ("interval", lambda r, n, z=1.96: interval(r, n), "not always 1.96"),
    ("interval", lambda *a: interval(*a)[::-1], "lower first"),
    ("interval", lambda *a: (sum(interval(*a)) / 2, (interval(*a)[1] - interval(*a)[0]) / 2), "not centre"),
    ("interval", lambda r, n, z=1.96: (r / n - np.diff(interval(r, n, z))[0] / 2, r / n + np.diff(interval(r, n, z))[0] / 2), "drawn towards"),
    ("best_of", lambda values, k: max(values[:k]), "first k"),
    ("best_of", lambda values, k: max(values), "all n"),
    ("best_of", lambda values, k: mean(values), "the best of one"),
    ("best_of", partial(best_of, best=min), "smallest"),
    ("best_of", lambda values, k: np.diff([0] + [(i / len(values)) ** k for i in range(1, len(values) + 1)]) @ np.sort(values),
     "drawn twice"),
]
