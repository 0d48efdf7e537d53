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
from pathlib import Path

from torch import Tensor, nn

from minglm.device import Device
from minglm.files import whole_file
from minglm.training import checkpoint, ranks, sharding
from minglm.training.optimisers import EMA, Muon, optimisers
from minglm.training.recipe import Stage, Step


class Log:
    """Step, loss and the other numbers of a run, in a CSV file that a resumed run continues.

    The file is rewritten for every row: it is small, and so it is whole if the run dies or the disk is full.
    Raises ValueError for a file that is no such log.
    """

    def __init__(self, path: Path, done: int):
        self.path, self.rows = path, []
        if path.exists() and done:
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    # those after the checkpoint will come again
                    self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= done]
            except (KeyError, TypeError, ValueError, csv.Error) as error:
                raise ValueError(f"{path} is not the log of a training run: {error!r}") from None

    def add(self, row: dict) -> None:
        self.rows.append(row)
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with whole_file(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)


def check(stage: Stage, step: Step) -> None:
    """Raise FloatingPointError unless the loss and the gradient of a step, and so the parameters after it,
    are finite."""
    for name in ("loss", "grad"):
        if not math.isfinite(step.stats[name]):
            raise FloatingPointError(
                f"the {name} of {stage.name} is {step.stats[name]} at step {step.number}"
            )


def gradients(compute: Callable, parts: list[dict], device: Device) -> dict[str, Tensor]:
    """Gradients of the mean loss of a step's parts; returns loss and stats, each its mean."""
    rows = []
    for part in parts:
        with sharding.unsent(compute, last=part is parts[-1]):
            with device.autocast():
                loss, stats = compute(part)
            (loss / len(parts) if len(parts) > 1 else loss).backward()
        rows.append(dict(loss=loss.detach(), **stats))
    return ranks.mean(rows)


def train(stage: Stage, device: Device, folder: str | Path | None = None, resume: bool = False,
          save_every: float = 120.0, log_every: int = 20, accumulate: int = 1, sharded: bool = False,
          recompute: bool = False) -> Iterator[Step]:
    """Train `stage` to the end of its recipe, yielding after every step.

    folder: where checkpoints and log.csv go (None: nowhere). resume: go on from the checkpoint
    there, if there is one. A checkpoint is written every `save_every` seconds, when the caller
    stops the loop, and at the end. When the generator is exhausted the model holds the averaged
    parameters. accumulate: in how many parts a rank computes its share of a batch, for less memory.
    Inside `ranks.group` each rank runs this same loop, and all must stop it at the same step;
    `sharded` means FSDP instead of DDP, and rank 0 alone then ends with a model, on the CPU.
    recompute: discard the activations inside blocks, and compute them again in the backward pass.

    Raises ValueError for a folder with a checkpoint in it that is not to be resumed, for a checkpoint of
    another stage or recipe, and for a batch that cannot be shared evenly, and FloatingPointError as soon as a
    loss or gradient that is logged or to be saved is not finite.
    """
    recipe, model, folder = stage.recipe, stage.model, Path(folder) if folder else None
    if folder and not resume:
        checkpoint.refuse_earlier(folder)
    shares, empty = ranks.shares(recipe.batch, accumulate), sharding.outline(model) if sharded else None
    found = checkpoint.latest(folder) if resume and folder else None
    if not found:
        stage.begin()
    compute = sharding.spread(model, stage.loss, device, sharded, recompute)
    made, average = optimisers(stage), EMA(model, recipe.ema)

    def write(step: int, seconds: float) -> None:
        if folder:
            checkpoint.write(folder, stage, made, average, step, seconds, sharded)

    start, spent = 0, 0.0
    if found:
        start, spent = checkpoint.restore(found, stage, made, average)
    log = Log(folder / "log.csv", start) if folder and not ranks.rank() else None
    began = saved = recent = time.monotonic()
    done, speed, marked = start, 0.0, start
    try:
        for step in range(start, recipe.steps):
            model.train()
            for optimiser in made:
                for group in optimiser.param_groups:
                    base = recipe.muon_lr if isinstance(optimiser, Muon) else recipe.lr
                    group["lr"] = base * group.get("scale", 1.0) * recipe.rate(step)
            values = gradients(compute, ranks.parts(stage.batch, step, shares), device)
            values |= stage.after()
            norm = sharding.whole(nn.utils.clip_grad_norm_(model.parameters(), recipe.clip))
            for optimiser in made:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            average.update(step)
            done, now = step + 1, time.monotonic()
            result = Step(done, recipe.steps, spent + now - began, speed, values | dict(grad=norm.detach()))
            logged, due = (
                done % log_every == 0 or done == recipe.steps,
                ranks.agreed(now - saved > save_every),
            )
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
