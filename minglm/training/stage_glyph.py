"""Stage `glyph`: the glyph encoder learns every character by drawing it, before the decoder reads it.

Each byte's feature must draw the cell its image tokens will need (world/lettering.py): a Latin letter, or the
left or the right half of a Chinese character. Every Chinese character comes equally often, not as often as in
texts, because a character is learned by how often it was seen. (Glyph-ByT5, arXiv:2403.09622, likewise aligns
its text encoder with glyphs before a diffusion model uses it.)

Shapes: B strings, each a picture of its own · S glyph tokens · P = 512 pixels of a cell.
"""

from __future__ import annotations

import random
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from minglm.config import Config
from minglm.device import Device
from minglm.model.glyph import GlyphEncoder, collate, gather
from minglm.training.batches import SEEDS, WHOLE
from minglm.training.recipe import Recipe, Stage
from minglm.world.characters import EITHER, NARROW, WIDE, han_characters
from minglm.world.lettering import rasters
from minglm.world.texts import choose_text

LONGEST = 5                                  # random characters of a string
HAN, OTHER = 0.8, 0.1                        # shares of strings; the rest are texts as posters have them


@cache
def deck(number: int) -> str:
    """All Chinese characters in a random order, from which consecutive strings are taken."""
    return "".join(random.Random(f"deck/{number}").sample(han_characters(), len(han_characters())))


def string(index: int) -> str:
    """String number `index`: in as many characters as there are each occurs once."""
    rng, size = random.Random(f"{SEEDS['glyph']}/{index}"), len(han_characters())
    kind = rng.random()
    if kind < HAN:
        at = index * LONGEST
        text = deck(at // size)[at % size:at % size + rng.randint(1, LONGEST)]
        return text if rng.random() < 0.8 else text + rng.choice(WIDE + EITHER + NARROW[1:])
    if kind < HAN + OTHER:
        return "".join(rng.choices(NARROW[1:] + EITHER, k=rng.randint(1, 12)))
    return choose_text(rng, rng.choice(("en", "zh"))).replace("\n", " ")[:16].strip() or "A"


def strings_to_draw(texts: list[str], config: Config, device: Device) -> dict:
    """A batch of strings, what each of their bytes should draw, and the denominator of the loss."""
    data = collate([[text] for text in texts], 8)
    drawn = torch.zeros(*data["index"].shape, config.glyph.raster)
    for row, text in zip(drawn, texts):
        found = torch.from_numpy(rasters([text]))
        row[:len(found)] = found
    data = device.to(dict(rasters=drawn, **data))
    # taken before the batch is divided into parts: see ranks.parts
    return data | dict(sums=dict(cells=(data["rasters"].amax(-1) > 0).sum()))


def drawing(model: GlyphEncoder, features: Tensor, b: dict) -> tuple[Tensor, dict]:
    """Cross-entropy of each cell's pixels, drawn by one linear map from the feature (B, S, D) of its byte."""
    logits, has = model.draw(features).float(), b["rasters"].amax(-1) > 0        # (B, S, P), (B, S)
    error = F.binary_cross_entropy_with_logits(logits, b["rasters"], reduction="none").mean(-1)
    # numbers that tell more than the loss, since the pixels are gray at the edges: error per pixel
    square = (logits.detach().sigmoid() - b["rasters"]).square().mean(-1)
    cells = has.sum().clamp(min=1)
    return (error * has).sum() / b["sums"]["cells"], dict(square=(square * has).sum() / cells)


def glyph_stage(config: Config, device: Device, recipe: Recipe) -> Stage:
    """Strings of characters, encoded and drawn. Raises ValueError for an encoder that does not draw."""
    if not config.glyph.places:
        raise ValueError(
            f"the glyph encoder of config {config.name!r} is of the published kind, without a head that draws"
        )
    model = GlyphEncoder(config.glyph).to(device.device)

    def batch(step: int, share: slice = WHOLE) -> dict:
        texts = [string(step * recipe.batch + i) for i in range(recipe.batch)[share]]
        return strings_to_draw(texts, config, device)

    def loss(b: dict) -> tuple[Tensor, dict]:
        return drawing(model, gather(model(b["ids"], b["mask"], b["places"]), b["index"]), b)

    def hidden(name: str) -> bool:
        return name.startswith("blocks")

    return Stage("glyph", model, batch, loss, recipe, hidden)
