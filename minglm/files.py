"""Files of the project and how they are written: whole or not at all.

A file is written under a temporary name and renamed, so that a crash or a full disk leaves what was there.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

PACKAGE = Path(__file__).resolve().parent
# a wheel holds data/ inside, a clone beside
HOME = PACKAGE if (PACKAGE / "data").is_dir() else PACKAGE.parent
DATA = HOME / "data"


def check_data() -> None:
    """Raises ValueError unless the data are there: a plain copy of the package's modules has none."""
    if not DATA.is_dir():
        raise ValueError(
            "minglm/data is missing: run from a clone, installed with pip install -e ., or install a wheel"
        )


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes `path` at the end; of a failure nothing is left, and what
    was there before stays.

    The folder is created, and the file gets the mode that the umask gives, since safetensors would let its
    owner alone read it. Raises OSError naming the file, whichever error a library makes of a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        # has the right mode; a library may replace the file, so it is read here
        with temporary.open("wb"):
            mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise OSError(f"cannot write {path}: {reason}") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict:
    """An object of a JSON file. Raises ValueError naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"incomplete weights: {path} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {values!r}, not an object with names and values")
    return values


def write_json(path: Path, values: dict) -> None:
    """Write an object as a JSON file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def writable(path: Path) -> None:
    """Raise ValueError unless a file can be written at `path`: asked before the work, not after."""
    folder = path.parent
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    if not folder.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror}") from None
