"""A simulated Ascend card: `install()` makes torch.device("npu") work on any machine, and strict.

    simulator.install()
    with counters.counting() as seen:
        train_one_step()
    print(seen.launches, seen.syncs, seen.peak)

It proves places, dtypes and operators, not speed or rounding: those need a card. Each process has one card,
and keeps it to its end. Here are torch.npu, autocast and the installation; torch_npu's fused operators are
offered by a stand-in for that module, under their real names and arguments.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib.machinery import ModuleSpec

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from minglm.ascend import counters, generators, kernels, simtensor
from minglm.ascend.kernels import attention, npu_rms_norm, npu_rotary_mul, npu_swiglu
from minglm.ascend.simtensor import FORBIDDEN, SimTensor

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
    def device_count(self): return generators.cards()
    def set_device(self, device): generators.card(device)         # every process calls its own card number 0
    def current_device(self): return 0
    def device(self, device): return nullcontext(generators.card(device))
    def get_device_name(self, index=None): return "simulated npu"
    def get_amp_supported_dtype(self): return [torch.float16, torch.bfloat16]
    def synchronize(self, index=None): pass
    def current_stream(self, index=None): return Queue()
    def default_stream(self, index=None): return Queue()
    def stream(self, stream): return stream or Queue()
    def empty_cache(self): pass
    def memory_allocated(self, index=None): return counters.alive
    def memory_reserved(self, index=None): return counters.alive
    def max_memory_allocated(self, index=None): return counters.total.peak
    def reset_peak_memory_stats(self, index=None): counters.total.peak = counters.alive
    def manual_seed(self, seed): generators.default.manual_seed(seed)
    def manual_seed_all(self, seed): generators.default.manual_seed(seed)
    def initial_seed(self): return generators.default.initial_seed()
    def get_rng_state(self, index=None): return generators.default.get_state()
    def set_rng_state(self, state, index=None): generators.default.set_state(state)


# ---------------------------------------------------------------- autocast

LOW = ("linear matmul mm bmm addmm baddbmm conv1d conv2d conv3d conv_transpose2d.input "
       "scaled_dot_product_attention").split()
FULL = (
    "exp log pow.Tensor_Scalar rsqrt reciprocal sum sum.dim_IntList cumsum prod softmax.int log_softmax.int "
    "layer_norm group_norm nll_loss cross_entropy_loss mse_loss l1_loss smooth_l1_loss "
    "binary_cross_entropy_with_logits"
).split()
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
            if any(a.name == "device" for a in arguments) and not any(
                "Tensor" in str(a.type) for a in arguments
            ):
                yield name


def install(strict: bool = True, forbidden: Iterable[str] = ()) -> None:
    """Give this process a simulated npu; a second call changes nothing but `strict`.

    strict: attention that cannot be fused raises an error instead of only being counted.
    forbidden: operators to refuse, beside FORBIDDEN, by names such as "huber_loss" or "add.Tensor".
    Raises ValueError if there is a real npu, or if this torch has no devices written in Python.
    """
    kernels.strict = strict
    if libraries:
        return
    FORBIDDEN.update(forbidden)
    if hasattr(torch, "npu"):
        raise ValueError("cannot simulate an npu: torch-npu is loaded already")
    try:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as setup
    except ImportError:
        raise ValueError(
            f"cannot simulate an npu with torch {torch.__version__}, which has no devices written in "
            "Python: use 2.13"
        ) from None
    # a thread for the card's backward pass may abort at exit
    torch.autograd.set_multithreading_enabled(False)
    setup("npu", backend_module=Card("torch.npu"))
    torch.serialization.register_package(5, lambda storage: None, refuse_loading)
    library, others = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    libraries.extend((library, others))
    # PyTorch would split these two
    for name in (*makers(), "silu_backward", "mish_backward"):
        library.impl(name, partial(simtensor.run, find(name)), "PrivateUse1")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    library.impl("_pin_memory", pin, "CPU")
    library.impl("is_pinned", lambda host, device=None: hasattr(host, "pinned"), "CPU")
    torch.Generator = generators.Generator
    library.impl("scaled_dot_product_attention", attention, "AutogradPrivateUse1")
    simtensor.rules[aten.scaled_dot_product_attention.default] = lambda args, options: attention(
        *args, **options
    )
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
    return simtensor.run(aten.copy_.default, to, source)


def pin(host: Tensor, device: torch.device | None = None) -> Tensor:
    """A copy in page-locked memory, which here is memory like any other."""
    copy = host.clone()
    copy.pinned = True
    return copy


def hccl(store, rank: int, ranks: int, timeout):
    """Huawei's collectives, played by gloo."""
    return dist.ProcessGroupGloo(store, rank, ranks, timeout=timeout)


def check_optimiser(optimiser, args, options) -> None:
    """Catch an optimiser made before `.to("npu")`, which changes parameters that nobody uses any more."""
    held = [p for group in optimiser.param_groups for p in group["params"]]
    if held and all(p.grad is None for p in held):
        raise RuntimeError(
            f"none of the {len(held)} parameters of this {type(optimiser).__name__} has a gradient, and "
            f"they are on {held[0].device}: was it made before the model was moved with .to?"
        )


def refuse_loading(storage, location: str) -> None:
    if location.startswith("npu"):           # PyTorch would crash
        raise RuntimeError("load with map_location='cpu', then load_state_dict: that works for every device")
