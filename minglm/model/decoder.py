"""The diffusion decoder: a single-stream transformer over glyph tokens and image tokens.

Shapes: B batch · C latent channels · h, w latents · N = h w / 4 image tokens · S glyph tokens ·
D width · H heads · E head width · M modulation width · R tokens of reference images.

It never sees the prompt: only noisy latents, planner ids, glyph tokens, time and image size. Mirrors
GlmImageTransformer2DModel: both kinds of tokens share attention and feed-forward weights, only the modulation
differs; the ids' embedding is added to the image tokens; rotary positions are for image tokens only.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from minglm.config import DecoderConfig
from minglm.model.layers import Linear, Neighbours, linear_gelu, side_by_side
from minglm.model.memory import Memory, join
from minglm.model.ops import attention, modulate
from minglm.model.rotary import frequencies, rotate


def sinusoid(values: Tensor, width: int) -> Tensor:
    """values (B,) -> (B, width): cosines, then sines, at width/2 decreasing frequencies."""
    # by exp, as in the published code: a power would differ in the last bit
    falling = torch.exp(-math.log(10000.0) * torch.arange(width // 2) / (width // 2))
    angles = values.float()[:, None] * falling.to(values.device)
    return torch.cat([angles.cos(), angles.sin()], -1)


def patchify(latents: Tensor, p: int) -> Tensor:
    """Latents (B, C, h, w) -> tokens (B, N, C p p), row by row; one is a patch of p x p places."""
    return rearrange(latents, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p)


def unpatchify(tokens: Tensor, rows: int, p: int) -> Tensor:
    """The inverse: tokens (B, N, C p p), in `rows` rows, -> latents (B, C, h, w)."""
    return rearrange(tokens, "b (h w) (c p q) -> b c (h p) (w q)", h=rows, p=p, q=p)


def mlp(inner: int, middle: int, activation: nn.Module, outer: int | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inner, middle), activation, nn.Linear(middle, outer or middle))


class DecoderBlock(nn.Module):
    """Attention and feed-forward over [glyph, image] tokens, modulated by time and size."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        width, inner = config.width, config.heads * config.head_dim
        self.heads = config.heads
        self.modulation = nn.Linear(config.time_width, 12 * width)
        self.q, self.k, self.v = (Linear(width, inner) for _ in range(3))
        self.o = Linear(inner, width)
        self.fc1, self.fc2 = Linear(width, 4 * width), Linear(4 * width, width)

    def forward(self, x: Tensor, c: Tensor, m: Tensor, rotary: tuple[Tensor, Tensor],
                mask: Tensor | None, memory: tuple[Tensor, Tensor] | None = None, last: bool = False,
                ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Image tokens x (B, N, D), glyph tokens c (B, S, D), modulation m (B, M).

        mask (B, 1, 1, R + S + N): True = may be attended to. memory: keys and values of reference images,
        (B, H, R, E). Returns x, c, and the queries, keys and values of glyph and image tokens,
        (B, H, S + N, E) each. After the last block glyph tokens are not needed any more, so c is empty.
        """
        # adaLN: shift, scale and gate of attention, then of feed-forward, for image and glyph tokens (c_)
        (shift1, c_shift1, scale1, c_scale1, gate1, c_gate1,
         shift2, c_shift2, scale2, c_scale2, gate2, c_gate2) = self.modulation(m).chunk(12, dim=-1)
        size = c.shape[1]
        # one sequence, glyph tokens first, which the same weights project
        h = torch.cat([modulate(c, c_shift1, c_scale1), modulate(x, shift1, scale1)], 1)      # (B, S + N, D)
        q, k, v = (rearrange(t, "b n (h e) -> b n h e", h=self.heads)
                   for t in side_by_side(h, self.q, self.k, self.v))
        # glyph tokens have no position: cosine 1 and sine 0 leave them unrotated
        cos, sin = (F.pad(table, (0, 0, size, 0), value=still)[None, :, None]
                    for table, still in zip(rotary, (1.0, 0.0)))                 # (1, S + N, 1, E)
        # normalised queries and keys keep the attention logits bounded
        q, k = (rotate(F.layer_norm(t, t.shape[-1:], eps=1e-5), cos, sin).to(v.dtype) for t in (q, k))
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))                         # (B, H, S + N, E)
        seen_k, seen_v = k, v
        if memory is not None:  # tokens of reference images come first
            seen_k, seen_v = torch.cat([memory[0], k], 2), torch.cat([memory[1], v], 2)
        h = rearrange(attention(q, seen_k, seen_v, mask), "b h n e -> b n (h e)")
        if last:  # drop the glyph tokens before the remaining products
            h, c, size = h[:, size:], c[:, :0], 0
        h = self.o(h)
        # gates start at 0, so that an untrained block is the identity
        x = x + gate1[:, None] * h[:, size:]
        c = c + c_gate1[:, None] * h[:, :size]
        h = torch.cat([modulate(c, c_shift2, c_scale2), modulate(x, shift2, scale2)], 1)
        h = self.fc2(linear_gelu(self.fc1, h))
        x = x + gate2[:, None] * h[:, size:]
        c = c + c_gate2[:, None] * h[:, :size]
        return x, c, (q, k, v)


class Decoder(nn.Module):
    """Predicts the velocity of the latents, noise - data."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        width, patch = config.width, config.channels * config.patch ** 2
        self.image_in = nn.Linear(patch, width)
        self.glyph_in = mlp(config.glyph_width, width, nn.GELU())
        self.prior = nn.Embedding(config.codebook, width)
        self.near = Neighbours(width) if config.neighbours else nn.Identity()
        # the released model tells the 2x2 tokens of an id the same; a small one learns sooner otherwise
        self.prior_in = mlp(width, width, nn.SiLU(), 4 * width if config.quarters else width)
        self.time_in = mlp(config.time_width, config.time_width, nn.SiLU())
        self.size_in = mlp(4 * config.size_width, config.time_width, nn.SiLU())
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.depth))
        self.modulation = nn.Linear(config.time_width, 2 * width)
        self.image_out = nn.Linear(width, patch)
        nn.init.normal_(self.prior.weight, std=0.5)
        for linear in [self.modulation, self.image_out, *(b.modulation for b in self.blocks)]:
            nn.init.zeros_(linear.weight)  # adaLN-zero: every block starts as the identity
            nn.init.zeros_(linear.bias)

    def rotary(self, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines (N, E) for every image token's row and column."""
        turn = frequencies(self.config.head_dim // 2, self.config.rope_theta).to(device)
        row = torch.arange(rows, device=device)[:, None, None] * turn            # (rows, 1, E/4)
        first = 0 if self.config.middle is None else self.config.middle - columns // 2
        column = torch.arange(first, first + columns, device=device)[None, :, None] * turn
        angles = torch.cat([row.expand(rows, columns, -1), column.expand(rows, columns, -1)], -1)
        angles = rearrange(angles, "r c e -> (r c) e").repeat(1, 2)              # (N, E)
        return angles.cos(), angles.sin()

    def modulator(self, time: Tensor, height: int, width: int) -> Tensor:
        """time (B,) in 0..999 and the image size in pixels -> (B, M). The crop's corner is (0, 0)."""
        numbers = torch.tensor([0.0, 0.0, height, width], device=time.device)
        size = sinusoid(numbers, self.config.size_width).flatten()               # (4 size_width,)
        size = self.size_in(size[None].to(self.image_in.weight.dtype))
        time = self.time_in(sinusoid(time, self.config.time_width).to(size.dtype))
        return F.silu(time + size)

    def forward(self, latents: Tensor, time: Tensor, ids: Tensor, glyphs: Tensor,
                glyph_mask: Tensor | None = None, prior_keep: Tensor | None = None,
                memory: list[Memory] | None = None, memory_mask: Tensor | None = None) -> Tensor:
        """The velocity of `latents`, (B, C, h, w).

        latents (B, C, h, w); time, unshifted, 0..999, (B,), or (1,) for all; ids (B, h/4, w/4), one per 2x2
        image tokens; glyphs (B, S, glyph width), S may be 0; glyph_mask (B, S), False = padding;
        prior_keep (B,), False drops the ids; memory: keys and values of reference images, one after the
        other; memory_mask (B, R), False = padding, where pictures have other references than each other.
        """
        return self.watch(latents, time, ids, glyphs, glyph_mask, prior_keep, memory, memory_mask)[0]

    def watch(self, latents: Tensor, time: Tensor, ids: Tensor, glyphs: Tensor,
              glyph_mask: Tensor | None = None, prior_keep: Tensor | None = None,
              memory: list[Memory] | None = None, memory_mask: Tensor | None = None, block: int = -1,
              heads: int = 0) -> tuple[Tensor, Tensor]:
        """`forward`, and what block number `block` attends to: the log attention weights of its first `heads`
        heads (0: none) from image tokens to glyph tokens, (B, heads, N, S)."""
        # both kinds of tokens at the same width: x (B, N, D), c (B, S, D)
        x, patch = self.embed(latents, ids, prior_keep), self.config.patch
        rows, columns = latents.shape[2] // patch, latents.shape[3] // patch
        c = self.glyph_in(glyphs)
        past = [join(parts) for parts in zip(*memory)] if memory else [None] * len(self.blocks)
        before = past[0][0].shape[2] if memory else 0                            # R
        mask = attendable(memory_mask, before, glyph_mask, glyphs.shape[1], rows * columns)
        scale = self.config.patch * self.config.scale
        m = self.modulator(time, rows * scale, columns * scale)                  # (B, M), one for all tokens
        rotary, seen = self.rotary(rows, columns, x.device), x[:0]
        for i, each in enumerate(self.blocks):
            x, c, (q, k, _) = each(x, c, m, rotary, mask, past[i], last=i + 1 == len(self.blocks))
            if heads and i == block:
                k = torch.cat([past[i][0], k], 2) if memory else k
                seen = log_attention(q[:, :heads], k[:, :heads], glyphs.shape[1], mask, before)
        return self.unpatch(x, m, rows), seen

    def remember(self, latents: Tensor, ids: Tensor) -> Memory:
        """Keys and values of a reference image, which do not depend on the picture being painted: they are
        computed once, from clean latents at time 0, without glyph tokens."""
        rows, columns = (side // self.config.patch for side in latents.shape[2:])
        x, kept = self.embed(latents, ids), []
        scale = self.config.patch * self.config.scale
        m = self.modulator(torch.zeros(len(x), device=x.device), rows * scale, columns * scale)
        c, rotary = x[:, :0], self.rotary(rows, columns, x.device)
        for block in self.blocks:
            x, c, (_, k, v) = block(x, c, m, rotary, None)
            kept.append((k, v))
        return kept

    def embed(self, latents: Tensor, ids: Tensor, keep: Tensor | None = None) -> Tensor:
        """Patches of the latents plus the embedding of each id, added to its 2x2 tokens: (B, N, D)."""
        return self.image_in(patchify(latents, self.config.patch)) + self.heard(ids, keep)

    def heard(self, ids: Tensor, keep: Tensor | None = None) -> Tensor:
        """What each image token is told by its id: (B, N, D)."""
        prior = self.prior(ids)                                                  # (B, h/4, w/4, D)
        if keep is not None:  # zeros stand for "no ids", before the MLP as in the published code
            prior = prior * keep[:, None, None, None]
        prior = self.prior_in(self.near(prior))
        if self.config.quarters:
            return rearrange(prior, "b h w (p q d) -> b (h p w q) d", p=2, q=2)
        return repeat(prior, "b h w d -> b (h p w q) d", p=2, q=2)

    def unpatch(self, x: Tensor, m: Tensor, rows: int) -> Tensor:
        """Image tokens -> (B, C, h, w)."""
        scale, shift = self.modulation(m).chunk(2, dim=-1)
        return unpatchify(self.image_out(modulate(x, shift, scale)), rows, self.config.patch)


def attendable(memory_mask: Tensor | None, before: int, glyph_mask: Tensor | None, glyphs: int,
               images: int) -> Tensor | None:
    """Which of R reference, S glyph and N image tokens may be attended to, (B, 1, 1, R + S + N); None: all.
    Image tokens always may."""
    given = memory_mask if memory_mask is not None else glyph_mask
    if given is None:
        return None
    batch = len(given)
    parts = [given.new_ones(batch, before) if memory_mask is None else memory_mask,
             given.new_ones(batch, glyphs) if glyph_mask is None else glyph_mask,
             given.new_ones(batch, images)]
    return torch.cat(parts, 1)[:, None, None]


def log_attention(q: Tensor, k: Tensor, glyphs: int, mask: Tensor | None, before: int = 0) -> Tensor:
    """Log attention weights from image queries to glyph keys, (B, H, N, S), in float32; `before` other keys
    come before those of the glyphs."""
    scores = (q[:, :, glyphs:] @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    return scores.log_softmax(-1)[..., before:before + glyphs]                   # normalised over all keys
