"""The semantic tokenizer: an image becomes a grid of ids, one for every 32x32 pixels.

Shapes: B batch · h, w id grid · N = h w patches · D encoder width · K codes · E code width.

A vision transformer reads the half-size image in 16-pixel patches, and each patch feature is replaced by the
nearest of K learned codes by cosine similarity. The ids should say what the picture shows, so the training
loss (training/stage_tokenizer.py) aligns them with the caption. Mirrors GlmImageVisionModel and
GlmImageVQVAE: pre-norm blocks, biases everywhere, exact GELU, a learned position table resampled to the grid,
no final norm, one 1x1 convolution before the codebook.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import TokenizerConfig
from minglm.model.ops import attention


class VisionBlock(nn.Module):
    """Pre-norm transformer block; every patch attends to every patch of its image."""

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
        """x (B, N, D) -> (B, N, D)."""
        # attention without a mask, then the feed-forward, each added to its input
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
        # the centre of each cell, in grid_sample's coordinates from -1 to 1
        rows = (torch.arange(h, device=like.device) + 0.5) / h * 2 - 1
        columns = (torch.arange(w, device=like.device) + 0.5) / w * 2 - 1
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        grid = torch.stack([x, y], -1)[None]                                     # (1, h, w, 2)
        out = F.grid_sample(table, grid, align_corners=False, padding_mode="border")
        return rearrange(out, "1 d h w -> (h w) d").to(like.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, 16 h, 16 w) in [-1, 1] -> features (B, h, w, D)."""
        x = self.patch(images)                                                   # (B, D, h, w)
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
        if config.post_conv:  # unused, but the published files hold it: loading then saving must give it back
            self.post_quant_conv = nn.Conv2d(config.code_width, config.width, 1)

    def project(self, features: Tensor) -> Tensor:
        """features (B, h, w, D) -> unit vectors (B, h, w, E)."""
        z = self.quant_conv(rearrange(features, "b h w d -> b d h w"))
        return F.normalize(rearrange(z, "b e h w -> b h w e").float(), dim=-1)   # only the angle counts

    def nearest(self, z: Tensor) -> Tensor:
        """unit vectors (B, h, w, E) -> ids (B, h, w) of the codes with the largest cosine similarity."""
        return (z @ F.normalize(self.codes.float(), dim=-1).T).argmax(-1)

    def lookup(self, ids: Tensor) -> Tensor:
        """ids (...) -> unit vectors (..., E)."""
        return F.normalize(self.codes.float(), dim=-1)[ids]


class Tokenizer(nn.Module):
    """The encoder and the codebook; `encode` maps an image to ids."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.encoder = VisionEncoder(config)
        self.quantiser = VectorQuantiser(config)

    def normalise(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> normalised by the config's mean and standard deviation."""
        if set(self.config.mean + self.config.std) == {0.5}:                     # that is [-1, 1] already
            return images
        mean, std = (torch.tensor(t, device=images.device)[:, None, None]
                     for t in (self.config.mean, self.config.std))
        return (images / 2 + 0.5 - mean) / std

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] at full size -> unit vectors (B, H/32, W/32, E)."""
        # halve the image, normalise it, encode 16-pixel patches, project them to the width of the codes
        return self.quantiser.project(self.encoder(self.normalise(F.avg_pool2d(images, 2))))

    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] at full size -> ids (B, H/32, W/32)."""
        return self.quantiser.nearest(self.features(images))
