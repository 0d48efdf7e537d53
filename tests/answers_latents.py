"""Right and wrong answers to the checks of notebooks 03 and 04; with each wrong one some words of its diagnosis."""

import math
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from minglm.training.optimisers import optimisers
from minglm.training.recipe import Step
from minglm.training.stage_tokenizer import word_loss

# ---------------------------------------------------------------- right answers, written anew


def psnr(a, b):
    return 20 * torch.log10(2 / (a - b).pow(2).mean().sqrt())


def patches(x, s):
    b, c, h, w = x.shape
    return x.unfold(2, s, s).unfold(3, s, s).permute(0, 2, 3, 1, 4, 5).reshape(-1, c * s * s)


def components(rows, k, center=True, ascending=False, divide=1.0):
    mean = rows.mean(0)
    _, s, vt = torch.linalg.svd(rows - mean if center else rows, full_matrices=False)
    order = range(len(s) - 1, len(s) - 1 - k, -1) if ascending else range(k)
    order = torch.tensor([*order])
    return mean, vt[order], s[order] ** 2 / (len(rows) / divide)


class Block(nn.Module):
    """The residual block, in functions."""

    def __init__(self, width, zero=True, skip=1.0, act=F.silu):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding="same") for _ in range(2))
        self.skip, self.act = skip, act
        if zero:
            self.conv2.weight.data *= 0
            self.conv2.bias.data *= 0

    def forward(self, x):
        h = F.conv2d(self.act(x), self.conv1.weight, self.conv1.bias, padding=1)
        return F.conv2d(self.act(h), self.conv2.weight, self.conv2.bias, padding=1) + self.skip * x


class Autoencoder(nn.Module):
    """The autoencoder, in loops and lists of layers."""

    def __init__(self, config, end=True, shift=0.0, undo=True, correct=True):
        super().__init__()
        c, (narrow, wide) = config.channels, config.widths
        self.pca_in, self.pca_out = nn.Conv2d(3, c, 8, stride=8), nn.ConvTranspose2d(c, 3, 8, stride=8)
        last = nn.Conv2d(wide, c, 3, padding="same"), nn.Conv2d(narrow, 48, 3, padding="same")
        self.down = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, narrow, 3, padding="same"), Block(narrow),
                                  nn.PixelUnshuffle(2), nn.Conv2d(4 * narrow, wide, 1), Block(wide), nn.SiLU(), last[0])
        up = [nn.Conv2d(c, wide, 3, padding="same")]
        for _ in range(config.blocks):
            up.append(Block(wide))
        up += [nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2)]
        for _ in range(config.blocks):
            up.append(Block(narrow))
        self.up = nn.Sequential(*up, nn.SiLU(), last[1], nn.PixelShuffle(4))
        self.register_buffer("mean", torch.zeros(c))
        self.register_buffer("std", torch.ones(c))
        self.shift, self.undo, self.correct = shift, undo, correct
        if end:
            last[1].weight.data *= 0
            last[1].bias.data *= 0

    def each(self, numbers):
        return numbers.view(1, -1, 1, 1)

    def encode(self, images):
        z = self.pca_in(images) + self.down(images) * self.correct
        return (z - self.each(self.mean)) / self.each(self.std) + self.shift

    def decode(self, latents):
        z = latents * self.each(self.std) + self.each(self.mean) if self.undo else latents
        return self.up(z) + self.pca_out(z)


def reconstruction_loss(vae, images, weight, noise, edge=0.1, shake=1.0, detach=True):
    out = vae.decode(vae.encode(images) + shake * noise)
    off = out - images
    side = (off[..., 1:] - off[..., :-1]).abs().mean() + (off[..., 1:, :] - off[..., :-1, :]).abs().mean()
    value = (weight * off ** 2).mean() + (weight * off.abs()).mean() / 10 + edge * side
    return value, dict(psnr=psnr(out.detach() if detach else out, images))


def training_loop(stage, device, clip=True, zero=True, warm=True, first=1, fall=True):
    recipe, model = stage.recipe, stage.model
    optimiser, = optimisers(stage)
    start = recipe.steps - recipe.steps * recipe.decay
    for step in range(recipe.steps):
        up = (step + first) / recipe.warmup if warm else 1
        down = 1 - (step - start) / (recipe.steps - start) if fall else 1
        for group in optimiser.param_groups:
            group["lr"] = recipe.lr * max(0.0, min(1.0, up, down))
        loss, stats = stage.loss(stage.batch(step))
        loss.backward()
        if clip:
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            for p in model.parameters():
                p.grad *= min(1.0, recipe.clip / norm.item())
        optimiser.step()
        if zero:
            model.zero_grad()
        yield Step(step + 1, recipe.steps, 0.0, 0.0, dict(loss=loss.detach(), **stats))


def elbo(x, mean, logvar, decode, noise, sigma, sampled=None, kl=1.0, pixels=1.0):
    q = torch.distributions.Normal(mean, (logvar / 2).exp())
    divergence = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    z = mean + (q.stddev if sampled is None else sampled(logvar)) * noise
    log_p = -((x - decode(z)) / sigma).square() / 2
    return -(pixels * log_p).sum(1).mean() + kl * divergence.sum(1).mean(), divergence.mean(0)


class Through(torch.autograd.Function):
    @staticmethod
    def forward(context, z, codes):
        return codes.clone()

    @staticmethod
    def backward(context, grad):
        return grad, None


def perplexity(ids, k):
    counts = Counter(ids.flatten().tolist()).values()
    return math.prod((n / ids.numel()) ** (-n / ids.numel()) for n in counts)


class Quantiser(nn.Module):
    """The quantiser, by einsum and distances."""

    def __init__(self, config, unit=F.normalize, keep=True, far=False, single=True, stored=False):
        super().__init__()
        self.quant_conv = nn.Conv2d(config.width, config.code_width, 1)
        self.codes = nn.Parameter(torch.zeros(config.codebook, config.code_width))
        self.unit, self.keep, self.far, self.single, self.stored = unit, keep, far, single, stored

    def project(self, features):
        weight = self.quant_conv.weight[..., 0, 0]
        z = torch.einsum("bhwd,ed->bhwe", features, weight) + self.quant_conv.bias
        z = z.float() if self.single else z
        return z / z.norm(dim=-1, keepdim=True) if self.keep else z

    def nearest(self, z):
        if self.stored:
            return torch.einsum("bhwe,ke->bhwk", z, self.codes).max(-1).indices
        codes = self.unit(self.codes, dim=-1)
        far = torch.cdist(z.flatten(0, 2), codes)
        return (far.argmax(1) if self.far else far.argmin(1)).view(z.shape[:3])

    def lookup(self, ids):
        return self.codes[ids] if self.stored else F.normalize(self.codes[ids], dim=-1)


def codebook(quantiser, usage, z, ids, generator, decay=0.95, twin=0.96, count=True, both=False, twins=True,
             renew=True, mean=False, itself=False, moves=True):
    z, ids, codes, kept = z.reshape(-1, z.shape[-1]), ids.flatten(), quantiser.codes, (quantiser.codes.clone(), usage.clone())
    for k in range(len(codes)):
        mine = z[ids == k]
        if len(mine):
            to = mine.mean(0) if mean else F.normalize(mine.sum(0), dim=0) if renew else mine.sum(0)
            codes[k] = F.normalize(decay * codes[k] + (1 - decay) * to, dim=0)
        if count:
            usage[k] = decay * usage[k] + (1 - decay) * len(mine)
    doubled = torch.zeros_like(usage, dtype=torch.bool)
    for k in range(len(codes)):
        for j in range(len(codes)):
            close = (j != k or itself) and F.cosine_similarity(codes[k], codes[j], dim=0) > twin
            doubled[k] |= bool(close and (both or itself or usage[j] > usage[k]) and twins)
    if moves is not True:                                # as if new tensors had been made of what should have changed
        codes.copy_(kept[0])
        usage.copy_(usage if moves == "usage" else kept[1])
    dead, far = (usage < 0.02) | doubled, 1 - (z * quantiser.lookup(ids)).sum(-1)
    reach = far.clamp_min(1e-6).cumsum(0)
    pick = torch.searchsorted(reach, torch.rand(len(codes), generator=generator) * reach[-1])
    codes[dead] = z[pick.clamp_max(len(z) - 1)][dead]
    usage[dead] = 0.2


def objective(tokenizer, alignment, b, rarity, through=True, weigh=True, shown=True, commit=0.5, parts=1.0):
    z = tokenizer.features(b["images"])
    ids = tokenizer.quantiser.nearest(z)
    codes = tokenizer.quantiser.lookup(ids)
    passed = Through.apply(z, codes) if through else codes
    scores, drawn, which = alignment(passed, b["shown"] if shown else torch.ones_like(b["shown"]))
    error = F.mse_loss(drawn, b["targets"], reduction="none") * (b["weight"] if weigh else 1)
    each = -which.log_softmax(-1).gather(-1, b["which"][..., None])[..., 0]
    cells = (each * b["covered"]).sum() / b["covered"].sum()
    commitment = 1 - F.cosine_similarity(z, codes, dim=-1).mean()
    words = word_loss(scores, b["words"], rarity)
    value = 0.3 * words + 10 * error.mean() + parts * cells + commit * commitment
    return value, dict(words=words, pixels=error.mean(), parts=cells, commitment=commitment), z, ids


def chance(learned, asked):
    (most, _), = Counter(learned.tolist()).most_common(1)
    return np.mean(asked.numpy() == most)


def fsq(z, levels, gradient=True, scale=True, rounds=torch.round, reverse=False):
    half = torch.tensor([(level - 1) // 2 for level in levels])
    bounded = torch.tanh(z) * half
    values = Through.apply(bounded, rounds(bounded.detach())) if gradient else rounds(bounded.detach())
    ids = torch.zeros(len(z), dtype=torch.long)
    digits = list(zip((rounds(bounded.detach()) + half).long().T, levels))
    for digit, level in digits if reverse else digits[::-1]:
        ids = ids * level + digit
    return values / half if scale else values, ids


RIGHT = dict(quantiser=Quantiser, codebook=codebook, straight_through=Through.apply, perplexity=perplexity,
             objective=objective, chance=chance, fsq=fsq, patches=patches,
             psnr=psnr, components=components, res_block=Block, autoencoder=Autoencoder, reconstruction_loss=reconstruction_loss,
             training_loop=training_loop, elbo=elbo)


# ---------------------------------------------------------------- mistakes, and what is said of them

def clipped_by_value(stage, device):
    whole = nn.utils.clip_grad_norm_
    try:
        nn.utils.clip_grad_norm_ = nn.utils.clip_grad_value_
        yield from clipped(stage)
    finally:
        nn.utils.clip_grad_norm_ = whole


def clipped(stage):
    optimiser, = optimisers(stage)
    for step in range(stage.recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = stage.recipe.lr * stage.recipe.rate(step)
        optimiser.zero_grad()
        loss, stats = stage.loss(stage.batch(step))
        loss.backward()
        nn.utils.clip_grad_norm_(stage.model.parameters(), stage.recipe.clip)
        optimiser.step()
        yield Step(step + 1, stage.recipe.steps, 0.0, 0.0, dict(loss=loss.detach(), **stats))


def one_batch(stage, device):
    batch, stage.batch = stage.batch, lambda step: batch(0)
    yield from training_loop(stage, device)


WRONG = [
    ("psnr", lambda a, b: psnr(a, b) - 20 * math.log10(2), "6 dB too low"),
    ("psnr", lambda a, b: -psnr(a, b), "sign"),
    ("psnr", lambda a, b: psnr(a, b) * math.log(10), "natural logarithm"),
    ("psnr", lambda a, b: torch.stack([psnr(*pair) for pair in zip(a, b)]), "one number for all"),
    ("psnr", lambda a, b: psnr(a, b).item() / 10, "a tenth of a bel"),
    ("components", lambda rows, k: components(rows, k, ascending=True), "ascending"),
    ("components", lambda rows, k: [part if not i else part.flip(0) for i, part in enumerate(components(rows, k))],
     "largest variance comes first"),
    ("components", lambda rows, k: components(rows, k, center=False), "subtract the mean"),
    ("components", lambda rows, k: components(rows, k, divide=len(rows)), "divide the covariance by N, the number"),
    ("components", lambda rows, k: components(rows, k, divide=len(rows) / (len(rows) - 1)), "N - 1"),
    ("components", lambda rows, k: (components(rows, k)[0], components(rows, k)[1].T, components(rows, k)[2]),
     "should be rows"),
    ("components", lambda rows, k: (*components(rows, k)[:2], components(rows, k)[2].sqrt()), "standard deviations"),
    ("components", lambda rows, k: components(rows, k)[1], "three things"),
    ("res_block", lambda width: Block(width, skip=0.0), "input is not added"),
    ("res_block", lambda width: Block(width, zero=False), "conv2 to zero"),
    ("res_block", lambda width: Block(width, act=F.relu), "not relu"),
    ("res_block", lambda width: nn.Sequential(nn.Conv2d(width, width, 3, padding=1)), "named conv1"),
    ("res_block", lambda width: Block(width + 1), "should have"),
    ("autoencoder", partial(Autoencoder, end=False), "before training up must add nothing"),
    ("autoencoder", partial(Autoencoder, undo=False), "first undo the normalisation"),
    ("autoencoder", partial(Autoencoder, correct=False), "encode: the network is missing"),
    ("autoencoder", partial(Autoencoder, shift=1.0), "in entry 1: .* the numbers are off"),
    ("autoencoder", lambda config: Autoencoder(replace(config, blocks=3)), "the order of the task"),
    ("autoencoder", lambda config: Autoencoder(replace(config, widths=config.widths[::-1])), "has the shape"),
    ("reconstruction_loss", lambda v, x, w, n: reconstruction_loss(v, x, w, n, shake=0), "noise is not added"),
    ("reconstruction_loss", lambda v, x, w, n: reconstruction_loss(v, x, torch.ones_like(w), n), "weight is not used"),
    ("reconstruction_loss", lambda v, x, w, n: reconstruction_loss(v, x, w, n, edge=0), "between neighbours is missing"),
    ("reconstruction_loss", lambda v, x, w, n: reconstruction_loss(v, x, w, n, edge=1), "a tenth"),
    ("reconstruction_loss", lambda v, x, w, n: reconstruction_loss(v, x, w, n, detach=False), "only for reading"),
    ("reconstruction_loss", lambda v, x, w, n: reconstruction_loss(v, x, w, n)[0], "two things"),
    ("training_loop", lambda s, d: training_loop(s, d, zero=False), "add up"),
    ("training_loop", lambda s, d: training_loop(s, d, clip=False), "not clipped"),
    ("training_loop", lambda s, d: training_loop(s, d, warm=False), "warm-up is missing"),
    ("training_loop", lambda s, d: training_loop(s, d, first=0), "rate 0"),
    ("training_loop", lambda s, d: training_loop(s, d, fall=False), "decay at the end"),
    ("training_loop", lambda s, d: training_loop(s, d, warm=False, fall=False), "never changes"),
    ("training_loop", clipped_by_value, "norm of all"),
    ("training_loop", one_batch, "batch of its own"),
    ("elbo", lambda *args: elbo(*args, sampled=torch.exp), "not by the variance"),
    ("elbo", lambda *args: elbo(*args, sampled=torch.zeros_like), "z is drawn"),
    ("elbo", lambda *args: elbo(*args, kl=0), "missing in the loss"),
    ("elbo", lambda *args: elbo(*args, pixels=2), "2 is missing"),
    ("elbo", lambda *args: elbo(*args, pixels=0.2), "D times weaker"),
    ("elbo", lambda *args: elbo(*args)[0], "two things"),
    ("patches", lambda x, s: x.reshape(-1, x.shape[1] * s * s), "order of memory"),
    ("patches", lambda x, s: patches(x.transpose(2, 3), s), "exchanged|off"),
    ("patches", lambda x, s: patches(x, s).view(-1, x.shape[1], s * s).transpose(1, 2).flatten(1),
     "colours come last"),
    ("quantiser", partial(Quantiser, unit=lambda codes, dim: codes), "Euclidean distance"),
    ("quantiser", partial(Quantiser, keep=False), "length 1"),
    ("quantiser", partial(Quantiser, stored=True), "normalise them in both"),
    ("quantiser", partial(Quantiser, far=True), "farthest"),
    ("quantiser", partial(Quantiser, single=False), "float"),
    ("quantiser", lambda config: nn.Linear(config.width, config.code_width), "leave __init__"),
    ("codebook", partial(codebook, count=False), "usage is not updated"),
    ("codebook", partial(codebook, both=True), "used less is doubled"),
    ("codebook", partial(codebook, twins=False), "used more is above twin"),
    ("codebook", partial(codebook, renew=False), "direction of the sum"),
    ("codebook", partial(codebook, mean=True), "shorter than 1"),
    ("codebook", partial(codebook, itself=True), "no twin of its own"),
    ("codebook", partial(codebook, moves="usage"), "stay where they are"),
    ("codebook", partial(codebook, moves=False), "neither codes nor usage"),
    ("straight_through", lambda z, codes: codes, "argmax, which has none"),
    ("straight_through", lambda z, codes: z, "that is z"),
    ("straight_through", lambda z, codes: codes.detach(), "nothing gets a gradient"),
    ("straight_through", lambda z, codes: codes + (z - codes).detach(), "exchange z and codes"),
    ("perplexity", lambda ids, k: math.log(perplexity(ids, k)), "entropy"),
    ("perplexity", lambda ids, k: float(len(set(ids.flatten().tolist()))), "codes in use"),
    ("perplexity", lambda ids, k: 1 / perplexity(ids, k), "minus"),
    ("perplexity", lambda ids, k: float("nan"), "0 log 0"),
    ("perplexity", lambda ids, k: perplexity(ids, k) ** (1 / math.log(2)), "and log2 with 2"),
    ("perplexity", lambda ids, k: 2 ** math.log(perplexity(ids, k)), "2 .. entropy goes with log2"),
    ("objective", partial(objective, through=False), "no gradient passes"),
    ("objective", partial(objective, weigh=False), "multiplied by its weight"),
    ("objective", partial(objective, shown=False), "something on them"),
    ("objective", partial(objective, commit=0.0), "lacks commitment"),
    ("objective", partial(objective, parts=0.0), "lacks parts"),
    ("objective", lambda *args: objective(*args)[0], "return the loss"),
    ("chance", lambda learned, asked: 1 / len(set(asked.tolist())), "not equally frequent"),
    ("chance", lambda learned, asked: chance(asked, asked), "has not seen"),
    ("chance", lambda learned, asked: chance(learned, learned), "how often it is right"),
    ("fsq", partial(fsq, gradient=False), "rounding has no gradient"),
    ("fsq", partial(fsq, rounds=torch.floor), "nearest level"),
    ("fsq", partial(fsq, scale=False), "divide by"),
    ("fsq", partial(fsq, reverse=True), "last digit"),
]
