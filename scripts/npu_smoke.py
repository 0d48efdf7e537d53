"""For the first person with an Ascend card: does minglm work on it? Writes a report to paste into an issue.

    python scripts/npu_smoke.py                  # some minutes; exit code 0 all well, 1 something failed, 2 no card
    python scripts/npu_smoke.py --simulate       # the same on the simulated card, to see what it does

minglm was written and tested without a card. In turn: what is installed; that operators without a kernel raise an
error instead of running on the host; fused operators against plain arithmetic on the CPU; some steps of every
training stage beside the CPU's losses, in float32; a run stopped and resumed; two cards as one.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

os.environ["TORCH_NPU_FALLBACK_CPU_DISABLE"] = "1"           # read by torch_npu when it is imported
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from minglm.config import preset
from minglm.device import Device, pick
from minglm.model import ops
from minglm.model.rotary import rotate
from minglm.training import stages
from minglm.training.loop import train
from minglm.training.recipe import RECIPES

CPU = torch.device("cpu")
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 3e-2}     # of the largest value: a first guess, made without a card
LOSSES = 0.05                                                # relative; Muon rounds to bfloat16 on every device
Result = tuple[bool | None, str]                             # passed, failed, or None: could not be tried


# ---------------------------------------------------------------- what is installed

def environment(device: Device, simulated: bool) -> Result:
    """Versions, driver, CANN, cards and the variables that change how torch_npu works."""
    facts = {"python": platform.python_version(), "machine": f"{platform.machine()}, {platform.platform()}",
             "torch": torch.__version__, "torch-npu": getattr(sys.modules.get("torch_npu"), "__version__", "not loaded"),
             "card": f"{device.module.get_device_name()}, {device.module.device_count()} visible", "simulated": simulated}
    for name, path in {"driver": Path("/usr/local/Ascend/driver/version.info"),
                       "CANN": Path(os.environ.get("ASCEND_TOOLKIT_HOME", "/usr/local/Ascend/cann")) / "version.cfg"}.items():
        facts[name] = " ".join(path.read_text().split()) if path.is_file() else f"{path} is not there"
    for name in sorted(os.environ):
        if name.startswith(("ASCEND", "TASK_QUEUE", "PYTORCH_NPU", "CPU_AFFINITY", "HCCL", "TORCH_NPU", "MULTI_STREAM")):
            facts[name] = os.environ[name]
    lines = [f"* {name}: {value}" for name, value in facts.items()]
    try:
        asked = subprocess.run(["npu-smi", "info"], capture_output=True, text=True, timeout=60)
        lines += ["", "```", (asked.stdout or asked.stderr).strip(), "```"]
    except (OSError, subprocess.TimeoutExpired) as error:
        lines.append(f"* npu-smi: {error}")
    return True, "\n".join(lines)


def no_fallback(device: Device) -> Result:
    """An operator that torch_npu has no kernel for must raise an error, or slow steps would go unseen."""
    x = torch.zeros(4, device=device.device)
    try:
        torch.nn.functional.huber_loss(x, x)
    except RuntimeError as error:
        return True, f"huber_loss, which has no kernel, raises: {str(error).splitlines()[0][:200]}"
    return False, "huber_loss has no kernel and yet ran: TORCH_NPU_FALLBACK_CPU_DISABLE=1 had no effect"


# ---------------------------------------------------------------- fused operators

def operators() -> dict[str, tuple[Callable[..., Tensor], list[Tensor]]]:
    """Each fused operator with inputs, at shapes that the models use."""
    g = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    angles, mask = random(1, 1, 80, 32), torch.rand(2, 1, 1, 80, generator=g) < 0.8
    mask[..., 0] = True
    heads, fewer = [random(2, 8, 80, 32) for _ in range(3)], [random(2, 2, 80, 32) for _ in range(2)]
    return {
        "rms_norm": (lambda x, w: ops.rms_norm(x, w, 1e-5), [random(2, 80, 256), random(256)]),
        "rotate": (lambda x: rotate(x, angles.cos().to(x.device), angles.sin().to(x.device)), [random(2, 8, 80, 64)]),
        "swiglu": (ops.swiglu, [random(2, 80, 512)]),
        "attention": (ops.attention, heads),
        "attention, causal, grouped heads": (lambda q, k, v: ops.attention(q, k, v, causal=True), [heads[0], *fewer]),
        "attention, boolean mask": (lambda q, k, v: ops.attention(q, k, v, mask.to(q.device)), heads),
    }


def values_and_gradients(function: Callable, inputs: list[Tensor], device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    inputs = [x.detach().to(device, dtype).requires_grad_() for x in inputs]
    out = function(*inputs)
    weight = torch.linspace(-1, 1, out.numel()).view(out.shape).to(device)
    (out.float() * weight).sum().backward()
    return [x.detach().float().cpu() for x in (out, *(x.grad for x in inputs))]


def fused(device: Device) -> Result:
    """Results and gradients on the card against float32 on the CPU, from the same rounded inputs."""
    lines, good = ["| operator | dtype | largest difference | allowed |", "|---|---|---|---|"], True
    for name, (function, inputs) in operators().items():
        for dtype, allowed in TOLERANCES.items():
            rounded = [x.to(dtype).float() for x in inputs]
            wanted = values_and_gradients(function, rounded, CPU, torch.float32)
            found = values_and_gradients(function, rounded, device.device, dtype)
            worst = max(float((f - w).abs().max() / w.abs().max()) for f, w in zip(found, wanted))
            good &= worst <= allowed                         # false for a nan too
            lines.append(f"| {name} | {dtype} | {worst:.1e} | {allowed:.0e}{'' if worst <= allowed else ' **exceeded**'} |")
    return good, "\n".join(lines)


# ---------------------------------------------------------------- training

class Float32(Device):
    """A device without autocast, for losses that can be compared."""

    def autocast(self, dtype: torch.dtype | None = None):
        return nullcontext()


def train_stages(device: Device, steps: int, folder: Path) -> Result:
    """Every stage on both devices, from the same weights of earlier stages and the same batches."""
    config, good = preset("tiny"), True
    lines = ["| stage | CPU: first, last loss | card: first, last loss | largest difference | ms per step | peak MiB |",
             "|---|---|---|---|---|---|"]
    for name in stages.STAGES:
        recipe, found = replace(RECIPES["tiny"][name], steps=steps, batch=8, warmup=2), {}
        device.reset_peak_memory()
        for where in (Float32(device.device), Float32(CPU)):
            stage = stages.build(name, config, where, recipe, folder)
            began = time.monotonic()
            losses = [step.loss for step in train(stage, where)]
            found[where.kind] = losses, 1000 * (time.monotonic() - began) / steps
        stages.finish(stage, config, folder)                 # the CPU's; both devices go on from it
        (ours, spent), (theirs, _) = found[device.kind], found["cpu"]
        worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
        good &= worst <= LOSSES
        lines.append(f"| {name} | {theirs[0]:.4f}, {theirs[-1]:.4f} | {ours[0]:.4f}, {ours[-1]:.4f} | {worst:.1e}"
                     f"{'' if worst <= LOSSES else ' **exceeded**'} | {spent:.0f} | {device.peak_memory() / 2**20:.0f} |")
    return good, "\n".join(lines)


def resume(device: Device, steps: int, folder: Path) -> Result:
    """The planner in bfloat16, stopped half-way and gone on with, against a run never stopped."""
    config = preset("tiny")
    recipe = replace(RECIPES["tiny"]["planner"], steps=steps, batch=8, warmup=2)

    def losses_of(place: Path | None, stop: int = steps, go_on: bool = False) -> list[float]:
        loop, losses = train(stages.build("planner", config, device, recipe, folder), device, place, go_on), []
        for step in loop:
            losses.append(step.loss)
            if step.number == stop:
                loop.close()
        return losses

    whole = losses_of(None)
    parts = losses_of(folder / "stopped", stop=steps // 2) + losses_of(folder / "stopped", go_on=True)
    worst = max(abs(a - b) / abs(b) for a, b in zip(parts, whole, strict=True))
    return worst <= LOSSES, f"{steps} steps, stopped after {steps // 2}: largest difference {worst:.1e}, allowed {LOSSES}"


def two_cards(device: Device, steps: int, folder: Path, simulated: bool) -> Result:
    """`minglm train vae` on two cards by torchrun against the same on one."""
    if not simulated and device.module.device_count() < 2:
        return None, "only one card is visible"
    where = ["--simulate-npu"] if simulated else ["--device", device.kind]
    launcher, losses = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], []
    for name, start in (("one", []), ("two", launcher)):
        command = [sys.executable, *start, "-m", "minglm", "train", "vae", "--config", "tiny", "--steps", str(steps), *where,
                   "--out", str(folder / name)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if ran.returncode:
            return False, "\n".join(["`" + " ".join(command[1:]) + "` failed:", "```", ran.stderr[-2000:].strip(), "```"])
        with (folder / name / "training" / "vae" / "log.csv").open(newline="") as file:
            losses.append(float(list(csv.DictReader(file))[-1]["loss"]))
    worst = abs(losses[1] - losses[0]) / losses[0]
    return worst <= LOSSES, f"loss after {steps} steps: one card {losses[0]:.5g}, two cards {losses[1]:.5g}, allowed {LOSSES}"


# ---------------------------------------------------------------- the report

def report(checks: dict[str, Callable[[], Result]]) -> tuple[bool, str]:
    """Run all checks, failing ones too, and lay them out as Markdown. Returns whether none failed."""
    summary, details, good = [], [], True
    for name, check in checks.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            passed, text = check()
        except Exception:                    # whatever it is belongs into the report, and the next check is due
            passed, text = False, "```\n" + traceback.format_exc().strip() + "\n```"
        good &= passed is not False
        summary.append(f"| {name} | {'**failed**' if passed is False else 'not tried' if passed is None else 'passed'} |")
        details += ["", f"## {name}", "", text]
    return good, "\n".join(["# minglm on an Ascend card", "", "| check | result |", "|---|---|", *summary, *details]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulate", action="store_true", help="on the simulated card")
    parser.add_argument("--steps", type=int, default=20, help="of each stage, at least 2")
    parser.add_argument("--out", type=Path, default=Path("npu_smoke.md"), help="the report")
    options = parser.parse_args(arguments)
    if options.steps < 2:
        parser.error(f"--steps {options.steps}: at least 2 are needed")
    try:
        if options.simulate:
            from minglm.ascend import simulator

            simulator.install()
        device = pick("npu")
        if not options.simulate:
            torch.npu.conv.allow_hf32 = False                # on by default: convolutions with fewer bits than float32
    except (ValueError, ImportError) as error:
        print(f"npu_smoke: {error}; docs/ascend.md tells how to set one up, --simulate tries this without one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        good, text = report({
            "environment": lambda: environment(device, options.simulate),
            "no silent fallback to the CPU": lambda: no_fallback(device),
            "fused operators": lambda: fused(device),
            "every training stage": lambda: train_stages(device, options.steps, folder),
            "stop and resume": lambda: resume(device, options.steps, folder),
            "two cards": lambda: two_cards(device, options.steps, folder, options.simulate),
        })
    options.out.with_name(options.out.name + ".tmp").write_text(text, encoding="utf-8")
    os.replace(options.out.with_name(options.out.name + ".tmp"), options.out)
    print(text)
    print(f"{options.out}: {'all well' if good else 'something failed'}; please paste it into an issue", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
