"""Snapshots that are damaged, incomplete or of another model: one error that names the file, nothing run."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from minglm.generate.pipeline import Pipeline
from minglm.published import snapshot, tensor_files

pytest.importorskip("transformers")
pytest.importorskip("diffusers")
published = pytest.importorskip("published")

STEMS = {name: stem for name, (stem, _) in snapshot.FOLDERS.items()}
JSON = ["model_index.json", "vision_language_encoder/config.json", "text_encoder/config.json",
        "transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json",
        "processor/processor_config.json"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A good snapshot, one part of it in shards."""
    folder = tmp_path_factory.mktemp("snapshot")
    pipe = published.build(0)
    pipe.save_pretrained(folder)
    shutil.rmtree(folder / "transformer")
    pipe.transformer.save_pretrained(folder / "transformer", max_shard_size="60KB")
    return folder


@pytest.fixture
def bad(whole, tmp_path):
    """A copy, to break."""
    return shutil.copytree(whole, tmp_path / "copy")


def refused(folder, *words):
    """Loading fails with one error that holds every word."""
    with pytest.raises(ValueError) as error:
        Pipeline.from_pretrained(folder, "cpu")
    assert all(word in str(error.value) for word in words), str(error.value)


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_tensors(path, edit):
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def some_shard(folder):
    return sorted((folder / "transformer").glob("*-of-*.safetensors"))[1]


def test_the_whole_one_loads(whole):
    assert Pipeline.from_pretrained(whole, "cpu").config.name == "glm_image"


# ---------------------------------------------------------------- files

@pytest.mark.parametrize("file", [*JSON[1:], "processor/tokenizer.json", *(
    f"{name}/{stem}.safetensors" for name, stem in STEMS.items() if name != "transformer")])
def test_a_missing_file_is_named(bad, file):
    (bad / file).unlink()
    refused(bad, "preprocessor_config.json" if "processor_config" in file else file, "missing")


@pytest.mark.parametrize("name", STEMS)
def test_a_missing_folder_is_named(bad, name):
    shutil.rmtree(bad / name)
    refused(bad, f"{name}/", "missing")


def test_without_model_index_it_is_no_snapshot(bad):
    (bad / "model_index.json").unlink()
    refused(bad, "no weights", str(bad))


def test_a_missing_shard_is_named(bad):
    shard = some_shard(bad)
    shard.unlink()
    refused(bad, shard.name, "missing")


@pytest.mark.parametrize("file", ["vae/diffusion_pytorch_model.safetensors",
                                  "vision_language_encoder/model.safetensors", "a shard"])
@pytest.mark.parametrize("keep", [0, 7, 300, 0.5, -1])
def test_a_truncated_file_is_named(bad, file, keep):
    path = some_shard(bad) if file == "a shard" else bad / file
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    refused(bad, path.name, "damaged or cut short")


def test_more_bytes_than_announced(bad):
    path = some_shard(bad)
    path.write_bytes(path.read_bytes() + b"more")
    refused(bad, path.name, "damaged or cut short")


def entry(**values):
    return {"x": dict(dtype="F32", shape=[1], data_offsets=[0, 4]) | values}


@pytest.mark.parametrize("header", [
    {"x": 3}, {"x": {"dtype": "F32"}}, [], entry(shape=[3]), entry(data_offsets=[4, 8]), entry(shape="a"),
    entry(data_offsets=[0, 10 ** 12]), entry(shape=[-1, -1]), entry(shape=[1.0]), entry(dtype="F8_E4M3"),
    entry(dtype=3)])
def test_a_header_of_nonsense(bad, header):
    path = bad / "vae" / "diffusion_pytorch_model.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    refused(bad, path.name)


@pytest.mark.parametrize("file", [*JSON, "processor/tokenizer.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "3", "\xff", "{}", "[" * 100_000])
def test_a_broken_json_file_is_named(bad, file, content):
    (bad / file).write_text(content, encoding="latin-1")
    refused(bad, (bad / file).name)


# ---------------------------------------------------------------- tensors

@pytest.mark.parametrize("dtype", [torch.int32, torch.float64, torch.int8, torch.bool])
def test_numbers_of_a_wrong_type(bad, dtype):
    path = bad / "text_encoder" / "model.safetensors"
    change_tensors(path, lambda t: t.update({"shared.weight": t["shared.weight"].to(dtype)}))
    refused(bad, path.name, "shared.weight is of type")


def test_a_dtype_that_weights_cannot_have(whole):
    with pytest.raises(ValueError, match="weights in torch.int8"):
        Pipeline.from_pretrained(whole, "cpu", dtype=torch.int8)


@pytest.mark.parametrize("edit, words", [
    (lambda t: t.pop("lm_head.weight"), "missing lm_head.weight"),
    (lambda t: t.update(extra=torch.zeros(2)), "unexpected extra in model.safetensors"),
    (lambda t: t.update({"lm_head.weight": torch.zeros(3, 4)}),
     "lm_head.weight in model.safetensors has shape (3, 4), not (80, 32)"),
])
def test_tensors_that_do_not_fit_are_listed(bad, edit, words):
    change_tensors(bad / "vision_language_encoder" / "model.safetensors", edit)
    refused(bad, "vision_language_encoder", words)


def test_all_that_does_not_fit_is_listed(bad):
    def edit(t):
        t.pop("lm_head.weight")
        t["a"], t["b"] = torch.zeros(1), torch.zeros(1)
        t["model.language_model.norm.weight"] = torch.zeros(1)
    change_tensors(bad / "vision_language_encoder" / "model.safetensors", edit)
    refused(bad, "missing lm_head", "unexpected a", "unexpected b",
            "norm.weight in model.safetensors has shape (1,), not (32,)")


@pytest.mark.parametrize("places, words", [
    (None, "no weight_map"), ({}, "missing"),
    ({"x": "../vae/diffusion_pytorch_model.safetensors"}, "no weight_map"),
    ({"x": 3}, "no weight_map"), ({"x": "/dev/zero"}, "no weight_map")])
def test_an_index_of_nonsense(bad, places, words):
    path = bad / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    path.write_text(json.dumps(dict(weight_map=places)))
    refused(bad, "transformer", words)


def test_an_index_that_differs_from_its_files(bad):
    path = bad / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    places = json.loads(path.read_text())["weight_map"]
    one, *_, other = places
    path.write_text(json.dumps(dict(weight_map=places | {one: places[other]})))
    refused(bad, path.name, one)
    path.write_text(json.dumps(dict(weight_map=places | {"more": places[other]})))
    refused(bad, path.name, "more")
    path.write_text(json.dumps(dict(weight_map={k: v for k, v in places.items() if k != one})))
    refused(bad, path.name, one)


# ---------------------------------------------------------------- other models

@pytest.mark.parametrize("file, values, words", [
    ("model_index.json", dict(_class_name="FluxPipeline"), "'FluxPipeline', not 'GlmImagePipeline'"),
    ("model_index.json", dict(vae=["diffusers", "AutoencoderTiny"]), "AutoencoderTiny"),
    ("model_index.json", dict(text_encoder=None), "text_encoder is None"),
    ("vision_language_encoder/config.json", dict(model_type="glm4v"), "'glm4v', not 'glm_image'"),
    ("vision_language_encoder/config.json", dict(image_start_token_id=3), "image_start_token_id is 3"),
    ("vision_language_encoder/config.json", dict(tie_word_embeddings=True), "tie_word_embeddings"),
    ("vision_language_encoder/config.json", dict(text_config=3), "names and values"),
    ("vision_language_encoder/config.json", dict(vision_config=None), "names and values"),
    ("text_encoder/config.json", dict(model_type="umt5"), "'umt5', not 't5'"),
    ("text_encoder/config.json", dict(feed_forward_proj="relu"), "feed_forward_proj is 'relu'"),
    ("text_encoder/config.json", dict(d_model="wide"), "d_model is 'wide'"),
    ("transformer/config.json", dict(text_embed_dim=24), "text_embed_dim is 24, not 20"),
    ("transformer/config.json", dict(_class_name="CogView4Transformer2DModel"), "'CogView4Transformer2DModel'"),
    ("transformer/config.json", dict(num_layers=7), "missing transformer_blocks.3"),
    ("transformer/config.json", dict(in_channels=16), "in_channels is 16"),
    ("transformer/config.json", dict(prior_vq_quantizer_codebook_size=63), "63 codes"),
    ("transformer/config.json", dict(patch_size=4), "16 pixels"),
    ("vae/config.json", dict(_class_name="AutoencoderDC"), "'AutoencoderDC'"),
    ("vae/config.json", dict(norm_num_groups=0), "norm_num_groups is 0"),
    ("vae/config.json", dict(norm_num_groups=5), "config.json describes no model"),
    ("transformer/config.json", dict(num_attention_heads=0), "num_attention_heads is 0"),
    ("transformer/config.json", dict(time_embed_dim=10 ** 30), "time_embed_dim is 1000"),
    ("vae/config.json", dict(mid_block_add_attention=True), "mid_block_add_attention is True"),
    ("vae/config.json", dict(latents_mean=[0.0]), "latents_mean"),
    ("vae/config.json", dict(latents_std=None), "latents_std"),
    ("vae/config.json", dict(down_block_types=["AttnDownEncoderBlock2D"] * 4), "down_block_types"),
    ("scheduler/scheduler_config.json", dict(_class_name="DDIMScheduler"), "'DDIMScheduler'"),
    ("scheduler/scheduler_config.json", dict(time_shift_type="exponential"), "time_shift_type is 'exponential'"),
    ("scheduler/scheduler_config.json", dict(base_shift="much"), "base_shift is 'much'"),
])
def test_a_config_of_another_model(bad, file, values, words):
    change(bad / file, **values)
    refused(bad, file.split("/")[0], words)


@pytest.mark.parametrize("section", [[1, 1, 3], [1], []])
def test_rotary_sections_that_do_not_fill_a_head(bad, section):
    path = bad / "vision_language_encoder" / "config.json"
    text = json.loads(path.read_text())["text_config"]
    change(path, text_config=text | dict(rope_parameters=text["rope_parameters"] | dict(mrope_section=section)))
    refused(bad, "config.json", "mrope_section")


def test_an_older_snapshot_keeps_its_reader_elsewhere(bad):
    path = bad / "processor" / "processor_config.json"
    reader = json.loads(path.read_text())["image_processor"]
    path.unlink()
    (bad / "processor" / "preprocessor_config.json").write_text(json.dumps(reader))
    assert Pipeline.from_pretrained(bad, "cpu").config.tokenizer.sides == (64, 256)


# ---------------------------------------------------------------- the tokenizer

@pytest.mark.parametrize("codes, spare", [(64, 17), (63, 16), (64, 15)])
def test_a_tokenizer_of_another_size(bad, codes, spare):
    published.tokenizer(codes, spare, True).save_pretrained(bad / "processor")
    refused(bad, "tokenizer.json")


def test_a_tokenizer_with_more_words(bad):
    path = bad / "processor" / "tokenizer.json"
    file = json.loads(path.read_text())
    file["model"]["vocab"]["zzzz"] = 5000
    path.write_text(json.dumps(file))
    refused(bad, "tokenizer.json", "ids up to 5000")


@pytest.mark.parametrize("edit", [
    lambda f: f.update(normalizer=dict(type="NFC")), lambda f: f.update(pre_tokenizer=dict(type="Whitespace")),
    lambda f: f.update(pre_tokenizer=None),
    lambda f: f["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex="(")])
def test_a_tokenizer_that_cuts_otherwise(bad, edit):
    path = bad / "processor" / "tokenizer.json"
    file = json.loads(path.read_text())
    edit(file)
    path.write_text(json.dumps(file))
    refused(bad, "tokenizer.json")


# ---------------------------------------------------------------- code

@pytest.fixture
def bomb(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "exploded").write_text, ("",)

    yield Bomb()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", STEMS)
@pytest.mark.parametrize("ending", [".bin", ".ckpt"])
def test_a_pickle_is_named_and_never_opened(bad, bomb, name, ending):
    for path in (bad / name).glob("*.safetensors*"):
        path.unlink()
    (bad / name / f"{STEMS[name]}{ending}").write_bytes(pickle.dumps(bomb))
    refused(bad, f"{STEMS[name]}{ending}", "is a pickle")


def test_a_pickle_that_is_called_safetensors(bad, bomb):
    path = bad / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(pickle.dumps(bomb))
    refused(bad, path.name)
    torch.save(dict(a=torch.zeros(2)), path)
    refused(bad, path.name)


def test_code_in_a_snapshot_is_not_run(bad, tmp_path):
    code = f"open({str(tmp_path / 'exploded')!r}, 'w')"
    for name in STEMS:
        (bad / name / "modeling.py").write_text(code)
        change(bad / name / "config.json", auto_map=dict(AutoModel="modeling.Model"))
    (bad / "pipeline.py").write_text(code)
    assert Pipeline.from_pretrained(bad, "cpu")("a cat", 32, 32, steps=1, progress=False).images
    assert not (tmp_path / "exploded").exists()


def test_a_file_cut_short_while_it_is_read(bad):
    path = bad / "vae" / "diffusion_pytorch_model.safetensors"
    last = list(tensor_files.header(path).values())[-1]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="cut short while it was read"):
        tensor_files.read(last, torch.float32)
