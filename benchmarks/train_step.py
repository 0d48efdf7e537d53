"""How fast each stage trains, and how much of the machine's matrix-multiply peak its step reaches.

    python benchmarks/train_step.py [--config mini] [--stages planner decoder] [--device auto] [--threads 2] [--repeats 9]

Every stage runs in a process of its own. A step is what train() does with a batch: forward, backward, clipping,
optimisers and the running average; making a batch is timed apart, and counted in samples/s. Floating-point
operations are those of matrix products and convolutions, counted from the operators that run (Muon's too). The
peak is the best of large square products in the precision of training, measured between the steps. Launches are what
minglm.ascend.launches records. Times are medians.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from minglm.ascend import launches
from minglm.config import preset
from minglm.device import Device, pick, set_threads
from minglm.training.loop import train
from minglm.training.recipe import RECIPES
from minglm.training.stages import STAGES, build

ROOT = Path(__file__).resolve().parents[1]
SQUARE = 2048                                # side of the matrices that give the peak


def seconds(device: Device, function) -> float:
    device.synchronize()
    began = time.perf_counter()
    function()
    device.synchronize()
    return time.perf_counter() - began


def measure(name: str, options) -> dict:
    """One row of the table."""
    device, config = pick(options.device), preset(options.config)
    folder = ROOT / "data" / "weights" / options.config
    recipe = replace(RECIPES[options.config][name], steps=10 ** 6)
    stage = build(name, config, device, recipe, folder)
    making = [seconds(device, lambda: stage.batch(i)) for i in range(4)]
    batches = [stage.batch(i) for i in range(4)]                                 # so that sizes of pictures take turns
    run = train(replace(stage, batch=lambda step: batches[step % 4]), device)
    for _ in range(4):
        next(run)
    started = launches.record(lambda: [next(run) for _ in range(4)], stage.model).launches
    a, b = (torch.randn(SQUARE, SQUARE, device=device.device) for _ in range(2))

    def product():
        with device.autocast():
            a @ b

    steps, peaks = [], []
    for _ in range(options.repeats):
        steps.append(seconds(device, lambda: [next(run) for _ in range(4)]) / 4)
        peaks.append(min(seconds(device, product) for _ in range(3)))
    step, each = median(steps), sum(launch.flops for launch in started) / 4
    a, b = a.bfloat16(), b.bfloat16()                                            # without the casting
    peak = 2 * SQUARE ** 3 / min(min(peaks), *(seconds(device, lambda: a @ b) for _ in range(5)))
    return dict(stage=name, batch=recipe.batch, samples_per_second=round(recipe.batch / (step + median(making)), 1),
                step_ms=round(1000 * step, 1), batch_ms=round(1000 * median(making), 1), gflop=round(each / 1e9, 1),
                gflops=round(each / step / 1e9, 1), peak_gflops=round(peak / 1e9, 1),
                share=round(each / step / peak, 3), launches=len(started) // 4,
                peak_mib=round(device.peak_memory() / 2 ** 20))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="mini")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = set_threads(options.threads)
    if options.one:
        print(json.dumps(measure(options.stages[0], options)))
        return
    print(f"torch {torch.__version__}, {pick(options.device)}, {threads} threads, {options.config}\n")
    print("| stage | samples/s | step | of which batch | GFLOP a step | GFLOP/s | peak | share | launches | memory |\n" + "|---" * 10 + "|")
    for name in options.stages:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", "--stages", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        r = json.loads(done.splitlines()[-1])
        print(f"| {name} | {r['samples_per_second']} | {r['step_ms']} ms | + {r['batch_ms']} ms | {r['gflop']} | {r['gflops']} | "
              f"{r['peak_gflops']} | {r['share']:.0%} | {r['launches']} | {r['peak_mib']} MiB |", flush=True)


if __name__ == "__main__":
    main()
