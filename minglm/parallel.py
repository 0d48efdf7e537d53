"""Past one card: several processes, started by torchrun, that train as one.

Each process is a rank with a card of its own. A rank makes its share of every batch, and what the
ranks find is averaged, so that a run on many is the run on one. There are two ways to hold a model:

    DDP    every rank has all of it; gradients are averaged while the backward pass still runs
    FSDP2  every rank has a slice of each parameter, gradient and moment; a block is put together
           when its turn comes and taken apart behind it

In one process the functions here do nothing, so the training loop has one form.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel
from torch.optim._muon import _adjust_lr, _zeropower_via_newtonschulz
from torch.utils.checkpoint import checkpoint

from minglm.device import Device, pick


# ---------------------------------------------------------------- the processes

def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def restarted() -> bool:
    """Whether torchrun has started these processes again, because one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def card(name: str) -> Device:
    """The device called `name`; under torchrun each process takes its own card of that kind."""
    device = pick(name)
    return pick(f"{device.kind}:{os.environ['LOCAL_RANK']}") if dist.is_torchelastic_launched() else device


def fair_threads() -> int | None:
    """This process's share of the cores of a host that several share; None: it has them all."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, (os.cpu_count() or 1) // here) if here > 1 else None


@contextmanager
def group(device: Device) -> Iterator[None]:
    """Join the processes that torchrun started. What holds the model must be gone at the end: with a
    model still wrapped, gloo aborts one exit in six."""
    if not dist.is_torchelastic_launched():
        yield
        return
    own = device.collectives                 # on a card, gloo beside it, for words between hosts
    backend = own if device.kind == "cpu" else f"cpu:gloo,{device.kind}:{own}"
    store, place, count = next(rendezvous("env://"))
    if os.environ["LOCAL_WORLD_SIZE"] == str(count):
        # torchrun keeps its store over restarts, with addresses of processes that are dead (PyTorch issue
        # 135712). Hosts count restarts differently: on several, TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps.
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
    dist.init_process_group(backend, store=store, rank=place, world_size=count)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Grad strides do not match")           # of 1x1 convolutions; only slower
        warnings.filterwarnings("ignore", ".*returned a view tensor")            # which no block's caller changes
        yield                                # after an error the others do not come, so nobody waits
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
    """Whether any rank wishes it, told to all. The device is not waited for."""
    if ranks() == 1:
        return wish
    flag = torch.tensor(int(wish), dtype=torch.int32)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


# ---------------------------------------------------------------- the batch

def shares(batch: int, accumulate: int = 1) -> list[slice]:
    """Which samples of a batch this rank takes, in `accumulate` parts. Raises ValueError if uneven."""
    count = ranks() * accumulate
    if batch % count:
        raise ValueError(f"a batch of {batch} cannot be shared by {ranks()} ranks in {accumulate} parts each: "
                         f"choose a multiple of {count}")
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
    """x (n, ...) of every rank, one behind the other: (ranks n, ...)."""
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


# ---------------------------------------------------------------- the model

class Loss(nn.Module):
    """A stage's loss as the forward pass of a module: DDP and FSDP work around such a pass, whichever
    methods of the model the loss calls."""

    def __init__(self, model: nn.Module, loss: Callable[[dict], tuple[Tensor, dict[str, Tensor]]]):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss(batch)


def spread(model: nn.Module, loss: Callable, device: Device, sharded: bool, recompute: bool) -> Callable:
    """`loss` with the model copied to all ranks, or `sharded` over them.

    recompute: the inside of each block (modules called ...Block) is not kept for the backward pass but
    computed again. Optimisers are to be made behind this, since sharding replaces the parameters.
    """
    blocks = [module for module in model.modules() if type(module).__name__.endswith("Block")]
    if recompute:
        for block in blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
    if not dist.is_initialized():
        return loss
    same(*model.state_dict().values())       # hosts of several kinds may start from other roundings
    whole = Loss(model, loss)
    if not sharded:
        return DistributedDataParallel(whole, gradient_as_bucket_view=True)
    from torch.distributed.fsdp import fully_shard           # takes most of a second, so not above

    how = dict(mesh=init_device_mesh(device.kind, (ranks(),)),
               ignored_params={p for p in model.parameters() if not p.requires_grad})
    for block in blocks:
        fully_shard(block, **how)
    return fully_shard(whole, reshard_after_forward=False, **how)


def unsent(compute: Callable, last: bool) -> AbstractContextManager:
    """Under DDP, parts of a step before the last keep their gradients to themselves. FSDP sends every
    part's: gradients of the whole model are what no rank has room for."""
    return nullcontext() if last or not isinstance(compute, DistributedDataParallel) else compute.no_sync()


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor, of which this rank holds a slice."""
    return hasattr(tensor, "full_tensor")


def like(value: Tensor, other: Tensor) -> Tensor:
    """`value`, which every rank holds whole, sharded as `other` is."""
    if not is_sharded(other):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements, src_data_rank=None)


def whole(value: Tensor) -> Tensor:
    """A sharded tensor put together; all ranks must ask."""
    return value.full_tensor() if is_sharded(value) else value


def outline(model: nn.Module) -> nn.Module:
    """The same modules without numbers in them."""
    tensors = [*model.parameters(), *model.buffers()]
    return deepcopy(model, {id(t): nn.Parameter(t.detach().to("meta"), t.requires_grad)
                            if isinstance(t, nn.Parameter) else t.to("meta") for t in tensors})


def collected(model: nn.Module, empty: nn.Module) -> nn.Module:
    """On rank 0 the numbers of a sharded model, on the CPU, in its `empty` outline."""
    state = {}
    for name, value in model.state_dict().items():
        value = whole(value)
        if not rank():
            state[name] = value.cpu()
    if not rank():
        empty.load_state_dict(state, assign=True)
    return empty


class ShardedMuon(torch.optim.Muon):
    """Muon of sharded matrices. Momentum stays sharded; to be made orthogonal an update must be whole,
    so each matrix in turn is gathered, and every rank keeps its slice of the result."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                momentum = self.state[p]["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(momentum, group["momentum"]).full_tensor()
                update = _zeropower_via_newtonschulz(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(like(update, p), alpha=-_adjust_lr(group["lr"], group["adjust_lr_fn"], p.shape))
