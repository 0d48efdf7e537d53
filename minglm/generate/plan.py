"""Drawing ids one by one: the planner's step for a single new token per row, and the choice of an id.

Shapes: B batch · M whole sequence · D width · H heads · G key/value heads · R rotated channels · V output ids.

With so little to compute at a time, it is starting operators that costs. So the step has few: q, k and v
are one product, heads are rows from the start, the rotation is in place, and nothing is made for a
backward pass. It gives what `Planner.forward` gives, and the tests hold it to that. The price is a copy of
q, k and v while drawing lasts: 1.5 GB in half precision of the released planner's 18. On a CPU light planners
are copied whole, into a layout that is read faster.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minglm.gradients import onednn
from minglm.layers import KVCache
from minglm.ops import attention, rms_norm, swiglu


def small(planner: nn.Module) -> bool:
    """Whether one CPU core draws ids faster than several, which would have to be woken for every operator."""
    return planner.embed.weight.is_cpu and sum(p.numel() for p in planner.blocks[0].parameters()) < 2 ** 22


def light(planner: nn.Module) -> bool:
    """Whether a CPU may hold a second copy of its matrices while drawing lasts: up to a gigabyte."""
    return planner.embed.weight.is_cpu and sum(p.nbytes for p in planner.blocks.parameters()) < 2 ** 30


def product(weight: Tensor, bias: Tensor | None, rows: int, anew: bool, exact: bool) -> Callable[[Tensor], Tensor]:
    """A function x (rows, D) -> x weight^T + bias, called once for every id to draw.

    anew: the matrix is copied into another layout. Transposed it is read faster, and from four rows on gives the same
    sums to the last bit; where those do not matter, oneDNN packs it, which is for several rows faster still.
    """
    if anew and not exact and rows > 1 and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        return lambda x: onednn(x, packed, bias)
    laid = weight.t().contiguous().t() if anew and (rows >= 4 or not exact) else weight
    return lambda x: F.linear(x, laid, bias)


def stepper(planner: nn.Module, place: Tensor, mask: Tensor | None, cache: list[KVCache]) -> tuple[Callable, Callable]:
    """A function of one new id per row (B,) and where in the sequence it stands, which gives its features (B, D),
    and one that makes scores of features.

    place (B, 3, M) and mask (B, 1, 1, M), True = may look, are those of the whole sequence.
    """
    cos, sin = planner.rotary(place)                                             # (B, 1, M, R)
    first, second = sin.chunk(2, -1)
    sin = torch.cat([-first, second], -1)
    made = partial(product, rows=len(place), anew=light(planner), exact=planner.config.exact)
    steps = [block_stepper(block, planner.config, kept, made) for block, kept in zip(planner.blocks, cache)]

    def step(ids: Tensor, at: int) -> Tensor:
        x, turn = planner.embed(ids), (cos[:, :, at:at + 1], sin[:, :, at:at + 1])
        seen = None if mask is None else mask[..., :at + 1]
        for block in steps:
            x = block(x, *turn, seen)
        return planner.norm(x)

    return step, made(planner.head.weight, None)


def block_stepper(block: nn.Module, config, cache: KVCache, made: Callable) -> Callable[..., Tensor]:
    """One block as a function of x (B, D), the cosines and signed sines (B, 1, 1, R), and a mask or None."""
    three, heads, groups = (block.q, block.k, block.v), config.heads, config.kv_heads
    qkv = made(torch.cat([f.weight for f in three]), torch.cat([f.bias for f in three]))
    o, gate_up, down = (made(f.weight, None) for f in (block.o, block.gate_up, block.down))
    norms = [(norm.weight, norm.eps) for norm in (block.norm1, block.norm2, block.norm3, block.norm4)]

    def step(x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        rows = qkv(rms_norm(x, *norms[0])).view(len(x), heads + 2 * groups, 1, -1)
        r = rows[:, :heads + groups, :, :cos.shape[-1]]
        r.copy_(r * cos + r.roll(r.shape[-1] // 2, -1) * sin)
        k, v = cache.append(rows[:, heads:heads + groups], rows[:, heads + groups:])
        h = attention(rows[:, :heads], k, v, mask, exact=config.exact).reshape(len(x), -1)
        x = x + rms_norm(o(h), *norms[1])
        return x + rms_norm(down(swiglu(gate_up(rms_norm(x, *norms[2])))), *norms[3])

    return step


def choose(scores: Tensor, temperature: float, top_p: float, top_k: int,
           generators: list[torch.Generator] | torch.Generator) -> Tensor:
    """One id per row of scores (B, V): temperature, then top-k (0: all), then top-p, then chance.

    Temperature 0 takes the best. Top-p keeps the smallest set of ids whose probabilities reach p.
    """
    if temperature == 0:
        return scores.argmax(-1)
    scores = scores / temperature
    if 0 < top_k < scores.shape[-1]:
        least = scores.topk(top_k).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if top_p < 1:
        ordered, order = scores.sort(descending=False)
        beneath = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
        beneath[:, -1] = False                                                   # always keep one
        scores = scores.masked_fill(beneath.scatter(1, order, beneath), -torch.inf)
    chances = scores.softmax(-1)
    if isinstance(generators, torch.Generator):
        return torch.multinomial(chances, 1, generator=generators)[:, 0]
    return torch.cat([torch.multinomial(row, 1, generator=g) for row, g in zip(chances, generators)])
