"""What the decoder is called with: noise, the glyph tokens of each picture, and guidance.

Shapes: B pictures · C latent channels · h, w id grid (latents are 4 h x 4 w) · S glyph tokens · D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minglm.model import flow
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder, collate, gather
from minglm.model.memory import Memory

Velocity = Callable[[Tensor, float], Tensor]
Glyphs = tuple[Tensor, Tensor | None]        # tokens (B, S, D), and (B, S), False = padding; None: no padding


def dtype_of(module: nn.Module) -> torch.dtype:
    return next(chain(module.parameters(), module.buffers())).dtype  # of a frozen copy all are buffers


def generator(seed: int) -> torch.Generator:
    """A random generator on the CPU, so that all devices get the same numbers."""
    return torch.Generator("cpu").manual_seed(seed)


def noise(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Standard normal noise in float32 on the CPU, whatever the default device and dtype are."""
    return torch.randn(shape, generator=source, device="cpu", dtype=torch.float32)


def glyphs(encoder: GlyphEncoder, texts: list[list[str]]) -> Glyphs:
    """The glyph tokens of the texts of each picture."""
    device = encoder.embed.weight.device
    g = {name: value.to(device) for name, value in collate(texts).items()}
    return gather(encoder(g["ids"], g["mask"], g["places"]), g["index"]), g["tokens"]


def velocity(decoder: Decoder, encoder: GlyphEncoder, texts: list[list[str]], plan: Tensor, guidance: float,
             memory: list[list[Memory]] | None = None) -> Velocity:
    """A function (latents (B, C, 4 h, 4 w), time) -> guided velocity, given texts and ids (B, h, w).

    Both branches of the guidance go through the decoder in one pass, unless there are source images: memory,
    per picture, which only the conditional branch attends to.
    """
    batch, device, dtype, guided = len(texts), plan.device, dtype_of(decoder), guidance != 1
    if memory is not None:
        return in_two_passes(decoder, glyphs(encoder, texts), glyphs(encoder, [[]] * batch), plan, guidance,
                             memory)
    # the unconditional branch has neither texts nor ids; they do not change with time: encoded once
    features, tokens = glyphs(encoder, [*texts, *([[]] * batch if guided else [])])
    ids = torch.cat([plan, plan]) if guided else plan
    keep = torch.arange(len(ids), device=device) < batch                    # the second half is unconditional

    def at(latents: Tensor, time: float) -> Tensor:
        times = torch.full((1,), time, device=device)                           # one time for the whole batch
        x = (torch.cat([latents, latents]) if guided else latents).to(dtype)
        v = decoder(x, times, ids, features, tokens, keep).float()
        return flow.guide(*v.chunk(2), guidance) if guided else v

    return at


def in_two_passes(decoder: Decoder, words: Glyphs, nothing: Glyphs, plan: Tensor, guidance: float,
                  memory: list[list[Memory]] | None = None) -> Velocity:
    """`velocity` in two passes, with words, ids and source images, and without; guidance 1: only the
    first."""
    batch, device, dtype = len(plan), plan.device, dtype_of(decoder)
    drop = torch.zeros(batch, dtype=torch.bool, device=device)

    def at(latents: Tensor, time: float) -> Tensor:
        x, times = latents.to(dtype), torch.full((batch,), time, device=device)
        if memory is None:
            v = decoder(x, times, plan, *words).float()
        else:  # source images differ in number and size, so one picture at a time
            rows = [[None if t is None else t[i:i + 1] for t in (x, times, plan, *words)]
                    for i in range(batch)]
            v = torch.cat([decoder(*row, memory=seen) for row, seen in zip(rows, memory)]).float()
        if guidance == 1:
            return v
        return flow.guide(v, decoder(x, times, plan, *nothing, drop).float(), guidance)

    return at


def denoise(velocity: Velocity, latents: Tensor, times: list[float], sigmas: list[float],
            progress: bool = False, on_step: Callable[[int, Tensor], None] | None = None,
            begun: Sequence[Tensor] = ()) -> Tensor:
    """From noise to latents (B, C, 4 h, 4 w), by Euler's steps; on_step(i, latents) is called after each.
    begun: the latents after the first steps, if these are done."""
    done = len(begun)
    rest = flow.sample(velocity, begun[-1] if done else latents, times[done:], sigmas[done:])
    with tqdm(total=len(times), desc="painting", unit="step", disable=not progress, leave=False) as bar:
        for i, latents in enumerate(chain(begun, rest)):
            bar.update()
            if on_step:
                on_step(i, latents)
    return latents
