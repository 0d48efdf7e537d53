"""Some operations of ops.py for training on a CPU, with hand-written gradients.

Shapes: B batch · N, M tokens · H heads · G key/value heads · D, E widths.

Autograd differentiates operator by operator and saves what each of them may need. Knowing the
whole formula takes fewer passes over memory and saves less. `ops.py` decides when these are used; the tests
compare each with the gradient that autograd computes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def trained(x: Tensor) -> bool:
    """Whether x calls for these operators: it is on a CPU and gradients are recorded."""
    return x.is_cpu and torch.is_grad_enabled()


class TrainedRMSNorm(torch.autograd.Function):
    """RMS norm in half the time; a block of the planner has four."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        r = size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()                  # 1 / rms(x), (..., 1)
        ctx.save_for_backward(x, weight, r)
        return (x * r).mul_(weight)

    @staticmethod
    @once_differentiable                      # r is treated as a constant: a second derivative would be wrong
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """d x = r (g w - x r^2 mean(g w x)), d weight = sum of g x r; g is the output's gradient."""
        x, weight, r = ctx.saved_tensors
        along = (x * r).mul_(grad).reshape(-1, x.shape[-1])
        share = (along @ weight).view(r.shape).mul_(r).mul_(r).div_(-x.shape[-1])
        return (grad * weight).mul_(r).addcmul_(x, share), along.sum(0), None


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """x weight^T + bias in float32 by oneDNN, optionally with tanh GELU; weight may be prepacked."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu" if gelu else "none", [], "tanh")


class TrainedLinear(torch.autograd.Function):
    """oneDNN's product with the gradient that PyTorch lacks; weight's is PyTorch's, which is faster."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted, rows = ctx.needs_input_grad, grad.flatten(0, -2)
        return (onednn(grad, weight.t()) if wanted[0] else None,
                rows.t() @ x.flatten(0, -2) if wanted[1] else None,
                rows.sum(0) if wanted[2] else None)


class TrainedModulation(torch.autograd.Function):
    """layer_norm(x) (1 + scale) + shift without saving the normalised x; x (B, N, D), the others (B, D)."""

    @staticmethod
    def forward(ctx, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        normal, mean, r = torch.native_layer_norm(x, x.shape[-1:], None, None, eps)
        ctx.save_for_backward(x, scale, mean, r)
        return torch.addcmul(shift[:, None], normal, 1 + scale[:, None])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, scale, mean, r = ctx.saved_tensors
        along = (x - mean).mul_(r).mul_(grad).sum(1)
        inner = grad * (1 + scale[:, None])
        back = torch.ops.aten.native_layer_norm_backward(  # the mask asks for the gradient of x alone
            inner, x, x.shape[-1:], mean, r, None, None, [True, False, False])[0]
        return back, grad.sum(1), along, None


class TrainedAttention(torch.autograd.Function):
    """plain_attention with a hand-written gradient; of that size it saves the attention weights alone.

    For short sequences in bfloat16 on a CPU it is three times faster than PyTorch's fused operator, whose
    backward pass is slow there. Heads of a group share their keys, so they become rows of one matrix.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        batch, heads, count, width = q.shape
        groups = k.shape[1]
        rows = q.reshape(batch, groups, -1, width)                               # (B, G, H / G N, D)
        scores = (rows * width ** -0.5) @ k.mT                                   # (B, G, H / G N, M)
        if mask is not None:                         # the mask is one per query: give rows their queries back
            scores.view(batch, groups, heads // groups, count, -1).masked_fill_(~mask.unsqueeze(-3), -1e9)
        weights = scores.softmax(-1)
        ctx.save_for_backward(rows, k, v, weights)
        return (weights @ v).view(batch, heads, count, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """d v = w^T g, d logits = w (g v^T - its mean under w), d q = d logits k, d k = d logits^T q."""
        rows, k, v, weights = ctx.saved_tensors
        g = grad.reshape(*weights.shape[:-1], -1)
        scores = torch._softmax_backward_data(
            g @ v.mT, weights, -1, weights.dtype).mul_(rows.shape[-1] ** -0.5)
        return (scores @ k).view(grad.shape[:-1] + k.shape[-1:]), scores.mT @ rows, weights.mT @ g, None
