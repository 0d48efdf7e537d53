"""The training loop: one generator for every stage, with checkpoints that resume exactly.

A run is a pure function of (config, seed, step): stages make each batch, with all its noise, from
the step number, so a run stopped at any moment and resumed gives the losses of a run never
stopped. The caller owns the loop and decides what to print, plot, or when to stop:

    for step in train(stage, device, folder="runs/mini/training/vae"):
        print(step.number, step.loss)
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from minglm import checkpoint, parallel, sharding
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
    batch: Callable[..., dict]               # step number (and which samples) -> tensors on the device
    loss: Callable[[dict], tuple[Tensor, dict[str, Tensor]]]
    recipe: Recipe
    muon: Callable[[str], bool] = lambda name: False  # names of the hidden matrices
    after: Callable[[], dict[str, Tensor]] = dict     # once a step, behind its losses; more numbers to log


@dataclass
class Step:
    """What happened at one step. `loss` and `stats` are read from the device when first asked for, at once."""

    number: int                              # steps done so far, so the first is 1
    steps: int
    seconds: float                           # trained so far, over all resumed runs
    samples_per_second: float
    values: dict[str, Tensor] = field(repr=False, default_factory=dict)

    @property
    def loss(self) -> float:
        return self.stats["loss"]

    @cached_property
    def stats(self) -> dict[str, float]:
        return dict(zip(self.values, torch.stack([value.float() for value in self.values.values()]).tolist()))


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
        made.append(Muon(hidden, lr=recipe.muon_lr, weight_decay=recipe.weight_decay, momentum=0.95, ns_steps=4))
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


class Log:
    """Step, loss and the other numbers of a run, in a CSV file that resuming continues."""

    def __init__(self, path: Path, done: int):
        rows = []
        if path.exists() and done:
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= done]
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.header = path.with_suffix(".tmp"), None                  # a crash leaves the old one or this
        self.path.write_text("")
        for row in rows:
            self.add(row)
        self.path = self.path.replace(path)

    def add(self, row: dict) -> None:
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.header or list(row))
            if self.header is None:
                writer.writeheader()
                self.header = list(row)
            writer.writerow(row)


def check(stage: Stage, step: Step) -> None:
    """Raise FloatingPointError unless the loss and the gradient of a step, and so the parameters behind it, are finite."""
    for name in ("loss", "grad"):
        if not math.isfinite(step.stats[name]):
            raise FloatingPointError(f"the {name} of {stage.name} is {step.stats[name]} at step {step.number}")


def gradients(compute: Callable, parts: list[dict], device: Device) -> dict[str, Tensor]:
    """Gradients of the mean loss of a step's parts; returns loss and stats, each its mean."""
    rows = []
    for part in parts:
        with sharding.unsent(compute, last=part is parts[-1]):
            with device.autocast():
                loss, stats = compute(part)
            (loss / len(parts) if len(parts) > 1 else loss).backward()
        rows.append(dict(loss=loss.detach(), **stats))
    return parallel.mean(rows)


def train(stage: Stage, device: Device, folder: str | Path | None = None, resume: bool = False,
          save_every: float = 120.0, log_every: int = 20, accumulate: int = 1, sharded: bool = False,
          recompute: bool = False) -> Iterator[Step]:
    """Train `stage` to the end of its recipe, yielding after every step.

    folder: where checkpoints and log.csv go (None: nowhere). resume: go on from the checkpoint
    there, if there is one. A checkpoint is written every `save_every` seconds, when the caller
    stops the loop, and at the end. When the generator is exhausted the model holds the averaged
    parameters. accumulate: parts in which a rank computes its share of a batch, for less memory.
    Inside `parallel.group` each rank runs this same loop, and all must stop it at the same step;
    `sharded` means FSDP instead of DDP, and rank 0 alone then ends with a model, on the CPU.
    recompute: keep no insides of blocks for the backward pass.

    Raises ValueError for a checkpoint of another stage or recipe and for a batch that cannot be
    shared evenly, and FloatingPointError as soon as a loss or gradient that is logged or to be saved is not finite.
    """
    recipe, model, folder = stage.recipe, stage.model, Path(folder) if folder else None
    shares, empty = parallel.shares(recipe.batch, accumulate), sharding.outline(model) if sharded else None
    compute = sharding.spread(model, stage.loss, device, sharded, recompute)
    made, average = optimisers(stage), EMA(model, recipe.ema)

    def write(step: int, seconds: float) -> None:
        if folder:
            checkpoint.write(folder, stage, made, average, step, seconds, sharded)

    start, spent = 0, 0.0
    if resume and (found := checkpoint.latest(folder)):
        start, spent = checkpoint.restore(found, stage, made, average)
    log = Log(folder / "log.csv", start) if folder and not parallel.rank() else None
    began = saved = recent = time.monotonic()
    done, speed, marked = start, 0.0, start
    try:
        for step in range(start, recipe.steps):
            model.train()
            for optimiser in made:
                for group in optimiser.param_groups:
                    base = recipe.muon_lr if isinstance(optimiser, Muon) else recipe.lr
                    group["lr"] = base * recipe.rate(step)
            values = gradients(compute, parallel.parts(stage.batch, step, shares), device)
            values |= stage.after()
            norm = sharding.whole(nn.utils.clip_grad_norm_(model.parameters(), recipe.clip))
            for optimiser in made:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            average.update(step)
            done, now = step + 1, time.monotonic()
            result = Step(done, recipe.steps, spent + now - began, speed, values | dict(grad=norm.detach()))
            logged, due = done % log_every == 0 or done == recipe.steps, parallel.agreed(now - saved > save_every)
            if logged or due:                # before it is saved
                check(stage, result)
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
        if folder:
            check(stage, result)
        write(done, spent + time.monotonic() - began)
        raise
    write(done, spent + time.monotonic() - began)
    average.swap()
    if sharded:
        stage.model = sharding.collected(model, empty)
