"""The one place that knows device names: cpu, cuda, npu (Ascend), and mps on request.

Everything else asks a `Device`. What torch spells alike on all accelerators is reached through
`torch.get_device_module`, so that a simulated npu works as well as a real one. torch_npu is imported
here only, inside a function, and whatever its import raises is kept as a reason, never raised.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from minglm.validate import first_line

KINDS = ("cpu", "cuda", "npu", "mps")
AUTO_ORDER = ("npu", "cuda", "cpu")  # mps is left out: its results differ too often to be a default
COLLECTIVES = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl", "mps": "gloo"}


@dataclass(frozen=True)
class Device:
    """Where tensors live, and the few things that are said differently there."""

    device: torch.device

    def __str__(self) -> str:
        return str(self.device)

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return self.device.type

    @property
    def collectives(self) -> str:
        """The torch.distributed backend of this kind of device."""
        return COLLECTIVES[self.kind]

    @property
    def module(self):
        """torch.cpu, torch.cuda, torch.npu or torch.mps."""
        return torch.get_device_module(self.device)

    def autocast(self, dtype: torch.dtype | None = torch.bfloat16) -> AbstractContextManager:
        """Run matmuls in `dtype`; None means full precision, which is also all that mps gets."""
        if dtype is None or self.kind == "mps":
            return nullcontext()
        return torch.autocast(self.kind, dtype=dtype)

    def full_precision(self) -> AbstractContextManager:
        """Within `autocast`: no casts."""
        return nullcontext() if self.kind == "mps" else torch.autocast(self.kind, enabled=False)

    def to(self, batch: dict) -> dict:
        """A batch with its tensors on this device; everything else as it is."""
        return {name: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
                for name, value in batch.items()}

    def synchronize(self) -> None:
        """Wait until the device has done its queue: call it before reading a clock."""
        self.module.synchronize()

    def peak_memory(self) -> int:
        """Most bytes held so far: by tensors on a card, by the whole process on cpu."""
        if self.kind == "cpu":
            return _peak_process_memory()
        if self.kind == "mps":  # keeps no peak; what the driver holds now is the nearest thing
            return self.module.driver_allocated_memory()
        return self.module.max_memory_allocated()

    def reset_peak_memory(self) -> None:
        """Forget the peak. A process cannot lower its own, so on cpu this does nothing."""
        if hasattr(self.module, "reset_peak_memory_stats"):
            self.module.reset_peak_memory_stats()

    def rng_state(self) -> dict[str, Tensor]:
        """Default generators of the cpu and of the device, as cpu tensors for a checkpoint."""
        state = {"cpu": torch.get_rng_state()}
        if self.kind != "cpu":
            state[self.kind] = self.module.get_rng_state().cpu()
        return state

    def set_rng_state(self, state: dict[str, Tensor]) -> None:
        """Restore `rng_state()`; one saved on another kind of device restores the cpu part."""
        torch.set_rng_state(state["cpu"])
        if self.kind != "cpu" and self.kind in state:
            self.module.set_rng_state(state[self.kind])


def pick(name: str | torch.device | Device = "auto") -> Device:
    """The device called `name`: a kind, a card such as "npu:1" (made current), or "auto".

    "auto" is $MINGLM_DEVICE if that is set, else the first usable of npu, cuda, cpu.
    """
    name, origin = str(name), ""
    if name == "auto" and os.environ.get("MINGLM_DEVICE"):
        name, origin = os.environ["MINGLM_DEVICE"], " in MINGLM_DEVICE"
    if name == "auto":
        name = next(kind for kind in AUTO_ORDER if not unavailable(kind))
    kind, colon, index = name.partition(":")
    if kind not in KINDS or (colon and not index.isdecimal()):
        raise ValueError(f"unknown device {name!r}{origin}: allowed are auto, {', '.join(KINDS)},"
                         " or one card of several, such as cuda:1")
    if reason := unavailable(kind):
        raise ValueError(f"device {name!r}{origin} is not available: {reason}")
    if not colon or kind in ("cpu", "mps"):  # these two come as a single device
        return Device(torch.device(kind))
    module = torch.get_device_module(kind)
    if int(index) >= module.device_count():
        raise ValueError(f"device {name!r}{origin} is not available: "
                         f"cards 0 to {module.device_count() - 1} are visible")
    try:
        module.set_device(int(index))
    except RuntimeError as error:            # in use by another process, or out of order
        raise ValueError(f"device {name!r}{origin} is not available: {_named(error)}") from error
    return Device(torch.device(kind, module.current_device()))  # a simulated card is number 0 to its process


def unavailable(kind: str) -> str:
    """Why this machine cannot use that kind of device; the empty string when it can."""
    if kind == "npu":
        usable, reason = npu_status()
        return "" if usable else reason
    if kind == "cuda" and not torch.cuda.is_available():
        built = torch.backends.cuda.is_built()
        return "no card is visible" if built else f"torch {torch.__version__} is a build without it"
    if kind == "mps" and not torch.backends.mps.is_available():
        return "it needs a Mac with Apple silicon and a torch built for it"
    return ""


def fused(x: Tensor):
    """The module torch_npu, whose fused operators can take x; None where x is not on an npu."""
    return None if x.is_cpu or x.device.type != "npu" else sys.modules.get("torch_npu")


def npu_status() -> tuple[bool, str]:
    """Whether an npu can be used, and a sentence saying why (not)."""
    if "torch_npu" not in sys.modules and (reason := _load_torch_npu()):     # a simulator stands in for it
        return False, reason
    try:
        count = torch.npu.device_count() if torch.npu.is_available() else 0
    except Exception as error:               # of whatever kind: a machine without a card must go on
        return False, f"torch-npu is loaded but cannot ask for cards: {_named(error)}"
    if count == 0:
        return False, "torch-npu is loaded but no card is visible (see `npu-smi info`)"
    return True, f"{count} card{'s' * (count > 1)} visible"


@cache  # a failed import of an extension cannot be repeated in one process
def _load_torch_npu() -> str:
    """Import torch_npu, which adds torch.npu; the empty string, or why that is impossible."""
    try:
        if find_spec("torch_npu") is None:
            return "the package torch-npu is not installed"
        import torch_npu  # noqa: F401
    except Exception as error:  # one made for another torch may stop with any
        return ("torch-npu is installed but cannot be loaded (CANN missing, its set_env.sh not sourced, or "
                f"made for another version than torch {torch.__version__}?): {_named(error)}")
    return "" if hasattr(torch, "npu") else "torch-npu is installed but adds no torch.npu"


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _peak_process_memory() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such counter in the standard library
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, but bytes on a Mac


@contextmanager
def usual_defaults() -> Iterator[None]:
    """Tensors made here without a word on device and dtype are float32 on the cpu, whatever the process
    has set with `torch.set_default_device` and `torch.set_default_dtype`, as many notebooks do at the top."""
    dtype = torch.get_default_dtype()
    # a device mode costs a microsecond per operator, so none where it would change nothing
    usual = torch.get_default_device().type == "cpu"
    try:
        torch.set_default_dtype(torch.float32)
        with nullcontext() if usual else torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # on Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def set_threads(count: int | None = None) -> int:
    """Use `count` cpu threads, never more than there are cores, and return the number.

    Without `count`: all cores if idle threads sleep (OMP_WAIT_POLICY=PASSIVE), else one, because
    threads that spin while they wait make small models up to ten times slower on a busy machine.
    """
    if count is None:
        count = cores() if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" else 1
    if count < 1:
        raise ValueError(f"threads must be at least 1, not {count}")
    torch.set_num_threads(min(count, cores()))
    return torch.get_num_threads()


@contextmanager
def one_thread(when: bool = True) -> Iterator[None]:
    """Work on one cpu thread: faster where operators are so small that waking others takes longer."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if when else before)
        yield
    finally:
        torch.set_num_threads(before)
