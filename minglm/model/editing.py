"""What planner and decoder learn in order to edit: adapters beside their weights, on only while they edit.

GLM-Image draws and edits with the same weights. In models this small one task displaces the other: after
1,200 steps, every third on posters and the others on edits, English texts and backgrounds came out right in
0.46 of free prompts, down from 0.71 (one plan each). So here the weights stay what drawing has made of them,
and edits train a LoRA adapter of each model (lora.py) and the planner's pointer (copying.py). They are added
to the weights while a picture is edited, and taken off again to the last bit.

    edits/planner/   adapter_config.json, adapter_model.safetensors (lora_files.py), copying.safetensors
    edits/decoder/   adapter_config.json, adapter_model.safetensors
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minglm.files import whole_file
from minglm.model import lora_files
from minglm.model.copying import Copying
from minglm.model.decoder import Decoder
from minglm.model.lora import Adapter, LoRALinear
from minglm.model.planner import Planner
from minglm.model.weights import misfits

FOLDER, POINTER = "edits", "copying.safetensors"
PARTS = ("planner", "decoder")


class Editing:
    """The adapters of a planner and a decoder; without any it does nothing.

    folder: of weights that have them. They are read when they are first needed, since most never edit.
    """

    def __init__(self, planner: Planner, decoder: Decoder, adapters: dict[str, Adapter] | None = None,
                 copying: Copying | None = None, folder: Path | None = None):
        self.models = dict(planner=planner, decoder=decoder)
        self.adapters, self.copying, self.folder = adapters or {}, copying, folder

    @contextmanager
    def on(self, wanted: bool = True) -> Iterator[None]:
        """Inside, planner and decoder edit (or draw, if not `wanted`), whatever their state before. Other
        adapters on them are left as they are. Raises ValueError as `load` does."""
        if wanted:
            self.load()
        every = [layer for adapter in self.adapters.values() for layer in adapter.values()]
        others = [layer for layer in every if (layer.kept is not None) != wanted]
        planner = self.models["planner"]
        before, planner.copying = planner.copying, self.copying if wanted else None
        flip(others)
        try:
            yield
        finally:
            planner.copying = before
            flip(others)

    def load(self) -> None:
        """Read the adapters in the folder, once. Raises ValueError naming what is missing or wrong."""
        if self.folder is None:
            return
        places = {part: self.folder / FOLDER / part for part in PARTS}
        found = {part: lora_files.load(self.models[part], place) for part, place in places.items()}
        self.copying = load_pointer(places["planner"] / POINTER, self.models["planner"])
        self.adapters, self.folder = found, None

    def save(self, folder: Path, weights: str) -> None:
        """Write what there is to the folder of the weights, of the name `weights`."""
        self.load()
        for part, adapter in self.adapters.items():
            save_part(folder, part, self.models[part], weights, adapter, self.copying)


def flip(layers: list[LoRALinear]) -> None:
    """Add each adapter to the weights, or, if it is in them, take it out again."""
    for layer in layers:
        if layer.kept is None:
            layer.merge()
        else:
            layer.unmerge()


def save_part(folder: Path, part: str, model: Planner | Decoder, weights: str,
              adapter: Adapter | None = None, copying: Copying | None = None) -> None:
    """Write an adapter, None: the one that is on the model, and the planner's pointer, in half precision."""
    place = folder / FOLDER / part
    lora_files.save(model, place, weights, adapter, torch.float16)
    if part == "planner":
        tensors = {k: v.detach().cpu().half().contiguous() for k, v in copying.state_dict().items()}
        with whole_file(place / POINTER) as temporary:
            save_file(tensors, temporary)


def load_pointer(path: Path, planner: Planner) -> Copying:
    """The pointer of a planner. Raises ValueError naming the file if it is missing or does not fit."""
    copying = Copying(planner.config.width)
    try:
        tensors = {k: v.float() for k, v in load_file(path).items()}
    except FileNotFoundError:
        raise ValueError(f"incomplete weights: {path} is missing") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"cannot read {path}, it is damaged or cut short: {error}") from None
    if wrong := misfits(tensors, {k: tuple(v.shape) for k, v in copying.state_dict().items()}):
        raise ValueError(f"{path} does not fit the planner: {'; '.join(sorted(wrong)[:5])}")
    copying.load_state_dict(tensors)
    return copying.to(planner.embed.weight.device, planner.embed.weight.dtype).requires_grad_(False)


def complete(folder: Path) -> bool:
    """Whether a folder of weights has the adapters of both models."""
    return all((folder / FOLDER / part / lora_files.TENSORS).is_file() for part in PARTS)
