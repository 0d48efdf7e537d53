"""LoRA: a new adapter changes nothing, merged and beside the weights it is the same, and bad files are named.

That an adapter reaches everything that computes with a weight is tested in test_adapters.py.
"""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from minglm.config import preset
from minglm.generate.pipeline import Pipeline
from minglm.generate.plan import sample_ids
from minglm.model import lora, lora_files
from minglm.model.decoder import Decoder
from minglm.model.layers import Linear
from minglm.model.lora import LoRALinear
from minglm.model.lora_files import CONFIG, TENSORS
from minglm.model.planner import Planner, positions

SIZES = preset("tiny")
START = [3, 7, 300, SIZES.planner.boi]
PROMPT = 'a red poster with a cat and the white word "HI" at the top'


def made(part: str) -> nn.Module:
    """A frozen model; parts that start at zero would hide what an adapter does."""
    torch.manual_seed(0)
    model = {"planner": Planner, "decoder": Decoder}[part](getattr(SIZES, part)).eval().requires_grad_(False)
    for p in model.parameters():
        nn.init.normal_(p, std=0.1) if p.ndim > 1 else nn.init.normal_(p, mean=1.0, std=0.1)
    return model


def output(model: nn.Module) -> torch.Tensor:
    g = torch.Generator().manual_seed(2)
    if isinstance(model, Planner):
        return model(torch.tensor([START]), positions([len(START)])[None])
    latents = torch.randn(2, SIZES.decoder.channels, 8, 8, generator=g)
    ids = torch.randint(0, SIZES.decoder.codebook, (2, 2, 2), generator=g)
    glyphs = torch.randn(2, 3, SIZES.decoder.glyph_width, generator=g)
    return model(latents, torch.tensor([5.0, 600.0]), ids, glyphs)


def stirred(model: nn.Module, std: float = 0.1) -> lora.Adapter:
    """A new adapter that has been trained, as it were."""
    torch.manual_seed(3)
    adapter = lora.create(model, 3)
    for layer in adapter.values():
        layer.lora_B.weight.data.normal_(std=std)
    return adapter


PARTS = pytest.mark.parametrize("part", ["planner", "decoder"])
MODES = pytest.mark.parametrize("grad", [False, True], ids=["sampling", "training"])


# ---------------------------------------------------------------- on a model

@PARTS
@MODES
def test_a_new_adapter_changes_nothing(part, grad):
    model = made(part)
    with torch.set_grad_enabled(grad):
        before = output(model)
        adapter = lora.create(model, 4)
        torch.testing.assert_close(output(model), before, rtol=1e-5, atol=1e-5)
    assert all(layer.lora_A.weight.abs().max() > 0 for layer in adapter.values())


@PARTS
def test_it_is_on_every_map_of_the_blocks_and_alone_is_trained(part):
    model = made(part)
    before = {name for name, module in model.named_modules() if isinstance(module, Linear)}
    adapter = lora.create(model, 4)
    assert set(adapter) == before and len(before) == 6 * getattr(SIZES, part).depth
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {f"{name}.lora_{side}.weight" for name in adapter for side in "AB"}
    output(model).square().mean().backward()
    assert all(layer.lora_B.weight.grad.abs().max() > 0 for layer in adapter.values())
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert all(p.grad is None for p in frozen) and sum(p.numel() for p in frozen) > 10 * sum(
        layer.rank * (layer.base.in_features + layer.base.out_features) for layer in adapter.values()) / 4


@PARTS
@MODES
def test_it_adds_alpha_over_r_times_b_a(part, grad):
    plain, model, wanted = made(part), made(part), made(part)
    adapter = stirred(model)
    for name, layer in adapter.items():
        assert layer.scale == 2.0            # alpha is twice the rank
        wanted.get_submodule(name).weight.data += 2 * layer.lora_B.weight @ layer.lora_A.weight
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(output(model), output(wanted), rtol=1e-3, atol=1e-4)
        assert (output(model) - output(plain)).abs().max() > 1e-2
        lora.switch(adapter, 0.5)
        half = output(model)
        assert (half - output(wanted)).abs().max() > 1e-3 < (half - output(plain)).abs().max()


@PARTS
def test_merged_is_the_same_and_unmerged_is_what_it_was(part):
    model = made(part)
    weights, adapter = deepcopy(model.state_dict()), stirred(model)
    beside = output(model)
    lora.merge(model, adapter)
    assert not any(isinstance(module, LoRALinear) for module in model.modules())
    torch.testing.assert_close(output(model), beside, rtol=1e-3, atol=1e-4)
    merged = output(model)
    lora.merge(model, adapter)               # twice is once
    assert torch.equal(output(model), merged)
    lora.unmerge(model, adapter)
    assert torch.equal(output(model), beside)
    lora.merge(model, adapter)
    lora.detach(model, adapter)
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@PARTS
def test_switched_off_it_is_the_model(part):
    model = made(part)
    with torch.no_grad():
        before, adapter = output(model), stirred(model)
        lora.switch(adapter, 0)
        torch.testing.assert_close(output(model), before, rtol=1e-5, atol=1e-5)
        lora.switch(adapter, 1)
        assert (output(model) - before).abs().max() > 1e-2


def test_half_precision_stays_so():
    model = made("decoder").bfloat16()
    adapter = stirred(model)
    layer = adapter["blocks.0.fc1"]
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    lora.merge(model, adapter)
    assert layer.base.weight.dtype == torch.bfloat16 and not torch.equal(layer.base.weight, layer.kept)


def test_the_planner_samples_with_it_as_with_merged_weights():
    plain, model, merged = (made("planner") for _ in range(3))
    stirred(model, 0.5)
    lora.merge(merged, stirred(merged, 0.5))

    def sampled(planner):
        ids = sample_ids(planner, [START, START[1:]], [(2, 2), (6, 6)], [torch.Generator().manual_seed(i) for i in range(2)],
                         temperature=0.0)
        return torch.cat([grid.flatten(1) for grid in ids], 1)

    # a sum rounded otherwise may draw another id now and then
    assert (sampled(model) == sampled(merged)).float().mean() > 0.9 > 0.5 > (sampled(model) == sampled(plain)).float().mean()


@pytest.mark.parametrize("rank", [0, -1, 33, 2.0, True])
def test_ranks_that_are_none_are_named(rank):
    model = made("planner")
    with pytest.raises(ValueError, match=f"LoRA rank {rank}: a whole number from 1 to 32"):
        lora.create(model, rank)
    assert not any(isinstance(module, LoRALinear) for module in model.modules())


# ---------------------------------------------------------------- on disk

@PARTS
def test_what_is_saved_is_loaded(part, tmp_path):
    model = made(part)
    stirred(model)
    lora_files.save(model, tmp_path, "mini")
    other = made(part)
    adapter = lora_files.load(other, tmp_path)
    assert torch.equal(output(other), output(made(part)))                        # not on it yet
    lora.attach(other, adapter)
    assert torch.equal(output(other), output(model))
    assert not any(p.requires_grad for p in other.parameters())


def test_the_files_are_those_of_peft(tmp_path):
    model = made("planner")
    stirred(model)
    lora_files.save(model, tmp_path, "mini")
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, TENSORS] == [
        "adapter_config.json", "adapter_model.safetensors"]
    values = json.loads((tmp_path / CONFIG).read_text())
    assert values["peft_type"] == "LORA" and values["r"] == 3 and values["lora_alpha"] == 6
    assert values["target_modules"] == ["down", "gate_up", "k", "o", "q", "v"] and values["bias"] == "none"
    assert values["auto_mapping"] == dict(base_model_class="Planner", parent_library="minglm.model.planner")
    assert values["base_model_name_or_path"] == "mini"
    tensors = load_file(tmp_path / TENSORS)
    assert len(tensors) == 2 * 6 * SIZES.planner.depth
    assert tensors["base_model.model.blocks.0.gate_up.lora_A.weight"].shape == (3, SIZES.planner.width)
    assert tensors["base_model.model.blocks.1.gate_up.lora_B.weight"].shape == (2 * SIZES.planner.mlp, 3)


@pytest.fixture
def saved(tmp_path) -> Path:
    model = made("decoder")
    stirred(model)
    lora_files.save(model, tmp_path, "mini")
    return tmp_path


def settings(**values):
    def change(folder: Path) -> None:
        known = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(known | values))
    return change


def tensors(change):
    def apply(folder: Path) -> None:
        found = load_file(folder / TENSORS)
        change(found)
        save_file(found, folder / TENSORS)
    return apply


A = "base_model.model.blocks.0.fc1.lora_A.weight"
BAD = {
    "of another kind": (settings(peft_type="IA3"), "peft_type 'IA3': only LORA can be loaded"),
    "rank 0": (settings(r=0), "r 0: a whole number of at least 1"),
    "a rank in words": (settings(r="three"), "r 'three'"),
    "another rank": (settings(r=4), r"has shape \(3, 64\), not \(4, 64\)"),
    "alpha 0": (settings(lora_alpha=0), "lora_alpha 0: a finite number above 0"),
    "no alpha": (settings(lora_alpha=None), "lora_alpha None"),
    "all maps": (settings(target_modules="all-linear"), "target_modules 'all-linear': a list of some of q, k, v, o, fc1, fc2"),
    "maps of the planner": (settings(target_modules=["q", "gate_up"]), r"target_modules \['q', 'gate_up'\]"),
    "fewer maps": (settings(target_modules=["q"]), "unexpected base_model.model.blocks.0.fc1.lora_A.weight"),
    "no maps": (settings(target_modules=[]), r"target_modules \[\]"),
    "DoRA": (settings(use_dora=True), "use_dora True cannot be loaded"),
    "rsLoRA": (settings(use_rslora=True), "use_rslora True cannot be loaded"),
    "a rank per map": (settings(rank_pattern={"q": 2}), r"rank_pattern \{'q': 2\} cannot be loaded"),
    "whole modules": (settings(modules_to_save=["image_in"]), r"modules_to_save \['image_in'\] cannot be loaded"),
    "biases": (settings(bias="all"), "bias 'all' cannot be loaded, only none"),
    "no JSON": (lambda folder: (folder / CONFIG).write_text("r: 3"), "adapter_config.json is not JSON"),
    "a list": (lambda folder: (folder / CONFIG).write_text("[3]"), r"adapter_config.json holds \[3\]"),
    "no matrices": (lambda folder: (folder / TENSORS).unlink(), "incomplete adapter: .*adapter_model.safetensors is missing"),
    "cut short": (lambda folder: (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-9]),
                  "adapter_model.safetensors, it is damaged or cut short"),
    "a matrix missing": (tensors(lambda t: t.pop(A)), f"missing {A}"),
    "a matrix too many": (tensors(lambda t: t.update(more=torch.zeros(1))), "unexpected more"),
    "a matrix of another width": (tensors(lambda t: t.update({A: torch.zeros(3, 65)})), r"has shape \(3, 65\), not \(3, 64\)"),
    "no number": (tensors(lambda t: t[A].fill_(float("nan"))), f"{A} holds torch.float32, or numbers that are not finite"),
    "whole numbers": (tensors(lambda t: t.update({A: torch.zeros(3, 64).int()})), f"{A} holds torch.int32"),
}


@pytest.mark.parametrize("change, words", BAD.values(), ids=BAD)
def test_a_bad_adapter_is_named_and_nothing_is_changed(saved, pipe, change, words):
    change(saved)
    model, before = pipe.decoder, deepcopy(pipe.decoder.state_dict())
    with pytest.raises(ValueError, match=words) as caught:
        lora_files.load(model, saved)
    assert str(saved) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=words):
        pipe.load_lora(saved)
    assert not pipe.adapters.loaded and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("mapping", [None, {}, "Decoder", dict(base_model_class="LlamaModel"), dict(base_model_class=["Decoder"])])
def test_an_adapter_says_what_it_is_for(saved, pipe, mapping):
    settings(auto_mapping=mapping)(saved)
    with pytest.raises(ValueError, match="adapter_config.json: auto_mapping .*: a base_model_class is needed, one of Planner, Decoder"):
        pipe.load_lora(saved)


def test_an_adapter_of_the_other_part_does_not_fit(saved):
    with pytest.raises(ValueError, match="target_modules"):
        lora_files.load(made("planner"), saved)


# ---------------------------------------------------------------- on a pipeline

@pytest.fixture
def both(tmp_path, folder) -> Path:
    """A folder with adapters of planner and decoder."""
    pipe = Pipeline.from_pretrained(folder, "cpu")
    for part in ("planner", "decoder"):
        stirred(getattr(pipe, part))
        lora_files.save(getattr(pipe, part), tmp_path / "both" / part, "mini")
    return tmp_path / "both"


def paint(pipe: Pipeline):
    out = pipe(PROMPT, 96, 96, steps=2, progress=False)
    return out.plan[0].tolist(), torch.tensor(list(out.images[0].tobytes()), dtype=torch.float)


@pytest.mark.parametrize("merge", [False, True])
def test_a_pipeline_paints_with_adapters_and_without_them_again(pipe, both, merge):
    plan, picture = paint(pipe)
    weights = {part: deepcopy(getattr(pipe, part).state_dict()) for part in ("planner", "decoder")}
    pipe.load_lora(both, merge=merge)
    assert set(pipe.adapters.loaded) == {"planner", "decoder"}
    new_plan, new_picture = paint(pipe)
    assert new_plan != plan and not torch.equal(new_picture, picture)
    pipe.unload_lora()
    pipe.unload_lora()                       # twice is once
    again = paint(pipe)
    assert again[0] == plan and torch.equal(again[1], picture)
    for part, values in weights.items():
        now = getattr(pipe, part).state_dict()
        assert now.keys() == values.keys() and all(torch.equal(v, values[k]) for k, v in now.items())


def test_merged_adapters_paint_the_same(pipe, both):
    pictures = []
    for merge in (False, True):
        pipe.load_lora(both, 0.5, merge)
        pictures.append(paint(pipe))
        pipe.unload_lora()
    assert pictures[0][0] == pictures[1][0] and (pictures[0][1] - pictures[1][1]).abs().max() <= 2


def test_parts_can_be_loaded_one_by_one(pipe, both):
    pipe.load_lora(both / "decoder")
    assert set(pipe.adapters.loaded) == {"decoder"} and not any(isinstance(m, LoRALinear) for m in pipe.planner.modules())
    with pytest.raises(ValueError, match="there is an adapter on the decoder already: unload_lora takes it off"):
        pipe.load_lora(both)
    assert set(pipe.adapters.loaded) == {"decoder"} and not any(isinstance(m, LoRALinear) for m in pipe.planner.modules())
    pipe.load_lora(both / "planner", 0)
    pipe.unload_lora()


@pytest.mark.parametrize("merge", [False, True])
def test_saved_weights_have_the_adapters_merged(pipe, both, tmp_path, merge):
    pipe.load_lora(both, merge=merge)
    plan, picture = paint(pipe)
    pipe.save_pretrained(tmp_path / "out")
    again = paint(pipe)
    assert again[0] == plan and torch.equal(again[1], picture)           # still on, as they were
    pipe.unload_lora()
    loaded = Pipeline.from_pretrained(tmp_path / "out", "cpu")
    assert not loaded.adapters.loaded and (paint(loaded)[1] - picture).abs().mean() < 4    # half precision


def test_folders_without_an_adapter_are_named(pipe, folder, both, tmp_path):
    for place in (folder, tmp_path / "none"):
        with pytest.raises(ValueError, match=f"no LoRA adapter in {place}: no adapter_config.json in it, in planner/ or in decoder/"):
            pipe.load_lora(place)
    (both / "planner" / CONFIG).write_bytes((both / "decoder" / CONFIG).read_bytes())
    with pytest.raises(ValueError, match="planner and .*decoder are both adapters of the decoder: give one"):
        pipe.load_lora(both)
    with pytest.raises(ValueError, match="scale 'much'"):
        pipe.load_lora(both, scale="much")
