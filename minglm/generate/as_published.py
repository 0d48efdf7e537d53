"""What the published code does otherwise than it should, for `compat="hf"`: pixel by pixel the same.

    published (transformers 5.24, diffusers 0.42)             here, by default
    any two apostrophes quote; texts by kind of quote         apostrophes do not; in order of the prompt
    an even number of texts: each gets an attended pad        no pads
    glyph tokens of a batch filled up with seen zeros         filled-up tokens are masked
    one generator for a batch; ids of the planner shared      one seed per picture, each has its own ids
    top-k 50 whether asked for or not                         no top-k
    specials in a prompt (<sop>, ...) are obeyed              they are text
    guidance below 1 is none                                  it is used
    sources of some sizes fail late                           they are resized

What needs no switch, because nobody depends on it: widths that are no multiple of 32 are cut, ids
beyond the codes can be drawn, the decoder's attention mask is added instead of applied, and editing
fails with transformers 5.24.

Shapes: B pictures · S glyph tokens · D features.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor

from minglm.glyph import GlyphEncoder
from minglm.text import glyph_ids

TOP_K = 50                                   # generate()'s own, where none is configured
LONGEST = 2048                               # bytes of a text, its end included
QUOTES = (r"'([^']*)'", r"“([^“”]*)”", r'"([^"]*)"', r"「([^「」]*)」")


def quoted(prompt: str) -> list[str]:
    """The texts of a prompt as GlmImagePipeline.get_glyph_texts finds them."""
    return [text for quotes in QUOTES for text in re.findall(quotes, prompt)]


def glyphs(encoder: GlyphEncoder, pictures: list[list[str]]) -> Tensor:
    """Glyph tokens (B, S, D) of the texts of each picture, shorter ones filled up with zeros on the left.

    Mirrors GlmImagePipeline._get_glyph_embeds.
    """
    out, device = [], encoder.embed.weight.device
    for texts in pictures:
        texts = texts or [""]
        pad = [0] * (len(texts) % 2 == 0)                                        # meant for odd lengths of ids
        rows = [pad + row[:-1][:LONGEST - 1] + row[-1:] for row in glyph_ids(texts)]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        mask = torch.arange(longest, device=device) < torch.tensor([len(row) for row in rows], device=device)[:, None]
        out.append(encoder(ids, mask)[mask])                                     # (S, D)
    most = max(map(len, out))
    return torch.stack([F.pad(tokens, (0, 0, most - len(tokens), 0)) for tokens in out])
