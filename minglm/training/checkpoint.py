"""Checkpoints: everything a run needs to go on as if it had never stopped.

    checkpoint.pt            of one process, or of DDP, where all ranks hold the same
    shards-N/                of FSDP: each rank's slices, as safetensors, and run.json

Either loads on any number of ranks, sharded or not. Both are written whole or not at all: under another
name, then renamed, and only then is the previous one removed. Nothing but tensors and plain values is ever
unpickled, which is why the shards are safetensors.
"""

from __future__ import annotations

import shutil
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from minglm.files import read_json, whole_file, write_json
from minglm.training import ranks, sharding
from minglm.training.optimisers import EMA
from minglm.training.recipe import Stage
from minglm.validate import first_line

Optimisers = list[torch.optim.Optimizer]


def write(
    folder: Path, stage: Stage, made: Optimisers, average: EMA, step: int, seconds: float, sharded: bool
) -> None:
    """Write the state after `step` steps; all ranks call this together.

    Raises OSError naming the file if there is no room for it; the previous checkpoint is then still there.
    """
    state = dict(stage=stage.name, recipe=asdict(replace(stage.recipe, steps=0)), step=step, seconds=seconds)
    before = everything(folder)
    if not ranks.rank():
        remove([*folder.glob(".*.tmp")])     # of a process that was killed while it wrote
    if sharded:
        write_shards(folder, state, shards(stage, made, average))
    elif not ranks.rank():
        save(folder / "checkpoint.pt", state | dict(model=stage.model.state_dict(), average=average.mean,
                                                    optimisers=[o.state_dict() for o in made]))
    if not ranks.rank():
        # a file has been replaced already
        remove([path for path in before if sharded or path.is_dir()])


def remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def everything(folder: Path) -> list[Path]:
    """The checkpoints of a folder."""
    return [p for p in (folder / "checkpoint.pt", *folder.glob("shards-*")) if p.exists()]


def refuse_earlier(folder: Path) -> None:
    """Raise ValueError, on all ranks, if a run has left a checkpoint here, which a new run would replace."""
    if ranks.agreed(bool(everything(folder))):
        raise ValueError(f"{folder} holds a checkpoint: resume it, or train in another folder")


def latest(folder: Path | None) -> Path | None:
    """The newest checkpoint of a folder; there are two only after a crash between writing and removing."""
    return max(everything(folder), key=lambda p: p.stat().st_mtime, default=None) if folder else None


def restore(path: Path, stage: Stage, made: Optimisers, average: EMA) -> tuple[int, float]:
    """Put a checkpoint's state into model, optimisers and average; returns its step and seconds.

    A run may be made longer or shorter, so `steps` may differ from the recipe it was begun with.
    Raises ValueError if it is damaged or of another stage, recipe or size.
    """
    state = read_json(path / "run.json") if path.is_dir() else load(path)
    recipe, wanted = asdict(replace(stage.recipe, steps=0)), {"stage", "recipe", "step", "seconds"}
    wanted |= set() if path.is_dir() else {"model", "average", "optimisers"}
    if not isinstance(state, dict) or wanted - state.keys():
        raise ValueError(f"{path} is not a checkpoint of this program")
    if state["stage"] != stage.name:
        raise ValueError(f"{path} is of stage {state['stage']!r}, not {stage.name!r}")
    if changed := [
        f"{k} {state['recipe'].get(k)}, not {v}" for k, v in recipe.items() if state["recipe"].get(k) != v
    ]:
        raise ValueError(f"{path} is of another recipe: {', '.join(changed)}")
    try:
        if path.is_dir():
            read_shards(path, shards(stage, made, average))
        else:
            fill(state, stage, made, average)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged or of a model of another size: {str(error).splitlines()[-1].strip()}"
        ) from error
    return state["step"], state["seconds"]


# ---------------------------------------------------------------- one file

def to_cpu(value):
    """A nested structure with every tensor on the CPU, as checkpoints hold them."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {k: to_cpu(v) for k, v in value.items()}
    return [to_cpu(v) for v in value] if isinstance(value, (list, tuple)) else value


def save(path: Path, state: dict) -> None:
    """Write a checkpoint so that a crash at any moment leaves the old or the new one, whole."""
    state = to_cpu(state)
    with whole_file(path) as temporary:
        torch.save(state, temporary)


def load(path: Path) -> dict:
    """Read a checkpoint; only tensors and plain values are ever unpickled.

    Raises ValueError naming the file if it is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = first_line(error) or type(error).__name__
        raise ValueError(f"cannot read checkpoint {path}: {reason}") from error


def fill(state: dict, stage: Stage, made: Optimisers, average: EMA) -> None:
    """What a file holds into model, optimisers and average, each rank taking its slices."""
    model = stage.model.state_dict()
    stage.model.load_state_dict({k: sharding.like(v, model.get(k)) for k, v in state["model"].items()})
    for optimiser, values in zip(made, state["optimisers"], strict=True):
        held = [p for group in optimiser.param_groups for p in group["params"]]
        values["state"] = {i: {k: sharding.like(v, held[i]) if v.ndim else v for k, v in of.items()}
                           for i, of in values["state"].items()}
        optimiser.load_state_dict(values)
    for mean, value in zip(average.mean, state["average"], strict=True):
        mean.copy_(sharding.like(value, mean))


# ---------------------------------------------------------------- a folder of shards

def shards(stage: Stage, made: Optimisers, average: EMA) -> dict[str, Tensor]:
    """Name -> tensor, all that a run changes, in place; optimisers that never stepped get the state that
    they would start with."""
    names = {p: name for name, p in stage.model.named_parameters()}
    out = {f"model.{name}": value for name, value in stage.model.state_dict().items()}
    out |= {f"average.{names[p]}": mean for p, mean in zip(average.live, average.mean)}
    for optimiser in made:
        for p in (p for group in optimiser.param_groups for p in group["params"]):
            state = optimiser.state[p]
            if not state and isinstance(optimiser, torch.optim.Muon):
                state.update(momentum_buffer=torch.zeros_like(p))
            elif not state:
                state.update(step=torch.zeros((), device=p.device), exp_avg=torch.zeros_like(p),
                             exp_avg_sq=torch.zeros_like(p))
            out |= {f"optimiser.{names[p]}.{k}": v if v.ndim else v.view(1) for k, v in state.items()}
    return out


def write_shards(folder: Path, state: dict, tensors: dict[str, Tensor]) -> None:
    """Every rank writes its slices; rank 0 then renames the folder. Raises OSError if there is no room."""
    import torch.distributed.checkpoint as dcp  # with what it imports, most of a second

    temporary = folder / "shards.tmp"
    number = 1 + max((int(p.name.removeprefix("shards-")) for p in folder.glob("shards-*")), default=0)
    if not ranks.rank():
        shutil.rmtree(temporary, ignore_errors=True)
        write_json(temporary / "run.json", state)
    dist.barrier()
    try:                                     # if one rank fails all are told, and raise
        dcp.save(tensors, storage_writer=dcp.HuggingFaceStorageWriter(str(temporary), save_distributed=True))
    except dcp.CheckpointException as error:
        if not ranks.rank():
            shutil.rmtree(temporary, ignore_errors=True)
        reason = next(iter(error.failures.values()))[0]
        raise OSError(f"cannot write {folder / f'shards-{number}'}: {reason}") from None
    dist.barrier()
    if not ranks.rank():
        temporary.rename(folder / f"shards-{number}")


def read_shards(path: Path, tensors: dict[str, Tensor]) -> None:
    """Fill `tensors`, each rank its slices. Raises ValueError if the folder is damaged or holds others."""
    import torch.distributed.checkpoint as dcp

    with warnings.catch_warnings():
        # one process may well read them
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        try:
            dcp.load(tensors, storage_reader=dcp.HuggingFaceStorageReader(str(path)))
        except dcp.CheckpointException as error:
            raise ValueError(str(error)) from error
