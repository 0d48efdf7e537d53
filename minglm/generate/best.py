"""Several candidate plans of a picture, and several noises to paint it from: the best of each are those in
which the decoder finds its letters.

A planner may leave out a letter or a line, or spoil the whole picture. The decoder knows the words, and one
of its blocks is taught to attend from every image token to the letter that stands there
(training/stage_decoder.py). A letter for which a plan has no place gets less of that attention, before
anything is painted. So one pass per plan, on pure noise, ranks the plans. It errs: attention without a place
to be may gather anywhere.

What is neither ground nor letters is objects. Of posters without words, and of edits, a plan in which they
cover more cells than the objects asked for need, or fewer, is worth less. (On posters with words this costs
words: of 300 free prompts it had texts and background right in 0.84 English and 0.92 Chinese, instead of 0.89
and 0.95.)

Of the plan that is chosen several paintings are begun, each from a noise of its own. After the first few
steps the attention tells which of them will be legible: not where letters have a place, but whether they
are told apart. So each is judged by its worst letter, and the best is painted to the end. In 47 posters of
Chinese texts with true ids, words right rose from 0.69 to 0.78 (standard error 0.02), with the decoder of the
time.

Shapes: K candidates · C latent channels · h, w id grid (latents are 4 h x 4 w) · H heads · N image tokens ·
S glyph tokens · B pictures · M noises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor

from minglm.generate import paint
from minglm.generate.known_ids import KnownIds
from minglm.model import flow
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.memory import Memory
from minglm.world.carried import Carried
from minglm.world.layout import CELL
from minglm.world.lettering import rasters
from minglm.world.posters import Poster

START = 999.0                                # the time of pure noise
LIKELY = 0.02                                # what a nat of log-probability counts, of edits
LETTERS = 0.3                                # of its attention that a cell with letters pays them
ASTRAY = 0.3                                 # what an object too many or too few costs
NOISES, EARLY = 4, 850.0                     # noises to begin from, and the time until which all are painted
STRIDE, MOST = 1_000_003, 2 ** 63            # between the seeds of candidates; pictures have consecutive ones


@dataclass(frozen=True)
class Expected:
    """What is known of a plan (h, w) before it is sampled: the number of objects, and of the cells on which
    they stand; of an edit, the ids that are known, elsewhere -1; the caption by which it can be drawn, if it
    can; all that is known of its ids; and what of its pictures is shown again, see world/carried.py."""

    things: int
    cells: int
    stays: Tensor | None = None
    caption: str = ""
    known: KnownIds | None = None
    carried: Sequence[Carried] = ()


def expected(poster: Poster, stays: Tensor | None = None, **more) -> Expected | None:
    """What is expected of the plan of a poster; None: nothing. more: of an edit."""
    if not poster.groups and stays is None:
        return None
    on = {(y, x) for _, (x0, y0, x1, y1) in poster.boxes
          for y in range(y0 // CELL, -(-y1 // CELL)) for x in range(x0 // CELL, -(-x1 // CELL))}
    return Expected(len(poster.boxes), len(on), stays, **more)


def kept(expected: Sequence[Expected | None], candidates: int) -> Tensor | None:
    """The ids that each plan of each picture keeps, elsewhere -1, (B K, h w); None: no picture keeps any."""
    some = [one.stays.flatten() for one in expected if one and one.stays is not None]
    if not some:
        return None
    none = torch.full_like(some[0], -1)
    each = [none if one is None or one.stays is None else one.stays.flatten() for one in expected]
    return torch.stack(each).repeat_interleave(candidates, 0)


def seeds(seed: int | list[int], pictures: int, candidates: int) -> int | list[int]:
    """The seeds of the candidates of each picture in turn; the first is the picture's own."""
    if candidates == 1:
        return seed
    own = seed if isinstance(seed, list) else range(seed, seed + pictures)
    return [(one + k * STRIDE) % MOST for one in own for k in range(candidates)]


def choose(decoder: Decoder, encoder: GlyphEncoder, lines: list[list[str]], plans: Tensor, noise: Tensor,
           memory: list[list[Memory]], likelihood: Tensor | None = None,
           expected: Sequence[Expected | None] = ()) -> list[int]:
    """The number of the best plan of each picture; plans (B K, h, w), those of a picture one after the other.

    lines: what to write on each. noise (B, C, 4 h, 4 w). memory: of pictures to edit. likelihood (B K,): the
    log-probability of each plan, which counts too, if it is given. expected: of each picture, if anything is.
    Of equally good plans the first is chosen, as when nothing is to be written or expected.
    """
    count = len(plans) // len(lines)
    each = zip(lines, plans.split(count), noise, memory, expected or [None] * len(lines))
    scores = torch.stack([score(decoder, encoder, *one).cpu() for one in each])  # (B, K)
    if likelihood is not None:
        scores = scores + LIKELY * likelihood.view_as(scores)
    return [b * count + int(best) for b, best in enumerate(scores.argmax(1))]


@torch.no_grad()
def begin(decoder: Decoder, encoder: GlyphEncoder, lines: list[list[str]], plan: Tensor,
          seed: int | list[int], times: list[float], sigmas: list[float]) -> list[Tensor]:
    """The first steps of each picture, from the best of its noises: its latents after each, (B, C, 4 h, 4 w).
    They are not guided, which changes nothing that can be read in the end.

    lines: what to write on each. plan (B, h, w). seed: as the pipeline's. times, sigmas: of all steps; begun
    are those of times above EARLY, if others follow; none, if the decoder was not taught where letters stand.
    Of equally good noises the first is chosen, which is the picture's own.
    """
    steps = sum(time > EARLY for time in times)
    if steps == len(times) or decoder.config.aligned is None:
        return []
    begun = []                               # by picture: the latents after each step
    shape = decoder.config.channels, 4 * plan.shape[1], 4 * plan.shape[2]
    own = seeds(seed, len(lines), NOISES)
    for b, (some, ids) in enumerate(zip(lines, plan)):
        words = any(line.strip() for line in some)
        mine = own[b * NOISES:][:NOISES if words else 1]
        noise = torch.stack([paint.noise(shape, paint.generator(s)) for s in mine])  # (M, C, 4 h, 4 w)
        ids = ids.expand(len(noise), -1, -1)
        velocity = paint.velocity(decoder, encoder, [some] * len(noise), ids, guidance=1)
        latents = list(flow.sample(velocity, noise.to(ids.device), times[:steps], sigmas[:steps + 1]))
        which = 0
        if words:
            which = int(letters(decoder, encoder, some, ids, latents[-1], times[steps]).amin(1).argmax())
        begun.append([each[which] for each in latents])
    return [torch.stack(each) for each in zip(*begun)]


@torch.no_grad()
def score(decoder: Decoder, encoder: GlyphEncoder, lines: list[str], plans: Tensor, noise: Tensor,
          memory: list[Memory], expected: Expected | None = None) -> Tensor:
    """How good each plan (K, h, w) of a picture is, (K,), on its noise (C, 4 h, 4 w); zeros if there is
    nothing to write and nothing is expected.

    One picture at a time, since pictures to edit differ in number and size.
    """
    count, value, text = len(plans), torch.zeros(len(plans)), torch.zeros(plans.shape)
    if lines:
        several = [[(k.expand(count, -1, -1, -1), v.expand(count, -1, -1, -1)) for k, v in one]
                   for one in memory]
        seen = attention(decoder, encoder, lines, plans, noise.expand(count, *noise.shape), START, several)
        value = found(seen).mean(1).cpu()
        text = reduce(seen.exp().sum(-1), "k t (h y w x) -> k h w", "mean", h=plans.shape[1], y=2, x=2).cpu()
    if expected:
        value = value - unexpected(plans.cpu(), text, expected)
    return value


def unexpected(plans: Tensor, text: Tensor, expected: Expected) -> Tensor:
    """What it costs that plans (K, h, w) have room for more objects than there should be, or for fewer, (K,).
    text (K, h, w): the attention that each cell pays letters."""
    if not expected.things:
        return torch.zeros(len(plans))
    ground = plans.flatten(1).mode(1).values[:, None, None]
    covered = ((plans != ground) & (text < LETTERS)).sum((1, 2))
    return ASTRAY * (covered - expected.cells).abs() * expected.things / expected.cells


def letters(decoder: Decoder, encoder: GlyphEncoder, lines: list[str], plans: Tensor, latents: Tensor,
            time: float) -> Tensor:
    """How much of each letter of the lines finds a place in each of K latents (K, C, 4 h, 4 w) on their plans
    (K, h, w): (K, letters), see `found`."""
    return found(attention(decoder, encoder, lines, plans, latents, time))


def attention(decoder: Decoder, encoder: GlyphEncoder, lines: list[str], plans: Tensor, latents: Tensor,
              time: float, memory: list[list] | None = None) -> Tensor:
    """The log attention weights (K, H, N, letters) from the image tokens of K latents to the letters of the
    lines, in the block that was taught where they stand; arguments as for `letters`."""
    device, count = encoder.embed.weight.device, len(plans)
    drawn = torch.from_numpy(rasters(lines).any(1)).to(device)                   # (S,): no spaces, no ends
    features, _ = paint.glyphs(encoder, [lines])                                 # (1, S, D)
    latents, at = latents.to(device, paint.dtype_of(decoder)), torch.full((1,), time, device=device)
    _, seen = decoder.watch(latents, at, plans.to(device), features.expand(count, -1, -1), memory=memory,
                            block=decoder.config.aligned, heads=decoder.config.heads)
    return seen[..., drawn]


def found(seen: Tensor) -> Tensor:
    """How much of each glyph token finds a place, (K, S), 0 to 2: the largest attention that any image token
    pays it, by the heads of the upper halves of letters and by those of the lower.

    seen (K, H, N, S): log attention weights from image tokens to glyph tokens.
    """
    halves = rearrange(seen.exp(), "k (t h) n s -> k t h n s", t=2).mean(2)      # (K, 2, N, S)
    return halves.amax(2).sum(1)
