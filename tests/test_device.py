"""Picking a device, and the few things a `Device` answers."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from minglm import device as devices
from minglm import doctor
from minglm.device import Device, pick

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_preference(monkeypatch):
    monkeypatch.delenv("MINGLM_DEVICE", raising=False)


@pytest.fixture
def only(monkeypatch):
    """Make exactly the given kinds of device usable."""
    def set_usable(*kinds):
        monkeypatch.setattr(devices, "unavailable", lambda kind: "" if kind in kinds else "faked")
    return set_usable


# ------------------------------------------------------------------------------------------ pick

def test_auto_is_usable_here():
    chosen = pick()
    assert chosen.kind in ("npu", "cuda", "cpu")
    assert torch.ones(3, device=chosen.device).sum().item() == 3


def test_pick_takes_names_torch_devices_and_devices():
    assert pick("cpu") == pick(torch.device("cpu")) == pick(pick("cpu"))
    assert pick("cpu") == Device(torch.device("cpu")) and str(pick("cpu")) == "cpu"


@pytest.mark.parametrize("name", ["gpu", "CPU", "", "npu:", "cuda:x", "cpu0"])
def test_unknown_name_says_what_is_allowed(name):
    with pytest.raises(ValueError) as error:
        pick(name)
    assert repr(name) in str(error.value)
    assert all(kind in str(error.value) for kind in ("auto", "cpu", "cuda", "npu", "mps"))


@pytest.mark.parametrize("kind", ["cuda", "npu", "mps"])
def test_unavailable_says_why(kind, only):
    only("cpu")
    with pytest.raises(ValueError, match=f"device '{kind}' is not available: faked"):
        pick(kind)


def test_real_reasons_are_sentences():
    for kind in devices.KINDS:
        reason = devices.unavailable(kind)
        assert reason == "" or len(reason.split()) > 3
    assert devices.unavailable("cpu") == ""


def test_environment_variable_decides_auto_only(monkeypatch, only):
    only("cpu", "cuda")
    monkeypatch.setenv("MINGLM_DEVICE", "cpu")
    assert pick().kind == "cpu"
    monkeypatch.setenv("MINGLM_DEVICE", "cuda")
    assert pick().kind == "cuda" and pick("cpu").kind == "cpu"


@pytest.mark.parametrize("value", ["", "auto"])
def test_environment_variable_may_be_empty_or_auto(monkeypatch, only, value):
    only("cpu")
    monkeypatch.setenv("MINGLM_DEVICE", value)
    assert pick().kind == "cpu"


@pytest.mark.parametrize("value", ["tpu", "npu"])
def test_a_wrong_environment_variable_is_named(monkeypatch, only, value):
    only("cpu")
    monkeypatch.setenv("MINGLM_DEVICE", value)
    with pytest.raises(ValueError, match=f"'{value}' in MINGLM_DEVICE"):
        pick()


def test_mps_is_never_picked_unasked(only):
    only("cpu", "mps")
    assert pick().kind == "cpu"
    assert pick("mps").kind == "mps"


def test_npu_reason_without_the_package(monkeypatch):
    if hasattr(torch, "npu"):
        pytest.skip("torch-npu is loaded")
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    devices._load_torch_npu.cache_clear()
    assert devices.npu_status() == (False, "the package torch-npu is not installed")
    devices._load_torch_npu.cache_clear()


def test_npu_reason_without_cann(monkeypatch, tmp_path):
    if hasattr(torch, "npu"):
        pytest.skip("torch-npu is loaded")
    error = "libhccl.so: cannot open shared object file: No such file or directory"
    (tmp_path / "torch_npu.py").write_text(f"raise ImportError({error!r})")
    monkeypatch.syspath_prepend(tmp_path)
    devices._load_torch_npu.cache_clear()
    usable, reason = devices.npu_status()
    assert not usable and "installed but cannot be loaded" in reason and "CANN" in reason and error in reason
    assert f"[--] npu              {reason}" in doctor.text(doctor.report())
    devices._load_torch_npu.cache_clear()


@pytest.mark.parametrize("raised", [
    "AttributeError(\"module 'torch_npu.dynamo.torchair' has no attribute 'get_npu_backend'\")",
    "KeyError('ASCEND_OPP_PATH')", "TypeError('register() got an unexpected argument')", "AssertionError()"])
@pytest.mark.parametrize("half", ["", "import torch, types\ntorch.npu = types.ModuleType('torch.npu')\n",
                                  "import torch, types\ntorch.npu = types.SimpleNamespace("
                                  "is_available=lambda: True, device_count=lambda: 1)\n"], ids=["", "half", "most"])
def test_no_way_to_fail_at_import_is_fatal(raised, half, monkeypatch, tmp_path):
    if hasattr(torch, "npu"):
        pytest.skip("torch-npu is loaded")
    (tmp_path / "torch_npu.py").write_text(f"{half}raise {raised}")
    monkeypatch.syspath_prepend(tmp_path)
    devices._load_torch_npu.cache_clear()
    try:
        for _ in range(2):                       # the second time torch.npu may be there
            usable, reason = devices.npu_status()
            assert not usable and "installed but cannot be loaded" in reason and raised.partition("(")[0] in reason
            assert pick().kind != "npu"
            with pytest.raises(ValueError, match="'npu' is not available: torch-npu is installed but cannot"):
                pick("npu")
        assert f"[--] npu              {reason}" in doctor.text(doctor.report())
    finally:
        vars(torch).pop("npu", None)
        devices._load_torch_npu.cache_clear()


@pytest.mark.parametrize("cards", [
    dict(), dict(is_available=lambda: True), dict(is_available=lambda: [][1], device_count=lambda: 1),
    dict(is_available=lambda: True, device_count=lambda: {}["ASCEND"])])
def test_no_way_to_fail_at_asking_for_cards_is_fatal(cards, monkeypatch):
    if hasattr(torch, "npu"):
        pytest.skip("torch-npu is loaded")
    monkeypatch.setitem(sys.modules, "torch_npu", types.ModuleType("torch_npu"))
    monkeypatch.setattr(torch, "npu", types.SimpleNamespace(**cards), raising=False)
    usable, reason = devices.npu_status()
    assert not usable and reason.startswith("torch-npu is loaded but cannot ask for cards: ")
    assert pick().kind != "npu" and doctor.report()["npu"] == {"available": False, "reason": reason}


FAKE_NPU = """
import torch
class Cards:                                     # what torch-npu would install as torch.npu
    count, current = 2, 0
    state = torch.arange(4, dtype=torch.uint8)
    def is_available(self): return self.count > 0
    def device_count(self): return self.count
    def set_device(self, index): self.current = index
    def current_device(self): return self.current
    def synchronize(self): pass
    def max_memory_allocated(self): return 7
    def get_amp_supported_dtype(self): return [torch.bfloat16]
    def get_rng_state(self): return self.state
    def set_rng_state(self, state): self.state = state
import sys, types
sys.modules["torch_npu"] = types.ModuleType("torch_npu")
cards = Cards()
torch.utils.rename_privateuse1_backend("npu")
torch._register_device_module("npu", cards)
from minglm.device import npu_status, pick
"""


def with_fake_npu(code: str) -> None:
    """Run assertions where torch.npu exists; in a process of its own, for it cannot be undone."""
    variables = {name: value for name, value in os.environ.items() if name != "MINGLM_DEVICE"}
    variables |= {"PYTHONPATH": str(ROOT), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    ran = subprocess.run([sys.executable, "-c", FAKE_NPU + code], env=variables,
                         capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def test_npu_comes_first_and_answers_through_its_module():
    with_fake_npu("""
import os
assert npu_status() == (True, "2 cards visible")
npu = pick()
assert (npu.kind, str(npu), npu.collectives) == ("npu", "npu", "hccl")
assert npu.peak_memory() == 7
npu.synchronize(); npu.reset_peak_memory()       # Cards has no reset: nothing happens

saved = npu.rng_state()
assert set(saved) == {"cpu", "npu"}
cards.state = torch.zeros(4, dtype=torch.uint8)
npu.set_rng_state(saved)
assert cards.state.tolist() == [0, 1, 2, 3]
with npu.autocast(torch.bfloat16):
    assert torch.is_autocast_enabled("npu")
    assert torch.get_autocast_dtype("npu") is torch.bfloat16

assert str(pick("npu:1")) == "npu:1" and cards.current == 1
try: pick("npu:2")
except ValueError as error: assert "cards 0 to 1 are visible" in str(error)
else: raise AssertionError("card 2 of 2 was accepted")

os.environ["MINGLM_DEVICE"] = "cpu"
assert pick().kind == "cpu"
del os.environ["MINGLM_DEVICE"]
def broken(*arguments): raise RuntimeError("aclInit failed\\nat line 3")
cards.set_device = broken
try: pick("npu:1")
except ValueError as error: assert "device 'npu:1' is not available: RuntimeError: aclInit failed" == str(error)
else: raise AssertionError("a card that cannot be taken was taken")

def missing(): raise AttributeError("no aclrt")
cards.is_available, before = missing, cards.is_available
assert npu_status() == (False, "torch-npu is loaded but cannot ask for cards: AttributeError: no aclrt")
cards.is_available = before
cards.count = 0
assert npu_status()[0] is False and "no card" in npu_status()[1]
assert pick().kind != "npu"
""")


# ---------------------------------------------------------------------------------------- Device

def test_device_is_frozen():
    with pytest.raises(AttributeError):
        pick("cpu").device = torch.device("meta")


def test_rng_state_round_trip():
    chosen = pick()
    saved = chosen.rng_state()
    assert all(state.device.type == "cpu" for state in saved.values())
    first = torch.rand(3), torch.rand(3, device=chosen.device)
    chosen.set_rng_state(saved)
    again = torch.rand(3), torch.rand(3, device=chosen.device)
    assert all(torch.equal(a, b) for a, b in zip(first, again))


def test_rng_state_of_another_kind_restores_the_cpu_part():
    saved = pick("cpu").rng_state() | {"another": torch.zeros(1)}
    first = torch.rand(3)
    pick("cpu").set_rng_state(saved)
    assert torch.equal(torch.rand(3), first)


def test_autocast():
    cpu, x = pick("cpu"), torch.ones(2, 2)
    with cpu.autocast(torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
    with cpu.autocast(None):
        assert (x @ x).dtype == torch.float32


def test_memory_and_synchronize_on_cpu():
    cpu = pick("cpu")
    cpu.synchronize()
    cpu.reset_peak_memory()
    assert cpu.peak_memory() == 0 or cpu.peak_memory() > 50e6  # bytes; torch alone takes more
    assert cpu.collectives == "gloo"


def test_set_threads(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
        assert devices.set_threads() == 1
        monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
        cores = devices.set_threads()
        assert devices.set_threads(10_000) == cores >= 1
        with pytest.raises(ValueError, match="not 0"):
            devices.set_threads(0)
    finally:
        torch.set_num_threads(before)


# ---------------------------------------------------------------------------------------- doctor

def test_doctor_reports_and_prints():
    import json

    found = doctor.report()
    assert json.loads(json.dumps(found)) == found
    lines = doctor.text(found).splitlines()
    assert all(line[:4] in doctor.MARKS.values() for line in lines)
    assert len({line[5:].index("  ") for line in lines if "OMP_WAIT" in line}) == 1
    for name in (*doctor.REQUIRED, *doctor.OPTIONAL, "device", "npu", "threads", "weights"):
        assert any(line[5:].startswith(name) for line in lines), name
    assert found["step_ms"] > 0


def test_doctor_survives_a_card_that_fails(monkeypatch):
    def fail(device):
        raise RuntimeError("out of order\nframe #0")

    monkeypatch.setattr(doctor, "step_milliseconds", fail)
    found = doctor.report()
    assert found["step_ms"] is None and found["device_problem"] == f"{found['device']} fails: out of order"
    assert "[!!] training step    failed" in doctor.text(found)


def test_doctor_survives_a_wrong_device(monkeypatch):
    monkeypatch.setenv("MINGLM_DEVICE", "tpu")
    found = doctor.report()
    assert found["device"] == "cpu" and "'tpu' in MINGLM_DEVICE" in found["device_problem"]
    assert "[!!] device" in doctor.text(found)
