"""Files are whole or not there, whatever fails; what was there stays."""

import json
import os
import stat
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from minglm import files
from minglm.files import check_data, put_aside, whole_file, write_json
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
    with pytest.raises(OSError, match="cannot write .*a.json(: No space left on device|, is the disk full. unexpected pos 64 vs 32)$"):
        with whole_file(tmp_path / "a.json") as temporary:
            temporary.write_text("half of it")
            raise error
    assert json.loads((tmp_path / "a.json").read_text()) == dict(old=1) and len(list(tmp_path.iterdir())) == 1


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_file_of_the_user_s_is_no_temporary_file(tmp_path):
    """Nor is that of another process that writes the same file."""
    (tmp_path / "a.json.tmp").write_text("mine")
    (tmp_path / "a.tmp").write_text("mine")
    with whole_file(tmp_path / "a.json") as one:
        write_json(tmp_path / "a.json", dict(other=1))
        one.write_text("{}")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "{}", "a.json.tmp": "mine", "a.tmp": "mine"}


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(OSError, match="cannot write .*a/b/c.json: "):
        write_json(tmp_path / "a" / "b" / "c.json", {})
    assert (tmp_path / "a").read_text() == "mine"


WRITERS = """
import os, resource, sys
from pathlib import Path
import torch
from PIL import Image
from minglm.config import preset
from minglm.files import write_json
from minglm.images import save_image
from minglm.model import weights
from minglm.model.bpe import BPE
from minglm.model.vae import VAE
from minglm.published import tensor_files
from minglm.training import checkpoint
from minglm.training.loop import Log
from minglm.training.run import loss_curve

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
os.umask(0o027)
config, many = preset("tiny"), {str(i): [0.0] * 100 for i in range(100)}
vae, bpe, picture = VAE(config.vae), BPE.train(["a b"], 259), Image.effect_noise((400, 400), 99).convert("RGB")
(folder / "curve.csv").write_text("step,loss\\n1,2\\n2,1\\n")
log = Log(folder / "log.csv", 0)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for write in (
    lambda: write_json(folder / "a.json", many), lambda: weights.save_part(folder, "vae", vae, config),
    lambda: tensor_files.write(folder / "published", "model", dict(x=torch.rand(9999))), lambda: bpe.save(folder / "bpe.json"),
    lambda: checkpoint.save(folder / "checkpoint.pt", vae.state_dict()), lambda: save_image(picture, folder / "picture.png"),
    lambda: loss_curve(folder / "curve.csv", folder / "loss.png"), lambda: log.add(dict(step=1, loss="0" * 9999)),
):
    try:
        write()
    except OSError as error:
        print(error)
"""
WRITTEN = ["a.json", "vae/model.safetensors", "published/model.safetensors", "bpe.json", "checkpoint.pt", "picture.png", "loss.png", "log.csv"]


def test_every_writer_leaves_the_old_file_where_the_disk_is_full(tmp_path):
    """A limit on the size of files stands for a full disk. Each file has the mode of the umask, too."""
    pytest.importorskip("resource")

    def write(limit):
        ran = subprocess.run([sys.executable, "-c", WRITERS, tmp_path, str(limit)], capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines(), {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    said, before = write(0)
    assert said == [] and {path.relative_to(tmp_path).as_posix() for path in before} == {*WRITTEN, "vae/config.json", "curve.csv"}
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in WRITTEN} == {0o640}
    said, after = write(2000)
    assert after == before and len(said) == len(WRITTEN)
    assert all(line.startswith(f"cannot write {tmp_path / name}") for line, name in zip(said, WRITTEN)), said


def test_what_is_put_aside_is_numbered(tmp_path):
    assert put_aside(tmp_path / "report.json") is None
    for text in ("one", "two"):
        (tmp_path / "report.json").write_text(text)
        put_aside(tmp_path / "report.json")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report.1.json": "one", "report.2.json": "two"}
    put_aside(tmp_path / "report.1.json", tmp_path / "old" / "ones")
    put_aside(tmp_path / "report.2.json", tmp_path / "old" / "ones")
    assert sorted(path.name for path in (tmp_path / "old" / "ones").iterdir()) == ["report.1.1.json", "report.2.1.json"]


def test_data_of_somebody_else_are_not_ours(tmp_path, monkeypatch):
    check_data()
    monkeypatch.setattr(files, "DATA", tmp_path)
    with pytest.raises(ValueError, match="minglm/data is missing: run from a clone"):
        check_data()
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    with pytest.raises(ValueError, match="minglm/data is missing: run from a clone"):
        weights.find("mini")


def test_a_path_is_no_name(tmp_path, monkeypatch, capsys):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "config.json").write_text("{}")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for path in ("./mini", str(tmp_path / "mini"), tmp_path / "mini", f"../{tmp_path.name}/mini"):
        assert weights.find(path).resolve() == tmp_path / "mini"
    assert capsys.readouterr().err == ""
    assert weights.find("mini") == weights.FOLDER / "mini" and weights.find("own").resolve() == tmp_path / "own"
    assert capsys.readouterr().err == "minglm: mini means the shipped weights; the folder here is ./mini\n"
    (tmp_path / "own" / "config.json").rename(tmp_path / "own" / "model_index.json")
    assert weights.find("own").resolve() == tmp_path / "own"                     # a snapshot


@pytest.mark.parametrize("change, words", [
    (lambda bpe: bpe.specials.update({"<sop>": 5000}), "ids up to 5000, but the planner embeds 2048"),
    (lambda bpe: bpe.vocab.update(a=-1), "has an id -1, but the planner embeds 2048"),
    (lambda bpe: bpe.vocab.pop("a"), "'a' has no id"), (lambda bpe: bpe.merges.append(("a", "b")), "'ab' has no id"),
    (lambda bpe: bpe.specials.pop("<sop>"), "lacks the special tokens <sop>")])
def test_a_tokenizer_of_another_size_is_named(tmp_path, change, words):
    from minglm.config import preset

    bpe = BPE(dict(BPE_OF_BYTES.vocab), list(BPE_OF_BYTES.merges), dict(BPE_OF_BYTES.specials))
    (tmp_path / "text").mkdir()
    bpe.save(tmp_path / "text" / "tokenizer.json")
    assert len(weights.load_text(tmp_path, preset("tiny"))) == 259
    change(bpe)
    bpe.save(tmp_path / "text" / "tokenizer.json")
    with pytest.raises(ValueError, match=f"tokenizer.json.*{words}"):
        weights.load_text(tmp_path, preset("tiny"))
