"""A model on several ranks: DDP or FSDP2, and what changes where parameters are sharded.

    DDP    every rank has all of the model; gradients are averaged while the backward pass still runs
    FSDP2  every rank has a slice of each parameter, gradient and moment; a block is put together
           when its turn comes and taken apart after it

Autocast stays what it is in one process, so parameters travel in single precision and losses agree.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from minglm.device import Device
from minglm.model import layers
from minglm.training import ranks


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
    computed again. Optimisers are to be made after this, since sharding replaces the parameters.
    """
    # those that learn: frozen copies also work before the first forward pass of the whole, which FSDP forbids
    blocks = [module for module in model.modules() if type(module).__name__.endswith("Block")
              and any(p.requires_grad for p in module.parameters())]
    if recompute:
        for block in blocks:
            layers.recompute(block)
    if not dist.is_initialized():
        return loss
    # all start from rank 0's weights: hosts of different kinds may have rounded theirs differently
    ranks.same(*model.state_dict().values())
    whole = Loss(model, loss)
    if not sharded:
        return DistributedDataParallel(whole, gradient_as_bucket_view=True)
    from torch.distributed.fsdp import fully_shard  # its import takes most of a second

    how = dict(mesh=init_device_mesh(device.kind, (ranks.ranks(),)),
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
        if not ranks.rank():
            state[name] = value.cpu()
    if not ranks.rank():
        empty.load_state_dict(state, assign=True)
    return empty
