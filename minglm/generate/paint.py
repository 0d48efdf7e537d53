"""How the decoder is asked: noise, the glyph tokens of each picture, and the guided velocity.

Shapes: B pictures · C latent channels · h, w id grid (latents are 4 h x 4 w) · S glyph tokens · D features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minglm.model import flow
from minglm.model.decoder import Decoder, Memory
from minglm.model.glyph import GlyphEncoder, collate, gather

Velocity = Callable[[Tensor, float], Tensor]
Glyphs = tuple[Tensor, Tensor | None]        # tokens (B, S, D), and which are no padding (B, S); None: all


def dtype_of(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def generator(seed: int) -> torch.Generator:
    """A source of random numbers on the CPU, so that all devices meet the same ones."""
    return torch.Generator("cpu").manual_seed(seed)


def noise(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Normal noise, whatever the process takes for its default device and dtype."""
    return torch.randn(shape, generator=source, device="cpu", dtype=torch.float32)


def glyphs(encoder: GlyphEncoder, texts: list[list[str]]) -> Glyphs:
    """Glyph tokens of the texts of each picture."""
    device = encoder.embed.weight.device
    g = {name: value.to(device) for name, value in collate(texts).items()}
    return gather(encoder(g["ids"], g["mask"], g["places"]), g["index"]), g["tokens"]


def velocity(decoder: Decoder, encoder: GlyphEncoder, texts: list[list[str]], plan: Tensor, guidance: float,
             memory: list[list[Memory]] | None = None) -> Velocity:
    """The guided velocity of latents (B, C, 4 h, 4 w) at a time, given texts and ids (B, h, w).

    Both branches of the guidance go through the decoder in one pass, unless one of them sees source images:
    memory, per picture.
    """
    batch, device, dtype, guided = len(texts), plan.device, dtype_of(decoder), guidance != 1
    if memory is not None:
        return in_two_passes(decoder, glyphs(encoder, texts), glyphs(encoder, [[]] * batch), plan, guidance, memory)
    features, tokens = glyphs(encoder, [*texts, *([[]] * batch if guided else [])])
    ids = torch.cat([plan, plan]) if guided else plan
    keep = torch.arange(len(ids), device=device) < batch                         # the second half is unconditional

    def at(latents: Tensor, time: float) -> Tensor:
        times = torch.full((1,), time, device=device)                            # the same for all, so told once
        x = (torch.cat([latents, latents]) if guided else latents).to(dtype)
        v = decoder(x, times, ids, features, tokens, keep).float()
        return flow.guide(*v.chunk(2), guidance) if guided else v

    return at


def in_two_passes(decoder: Decoder, words: Glyphs, nothing: Glyphs, plan: Tensor, guidance: float,
                  memory: list[list[Memory]] | None = None) -> Velocity:
    """The same with one pass with words, ids and source images, and one without any; guidance 1: no second."""
    batch, device, dtype = len(plan), plan.device, dtype_of(decoder)
    drop = torch.zeros(batch, dtype=torch.bool, device=device)

    def at(latents: Tensor, time: float) -> Tensor:
        x, times = latents.to(dtype), torch.full((batch,), time, device=device)
        if memory is None:
            v = decoder(x, times, plan, *words).float()
        else:  # source images differ in number and size, so picture by picture
            rows = [[None if t is None else t[i:i + 1] for t in (x, times, plan, *words)] for i in range(batch)]
            v = torch.cat([decoder(*row, memory=seen) for row, seen in zip(rows, memory)]).float()
        if guidance == 1:
            return v
        return flow.guide(v, decoder(x, times, plan, *nothing, drop).float(), guidance)

    return at
