"""Every training stage on the simulated npu against the CPU. Run by test_simnpu.py in a process of its own.

Losses are compared in float32 throughout: autocast is off, and so is the bfloat16 inside Muon, whose rounding would
turn a last bit into a third digit within 20 steps.
"""

import json
import math
import re
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

import own_pictures
import pytest
import torch

from minglm.__main__ import main
from minglm.ascend import counters, simtensor, simulator
from minglm.device import Device, pick
from minglm.measure import rewards
from minglm.training import ranks, stage_grpo_decoder, stage_grpo_planner
from minglm.training.loop import train
from minglm.training.recipe import RECIPES
from minglm.training.stages import REWARDS, STAGES, build

TABLE = json.loads((Path(__file__).parent.parent / "data" / "npu_operators.json").read_text())
NAMES = (*STAGES, "lora-planner", "lora-decoder")         # the other two have no operators of their own
BUDGET = 1                                   # host syncs in 20 steps: all numbers of the log by one read
BEGIN = {"planner": 1}                       # and before the first step: ids that are counted with the words

torch.set_num_threads(1)
simulator.install(forbidden=TABLE["cpu"])       # what torch_npu would silently run on the CPU
CPU, NPU = Device(torch.device("cpu")), pick("npu")


@pytest.fixture
def float32(monkeypatch):
    monkeypatch.setattr(Device, "autocast", lambda self, dtype=None: nullcontext())
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self)


@pytest.fixture(scope="module")
def run(config, folder, tmp_path_factory):
    """Train a stage some steps; returns its losses, read at the end, and what the card counted."""
    data = own_pictures.write(tmp_path_factory.mktemp("data"))

    def run(name, device, steps=20, place=None, stop=None, resume=False):
        short, found = dict(steps=steps, batch=2, warmup=2), []
        if name in STAGES:
            stage = build(name, config, device, replace(RECIPES["tiny"][name], **short), folder)
        else:
            stage = own_pictures.build(name, folder, data, device, **short)
        with counters.counting(budget=None if place else BUDGET + BEGIN.get(name, 0)) as seen:
            loop = train(stage, device, place, resume)
            for step in loop:
                found.append(step.values["loss"])
                if step.number == stop:
                    loop.close()
                    break
        return torch.stack(found).cpu(), seen
    return cache(run)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_those_of_the_cpu(run, float32, name):
    (wanted, _), (found, seen) = run(name, CPU), run(name, NPU)
    assert len(found) == 20 and (found - wanted).abs().max() <= 1e-5, (found - wanted).tolist()
    assert seen.launches > 2000 and seen.syncs == BUDGET + BEGIN.get(name, 0) and seen.unfused == 0


@pytest.mark.parametrize("name", STAGES)
def test_a_batch_in_parts_is_on_the_card(config, folder, name):
    """With what its parts share, such as the denominators of the losses."""
    stage = build(name, config, NPU, replace(RECIPES["tiny"][name], steps=1, batch=2, warmup=1), folder)
    parts = ranks.parts(stage.batch, 0, ranks.shares(2, 2))
    assert len(parts) == 2 and all(value.device.type == "npu" for part in parts for value in part.get("sums", {}).values())


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_has_the_losses_of_an_undisturbed_one(run, float32, name, tmp_path):
    first, _ = run(name, NPU, place=tmp_path, stop=10)
    second, _ = run(name, NPU, place=tmp_path, resume=True)
    assert torch.equal(torch.cat([first, second]), run(name, NPU)[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_operator_has_a_kernel(run, name):
    """With autocast, as `minglm train` runs; and the losses are the CPU's up to bfloat16."""
    found, seen = run(name, NPU, steps=4)
    missing = {operator for operator in seen.operators if not operator.startswith("npu_")}
    assert missing - {*TABLE["native"], *TABLE["decomposed"]} == set() and len(missing) > 30
    assert seen.syncs == BUDGET
    assert torch.allclose(found, run(name, CPU, steps=4)[0], rtol=2e-2)


@pytest.mark.parametrize("name", REWARDS)
def test_rewarded_stages_train(config, folder, monkeypatch, name):
    """Pictures are rewarded on the host, and what is logged of that is on the card, beside the loss."""
    for module in (stage_grpo_planner, stage_grpo_decoder):
        monkeypatch.setattr(module, "Scorers", lambda workers: rewards.Scorers(0))
    monkeypatch.setattr(rewards, "scored", lambda picture, asked: dict.fromkeys(
        rewards.REWARDS, picture.getpixel((0, 0))[0] / 255))
    stage = build(name, config, NPU, replace(RECIPES["tiny"][name], steps=2, batch=8), folder)
    stats = [step.stats for step in train(stage, NPU)]
    assert len(stats) == 2 and all(math.isfinite(each[key]) for each in stats for key in ("loss", "reward"))


def test_the_planner_runs_on_fused_kernels(run):
    operators = run("planner", NPU, steps=4)[1].operators
    for kernel in ("npu_rms_norm", "npu_rotary_mul", "npu_swiglu"):
        assert operators[kernel] >= operators[f"{kernel}_backward"] > 0
    assert operators["npu_fusion_attention_v3"] > 0 and operators["npu_fusion_attention_grad_v3"] > 0


def test_the_command_trains_and_paints(folder, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main("train vae --config tiny --steps 2 --batch 2 --threads 1 --simulate-npu --out run".split()) == 0
    said = capfd.readouterr()
    assert "peak memory" in said.out
    launches, syncs = re.search(r"simulated npu: ([\d,]+) launches, (\d+) host syncs", said.err).groups()
    assert int(launches.replace(",", "")) > 200 and int(syncs) > 0
    assert main(["generate", 'a red card with "HI" at the top', "--weights", str(folder), "--steps", "2", "--json",
                 "--simulate-npu"]) == 0
    assert json.loads(capfd.readouterr().out)["device"] == simtensor.CARD and Path("poster.png").exists()
