"""What defines a training run: recipes (how long, at what rate), stages (what), and the steps it yields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from minglm.config import Config


@dataclass(frozen=True)
class Recipe:
    """How long and at what learning rate a stage trains."""

    steps: int
    batch: int
    lr: float = 1e-3                         # AdamW: embeddings, norms, biases, first and last layers
    muon_lr: float = 0.0                     # Muon for hidden matrices; 0: AdamW for everything
    weight_decay: float = 0.01
    warmup: int = 100
    decay: float = 0.3                  # the fraction of steps, at the end, over which lr falls linearly to 0
    clip: float = 1.0
    ema: float = 0.999

    def rate(self, step: int) -> float:
        """The learning rate of a step, as a fraction of the peak: warm-up, constant, linear decay to 0."""
        end = max(1, round(self.steps * self.decay))
        return min(1.0, (step + 1) / max(1, self.warmup), max(0.0, (self.steps - step) / end))


@dataclass
class Stage:
    """One thing to train: its modules, the batch of a step, and the loss of a batch."""

    name: str
    model: nn.Module                         # everything the optimiser changes
    batch: Callable[..., dict]               # step number (and which samples) -> tensors on the device
    loss: Callable[[dict], tuple[Tensor, dict[str, Tensor]]]
    recipe: Recipe
    muon: Callable[[str], bool] = lambda name: False  # names of the hidden matrices
    after: Callable[[], dict[str, Tensor]] = dict     # called once per step, after its losses; more to log
    rare: Callable[[str], bool] = lambda name: False  # names of tables of which a batch sees few rows
    begin: Callable[[], None] = lambda: None          # called before the first step of a new run


@dataclass
class Step:
    """What happened at one step. `loss` and `stats` wait for the device on first use, in one copy."""

    number: int                              # steps done so far, so the first is 1
    steps: int
    seconds: float                           # trained so far, including the runs resumed from
    samples_per_second: float
    values: dict[str, Tensor] = field(repr=False, default_factory=dict)

    @property
    def loss(self) -> float:
        return self.stats["loss"]

    @cached_property
    def stats(self) -> dict[str, float]:
        return dict(zip(self.values, torch.stack([value.float() for value in self.values.values()]).tolist()))


# stages of one model, each from the weights of the one before
PLANNERS = "planner", "planner-large", "planner-letters", "planner-lines", "planner-guided"
DECODERS = ("decoder", "decoder-large", "decoder-letters", "decoder-lines", "decoder-wide", "decoder-planned",
            "decoder-objects", "decoder-fine")
# the same, and the stage that trains the glyph encoder alone between them
WRITERS = *DECODERS[:4], "glyph-order", *DECODERS[4:]
SHALLOW = DECODERS[:3]                       # the decoder's before decoder-lines, which adds a block


def staged(name: str, config: Config) -> Config:
    """The configuration as a stage trains it: the planner's first two read texts as BPE tokens, the decoder's
    first three have a block less, those before decoder-objects hear ids without their neighbours, and the
    glyph encoder learns the order of bytes in glyph-order only."""
    if name in PLANNERS[:2]:
        return replace(config, planner=replace(config.planner, spelled=False))
    if name == "glyph":
        return replace(config, glyph=replace(config.glyph, order=False))
    if name in SHALLOW:
        shallow = replace(config.decoder, depth=config.decoder.depth - 1, aligned=config.decoder.aligned - 1)
        config = replace(config, decoder=shallow)
    if name in DECODERS[:DECODERS.index("decoder-objects")]:
        config = replace(config, decoder=replace(config.decoder, neighbours=False))
    return config


RECIPES = {
    "mini": {
        "vae": Recipe(steps=5000, batch=16, lr=1e-3),
        "vae-decoder": Recipe(steps=4000, batch=16, lr=7e-4, decay=0.7),
        "tokenizer": Recipe(steps=3500, batch=128, lr=1e-3, muon_lr=4e-3),
        "glyph": Recipe(steps=6000, batch=64, lr=2e-3, muon_lr=8e-3, weight_decay=0.0, decay=0.4),
        "planner": Recipe(steps=5500, batch=32, lr=1e-3, muon_lr=4e-3),
        "planner-large": Recipe(steps=4700, batch=32, lr=7e-4, muon_lr=2.8e-3, decay=0.6),
        "planner-letters": Recipe(steps=2650, batch=32, lr=7e-4, muon_lr=2.8e-3, decay=0.6),
        "planner-lines": Recipe(steps=2500, batch=32, lr=7e-4, muon_lr=2.8e-3, decay=0.7),
        "planner-guided": Recipe(steps=1800, batch=32, lr=7e-4, muon_lr=2.8e-3, decay=0.7),
        "decoder": Recipe(steps=5500, batch=32, lr=1e-3, muon_lr=4e-3),
        "decoder-large": Recipe(steps=2600, batch=32, lr=8e-4, muon_lr=3.2e-3, decay=0.7),
        "decoder-letters": Recipe(steps=2000, batch=32, lr=8e-4, muon_lr=3.2e-3, decay=0.7),
        "decoder-lines": Recipe(steps=1800, batch=32, lr=8e-4, muon_lr=3.2e-3, decay=0.7),
        "glyph-order": Recipe(steps=700, batch=64, lr=1e-3, muon_lr=4e-3, weight_decay=0.0, warmup=50,
                              decay=0.5),
        "decoder-wide": Recipe(steps=1400, batch=32, lr=8e-4, muon_lr=3.2e-3, decay=0.7),
        "decoder-planned": Recipe(steps=1200, batch=32, lr=8e-4, muon_lr=3.2e-3, decay=0.7),
        "decoder-objects": Recipe(steps=1200, batch=32, lr=8e-4, muon_lr=3.2e-3, decay=0.7),
        "decoder-fine": Recipe(steps=2300, batch=32, lr=5e-4, muon_lr=2e-3, decay=0.9),
        # adapters
        "edit-planner": Recipe(steps=2600, batch=32, lr=1.5e-3, weight_decay=0.0, decay=0.6),
        "edit-decoder": Recipe(steps=1400, batch=32, lr=2e-3, weight_decay=0.0, decay=0.5),
        # on a person's own pictures: all weights by small steps, or adapters by larger ones
        "finetune-planner": Recipe(steps=400, batch=16, lr=2e-4, warmup=20, ema=0.99),
        "finetune-decoder": Recipe(steps=400, batch=16, lr=2e-4, warmup=20, ema=0.99),
        "lora-planner": Recipe(steps=400, batch=16, lr=2e-3, weight_decay=0.0, warmup=20, ema=0.99),
        "lora-decoder": Recipe(steps=400, batch=16, lr=2e-3, weight_decay=0.0, warmup=20, ema=0.99),
        "grpo-planner": Recipe(steps=540, batch=64, lr=1e-4, weight_decay=0.0, warmup=10, ema=0.97),
        "grpo-decoder": Recipe(steps=300, batch=64, lr=3e-5, warmup=10, ema=0.95),
    },
    "tiny": {
        "vae": Recipe(steps=200, batch=8, lr=1e-3, warmup=10),
        "vae-decoder": Recipe(steps=60, batch=8, lr=1e-3, warmup=10),
        "tokenizer": Recipe(steps=200, batch=32, lr=1e-3, muon_lr=4e-3, warmup=10),
        "glyph": Recipe(steps=200, batch=32, lr=2e-3, muon_lr=8e-3, weight_decay=0.0, warmup=10),
        "planner": Recipe(steps=300, batch=32, lr=2e-3, muon_lr=4e-3, warmup=10),
        "planner-large": Recipe(steps=100, batch=32, lr=1e-3, muon_lr=2e-3, warmup=10),
        "planner-letters": Recipe(steps=100, batch=32, lr=1e-3, muon_lr=2e-3, warmup=10),
        "planner-lines": Recipe(steps=100, batch=32, lr=1e-3, muon_lr=2e-3, warmup=10),
        "planner-guided": Recipe(steps=100, batch=32, lr=1e-3, muon_lr=2e-3, warmup=10),
        "decoder": Recipe(steps=300, batch=16, lr=2e-3, muon_lr=4e-3, warmup=10),
        "decoder-large": Recipe(steps=100, batch=16, lr=1e-3, muon_lr=2e-3, warmup=10),
        "decoder-letters": Recipe(steps=100, batch=16, lr=1e-3, muon_lr=2e-3, warmup=10),
        "decoder-lines": Recipe(steps=100, batch=16, lr=1e-3, muon_lr=2e-3, warmup=10),
        "glyph-order": Recipe(steps=60, batch=32, lr=1e-3, muon_lr=2e-3, weight_decay=0.0, warmup=10),
        "decoder-wide": Recipe(steps=100, batch=16, lr=1e-3, muon_lr=2e-3, warmup=10),
        "decoder-planned": Recipe(steps=100, batch=16, lr=1e-3, muon_lr=2e-3, warmup=10),
        "decoder-objects": Recipe(steps=60, batch=16, lr=1e-3, muon_lr=2e-3, warmup=10),
        "decoder-fine": Recipe(steps=60, batch=16, lr=1e-3, muon_lr=2e-3, warmup=10),
        "edit-planner": Recipe(steps=100, batch=16, lr=5e-3, weight_decay=0.0, warmup=10),
        "edit-decoder": Recipe(steps=100, batch=12, lr=5e-3, weight_decay=0.0, warmup=10),
        "finetune-planner": Recipe(steps=60, batch=8, lr=1e-3, warmup=5, ema=0.9),
        "finetune-decoder": Recipe(steps=60, batch=8, lr=1e-3, warmup=5, ema=0.9),
        "lora-planner": Recipe(steps=60, batch=8, lr=5e-3, weight_decay=0.0, warmup=5, ema=0.9),
        "lora-decoder": Recipe(steps=60, batch=8, lr=5e-3, weight_decay=0.0, warmup=5, ema=0.9),
        "grpo-planner": Recipe(steps=20, batch=16, lr=1e-4, warmup=2, ema=0.95),
        "grpo-decoder": Recipe(steps=20, batch=16, lr=1e-4, warmup=2, ema=0.95),
    },
}
