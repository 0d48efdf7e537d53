"""The environment files agree with pyproject.toml, and no accelerator package can break us."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
MODULES = sorted((ROOT / "minglm").rglob("*.py"))


# ------------------------------------------------------------------------ the environment files

def conda(name: str) -> tuple[list[str], list[str]]:
    """Conda requirements and pip requirements of an environment file."""
    entries = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["dependencies"]
    pip = [line for entry in entries if isinstance(entry, dict) for line in entry["pip"]]
    return [entry for entry in entries if isinstance(entry, str)], pip


def pins(lines: list[str]) -> dict[str, str]:
    """{name: version rule} of pip requirements, leaving out `-e .` lines."""
    found = map(Requirement, (line for line in lines if not line.startswith("-e")))
    return {requirement.name: str(requirement.specifier) for requirement in found}


@pytest.fixture(params=["environment.yml", "environment-npu.yml"])
def environment(request) -> tuple[list[str], list[str]]:
    return conda(request.param)


def test_python_satisfies_the_project(environment):
    [python] = [line for line in environment[0] if line.startswith("python=")]
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["requires-python"])


def test_torch_is_pinned_alike(environment):
    expected = pins(PROJECT["dependencies"])["torch"]
    assert re.fullmatch(r"==\d+\.\d+\.\d+", expected)
    assert pins(environment[1])["torch"] == expected


def test_installs_minglm_with_extras_that_exist(environment):
    [line] = [line for line in environment[1] if line.startswith("-e")]
    extras = re.fullmatch(r"-e \.\[([a-z,]+)\]", line)[1].split(",")
    assert set(extras) <= set(EXTRAS)


def test_cpu_environment_has_no_torch_npu():
    conda_lines, pip_lines = conda("environment.yml")
    assert not [line for line in conda_lines + pip_lines if re.search("torch[-_]npu", line)]
    assert "npu" not in re.search(r"\[(.*)\]", pip_lines[-1])[1]


def test_npu_environment_pins_torch_npu_as_the_extra_does():
    [extra] = EXTRAS["npu"]
    assert pins(conda("environment-npu.yml")[1])["torch-npu"] == pins([extra])["torch-npu"]
    assert pins([extra])["torch-npu"] == pins(PROJECT["dependencies"])["torch"]


@pytest.mark.parametrize("system, machine, wanted", [
    ("Linux", "x86_64", True), ("Linux", "aarch64", True), ("Linux", "riscv64", False),
    ("Darwin", "arm64", False), ("Windows", "AMD64", False),
])
def test_npu_extra_is_for_linux_only(system, machine, wanted):
    [extra] = EXTRAS["npu"]
    place = {"platform_system": system, "platform_machine": machine}
    assert Requirement(extra).marker.evaluate(place) is wanted


def test_only_the_npu_extra_names_torch_npu():
    others = [line for name, lines in EXTRAS.items() if name != "npu" for line in lines]
    assert "torch-npu" not in pins(PROJECT["dependencies"] + others)
    referred = {extra for line in others for extra in Requirement(line).extras}
    assert "npu" not in referred and referred <= set(EXTRAS)


def test_version_is_written_once():
    import minglm

    assert minglm.__version__ == PROJECT["version"]


# ---------------------------------------------------------------- torch-npu installed, CANN absent

def python(code: str, *paths: Path) -> subprocess.CompletedProcess:
    """Run code in a fresh interpreter that finds `paths` and minglm, with none of our variables."""
    mine = ("TORCH_DEVICE_BACKEND_AUTOLOAD", "MINGLM_DEVICE", "PYTHONPATH")
    variables = {name: value for name, value in os.environ.items() if name not in mine}
    variables["PYTHONPATH"] = os.pathsep.join(map(str, (*paths, ROOT)))
    return subprocess.run([sys.executable, "-c", code], env=variables, cwd=ROOT,
                          capture_output=True, text=True, timeout=120)


@pytest.fixture
def torch_npu_without_cann(tmp_path) -> Path:
    """An installed torch-npu as it looks where CANN is absent: its first library is missing."""
    package, info = tmp_path / "torch_npu", tmp_path / "torch_npu-2.13.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text(
        'raise ImportError("libhccl.so: cannot open shared object file: No such file or directory'
        '\\nsecond line")\n')
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-npu\nVersion: 2.13.0\n")
    (info / "entry_points.txt").write_text("[torch.backends]\ntorch_npu = torch_npu:_autoload\n")
    return tmp_path


def test_the_fake_breaks_plain_torch(torch_npu_without_cann):
    """Proves that the next tests test something."""
    broken = python("import torch", torch_npu_without_cann)
    assert broken.returncode != 0 and "libhccl.so" in broken.stderr


@pytest.mark.parametrize("order", ["import minglm, torch", "import minglm.device"])
def test_minglm_keeps_torch_importable(torch_npu_without_cann, order):
    ran = python(f"{order}; import torch; print(torch.ones(2).sum().item())",
                 torch_npu_without_cann)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "2.0"


def test_reason_is_kept_and_auto_falls_back(torch_npu_without_cann):
    ran = python(
        "from minglm import device\n"
        "print(device.npu_status())\n"
        "print(device.npu_status() == device.npu_status())\n"
        "print(device.pick().kind in ('cpu', 'cuda'))\n"
        "try: device.pick('npu')\n"
        "except ValueError as error: print(error)\n", torch_npu_without_cann)
    assert ran.returncode == 0, ran.stderr
    status, same, fell_back, refusal = ran.stdout.splitlines()
    assert status.startswith("(False, ") and "CANN" in status
    assert "ImportError: libhccl.so: cannot open shared object file" in status
    assert "second line" not in status
    assert (same, fell_back) == ("True", "True")
    assert refusal.startswith("device 'npu' is not available: ") and "libhccl.so" in refusal


def test_import_minglm_is_cheap(torch_npu_without_cann):
    ran = python("import sys, minglm; print({'torch', 'torch_npu'} & set(sys.modules))",
                 torch_npu_without_cann)
    assert ran.stdout.strip() == "set()", ran.stderr


# ----------------------------------------------------------------------- what modules may not say

FORBIDDEN_DTYPES = {"float64", "double", "complex32", "complex64", "complex128", "cfloat",
                    "cdouble", "chalf", "complex", "polar", "view_as_complex"}
DEVICE_AWARE = {"device.py"}      # may say torch.cuda: it answers for everybody else
DTYPE_AWARE = {"simtensor.py", "check_13.py"}  # name the forbidden dtypes in order to reject them


def at_import(node: ast.AST):
    """The nodes that run when the module is imported: everything outside function bodies."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from at_import(child)


def violations(source: str, name: str = "module.py") -> list[str]:
    """Breaches of the device rules in one module, as `line: what`."""
    tree, found = ast.parse(source), []
    for node in at_import(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"{node.lineno}: import {each}" for each in names
                  if each.split(".")[0] == "torch_npu"]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        of_torch = isinstance(node.value, ast.Name) and node.value.id == "torch"
        if name not in DEVICE_AWARE and node.attr == "cuda":  # torch.cuda and tensor.cuda()
            found.append(f"{node.lineno}: .cuda")
        if name not in DTYPE_AWARE and of_torch and node.attr in FORBIDDEN_DTYPES:
            found.append(f"{node.lineno}: torch.{node.attr}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_keep_the_device_rules(path):
    assert violations(path.read_text(encoding="utf-8"), path.name) == []


@pytest.mark.parametrize("source", [
    "import torch_npu", "try:\n    import torch_npu.npu\nexcept ImportError:\n    pass",
    "from torch_npu import npu", "x.cuda()", "torch.cuda.synchronize()",
    "def f(x):\n    return x.to(torch.float64)", "torch.view_as_complex(x)",
])
def test_the_rules_bite(source):
    assert len(violations(source)) == 1


def test_the_rules_let_good_code_pass():
    assert violations("def f():\n    import torch_npu\n    return torch.float32") == []
    assert violations("numpy.float64(1)  # fine: the host has float64") == []
