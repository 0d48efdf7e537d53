"""Linear probes: what can be read from the tokenizer's ids alone.

Shapes: B posters · N ids of a poster · R rows of the table · A answers · O objects.

A probe is an embedding table of logits: each id has a logit for each answer, and the answer with the largest
sum wins. So what a probe answers correctly is linearly encoded in the ids. For the object an id has the same
logits wherever it is; for colours, places and counts each position of the grid has logits of its own. Probes
are trained on their own posters and tested on others, drawn as for evaluation.
"""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from minglm.generate.pipeline import Pipeline
from minglm.world.colours import COLOURS
from minglm.world.draw import draw
from minglm.world.layout import CELL
from minglm.world.masks import object_cells, text_mask
from minglm.world.objects import backgrounds, things
from minglm.world.posters import PLACES, Group, Poster

LEARN, ASK = 12000, 1000                     # posters to train on, to test on
SEED = 77                                    # no training stage uses it
ANYWHERE = ("object",)                       # questions for which the position of an id does not matter


def questions(poster: Poster) -> dict[str, int]:
    """The correct answers for one poster, as class numbers; the text colour is that of the first word."""
    first = list(COLOURS).index(poster.regions[0].colour) if poster.regions else len(COLOURS)
    kind = list(things()).index(poster.groups[0].thing) if poster.groups else len(things())
    return dict(
        object=kind,
        objects=sum(group.count for group in poster.groups),
        background=list(COLOURS).index(poster.background),
        place=list(PLACES).index(poster.place),
        words=len(poster.regions),
        text_colour=first,
    )


def gather_ids(pipe: Pipeline, posters: list[Poster], batch: int = 64) -> Tensor:
    """The ids (B, N) of posters of one size."""
    parts = [torch.stack(pipe.encode_ids([p.image for p in posters[i:i + batch]]))
             for i in range(0, len(posters), batch)]
    return torch.cat(parts).flatten(1)


def fit(rows: Tensor, answers: Tensor, steps: int = 600) -> Tensor:
    """The table (R, A) that minimises the cross-entropy of `answers` (B,), where rows (B, N) are the rows of
    the table that each poster sums up."""
    generator = torch.Generator().manual_seed(0)
    votes = torch.zeros(int(rows.max()) + 1, int(answers.max()) + 1, requires_grad=True)
    optimiser = torch.optim.Adam([votes], lr=0.05)
    for _ in range(steps):
        some = torch.randint(len(rows), (512,), generator=generator)
        scores = F.embedding_bag(rows[some], votes, mode="sum")
        loss = F.cross_entropy(scores, answers[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return votes.detach()


def perplexity(ids: Tensor, codes: int) -> float:
    """exp(entropy) of the distribution of codes: their effective number."""
    share = torch.bincount(ids.flatten(), minlength=codes).float()
    share = share / share.sum()
    return float(torch.exp(-(share * share.clamp_min(1e-12).log()).sum()))


def recognised(pipe: Pipeline, size: str, seen: int = 5, names: tuple[str, ...] = ()) -> float:
    """The share of objects told from ids alone, at one size ("small", "normal", "big").

    Without training: the ids of an object on one ground are compared with those of every object on `seen`
    others, and the most similar wins. The fewer posters have an id, the more it counts. names: of
    the objects; all if empty.
    """
    names, rng = names or tuple(things()), random.Random(SEED)
    alone = [[Poster(rng.choice(backgrounds(name)), (Group(name),), "centre", (), size=size)
              for name in names] for _ in range(seen + 1)]
    asked, *known = (gather_ids(pipe, posters) for posters in alone)             # (O, N) each
    codes = pipe.tokenizer.config.codebook
    rare = 1 / torch.bincount(torch.cat(known).flatten(), minlength=codes).clamp_min(1)
    # the weight of the ids that two posters share, at the same places
    alike = torch.stack([((asked[:, None] == ids) * rare[ids]).sum(-1) for ids in known]).amax(0)
    return float((alike.argmax(1) == torch.arange(len(names))).float().mean())


def ground_ids(posters: list[Poster], ids: Tensor, codes: int) -> float:
    """How many different ids plain ground of one colour has, as a perplexity, averaged over cells. 1 is best:
    more say nothing about the picture, and a planner would have to guess among them. ids (B, N)."""
    bare = (F.avg_pool2d(text_mask(posters), CELL)[:, 0] == 0) & (object_cells(posters)[-1] == 0)
    bare, colour = bare.flatten(1), torch.tensor([list(COLOURS).index(p.background) for p in posters])
    found = [ids[bare & (colour == i)[:, None]] for i in range(len(COLOURS))]
    return sum(len(some) * perplexity(some, codes) for some in found if len(some)) / int(bare.sum())


def probe(pipe: Pipeline, learn: int = LEARN, ask: int = ASK) -> dict:
    """{question: accuracy}, the objects recognised by size, how many ids one ground has, and the codes'
    `perplexity` and number `used`."""
    codes = pipe.tokenizer.config.codebook
    learned = [draw(SEED, i) for i in range(learn)]
    asked = [draw(SEED + 1, i, split=("words", "phrases", "random")[i % 3]) for i in range(ask)]
    ids, new = gather_ids(pipe, learned), gather_ids(pipe, asked)
    placed = codes * torch.arange(new.shape[1])                                  # first row of each position
    right = [questions(p) for p in learned], [questions(p) for p in asked]
    out = {}
    for name in right[0][0]:
        known, truth = (torch.tensor([answers[name] for answers in some]) for some in right)
        offset = 0 if name in ANYWHERE else placed
        votes = F.pad(fit(ids + offset, known), (0, 0, 0, codes))                # zero logits for unseen ids
        scores = F.embedding_bag(new + offset, votes, mode="sum")
        out[name] = round(float((scores.argmax(1) == truth).float().mean()), 4)
    for size in ("small", "normal", "big"):
        out[f"{size}_object"] = round(recognised(pipe, size), 4)
    out["ground_ids"] = round(ground_ids(asked, new, codes), 2)
    return out | dict(perplexity=round(perplexity(new, codes), 1), used=int(len(new.unique())),
                      codebook=codes)
