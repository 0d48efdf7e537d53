"""The published GLM-Image layout, a snapshot: weights and configurations, read into our classes and written.

    model_index.json          which class is in which folder
    vision_language_encoder/  tokenizer (vision encoder and codes) and planner
    transformer/  vae/        decoder and autoencoder
    text_encoder/             glyph encoder
    processor/                the planner's BPE, and how source images are read
    tokenizer/  scheduler/    bytes of the glyph encoder (nothing to learn); the sigma shift

Both sides have the same tensors in the same shapes, so each is found by its name: the tables below turn our
names into the published ones, by substitutions from top to bottom. Nothing is executed, and no pickle opened.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import fields
from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from minglm.config import Config
from minglm.model.autoencoder import AutoencoderKL
from minglm.model.bpe import BPE
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.planner import Planner
from minglm.model.tokenizer import Tokenizer
from minglm.published import read_config, tensor_files, write_config
from minglm.validate import first_line

Table = list[tuple[str, str]]

VAE = [
    (r"^(encoder|decoder)\.first\.", r"\1.conv_in."),
    (r"^(encoder|decoder)\.middle\.", r"\1.mid_block.resnets."),
    (r"^(encoder|decoder)\.norm\.", r"\1.conv_norm_out."),
    (r"^(encoder|decoder)\.last\.", r"\1.conv_out."),
    (r"^encoder\.levels\.", "encoder.down_blocks."), (r"^decoder\.levels\.", "decoder.up_blocks."),
    (r"^(encoder\..*)\.resize\.", r"\1.downsamplers.0.conv."),
    (r"^(decoder\..*)\.resize\.", r"\1.upsamplers.0.conv."),
    (r"\.blocks\.", ".resnets."), (r"\.skip\.", ".conv_shortcut."),
]
TOKENIZER = [
    (r"^encoder\.patch\.", "model.visual.patch_embed.proj."),
    (r"^encoder\.table$", "model.visual.embeddings.position_embedding.weight"),
    (r"^encoder\.blocks\.(\d+)\.(qkv|proj)", r"model.visual.blocks.\1.attn.\2"),
    (r"^encoder\.blocks\.(\d+)\.(fc\d)", r"model.visual.blocks.\1.mlp.\2"),
    (r"^encoder\.blocks", "model.visual.blocks"),
    (r"^quantiser\.(post_)?quant_conv", r"model.vqmodel.\1quant_conv"),
    (r"^quantiser\.codes$", "model.vqmodel.quantize.embedding.weight"),
]
PLANNER = [
    (r"^embed\.", "model.language_model.embed_tokens."),
    (r"^norm\.", "model.language_model.norm."),
    (r"^head\.", "lm_head."),
    (r"^blocks\.", "model.language_model.layers."),
    (r"\.norm1\.", ".input_layernorm."), (r"\.norm2\.", ".post_self_attn_layernorm."),
    (r"\.norm3\.", ".post_attention_layernorm."), (r"\.norm4\.", ".post_mlp_layernorm."),
    (r"\.([qkvo])\.", r".self_attn.\1_proj."),
    (r"\.gate_up\.", ".mlp.gate_up_proj."), (r"\.down\.", ".mlp.down_proj."),
]
GLYPH = [
    (r"^embed\.", "shared."),
    (r"^position_bias\.", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias."),
    (r"^norm\.", "encoder.final_layer_norm."),
    (r"^blocks\.(\d+)\.norm1", r"encoder.block.\1.layer.0.layer_norm"),
    (r"^blocks\.(\d+)\.norm2", r"encoder.block.\1.layer.1.layer_norm"),
    (r"^blocks\.(\d+)\.([qkvo])\.", r"encoder.block.\1.layer.0.SelfAttention.\2."),
    (r"^blocks\.(\d+)\.gate", r"encoder.block.\1.layer.1.DenseReluDense.wi_0"),
    (r"^blocks\.(\d+)\.up", r"encoder.block.\1.layer.1.DenseReluDense.wi_1"),
    (r"^blocks\.(\d+)\.down", r"encoder.block.\1.layer.1.DenseReluDense.wo"),
]
DECODER = [
    (r"^image_in\.", "image_projector.proj."),
    (r"^(glyph|prior)_in\.0\.", r"\1_projector.net.0.proj."),
    (r"^(glyph|prior)_in\.2\.", r"\1_projector.net.2."),
    (r"^prior\.", "prior_token_embedding."),
    (r"^time_in\.0\.", "time_condition_embed.timestep_embedder.linear_1."),
    (r"^time_in\.2\.", "time_condition_embed.timestep_embedder.linear_2."),
    (r"^size_in\.0\.", "time_condition_embed.condition_embedder.linear_1."),
    (r"^size_in\.2\.", "time_condition_embed.condition_embedder.linear_2."),
    (r"^modulation\.", "norm_out.linear."),
    (r"^image_out\.", "proj_out."),
    (r"^blocks\.", "transformer_blocks."),
    (r"\.modulation\.", ".norm1.linear."), (r"\.([qkv])\.", r".attn1.to_\1."), (r"\.o\.", ".attn1.to_out.0."),
    (r"\.fc1\.", ".ff.net.0.proj."), (r"\.fc2\.", ".ff.net.2."),
]
# folder -> the stem of its files, and the parts in it: our name, class, table
FOLDERS = dict(
    vision_language_encoder=("model", [("tokenizer", Tokenizer, TOKENIZER), ("planner", Planner, PLANNER)]),
    text_encoder=("model", [("glyph", GlyphEncoder, GLYPH)]),
    transformer=("diffusion_pytorch_model", [("decoder", Decoder, DECODER)]),
    vae=("diffusion_pytorch_model", [("vae", AutoencoderKL, VAE)]),
)
TIED = "encoder.embed_tokens.weight"         # T5's second name for its embedding, which some files use


def published(name: str, table: Table) -> str:
    """The published name of our tensor `name`."""
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


class WithoutStart(TorchFunctionMode):
    """Modules built in this mode are not initialised at random, since loading overwrites their weights. (To
    do so on the meta device, torch would import 80 MB of symbolic algebra.)"""

    SKIPPED = (nn.init.normal_, nn.functional.normalize, torch.Tensor.normal_, torch.Tensor.mul)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in self.SKIPPED:
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if function is torch.randn else function)(*args, **(kwargs or {}))


def is_snapshot(folder: str | Path) -> bool:
    """Whether a folder has the published layout."""
    return (Path(folder) / "model_index.json").is_file()


def load(folder: str | Path, dtype: torch.dtype = torch.float32) -> tuple[Config, BPE, dict[str, nn.Module]]:
    """A snapshot as (configuration, BPE, parts), with weights in `dtype`, on the CPU.

    Raises ValueError naming the file that is missing, damaged, of another model, or does not fit.
    """
    folder = Path(folder)
    config = read_config.read(folder)
    bpe = read_config.read_bpe(folder, config)
    parts = {}
    for name in FOLDERS:
        parts |= load_folder(folder / name, name, config, dtype)
    return config, bpe, parts


def load_folder(path: Path, name: str, config: Config, dtype: torch.dtype) -> dict[str, nn.Module]:
    """The parts in one folder of a snapshot. Raises ValueError as `load`."""
    if dtype not in tensor_files.KINDS.values():
        raise ValueError(f"weights in {dtype}: choose one of "
                         f"{', '.join(map(str, tensor_files.KINDS.values()))}")
    stem, members = FOLDERS[name]
    try:
        with torch.device("meta"), WithoutStart():
            parts = {part: build(getattr(config, part)) for part, build, _ in members}
    except (ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path / 'config.json'} describes no model: {first_line(error)}") from None
    # published name -> (part, our name, shape), which the stored tensors must match exactly
    wanted = {published(ours, table): (part, ours, tuple(tensor.shape))
              for part, _, table in members for ours, tensor in parts[part].state_dict().items()}
    stored = tensor_files.find(path, stem)
    if name == "text_encoder" and TIED in stored:
        stored.setdefault("shared.weight", stored.pop(TIED))
    wrong = ([f"missing {k}" for k in wanted.keys() - stored.keys()]
             + [f"unexpected {k} in {stored[k].file.name}" for k in stored.keys() - wanted.keys()]
             + [f"{k} in {stored[k].file.name} has shape {stored[k].shape}, not {wanted[k][2]}"
                for k in wanted.keys() & stored.keys() if stored[k].shape != wanted[k][2]])
    if wrong:
        more = f"; and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise ValueError(f"the tensors in {path} do not fit its config.json: "
                         f"{'; '.join(sorted(wrong)[:20])}{more}")
    # in the order of the files, so that a disk reads forward; one tensor at a time in memory beyond the model
    states = {part: {} for part in parts}
    for key, place in sorted(stored.items(), key=lambda item: (item[1].file, item[1].start)):
        part, ours, _ = wanted[key]
        states[part][ours] = tensor_files.read(place, dtype)
    for part, module in parts.items():
        module.load_state_dict(states[part], assign=True)
        module.eval().requires_grad_(False)
    return parts


def differences(config: Config, read: Config) -> list[str]:
    """What differs in a configuration after writing and reading; `exact`, loss weights and limits may."""
    free = ("exact", "preview_weight")
    parts = ((name, getattr(config, name), getattr(read, name))
             for name in ("vae", "tokenizer", "planner", "glyph", "decoder", "flow"))
    return [f"{name}.{f.name} is {getattr(ours, f.name)}, not {getattr(theirs, f.name)}"
            for name, ours, theirs in parts for f in fields(ours)
            if f.name not in free and getattr(ours, f.name) != getattr(theirs, f.name)]


def save(folder: str | Path, config: Config, bpe: BPE, parts: dict[str, nn.Module],
         limit: int = 5 * 10 ** 9) -> None:
    """Write a model for the published pipeline, in its own precision, in files of at most `limit` bytes.

    Raises ValueError for a model that the published classes cannot represent.
    """
    if config.unpublished:
        raise ValueError(f"{config.name} is not of the published kind: {', '.join(config.unpublished)}")
    # a dry run: what the published files cannot express would come back different
    with tempfile.TemporaryDirectory() as place:
        write_config.write(Path(place), config, bpe)
        if lost := differences(config, read_config.read(Path(place))):
            raise ValueError(f"the published layout cannot say of {config.name} that {'; '.join(lost)}")
    folder = Path(folder)
    write_config.write(folder, config, bpe)
    for name, (stem, members) in FOLDERS.items():
        tensors = {published(ours, table): tensor for part, _, table in members
                   for ours, tensor in parts[part].state_dict().items()}
        tensor_files.write(folder / name, stem, tensors, limit)
