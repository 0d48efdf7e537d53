"""Fused kernels of the simulated card, and the torch_npu names that reach them. Shapes: see model/ops.py.

A fused kernel counts as one launch forward and one backward; its results are computed by a plain reference on
the host. Attention is fused unless it has a float mask.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from minglm.ascend import counters, simtensor
from minglm.ascend.simtensor import unwrap, wrap
from minglm.model import ops
from minglm.model.rotary import rotate

strict = True                              # refuse attention that cannot be fused; set by `simulator.install`
GRADIENTS = {"npu_fusion_attention_v3": "npu_fusion_attention_grad_v3"}  # others end in _backward


class Fused(torch.autograd.Function):
    """One kernel forward and one backward, computed by `reference`; only the inputs are saved."""

    @staticmethod
    def forward(context, name: str, reference: Callable, *inputs):
        context.name, context.reference = name, reference
        context.set_materialize_grads(False)
        context.save_for_backward(*inputs)
        simtensor.same_device(name, inputs)
        counters.count(name)
        return tell(name, inputs, wrap(reference(*map(unwrap, inputs))))

    @staticmethod
    def backward(context, *gradients):
        name, inputs = GRADIENTS.get(context.name, f"{context.name}_backward"), context.saved_tensors
        counters.count(name)
        needed = context.needs_input_grad[2:]
        # run the reference again with gradients, and differentiate that
        inner = [x if x is None else x._inner.detach().requires_grad_(need)
                 for x, need in zip(inputs, needed)]
        with torch.enable_grad():
            results = context.reference(*inner)
        pairs = [(r, g._inner)
                 for r, g in zip(results if isinstance(results, tuple) else (results,), gradients)
                 if g is not None]
        found = iter(torch.autograd.grad([r for r, _ in pairs], [x for x, need in zip(inner, needed) if need],
                                         [g for _, g in pairs]))
        return None, None, *tell(name, (inputs, gradients),
                                 [wrap(next(found)) if need else None for need in needed])


def tell(name: str, inputs: tuple, outputs):
    """Report a kernel to dispatch modes that record launches, which do not see it; returns outputs."""
    for mode in _get_current_dispatch_mode_stack():
        if hasattr(mode, "launched"):
            mode.launched(name, inputs, outputs)
    return outputs


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None,
              enable_gqa=False):
    """F.scaled_dot_product_attention as torch_npu dispatches it: fused unless there is a float mask."""
    if attn_mask is not None and is_causal:
        raise RuntimeError("Explicit attn_mask should not be set when is_causal=True")
    fused = attn_mask is None or attn_mask.dtype == torch.bool
    if not fused:
        counters.count_unfused()
        if strict:
            raise RuntimeError(f"attention with a mask of {attn_mask.dtype} is not fused on an npu: "
                               "use torch.bool, True = may look")
    how = dict(scale=scale, enable_gqa=enable_gqa)
    if not fused or dropout_p:               # many small kernels
        return torch.ops.aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, **how)[0]

    def reference(query, key, value, mask):
        return F.scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, **how)

    return Fused.apply("npu_fusion_attention_v3", reference, query, key, value, attn_mask)


def npu_rms_norm(input: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    """x / rms(x) * gamma over the last axis, and 1 / rms(x)."""
    def reference(x, gamma):
        return (ops.rms_norm(x, gamma, epsilon),
                torch.rsqrt(x.float().square().mean(-1, keepdim=True) + epsilon))

    return Fused.apply("npu_rms_norm", reference, input, gamma)


def npu_rotary_mul(input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str = "half") -> Tensor:
    """x r1 + rotated(x) r2, channel i being paired with i + half. Raises ValueError for another mode."""
    if rotary_mode != "half":
        raise ValueError(f"rotary_mode {rotary_mode!r}: only 'half' is simulated")
    return Fused.apply("npu_rotary_mul", rotate, input, r1, r2)


def npu_swiglu(input: Tensor, dim: int = -1) -> Tensor:
    """silu(gate) up, where x is [gate | up] along `dim`."""
    return Fused.apply("npu_swiglu", lambda x: ops.swiglu(x.movedim(dim, -1)).movedim(-1, dim), input)
