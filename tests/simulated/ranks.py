"""Two simulated cards train as one, by DDP and by FSDP2, over a stand-in for hccl. test_simnpu.py runs it.

Rank 0 prints the losses of each way as JSON; `alone` is one process with the whole batch.
"""

import gc
import json

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from minglm.ascend import simulator
from minglm.device import pick

torch.set_num_threads(1)
simulator.install()


def losses(spread) -> list[float]:
    """Ten steps of a small regression, each rank with its share of the batch."""
    torch.manual_seed(0)
    model = spread(nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 1)).to("npu"))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator, found = torch.Generator().manual_seed(1), []
    for _ in range(10):
        x = torch.randn(8, 8, generator=generator)
        if spread is not alone:
            x = x.chunk(dist.get_world_size())[dist.get_rank()]
        x = x.to("npu")
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)                        # a sum over slices, under FSDP2
        optimiser.step()
        optimiser.zero_grad()
        loss = loss.detach()
        if spread is not alone:
            dist.all_reduce(loss)
            loss = loss / dist.get_world_size()
        found.append(loss.item())
    return found


def alone(model):
    return model


def shard(model):
    mesh = init_device_mesh("npu", (dist.get_world_size(),))
    for linear in (model[0], model[2]):
        fully_shard(linear, mesh=mesh)
    return fully_shard(model, mesh=mesh)


device = pick("npu:1" if pick("npu").module.device_count() > 1 else "npu")
dist.init_process_group(device.collectives)
found = dict(alone=losses(alone), ddp=losses(DistributedDataParallel), fsdp=losses(shard), backend=dist.get_backend())
if dist.get_rank() == 0:
    print(json.dumps(found))
dist.barrier()
gc.collect()
dist.destroy_process_group()
