"""The planner: an autoregressive transformer that turns a prompt into a grid of ids.

Shapes: B batch · N tokens · D width · H heads · G key/value heads · E head width · R rotated channels ·
V output ids · T target tokens · p, q preview grid · h, w large grid.

It models one sequence: the prompt, a coarse preview grid, the large grid, an end token. Mirrors
GlmImageTextModel: GLM-4's "sandwich" block, which normalises before and after each sublayer, and rotary
positions with three axes (time, row, column), so that neighbours in a picture are neighbours for the
attention too. When sampling we allow only codes inside a grid; the published code does not enforce this.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import PlannerConfig
from minglm.model.copying import Copying, old_ids
from minglm.model.layers import KVCache, Linear, RMSNorm, round_up, side_by_side
from minglm.model.ops import attention, swiglu
from minglm.model.prompt import Grid
from minglm.model.rotary import frequencies, rotate

EMBEDDING = 0.5                              # the deviation of a new embedding's entries
RESIDUAL = 0.3                               # the weight of a new norm at the end of half a block


def positions(parts: list[int | Grid]) -> Tensor:
    """Time, row and column of every token of a sequence: (3, N).

    parts, in order: a number of text tokens, or the (rows, columns) of a grid of ids. Text counts up on all
    axes; a grid stays at one time, spreads over rows and columns, and counting resumes after its longer side.
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
        """x (B, N, D); mask (B, 1, N, M), True = attend, or None: causal."""
        h = self.norm1(x)
        # project to H query heads and G key/value heads: (B, H, N, E), (B, G, N, E)
        q, k, v = (rearrange(t, "b n (h e) -> b h n e", e=self.head_dim)
                   for t in side_by_side(h, self.q, self.k, self.v))
        # the rotation is the same for queries and keys: one call for both
        q, k = rotate(torch.cat([q, k], 1), *rotary).split([q.shape[1], k.shape[1]], 1)
        causal = mask is None and x.shape[1] > 1         # one new token may attend to the whole cache
        if cache is not None:  # after the rotation, so that cached keys are never rotated again
            k, v = cache.append(k, v)
        h = self.o(rearrange(attention(q, k, v, mask, causal, self.exact), "b h n e -> b n (h e)"))
        x = x + self.norm2(h)
        return x + self.norm4(self.down(swiglu(self.gate_up(self.norm3(x)))))


class Planner(nn.Module):
    """Ids -> features, which `head` maps to logits of the next id; generate/plan.py samples grids."""

    def __init__(self, config: PlannerConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(PlannerBlock(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width, config.eps)
        self.head = nn.Linear(config.width, config.vision_vocab, bias=False)
        # each half of a block ends in a norm: at weight 1 the first would drown what a token is
        nn.init.normal_(self.embed.weight, std=EMBEDDING)
        for block in self.blocks:
            for norm in (block.norm2, block.norm4):
                nn.init.constant_(norm.weight, RESIDUAL)
        for module in self.modules():  # GPT-2's initialisation
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)
        self.copying: Copying | None = None      # while it edits: see editing.py

    def rotary(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """place (B, 3, N) -> cosines and sines (B, 1, N, R); each frequency belongs to one axis."""
        width = round(self.config.head_dim * self.config.rotary_fraction)
        turn = frequencies(width, self.config.rope_theta).to(place.device)       # (R/2,)
        sections = turn.split(list(self.config.mrope_section))
        # sections of the frequencies take turns: time, row, column, time, ...
        angles = torch.cat([place[:, i % 3, :, None] * f for i, f in enumerate(sections)], -1)   # (B, N, R/2)
        angles = torch.cat([angles, angles], -1)[:, None]                        # for both channels of a pair
        return angles.cos(), angles.sin()

    def embedded(self, ids: Tensor, old: Tensor | None = None) -> Tensor:
        """ids (B, N) -> (B, N, D). old (B, N): of an edit, the old ids of the cells that they predict."""
        x = self.embed(ids)
        return x if old is None else self.copying.hinted(x, old, self.embed)

    def forward(self, ids: Tensor, place: Tensor, mask: Tensor | None = None,
                cache: list[KVCache] | None = None, old: Tensor | None = None) -> Tensor:
        """ids (B, N) at place (B, 3, N) -> features (B, N, D), which `scores` maps to logits (B, N, V). old:
        as for `embedded`."""
        x, rotary = self.embedded(ids, old), self.rotary(place)
        for i, block in enumerate(self.blocks):
            x = block(x, rotary, mask, cache[i] if cache else None)
        return self.norm(x)

    def scores(self, features: Tensor, old: Tensor | None = None) -> Tensor:
        """Features (..., D) -> logits (..., V). old (...): as for `embedded`."""
        logits = self.head(features)
        return logits if old is None else self.copying.voted(logits, features, old)

    def read(self, prompts: list[list[int]], preview: Tensor | None, large: Tensor,
             parts: list[list[int | Grid]] | None = None,
             sources: tuple[Tensor, list[list[int]]] | None = None
             ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """The features (B, N, D) of prompts and the grids that follow them, each given all before it (teacher
        forcing), the place of each boi (B,), the ids (B, T) that it and those after it should predict, and
        the old ids (B, T) that these may copy, if there are any.

        preview (B, p, q), or None as in editing, and large (B, h, w) are ids. A prompt ends with boi; if it
        holds the ids of source images, parts says where, as for `positions`. sources: those ids (B, S),
        padded on the right, and where in each prompt they belong, if they are on the device and not in the
        prompts yet. Shorter sequences are padded on the right, where the causal mask hides padding.
        """
        grids = [large] if preview is None else [preview, large]
        shapes = [tuple(grid.shape[1:]) for grid in grids]
        # the target: each grid in reading order, then the end token
        drawn = torch.cat([grid.flatten(1) for grid in grids], 1)
        end = torch.full_like(drawn[:, :1], self.config.eoi)
        target = torch.cat([drawn, end], 1)                                      # (B, T)
        device, count = target.device, target.shape[1]
        # the input: prompt and target, without the last token, which predicts nothing; padded with zeros
        longest = round_up(max(map(len, prompts)) + count - 1)
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        place = torch.zeros(len(prompts), 3, longest, dtype=torch.long)
        for b, prompt in enumerate(prompts):
            ids[b, :len(prompt)] = torch.tensor(prompt)
            before = parts[b] if parts else [len(prompt)]
            place[b, :, :len(prompt) + count - 1] = positions([*before, *shapes])
        # boi predicts the first id, and each id the next: T positions from boi on, wherever its prompt ends
        first = torch.tensor([len(prompt) - 1 for prompt in prompts])
        where = (first[:, None] + torch.arange(count)).to(device)                # (B, T)
        ids = ids.to(device).scatter(1, where[:, 1:], drawn)                     # the grids follow the prompt
        if sources:
            ids = filled(ids, *sources)
        old = full = None
        if self.copying is not None and parts:
            old = old_ids(ids, parts, shapes[-1], count)                         # (B, T)
            full = torch.full_like(ids, -1).scatter(1, where, old)               # (B, N)
        features = self(ids, place.to(device), old=full)                         # (B, N, D)
        return features, where[:, 0], target, old

    def logits(self, features: Tensor, first: Tensor, count: int, old: Tensor | None = None) -> Tensor:
        """The logits (B, T, V) of `count` ids from boi on; elsewhere the head is not needed."""
        where = first[:, None] + torch.arange(count, device=first.device)        # (B, T)
        some = features.gather(1, where[..., None].expand(-1, -1, features.shape[-1]))
        return self.scores(some, old).float()

    def predict(self, prompts: list[list[int]], preview: Tensor | None, large: Tensor,
                parts: list[list[int | Grid]] | None = None,
                sources: tuple[Tensor, list[list[int]]] | None = None) -> tuple[Tensor, Tensor]:
        """The logits (B, T, V) of grids and end token, and the ids (B, T) they should predict; see `read`."""
        features, first, target, old = self.read(prompts, preview, large, parts, sources)
        return self.logits(features, first, target.shape[1], old), target

    def loss(self, prompts: list[list[int]], preview: Tensor | None, large: Tensor,
             parts: list[list[int | Grid]] | None = None,
             sources: tuple[Tensor, list[list[int]]] | None = None,
             words: float = 0.0) -> tuple[Tensor, dict]:
        """Cross-entropy of the grids and the end token that follow each prompt; arguments as for `read`.

        The preview has a larger weight, `preview_weight`, since it decides what the picture will be
        (GLM-Image's report mentions this). words: the weight of `word_loss`.
        """
        features, first, target, old = self.read(prompts, preview, large, parts, sources)
        count = target.shape[1]
        logits = self.logits(features, first, count, old)                        # (B, T, V)
        each = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
        # a weighted mean over all tokens: the preview's first
        weight = torch.ones(count, device=logits.device)
        coarse = 0 if preview is None else preview[0].numel()
        weight[:coarse] = self.config.preview_weight
        right = (logits.argmax(-1) == target).float()
        stats = dict(large=each[:, coarse:-1].mean().detach(), right=right[:, :-1].mean())
        if coarse:
            stats = dict(preview=each[:, :coarse].mean().detach()) | stats
        value = (each * weight).sum() / (len(prompts) * weight.sum())
        if not words:
            return value, stats
        told = self.word_loss(features[:, :max(map(len, prompts))], first, target[:, :-1])
        return value + words * told, stats | dict(words=told.detach())

    def word_loss(self, features: Tensor, first: Tensor, drawn: Tensor) -> Tensor:
        """Cross-entropy of the ids of a plan, each counted once, at every token of its prompt.

        features (B, P, D) of prompts; first (B,), the place of boi; drawn (B, M) ids. A word for a
        thing thus learns which ids show it where it stands; to find it from the place of such an id is left
        to the loss. This stands in for the language model that GLM-Image's planner starts from.
        """
        times = (drawn[:, :, None] == drawn[:, None]).sum(-1)                    # (B, M)
        share = 1 / (times * (1 / times).sum(1, keepdim=True))                   # copies of an id share
        inside = torch.arange(features.shape[1], device=first.device) <= first[:, None]          # (B, P)
        logits = self.head(features).float()                                     # (B, P, V)
        chosen = logits.gather(2, drawn[:, None].expand(-1, inside.shape[1], -1))                # (B, P, M)
        each = logits.logsumexp(-1) - (chosen * share[:, None]).sum(-1)
        return ((each * inside).sum(1) / inside.sum(1)).mean()


def filled(ids: Tensor, given: Tensor, places: list[list[int]]) -> Tensor:
    """ids (B, N) with the first of each row of `given` (B, S) put where `places` says."""
    # the rest goes to a column beyond the last, which is cut off again
    beyond, width = ids.shape[1], given.shape[1]
    at = torch.tensor([row + [beyond] * (width - len(row)) for row in places], device=ids.device)
    return F.pad(ids, (0, 1)).scatter(1, at, given)[:, :-1]
