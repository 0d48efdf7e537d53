"""Two ranks train as one process does, whichever way they share the work, and survive a killed rank."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from parallel_worker import (
    END,
    KILLED,
    LONG,
    PARTS,
    STEPS,
    STOP,
    VARIANTS,
    build,
    in_single_precision,
    losses,
)
from safetensors.torch import load_file
from torch import nn

from minglm.__main__ import main
from minglm.config import preset
from minglm.device import Device, pick
from minglm.training import batches, checkpoint, ranks, sharding, stages
from minglm.training.recipe import DECODERS, PLANNERS, Recipe
from minglm.training.stages import STAGES

ROOT = Path(__file__).resolve().parent.parent


def torchrun(*arguments, restarts=0, code=0):
    """Start two ranks of the worker, which end with that exit code; what they printed."""
    environment = os.environ | dict(MINGLM_DEVICE="cpu", OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                           f"--max-restarts={restarts}", ROOT / "tests" / "parallel_worker.py", *map(str, arguments)],
                          env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def exact():
    """Single precision and one thread in this process, too: another split of a sum may flip an id of a near tie."""
    before, threads = Device.autocast, torch.get_num_threads()
    in_single_precision()
    torch.set_num_threads(1)
    yield
    Device.autocast = before
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def one(exact, folder):
    """The losses of every stage in one process."""
    return {name: losses(build(name, folder)) for name in STAGES}


@pytest.fixture(scope="module")
def stopped(exact, folder, tmp_path_factory):
    """A folder with runs of one process that two ranks are to go on with; and the losses of a whole run."""
    out = tmp_path_factory.mktemp("two")
    for variant in ("ddp", "fsdp"):
        losses(build("planner", folder, END), out / f"one-{variant}", STOP)
    return out, losses(build("planner", folder, END))


@pytest.fixture(scope="module")
def two(stopped, folder):
    """What two ranks found: losses, and files in the folder."""
    out = stopped[0]
    done = torchrun("compare", folder, out)
    assert "Warning" not in done.stderr, done.stderr
    return json.loads((out / "losses.json").read_text())


# ---------------------------------------------------------------- the same losses

@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", STAGES)
def test_two_ranks_have_the_losses_of_one(one, two, name, variant):
    assert len(one[name]) == STEPS and two[f"{name}, {variant}"] == pytest.approx(one[name], rel=1e-4)


@pytest.mark.parametrize("variant", PARTS)
def test_so_have_two_ranks_that_work_in_parts(one, two, variant):
    assert two[f"decoder, {variant}"] == pytest.approx(one["decoder"][:END], rel=1e-4)


@pytest.mark.parametrize("name", STAGES)
def test_a_batch_in_parts_and_recomputed_has_the_losses_of_a_whole(one, folder, name):
    assert losses(build(name, folder), accumulate=4, recompute=True) == pytest.approx(one[name], rel=1e-4)


def test_recomputing_keeps_less(exact, folder):
    """Numbers that wait for the backward pass, with and without the insides of blocks."""
    kept = []
    for recompute in (False, True):
        stage, sizes = build("planner", folder), []
        compute = sharding.spread(stage.model, stage.loss, pick("cpu"), False, recompute)
        with torch.autograd.graph.saved_tensors_hooks(lambda x: (sizes.append(x.numel()), x)[1], lambda x: x):
            compute(stage.batch(0))
        kept.append(sum(sizes))
    assert kept[1] < 0.6 * kept[0]


# ---------------------------------------------------------------- checkpoints

@pytest.mark.parametrize("variant", ["ddp", "fsdp"])
def test_two_ranks_go_on_where_one_stopped(stopped, two, variant):
    assert two[f"from one to {variant}"] == pytest.approx(stopped[1][STOP:], rel=1e-4)


@pytest.mark.parametrize("variant, file", [("ddp", "checkpoint.pt"), ("fsdp", f"shards-{STOP + 1}")])
def test_one_process_goes_on_where_two_ranks_stopped(exact, stopped, two, folder, variant, file):
    out, whole = stopped
    assert [p.name for p in checkpoint.everything(out / variant)] == [file]
    found = losses(build("planner", folder, END), out / variant, resume=True)
    assert found == pytest.approx(whole[STOP:], rel=1e-4) and len(found) == END - STOP
    assert [p.name for p in checkpoint.everything(out / variant)] == ["checkpoint.pt"]


def test_shards_of_another_recipe_or_size_are_refused(stopped, two, folder, tmp_path):
    place = next((stopped[0] / "one-fsdp").glob("shards-*"))
    shutil.copytree(place, tmp_path / "shards-1")
    with pytest.raises(ValueError, match="another recipe: batch 8, not 4"):
        stage = build("planner", folder, END)
        stage.recipe = Recipe(**vars(stage.recipe) | dict(batch=4))
        losses(stage, tmp_path, resume=True)
    with pytest.raises(ValueError, match="shards-1"):
        stage = build("planner", folder, END)
        stage.model = nn.Linear(5, 1)
        losses(stage, tmp_path, resume=True)
    for path in (tmp_path / "shards-1").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="shards-1"):
        losses(build("planner", folder, END), tmp_path, resume=True)


def test_a_sharded_run_ends_with_whole_weights(exact, stopped, two, folder, tmp_path):
    """Layout and values are those of a run of one, as far as 8 steps of Muon, which rounds to bfloat16, allow."""
    stage = build("planner", folder, END)
    first = {name: value.detach().clone() for name, value in stage.model.state_dict().items()}
    losses(stage)
    stages.finish(stage, preset("tiny"), tmp_path)
    ours, theirs = (load_file(path / "planner" / "model.safetensors") for path in (tmp_path, stopped[0] / "weights"))
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert theirs[name].dtype == value.dtype and theirs[name].shape == value.shape
        moved, apart = (value.float() - first[name]).norm(), (value.float() - theirs[name].float()).norm()
        assert apart < 0.05 * moved, name


# ---------------------------------------------------------------- a killed rank

@pytest.mark.parametrize("variant", ["ddp", "fsdp"])
def test_a_killed_rank_costs_nothing(stopped, two, folder, tmp_path, variant):
    """SIGKILL in the middle of a step; torchrun starts again, and the log is that of an undisturbed run."""
    for part in ("text", "tokenizer"):
        shutil.copytree(folder / part, tmp_path / part)
    done = torchrun("command", "train", "planner", "--config", "tiny", "--parallel", variant, "--steps", LONG,
                    "--batch", 8, "--save-every", 0.2, "--out", tmp_path, restarts=1)
    assert done.stdout.count("planner: weights and logs") == 1
    logs = [list(csv.DictReader((place / "log.csv").open()))
            for place in (tmp_path / "training" / "planner", stopped[0] / f"undisturbed-{variant}")]
    clocks = ("samples_per_second", "seconds")
    found, wanted = ([{k: v for k, v in row.items() if k not in clocks} for row in log] for log in logs)
    assert found == wanted and [row["step"] for row in found] == ["20", str(LONG)] and 20 < KILLED < LONG
    assert (tmp_path / "planner" / "model.safetensors").exists()


def test_a_run_that_starts_anew_leaves_no_stage_to_go_on_from(tmp_path):
    """Or a stage whose turn comes after a restart would go on from an earlier run's checkpoint."""
    for name in ("vae", "tokenizer"):
        checkpoint.save(tmp_path / "training" / name / "checkpoint.pt", {})
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        command = ["train", "all", "--config", "tiny", "--steps", "2", "--batch", "2", "--minutes", "1e-9",
                   "--device", "cpu", "--threads", "1", "--out", str(tmp_path)]
        assert main(command) == 2                                # whatever the batch: nothing is lost
        assert checkpoint.load(tmp_path / "training" / "vae" / "checkpoint.pt") == {}
        assert main([*command, "--restart"]) == 0
    finally:
        dist.destroy_process_group()
    assert checkpoint.load(tmp_path / "training" / "vae" / "checkpoint.pt")["step"] == 1
    assert not (tmp_path / "training" / "tokenizer" / "checkpoint.pt").exists()
    assert (tmp_path / "earlier-1" / "training" / "tokenizer" / "checkpoint.pt").exists()


def test_a_refused_start_is_refused_again_and_leaves_the_earlier_run(tmp_path):
    """torchrun starts refused processes again; those may not take the earlier run, stopped half way, for their own."""
    command = ["train", "vae", "--config", "tiny", "--steps", 2, "--batch", 2, "--out", tmp_path]
    assert main([*map(str, command), "--minutes", "0", "--device", "cpu", "--threads", "1"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert tmp_path / "training" / "vae" / "checkpoint.pt" in before
    done = torchrun("command", *command, restarts=1, code=1)     # a second start that went on would have ended with 0
    # started twice; torchrun may stop the second rank before it has said why it stops
    assert 2 <= done.stderr.count("holds an earlier run of vae") <= 4
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# ---------------------------------------------------------------- the data

def shares(monkeypatch, batch, count, accumulate):
    """The shares of all of `count` ranks."""
    monkeypatch.setattr(ranks, "ranks", lambda: count)
    found = []
    for rank in range(count):
        monkeypatch.setattr(ranks, "rank", lambda: rank)
        found += ranks.shares(batch, accumulate)
    monkeypatch.undo()
    return found


@pytest.mark.parametrize("name", [name for name in STAGES if name not in ("glyph", "glyph-order")])
def test_no_poster_is_seen_twice(monkeypatch, name):
    """Over all ranks, parts and steps of an epoch each index is drawn once, none is left out."""
    recipe, seen = Recipe(steps=24, batch=12), []
    cuts = shares(monkeypatch, recipe.batch, count=3, accumulate=2)
    monkeypatch.setattr(batches, "draw", lambda seed, index, *size, **how: index)
    batches.drawn_once.cache_clear()
    for step in range(recipe.steps):
        for share in cuts:
            if name in (*PLANNERS, *DECODERS):
                seen += batches.alike(name, step, recipe, lambda index: index * 7 % 5)[share]
            else:
                seen += batches.drawn(name, step, recipe.batch, (128, 128), share)
    batches.drawn_once.cache_clear()
    assert sorted(seen) == list(range(recipe.steps * recipe.batch))


@pytest.mark.parametrize("name", STAGES)
def test_the_shares_of_all_ranks_are_the_batch(exact, folder, monkeypatch, name):
    stage = build(name, folder)
    for step in (0, 1, 3):
        whole = stage.batch(step)
        made = [stage.batch(step, share) for share in shares(monkeypatch, 8, count=2, accumulate=2)]
        for key, value in whole.items():
            if key == "sums":
                for k in value:
                    assert torch.allclose(sum(part[key][k] for part in made).float(), value[k].float())
            elif isinstance(value, list):
                assert sum((part[key] for part in made), []) == value
            elif isinstance(value, torch.Tensor) and key not in PADDED:
                assert torch.allclose(torch.cat([part[key] for part in made]), value, atol=1e-5), key
            elif key in ("tokens", "align"):
                rows = torch.cat([part[key].flatten(1).sum(1) for part in made])
                assert torch.allclose(rows, whole[key].flatten(1).sum(1)), key


PADDED = ("ids", "mask", "places", "index", "tokens", "align", "rasters", "same", "before")        # to the longest of each part


# ---------------------------------------------------------------- refusing

def test_uneven_batches_are_refused(monkeypatch, folder):
    with pytest.raises(ValueError, match="batch of 8 .* 1 ranks in 3 parts each: choose a multiple of 3"):
        losses(build("vae", folder), accumulate=3)
    with pytest.raises(ValueError, match="batch of 10 .* 2 ranks in 2 parts each: choose a multiple of 4"):
        shares(monkeypatch, 10, count=2, accumulate=2)


def test_sharding_needs_several_processes(capfd):
    assert main(["train", "vae", "--config", "tiny", "--parallel", "fsdp"]) == 2
    assert "torchrun" in capfd.readouterr().err
