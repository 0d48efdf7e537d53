"""Gradients that travel during the backward pass against gradients that travel after it, on two processes.

    python benchmarks/overlap.py [--wire 12] [--layers 8] [--width 384] [--repeats 15]

Backward pass, all-reduce (gloo) and threads are real. The wire is a model: inside one machine it is too fast to
show, so every message first sleeps `--wire` milliseconds on the thread that sends it. Both ways must give the same
gradients. The last line is what minglm.ascend.launches.send expects of a wire that costs the processor nothing.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from minglm.ascend.launches import send


def run(rank: int, store: str, o: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(o.width, o.width, bias=False) for _ in range(o.layers)))
    x = torch.randn(2 * o.width, o.width, generator=torch.Generator().manual_seed(rank))
    wire = ThreadPoolExecutor(1)                                                 # in order, beside the computing thread
    sent, done = [], []

    def travel(gradient: torch.Tensor) -> None:
        time.sleep(o.wire / 1000)
        dist.all_reduce(gradient)

    def ready(p: nn.Parameter) -> None:
        done.append(time.perf_counter())
        if early:
            sent.append(wire.submit(travel, p.grad))

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(ready)

    def step() -> tuple[float, list[float]]:
        """Seconds from the start of the backward pass to the last gradient of both, and when each was done here."""
        model.zero_grad()
        loss = model(x).square().mean()
        sent.clear(), done.clear()
        dist.barrier()
        began = time.perf_counter()
        loss.backward()
        if not early:
            sent.extend(wire.submit(travel, p.grad) for p in reversed([*model.parameters()]))
        for message in sent:
            message.result()
        return time.perf_counter() - began, [t - began for t in done]

    results, gradients = {}, {}
    for early in (False, True):
        runs = [step() for _ in range(o.repeats + 1)][1:]
        results[early] = median(seconds for seconds, _ in runs)
        gradients[early] = [p.grad.clone() for p in model.parameters()]
        if not early:
            ends = [median(times) for times in zip(*(times for _, times in runs))]
    torch.testing.assert_close(gradients[False], gradients[True])
    if rank == 0:
        expected = {early: send([(t, o.wire / 1000) for t in ends], after=0 if early else ends[-1])[-1][1]
                    for early in (False, True)}
        print(f"{o.layers} gradients of {4 * o.width ** 2 / 1e6:.1f} MB, each {o.wire} ms on the wire (assumed)")
        for name, seconds in (("measured", results), ("model", expected)):
            late, early = 1000 * seconds[False], 1000 * seconds[True]
            print(f"{name:8} sent after the backward pass {late:.1f} ms, during it {early:.1f} ms")
    dist.barrier()
    wire.shutdown()
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wire", type=float, default=12, help="milliseconds of each message (assumed)")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=15)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(run, (str(Path(folder) / "store"), parser.parse_args()), nprocs=2)
