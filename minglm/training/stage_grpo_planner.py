"""Stage `grpo-planner`: the planner is rewarded for what its pictures say.

Shapes: B samples, the groups of G one after the other · h, w id grid · p, q preview grid · T sampled ids.

The released model was finished by decoupled reinforcement: the planner for the meaning, the decoder for the
looks (stage_grpo_decoder.py). Here the decoder is fixed and paints in few steps; pictures are rewarded for
objects, numbers, places, colours and text (measure/rewards.py). Algorithm: grpo.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minglm.config import Config
from minglm.device import Device
from minglm.generate import paint
from minglm.generate.plan import outside, sample_ids
from minglm.images import to_images
from minglm.measure.rewards import REWARDS, Scorers, total
from minglm.model import flow
from minglm.model.bpe import BPE
from minglm.model.planner import Planner
from minglm.model.prompt import preview_grid, prompt_ids
from minglm.training.batches import SEEDS, TOLD, image_size
from minglm.training.grpo import (
    advantages,
    check_groups,
    clipped,
    divergence,
    follow,
    frozen,
    of_groups,
    reused,
)
from minglm.training.recipe import Recipe, Stage
from minglm.world.draw import EXPLICIT, draw
from minglm.world.explicit import bare
from minglm.world.layout import CELL
from minglm.world.posters import Poster
from minglm.world.prompts import asked


@dataclass(frozen=True)
class Reinforcement:
    """How pictures are sampled, rewarded and learned from."""

    group: int = 8                           # samples of one prompt
    reuse: int = 3                           # steps that learn from the same samples
    clip: float = 0.2
    penalty: float = 0.02                    # of the distance from the planner at the start
    # plans are sampled as people sample them, so that what is learned is what they see
    temperature: float = 0.9
    top_p: float = 0.75
    planner_guidance: float = 1.5
    paint_steps: int = 4                     # the rewards are almost those of 20 steps: correlation 0.91
    guidance: float = 1.5
    weights: dict[str, float] = field(default_factory=lambda: dict(
        text=1.0, room=1.0, background=0.5, object=1.0, count=1.0, place=0.5, colour=0.5))


class Policy(nn.Module):
    """The planner that learns, the one that drew the samples, and the one at the start."""

    def __init__(self, planner: Planner):
        super().__init__()
        self.planner, self.behaviour, self.reference = planner, frozen(planner), frozen(planner)


class Sampler:
    """A planner with the logits by which ids are sampled: guided, and without the ids that top-p drops.

    Both are as they were when the samples were drawn. without (B, T + 1, V): the logits of the planner that
    drew them, given prompts that tell nothing; None: not guided. kept (B, T + 1, V): the ids that it might
    have drawn; None: all.
    """

    def __init__(self, planner: nn.Module, guidance: float, without: Tensor | None,
                 kept: Tensor | None = None):
        self.planner, self.config, self.guidance = planner, planner.config, guidance
        self.without, self.kept = without, kept

    def predict(self, *samples) -> tuple[Tensor, Tensor]:
        """As `Planner.predict`."""
        logits, target = self.planner.predict(*samples)
        if self.without is not None:
            logits = flow.guide(logits, self.without, self.guidance)
        return logits if self.kept is None else logits.masked_fill(~self.kept, -torch.inf), target


def prompts_of(name: str, first: int, count: int) -> list[Poster]:
    """The posters whose captions are the prompts number `first` to `first + count` of this stage. Every other
    one shows several objects, at which planners are weakest."""
    size, found = image_size(name, first), []
    index = 1000 * first
    while len(found) < count:
        poster = draw(SEEDS[name], index, *size, told=TOLD.get(name, EXPLICIT))
        index += 1
        several = sum(group.count for group in poster.groups) > 1
        if several or len(found) % 2:
            found.append(poster)
    return found


def log_probabilities(planner: nn.Module, data: dict, temperature: float) -> Tensor:
    """Of each sampled id, under a planner, (B, T): with the same legal ids and temperature as in sampling."""
    logits, target = planner.predict(data["prompts"], data["preview"], data["large"])
    logits = logits[:, :-1, :planner.config.codebook] / temperature              # the end is not sampled
    return logits.log_softmax(-1).gather(-1, target[:, :-1, None])[..., 0]


def grpo_planner_stage(config: Config, device: Device, recipe: Recipe, bpe: BPE, parts: dict[str, nn.Module],
                       how: Reinforcement = Reinforcement(), workers: int = 2) -> Stage:
    """Group-relative policy optimisation of parts["planner"], the other parts fixed.

    recipe.batch: samples a step, a multiple of how.group. workers: processes that score. Raises ValueError if
    the batch, or a rank's share of it, is no whole number of groups.
    """
    check_groups(recipe.batch, how.group)
    name, scorers = "grpo-planner", Scorers(workers)
    model = Policy(parts["planner"].requires_grad_(True)).to(device.device)
    others = {part: parts[part].to(device.device).eval() for part in ("vae", "glyph", "decoder")}

    @torch.no_grad()
    def rollout(first: int, share: slice) -> dict:
        """Samples `share` of those drawn at step `first`, painted and rewarded."""
        start, stop = of_groups(share, recipe.batch, how.group)
        posters = prompts_of(name, first // how.reuse, recipe.batch // how.group)
        posters = [posters[i // how.group] for i in range(start, stop)]
        seeds = [recipe.batch * first + i for i in range(start, stop)]
        rows, columns = posters[0].height // CELL, posters[0].width // CELL
        grid, planner = preview_grid(rows, columns, config.planner.preview_tokens), config.planner

        def read(captions: list[str]) -> list[list[int]]:
            return [prompt_ids(bpe, caption, rows, columns, grid, planner.vision_vocab, planner.boi)
                    for caption in captions]

        prompts = read([p.caption for p in posters])
        without = read([bare(p.caption) for p in posters]) if how.planner_guidance != 1 else []
        preview, large = sample_ids(model.behaviour, prompts + without, [grid, (rows, columns)],
                                    [paint.generator(seed) for seed in seeds], how.temperature, how.top_p,
                                    guidance=how.planner_guidance)
        data = dict(prompts=prompts, preview=preview.to(device.device), large=large.to(device.device))
        # painted group by group, from the same noise, while the pictures before are scored
        waiting = []
        for i in range(0, len(posters), how.group):
            noise = paint.noise((config.vae.channels, 4 * rows, 4 * columns), paint.generator(seeds[i]))
            # equal plans give equal pictures, and of eight often half are equal: painted and scored once
            plans, which = large[i:i + how.group].unique(dim=0, return_inverse=True)
            pictures = painted(posters[i].strings, plans.to(device.device), noise)
            scored = [scorers.score(picture, asked("", posters[i])) for picture in pictures]
            waiting += [scored[k] for k in which.tolist()]
        each = [future.result() for future in waiting]
        reward = torch.tensor([total(one, how.weights) for one in each])
        shown = {part: [one[part] for one in each if one[part] is not None] for part in REWARDS}
        stats = {part: torch.tensor(sum(some) / len(some) if some else float("nan"))
                 for part, some in shown.items()}
        data |= possible(data, without)
        old, reference = (log_probabilities(sampler(planner, data), data, how.temperature)
                          for planner in (model.behaviour, model.reference))
        better = advantages(reward, how.group).to(old.device)
        return data | dict(old=old, reference=reference, advantage=better,
                           stats=device.to(dict(reward=reward.mean(), **stats)))

    def sampler(planner: nn.Module, data: dict) -> Sampler:
        return Sampler(planner, how.planner_guidance, data["without"], data["kept"])

    def possible(data: dict, without: list[list[int]]) -> dict:
        """What a `Sampler` needs of samples that were just drawn; without: the prompts that tell nothing."""
        grids = data["preview"], data["large"]
        bare = model.behaviour.predict(without, *grids)[0] if without else None
        logits, target = Sampler(model.behaviour, how.planner_guidance, bare).predict(data["prompts"], *grids)
        codes, every = config.planner.codebook, logits.shape[-1]
        kept = F.pad(~outside(logits[..., :codes].cpu() / how.temperature, how.top_p), (0, every - codes))
        # what was drawn was possible, even if it is not in this pass, which rounds otherwise
        drawn = target[..., None] == torch.arange(every, device=target.device)
        return dict(without=bare, kept=kept.to(drawn.device) | drawn)

    def painted(lines: list[str], plan: Tensor, noise: Tensor) -> list:
        """The pictures of a group: one text, several plans, the same noise."""
        count, rows, columns = plan.shape
        velocity = paint.velocity(others["decoder"], others["glyph"], [lines] * count, plan, how.guidance)
        times, sigmas = flow.schedule(how.paint_steps, 4 * rows * columns, config.flow)
        noise = noise[None].expand(count, -1, -1, -1).to(device.device)
        *_, latents = flow.sample(velocity, noise, times, sigmas)
        return to_images(others["vae"].decode(latents))

    def refresh() -> None:
        follow(model.behaviour, model.planner)

    def loss(b: dict) -> tuple[Tensor, dict]:
        # in bfloat16 log-probabilities are off by more than small steps change them, and ids are sampled in
        # single precision
        with device.full_precision():
            new = log_probabilities(sampler(model.planner, b), b, how.temperature)       # (B, T)
        gain = clipped(new, b["old"], b["advantage"][:, None], how.clip).mean()
        apart = divergence(new, b["reference"]).mean()
        moved = ((new - b["old"]).exp() - 1).abs().gt(how.clip).float().mean()
        stats = dict(divergence=apart.detach(), clipped=moved.detach())
        return gain + how.penalty * apart, b["stats"] | stats

    return Stage(name, model, reused(rollout, refresh, how.reuse, recipe.batch), loss, recipe)
