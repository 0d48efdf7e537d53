"""Pictures to edit in a batch: 0 to 4 for each sample, of any sizes.

They are encoded in batches of one size each; their tokens, numbered through all of those, are then dealt to
the samples, each of which has its own in order, and padding.

Shapes: B batch · G pictures of one size · H, W their size · R reference tokens of a sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minglm.model.layers import round_up
from minglm.training.batches import pixels
from minglm.world.carried import Carried
from minglm.world.posters import Poster

FOLLOWED = 0.85                              # the share of edits of which it is known what goes where
MULTIPLE = 64                                # to which R is rounded up: a new length costs a compilation


@dataclass(frozen=True)
class References:
    """The source pictures of a batch."""

    images: list[Tensor]                     # (G, 3, H, W) each
    where: Tensor                            # (B, R): the number of each token
    mask: Tensor                             # (B, R): False = padding
    shift: Tensor                            # (B, R, 2): how far each has moved, see world/carried.py


def references(sources: Sequence[Sequence[Poster]], token: int, kept: Sequence[list[Carried] | None] = (),
               ) -> References | None:
    """The sources of each sample, whose tokens are `token` pixels square; None if no sample has any.

    kept: of each sample, which tokens of its sources are remembered, and where; None: all, where they stand.
    """
    sizes = defaultdict(list)
    for some in sources:
        for one in some:
            sizes[one.height, one.width].append(one)
    if not sizes:
        return None
    # the number of each picture's first token
    first, count = {}, 0
    for (height, width), alike in sizes.items():
        for one in alike:
            first[id(one)] = count
            count += tokens(one, token)
    kept = kept or [None] * len(sources)
    kept = [every(some, token) if mine is None else mine for some, mine in zip(sources, kept)]
    rows = [[first[id(one)] + int(i) for one, (numbers, _) in zip(some, mine) for i in numbers]
            for some, mine in zip(sources, kept)]
    ways = [[way for _, shift in mine for way in shift.tolist()] for mine in kept]
    longest = max(MULTIPLE, round_up(max(map(len, rows)), MULTIPLE))
    # padding is the first token of all, which is hidden
    where = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    shift = torch.tensor([way + [[0.0, 0.0]] * (longest - len(way)) for way in ways])
    mask = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
    return References([pixels(alike) for alike in sizes.values()], where, mask, shift)


def every(some: Sequence[Poster], token: int) -> list[Carried]:
    """All tokens of some pictures, where they stand."""
    counts = [tokens(one, token) for one in some]
    return [(np.arange(count), np.zeros((count, 2))) for count in counts]


def tokens(picture: Poster, token: int) -> int:
    return picture.height // token * (picture.width // token)
