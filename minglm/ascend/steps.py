"""The losses of full-size training steps, without data: for fake tensors, which have shapes only.

What a stage's parts make beforehand (ids, latents, glyph features, rewards) is input here.

Shapes: B batch · C latent channels · h, w id grid (latents 4 h x 4 w).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from minglm.config import Config
from minglm.measure.cost import GLYPHS, PROMPT
from minglm.model import flow, sde
from minglm.model.prompt import preview_grid
from minglm.training import stage_grpo_decoder
from minglm.training.grpo import clipped, divergence

Loss = Callable[[nn.Module], Tensor]
WINDOW = stage_grpo_decoder.Reinforcement().window


def planner_loss(config: Config, height: int, width: int, batch: int, device: torch.device, _,
                 edits: bool = False, rewarded: bool = False) -> Loss:
    """Of preview and large grid after a typical prompt. edits: of the large grid after a source picture of
    its size. rewarded: of sampled grids with advantages."""
    rows, columns = height // config.cell, width // config.cell
    preview, large = (torch.zeros(batch, *grid, dtype=torch.long, device=device)
                      for grid in (preview_grid(rows, columns, config.planner.preview_tokens),
                                   (rows, columns)))
    text, parts = [0] * (PROMPT - 1) + [config.planner.boi], None
    if edits:
        parts = [[1, (rows, columns), 1, len(text)]] * batch                     # boi, ids, eoi, text
        preview, text = None, [0] * (rows * columns + 2) + text
    prompts = [text] * batch

    def loss(model: nn.Module) -> Tensor:
        if not rewarded:
            return model.loss(prompts, preview, large, parts)[0]
        logits, target = model.predict(prompts, preview, large)
        logits = logits[:, :-1, :config.planner.codebook]                        # only codes are sampled
        new = logits.log_softmax(-1).gather(-1, target[:, :-1, None])[..., 0]
        old = torch.zeros_like(new)
        return clipped(new, old, old[:, :1], 0.2).mean() + divergence(new, old).mean()

    return loss


def decoder_loss(config: Config, height: int, width: int, batch: int, device: torch.device,
                 dtype: torch.dtype, edits: bool = False, rewarded: bool = False) -> Loss:
    """Flow matching, given ids and quoted text, without auxiliary losses. edits: with a source picture of the
    same size. rewarded: of a window of stochastic steps, guided, so of twice the batch."""
    count, scale = batch * (1 + rewarded), config.vae.scale
    latents = torch.zeros(count, config.vae.channels, height // scale, width // scale, device=device)
    ids = torch.zeros(count, height // config.cell, width // config.cell, dtype=torch.long, device=device)
    glyphs = torch.zeros(count, GLYPHS, config.glyph.width, device=device, dtype=dtype)
    mask = torch.ones(count, GLYPHS, dtype=torch.bool, device=device)
    noise, u = torch.ones_like(latents), torch.full((count,), 0.5, device=device)

    def velocity(model: nn.Module) -> Tensor:
        mixed = flow.mix(latents, noise, flow.shift(u, 4 * ids[0].numel(), config.flow)).to(dtype)
        memory = [model.remember(latents.to(dtype), ids)] if edits else None
        return model(mixed, 1000 * u - 1, ids, glyphs, mask, memory=memory)

    def loss(model: nn.Module) -> Tensor:
        if not rewarded:
            return flow.loss(velocity(model), latents, noise, torch.ones_like(latents[:, :1]))
        gains = []
        for _ in range(WINDOW):
            guided = flow.guide(*velocity(model).float().chunk(2), 1.5)
            mean, deviation = sde.step(latents[:batch], guided, 0.5, 0.4, 0.7)
            new = sde.log_probability(noise[:batch], mean, deviation)
            gains.append(clipped(new, torch.zeros_like(new), torch.zeros_like(new), 1e-3).mean()
                         + sde.divergence(mean, latents[:batch], deviation).mean())
        return torch.stack(gains).mean()

    return loss


LOSSES = {"planner": planner_loss, "decoder": decoder_loss,
          "edit-planner": partial(planner_loss, edits=True),
          "edit-decoder": partial(decoder_loss, edits=True),
          "grpo-planner": partial(planner_loss, rewarded=True),
          "grpo-decoder": partial(decoder_loss, rewarded=True)}
COPIES = {"grpo-planner": 2, "grpo-decoder": 2}      # the policy that drew the samples, and the first one
