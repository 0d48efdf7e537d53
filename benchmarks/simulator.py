"""What the simulated npu costs: training steps of every stage at `tiny`, on it and on the CPU in turns.

    python benchmarks/simulator.py [--steps 8] [--batch N]

Both sides take turns step by step in one process, each step timed alone; medians. The bar: at most 6 times the CPU.
The simulated card computes on the same CPU, so this is the price of Python between the operators, nothing about Ascend.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from minglm.ascend import counters, simulator
from minglm.config import preset
from minglm.device import Device, pick
from minglm.training.loop import train
from minglm.training.recipe import RECIPES
from minglm.training.stages import STAGES, build, finish

WARM_UP = 3


def compare(name: str, folder: Path, steps: int, batch: int | None) -> tuple[list[float], counters.Counters]:
    """Median seconds of a step on the CPU and on the simulated card, and what the card counted."""
    recipe = RECIPES["tiny"][name]
    recipe = replace(recipe, steps=steps + WARM_UP, batch=batch or recipe.batch)
    devices = Device(torch.device("cpu")), pick("npu")
    runs = [train(build(name, preset("tiny"), device, recipe, folder), device) for device in devices]
    times: tuple[list, list] = ([], [])
    for number in range(recipe.steps):
        for run, spent in zip(runs, times):
            with counters.counting() as seen:  # of the last step; it costs the simulated card alone
                began = time.perf_counter()
                next(run)
                spent.append(time.perf_counter() - began)
    return [statistics.median(spent[WARM_UP:]) for spent in times], seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, help="samples per step (default: the recipe's)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    simulator.install()
    print("| stage | CPU, ms | simulated npu, ms | ratio | launches | syncs | peak, MiB | bar |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in STAGES:
            (cpu, npu), seen = compare(name, Path(folder), options.steps, options.batch)
            print(f"| {name} | {1000 * cpu:.1f} | {1000 * npu:.1f} | {npu / cpu:.2f} | {seen.launches:,} | "
                  f"{seen.syncs} | {seen.peak / 2**20:.1f} | <= 6{'' if npu <= 6 * cpu else ', MISSED'} |", flush=True)
            device = Device(torch.device("cpu"))
            recipe = replace(RECIPES["tiny"][name], steps=2, batch=2)         # what the next stages load
            stage = build(name, preset("tiny"), device, recipe, Path(folder))
            finish(stage, preset("tiny"), Path(folder))
    print(f"\ntorch {torch.__version__}, one thread, bfloat16 autocast, medians of {options.steps} steps in turns")


if __name__ == "__main__":
    main()
