"""`minglm train all` on a CPU: two processes side by side, each with half of the cores.

Models this small do not keep two cores busy together: two stages on one core each are done much sooner
than one after the other on both. A lane trains its stages in order and waits for what the other makes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from minglm.device import cores
from minglm.training.recipe import PLANNERS, WRITERS

LANES = ("tokenizer", *PLANNERS), ("vae", "vae-decoder", "glyph", *WRITERS)
LOOK = 2.0                                   # seconds between looks at what the other lane has done


def side_by_side(options: argparse.Namespace, work: Callable[[argparse.Namespace], int]) -> bool:
    """Run `work` for each lane in a process of its own; whether both came to their end.

    Ctrl-C reaches both, and each writes a checkpoint. If one fails, the other is stopped likewise.
    """
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=guarded, args=(work, lane(options, i))) for i in range(len(LANES))]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for process in running:
            process.start()
        signal.signal(signal.SIGINT, lambda *_: None)  # the lanes get it too, and end by themselves
        while any(process.is_alive() for process in running):
            if any(process.exitcode for process in running):
                stop(running)
            time.sleep(LOOK / 4)
    finally:
        signal.signal(signal.SIGINT, before)
    return not any(process.exitcode for process in running)


def guarded(work: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> None:
    """`work` in a process of its own: what it refuses is one line, as in the command itself."""
    try:
        work(options)
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"minglm: {error}")


def lane(options: argparse.Namespace, number: int) -> argparse.Namespace:
    """The options of one lane: its own stages, each resumed if it has a checkpoint."""
    values = vars(options) | dict(stage=list(LANES[number]), resume=True, restart=False, lane=number)
    values.pop("run", None)
    return argparse.Namespace(**values)


def fair_threads(number: int, folder: Path) -> int | None:
    """The threads of a lane's next stage: its share of the cores, or all (None) if the other lane is done."""
    others = [stage for i, stages in enumerate(LANES) if i != number for stage in stages]
    done = all(completed(folder, stage) for stage in others)
    return None if done else max(1, cores() // len(LANES))


def completed(folder: Path, stage: str) -> bool:
    """Whether a stage was trained to its end: its curves are written last."""
    return (folder / "training" / stage / "loss.png").is_file()


def stop(running: list[BaseProcess]) -> None:
    for process in running:
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGINT)
            process.join(LOOK)               # one that has only begun does not hear it: it is told again


def wait_for(folder: Path, parts: tuple[str, ...], stopped: Callable[[], bool], stages: tuple[str, ...] = ()
             ) -> bool:
    """Wait until the weights of all `parts` are there, and all `stages` have ended; False if the run was
    stopped before."""
    while not (all((folder / part / "model.safetensors").is_file() for part in parts)
               and all(completed(folder, stage) for stage in stages)):
        if stopped():
            return False
        time.sleep(LOOK)
    return True
