"""A training step on fake tensors: what is known is counted right, and a real step keeps what a fake one foretells.

The name npu can be given once per process only, so everything runs in one of its own, which prints its numbers.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minglm.__main__ import main
from minglm.config import preset
from minglm.measure.cost import CARDS
from minglm.model.layers import round_up

STAGES = ("planner", "decoder", "edit-planner", "edit-decoder", "grpo-planner", "grpo-decoder")
SCRIPT = """
import json, torch
from dataclasses import replace
from minglm.ascend.fake_card import fake_card
from minglm.ascend.memory import parameters, per_card, step, table
from minglm.ascend.steps import LOSSES
from minglm.config import preset
from minglm.measure.cost import CARDS
from minglm.model.decoder import Decoder
from minglm.model.planner import Planner
from minglm.model.tokenizer import Tokenizer

full, mini, cpu = preset("glm_image"), preset("mini"), torch.device("cpu")
found = {}

def note(name, memory):
    found[name] = {key: value for key, value in vars(memory).items() if key != "shapes"} | dict(
        count=parameters(memory), one=per_card(memory, 1), eight=per_card(memory, 8),
        outside=parameters(memory) - parameters(memory, "blocks."),
        a_block=parameters(memory, "blocks.0."))

with fake_card() as card:
    for stage in ("planner", "decoder"):
        for checkpointing in (False, True):
            name = stage + " checkpointed" * checkpointing
            note(name, step(stage, full, 1024, 1024, 1, card, checkpointing=checkpointing))
    for depth in (2, 3):
        deep = replace(mini, planner=replace(mini.planner, depth=depth), decoder=replace(mini.decoder, depth=depth))
        note(f"depth {depth}", step("planner", deep, 128, 128, 2, card, checkpointing=True))
    with card:
        found["vision"] = sum(p.numel() for p in Tokenizer(full.tokenizer).parameters())
        planner, decoder = Planner(mini.planner), Decoder(mini.decoder)
        ids, place = torch.zeros(1, 8, dtype=torch.long), torch.zeros(1, 3, 8, dtype=torch.long)
        latents, time = torch.zeros(1, 16, 16, 16), torch.zeros(1)
        prior, glyphs = torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 3, mini.decoder.glyph_width)
    planner(ids, place), decoder(latents, time, prior, glyphs)
    found["mixed"] = []
    for forgotten in (lambda: torch.ones(2, device=card) + torch.ones(2), lambda: planner(ids.cpu(), place),
                      lambda: decoder(latents.cpu(), time, prior, glyphs), lambda: decoder(latents, time, prior, glyphs.cpu())):
        try:
            found["mixed"].append(f"passed: {forgotten()}")
        except Exception as error:
            found["mixed"].append(f"{type(error).__name__} {error}")
    found["table"] = table(mini, 128, 96, CARDS["ascend-910b"], cards=(1, 8))

for stage in LOSSES:
    for checkpointing in (False, True):
        name = stage + " checkpointed" * checkpointing
        how = dict(dtype=torch.float32, checkpointing=checkpointing)
        with fake_card(fused=False) as card:
            note(f"foretold {name}", step(stage, mini, 128, 128, 4, card, **how))
        note(f"real {name}", step(stage, mini, 128, 128, 4, cpu, **how))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1],
                         env=os.environ | dict(TORCH_DEVICE_BACKEND_AUTOLOAD="0", CUDA_VISIBLE_DEVICES=""))
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def test_the_full_models_have_their_known_sizes(found):
    assert found["decoder"]["count"] == 6_926_882_880
    assert found["planner"]["count"] + found["vision"] == 10_114_245_632


@pytest.mark.parametrize("stage", ["planner", "decoder"])
def test_states_are_what_a_hand_calculation_gives(found, stage):
    memory = found[stage]
    count = memory["count"]
    assert [memory[part] for part in ("parameters", "gradients", "optimiser", "average")] == [4 * count, 4 * count, 8 * count, 4 * count]
    gathered = 2 * (2 * memory["outside"] + 3 * memory["a_block"])               # bfloat16
    assert memory["one"] == [20 * count, gathered]
    assert memory["eight"][1] == gathered and memory["eight"][0] == pytest.approx(20 * count / 8, rel=1e-3)
    assert memory["eight"][0] >= 20 * count / 8                                  # shares are rounded up


def test_a_checkpointed_block_keeps_exactly_its_input(found):
    tokens = round_up(128 + 4 + 16)                                              # prompt, preview, large grid
    assert found["depth 3"]["kept"] - found["depth 2"]["kept"] == 2 * tokens * preset("mini").planner.width * 2


@pytest.mark.parametrize("stage", ["planner", "decoder"])
def test_checkpointing_saves_memory(found, stage):
    without, with_ = found[stage], found[f"{stage} checkpointed"]
    assert with_["kept"] + without["block"] < without["kept"] / 5
    config = getattr(preset("glm_image"), stage)
    assert without["kept"] == pytest.approx(config.depth * without["block"], rel=0.2)


@pytest.mark.parametrize("checkpointed", ["", " checkpointed"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_real_step_keeps_what_a_fake_one_foretells(found, stage, checkpointed):
    real, foretold = found[f"real {stage}{checkpointed}"], found[f"foretold {stage}{checkpointed}"]
    assert foretold["kept"] == pytest.approx(real["kept"], rel=0.005)
    assert {k: v for k, v in real.items() if k not in ("kept", "block")} == {
        k: v for k, v in foretold.items() if k not in ("kept", "block")}


def test_a_tensor_left_on_the_host_raises(found):
    assert len(found["mixed"]) == 4
    for said in found["mixed"]:
        assert said.startswith("FakeTensorDeviceMismatchError") and "found at least two devices" in said, said


def test_the_table_says_what_fits_and_what_was_assumed(found):
    rows = [line.split() for line in found["table"].splitlines()[4:]]
    assert [row[0] for row in rows] == ["stage", *(stage for stage in STAGES for _ in range(4))]
    assert all(row[-1] == "yes" for row in rows[1:]) and "assumed" in found["table"]


def test_full_size_needs_several_cards(found):
    room = CARDS["ascend-910b"].memory
    for stage in ("planner", "decoder"):
        memory = found[stage]
        assert sum(memory["one"]) > room > sum(memory["eight"]) + memory["kept"]


def test_what_a_stage_adds_is_counted(found):
    """A source picture in prompt and attention; two steps, guided, and two frozen copies, when rewarded."""
    kept = {stage: found[f"real {stage}"]["kept"] for stage in STAGES}
    assert kept["edit-planner"] > kept["planner"] and kept["edit-decoder"] > 1.5 * kept["decoder"]
    assert kept["grpo-decoder"] == pytest.approx(4 * kept["decoder"], rel=0.2)
    for stage in STAGES:
        assert found[f"real {stage}"]["copies"] == (2 if stage.startswith("grpo") else 0) * 2 * found[f"real {stage}"]["count"]


def test_a_bad_size_is_one_line(capsys):
    assert main(["cost", "--train", "--size", "100x100"]) == 2
    assert "100x100" in capsys.readouterr().err


def test_what_a_training_step_has_not_is_refused(capsys):
    for option in (["--steps", "20"], ["--no-guidance"]):
        assert main(["cost", "--train", *option]) == 2
        assert option[0] in capsys.readouterr().err
