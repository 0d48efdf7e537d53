"""What `minglm train planner|decoder --data FOLDER` does: fine-tuning on a person's own pictures.

    OUT/planner/            all of its weights, or with --lora its adapter
    OUT/vae/ ...            without --lora the other parts too, so that OUT is a folder of weights
    OUT/training/NAME/      checkpoint, log and loss curve; NAME is finetune-planner, lora-planner, ...
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from minglm.config import Config
from minglm.device import set_threads
from minglm.files import whole_file
from minglm.model import editing, lora_files, weights
from minglm.training import ranks
from minglm.training.recipe import Stage
from minglm.training.run import check, earlier_run, interrupts, recipe_of, train_stage
from minglm.training.stage_finetune import finetune_stage
from minglm.world import folder

TUNED = ("planner", "decoder")


def finetune(options: argparse.Namespace) -> int:
    """Fine-tune the parts that the command names, each from the weights of --weights; returns the exit code.

    Those weights are never written to; what an earlier run left in --out is treated as in `run.train`.
    Raises ValueError for what cannot be done, before anything is changed.
    """
    check(options)
    if wrong := [part for part in options.stage if part not in TUNED]:
        raise ValueError(f"--data is for the stages {' and '.join(TUNED)}, not {wrong[0]!r}")
    begun = weights.find(options.weights or "mini")
    config = weights.load_config(begun)
    if config.name != options.config:
        raise ValueError(f"{begun} holds weights of another config: add --config {config.name}")
    pictures, notes = folder.read(options.data, config.max_side)
    kind = "finetune" if options.lora is None else "lora"
    names = {part: f"{kind}-{part}" for part in options.stage}
    out = options.out or Path("runs") / f"{kind}-{options.data.resolve().name}"
    check_out(out, begun, kind)
    found = {name: left_behind(name, part, out, begun) for part, name in names.items()}
    device = ranks.card(options.device)
    set_threads(ranks.fair_threads() if options.threads is None else options.threads)
    with ranks.group(device), interrupts() as stop:
        # made before the first is trained, so that no rank and no caption is refused after it
        stages = {part: finetune_stage(part, begun, device, recipe_of(name, options), pictures, options.lora)
                  for part, name in names.items()}
        again = ranks.restarted()            # by torchrun, as in run.train
        aside = [] if again else earlier_run(found, out, options)
        until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        if not ranks.rank():
            tell(pictures, notes)
        for part, name in names.items():
            if kind == "lora":
                done = partial(write_adapter, part=part, out=out, begun=options.weights or "mini")
            else:
                done = partial(write_weights, part=part, out=out, begun=begun, config=config)
            make = partial(stages.pop, part)             # which leaves no model behind: see ranks.group
            if not train_stage(name, make, done, out, options, device, options.resume or again, aside, stop,
                               until):
                break
            aside = []
    return 0


def tell(pictures: list[folder.Picture], notes: list[str]) -> None:
    """Say what will be trained on."""
    sizes = Counter(f"{picture.height}x{picture.width}" for picture in pictures)
    print(f"minglm: {len(pictures)} pictures: {', '.join(f'{n} of {size}' for size, n in sizes.items())}",
          *notes, sep="\nminglm: ", file=sys.stderr)


# ---------------------------------------------------------------- what is there already

def check_out(out: Path, begun: Path, kind: str) -> None:
    """Raises ValueError if --out is the folder of the weights to begin with, or holds parts of others."""
    if out.exists() and out.samefile(begun):
        raise ValueError(f"{out} holds the weights to begin with: choose another folder by --out")
    for path in files(begun) if kind == "finetune" else ():
        there = out / path.relative_to(begun)
        mine = path.parent.relative_to(begun).as_posix() in TUNED
        if not mine and there.exists() and not filecmp.cmp(path, there, shallow=False):
            raise ValueError(f"{there} belongs to other weights than {begun}: choose another folder by --out")


def files(begun: Path) -> Iterator[Path]:
    """All that makes a folder of weights."""
    yield begun / "config.json"
    for part in weights.PARTS:
        yield from (begun / part / name for name in ("config.json", "model.safetensors"))
    yield begun / "text" / "tokenizer.json"
    yield from sorted((begun / editing.FOLDER).glob("*/*"))


def left_behind(name: str, part: str, out: Path, begun: Path) -> list[Path]:
    """The folders of a stage with something in them that is no mere copy of the weights to begin with."""
    model = out / part / "model.safetensors"
    copied = model.is_file() and filecmp.cmp(model, begun / part / model.name, shallow=False)
    folders = [out / "training" / name] + [out / part] * (not copied)
    return [path for path in folders if any(file.is_file() for file in path.rglob("*"))]


# ---------------------------------------------------------------- what is written

def write_adapter(stage: Stage, part: str, out: Path, begun: str) -> None:
    """Write what LoRA has trained as a folder that `Pipeline.load_lora` and PEFT can read."""
    lora_files.save(getattr(stage.model, part, stage.model), out / part, begun)


def write_weights(stage: Stage, part: str, out: Path, begun: Path, config: Config) -> None:
    """Write what was trained, and copy whatever else makes `out` a folder of weights."""
    weights.save_part(out, part, getattr(stage.model, part, stage.model), config)
    for path in files(begun):
        there = out / path.relative_to(begun)
        if not there.exists():
            with whole_file(there) as temporary:
                shutil.copyfile(path, temporary)
