"""Files are whole or not there, whatever fails; what was there stays."""

import json
import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from minglm.files import whole_file, write_json
from minglm.model import weights
from minglm.model.bpe import BPE

BPE_OF_BYTES = BPE.train(["a b"], 259)


def test_a_file_appears_whole_with_the_mode_of_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        with whole_file(tmp_path / "new" / "a.safetensors") as temporary:
            assert not (tmp_path / "new" / "a.safetensors").exists()
            save_file({"x": torch.zeros(3)}, temporary)          # which writes for its owner alone
    finally:
        os.umask(before)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.safetensors"]
    assert stat.S_IMODE((tmp_path / "new" / "a.safetensors").stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 32\nframe #0")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    write_json(tmp_path / "a.json", dict(old=1))
    with pytest.raises(OSError, match="cannot write .*a.json: (No space left on device|unexpected pos 64 vs 32)$"):
        with whole_file(tmp_path / "a.json") as temporary:
            temporary.write_text("half of it")
            raise error
    assert json.loads((tmp_path / "a.json").read_text()) == dict(old=1) and len(list(tmp_path.iterdir())) == 1


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_path_is_no_name(tmp_path, monkeypatch):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "config.json").write_text("{}")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for path in ("./mini", str(tmp_path / "mini"), tmp_path / "mini", f"../{tmp_path.name}/mini"):
        assert weights.find(path).resolve() == tmp_path / "mini"
    assert weights.find("mini") == weights.FOLDER / "mini" and weights.find("own").resolve() == tmp_path / "own"


@pytest.mark.parametrize("change, words", [
    (lambda bpe: bpe.specials.update({"<sop>": 5000}), "ids from 0 up to 5000, but the planner embeds 2048"),
    (lambda bpe: bpe.vocab.update({"!": -1}), "ids from -1 up to 258"),
    (lambda bpe: bpe.specials.pop("<sop>"), "lacks the special tokens <sop>")])
def test_a_tokenizer_of_another_size_is_named(tmp_path, change, words):
    from minglm.config import preset

    bpe = BPE(dict(BPE_OF_BYTES.vocab), BPE_OF_BYTES.merges, dict(BPE_OF_BYTES.specials))
    (tmp_path / "text").mkdir()
    bpe.save(tmp_path / "text" / "tokenizer.json")
    assert len(weights.load_text(tmp_path, preset("tiny"))) == 259
    change(bpe)
    bpe.save(tmp_path / "text" / "tokenizer.json")
    with pytest.raises(ValueError, match=f"tokenizer.json.*{words}"):
        weights.load_text(tmp_path, preset("tiny"))
