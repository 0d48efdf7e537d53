"""What `minglm train` does: one stage or all, in one process or in each that torchrun started."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch
import torch.distributed as dist
from tqdm import tqdm

from minglm.config import Config, preset
from minglm.device import Device, set_threads
from minglm.model import weights
from minglm.model.bpe import BPE
from minglm.plot import loss_curve
from minglm.training import checkpoint, ranks
from minglm.training.batches import SEEDS, pixels
from minglm.training.loop import train as loop
from minglm.training.recipe import RECIPES, Recipe, Stage
from minglm.training.stage_decoder import decoder_stage
from minglm.training.stage_planner import planner_stage
from minglm.training.stage_tokenizer import tokenizer_stage
from minglm.training.stage_vae import vae_stage
from minglm.world.draw import corpus, draw


@contextmanager
def interrupts() -> Iterator[list]:
    """A list that fills when Ctrl-C is pressed, so that a run can end after a whole step."""
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def train(options: argparse.Namespace) -> None:
    """Train the stages that the command names. Raises ValueError for what cannot be."""
    if options.config not in RECIPES:
        preset(options.config)
        raise ValueError(f"no recipe for config {options.config!r}: choose one of {', '.join(RECIPES)}")
    if options.parallel == "fsdp" and not dist.is_torchelastic_launched():
        raise ValueError(
            "--parallel fsdp needs several processes: torchrun --nproc-per-node=2 -m minglm train ..."
        )
    device = ranks.card(options.device)
    set_threads(ranks.fair_threads() if options.threads is None else options.threads)
    names = STAGES if options.stage == "all" else (options.stage,)
    folder = options.out or Path("runs") / options.config
    with ranks.group(device) as store, interrupts() as stop:
        again = ranks.restarted(store)       # by torchrun, after a process died: its run goes on
        resume = options.resume or again
        # what is wrong with a later stage is said before an earlier one trains
        try:
            for name in names:
                look(name, names, folder, options, resume)
        except ValueError:
            # torchrun may start this again, and that must not go on from another run
            if store:
                store.set(ranks.REFUSED, "1")
            raise
        found = [name for name in names if checkpoint.latest(folder / "training" / name)]
        if options.resume and not again and not found and not ranks.rank():
            print(f"no checkpoint in {folder / 'training'}: starting from the beginning", file=sys.stderr)
        if options.restart and not resume:
            with ranks.leader_first():
                if not ranks.rank():
                    for path in [path for name in names for path in remains(name, folder)]:
                        put_aside(path)
        until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        for name in names:
            if not train_stage(name, folder, options, device, resume, stop, until):
                break


# weights that earlier stages left
NEEDS = dict(planner=("tokenizer",), decoder=("vae", "tokenizer"))


def look(name: str, names: tuple[str, ...], folder: Path, options: argparse.Namespace, resume: bool) -> None:
    """Raises ValueError for a stage of `names` that cannot be trained as asked, before anything is changed.

    That is an unknown name, a batch that cannot be shared evenly, an earlier stage that is missing, or an
    earlier run, which is kept as it is.
    """
    ranks.shares(recipe_of(name, options).batch, options.accumulate)
    for part in NEEDS.get(name, ()):
        path = folder / part / "model.safetensors"
        if part not in names and not path.is_file():
            raise ValueError(f"incomplete weights: {path} is missing: train stage {part} first")
    there = remains(name, folder)
    if ranks.agreed(bool(there)) and not resume and not options.restart:
        raise ValueError(
            f"{' and '.join(map(str, there)) or folder}: an earlier run of stage {name} is there; --resume "
            "goes on with it, --restart puts it aside, --out begins elsewhere"
        )


def recipe_of(name: str, options: argparse.Namespace) -> Recipe:
    """The recipe of a stage as the command changes it. Raises ValueError for an unknown stage."""
    recipe = RECIPES[options.config][known(name)]
    return replace(recipe, steps=options.steps or recipe.steps, batch=options.batch or recipe.batch)


def remains(name: str, folder: Path) -> list[Path]:
    """What earlier runs of a stage left in a folder: logs and checkpoints, and weights."""
    parts = dict(decoder=("decoder", "glyph")).get(name, (name,))
    folders = [folder / "training" / name, *(folder / part for part in parts)]
    return [path for path in folders if path.is_dir() and any(path.iterdir())]


def put_aside(path: Path) -> None:
    """Rename a folder to the first free one of NAME.1, NAME.2, ..."""
    path.rename(next(free for n in count(1) if not (free := path.with_name(f"{path.name}.{n}")).exists()))


def train_stage(
    name: str,
    folder: Path,
    options: argparse.Namespace,
    device: Device,
    resume: bool,
    stop: list,
    until: float | None,
) -> bool:
    """Train one stage and write its weights; False if it was stopped before its end."""
    config, leader, minutes = preset(options.config), not ranks.rank(), 0.0
    place = folder / "training" / name
    recipe = recipe_of(name, options)
    with ranks.leader_first():
        stage = build(name, config, device, recipe, folder)
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
            if ranks.agreed(enough) and step.number < step.steps:
                run.close()                                  # writes the checkpoint; an error is raised here
                if leader:
                    print(f"{name}: {step.number} of {step.steps} steps; go on with --resume")
                return False
    with ranks.leader_first():
        if leader:
            loss_curve(place / "log.csv", place / "loss.png")
            finish(stage, config, folder)
            spent = f"{minutes:.0f} minutes of training" if minutes else "trained before"
            print(f"{name}: weights and logs in {folder}, {spent}, "
                  f"peak memory {device.peak_memory() / 2**30:.1f} GiB")
    return True


STAGES = tuple(SEEDS)


def known(name: str) -> str:
    """The name of a stage. Raises ValueError if there is none of that name."""
    if name not in STAGES:
        raise ValueError(f"unknown stage {name!r}: choose one of {', '.join(STAGES)} or all")
    return name


def build(name: str, config: Config, device: Device, recipe: Recipe, folder: Path) -> Stage:
    """The stage called `name`, with what earlier stages left in `folder`.

    Raises ValueError if the name is unknown or an earlier stage has not been trained there.
    """
    torch.manual_seed(SEEDS[known(name)])
    if name == "vae":
        return vae_stage(config, device, recipe)
    if name == "tokenizer":
        path = folder / "text" / "tokenizer.json"
        if not path.exists():
            BPE.train(corpus(), config.planner.vocab - config.planner.vision_vocab).save(path)
        return tokenizer_stage(config, device, recipe, BPE.load(path))
    tokenizer = weights.load_part(folder, "tokenizer", config)
    if name == "planner":
        return planner_stage(config, device, recipe, weights.load_text(folder, config), tokenizer)
    return decoder_stage(config, device, recipe, weights.load_part(folder, "vae", config), tokenizer)


def finish(stage: Stage, config: Config, folder: Path) -> None:
    """Write what `stage` has trained as weights that a pipeline, and the next stages, can load."""
    model, name = stage.model, stage.name
    if name == "vae":
        model.normalise(pixels([draw(0, i) for i in range(512)]).to(model.mean.device))
    if name in ("vae", "planner"):
        parts = {name: model}
    elif name == "tokenizer":
        parts = {name: model.tokenizer}
    else:
        parts = {name: model.decoder, "glyph": model.glyph}
    for part, module in parts.items():
        weights.save_part(folder, part, module, config)
    weights.save_config(folder, config)
