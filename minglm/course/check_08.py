"""Checks of the exercises in notebook 08, Build the decoder.

Shapes: B batch · C latent channels · h, w latents · N image tokens · S glyph tokens · R tokens of reference
images · D width · H heads · E head width · M modulation width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, replace
from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from minglm.config import DecoderConfig, preset
from minglm.course.answers import Case, Wrong, normal, run
from minglm.course.check_05 import fill
from minglm.course.slipped import SLIPS, Gated, Given, Slipped
from minglm.course.twins import awake, size_of
from minglm.model import decoder, ops
from minglm.model.rotary import frequencies


def unpatchify(learner: Callable) -> None:
    """unpatchify(tokens (B, N, C p p), rows, p) -> latents (B, C, h, w), the inverse of patchify."""
    def case(rows: int, columns: int, p: int) -> Case:
        x = normal(2, rows * columns, 3 * p * p)

        def glue(of: str) -> Tensor:
            return rearrange(x, f"b {of} -> b c (h p) (w q)", h=rows, w=columns, p=p, q=p)

        right = glue("(h w) (c p q)")
        return Case((x, rows, p), right, {
            "inside a token the channel comes first: (c p q), not (p q c)": glue("(h w) (p q c)"),
            "inside a token rows and columns are exchanged: (c p q)": glue("(h w) (c q p)"),
            "the place within a patch is the inner part of height and width: (h p), not (p h)": rearrange(
                x, "b (h w) (c p q) -> b c (p h) (q w)", h=rows, p=p, q=p),
            "the tokens run along the rows: (h w)": glue("(w h) (c p q)"),
            "a reshape alone does not put patches in their places": x.reshape(right.shape)})

    run("unpatchify", learner, case(3, 5, 2), case(4, 2, 3))


def heard(learner: Callable) -> None:
    """heard(decoder, ids (B, h, w), keep (B,) or None): what each image token is told, (B, 4 h w, D)."""
    def case(rows: int, columns: int, quarters: bool, keep: list[bool] | None = None) -> Case:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rows)
            model = decoder.Decoder(replace(preset("tiny").decoder, quarters=quarters, codebook=30))
        model.requires_grad_(False)
        ids = torch.arange(2 * rows * columns).view(2, rows, columns)
        kept = None if keep is None else torch.tensor(keep)
        alone = decoder.Decoder.heard(model, ids, kept)                          # near is still zeros
        model.near.conv.weight.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
        right = decoder.Decoder.heard(model, ids, kept)                          # (B, N, D)
        all_told = decoder.Decoder.heard(model, ids)
        wrong = {"what the ids around it say is missing: self.near": alone} | ({} if keep is None else {
            "`keep` is not used": all_told, "keep is True where there is a plan": model.heard(ids, ~kept),
            "drop the vectors before the network, not what it makes of them": all_told * kept[:, None, None]})

        def arranged(to: str) -> Tensor:
            return rearrange(right, f"b (h p w q) d -> b {to} d", h=rows, w=columns, p=2, q=2)

        wrong |= {"the tokens run row by row, through all cells: not cell by cell": arranged("(h w p q)"),
                  "the tokens run along the rows: first the top row of all of them": arranged("(w q h p)"),
                  "a cell's own 2 x 2 tokens are neighbours: (h p w q), not (p h q w)": arranged("(p h q w)")}
        if quarters:
            swapped = "the second quarter is the top right one, the third the bottom left: (p q d)"
            wrong[swapped] = arranged("(h q w p)")
            wrong["the D numbers of a quarter are neighbours: (p q d), not (d p q)"] = rearrange(
                arranged("h w (p q)").flatten(3), "b h w (d p q) -> b (h p w q) d", p=2, q=2)
        wrong = {why: one for why, one in wrong.items() if not torch.allclose(one, right)}
        return Case((model, ids, kept), right, wrong)

    run("heard", learner, case(2, 3, True), case(3, 2, False), case(2, 2, True, [False, True]))


def sinusoid(learner: Callable) -> None:
    """sinusoid(values (B,), width) -> (B, width): cosines, then sines, at 10000^(-i / (width / 2))."""
    def case(width: int, *values: float) -> Case:
        times, half, steps = torch.tensor(values), width // 2, torch.arange(width // 2).double()

        def wave(frequency: Tensor) -> tuple[Tensor, Tensor]:
            angles = times[:, None] * frequency
            return angles.cos().float(), angles.sin().float()

        cos, sin = wave(10000.0 ** (-steps / half))
        return Case((times, width), decoder.sinusoid(times, width), {
            "cosines come first, then sines": torch.cat([sin, cos], -1),
            "all cosines, then all sines: not one next to the other": torch.stack([cos, sin], -1).flatten(1),
            "there are width / 2 frequencies, so i is divided by width / 2": torch.cat(
                wave(10000.0 ** (-steps / width)), -1),
            "the exponent is negative: the first frequency is 1, and they fall": torch.cat(
                wave(10000.0 ** (steps / half)), -1),
            "the last frequency is a little above 1/10000: divide by width / 2, not by width / 2 - 1":
                torch.cat(wave(10000.0 ** (-steps / max(half - 1, 1))), -1),
            "frequencies fall by a constant factor, not by a constant difference": torch.cat(
                wave(1 - steps / half), -1)})

    run("sinusoid", learner, case(16, 0.0, 1.0, 500.0, 999.0), case(6, 3.0, 40.5), tolerance=1e-3)


def modulate(learner: Callable) -> None:
    """modulate(x (B, N, D), shift, scale (B, D), eps=1e-5) -> layer_norm(x) (1 + scale) + shift."""
    def case(eps: float | None) -> Case:
        x, (shift, scale) = normal(2, 5, 8), normal(2, 2, 8, seed=1)
        x, a, b = 3 * x + 1, shift[:, None], scale[:, None]
        rest = () if eps is None else (eps,)
        normed = F.layer_norm(x, (8,), eps=1e-5 if eps is None else eps)
        mistakes = {
            "the scale lacks its 1: a scale of zero must leave the normalised x unchanged": normed * b + a,
            "shift and scale are exchanged": normed * (1 + a) + b,
            "the variance is the mean of the squares: over D, not over D - 1 (unbiased=False)":
                (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True) * (1 + b) + a,
            "multiply by 1 + scale first, then add shift": (normed + a) * (1 + b),
            "each token has a mean and a variance of its own, over the last axis only":
                F.layer_norm(x, x.shape[1:]) * (1 + b) + a,
            "x is not normalised": x * (1 + b) + a,
            "normalise first, then scale and shift": F.layer_norm(
                x * (1 + b) + a, (8,), eps=1e-5 if eps is None else eps),
            "the mean is not subtracted (that is RMSNorm)": F.rms_norm(x, (8,), eps=1e-5) * (1 + b) + a,
            "the mean and deviation are those of each channel over the tokens: take those of each token":
                F.layer_norm(x.mT, (5,), eps=1e-5).mT * (1 + b) + a}
        if eps is not None:
            mistakes["eps is not used"] = ops.modulate(x, shift, scale)
        return Case((x, shift, scale, *rest), ops.modulate(x, shift, scale, *rest), mistakes)

    run("modulate", learner, case(None), case(0.5))


def rotary_2d(learner: Callable) -> None:
    """rotary(self, rows, columns, device): cosines and sines (N, E) of each image token's row and column; a
    method of the decoder, which uses head_dim, rope_theta and middle of self.config."""
    def turn(angles: Tensor, twins: str = "(k e)", times: int = 2) -> tuple[Tensor, Tensor]:
        angles = repeat(angles, f"n e -> n {twins}", k=times)
        return angles.cos(), angles.sin()

    def case(rows: int, columns: int, width: int, theta: float, middle: int | None) -> Case:
        fast, coarse = frequencies(width // 2, theta), frequencies(width, theta)[: width // 4]
        row = torch.arange(rows).repeat_interleave(columns)[:, None]
        left = torch.arange(columns).repeat(rows)[:, None]
        column = left + (0 if middle is None else middle - columns // 2)
        right = torch.cat([row * fast, column * fast], -1)
        config = DecoderConfig(head_dim=width, rope_theta=theta, middle=middle)
        args = SimpleNamespace(config=config), rows, columns, row.device
        fixed = frequencies(width // 2, 10000.0)
        return Case(args, decoder.Decoder.rotary(*args), {
            "rows and columns are exchanged: the row comes first":
                turn(torch.cat([column * fast, row * fast], -1)),
            "each angle is next to its copy: channel i is paired with i + E/2, so repeat the whole vector":
                turn(right, "(e k)"),
            "row and column have frequencies of their own, from fast to slow: frequencies(E // 2, theta)":
                turn(torch.cat([row * coarse, column * coarse], -1)),
            "repeat the whole list: row, column, row, column, not row, row, column, column":
                turn(torch.cat([row * fast, row * fast, column * fast, column * fast], -1), "(k e)", 1),
            "the tokens run along the rows: the column changes from token to token":
                turn(right.view(rows, columns, -1).transpose(0, 1).flatten(0, 1)),
            "0 is a middle, too: ask whether it `is None`" if middle == 0 else
            "columns count from the middle: the first is self.config.middle - columns // 2":
                turn(torch.cat([row * fast, left * fast], -1)),
            "columns // 2 rounds down: of 5 columns the first is middle - 2":
                turn(torch.cat([row * fast, (column - columns % 2) * fast], -1)),
            "cosines first, then sines": (turn(right)[1], turn(right)[0]),
            "theta is self.config.rope_theta, not always 10,000":
                turn(torch.cat([row * fixed, column * fixed], -1)),
            "the angles are written twice, or half of the channels are not rotated":
                (right.cos(), right.sin())})

    run("rotary_2d", learner, case(3, 5, 16, 10000.0, None), case(4, 4, 8, 50.0, 2),
        case(2, 6, 8, 50.0, 4), case(2, 5, 8, 50.0, 4), case(3, 3, 8, 50.0, 0))


def decoder_block(learner: Callable) -> None:
    """DecoderBlock(config): block(x (B, N, D), c (B, S, D), m (B, M), rotary (cosines, sines (N, E)), mask,
    memory=None, last=False) -> x, c and (q, k, v) of this picture; its parameters are named as minglm's."""
    config = replace(preset("tiny").decoder, width=12, heads=2, head_dim=8, time_width=6)
    weights = {name: 0.7 * normal(*p.shape, seed=i)
               for i, (name, p) in enumerate(decoder.DecoderBlock(config).state_dict().items())}

    def drive(make: Callable, given: Given) -> dict[str, Tensor]:
        tokens, glyphs, seed, past, masked, last = astuple(given)
        block = make(config)
        fill(block, weights)
        (x, c), m = normal(2, 2, 9, config.width, seed=seed), normal(2, config.time_width, seed=seed + 1)
        angles = normal(tokens, config.head_dim // 2, seed=seed + 2).repeat(1, 2)
        memory = tuple(normal(2, 2, 2, past, 8, seed=seed + 3)) if past else None
        mask = None
        if masked:                                   # padding among the glyph tokens of the second picture
            mask = torch.ones(2, 1, 1, past + glyphs + tokens, dtype=torch.bool)
            mask[1, ..., past + 1:past + glyphs] = False
            mask[0, ..., :past // 2] = False
        whole = x[:, :tokens], c[:, :glyphs]
        own = [t.clone() for t in whole]
        with torch.no_grad():
            found = block(*own, m, (angles.cos(), angles.sin()), mask, memory, last)
        if not all(map(torch.equal, own, whole)):
            raise Wrong("decoder_block: your block changes x or c, which others still need: write "
                        "x = x + ..., not x += ...")
        if not (isinstance(found, tuple | list) and len(found) == 3):
            raise Wrong("decoder_block: return x, c, (q, k, v)")
        x, c, (q, k, v) = found
        return dict(x=x, c=c, queries=q, keys=k, values=v)

    def case(*of: int | bool) -> Case:
        given = Given(*of)
        right = drive(decoder.DecoderBlock, given)

        def same(wrong: dict) -> bool:
            return all(a.shape == wrong[name].shape and torch.allclose(a, wrong[name])
                       for name, a in right.items())

        wrong = {why: drive(partial(Slipped, off=off), given) for off, why in SLIPS.items()}
        return Case((given,), right, {why: one for why, one in wrong.items() if not same(one)})

    run("decoder_block", partial(drive, learner), case(6, 3, 20, 0, False, False),
        case(4, 4, 30, 0, True, False), case(4, 2, 40, 6, True, False), case(6, 3, 50, 0, False, True),
        case(4, 0, 60, 0, False, False), tolerance=1e-5)


def first_learners(learner: Callable) -> None:
    """learners(model, loss): the names of the parameters that get a gradient other than zero, a list in the
    order of named_parameters(); loss is a number that depends on some of the model's parameters."""
    def fresh(zero: tuple[str, ...], seed: int) -> tuple[Gated, Tensor]:
        model, x = Gated(*zero), normal(4, 3, seed=seed)
        x[:, 0] = 0                                  # so some gradients are zero in places
        for p in model.parameters():                                             # of an earlier step
            p.grad = torch.ones_like(p)
        return model, (model(x) - normal(4, 2, seed=seed + 1)).square().mean()

    def drive(found: Callable, zero: tuple[str, ...], seed: int) -> list[str]:
        (model, loss), (other, same_loss) = fresh(zero, seed), fresh(zero, seed)
        good = awake(other, same_loss)
        try:
            names = found(model, loss)
        except AttributeError as error:
            if "NoneType" in str(error) and any(p.grad is None for p in model.parameters()):
                raise Wrong("first_learners: a .grad is None where the loss does not get to") from error
            raise
        names = names if names is None or isinstance(names, set) else list(names)

        def kept(old: int) -> bool:
            return all(p.grad is not None and torch.allclose(p.grad, old + q.grad)
                       for p, q in zip(model.parameters(), other.parameters()) if q.grad is not None)

        if kept(1):
            raise Wrong("first_learners: backward adds to the gradients of earlier steps: clear them first")
        if names in (good, []) and not kept(0):
            raise Wrong("first_learners: the gradients of this loss are to stay in .grad, for the next step: "
                        "clear the old ones, then loss.backward()")
        return names

    def case(seed: int, *zero: str) -> Case:
        model, loss = fresh(zero, seed)
        good, everything = awake(model, loss), [name for name, _ in model.named_parameters()]
        begins = {name for name in everything if name.split(".")[0] in zero}
        wrong = {
            "a gradient of zeros is not None: ask whether any number in it is not 0": [
                name for name in everything if model.get_parameter(name).grad is not None],
            "one number that is not 0 is enough: any(), not all()": [
                name for name in good if bool((model.get_parameter(name).grad != 0).all())],
            "those are the parameters that are not zero: ask for their gradients": [
                name for name in everything if name not in begins],
            "a list in the order of named_parameters(), please": sorted(good),
            "those are the ones without a gradient": [name for name in everything if name not in good]}
        return Case((zero, seed), good, {why: names for why, names in wrong.items() if names != good})

    run("first_learners", partial(drive, learner), case(0, "head"), case(2, "gate"),
        case(4, "gate", "inside"), case(6))


def block_size(learner: Callable) -> None:
    """block_size(config, streams): the parameters of a decoder block whose tokens share q, k, v, o, fc1 and
    fc2 (1 stream), or where image and glyph tokens each have their own (2 streams)."""
    def case(config: DecoderConfig, streams: int) -> Case:
        width, inner = config.width, config.heads * config.head_dim
        modulation = 12 * width * (config.time_width + 1)
        attends, feeds = 4 * width * inner, 8 * width * width
        biases = 3 * inner + width + 5 * width
        right = size_of(config, streams)
        return Case((config, streams), right, {
            "each of the seven layers has biases": right - streams * biases - 12 * width,
            "the modulation has 12 vectors in all, six for each kind of token": right + (
                (streams - 1) or -0.5) * modulation,
            "the modulation reads m, which has time_width numbers":
                right - modulation + 12 * width * (width + 1),
            "q, k, v and o have heads x head_dim channels, which need not be the width":
                modulation + streams * (12 * width * width + 9 * width),
            "the feed-forward is four times as wide inside":
                right - streams * (6 * width * width + 3 * width),
            "o is a matrix, too": right - streams * (width * inner + width),
            "with two streams all six layers come twice, the modulation once": right - (
                (streams - 1) * (attends + feeds + biases) or 0.5)})

    run("block_size", learner, case(replace(preset("tiny").decoder, width=24, heads=3, head_dim=16), 1),
        case(preset("mini").decoder, 1), case(preset("mini").decoder, 2),
        case(preset("glm_image").decoder, 1), case(preset("glm_image").decoder, 2))
