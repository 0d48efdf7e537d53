"""Costs from first principles, against what torch counts and against what others measured."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minglm.__main__ import main
from minglm.config import preset
from minglm.measure.cost import CARDS, GLYPHS, PUBLISHED, costs, table
from minglm.model.decoder import Decoder


def stages(*arguments, **more):
    return {cost.stage.split()[0] + (" draws" if "draws" in cost.stage else ""): cost
            for cost in costs(*arguments, **more)}


@pytest.mark.parametrize("name, size", [("mini", (128, 96)), ("base", (256, 256)), ("glm_image", (1024, 768))])
def test_a_decoder_step_costs_what_torch_counts(name, size):
    config, (height, width) = preset(name), size
    with torch.device("meta"):
        decoder = Decoder(config.decoder)
        latents = torch.empty(1, config.vae.channels, height // 8, width // 8)
        ids = torch.zeros(1, height // 32, width // 32, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            decoder(latents, torch.zeros(1), ids, torch.empty(1, GLYPHS, config.decoder.glyph_width))
    ours = stages(config, height, width, 1, guidance=False)["decoder,"].flops
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.1)


def test_the_published_model_has_its_known_sizes():
    found = stages(preset("glm_image"), 1024, 1024, 50)
    assert found["decoder,"].parameters == 6_926_882_880
    assert found["glyph"].parameters == 217_657_472
    assert found["VAE"].parameters == 233_656_835


def test_planning_waits_for_memory_and_painting_for_arithmetic():
    found = stages(preset("glm_image"), 1024, 1024, 50)
    for card in ("h100", "ascend-910b"):
        assert found["planner draws"].bound(CARDS[card]) == "bandwidth"
        assert found["decoder,"].bound(CARDS[card]) == "arithmetic"


def test_a_larger_batch_is_almost_free_for_the_planner_and_not_for_the_decoder():
    one, many = (stages(preset("glm_image"), 1024, 1024, 50, batch=b) for b in (1, 16))
    card = CARDS["h100"]
    assert many["planner draws"].seconds(card) < 1.5 * one["planner draws"].seconds(card)
    assert many["decoder,"].seconds(card) == pytest.approx(16 * one["decoder,"].seconds(card))


def test_no_measured_program_beats_the_estimate_by_much_and_the_best_come_near():
    for name, size, steps, planner, decoder, _ in PUBLISHED:
        found, card = stages(preset("glm_image"), *size, steps), CARDS[name]
        assert planner > 0.9 * found["planner draws"].seconds(card)
        assert 0.9 < decoder / found["decoder,"].seconds(card) < 3
    assert min(planner / stages(preset("glm_image"), *size, steps)["planner draws"].seconds(CARDS[name])
               for name, size, steps, planner, _, _ in PUBLISHED) < 1.5


def test_the_table_states_its_assumptions_and_the_command_prints_it(capsys):
    assert main(["cost", "--size", "1024x1024", "--card", "h800"]) == 0
    said = capsys.readouterr().out
    assert said.strip() == table(preset("glm_image"), 1024, 1024, CARDS["h800"], 50)
    assert "assumed" in said and "measured by others" in said


@pytest.mark.parametrize("arguments, words", [(["--card", "abacus"], "abacus"), (["--size", "100x100"], "100x100"),
                                              (["--steps", "0"], "--steps: 0: a whole number"), (["--config", "huge"], "huge")])
def test_bad_requests_are_one_line(capsys, arguments, words):
    assert main(["cost", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
