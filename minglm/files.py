"""Files of the project, and how files are written: whole or not at all.

A file is written under a temporary name and renamed, so that a crash or a full disk leaves what was there.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from secrets import token_hex

from safetensors import SafetensorError

from minglm.validate import first_line

PACKAGE = Path(__file__).resolve().parent
# a wheel holds data/ inside, a clone beside
HOME = PACKAGE if (PACKAGE / "data").is_dir() else PACKAGE.parent
DATA = HOME / "data"


def check_data() -> None:
    """Raise ValueError unless the data are there: a copy of the modules alone has none."""
    if not (DATA / "objects.json").is_file():  # a folder called data may be anybody's
        raise ValueError(
            "minglm/data is missing: run from a clone, installed with pip install -e ., or install a wheel"
        )


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary file to write to, which is renamed to `path` at the end. After a failure, of whatever kind,
    nothing is left of it, and a file that was at `path` before is untouched.

    Missing folders are created. The file gets the mode that the umask gives, whatever a library chose:
    safetensors would let only the owner read it. Raises OSError naming the file if it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{token_hex(4)}.tmp")       # no file of the user's is called so
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    except (RuntimeError, SafetensorError) as error:         # torch and safetensors, where the disk is full
        raise OSError(f"cannot write {path}, is the disk full? {first_line(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def put_aside(path: Path, folder: Path | None = None) -> Path | None:
    """Rename what is at `path`, if anything, to the first free name: a.1.json, a.2.json, ..., beside it or in
    another folder, which is made; returns it."""
    if not path.exists():
        return None
    folder = folder or path.parent
    folder.mkdir(parents=True, exist_ok=True)
    names = (folder / f"{path.stem}.{n}{path.suffix}" for n in count(1))
    return path.rename(next(name for name in names if not name.exists()))


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
