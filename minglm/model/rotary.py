"""Rotary positions: frequencies, the rotation, and its fast forms. A variant of it is a change of this file
alone.

Shapes: B batch · H heads · N tokens · D head width · R rotated channels.

A pair of channels is turned by an angle that grows with the position, so that a product of a query and a key
depends on the distance of their tokens. Cosines and sines are real tables, never complex numbers, because
accelerators such as Ascend have no complex kernels. Which position turns which pair is the model's business:
three axes in planner.py, two in decoder.py.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from minglm.device import fused
from minglm.model.ops_cpu import trained


def frequencies(width: int, theta: float) -> Tensor:
    """The `width // 2` rotary frequencies theta^(-2i/width), fastest first.

    Computed as a reciprocal, as in the published code: at position 1,000 the last bit of a frequency is the
    fourth digit of an angle, enough to sample a different id.
    """
    return 1 / theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first R channels of x, pairing channel i with i + R / 2 (NeoX order).

    x (B, H, N, D); cos, sin broadcastable to (B, H, N, R) with R <= D. The other channels pass through.
    """
    width = cos.shape[-1]
    r, rest = x[..., :width], x[..., width:]
    if npu := fused(x):
        r = npu.npu_rotary_mul(r.float(), cos, sin, rotary_mode="half").to(x.dtype)
    elif trained(x) and not (cos.requires_grad or sin.requires_grad):  # its gradient is that of x alone
        r = TrainedRotation.apply(r, cos, sin)
    else:
        a, b = r.chunk(2, dim=-1)
        r = (r.float() * cos + torch.cat([-b, a], -1).float() * sin).to(x.dtype)
    return torch.cat([r, rest], -1) if rest.shape[-1] else r


def signed(sin: Tensor) -> Tensor:
    """The sines as `rotate_` takes them: negated in the first half of the channels."""
    first, second = sin.chunk(2, -1)
    return torch.cat([-first, second], -1)


def rotate_(x: Tensor, cos: Tensor, signed_sin: Tensor) -> None:
    """`rotate` in place, without gradients: for one new token, where overhead per operator outweighs its
    work."""
    r = x[..., :cos.shape[-1]]
    r.copy_(r * cos + r.roll(r.shape[-1] // 2, -1) * signed_sin)


class TrainedRotation(torch.autograd.Function):
    """The rotation in half the passes over memory; its gradient is the inverse rotation."""

    @staticmethod
    def forward(ctx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return TrainedRotation.turn(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors                 # each output channel multiplies its partner's sine: roll
        return TrainedRotation.turn(grad, cos, -sin.roll(sin.shape[-1] // 2, -1)), None, None

    @staticmethod
    def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        out = torch.empty_like(x, dtype=torch.float32)
        (a, b), (first, second), (c, d), (s, t) = (z.chunk(2, -1) for z in (x.float(), out, cos, sin))
        torch.mul(a, c, out=first).addcmul_(b, s, value=-1)
        torch.mul(b, d, out=second).addcmul_(a, t)
        return out.to(x.dtype)
