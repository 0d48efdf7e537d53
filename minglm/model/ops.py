"""The operations for which Ascend has fused operators, each next to its reference in plain PyTorch.

Shapes: B batch · N, M tokens · H heads · G key/value heads · R rotated channels · D head width (in rms_norm
and swiglu: the last axis) · E output width.

The tensor's device decides. A fused operator reads and writes memory once, where the reference makes one pass
per line, and is one launch instead of five to ten. Attention needs no branch: PyTorch's operator dispatches
to npu_fusion_attention there, as long as masks are boolean. The calls are checked against the real library's
signatures and run on a simulator, not on a card. Training on a CPU uses ops_cpu.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minglm.device import fused
from minglm.model.ops_cpu import (
    TrainedAttention,
    TrainedLinear,
    TrainedModulation,
    TrainedRMSNorm,
    onednn,
    trained,
)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last axis, with the statistics in float32; x (..., D), weight (D,)."""
    if npu := fused(x):
        return npu.npu_rms_norm(x.to(weight.dtype), weight, epsilon=eps)[0]
    if weight.dtype == torch.float32:
        if trained(x):
            return TrainedRMSNorm.apply(x.float(), weight, eps)
        return F.rms_norm(x.float(), weight.shape, weight, eps)
    # a half-precision weight: round to x's type before the product, as the published code does
    f = x.float()
    f = f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + eps)
    return weight * f.to(x.dtype)


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float = 1e-5) -> Tensor:
    """layer_norm(x) (1 + scale) + shift. x (B, N, D); shift, scale (B, D)."""
    if trained(x) and x.dtype == scale.dtype == torch.float32:
        return TrainedModulation.apply(x, shift, scale, eps)
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale[:, None]) + shift[:, None]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False, exact: bool = False) -> Tensor:
    """x weight^T + bias for x (..., D) and weight (E, D), then, with `gelu`, GELU in its tanh form.

    In single precision on a CPU oneDNN computes it, at our sizes a fifth faster than PyTorch's default, with
    GELU fused. exact: PyTorch's operator, as in the published code, to the last bit, except in training.
    """
    # autocast would have chosen bfloat16, and oneDNN's operator bypasses autocast
    single = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    single = single and torch.backends.mkldnn.is_available()
    if single and trained(x):
        x = TrainedLinear.apply(x, weight, bias)
    elif single and x.is_cpu and not exact:
        return onednn(x, weight, bias, gelu)
    else:
        x = F.linear(x, weight, bias)
    return F.gelu(x, approximate="tanh") if gelu else x


def swiglu(both: Tensor) -> Tensor:
    """silu(gate) * up, (..., D), where both (..., 2 D) holds gate, then up."""
    if npu := fused(both):
        return npu.npu_swiglu(both, dim=-1)
    gate, up = both.chunk(2, -1)
    return up * F.silu(gate)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None,
              causal: bool = False, exact: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(D)) v with a boolean mask (True = attend), (B, H, N, D); grouped-query if G < H.

    q (B, H, N, D); k, v (B, G, M, D) with H a multiple of G; `mask` and `causal` exclude each other.
    exact: PyTorch's operator, as in the published code, to the last bit; for a single query without a mask
    that is slower.
    """
    if trained(q) and q.dtype == torch.bfloat16:
        return TrainedAttention.apply(q, k, v, earlier(q, k) if causal else mask)
    batch, heads, count, width = q.shape
    if count == 1 and heads != k.shape[1] and not causal and not (exact and mask is None):
        # heads of a group share keys and mask, so they can be the queries of one head: keys are not repeated
        grouped = q.reshape(batch, k.shape[1], -1, width)                        # (B, G, H / G, D)
        return F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask).view(q.shape)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal,
                                          enable_gqa=heads != k.shape[1])


def earlier(q: Tensor, k: Tensor) -> Tensor:
    """The causal mask (N, M): query n attends to keys 0 to n."""
    return torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None,
                    causal: bool = False) -> Tensor:
    """`attention`, written out operator by operator."""
    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    if causal:
        mask = earlier(q, k)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)                     # (B, H, N, M)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    return scores.softmax(-1) @ v
