"""Pieces of notebooks 03 and 04 with one thing wrong each, the one called `off`: what their checks know.

Shapes: as in check_03 and check_04.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minglm.config import TokenizerConfig, VAEConfig
from minglm.course.answers import normal
from minglm.model import vae
from minglm.model.tokenizer import Tokenizer, VectorQuantiser
from minglm.training import stage_tokenizer, stage_vae
from minglm.training.optimisers import optimisers
from minglm.training.recipe import Recipe, Stage
from minglm.training.stage_tokenizer import Alignment


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


class OddBlock(vae.ResBlock):
    """The library's block with one thing wrong: the one called `off`."""

    def __init__(self, width: int, off: str):
        super().__init__(width)
        self.off = off
        if off == "start":
            nn.init.ones_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x if self.off == "first" else F.silu(x))
        if self.off == "relu":
            return x + self.conv2(F.relu(self.conv1(F.relu(x))))
        out = self.conv2(first if self.off == "second" else F.silu(first))
        return {"skip": out, "last": F.silu(x + out), "twice": F.silu(x) + out}.get(self.off, x + out)


class OddAutoencoder(vae.VAE):
    """The library's autoencoder with one thing wrong: the one called `off`."""

    def __init__(self, config: VAEConfig, off: str):
        super().__init__(config)
        self.off = off
        if off == "start":
            nn.init.ones_(self.up[-2].weight)

    def encode(self, images: Tensor) -> Tensor:
        mean, std, linear = self.mean[:, None, None], self.std[:, None, None], self.pca_in(images)
        z = linear if self.off == "no down" else linear + self.down(images)
        return {"raw": z, "divided first": z / std - mean,
                "one normalised": (linear - mean) / std + self.down(images)}.get(self.off, (z - mean) / std)

    def decode(self, latents: Tensor) -> Tensor:
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        z = {"latents": latents, "added first": (latents + mean) * std}.get(self.off, latents * std + mean)
        more = self.up(latents if self.off == "up of latents" else z)
        return self.pca_out(z) + (0 if self.off == "no up" else more)


def odd_reconstruction(model: nn.Module, images: Tensor, weight: Tensor, noise: Tensor,
                       off: str) -> list[Tensor]:
    """The loss of the VAE with one thing wrong, and the PSNR."""
    z = model.encode(images)
    out = model.decode(z + (0 * noise if off == "noise" else noise))
    error, weight = out - images, torch.ones_like(weight) if off == "weight" else weight
    change = out if off == "edges of out" else error
    size = torch.square if off == "square edges" else torch.abs
    across, down = (size(change.diff(dim=d)).mean() for d in (-1, -2))
    edges = {"one way": across, "no edges": 0 * across}.get(off, across + down)
    points = (0 if off == "no square" else error.square()) + (0 if off == "no abs" else 0.1 * error.abs())
    value = (weight * points).mean() / (weight.mean() if off == "normalised" else 1)
    value = value + (1 if off == "edges times 1" else 0.1) * edges
    right = stage_vae.psnr(out, images)
    decibels = 10 * torch.log10(4 / (weight * error.square()).mean()) if off == "weighted psnr" else right
    return [value.detach(), decibels.detach()]


def toy_stage(seed: int) -> Stage:
    """A stage of 12 steps that takes no time: a matrix and a bias, and batches that differ."""
    model = nn.Linear(5, 4)
    with torch.no_grad():
        model.weight.copy_(normal(4, 5, seed=seed))
        model.bias.copy_(normal(4, seed=seed + 1))

    def batch(step: int, share: slice = slice(None)) -> dict:
        x, y = normal(6, 5, seed=100 * seed + step), normal(6, 4, seed=100 * seed + step + 50)
        return dict(x=x[share], y=y[share])

    def loss(b: dict) -> tuple[Tensor, dict]:
        # no matrix product: with or without autocast the numbers are the same
        out = (model.weight * b["x"][:, None]).sum(-1) + model.bias
        value = (out - b["y"]).square().mean()
        return value, dict(double=2 * value.detach())

    recipe = Recipe(steps=12, batch=6, lr=0.1, weight_decay=0.5, warmup=4, decay=0.5, clip=0.05, ema=0.0)
    return Stage("toy", model, batch, loss, recipe)


def loop_gone_wrong(stage: Stage, off: str) -> list[Tensor]:
    """What a training loop with one thing wrong gives: its losses, and the weights at its end."""
    recipe, model, losses = stage.recipe, stage.model, []
    optimiser, = optimisers(stage)
    if off == "all decay":
        optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, betas=(0.9, 0.98),
                                      weight_decay=recipe.weight_decay)
    rates = {"constant": lambda step: 1.0,
             "from zero": lambda step: min(step / recipe.warmup, recipe.rate(step)),
             "no warm-up": replace(recipe, warmup=0).rate, "no decay": replace(recipe, decay=1e-9).rate,
             "all the way": replace(recipe, decay=1.0).rate}
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.lr * rates.get(off, recipe.rate)(step)
        if off != "zero_grad":
            optimiser.zero_grad()
        loss, _ = stage.loss(stage.batch(0 if off == "batch" else step))
        loss.backward()
        if off == "clip value":
            nn.utils.clip_grad_value_(model.parameters(), recipe.clip)
        elif off != "clip":
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimiser.step()
        losses.append(loss.detach())
    return [torch.stack(losses), torch.cat([p.detach().flatten() for p in model.parameters()])]


def odd_elbo(x: Tensor, mean: Tensor, logvar: Tensor, decode: Callable, noise: Tensor, sigma: float,
             off: str) -> list[Tensor]:
    """The negative ELBO with one thing wrong, and the KL divergence of each latent."""
    deviation = (logvar / 2).exp()
    spread = {"variance": logvar.exp(), "log": logvar, "no noise": 0 * logvar}.get(off, deviation)
    error = (decode(mean + spread * noise) - x).square()
    error = (error.mean(-1) if off == "mean" else error.sum(-1)) / (2 * sigma ** 2)
    error = {"sigma": error * sigma ** 2, "half": 2 * error}.get(off, error)
    divergence = mean.square() + logvar.exp() - 1 - logvar
    half = (mean.square() + deviation - 1 - logvar / 2) / 2
    divergence = {"kl half": divergence, "kl sign": -divergence / 2, "kl deviation": half}.get(
        off, divergence / 2)
    total = {"no kl": 0 * error, "kl mean": divergence.mean(-1)}.get(off, divergence.sum(-1))
    return [(error + total).mean(), divergence.mean(0)]


class OddQuantiser(VectorQuantiser):
    """The library's quantiser with one thing wrong: the one called `off`."""

    def __init__(self, config: TokenizerConfig, off: str):
        super().__init__(config)
        self.off = off

    def project(self, features: Tensor) -> Tensor:
        raw = self.quant_conv(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if self.off == "places":
            return F.normalize(raw.float(), dim=1)
        return {"length": raw.float(), "half": unit(raw)}.get(self.off, unit(raw.float()))

    def nearest(self, z: Tensor) -> Tensor:
        codes = self.codes
        if self.off == "euclid":
            return torch.cdist(z.flatten(0, -2), codes).argmin(-1).view(z.shape[:-1])
        cosine = z @ (codes if self.off in ("norm", "stored") else unit(codes)).T
        return cosine.argmin(-1) if self.off == "farthest" else cosine.argmax(-1)

    def lookup(self, ids: Tensor) -> Tensor:
        return self.codes[ids] if self.off in ("lookup", "stored") else unit(self.codes)[ids]


def move_codes(codes: Tensor, usage: Tensor, z: Tensor, ids: Tensor, decay: float, twin: float,
               off: str) -> tuple[Tensor, Tensor, Tensor]:
    """What the exercise asks for, with one thing wrong: codes, usage, and which codes are twins."""
    chosen = torch.bincount(ids, minlength=len(codes)).float()
    total = torch.zeros_like(codes).index_add_(0, ids, z)
    mean = {"sum": total, "mean": total / chosen.clamp_min(1)[:, None]}.get(off, unit(total))
    keep = 1 - decay if off == "decay" else decay
    moved = keep * codes + (1 - keep) * mean
    moved = moved if off == "length" else unit(moved)
    if off == "jump":
        moved = unit(total)
    new = torch.where(chosen[:, None] == 0, codes, moved)
    counted = chosen / chosen.sum() if off == "share" else (chosen > 0).float() if off == "seen" else chosen
    used = usage if off == "usage" else decay * usage + (1 - decay) * counted
    near, more = unit(new) @ unit(new).T > twin, used[None] > used[:, None]
    more = more.T if off == "other" else more
    if off in ("both", "itself"):
        near.fill_diagonal_(off == "itself")
        more = torch.ones_like(more)
    doubled = (near & more).any(1) & (off != "no twins")
    return codes if off in ("codes", "still") else new, usage if off == "still" else used, doubled


def odd_revision(quantiser: VectorQuantiser, usage: Tensor, z: Tensor, ids: Tensor,
                 generator: torch.Generator, decay: float, twin: float, off: str) -> None:
    """The revision of the codes with one thing wrong."""
    z, codes = z.flatten(0, -2), quantiser.codes
    new, used, doubled = move_codes(codes, usage, z, ids.flatten(), decay, twin, off)
    codes.copy_(new)
    dead, far = (used < 0.02) | doubled, 1 - (z * quantiser.lookup(ids.flatten())).sum(-1)
    reach = far.clamp_min(1e-6).cumsum(0)
    pick = torch.searchsorted(reach, torch.rand(len(codes), generator=generator) * reach[-1])
    codes.copy_(torch.where(dead[:, None], z[pick.clamp_max(len(z) - 1)], codes))
    usage.copy_(torch.where(dead, torch.full_like(usage, 0.2), used))


def odd_objective(tokenizer: Tokenizer, alignment: Alignment, b: dict, rarity: Tensor, off: str) -> tuple:
    """The objective with one thing wrong."""
    z = tokenizer.features(b["images"])
    ids = tokenizer.quantiser.nearest(z.detach())
    codes = tokenizer.quantiser.lookup(ids)
    passed = {"codes": codes, "z": z}.get(off, z + (codes - z).detach())
    shown = torch.ones_like(b["shown"]) if off == "shown" else b["shown"]
    scores, drawn, parts = alignment(passed, shown)
    each = F.cross_entropy(parts.movedim(-1, 1), b["which"], reduction="none")
    covered = torch.ones_like(b["covered"]) if off == "all cells" else b["covered"]
    error = (drawn - b["targets"]).square() * (1 if off == "weight" else b["weight"])
    cells, cosine = (each * covered).sum() / covered.sum(), (z * codes).sum(-1).mean()
    found = dict(words=stage_tokenizer.word_loss(scores, b["words"], rarity), pixels=error.mean(),
                 parts=(each * covered).mean() if off == "mean" else cells,
                 commitment=cosine if off == "cosine" else 1 - cosine)
    factors = dict(words=0.3, pixels=10.0, parts=1.0, commitment=0.5)
    if off == "factors":
        factors = dict.fromkeys(factors, 1.0)
    if off in factors:
        factors[off] = 0.0
    return sum(factor * found[name] for name, factor in factors.items()), found, z, ids


def scalar_quantised(z: Tensor, levels: tuple[int, ...], off: str) -> tuple[Tensor, Tensor]:
    """Finite scalar quantisation with one thing wrong: values and ids."""
    sizes = torch.tensor(levels)
    half = sizes / 2 if off == "half" else (sizes - 1) / 2
    bounded = half * (z.clamp(-1, 1) if off == "clamp" else torch.tanh(z))
    rounded = bounded.floor() if off == "floor" else bounded.round()
    values = rounded if off == "gradient" else bounded + (rounded - bounded).detach()
    place = torch.cumprod(torch.cat([sizes.new_ones(1), sizes[:-1]]), 0)
    if off == "order":
        place = torch.cumprod(torch.cat([sizes.new_ones(1), sizes.flip(0)[:-1]]), 0).flip(0)
    digits = rounded if off == "negative" else rounded + half
    ids = (digits * (sizes[0] if off == "place" else place)).sum(-1)
    return values if off == "scale" else values / half, ids.detach().round().long()
