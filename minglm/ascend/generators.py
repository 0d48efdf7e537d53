"""Random numbers of the simulated card: its default stream, and generators of its own; which cards there are.

All are generators of the host. Nothing that is drawn from them changes the host's default stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import environ

import torch

Host = torch.Generator                       # as PyTorch has it; `install` puts Generator in its place
default = torch.Generator()                  # what torch.npu.manual_seed seeds
owned: set[int] = set()                      # addresses of the card's own, which PyTorch wraps ever anew


def cards() -> int:
    """How many simulated cards there are: one for each process of this host."""
    return int(environ.get("LOCAL_WORLD_SIZE", 1))


def card(device) -> int:
    """The number of the card that an int, a string or a torch.device names. Raises RuntimeError if there is
    none of that number."""
    number = device if isinstance(device, int) else torch.device(device).index or 0
    if not 0 <= number < cards():
        raise RuntimeError(f"invalid device ordinal npu:{number}: the simulated cards are 0 to {cards() - 1}")
    return number


@contextmanager
def drawing() -> Iterator[None]:
    """Random numbers come from the card's stream; the host's is left as it was."""
    host = torch.get_rng_state()
    torch.set_rng_state(default.get_state())
    try:
        yield
    finally:
        default.set_state(torch.get_rng_state())
        torch.set_rng_state(host)


def same_device(generator: Host | None) -> None:
    """Raise PyTorch's own sentence unless a generator that is given belongs to the card."""
    if generator is not None and generator._cdata not in owned:
        raise RuntimeError("Expected a 'npu' device type for generator but found 'cpu'")


class Kind(type(Host)):
    """Makes every generator an instance of what is called torch.Generator now."""

    def __instancecheck__(cls, value) -> bool:
        return isinstance(value, Host)


class Generator(Host, metaclass=Kind):
    """torch.Generator, which can be of the npu too."""

    def __new__(cls, device="cpu"):
        if torch.device(device).type != "npu":
            return Host(device)
        card(device)
        made = super().__new__(cls)
        owned.add(made._cdata)
        return made

    def __del__(self):
        owned.discard(self._cdata)

    @property
    def device(self) -> torch.device:
        return torch.device("npu:0")         # as every process calls its card
