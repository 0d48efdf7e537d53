"""Files of the project and how they are written: whole or not at all.

A file is written under a temporary name and renamed, so that a crash or a full disk leaves what was there.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


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
