"""The JSON files of the published layout, read into our dataclasses (write_config.py writes them).

Each part has two tables: the published names of our fields, and the published values that our classes assume.
Reading checks the latter, since another value would silently give another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from minglm.config import (
    AutoencoderConfig,
    Config,
    DecoderConfig,
    FlowConfig,
    GlyphConfig,
    PlannerConfig,
    TokenizerConfig,
    preset,
)
from minglm.files import read_json
from minglm.model.bpe import BPE, CODE

# folder -> (library, class), as model_index.json says
CLASSES = dict(
    processor=("transformers", "GlmImageProcessor"),
    scheduler=("diffusers", "FlowMatchEulerDiscreteScheduler"),
    text_encoder=("transformers", "T5EncoderModel"), tokenizer=("transformers", "ByT5Tokenizer"),
    transformer=("diffusers", "GlmImageTransformer2DModel"), vae=("diffusers", "AutoencoderKL"),
    vision_language_encoder=("transformers", "GlmImageForConditionalGeneration"))

PLANNER = dict(vocab="vocab_size", vision_vocab="vision_vocab_size", width="hidden_size",
               depth="num_hidden_layers", heads="num_attention_heads", kv_heads="num_key_value_heads",
               mlp="intermediate_size", eps="rms_norm_eps")
ROPE = dict(rope_theta="rope_theta", rotary_fraction="partial_rotary_factor", mrope_section="mrope_section")
VISION = dict(patch="patch_size", width="hidden_size", depth="depth", heads="num_heads",
              mlp="intermediate_size")
CODES = dict(codebook="num_embeddings", code_width="embed_dim")
READER = dict(mean="image_mean", std="image_std")
GLYPH = dict(vocab="vocab_size", width="d_model", depth="num_layers", heads="num_heads", head_dim="d_kv",
             mlp="d_ff", buckets="relative_attention_num_buckets",
             max_distance="relative_attention_max_distance", eps="layer_norm_epsilon")
DECODER = dict(patch="patch_size", channels="in_channels", depth="num_layers", heads="num_attention_heads",
               head_dim="attention_head_dim", glyph_width="text_embed_dim", time_width="time_embed_dim",
               size_width="condition_dim", codebook="prior_vq_quantizer_codebook_size")
VAE = dict(channels="latent_channels", widths="block_out_channels", blocks="layers_per_block",
           groups="norm_num_groups", mean="latents_mean", std="latents_std")
FLOW = dict(base_shift="base_shift", max_shift="max_shift", base_tokens="base_image_seq_len")

TEXT_FIXED = dict(hidden_act="silu", attention_bias=True)
ROPE_FIXED = dict(rope_type="default")
VISION_FIXED = dict(hidden_act="gelu", attention_bias=True, in_channels=3, spatial_merge_size=1,
                    layer_norm_eps=1e-6)
READER_FIXED = dict(merge_size=1, temporal_patch_size=1, resample=3, do_resize=True, do_rescale=True,
                    do_normalize=True, rescale_factor=1 / 255)
GLYPH_FIXED = dict(feed_forward_proj="gated-gelu")
VAE_FIXED = dict(act_fn="silu", in_channels=3, out_channels=3, mid_block_add_attention=False,
                 use_quant_conv=False, use_post_quant_conv=False)
FLOW_FIXED = dict(num_train_timesteps=1000, use_dynamic_shifting=True, time_shift_type="linear",
                  shift_terminal=None, invert_sigmas=False, stochastic_sampling=False,
                  use_karras_sigmas=False, use_exponential_sigmas=False, use_beta_sigmas=False)
MOST = 10 ** 7                               # numbers in a valid config are at most this large


def alike(value, like) -> bool:
    """Whether `value` is of the kind of `like`: numbers for a tuple, or one number, at least 1 for an int."""
    if isinstance(like, tuple):
        kinds = (int, float) if isinstance(like[0], float) else (int,)
        return isinstance(value, list | tuple) and all(type(n) in kinds and abs(n) <= MOST for n in value)
    if type(value) is int:
        return (1 if isinstance(like, int) else -MOST) <= value <= MOST
    return type(value) is float and isinstance(like, float)


def take(values: Mapping, names: dict[str, str], fixed: dict, path: Path, default=None) -> dict:
    """Our fields from published `values`; missing ones come from `default`, a dataclass.

    Raises ValueError if a field is missing or of another kind, or if a fixed value differs.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} holds {values!r} where names and values should stand")
    for name, value in fixed.items():
        if values.get(name, value) != value:
            raise ValueError(f"{path} is of another model: {name} is {values[name]!r}, not {value!r}")
    out, like = {}, preset("glm_image")
    # fields of one name are of one kind in all parts, so that one table serves all
    kinds = {f.name: getattr(part, f.name) for part in (like.planner, like.tokenizer, like.glyph, like.vae,
                                                        like.decoder, like.flow) for f in fields(part)}
    for ours, theirs in names.items():
        if theirs not in values and default is None:
            raise ValueError(f"{path} says nothing of {theirs}")
        value = values.get(theirs, getattr(default, ours, None))
        if not alike(value, kinds[ours]):
            raise ValueError(f"{path}: {theirs} is {value!r}, which is not of the kind of {kinds[ours]!r}")
        out[ours] = tuple(value) if isinstance(value, list) else value
    return out


def expect(condition: bool, path: Path, message: str) -> None:
    """Raise ValueError naming the file unless `condition` holds."""
    if not condition:
        raise ValueError(f"{path}: {message}")


def named(folder: Path, name: str, key: str, wanted: str) -> tuple[Path, dict]:
    """(path, values) of a part's config.json. Raises ValueError unless its `key` is `wanted`."""
    path = folder / name / ("scheduler_config.json" if name == "scheduler" else "config.json")
    values = read_json(path)
    expect(values.get(key) == wanted, path,
           f"it is of another model: {key} is {values.get(key)!r}, not {wanted!r}")
    return path, values


def read(folder: Path) -> Config:
    """The configuration of a snapshot. Raises ValueError naming a file that is missing or another model's."""
    # 1. the index: which class is in which folder
    path = folder / "model_index.json"
    index = read_json(path)
    expect(index.get("_class_name") == "GlmImagePipeline", path,
           f"it is of another model: {index.get('_class_name')!r}, not 'GlmImagePipeline'")
    for name, (_, wanted) in CLASSES.items():
        entry = index.get(name)
        expect(isinstance(entry, list) and entry[1:] == [wanted], path,
               f"{name} is {entry!r}, not a {wanted}")

    # 2. tokenizer and planner, which share a folder
    released = preset("glm_image")
    path, values = named(folder, "vision_language_encoder", "model_type", "glm_image")
    text, vision, codes = (values.get(k, {}) for k in ("text_config", "vision_config", "vq_config"))
    expect(not values.get("tie_word_embeddings", False), path, "tie_word_embeddings is true")
    tokens = take(codes, CODES, {}, path, released.tokenizer)
    seen = take(vision, VISION, VISION_FIXED, path, released.tokenizer)
    side = vision.get("image_size", 2048)
    expect(isinstance(side, int) and side % seen["patch"] == 0, path,
           f"image_size {side!r} is no number of patches")
    expect(codes.get("latent_channels", 1536) == seen["width"], path,
           "latent_channels is not the vision hidden_size")
    tokenizer = TokenizerConfig(table=side // seen["patch"], post_conv=True, **seen, **tokens,
                                **read_reader(folder, seen["patch"]))
    planner = take(text, PLANNER, TEXT_FIXED, path, released.planner)
    rope = take(text.get("rope_parameters") or {}, ROPE, ROPE_FIXED, path, released.planner)
    planner = PlannerConfig(codebook=tokens["codebook"], preview_tokens=256, exact=True, **planner, **rope,
                            head_dim=text.get("head_dim") or planner["width"] // planner["heads"])
    expect(2 * sum(planner.mrope_section) == round(planner.head_dim * planner.rotary_fraction), path,
           f"mrope_section {planner.mrope_section} does not fill the rotating half of heads "
           f"{planner.head_dim} wide")
    for key, id_ in (("image_start_token_id", planner.boi), ("image_end_token_id", planner.eoi)):
        expect(values.get(key, id_) == id_, path,
               f"{key} is {values.get(key)!r}: right after {planner.codebook} codes it is {id_}")
    expect(planner.eoi < planner.vision_vocab < planner.vocab, path,
           "vision_vocab_size does not hold the codes")

    # 3. glyph encoder and VAE
    path, values = named(folder, "text_encoder", "model_type", "t5")
    values = dict(relative_attention_max_distance=128) | values                  # T5Config's default
    glyph = GlyphConfig(places=False, **take(values, GLYPH, GLYPH_FIXED, path))
    path, values = named(folder, "vae", "_class_name", "AutoencoderKL")
    vae = AutoencoderConfig(**take(values, VAE, VAE_FIXED, path))
    expect(len(vae.mean) == len(vae.std) == vae.channels, path,
           f"latents_mean and latents_std are not {vae.channels}")
    for key, kind in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        expect(values.get(key) == [kind] * len(vae.widths), path, f"{key} is {values.get(key)!r}")

    # 4. decoder and noise schedule
    path, values = named(folder, "transformer", "_class_name", "GlmImageTransformer2DModel")
    sizes = take(values, DECODER, dict(out_channels=vae.channels, in_channels=vae.channels), path)
    decoder = DecoderConfig(width=sizes["heads"] * sizes["head_dim"], scale=vae.scale, quarters=False,
                            middle=None, aligned=None, **sizes)
    expect(decoder.codebook == planner.codebook, path,
           f"{decoder.codebook} codes, but the planner has {planner.codebook}")
    expect(decoder.glyph_width == glyph.width, path,
           f"text_embed_dim is {decoder.glyph_width}, not {glyph.width}")
    expect(2 * vae.scale * decoder.patch == 32, path, "an image token must be 16 pixels wide")
    path, values = named(folder, "scheduler", "_class_name", CLASSES["scheduler"][1])
    flow = FlowConfig(**take(values, FLOW, FLOW_FIXED, path))
    return Config(name="glm_image", vae=vae, tokenizer=tokenizer, planner=planner, glyph=glyph,
                  decoder=decoder, flow=flow, max_side=released.max_side, posters=False)


def read_reader(folder: Path, patch: int) -> dict:
    """Preprocessing of source images: mean and deviation of colours, smallest and largest side."""
    path = folder / "processor" / "processor_config.json"
    values = read_json(path).get("image_processor") if path.is_file() else None
    if values is None:  # older snapshots
        path = folder / "processor" / "preprocessor_config.json"
        values = read_json(path)
    out = take(values, READER, READER_FIXED | dict(patch_size=patch), path, preset("glm_image").tokenizer)
    size = values.get("size") or dict(shortest_edge=512 ** 2, longest_edge=2048 ** 2)
    # the published keys say "edge" but hold areas in pixels
    areas = [size.get(key) for key in ("shortest_edge", "longest_edge")] if isinstance(size, dict) else [None]
    expect(all(type(a) is int and a > 0 for a in areas), path, f"size is {size!r}")
    return out | dict(sides=tuple(round(area ** 0.5) for area in areas))


def read_bpe(folder: Path, config: Config) -> BPE:
    """The planner's BPE. Raises ValueError if its ids are not those of the planner's embedding."""
    path = folder / "processor" / "tokenizer.json"
    bpe, planner = BPE.load(path), config.planner
    marks = ("<sop>", "<eop>")
    bpe.check(path, planner.vocab, marks)
    ids = bpe.vocab | bpe.specials
    config_path = folder / "vision_language_encoder" / "config.json"
    image = read_json(config_path).get("image_token_id", 167855)
    for token, id_ in ((CODE.format(planner.boi), planner.boi), (CODE.format(planner.eoi), planner.eoi),
                       (CODE.format(0), 0), ("<|image|>", image)):
        expect(ids.get(token) == id_, path,
               f"{token} is {ids.get(token)}, not {id_}: it is of another model's size")
    for token in marks:
        expect(ids[token] >= planner.vision_vocab, path, f"{token} is {ids[token]}, not after the codes")
    return bpe
