"""What `minglm train` does: one stage or all, in one process or in each that torchrun started."""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from tqdm import tqdm

from minglm.config import Config, DecoderConfig, preset
from minglm.device import Device, cores, set_threads
from minglm.files import read_json
from minglm.model import weights
from minglm.model.bpe import BPE
from minglm.plot import loss_curve
from minglm.training import checkpoint, lanes, ranks
from minglm.training.batches import SEEDS, pixels
from minglm.training.loop import train as loop
from minglm.training.recipe import DECODERS, PLANNERS, RECIPES, Recipe, Stage, staged
from minglm.training.stage_decoder import decoder_stage
from minglm.training.stage_glyph import glyph_stage
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


def train(options: argparse.Namespace) -> int:
    """Train the stages that the command names; returns the exit code.

    What an earlier run left in the folder is continued (--resume), kept under another name (--restart), or a
    reason to refuse; it is never overwritten. Raises ValueError for what cannot be done, before anything is
    changed.
    """
    if options.config not in RECIPES:
        preset(options.config)
        raise ValueError(f"no recipe for config {options.config!r}: choose one of {', '.join(RECIPES)}")
    if options.parallel == "fsdp" and not dist.is_torchelastic_launched():
        raise ValueError(
            "--parallel fsdp needs several processes: torchrun --nproc-per-node=2 -m minglm train ..."
        )
    device = ranks.card(options.device)
    set_threads(ranks.fair_threads() if options.threads is None else options.threads)
    every = options.stage in ("all", ["all"])
    names = STAGES if every else tuple(options.stage)
    folder = options.out or Path("runs") / options.config
    if every and device.kind == "cpu" and options.threads is None and cores() > 1 \
            and not (dist.is_torchelastic_launched() or getattr(options, "simulate_npu", False)):
        for name in names:
            recipe_of(name, options)
        if aside := earlier_run(names, folder, options):
            keep_earlier(aside, folder)
        return 0 if lanes.side_by_side(options, train) else 1
    with ranks.group(device), interrupts() as stop:
        recipes = {name: recipe_of(name, options) for name in names}
        if options.lane is None:
            check_needs(names, folder)
        again = ranks.restarted()            # by torchrun, since a process died: what is here is its own
        resume = options.resume or again
        aside = [] if again else earlier_run(names, folder, options)
        until = None if options.minutes is None else time.monotonic() + 60 * options.minutes

        def ended() -> bool:
            return bool(stop) or until is not None and time.monotonic() > until

        for name, recipe in recipes.items():
            if options.lane is not None:
                if not lanes.wait_for(folder, NEEDS.get(name, ()), ended):
                    break
                set_threads(lanes.fair_threads(options.lane, folder))
            if not train_stage(name, folder, options, recipe, device, resume, aside, stop, until):
                break
            aside = []
    return 0


def recipe_of(name: str, options: argparse.Namespace) -> Recipe:
    """The recipe of a stage with the steps and the batch of the command.

    Raises ValueError if the stage is unknown, or if its batch cannot be shared evenly.
    """
    recipe = RECIPES[options.config][known(name)]
    recipe = replace(recipe, steps=options.steps or recipe.steps, batch=options.batch or recipe.batch)
    ranks.shares(recipe.batch, options.accumulate)
    return recipe


def check_needs(names: Sequence[str], folder: Path) -> None:
    """Raises ValueError if a stage needs weights that are neither in the folder nor trained before it."""
    for name in names:
        for part in NEEDS.get(name, ()):
            path = folder / part / "model.safetensors"
            if part not in names and not path.is_file():
                raise ValueError(f"{path} is missing: train stage {part} first")


# ---------------------------------------------------------------- what is there already

def earlier_run(names: Sequence[str], folder: Path, options: argparse.Namespace) -> list[Path]:
    """What earlier runs of these stages left that has to be put aside before they are trained.

    With --resume that is what belongs to no checkpoint, such as weights of a stage that begins anew. Raises
    ValueError if something is there and neither --resume nor --restart says what to do with it.
    """
    begun = [name for name in names if checkpoint.everything(folder / "training" / name)]
    found = {name: left_behind(name, folder) for name in names}
    there = [name for name in names if found[name]]
    if ranks.agreed(bool(there)) and not (options.resume or options.restart):
        raise ValueError(
            f"{folder} holds an earlier run of {', '.join(there) or 'a stage'}: --resume goes on with it, "
            "--restart keeps it under another name and starts anew, --out FOLDER trains elsewhere"
        )
    if options.resume and not ranks.agreed(bool(begun)) and not ranks.rank():
        print(f"no checkpoint in {folder / 'training'}: starting from the beginning", file=sys.stderr)
    return [path for name in there if not (options.resume and name in begun) for path in found[name]]


def left_behind(name: str, folder: Path) -> list[Path]:
    """The folders of a stage with logs and checkpoints, or weights, in them. Of a part that several stages
    train in turn, the first owns the weights."""
    mine = [part for part in OUTPUTS[name] if next(n for n in STAGES if part in OUTPUTS[n]) == name]
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

def train_stage(name: str, folder: Path, options: argparse.Namespace, recipe: Recipe, device: Device,
                resume: bool, aside: Sequence[Path], stop: list, until: float | None) -> bool:
    """Train one stage and write its weights; False if it was stopped before its end.

    aside: folders to put aside as soon as nothing can be refused any more.
    """
    config, leader, minutes = staged(name, preset(options.config)), not ranks.rank(), 0.0
    place = folder / "training" / name
    with ranks.leader_first():
        stage = build(name, config, device, recipe, folder)
    with ranks.leader_first():
        if leader and aside:
            keep_earlier(aside, folder)
    run = loop(stage, device, place, resume, options.save_every, accumulate=options.accumulate,
               sharded=options.parallel == "fsdp", recompute=options.checkpoint_activations)
    with tqdm(total=recipe.steps, desc=name, unit="step", smoothing=0.05, disable=not leader,
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
            loss_curve(place / "log.csv", place / "loss.png")
            finish(stage, config, folder)
            spent = f"{minutes:.0f} minutes of training" if minutes else "trained before"
            print(f"{name}: weights and logs in {folder}, {spent}, "
                  f"peak memory {device.peak_memory() / 2**30:.1f} GiB")
    return True


STAGES = ("vae", "tokenizer", "glyph", *PLANNERS, *DECODERS)
NEEDS = {name: ("tokenizer", *PLANNERS[:i][:1]) for i, name in enumerate(PLANNERS)}
NEEDS |= {name: ("vae", "tokenizer", "glyph", *DECODERS[:i][:1]) for i, name in enumerate(DECODERS)}
OUTPUTS = {name: (name,) for name in STAGES}
OUTPUTS |= dict.fromkeys(PLANNERS, ("planner",)) | dict.fromkeys(DECODERS, ("decoder", "glyph"))


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
        return tokenizer_stage(config, device, recipe, weights.load_text(folder, config))
    if name == "glyph":
        return glyph_stage(config, device, recipe)
    tokenizer = weights.load_part(folder, "tokenizer", config)
    if name in PLANNERS:
        planner = None if name == "planner" else weights.load_part(folder, "planner", config)
        bpe = weights.load_text(folder, config)
        return planner_stage(name, config, device, recipe, bpe, tokenizer, planner)
    vae, glyph = (weights.load_part(folder, part, config) for part in ("vae", "glyph"))
    decoder = None
    if name != "decoder":                    # it may have fewer blocks than the stage will train
        saved = DecoderConfig(**read_json(folder / "decoder" / "config.json"))
        decoder = weights.load_part(folder, "decoder", replace(config, decoder=saved))
    return decoder_stage(name, config, device, recipe, vae, tokenizer, glyph, decoder)


def finish(stage: Stage, config: Config, folder: Path) -> None:
    """Write what `stage` has trained as weights that a pipeline, and the next stages, can load."""
    model, name = stage.model, stage.name
    if name == "vae":
        model.normalise(pixels([draw(0, i) for i in range(512)]).to(model.mean.device))
    for part in OUTPUTS[name]:               # a model of several parts has each under its name
        weights.save_part(folder, part, getattr(model, part, model), config)
    weights.save_config(folder, config)
