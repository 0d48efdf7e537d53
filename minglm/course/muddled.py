"""Pieces of notebooks 02 and 05 with one thing wrong each: what their checks know.

Shapes: as in check_05.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minglm.model import bpe
from minglm.model.bpe import BPE, Pair, Word, to_alphabet
from minglm.model.layers import KVCache
from minglm.model.ops import plain_attention
from minglm.model.planner import PlannerBlock
from minglm.model.rotary import rotate


def learned(words: Mapping[Word, int], count: int, wide: int = 2, again: bool = True, tie: Callable = max,
            least: int = 2, spend: bool = False, stop: bool = False) -> list[Pair]:
    """The merges that BPE learns, with one thing wrong: pairs counted once, another `tie`, another `least`
    count; a pair that is too wide spends one of the `count` turns, or stops everything."""
    merges, pairs, left_out = [], {}, set()
    while len(merges) + len(left_out) < count:
        if again or not merges:
            pairs = {pair: n for pair, n in bpe.count_pairs(words).items() if n >= least
                     and pair not in left_out and (spend or stop or not bpe.too_wide("".join(pair), wide))}
        if not pairs:
            break
        most = max(pairs.values())
        best = tie([pair for pair, n in pairs.items() if n == most])
        del pairs[best]
        if bpe.too_wide("".join(best), wide):
            if stop:
                break
            left_out.add(best)
            continue
        merges.append(best)
        words = {bpe.merge(word, best): n for word, n in words.items()}
    return merges


def longest(tokenizer: BPE, text: str) -> list[int]:
    word, out = to_alphabet(text), []
    while word:
        size = max((n for n in range(1, len(word) + 1) if word[:n] in tokenizer.vocab), default=1)
        out, word = [*out, tokenizer.vocab[word[:size]]], word[size:]
    return out


def numbered(tokenizer: BPE, word: Word) -> list[int]:
    return [tokenizer.vocab[token] for token in word]


def merged(tokenizer: BPE, text: str, pick: Callable[[list[Pair]], Pair], most: int | None = None
           ) -> list[int]:
    """The ids if `pick` says which of the known pairs is merged next; most: after so many merges."""
    word = tuple(to_alphabet(text))
    for _ in range(len(word) if most is None else most):
        known = [pair for pair in zip(word, word[1:]) if pair in tokenizer.rank]
        if not known:
            break
        word = bpe.merge(word, pick(known))
    return numbered(tokenizer, word)


MISSTEPS = {
    "norm1": "norm1 is missing, before attention", "norm2": "norm2 is missing, after attention",
    "norm3": "norm3 is missing, before the MLP", "norm4": "norm4 is missing, after the MLP",
    "x1": "the input is not added to what attention computed: x + norm2(...)",
    "x2": "the input is not added to what the MLP computed: x + norm4(...)",
    "rotate": "queries and keys are not rotated", "rotate k": "the keys are not rotated",
    "values": "values are not rotated: only queries and keys are",
    "causal": "without a mask the block is causal: no token attends to later ones",
    "mask": "the mask is not used", "cache": "the cache is not used: attend to all that append returns",
    "split": "a head is E neighbouring channels: 'b n (h e) -> b h n e'",
    "view": "split the channels into heads, then swap heads and tokens: 'b n (h e) -> b h n e'",
    "back": "put the heads back beside their channels: 'b h n e -> b n (h e)'",
    "late": "rotate the keys before they are stored: the cache holds rotated keys",
    "gate": "gate is the first half of gate_up, up the second", "silu": "the gate needs its silu",
    "always": "causal is for several tokens without a mask: one new token attends to the whole cache",
    "both": "a mask says all: with a mask, do not make the block causal as well",
    "normed": "each sum takes x as it was, not as the norm made it",
    "post": "norm2 and norm4 are for what is added, before the sum: x + norm2(...), not norm2(x + ...)",
    "silus": "silu is for the gate only, not for up"}


class Sandwich(PlannerBlock):
    """The library's block with one thing wrong: the one called `off`."""

    def __init__(self, config, off: str):
        super().__init__(config)
        self.off = off

    def forward(self, x: Tensor, rotary: tuple, mask: Tensor | None, cache: KVCache | None) -> Tensor:
        off = self.off
        n1, n2, n3, n4 = (getattr(self, name) if off != name else lambda y: y for name in list(MISSTEPS)[:4])
        heads = "b n (e h) -> b h n e" if off == "split" else "b n (h e) -> b h n e"
        q, k, v = (rearrange(part(n1(x)), heads, e=self.head_dim) for part in (self.q, self.k, self.v))
        if off == "view":
            q, k, v = (part(n1(x)).view(len(x), -1, x.shape[1], self.head_dim)
                       for part in (self.q, self.k, self.v))
        q = q if off == "rotate" else rotate(q, *rotary)
        k = k if off in ("rotate", "rotate k", "late") else rotate(k, *rotary)
        v = rotate(v, *rotary) if off == "values" else v
        if cache is not None and off != "cache":
            k, v = cache.append(k, v)
        if off == "late":                    # as far as it fits: angles of the new tokens, for all keys
            last = [angle[:, :, -1:] for angle in rotary]
            k = rotate(k, *(rotary if k.shape[2] == x.shape[1] else last))
        causal = off == "always" or mask is None and x.shape[1] > 1 and off != "causal"
        if off == "both" and mask is not None:
            mask = mask & torch.ones(mask.shape[-2:], dtype=torch.bool).tril()
        h = plain_attention(q, k, v, None if off == "mask" else mask, causal)
        h = h.reshape(len(x), x.shape[1], -1) if off == "back" else rearrange(h, "b h n e -> b n (h e)")
        h = self.o(h)
        x = {"x1": n2(h), "post": n2(x + h), "normed": n1(x) + n2(h)}.get(off, x + n2(h))
        gate, up = self.gate_up(n3(x)).chunk(2, -1)
        gate, up = (up, gate) if off == "gate" else (gate, up)
        h = self.down((gate if off == "silu" else F.silu(gate)) * (F.silu(up) if off == "silus" else up))
        return {"x2": n4(h), "post": n4(x + h), "normed": n3(x) + n4(h)}.get(off, x + n4(h))
