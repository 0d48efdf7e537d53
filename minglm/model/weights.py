"""Weights on disk: one folder per part, with its config.json and model.safetensors.

    data/weights/mini/   config.json                 name, flow, limits
                         text/tokenizer.json         the BPE
                         vae/ tokenizer/ planner/ glyph/ decoder/

Numbers are stored in half precision and used in single precision. Nothing is ever unpickled.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from minglm.config import AutoencoderConfig, Config, VAEConfig
from minglm.files import DATA, check_data, read_json, whole_file, write_json
from minglm.model.autoencoder import AutoencoderKL
from minglm.model.bpe import BPE, SPECIALS
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.planner import Planner
from minglm.model.spelling import SpellingBPE
from minglm.model.tokenizer import Tokenizer
from minglm.model.vae import VAE
from minglm.validate import first_line

FOLDER = DATA / "weights"
MARKS = ("config.json", "model_index.json")  # of our layout, and of the published one


def either_vae(config: VAEConfig | AutoencoderConfig) -> VAE | AutoencoderKL:
    """Our own VAE or the released model's, as the config says."""
    return AutoencoderKL(config) if isinstance(config, AutoencoderConfig) else VAE(config)


PARTS = dict(vae=either_vae, tokenizer=Tokenizer, planner=Planner, glyph=GlyphEncoder, decoder=Decoder)


def find(weights: str | Path) -> Path:
    """The folder of `weights`, of our layout or the published one.

    A bare name, such as mini, means the shipped weights of that name, or where there are none a folder here;
    if there are both, a line on stderr says that the shipped ones were taken. A path, such as ./mini, is
    always that folder. Raises ValueError naming what there is.
    """
    bare = isinstance(weights, str) and Path(weights).name == weights and not weights.startswith(".")
    folders = (FOLDER / weights, Path(weights)) if bare else (Path(weights),)
    found = [folder for folder in folders if any((folder / file).is_file() for file in MARKS)]
    if len(found) == 2 and not found[0].samefile(found[1]):
        print(f"minglm: {weights} means the shipped weights; the folder here is ./{weights}", file=sys.stderr)
    if found:
        return found[0]
    check_data()
    names = sorted(p.parent.name for p in FOLDER.glob("*/config.json"))
    raise ValueError(f"no weights {str(weights)!r}: give a folder with a config.json, or one of the "
                     f"shipped weights ({', '.join(names) or 'none here'})")


def save_config(folder: Path, config: Config) -> None:
    """Write the top config.json: everything of `config` that belongs to no part."""
    write_json(folder / "config.json", {k: v for k, v in config.to_dict().items() if k not in PARTS})


def save_part(folder: Path, name: str, module: nn.Module, config: Config) -> None:
    """Write one part, in half precision, each file whole or not at all."""
    write_json(folder / name / "config.json", asdict(getattr(config, name)))
    tensors = {k: v.detach().cpu().half().contiguous() for k, v in module.state_dict().items()}
    path = folder / name / "model.safetensors"
    with whole_file(path) as temporary:
        save_file(tensors, temporary)


def load_config(folder: Path) -> Config:
    """The configuration of a folder of weights. Raises ValueError naming a broken or missing file."""
    values = {}
    for name in ("", *PARTS):
        path = folder / name / "config.json"
        part = read_json(path)
        values |= {name: part} if name else part
    try:
        return Config.from_dict(values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder}: its config.json files are not of this version: {error}") from None


def misfits(tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """What is missing, left over or misshapen among tensors that should have these names and shapes."""
    return ([f"missing {k}" for k in shapes.keys() - tensors.keys()]
            + [f"unexpected {k}" for k in tensors.keys() - shapes.keys()]
            + [f"{k} has shape {tuple(tensors[k].shape)}, not {shapes[k]}"
               for k in shapes.keys() & tensors.keys() if tuple(tensors[k].shape) != shapes[k]])


def load_part(folder: Path, name: str, config: Config) -> nn.Module:
    """One part with its weights, in evaluation mode, on the CPU.

    Raises ValueError naming the file and what is missing, left over, misshapen or damaged.
    """
    path = folder / name / "model.safetensors"
    try:
        with torch.device("meta"):
            module = PARTS[name](getattr(config, name))
    except (TypeError, RuntimeError, ArithmeticError) as error:      # a size of -1, or "256" in place of 256
        file = folder / name / "config.json"
        raise ValueError(f"{file} describes no {name}: {first_line(error)}") from None
    shapes = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {k: file.get_tensor(k).float() for k in file.keys()}
    except FileNotFoundError:
        raise ValueError(f"incomplete weights: {path} is missing") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"cannot read {path}, it is damaged or cut short: {error}") from None
    if wrong := misfits(tensors, shapes):
        raise ValueError(f"{path} does not fit its config.json: {'; '.join(sorted(wrong)[:5])}")
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False)


def load_text(folder: Path, config: Config | None = None) -> BPE:
    """The BPE of a folder of weights; without `config` that of the folder.

    Raises ValueError naming the file if it is missing, lacks a special token, or has ids that the planner
    does not embed.
    """
    path, planner = folder / "text" / "tokenizer.json", (config or load_config(folder)).planner
    bpe = (SpellingBPE if planner.spelled else BPE).load(path)
    bpe.check(path, planner.vocab if bpe.has_codes else planner.vocab - planner.vision_vocab, SPECIALS)
    return bpe


def load(folder: Path) -> tuple[Config, BPE, dict[str, nn.Module]]:
    """A folder of weights as (configuration, BPE, parts)."""
    config = load_config(folder)
    return config, load_text(folder, config), {name: load_part(folder, name, config) for name in PARTS}


def save(folder: str | Path, config: Config, bpe: BPE, parts: dict[str, nn.Module]) -> None:
    """Write a model, in half precision."""
    for name in PARTS:
        save_part(Path(folder), name, parts[name], config)
    bpe.save(Path(folder) / "text" / "tokenizer.json")
    save_config(Path(folder), config)
