"""The training stages: vae -> tokenizer -> planner and decoder; for each, its batches and its loss.

Shapes: B batch · H, W image size · h, w id grid · S glyph tokens · N image tokens of the decoder.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm import flow, parallel, vae as vae_module, weights
from minglm.batches import SEEDS, WHOLE, alike, batch_size, drawn, generator, pixels, planned, text_bytes
from minglm.captions import corpus
from minglm.config import Config
from minglm.decoder import Decoder
from minglm.device import Device
from minglm.glyph import GlyphEncoder, collate, gather
from minglm.layout import CELL
from minglm.lettering import RASTER, lettering, text_mask
from minglm.planner import Planner
from minglm.posters import draw
from minglm.text import BPE, QUOTED, preview_grid, prompt_ids
from minglm.tokenizer import Alignment, Tokenizer, revise_codes, word_loss
from minglm.train import Recipe, Stage
from minglm.vae import VAE

STAGES = tuple(SEEDS)

RECIPES = {
    "mini": dict(
        vae=Recipe(steps=3000, batch=16, lr=1e-3),
        tokenizer=Recipe(steps=1500, batch=128, lr=1e-3, muon_lr=4e-3),
        planner=Recipe(steps=12_500, batch=32, lr=1e-3, muon_lr=4e-3),
        decoder=Recipe(steps=10_000, batch=32, lr=1e-3, muon_lr=4e-3),
    ),
    "tiny": dict(
        vae=Recipe(steps=200, batch=8, lr=1e-3, warmup=10),
        tokenizer=Recipe(steps=200, batch=32, lr=1e-3, muon_lr=4e-3, warmup=10),
        planner=Recipe(steps=300, batch=32, lr=2e-3, muon_lr=4e-3, warmup=10),
        decoder=Recipe(steps=300, batch=16, lr=2e-3, muon_lr=4e-3, warmup=10),
    ),
}


# ---------------------------------------------------------------- vae

def vae_stage(config: Config, device: Device, recipe: Recipe) -> Stage:
    """Reconstruction of posters; characters count four times."""
    model = VAE(config.vae)
    model.start_from_pca(pixels([draw(0, i) for i in range(512)]))
    model.to(device.device)

    def batch(step: int, share: slice = WHOLE) -> dict:
        height, width = batch_size(step, recipe)
        posters_ = drawn("vae", step, recipe, (height, width), share)
        s, c = config.vae.scale, config.vae.channels
        noise = 0.1 * torch.randn(recipe.batch, c, height // s, width // s,
                                  generator=generator("vae", step))[share]
        return device.to(dict(images=pixels(posters_), weight=1 + 3 * text_mask(posters_), noise=noise))

    return Stage("vae", model, batch, lambda b: vae_module.loss(model, **b), recipe)


# ---------------------------------------------------------------- tokenizer

def unquoted(caption: str) -> str:
    """A caption without the words it quotes: which letters to write is not the ids' business."""
    return QUOTED.sub(lambda match: match[0][0] + match[0][-1], caption)


def word_table(bpe: BPE, captions: list[str]) -> Tensor:
    """(B, vocabulary): 1 where a caption holds a token."""
    table = torch.zeros(len(captions), len(bpe))
    for row, caption in zip(table, captions):
        row[bpe.encode(unquoted(caption))] = 1
    return table


class TokenizerTraining(nn.Module):
    """The tokenizer with the alignment around it, so that one optimiser and one EMA see both."""

    def __init__(self, config: Config):
        super().__init__()
        self.tokenizer = Tokenizer(config.tokenizer)
        self.tokenizer.quantiser.codes.requires_grad_(False)                     # moved by averaging
        self.alignment = Alignment(config.tokenizer, config.planner.vocab - config.planner.vision_vocab)
        self.register_buffer("usage", torch.full((config.tokenizer.codebook,), 0.2))


def tokenizer_stage(config: Config, device: Device, recipe: Recipe, bpe: BPE) -> Stage:
    """Caption alignment + reconstruction through the codes, with codes that follow their features."""
    model = TokenizerTraining(config).to(device.device)
    table = word_table(bpe, [draw(0, i).caption for i in range(2000)])
    rarity = torch.log(2000 / (1 + table.sum(0))).to(device.device)

    seen = []                                # features, ids and chance of the parts of a step

    def batch(step: int, share: slice = WHOLE) -> dict:
        posters_ = drawn("tokenizer", step, recipe, batch_size(step, recipe), share)
        words = word_table(bpe, [p.caption for p in posters_])
        images, weight = pixels(posters_), 1 - 0.7 * text_mask(posters_)
        if step % 4 == 3 and posters_[0].height % 64 == posters_[0].width % 64 == 0:
            images, weight = F.avg_pool2d(images, 2), F.avg_pool2d(weight, 2)    # as previews are
        data = device.to(dict(images=images, words=words, weight=F.avg_pool2d(weight, 2)))
        return data | dict(generator=generator("tokenizer", step))

    def loss(b: dict) -> tuple[Tensor, dict]:
        quantiser = model.tokenizer.quantiser
        z = model.tokenizer.features(b["images"])                                # (B, h, w, E)
        ids = quantiser.nearest(z.detach())
        codes = quantiser.lookup(ids)
        commitment = (1 - (z * codes).sum(-1)).mean()
        scores, reconstruction = model.alignment(z + (codes - z).detach())       # straight through
        words = word_loss(scores, b["words"], rarity)
        error = (reconstruction.float() - F.avg_pool2d(b["images"], 2)).square() * b["weight"]
        if model.training:
            seen.append((z.detach(), ids, b["generator"]))
        value = words + 10 * error.mean() + 0.5 * commitment
        return value, dict(words=words.detach(), pixels=error.mean().detach(), commitment=commitment.detach())

    def after() -> dict:
        """Codes follow the features of the whole batch, whichever part and rank they were found in."""
        z, ids = (parallel.gather(torch.cat(found)) for found in list(zip(*seen))[:2])
        revise_codes(model.tokenizer.quantiser, model.usage, z, ids, seen[0][2])
        parallel.same(model.tokenizer.quantiser.codes, model.usage)              # sums may round by chance on a card
        seen.clear()
        share = model.usage / model.usage.sum()
        return dict(perplexity=torch.exp(-(share * (share + 1e-9).log()).sum()))

    def hidden(name: str) -> bool:
        return "blocks" in name or "alignment.image" in name

    return Stage("tokenizer", model, batch, loss, recipe, hidden, after)


# ---------------------------------------------------------------- planner

def planner_stage(config: Config, device: Device, recipe: Recipe, bpe: BPE,
                  tokenizer: Tokenizer) -> Stage:
    """The next id of preview and large grid, given the caption. The preview's ids are those of the
    shrunken picture."""
    model = Planner(config.planner).to(device.device)
    tokenizer = tokenizer.to(device.device).eval()

    def batch(step: int, share: slice = WHOLE) -> dict:
        posters_ = alike("planner", step, recipe, lambda p: len(p.caption.encode()))[share]
        rows, columns = posters_[0].height // CELL, posters_[0].width // CELL
        grid = preview_grid(rows, columns, config.planner.preview_tokens)
        prompts = [prompt_ids(bpe, p.caption, rows, columns, grid, config.planner.vision_vocab,
                              config.planner.boi) for p in posters_]
        images = pixels(posters_).to(device.device)
        small = F.interpolate(images, (CELL * grid[0], CELL * grid[1]), mode="area")
        with torch.no_grad(), device.autocast():
            return dict(prompts=prompts, preview=tokenizer.encode(small), large=tokenizer.encode(images))

    def hidden(name: str) -> bool:
        return name.startswith("blocks")

    return Stage("planner", model, batch, lambda b: model.loss(**b), recipe, hidden)


# ---------------------------------------------------------------- decoder

ALIGN = 1                                    # the block whose attention is shown where letters are


class DecoderTraining(nn.Module):
    """Decoder and glyph encoder, trained together, and a head that draws letters."""

    def __init__(self, config: Config):
        super().__init__()
        self.decoder = Decoder(config.decoder)
        self.glyph = GlyphEncoder(config.glyph)
        self.draw = nn.Linear(config.glyph.width, RASTER ** 2)


def decoder_stage(config: Config, device: Device, recipe: Recipe, vae: VAE,
                  tokenizer: Tokenizer) -> Stage:
    """Flow matching on latents, given ids and words.

    The ids are not those of the picture itself but of one with some texts misspelt, because a
    planner often has a letter too many or too few: spelling is to be learned from the words, and
    from ids only where they stand and in which colour.

    Two helpers make text learnable in an hour: half the heads of one block are shown where each
    letter stands (the poster world knows), and every byte of the glyph encoder must be able to
    draw its letter. Latents under text count more. Ids and words are dropped now and then, so
    that guidance has an unconditional side.
    """
    model = DecoderTraining(config).to(device.device)
    vae, tokenizer = vae.to(device.device).eval(), tokenizer.to(device.device).eval()
    scale, heads = config.vae.scale, config.decoder.heads // 2

    def batch(step: int, share: slice = WHOLE) -> dict:
        drawn_, g = alike("decoder", step, recipe, text_bytes), generator("decoder", step)
        size = drawn_[0].height, drawn_[0].width
        count, shape = recipe.batch, (recipe.batch, config.vae.channels, size[0] // scale, size[1] // scale)
        kept = torch.rand(count, 2, generator=g)
        without = (kept[:, 0] < 0.1)                                             # no words
        no_prior = torch.where(without, kept[:, 1] < 0.7, kept[:, 1] < 0.04)     # no ids
        rng, noise, u = random.Random(f"plan/{step}"), torch.randn(shape, generator=g), torch.rand(count, generator=g)
        plans = [p if skip else planned(rng, p) for p, skip in zip(drawn_, without.tolist())]
        drawn_, plans, without = drawn_[share], plans[share], without[share]     # so far the whole batch
        shown = [p if not skip else replace(p, regions=()) for p, skip in zip(drawn_, without.tolist())]
        glyphs = collate([[r.text.upper() for r in p.regions] for p in shown])
        align, rasters = lettering(shown, glyphs["index"])
        data = dict(images=pixels(drawn_), plans=pixels(plans), text=F.max_pool2d(text_mask(drawn_), scale),
                    noise=noise[share], u=1 - u[share], keep=~no_prior[share], align=align, rasters=rasters, **glyphs)
        data = device.to(data)
        sums = dict(weight=(1 + 3 * data["text"]).sum(), text=data["text"].sum(), align=data["align"].sum(),
                    drawing=(data["rasters"].amax(-1) > 0).sum())
        with torch.no_grad(), device.autocast():
            images, plans = data.pop("images"), data.pop("plans")
            return data | dict(latents=vae.encode(images).float(), prior=tokenizer.encode(plans), sums=sums)

    def loss(b: dict) -> tuple[Tensor, dict]:
        tokens = b["latents"].shape[2] * b["latents"].shape[3] // config.decoder.patch ** 2
        sigma = flow.shift(b["u"], tokens, config.flow)
        features = gather(model.glyph(b["ids"], b["mask"], b["places"]), b["index"])
        velocity, seen = model.decoder(flow.mix(b["latents"], b["noise"], sigma), 1000 * b["u"] - 1,
                                       b["prior"], features, b["tokens"], b["keep"], watch=ALIGN, heads=heads)
        sums = b["sums"]
        flow_loss = flow.loss(velocity, b["latents"], b["noise"], 1 + 3 * b["text"], sums["weight"])
        text_loss = flow.loss(velocity.detach(), b["latents"], b["noise"], b["text"], sums["text"])
        shown = rearrange(seen.clamp_min(-20), "b (t h) n s -> b t h n s", t=2)
        align = -(b["align"][:, :, None] * shown).sum() / (heads // 2) / sums["align"].clamp_min(1e-6)
        has = b["rasters"].amax(-1) > 0
        drawing = F.binary_cross_entropy_with_logits(model.draw(features).float(), b["rasters"],
                                                     reduction="none").mean(-1)
        drawing = (drawing * has).sum() / sums["drawing"].clamp_min(1e-6)
        value = flow_loss + 0.1 * align + drawing
        return value, dict(flow=flow_loss.detach(), text=text_loss, align=align.detach(),
                           drawing=drawing.detach())

    def hidden(name: str) -> bool:
        return name.startswith("decoder.blocks") and "modulation" not in name

    return Stage("decoder", model, batch, loss, recipe, hidden)


# ---------------------------------------------------------------- from folder to folder

def build(name: str, config: Config, device: Device, recipe: Recipe, folder: Path) -> Stage:
    """The stage called `name`, with what earlier stages left in `folder`.

    Raises ValueError if the name is unknown or an earlier stage has not been trained there.
    """
    if name not in STAGES:
        raise ValueError(f"unknown stage {name!r}: choose one of {', '.join(STAGES)} or all")
    torch.manual_seed(SEEDS[name])
    if name == "vae":
        return vae_stage(config, device, recipe)
    if name == "tokenizer":
        path = folder / "text" / "tokenizer.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            BPE.train(corpus(), config.planner.vocab - config.planner.vision_vocab).save(path)
        return tokenizer_stage(config, device, recipe, BPE.load(path))
    tokenizer = weights.load_part(folder, "tokenizer", config)
    if name == "planner":
        return planner_stage(config, device, recipe, weights.load_text(folder), tokenizer)
    return decoder_stage(config, device, recipe, weights.load_part(folder, "vae", config), tokenizer)


def finish(stage: Stage, config: Config, folder: Path) -> None:
    """Write what `stage` has trained as weights that a pipeline, and the next stages, can load."""
    model, name = stage.model, stage.name
    if name == "vae":
        model.normalise(pixels([draw(0, i) for i in range(512)]).to(model.mean.device))
    if name in ("vae", "planner"):
        parts = {name: model}
    elif name == "tokenizer":
        parts = {name: model.tokenizer}
    else:
        parts = {name: model.decoder, "glyph": model.glyph}
    for part, module in parts.items():
        weights.save_part(folder, part, module, config)
    weights.save_config(folder, config)
