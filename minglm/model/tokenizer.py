"""The semantic tokenizer: an image becomes a grid of ids, one for every 32x32 pixels.

Shapes: B batch · h, w id grid · N = h w patches · D encoder width · K codes · E code width.

A vision transformer reads the half-size image in 16-pixel patches and each patch is replaced by
the nearest of K learned codes, nearest in angle. The ids should say what the picture is about, so
the training loss (stages.py) pulls them towards the caption. Mirrors GlmImageVisionModel and
GlmImageVQVAE: pre-norm blocks, biases everywhere, exact GELU, a learned position table resampled
to the grid, no final norm, one 1x1 convolution in front of the codebook.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import TokenizerConfig
from minglm.layers import attention


class VisionBlock(nn.Module):
    """Pre-norm transformer block; every patch looks at every patch of its image."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.fc1 = nn.Linear(config.width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, config.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm1(x)), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        x = x + self.proj(rearrange(attention(q, k, v), "b h n d -> b n (h d)"))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class VisionEncoder(nn.Module):
    """Half-size image -> one feature per patch."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.patch = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.table = nn.Parameter(0.02 * torch.randn(config.table ** 2, config.width))
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))

    def positions(self, h: int, w: int) -> Tensor:
        """The position table, bilinearly resampled to an h x w grid: (h w, D)."""
        side, like = self.config.table, self.table
        table = rearrange(like.float(), "(a b) d -> 1 d a b", a=side)
        rows = (torch.arange(h, device=like.device) + 0.5) / h * 2 - 1
        columns = (torch.arange(w, device=like.device) + 0.5) / w * 2 - 1
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        grid = torch.stack([x, y], -1)[None]                                     # (1, h, w, 2)
        out = F.grid_sample(table, grid, align_corners=False, padding_mode="border")
        return rearrange(out, "1 d h w -> (h w) d").to(like.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, 16 h, 16 w) in [-1, 1] -> features (B, h, w, D)."""
        x = self.patch(images)
        h, w = x.shape[-2:]
        x = rearrange(x, "b d h w -> b (h w) d") + self.positions(h, w)
        for block in self.blocks:
            x = block(x)
        return rearrange(x, "b (h w) d -> b h w d", h=h)


class VectorQuantiser(nn.Module):
    """Replaces a feature by the code at the smallest angle to it."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.quant_conv = nn.Conv2d(config.width, config.code_width, 1)
        self.codes = nn.Parameter(F.normalize(torch.randn(config.codebook, config.code_width)))
        if config.post_conv:  # the published files hold it, so that loading and saving are inverse
            self.post_quant_conv = nn.Conv2d(config.code_width, config.width, 1)

    def project(self, features: Tensor) -> Tensor:
        """features (B, h, w, D) -> unit vectors (B, h, w, E)."""
        z = self.quant_conv(rearrange(features, "b h w d -> b d h w"))
        return F.normalize(rearrange(z, "b e h w -> b h w e").float(), dim=-1)

    def nearest(self, z: Tensor) -> Tensor:
        """unit vectors (B, h, w, E) -> ids (B, h, w): the largest cosine is the nearest code."""
        return (z @ F.normalize(self.codes.float(), dim=-1).T).argmax(-1)

    def lookup(self, ids: Tensor) -> Tensor:
        """ids (...) -> unit vectors (..., E)."""
        return F.normalize(self.codes.float(), dim=-1)[ids]


class Tokenizer(nn.Module):
    """`encode`: image -> ids."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.encoder = VisionEncoder(config)
        self.quantiser = VectorQuantiser(config)

    def normalise(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> by the mean and deviation of the config."""
        if set(self.config.mean + self.config.std) == {0.5}:                     # they are already
            return images
        mean, std = (torch.tensor(t, device=images.device)[:, None, None] for t in (self.config.mean, self.config.std))
        return (images / 2 + 0.5 - mean) / std

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] at full size -> unit vectors (B, H/32, W/32, E)."""
        return self.quantiser.project(self.encoder(self.normalise(F.avg_pool2d(images, 2))))

    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] at full size -> ids (B, H/32, W/32)."""
        return self.quantiser.nearest(self.features(images))


# ---------------------------------------------------------------- training

class Alignment(nn.Module):
    """What surrounds the tokenizer while it is trained, and is thrown away afterwards.

    Two questions are asked of the codes of an image: which words does your caption hold (a
    softmax over the vocabulary with rare words counting more, as in SuperClass, arXiv:2411.03313),
    and what did the half-size image look like? The first makes the ids semantic, the second ties
    each to its place. (The real tokenizer started from SigLIP, which was pulled towards whole
    captions; with batches of 128, single words teach many times faster.)
    """

    def __init__(self, config: TokenizerConfig, vocab: int):
        super().__init__()
        width = config.width
        self.codes = nn.Linear(config.code_width, width)
        self.rows = nn.Parameter(0.02 * torch.randn(32, width))
        self.columns = nn.Parameter(0.02 * torch.randn(32, width))
        block = TokenizerConfig(width=width, heads=config.heads, mlp=2 * width)
        self.image = nn.Sequential(VisionBlock(block), VisionBlock(block))
        self.norm = nn.LayerNorm(width)
        self.pixels = nn.Linear(width, 3 * config.patch ** 2)
        self.words = nn.Linear(width, vocab)

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """codes (B, h, w, E) -> word scores (B, vocab) and half-size pixels (B, 3, 16 h, 16 w)."""
        h, w = codes.shape[1:3]
        x = self.codes(codes) + self.rows[:h, None] + self.columns[:w]
        x = self.norm(self.image(rearrange(x, "b h w d -> b (h w) d")))
        p = int((self.pixels.out_features // 3) ** 0.5)
        pixels = rearrange(self.pixels(x), "b (h w) (c p q) -> b c (h p) (w q)", h=h, p=p, q=p)
        return self.words(x.mean(1)), pixels


def word_loss(scores: Tensor, words: Tensor, rarity: Tensor) -> Tensor:
    """Cross-entropy with the words of each caption, shares by rarity, above its least value.

    scores (B, vocab); words (B, vocab), 1 = the caption holds it; rarity (vocab,).
    """
    share = words * rarity
    share = share / share.sum(1, keepdim=True).clamp_min(1e-6)
    entropy = -(share * share.clamp_min(1e-9).log()).sum(1)
    return (-(share * scores.float().log_softmax(1)).sum(1) - entropy).mean()


@torch.no_grad()
def revise_codes(quantiser: VectorQuantiser, usage: Tensor, z: Tensor, ids: Tensor,
                 generator: torch.Generator, decay: float = 0.95) -> None:
    """Move each code towards the mean of the features that chose it; revive codes nobody chooses.

    usage (K,) is the running count of choices, updated in place; z (B, h, w, E); ids (B, h, w).
    """
    z, ids, codes = z.reshape(-1, z.shape[-1]), ids.flatten(), quantiser.codes
    chosen = torch.zeros_like(usage).index_add_(0, ids, torch.ones_like(z[:, 0]))
    total = torch.zeros_like(codes).index_add_(0, ids, z.to(codes.dtype))
    moved = F.normalize(decay * codes + (1 - decay) * F.normalize(total, dim=-1), dim=-1)
    codes.copy_(torch.where(chosen[:, None] > 0, moved, codes))
    usage.mul_(decay).add_(chosen, alpha=1 - decay)
    pick = torch.randint(len(z), (len(codes),), generator=generator).to(z.device)
    dead = usage < 0.02
    codes.copy_(torch.where(dead[:, None], z[pick], codes))
    usage.copy_(torch.where(dead, torch.full_like(usage, 0.2), usage))
