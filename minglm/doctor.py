"""What `minglm doctor` reports: versions, device, threads, weights, and one timed training step.

`report()` gathers plain values, fit for JSON; `text()` lays them out for a person.
"""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import nn

import minglm
from minglm import device as devices
from minglm.files import DATA
from minglm.validate import first_line

REQUIRED = ("torch", "numpy", "einops", "pillow", "safetensors", "matplotlib", "tqdm")
OPTIONAL = {"rapidocr": "reads posters back: pip install -e '.[ocr]'",
            "jupyterlab": "opens the notebooks: pip install -e '.[notebooks]'",
            "ipywidgets": "the buttons of minglm play: pip install -e '.[notebooks]'",
            "torch-npu": "only for Ascend cards: see environment-npu.yml"}
WEIGHTS = DATA / "weights"
MARKS = {True: "[OK]", None: "[--]", False: "[!!]"}  # fine, absent but not needed, to be mended


def report() -> dict:
    """Everything worth knowing about this installation; a wrong MINGLM_DEVICE, or a card that fails, is part
    of it."""
    device, problem = _pick()
    try:
        milliseconds = round(step_milliseconds(device), 2)
    except RuntimeError as error:
        milliseconds, problem = None, f"{device} fails: {first_line(error)}"
    usable, reason = devices.npu_status()
    return {
        "versions": {"python": platform.python_version(), "minglm": minglm.__version__}
        | {name: _version(name) for name in REQUIRED},
        "optional": {name: _version(name) for name in OPTIONAL},
        "device": str(device),
        "device_problem": problem,
        "npu": {"available": usable, "reason": reason},
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "weights": _weights(),
        "step_ms": milliseconds,
    }


def text(found: dict) -> str:
    """The report as aligned lines: [OK] fine, [--] absent but not needed, [!!] to be mended."""
    lines = [(value is not None, name, value or "missing: pip install -e .")
             for name, value in found["versions"].items()]
    lines += [(True if value else None, name, value or f"absent; {OPTIONAL[name]}")
              for name, value in found["optional"].items()]
    problem = found["device_problem"]
    lines.append((not problem, "device", problem or found["device"]))
    lines.append((True if found["npu"]["available"] else None, "npu", found["npu"]["reason"]))
    lines.append((True, "threads", f"{found['threads']} on {found['cores']} cores"))
    policy = found["omp_wait_policy"]
    sleeping = (policy or "").upper() == "PASSIVE"
    advice = "" if sleeping else "; PASSIVE is faster on a busy machine"
    lines.append((True if sleeping else None, "OMP_WAIT_POLICY", f"{policy or 'not set'}{advice}"))
    weights = ", ".join(found["weights"])
    lines.append((bool(weights), "weights", weights or f"none in {WEIGHTS}: minglm train all"))
    step = found["step_ms"]
    timed = "failed" if step is None else f"{step:.2f} ms, 64x256, 4 layers, bf16"
    lines.append((step is not None, "training step", timed))
    width = max(len(name) for _, name, _ in lines)
    return "\n".join(f"{MARKS[mark]} {name:<{width}}  {value}" for mark, name, value in lines)


def step_milliseconds(device: devices.Device, repeats: int = 5) -> float:
    """Best time of forward and backward through four linear layers, after one to warm up."""
    net = nn.Sequential(*(nn.Linear(256, 256) for _ in range(4))).to(device.device)
    batch = torch.zeros(64, 256, device=device.device)
    times = []
    for _ in range(repeats + 1):
        device.synchronize()
        start = time.perf_counter()
        with device.autocast():
            out = net(batch)
        out.float().square().mean().backward()
        device.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def _pick() -> tuple[devices.Device, str]:
    """The default device, or the cpu and what is wrong with MINGLM_DEVICE."""
    try:
        return devices.pick(), ""
    except ValueError as error:
        return devices.Device(torch.device("cpu")), str(error)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _weights() -> list[str]:
    if not WEIGHTS.is_dir():
        return []
    return sorted(folder.name for folder in WEIGHTS.iterdir() if folder.is_dir())
