"""What a simulated card has done: launches, syncs, copies, memory. See simnpu.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Counters:
    """What the card and the way to it had to do."""

    launches: int = 0                        # kernels; views, allocations and copies from or to the host are none
    syncs: int = 0                           # times the host waited for the card, to read from it
    to_card: int = 0                         # bytes
    to_host: int = 0                         # bytes
    unfused: int = 0                         # attentions whose float mask rules out the fused kernel
    peak: int = 0                            # most bytes of tensors alive at once; under FSDP too many, see below
    operators: Counter = field(default_factory=Counter, repr=False)  # all that arrived, as "add.Tensor" or "mm"
    trace: list[str] | None = field(default=None, repr=False)        # the launches in order, if asked for
    budget: int | None = None                # syncs allowed

    def __str__(self) -> str:
        return (f"{self.launches:,} launches, {self.syncs:,} host syncs, {self.to_card / 1e6:,.1f} MB to the card and "
                f"{self.to_host / 1e6:,.1f} back, at most {self.peak / 1e6:,.0f} MB held")


# FSDP frees the storage of a tensor that goes on living, which is not seen here.
total = Counters()
watching = [total]
alive = 0                                    # bytes


@contextmanager
def counting(trace: bool = False, budget: int | None = None) -> Iterator[Counters]:
    """Count what happens inside. A host sync beyond `budget` raises RuntimeError where it happens."""
    seen = Counters(peak=alive, trace=[] if trace else None, budget=budget)
    watching.append(seen)
    try:
        yield seen
    finally:
        watching[:] = [other for other in watching if other is not seen]


def count(name: str, launch: bool = True) -> None:
    """An operator has arrived."""
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
    """Bytes go from the host to the card, or back."""
    for seen in watching:
        if to_host:
            seen.to_host += size
        else:
            seen.to_card += size


def count_unfused() -> None:
    """An attention has a mask that no fused kernel takes."""
    for seen in watching:
        seen.unfused += 1


class Allocation:
    """The memory behind a tensor and all its views; it is given back when the last of them goes."""

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
