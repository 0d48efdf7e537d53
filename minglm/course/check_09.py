"""Checks of the exercises in notebook 09, Write words.

Shapes: R strings · H heads · L bytes of the longest · D width · E head width · B pictures · N image tokens ·
S glyph tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import GlyphConfig, preset
from minglm.course.answers import Case, Wrong, normal, run
from minglm.model import glyph
from minglm.training import stage_decoder
from minglm.world.characters import is_wide

HIDE = torch.finfo(torch.float32).min


def ordered(learner: Callable[[Tensor], Tensor]) -> None:
    """ids (R, L) of bytes -> the same, with 128 added where a byte that continues a character follows another
    one."""
    def case(*strings: str) -> Case:
        rows = glyph.glyph_ids(list(strings))
        ids = torch.tensor([row + [0] * (max(map(len, rows)) - len(row)) for row in rows])

        def moved(before: int, first: int = 131, last: int = 194) -> Tensor:
            """128 more for what continues a character if what stands `before` it does, too."""
            follows = (ids >= first) & (ids <= last)
            return ids + 128 * (follows & (F.pad(follows, (1, 1))[:, 1 - before:][:, :ids.shape[1]]))

        right, third = glyph.ordered(ids), ids.clone()
        for i in range(2, ids.shape[1]):
            third[:, i] += 128 * ((right[:, i] > ids[:, i]) & (right[:, i - 1] == ids[:, i - 1]))
        wrong = {
            "the second byte of a character keeps its id": moved(0),
            "a fourth byte, too, follows one that continues the character": third,
            "an id is its byte + 3: those that continue a character are 131 to 194": moved(1, 128, 191),
            "look at the byte before, not at the one after": moved(-1),
            "a byte of 192 or more begins a character: its id stays": moved(1, last=258)}
        return Case((ids,), right, {why: one for why, one in wrong.items() if not torch.equal(one, right)})

    run("ordered", learner, case("Hi 你好", "小台"), case("é🍓", "什么？ñandú"), case("“éñ”", "可爱"))


def owners(learner: Callable[[str], tuple[list[int], list[int]]]) -> None:
    """The cell and the character that each byte of a string, and its end, belongs to: two lists."""
    def placed(text: str, second: Callable, end: bool, size: Callable) -> tuple[list, list]:
        cells, characters, at = [], [], 0
        for number, c in enumerate(text):
            wide = is_wide(c, text)
            count = len(c.encode())
            cells += [at + second(k, wide, count) for k in range(count)]
            characters += [number] * count
            at += size(c, wide)
        return ([*cells, at], [*characters, len(text)]) if end else (cells, characters)

    def case(text: str) -> Case:
        def halves(k: int, wide: bool, count: int) -> int:
            return int(wide and k > 0)

        def width(c: str, wide: bool) -> int:
            return 1 + wide

        right = glyph.owners(text)
        two_cells = "a wide character has two cells: the first byte is in the left one, others in the right"
        return Case((text,), right, {
            "the end has a cell and a character, too: the next ones": placed(text, halves, False, width),
            "only a wide character has a second cell": placed(text, lambda k, *_: int(k > 0), True, width),
            two_cells: placed(text, lambda *_: 0, True, width),
            "a byte is not a cell: a Chinese character has three bytes and two cells":
                placed(text, lambda k, *_: k, True, lambda c, wide: len(c.encode())),
            "the cells of a wide character are two: the next character begins two further":
                placed(text, halves, True, lambda c, wide: 1),
            "cells first, then characters": right[::-1]})

    run("owners", learner, *map(case, ("Hi", "你好", "é!", "“好” OK", "A“B”", "")))


def relative_buckets(learner: Callable) -> None:
    """An encoder (self) and a length -> T5's buckets of key - query, (L, L)."""
    def case(length: int, buckets: int = 32, farthest: int = 128) -> Case:
        with torch.random.fork_rng(devices=[]):
            config = replace(preset("tiny").glyph, buckets=buckets, max_distance=farthest)
            encoder = glyph.GlyphEncoder(config)
        half, exact, place = buckets // 2, buckets // 4, torch.arange(length)
        offset = place[None] - place[:, None]
        size, later = offset.abs(), half * (offset > 0)
        log = size.clamp(min=1).div(exact).log() / torch.tensor(farthest / exact).log()
        good = encoder.buckets(length)
        grown = exact + (log * (half - exact)).long()
        mistakes = {"the offset is key - query: rows are queries, columns are keys": good.T,
                    "keys after the query have buckets of their own: where offset > 0 add half of them":
                        good - later,
                    "distances from max_distance on share the last bucket of their half":
                        torch.where(size < exact, size, grown) + later,
                    "from a quarter of the buckets on they grow like the logarithm, rounded down":
                        size.clamp(max=half - 1) + later}
        return Case((encoder, length), good,
                    {why: wrong for why, wrong in mistakes.items() if not torch.equal(wrong, good)})

    run("relative_buckets", learner, case(6), case(40), case(300), case(70, 16, 64))


def biased_attention(learner: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """T5's attention: logits without a scale but with a bias, (R, H, L, E)."""
    g = torch.Generator().manual_seed(0)

    def case(strings: int, heads: int, length: int, width: int) -> Case:
        q, k, v = torch.randn(3, strings, heads, length, width, generator=g)
        bias = 2 * torch.randn(1, heads, length, length, generator=g)
        mask = torch.arange(length) < torch.arange(length, length - strings, -1)[:, None]        # (R, L)
        hidden = bias.masked_fill(~mask[:, None, None], HIDE)
        raw = q @ k.transpose(-1, -2)
        return Case((q, k, v, hidden), (raw + hidden).softmax(-1) @ v, {
            "T5 does not divide the logits by sqrt(E)": (raw * width ** -0.5 + hidden).softmax(-1) @ v,
            "the bias is not added": raw.softmax(-1) @ v,
            "the bias is added to the logits, before the softmax": (raw.softmax(-1) + hidden) @ v,
            "the softmax runs over the keys, the last axis": (raw + hidden).softmax(-2) @ v,
            "queries times keys, not keys times queries": (raw.transpose(-1, -2) + hidden).softmax(-1) @ v})

    run("biased_attention", learner, case(3, 2, 5, 4), case(2, 4, 7, 8))


class Spoilt(glyph.GlyphBlock):
    """A T5 block with one mistake."""

    def __init__(self, config: GlyphConfig, mistake: str):
        super().__init__(config)
        self.mistake = mistake

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        wrong = self.mistake
        h = x if wrong == "norm1" else self.norm1(x)
        split = "r l (d h) -> r h l d" if wrong == "heads" else "r l (h d) -> r h l d"
        q, k, v = (rearrange(part(h), split, h=self.heads) for part in (self.q, self.k, self.v))
        q = q * q.shape[-1] ** -0.5 if wrong == "scale" else q
        logits = q @ k.transpose(-1, -2) + (0 if wrong == "bias" else bias)
        h = self.o(rearrange(logits.softmax(-1) @ v, "r h l d -> r l (h d)"))
        x = h if wrong == "first" else x + h
        h = x if wrong == "norm2" else self.norm2(x)
        gate = F.gelu(self.gate(h), approximate="none" if wrong == "exact" else "tanh")
        gate = F.silu(self.gate(h)) if wrong == "silu" else gate
        up = F.gelu(self.up(h), approximate="tanh") if wrong in ("ungated", "swapped") else self.up(h)
        gate = {"ungated": 1, "swapped": self.gate(h)}.get(wrong, gate)
        h = self.down(gate * up)
        return h if wrong == "second" else x + h


MISTAKES = {
    "scale": "T5 does not divide the logits by sqrt(E)", "bias": "the bias is not added to the logits",
    "heads": "a head is E neighbouring channels: 'r l (h e) -> r h l e'",
    "norm1": "norm1 comes before the attention", "norm2": "norm2 comes before the feed-forward",
    "first": "the attention's result is added to x, in place of which it stands here",
    "second": "the feed-forward's result is added to x, in place of which it stands here",
    "exact": 'GELU in its tanh form: approximate="tanh"', "silu": "T5's gate is a GELU, not a SiLU",
    "ungated": "the gate is missing: GELU of `gate` times `up`",
    "swapped": "the GELU belongs to `gate`, not to `up`",
}


def glyph_block(learner: Callable[[GlyphConfig], nn.Module]) -> None:
    """A T5 block as a class: norm, attention with a bias, norm, gated feed-forward; x (R, L, D)."""
    def answer(config: GlyphConfig, weights: dict, x: Tensor, bias: Tensor) -> Tensor:
        block = learner(config)
        if not isinstance(block, nn.Module):
            raise Wrong("glyph_block: the class is to be an nn.Module")
        if {*block.state_dict()} != {*weights}:
            names = ", ".join(sorted({*weights} ^ {*block.state_dict()}))
            raise Wrong(f"glyph_block: parameters that are missing, or should not be there: {names}")
        block.load_state_dict(weights)
        with torch.no_grad():
            return block(x, bias)

    @torch.no_grad()
    def case(config: GlyphConfig, length: int) -> Case:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(length)
            right = glyph.GlyphBlock(config)
        for p in right.parameters():                     # norms that matter, and numbers large enough
            p.mul_(1.5).add_(0.2 * normal(*p.shape, seed=p.numel()))
        x, bias = 2 * normal(2, length, config.width), normal(1, config.heads, length, length, seed=1)
        lengths = torch.tensor([length, length - 2])[:, None, None, None]
        hidden = bias.masked_fill(torch.arange(length) >= lengths, HIDE)
        wrong = {}
        for mistake, words in MISTAKES.items():
            block = Spoilt(config, mistake)
            block.load_state_dict(right.state_dict())
            wrong[words] = block(x, hidden)
        return Case((config, right.state_dict(), x, hidden), right(x, hidden), wrong)

    small = replace(preset("tiny").glyph, width=16, heads=2, head_dim=4, mlp=24)
    run("glyph_block", answer, case(small, 5), case(replace(small, width=12, heads=3), 7), tolerance=2e-5)


def alignment(learner: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Log attention weights (B, H, N, S), targets (B, 2, N, S) and their sum -> the alignment loss."""
    def case(pictures: int, heads: int, tokens: int, glyphs: int, seed: int) -> Case:
        seen = (3 * normal(pictures, heads, tokens, glyphs + 4, seed=seed)).log_softmax(-1)[..., :glyphs]
        seen[0, 0, 0, 0] = -50.0
        align = normal(pictures, 2, tokens, glyphs, seed=seed + 1).softmax(-1)
        align = align * (torch.arange(tokens) % 3 > 0)[:, None]    # a third of them is not under text
        align[0, :, 0] = 0
        align[0, 0, 0, 0] = 1
        total = align.sum()
        shown = seen.clamp_min(-20)

        def loss(logs: Tensor, order: str = "b (t h) n s -> b t h n s") -> Tensor:
            return -(align[:, :, None] * rearrange(logs, order, t=2)).sum() / (heads // 2) / total

        right = stage_decoder.alignment(seen, align, total)
        return Case((seen, align, total), right, {
            "minus is missing: a loss has to fall when attention finds its letter": -right,
            "clamp the logs at -20, or one token that looks elsewhere rules the loss": loss(seen),
            "the first half of the heads learns the upper halves, the second the lower: (t h)":
                loss(shown, "b (h t) n s -> b t h n s"),
            "divide by the number of heads of one half, H / 2, too": right * (heads // 2),
            "divide by `total`, not by the number of tokens": right * total / (pictures * tokens),
            "divide by `total`, the sum of align": right * total,
            "`seen` holds logarithms: multiply align with them, not with their exp": loss(seen.exp()),
            "lower halves for the first heads, upper ones for the others: they are exchanged":
                stage_decoder.alignment(seen, align.flip(1), total)})

    run("alignment", learner, case(2, 4, 6, 5, 0), case(1, 8, 9, 3, 5))
