"""What `minglm train` does: one stage or all, in one process or in each that torchrun started."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist
from tqdm import tqdm

from minglm import checkpoint, parallel, stages
from minglm.config import preset
from minglm.device import Device, set_threads
from minglm.plot import loss_curve
from minglm.train import train as loop


@contextmanager
def interrupts() -> Iterator[list]:
    """A list that fills when Ctrl-C is pressed, so that a run can end behind a whole step."""
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def train(options: argparse.Namespace) -> None:
    """Train the stages that the command names. Raises ValueError for what cannot be."""
    if options.config not in stages.RECIPES:
        preset(options.config)
        raise ValueError(f"no recipe for config {options.config!r}: choose one of {', '.join(stages.RECIPES)}")
    if options.parallel == "fsdp" and not dist.is_torchelastic_launched():
        raise ValueError("--parallel fsdp needs several processes: torchrun --nproc-per-node=2 -m minglm train ...")
    device = parallel.card(options.device)
    set_threads(parallel.fair_threads() if options.threads is None else options.threads)
    names = stages.STAGES if options.stage == "all" else (options.stage,)
    folder = options.out or Path("runs") / options.config
    with parallel.group(device), interrupts() as stop:
        resume = options.resume or parallel.restarted()
        if dist.is_initialized() and not resume and not parallel.rank():
            for name in names:               # or a restart would go on from an earlier run's
                checkpoint.remove(checkpoint.everything(folder / "training" / name))
        until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        for name in names:
            if not train_stage(name, folder, options, device, resume, stop, until):
                break


def train_stage(name: str, folder: Path, options: argparse.Namespace, device: Device, resume: bool, stop: list,
                until: float | None) -> bool:
    """Train one stage and write its weights; False if it was stopped before its end."""
    config, leader, minutes = preset(options.config), not parallel.rank(), 0.0
    place = folder / "training" / name
    recipe = stages.RECIPES[options.config].get(name)
    if recipe:
        recipe = replace(recipe, steps=options.steps or recipe.steps, batch=options.batch or recipe.batch)
    with parallel.leader_first():
        stage = stages.build(name, config, device, recipe, folder)
    run = loop(stage, device, place, resume, options.save_every, accumulate=options.accumulate,
               sharded=options.parallel == "fsdp", recompute=options.checkpoint_activations)
    with tqdm(total=recipe.steps, desc=name, unit="step", smoothing=0.05, disable=not leader) as bar:
        for step in run:
            if not bar.n:                                    # resumed steps are no sign of speed
                bar.n = bar.initial = bar.last_print_n = step.number - 1
            bar.update(step.number - bar.n)
            minutes = step.seconds / 60
            if step.number % 20 == 0:
                bar.set_postfix_str(f"loss {step.loss:.4f}, {step.samples_per_second:.0f} samples/s")
            enough = bool(stop) or until is not None and time.monotonic() > until
            if parallel.agreed(enough) and step.number < step.steps:
                run.close()                                  # writes the checkpoint; an error is raised here
                if leader:
                    print(f"{name}: {step.number} of {step.steps} steps; go on with --resume")
                return False
    with parallel.leader_first():
        if leader:
            loss_curve(place / "log.csv", place / "loss.png")
            stages.finish(stage, config, folder)
            spent = f"{minutes:.0f} minutes of training" if minutes else "trained before"
            print(f"{name}: weights and logs in {folder}, {spent}, "
                  f"peak memory {device.peak_memory() / 2**30:.1f} GiB")
    return True
