"""The sizes of every part, and the four presets: tiny, mini, base, glm_image.

One set of classes serves all presets; `glm_image` is the released model (source: the configs in
zai-org/GLM-Image), the others are the same model at smaller sizes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images: red, green, blue
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VAEConfig:
    """Image <-> latents, by our own VAE."""

    scale: int = 8                           # pixels per latent and side
    channels: int = 16                       # latent channels
    widths: tuple[int, int] = (48, 96)       # feature channels at 1/4 and at 1/8 of the image
    blocks: int = 2                          # residual blocks per resolution of the decoder


@dataclass(frozen=True)
class AutoencoderConfig:
    """Image <-> latents, by the released model's autoencoder, in place of VAEConfig."""

    channels: int = 16                       # latent channels
    widths: tuple[int, ...] = (128, 512, 1024, 1024)  # feature channels at 1, 1/2, 1/4, 1/8 of the image
    blocks: int = 3                          # residual blocks per resolution; the decoder has one more
    groups: int = 32                         # of the group norms
    mean: tuple[float, ...] = (0.0,) * 16    # of each latent channel, subtracted by `encode`
    std: tuple[float, ...] = (1.0,) * 16     # divided by

    @property
    def scale(self) -> int:
        """Pixels per latent and side."""
        return 2 ** (len(self.widths) - 1)


@dataclass(frozen=True)
class TokenizerConfig:
    """Vision encoder (ViT on the half-size image) and vector quantiser."""

    patch: int = 16                          # pixels of the half-size image: 32 of the image
    width: int = 192
    depth: int = 4
    heads: int = 6
    mlp: int = 768
    table: int = 8                           # side of the learned position table, resampled
    codebook: int = 4096
    code_width: int = 32
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)  # subtracted from red, green and blue in 0..1
    std: tuple[float, ...] = (0.5, 0.5, 0.5)   # divided by
    sides: tuple[int, int] = (96, 256)       # smallest and largest side to which pictures to edit are resized
    post_conv: bool = False                  # hold the convolution after the codebook, which is unused


@dataclass(frozen=True)
class PlannerConfig:
    """GLM-4 transformer. One embedding table: codes, boi, eoi, unused, then text.

    exact: round as the published code does, to the last bit, so that the same random numbers sample the same
    ids: the same operators with the same weights, shapes and threads, since how a sum is split, and so how it
    rounds, may depend on each of these. It holds in single precision on a CPU, with the tested versions of
    torch and transformers; elsewhere another id is sampled now and then.
    """

    codebook: int = 4096
    vision_vocab: int = 4224                 # codes + boi + eoi + unused; size of the output head
    vocab: int = 8320                        # vision_vocab + text vocabulary
    width: int = 256
    depth: int = 6
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 32
    mlp: int = 768
    rope_theta: float = 30.0                 # small, as its grids are (glm_image: 10000)
    rotary_fraction: float = 0.5             # of head_dim that is rotated
    mrope_section: tuple[int, int, int] = (2, 3, 3)  # rotary frequencies for time, row, column
    eps: float = 1e-5
    preview_tokens: int = 4                  # area of the preview grid, a square number
    preview_weight: float = 2.0              # its weight in the loss, against 1 for the large grid
    exact: bool = False                      # see above (glm_image)
    spelled: bool = False                    # quoted texts are read byte by byte (model/spelling.py)

    @property
    def boi(self) -> int:
        return self.codebook

    @property
    def eoi(self) -> int:
        return self.codebook + 1


@dataclass(frozen=True)
class GlyphConfig:
    """Byte-level T5 encoder for quoted text."""

    vocab: int = 384                         # byte + 3; 0 pad, 1 end of string
    width: int = 256
    depth: int = 4
    heads: int = 8
    head_dim: int = 32
    mlp: int = 1024
    buckets: int = 32                        # relative-position buckets
    max_distance: int = 128
    eps: float = 1e-6
    places: bool = True                      # embed where a byte stands, and learn to draw it
    raster: int = 512                        # pixels that each byte learns to draw, if `places`
    order: bool = False                      # third and fourth bytes have ids of their own


@dataclass(frozen=True)
class DecoderConfig:
    """Single-stream diffusion transformer."""

    patch: int = 2
    channels: int = 16
    width: int = 256
    depth: int = 5
    heads: int = 4                           # few and wide: normalised queries need width to be sharp
    head_dim: int = 64
    glyph_width: int = 256
    scale: int = 8                           # pixels per latent and side
    time_width: int = 128                    # also the width of the modulation vector
    size_width: int = 64                     # width of the sinusoid of each size
    codebook: int = 4096
    rope_theta: float = 10000.0
    quarters: bool = True                    # an id says something else to each of its 2x2 tokens
    neighbours: bool = False                 # an id is heard together with the eight around it
    aligned: int | None = 2                  # the block taught which letter stands where; None: none is
    middle: int | None = 4                   # the middle column's number at any width; None: from the left


@dataclass(frozen=True)
class FlowConfig:
    """The linear shift of sigma: mu = max_shift * sqrt(tokens / base_tokens) + base_shift."""

    base_shift: float = 0.25
    max_shift: float = 0.75
    base_tokens: int = 16                    # glm_image: 256


@dataclass(frozen=True)
class Config:
    """The configuration of all parts of one model."""

    name: str = "mini"
    vae: VAEConfig | AutoencoderConfig = field(default_factory=VAEConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    glyph: GlyphConfig = field(default_factory=GlyphConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    max_side: int = 256                      # longest image side, in pixels
    posters: bool = True                     # paints the poster world only (glm_image: no)
    edits: bool = False                      # there are adapters that edit posters (model/editing.py)

    @property
    def cell(self) -> int:
        """Pixels per planner id and side: 32."""
        return 2 * self.vae.scale * self.decoder.patch

    @property
    def unpublished(self) -> list[str]:
        """What the published classes cannot represent; empty for a model of the published kind."""
        glyph, decoder, planner = self.glyph, self.decoder, self.planner
        ours = {"the VAE is not an AutoencoderConfig": not isinstance(self.vae, AutoencoderConfig),
                "glyph.places is on": glyph.places, "glyph.order is on": glyph.order,
                "decoder.quarters is on": decoder.quarters, "decoder.neighbours is on": decoder.neighbours,
                "decoder.middle is set": decoder.middle is not None, "planner.spelled is on": planner.spelled}
        return [what for what, is_so in ours.items() if is_so]

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> Config:
        """The inverse of `to_dict`, from JSON too (lists become tuples)."""
        values, parts = dict(values), dict(vae=VAEConfig, tokenizer=TokenizerConfig, planner=PlannerConfig,
                                           glyph=GlyphConfig, decoder=DecoderConfig, flow=FlowConfig)
        if "groups" in values["vae"]:
            parts["vae"] = AutoencoderConfig
        for name, part in parts.items():
            numbers = {k: tuple(v) if isinstance(v, list) else v for k, v in values[name].items()}
            values[name] = part(**numbers)
        return cls(**values)


def _tiny() -> Config:
    return Config(
        name="tiny",
        vae=VAEConfig(widths=(16, 32), blocks=1),
        tokenizer=TokenizerConfig(width=64, depth=2, heads=2, mlp=128, codebook=256, code_width=16),
        planner=PlannerConfig(codebook=256, vision_vocab=288, vocab=2336, width=64, depth=2, heads=4,
                              kv_heads=2, head_dim=16, mlp=128, mrope_section=(1, 1, 2), spelled=True),
        glyph=GlyphConfig(width=64, depth=1, heads=2, mlp=128, order=True),
        decoder=DecoderConfig(width=64, depth=3, heads=4, head_dim=16, glyph_width=64, time_width=64,
                              size_width=16, codebook=256, neighbours=True),
    )


def _base() -> Config:
    return Config(
        name="base",
        vae=VAEConfig(widths=(128, 256), blocks=3),
        tokenizer=TokenizerConfig(width=384, depth=8, heads=6, mlp=1536, table=16, codebook=4096),
        planner=PlannerConfig(codebook=4096, vision_vocab=4224, vocab=6272, width=512, depth=12, heads=8,
                              kv_heads=2, head_dim=64, mlp=1536, rope_theta=100.0, mrope_section=(4, 6, 6),
                              preview_tokens=16),
        glyph=GlyphConfig(width=384, depth=4, heads=6, head_dim=64, mlp=1024, order=True),
        decoder=DecoderConfig(width=768, depth=12, heads=12, head_dim=64, glyph_width=384, time_width=256,
                              size_width=128, codebook=4096, neighbours=True),
        flow=FlowConfig(base_tokens=64),
        max_side=512,
    )


def _glm_image() -> Config:
    return Config(
        name="glm_image",
        vae=AutoencoderConfig(),
        tokenizer=TokenizerConfig(width=1536, depth=40, heads=16, mlp=6144, table=128, codebook=16384,
                                  code_width=2048, mean=CLIP_MEAN, std=CLIP_STD, sides=(512, 2048),
                                  post_conv=True),
        planner=PlannerConfig(codebook=16384, vision_vocab=16512, vocab=168064, width=4096, depth=40,
                              heads=32, kv_heads=2, head_dim=128, mlp=13696, rope_theta=10000.0,
                              mrope_section=(8, 12, 12), preview_tokens=256, exact=True),
        glyph=GlyphConfig(width=1472, depth=12, heads=6, head_dim=64, mlp=3584, places=False),
        decoder=DecoderConfig(width=4096, depth=30, heads=32, head_dim=128, glyph_width=1472, time_width=512,
                              size_width=256, codebook=16384, quarters=False, middle=None, aligned=None),
        flow=FlowConfig(base_tokens=256),
        max_side=2048,
        posters=False,
    )


def _mini() -> Config:
    return Config(planner=PlannerConfig(spelled=True), glyph=GlyphConfig(order=True),
                  decoder=DecoderConfig(neighbours=True))


def preset(name: str) -> Config:
    """The configuration called `name`. Raises ValueError for an unknown name."""
    makers = dict(tiny=_tiny, mini=_mini, base=_base, glm_image=_glm_image)
    if name not in makers:
        raise ValueError(f"unknown config {name!r}: choose one of {', '.join(makers)}")
    return makers[name]()
