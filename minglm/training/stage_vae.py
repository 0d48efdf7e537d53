"""Stage `vae`: reconstruction of posters. Stage `vae-decoder` goes on from its weights, and trains the way
back to pixels alone.

Latents stay what they were, so whatever has been trained on them goes on working. (Stability AI's
sd-vae-ft-mse is such a decoder for Stable Diffusion.)

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
from minglm.world.masks import object_mask, text_mask


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


def vae_stage(config: Config, device: Device, recipe: Recipe, vae: VAE | None = None) -> Stage:
    """Reconstruction of posters, in which pixels of characters have four times the weight. With a VAE to go
    on with, those of objects have, too, and the encoder stays as it is."""
    name, model = "vae-decoder" if vae else "vae", vae or VAE(config.vae)
    if vae is None:
        model.start_from_pca(pixels([draw(0, i) for i in range(512)]))
    else:
        for part in (model.up, model.pca_out):                                   # loaded weights do not learn
            part.requires_grad_(True)
    model.to(device.device)

    def batch(step: int, share: slice = WHOLE) -> dict:
        height, width = image_size(name, step)
        posters_ = drawn(name, step, recipe.batch, (height, width), share)
        s, c = config.vae.scale, config.vae.channels
        # for the whole batch, then sliced: the same noise for any number of ranks
        noise = 0.1 * torch.randn(recipe.batch, c, height // s, width // s,
                                  generator=generator(name, step))[share]
        weight = 1 + 3 * text_mask(posters_) + 3 * (object_mask(posters_) if vae else 0)
        return device.to(dict(images=pixels(posters_), weight=weight, noise=noise))

    return Stage(name, model, batch, lambda b: loss(model, **b), recipe)
