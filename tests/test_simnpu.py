"""The simulated npu: what is checked on it, each group in a process of its own, for it cannot be undone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

from minglm.__main__ import main
from minglm.ascend import simulator

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("checks", ["card", "stages"])
def test_on_a_simulated_npu(checks):
    """Runs tests/simulated/{checks}.py."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/simulated/{checks}.py"]
    ran = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    print(ran.stdout[-6000:])
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]


def test_two_simulated_cards_train_as_one():
    """DDP and FSDP2 over a stand-in for hccl give the losses of one process."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "tests/simulated/ranks.py"]
    ran = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert ran.returncode == 0 and "wait_tensor" not in ran.stderr, ran.stderr[-4000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["backend"] == "hccl"
    assert found["ddp"] == pytest.approx(found["alone"], abs=1e-5) == found["fsdp"]


# ---------------------------------------------------------------- refusals, without a simulation

def test_a_torch_without_devices_in_python_is_named(monkeypatch, capfd):
    monkeypatch.delattr(backend_registration, "_setup_privateuseone_for_python_backend")
    with pytest.raises(ValueError, match=f"cannot simulate an npu with torch {torch.__version__}".replace("+", r"\+")):
        simulator.install()
    assert main(["train", "vae", "--config", "tiny", "--simulate-npu"]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_beside_a_real_npu_nothing_is_simulated(monkeypatch):
    monkeypatch.setattr(torch, "npu", object(), raising=False)
    with pytest.raises(ValueError, match="torch-npu is loaded"):
        simulator.install()


def test_without_the_flag_the_command_says_why_there_is_no_npu(monkeypatch, capfd):
    if hasattr(torch, "npu"):
        pytest.skip("torch-npu is loaded")
    monkeypatch.setattr("minglm.device.npu_status", lambda: (False, "the package torch-npu is not installed"))
    assert main(["train", "vae", "--config", "tiny", "--device", "npu"]) == 2
    assert capfd.readouterr().err == "minglm: device 'npu' is not available: the package torch-npu is not installed\n"
