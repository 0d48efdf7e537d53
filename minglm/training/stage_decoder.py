"""Stage `decoder`: flow matching on latents, given ids and words.

Stage `decoder-large` is the same on canvases of many sizes, from the weights of stage `decoder`;
`decoder-letters` follows it, with plans in which nine texts in ten are misspelt; `decoder-lines` adds a
block, for posters of several lines; `decoder-wide`, after stage glyph-order, shows more large posters, full
lines, and Chinese lines with digits and letters among the characters; `decoder-planned` shows plans that the
planner guesses; in `decoder-objects` an id is heard together with its neighbours, and objects are more
frequent; `decoder-fine` shows more of those that are thin, and more long lines.

Shapes: B batch · H heads · S glyph tokens · N image tokens of the decoder.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import Config, DecoderConfig
from minglm.device import Device
from minglm.model import flow
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder, collate, gather
from minglm.model.memory import dealt, moved
from minglm.model.tokenizer import Tokenizer
from minglm.model.vae import VAE
from minglm.training.batches import GUESSED, MISSPELT, WHOLE, alike, generator, pixels, planned, text_bytes
from minglm.training.guessed import Guess
from minglm.training.recipe import Recipe, Stage
from minglm.training.references import FOLLOWED, references
from minglm.world.carried import carried
from minglm.world.layout import CELL
from minglm.world.lettering import lettering
from minglm.world.masks import object_mask, text_mask
from minglm.world.posters import Poster
from minglm.world.scenes import Edit


class DecoderTraining(nn.Module):
    """Decoder and glyph encoder, trained together, and a head that is needed in training only."""

    def __init__(self, decoder: Decoder, glyph: GlyphEncoder):
        super().__init__()
        self.decoder, self.glyph = decoder, glyph
        config = decoder.config
        self.patch = nn.Linear(config.width, config.channels * config.patch ** 2)


@torch.no_grad()
def begin(config: Config, tokenizer: Tokenizer) -> Decoder:
    """A new decoder in which ids of similar codes have similar embeddings: most ids are rare, and what is
    learned of one then holds for its neighbours."""
    decoder, codes = Decoder(config.decoder), tokenizer.quantiser.codes.cpu()    # (K, E)
    spread = codes @ torch.randn(codes.shape[1], config.decoder.width)           # (K, D)
    decoder.prior.weight.copy_(0.5 * spread / spread.std())
    return decoder


def free(shown: Poster | Edit) -> Tensor:
    """(h, w) bool: the cells whose ids a planner has to find; of an edit, where anything may change."""
    if not isinstance(shown, Edit):
        return torch.ones(shown.height // CELL, shown.width // CELL, dtype=torch.bool)
    return torch.from_numpy(shown.cells)


def deepened(decoder: Decoder, config: DecoderConfig) -> Decoder:
    """The decoder with what `config` has more: blocks before the aligned one, whose gates are zero, and the
    neighbours of ids, of which nothing is heard at first. So it paints as before until they have learned
    something (as in Net2DeeperNet, arXiv 1511.05641).

    Raises ValueError if it has more than `config`.
    """
    more = config.depth - len(decoder.blocks)
    if more < 0:
        raise ValueError(f"the decoder there has {len(decoder.blocks)} blocks, this stage trains "
                         f"{config.depth}: choose another folder with --out")
    if decoder.config.neighbours and not config.neighbours:
        raise ValueError("the decoder there hears ids with their neighbours, as this stage does not: choose "
                         "another folder with --out")
    made = Decoder(config)
    if not decoder.config.neighbours:
        decoder.near = made.near
    new, at = made.blocks[:more], config.aligned - more
    decoder.blocks, decoder.config = nn.ModuleList([*decoder.blocks[:at], *new, *decoder.blocks[at:]]), config
    return decoder


def alignment(seen: Tensor, align: Tensor, total: Tensor) -> Tensor:
    """Cross-entropy between where letters are and what attention says: half of the heads learn the upper
    halves of letters, half of them the lower ones.

    seen (B, H, N, S): log attention weights from image tokens to glyph tokens; align (B, 2, N, S): the token
    that each should attend to, see `lettering`; total: the sum of align over the whole batch.
    """
    shown = rearrange(seen.clamp_min(-20), "b (t h) n s -> b t h n s", t=2)
    return -(align[:, :, None] * shown).sum() / shown.shape[2] / total.clamp_min(1e-6)


def decoder_stage(name: str, config: Config, device: Device, recipe: Recipe, vae: VAE, tokenizer: Tokenizer,
                  glyph: GlyphEncoder, decoder: Decoder | None = None,
                  samples: Callable[[int], list] | None = None,
                  guess: Guess | None = None) -> Stage:
    """Flow matching on latents, given ids and words; from the weights of an earlier stage, or a new decoder.

    The ids are not those of the picture itself but of one with some texts misspelt, because planners often
    add or omit a letter: the decoder should learn spelling from the words, only position and colour from ids.

    Three auxiliary losses make letters and objects learnable in hours: the attention of one block is
    supervised with the positions of the letters, which the poster world knows; every glyph token must draw
    its letter, as in stage `glyph`; and every id must draw its patches, as far as it knows them. Latents
    under text and objects have larger weights. Ids and words are dropped at random, for the unconditional
    branch of guidance.

    samples: what stage `name` is shown at a step; None: posters. Of an edit the decoder may write what the
    instruction quotes, and attends to the sources, which are dropped together with words and ids. A share
    FOLLOWED of the edits is told what of them goes where, as of instructions that are understood.

    guess: gives the ids of some of the plans, a share GUESSED of them, see guessed.py; of an edit only where
    the target may differ from its first source, and of none that changes the style.
    """
    # it takes more than one block to find out which of several lines an image token belongs to, so the new
    # one comes before that which looks for the letters
    decoder = deepened(decoder, config.decoder) if decoder else begin(config, tokenizer)
    model = DecoderTraining(decoder, glyph).to(device.device).requires_grad_(True)
    vae, tokenizer = vae.to(device.device).eval(), tokenizer.to(device.device).eval()
    scale, heads, patch = config.vae.scale, config.decoder.heads, config.decoder.patch
    wrong = MISSPELT.get(name, ())

    def batch(step: int, share: slice = WHOLE) -> dict:
        # posters and random numbers for the whole batch, whatever `share` is
        given = samples(step) if samples else alike(name, step, recipe, text_bytes)
        drawn_ = [one.target if isinstance(one, Edit) else one for one in given]
        g = generator(name, step)
        size = drawn_[0].height, drawn_[0].width
        count, shape = recipe.batch, (recipe.batch, config.vae.channels,
                                      size[0] // scale, size[1] // scale)
        kept = torch.rand(count, 2, generator=g)
        without = (kept[:, 0] < 0.1)                                             # no words
        no_prior = torch.where(without, kept[:, 1] < 0.7, kept[:, 1] < 0.04)     # no ids
        rng, noise, u = (random.Random(f"plan/{name}/{step}"), torch.randn(shape, generator=g),
                         torch.rand(count, generator=g))
        plans = [p if skip else planned(rng, p, *wrong) for p, skip in zip(drawn_, without.tolist())]
        chance = torch.rand(count, size[0] // CELL, size[1] // CELL, generator=g)
        guessed = ~without & (torch.rand(count, generator=g) < GUESSED)
        guessed &= torch.tensor([not (isinstance(one, Edit) and one.target.style) for one in given])
        followed = [rng.random() < FOLLOWED and isinstance(one, Edit) for one in given]
        # from here on only this rank's samples
        which = guessed[share].nonzero()[:, 0].tolist()
        given, drawn_, plans, without = given[share], drawn_[share], plans[share], without[share]
        shown = [one if not skip else one.without_texts() for one, skip in zip(given, without.tolist())]
        nothing = (without & no_prior[share]).tolist()
        sources = references([one.sources if isinstance(one, Edit) and not bare else ()
                              for one, bare in zip(given, nothing)], patch * scale,
                             [carried(one, patch * scale) if follow and not bare else None
                              for one, follow, bare in zip(given, followed[share], nothing)])
        glyphs = collate([p.strings for p in shown], 8)
        align, rasters = lettering(shown, glyphs["index"])
        text, objects = (F.max_pool2d(mask(drawn_), scale) for mask in (text_mask, object_mask))
        data = dict(images=pixels(drawn_), plans=pixels(plans), text=text, weight=1 + 3 * text + 3 * objects,
                    noise=noise[share], u=1 - u[share], keep=~no_prior[share], align=align, rasters=rasters,
                    **glyphs)
        if sources:
            data |= dict(where=sources.where, memory_mask=sources.mask, shift=sources.shift)
        data = device.to(data)
        # the denominators of the losses, taken before the batch is divided into parts
        sums = dict(weight=data["weight"].sum(), text=data["text"].sum(), align=data["align"].sum(),
                    drawing=(data["rasters"].amax(-1) > 0).sum())
        with torch.no_grad(), device.autocast():
            images, plans = data.pop("images"), data.pop("plans")
            data |= dict(latents=vae.encode(images).float(), prior=tokenizer.encode(plans), sums=sums)
            if guess and which:
                # in full precision: what is sampled should not depend on the device
                with device.full_precision():
                    ids = guess([drawn_[i].caption for i in which], plans[which], chance[share][which])
                may = torch.stack([free(given[i]) for i in which]).to(ids.device)
                data["prior"][which] = ids.where(may, data["prior"][which])
            if sources:
                read = [pictures.to(device.device) for pictures in sources.images]
                data["sources"] = tuple((vae.encode(some).float(), tokenizer.encode(some)) for some in read)
            return data

    def loss(b: dict) -> tuple[Tensor, dict]:
        # flow matching: predict noise - data from their mixture at noise level sigma
        tokens = b["latents"].shape[2] * b["latents"].shape[3] // config.decoder.patch ** 2
        sigma = flow.shift(b["u"], tokens, config.flow)
        features = gather(model.glyph(b["ids"], b["mask"], b["places"]), b["index"])
        memory = None
        if "sources" in b:
            kept = [model.decoder.remember(latents, ids) for latents, ids in b["sources"]]
            memory = [moved(dealt(kept, b["where"]), b["shift"], config.decoder)]
        velocity, seen = model.decoder.watch(flow.mix(b["latents"], b["noise"], sigma), 1000 * b["u"] - 1,
                                             b["prior"], features, b["tokens"], b["keep"], memory,
                                             b.get("memory_mask"),
                                             block=config.decoder.aligned, heads=heads)
        sums = b["sums"]
        flow_loss = flow.loss(velocity, b["latents"], b["noise"], b["weight"], sums["weight"])
        text_loss = flow.loss(velocity.detach(), b["latents"], b["noise"], b["text"], sums["text"])
        align = alignment(seen, b["align"], sums["align"])
        # rasters: not for end tokens and padding, which have none
        has = b["rasters"].amax(-1) > 0
        drawing = F.binary_cross_entropy_with_logits(model.glyph.draw(features).float(), b["rasters"],
                                                     reduction="none").mean(-1)
        drawing = (drawing * has).sum() / sums["drawing"].clamp_min(1e-6)
        # ids: what they tell a token is enough to draw its patch, as far as the id knows it
        patches = rearrange(model.patch(model.decoder.heard(b["prior"])),
                            "b (h w) (c p q) -> b c (h p) (w q)", h=b["latents"].shape[2] // patch, p=patch,
                            q=patch)
        ids = (patches.float() - b["latents"]).square().mean(1, keepdim=True)
        ids = (ids * b["weight"]).sum() / sums["weight"]
        value = flow_loss + 0.1 * align + drawing + ids
        return value, dict(flow=flow_loss.detach(), text=text_loss, align=align.detach(),
                           drawing=drawing.detach(), ids=ids.detach())

    def hidden(name: str) -> bool:
        return name.startswith("decoder.blocks") and "modulation" not in name

    # a checkpoint of an encoder that reads other ids is refused
    called = f"{name}, bytes in order" if glyph.config.order else name
    return Stage(called, model, batch, loss, recipe, hidden, rare=lambda name: name == "decoder.prior.weight")
