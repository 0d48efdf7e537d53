"""Pictures to edit in a batch: 0 to 4 for each sample, of any sizes.

They are encoded in batches of one size each; their tokens, numbered through all of those, are then dealt to
the samples, each of which has its own in order, and padding.

Shapes: B batch · G pictures of one size · H, W their size · R reference tokens of a sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minglm.model.layers import round_up
from minglm.training.batches import pixels
from minglm.world.posters import Poster

MULTIPLE = 64                                # to which R is rounded up: a new length costs a compilation


@dataclass(frozen=True)
class References:
    """The source pictures of a batch."""

    images: list[Tensor]                     # (G, 3, H, W) each
    where: Tensor                            # (B, R): the number of each token
    mask: Tensor                             # (B, R): False = padding


def references(sources: Sequence[Sequence[Poster]], token: int) -> References | None:
    """The sources of each sample, whose tokens are `token` pixels square; None if no sample has any."""
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
    rows = [[first[id(one)] + i for one in some for i in range(tokens(one, token))] for some in sources]
    longest = round_up(max(map(len, rows)), MULTIPLE)
    # padding is the first token of all, which is hidden
    where = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
    return References([pixels(alike) for alike in sizes.values()], where, mask)


def tokens(picture: Poster, token: int) -> int:
    return picture.height // token * (picture.width // token)
