"""What a call of the pipeline asks for, validated before anything works.

Shapes: B pictures · h, w id grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minglm.validate import real, whole

MOST_PROMPT_IDS, SMALLEST_SIDE = 512, 96     # of posters


def as_list(prompt: str | list[str]) -> list[str]:
    """One prompt or several as a list. Raises ValueError for anything else."""
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, (list, tuple)) or not all(isinstance(one, str) for one in prompts):
        raise ValueError(f"prompt {prompt!r}: a string or a list of strings is needed")
    return list(prompts)


def sampling(temperature: float, top_p: float, top_k: int | None) -> dict:
    """The planner's sampling arguments, validated. Raises ValueError naming the one that is wrong."""
    return dict(temperature=real("temperature", temperature, 0), top_p=real("top_p", top_p, 0, 1, above=True),
                top_k=None if top_k is None else whole("top_k", top_k))


def one_each(seed: int | list[int], count: int) -> list[int]:
    """A seed for each of `count` pictures."""
    return seed if isinstance(seed, list) else [seed + i for i in range(count)]


def repeat(items: list, count: int) -> list:
    """Each item `count` times in a row: [a, b] -> [a, a, b, b]."""
    return [item for item in items for _ in range(count)]


def given_ids(ids: Tensor | list[Tensor], count: int, rows: int, columns: int, codebook: int) -> Tensor:
    """The ids that a call gives in place of a plan, as (B, rows, columns) int64.

    Raises ValueError for another shape, or for ids that are no codes.
    """
    grids = [ids] if isinstance(ids, Tensor) and ids.ndim == 2 else list(ids)
    grids = [torch.as_tensor(grid) for grid in grids]
    if len(grids) != count or any(tuple(grid.shape) != (rows, columns) for grid in grids):
        raise ValueError(f"prior_ids of shapes {[tuple(grid.shape) for grid in grids]}: {count} of "
                         f"{(rows, columns)} are needed")
    ids = torch.stack(grids)
    if ids.min() < 0 or ids.max() >= codebook:
        raise ValueError(f"prior_ids from {ids.min()} to {ids.max()}: the codebook has 0 to {codebook - 1}")
    return ids.long()
