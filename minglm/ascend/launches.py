"""Why a fast device waits for its host, and what helps: the operators of one training step, replayed.

Before a device can compute an operator, the host has to infer shapes, allocate memory and launch it. Small
operators take longer to launch than to compute, so the device is idle. GLM-Image was trained on Ascend with
remedies, named without numbers in its launch article (mindspore.cn, 2026-01-14) and digests of it: a pipeline
of host threads, fused operators, gradients communicated during the backward pass, AdamW fused with EMA.

What is replayed is real: `record` traces the operators of a step while it runs, on any device. How long each
takes is a model: constants marked as assumed are guesses, none measured on a card. Times: microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from minglm.measure.cost import CARDS, Card

# assumed: 20 µs of host work per operator on one, two or three threads: infer shapes | memory and tiling |
# launch
STAGES = {1: (20.0,), 2: (13.5, 6.5), 3: (7.0, 6.5, 6.5)}
DEPTH = 4096                                 # assumed: how many operators the host may be ahead of the device
FLOOR = 5.0                                  # assumed: the shortest time of any operator on the device
WIRE, LATENCY = 20e9, 30.0                   # assumed: bytes/s between two cards; start of one message

STARTLESS = ("empty", "new_empty", "_unsafe_view")    # prefixes of operators that, like views, launch nothing
COPIES = {"_to_copy", "copy_"}               # from the host: no launch; to the host: the host waits
WAITING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}  # the host needs values to go on

Span = tuple[float, float]                   # begin and end


# ---------------------------------------------------------------- what happens in a step: real


@dataclass(frozen=True)
class Launch:
    """One operator as the device executes it."""

    name: str
    flops: float                             # of matrix products, convolutions and attention; else 0
    bytes: float                             # of all tensors it reads and writes
    read: bool = False                       # whether the host waits for its result


@dataclass
class Trace:
    """The launches of a step; and for each gradient, how many precede its completion, and its bytes."""

    launches: list[Launch] = field(default_factory=list)
    gradients: list[tuple[int, int]] = field(default_factory=list)

    @property
    def reads(self) -> list[int]:
        return [i for i, launch in enumerate(self.launches) if launch.read]


class Recorder(TorchDispatchMode):
    """Records every operator that launches something on devices of one kind."""

    def __init__(self, kind: str, launches: list[Launch]):
        super().__init__()
        self.kind, self.launches = kind, launches

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = operator(*args, **kwargs)
        name, count = operator._schema.name.split("::")[-1], flop_registry.get(operator._overloadpacket)
        if not (operator.is_view or name.startswith(STARTLESS) or operator.namespace == "prim"):
            self.launched(name, (args, kwargs), out, count(*args, **kwargs, out_val=out) if count else 0,
                          waits(operator, name, args))
        return out

    def launched(self, name: str, inputs, out, flops: float = 0, read: bool = False) -> None:
        """Record a launch; also called by the simulated device for its fused kernels."""
        tensors = [x for x in tree_leaves((inputs, out)) if isinstance(x, Tensor)]
        here, crossed = (any((x.device.type == self.kind) == side for x in tensors) for side in (True, False))
        read = read or crossed and isinstance(out, Tensor) and out.device.type != self.kind
        if here and (read or not (crossed and name in COPIES)):
            self.launches.append(Launch(name, flops, sum(x.numel() * x.element_size() for x in tensors),
                                        read))


def waits(operator, name: str, args: tuple) -> bool:
    """Whether the host needs the values of a tensor to continue: `.item()`, `if`, data-dependent shapes."""
    if name in ("index", "index_put_", "_index_put_impl_"):              # a boolean index: how many are True?
        return any(x.dtype == torch.bool for x in tree_leaves(args[1]) if isinstance(x, Tensor))
    return not WAITING.isdisjoint(operator.tags)


def record(step: Callable[[], object], model: nn.Module) -> Trace:
    """Run `step` and trace its launches on the model's device, and when gradients are complete."""
    parameters, trace = [p for p in model.parameters() if p.requires_grad], Trace()

    def done(p: Tensor) -> None:
        trace.gradients.append((len(trace.launches), p.numel() * p.element_size()))

    hooks = [p.register_post_accumulate_grad_hook(done) for p in parameters]
    try:
        with Recorder(parameters[0].device.type, trace.launches):
            step()
    finally:
        for hook in hooks:
            hook.remove()
    return trace


def adamw_with_average(model: nn.Module, way: str, keep: float = 0.999) -> Callable[[], None]:
    """One step of AdamW and of the EMA of `model`, to be called once gradients are available.

    way: "loop" over the tensors, as in a textbook; "foreach", one operator per line of the formula for all
    tensors; "fused", one operator for all of AdamW, as in training. Raises ValueError for another one.
    """
    if way not in ("loop", "foreach", "fused"):
        raise ValueError(f"way {way!r}: allowed are loop, foreach and fused")
    optimiser = torch.optim.AdamW(model.parameters(), foreach=way == "foreach", fused=way == "fused")
    live, mean = list(model.parameters()), [p.detach().clone() for p in model.parameters()]

    @torch.no_grad()
    def step() -> None:
        optimiser.step()
        if way == "loop":
            for m, p in zip(mean, live, strict=True):
                m.lerp_(p, 1 - keep)
        else:
            torch._foreach_lerp_(mean, live, 1 - keep)

    step.mean = mean
    return step


# ---------------------------------------------------------------- how long it takes: a model


def work(launch: Launch, card: Card = CARDS["ascend-910b"], floor: float = FLOOR) -> float:
    """The time of a launch on the device: the longer of arithmetic and memory traffic, at least `floor`."""
    return max(floor, 1e6 * launch.flops / (card.flops * card.flops_share),
               1e6 * launch.bytes / (card.bandwidth * card.bandwidth_share))


@dataclass
class Timeline:
    """When each operator is in each host stage, and, in the last lane, on the device."""

    lanes: list[list[Span]]

    @property
    def end(self) -> float:
        return self.lanes[-1][-1][1] if self.lanes[-1] else 0.0

    @property
    def idle(self) -> float:
        """The fraction of the time in which the device is idle."""
        return 1 - sum(end - begin for begin, end in self.lanes[-1]) / self.end if self.end else 0.0


def replay(device: Sequence[float], host: Sequence[float] = STAGES[1], depth: int = DEPTH,
           reads: Collection[int] = (), pauses: Mapping[int, float] = MappingProxyType({})) -> Timeline:
    """Pass operators through a pipeline: every host stage is a thread, the last stage is the device.

    device: time of each operator there. host: time of any operator in each host stage. depth: how many
    operators the host may be ahead; it waits for the device when they are more. reads: operators whose result
    the host waits for. pauses: what the host does before an operator, such as preparing a batch. Raises
    ValueError without host stages or for a depth below 1.
    """
    if not host or depth < 1:
        raise ValueError(f"{len(host)} host stages and depth {depth}: both must be at least 1")
    lanes: list[list[Span]] = [[] for _ in range(len(host) + 1)]
    free = 0.0                                                              # when the host may start the next
    for i, time in enumerate(device):
        ready = max(free, lanes[-1][i - depth][1] if i >= depth else 0.0)
        for lane, cost in zip(lanes, (host[0] + pauses.get(i, 0.0), *host[1:], time), strict=True):
            begin = max(ready, lane[-1][1] if lane else 0.0)
            ready = begin + cost
            lane.append((begin, ready))
        if i in reads:
            free = ready
    return Timeline(lanes)


def ring(size: float, cards: int, wire: float = WIRE, latency: float = LATENCY) -> float:
    """The time of an all-reduce of `size` bytes in a ring, where each card sends almost all of it twice."""
    return latency + 1e6 * 2 * (cards - 1) / cards * size / wire


def buckets(gradients: Iterable[tuple[int, int]], size: float) -> list[tuple[int, int]]:
    """Gradients grouped, in the order in which they are complete, into buckets of at least `size` bytes."""
    made, held, after = [], 0, 0
    for after, part in gradients:
        held += part
        if held >= size:
            made.append((after, held))
            held = 0
    return made + [(after, held)] if held else made


def send(messages: Iterable[Span], after: float = 0.0) -> list[Span]:
    """The spans in which messages (ready, duration) are sent, one at a time, in order, not before `after`."""
    sent: list[Span] = []
    for ready, time in messages:
        begin = max(ready, after, sent[-1][1] if sent else 0.0)
        sent.append((begin, begin + time))
    return sent
