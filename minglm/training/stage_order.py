"""Stage `glyph-order`: the glyph encoder learns to tell apart characters that have the same bytes.

A Chinese character has three bytes, and one in six has the bytes of another, the last two swapped: 台
(E5 8F B0) and 小 (E5 B0 8F). The encoder of the stages before drew such characters ten times worse than
others, partly blended with their twins, and the decoder wrote one for the other, or something between them.
Here the third byte gets ids of its own (`ordered` in model/glyph.py), and half of the strings are of such
characters. The features of all others should stay as they are, since the decoder reads them already; stage
`decoder-wide` then trains both.

Shapes: B strings, each a picture of its own · S glyph tokens · D width.
"""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch import Tensor, nn

from minglm.config import Config
from minglm.device import Device
from minglm.model.glyph import FOLLOWING, THIRD, GlyphEncoder, gather
from minglm.training.batches import SEEDS, WHOLE, generator
from minglm.training.grpo import frozen
from minglm.training.recipe import Recipe, Stage
from minglm.training.stage_glyph import LONGEST, drawing, string, strings_to_draw
from minglm.world.characters import confusable

APART = 0.5                                  # how far the new ids begin from those of the second byte
KEEP = 0.2                                   # the weight of the drift of features that should not change


class Ordering(nn.Module):
    """The encoder that learns, and a copy of it as it was, which checkpoints hold, too."""

    def __init__(self, encoder: GlyphEncoder):
        super().__init__()
        self.glyph, self.before = encoder, frozen(encoder)


def string_of_order(index: int) -> str:
    """String number `index`: every other one is of confusable characters, the rest are stage glyph's."""
    if index % 2:
        return string(index)
    rng = random.Random(f"{SEEDS['glyph-order']}/{index}")
    return "".join(rng.choices(confusable(), k=rng.randint(1, LONGEST)))


@torch.no_grad()
def add_third_ids(encoder: GlyphEncoder, g: torch.Generator) -> None:
    """Embeddings of third bytes: near those of second bytes, so that other characters are still known, but
    not the same, or the two would separate only slowly."""
    table = encoder.embed.weight
    second = table[FOLLOWING.start:FOLLOWING.stop]                               # (64, D)
    new = torch.randn(second.shape, generator=g).to(second) * second.std()
    table[FOLLOWING.start + THIRD:FOLLOWING.stop + THIRD] = (1 - APART ** 2) ** 0.5 * second + APART * new
    encoder.config = replace(encoder.config, order=True)


def glyph_order_stage(config: Config, device: Device, recipe: Recipe, encoder: GlyphEncoder) -> Stage:
    """From `encoder`, which has no ids for third bytes, to one that has; if it has them, it is trained on."""
    # a checkpoint of the one is refused by the other: it would be compared with another `before`
    name = "glyph-order, again" if encoder.config.order else "glyph-order"
    model = Ordering(encoder).to(device.device)
    if not encoder.config.order:
        add_third_ids(encoder, generator("glyph-order", 0))
    encoder.requires_grad_(True)

    def batch(step: int, share: slice = WHOLE) -> dict:
        texts = [string_of_order(step * recipe.batch + i) for i in range(recipe.batch)[share]]
        data = strings_to_draw(texts, config, device)
        same = torch.zeros(data["index"].shape)
        for row, text in zip(same, texts):
            kept = [c not in confusable() for c in text for _ in c.encode()]
            row[:len(kept) + 1] = torch.tensor([*kept, True])                    # and the end
        data |= device.to(dict(same=same))
        data["sums"]["same"] = data["same"].sum()
        with torch.no_grad(), device.autocast():
            before = model.before(data["ids"], data["mask"], data["places"])
            return data | dict(before=gather(before, data["index"]).float())

    def loss(b: dict) -> tuple[Tensor, dict]:
        features = gather(model.glyph(b["ids"], b["mask"], b["places"]), b["index"])          # (B, S, D)
        error, stats = drawing(model.glyph, features, b)
        drift = (features.float() - b["before"]).square().mean(-1)               # (B, S)
        drift = (drift * b["same"]).sum() / b["sums"]["same"].clamp(min=1)
        return error + KEEP * drift, stats | dict(drift=drift.detach())

    return Stage(name, model, batch, loss, recipe, lambda name: name.startswith("glyph.blocks"))
