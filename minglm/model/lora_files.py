"""LoRA adapters on disk, in the layout of Hugging Face's PEFT: a folder of two files.

    adapter_config.json          rank, alpha, which linear maps, of which class of model
    adapter_model.safetensors    base_model.model.blocks.0.q.lora_A.weight (r, I), then lora_B (O, r), ...

Shapes: I input width · O output width · r rank.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from minglm.files import read_json, whole_file, write_json
from minglm.model.lora import TARGETS, Adapter, LoRALinear, linears
from minglm.model.weights import misfits
from minglm.validate import real, whole

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
# what else PEFT may ask for; where it does, B A is not all that is added
MORE = ("use_dora", "use_rslora", "fan_in_fan_out", "lora_bias", "rank_pattern", "alpha_pattern",
        "modules_to_save", "layers_to_transform", "layers_pattern", "layer_replication", "target_parameters")


def save(model: nn.Module, folder: Path, weights: str, adapter: Adapter | None = None,
         dtype: torch.dtype = torch.float32) -> None:
    """Write an adapter of a model; None: the one that is on it. weights: the name of those it belongs to."""
    if adapter is None:
        adapter = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    layer = next(iter(adapter.values()))
    tensors = {}
    for name, each in adapter.items():
        for side, matrix in (("A", each.lora_A), ("B", each.lora_B)):
            tensors[key(name, side)] = matrix.weight.detach().cpu().to(dtype).contiguous()
    write_json(folder / CONFIG, dict(
        peft_type="LORA", task_type=None, inference_mode=True, base_model_name_or_path=weights,
        auto_mapping=dict(base_model_class=type(model).__name__, parent_library=type(model).__module__),
        r=layer.rank, lora_alpha=layer.alpha, lora_dropout=0.0, bias="none", fan_in_fan_out=False,
        target_modules=sorted({name.rpartition(".")[2] for name in adapter})))
    with whole_file(folder / TENSORS) as temporary:
        save_file(tensors, temporary, metadata=dict(format="pt"))


def key(name: str, side: str) -> str:
    """PEFT's name for matrix A or B of a linear map."""
    return f"base_model.model.{name}.lora_{side}.weight"


def find(folder: str | Path) -> dict[str, Path]:
    """Part -> its adapter's folder: `folder` itself is one, or holds planner/ or decoder/ or both.

    Raises ValueError if there is none, or if an adapter does not say of which class its model is.
    """
    folder = Path(folder)
    places = [place for place in (folder, folder / "planner", folder / "decoder")
              if (place / CONFIG).is_file()]
    if not places:
        raise ValueError(f"no LoRA adapter in {folder}: no {CONFIG} in it, in planner/ or in decoder/")
    found = {}
    for place in places:
        mapping = read_json(place / CONFIG).get("auto_mapping")
        kind = mapping.get("base_model_class") if isinstance(mapping, dict) else None
        if not isinstance(kind, str) or kind not in TARGETS:
            raise ValueError(f"{place / CONFIG}: auto_mapping {mapping!r}: a base_model_class is needed, "
                             f"one of {', '.join(TARGETS)}")
        part = kind.lower()
        if part in found:
            raise ValueError(f"{found[part]} and {place} are both adapters of the {part}: give one")
        found[part] = place
    return found


def load(model: nn.Module, folder: Path, strength: float = 1.0) -> Adapter:
    """The adapter in a folder, made for a model but not put on it yet: see lora.attach.

    Raises ValueError naming file and value if something is missing, wrong, or more than LoRA.
    """
    rank, alpha, targets = settings(folder / CONFIG, type(model).__name__)
    found, path = linears(model, targets), folder / TENSORS
    wanted = {key(name, side): shape for name, linear in found.items()
              for side, shape in (("A", (rank, linear.in_features)), ("B", (linear.out_features, rank)))}
    tensors = read(path, wanted)
    adapter = {name: LoRALinear(linear, rank, alpha, strength) for name, linear in found.items()}
    for name, layer in adapter.items():
        layer.lora_A.weight.data.copy_(tensors[key(name, "A")])
        layer.lora_B.weight.data.copy_(tensors[key(name, "B")])
        layer.requires_grad_(False)
    return adapter


def read(path: Path, wanted: dict[str, tuple[int, int]]) -> dict[str, Tensor]:
    """The matrices of an adapter. Raises ValueError unless they have the wanted names and shapes."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise ValueError(f"incomplete adapter: {path} is missing") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"cannot read {path}, it is damaged or cut short: {error}") from None
    wrong = misfits(tensors, wanted) + [
        f"{k} holds {v.dtype}, or numbers that are not finite" for k, v in tensors.items()
        if not v.is_floating_point() or not v.float().isfinite().all()]
    if wrong:
        raise ValueError(f"{path} does not fit these weights and {CONFIG}: {'; '.join(sorted(wrong)[:5])}")
    return tensors


def settings(path: Path, kind: str) -> tuple[int, float, tuple[str, ...]]:
    """Rank, alpha and targets of an adapter_config.json. Raises ValueError naming the value that is wrong."""
    values, known = read_json(path), TARGETS[kind]
    if values.get("peft_type") != "LORA":
        raise ValueError(f"{path}: peft_type {values.get('peft_type')!r}: only LORA can be loaded")
    for name in MORE:
        if values.get(name):
            raise ValueError(f"{path}: {name} {values[name]!r} cannot be loaded, only plain LoRA")
    if values.get("bias", "none") != "none":
        raise ValueError(f"{path}: bias {values['bias']!r} cannot be loaded, only none")
    targets = values.get("target_modules")
    if not isinstance(targets, list) or not targets or not all(target in known for target in targets):
        raise ValueError(f"{path}: target_modules {targets!r}: a list of some of {', '.join(known)}"
                         " is needed")
    try:
        rank = whole("r", values.get("r"), 1)
        return rank, real("lora_alpha", values.get("lora_alpha"), 0, above=True), tuple(targets)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
