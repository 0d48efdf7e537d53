"""LoRA (Hu et al., arXiv:2106.09685): thin matrices beside the weights of a model, which stay as they are.

    y = W x + b + strength * alpha / r * B A x        A (r, I), B (O, r): r (I + O) numbers in place of I O

B starts at zero, so a new adapter changes nothing. An adapter is a dictionary: the name of a linear map ->
the LoRALinear that stands in its place. `merge` adds B A into the weights instead, which then cost what they
cost before. Its files are in lora_files.py.

Shapes: I input width · O output width · r rank.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from minglm.model.layers import Linear
from minglm.validate import whole

# of each model's blocks: the linear maps of attention, then those of the feed-forward
TARGETS = dict(Planner=("q", "k", "v", "o", "gate_up", "down"), Decoder=("q", "k", "v", "o", "fc1", "fc2"))


class LoRALinear(nn.Module):
    """A frozen linear map with an adapter beside it. strength: 0 is off, 1 as trained."""

    def __init__(self, base: Linear, rank: int, alpha: float, strength: float = 1.0):
        super().__init__()
        self.base, self.alpha, self.strength = base.requires_grad_(False), alpha, strength
        self.lora_A = Linear(base.in_features, rank, bias=False)
        self.lora_B = Linear(rank, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))  # as the authors' code does
        nn.init.zeros_(self.lora_B.weight)
        self.kept: Tensor | None = None      # the weight of `base`, while B A is merged into it
        self.to(base.weight.device, base.weight.dtype)

    @property
    def rank(self) -> int:
        return self.lora_A.out_features

    @property
    def scale(self) -> float:
        return self.strength * self.alpha / self.rank

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) -> (..., O)."""
        y = self.base(x)
        return y + self.lora_B(self.scale * self.lora_A(x)) if self.strength else y

    def merge(self) -> None:
        """Add the adapter into the weight of `base`, whose own is kept."""
        weight, a, b = (linear.weight.detach() for linear in (self.base, self.lora_A, self.lora_B))
        self.kept = weight
        self.base.weight.data = (weight.float() + self.scale * b.float() @ a.float()).to(weight.dtype)

    def unmerge(self) -> None:
        """Give `base` its own weight back, to the last bit: subtracting would round."""
        self.base.weight.data, self.kept = self.kept, None


Adapter = dict[str, LoRALinear]


def create(model: nn.Module, rank: int, alpha: float | None = None) -> Adapter:
    """Freeze a planner or decoder and put a new adapter on every linear map of its blocks, to be trained.

    alpha: None: twice the rank. Raises ValueError for a rank below 1 or above the width of a map.
    """
    found = linears(model, TARGETS[type(model).__name__])
    rank = whole("LoRA rank", rank, 1, min(min(linear.weight.shape) for linear in found.values()))
    model.requires_grad_(False)
    adapter = {name: LoRALinear(linear, rank, alpha or 2.0 * rank) for name, linear in found.items()}
    attach(model, adapter)
    return adapter


def linears(model: nn.Module, targets: tuple[str, ...]) -> dict[str, nn.Linear]:
    """The linear maps whose names end in one of `targets`, without the adapters that may be on them."""
    named = {name: getattr(module, "base", module) for name, module in model.named_modules()
             if name.rpartition(".")[2] in targets}
    return {name: module for name, module in named.items() if isinstance(module, nn.Linear)}


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def attach(model: nn.Module, adapter: Adapter) -> None:
    """Put an adapter in the place of the linear maps that it was made for."""
    for name, layer in adapter.items():
        put(model, name, layer)


def detach(model: nn.Module, adapter: Adapter) -> None:
    """Take an adapter off, merged or not: the model is what it was before."""
    unmerge(model, adapter)
    for name, layer in adapter.items():
        put(model, name, layer.base)


def merge(model: nn.Module, adapter: Adapter) -> None:
    """Add an adapter into the weights: the model has ordinary linear maps again, and their speed."""
    for name, layer in adapter.items():
        if layer.kept is None:
            layer.merge()
            put(model, name, layer.base)


def unmerge(model: nn.Module, adapter: Adapter) -> None:
    """Undo `merge`."""
    for name, layer in adapter.items():
        if layer.kept is not None:
            layer.unmerge()
            put(model, name, layer)


def switch(adapter: Adapter, strength: float) -> None:
    """How much an adapter does while it is not merged: 0 switches it off, 1 is as trained."""
    for layer in adapter.values():
        layer.strength = strength
