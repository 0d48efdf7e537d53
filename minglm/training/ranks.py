"""Past one card: several processes, started by torchrun, that train as one.

Each process is a rank with a card of its own. A rank makes its share of every batch, and what the
ranks find is averaged, so that a run on many is the run on one. How a model lies on the ranks is in
sharding.py. In one process the functions here do nothing, so the training loop has one form.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from minglm.device import Device, cores, pick

# ---------------------------------------------------------------- the processes


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


REFUSED = "minglm/refused"                   # a key of torchrun's store, which outlives the processes


def restarted() -> bool:
    """Whether torchrun has started these processes again, because one died; only its own host counts it."""
    return agreed(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0)


def card(name: str) -> Device:
    """The device called `name`; under torchrun each process takes its own card of that kind."""
    device = pick(name)
    return pick(f"{device.kind}:{os.environ['LOCAL_RANK']}") if dist.is_torchelastic_launched() else device


def fair_threads() -> int | None:
    """This process's share of the cores of a host that several share; None: it has them all."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, cores() // here) if here > 1 else None


@contextmanager
def group(device: Device) -> Iterator[None]:
    """Join the processes that torchrun started.

    A ValueError inside, for what cannot be trained, is raised again at once if torchrun starts the processes
    again: else the second start would take an earlier run, which the first refused to touch, for its own.
    Whatever holds the model must be gone at the end: with a model still wrapped, gloo aborts one exit in six.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    own = device.collectives                 # on a card, gloo beside it, for words between hosts
    backend = own if device.kind == "cpu" else f"cpu:gloo,{device.kind}:{own}"
    lasting, place, count = next(rendezvous("env://"))
    if lasting.check([REFUSED]):
        raise ValueError(lasting.get(REFUSED).decode())
    store = lasting
    if os.environ["LOCAL_WORLD_SIZE"] == str(count):
        # torchrun keeps its store over restarts, with addresses of processes that are dead (PyTorch issue
        # 135712). Hosts count restarts differently: on several, TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps.
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
    dist.init_process_group(backend, store=store, rank=place, world_size=count)
    with warnings.catch_warnings():
        # the strides of 1x1 convolutions: slower, not wrong
        warnings.filterwarnings("ignore", "Grad strides do not match")
        # views that blocks return: their callers never change them in place
        warnings.filterwarnings("ignore", ".*returned a view tensor")
        try:
            yield                            # after an error the others do not come, so nobody waits
        except ValueError as error:
            lasting.set(REFUSED, str(error))
            raise
    dist.barrier()
    gc.collect()
    dist.destroy_process_group()


@contextmanager
def leader_first() -> Iterator[None]:
    """Rank 0 does what is inside before the others do: it may write what they then read."""
    if rank() and ranks() > 1:
        dist.barrier()
    yield
    if not rank() and ranks() > 1:
        dist.barrier()


def agreed(wish: bool) -> bool:
    """Whether any rank wishes it; all must ask, and all get the same answer."""
    if ranks() == 1:
        return wish
    # on the CPU, so that nobody waits for a device
    flag = torch.tensor(int(wish), dtype=torch.int32)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


# ---------------------------------------------------------------- the batch

def shares(batch: int, accumulate: int = 1) -> list[slice]:
    """Which samples of a batch this rank takes, in `accumulate` parts. Raises ValueError if uneven."""
    count = ranks() * accumulate
    if batch % count:
        raise ValueError(
            f"a batch of {batch} cannot be shared by {ranks()} ranks in {accumulate} parts each: "
            f"choose a multiple of {count}"
        )
    size, first = batch // count, rank() * accumulate
    return [slice(k * size, (k + 1) * size) for k in range(first, first + accumulate)]


def parts(batch: Callable[..., dict], step: int, shares: list[slice]) -> list[dict]:
    """This rank's parts of a step's batch.

    What a loss divides by, such as the number of letters in the batch, differs from part to part, and
    a mean of ratios is not the ratio of sums. So a batch may hold `sums`, and here each becomes its
    mean over all parts of all ranks: then the mean of the parts' losses is the loss of the whole.
    """
    if len(shares) == ranks() == 1:
        return [batch(step)]
    made = [batch(step, share) for share in shares]
    if "sums" in made[0]:
        sums = mean([part["sums"] for part in made])
        made = [part | dict(sums=sums) for part in made]
    return made


def mean(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each named number over the parts of a step and over ranks."""
    if len(rows) == ranks() == 1:
        return rows[0]
    table = torch.stack([torch.stack([value.float() for value in row.values()]) for row in rows]).mean(0)
    if ranks() > 1:
        dist.all_reduce(table)
        table /= ranks()
    return dict(zip(rows[0], table.unbind()))


def gather(x: Tensor) -> Tensor:
    """x (n, ...) of every rank, one after the other: (ranks n, ...)."""
    if ranks() == 1:
        return x
    found = [torch.empty_like(x) for _ in range(ranks())]
    dist.all_gather(found, x.contiguous())
    return torch.cat(found)


def same(*tensors: Tensor) -> None:
    """Give all ranks what rank 0 has."""
    if ranks() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)
