"""Pieces of the transformers: RMS norm, linear maps, the neighbours of ids, KV cache.

Shapes: B batch · N new tokens · M tokens so far · G key/value heads · D width, of a head in the cache ·
h, w id grid.

Attention is in ops.py, the rotation in rotary.py.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minglm.model.ops import linear, rms_norm


class RMSNorm(nn.Module):
    """x / rms(x) * weight, with the statistics in float32 (GLM-4, T5)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Linear(nn.Linear):
    """nn.Linear, computed by ops.linear."""

    def __init__(self, inner: int, outer: int, bias: bool = True, exact: bool = False):
        super().__init__(inner, outer, bias)
        self.exact = exact

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        return linear(x, self.weight, self.bias, gelu, self.exact)


class Neighbours(nn.Module):
    """Adds to what each id says a linear map of what the 3x3 ids around it say: (B, h, w, D) to the same.

    Most codes of the tokenizer are shared by several objects, but four that are next to each other seldom
    are. Attention could learn that, too, but rotary positions so few columns apart hardly differ.
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv.weight)     # so that a decoder that gets it later goes on as before

    def forward(self, x: Tensor) -> Tensor:
        return x + rearrange(self.conv(rearrange(x, "b h w d -> b d h w")), "b d h w -> b h w d")


def round_up(length: int, multiple: int = 16) -> int:
    """`length` as a multiple, by padding. A CPU compiles its operators anew for every shape, which takes an
    eighth of the time of training, and gigabytes, where each batch has a length of its own."""
    return -(-length // multiple) * multiple


def side_by_side(x: Tensor, *linears: nn.Linear) -> tuple[Tensor, ...]:
    """Several linear maps of one x; in training as one product, which reads, casts and differentiates x once.

    Without gradients each matrix is used in place, and so are large ones, whose concatenation the backward
    pass would keep. A module that is no nn.Linear, such as an adapter around one, is called as it is.
    """
    plain = all(isinstance(each, nn.Linear) for each in linears)
    if not plain or not torch.is_grad_enabled() or linears[0].weight.numel() > 2 ** 20:
        return tuple(each(x) for each in linears)
    # one product of x with all weights, stacked along their outputs, then split again
    bias = None if linears[0].bias is None else torch.cat([each.bias for each in linears])
    weight = torch.cat([each.weight for each in linears])
    return linear(x, weight, bias).split([each.out_features for each in linears], -1)


def linear_gelu(linear: nn.Module, x: Tensor) -> Tensor:
    """GELU, in its tanh form, of a linear map; one operator where there is one. As above, a module that is no
    linear map of ours is called as it is."""
    return linear(x, gelu=True) if isinstance(linear, Linear) else F.gelu(linear(x), approximate="tanh")


def recompute(block: nn.Module) -> None:
    """Activation checkpointing: `block` runs again in the backward pass, trading time for memory."""
    block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


class KVCache:
    """Keys and values of one attention layer, in buffers allocated once."""

    def __init__(self, batch: int, heads: int, length: int, width: int, like: Tensor):
        self.k = like.new_zeros(batch, heads, length, width)
        self.v = torch.zeros_like(self.k)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k, v (B, G, N, D); return everything stored so far, (B, G, M, D)."""
        end = self.length + k.shape[2]
        if end > self.k.shape[2]:
            raise ValueError(f"KV cache of {self.k.shape[2]} positions cannot hold {end}")
        self.k[:, :, self.length:end], self.v[:, :, self.length:end] = k, v
        self.length = end
        return self.k[:, :, :end], self.v[:, :, :end]                            # views: nothing is copied
