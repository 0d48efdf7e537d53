"""The published pipeline's behaviour, quirks included, pixel by pixel: `PublishedPipeline`.

    published (transformers 5.24, diffusers 0.42)             Pipeline
    any two apostrophes quote; texts by kind of quote         apostrophes do not; in order of the prompt
    an even number of texts: each gets an attended pad        no pads
    a batch's glyph tokens: zero padding is attended to       padding is masked
    one generator for a batch; ids of the planner shared      one seed per picture, each has its own ids
    top-k 50 by default                                       no top-k
    specials in a prompt (<sop>, ...) are recognised          they are text
    guidance below 1 is ignored                               it is used
    sources of some sizes fail late                           they are resized

Not reproduced, because nothing depends on it: widths that are not a multiple of 32 are truncated, ids beyond
the codes can be sampled, the decoder's attention mask is added to the logits instead of masking them, and
editing fails with transformers 5.24.

Shapes: B pictures · S glyph tokens · D features.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from minglm.config import Config
from minglm.device import Device
from minglm.generate import paint, sources
from minglm.generate.pipeline import Pipeline
from minglm.model.bpe import BPE
from minglm.model.glyph import GlyphEncoder, glyph_ids
from minglm.model.memory import Memory

TOP_K = 50                                   # the default of generate()
LONGEST = 2048                               # bytes of a text, its end included
QUOTES = (r"'([^']*)'", r"“([^“”]*)”", r'"([^"]*)"', r"「([^「」]*)」")


class PublishedPipeline(Pipeline):
    """`Pipeline` with the published code's quirks. Raises ValueError for weights that are not of its kind."""

    specials = True

    def __init__(self, config: Config, bpe: BPE, parts: dict, device: Device):
        if config.unpublished:
            raise ValueError(f"the {config.name} weights are not of the published kind "
                             f"({', '.join(config.unpublished)}): use Pipeline")
        super().__init__(config, bpe, parts, device)

    def quoted(self, prompt: str) -> list[str]:
        return quoted(prompt)

    def noise(self, seed: int | list[int], count: int, shape: tuple[int, ...]) -> Tensor:
        """One generator for all pictures, or one each."""
        if isinstance(seed, list):
            return super().noise(seed, count, shape)
        return paint.noise((count, *shape), paint.generator(seed))

    def plans(self, prompts: list[str], each: int, rows: int, columns: int, seed: int | list[int],
              read: list[list[sources.Source]], **how) -> tuple[Tensor, Tensor]:
        """The pictures of a prompt share its ids, and one generator samples the ids of all prompts."""
        source = paint.generator(seed[0] if isinstance(seed, list) else seed)
        how["top_k"] = TOP_K if how["top_k"] is None else how["top_k"]
        preview, plan = self.plan(prompts[::each], rows, columns, source, read, **how)
        return preview.repeat_interleave(each, 0), plan.repeat_interleave(each, 0)

    def fit(self, image: Image.Image) -> Image.Image:
        """The published code resizes for the tokenizer and the VAE separately, and fails late if the results
        differ; here such an image raises ValueError at once."""
        size = tuple(2 * side for side in sources.half_size(image.height, image.width,
                                                            self.config.tokenizer.sides))
        cell = sources.HALF_CELL
        floored = image.height // cell * cell, image.width // cell * cell
        if floored != size:
            raise ValueError(f"an image of {image.height}x{image.width} has ids for {size[0]}x{size[1]} "
                             f"pixels but latents for {floored[0]}x{floored[1]}: "
                             "the published code cannot edit it")
        return super().fit(image)

    def velocity(self, texts: list[list[str]], plan: Tensor, guidance: float,
                 memory: list[list[Memory]] | None = None) -> paint.Velocity:
        # no masks (None), and the unconditional branch is encoded apart
        words, nothing = (glyphs(self.glyph, some) for some in (texts, [[]] * len(texts)))
        guidance = guidance if guidance > 1 else 1
        return paint.in_two_passes(self.decoder, (words, None), (nothing, None), plan, guidance, memory)


def quoted(prompt: str) -> list[str]:
    """The texts of a prompt as GlmImagePipeline.get_glyph_texts finds them."""
    return [text for quotes in QUOTES for text in re.findall(quotes, prompt)]


def glyphs(encoder: GlyphEncoder, pictures: list[list[str]]) -> Tensor:
    """Glyph tokens (B, S, D) of the texts of each picture, shorter ones padded with zeros on the left.

    Mirrors GlmImagePipeline._get_glyph_embeds.
    """
    out, device = [], encoder.embed.weight.device
    for texts in pictures:
        texts = texts or [""]
        pad = [0] * (len(texts) % 2 == 0)        # published: the parity of the number of texts, not of ids
        rows = [pad + row[:-1][:LONGEST - 1] + row[-1:] for row in glyph_ids(texts)]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]
        out.append(encoder(ids, mask)[mask])                                     # (S, D)
    # zeros on the left, which the published decoder attends to, since it gets no mask
    most = max(map(len, out))
    return torch.stack([F.pad(tokens, (0, 0, most - len(tokens), 0)) for tokens in out])
