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


def trained(x: Tensor) -> bool:
    """Whether to take the operators below whose gradients are worked out by hand: in training on a CPU, where PyTorch
    puts these things together from small operators and differentiates each."""
    return x.is_cpu and torch.is_grad_enabled()


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last axis, with the statistics in float32; x (..., D), weight (D,)."""
    if npu := fused(x):
        return npu.npu_rms_norm(x.to(weight.dtype), weight, epsilon=eps)[0]
    if weight.dtype == torch.float32:
        if trained(x):
            return TrainedRMSNorm.apply(x.float(), weight, eps)
        return F.rms_norm(x.float(), weight.shape, weight, eps)
    f = x.float()
    f = f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + eps)
    return weight * f.to(x.dtype)


class TrainedRMSNorm(torch.autograd.Function):
    """RMS norm in half the time, and there are four of them in a block of the planner."""

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


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False, exact: bool = False) -> Tensor:
    """x weight^T + bias for x (..., D) and weight (E, D); gelu: behind it GELU in its tanh form.

    In single precision on a CPU by oneDNN, which at our sizes is a fifth faster than what PyTorch takes, and does GELU
    in passing. exact: to the last bit as published, at least where nothing is trained.
    """
    single = x.is_cpu and x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not single or not torch.backends.mkldnn.is_available() or (exact and not trained(x)):
        x = F.linear(x, weight, bias)
    elif trained(x):
        x = TrainedLinear.apply(x, weight, bias)
    else:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu" if gelu else "none", [], "tanh")
    return F.gelu(x, approximate="tanh") if gelu else x


class TrainedLinear(torch.autograd.Function):
    """oneDNN's product and its gradient; PyTorch has none for it. The weight's is left to PyTorch, which is faster there."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted, back = ctx.needs_input_grad, None
        if wanted[0]:
            back = torch.ops.mkldnn._linear_pointwise(grad, weight.t(), None, "none", [], "")
        grad = grad.flatten(0, -2)
        return back, grad.t() @ x.flatten(0, -2) if wanted[1] else None, grad.sum(0) if wanted[2] else None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first cos.shape[-1] channels of x, pairing channel i with i + half (NeoX order).

    x (B, H, N, D); cos, sin broadcastable to (B, H, N, R) with R <= D. The rest passes through.
    """
    width = cos.shape[-1]
    r, rest = x[..., :width], x[..., width:]
    if npu := fused(x):
        r = npu.npu_rotary_mul(r.float(), cos, sin, rotary_mode="half").to(x.dtype)
    elif trained(x):
        r = TrainedRotation.apply(r, cos, sin)
    else:
        a, b = r.chunk(2, dim=-1)
        r = (r.float() * cos + torch.cat([-b, a], -1).float() * sin).to(x.dtype)
    return torch.cat([r, rest], -1) if rest.shape[-1] else r


class TrainedRotation(torch.autograd.Function):
    """The rotation in half the passes over memory; its gradient is the rotation back."""

    @staticmethod
    def forward(ctx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return TrainedRotation.turn(x, cos, sin)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return TrainedRotation.turn(grad, cos, -sin.roll(sin.shape[-1] // 2, -1)), None, None

    @staticmethod
    def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        out = torch.empty_like(x, dtype=torch.float32)
        (a, b), (first, second), (c, d), (s, t) = (z.chunk(2, -1) for z in (x.float(), out, cos, sin))
        torch.mul(a, c, out=first).addcmul_(b, s, value=-1)
        torch.mul(b, d, out=second).addcmul_(a, t)
        return out.to(x.dtype)


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
    if trained(q) and q.dtype == torch.bfloat16:
        return TrainedAttention.apply(q, k, v, earlier(q, k) if causal else mask)
    batch, heads, count, width = q.shape
    if count == 1 and heads != k.shape[1] and not (causal or exact):  # heads of a group see the same: they can be rows of one
        grouped = q.reshape(batch, k.shape[1], -1, width)
        return F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask).view(q.shape)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=heads != k.shape[1])


def earlier(q: Tensor, k: Tensor) -> Tensor:
    """The mask (N, M) with which no query looks at a later key."""
    return torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """The same, written out operator by operator."""
    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    if causal:
        mask = earlier(q, k)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)                     # (B, H, N, M)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    return scores.softmax(-1) @ v


class TrainedAttention(torch.autograd.Function):
    """plain_attention with its gradient worked out by hand, which keeps the weights and nothing else of their size.
    Training short sequences in bfloat16 on a CPU it is three times faster than PyTorch's fused operator, whose
    backward pass is slow there. Heads of a group see the same keys, so here they are rows of one."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        batch, heads, count, width = q.shape
        groups = k.shape[1]
        rows = q.reshape(batch, groups, -1, width)                               # (B, G, H / G N, D)
        scores = (rows * width ** -0.5) @ k.mT                                   # (B, G, H / G N, M)
        if mask is not None:
            scores.view(batch, groups, heads // groups, count, -1).masked_fill_(~mask.unsqueeze(-3), -1e9)
        weights = scores.softmax(-1)
        ctx.save_for_backward(rows, k, v, weights)
        return (weights @ v).view(batch, heads, count, -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """d v = w^T g, d scores = w (g v^T - mean of it under w), d q = d scores k, d k = d scores^T q."""
        rows, k, v, weights = ctx.saved_tensors
        g = grad.reshape(*weights.shape[:-1], -1)
        scores = torch._softmax_backward_data(g @ v.mT, weights, -1, weights.dtype).mul_(rows.shape[-1] ** -0.5)
        return (scores @ k).view(grad.shape[:-1] + k.shape[-1:]), scores.mT @ rows, weights.mT @ g, None
