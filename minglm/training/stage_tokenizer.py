"""Stage `tokenizer`: ids that say what a picture shows, and where.

Shapes: B batch · h, w id grid · D width · K codes · E code width · V vocabulary of the captions ·
O parts of objects.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minglm.config import Config, TokenizerConfig
from minglm.device import Device
from minglm.model.bpe import BPE
from minglm.model.tokenizer import Tokenizer, VectorQuantiser, VisionBlock
from minglm.training import ranks
from minglm.training.batches import WHOLE, drawn, generator, image_size, pixels
from minglm.training.recipe import Recipe, Stage
from minglm.world.draw import draw
from minglm.world.explicit import explicit_en, explicit_zh
from minglm.world.layout import CELL
from minglm.world.masks import PARTS, filled, object_cells, object_mask, square_mask, text_mask
from minglm.world.objects import things
from minglm.world.posters import Poster
from minglm.world.quotes import unquoted


class Alignment(nn.Module):
    """Three heads on the codes of an image, used in training only.

    The first predicts the words of the caption from all codes together (a softmax over the vocabulary with
    rare words weighted more, as in SuperClass, arXiv:2411.03313). The other two see one code at a time: the
    second draws the code's cell at half size, with letters filled, and the third tells of which object the
    cell shows a part, and which part. The first makes the ids semantic; the second makes them local, so that
    what stands elsewhere does not change them and a planner can foretell them; the third keeps objects apart
    that look alike in one cell. (The released tokenizer was initialised from SigLIP, which was aligned with
    whole captions; at a batch size of 128, single words train many times faster.)
    """

    def __init__(self, config: TokenizerConfig, vocab: int):
        super().__init__()
        width, self.side = config.width, config.patch
        self.codes = nn.Linear(config.code_width, width)
        self.rows = nn.Parameter(0.02 * torch.randn(32, width))
        self.columns = nn.Parameter(0.02 * torch.randn(32, width))
        block = TokenizerConfig(width=width, heads=config.heads, mlp=2 * width)
        self.image = nn.Sequential(VisionBlock(block), VisionBlock(block))
        self.norm = nn.LayerNorm(width)
        self.words = nn.Linear(width, vocab)
        self.cell, self.part = (
            nn.Sequential(nn.Linear(config.code_width, width), nn.GELU(), nn.Linear(width, outputs))
            for outputs in (3 * config.patch ** 2, len(PARTS) * len(things())))

    def forward(self, codes: Tensor, shown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """codes (B, h, w, E) -> word logits (B, V), half-size pixels (B, 3, 16 h, 16 w), and the logits of
        the part of an object in each cell (B, h, w, O).

        shown (B, h, w): 1 where there is text or an object. Words are asked of those cells only, or the ids
        of plain ground would tell of what stands elsewhere.
        """
        h, w, e = codes.shape[1:]
        codes = codes * e ** 0.5             # from length 1 to entries around 1
        x = self.codes(codes) + self.rows[:h, None] + self.columns[:w]           # (B, h, w, D)
        x = self.norm(self.image(rearrange(x, "b h w d -> b (h w) d")))
        shown = rearrange(shown, "b h w -> b (h w) 1")
        whole = (x * shown).sum(1) / shown.sum(1).clamp_min(1)                   # (B, D)
        pixels = rearrange(self.cell(codes), "b h w (c p q) -> b c (h p) (w q)", c=3, p=self.side)
        return self.words(whole), pixels, self.part(codes)


def word_loss(scores: Tensor, words: Tensor, rarity: Tensor) -> Tensor:
    """KL divergence from the words of each caption, weighted by rarity, to softmax(scores).

    scores: logits (B, V); words (B, V), 1 = in the caption; rarity (V,).
    """
    # the cross-entropy minus the entropy of the target, so that 0 is perfect for every caption
    share = words * rarity
    share = share / share.sum(1, keepdim=True).clamp_min(1e-6)
    entropy = -(share * share.clamp_min(1e-9).log()).sum(1)
    return (-(share * scores.float().log_softmax(1)).sum(1) - entropy).mean()


def straight_through(z: Tensor, codes: Tensor) -> Tensor:
    """The values of `codes`, with a gradient that goes to z as if it had been passed on itself."""
    return z + (codes - z).detach()


def objective(tokenizer: Tokenizer, alignment: Alignment, b: dict,
              rarity: Tensor) -> tuple[Tensor, dict, Tensor, Tensor]:
    """The loss of a batch b of `tokenizer_stage`, its parts, the features z (B, h, w, E), the ids (B, h, w).

    Words of the caption, the half-size pixels of each cell, the part of an object in it, and the commitment
    of features to their codes.
    """
    quantiser = tokenizer.quantiser
    z = tokenizer.features(b["images"])
    ids = quantiser.nearest(z.detach())
    codes = quantiser.lookup(ids)
    commitment = (1 - (z * codes).sum(-1)).mean()                               # pulls features to their code
    scores, reconstruction, parts = alignment(straight_through(z, codes), b["shown"])
    words = word_loss(scores, b["words"], rarity)
    cells = F.cross_entropy(parts.float().movedim(-1, 1), b["which"], reduction="none") * b["covered"]
    cells = cells.sum() / b["sums"]["covered"].clamp_min(1e-6)
    error = ((reconstruction.float() - b["targets"]).square() * b["weight"]).mean()
    value = 0.3 * words + 10 * error + cells + 0.5 * commitment
    return value, dict(words=words.detach(), pixels=error.detach(), parts=cells.detach(),
                       commitment=commitment.detach()), z, ids


@torch.no_grad()
def revise_codes(quantiser: VectorQuantiser, usage: Tensor, z: Tensor, ids: Tensor,
                 generator: torch.Generator, decay: float = 0.95, twin: float = 0.96) -> None:
    """Move each code towards the mean of the features assigned to it; reset codes that are not used, and
    those whose cosine with one that is used more is above `twin` (0.96: 16 degrees).

    Without the last rule most codes come in flocks for one and the same thing, such as plain green ground,
    and which of them is chosen depends on what stands elsewhere in the picture: that tells a decoder nothing,
    and no planner can foretell it. usage (K,), updated in place: a running mean of how often codes are
    chosen; z (B, h, w, E); ids (B, h, w).
    """
    z, ids, codes = z.reshape(-1, z.shape[-1]), ids.flatten(), quantiser.codes
    chosen = torch.zeros_like(usage).index_add_(0, ids, torch.ones_like(z[:, 0]))
    total = torch.zeros_like(codes).index_add_(0, ids, z.to(codes.dtype))
    moved = F.normalize(decay * codes + (1 - decay) * F.normalize(total, dim=-1), dim=-1)
    codes.copy_(torch.where(chosen[:, None] > 0, moved, codes))
    usage.mul_(decay).add_(chosen, alpha=1 - decay)
    unit = F.normalize(codes, dim=-1)
    doubled = ((unit @ unit.T > twin) & (usage[None] > usage[:, None])).any(1)
    # an unused code becomes a feature of the batch, with enough usage to survive for a while: rather one that
    # is far from its code, or most codes would go to plain ground, of which there is most
    dead, far = (usage < 0.02) | doubled, 1 - (z * quantiser.lookup(ids)).sum(-1)
    reach = far.clamp_min(1e-6).cumsum(0)    # each is picked by its share of the sum: no read by the host
    pick = torch.rand(len(codes), generator=generator).to(z.device) * reach[-1]
    pick = torch.searchsorted(reach, pick).clamp_max(len(z) - 1)
    codes.copy_(torch.where(dead[:, None], z[pick], codes))
    usage.copy_(torch.where(dead, torch.full_like(usage, 0.2), usage))


def both(poster: Poster) -> str:
    """All there is to tell of a poster in both languages, since a picture does not say in which one it was
    asked for. (Free captions also have words such as "please", which are not in the picture.)"""
    return f"{explicit_en(poster)}\n{explicit_zh(poster)}"


def word_table(bpe: BPE, captions: list[str]) -> Tensor:
    """(B, V): 1 for the tokens of each caption, quoted texts excluded, which ids need not encode."""
    table = torch.zeros(len(captions), len(bpe))
    for row, caption in zip(table, captions):
        row[bpe.encode(unquoted(caption))] = 1
    return table


class TokenizerTraining(nn.Module):
    """The tokenizer and its alignment heads in one module, for one optimiser and one EMA."""

    def __init__(self, config: Config):
        super().__init__()
        self.tokenizer = Tokenizer(config.tokenizer)
        self.tokenizer.quantiser.codes.requires_grad_(False)                     # revise_codes moves them
        self.alignment = Alignment(config.tokenizer, config.planner.vocab - config.planner.vision_vocab)
        self.register_buffer("usage", torch.full((config.tokenizer.codebook,), 0.2))


def tokenizer_stage(config: Config, device: Device, recipe: Recipe, bpe: BPE) -> Stage:
    """Caption alignment and reconstruction from the codes, which follow the features assigned to them."""
    model = TokenizerTraining(config).to(device.device)
    table = word_table(bpe, [both(draw(0, i)) for i in range(2000)])
    rarity = torch.log(2000 / (1 + table.sum(0))).to(device.device)              # inverse document frequency

    seen = []                                # features, ids and generator of each part of a step

    def batch(step: int, share: slice = WHOLE) -> dict:
        posters_ = drawn("tokenizer", step, recipe.batch, image_size("tokenizer", step), share)
        words = word_table(bpe, [both(p) for p in posters_])
        images = pixels(posters_)
        # ids have to tell where a text is and its colour, but not its letters, which the glyph encoder tells;
        # objects count more, since nothing else tells them, and the ground around them hardly, since other
        # ids tell it: or each object would need codes of its own for every ground
        targets, objects = filled(posters_, images), object_mask(posters_)
        weight = 1 + 3 * objects - 0.9 * (square_mask(posters_) - objects).clamp_min(0)
        preview = step % 4 == 3 and posters_[0].height % 64 == posters_[0].width % 64 == 0
        if preview:                          # half the size
            images, targets, weight = (F.avg_pool2d(each, 2) for each in (images, targets, weight))
        cell = 2 * CELL if preview else CELL
        which, part, covered = object_cells(posters_, cell)
        written = F.avg_pool2d(text_mask(posters_), cell)[:, 0]
        data = device.to(dict(images=images, words=words, targets=F.avg_pool2d(targets, 2),
                              weight=F.avg_pool2d(weight, 2), which=len(PARTS) * which + part,
                              covered=covered, shown=(written + covered > 0.02).float()))
        return data | dict(generator=generator("tokenizer", step), sums=dict(covered=data["covered"].sum()))

    def loss(b: dict) -> tuple[Tensor, dict]:
        value, stats, z, ids = objective(model.tokenizer, model.alignment, b, rarity)
        if model.training:
            seen.append((z.detach(), ids, b["generator"]))
        return value, stats

    def after() -> dict:
        """Revise the codes from the features of the whole batch, over all its parts and ranks."""
        z, ids = (ranks.gather(torch.cat(found)) for found in list(zip(*seen))[:2])
        revise_codes(model.tokenizer.quantiser, model.usage, z, ids, seen[0][2])
        # index_add_ is not deterministic on every device: copy rank 0's codes to all
        ranks.same(model.tokenizer.quantiser.codes, model.usage)
        seen.clear()
        share = model.usage / model.usage.sum()
        return dict(perplexity=torch.exp(-(share * (share + 1e-9).log()).sum()))

    def hidden(name: str) -> bool:
        return "blocks" in name or "alignment.image" in name

    return Stage("tokenizer", model, batch, loss, recipe, hidden, after)
