"""Weights on disk: what is saved comes back, and what is broken is named."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from minglm.generate.pipeline import Pipeline
from minglm.model import weights


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the random weights, to break."""
    return shutil.copytree(folder, tmp_path / "copy")


def load_all(folder):
    config = weights.load_config(folder)
    return {name: weights.load_part(folder, name, config) for name in weights.PARTS}


def test_config_comes_back(folder, config):
    assert weights.load_config(folder) == config


@pytest.mark.parametrize("name", weights.PARTS)
def test_a_part_comes_back_at_half_precision(tmp_path, config, name):
    torch.manual_seed(1)
    part = weights.PARTS[name](getattr(config, name))
    weights.save_part(tmp_path, name, part, config)
    loaded = weights.load_part(tmp_path, name, config)
    assert loaded.state_dict().keys() == part.state_dict().keys()
    for key, value in part.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value.half().float())
        assert loaded.state_dict()[key].dtype == torch.float32
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


def test_saving_what_was_loaded_changes_nothing(folder, pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "again")
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert len(files) == 12 and not [file for file in files if file.suffix == ".tmp"]
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_files_are_half_precision_and_readable_by_others(folder):
    for name in weights.PARTS:
        tensors = load_file(folder / name / "model.safetensors")
        assert {t.dtype for t in tensors.values()} == {torch.float16}
    tokenizers = pytest.importorskip("tokenizers")
    tokenizers.Tokenizer.from_file(str(folder / "text" / "tokenizer.json"))


# ---------------------------------------------------------------- what is missing

def test_unknown_weights_name_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="no weights 'maxi'.*none here"):
        weights.find("maxi")
    for name in ("mini", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="no weights 'maxi'.*mini, other"):
        weights.find("maxi")
    assert weights.find("mini") == tmp_path / "mini" and weights.find(tmp_path / "other") == tmp_path / "other"


@pytest.mark.parametrize("file", ["config.json", "text/tokenizer.json", *(
    f"{name}/{file}" for name in weights.PARTS for file in ("config.json", "model.safetensors"))])
def test_a_missing_file_is_named(copied, file):
    (copied / file).unlink()
    with pytest.raises(ValueError, match="no weights" if file == "config.json" else file):
        Pipeline.from_pretrained(copied, "cpu")


# ---------------------------------------------------------------- what is broken

@pytest.mark.parametrize("keep", [0, 5, 100, -1, 0.5])
def test_truncated_tensors_are_named(copied, keep):
    path = copied / "planner" / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="planner/model.safetensors"):
        load_all(copied)


def test_a_pickle_is_never_opened(copied, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "exploded").write_text, ("",)

    path = copied / "vae" / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="vae/model.safetensors"):
        load_all(copied)
    torch.save(dict(a=torch.zeros(2)), path)
    with pytest.raises(ValueError, match="vae/model.safetensors"):
        load_all(copied)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("change, words", [
    (lambda t: t.pop("norm.weight"), "missing norm.weight"),
    (lambda t: t.update(extra=torch.zeros(1)), "unexpected extra"),
    (lambda t: t.update({"norm.weight": torch.zeros(3)}), r"norm.weight has shape \(3,\), not \(64,\)"),
])
def test_tensors_that_do_not_fit_are_named(copied, change, words):
    path = copied / "planner" / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=f"planner/model.safetensors.*{words}"):
        load_all(copied)


def test_weights_of_another_size_are_refused(copied):
    path = copied / "decoder" / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | dict(width=2 * values["width"])))
    with pytest.raises(ValueError, match="decoder/model.safetensors does not fit"):
        load_all(copied)


@pytest.mark.parametrize("part, name, value", [
    ("planner", "heads", -1), ("vae", "channels", "16"), ("glyph", "depth", 1.5), ("glyph", "width", 0), ("decoder", "heads", None)])
def test_a_size_that_is_none_is_named(copied, part, name, value):
    path = copied / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ValueError, match="config.json"):
        load_all(copied)


BROKEN = [("glyph/config.json", "{"), ("glyph/config.json", '{"widht": 3}'), ("config.json", ""), ("config.json", "{}"),
          ("config.json", '{"colour": 1}'), ("config.json", '{"flow": null}'), ("text/tokenizer.json", "{}"), ("text/tokenizer.json", "{"),
          ("glyph/config.json", "[]"), ("config.json", "3")]


@pytest.mark.parametrize("file, content", BROKEN)
def test_a_broken_json_file_is_named(copied, file, content):
    (copied / file).write_text(content)
    with pytest.raises(ValueError, match=str(copied)):
        Pipeline.from_pretrained(copied, "cpu")


def test_failing_to_save_leaves_the_old_file(copied, config, pipe, monkeypatch):
    path = copied / "vae" / "model.safetensors"
    before = path.read_bytes()

    def cut_short(tensors, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(weights, "save_file", cut_short)
    with pytest.raises(OSError):
        weights.save_part(copied, "vae", pipe.vae, config)
    assert path.read_bytes() == before
