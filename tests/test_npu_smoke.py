"""scripts/npu_smoke.py: one sentence without a card, all well on a simulated one, and a failure is a failure."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minglm import device as devices
from minglm.device import pick
from minglm.model import ops
from minglm.training.stages import STAGES

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "npu_smoke.py"


@pytest.fixture(scope="module")
def smoke():
    before = dict(os.environ)
    spec = importlib.util.spec_from_file_location("npu_smoke", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    os.environ.clear()
    os.environ.update(before)                                # it forbids CPU fallbacks


def run(*arguments: str) -> subprocess.CompletedProcess:
    variables = os.environ | dict(PYTHONPATH=str(ROOT), TORCH_DEVICE_BACKEND_AUTOLOAD="0", OMP_NUM_THREADS="1")
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], env=variables, capture_output=True, text=True, timeout=300)


def test_without_a_card_it_ends_with_one_sentence(smoke, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(devices, "npu_status", lambda: (False, "no card is visible"))
    assert smoke.main(["--out", str(tmp_path / "report.md")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "no card is visible" in said.err and "docs/ascend.md" in said.err
    assert not said.out and not list(tmp_path.iterdir())


def test_on_a_simulated_card_all_is_well(tmp_path):
    ran = run("--simulate", "--steps", "2", "--out", str(tmp_path / "report.md"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.strip() == ran.stdout.strip() and "failed" not in text and "exceeded" not in text
    assert text.count("| passed |") == 6 and "not tried" not in text
    for stage in STAGES:
        assert f"| {stage} | " in text


def test_a_wrong_operator_is_told(smoke, monkeypatch):
    assert smoke.fused(pick("cpu"))[0]
    right = ops.swiglu
    monkeypatch.setattr(ops, "swiglu", lambda x: right(x) * (1.1 if x.dtype == torch.bfloat16 else 1))
    good, text = smoke.fused(pick("cpu"))
    assert not good and [line.split("|")[1].strip() for line in text.splitlines() if "exceeded" in line] == ["swiglu"]


def test_an_operator_that_runs_on_the_host_is_told(smoke):
    assert smoke.no_fallback(pick("cpu"))[0] is False        # where it has a kernel, of course


def test_a_check_that_breaks_does_not_stop_the_next(smoke):
    def breaks():
        raise RuntimeError("out of order")

    good, text = smoke.report({"one": breaks, "two": lambda: (True, "fine"), "three": lambda: (None, "no second card")})
    assert not good and "out of order" in text and "fine" in text
    assert "| one | **failed** |" in text and "| two | passed |" in text and "| three | not tried |" in text


def test_unequal_losses_are_told(smoke, monkeypatch, tmp_path):
    from types import SimpleNamespace

    def train(stage, where, *_):
        return (SimpleNamespace(loss=value, number=i + 1) for i, value in enumerate((2.0, 1.0 + 0.2 * (where.kind == "card"))))

    class Card(smoke.Float32):
        kind = "card"

    monkeypatch.setattr(smoke, "train", train)
    monkeypatch.setattr(smoke, "Float32", lambda device: Card(device) if device == "card" else pick("cpu"))
    monkeypatch.setattr(smoke.stages, "build", lambda *_: None)
    monkeypatch.setattr(smoke.stages, "finish", lambda *_: None)
    card = SimpleNamespace(device="card", kind="card", reset_peak_memory=lambda: None, peak_memory=lambda: 0)
    good, text = smoke.train_stages(card, 2, tmp_path)
    assert not good and text.count("exceeded") == len(STAGES)
