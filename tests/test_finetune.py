"""Fine-tuning on a person's own pictures: what is shown, what is trained, what is written, and what is refused."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import own_pictures
import pytest
import torch
from own_pictures import NAMES, RANK, ROWS, build
from parallel_worker import losses
from PIL import Image

from minglm.__main__ import main
from minglm.arguments import command_line
from minglm.config import preset
from minglm.device import Device
from minglm.generate.pipeline import Pipeline
from minglm.model import weights
from minglm.model.copying import Copying
from minglm.model.editing import Editing
from minglm.model.lora import LoRALinear, create
from minglm.training import batches, ranks
from minglm.training.recipe import RECIPES, Recipe
from minglm.training.stage_finetune import mixed
from minglm.world.colours import COLOURS
from minglm.world.folder import CAPTIONS, Picture, read
from minglm.world.objects import things
from minglm.world.posters import Poster

ROOT = Path(__file__).resolve().parent.parent
EVERY = pytest.mark.parametrize("name", NAMES)
SHORT = dict(steps=4, batch=4, warmup=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return own_pictures.write(tmp_path_factory.mktemp("data") / "zorbs")


@pytest.fixture
def exact(monkeypatch):
    """Single precision, so that what is compared differs by the order of sums alone."""
    monkeypatch.setattr(Device, "autocast", lambda self, dtype=None: nullcontext())


def parameters(model) -> dict:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def content(folder: Path) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- what is shown

def test_half_of_a_batch_are_own_pictures_and_all_of_one_size(data):
    pictures, _ = read(data, 128)
    samples, seen = mixed("finetune-planner", pictures, Recipe(steps=9, batch=10)), Counter()
    for step in range(200):
        shown = samples(step)
        assert [type(one) for one in shown] == [Picture] * 5 + [Poster] * 5 and shown == samples(step)
        assert len({(one.height, one.width) for one in shown}) == 1
        seen.update(one.path.name for one in shown[:5])
        assert max(Counter(shown[:5]).values()) <= 3                             # of two pictures, none four times
    assert len(seen) == len(ROWS) and max(seen.values()) < 1.6 * min(seen.values())


def test_posters_are_others_at_every_step_and_for_every_stage(data):
    pictures, _ = read(data, 128)
    captions = [one.caption for name in ("finetune-planner", "finetune-decoder") for step in range(10)
                for one in mixed(name, pictures, Recipe(steps=9, batch=8))(step)[4:]]
    assert len(set(captions)) > 75
    assert len(set(batches.SEEDS.values())) == len(batches.SEEDS)


@pytest.mark.parametrize("batch, own", [(1, 1), (2, 1), (3, 2), (7, 4), (16, 8)])
def test_small_batches_have_own_pictures_too(data, batch, own):
    shown = mixed("finetune-planner", read(data, 128)[0], Recipe(steps=9, batch=batch))(0)
    assert len(shown) == batch and sum(isinstance(one, Picture) for one in shown) == own


@EVERY
def test_a_batch_depends_on_its_step_alone(folder, data, name):
    stage = build(name, folder, data, **SHORT)
    one, _, two, other = (stage.batch(step) for step in (1, 0, 1, 2))
    same = [torch.equal(one[k], two[k]) for k in one if isinstance(one[k], torch.Tensor)]
    assert same and all(same)
    assert any(one[k].shape != other[k].shape or not torch.equal(one[k], other[k])
               for k in one if isinstance(one[k], torch.Tensor))


def test_the_planner_is_shown_the_ids_of_the_pictures(folder, data, config, exact):
    stage, pictures = build("finetune-planner", folder, data, **SHORT), read(data, 128)[0]
    own, b = mixed("finetune-planner", pictures, stage.recipe)(0)[:2], stage.batch(0)
    tokenizer, bpe = weights.load_part(folder, "tokenizer", config), weights.load_text(folder, config)
    assert torch.equal(b["large"][:2], tokenizer.encode(batches.pixels(own)))
    for one, prompt in zip(own, b["prompts"]):
        ids = [config.planner.vision_vocab + i for i in bpe.encode(one.caption)]
        assert prompt[:len(ids)] == ids


def test_the_decoder_is_not_told_where_texts_of_own_pictures_stand(folder, data):
    """Their texts are glyph tokens, and all of the picture counts as much as an object; posters as ever."""
    stage = build("finetune-decoder", folder, data, batch=32)
    seen = [stage.batch(step) for step in range(9)]
    b = next(b for b in seen if (b["tokens"][:16].sum(1) > 1).any())
    assert b["align"][:16].sum() == 0 == b["text"][:16].sum() and (b["weight"][:16] == 4).all()
    assert b["align"][16:].sum() > 0 < b["text"][16:].sum() and b["weight"][16:].min() == 1
    assert not all(b["keep"].all() for b in seen)        # ids are dropped now and then, for guidance


@pytest.mark.parametrize("count", (2, 4))
@EVERY
def test_parts_of_a_batch_are_the_whole(folder, data, exact, name, count):
    stage = build(name, folder, data, steps=4, batch=8)
    whole, parts = stage.batch(1), ranks.parts(stage.batch, 1, ranks.shares(8, count))
    with torch.no_grad():
        found = sum(stage.loss(part)[0] for part in parts) / count
        assert len(parts) == count and found.item() == pytest.approx(stage.loss(whole)[0].item(), rel=1e-4)


# ---------------------------------------------------------------- what is trained

@EVERY
def test_a_run_resumes_exactly(folder, data, name, tmp_path):
    whole = build(name, folder, data, **SHORT)
    wanted, found = losses(whole), []
    for stop in (1, 3, None):
        stage = build(name, folder, data, **SHORT)
        found += losses(stage, tmp_path, stop, resume=True)
    assert found == wanted and len(found) == 4
    end = parameters(stage.model)
    assert all(torch.equal(p, end[n]) for n, p in parameters(whole.model).items())


@EVERY
def test_what_is_frozen_stays_and_the_rest_learns(folder, data, config, name):
    stage = build(name, folder, data, steps=6, batch=4, warmup=1)
    before = parameters(stage.model)
    trained = {n for n, p in stage.model.named_parameters() if p.requires_grad}
    if name.startswith("lora"):
        assert trained == {n for n in before if ".lora_" in n} and len(trained) == 2 * 6 * getattr(config, name.split("-")[1]).depth
    else:
        assert trained == {n for n in before if not n.startswith("glyph.")}
    losses(stage)
    after = parameters(stage.model)
    assert all(torch.equal(after[n], before[n]) for n in before.keys() - trained)
    moved = {n for n in trained if not torch.equal(after[n], before[n])}
    assert len(moved) > 0.95 * len(trained)


@pytest.mark.parametrize("name", ["lora-planner", "lora-decoder"])
def test_in_parts_and_recomputed_the_losses_are_the_same(folder, data, exact, name):
    """Activation checkpointing works although what enters the first block needs no gradient."""
    wanted = losses(build(name, folder, data, **SHORT))
    assert losses(build(name, folder, data, **SHORT), accumulate=2, recompute=True) == pytest.approx(wanted, rel=1e-4)


@torch.no_grad()
def loss_of(stage) -> float:
    return sum(stage.loss(stage.batch(step))[0].item() for step in range(1000, 1006))


@EVERY
def test_own_pictures_are_learned(folder, data, name):
    """From random weights, at a rate that a few seconds are enough for."""
    stage = build(name, folder, data, steps=40, batch=8, lr=1e-2, warmup=4)
    before = loss_of(stage)
    losses(stage)
    after = loss_of(stage)
    assert after < 0.95 * before, (before, after)


def test_two_ranks_have_the_losses_of_one(folder, data, exact, tmp_path):
    """Under DDP and FSDP2; what the second writes is an adapter whose matrices are whole again."""
    environment = os.environ | dict(MINGLM_DEVICE="cpu", OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                           ROOT / "tests" / "parallel_worker.py", "finetune", folder, tmp_path, data],
                          env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    two = json.loads((tmp_path / "losses.json").read_text())
    for name in NAMES:
        one = losses(build(name, folder, data, steps=4, batch=8))
        for variant in ("ddp", "fsdp"):
            assert two[f"{name}, {variant}"] == pytest.approx(one, rel=1e-4), (name, variant)
    pipe = Pipeline.from_pretrained(folder, "cpu")
    pipe.load_lora(tmp_path / "adapter")
    assert set(pipe.adapters.loaded) == {"decoder"}


# ---------------------------------------------------------------- the command

@pytest.fixture
def begun(folder, tmp_path) -> Path:
    return shutil.copytree(folder, tmp_path / "weights")


def command(part: str, data: Path, begun: Path, *more) -> list[str]:
    return ["train", *part.split(), "--data", str(data), "--weights", str(begun), "--config", "tiny", "--steps", "4",
            "--batch", "4", "--threads", "1", *map(str, more)]


def refused(arguments: list[str], words: str, capsys) -> None:
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said and said.startswith("minglm: ") and said.count("\n") == 1, said


def painted(pipe: Pipeline) -> bytes:
    return pipe('a red card with "HI" at the top', 96, 128, steps=2, progress=False).images[0].tobytes()


@pytest.mark.parametrize("part", ["planner", "decoder"])
def test_the_command_writes_weights_that_paint(begun, data, tmp_path, part, threads, capsys):
    before, out = content(begun), tmp_path / "out"
    assert main(command(part, data, begun, "--out", out)) == 0
    said = capsys.readouterr()
    assert "5 pictures: 3 of 128x128, 2 of 96x128" in said.err and f"finetune-{part}: weights and logs in" in said.out
    assert content(begun) == before
    made = content(out)
    assert all(made[path] == data_ for path, data_ in before.items() if path != Path(part) / "model.safetensors")
    assert made[Path(part) / "model.safetensors"] != before[Path(part) / "model.safetensors"]
    for file in ("checkpoint.pt", "log.csv", "loss.png"):
        assert Path("training") / f"finetune-{part}" / file in made
    assert painted(Pipeline.from_pretrained(out, "cpu")) != painted(Pipeline.from_pretrained(begun, "cpu"))


def test_weights_that_edit_still_do(begun, data, tmp_path, threads):
    """What edits is copied, too; of others it is not written over."""
    pipe = Pipeline.from_pretrained(begun, "cpu")
    models = {part: deepcopy(getattr(pipe, part)) for part in ("planner", "decoder")}
    adapters = {part: create(model, 2) for part, model in models.items()}
    Editing(**models, adapters=adapters, copying=Copying(pipe.config.planner.width)).save(begun, "tiny")
    weights.save_config(begun, replace(pipe.config, edits=True))
    assert main(command("planner", data, begun, "--out", tmp_path / "out")) == 0
    tuned = Pipeline.from_pretrained(tmp_path / "out", "cpu")
    tuned.editing.load()
    assert tuned.config.edits and set(tuned.editing.adapters) == {"planner", "decoder"}
    pointer = Path("edits") / "planner" / "copying.safetensors"
    assert content(tmp_path / "out")[pointer] == content(begun)[pointer]
    (tmp_path / "out" / pointer).write_bytes(b"others")
    assert main(command("decoder", data, begun, "--out", tmp_path / "out")) == 2
    assert (tmp_path / "out" / pointer).read_bytes() == b"others"


def test_parts_are_tuned_one_by_one_into_one_folder(begun, data, tmp_path, threads):
    """The second run keeps what the first has trained, and may replace what that had only copied."""
    out, both = tmp_path / "out", tmp_path / "both"
    for part in ("planner", "decoder"):
        assert main(command(part, data, begun, "--out", out)) == 0
    assert main(command("planner decoder", data, begun, "--out", both)) == 0
    for part in weights.PARTS:
        file = Path(part) / "model.safetensors"
        assert (out / file).read_bytes() == (both / file).read_bytes()
        assert ((out / file).read_bytes() == (begun / file).read_bytes()) == (part not in ("planner", "decoder"))


def test_the_command_writes_adapters(begun, data, tmp_path, threads, capsys):
    before, out = content(begun), tmp_path / "out"
    assert main(command("planner decoder", data, begun, "--lora", RANK, "--out", out)) == 0
    assert content(begun) == before
    assert sorted(path.name for path in out.iterdir()) == ["decoder", "planner", "training"]
    for part in ("planner", "decoder"):
        assert sorted(path.name for path in (out / part).iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
        values = json.loads((out / part / "adapter_config.json").read_text())
        assert values["r"] == RANK and values["base_model_name_or_path"] == str(begun)
    pipe = Pipeline.from_pretrained(begun, "cpu")
    plain = painted(pipe)
    pipe.load_lora(out)
    assert sum(isinstance(m, LoRALinear) for m in pipe.planner.modules()) == 6 * preset("tiny").planner.depth
    assert painted(pipe) != plain
    picture = tmp_path / "a.png"
    assert main(["generate", 'a red card with "HI" at the top', "--weights", str(begun), "--lora", str(out), "--steps", "2",
                 "--out", str(picture)]) == 0 and picture.is_file()
    refused(["generate", "a red card", "--weights", str(begun), "--lora", str(begun), "--out", str(picture)],
            "no LoRA adapter in", capsys)


@pytest.mark.parametrize("lora", [(), ("--lora", RANK)], ids=["all weights", "lora"])
def test_a_run_that_was_stopped_goes_on(begun, data, tmp_path, lora, threads, capsys):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert main(command("decoder", data, begun, "--out", whole, *lora)) == 0
    assert main(command("decoder", data, begun, "--out", halves, *lora, "--minutes", "0")) == 0
    assert "1 of 4 steps; go on with --resume" in capsys.readouterr().out
    assert not (halves / "decoder").exists()
    refused(command("decoder", data, begun, "--out", halves, *lora), "--resume goes on with it", capsys)
    assert main(command("decoder", data, begun, "--out", halves, *lora, "--resume")) == 0
    one, two = content(whole), content(halves)
    assert one.keys() == two.keys()
    assert all(one[path] == two[path] for path in one if path.suffix in (".safetensors", ".json"))


def test_an_earlier_run_is_kept(begun, data, tmp_path, threads, capsys):
    out = tmp_path / "out"
    assert main(command("planner", data, begun, "--out", out, "--lora", RANK)) == 0
    before = content(out)
    refused(command("planner", data, begun, "--out", out, "--lora", RANK), "out holds an earlier run of lora-planner", capsys)
    assert content(out) == before
    assert main(command("planner", data, begun, "--out", out, "--lora", RANK, "--restart", "--steps", "3")) == 0
    kept = content(out / "earlier-1")
    assert kept == before and (out / "planner" / "adapter_model.safetensors").is_file()
    # another kind of run does not overwrite it either
    refused(command("planner", data, begun, "--out", out), "out holds an earlier run of finetune-planner", capsys)
    assert main(command("decoder", data, begun, "--out", out, "--lora", RANK)) == 0


def test_without_out_it_goes_to_runs(begun, data, tmp_path, monkeypatch, threads):
    monkeypatch.chdir(tmp_path)
    for lora, name in (((), "finetune-zorbs"), (("--lora", 1), "lora-zorbs")):
        assert main(command("planner", data, begun, *lora)) == 0
        assert (tmp_path / "runs" / name / "planner").is_dir()
    monkeypatch.chdir(data)
    assert main(command("planner", Path("."), begun, "--lora", 1)) == 0
    shutil.rmtree(data / "runs")             # a folder is named after itself, even as "."


CHANGED = {
    "another rank": (lambda data, begun: ("--lora", RANK + 1), "LoRA of rank 3"),
    "a caption": (lambda data, begun: (data / CAPTIONS).write_text('{"file": "0.png", "caption": "x"}') and None, "on pictures"),
    "a picture": (lambda data, begun: shutil.copy(data / "1.png", data / "0.png") and None, "on pictures"),
    "other weights": (lambda data, begun: shutil.copy(begun / "vae" / "model.safetensors",
                                                      begun / "more.safetensors") and other(begun), "from weights"),
}


def other(begun: Path) -> None:
    """The same weights but for one number."""
    from safetensors.torch import load_file, save_file

    path = begun / "vae" / "model.safetensors"
    values = load_file(path)
    values["mean"] += 0.5
    save_file(values, path)


@pytest.mark.parametrize("change, words", CHANGED.values(), ids=CHANGED)
def test_a_run_does_not_go_on_with_something_else(begun, tmp_path, change, words, threads, capsys):
    data, out = own_pictures.write(tmp_path / "zorbs"), tmp_path / "out"
    assert main(command("decoder", data, begun, "--out", out, "--lora", RANK, "--minutes", "0")) == 0
    before, more = content(out), change(data, begun) or ()
    capsys.readouterr()
    assert main(command("decoder", data, begun, "--out", out, *(more or ("--lora", RANK)), "--resume")) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "checkpoint.pt is of stage 'finetune-decoder" in said and words in said
    assert content(out) == before


# ---------------------------------------------------------------- what is refused

def test_a_wrong_folder_is_refused_before_anything_is_written(begun, tmp_path, capsys):
    """Each kind of mistake is in test_folder.py; here that the command stops at it."""
    data, out, before = own_pictures.write(tmp_path / "zorbs"), tmp_path / "out", content(begun)
    rows = (data / CAPTIONS).read_text(encoding="utf-8")
    for part in ("planner", "decoder", "planner decoder"):
        (data / CAPTIONS).write_text(rows + '\n{"file": "9.png", "caption": "a zorb"}', encoding="utf-8")
        refused(command(part, data, begun, "--out", out), f"{CAPTIONS}, row 6: there is no file '9.png'", capsys)
        refused(command(part, tmp_path / "none", begun, "--out", out), "no folder", capsys)
        assert not out.exists() and content(begun) == before


def test_a_caption_too_long_for_the_planner_is_named(begun, tmp_path, capsys):
    data, out = own_pictures.write(tmp_path / "zorbs"), tmp_path / "out"
    with (data / CAPTIONS).open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(dict(file="1.png", caption="xyzzy " * 400)))
    refused(command("decoder planner", data, begun, "--out", out), f"{CAPTIONS}, row 6: a caption of ", capsys)
    assert not out.exists()
    assert main(command("decoder", data, begun, "--out", out, "--minutes", "0")) == 0    # which does not read it


@pytest.mark.parametrize("part, more, words", [
    ("vae", (), "--data is for the stages planner and decoder, not 'vae'"), ("all", (), "not 'all'"),
    ("planner", ("--lora", 0), "--lora"), ("planner", ("--lora", 33), "LoRA rank 33: a whole number from 1 to 32"),
    ("decoder planner", ("--lora", 33), "LoRA rank 33"), ("planner", ("--config", "mini"), "add --config tiny"),
    ("planner", ("--weights", "none"), "no weights 'none'"), ("planner", ("--batch", 3, "--accumulate", 2), "cannot be shared"),
    ("planner", ("--parallel", "fsdp"), "--parallel fsdp needs several processes")])
def test_what_cannot_be_done_is_refused(begun, data, tmp_path, part, more, words, threads, capsys):
    refused(command(part, data, begun, "--out", tmp_path / "out", *more), words, capsys)
    assert not (tmp_path / "out").exists()


def test_lora_and_weights_are_for_own_pictures(capsys):
    for more in (["--lora", "4"], ["--weights", "mini"]):
        refused(["train", "planner", *more], "--lora and --weights are for fine-tuning", capsys)


def test_weights_are_never_written_over(begun, data, tmp_path, threads, capsys):
    before = content(begun)
    for more in ((), ("--lora", RANK), ("--restart",)):
        refused(command("planner", data, begun, "--out", begun, *more), "holds the weights to begin with", capsys)
    others = shutil.copytree(begun, tmp_path / "others")
    other(others)
    kept = content(others)
    refused(command("planner", data, begun, "--out", others), "belongs to other weights than", capsys)
    assert content(begun) == before and content(others) == kept


def test_recipes_are_there_for_every_preset_that_is_trained():
    for config in RECIPES:
        assert all(RECIPES[config][name].muon_lr == 0 for name in NAMES)
        assert replace(RECIPES[config][NAMES[0]], steps=1).batch % 2 == 0


# ---------------------------------------------------------------- the examples

def script(name: str, *arguments) -> subprocess.CompletedProcess:
    environment = os.environ | dict(PYTHONPATH=str(ROOT))
    return subprocess.run([sys.executable, ROOT / "scripts" / f"{name}.py", *map(str, arguments)], env=environment,
                          capture_output=True, text=True, timeout=120)


def test_twenty_pictures_of_a_new_object(tmp_path):
    place = tmp_path / "lighthouse"
    assert script("new_object", place).returncode == 0
    found, notes = read(place)
    assert len(found) == 20 and notes == [] and {(one.height, one.width) for one in found} == {(128, 128)}
    assert not {"lighthouse", "灯塔"} & {name for kind in things().values() for name in (*kind.forms, *kind.zh_names)}
    assert all(("lighthouse" in one.caption) != ("灯塔" in one.caption) for one in found)
    assert not any("church" in one.caption or "教堂" in one.caption for one in found)
    for one in found:                        # the lamp's and the stripes' colours are in every picture, large enough
        pixels = np.asarray(one.image).reshape(-1, 3).astype(int)
        assert all((np.abs(pixels - rgb).sum(1) < 60).sum() > 8 for rgb in ((255, 210, 31), (217, 43, 43)))
        assert one.image.getpixel((127, 64)) not in (COLOURS[name][0] for name in ("red", "brown", "black", "white"))
    first = content(place)
    assert script("new_object", tmp_path / "again").returncode == 0 and content(tmp_path / "again") == first
    assert "is not empty" in script("new_object", place).stderr and content(place) == first


def test_photographs_in_tiles(tmp_path):
    photograph = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    Image.fromarray(photograph).save(tmp_path / "beach.png")
    assert script("photo_tiles", tmp_path / "tiles", f"a beach={tmp_path / 'beach.png'}").returncode == 0
    found, _ = read(tmp_path / "tiles")
    assert [one.caption for one in found][:4] == [f"A photograph of a beach, {where}." for where in (
        "top left", "top centre", "top right", "middle left")]
    assert len(found) == 9 and {one.image.size for one in found} == {(128, 128)}
    assert script("photo_tiles", tmp_path / "more").returncode == 0 and len(read(tmp_path / "more")[0]) % 9 == 0


def test_the_page_names_commands_and_scripts_that_exist():
    text = (ROOT / "docs" / "finetune.md").read_text(encoding="utf-8")
    commands = re.findall(r"^minglm (.*?)(?:\s+#.*)?$", text, re.M)
    assert len(commands) == 4
    for line in commands:
        command_line().parse_args(shlex.split(line))
    for name in re.findall(r"scripts/\w+\.py", text):
        assert (ROOT / name).is_file()
