"""What `minglm train` does: one stage or all, in one process or in each that torchrun started."""

from __future__ import annotations

import argparse
import csv
import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch.distributed as dist
from tqdm import tqdm

from minglm.config import preset
from minglm.device import Device, cores, set_threads
from minglm.files import whole_file
from minglm.plot import pyplot
from minglm.training import checkpoint, lanes, ranks
from minglm.training.loop import train as loop
from minglm.training.recipe import RECIPES, Recipe, Stage, staged
from minglm.training.stages import AFTER, NEEDS, OUTPUTS, STAGES, build, finish, known


@contextmanager
def interrupts() -> Iterator[list]:
    """A list that fills when Ctrl-C is pressed, so that a run can end after a whole step."""
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def train(options: argparse.Namespace) -> int:
    """Train the stages that the command names; returns the exit code.

    What an earlier run left in the folder is continued (--resume), kept under another name (--restart), or a
    reason to refuse; it is never overwritten. Raises ValueError for what cannot be done, before anything is
    changed.
    """
    check(options)
    device = ranks.card(options.device)
    set_threads(ranks.fair_threads() if options.threads is None else options.threads)
    every = options.stage in ("all", ["all"])
    names = STAGES if every else tuple(map(known, options.stage))
    folder = options.out or Path("runs") / options.config
    found = {name: left_behind(name, folder) for name in names}
    if every and device.kind == "cpu" and options.threads is None and cores() > 1 \
            and not (dist.is_torchelastic_launched() or getattr(options, "simulate_npu", False)):
        for name in names:
            recipe_of(name, options)
        if aside := earlier_run(found, folder, options):
            keep_earlier(aside, folder)
        return 0 if lanes.side_by_side(options, train) else 1
    with ranks.group(device), interrupts() as stop:
        recipes = {name: recipe_of(name, options) for name in names}
        if options.lane is None:
            check_needs(names, folder)
        again = ranks.restarted()            # by torchrun, since a process died: what is here is its own
        resume = options.resume or again
        aside = [] if again else earlier_run(found, folder, options)
        until = None if options.minutes is None else time.monotonic() + 60 * options.minutes

        def ended() -> bool:
            return bool(stop) or until is not None and time.monotonic() > until

        for name, recipe in recipes.items():
            if options.lane is not None:
                if not lanes.wait_for(folder, NEEDS.get(name, ()), ended, AFTER.get(name, ())):
                    break
                set_threads(lanes.fair_threads(options.lane, folder))
            config = staged(name, preset(options.config))
            make = partial(build, name, config, device, recipe, folder)
            done = partial(finish, config=config, folder=folder)
            if not train_stage(name, make, done, folder, options, device, resume, aside, stop, until):
                break
            aside = []
    return 0


def check(options: argparse.Namespace) -> None:
    """Raises ValueError for a config without recipes, or for sharding in one process."""
    if options.config not in RECIPES:
        preset(options.config)
        raise ValueError(f"no recipe for config {options.config!r}: choose one of {', '.join(RECIPES)}")
    if options.parallel == "fsdp" and not dist.is_torchelastic_launched():
        raise ValueError(
            "--parallel fsdp needs several processes: torchrun --nproc-per-node=2 -m minglm train ..."
        )


def recipe_of(name: str, options: argparse.Namespace) -> Recipe:
    """A recipe with the steps and the batch of the command. Raises ValueError if that cannot be shared."""
    recipe = RECIPES[options.config][name]
    recipe = replace(recipe, steps=options.steps or recipe.steps, batch=options.batch or recipe.batch)
    ranks.shares(recipe.batch, options.accumulate)
    return recipe


def check_needs(names: Sequence[str], folder: Path) -> None:
    """Raises ValueError if a stage needs weights that are neither in the folder nor trained before it."""
    for i, name in enumerate(names):
        for part in NEEDS.get(name, ()):
            path = folder / part / "model.safetensors"
            if part not in names[:i] and not path.is_file():
                raise ValueError(f"{path} is missing: train stage {part} first")


# ---------------------------------------------------------------- what is there already

def earlier_run(found: dict[str, list[Path]], folder: Path, options: argparse.Namespace) -> list[Path]:
    """What earlier runs of stages left, as `found`, that has to be put aside before they are trained.

    With --resume that is what belongs to no checkpoint, such as weights of a stage that begins anew. Raises
    ValueError if something is there and neither --resume nor --restart says what to do with it.
    """
    begun = [name for name in found if checkpoint.everything(folder / "training" / name)]
    there = [name for name in found if found[name]]
    if ranks.agreed(bool(there)) and not (options.resume or options.restart):
        raise ValueError(
            f"{folder} holds an earlier run of {', '.join(there) or 'a stage'}: --resume goes on with it, "
            "--restart keeps it under another name and starts anew, --out FOLDER trains elsewhere"
        )
    # a lane always resumes, whether the user asked for it or not
    if options.resume and options.lane is None and not ranks.agreed(bool(begun)) and not ranks.rank():
        print(f"no checkpoint in {folder / 'training'}: starting from the beginning", file=sys.stderr)
    return [path for name in there if not (options.resume and name in begun) for path in found[name]]


def left_behind(name: str, folder: Path) -> list[Path]:
    """The folders of a stage with logs and checkpoints, or weights, in them. Of a part that several stages
    train in turn, the first owns the weights."""
    mine = [part for part in OUTPUTS[name] if next(n for n in OUTPUTS if part in OUTPUTS[n]) == name]
    folders = folder / "training" / name, *(folder / part for part in mine)
    return [path for path in folders if any(file.is_file() for file in path.rglob("*"))]


def keep_earlier(paths: Sequence[Path], folder: Path) -> None:
    """Move folders of a run to the first free one of earlier-1, earlier-2, ..., laid out as they were."""
    place = next(path for n in itertools.count(1) if not (path := folder / f"earlier-{n}").exists())
    for path in paths:
        target = place / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    print(f"the earlier run is kept in {place}", file=sys.stderr)


# ---------------------------------------------------------------- one stage

def train_stage(name: str, make: Callable[[], Stage], done: Callable[[Stage], None], folder: Path,
                options: argparse.Namespace, device: Device, resume: bool, aside: Sequence[Path], stop: list,
                until: float | None) -> bool:
    """Train a stage, made by `make`, and let `done` write its weights; False if stopped before its end.

    aside: folders to put aside as soon as nothing can be refused any more.
    """
    leader, minutes, place = not ranks.rank(), 0.0, folder / "training" / name
    with ranks.leader_first():
        stage = make()
    with ranks.leader_first():
        if leader and aside:
            keep_earlier(aside, folder)
    run = loop(stage, device, place, resume, options.save_every, accumulate=options.accumulate,
               sharded=options.parallel == "fsdp", recompute=options.checkpoint_activations)
    with tqdm(total=stage.recipe.steps, desc=name, unit="step", smoothing=0.05, disable=not leader,
              position=options.lane) as bar:
        for step in run:
            if not bar.n:                    # resumed steps say nothing about speed
                bar.n = bar.initial = bar.last_print_n = step.number - 1
            bar.update(step.number - bar.n)
            minutes = step.seconds / 60
            if step.number % 20 == 0:
                bar.set_postfix_str(f"loss {step.loss:.4f}, {step.samples_per_second:.0f} samples/s")
            enough = bool(stop) or until is not None and time.monotonic() > until
            if ranks.agreed(enough) and step.number < step.steps:
                run.close()                  # writes the checkpoint; an error is raised here
                if leader:
                    print(f"{name}: {step.number} of {step.steps} steps; go on with --resume")
                return False
    with ranks.leader_first():
        if leader:
            done(stage)
            loss_curve(place / "log.csv", place / "loss.png")
            spent = f"{minutes:.0f} minutes of training" if minutes else "trained before"
            print(f"{name}: weights and logs in {folder}, {spent}, "
                  f"peak memory {device.peak_memory() / 2**30:.1f} GiB")
    return True


def loss_curve(log: str | Path, out: str | Path) -> None:
    """Plot the columns of a training log (log.csv) over the steps, into a PNG."""
    plt = pyplot()
    with Path(log).open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [n for n in (rows[0] if rows else {}) if n not in ("step", "seconds")]
    if not names:
        return
    figure, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.2), squeeze=False)
    for axis, name in zip(axes.flat, names):
        told = [row for row in rows if row[name]]            # edits, for instance, have no preview
        points = [(int(row["step"]), float(row[name])) for row in told]
        axis.plot(*zip(*points), lw=1)
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel("step")
    figure.tight_layout()
    try:
        with whole_file(out) as temporary:
            figure.savefig(temporary, format="png")
    finally:
        plt.close(figure)
