"""The glyph encoder: quoted words, byte by byte, become the tokens that tell the decoder what to write.

Shapes: R strings · L bytes of the longest · D width · H heads · E head width · B pictures · S glyph tokens.

A byte-level T5 encoder, as in ByT5 and Glyph-ByT5: each string is encoded on its own, and the tokens of a
picture's strings are concatenated. With `places` in the config, learned vectors encode which string a byte
belongs to, which of its characters, and where on the line that is drawn; the released model has none. With
`order`, the third byte of a character is told from the second.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import GlyphConfig
from minglm.model.layers import RMSNorm, round_up, side_by_side
from minglm.world.characters import is_wide

MOST_CELLS, MOST_STRINGS = 24, 8             # place tables hold this many; later ones share the last entry
FOLLOWING = range(0x80 + 3, 0xC0 + 3)        # ids of UTF-8's continuation bytes
THIRD = 0x80                                 # added to such an id if it follows another: ids ByT5 never uses


def glyph_ids(texts: list[str]) -> list[list[int]]:
    """ByT5's ids of each text: byte + 3 (0 is padding), and 1 at the end."""
    return [[byte + 3 for byte in text.encode("utf-8")] + [1] for text in texts]


def ordered(ids: Tensor) -> Tensor:
    """ids (R, L) in which the third byte of a character, and a fourth, has another id than a second.

    One Chinese character in six has the bytes of another, the last two swapped: 台 (E5 8F B0) and 小
    (E5 B0 8F). Attention sums over bytes, and its position bias alone hardly told which came first.
    """
    follows = (ids >= FOLLOWING.start) & (ids < FOLLOWING.stop)
    return ids + THIRD * (follows & F.pad(follows[:, :-1], (1, 0)))


def biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """T5's attention: q, k, v (R, H, L, E); bias (R, H, L, L), added to the unscaled logits. (R, H, L, E)"""
    logits = (q @ k.transpose(-1, -2)).float() + bias
    return logits.softmax(-1).to(v.dtype) @ v


class GlyphBlock(nn.Module):
    """T5 block: unscaled attention with a relative-position bias, then a gated feed-forward."""

    def __init__(self, config: GlyphConfig):
        super().__init__()
        inner, width = config.heads * config.head_dim, config.width
        self.heads = config.heads
        self.norm1 = RMSNorm(width, config.eps)
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, width, bias=False)
        self.norm2 = RMSNorm(width, config.eps)
        self.gate = nn.Linear(width, config.mlp, bias=False)
        self.up = nn.Linear(width, config.mlp, bias=False)
        self.down = nn.Linear(config.mlp, width, bias=False)
        nn.init.normal_(self.q.weight, std=(width * config.head_dim) ** -0.5)  # in place of 1/sqrt(head_dim)
        for linear in (self.k, self.v, self.o, self.gate, self.up, self.down):
            nn.init.normal_(linear.weight, std=linear.in_features ** -0.5)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (R, L, D); bias (R, H, L, L) combines position bias and mask."""
        h = self.norm1(x)
        q, k, v = (rearrange(t, "r l (h d) -> r h l d", h=self.heads)
                   for t in side_by_side(h, self.q, self.k, self.v))
        out = biased_attention(q, k, v, bias)                                    # (R, H, L, E)
        x = x + self.o(rearrange(out, "r h l d -> r l (h d)"))
        h = self.norm2(x)
        gate, up = side_by_side(h, self.gate, self.up)
        return x + self.down(F.gelu(gate, approximate="tanh") * up)


class GlyphEncoder(nn.Module):
    """Byte ids of strings -> one feature per byte."""

    def __init__(self, config: GlyphConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.position_bias = nn.Embedding(config.buckets, config.heads)
        self.blocks = nn.ModuleList(GlyphBlock(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width, config.eps)
        if config.places:
            # the bytes of a character find each other by its place; the decoder finds a byte by its cell
            self.cell_place = nn.Embedding(MOST_CELLS ** 2, config.width)
            self.character_place = nn.Embedding(MOST_CELLS ** 2, config.width)
            self.string_place = nn.Embedding(MOST_STRINGS ** 2, config.width)
            nn.init.normal_(self.cell_place.weight, std=0.02)  # drawing comes first, and needs no cell
            self.draw = nn.Linear(config.width, config.raster)                   # used in training only

    def buckets(self, length: int) -> Tensor:
        """T5's relative-position buckets: exact when near, logarithmic when far. (L, L)"""
        half = self.config.buckets // 2                                          # for each direction
        exact = half // 2                                                        # of these, one per distance
        place = torch.arange(length, device=self.embed.weight.device)
        offset = place[None] - place[:, None]                                    # key - query
        far = torch.log(offset.abs().clamp(min=1).float() / exact)
        far = exact + (far / math.log(self.config.max_distance / exact) * (half - exact)).long()
        near = torch.where(offset.abs() < exact, offset.abs(), far.clamp(max=half - 1))
        return near + half * (offset > 0)

    def forward(self, ids: Tensor, mask: Tensor, places: Tensor | None = None) -> Tensor:
        """ids (R, L); mask (R, L), True = a byte; places (R, L, 3) -> features (R, L, D)."""
        x = self.embed(ordered(ids) if self.config.order else ids)               # (R, L, D)
        if self.config.places:
            tables = self.cell_place, self.character_place, self.string_place
            x = x + sum(table(place) for table, place in zip(tables, places.unbind(-1)))
        bias = rearrange(self.position_bias(self.buckets(ids.shape[1])), "q k h -> 1 h q k").float()
        # finite, since a row of -inf would make softmax NaN; the position bias is shared by all blocks
        bias = bias.masked_fill(~mask[:, None, None], torch.finfo(torch.float32).min)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm(x)


def owners(text: str) -> tuple[list[int], list[int]]:
    """The cell and the character that each byte of a string, and its end, belongs to.

    A cell is as wide as a Latin letter. A Chinese character has two: its first byte is the left one, the
    others are the right one. So a cell says where on its line a byte is drawn, whatever stands before it.
    """
    cells, characters, at = [], [], 0
    for number, c in enumerate(text):
        size, wide = len(c.encode()), is_wide(c, text)
        cells += [at + (wide and k > 0) for k in range(size)]
        characters += [number] * size
        at += 1 + wide
    return [*cells, at], [*characters, len(text)]


def both_ends(owner: list[int], most: int) -> Tensor:
    """A place counts from both ends: (how many before, how many after), flattened into one index."""
    last = owner[-1]
    return torch.tensor([min(i, most - 1) * most + min(last - i, most - 1) for i in owner])


def collate(pictures: list[list[str]], multiple: int = 1) -> dict[str, Tensor]:
    """The strings of each picture, batched for the encoder and the decoder.

    Returns ids, mask (R, L) and places (R, L, 3: cell, character, string) of all strings; index (B, S), the
    position of each glyph token of a picture among the R * L features; and tokens (B, S), True = a token,
    False = padding. A picture without strings gets one empty string, as in GLM-Image. R, L and S are padded
    to multiples of `multiple`.
    """
    strings = [(text, k, len(texts)) for texts in ([*t] or [""] for t in pictures)
               for k, text in enumerate(texts)]
    rows = glyph_ids([text for text, _, _ in strings])
    rows += [[]] * (round_up(len(rows), multiple) - len(rows))
    length = round_up(max(map(len, rows)), multiple)
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]
    places = torch.zeros(len(rows), length, 3, dtype=torch.long)
    for place, (text, k, count) in zip(places, strings):
        for column, owner in enumerate(owners(text)):
            place[:len(owner), column] = both_ends(owner, MOST_CELLS)
        place[:, 2] = both_ends(list(range(count)), MOST_STRINGS)[k]
    # byte i of string r is feature r * L + i; padding is left out, so a picture's tokens are contiguous
    where, r = [], 0
    for texts in pictures:
        count = max(1, len(texts))
        where.append([(r + k) * length + i for k in range(count) for i in range(len(rows[r + k]))])
        r += count
    most = round_up(max(map(len, where)), multiple)
    index = torch.tensor([row + [0] * (most - len(row)) for row in where])
    tokens = torch.arange(most) < torch.tensor([len(row) for row in where])[:, None]
    return dict(ids=ids, mask=mask, places=places, index=index, tokens=tokens)


def gather(features: Tensor, index: Tensor) -> Tensor:
    """features (R, L, D) of all strings -> the glyph tokens of each picture, (B, S, D)."""
    return rearrange(features, "r l d -> (r l) d")[index]
