"""The released model's autoencoder: an image to latents of 1/8 its side with 16 channels, and back.

Shapes: B batch · C latent channels · H, W image height and width · h, w = H/8, W/8.

`vae.py` is the cheap one that a laptop can train; this one has the structure of the released weights
(diffusers' AutoencoderKL, 406 M parameters). Both have the same two methods. It is fully convolutional:
residual blocks at each resolution, a convolution of stride 2 to halve it, nearest-neighbour upsampling to
double it. It is variational: the encoder predicts a mean and a variance for every latent, but painting and
editing use only the mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minglm.config import AutoencoderConfig


def conv(inner: int, outer: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, stride, padding=1 if stride == 1 else 0)


class ResBlock(nn.Module):
    """skip(x) + conv(silu(norm(conv(silu(norm(x)))))); `skip` changes the width of x where needed."""

    def __init__(self, inner: int, outer: int, groups: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inner, eps=1e-6), conv(inner, outer)
        self.norm2, self.conv2 = nn.GroupNorm(groups, outer, eps=1e-6), conv(outer, outer)
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class Level(nn.Module):
    """The residual blocks of one resolution, then a step `resize` ("down", "up" or None) to the next."""

    def __init__(self, inner: int, outer: int, blocks: int, groups: int, resize: str | None):
        super().__init__()
        self.blocks = nn.Sequential(*[ResBlock(outer if i else inner, outer, groups) for i in range(blocks)])
        self.down = resize == "down"
        self.resize = conv(outer, outer, stride=2 if self.down else 1) if resize else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        if self.resize is None:
            return x
        if self.down:  # padding at the bottom and right only, as in diffusers
            return self.resize(F.pad(x, (0, 1, 0, 1)))
        return self.resize(F.interpolate(x, (2 * x.shape[2], 2 * x.shape[3]), mode="nearest"))


class Half(nn.Module):
    """One direction: a convolution, the levels, two more blocks at the lowest resolution, a convolution."""

    def __init__(self, inner: int, outer: int, widths: tuple[int, ...], blocks: int, groups: int,
                 resize: str):
        super().__init__()
        self.down, last = resize == "down", len(widths) - 1
        deepest = widths[-1] if self.down else widths[0]
        self.first = conv(inner, widths[0])
        self.levels = nn.ModuleList(
            Level(widths[max(i - 1, 0)], width, blocks, groups, resize if i < last else None)
            for i, width in enumerate(widths))
        self.middle = nn.Sequential(*[ResBlock(deepest, deepest, groups) for _ in range(2)])
        self.norm = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.last = conv(widths[-1], outer)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        # the middle is where the resolution is lowest: at the end of the encoder, at the start of the decoder
        for part in [*self.levels, self.middle] if self.down else [self.middle, *self.levels]:
            x = part(x)
        return self.last(F.silu(self.norm(x)))


class AutoencoderKL(nn.Module):
    """`encode` gives normalised latents, `decode` takes them."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        widths, blocks, groups, channels = config.widths, config.blocks, config.groups, config.channels
        self.encoder = Half(3, 2 * channels, widths, blocks, groups, "down")
        self.decoder = Half(channels, 3, widths[::-1], blocks + 1, groups, "up")  # one more block

    def moments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents, (C, 1, 1) each: configuration, not weights."""
        return tuple(torch.tensor(t, device=like.device, dtype=like.dtype)[:, None, None]
                     for t in (self.config.mean, self.config.std))

    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> latents (B, C, h, w), the mean of their distribution."""
        z = self.encoder(images)[:, : self.config.channels]                      # the rest: log variance
        mean, std = self.moments(z)
        return (z - mean) / std

    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, h, w) -> images (B, 3, H, W), roughly in [-1, 1]."""
        mean, std = self.moments(latents)
        return self.decoder(latents * std + mean)
