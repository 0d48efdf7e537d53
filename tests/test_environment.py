"""The environment files agree with pyproject.toml, and no accelerator package can break us."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
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
CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"
ENVIRONMENTS = sorted(path.name for path in ROOT.glob("environment*.yml"))


# ------------------------------------------------------------------------ the environment files

def conda(name: str) -> tuple[list[str], list[str]]:
    """Conda requirements and pip requirements of an environment file."""
    entries = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["dependencies"]
    pip = [line for entry in entries if isinstance(entry, dict) for line in entry["pip"]]
    return [entry for entry in entries if isinstance(entry, str)], pip


def pins(lines: list[str]) -> dict[str, str]:
    """{name: version rule} of pip requirements, leaving out options and `-e .` lines."""
    found = map(Requirement, (line for line in lines if not line.startswith("-")))
    return {requirement.name: str(requirement.specifier) for requirement in found}


@pytest.fixture(params=ENVIRONMENTS)
def environment(request) -> tuple[list[str], list[str]]:
    return conda(request.param)


def test_all_environments_are_looked_at():
    assert ENVIRONMENTS == ["environment-npu-2.12.yml", "environment-npu.yml", "environment.yml"]


def test_python_satisfies_the_project(environment):
    [python] = [line for line in environment[0] if line.startswith("python=")]
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("name, local", [("environment.yml", ""), ("environment-npu.yml", "+cpu")])
def test_torch_is_pinned_as_in_the_project(name, local):
    expected = pins(PROJECT["dependencies"])["torch"]
    assert re.fullmatch(r"==\d+\.\d+\.\d+", expected)
    assert pins(conda(name)[1])["torch"] == expected + local


def test_every_environment_asks_for_the_cpu_build(environment):
    assert environment[1][0] == CPU_INDEX
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"TORCH_INDEX ?= {CPU_INDEX.split()[1]}" in makefile


def test_pip_takes_the_cpu_build_where_both_are_found(environment):
    """By the rules of version numbers, which are pip's: of those that a pin allows, the highest."""
    pin = SpecifierSet(pins(environment[1])["torch"])
    number = re.search(r"[\d.]+\d", str(pin))[0]
    found = [Version(number), Version(f"{number}+cpu")]
    assert max(pin.filter(found)) == found[1]
    wheel = pins(environment[1]).get("torch-npu")           # 2.12.0.post2 asks for torch 2.12.0
    assert wheel is None or wheel.removeprefix("==").split(".post")[0] == number


@pytest.mark.parametrize("name", ["environment.yml", "environment-npu.yml"])
def test_installs_minglm_with_extras_that_exist(name):
    [line] = [line for line in conda(name)[1] if line.startswith("-e")]
    extras = re.fullmatch(r"-e \.\[([a-z,]+)\]", line)[1].split(",")
    assert set(extras) <= set(EXTRAS)


def test_the_older_pair_lists_what_minglm_needs_beside_torch():
    listed = pins(conda("environment-npu-2.12.yml")[1])
    wanted = pins(PROJECT["dependencies"] + EXTRAS["ocr"] + EXTRAS["notebooks"])
    assert wanted.pop("torch") != listed.pop("torch")
    assert listed.pop("torch-npu") and listed.pop("pyyaml") == ""
    assert listed == wanted


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


def test_every_folder_of_the_package_is_in_the_wheel():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    wings = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("minglm/**/__init__.py")}
    mapped = {f"minglm.{folder}" for folder in ("data", "notebooks", "docs", "tests")}
    assert set(tools["packages"]) == wings | mapped
    assert tools["package-dir"] == {name: name.partition(".")[2] for name in mapped}


def test_version_is_written_once():
    import minglm

    assert minglm.__version__ == PROJECT["version"]


# ------------------------------------------------------------------------------------ make and torch

@pytest.fixture
def make(tmp_path):
    """make .venv/.torch in an empty folder: what it says. Of Python only `-c` is real; pip is not run but shown."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".made").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} "$@"\necho "ran: $*"\n')
    python.chmod(0o755)

    def run(*arguments: str, target: str = ".venv/.torch", path: Path | None = None) -> str:
        folders = [str(path)] if path else []
        variables = os.environ | dict(PATH=os.pathsep.join([*folders, os.environ["PATH"]]), no_proxy="*")
        variables = {name: value for name, value in variables.items() if name not in ("TORCH_INDEX", "MAKEFLAGS")}
        ran = subprocess.run(["make", target, *arguments], cwd=tmp_path, env=variables, capture_output=True,
                             text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


@needs_make
def test_make_takes_torch_from_an_index_that_answers(make):
    class Index(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    asked = []
    with HTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/whl/cpu"
        said = make(f"TORCH_INDEX={url}")
        server.shutdown()
    assert asked == ["/whl/cpu/torch/"]
    pin = "torch" + pins(PROJECT["dependencies"])["torch"]
    assert f"--index-url {url} {pin}" in said and f"{pin}: the CPU build, from {url}" in said


@needs_make
def test_make_gives_up_on_an_index_that_is_silent(make):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call and never says a word
        began = time.monotonic()
        said = make(f"TORCH_INDEX=http://127.0.0.1:{silent.getsockname()[1]}/cpu")
    assert time.monotonic() - began < 15
    assert "does not answer" in said and "ran:" not in said


@needs_make
def test_make_leaves_torch_to_pip_when_told_so_or_where_there_is_an_nvidia_card(make, tmp_path):
    assert "the build that pip takes by itself" in make("TORCH_INDEX=")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    (tmp_path / ".venv" / ".torch").unlink()
    assert "the build that pip takes by itself" in make(path=tmp_path)


@needs_make
def test_make_lists_its_targets(make):
    said = make(target="help")
    targets = re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert {"demo", "lint", "test"} < set(targets)
    assert re.findall(r"^  make (\S+)\t", said, re.M) == targets


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


def test_there_are_modules_to_look_at():
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
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
