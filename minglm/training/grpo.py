"""Group-relative policy optimisation: what both reinforcement stages share.

Shapes: G samples of one prompt, a group · B samples in all, the groups one after the other.

A prompt is answered G times, and each answer is rewarded. How much better it is than the others of its group
is its advantage, so no second network has to guess what a prompt is worth. Then what was better than usual is
made more probable: PPO's clipped objective, with a penalty that keeps the policy near where it began.
Source: DeepSeekMath, arXiv:2402.03300, equations 3 and 4; Flow-GRPO, arXiv:2505.05470, for flows.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from minglm.training import sharding
from minglm.training.batches import WHOLE

SPREAD = 1e-4                                # of rewards below which a group has nothing to teach


def advantages(rewards: Tensor, size: int) -> Tensor:
    """How much better than its group each sample is, in standard deviations: rewards (B,) -> (B,).

    size: samples a group. A group in which all are equally good has advantage 0. Raises ValueError if the
    samples are no whole number of groups.
    """
    if len(rewards) % size or size < 2:
        raise ValueError(f"{len(rewards)} samples in groups of {size}: whole groups of two or more "
                         "are needed")
    groups = rewards.float().view(-1, size)                                      # (B / G, G)
    apart = groups - groups.mean(1, keepdim=True)
    return (apart / (groups.std(1, correction=0, keepdim=True) + SPREAD)).flatten()


def check_groups(batch: int, size: int) -> None:
    """Raises ValueError unless a batch is a whole number of groups of `size`."""
    if batch % size:
        raise ValueError(f"a batch of {batch}: a multiple of the group, {size}, is needed")


def of_groups(share: slice, batch: int, size: int) -> tuple[int, int]:
    """The first sample of a share of a batch, and the one after its last. Raises ValueError unless the share
    is a whole number of groups of `size`."""
    start, stop, _ = share.indices(batch)
    if start % size or stop % size:
        raise ValueError(f"samples {start} to {stop} of a step are no whole groups of {size}: "
                         "choose a larger batch, or fewer parts")
    return start, stop


def reused(rollout: Callable[[int, slice], dict], refresh: Callable[[], None], count: int, size: int,
           ) -> Callable[..., dict]:
    """A stage's `batch` that draws samples every `count` steps only: `refresh` brings the policy that draws
    them up to date, then rollout(step, share) draws. size: of the whole batch; count: steps that learn from
    the same samples."""
    kept: dict = {}                          # the samples of the last steps, by step and share

    def batch(step: int, share: slice = WHOLE) -> dict:
        first = step - step % count
        if step == first:                    # a run resumed later has the copy from its checkpoint
            refresh()
        for old in [key for key in kept if key[0] != first]:
            del kept[old]
        key = first, share.indices(size)
        if key not in kept:
            kept[key] = rollout(first, share)
        return kept[key]

    return batch


def clipped(new: Tensor, old: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """The loss of each decision, the smaller the better: minus PPO's clipped objective.

    new, old: log-probabilities under the policy that learns and the one that drew the samples; the advantage
    broadcasts to them. Once the probability has changed by more than `clip` in the good direction there is no
    more to gain, so one batch of samples can be used several times.
    """
    ratio = (new - old).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def divergence(new: Tensor, reference: Tensor) -> Tensor:
    """An estimate of KL(new, reference) from samples of new, never below 0: r - log r - 1 for r =
    reference / new (Schulman's k3); both are log-probabilities."""
    log_ratio = reference - new
    return log_ratio.exp() - log_ratio - 1


def frozen(module: nn.Module) -> nn.Module:
    """A copy that does not learn: its parameters are buffers, which checkpoints hold, and which neither the
    optimiser nor FSDP takes for something to train."""
    copy = deepcopy(module)
    for part in copy.modules():
        for name, value in list(part._parameters.items()):
            del part._parameters[name]
            part.register_buffer(name, None if value is None else value.detach().clone())
    return copy


@torch.no_grad()
def follow(copy: nn.Module, module: nn.Module) -> None:
    """Give a `frozen` copy the numbers of the module; where it is sharded all ranks must do so together."""
    learned = dict(module.named_parameters())
    for name, value in copy.named_buffers():
        if name in learned:
            value.copy_(sharding.whole(learned[name]))
