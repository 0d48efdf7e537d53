"""Reading the prompts of a batch: one pass, before the ids are sampled one by one (plan.py).

Shapes: B batch · N padded prompts · M whole sequence · D width · H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from minglm.model.copying import old_ids
from minglm.model.layers import KVCache
from minglm.model.planner import Planner, positions
from minglm.model.prompt import Grid


def prefill(planner: Planner, prompts: list[list[int]], grids: list[Grid], parts: list | None, total: int
            ) -> tuple[Tensor, Tensor, Tensor | None, list[KVCache], Tensor | None]:
    """Read all prompts in one pass. Prompts that are the same, as those of several plans, are read once.

    Returns the features (B, D) that predict the first id; positions (B, 3, M) and mask (B, 1, 1, M) of the
    whole sequence; caches with room for it; and of edits the ids (B, total) that may be copied.
    """
    config, device, like = planner.config, planner.embed.weight.device, planner.embed.weight
    parts = parts or [[len(prompt)] for prompt in prompts]
    # to repeat the published code's rounding, its batch has to be the same
    keys = [(*prompt, *part, *([b] if config.exact else []))
            for b, (prompt, part) in enumerate(zip(prompts, parts))]
    distinct = list(dict.fromkeys(keys))
    first = [keys.index(key) for key in distinct]
    ids, place, mask = collate([prompts[i] for i in first], grids, [parts[i] for i in first], total)
    longest, ids, place = ids.shape[1], ids.to(device), place.to(device)         # M = longest + total
    mask = None if mask is None else mask.to(device)

    def caches(batch: int, length: int) -> list[KVCache]:
        return [KVCache(batch, config.kv_heads, length, config.head_dim, like) for _ in planner.blocks]

    old = full = None
    if planner.copying is not None and any(isinstance(part, tuple) for some in parts for part in some):
        some = pad_sequence([torch.tensor(prompts[i], device="cpu") for i in first], batch_first=True)
        old = old_ids(some, [parts[i] for i in first], grids[-1], total).to(device)      # there is no preview
        full = F.pad(old[:, :1], (longest - 1, 0), value=-1)
    # prompts end at the same position, with the boi that predicts the first id
    small = caches(len(first), longest)
    features = planner(ids, place[:, :, :longest], prefill_mask(mask, longest), small, full)[:, -1]
    row = torch.tensor([distinct.index(key) for key in keys], device=device)     # (B,)
    nothing = like.new_zeros(len(first), config.kv_heads, 0, config.head_dim)
    cache = caches(len(prompts), longest + total)
    for one, read in zip(cache, small):
        k, v = read.append(nothing, nothing)                                     # all that is stored
        one.append(k[row], v[row])
    mask, old = (None if one is None else one[row] for one in (mask, old))
    return features[row], place[row], mask, cache, old


def collate(prompts: list[list[int]], grids: list[Grid], parts: list, total: int
            ) -> tuple[Tensor, Tensor, Tensor | None]:
    """Prompts padded on the left to one length: ids (B, N), positions (B, 3, M), and the mask of all M
    tokens, (B, 1, 1, M), False = padding; None if there is none."""
    lengths = torch.tensor([len(p) for p in prompts], device="cpu")
    longest = int(lengths.max())
    ids = torch.zeros(len(prompts), longest, dtype=torch.long, device="cpu")
    place = torch.zeros(len(prompts), 3, longest + total, dtype=torch.long, device="cpu")
    for b, prompt in enumerate(prompts):
        ids[b, longest - len(prompt):] = torch.tensor(prompt, device="cpu")
        place[b, :, longest - len(prompt):] = positions([*parts[b], *grids])
    if lengths.min() == longest:
        return ids, place, None
    valid = torch.arange(longest + total, device="cpu") >= longest - lengths[:, None]
    return ids, place, valid[:, None, None]


def prefill_mask(mask: Tensor | None, longest: int) -> Tensor | None:
    """The causal mask of the padded prompts, (B, 1, N, N); padding attends to itself, to avoid NaN."""
    if mask is None:
        return None
    earlier = torch.ones(longest, longest, dtype=torch.bool, device=mask.device).tril()
    own = torch.eye(longest, dtype=torch.bool, device=mask.device)
    return mask[..., :longest] & earlier | own
