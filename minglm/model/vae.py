"""The variational autoencoder: an image to latents of 1/8 its side with 16 channels, and back.

Shapes: B batch · C latent channels · H, W image height and width · h, w = H/8, W/8.

Both directions are a linear map plus a convolutional correction. The linear map is initialised with the
principal components of 8x8 image patches and the correction with zeros, so an untrained VAE already
reconstructs at about 25 dB and training only has to add the fine strokes. (GLM-Image uses an AutoencoderKL of
406 M parameters with the same scale and channels; this is our cheap stand-in.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import VAEConfig


def patches(images: Tensor, s: int) -> Tensor:
    """images (B, C, H, W) -> (B H/s W/s, C s s): a row for each s x s patch."""
    return rearrange(images, "b c (h p) (w q) -> (b h w) (c p q)", p=s, q=s)


def principal_components(rows: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """rows (N, D) -> their mean (D,), the k directions of largest variance (k, D), which are orthonormal, and
    the variances (k,), largest first."""
    center = rows.mean(0)
    rows = rows - center
    # eigenvectors of the covariance; eigh sorts ascending, so flip to have the largest first
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    return center, vectors.flip(1)[:, :k].T, values.flip(0)[:k]


class ResBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), the second convolution initialised with zeros."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


def zero_conv(inner: int, outer: int) -> nn.Conv2d:
    conv = nn.Conv2d(inner, outer, 3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


class VAE(nn.Module):
    """`encode` gives normalised latents, `decode` takes them."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        scale, channels, (narrow, wide) = config.scale, config.channels, config.widths
        half = scale // 2
        # the linear map, as a convolution whose stride is its kernel size: one product per patch
        self.pca_in = nn.Conv2d(3, channels, scale, stride=scale)
        self.pca_out = nn.ConvTranspose2d(channels, 3, scale, stride=scale)
        # the correction: to 1/4 and then 1/8 of the side by moving pixels into channels, which loses nothing
        self.down = nn.Sequential(
            nn.PixelUnshuffle(half), nn.Conv2d(3 * half * half, narrow, 3, padding=1),
            ResBlock(narrow), nn.PixelUnshuffle(2), nn.Conv2d(4 * narrow, wide, 1),
            ResBlock(wide), nn.SiLU(), zero_conv(wide, channels))
        self.up = nn.Sequential(
            nn.Conv2d(channels, wide, 3, padding=1), *[ResBlock(wide) for _ in range(config.blocks)],
            nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2),
            *[ResBlock(narrow) for _ in range(config.blocks)], nn.SiLU(),
            zero_conv(narrow, 3 * half * half), nn.PixelShuffle(half))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    @torch.no_grad()
    def start_from_pca(self, images: Tensor) -> None:
        """Set the linear maps to the principal components of the images' 8x8 patches.

        images (B, 3, H, W) in [-1, 1], a few hundred. Each latent is divided by the square root of its
        standard deviation, not by the deviation itself: components that carry most of the picture keep a
        larger amplitude and stay visible at higher noise levels of the diffusion.
        """
        s = self.config.scale
        center, basis, values = principal_components(patches(images, s), self.config.channels)
        deviation = values.clamp_min(1e-8).sqrt()
        scale = deviation.rsqrt()
        scale = scale / (deviation * scale).square().mean().sqrt()             # mean variance 1
        # encode: basis (patch - center) scaled; decode undoes both, since the basis is orthonormal
        basis_in = basis * scale[:, None]
        self.pca_in.weight.copy_(rearrange(basis_in, "k (c p q) -> k c p q", p=s, q=s))
        self.pca_in.bias.copy_(-(basis_in @ center))
        basis_out = basis / scale[:, None]
        self.pca_out.weight.copy_(rearrange(basis_out, "k (c p q) -> k c p q", p=s, q=s))
        self.pca_out.bias.copy_(center.reshape(3, -1).mean(1))             # a bias per channel, not per pixel

    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> latents (B, C, h, w) of about unit variance."""
        z = self.pca_in(images) + self.down(images)
        return (z - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, h, w) -> images (B, 3, H, W), roughly in [-1, 1]."""
        z = latents * self.std[:, None, None] + self.mean[:, None, None]
        return self.pca_out(z) + self.up(z)

    @torch.no_grad()
    def normalise(self, images: Tensor) -> None:
        """Set mean and std from the latents of `images`, which then have mean 0 and mean variance 1."""
        self.mean.zero_()
        self.std.fill_(1)
        z = self.encode(images)
        self.mean.copy_(z.mean((0, 2, 3)))
        self.std.fill_(z.var((0, 2, 3)).mean().sqrt().item())    # one for all: amplitudes keep their ratios
