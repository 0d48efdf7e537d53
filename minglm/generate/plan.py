"""Sampling the ids of a picture from the planner, one by one.

Shapes: B batch · N padded prompts · M whole sequence · D width · H heads · G key/value heads · E head width ·
R rotated channels · V ids.

`plain_stepper` calls the planner for one new token at a time. `stepper` computes the same with fewer
operators, since for so little work the overhead per operator dominates: q, k and v are one product, heads are
rows from the start, the rotation is in place, and nothing is saved for a backward pass. The tests compare the
two. The price is a copy of the q, k and v weights during sampling: 1.5 GB in half precision, of the released
planner's 18. On a CPU small planners are copied whole, into a layout that is read faster.

With `config.exact` no weight is copied: how the sums of a product are split, and so how they round, depends
on the layout of the matrix, its number of rows, and the number of threads, so all three stay as published.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minglm.config import PlannerConfig
from minglm.device import one_thread
from minglm.generate.prefill import prefill
from minglm.model import flow
from minglm.model.layers import KVCache
from minglm.model.ops import attention, rms_norm, swiglu
from minglm.model.ops_cpu import onednn
from minglm.model.planner import Planner, PlannerBlock
from minglm.model.prompt import Grid
from minglm.model.rotary import rotate_, signed

Generators = list[torch.Generator] | torch.Generator
Step = Callable[..., Tensor]


@torch.no_grad()
def sample_ids(planner: Planner, prompts: list[list[int]], grids: list[Grid], generators: Generators,
               temperature: float = 0.9, top_p: float = 0.75, top_k: int = 0,
               parts: list[list[int | Grid]] | None = None,
               progress: Callable[[int, int], None] | None = None, guidance: float = 1.0,
               likelihood: Tensor | None = None, kept: Tensor | None = None) -> list[Tensor]:
    """Sample the ids of each grid in turn, for a batch of prompts.

    prompts: ids of any lengths, each ending with boi. grids: shapes, preview first. generators: one on the
    CPU per prompt, so that a picture does not depend on its batch; or one for all, as in the published code.
    parts: as for `positions`, where a prompt holds source images. progress(done, all) is called per token.
    guidance: classifier-free guidance of the logits, as in Parti (arXiv 2206.10789); the published code has
    none. Unless it is 1, prompts (and parts) have a second half: what the unconditional branch reads.
    likelihood: (B,), to which the log-probability of each grid, given its prompt, is added. kept (B, h w):
    the ids of the last grid that are not sampled but given; -1: sampled.
    Returns one (B, rows, columns) int64 tensor per grid, on the CPU.
    """
    config, device, batch = planner.config, planner.embed.weight.device, len(prompts)
    total = sum(h * w for h, w in grids)
    features, place, mask, cache, old = prefill(planner, prompts, grids, parts, total)
    longest = place.shape[2] - total
    pictures = batch if guidance == 1 else batch // 2
    drawn = torch.empty(pictures, total, dtype=torch.long, device="cpu")
    make = stepper if all(isinstance(each, nn.Linear) for each in linears(planner)) else plain_stepper
    step, head = make(planner, place, mask, cache)
    # decode: sample an id from the logits, then feed it back for the next features
    with one_thread(small(planner) and not config.exact), torch.inference_mode():
        for i in range(total):
            logits = head(features)
            if old is not None:
                logits = planner.copying.voted(logits, features, old[:, i])
            logits = logits[:, :config.codebook].float().cpu()           # only codes are legal in a grid
            told = logits[:pictures]
            if guidance != 1:
                logits = flow.guide(*logits.chunk(2), guidance)
            if isinstance(generators, torch.Generator):
                # multinomial draws as many random numbers as there are columns: keep the published number
                logits = F.pad(logits, (0, config.vision_vocab - config.codebook), value=-torch.inf)
            drawn[:, i] = choose(logits, temperature, top_p, top_k, generators)
            if kept is not None and (cell := i - total + kept.shape[1]) >= 0:
                drawn[:, i] = torch.where(kept[:, cell] >= 0, kept[:, cell], drawn[:, i])
            if likelihood is not None:
                likelihood += told.log_softmax(-1).gather(1, drawn[:, i:i + 1])[:, 0]
            if progress:
                progress(i + 1, total)
            if i + 1 < total:  # the last id is not fed back: nothing follows it
                features = step(drawn[:, i].repeat(batch // pictures).to(device), longest + i,
                                None if old is None else old[:, i + 1])
    split = drawn.split([h * w for h, w in grids], 1)
    return [ids.view(pictures, h, w) for ids, (h, w) in zip(split, grids)]


def plain_stepper(planner: Planner, place: Tensor, mask: Tensor | None, cache: list[KVCache]
                  ) -> tuple[Step, Callable[[Tensor], Tensor]]:
    """Two functions: one new id per row (B,), its index in the sequence, and the ids (B,) that may be copied
    next -> its features (B, D); features -> logits. place (B, 3, M) and mask (B, 1, 1, M) are those of the
    whole sequence."""
    def step(ids: Tensor, at: int, old: Tensor | None = None) -> Tensor:
        seen = None if mask is None else mask[..., :at + 1]
        old = None if old is None else old[:, None]
        return planner(ids[:, None], place[:, :, at:at + 1], seen, cache, old)[:, 0]

    return step, planner.head


# ---------------------------------------------------------------- the fast one


def linears(planner: Planner) -> list[nn.Module]:
    """The linear maps of the blocks, as modules: adapters may have replaced them."""
    return [getattr(block, name) for block in planner.blocks
            for name in ("q", "k", "v", "o", "gate_up", "down")]


def small(planner: Planner) -> bool:
    """Whether one CPU core samples faster than several, which would have to be woken for every operator."""
    return planner.embed.weight.is_cpu and sum(p.numel() for p in planner.blocks[0].parameters()) < 2 ** 22


def light(planner: Planner) -> bool:
    """Whether a second copy of its matrices during sampling is affordable on a CPU: up to a gigabyte."""
    return planner.embed.weight.is_cpu and sum(p.nbytes for p in planner.blocks.parameters()) < 2 ** 30


def product(weight: Tensor, bias: Tensor | None, rows: int, anew: bool) -> Callable[[Tensor], Tensor]:
    """A function x (rows, D) -> x weight^T + bias, called once for every id to sample.

    anew: copy the matrix into a layout that is read faster: transposed for one row, packed by oneDNN for
    several. Both add up in another order than F.linear does with the weight as it is.
    """
    if anew and rows > 1 and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        return lambda x: onednn(x, packed, bias)
    laid = weight.t().contiguous().t() if anew else weight
    return lambda x: F.linear(x, laid, bias)


def stepper(planner: Planner, place: Tensor, mask: Tensor | None, cache: list[KVCache]
            ) -> tuple[Step, Callable[[Tensor], Tensor]]:
    """As `plain_stepper`, for planners whose linear maps are all nn.Linear (parametrized ones included)."""
    cos, sin = planner.rotary(place)                                             # (B, 1, M, R)
    sin = signed(sin)
    made = partial(product, rows=len(place), anew=light(planner) and not planner.config.exact)
    steps = [block_stepper(block, planner.config, kept, made) for block, kept in zip(planner.blocks, cache)]

    def step(ids: Tensor, at: int, old: Tensor | None = None) -> Tensor:
        x, turn = planner.embedded(ids, old), (cos[:, :, at:at + 1], sin[:, :, at:at + 1])
        seen = None if mask is None else mask[..., :at + 1]
        for block in steps:
            x = block(x, *turn, seen)
        return planner.norm(x)

    return step, made(planner.head.weight, None)


def block_stepper(block: PlannerBlock, config: PlannerConfig, cache: KVCache,
                  made: Callable) -> Callable[..., Tensor]:
    """One block as a function of x (B, D), cosines and signed sines (B, 1, 1, R), and a mask or None."""
    three, heads, groups = (block.q, block.k, block.v), config.heads, config.kv_heads
    if config.exact:
        # rows of a joint matrix may be summed differently
        each = [made(f.weight, f.bias) for f in three]

        def qkv(x: Tensor) -> Tensor:
            return torch.cat([f(x) for f in each], -1)
    else:
        qkv = made(torch.cat([f.weight for f in three]), torch.cat([f.bias for f in three]))
    o, gate_up, down = (made(f.weight, None) for f in (block.o, block.gate_up, block.down))
    norms = [(norm.weight, norm.eps) for norm in (block.norm1, block.norm2, block.norm3, block.norm4)]

    def step(x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        # queries, keys and values of all heads as rows of one tensor: (B, H + 2 G, 1, E)
        rows = qkv(rms_norm(x, *norms[0])).view(len(x), heads + 2 * groups, 1, -1)
        rotate_(rows[:, :heads + groups], cos, sin)                              # values are not rotated
        k, v = cache.append(rows[:, heads:heads + groups], rows[:, heads + groups:])
        h = attention(rows[:, :heads], k, v, mask, exact=config.exact).reshape(len(x), -1)
        x = x + rms_norm(o(h), *norms[1])
        return x + rms_norm(down(swiglu(gate_up(rms_norm(x, *norms[2])))), *norms[3])

    return step


def outside(logits: Tensor, top_p: float) -> Tensor:
    """Which ids top-p drops, of logits (..., V): all but the fewest whose probabilities sum to p."""
    # from the least probable up: ids are dropped as long as the dropped ones sum to at most 1 - p
    ordered, order = logits.sort(descending=False)
    beneath = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
    beneath[..., -1] = False                                                     # always keep one
    return beneath.scatter(-1, order, beneath)


def choose(logits: Tensor, temperature: float, top_p: float, top_k: int,
           generators: Generators) -> Tensor:
    """One id per row of logits (B, V), (B,): temperature, then top-k (0: all), then top-p, then sampling.

    Temperature 0 takes the most probable id.
    """
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        logits = logits.masked_fill(outside(logits, top_p), -torch.inf)
    probabilities = logits.softmax(-1)
    if isinstance(generators, torch.Generator):
        return torch.multinomial(probabilities, 1, generator=generators)[:, 0]
    return torch.cat([torch.multinomial(row, 1, generator=g) for row, g in zip(probabilities, generators)])
