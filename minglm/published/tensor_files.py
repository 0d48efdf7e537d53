"""Safetensors files, one tensor at a time: so that loading a model takes the memory of the model.

A file is eight bytes that say how long its header is, a header of JSON, and the numbers:

    {"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, ...}

It can hold nothing that runs. A large model is several such files and an index that says which
tensor is in which. Mapping whole files into memory, as the library does, would hold the file beside
what is made of it; here one small buffer is between the disk and the final tensor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from minglm.files import read_json, whole_file, write_json

KINDS = dict(F32=torch.float32, F16=torch.float16, BF16=torch.bfloat16)
BUFFER = 4 * 2 ** 20                         # bytes between disk and tensor
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Stored:
    """Where one tensor stands."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int                               # byte of the file


def header(path: Path) -> dict[str, Stored]:
    """The tensors of one file. Raises ValueError if it is missing, damaged, cut short, or holds numbers
    that are not of 32- or 16-bit floating point."""
    broken = f"cannot read {path}, it is damaged or cut short"
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise ValueError(f"{broken}: a header of {length} bytes in a file of {size}")
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        out, end = {}, 8 + length
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            if entry["dtype"] not in KINDS:
                raise ValueError(f"{path}: {name} is of type {entry['dtype']}, not {', '.join(KINDS)}")
            first, last = (8 + length + offset for offset in entry["data_offsets"])
            stored = Stored(path, KINDS[entry["dtype"]], tuple(entry["shape"]), first)
            if not all(type(side) is int and side >= 0 for side in stored.shape):
                raise TypeError(f"{name} has shape {stored.shape}")
            if first != end or last - first != math.prod(stored.shape) * stored.dtype.itemsize:
                raise ValueError(f"{broken}: {name} does not stand where it should")
            out[name], end = stored, last
    except FileNotFoundError:
        raise ValueError(f"incomplete weights: {path} is missing") from None
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError,
            RecursionError) as error:
        raise ValueError(f"{broken}: {error!r}") from None
    if end != size:
        raise ValueError(f"{broken}: {end} bytes are announced, {size} are there")
    return out


def find(folder: Path, stem: str) -> dict[str, Stored]:
    """Every tensor of a folder: of STEM.safetensors, or of the files its index names.

    Raises ValueError if there are none, if one is missing or damaged, or if index and files differ.
    Pickles are never opened: they can run code.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        if not single.is_file() and folder.is_dir():
            if pickles := sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES):
                raise ValueError(
                    f"{folder / pickles[0]} is a pickle, which can run code and is never opened: "
                    f"{single} is needed"
                )
        return header(single)
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(
        isinstance(f, str) and Path(f).name == f for f in places.values()
    ):
        raise ValueError(f"{index} has no weight_map of names of files beside it")
    out = {}
    for file in sorted(set(places.values())):
        for name, stored in header(folder / file).items():
            if places.get(name) != file:
                raise ValueError(f"{folder / file} holds {name}, which {index} does not place there")
            out[name] = stored
    if lost := sorted(places.keys() - out.keys()):
        raise ValueError(
            f"{folder / places[lost[0]]} does not hold {', '.join(lost[:5])}, which {index} places there"
        )
    return out


@cache
def buffer() -> Tensor:
    """The bytes on their way from disk to tensor. Kept: freed after each tensor it would leave holes
    between them, too small for the next, a fifth of the model in all."""
    return torch.empty(BUFFER, dtype=torch.uint8)


def read(stored: Stored, dtype: torch.dtype) -> Tensor:
    """One tensor, converted to `dtype` on its way in."""
    out = torch.empty(stored.shape, dtype=dtype)
    with open(stored.file, "rb", buffering=0) as file:
        file.seek(stored.start)
        for part in out.view(-1).split(BUFFER // stored.dtype.itemsize):
            piece = buffer()[:len(part) * stored.dtype.itemsize]
            view = memoryview(piece.numpy())
            while len(view):
                got = file.readinto(view)
                if not got:
                    raise ValueError(f"cannot read {stored.file}: it was cut short while it was read")
                view = view[got:]
            part.copy_(piece.view(stored.dtype))
    return out


def write(folder: Path, stem: str, tensors: dict[str, Tensor], limit: int = 5 * 10 ** 9) -> None:
    """Write tensors as STEM.safetensors, or as several files of at most `limit` bytes and their index.

    Each file is whole or not there; a tensor is made contiguous when its file is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups, room = [{}], limit
    for name, tensor in tensors.items():
        if tensor.nbytes > room and groups[-1]:
            groups.append({})
            room = limit
        groups[-1][name] = tensor
        room -= tensor.nbytes
    many = len(groups) > 1
    names = [f"{stem}-{i:05d}-of-{len(groups):05d}.safetensors" if many else f"{stem}.safetensors"
             for i in range(1, len(groups) + 1)]
    for file, group in zip(names, groups):
        laid_out = {k: v.detach().cpu().contiguous() for k, v in group.items()}
        with whole_file(folder / file) as temporary:
            save_file(laid_out, temporary, metadata={"format": "pt"})
    index = folder / f"{stem}.safetensors.index.json"
    index.unlink(missing_ok=True)
    if many:
        places = {name: file for file, group in zip(names, groups) for name in group}
        size = sum(tensor.nbytes for tensor in tensors.values())
        write_json(index, dict(metadata=dict(total_size=size), weight_map=places))
