"""The rest of the simulated card: torch.npu, fused kernels, torch_npu, autocast, and how all is installed.

Fused kernels count as one launch forward and one backward, and get their numbers from plain references on the host.
Attention is one unless a float mask prevents it; torch_npu's own are offered by a stand-in for that module, under
their real names and arguments.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib.machinery import ModuleSpec
from os import environ

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from minglm import ops, simcount, simnpu
from minglm.simnpu import SimTensor, chance, unwrap, wrap

aten = torch.ops.aten

# ---------------------------------------------------------------- torch.npu


class Queue:
    """Streams and events: the host computes in order, so there is never anything to wait for."""

    def __init__(self, *args, **options): pass
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def synchronize(self): pass
    def wait_stream(self, stream): pass
    def wait_event(self, event): pass
    def record_event(self, event=None): return event or Queue()
    def record(self, stream=None): pass
    def wait(self, stream=None): pass
    def query(self): return True
    def elapsed_time(self, other): return 0.0


class Card(types.ModuleType):
    """The module torch.npu, as far as PyTorch and minglm ask for it."""

    simulated, Stream, Event = True, Queue, Queue

    def is_available(self): return True
    def is_initialized(self): return True
    def is_bf16_supported(self): return True
    def _is_in_bad_fork(self): return False
    def device_count(self): return int(environ.get("LOCAL_WORLD_SIZE", 1))
    def set_device(self, index): pass        # every process calls its own card number 0
    def current_device(self): return 0
    def device(self, index): return nullcontext()
    def get_device_name(self, index=None): return "simulated npu"
    def get_amp_supported_dtype(self): return [torch.float16, torch.bfloat16]
    def synchronize(self, index=None): pass
    def current_stream(self, index=None): return Queue()
    def default_stream(self, index=None): return Queue()
    def stream(self, stream): return stream or Queue()
    def empty_cache(self): pass
    def memory_allocated(self, index=None): return simcount.alive
    def memory_reserved(self, index=None): return simcount.alive
    def max_memory_allocated(self, index=None): return simcount.total.peak
    def reset_peak_memory_stats(self, index=None): simcount.total.peak = simcount.alive
    def manual_seed(self, seed): chance.manual_seed(seed)
    def manual_seed_all(self, seed): chance.manual_seed(seed)
    def get_rng_state(self, index=None): return chance.get_state()
    def set_rng_state(self, state, index=None): chance.set_state(state)


# ---------------------------------------------------------------- fused kernels

GRADIENTS = {"npu_fusion_attention_v3": "npu_fusion_attention_grad_v3"}  # others end in _backward


class Fused(torch.autograd.Function):
    """One kernel forward and one backward, computed by `reference`; only its inputs are kept in between."""

    @staticmethod
    def forward(context, name: str, reference: Callable, *inputs):
        context.name, context.reference = name, reference
        context.set_materialize_grads(False)
        context.save_for_backward(*inputs)
        simnpu.same_device(name, inputs)
        simcount.count(name)
        return tell(name, inputs, wrap(reference(*map(unwrap, inputs))))

    @staticmethod
    def backward(context, *gradients):
        name, inputs = GRADIENTS.get(context.name, f"{context.name}_backward"), context.saved_tensors
        simcount.count(name)
        needed = context.needs_input_grad[2:]
        inner = [x if x is None else x._inner.detach().requires_grad_(need) for x, need in zip(inputs, needed)]
        with torch.enable_grad():
            results = context.reference(*inner)
        pairs = [(r, g._inner) for r, g in zip(results if isinstance(results, tuple) else (results,), gradients)
                 if g is not None]
        found = iter(torch.autograd.grad([r for r, _ in pairs], [x for x, need in zip(inner, needed) if need],
                                         [g for _, g in pairs]))
        return None, None, *tell(name, (inputs, gradients), [wrap(next(found)) if need else None for need in needed])


def tell(name: str, inputs: tuple, outputs):
    """Tell dispatch modes that ask for it (minglm.dispatch) of a kernel, for they see no operator; gives the outputs."""
    for mode in _get_current_dispatch_mode_stack():
        if hasattr(mode, "launched"):
            mode.launched(name, inputs, outputs)
    return outputs


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False):
    """F.scaled_dot_product_attention as torch_npu routes it: fused for no mask, a causal one or one of booleans."""
    if attn_mask is not None and is_causal:
        raise RuntimeError("Explicit attn_mask should not be set when is_causal=True")
    fused = attn_mask is None or attn_mask.dtype == torch.bool
    if not fused:
        simcount.count_unfused()
        if simnpu.strict:
            raise RuntimeError(f"attention with a mask of {attn_mask.dtype} is not fused on an npu: use torch.bool, "
                               "True = may look")
    how = dict(scale=scale, enable_gqa=enable_gqa)
    if not fused or dropout_p:               # many small kernels
        return aten._scaled_dot_product_attention_math(query, key, value, attn_mask, dropout_p, is_causal, **how)[0]

    def reference(query, key, value, mask):
        return F.scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, **how)

    return Fused.apply("npu_fusion_attention_v3", reference, query, key, value, attn_mask)


# ---------------------------------------------------------------- torch_npu

def npu_rms_norm(input: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    """x / rms(x) * gamma over the last axis, and 1 / rms(x)."""
    def reference(x, gamma):
        return ops.rms_norm(x, gamma, epsilon), torch.rsqrt(x.float().square().mean(-1, keepdim=True) + epsilon)

    return Fused.apply("npu_rms_norm", reference, input, gamma)


def npu_rotary_mul(input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str = "half") -> Tensor:
    """x r1 + rotated(x) r2, where channel i is paired with i + half. Raises ValueError for another mode."""
    if rotary_mode != "half":
        raise ValueError(f"rotary_mode {rotary_mode!r}: only 'half' is simulated")
    return Fused.apply("npu_rotary_mul", ops.rotate, input, r1, r2)


def npu_swiglu(input: Tensor, dim: int = -1) -> Tensor:
    """silu(gate) up, where x is [gate | up] along `dim`."""
    return Fused.apply("npu_swiglu", lambda x: ops.swiglu(x.movedim(dim, -1)).movedim(-1, dim), input)


# ---------------------------------------------------------------- autocast

LOW = ("linear matmul mm bmm addmm baddbmm conv1d conv2d conv3d conv_transpose2d.input "
       "scaled_dot_product_attention").split()
FULL = ("exp log pow.Tensor_Scalar rsqrt reciprocal sum sum.dim_IntList cumsum prod softmax.int log_softmax.int "
        "layer_norm group_norm nll_loss cross_entropy_loss mse_loss l1_loss smooth_l1_loss "
        "binary_cross_entropy_with_logits").split()
FLOATS = {torch.float32, torch.float16, torch.bfloat16}


def autocasting(operator, low: bool) -> Callable:
    """`operator` with its floating tensors in autocast's precision, or in float32."""
    without = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def run(*args, **options):
        dtype = torch.get_autocast_dtype("npu") if low else torch.float32

        def cast(x):
            return x.to(dtype) if type(x) is SimTensor and x.dtype in FLOATS and x.dtype != dtype else x

        with torch._C._ExcludeDispatchKeyGuard(without):
            return operator(*map(cast, args), **{name: cast(x) for name, x in options.items()})
    return run


# ---------------------------------------------------------------- installation

libraries: list[torch.library.Library] = []  # registrations last as long as these


def find(name: str):
    """The ATen operator of a name such as "add.Tensor" or "mm"."""
    base, _, overload = name.partition(".")
    return getattr(getattr(aten, base), overload or "default")


def makers() -> Iterator[str]:
    """The operators that make a tensor from nothing, such as arange and randn."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    for name in torch._C._dispatch_get_all_op_names():
        space, _, name = name.partition("::")
        if space == "aten" and not has_kernel(f"aten::{name}", "CompositeImplicitAutograd"):
            arguments = find(name)._schema.arguments
            if any(a.name == "device" for a in arguments) and not any("Tensor" in str(a.type) for a in arguments):
                yield name


def install() -> None:
    """See `simnpu.install`."""
    if libraries:
        return
    if hasattr(torch, "npu"):
        raise ValueError("cannot simulate an npu: torch-npu is loaded already")
    try:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as setup
    except ImportError:
        raise ValueError(f"cannot simulate an npu with torch {torch.__version__}, which has no devices written in "
                         "Python: use 2.13") from None
    torch.autograd.set_multithreading_enabled(False)         # a thread for the card's backward pass may abort at exit
    setup("npu", backend_module=Card("torch.npu"))
    torch.serialization.register_package(5, lambda storage: None, refuse_loading)
    library, others = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    libraries.extend((library, others))
    for name in (*makers(), "silu_backward", "mish_backward"):                   # PyTorch would split these two
        library.impl(name, partial(simnpu.run, find(name)), "PrivateUse1")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    library.impl("scaled_dot_product_attention", attention, "AutogradPrivateUse1")
    simnpu.rules[aten.scaled_dot_product_attention.default] = lambda args, options: attention(*args, **options)
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in LOW + FULL:
        library.impl(name, autocasting(find(name), name in LOW), "AutocastPrivateUse1")
    register_optimizer_step_pre_hook(check_optimiser)
    if dist.is_available():
        dist.Backend.register_backend("hccl", hccl, devices=["npu", "cpu"])
    module = sys.modules["torch_npu"] = types.ModuleType("torch_npu", "A stand-in on the simulated npu.")
    module.__spec__, module.npu = ModuleSpec("torch_npu", None), torch.npu
    module.npu_rms_norm, module.npu_rotary_mul, module.npu_swiglu = npu_rms_norm, npu_rotary_mul, npu_swiglu


def copy_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    """How torch.tensor(..., device="npu") brings its numbers to the card."""
    return simnpu.run(aten.copy_.default, to, source)


def hccl(store, rank: int, ranks: int, timeout):
    """Huawei's collectives, played by gloo."""
    return dist.ProcessGroupGloo(store, rank, ranks, timeout=timeout)


def check_optimiser(optimiser, args, options) -> None:
    """Catch an optimiser made before `.to("npu")`, which changes parameters that nobody uses any more."""
    held = [p for group in optimiser.param_groups for p in group["params"]]
    if held and all(p.grad is None for p in held):
        raise RuntimeError(f"none of the {len(held)} parameters of this {type(optimiser).__name__} has a gradient, and "
                           f"they are on {held[0].device}: was it made before the model was moved with .to?")


def refuse_loading(storage, location: str) -> None:
    if location.startswith("npu"):           # PyTorch would crash
        raise RuntimeError("load with map_location='cpu', then load_state_dict: that works for every device")
