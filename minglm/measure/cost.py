"""What a picture costs: FLOPs, bytes read and seconds of each stage, from the sizes alone (a roofline model).

A stage takes as long as its arithmetic, or as long as reading its weights, whichever is longer. The planner
reads all its weights for every single id, so it is bound by bandwidth; the decoder processes thousands of
tokens at once, so it is bound by arithmetic. Peaks are never reached: `flops_share` and `bandwidth_share` of
a Card are the assumed fractions of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from minglm.config import Config
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.planner import Planner
from minglm.model.prompt import preview_grid
from minglm.model.tokenizer import Tokenizer
from minglm.model.weights import either_vae

BYTES = 2                                    # per number in bfloat16
PROMPT, GLYPHS = 128, 32                     # ids of a typical prompt, bytes of its quoted texts


@dataclass(frozen=True)
class Card:
    """Peak FLOP/s in bfloat16, memory bandwidth in bytes/s, and the fractions of both that programs reach."""

    name: str
    flops: float
    bandwidth: float
    memory: float                            # bytes
    flops_share: float = 0.5
    bandwidth_share: float = 0.6


# Dense bfloat16 peaks as commonly quoted (the 910B's are assumed: its variants differ); the laptop's two
# cores from a matmul measured by this project, their memory assumed.
CARDS = {card.name: card for card in (
    Card("h100", 989e12, 3.35e12, 80e9),
    Card("h800", 989e12, 3.35e12, 80e9),
    Card("ascend-910b", 376e12, 1.6e12, 64e9),
    Card("laptop", 0.33e12, 20e9, 16e9),
)}

# Seconds per picture measured by others: (card, size, steps, planner, decoder, program). For the Ascend
# numbers size and steps were not stated; 1024x1024 and 50 are assumed.
PUBLISHED = (
    ("h100", (1152, 768), 30, 31.8, 14.0, "SGLang with Hugging Face's planner (sglang#17689)"),
    ("h800", (1024, 1024), 50, 14.0, 13.9, "vLLM-Omni 0.22, one card"),
    ("ascend-910b", (1024, 1024), 50, 122.8, 31.6,
     "SGLang, one NPU, Hugging Face's planner (LMSYS, 2026-08; size and steps assumed)"),
    ("ascend-910b", (1024, 1024), 50, 46.6, 31.6,
     "SGLang, one NPU, its own planner (LMSYS, 2026-08; size and steps assumed)"),
)


@dataclass(frozen=True)
class Cost:
    """The cost of one stage of painting."""

    stage: str
    parameters: int
    flops: float
    bytes: float                             # weights and caches read
    memory: float                            # bytes held at once: weights, caches, widest activations

    def seconds(self, card: Card) -> float:
        return max(self.flops / (card.flops * card.flops_share),
                   self.bytes / (card.bandwidth * card.bandwidth_share))

    def bound(self, card: Card) -> str:
        """What limits the stage on this card: "arithmetic" or "bandwidth"."""
        work = self.flops / (card.flops * card.flops_share)
        return "arithmetic" if work >= self.bytes / (card.bandwidth * card.bandwidth_share) else "bandwidth"


def count(part: nn.Module, without: tuple[str, ...] = ()) -> int:
    """The number of parameters of a module, except those whose names start with one of `without`."""
    return sum(p.numel() for name, p in part.named_parameters() if not name.startswith(without))


def costs(config: Config, height: int, width: int, steps: int, guidance: bool = True,
          batch: int = 1) -> list[Cost]:
    """The costs of the stages of painting `batch` pictures from prompts.

    height, width: pixels. Raises ValueError for a size that is not a multiple of 32 or for steps below 1.
    """
    if height % config.cell or width % config.cell or min(height, width) < config.cell or steps < 1:
        raise ValueError(f"size {height}x{width} and {steps} steps: height and width must be multiples of "
                         f"{config.cell}, and at least one step taken")
    rows, columns = height // config.cell, width // config.cell
    with torch.device("meta"):
        planner, decoder, glyph = Planner(config.planner), Decoder(config.decoder), GlyphEncoder(config.glyph)
        tokenizer = Tokenizer(config.tokenizer)

    p = config.planner
    small = preview_grid(rows, columns, p.preview_tokens)
    drawn = small[0] * small[1] + rows * columns
    # per token 2 FLOPs a weight, and 4 a key and channel: 2 for the logits, 2 for the weighted sum of values
    weights = count(planner, ("embed",))                                         # a lookup multiplies nothing
    per_position = 4 * p.depth * p.heads * p.head_dim                             # FLOPs per key
    cache = 2 * p.depth * p.kv_heads * p.head_dim * BYTES                         # bytes per position
    keys = sum(PROMPT + i for i in range(drawn))
    prefill = Cost("planner reads the prompt", count(planner),
                   batch * PROMPT * (2 * weights + per_position * PROMPT / 2),    # causal: half of all pairs
                   weights * BYTES, count(planner) * BYTES + batch * PROMPT * cache)
    decode = Cost(f"planner draws {drawn} ids", count(planner),
                  batch * (drawn * 2 * weights + keys * per_position),
                  drawn * weights * BYTES + batch * keys * cache,
                  count(planner) * BYTES + batch * (PROMPT + drawn) * cache)

    g = config.glyph
    words = Cost("glyph encoder reads the words", count(glyph), batch * GLYPHS * 2 * count(glyph, ("embed",)),
                 count(glyph) * BYTES, (count(glyph) + batch * GLYPHS * g.mlp) * BYTES)

    d = config.decoder
    tokens, runs = 4 * rows * columns, batch * (2 if guidance else 1)
    shared = count(decoder.blocks[0]) - count(decoder.blocks[0].modulation)       # modulation: not per token
    once = sum(count(block.modulation) for block in decoder.blocks)
    seen = tokens + GLYPHS
    step = runs * (2 * shared * d.depth * seen + 2 * once + 4 * d.depth * d.heads * d.head_dim * seen ** 2)
    paint = Cost(f"decoder, {steps} steps", count(decoder), steps * step, steps * count(decoder) * BYTES,
                 (count(decoder) + runs * seen * 6 * d.width) * BYTES)
    editing = Cost("tokenizer (editing only)", count(tokenizer),
                   batch * rows * columns * 2 * count(tokenizer, ("quantiser.codes",)),
                   count(tokenizer) * BYTES, count(tokenizer) * BYTES)
    return [prefill, decode, words, paint, pixels(config, height, width, batch), editing]


def pixels(config: Config, height: int, width: int, batch: int) -> Cost:
    """The cost of decoding latents. PyTorch counts the convolutions' FLOPs, on meta tensors."""
    with torch.device("meta"):
        vae = either_vae(config.vae)
        latents = torch.empty(batch, config.vae.channels, height // config.vae.scale,
                              width // config.vae.scale)
        with FlopCounterMode(display=False) as counter:
            vae.decode(latents)
    used = count(vae, ("encoder", "down", "pca_in"))
    widest = batch * height * width * config.vae.widths[0] * BYTES               # one layer of features
    return Cost("VAE paints the pixels", used, counter.get_total_flops(), used * BYTES,
                used * BYTES + 3 * widest)


def table(config: Config, height: int, width: int, card: Card, steps: int, guidance: bool = True) -> str:
    """The costs on one card as text, with the assumptions, and what others measured on that card."""
    lines = [f"{config.name}, {height}x{width}, {steps} steps, guidance {'on' if guidance else 'off'}, "
             f"on {card.name}: {card.flops / 1e12:,.4g} TFLOP/s, {card.bandwidth / 1e12:,.4g} TB/s",
             f"assumed: {card.flops_share:.0%} of the arithmetic and {card.bandwidth_share:.0%} of the "
             f"bandwidth are reached, bfloat16, {PROMPT} prompt ids, {GLYPHS} bytes of quoted text", "",
             f"{'stage':<32}{'parameters':>16}{'TFLOP':>12}{'GB read':>12}{'GB held':>10}{'seconds':>10}"
             "  waits for"]
    for cost in costs(config, height, width, steps, guidance):
        lines.append(f"{cost.stage:<32}{cost.parameters:>16,}{cost.flops / 1e12:>12,.4g}"
                     f"{cost.bytes / 1e9:>12,.4g}{cost.memory / 1e9:>10,.3g}{cost.seconds(card):>10,.3g}"
                     f"  {cost.bound(card)}")
    if config.name == "glm_image":
        for name, size, count_, planner, decoder, program in PUBLISHED:
            if name == card.name:
                stages = costs(config, *size, count_)
                ours = stages[0].seconds(card) + stages[1].seconds(card), stages[3].seconds(card)
                lines += ["", f"measured by others: {program}, {size[0]}x{size[1]}, {count_} steps",
                          f"  planner {planner:.1f} s (this table: {ours[0]:.1f} s), decoder {decoder:.1f} s "
                          f"(this table: {ours[1]:.1f} s)"]
    return "\n".join(lines)
