"""Several candidate plans of a picture: painted is the one that decoder and planner together like best.

A planner may leave out a letter or a line, or spoil the whole picture. The decoder knows the words, and one
of its blocks is taught to attend from every image token to the letter that stands there
(training/stage_decoder.py). A letter for which a plan has no place gets less of that attention, before
anything is painted. So one pass per plan, on pure noise, ranks the plans. It errs: attention without a place
to be may gather anywhere, and it knows nothing of objects.

The planner tells how probable each plan is, given the prompt, which costs nothing: its logits are there when
the plan is sampled. And if it is guided, how much more probable than without the prompt: a plan that would
suit any poster says little of this one.

Shapes: K candidates · C latent channels · h, w id grid (latents are 4 h x 4 w) · H heads · N image tokens ·
S glyph tokens · B pictures.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from minglm.generate.paint import dtype_of, glyphs
from minglm.model.decoder import Decoder, Memory
from minglm.model.glyph import GlyphEncoder
from minglm.world.lettering import rasters

START = 999.0                                # the time of pure noise
LIKELY, LIKELY_EDIT = 0.005, 0.02            # what a nat of `plausible` counts, of a poster and of an edit
STRIDE, MOST = 1_000_003, 2 ** 63            # between the seeds of candidates; pictures have consecutive ones


def seeds(seed: int | list[int], pictures: int, candidates: int) -> int | list[int]:
    """The seeds of the candidates of each picture in turn; the first is the picture's own."""
    if candidates == 1:
        return seed
    own = seed if isinstance(seed, list) else range(seed, seed + pictures)
    return [(one + k * STRIDE) % MOST for one in own for k in range(candidates)]


def choose(decoder: Decoder, encoder: GlyphEncoder, lines: list[list[str]], plans: Tensor, noise: Tensor,
           memory: list[list[Memory]], likelihood: Tensor) -> list[int]:
    """The number of the best plan of each picture; plans (B K, h, w), those of a picture one after the other.

    lines: what to write on each. noise (B, C, 4 h, 4 w). memory: of pictures to edit. likelihood: as for
    `plausible`. Of equally good plans the first is chosen.
    """
    count = len(plans) // len(lines)
    each = zip(lines, plans.split(count), noise, memory)
    scores = torch.stack([score(decoder, encoder, *one).cpu() for one in each])  # (B, K)
    weight = LIKELY_EDIT if any(memory) else LIKELY
    scores = scores + weight * plausible(likelihood, len(plans)).view_as(scores)
    return [b * count + int(best) for b, best in enumerate(scores.argmax(1))]


def plausible(likelihood: Tensor, count: int) -> Tensor:
    """How good the planner finds each of `count` plans, (B K,), in nats. likelihood: the log-probability of
    each, given the prompt; if there are twice as many, then also that without it, to tell what is special:
    log p(plan | prompt) + (log p(plan | prompt) - log p(plan))."""
    told, bare = likelihood[:count], likelihood[count:]
    return 2 * told - bare if len(bare) else told


@torch.no_grad()
def score(decoder: Decoder, encoder: GlyphEncoder, lines: list[str], plans: Tensor, noise: Tensor,
          memory: list[Memory]) -> Tensor:
    """How good each plan of a picture is, (K,); zeros if there is nothing to write.

    One picture at a time, since pictures to edit differ in number and size.
    """
    if not lines:
        return torch.zeros(len(plans))
    device, count = encoder.embed.weight.device, len(plans)
    drawn = torch.from_numpy(rasters(lines).any(1)).to(device)                   # (S,): no spaces, no ends
    features, _ = glyphs(encoder, [lines])                                       # (1, S, D)
    noise, time = noise.to(device, dtype_of(decoder)), torch.full((1,), START, device=device)
    several = [[(k.expand(count, -1, -1, -1), v.expand(count, -1, -1, -1)) for k, v in one] for one in memory]
    _, seen = decoder.watch(noise.expand(count, *noise.shape), time, plans.to(device),
                            features.expand(count, -1, -1), memory=several, block=decoder.config.aligned,
                            heads=decoder.config.heads)
    return found(seen)[:, drawn].mean(1)


def found(seen: Tensor) -> Tensor:
    """How much of each glyph token finds a place, (K, S), 0 to 2: the largest attention that any image token
    pays it, by the heads of the upper halves of letters and by those of the lower.

    seen (K, H, N, S): log attention weights from image tokens to glyph tokens.
    """
    halves = rearrange(seen.exp(), "k (t h) n s -> k t h n s", t=2).mean(2)      # (K, 2, N, S)
    return halves.amax(2).sum(1)
