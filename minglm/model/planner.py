"""The planner: an autoregressive transformer that turns a prompt into a grid of ids.

Shapes: B batch · N tokens · D width · H heads · G key/value heads · E head width · V output ids ·
h, w id grid.

It reads one sequence: the prompt, a coarse preview grid, the large grid, an end token. Mirrors
GlmImageTextModel: GLM-4's "sandwich" block, which normalises before and after each half, and
rotary positions with three axes (time, row, column), so that neighbours in a picture are
neighbours for the attention too. Only codes are legal inside a grid, which the published code
leaves to chance.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import PlannerConfig
from minglm.device import one_thread
from minglm.drawing import choose, small, stepper
from minglm.layers import KVCache, Linear, RMSNorm, attention, frequencies, rotate, side_by_side, swiglu

Grid = tuple[int, int]


def positions(parts: list[int | Grid]) -> Tensor:
    """Time, row and column of every token of a sequence: (3, N).

    parts, in order: a number of text tokens, or the (rows, columns) of a grid of ids. Text counts
    up on all three axes; a grid stands still in time, spreads over rows and columns, and the
    counter goes on behind its longer side.
    """
    out, count = [], 0
    for part in parts:
        if isinstance(part, int):
            out.append((count + torch.arange(part)).expand(3, -1))
            count += part
        else:
            rows, columns = part
            row = torch.arange(rows).repeat_interleave(columns)
            column = torch.arange(columns).repeat(rows)
            out.append(count + torch.stack([torch.zeros_like(row), row, column]))
            count += max(part)
    return torch.cat(out, 1)


class PlannerBlock(nn.Module):
    """x += norm(attention(norm(x))), then x += norm(mlp(norm(x)))."""

    def __init__(self, config: PlannerConfig):
        super().__init__()
        width, head = config.width, config.head_dim
        self.head_dim, self.exact = head, config.exact
        self.norm1, self.norm2, self.norm3, self.norm4 = (RMSNorm(width, config.eps) for _ in range(4))
        self.q = Linear(width, config.heads * head, exact=config.exact)
        self.k, self.v = (Linear(width, config.kv_heads * head, exact=config.exact) for _ in range(2))
        self.o = Linear(config.heads * head, width, bias=False, exact=config.exact)
        self.gate_up = Linear(width, 2 * config.mlp, bias=False, exact=config.exact)
        self.down = Linear(config.mlp, width, bias=False, exact=config.exact)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None,
                cache: KVCache | None) -> Tensor:
        """x (B, N, D); mask (B, 1, N, M), True = may look, or None: every earlier token."""
        h = self.norm1(x)
        q, k, v = (rearrange(t, "b n (h e) -> b h n e", e=self.head_dim)
                   for t in side_by_side(h, self.q, self.k, self.v))
        q, k = rotate(torch.cat([q, k], 1), *rotary).split([q.shape[1], k.shape[1]], 1)
        causal = mask is None and x.shape[1] > 1
        if cache is not None:
            k, v = cache.append(k, v)
        h = self.o(rearrange(attention(q, k, v, mask, causal, self.exact), "b h n e -> b n (h e)"))
        x = x + self.norm2(h)
        return x + self.norm4(self.down(swiglu(self.gate_up(self.norm3(x)))))


class Planner(nn.Module):
    """Ids in, scores of the next id out; `generate` draws whole grids."""

    def __init__(self, config: PlannerConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(PlannerBlock(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width, config.eps)
        self.head = nn.Linear(config.width, config.vision_vocab, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)

    def rotary(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """place (B, 3, N) -> cosines and sines (B, 1, N, R): each frequency turns with one axis."""
        width = round(self.config.head_dim * self.config.rotary_fraction)
        turn = frequencies(width, self.config.rope_theta, self.config.exact).to(place.device)       # (R/2,)
        sections = turn.split(list(self.config.mrope_section))
        angles = torch.cat([place[:, i % 3, :, None] * f for i, f in enumerate(sections)], -1)
        angles = torch.cat([angles, angles], -1)[:, None]
        return angles.cos(), angles.sin()

    def forward(self, ids: Tensor, place: Tensor, mask: Tensor | None = None,
                cache: list[KVCache] | None = None) -> Tensor:
        """ids (B, N) at place (B, 3, N) -> features (B, N, D); `head` makes scores of them."""
        x, rotary = self.embed(ids), self.rotary(place)
        for i, block in enumerate(self.blocks):
            x = block(x, rotary, mask, cache[i] if cache else None)
        return self.norm(x)

    def loss(self, prompts: list[list[int]], preview: Tensor, large: Tensor) -> tuple[Tensor, dict]:
        """Cross-entropy of the two grids and the end token behind each prompt.

        preview (B, p, q) and large (B, h, w) are ids. A prompt ends with boi. Shorter sequences
        are filled up on the right, where nothing before can see. The preview counts more: it
        decides what the picture will be (`preview_weight`; GLM-Image's report names this).
        """
        grids = torch.cat([preview.flatten(1), large.flatten(1)], 1)
        end = torch.full_like(grids[:, :1], self.config.eoi)
        target = torch.cat([grids, end], 1)                                      # (B, T)
        device, count = target.device, target.shape[1]
        longest = max(map(len, prompts)) + count - 1
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        place = torch.zeros(len(prompts), 3, longest, dtype=torch.long)
        for b, prompt in enumerate(prompts):
            ids[b, :len(prompt)] = torch.tensor(prompt)
            place[b, :, :len(prompt) + count - 1] = positions(
                [len(prompt), tuple(preview.shape[1:]), tuple(large.shape[1:])])
        first = torch.tensor([len(prompt) - 1 for prompt in prompts])
        where = (first[:, None] + torch.arange(count)).to(device)                # (B, T)
        ids = ids.to(device).scatter(1, where[:, 1:], grids)                     # each grid behind its prompt
        features = self(ids, place.to(device))
        features = features.gather(1, where[..., None].expand(-1, -1, features.shape[-1]))
        scores = self.head(features).float()
        each = F.cross_entropy(scores.transpose(1, 2), target, reduction="none")
        weight = torch.ones(count, device=device)
        coarse = preview[0].numel()
        weight[:coarse] = self.config.preview_weight
        right = (scores.argmax(-1) == target).float()
        return (each * weight).sum() / (len(prompts) * weight.sum()), dict(
            preview=each[:, :coarse].mean().detach(), large=each[:, coarse:-1].mean().detach(),
            right=right[:, :-1].mean())

    @torch.no_grad()
    def generate(self, prompts: list[list[int]], grids: list[Grid],
                 generators: list[torch.Generator] | torch.Generator,
                 temperature: float = 0.9, top_p: float = 0.75, top_k: int = 0,
                 parts: list[list[int | Grid]] | None = None,
                 progress: Callable[[int, int], None] | None = None) -> list[Tensor]:
        """Draw the ids of each grid in turn, for a batch of prompts.

        prompts: ids of any lengths, each ending with boi. grids: shapes, preview first. One CPU
        generator per prompt, so that a picture does not depend on its neighbours; or one generator for
        all, as in the published code, which then draws from the whole head with the illegal ids ruled
        out, to meet the same chance. parts: as for `positions`, where a prompt holds source images.
        progress(done, all) is called per token.
        Returns one (B, rows, columns) tensor per grid.
        """
        device, batch = self.embed.weight.device, len(prompts)
        lengths, total = [len(p) for p in prompts], sum(h * w for h, w in grids)
        longest = max(lengths)
        ids = torch.zeros(batch, longest, dtype=torch.long)
        place = torch.zeros(batch, 3, longest + total, dtype=torch.long)
        for b, prompt in enumerate(prompts):                                     # filled up on the left
            ids[b, longest - len(prompt):] = torch.tensor(prompt)
            before = parts[b] if parts else [len(prompt)]
            place[b, :, longest - len(prompt):] = positions([*before, *grids])
        ids, place, mask = ids.to(device), place.to(device), None                # M = longest + total
        if min(lengths) < longest:
            valid = torch.arange(longest + total) >= longest - torch.tensor(lengths)[:, None]
            mask = valid[:, None, None].to(device)                               # (B, 1, 1, M)
        cache = [KVCache(batch, self.config.kv_heads, longest + total, self.config.head_dim,
                         self.embed.weight) for _ in self.blocks]
        seen = mask
        if mask is not None:  # the filling sees itself, or its softmax would have nothing to see
            causal = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
            own = torch.eye(longest, dtype=torch.bool, device=device)
            seen = mask[..., :longest] & causal | own
        features = self(ids, place[:, :, :longest], seen, cache)[:, -1]          # (B, D)
        drawn, (new, head) = torch.empty(batch, total, dtype=torch.long), stepper(self, place, mask, cache)
        with one_thread(small(self)), torch.inference_mode():
            for i in range(total):
                scores = head(features)[:, : self.config.codebook].float().cpu()
                if isinstance(generators, torch.Generator):
                    scores = F.pad(scores, (0, self.config.vision_vocab - self.config.codebook), value=-torch.inf)
                drawn[:, i] = choose(scores, temperature, top_p, top_k, generators)
                if progress:
                    progress(i + 1, total)
                if i + 1 < total:
                    features = new(drawn[:, i].to(device), longest + i)
        split = drawn.split([h * w for h, w in grids], 1)
        return [ids.view(batch, h, w) for ids, (h, w) in zip(split, grids)]
