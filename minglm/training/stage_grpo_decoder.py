"""Stage `grpo-decoder`: the decoder is rewarded for how its pictures look and for what can be read in them.

Shapes: B samples, the groups of G one after the other · C latent channels · h, w id grid (latents
4 h x 4 w) · W steps that are learned from.

Flow-GRPO: pictures are sampled in few steps, of which a window of W is stochastic (model/sde.py), and these
steps are the decisions that are made more or less probable. The window wanders from high noise to low, so
that every part of the path is trained at the price of a few steps. The ids are those of the drawn picture, as
in stage `decoder`; the planner takes no part. Algorithm: grpo.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minglm.config import Config
from minglm.device import Device
from minglm.generate import paint
from minglm.images import to_images, to_tensor
from minglm.measure.rewards import Scorers
from minglm.model import flow, sde
from minglm.training.batches import generator, pixels
from minglm.training.grpo import advantages, check_groups, clipped, follow, frozen, of_groups, reused
from minglm.training.recipe import Recipe, Stage
from minglm.training.stage_grpo_planner import prompts_of
from minglm.world.prompts import asked


@dataclass(frozen=True)
class Reinforcement:
    """How pictures are sampled, rewarded and learned from."""

    group: int = 8                           # samples of one poster
    reuse: int = 2                           # steps that learn from the same samples
    clip: float = 1e-3                       # log-probabilities are per number, so ratios stay near 1
    penalty: float = 1.0                     # of the distance from the decoder at the start
    steps: int = 8                           # of sampling; people use 20
    window: int = 2                          # of these are stochastic, and learned from
    level: float = 0.7                       # how random they are
    guidance: float = 1.5
    likeness: float = 1.0                    # of the perceptual reward, where that of the text counts 1


class Painter(nn.Module):
    """Decoder and glyph encoder, which are trained together."""

    def __init__(self, decoder: nn.Module, glyph: nn.Module):
        super().__init__()
        self.decoder, self.glyph = decoder, glyph


class Policy(nn.Module):
    """The painter that learns, the one that painted the samples, and the one at the start."""

    def __init__(self, painter: Painter):
        super().__init__()
        self.decoder, self.glyph = painter.decoder, painter.glyph
        self.behaviour, self.reference = frozen(painter), frozen(painter)


def likeness(tokenizer: nn.Module, pictures: list, drawn: Tensor) -> Tensor:
    """How alike pictures are to those drawn, (B,): the mean cosine of the tokenizer's features, which tell
    objects apart and do not mind a shifted pixel."""
    features = tokenizer.features(torch.cat([to_tensor(pictures).to(drawn.device), drawn]))
    mine, wanted = features.chunk(2)                                             # (B, h, w, E), unit vectors
    return (mine * wanted).sum(-1).mean((1, 2))


def grpo_decoder_stage(config: Config, device: Device, recipe: Recipe, parts: dict[str, nn.Module],
                       how: Reinforcement = Reinforcement(), workers: int = 1) -> Stage:
    """Group-relative policy optimisation of parts["decoder"] and parts["glyph"], the other parts fixed.

    recipe.batch: samples a step, a multiple of how.group. workers: processes that read. Raises ValueError if
    the batch, or a rank's share of it, is no whole number of groups.
    """
    check_groups(recipe.batch, how.group)
    name, scorers = "grpo-decoder", Scorers(workers)
    painter = Painter(*(parts[part].requires_grad_(True) for part in ("decoder", "glyph")))
    if config.glyph.places:                  # the head that draws gets no gradient here, and DDP wants one
        painter.glyph.draw.requires_grad_(False)
    model = Policy(painter).to(device.device)
    vae, tokenizer = (parts[part].to(device.device).eval() for part in ("vae", "tokenizer"))

    def velocity(who: nn.Module, data: dict) -> paint.Velocity:
        return paint.velocity(who.decoder, who.glyph, data["lines"], data["plan"], how.guidance)

    def window(first: int) -> range:
        """The stochastic steps of the samples drawn at step `first`."""
        at = first // how.reuse % (how.steps - how.window)  # never the last, which ends without noise
        return range(at, at + how.window)

    @torch.no_grad()
    def rollout(first: int, share: slice) -> dict:
        """Samples `share` of those drawn at step `first`, read and compared with the drawing."""
        start, stop = of_groups(share, recipe.batch, how.group)
        posters = prompts_of(name, first // how.reuse, recipe.batch // how.group)
        g, groups = generator(name, first), len(posters)
        drawn = pixels(posters).to(device.device)
        plan = tokenizer.encode(drawn)                                           # (B / G, h, w)
        count, (rows, columns) = recipe.batch, plan.shape[1:]
        shape = (config.vae.channels, 4 * rows, 4 * columns)
        # a group shares its first noise; what differs are the stochastic steps
        noise = torch.randn(groups, *shape, generator=g).repeat_interleave(how.group, 0)[share]
        shocks = torch.randn(how.window, count, *shape, generator=g)[:, share]
        mine = [posters[i // how.group] for i in range(start, stop)]
        data = dict(lines=[p.strings for p in mine], plan=plan.repeat_interleave(how.group, 0)[share])
        times, sigmas = flow.schedule(how.steps, 4 * rows * columns, config.flow)
        latents, steps, at = noise.to(device.device), [], velocity(model.behaviour, data)
        for i, (time, sigma, following) in enumerate(zip(times, sigmas, sigmas[1:])):
            level = how.level if i in window(first) else 0.0
            with device.autocast():
                v = at(latents, time)
            mean, deviation = sde.step(latents, v, sigma, following, level)
            before, latents = latents, mean
            if level:
                latents = mean + deviation * shocks[len(steps)].to(mean.device)
                with device.autocast():
                    reference = velocity(model.reference, data)(before, time)
                steps.append(dict(
                    before=before, after=latents, time=time, sigma=sigma, following=following,
                    old=sde.log_probability(latents, mean, deviation),
                    reference=sde.step(before, reference, sigma, following, level)[0]))
        pictures = to_images(vae.decode(latents))
        waiting = [scorers.score(picture, asked("", p)) for picture, p in zip(pictures, mine)]
        like = likeness(tokenizer, pictures, drawn.repeat_interleave(how.group, 0)[share]).cpu()
        # a poster without text has nothing to be read: all of its group are equal there
        read = torch.tensor([1.0 if (one := future.result()["text"]) is None else one for future in waiting])
        reward = read + how.likeness * like
        better = advantages(reward, how.group).to(device.device)
        stats = dict(reward=reward.mean(), text=read.mean(), likeness=like.mean())
        return data | dict(steps=steps, advantage=better, stats=device.to(stats))

    def refresh() -> None:
        follow(model.behaviour.decoder, model.decoder)
        follow(model.behaviour.glyph, model.glyph)

    def loss(b: dict) -> tuple[Tensor, dict]:
        at, gains, aparts, moved = velocity(model, b), [], [], []
        for s in b["steps"]:
            v = at(s["before"], s["time"])
            mean, deviation = sde.step(s["before"], v, s["sigma"], s["following"], how.level)
            new = sde.log_probability(s["after"], mean, deviation)               # (B,)
            gains.append(clipped(new, s["old"], b["advantage"], how.clip).mean())
            aparts.append(sde.divergence(mean, s["reference"], deviation).mean())
            moved.append(((new - s["old"]).exp() - 1).abs().gt(how.clip).float().mean())
        gain, apart, far = (torch.stack(some).mean() for some in (gains, aparts, moved))
        return gain + how.penalty * apart, b["stats"] | dict(divergence=apart.detach(), clipped=far.detach())

    return Stage(name, model, reused(rollout, refresh, how.reuse, recipe.batch), loss, recipe)
