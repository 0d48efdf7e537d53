"""The VAE: its start is a principal component analysis, its latents are normalised."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from einops import rearrange

from minglm.config import preset
from minglm.device import pick
from minglm.model.vae import VAE
from minglm.training import stage_vae as module
from minglm.training.batches import pixels
from minglm.training.loop import train
from minglm.training.recipe import RECIPES
from minglm.world.draw import draw

CONFIG, CPU = preset("tiny").vae, pick("cpu")


@pytest.fixture(scope="module")
def images():
    return pixels([draw(0, i) for i in range(96)])


@pytest.fixture(scope="module")
def vae(images):
    torch.manual_seed(0)
    model = VAE(CONFIG).requires_grad_(False)
    model.start_from_pca(images)
    return model


def psnr(a, b):
    return (10 * torch.log10(4 / (a - b).square().mean())).item()


def test_the_start_already_reconstructs(vae):
    new = pixels([draw(1, i) for i in range(32)])
    assert psnr(vae.decode(vae.encode(new)), new) > 20


def test_the_start_is_numpys_own_projection(vae, images):
    patches = rearrange(images, "b c (h p) (w q) -> (b h w) (c p q)", p=8, q=8).double().numpy()
    center = patches.mean(0)
    _, _, basis = np.linalg.svd(patches - center, full_matrices=False)
    basis = basis[: CONFIG.channels]
    wanted = (patches - center) @ basis.T @ basis
    # the transposed convolution has one offset per colour: the mean over each colour's pixels
    wanted = wanted + np.repeat(center.reshape(3, -1).mean(1), 64)
    made = rearrange(vae.decode(vae.encode(images)), "b c (h p) (w q) -> (b h w) (c p q)", p=8, q=8)
    assert np.abs(made.numpy() - wanted).max() < 2e-3


def test_components_are_ordered_uncorrelated_and_of_mean_variance_one(vae, images):
    z = rearrange(vae.encode(images), "b c h w -> c (b h w)")
    covariance = z.cov()
    variances = covariance.diag()
    assert (variances.diff() < 1e-3).all() and abs(variances.mean().item() - 1) < 0.01
    assert (covariance - variances.diag()).abs().max() < 0.01 and z.mean(1).abs().max() < 0.01
    # what carries more of the picture keeps the larger share: variance as deviation, not all alike
    patches = rearrange(images, "b c (h p) (w q) -> (b h w) (c p q)", p=8, q=8)
    deviation = np.linalg.svd((patches - patches.mean(0)).numpy(), compute_uv=False)[: CONFIG.channels]
    assert np.allclose(variances / variances[0], deviation / deviation[0], rtol=1e-2)


def test_corrections_start_at_zero(images):
    torch.manual_seed(1)
    one, two = VAE(CONFIG), VAE(CONFIG)
    assert not torch.equal(one.down[1].weight, two.down[1].weight)
    for model in (one, two):
        model.start_from_pca(images)
    assert torch.equal(one.encode(images[:2]), two.encode(images[:2]))
    assert torch.equal(one.decode(one.encode(images[:2])), two.decode(two.encode(images[:2])))


def test_normalise_gives_mean_zero_and_mean_variance_one(images):
    torch.manual_seed(2)
    model = VAE(CONFIG)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
        before = model.decode(model.encode(images))
        for _ in range(2):                                                       # twice changes nothing
            model.normalise(images)
            z = model.encode(images)
            assert z.mean((0, 2, 3)).abs().max() < 1e-4
            assert abs(z.var((0, 2, 3)).mean().item() - 1) < 1e-3
        assert torch.allclose(model.decode(z), before, atol=1e-3)
    assert len(model.std.unique()) == 1                                          # the shares are kept


@pytest.mark.parametrize("height, width", [(32, 32), (96, 160), (160, 96), (224, 32)])
def test_any_multiple_of_32(vae, height, width):
    x = torch.rand(2, 3, height, width) * 2 - 1
    z = vae.encode(x)
    assert z.shape == (2, CONFIG.channels, height // 8, width // 8) and vae.decode(z).shape == x.shape


def test_pictures_of_a_batch_do_not_meet(vae, images):
    assert torch.allclose(vae.encode(images[:3])[1:2], vae.encode(images[1:2]), atol=1e-5)


def test_the_second_stage_leaves_the_latents_as_they_are(images):
    """To the last bit, or what was trained on them would paint something else; pixels do change."""
    torch.manual_seed(4)
    model = VAE(CONFIG)
    model.start_from_pca(images)
    model.requires_grad_(False)                                                  # as weights are loaded
    latents, before = model.encode(images[:4]), model.decode(model.encode(images[:4]))
    recipe = replace(RECIPES["tiny"]["vae-decoder"], steps=3)
    stage = module.vae_stage(preset("tiny"), CPU, recipe, model)
    assert all(step.stats["grad"] > 0 for step in train(stage, CPU))
    with torch.no_grad():
        assert torch.equal(model.encode(images[:4]), latents)
        assert (model.decode(latents) - before).abs().max() > 1e-3
    weight = stage.batch(0)["weight"]
    assert weight.max() > 3.9                                                    # texts and objects count more


def test_loss_counts_weighted_pixels_and_forgives_nothing(images):
    torch.manual_seed(3)
    model = VAE(CONFIG)
    model.start_from_pca(images)
    x, noise = images[:4], torch.zeros(4, CONFIG.channels, 16, 16)
    one, stats = module.loss(model, x, torch.ones(4, 1, 128, 128), noise)
    more, _ = module.loss(model, x, torch.full((4, 1, 128, 128), 4.0), noise)
    noisy, _ = module.loss(model, x, torch.ones(4, 1, 128, 128), torch.randn_like(noise))
    assert 0 < one < more and noisy > 2 * one
    assert stats["psnr"].item() == pytest.approx(psnr(model.decode(model.encode(x)), x), abs=1e-3)
    one.backward()
    assert model.up[-2].weight.grad.abs().max() > 0 and model.down[-1].weight.grad.abs().max() > 0
