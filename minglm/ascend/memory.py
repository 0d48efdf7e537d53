"""The memory of one training step at full size on an Ascend card, without the card.

Fake tensors have a shape, a dtype and a device, but no memory: with them a step of the 9B planner or of the
7B decoder takes seconds on a laptop. Every operator still checks its shapes, and mixing host and card tensors
raises PyTorch's own error. Memory is measured, not guessed: parameters, gradients and optimiser state from
the tensors, activations from what autograd saves for the backward pass.

    minglm cost --train --card ascend-910b

Nothing is computed, so this says nothing about time, and no card has confirmed it. Not counted: temporary
buffers inside an operator or between two of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

from minglm.config import Config
from minglm.measure.cost import BYTES, GLYPHS, PROMPT, Card
from minglm.model import flow, layers, ops, weights
from minglm.model.prompt import preview_grid
from minglm.training import optimisers, recipe

CARD = "npu"
RESERVED = 4e9                               # bytes of a card for its runtime and collectives: assumed


# ---------------------------------------------------------------- a card for fake tensors


class Kernel(torch.autograd.Function):
    """A fused operator as autograd sees it: the shape it returns (None: that of its first input, strides
    included), and the tensors saved for its backward pass."""

    @staticmethod
    def forward(ctx, shape, statistics, with_output: bool, *inputs):
        out = torch.empty_like(inputs[0]) if shape is None else inputs[0].new_empty(shape)
        extra = inputs[0].new_empty(statistics, dtype=torch.float32)
        ctx.save_for_backward(*inputs, extra, *[out][:with_output])
        return out

    @staticmethod
    def backward(ctx, grad):
        needed = ctx.needs_input_grad[3:]
        return None, None, None, *(torch.empty_like(x) if need else None
                                   for x, need in zip(ctx.saved_tensors, needed))


def swiglu(both: Tensor, dim: int) -> Tensor:
    return Kernel.apply((*both.shape[:-1], both.shape[-1] // 2), 0, False, both)


def attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, fused: bool = True,
              **options) -> Tensor:
    """One operator that saves float32 statistics per query: 2 x 8 in npu_fusion_attention; one number in
    PyTorch's for a CPU, whose result has the strides of q."""
    masks = [] if attn_mask is None else [attn_mask]
    shape, statistics = ((*q.shape[:-1], v.shape[-1]), 16) if fused else (None, 1)
    return Kernel.apply(shape, (*q.shape[:-1], statistics), True, q, k, v, *masks)


def tensor(*args, make=torch.tensor, device=None, **options) -> Tensor:
    """torch.tensor on the host, then moved: directly it would allocate memory of the card."""
    return make(*args, **options).to(device)


# What these save is taken from the arguments of the backward operators of torch_npu 2.13.
TORCH_NPU = SimpleNamespace(
    npu_rms_norm=lambda x, weight, epsilon: (
        Kernel.apply(x.shape, (*x.shape[:-1], 1), False, x, weight), None),
    npu_rotary_mul=lambda x, cos, sin, rotary_mode: Kernel.apply(x.shape, 0, False, x, cos, sin),
    npu_swiglu=swiglu)


@contextmanager
def fake_card(fused: bool = True) -> Iterator[torch.device]:
    """A device on which tensors are fake; fused: with torch_npu's operators, else with PyTorch's for a CPU.

    If no backend is called npu yet, one is registered for the rest of the process: use a process of its own.
    """
    if not hasattr(torch, CARD):
        module = backend_registration._DummyBackendModule()
        module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]  # checkpointing asks for it
        backend_registration._setup_privateuseone_for_python_backend(CARD, backend_module=module)
    with ExitStack() as stack:
        if fused and "torch_npu" not in sys.modules:
            sys.modules["torch_npu"] = TORCH_NPU
            stack.callback(sys.modules.pop, "torch_npu")
        stack.enter_context(patch.object(F, "scaled_dot_product_attention", partial(attention, fused=fused)))
        if not fused:
            stack.enter_context(patch.object(ops, "trained", lambda x: torch.is_grad_enabled()))
        stack.enter_context(patch.object(torch, "tensor", tensor))
        stack.enter_context(FakeTensorMode())
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))    # modes are local to a thread
        yield torch.device(CARD)


# ---------------------------------------------------------------- the step


@dataclass(frozen=True)
class Memory:
    """The memory of one training step in bytes, before it is sharded over cards."""

    shapes: dict[str, torch.Size]            # of the parameters
    parameters: int                          # float32 master weights
    gradients: int                           # float32
    optimiser: int                           # AdamW's two moments
    average: int                             # EMA
    kept: int                                # activations saved for the backward pass
    block: int                               # those of the last block


class Kept:
    """Counts the bytes that autograd saves, each storage once, without parameters."""

    def __init__(self, model: nn.Module):
        self.bytes = 0
        self.seen = {s._cdata: s for s in (p.untyped_storage() for p in model.parameters())}

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen:
            self.seen[storage._cdata] = storage                             # kept alive: no address is reused
            self.bytes += storage.nbytes()
        return tensor


def step(stage: str, config: Config, height: int, width: int, batch: int, device: torch.device,
         dtype: torch.dtype = torch.bfloat16, checkpointing: bool = False) -> Memory:
    """One complete training step of planner or decoder, on any device, fake or not.

    The model computes in `dtype`; master weights, gradients, AdamW and EMA are float32. Ids, latents and
    glyph features are inputs. checkpointing: every block saves only its inputs and is computed twice.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)                           # since `.to` cannot change fake parameters
    try:
        with device:
            model = weights.PARTS[stage](getattr(config, stage))
    finally:
        torch.set_default_dtype(default)
    masters = nn.ParameterList(p.detach().to(torch.float32, copy=True) for p in model.parameters())
    recipe = recipe.Recipe(steps=1, batch=batch)
    optimisers = optimisers.optimisers(recipe.Stage(stage, masters, dict, lambda b: (b, {}), recipe))
    average, kept, marks = optimisers.EMA(masters, recipe.ema), Kept(model), []
    loss = dict(planner=planner_loss, decoder=decoder_loss)[stage](
        config, height, width, batch, device, dtype)
    # bytes saved before and after the last block
    for hook in (model.blocks[-1].register_forward_pre_hook, model.blocks[-1].register_forward_hook):
        hook(lambda *_: marks.append(kept.bytes))
    if checkpointing:
        for block in model.blocks:
            layers.recompute(block)
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        value = loss(model)
    value.backward()
    for master, p in zip(masters, model.parameters()):
        master.grad = p.grad.float()
    nn.utils.clip_grad_norm_(masters.parameters(), recipe.clip)
    for optimiser in optimisers:
        optimiser.step()
    average.update(0)
    with torch.no_grad():
        torch._foreach_copy_(list(model.parameters()), list(masters))
    moments = [value for o in optimisers for state in o.state.values() for value in state.values()
               if value.ndim]
    return Memory({name: p.shape for name, p in model.named_parameters()}, total(masters),
                  total(m.grad for m in masters), total(moments), total(average.mean), kept.bytes,
                  marks[1] - marks[0])


def total(tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def planner_loss(config: Config, height: int, width: int, batch: int, device: torch.device, _) -> Callable:
    """The planner's loss of preview and large grid after a typical prompt."""
    rows, columns = height // config.cell, width // config.cell
    preview, large = (torch.zeros(batch, *grid, dtype=torch.long, device=device)
                      for grid in (preview_grid(rows, columns, config.planner.preview_tokens),
                                   (rows, columns)))
    prompts = [[0] * (PROMPT - 1) + [config.planner.boi]] * batch
    return lambda model: model.loss(prompts, preview, large)[0]


def decoder_loss(config: Config, height: int, width: int, batch: int, device: torch.device,
                 dtype: torch.dtype) -> Callable:
    """The decoder's flow-matching loss, given ids and quoted text, without auxiliary losses."""
    scale = config.vae.scale
    latents = torch.zeros(batch, config.vae.channels, height // scale, width // scale, device=device)
    ids = torch.zeros(batch, height // config.cell, width // config.cell, dtype=torch.long, device=device)
    glyphs = torch.zeros(batch, GLYPHS, config.glyph.width, device=device, dtype=dtype)
    mask = torch.ones(batch, GLYPHS, dtype=torch.bool, device=device)
    noise, u = torch.ones_like(latents), torch.full((batch,), 0.5, device=device)

    def loss(model: nn.Module) -> Tensor:
        mixed = flow.mix(latents, noise, flow.shift(u, 4 * ids[0].numel(), config.flow)).to(dtype)
        return flow.loss(model(mixed, 1000 * u - 1, ids, glyphs, mask), latents, noise,
                         torch.ones_like(latents[:, :1]))
    return loss


# ---------------------------------------------------------------- over several cards


def per_card(memory: Memory, cards: int) -> tuple[float, float]:
    """Bytes on each of `cards` under FSDP2: (its shard of the states, what it gathers temporarily).

    Master weights, gradients, moments and EMA are sharded along the first axis, rounded up. Gathered in
    bfloat16: weights and gradients outside the blocks and of one block, and the weights of the next.
    """
    share = sum(-(-shape[0] // cards) * (shape.numel() // shape[0]) for shape in memory.shapes.values())
    states = (memory.parameters + memory.gradients + memory.optimiser + memory.average) / parameters(memory)
    block = parameters(memory, "blocks.0.")
    outside = parameters(memory) - parameters(memory, "blocks.")
    return share * states, BYTES * (2 * outside + 3 * block)


def parameters(memory: Memory, within: str = "") -> int:
    """The number of parameters whose names start with `within`."""
    return sum(shape.numel() for name, shape in memory.shapes.items() if name.startswith(within))


def table(config: Config, height: int, width: int, card: Card, batch: int = 1,
          cards: tuple[int, ...] = (1, 8, 64)) -> str:
    """The memory of a training step of planner and decoder on several cards, as text with assumptions.

    Raises ValueError for a size that is not a multiple of 32.
    """
    if height % config.cell or width % config.cell or min(height, width) < config.cell:
        raise ValueError(f"size {height}x{width}: height and width must be multiples of {config.cell}")
    columns = ("states", "gathered", "activations", "all")
    lines = [f"{config.name}, one training step, {batch} picture{'s' * (batch > 1)} of {height}x{width} on "
             "each card: GB per card, read off fake tensors; no card was asked",
             f"assumed: FSDP2 computing in bfloat16; float32 masters, gradients, AdamW moments and EMA, "
             f"split over all cards; {PROMPT} prompt ids,",
             f"{GLYPHS} bytes of quoted text; ids, latents and glyph features made beforehand; "
             f"{RESERVED / 1e9:.0f} of {card.name}'s {card.memory / 1e9:.0f} GB for runtime and collectives",
             "",
             f"{'stage':<9}{'parameters':>16}{'checkpointing':>15}{'cards':>7}"
             + "".join(f"{c:>13}" for c in columns) + "  fits"]
    for stage in ("planner", "decoder"):
        with fake_card() as device:
            plain, checkpointed = (step(stage, config, height, width, batch, device, checkpointing=c)
                                   for c in (False, True))
        for memory, checkpointing in ((plain, False), (checkpointed, True)):
            kept = memory.kept + (plain.block if checkpointing else 0)           # a block is computed again
            for count in cards:
                numbers = [*per_card(memory, count), kept]
                lines.append(f"{stage:<9}{parameters(memory):>16,}"
                             f"{'every block' if checkpointing else 'off':>15}{count:>7}"
                             + "".join(f"{n / 1e9:>13,.4g}" for n in (*numbers, sum(numbers)))
                             + ("  yes" if sum(numbers) <= card.memory - RESERVED else "  no"))
    return "\n".join(lines)
