"""The arithmetic for which Ascend has fused operators, each beside its reference in plain PyTorch.

Shapes: B batch · N, M tokens · H heads · G key/value heads · D head width, or of rms_norm and swiglu
the last axis. The tensor's device chooses. A fused operator reads and writes memory once where the
reference makes a pass for every line, and is one launch instead of five to ten. Attention needs no
name of its own: PyTorch's operator reaches npu_fusion_attention there, as long as masks are boolean.
The calls are checked against the real library's signatures and run on a simulator; not run on a card.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minglm.device import fused


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last axis, with the statistics in float32; x (..., D), weight (D,)."""
    if npu := fused(x):
        return npu.npu_rms_norm(x.to(weight.dtype), weight, epsilon=eps)[0]
    if weight.dtype == torch.float32:
        if x.is_cpu and torch.is_grad_enabled():
            return TrainedRMSNorm.apply(x.float(), weight, eps)
        return F.rms_norm(x.float(), weight.shape, weight, eps)
    f = x.float()
    f = f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + eps)
    return weight * f.to(x.dtype)


class TrainedRMSNorm(torch.autograd.Function):
    """RMS norm with its gradient worked out by hand. On a CPU PyTorch puts it together from small operators
    and differentiates each; this takes half the time, and there are four of them in a block."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        r = size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()                  # 1 / rms(x), (..., 1)
        ctx.save_for_backward(x, weight, r)
        return (x * r).mul_(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable             # r is taken as constant: a second time would be wrong
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """d x = r (g w - x r^2 mean(g w x)), d weight = sum of g x r, for a gradient g of the result."""
        x, weight, r = ctx.saved_tensors
        along = (x * r).mul_(grad).reshape(-1, x.shape[-1])
        share = (along @ weight).view(r.shape).mul_(r).mul_(r).div_(-x.shape[-1])
        return (grad * weight).mul_(r).addcmul_(x, share), along.sum(0), None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first cos.shape[-1] channels of x, pairing channel i with i + half (NeoX order).

    x (B, H, N, D); cos, sin broadcastable to (B, H, N, R) with R <= D. The rest passes through.
    """
    width = cos.shape[-1]
    r, rest = x[..., :width], x[..., width:]
    if npu := fused(x):
        r = npu.npu_rotary_mul(r.float(), cos, sin, rotary_mode="half").to(x.dtype)
    else:
        a, b = r.chunk(2, dim=-1)
        r = (r.float() * cos + torch.cat([-b, a], -1).float() * sin).to(x.dtype)
    return torch.cat([r, rest], -1) if rest.shape[-1] else r


def swiglu(both: Tensor) -> Tensor:
    """silu(gate) * up, where both (..., 2 D) holds gate, then up."""
    if npu := fused(both):
        return npu.npu_swiglu(both, dim=-1)
    gate, up = both.chunk(2, -1)
    return up * F.silu(gate)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None,
              causal: bool = False, exact: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(D)) v with a boolean mask (True = may look), grouped heads allowed.

    q (B, H, N, D); k, v (B, G, M, D) with H a multiple of G; `mask` and `causal` exclude each other.
    exact: to the last bit as published, though a lone query then takes longer.
    """
    if q.is_cpu and q.requires_grad and q.dtype == torch.bfloat16:
        return plain_attention(q, k, v, mask, causal)
    batch, heads, count, width = q.shape
    if count == 1 and heads != k.shape[1] and not (causal or exact):  # heads of a group see the same: they can be rows of one
        grouped = q.reshape(batch, k.shape[1], -1, width)
        return F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask).view(q.shape)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=heads != k.shape[1])


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
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
