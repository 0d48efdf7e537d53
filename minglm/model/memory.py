"""What a decoder remembers of reference images: keys and values of their tokens, in every block (a KV cache).

They are computed once (`Decoder.remember`) and then put together: those of several pictures one after the
other, those of a batch dealt to its samples, and tokens moved. A rotary position is an angle by which a key
is rotated, so to move a token, its key is rotated further: nothing has to be computed again.

Shapes: B batch · H heads · N image tokens of a reference · R all reference tokens of a sample · E head
width · G references of one size.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from minglm.config import DecoderConfig
from minglm.model.rotary import frequencies, rotate

Memory = list[tuple[Tensor, Tensor]]         # keys and values (B, H, N, E) of each block


def join(parts: tuple[tuple[Tensor, Tensor], ...]) -> tuple[Tensor, Tensor]:
    """Keys and values of one block for several reference images, concatenated along the tokens."""
    return torch.cat([k for k, _ in parts], 2), torch.cat([v for _, v in parts], 2)


def picked(memory: Memory, which: Tensor) -> Memory:
    """The tokens with indices `which` (R,) of a memory, in that order; an index may occur several times."""
    return [(keys[:, :, which], values[:, :, which]) for keys, values in memory]


def dealt(kept: list[Memory], where: Tensor) -> Memory:
    """Keys and values of reference images, remembered in batches of one size each, dealt to the pictures that
    they are references of.

    where (B, R): for every picture its references' tokens, numbered through all images of all of `kept`.
    Padding may have any number, to be hidden by `memory_mask`.
    """
    def flat(blocks: tuple[tuple[Tensor, Tensor], ...], which: int) -> Tensor:
        rows = torch.cat([rearrange(pair[which], "g h n e -> (g n) h e") for pair in blocks])
        return rearrange(rows[where], "b r h e -> b h r e")

    return [(flat(blocks, 0), flat(blocks, 1)) for blocks in zip(*kept)]


def moved(memory: Memory, shift: Tensor, config: DecoderConfig) -> Memory:
    """A memory as if its tokens stood elsewhere. shift (B, R, 2): by how many tokens, which may be fractions,
    each has moved down and to the right."""
    turn = frequencies(config.head_dim // 2, config.rope_theta).to(shift.device)             # (E/4,)
    angles = rearrange(shift[..., None] * turn, "b r a e -> b 1 r (a e)")       # (B, 1, R, E/2)
    angles = angles.repeat(1, 1, 1, 2)
    cos, sin = angles.cos(), angles.sin()
    return [(rotate(keys, cos, sin), values) for keys, values in memory]
