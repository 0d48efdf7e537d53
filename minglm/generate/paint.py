"""How the decoder is asked: noise, the glyph tokens of each picture, and the guided velocity.

Shapes: B pictures · C latent channels · h, w id grid (latents are 4 h x 4 w) · S glyph tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minglm import compat as published, flow
from minglm.decoder import Decoder, Memory
from minglm.glyph import GlyphEncoder, collate, gather

Velocity = Callable[[Tensor, float], Tensor]


def dtype_of(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def repeat(items: list, count: int) -> list:
    """Each item `count` times, one behind the other."""
    return [item for item in items for _ in range(count)]


def generators(seed: int | list[int], planner_seed: int | None, count: int, compat: str | None = None
               ) -> tuple[Callable[[tuple], Tensor], list[torch.Generator] | torch.Generator]:
    """Where chance comes from: the noise of `count` pictures as a function of one's shape, and the
    planner's generators; always on the CPU, so that all devices meet the same chance.

    The published code has one generator for all pictures, or one each, whose first seeds the planner.
    Raises ValueError for a list of seeds that is not as long as there are pictures.
    """
    many = isinstance(seed, list | tuple)
    seeds = list(seed) if many else [seed + i for i in range(count)]
    if len(seeds) != count:
        raise ValueError(f"{len(seeds)} seeds for {count} pictures")

    def noise(shape: tuple) -> Tensor:
        if compat == "hf" and not many:
            return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])

    if compat == "hf":
        return noise, torch.Generator().manual_seed(seeds[0] if planner_seed is None else planner_seed)
    planners = seeds if planner_seed is None else [planner_seed + i for i in range(count)]
    return noise, [torch.Generator().manual_seed(s) for s in planners]


def glyphs(encoder: GlyphEncoder, texts: list[list[str]]) -> tuple[Tensor, Tensor]:
    """Glyph tokens (B, S, D) of the texts of each picture, and which are tokens, (B, S)."""
    device = encoder.embed.weight.device
    g = {name: value.to(device) for name, value in collate(texts).items()}
    return gather(encoder(g["ids"], g["mask"], g["places"]), g["index"]), g["tokens"]


def velocity(decoder: Decoder, encoder: GlyphEncoder, texts: list[list[str]], plan: Tensor, guidance: float,
             memory: list[list[Memory]] | None = None, compat: str | None = None) -> Velocity:
    """The guided velocity of latents (B, C, 4 h, 4 w) at a time, given texts and ids (B, h, w).

    Both branches go through the decoder in one pass, unless one of them sees source images (memory, per
    picture), or glyph tokens must not be filled up to one length (compat="hf").
    """
    batch, device, dtype = len(texts), plan.device, dtype_of(decoder)
    guided = guidance > 1 if compat == "hf" else guidance != 1
    if memory is not None or compat == "hf":
        return velocity_apart(decoder, encoder, texts, plan, guidance if guided else 1, memory, compat)
    features, tokens = glyphs(encoder, [*texts, *([[]] * batch if guided else [])])
    ids = torch.cat([plan, plan]) if guided else plan
    keep = torch.arange(len(ids), device=device) < batch

    def of(latents: Tensor, time: float) -> Tensor:
        times = torch.full((1,), time, device=device)                            # the same for all, so told once
        x = (torch.cat([latents, latents]) if guided else latents).to(dtype)
        v = decoder(x, times, ids, features, tokens, keep).float()
        return flow.guide(*v.chunk(2), guidance) if guided else v

    return of


def velocity_apart(decoder: Decoder, encoder: GlyphEncoder, texts: list[list[str]], plan: Tensor, guidance: float,
                   memory: list[list[Memory]] | None, compat: str | None) -> Velocity:
    """The same with one pass with words, ids and source images, and one without any; guidance 1: no second."""
    batch, dtype = len(texts), dtype_of(decoder)
    words, nothing = ((published.glyphs(encoder, some), None) if compat == "hf" else glyphs(encoder, some)
                      for some in (texts, [[]] * batch))
    drop = torch.zeros(batch, dtype=torch.bool, device=plan.device)

    def of(latents: Tensor, time: float) -> Tensor:
        x, times = latents.to(dtype), torch.full((batch,), time, device=plan.device)
        if memory is None:
            v = decoder(x, times, plan, *words).float()
        else:  # source images differ in number and size, so picture by picture
            rows = [[None if t is None else t[i:i + 1] for t in (x, times, plan, *words)] for i in range(batch)]
            v = torch.cat([decoder(*row, memory=seen) for row, seen in zip(rows, memory)]).float()
        if guidance == 1:
            return v
        return flow.guide(v, decoder(x, times, plan, *nothing, drop).float(), guidance)

    return of
