"""A learner's pieces: used when they pass, kept as files that stand alone, and put in the library's place."""

import linecache
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from minglm.course import answers, own
from minglm.generate.pipeline import Pipeline
from minglm.model import bpe as bpe_module
from minglm.model import layers, ops
from minglm.model.bpe import BPE

CELLS = """
import math
import torch
from torch import nn
from einops import rearrange as arranged
from minglm.model import layers
from minglm.model.bpe import BPE

LIMIT = 1e-5
SIZES = {"not": "written"}

def root(x):
    return (x.square().mean(-1, keepdim=True) + LIMIT).sqrt()

def my_norm(x, weight, eps):
    return weight * x / root(x) * math.sqrt(1)

def wrong(x, weight, eps):
    return x

class MyNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return my_norm(x, self.weight, self.eps)

def my_piece(self, piece):
    return [self.ids[c] for c in piece]

def mine_again(n):
    return n * mine_again(n - 1) if n else 1

norm = my_norm                               # as own.use names it
x = MyNorm(2, 1e-5)                          # an object, of the name of an argument below
width = (1, 2)                               # this too
piece_ids = BPE.piece                        # the library's, where the learner's is not right yet

def my_ids(bpe, text):
    return piece_ids(bpe, text)

class MyBlock(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return x + norm(x, self.weight, self.eps)
"""


@pytest.fixture
def notebook():
    """A module whose source is known from its lines alone, as the cells of a notebook."""
    module, path = ModuleType("a_notebook"), "/cells/1.py"
    linecache.cache[path] = (len(CELLS), None, CELLS.splitlines(keepends=True), path)
    sys.modules["a_notebook"] = module
    exec(compile(CELLS, path, "exec"), vars(module))
    yield module
    del sys.modules["a_notebook"], linecache.cache[path]


def check(learner):
    x = answers.normal(3, 8)
    answers.run("norm", learner, answers.Case((x, torch.full((8,), 2.0), 1e-5), ops.rms_norm(x, torch.full((8,), 2.0), 1e-5)))


def test_a_right_piece_is_used_and_kept(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert own.use(notebook.my_norm, check, ops.rms_norm) is notebook.my_norm
    assert capsys.readouterr().out == "my_norm: yours, from here on\n"
    assert (tmp_path / own.FOLDER / "model.ops.rms_norm.py").is_file()
    pieces = own.load()
    assert [*pieces] == ["minglm.model.ops.rms_norm"]
    check(pieces["minglm.model.ops.rms_norm"])       # it stands alone: the helper and the number came with it


def test_a_wrong_piece_is_not_used_and_loses_nothing(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own.use(notebook.my_norm, check, ops.rms_norm)
    before = (tmp_path / own.FOLDER / "model.ops.rms_norm.py").read_bytes()
    assert own.use(notebook.wrong, check, ops.rms_norm) is ops.rms_norm
    assert "stands in" in capsys.readouterr().out
    assert (tmp_path / own.FOLDER / "model.ops.rms_norm.py").read_bytes() == before


def test_a_class_stands_alone_too(notebook, tmp_path):
    own.keep(notebook.MyNorm, layers.RMSNorm, tmp_path)
    piece = own.load(tmp_path)["minglm.model.layers.RMSNorm"]
    x = answers.normal(2, 8)
    assert torch.allclose(piece(8, 1e-5)(x), layers.RMSNorm(8, 1e-5)(x), atol=1e-6)


def test_a_piece_may_use_an_earlier_one_by_the_name_it_has_in_the_notebook(notebook, tmp_path):
    own.keep(notebook.MyBlock, layers.RMSNorm, tmp_path)
    assert "width = " not in (tmp_path / "model.layers.RMSNorm.py").read_text(encoding="utf-8")
    piece, x = own.load(tmp_path)["minglm.model.layers.RMSNorm"], answers.normal(2, 8)
    assert torch.allclose(piece(8, 1e-5)(x), x + layers.RMSNorm(8, 1e-5)(x), atol=1e-6)


def test_a_piece_may_use_a_method_of_the_library(notebook, bpe, tmp_path):
    own.keep(notebook.my_ids, bpe_module.merge, tmp_path)
    piece = own.load(tmp_path)["minglm.model.bpe.merge"]
    assert piece(bpe, "red") == bpe.piece("red")


def test_pieces_use_each_other_but_never_themselves(notebook, tmp_path):
    """What a piece imported is replaced, too; its own twin is not, or a piece that calls it would never end."""
    (tmp_path / "model.ops.attention.py").write_text(
        "from minglm.model.ops import attention, rms_norm\n\n\ndef piece():\n    return attention, rms_norm\n")
    own.keep(notebook.my_norm, ops.rms_norm, tmp_path)
    theirs, pieces = (ops.attention, ops.rms_norm), own.load(tmp_path)
    attention = pieces["minglm.model.ops.attention"]
    with own.in_place(pieces):
        assert attention() == (theirs[0], pieces["minglm.model.ops.rms_norm"])
    assert attention() == theirs


def test_a_piece_that_calls_itself_is_written_once(notebook):
    assert own.module_of(notebook.mine_again).count("def mine_again") == 1


def test_a_broken_file_is_named_and_left_out(notebook, tmp_path, capsys):
    own.keep(notebook.my_norm, ops.rms_norm, tmp_path)
    (tmp_path / "model.ops.attention.py").write_text("import nothing_like_it\n")
    assert [*own.load(tmp_path)] == ["minglm.model.ops.rms_norm"]
    assert "model.ops.attention.py: ModuleNotFoundError" in capsys.readouterr().out


def test_the_library_uses_pieces_in_its_place_and_gets_its_own_back(notebook, folder):
    asked = []

    def norm(x, weight, eps):
        asked.append(x.shape)
        return notebook.my_norm(x, weight, eps)

    theirs, piece, image = ops.rms_norm, BPE.piece, {}
    for kind, pieces in (("library", {}), ("mine", {own.address(theirs): norm})):
        with own.in_place(pieces):
            pipe = Pipeline.from_pretrained(folder, "cpu")
            image[kind] = pipe("A red poster.", 128, 128, prior_ids=torch.arange(16).view(4, 4), steps=2, seed=1).images[0]
    assert asked and ops.rms_norm is theirs
    assert np.abs(np.float32(image["library"]) - np.float32(image["mine"])).max() <= 2
    with own.in_place({own.address(layers.RMSNorm): notebook.MyNorm}):
        assert layers.RMSNorm is notebook.MyNorm
    assert layers.RMSNorm is not notebook.MyNorm
    with own.in_place({own.address(BPE.piece): notebook.my_piece}):
        assert BPE.piece is notebook.my_piece
    assert BPE.piece is piece


def test_what_the_library_does_not_have_is_refused():
    for name in ("minglm.model.ops.nothing", "minglm.nowhere.attention", "minglm.model.bpe.BPE.nothing"):
        with pytest.raises(ValueError, match=name), own.in_place({name: print}):
            pass


def test_a_module_that_nobody_has_imported_yet_is_found():
    script = "import sys\nfrom minglm.course import own\nname = 'minglm.ascend.launches.replay'\n" \
             "assert 'minglm.ascend.launches' not in sys.modules\n" \
             "with own.in_place({name: print}):\n    from minglm.ascend import launches\n    assert launches.replay is print\n"
    subprocess.run([sys.executable, "-c", script], check=True)
