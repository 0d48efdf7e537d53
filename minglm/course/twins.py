"""Pieces of notebooks that the library has from PyTorch or not at all: what `own.use` falls back on.

Shapes: B batch · N tokens or rows · D numbers of a row · Z latents · n pieces, as many as ranks · K actions ·
T decisions of a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import comb

import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor, nn

from minglm.config import DecoderConfig
from minglm.generate.pipeline import Pipeline
from minglm.model import decoder, flow
from minglm.training import grpo


def mean_patches(ids: Tensor, patches: Tensor, count: int) -> Tensor:
    """The mean of all patches (N, 3, p, p) that have an id, for ids 0 to count - 1: (count, 3, p, p), zeros
    for an id that none of ids (N,) is."""
    total = patches.new_zeros(count, *patches.shape[1:]).index_add_(0, ids, patches)
    return total / torch.bincount(ids, minlength=count).clamp_min(1).view(-1, 1, 1, 1)


def greedy_plan(pipe: Callable, prompt: str, seed: int) -> Tensor:
    """The plan of the most probable ids, of the prompt as it stands."""
    return pipe(prompt, enhance=False, temperature=0, seed=seed, steps=1, progress=False).plan[0]


def move_right(plan: Tensor) -> Tensor:
    """A plan with rows 1 and 2 moved one column to the right, wrapping around."""
    return torch.cat([plan[:1], plan[1:3].roll(1, 1), plan[3:]])


def nearest_ids(picture: Tensor, patches: Tensor) -> Tensor:
    """For each patch of a picture (3, h p, w p) the number of the nearest of patches (K, 3, p, p): (h, w)."""
    p = patches.shape[-1]
    cells = picture.unfold(1, p, p).unfold(2, p, p).permute(1, 2, 0, 3, 4)       # (h, w, 3, p, p)
    return torch.cdist(cells.reshape(-1, 3 * p * p), patches.flatten(1)).argmin(-1).view(cells.shape[:2])


def elbo_loss(x: Tensor, mean: Tensor, logvar: Tensor, decode: Callable[[Tensor], Tensor], noise: Tensor,
              sigma: float) -> tuple[Tensor, Tensor]:
    """The negative ELBO of rows x (N, D), up to a constant, and the KL divergence of each latent, a mean over
    the rows (Z,).

    mean, logvar, noise (N, Z), the first two from the encoder; sigma: the standard deviation of the pixels.
    """
    z = mean + (logvar / 2).exp() * noise
    error = (decode(z) - x).square().sum(-1) / (2 * sigma ** 2)
    divergence = (mean.square() + logvar.exp() - 1 - logvar) / 2
    return (error + divergence.sum(-1)).mean(), divergence.mean(0)


def fsq(z: Tensor, levels: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Finite scalar quantisation: z (N, d), odd levels -> values (N, d) in [-1, 1] with a straight-through
    gradient, and ids (N,), whose first digit counts ones."""
    sizes = torch.tensor(levels)
    half = (sizes - 1) / 2
    bounded = half * torch.tanh(z)
    whole = bounded + (bounded.round() - bounded).detach()
    return whole / half, ((whole + half).round() * (sizes.cumprod(0) // sizes)).sum(-1).long()


def chance_level(learned: Tensor, asked: Tensor) -> float:
    """The share of `asked` answered right by whoever always gives the commonest answer of `learned`."""
    return float((asked == torch.bincount(learned).argmax()).float().mean())


def needed_accuracy(share: float, ids: int) -> float:
    """How often each of `ids` independent ids must be right for a share of all plans to have no wrong one."""
    return share ** (1 / ids)


def clipped(gradients: list[Tensor], limit: float) -> tuple[list[Tensor], Tensor]:
    """Gradients scaled to a global norm of at most `limit`, and the norm before, without a host sync."""
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    factor = (limit / norm).clamp(max=1)
    return [g * factor for g in gradients], norm


def padding_mask(lengths: Tensor, n: int) -> Tensor:
    """lengths (B,), N -> causal mask without padding (B, 1, N, N); True: a row may attend to a column."""
    position = torch.arange(n, device=lengths.device)
    return (position[None] <= position[:, None]) & (position < lengths[:, None, None, None])


def foreach_adamw(weights: list[Tensor], gradients: list[Tensor], means: list[Tensor], squares: list[Tensor],
                  step: int, lr: float, betas: tuple[float, float] = (0.9, 0.98), eps: float = 1e-8,
                  decay: float = 0.1, corrected: bool = True, inside: bool = False,
                  coupled: bool = False) -> None:
    """AdamW's step (the first is 1) on lists of tensors, in place; or one of three relatives of it."""
    if coupled:
        gradients = torch._foreach_add(gradients, weights, alpha=decay)
    else:
        torch._foreach_mul_(weights, 1 - lr * decay)
    torch._foreach_lerp_(means, gradients, 1 - betas[0])
    torch._foreach_mul_(squares, betas[1])
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - betas[1])
    first, second = (1 - beta ** step if corrected else 1.0 for beta in betas)
    below = torch._foreach_div(squares, second)
    if inside:
        torch._foreach_add_(below, eps)
    torch._foreach_sqrt_(below)
    if not inside:
        torch._foreach_add_(below, eps)
    torch._foreach_addcdiv_(weights, means, below, -lr / first)


def mean_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all ranks."""
    for p in parameters:
        if p.grad is not None:
            dist.all_reduce(p.grad)
            p.grad /= dist.get_world_size()


def ring_sum(pieces: list[Tensor], rank: int, swap: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The sums of all ranks' pieces, on every rank, in 2 (n - 1) swaps of one piece."""
    n, pieces = len(pieces), list(pieces)
    for step in range(n - 1):                # reduce-scatter: then rank r has the whole sum of piece r + 1
        got = swap(pieces[(rank - step) % n])
        pieces[(rank - step - 1) % n] = pieces[(rank - step - 1) % n] + got
    for step in range(n - 1):                # all-gather: whole sums go around
        pieces[(rank - step) % n] = swap(pieces[(rank + 1 - step) % n])
    return pieces


def scatter_sum(gradient: Tensor) -> Tensor:
    """Reduce-scatter: gradient (ranks n, ...) of every rank -> the sum of this rank's piece (n, ...)."""
    total = gradient.clone()
    dist.all_reduce(total)
    return total.chunk(dist.get_world_size())[dist.get_rank()]


def feed_forward_parts(gate_up: Tensor, down: Tensor, cards: int) -> list[tuple[Tensor, Tensor]]:
    """Tensor parallelism: gate_up (2 M, D) and down (D, M) as one (2 M / cards, D), (D, M / cards) for each
    card, whose outputs add up."""
    rows = gate_up.view(2, cards, -1, gate_up.shape[1]).transpose(0, 1).flatten(1, 2)
    return [*zip(rows, down.chunk(cards, dim=1))]


def exact(x: Tensor, sigma: Tensor, data: Tensor) -> Tensor:
    """The velocity that a perfect network would give at x (B, C, h, w) and sigma (B,), if the data are the
    M pictures `data` (M, C, h, w): the mean over all lines through x, (B, C, h, w)."""
    s, points = sigma[:, None, None], data.flatten(1)
    noise = (x.flatten(1)[:, None] - (1 - s) * points) / s                       # (B, M, C h w)
    weights = (-noise.square().sum(-1) / 2).softmax(1)
    return torch.einsum("bm, bmd -> bd", weights, noise - points).view(x.shape)


def trained(field: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterable[tuple]) -> list[float]:
    """One training step for each batch (data, noise, sigma, k) of `batches`; the loss of each."""
    losses = []
    for data, noise, sigma, k in batches:
        velocity = field(flow.mix(data, noise, sigma), sigma, k)
        loss = flow.loss(velocity, data, noise, torch.ones(len(data), 1, 1, 1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def heun_steps(velocity: Callable[[Tensor, float], Tensor], latents: Tensor, times: list[float],
               sigmas: list[float]) -> Iterator[Tensor]:
    """`flow.sample` by Heun's method: each step takes the mean of the velocities at its two ends; the last
    one, to sigma 0, is Euler's."""
    for i, (sigma, following) in enumerate(zip(sigmas, sigmas[1:])):
        first = velocity(latents, times[i])
        ahead = latents + (following - sigma) * first
        if i + 1 < len(times):
            ahead = latents + (following - sigma) * (first + velocity(ahead, times[i + 1])) / 2
        latents = ahead
        yield latents


def awake(model: nn.Module, loss: Tensor) -> list[str]:
    """The names of the parameters that get a gradient other than zero from this loss."""
    model.zero_grad()
    loss.backward()
    return [name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())]


def size_of(config: DecoderConfig, streams: int) -> int:
    """The parameters of a decoder block; with 2 streams all but the modulation exists twice."""
    with torch.device("meta"):
        block = decoder.DecoderBlock(config)
    return sum(p.numel() * (1 if name.startswith("modulation") else streams)
               for name, p in block.named_parameters())


def one_picture(pipe: Pipeline, prompt: str, height: int | None = None, width: int | None = None,
                steps: int = 20, guidance: float = 1.5, seed: int = 0) -> Image.Image:
    """The picture that the library paints for one prompt if it draws one plan and does not guide it."""
    return pipe(prompt, height, width, steps=steps, guidance=guidance, planner_guidance=1, candidates=1,
                seed=seed, progress=False).images[0]


def pooled_accuracy(pictures: list[tuple[list[str], list[str]]]) -> float:
    """(texts asked for, lines read) of each picture -> the share of all words asked for that were read."""
    right = []
    for texts, lines in pictures:
        read = {word for line in lines for word in line.casefold().split()}
        right += [word.casefold() in read for text in texts for word in text.split()]
    return sum(right) / len(right)


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share, `right` of `count`: those p whose z-test does not refuse it."""
    share, pull = right / count, z ** 2 / count
    middle = (share + pull / 2) / (1 + pull)
    half = (share * (1 - share) * pull + pull ** 2 / 4) ** 0.5 / (1 + pull)
    return middle - half, middle + half


def best_of(values: list[float], k: int) -> float:
    """The mean of the largest of k values, over all choices of k of them."""
    return sum(comb(i, k - 1) * value for i, value in enumerate(sorted(values))) / comb(len(values), k)


def policy_loss(logits: Tensor, actions: Tensor, advantages: Tensor) -> Tensor:
    """Minus the mean of advantage (B,) times the log-probability of the action (B,) taken, under logits
    (B, K): its gradient is minus the policy gradient."""
    taken = logits.log_softmax(-1).gather(-1, actions[:, None])[:, 0]
    return -(advantages * taken).mean()


def grpo_update(log_probabilities: Callable[[], Tensor], optimiser: torch.optim.Optimizer, old: Tensor,
                reference: Tensor, advantages: Tensor, steps: int = 2, clip: float = 0.2,
                penalty: float = 0.0) -> list[float]:
    """Gradient steps of GRPO on one batch of rollouts; returns the clip fraction before each.

    log_probabilities() of the policy as it is, `old` and `reference` are (B, T), advantages (B,).
    """
    fractions = []
    for _ in range(steps):
        new = log_probabilities()
        gain = grpo.clipped(new, old, advantages[:, None], clip)
        loss = (gain + penalty * grpo.divergence(new, reference)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        fractions.append(((new - old).exp() - 1).abs().gt(clip).float().mean().item())
    return fractions
