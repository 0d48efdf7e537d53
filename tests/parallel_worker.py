"""What each of the ranks of tests/test_parallel.py does: `torchrun ... parallel_worker.py TASK FOLDER ...`.

Single precision throughout, so that what is compared differs by the order of sums alone.
"""

import json
import os
import signal
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from minglm.__main__ import main
from minglm.config import preset
from minglm.device import Device, pick
from minglm.training import ranks
from minglm.training import run as stages
from minglm.training.loop import train
from minglm.training.recipe import RECIPES, Stage

STEPS = 20
VARIANTS = {"ddp": {}, "fsdp": dict(sharded=True)}
PARTS = {"ddp in 2 parts": dict(accumulate=2),
         "fsdp in 2 parts, recomputed": dict(sharded=True, accumulate=2, recompute=True)}
STOP, END = 4, 8                             # of runs that stop and go on with another number of ranks
KILLED, LONG = 22, 24                        # of the run that loses a rank


def in_single_precision() -> None:
    Device.autocast = lambda self, dtype=None: nullcontext()


def build(name: str, folder: Path, steps: int = STEPS) -> Stage:
    recipe = replace(RECIPES["tiny"][name], steps=steps, batch=8)
    # the decoder in `folder` has all of its blocks
    config = replace(stages.staged(name, preset("tiny")), decoder=preset("tiny").decoder)
    return stages.build(name, config, pick("cpu"), recipe, folder)


def losses(stage: Stage, place: Path | None = None, stop: int | None = None, **options) -> list[float]:
    """The losses of a run, closed behind step `stop`."""
    found, run = [], train(stage, pick("cpu"), place, **options)
    for step in run:
        found.append(step.loss)
        if step.number == stop:
            run.close()
            break
    return found


def compare(folder: Path, out: Path) -> None:
    """Losses of every stage, of runs in parts, and of runs that stop or go on."""
    found = {}
    for variant, options in VARIANTS.items():
        for name in stages.STAGES:
            found[f"{name}, {variant}"] = losses(build(name, folder), **options)
        losses(build("planner", folder, END), out / variant, STOP, save_every=0, **options)
        stage = build("planner", folder, END)
        found[f"from one to {variant}"] = losses(stage, out / f"one-{variant}", resume=True, **options)
        losses(build("planner", folder, LONG), out / f"undisturbed-{variant}", **options)
    for variant, options in PARTS.items():
        found[f"decoder, {variant}"] = losses(build("decoder", folder), stop=END, **options)
    if not ranks.rank():
        stages.finish(stage, preset("tiny"), out / "weights")                    # of the sharded run
        (out / "losses.json").write_text(json.dumps(found))


def command(arguments: list[str]) -> int:
    """The command, but of the first two processes one is killed within a step."""
    first = stages.build

    def dying(name, config, device, recipe, folder):
        stage = first(name, config, device, recipe, folder)
        batch = stage.batch

        def fatal(step, share):
            if step == KILLED and ranks.rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
                os.kill(os.getpid(), signal.SIGKILL)
            return batch(step, share)

        stage.batch = fatal
        return stage

    stages.build = dying
    return main(arguments)


if __name__ == "__main__":
    torch.set_num_threads(1)
    in_single_precision()
    if sys.argv[1] == "command":
        sys.exit(command(sys.argv[2:]))
    with ranks.group(ranks.card("cpu")):
        compare(Path(sys.argv[2]), Path(sys.argv[3]))
