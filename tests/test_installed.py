"""Installed from a wheel, without the clone: an empty folder, and every command that reads data."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("setuptools", minversion="77")          # builds the wheel; the extra `test` brings it
ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"data": "**/*", "notebooks": "*.ipynb", "docs": "*.md play.png", "tests": "*.py", "minglm": "**/*.py"}
POSTER = 'A yellow poster with an apple in the centre and the red word "HELLO" at the bottom.'
COMMANDS = (["generate", POSTER, "--steps", "4", "--json"], ["evaluate", "--limit", "1", "--steps", "4", "--json"],
            ["train", "vae", "--config", "tiny", "--steps", "1"], ["classroom", "class"], ["doctor", "--json"])


def python(*arguments, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess:
    """Run Python in `cwd`. With `path`, minglm is found there: PYTHONPATH goes before an editable install."""
    environment = os.environ | dict(OMP_NUM_THREADS="1", PYTHONPATH=str(path or ""))
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True,
                          text=True, encoding="utf-8", timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from an sdist that was built from a copy of the clone: without network, leaving the clone as it is."""
    place = tmp_path_factory.mktemp("build")
    copy = place / "clone"
    copy.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    built = python("-c", "from setuptools import build_meta; build_meta.build_sdist('..')", cwd=copy)
    assert built.returncode == 0, built.stderr
    [sdist] = place.glob("minglm-*.tar.gz")
    built = python("-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", place, sdist, cwd=place)
    assert built.returncode == 0, built.stderr
    [path] = place.glob("minglm-*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder with minglm installed in it, and nothing else."""
    target = tmp_path_factory.mktemp("installed") / "site"
    done = python("-m", "pip", "install", "--no-index", "--no-deps", "--target", target, wheel, cwd=target.parent)
    assert done.returncode == 0, done.stderr
    return target


def test_wheel_holds_what_the_clone_holds(wheel):
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if name.startswith("minglm/")}
    wanted = set()
    for name, patterns in FOLDERS.items():
        inside = "minglm" if name == "minglm" else f"minglm/{name}"
        found = {f"{inside}/{path.relative_to(ROOT / name).as_posix()}" for pattern in patterns.split()
                 for path in (ROOT / name).glob(pattern) if path.is_file() and "__pycache__" not in path.parts}
        assert found, name
        wanted |= found
    assert held == wanted
    assert 20e6 < wheel.stat().st_size < 65e6               # the weights are most of it, 47 MB; and no second copy of anything


def test_the_installed_package_is_the_one_that_runs(site, tmp_path):
    ran = python("-c", "import minglm; print(minglm.__file__)", cwd=tmp_path, path=site)
    assert ran.stdout.strip() == str(site / "minglm" / "__init__.py")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_commands_work_in_an_empty_folder(command, site, tmp_path):
    ran = python("-m", "minglm", *command, cwd=tmp_path, path=site)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    if command[0] == "generate":
        done = json.loads(ran.stdout)
        with Image.open(tmp_path / done["out"]) as poster:
            assert poster.size == (128, 128) and len(poster.getcolors(128 * 128)) > 100
    elif command[0] == "evaluate":
        report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        assert report["pictures"] == 1 and report["scores"]
    elif command[0] == "train":
        assert (tmp_path / "runs" / "tiny" / "vae" / "model.safetensors").is_file()
    elif command[0] == "classroom":
        copies = sorted(path.name for path in (tmp_path / "class" / "students").glob("*.ipynb"))
        assert copies == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
        assert all((tmp_path / "class" / "students" / "source" / "docs" / name).is_file() for name in ("ascend.md", "play.png"))
        assert [*(tmp_path / "class" / "students" / "source" / "minglm").rglob("*.py")]     # linked modules
    else:
        assert json.loads(ran.stdout)["weights"] == ["mini"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_modules_without_data_say_so_in_one_line(command, tmp_path):
    shutil.copytree(ROOT / "minglm", tmp_path / "bare" / "minglm", ignore=shutil.ignore_patterns("__pycache__", "data"))
    ran = python("-m", "minglm", *command, cwd=tmp_path, path=tmp_path / "bare")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("minglm: minglm/data is missing") and "from a clone" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare"]      # nothing was begun
