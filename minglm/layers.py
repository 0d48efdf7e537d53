"""The pieces shared by the transformers: RMS norm, rotary embedding, attention, KV cache.

Shapes: B batch · N tokens · H heads · D head width. Rotary tables are real cosines and sines,
never complex numbers, because accelerators such as Ascend have no complex kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class RMSNorm(nn.Module):
    """x / rms(x) * weight, with the statistics in float32 (GLM-4, T5)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype == torch.float32:
            return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)            # the same in one operator
        f = x.float()
        f = f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * f.to(x.dtype)


def frequencies(width: int, theta: float, exact: bool = False) -> Tensor:
    """The `width // 2` rotary frequencies theta^(-2i/width), fastest first.

    exact: to the last bit as published, by the reciprocal. At position 1,000 the last bit of a frequency
    is the fourth digit of an angle, and enough to draw another id.
    """
    share = torch.arange(0, width, 2, dtype=torch.float32) / width
    return 1 / theta ** share if exact else theta ** -share


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first cos.shape[-1] channels of x, pairing channel i with i + half (NeoX order).

    x (B, H, N, D); cos, sin broadcastable to (B, H, N, R) with R <= D. The rest passes through.
    """
    width = cos.shape[-1]
    r, rest = x[..., :width], x[..., width:]
    a, b = r.chunk(2, dim=-1)
    r = (r.float() * cos + torch.cat([-b, a], -1).float() * sin).to(x.dtype)
    return torch.cat([r, rest], -1) if rest.shape[-1] else r


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None,
              causal: bool = False, exact: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(D)) v with a boolean mask (True = may look), grouped heads allowed.

    q (B, H, N, D); k, v (B, G, M, D) with H a multiple of G; `mask` and `causal` exclude each other.
    exact: to the last bit as published, though a lone query then takes longer.
    """
    if q.device.type == "cpu" and q.requires_grad and q.dtype == torch.bfloat16:
        return plain_attention(q, k, v, mask, causal)
    batch, heads, count, width = q.shape
    if count == 1 and heads != k.shape[1] and not exact:  # the heads of a group see the same, so they can be rows of one
        grouped = q.reshape(batch, k.shape[1], -1, width)
        return F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask).view(q.shape)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal,
                                          enable_gqa=q.shape[1] != k.shape[1])


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """function(*inputs), whose inner results are not kept for the backward pass but computed again.

    For cheap functions of wide tensors: less memory for hardly more time.
    """
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return function(*inputs)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None,
                    causal: bool = False) -> Tensor:
    """The same, written out. Training short sequences in bfloat16 on a CPU it is three times
    faster than the fused operator, whose backward pass is slow there."""
    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    if causal:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)                     # (B, H, N, M)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    return scores.softmax(-1) @ v


class KVCache:
    """Keys and values of one attention layer, in buffers allocated once."""

    def __init__(self, batch: int, heads: int, length: int, width: int, like: Tensor):
        self.k = like.new_zeros(batch, heads, length, width)
        self.v = torch.zeros_like(self.k)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v (B, G, N, D) behind what is there; return everything stored so far."""
        end = self.length + k.shape[2]
        if end > self.k.shape[2]:
            raise ValueError(f"KV cache of {self.k.shape[2]} positions cannot hold {end}")
        self.k[:, :, self.length:end], self.v[:, :, self.length:end] = k, v
        self.length = end
        return self.k[:, :, :end], self.v[:, :, :end]
