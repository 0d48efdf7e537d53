"""Training: a stopped and resumed run is the run that was never stopped; every stage runs."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from parallel_worker import losses
from torch import nn

from minglm.__main__ import main
from minglm.config import preset
from minglm.device import pick
from minglm.files import read_json
from minglm.generate.pipeline import Pipeline
from minglm.model import weights
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.tokenizer import Tokenizer
from minglm.model.vae import VAE
from minglm.training import batches, ranks, stage_decoder, stage_glyph
from minglm.training.checkpoint import load
from minglm.training.loop import train
from minglm.training.optimisers import EMA, optimisers
from minglm.training.recipe import DECODERS, PLANNERS, RECIPES, Recipe, Stage, staged
from minglm.training.run import check_needs
from minglm.training.stages import REWARDS, STAGES, build, finish
from minglm.world import quotes
from minglm.world.characters import han_characters, is_han, unknown_characters
from minglm.world.draw import draw
from minglm.world.layout import measure
from minglm.world.posters import CANVASES

ROOT = Path(__file__).resolve().parent.parent
CPU = pick("cpu")
RECIPE = Recipe(steps=12, batch=4, lr=1e-2, warmup=3, ema=0.9)


def toy(recipe=RECIPE, name="toy", fault=None):
    """A regression with random batches; its loss is not a number at step `fault`."""
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))

    def batch(step):
        x = torch.randn(recipe.batch, 5, generator=torch.Generator().manual_seed(step))
        return dict(x=x, y=x.sum(1, keepdim=True).sin(), broken=step == fault)

    def loss(b):
        error = (model(b["x"]).float() - b["y"]).square().mean()
        return error * (float("nan") if b["broken"] else 1), dict(error=error.detach())

    return Stage(name, model, batch, loss, recipe, lambda name: name == "0.weight")


def parameters(stage):
    return torch.cat([p.detach().flatten() for p in stage.model.parameters()])


# ---------------------------------------------------------------- resuming

@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, muon_lr=1e-2)], ids=["adamw", "muon"])
@pytest.mark.parametrize("stops", [(1,), (5,), (3, 4, 11), (12,)])
def test_resumed_equals_uninterrupted(tmp_path, recipe, stops):
    whole = toy(recipe)
    wanted = losses(whole)
    found = []
    for stop in (*stops, None):
        stage = toy(recipe)
        found += losses(stage, tmp_path, stop, resume=True)
    assert found == wanted and len(found) == 12
    assert torch.equal(parameters(stage), parameters(whole))


def test_what_a_stage_begins_with_is_done_once(tmp_path):
    """Before the first step of a new run, and before the average is begun; a resumed run has it in its weights."""
    begun = []

    def begin(stage):
        begun.append(stage)
        with torch.no_grad():
            for p in stage.model.parameters():
                p.fill_(0.5)

    for stop in (1, 5, None):
        stage = toy()
        stage.begin = lambda stage=stage: begin(stage)
        losses(stage, tmp_path, stop, resume=True)
    assert len(begun) == 1
    other = toy()
    begin(other)
    losses(other)
    assert torch.equal(parameters(stage), parameters(other))


def test_random_numbers_drawn_elsewhere_change_nothing():
    wanted, found = losses(toy()), []
    for step in train(toy(), CPU):
        torch.rand(step.number)
        found.append(step.loss)
    assert found == wanted


def test_without_resume_a_checkpoint_is_not_replaced(tmp_path):
    losses(toy(), tmp_path, 5)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="holds a checkpoint: resume it, or train in another folder"):
        losses(toy(), tmp_path, 1)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_log_continues_where_the_checkpoint_is(tmp_path):
    losses(toy(), tmp_path, 6, log_every=2)
    (tmp_path / "log.csv").open("a").write("99,1,1,1,1,1\n")                     # later than the checkpoint
    losses(toy(), tmp_path, resume=True, log_every=2)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8, 10, 12]
    losses(toy(), tmp_path / "whole", log_every=2)
    whole = list(csv.DictReader((tmp_path / "whole" / "log.csv").open()))
    assert [row["loss"] for row in rows] == [row["loss"] for row in whole]


@pytest.mark.parametrize("log", ["step,loss\nfirst,1\n", "loss\n1\n", "step\n\0\n", "\xff"])
def test_a_log_that_is_none_is_named(tmp_path, log):
    losses(toy(), tmp_path, 3)
    (tmp_path / "log.csv").write_bytes(log.encode("latin-1"))
    with pytest.raises(ValueError, match="log.csv is not the log of a training run"):
        losses(toy(), tmp_path, resume=True)


def test_a_log_is_whole_after_every_row(tmp_path, monkeypatch):
    losses(toy(), tmp_path, log_every=4)
    before = (tmp_path / "log.csv").read_bytes()
    assert before.count(b"\n") == 4

    def full(writer, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv.DictWriter, "writerows", full)
    with pytest.raises(OSError, match="cannot write .*log.csv: No space left on device"):
        losses(toy(replace(RECIPE, steps=16)), tmp_path, resume=True, log_every=4)
    assert (tmp_path / "log.csv").read_bytes() == before


def test_a_finished_run_resumes_to_its_end(tmp_path):
    stage, again = toy(), toy()
    losses(stage, tmp_path)
    assert losses(again, tmp_path, resume=True) == []
    assert torch.equal(parameters(again), parameters(stage))


KILLED = """
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
import torch
from minglm.training.recipe import RECIPES
from minglm.training.run import build
from minglm.config import preset
from minglm.device import pick
from minglm.training.loop import train
torch.set_num_threads(1)
folder, device = Path(sys.argv[1]), pick("cpu")
recipe = replace(RECIPES["tiny"]["vae"], steps=40, batch=2)
stage = build("vae", preset("tiny"), device, recipe, folder)
for step in train(stage, device, folder / "training" / "vae", save_every=0):
    print(step.number, flush=True)
"""


def rows(folder):
    """Step and every measured number of a run's log; not its clock."""
    with (folder / "training" / "vae" / "log.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


def test_killed_at_once_and_resumed_by_the_command(tmp_path, threads):
    """`kill -9` while it trains and saves; `minglm train --resume` then logs what an undisturbed run logs."""
    command = ["train", "vae", "--config", "tiny", "--steps", "40", "--batch", "2", "--threads", "1", "--out"]
    environment = os.environ | dict(MINGLM_DEVICE="cpu", OMP_WAIT_POLICY="PASSIVE")
    run = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "killed"], cwd=ROOT, env=environment,
                           stdout=subprocess.PIPE, text=True)
    for line in run.stdout:
        if int(line) == 26:
            break
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert run.returncode == -signal.SIGKILL
    checkpoint = tmp_path / "killed" / "training" / "vae" / "checkpoint.pt"
    assert 25 <= load(checkpoint)["step"] < 40 and not (tmp_path / "killed" / "vae").exists()
    resumed = subprocess.run([sys.executable, "-m", "minglm", *command, tmp_path / "killed", "--resume"],
                             cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert resumed.returncode == 0, resumed.stderr
    assert main([*command, str(tmp_path / "whole")]) == 0
    assert [row["step"] for row in rows(tmp_path / "whole")] == ["20", "40"]
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    one, two = (tmp_path / name / "vae" / "model.safetensors" for name in ("killed", "whole"))
    assert one.read_bytes() == two.read_bytes()


# ---------------------------------------------------------------- refusing

DAMAGES = [lambda data: data[:-200], lambda data: data[: len(data) // 2], lambda data: b"\x80\x02cposix\nsystem\n.",
           lambda data: b""]


@pytest.mark.parametrize("damage", DAMAGES, ids=["tail", "half", "pickle", "empty"])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    losses(toy(), tmp_path, 3)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="checkpoint.pt"):
        losses(toy(), tmp_path, resume=True)


def test_a_checkpoint_of_another_stage_is_refused(tmp_path):
    losses(toy(), tmp_path, 3)
    with pytest.raises(ValueError, match="'toy', not 'other'"):
        losses(toy(name="other"), tmp_path, resume=True)


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    losses(toy(), tmp_path, 3)
    stage = toy()
    stage.model = nn.Linear(5, 1)
    with pytest.raises(ValueError, match="checkpoint.pt"):
        losses(stage, tmp_path, resume=True)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save(dict(weights=torch.zeros(3)), tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="checkpoint.pt"):
        losses(toy(), tmp_path, resume=True)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    losses(toy(), tmp_path, 3)
    with pytest.raises(ValueError, match="checkpoint.pt"):
        losses(toy(replace(RECIPE, batch=8)), tmp_path, resume=True)


def test_a_crash_while_saving_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    losses(toy(), tmp_path, 3)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def cut_short(state, path):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", cut_short)
    for stop in (4, None):                   # when the caller stops the loop, and at the end
        with pytest.raises(OSError, match="cannot write .*checkpoint.pt: disk full"):
            losses(toy(), tmp_path, stop, resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before and not list(tmp_path.glob(".*.tmp"))


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    losses(toy(), tmp_path, 3)
    (tmp_path / ".0123abcd.tmp").write_bytes(b"half")
    losses(toy(), tmp_path, 4, resume=True)
    assert not list(tmp_path.glob(".*.tmp")) and load(tmp_path / "checkpoint.pt")["step"] == 4


def test_a_stopped_run_that_has_gone_wrong_leaves_the_old_checkpoint(tmp_path):
    losses(toy(), tmp_path, 3)
    with pytest.raises(FloatingPointError, match="the loss of toy is nan at step 6"):
        losses(toy(fault=5), tmp_path, 6, resume=True)
    assert load(tmp_path / "checkpoint.pt")["step"] == 3


def test_a_gradient_that_is_not_finite_is_not_saved(tmp_path):
    """The loss is, but not the parameters behind it."""
    stage = toy()
    loss, weight = stage.loss, stage.model[0].weight
    stage.loss = lambda b: (loss(b)[0] + (0 * weight).sum().sqrt(), {})          # whose slope at 0 is infinite
    with pytest.raises(FloatingPointError, match="the grad of toy is (nan|inf) at step 1"):
        losses(stage, tmp_path, save_every=0)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_checkpoints_are_plain_and_on_the_cpu(tmp_path):
    losses(toy(replace(RECIPE, muon_lr=1e-2)), tmp_path, 3)
    state = load(tmp_path / "checkpoint.pt")
    assert state["step"] == 3 and state["stage"] == "toy" and state["seconds"] > 0
    assert all(value.device.type == "cpu" for value in state["model"].values())


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match="toy is nan at step 6"):
        losses(toy(fault=5), tmp_path, log_every=3)
    with pytest.raises(FloatingPointError):
        losses(toy(fault=11))


# ---------------------------------------------------------------- parts of the loop

def test_learning_rate_rises_stays_and_falls():
    recipe = Recipe(steps=100, batch=1, warmup=10, decay=0.3)
    rates = [recipe.rate(step) for step in range(101)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert set(rates[9:71]) == {1.0} and rates[100] == 0
    assert rates[70:] == pytest.approx([(100 - i) / 30 for i in range(70, 101)])


def test_the_optimiser_follows_the_learning_rate():
    stage = toy(replace(RECIPE, steps=1, warmup=1000, weight_decay=0.0))
    before = parameters(stage).clone()
    list(train(stage, CPU))
    moved = (parameters(stage) - before).abs().max()
    assert 0 < moved <= 1.01e-5                                                  # lr * 1/1000


def test_every_parameter_has_one_optimiser():
    stage = toy(replace(RECIPE, muon_lr=1e-2))
    made = optimisers(stage)
    held = [id(p) for o in made for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in stage.model.parameters())
    assert [id(p) for p in made[1].param_groups[0]["params"]] == [id(stage.model[0].weight)]
    assert len(optimisers(toy())) == 1


def test_average_swaps_and_swaps_back():
    model = nn.Linear(3, 2)
    average = EMA(model, 0.5)
    first = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    average.update(1000)
    average.swap()
    assert torch.allclose(model.weight, first + 0.5)
    average.swap()
    assert torch.allclose(model.weight, first + 1)


def test_average_forgets_the_start_quickly():
    model = nn.Linear(1, 1, bias=False)
    average = EMA(model, 0.999)
    first = model.weight.item()
    with torch.no_grad():
        model.weight.add_(1)
    average.update(0)
    assert average.mean[0].item() == pytest.approx(first + 0.9)
    average.update(10)
    assert average.mean[0].item() == pytest.approx(first + 1 - 0.1 * 11 / 20)


def test_a_run_ends_with_the_average():
    stage, lively = toy(), toy(replace(RECIPE, ema=0.0))
    assert losses(stage) == losses(lively)
    assert not torch.allclose(parameters(stage), parameters(lively))


def test_training_learns():
    found = losses(toy(replace(RECIPE, steps=300, batch=32)))
    assert sum(found[-20:]) < 0.3 * sum(found[:20])


# ---------------------------------------------------------------- the stages

STEPS = {name: Recipe(steps=3, batch=4, lr=1e-3, warmup=2, muon_lr=0 if name == "vae" else 4e-3)
         for name in STAGES}


def staged_glyph(name, config):
    """The configuration of a stage, as far as the glyph encoder goes."""
    return replace(config, glyph=staged(name, config).glyph)


@pytest.fixture(scope="module")
def trained(config, bpe, tmp_path_factory):
    """A folder in which every stage was trained for three steps; their losses; and what each began with."""
    folder, found, before = tmp_path_factory.mktemp("trained"), {}, {}
    (folder / "text").mkdir()
    bpe.save(folder / "text" / "tokenizer.json")
    for name in STAGES:
        before[name] = shutil.copytree(folder, tmp_path_factory.mktemp("before") / name)
        stage = build(name, staged_glyph(name, config), CPU, STEPS[name], folder)
        found[name] = losses(stage)
        finish(stage, staged_glyph(name, config), folder)
    return folder, found, before


def test_every_stage_runs_and_the_result_paints(trained):
    folder, found, _ = trained
    assert all(len(values) == 3 and torch.tensor(values).isfinite().all() for values in found.values())
    out = Pipeline.from_pretrained(folder, "cpu")('a red card with "HI" at the top', 96, 128, steps=2, progress=False)
    assert out.images[0].size == (128, 96) and out.plan[0].shape == (3, 4)


def test_a_decoder_that_gets_a_block_paints_as_before():
    """And learns: the gates of the new block, which are zero, have gradients."""
    config = replace(preset("tiny").decoder, depth=2, neighbours=False)
    decoder = Decoder(config)
    with torch.no_grad():
        for p in decoder.parameters():
            p.copy_(0.1 * torch.randn_like(p))
    latents, ids, glyphs = torch.randn(2, 16, 8, 12), torch.randint(256, (2, 2, 3)), torch.randn(2, 5, 64)
    before = decoder(latents, torch.tensor([300.0, 700.0]), ids, glyphs)
    names = {id(p) for p in decoder.parameters()}
    deep = stage_decoder.deepened(decoder, replace(config, depth=4, aligned=3, neighbours=True))
    after = deep(latents, torch.tensor([300.0, 700.0]), ids, glyphs)
    assert len(deep.blocks) == deep.config.depth == 4 and torch.allclose(before, after, atol=1e-5)
    new = [block for block in deep.blocks if id(block.q.weight) not in names]
    assert new == [deep.blocks[1], deep.blocks[2]]
    after.square().mean().backward()
    assert all(block.modulation.weight.grad.abs().max() > 0 for block in new)
    assert deep.near.conv.weight.grad.abs().max() > 0
    with pytest.raises(ValueError, match="has 4 blocks, this stage trains 2"):
        stage_decoder.deepened(deep, config)
    with pytest.raises(ValueError, match="hears ids with their neighbours, as this stage does not"):
        stage_decoder.deepened(deep, replace(deep.config, neighbours=False))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_resumes_exactly(trained, config, name, tmp_path):
    _, wanted, before = trained
    found = []
    for stop in (2, None):
        stage = build(name, staged_glyph(name, config), CPU, STEPS[name], before[name])
        found += losses(stage, tmp_path, stop, resume=True)
    assert found == wanted[name]


@pytest.mark.parametrize("name", STAGES)
def test_a_batch_depends_on_its_step_alone(trained, config, name):
    stage = build(name, config, CPU, STEPS[name], trained[0])
    one, _, two, other = (stage.batch(step) for step in (1, 0, 1, 2))
    same = [torch.equal(one[k], two[k]) for k in one if isinstance(one[k], torch.Tensor)]
    assert same and all(same)
    assert any(one[k].shape != other[k].shape or not torch.equal(one[k], other[k])
               for k in one if isinstance(one[k], torch.Tensor))


@pytest.mark.parametrize("name", STAGES)
def test_every_parameter_of_a_stage_learns(trained, config, name):
    stage = build(name, config, CPU, STEPS[name], trained[0])
    gradients = {n: False for n, p in stage.model.named_parameters() if p.requires_grad}
    with torch.no_grad():                                                        # leave the zeros of the start
        for p in stage.model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    for step in range(2):
        stage.loss(stage.batch(step))[0].backward()
    for n, p in stage.model.named_parameters():
        if p.requires_grad and p.grad is not None and p.grad.abs().max() > 0:
            gradients[n] = True
    assert [n for n, moved in gradients.items() if not moved] == []


def test_a_stage_is_shown_its_sizes_and_squares_most_often():
    for name in batches.SIZES:
        found = [batches.image_size(name, step) for step in range(600)]
        assert set(found) == set(batches.SIZES[name]) and found.count((128, 128)) > 100
        assert found == [batches.image_size(name, step) for step in range(600)]
        assert all(size in found for size in CANVASES) or name in ("decoder", *REWARDS)
    assert set(batches.SIZES["decoder"]) == {(128, 128)}         # first squares alone, other sizes in the next stage


@pytest.mark.parametrize("stage", (*PLANNERS, *DECODERS))
def test_batches_of_alike_length_hold_every_poster_of_their_pool_once(stage):
    recipe = Recipe(steps=40, batch=3)
    for group in range(3):
        steps = range(4 * group, 4 * group + 4)
        drawn = [batches.alike(stage, step, recipe, batches.text_bytes) for step in steps]
        size = drawn[0][0].height, drawn[0][0].width
        pool = batches.drawn(stage, group, 12, size, early=batches.is_early(stage, steps[0], recipe))
        assert sorted(p.caption for b in drawn for p in b) == sorted(p.caption for p in pool)
        spans = sorted((min(map(batches.text_bytes, b)), max(map(batches.text_bytes, b))) for b in drawn)
        assert all(high <= low for (_, high), (low, _) in zip(spans, spans[1:]))


@cache
def edits(a: str, b: str) -> int:
    """Letters changed, missing or too many, by the textbook recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(edits(a[1:], b[1:]) + (a[0] != b[0]), edits(a[1:], b) + 1, edits(a, b[1:]) + 1)


@pytest.mark.parametrize("text", ("A", "HELLO", "Carnival", "K9 OK", "你", "新年好"))
def test_misspelt_texts_are_near_and_of_the_same_script(text):
    rng = random.Random(1)
    wrong = [batches.misspell(rng, text) for _ in range(60)]
    assert all(w.strip() == w and w and is_han(w) == is_han(text) for w in wrong)
    assert sum(edits(text, w) <= 2 for w in wrong) > 45 and all(edits(text, w) <= 9 for w in wrong)
    assert sum(w == text for w in wrong) < 10 and len(set(map(len, wrong))) > 1


def test_a_careless_plan_differs_in_spelling_alone():
    rng, half, all_ = random.Random(2), 0, 0
    for i in range(60):
        poster = draw(4, i, 192, 192, count=3)
        plan = batches.planned(rng, poster)
        assert replace(plan, regions=()) == replace(poster, regions=())
        assert [(r.slot, r.colour) for r in plan.regions] == [(r.slot, r.colour) for r in poster.regions]
        # as many lines as before, so that everything stays in its place
        assert [round(letters[0].y) for *_, letters in plan.lines] == [round(letters[0].y) for *_, letters in poster.lines]
        assert plan.boxes == poster.boxes
        half += sum(a.text != b.text for a, b in zip(plan.regions, poster.regions))
        all_ += len(poster.regions)
    assert 0.3 * all_ < half < 0.6 * all_
    assert batches.planned(rng, poster, share=0) == poster


def test_some_english_texts_are_planned_too_wide():
    """With letters at their ends that are not theirs, as planners err; never beyond their line."""
    rng, more = random.Random(3), []
    for i in range(60):
        poster = draw(4, i, 128, 192, count=1)
        (asked,), (plan,) = poster.regions, batches.planned(rng, poster, share=0, wider=0.5).regions
        assert asked.text in plan.text and (not is_han(asked.text) or plan == asked)
        if not is_han(asked.text):
            more.append(len(plan.text) - len(asked.text))
        assert measure(plan.text, plan.text) <= max(192, measure(asked.text, asked.text))
    assert set(more) == {0, 1, 2, 3} and 0.15 < sum(map(bool, more)) / len(more) < 0.6   # some have no room


def test_the_decoder_learns_the_right_picture_from_a_careless_plan(config, monkeypatch):
    """Latents are of the picture with the right words, ids of one with wrong words; ids are right
    where no words are given."""
    seen = {}
    vae, tokenizer = VAE(config.vae), Tokenizer(config.tokenizer)
    for name, part in (("vae", vae), ("tokenizer", tokenizer)):
        def watch(images, name=name, encode=part.encode):
            seen[name] = images
            return encode(images)
        monkeypatch.setattr(part, "encode", watch)
    recipe = replace(RECIPE, batch=64)
    batch = stage_decoder.decoder_stage("decoder", config, CPU, recipe, vae, tokenizer, GlyphEncoder(config.glyph)).batch(0)
    drawn = batches.alike("decoder", 0, recipe, batches.text_bytes)
    assert torch.equal(seen["vae"], batches.pixels(drawn))
    careless = (seen["tokenizer"] != seen["vae"]).flatten(1).any(1)
    worded = batch["tokens"].sum(1) > 1                                          # an empty string has one
    assert not careless[~worded].any() and (~worded).any()
    assert 0.25 < careless[worded].float().mean() < 0.75
    boxes = [box for p, wrong in zip(drawn, careless) if wrong for box in p.boxes]
    for i, poster in enumerate(drawn):       # the objects stay
        for _, (x0, y0, x1, y1) in poster.boxes:
            assert torch.equal(seen["tokenizer"][i, :, y0:y1, x0:x1], seen["vae"][i, :, y0:y1, x0:x1])
    assert boxes


# ---------------------------------------------------------------- the glyph stage

def test_every_chinese_character_is_shown_equally_often(monkeypatch):
    """With strings of full length and no others, each occurs once in as many characters as there are."""
    monkeypatch.setattr(stage_glyph, "HAN", 1.0)
    monkeypatch.setattr(random.Random, "randint", lambda self, low, high: high)
    every = han_characters()
    seen = Counter(c for i in range(len(every)) for c in stage_glyph.string(i)[:5])   # five times all of them
    often = Counter(seen[c] for c in every)
    assert set(often) <= {4, 5} and often[4] < 25                # a string may be cut short at the end of a deck
    assert stage_glyph.deck(0) != stage_glyph.deck(1)


def test_strings_of_the_glyph_stage_are_of_three_kinds():
    found = [stage_glyph.string(i) for i in range(2000)]
    assert found == [stage_glyph.string(i) for i in range(2000)] and len(set(found)) > 1800
    assert all(text and "\n" not in text and not unknown_characters(text) and len(text) <= 16 for text in found)
    assert 0.75 < sum(map(is_han, found)) / 2000 < 0.95 and len({c for text in found for c in text}) > 2500


def test_the_glyph_stage_learns_to_draw(config):
    stage = stage_glyph.glyph_stage(config, CPU, replace(RECIPES["tiny"]["glyph"], steps=40, batch=8, warmup=5))
    found = losses(stage)
    assert sum(found[-5:]) < 0.93 * sum(found[:5])


@pytest.mark.parametrize("count", (2, 3))
def test_parts_of_a_glyph_batch_are_the_whole(config, count):
    """Each part has its own strings; the mean of their losses is the loss of the whole."""
    stage = stage_glyph.glyph_stage(config, CPU, replace(RECIPE, batch=6))
    whole, parts = stage.batch(4), ranks.parts(stage.batch, 4, ranks.shares(6, count))
    with torch.no_grad():
        found = sum(stage.loss(part)[0] for part in parts) / count
        assert len(parts) == count and found.item() == pytest.approx(stage.loss(whole)[0].item(), rel=1e-4)
    rows = [row for part in parts for row in part["rasters"]]
    assert len(rows) == 6
    for row, wanted in zip(rows, whole["rasters"]):
        assert torch.equal(row[row.amax(-1) > 0], wanted[wanted.amax(-1) > 0])


def test_an_encoder_that_does_not_draw_has_no_glyph_stage():
    with pytest.raises(ValueError, match="glm_image"):
        stage_glyph.glyph_stage(preset("glm_image"), CPU, RECIPE)


# ---------------------------------------------------------------- what a stage begins with

def test_the_decoder_begins_with_the_encoder_of_the_glyph_stage(trained, config):
    _, _, before = trained
    stage = build("decoder", staged_glyph("decoder", config), CPU, STEPS["decoder"], before["decoder"])
    kept = weights.load_part(before["decoder"], "glyph", staged_glyph("glyph", config)).state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in stage.model.glyph.state_dict().items())


@pytest.mark.parametrize("name, parts", [*((name, ["planner"]) for name in PLANNERS[1:]), *((name, ["decoder", "glyph"]) for name in DECODERS[1:])])
def test_a_later_stage_goes_on_with_the_weights_before_it_and_trains_all_of_them(trained, config, name, parts):
    folder, _, before = trained
    stage = build(name, config, CPU, STEPS[name], before[name])
    stage.begin()                                                # which changes nothing that was trained
    assert stage.name.split(",")[0] == name and all(p.requires_grad for p in stage.model.parameters())
    for part in parts:
        kept = weights.load_part(before[name], part, config).state_dict()
        new = weights.load_part(folder, part, config).state_dict()
        model = getattr(stage.model, part, stage.model)
        assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
        assert any(not torch.equal(new[name], kept[name]) for name in kept)      # and wrote what it had trained


def test_a_command_s_needs_are_named_before_it_begins(tmp_path):
    check_needs(("vae", "tokenizer", "glyph", "decoder", "decoder-large", "planner"), tmp_path)
    for names, part in ((("planner",), "tokenizer"), (("vae", "tokenizer", "decoder"), "glyph"),
                        (("vae", "tokenizer", "glyph", "decoder-large"), "decoder"),
                        (("tokenizer", "planner-large"), "planner"), (("tokenizer", "decoder", "vae", "glyph"), "vae")):
        with pytest.raises(ValueError, match=f"{part}.model.safetensors is missing: train stage {part} first"):
            check_needs(names, tmp_path)


def test_unquoted_leaves_the_words_out():
    assert quotes.unquoted('A red card with "HELLO" at the top.') == 'A red card with "" at the top.'


def test_unquoted_leaves_the_rest_in():
    assert quotes.unquoted('a red card with a cat and "cat" at the top') == 'a red card with a cat and "" at the top'
    assert quotes.unquoted("红色海报，顶部是黑色文字“红”") == "红色海报，顶部是黑色文字“”"


def test_one_prompt_in_ten_is_empty_where_the_planner_learns_to_be_guided():
    prompts = [f"a poster, number {i}" for i in range(32)]
    read = [batches.read_as("planner-guided", step, prompts) for step in range(100)]
    assert all(one in ("", prompt) for some in read for one, prompt in zip(some, prompts))
    empty = [[not one for one in some] for some in read]
    assert 0.07 < sum(map(sum, empty)) / 3200 < 0.13 and empty[0] != empty[1]
    assert batches.read_as("planner-guided", 7, prompts) == read[7]          # as after a resumption
    assert batches.read_as("planner-lines", 7, prompts) == prompts


def test_unknown_stage_and_missing_stage_are_named(tmp_path, config):
    with pytest.raises(ValueError, match="'vea'.*vae, vae-decoder, tokenizer, glyph, planner, planner-large, planner-letters, planner-lines, planner-guided"):
        build("vea", config, CPU, RECIPE, tmp_path)
    for name in ("planner", "decoder"):
        with pytest.raises(ValueError, match=str(tmp_path)):
            build(name, config, CPU, RECIPE, tmp_path)


@pytest.mark.parametrize("name", RECIPES)
def test_heads_of_every_trained_preset_split_for_the_alignment_loss(name):
    """Half of the heads are shown letters, and half of those the upper halves of letters."""
    assert preset(name).decoder.heads % 4 == 0


# ---------------------------------------------------------------- the order of bytes

def test_a_checkpoint_of_other_ids_is_refused(trained, config, tmp_path):
    """An encoder that reads third bytes as second ones cannot go on as one that does not, or the other way."""
    _, _, before = trained
    recipe = replace(RECIPES["tiny"]["decoder-lines"], steps=3, batch=4)
    for name in ("decoder-lines", "glyph-order"):
        losses(build(name, config, CPU, recipe, before[name]), tmp_path / name, 1)
        later = build(name, config, CPU, recipe, before["decoder-wide"])
        with pytest.raises(ValueError, match=f"is of stage '{name}', not '{name}, "):
            losses(later, tmp_path / name, resume=True)


def test_a_new_run_s_encoder_learns_the_order_late(trained, config):
    """Stages before glyph-order leave an encoder without it, glyph-order and those after it one with it."""
    folder, _, before = trained
    assert config.glyph.order and preset("mini").glyph.order
    for name in STAGES[1 + STAGES.index("glyph"):]:
        found = read_json(before[name] / "glyph" / "config.json")["order"]
        assert found is (STAGES.index(name) > STAGES.index("glyph-order")), name
    assert read_json(folder / "glyph" / "config.json")["order"] is True
    kept = weights.load_part(folder, "glyph", config).embed.weight
    again = build("glyph-order", config, CPU, RECIPES["tiny"]["glyph-order"], folder)
    assert torch.equal(again.model.glyph.embed.weight, kept)     # ids that are there are kept


# ---------------------------------------------------------------- plans that the planner guesses

def test_the_stage_guesses_the_plans_of_some_posters_that_have_texts(trained, config, monkeypatch):
    folder, _, _ = trained
    stage = build("decoder-planned", config, CPU, RECIPES["tiny"]["decoder-planned"], folder)
    monkeypatch.setattr("minglm.training.stage_decoder.GUESSED", 0.0)
    never = [stage.batch(step) for step in range(4)]
    monkeypatch.undo()
    changed = written = 0
    for step, plain in enumerate(never):
        some = stage.batch(step)
        assert all(torch.equal(some[key], plain[key]) for key in ("latents", "ids", "keep", "noise"))
        differ = (some["prior"] != plain["prior"]).flatten(1).any(1)
        has_words = plain["tokens"].any(1)
        assert not (differ & ~has_words & ~plain["keep"]).any()
        changed, written = changed + int(differ.sum()), written + len(differ)
    assert 0.3 < changed / written < 0.8
