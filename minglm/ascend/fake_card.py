"""A card for fake tensors: shapes, dtypes and devices are checked, nothing is computed or allocated.

Shapes: B batch · H heads · N tokens · D head width.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

from minglm.model import ops, rotary

CARD = "npu"


class Kernel(torch.autograd.Function):
    """A fused operator as autograd sees it: the shape it returns (None: that of its first input, strides
    included), and the tensors saved for its backward pass."""

    @staticmethod
    def forward(ctx, shape, statistics, with_output: bool, *inputs):
        out = torch.empty_like(inputs[0]) if shape is None else inputs[0].new_empty(shape)
        extra = inputs[0].new_empty(statistics, dtype=torch.float32)
        ctx.save_for_backward(*inputs, extra, *[out][:with_output])
        return out

    @staticmethod
    def backward(ctx, grad):
        needed = ctx.needs_input_grad[3:]
        return None, None, None, *(torch.empty_like(x) if need else None
                                   for x, need in zip(ctx.saved_tensors, needed))


def swiglu(both: Tensor, dim: int) -> Tensor:
    return Kernel.apply((*both.shape[:-1], both.shape[-1] // 2), 0, False, both)


def attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, fused: bool = True,
              **options) -> Tensor:
    """One operator that saves float32 statistics per query: 2 x 8 in npu_fusion_attention; one number in
    PyTorch's for a CPU, whose result has the strides of q."""
    masks = [] if attn_mask is None else [attn_mask]
    shape, statistics = ((*q.shape[:-1], v.shape[-1]), 16) if fused else (None, 1)
    return Kernel.apply(shape, (*q.shape[:-1], statistics), True, q, k, v, *masks)


def tensor(*args, make=torch.tensor, device=None, **options) -> Tensor:
    """torch.tensor on the host, then moved: directly it would allocate memory of the card."""
    return make(*args, **options).to(device)


# What these save is taken from the arguments of the backward operators of torch_npu 2.13.
TORCH_NPU = SimpleNamespace(
    npu_rms_norm=lambda x, weight, epsilon: (
        Kernel.apply(x.shape, (*x.shape[:-1], 1), False, x, weight), None),
    npu_rotary_mul=lambda x, cos, sin, rotary_mode: Kernel.apply(x.shape, 0, False, x, cos, sin),
    npu_swiglu=swiglu)


@contextmanager
def fake_card(fused: bool = True) -> Iterator[torch.device]:
    """A device on which tensors are fake; fused: with torch_npu's operators, else with PyTorch's for a CPU.

    If no backend is called npu yet, one is registered for the rest of the process: use a process of its own.
    """
    if not hasattr(torch, CARD):
        module = backend_registration._DummyBackendModule()
        module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]  # checkpointing asks for it
        backend_registration._setup_privateuseone_for_python_backend(CARD, backend_module=module)
    with ExitStack() as stack:
        if fused and "torch_npu" not in sys.modules:
            sys.modules["torch_npu"] = TORCH_NPU
            stack.callback(sys.modules.pop, "torch_npu")
        stack.enter_context(patch.object(F, "scaled_dot_product_attention", partial(attention, fused=fused)))
        if not fused:
            for module in (ops, rotary):         # fakes train by the hand-written gradients of a CPU
                stack.enter_context(patch.object(module, "trained", lambda x: torch.is_grad_enabled()))
        stack.enter_context(patch.object(torch, "tensor", tensor))
        stack.enter_context(FakeTensorMode())
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))    # modes are local to a thread
        yield torch.device(CARD)
