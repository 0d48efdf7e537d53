"""Checks of the exercises in notebook 03, Squeeze pixels into latents.

Shapes: B batch · C channels · H, W image height and width · s side of a patch · N rows of D numbers ·
Z latents of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from minglm.config import VAEConfig
from minglm.course.answers import Case, Wrong, normal, run
from minglm.course.astray import (
    OddAutoencoder,
    OddBlock,
    loop_gone_wrong,
    odd_elbo,
    odd_reconstruction,
    toy_stage,
)
from minglm.course.twins import elbo_loss
from minglm.device import pick
from minglm.model import vae
from minglm.training import stage_vae
from minglm.training.loop import train


def without_dimensions(number: Any) -> Any:
    """A float as a tensor without dimensions: for a score to read, either will do."""
    return torch.tensor(number) if isinstance(number, float) else number


def psnr(learner: Callable) -> None:
    """Two tensors of pictures in [-1, 1] -> the peak signal-to-noise ratio in decibels, a number or a tensor
    without dimensions."""
    def case(a: Tensor, b: Tensor) -> Case:
        error, distance = (a - b).square().mean(), (a - b).abs().mean()
        right = stage_vae.psnr(a, b)
        return Case((a, b), right, {
            "6 dB too low: from -1 to 1 the range is 2, so the peak squared is 4":
                10 * torch.log10(1 / error),
            "the sign is wrong: the smaller the error, the more decibels": -right,
            "that is the natural logarithm; decibels use log10": 10 * torch.log(4 / error),
            "10 log10 of a square is 20 log10 of the amplitude; you applied the square twice": 2 * right,
            "the factor 10 is missing: a decibel is a tenth of a bel": right / 10,
            "one number for all pictures: average over every dimension, before the logarithm":
                10 * torch.log10(4 / (a - b).square().mean((1, 2, 3))),
            "the absolute difference was averaged; PSNR averages its square":
                10 * torch.log10(4 / distance)})

    a = normal(2, 3, 8, 8).clamp(-1, 1)
    near = (a + 0.1 * normal(2, 3, 8, 8, seed=1)).clamp(-1, 1)
    run("psnr", lambda *args: without_dimensions(learner(*args)), case(a, near), case(a, torch.zeros_like(a)))


def patches(learner: Callable) -> None:
    """Images (B, C, H, W) and a side s -> one row of C s s numbers for each s x s patch, row by row."""
    def case(b: int, c: int, h: int, w: int, s: int) -> Case:
        x = torch.arange(float(b * c * h * w)).view(b, c, h, w)
        right = vae.patches(x, s)
        return Case((x, s), right, {
            "a reshape alone keeps the pixels in the order of memory; first move (h, w) before (c, p, q)":
                x.reshape(right.shape),
            "the patches run down the columns; they should run along the rows":
                rearrange(x, "b c (h p) (w q) -> (b w h) (c p q)", p=s, q=s),
            "in each row the colours come last; they should come first, as in the picture":
                rearrange(x, "b c (h p) (w q) -> (b h w) (p q c)", p=s, q=s),
            "within a patch rows and columns are exchanged":
                rearrange(x, "b c (h p) (w q) -> (b h w) (c q p)", p=s, q=s),
            "pixels far apart were combined; a patch is s x s adjacent pixels":
                rearrange(x, "b c (p h) (q w) -> (b h w) (c p q)", p=s, q=s)})

    run("patches", learner, case(2, 3, 4, 6, 2), case(1, 3, 16, 24, 8))


def components(learner: Callable) -> None:
    """Rows (N, D) and k -> their mean (D,), the first k principal components as rows (k, D), and the variance
    along each (k,), the largest first."""
    def parts(rows: Tensor, k: int) -> list:
        got = learner(rows, k)
        if not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong("components: return three things: center, basis, variances")
        center, basis, variances = got
        # a component may point either way: its absolute projection is the same
        return [center, torch.as_tensor(basis), variances]

    def signless(answer: list) -> list:
        center, basis, variances = answer
        turn = basis.gather(1, basis.abs().argmax(1, keepdim=True)).sign() if basis.ndim == 2 else 1
        return [center, basis * turn, variances]

    def case(n: int, d: int, k: int) -> Case:
        rows = normal(n, d) @ normal(d, d, seed=1) + 3
        right = vae.principal_components(rows, k)
        center, basis, variances = right
        values, vectors = torch.linalg.eigh((rows - center).T @ (rows - center) / n)
        raw, about_zero = torch.linalg.eigh(rows.T @ rows / n)
        small = center, vectors[:, :k].T, values[:k]
        mistakes = {
            "eigh sorts in ascending order: take the last k columns": small,
            "the largest variance comes first: flip what eigh returns":
                (center, vectors[:, -k:].T, values[-k:]),
            "subtract the mean first, or the first component is spent on it":
                (center, about_zero.flip(1)[:, :k].T, raw.flip(0)[:k]),
            "eigenvectors are the columns of what eigh returns; here they should be rows":
                (center, basis.T, variances),
            "eigenvectors are the columns of what eigh returns, and you took rows":
                (center, vectors[-k:].flip(0), variances),
            "these are standard deviations; the variance is the eigenvalue itself":
                (center, basis, variances.sqrt()),
            "divide the covariance by N, the number of rows": (center, basis, variances * n),
            "divide the covariance by N, not by N - 1": (center, basis, variances * n / (n - 1))}
        return Case((rows, k), signless(right), {why: signless(wrong) for why, wrong in mistakes.items()})

    run("components", lambda *args: signless(parts(*args)), case(64, 6, 2), case(200, 12, 5), tolerance=1e-3)


def fits(name: str, module: Any, weights: dict, wanted: str) -> None:
    """Raise Wrong unless these weights can be loaded into a learner's module; `wanted` says what it holds."""
    if not isinstance(module, nn.Module):
        raise Wrong(f"{name}: a class that is an nn.Module is wanted")
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    if {*shapes} != {*weights}:
        raise Wrong(f"{name}: {wanted}")
    for key, shape in shapes.items():
        if shape != tuple(weights[key].shape):
            raise Wrong(f"{name}: {key} has the shape {shape}, and should have {tuple(weights[key].shape)}")


def res_block(learner: Callable) -> None:
    """ResBlock(width): x + conv2(silu(conv1(silu(x)))), 3 x 3 convolutions; conv2 starts at zero."""
    def drive(make: Callable, width: int, weights: dict, x: Tensor) -> list[Tensor]:
        block = make(width)
        fits("res_block", block, weights,
             "it should hold two nn.Conv2d named conv1 and conv2, and no other weights")
        with torch.no_grad():
            unchanged = float(torch.allclose(block(x), x))       # how it starts is random, unless it is x
            block.load_state_dict(weights)
            return [unchanged, block(x)]

    mistakes = {"skip": "the input is not added: x + ...",
                "first": "a silu comes before the first convolution, too",
                "second": "the silu between the convolutions is missing",
                "relu": "the activation is silu, not relu",
                "last": "no silu after the sum: x must be able to pass unchanged",
                "twice": "x itself is added, not silu(x)",
                "start": "before training the block must return x: set weight and bias of conv2 to zero"}

    def case(width: int, seed: int) -> Case:
        weights = {name: 0.3 * normal(*value.shape, seed=seed + i)
                   for i, (name, value) in enumerate(vae.ResBlock(width).state_dict().items())}
        args = width, weights, normal(2, width, 5, 6, seed=seed + 9)
        return Case(args, drive(vae.ResBlock, *args),
                    {why: drive(partial(OddBlock, off=off), *args) for off, why in mistakes.items()})

    run("res_block", partial(drive, learner), case(4, 0), case(6, 20))


def autoencoder(learner: Callable) -> None:
    """Autoencoder(config): pca_in, down, pca_out and up; encode(images) and decode(latents)."""
    def drive(make: Callable, config: VAEConfig, weights: dict, images: Tensor, z: Tensor) -> list:
        model = make(config)
        fits("autoencoder", model, weights, "it should hold pca_in, down, pca_out, up, mean and std, and the "
             "layers of up in the order of the task, in one nn.Sequential")
        with torch.no_grad():
            added = float(model.up(z).any())                     # nothing, before training
            model.load_state_dict(weights)
            return [added, model.encode(images), model.decode(z)]

    mistakes = {"start": "before training up must add nothing: it ends in zero_conv and a shuffle",
                "no down": "encode: the network is missing: pca_in(images) + down(images)",
                "raw": "encode: subtract mean and divide by std, channel by channel",
                "divided first": "encode: subtract mean first, then divide by std",
                "one normalised": "encode: normalise the sum, not pca_in alone",
                "no up": "decode: the network is missing: pca_out(z) + up(z)",
                "latents": "decode: first undo the normalisation: latents * std + mean",
                "added first": "decode: undo the division first: latents * std, then + mean",
                "up of latents": "decode: up gets the same z as pca_out, times std and plus mean"}

    def case(config: VAEConfig, seed: int) -> Case:
        weights = {name: 0.2 * normal(*value.shape, seed=seed + i)
                   for i, (name, value) in enumerate(vae.VAE(config).state_dict().items())}
        weights["std"] = weights["std"].abs() + 0.5
        images, z = normal(2, 3, 16, 24, seed=seed), normal(2, config.channels, 2, 3, seed=seed + 1)
        args = config, weights, images, z
        return Case(args, drive(vae.VAE, *args),
                    {why: drive(partial(OddAutoencoder, off=off), *args) for off, why in mistakes.items()})

    run("autoencoder", partial(drive, learner), case(VAEConfig(channels=4, widths=(4, 6), blocks=1), 0),
        case(VAEConfig(channels=3, widths=(6, 4), blocks=2), 50))


def reconstruction_loss(learner: Callable) -> None:
    """vae, images (B, 3, H, W), weight (B, 1, H, W), noise (B, C, h, w) -> (loss, dict(psnr=...))."""
    def both(vae_: nn.Module, *args: Tensor) -> list:
        got = learner(vae_, *args)
        if not isinstance(got, tuple) or len(got) != 2 or "psnr" not in got[1]:
            raise Wrong("reconstruction_loss: return two things: the loss, and dict(psnr=...)")
        value, decibels = got[0], without_dimensions(got[1]["psnr"])
        if isinstance(value, Tensor) and not value.requires_grad:
            raise Wrong("reconstruction_loss: the loss carries no gradient: leave out detach, item and float")
        if isinstance(decibels, Tensor) and decibels.requires_grad:
            raise Wrong("reconstruction_loss: the PSNR is only for reading: compute it from out.detach()")
        return [value.detach() if isinstance(value, Tensor) else value, decibels]

    mistakes = {"noise": "the noise is not added: decode(encode(images) + noise)",
                "weight": "the weight is not used: it multiplies the error of each pixel, before the mean",
                "normalised": "a plain mean: do not divide by the sum of the weights",
                "no abs": "a tenth of the absolute error is missing",
                "no square": "the squared error is missing",
                "no edges": "the error of the differences between neighbours is missing",
                "one way": "neighbours are side by side and one above the other: diff along both dimensions",
                "square edges": "of differences between neighbours take the absolute value, not the square",
                "edges of out": "take the differences of the error, not those of the picture",
                "edges times 1": "the edges count a tenth",
                "weighted psnr": "the PSNR is of the pictures as they are, without the weight"}

    def case(seed: int, side: int) -> Case:
        config = VAEConfig(channels=4, widths=(4, 4), blocks=1)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = vae.VAE(config)
        images, noise = normal(2, 3, side, 16, seed=seed), 0.5 * normal(2, 4, side // 8, 2, seed=seed + 1)
        args = model, images, 1 + 3 * (normal(2, 1, side, 16, seed=seed + 2) > 0).float(), noise
        value, stats = stage_vae.loss(*args)
        return Case(args, [value.detach(), stats["psnr"]],
                    {why: odd_reconstruction(*args, off) for off, why in mistakes.items()})

    run("reconstruction_loss", both, case(0, 16), case(5, 24))


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def training_loop(learner: Callable) -> None:
    """train(stage, device): trains stage.model by stage.recipe, yields a Step after each step."""
    def drive(seed: int, loop: Callable) -> list[Tensor]:
        stage = toy_stage(seed)
        steps = list(loop(stage, pick("cpu")))
        if not steps or not hasattr(steps[0], "values"):
            raise Wrong("training_loop: yield a Step after each step, as the last line does")
        losses = [torch.as_tensor(step.values["loss"]).detach().float() for step in steps]
        return [torch.stack(losses), flat(stage.model)]

    mistakes = {"zero_grad": "gradients add up from step to step: zero them before each backward pass",
                "clip": "gradients are not clipped, or only after the step: call clip_grad_norm_ before it",
                "clip value": "clip the norm of all gradients: clip_grad_norm_, not clip_grad_value_",
                "constant": "the learning rate never changes: set group['lr'] in every step",
                "from zero": "the first step has the rate 0: count from step + 1 in the warm-up",
                "no warm-up": "the warm-up is missing", "no decay": "the decay at the end is missing",
                "all the way": "the rate decays over the last `decay` of the steps only",
                "batch": "every step has a batch of its own: stage.batch(step)",
                "all decay": "weight decay is for matrices only: do not change the optimiser"}

    def case(seed: int) -> Case:
        return Case((seed,), drive(seed, train),
                    {why: loop_gone_wrong(toy_stage(seed), off) for off, why in mistakes.items()})

    run("training_loop", lambda seed: drive(seed, learner), case(1), case(2), tolerance=1e-3)


def elbo(learner: Callable) -> None:
    """x (N, D), mean, logvar (N, Z), decode, noise (N, Z), sigma -> negative ELBO, KL of each latent (Z,)."""
    def decode(z: Tensor) -> Tensor:
        return torch.tanh(z @ normal(z.shape[-1], 5, seed=7))

    def both(*args: Any) -> list:
        got = learner(*args)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong("elbo: return two things: the loss, and the divergence of each latent")
        return list(got)

    mistakes = {"variance": "multiply the noise by the deviation, exp(logvar / 2), not by the variance",
                "log": "logvar is a logarithm: the deviation is exp(logvar / 2)",
                "no noise": "z is drawn: mean + deviation * noise",
                "mean": "sum the squared error over the D numbers of a row; a mean makes it D times weaker",
                "sigma": "the squared error is divided by 2 sigma^2", "half": "2 sigma^2: the 2 is missing",
                "kl half": "the KL divergence has a factor 1/2",
                "kl sign": "the KL divergence is never negative: its sign is wrong",
                "kl deviation": "logvar is the logarithm of the variance, not of the deviation",
                "no kl": "the KL divergence is missing in the loss",
                "kl mean": "the KL divergence is summed over the latents, not averaged"}

    def case(n: int, latents: int, sigma: float, seed: int) -> Case:
        mean, logvar, noise = (normal(n, latents, seed=seed + i) for i in range(3))
        args = normal(n, 5, seed=seed + 3), mean, logvar, decode, noise, sigma
        return Case(args, list(elbo_loss(*args)),
                    {why: odd_elbo(*args, off) for off, why in mistakes.items()})

    run("elbo", both, case(6, 3, 0.5, 0), case(4, 2, 1.5, 10))
