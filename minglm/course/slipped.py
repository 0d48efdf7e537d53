"""Pieces of notebooks 07 and 08 with one thing wrong each: what their checks know.

Shapes: as in check_07 and check_08.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import DecoderConfig
from minglm.course.answers import normal
from minglm.model import decoder, flow, ops
from minglm.model.rotary import rotate


@dataclass(frozen=True)
class Slip:
    """One thing that a training loop can do wrong."""

    clear: bool = True
    learn: bool = True
    swapped: bool = False
    told: Callable[[Tensor], Tensor] = lambda sigma: sigma
    target: int = 1
    first: bool = False


def train_with(slip: Slip, field: nn.Module, optimiser: torch.optim.Optimizer,
               batches: Iterable[tuple]) -> list[float]:
    """`twins.trained`, with one thing wrong."""
    losses = []
    for data, noise, sigma, k in batches:
        x = flow.mix(noise, data, sigma) if slip.swapped else flow.mix(data, noise, sigma)
        ends = (data, noise) if slip.target > 0 else (noise, data)
        loss = flow.loss(field(x, slip.told(sigma), k), *ends, torch.ones(len(x), 1, 1, 1))
        if slip.clear:
            optimiser.zero_grad()
        loss.backward()
        if slip.learn:
            optimiser.step()
        losses.append(loss.item())
        if slip.first:
            break
    return losses


class Line(nn.Module):
    """A field with six numbers in it, to see what a training loop does to them."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(4, 2)

    def forward(self, x: Tensor, sigma: Tensor, k: Tensor) -> Tensor:
        inputs = torch.cat([x.flatten(1), sigma[:, None], k[:, None].float()], 1)
        return self.map(inputs).view(x.shape)


SLIPS = {
    "own": "glyph tokens have modulation of their own: c_shift1, c_scale1, c_shift2, c_scale2",
    "gates": "what attention and the feed-forward compute is multiplied by the gates",
    "c gates": "glyph tokens have gates of their own: c_gate1, c_gate2",
    "second": "the feed-forward has shift, scale and gate of its own: those with a 2",
    "exchanged": "shift and scale are exchanged: modulate takes x, then the shift, then the scale",
    "one more": "a gate has no 1 of its own, only the scale has: add gate * result",
    "residual": "the result is added to the token, it does not replace it",
    "normed": "add the result to x and c as they came in, not to what modulate has made of them",
    "parallel": "the feed-forward reads x and c after attention has been added to them",
    "forgotten": "what attention added is gone: add the feed-forward's result to the new x and c",
    "plain": "modulate before the feed-forward, too: with shift2 and scale2",
    "image only": "glyph tokens have the feed-forward, too, with c_gate2",
    "split": "a head is E neighbouring channels: 'b n (h e) -> b h n e'",
    "glued": "a reshape alone does not put heads side by side: 'b h n e -> b n (h e)'",
    "norm": "queries and keys are normalised before they are rotated",
    "wide": "each head is normalised over its own E channels: split into heads before F.layer_norm",
    "rms": "F.layer_norm subtracts the mean of queries and keys; an RMS norm does not",
    "norm v": "values are not normalised: only queries and keys are",
    "late": "normalise before rotating: rotated channels have another mean",
    "still": "image tokens are not rotated",
    "still keys": "the keys of image tokens are rotated, too, not only their queries",
    "rotate c": "glyph tokens are not rotated: their cosine is 1 and their sine 0",
    "rotate v": "values are not rotated: only queries and keys are",
    "scaled": "attention divides the logits by the root of E already: do not scale queries as well",
    "mask": "the mask is not used",
    "memory": "the memory is not used: its keys and values come before those of this picture",
    "behind": "the memory comes before the tokens of this picture: the mask counts on that",
    "kept": "return the keys and values of this picture alone, without the memory's",
    "order": "glyph tokens come first in the sequence, then image tokens",
    "mixed": "joined one way, split the other: glyph tokens come first, h[:, :size] belong to c",
    "gelu": "the feed-forward needs its GELU, between fc1 and fc2",
    "exact": "GELU in its tanh form: F.gelu(..., approximate='tanh')",
    "raw": "return queries and keys as attention used them: normalised and rotated",
    "unturned": "return queries and keys as attention used them: rotated, too",
    "last": "after the last block c is empty: c[:, :0]",
    "empty": "c is empty after the last block only: the next block needs it",
    "c first": "return x first, then c"}


class Slipped(decoder.DecoderBlock):
    """The library's block with one thing wrong: the one called `off`."""

    def __init__(self, config: DecoderConfig, off: str):
        super().__init__(config)
        self.off = off

    def forward(self, x, c, m, rotary, mask, memory=None, last=False):
        off, size, count = self.off, c.shape[1], x.shape[1]
        parts = [*self.modulation(m).chunk(12, -1)]
        for i in range(1, 12, 2):
            if off == "own" and i not in (5, 11) or off == "c gates" and i in (5, 11):
                parts[i] = parts[i - 1]
        if off == "second":
            parts[6:] = parts[:6]
        if off == "exchanged":
            parts = [parts[i] for i in (2, 3, 0, 1, 4, 5, 8, 9, 6, 7, 10, 11)]
        if off == "one more":
            parts = [part + (i in (4, 5, 10, 11)) for i, part in enumerate(parts)]
        shift1, c_shift1, scale1, c_scale1, gate1, c_gate1, *rest = parts
        shift2, c_shift2, scale2, c_scale2, gate2, c_gate2 = rest
        if off == "gates":
            gate1, c_gate1, gate2, c_gate2 = [torch.ones_like(gate1)] * 4
        keep = 0 if off == "residual" else 1

        def joined(one: Tensor, two: Tensor) -> Tensor:
            return torch.cat([two, one] if off in ("order", "mixed") else [one, two], 1)

        def parted(h: Tensor) -> tuple[Tensor, Tensor]:
            return (h[:, count:], h[:, :count]) if off == "order" else (h[:, :size], h[:, size:])

        h = joined(ops.modulate(c, c_shift1, c_scale1), ops.modulate(x, shift1, scale1))
        if off == "normed":
            c, x = parted(h)
        before = c, x

        def wide(t: Tensor) -> Tensor:
            return F.layer_norm(t, t.shape[-1:], eps=1e-5) if off == "wide" else t

        heads = "b n (e h) -> b h n e" if off == "split" else "b n (h e) -> b h n e"
        raw = tuple(rearrange(t, heads, h=self.heads) for t in (wide(self.q(h)), wide(self.k(h)), self.v(h)))

        def placed(t: Tensor) -> Tensor:
            around = (0, 0, 0, size) if off == "order" else (0, 0, size, 0)
            turn = [F.pad(table, around, value=still) for table, still in zip(rotary, (1.0, 0.0))]
            if off == "rotate c":                    # as if glyph tokens were the first of the grid
                turn = [torch.cat([table[:size], table]) for table in rotary]
            return t if off == "still" else rotate(t, *turn)

        def normed(t: Tensor) -> Tensor:
            if off in ("norm", "wide"):
                return t
            return (F.rms_norm if off == "rms" else F.layer_norm)(t, t.shape[-1:], eps=1e-5)

        q, k = (normed(placed(t)) if off == "late" else placed(normed(t)) for t in raw[:2])
        k = normed(raw[1]) if off == "still keys" else k
        v = normed(raw[2]) if off == "norm v" else placed(raw[2]) if off == "rotate v" else raw[2]
        seen = k, v
        if memory is not None and off != "memory":
            pairs = [(own, past) if off == "behind" else (past, own) for past, own in zip(memory, (k, v))]
            seen = tuple(torch.cat(pair, 2) for pair in pairs)
        elif mask is not None:
            mask = mask[..., -k.shape[2]:]
        h = ops.attention(q / q.shape[-1] ** 0.5 if off == "scaled" else q, *seen,
                          None if off == "mask" else mask)
        h = h.reshape(len(h), h.shape[2], -1) if off == "glued" else rearrange(h, "b h n e -> b n (h e)")
        glyphs, image = parted(self.o(h))
        x, c = keep * x + gate1[:, None] * image, keep * c + c_gate1[:, None] * glyphs
        read = before if off == "parallel" else (c, x)
        if off != "plain":
            read = ops.modulate(read[0], c_shift2, c_scale2), ops.modulate(read[1], shift2, scale2)
        h = self.fc1(joined(*read))
        h = h if off == "gelu" else F.gelu(h, approximate="none" if off == "exact" else "tanh")
        glyphs, image = parted(self.fc2(h))
        c, x = before if off == "forgotten" else (c, x)
        x = keep * x + gate2[:, None] * image
        c = c if off == "image only" else keep * c + c_gate2[:, None] * glyphs
        if off == "empty" or last and off != "last":
            c = c[:, :0]
        own = (q, *seen) if off == "kept" else (q, k, v)
        if off in ("raw", "unturned"):
            own = raw if off == "raw" else (*map(normed, raw[:2]), v)
        return (c, x, own) if off == "c first" else (x, c, own)


@dataclass(frozen=True)
class Given:
    """What a block is tried on, said in a message as a reader of the exercise would say it."""

    tokens: int
    glyphs: int
    seed: int
    past: int
    masked: bool
    last: bool

    def __repr__(self) -> str:
        extras = ["a memory"] * bool(self.past) + ["a mask"] * self.masked
        return (f"{self.tokens} image and {self.glyphs} glyph tokens" + ", with " * bool(extras)
                + " and ".join(extras) + ", the last block" * self.last)


class Gated(nn.Module):
    """x + gate f(x) and a head: `zero` of them begin at 0; nothing depends on `aside`."""

    def __init__(self, *zero: str):
        super().__init__()
        self.inside, self.gate, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.aside = nn.Linear(2, 2)
        with torch.no_grad():
            for i, (name, p) in enumerate(self.named_parameters()):
                p.copy_(0 * p if name.split(".")[0] in zero else 1 + 0.3 * normal(*p.shape, seed=i))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.gate(x) * self.inside(x).tanh())
