"""The training loop: one generator for every stage, with checkpoints that resume exactly.

A run is a pure function of (config, seed, step): stages make each batch, with all its noise, from
the step number, so a run stopped at any moment and resumed gives the losses of a run never
stopped. The caller owns the loop and decides what to print, plot, or when to stop:

    for step in train(stage, device, folder="runs/mini/training/vae"):
        print(step.number, step.loss)
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from minglm.device import Device
from minglm.muon import Muon


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a stage trains."""

    steps: int
    batch: int
    lr: float = 1e-3                         # AdamW: embeddings, norms, biases, first and last layers
    muon_lr: float = 0.0                     # Muon for hidden matrices; 0: AdamW for everything
    weight_decay: float = 0.01
    warmup: int = 100
    decay: float = 0.3                       # share of the steps over which lr falls to zero, linearly
    clip: float = 1.0
    ema: float = 0.999

    def rate(self, step: int) -> float:
        """The learning rate of a step, as a share of the largest."""
        end = max(1, round(self.steps * self.decay))
        return min(1.0, (step + 1) / max(1, self.warmup), max(0.0, (self.steps - step) / end))


@dataclass
class Stage:
    """One thing to train: its modules, the batch of a step, and the loss of a batch."""

    name: str
    model: nn.Module                         # everything the optimiser changes
    batch: Callable[[int], dict]             # step number -> tensors on the device
    loss: Callable[[dict], tuple[Tensor, dict[str, Tensor]]]
    recipe: Recipe
    muon: Callable[[str], bool] = lambda name: False  # names of the hidden matrices


@dataclass
class Step:
    """What happened at one step. `loss` and `stats` are read from the device when asked for."""

    number: int                              # steps done so far, so the first is 1
    steps: int
    seconds: float                           # trained so far, over all resumed runs
    samples_per_second: float
    values: dict[str, Tensor] = field(repr=False, default_factory=dict)

    @property
    def loss(self) -> float:
        return float(self.values["loss"])

    @property
    def stats(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.values.items()}


def optimisers(stage: Stage) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices the stage names. Build after the model is on its device."""
    recipe, named = stage.recipe, [(n, p) for n, p in stage.model.named_parameters() if p.requires_grad]
    hidden = [p for n, p in named if recipe.muon_lr and p.ndim == 2 and stage.muon(n)]
    chosen = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in chosen]
    groups = [dict(params=[p for p in rest if p.ndim >= 2], weight_decay=recipe.weight_decay),
              dict(params=[p for p in rest if p.ndim < 2], weight_decay=0.0)]
    made = [torch.optim.AdamW([g for g in groups if g["params"]], lr=recipe.lr, betas=(0.9, 0.98), fused=True)]
    if hidden:
        made.append(Muon(hidden, lr=recipe.muon_lr, weight_decay=recipe.weight_decay,
                         momentum=0.95, ns_steps=4, adjust_lr_fn="match_rms_adamw"))
    return made


class EMA:
    """A running average of a model's parameters; what is shipped is this average."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.live = [p for p in model.parameters() if p.requires_grad]
        self.mean = [p.detach().clone() for p in self.live]

    def update(self, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - keep)

    def swap(self) -> None:
        """Exchange the model's parameters with the average; call again to change back."""
        for p, m in zip(self.live, self.mean):
            value = p.detach().clone()
            p.data.copy_(m)
            m.copy_(value)


def to_cpu(value):
    """A nested structure with every tensor on the CPU, as checkpoints hold them."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {k: to_cpu(v) for k, v in value.items()}
    return [to_cpu(v) for v in value] if isinstance(value, (list, tuple)) else value


def save(path: Path, state: dict) -> None:
    """Write a checkpoint so that a crash at any moment leaves the old or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(to_cpu(state), temporary)
    os.replace(temporary, path)


def load(path: Path) -> dict:
    """Read a checkpoint; only tensors and plain values are ever unpickled.

    Raises ValueError naming the file if it is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"cannot read checkpoint {path}: {reason}") from error


def restore(checkpoint: Path, stage: Stage, made: list[torch.optim.Optimizer], average: EMA) -> tuple[int, float]:
    """Put a checkpoint's state into model, optimisers and average; returns its step and seconds.

    A run may be made longer or shorter, so `steps` may differ from the recipe it was begun with.
    Raises ValueError if it is of another stage, recipe or size.
    """
    state, recipe = load(checkpoint), asdict(replace(stage.recipe, steps=0))
    wanted = {"stage", "recipe", "step", "seconds", "model", "average", "optimisers"}
    if not isinstance(state, dict) or wanted - state.keys():
        raise ValueError(f"{checkpoint} is not a checkpoint of this program")
    if state["stage"] != stage.name:
        raise ValueError(f"{checkpoint} is of stage {state['stage']!r}, not {stage.name!r}")
    if changed := [f"{k} {state['recipe'].get(k)}, not {v}" for k, v in recipe.items() if state["recipe"].get(k) != v]:
        raise ValueError(f"{checkpoint} is of another recipe: {', '.join(changed)}")
    try:
        stage.model.load_state_dict(state["model"])
        for optimiser, values in zip(made, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        for mean, value in zip(average.mean, state["average"], strict=True):
            mean.copy_(value)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{checkpoint} is of a model of another size: {str(error).splitlines()[-1].strip()}") from error
    return state["step"], state["seconds"]


class Log:
    """Step, loss and the other numbers of a run, in a CSV file that resuming continues."""

    def __init__(self, path: Path, done: int):
        rows = []
        if path.exists() and done:
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= done]
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.header = path, None
        path.write_text("")
        for row in rows:
            self.add(row)

    def add(self, row: dict) -> None:
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.header or list(row))
            if self.header is None:
                writer.writeheader()
                self.header = list(row)
            writer.writerow(row)


def train(stage: Stage, device: Device, folder: str | Path | None = None, resume: bool = False,
          save_every: float = 120.0, log_every: int = 20) -> Iterator[Step]:
    """Train `stage` to the end of its recipe, yielding after every step.

    folder: where checkpoint.pt and log.csv go (None: nowhere). resume: go on from the
    checkpoint there, if there is one. A checkpoint is written every `save_every` seconds, when
    the caller stops the loop, and at the end. When the generator is exhausted the model holds
    the averaged parameters. Raises ValueError for a checkpoint of another stage or recipe, and
    FloatingPointError as soon as a loss that is logged or to be saved is not finite.
    """
    recipe, model = stage.recipe, stage.model
    made, average = optimisers(stage), EMA(model, recipe.ema)
    checkpoint = Path(folder) / "checkpoint.pt" if folder else None
    start, spent = 0, 0.0
    if resume and checkpoint and checkpoint.exists():
        start, spent = restore(checkpoint, stage, made, average)
    log = Log(Path(folder) / "log.csv", start) if folder else None

    def write(step: int, seconds: float) -> None:
        if checkpoint:
            save(checkpoint, dict(stage=stage.name, recipe=asdict(replace(recipe, steps=0)), step=step, seconds=seconds,
                                  model=model.state_dict(), average=average.mean,
                                  optimisers=[o.state_dict() for o in made]))

    began = saved = recent = time.monotonic()
    done, speed, marked = start, 0.0, start
    try:
        for step in range(start, recipe.steps):
            model.train()
            for optimiser in made:
                for group in optimiser.param_groups:
                    base = recipe.muon_lr if isinstance(optimiser, Muon) else recipe.lr
                    group["lr"] = base * recipe.rate(step)
            batch = stage.batch(step)
            with device.autocast():
                loss, stats = stage.loss(batch)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            for optimiser in made:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            average.update(step)
            done, now = step + 1, time.monotonic()
            values = dict(loss=loss.detach(), **stats, grad=norm.detach())
            result = Step(done, recipe.steps, spent + now - began, speed, values)
            logged, due = done % log_every == 0 or done == recipe.steps, now - saved > save_every
            if (logged or due) and not torch.isfinite(loss.detach().cpu()):       # before it is saved
                raise FloatingPointError(f"the loss of {stage.name} is {result.loss} at step {done}")
            if logged:
                speed = (done - marked) * recipe.batch / max(1e-9, now - recent)
                marked, recent, result.samples_per_second = done, now, speed
                row = dict(step=done, **{k: f"{v:.5g}" for k, v in result.stats.items()},
                           samples_per_second=f"{speed:.1f}", seconds=f"{result.seconds:.1f}")
                if log:
                    log.add(row)
            if due:
                write(done, result.seconds)
                saved = time.monotonic()
            yield result
    except GeneratorExit:
        write(done, spent + time.monotonic() - began)
        raise
    write(done, spent + time.monotonic() - began)
    average.swap()
