"""Ranks in one process, for checks of what a learner does with torch.distributed.

The ranks are played one after the other. An exchange stops a rank until all have reached it; then all are
started anew and told what it gives. So a check needs no other process, and nobody waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor

from minglm.course.answers import Wrong, call


class Pending(BaseException):
    """A rank has reached an exchange that others have yet to reach: its kind, and what it offers."""


class Done:
    """What an exchange returns if asked not to wait for it."""

    def wait(self) -> None: pass
    def is_completed(self) -> bool: return True


class Rank:
    """One of `count` ranks, which knows what the first exchanges gave, and the functions of
    torch.distributed as it sees them."""

    def __init__(self, number: int, count: int, known: list[list[Tensor]]):
        self.number, self.count, self.known, self.at, self.sent = number, count, known, 0, 0

    def exchange(self, kind: str, value: Tensor) -> list[Tensor]:
        """What every rank offers here."""
        if self.at == len(self.known):
            raise Pending(kind, value.detach().clone())
        self.at, self.sent = self.at + 1, self.sent + value.numel()
        return [value.clone() for value in self.known[self.at - 1]]

    def swap(self, value: Tensor) -> Tensor:
        """`value` for the next rank; returns what the previous one gives."""
        return self.exchange("swap", value)[self.number - 1]

    def functions(self) -> dict[str, Callable]:
        def reduced(tensor: Tensor, op) -> Tensor:
            if op not in (dist.ReduceOp.SUM, dist.ReduceOp.MAX):
                raise RuntimeError(f"gloo has no {op} here: sum, and divide by the number of ranks")
            both = torch.stack(self.exchange("reduce", tensor))
            return both.sum(0) if op == dist.ReduceOp.SUM else both.amax(0)

        def all_reduce(tensor, op=dist.ReduceOp.SUM, group=None, async_op=False):
            with torch.no_grad():
                tensor.copy_(reduced(tensor, op))
            return Done()

        def all_gather(tensors, tensor, group=None, async_op=False):
            for out, value in zip(tensors, self.exchange("gather", tensor), strict=True):
                out.copy_(value)
            return Done()

        def all_gather_into_tensor(out, tensor, group=None, async_op=False):
            out.copy_(torch.cat(self.exchange("gather", tensor)).view_as(out))
            return Done()

        def reduce_scatter_tensor(out, tensor, op=dist.ReduceOp.SUM, group=None, async_op=False):
            out.copy_(reduced(tensor, op).chunk(self.count)[self.number].view_as(out))
            return Done()

        def reduce_scatter(out, tensors, op=dist.ReduceOp.SUM, group=None, async_op=False):
            out.copy_(reduced(torch.stack(list(tensors)), op)[self.number])
            return Done()

        def broadcast(tensor, src=0, group=None, async_op=False):
            with torch.no_grad():
                tensor.copy_(self.exchange("broadcast", tensor)[src])
            return Done()

        return dict(all_reduce=all_reduce, all_gather=all_gather, broadcast=broadcast,
                    reduce_scatter=reduce_scatter, all_gather_into_tensor=all_gather_into_tensor,
                    reduce_scatter_tensor=reduce_scatter_tensor,
                    get_rank=lambda group=None: self.number, get_world_size=lambda group=None: self.count,
                    is_initialized=lambda: True, barrier=lambda *args, **options: None)


def played(name: str, learner: Callable, ask: Callable[[Rank], tuple], count: int) -> tuple[list, int]:
    """The answers of `count` ranks, each asked with its own arguments, and the most numbers that one sent."""
    known: list[list[Tensor]] = []
    while len(known) < 100:
        players, answers, offers = [Rank(number, count, known) for number in range(count)], [], []
        for rank in players:
            with patch.multiple(dist, **rank.functions()):
                try:
                    answers.append(call(name, learner, *ask(rank)))
                except Pending as pending:
                    offers.append(pending.args)
        if not offers:
            return answers, max(rank.sent for rank in players)
        if answers or len({(kind, value.shape) for kind, value in offers}) > 1:
            raise Wrong(f"{name}: the ranks do not take part in the same exchanges, in the same order and "
                        "with equal shapes, so some would wait for ever")
        known.append([value for _, value in offers])
    raise Wrong(f"{name}: after 100 exchanges it has not ended")
