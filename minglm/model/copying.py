"""Copying ids of a picture to edit, as pointer networks copy words (See et al., arXiv 1704.04368).

Most cells of an edited picture are those of the old one. GLM-Image's planner finds the old ids by attention.
A planner this small learns that slowly: after 850 steps of stage `edit-planner` it repeats 0.6 to 0.8 of the
cells that stay (by kind of edit, teacher-forced). If each token that predicts a cell is given the id in the
same cell of the old picture, and may vote for it, that is 0.8 to 0.97 after 200 steps.

Shapes: B batch · N tokens · D width · V ids.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minglm.model.prompt import Grid


class Copying(nn.Module):
    """Two linear maps that are zero at first, so that a planner that has learned to draw goes on drawing."""

    def __init__(self, width: int):
        super().__init__()
        self.hint = nn.Linear(width, width, bias=False)
        self.vote = nn.Linear(width, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def hinted(self, x: Tensor, old: Tensor, embed: nn.Embedding) -> Tensor:
        """Embeddings x (B, N, D) plus a linear map of those of the old ids (B, N); -1: no old id."""
        return x + self.hint(embed(old.clamp_min(0))) * (old >= 0)[..., None]

    def voted(self, logits: Tensor, features: Tensor, old: Tensor) -> Tensor:
        """Logits (B, N, V), with that of the old id (B, N) raised or lowered, as features (B, N, D) say."""
        same = old[..., None] == torch.arange(logits.shape[-1], device=old.device)
        return logits + self.vote(features) * same


def old_ids(ids: Tensor, parts: list[list[int | Grid]], shape: Grid, count: int) -> Tensor:
    """The ids (B, count) of the first source picture of the shape of the new one, in prompts ids (B, N), each
    beginning at column 0; -1 where there is no such picture, and beyond its last cell. parts: as for
    `planner.positions`."""
    first = torch.tensor([start(some, shape) for some in parts], device=ids.device)
    cells = torch.arange(count, device=ids.device)
    found = ids.gather(1, (first.clamp_min(0)[:, None] + cells).clamp_max(ids.shape[1] - 1))
    return torch.where((first >= 0)[:, None] & (cells < shape[0] * shape[1]), found, -1)


def start(parts: list[int | Grid], shape: Grid) -> int:
    """Where in a prompt the first grid of a shape begins; -1: there is none."""
    at = 0
    for part in parts:
        if part == shape:
            return at
        at += part if isinstance(part, int) else part[0] * part[1]
    return -1
