"""Checks of the exercises in notebook 09, Write words.

Shapes: R strings · H heads · L bytes of the longest · E head width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minglm.config import preset
from minglm.course.answers import Case, run
from minglm.model import glyph


def glyph_ids(learner: Callable[[str], list[int]]) -> None:
    """The ids of one string: every byte of its UTF-8 form plus 3, then a 1."""
    def case(string: str) -> Case:
        raw = list(string.encode())
        characters = [ord(c) + 3 for c in string] + [1]
        mistakes = {"the 1 at the end is missing": [b + 3 for b in raw],
                    "add 3 to the bytes: 0, 1 and 2 are special ids": [*raw, 1]}
        if not string.isascii():
            mistakes["ord() numbers 150,000 characters: use the bytes of .encode()"] = characters
        return Case((string,), glyph.glyph_ids([string])[0], mistakes)

    run("glyph_ids", learner, *map(case, ("HI", "A 1!", "你好", "GO 早上", "")))


def relative_buckets(learner: Callable[[int], Tensor]) -> None:
    """T5's buckets of key - query for 32 buckets and a largest distance of 128: (L, L)."""
    with torch.random.fork_rng(devices=[]):
        right = glyph.GlyphEncoder(preset("tiny").glyph).buckets

    def case(length: int) -> Case:
        place = torch.arange(length)
        offset = place[None] - place[:, None]
        size, behind = offset.abs(), 16 * (offset > 0)
        log = (8 * torch.log(size.clamp(min=1) / 8) / torch.log(torch.tensor(16.0))).long()
        good, endless = right(length), torch.where(size < 8, size, 8 + log) + behind
        mistakes = {"the offset is key - query: rows are queries, columns are keys": good.T,
                    "keys after the query have buckets of their own: add 16 where offset > 0": good - behind,
                    "distances from 128 on share the last bucket of their half, 15 or 31": endless,
                    "from distance 8 buckets grow: 8 + 8 log(distance / 8) / log(128 / 8), rounded down":
                        size.clamp(max=15) + behind}
        return Case((length,), good,
                    {why: wrong for why, wrong in mistakes.items() if not torch.equal(wrong, good)})

    run("relative_buckets", learner, *map(case, (6, 40, 300)))


def glyph_attention(learner: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """T5's attention: logits without a scale but with a bias, and padded keys masked, (R, H, L, E)."""
    g = torch.Generator().manual_seed(0)

    def case(strings: int, heads: int, length: int, width: int) -> Case:
        q, k, v = torch.randn(3, strings, heads, length, width, generator=g)
        bias = 2 * torch.randn(heads, length, length, generator=g)
        mask = torch.arange(length) < torch.arange(length, length - strings, -1)[:, None]        # (R, L)
        seen = mask[:, None, None]

        def answer(scores: Tensor, axis: int = -1) -> Tensor:
            return scores.softmax(axis) @ v

        hide = torch.finfo(torch.float32).min
        raw = q @ k.transpose(-1, -2)
        scores = raw + bias
        return Case((q, k, v, bias, mask), answer(scores.masked_fill(~seen, hide)), {
            "T5 does not divide the logits by sqrt(E)":
                answer((raw * width ** -0.5 + bias).masked_fill(~seen, hide)),
            "the position bias is not added": answer(raw.masked_fill(~seen, hide)),
            "padding is attended to: where mask is False, no query may attend": answer(scores),
            "the mask is the wrong way round: True = a byte, may be attended to":
                answer(scores.masked_fill(seen, hide)),
            "the softmax runs over the keys, the last axis": answer(scores.masked_fill(~seen, hide), -2)})

    run("glyph_attention", learner, case(3, 2, 5, 4), case(2, 4, 7, 8))
