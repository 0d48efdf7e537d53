"""Stage `vae`: reconstruction of posters.

Shapes: B batch · C latent channels · H, W image size · h, w latents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minglm.config import Config
from minglm.device import Device
from minglm.model.vae import VAE
from minglm.training.batches import WHOLE, drawn, generator, image_size, pixels
from minglm.training.recipe import Recipe, Stage
from minglm.world.draw import draw
from minglm.world.masks import text_mask


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images in [-1, 1], in dB."""
    return 10 * torch.log10(4 / (a - b).float().square().mean())         # 4: the range of 2, squared


def loss(vae: VAE, images: Tensor, weight: Tensor, noise: Tensor) -> tuple[Tensor, dict]:
    """Reconstruction loss of `images` from latents with a little noise added; stats: PSNR in dB.

    images (B, 3, H, W); weight (B, 1, H, W) weights the pixels; noise (B, C, h, w) stands for the errors of
    the diffusion decoder, to which decoding thus becomes robust.
    """
    out = vae.decode(vae.encode(images) + noise)
    error = (out - images).float()
    # squared error for the PSNR, absolute error and its gradients for sharp strokes
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    value = (weight * (error.square() + 0.1 * error.abs())).mean() + 0.1 * edges
    return value, dict(psnr=psnr(out.detach(), images))


def vae_stage(config: Config, device: Device, recipe: Recipe) -> Stage:
    """Reconstruction of posters, in which pixels of characters have four times the weight."""
    model = VAE(config.vae)
    model.start_from_pca(pixels([draw(0, i) for i in range(512)]))
    model.to(device.device)

    def batch(step: int, share: slice = WHOLE) -> dict:
        height, width = image_size("vae", step)
        posters_ = drawn("vae", step, recipe.batch, (height, width), share)
        s, c = config.vae.scale, config.vae.channels
        # for the whole batch, then sliced: the same noise for any number of ranks
        noise = 0.1 * torch.randn(recipe.batch, c, height // s, width // s,
                                  generator=generator("vae", step))[share]
        return device.to(dict(images=pixels(posters_), weight=1 + 3 * text_mask(posters_), noise=noise))

    return Stage("vae", model, batch, lambda b: loss(model, **b), recipe)
