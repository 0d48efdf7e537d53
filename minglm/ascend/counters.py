"""Counters of a simulated card: launches, syncs, copies, memory. See simulator.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Counters:
    """What the card and the connection to it had to do."""

    launches: int = 0                     # kernels; views, allocations and copies to or from the host are not
    syncs: int = 0                           # how often the host waited for the card, to read from it
    to_card: int = 0                         # bytes
    to_host: int = 0                         # bytes
    unfused: int = 0                         # attention calls whose float mask rules out the fused kernel
    peak: int = 0                        # the most bytes of live tensors; overestimated under FSDP, see below
    operators: Counter = field(default_factory=Counter, repr=False)  # dispatched, as "add.Tensor" or "mm"
    trace: list[str] | None = field(default=None, repr=False)        # the launches in order, if requested
    budget: int | None = None                # syncs allowed

    def __str__(self) -> str:
        return (f"{self.launches:,} launches, {self.syncs:,} host syncs, {self.to_card / 1e6:,.1f} MB to the "
                f"card and {self.to_host / 1e6:,.1f} back, at most {self.peak / 1e6:,.0f} MB held")


# FSDP frees the storage of tensors that stay alive, which is not seen here.
total = Counters()
watching = [total]
alive = 0                                    # bytes


@contextmanager
def counting(trace: bool = False, budget: int | None = None) -> Iterator[Counters]:
    """Count what happens in this context. A host sync beyond `budget` raises RuntimeError on the spot."""
    seen = Counters(peak=alive, trace=[] if trace else None, budget=budget)
    watching.append(seen)
    try:
        yield seen
    finally:
        watching[:] = [other for other in watching if other is not seen]


def count(name: str, launch: bool = True) -> None:
    """An operator was dispatched."""
    for seen in watching:
        seen.operators[name] += 1
        if launch:
            seen.launches += 1
            if seen.trace is not None:
                seen.trace.append(name)


def count_sync(name: str) -> None:
    """The host waits for the card. Raises RuntimeError if that is beyond a budget."""
    for seen in watching:
        seen.syncs += 1
        if seen.budget is not None and seen.syncs > seen.budget:
            raise RuntimeError(f"host sync number {seen.syncs}, by {name}: only {seen.budget} allowed here")


def count_copy(size: int, to_host: bool) -> None:
    """Bytes are copied from the host to the card, or back."""
    for seen in watching:
        if to_host:
            seen.to_host += size
        else:
            seen.to_card += size


def count_unfused() -> None:
    """An attention call has a mask that the fused kernel does not take."""
    for seen in watching:
        seen.unfused += 1


class Allocation:
    """The memory of a tensor and all its views; it is freed with the last of them."""

    __slots__ = ("size",)

    def __init__(self, size: int):
        global alive
        self.size = size
        alive += size
        for seen in watching:
            seen.peak = max(seen.peak, alive)

    def __del__(self):
        global alive
        alive -= self.size
