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

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minglm.ascend.fake_card import fake_card
from minglm.ascend.steps import COPIES, LOSSES
from minglm.config import Config
from minglm.measure.cost import BYTES, GLYPHS, PROMPT, Card
from minglm.model import layers, weights
from minglm.training.optimisers import EMA, optimisers
from minglm.training.recipe import Recipe, Stage

RESERVED = 4e9                               # bytes of a card for its runtime and collectives: assumed


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
    copies: int = 0                          # of the parameters in bfloat16, frozen and whole on every card


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
    """One complete training step of a stage of planner or decoder, on any device, fake or not.

    The model computes in `dtype`; master weights, gradients, AdamW and EMA are float32. Ids, latents and
    glyph features are inputs. checkpointing: every block saves only its inputs and is computed twice.
    """
    part, default = stage.split("-")[-1], torch.get_default_dtype()
    torch.set_default_dtype(dtype)                           # since `.to` cannot change fake parameters
    try:
        with device:
            model = weights.PARTS[part](getattr(config, part))
    finally:
        torch.set_default_dtype(default)
    masters = nn.ParameterList(p.detach().to(torch.float32, copy=True) for p in model.parameters())
    recipe = Recipe(steps=1, batch=batch)
    made = optimisers(Stage(stage, masters, dict, lambda b: (b, {}), recipe))
    average, kept, marks = EMA(masters, recipe.ema), Kept(model), []
    loss = LOSSES[stage](config, height, width, batch, device, dtype)
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
    for optimiser in made:
        optimiser.step()
    average.update(0)
    with torch.no_grad():
        torch._foreach_copy_(list(model.parameters()), list(masters))
    moments = [value for o in made for state in o.state.values() for value in state.values()
               if value.ndim]
    return Memory({name: p.shape for name, p in model.named_parameters()}, total(masters),
                  total(m.grad for m in masters), total(moments), total(average.mean), kept.bytes,
                  marks[-1] - marks[-2], COPIES.get(stage, 0) * total(masters) * BYTES // 4)


def total(tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)


# ---------------------------------------------------------------- over several cards


def per_card(memory: Memory, cards: int) -> tuple[float, float]:
    """Bytes on each of `cards` under FSDP2: (its shard of the states, what it gathers temporarily).

    Master weights, gradients, moments and EMA are sharded along the first axis, rounded up. Gathered in
    bfloat16: weights and gradients outside the blocks and of one block, and the weights of the next. Frozen
    copies are whole on every card.
    """
    share = sum(-(-shape[0] // cards) * (shape.numel() // shape[0]) for shape in memory.shapes.values())
    states = (memory.parameters + memory.gradients + memory.optimiser + memory.average) / parameters(memory)
    block = parameters(memory, "blocks.0.")
    outside = parameters(memory) - parameters(memory, "blocks.")
    return share * states + memory.copies, BYTES * (2 * outside + 3 * block)


def parameters(memory: Memory, within: str = "") -> int:
    """The number of parameters whose names start with `within`."""
    return sum(shape.numel() for name, shape in memory.shapes.items() if name.startswith(within))


def table(config: Config, height: int, width: int, card: Card, batch: int = 1,
          cards: tuple[int, ...] = (1, 8, 64)) -> str:
    """The memory of a training step of each stage of planner and decoder on several cards, as text with
    assumptions.

    Raises ValueError for a size that is not a multiple of 32.
    """
    if height % config.cell or width % config.cell or min(height, width) < config.cell:
        raise ValueError(f"size {height}x{width}: height and width must be multiples of {config.cell}")
    columns = ("states", "gathered", "activations", "all")
    lines = [f"{config.name}, one training step, {batch} picture{'s' * (batch > 1)} of {height}x{width} on "
             "each card: GB per card, read off fake tensors; no card was asked",
             f"assumed: FSDP2 computing in bfloat16; float32 masters, gradients, AdamW moments and EMA, "
             f"split over all cards; frozen copies of rewarded stages whole on each; {PROMPT} prompt ids,",
             f"{GLYPHS} bytes of quoted text; ids, latents and glyph features made beforehand; "
             f"{RESERVED / 1e9:.0f} of {card.name}'s {card.memory / 1e9:.0f} GB for runtime and collectives",
             "",
             f"{'stage':<13}{'parameters':>16}{'checkpointing':>15}{'cards':>7}"
             + "".join(f"{c:>13}" for c in columns) + "  fits"]
    for stage in LOSSES:
        with fake_card() as device:
            plain, checkpointed = (step(stage, config, height, width, batch, device, checkpointing=c)
                                   for c in (False, True))
        for memory, checkpointing in ((plain, False), (checkpointed, True)):
            kept = memory.kept + (plain.block if checkpointing else 0)           # a block is computed again
            for count in cards:
                numbers = [*per_card(memory, count), kept]
                lines.append(f"{stage:<13}{parameters(memory):>16,}"
                             f"{'every block' if checkpointing else 'off':>15}{count:>7}"
                             + "".join(f"{n / 1e9:>13,.4g}" for n in (*numbers, sum(numbers)))
                             + ("  yes" if sum(numbers) <= card.memory - RESERVED else "  no"))
    return "\n".join(lines)
