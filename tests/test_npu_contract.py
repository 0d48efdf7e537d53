"""What we call of torch_npu exists under that name with those arguments; device names stay in device.py."""

import ast
import json
import re
from pathlib import Path

import pytest
import torch
from npu_contract import DATA, check, code, table

ROOT = Path(__file__).parents[1]
FILES = [*sorted((ROOT / "minglm").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py")),
         *sorted((ROOT / "notebooks").glob("*.ipynb"))]


# ---------------------------------------------------------------- calls into torch_npu

def test_every_use_of_torch_npu_fits_the_real_library():
    found = {path.name: check(code(path), path.name) for path in FILES}
    assert [line for _, wrong in found.values() for line in wrong] == []
    assert found["ops.py"][0] >= 2 and found["rotary.py"][0] >= 1 and found["device.py"][0] >= 8  # or the search has gone blind


PLANTED = {
    "an operator misspelt": ("if npu := fused(x):\n    y = npu.npu_rmsnorm(x, weight)", "npu_rmsnorm is not"),
    "a keyword misspelt": ("if npu := fused(x):\n    y = npu.npu_rms_norm(x, weight, eps=1e-6)[0]", "'eps'"),
    "a positional argument too many": ("torch_npu.npu_swiglu(gate, up, -1)", "too many positional"),
    "an argument forgotten": ("import torch_npu as fast\nfast.npu_rotary_mul(x, cos)", "'r2'"),
    "a function that torch.npu lacks": ("torch.npu.sync()", "npu.sync is not"),
    "a submodule that is not there": ("torch_npu.optimizers.NpuFusedAdamW(parameters)", "optimizers"),
    "a class under its submodule's neighbour": ("from torch_npu.profiler import NpuFusedAdamW as A\nA(p)", "profiler.NpuFused"),
    "a keyword of an optimiser": ("torch_npu.optim.NpuFusedAdamW(p, lr=1e-3, fused=True)", "'fused'"),
    "through the device's module": ("class Device:\n    def f(self): self.module.max_memory(0)", "npu.max_memory "),
    "through get_device_module": ("m = torch.get_device_module(kind)\nm.set_device(index=0)", "'device'"),
    "an attribute that is not called": ("peak = torch.npu.max_memory_alocated", "max_memory_alocated"),
    "an operator by torch.ops": ("torch.ops.npu.npu_swiglu(x, axis=-1)", "'axis'"),
}


@pytest.mark.parametrize("source, words", PLANTED.values(), ids=PLANTED)
def test_planted_mistakes_are_caught(source, words):
    uses, wrong = check(source)
    assert len(wrong) == 1 and words in wrong[0], wrong


@pytest.mark.parametrize("source", [
    "import torch_npu",
    "if npu := fused(x):\n    y = npu.npu_rms_norm(x, weight, epsilon=1e-6)[0]",
    "torch_npu.npu_rotary_mul(x, cos, sin, rotary_mode='half')",
    "torch_npu.npu_fusion_attention(q, k, v, 8, 'BNSD', atten_mask=m, sparse_mode=2)",
    "torch_npu.npu_format_cast(x, other)",
    "torch.npu.synchronize()\ntorch.npu.synchronize(0)\ntorch.npu.set_device(int(rank))",
    "torch.npu.set_rng_state(state)\ntorch.npu.get_rng_state().cpu()",
    "torch.npu.config.allow_internal_format = False",
    "with torch.npu.stream(torch.npu.Stream()): pass",
    "torch_npu.profiler.profile(**options)\ntorch.npu.set_device(*cards)",
    "torch.cuda.anything()\nnpu = 3\nnpu.bit_length()\nself.npu.anything(1)",
])
def test_right_calls_raise_no_alarm(source):
    assert check(source)[1] == []


# ---------------------------------------------------------------- the tables

def test_both_tables_are_of_the_release_that_is_pinned():
    operators = json.loads((DATA / "npu_operators.json").read_text())
    assert operators.pop("wheel") == table()["wheel"]
    assert table()["wheel"].split("-")[1] in (ROOT / "environment-npu.yml").read_text()
    assert all(names == sorted(names) for names in operators.values())


@pytest.mark.skipif(not torch.__version__.startswith("2.13.0"), reason="the table is of torch 2.13.0")
def test_every_operator_of_torch_is_in_one_list():
    operators = json.loads((DATA / "npu_operators.json").read_text())
    listed = operators["native"] + operators["decomposed"] + operators["cpu"]
    assert sorted(listed) == sorted(name.removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names()
                                    if name.startswith("aten::"))
    assert {"mm", "_fused_adamw_", "_foreach_lerp_.Scalar", "native_layer_norm"} <= set(operators["native"])
    assert {"rms_norm", "linear", "_fused_rms_norm"} <= set(operators["decomposed"])
    assert {"huber_loss", "_fused_adamw_.tensor_lr"} <= set(operators["cpu"])


# ---------------------------------------------------------------- device names

# The simulated card and the dry run are about that one device; doctor.py names the row it prints.
ALLOWED = {"device.py": {"cuda", "npu", "mps"}, "doctor.py": {"npu"}}
ALLOWED |= {name: {"npu"} for name in ("simtensor.py", "generators.py", "kernels.py", "simulator.py", "memory.py", "fake_card.py", "__main__.py")}


def device_names(source: str) -> list[tuple[int, str]]:
    """Line and kind of every device that a source names: as a string, by `.cuda()`, or by `torch.cuda.…`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if name := re.fullmatch(r"(npu|cuda|mps)(:\d*)?", node.value):
                found.append((node.lineno, name[1]))
        elif isinstance(node, ast.Attribute) and node.attr in ("cuda", "npu", "mps"):
            found.append((node.lineno, node.attr))
    return found


def test_no_module_but_those_about_devices_names_one():
    named = {path.name: [(line, kind) for line, kind in device_names(code(path)) if kind not in ALLOWED.get(path.name, ())]
             for path in FILES if path.is_relative_to(ROOT / "minglm")}
    assert {name: found for name, found in named.items() if found} == {}


@pytest.mark.parametrize("source, kind", [
    ("x.to('cuda')", "cuda"), ("torch.device('npu:1')", "npu"), ("x.cuda()", "cuda"), ("x.npu()", "npu"),
    ("torch.cuda.synchronize()", "cuda"), ("torch.backends.mps.is_available()", "mps"), ("d = f'cuda:{rank}'", "cuda"),
])
def test_a_device_name_is_found(source, kind):
    assert (1, kind) in device_names(source)


def test_words_about_devices_are_no_device_names():
    assert device_names('"""On npu or cuda."""\n# cuda\nhelp="auto, cuda or npu"\nnpu = fused(x)\nnpu.npu_swiglu(x)') == []
