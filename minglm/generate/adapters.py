"""LoRA adapters on the planner and the decoder of a pipeline (model/lora.py): loaded, merged, taken off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from minglm.model import lora, lora_files
from minglm.validate import real


class Adapters:
    """What is on which model; at most one adapter on each."""

    def __init__(self, planner: nn.Module, decoder: nn.Module):
        self.models = dict(planner=planner, decoder=decoder)
        self.loaded: dict[str, lora.Adapter] = {}

    def load(self, folder: str | Path, scale: float, merge: bool) -> None:
        """Put on the adapters of a folder, as `minglm train --lora` or PEFT write it.

        folder: an adapter, or a folder with one in planner/, in decoder/ or in both. scale: how strong, 1 as
        trained. merge: add them into the weights, which then paint as fast as without. Raises ValueError, and
        changes nothing, if an adapter does not fit or there is one already.
        """
        scale, places = real("scale", scale), lora_files.find(folder)
        if taken := places.keys() & self.loaded.keys():
            raise ValueError(f"there is an adapter on the {min(taken)} already: unload_lora takes it off")
        found = {part: lora_files.load(self.models[part], place, scale) for part, place in places.items()}
        for part, adapter in found.items():
            (lora.merge if merge else lora.attach)(self.models[part], adapter)
        self.loaded |= found

    def unload(self) -> None:
        """Take them off: the weights are what they were, to the last bit."""
        while self.loaded:
            part, adapter = self.loaded.popitem()
            lora.detach(self.models[part], adapter)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """For a while all are merged, so that the models have ordinary weights, to be saved say."""
        beside = [(self.models[part], adapter) for part, adapter in self.loaded.items()
                  if any(layer.kept is None for layer in adapter.values())]
        for model, adapter in beside:
            lora.merge(model, adapter)
        try:
            yield
        finally:
            for model, adapter in beside:
                lora.unmerge(model, adapter)
