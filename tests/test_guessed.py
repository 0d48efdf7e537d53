"""The last stages of the decoder: plans that the planner guesses, each id given the true ones before it."""

from types import SimpleNamespace

import pytest
import torch

from minglm.config import preset
from minglm.generate.plan import outside
from minglm.model import flow
from minglm.model.planner import Planner
from minglm.model.prompt import preview_grid, prompt_ids
from minglm.training import lanes
from minglm.training.guessed import GUIDANCE, LIKELY, TEMPERATURE, TOP_P, guessed
from minglm.world.explicit import bare

CAPTIONS = ['A red poster with the white words "Hello" at the top.', "A blue poster with a cat in the centre."]
ROWS, COLUMNS = 3, 4


@pytest.fixture(scope="module")
def planner():
    torch.manual_seed(0)
    planner = Planner(preset("tiny").planner).eval()
    planner.requires_grad_(False)
    torch.nn.init.normal_(planner.head.weight, std=0.6)          # so that few ids are probable
    return planner


@pytest.fixture
def true_ids():
    torch.manual_seed(1)
    return torch.randint(0, preset("tiny").planner.codebook, (2, ROWS, COLUMNS))


def encode(true_ids):
    """A tokenizer for which every picture has these ids, and every preview others."""
    grid = preview_grid(ROWS, COLUMNS, preset("tiny").planner.preview_tokens)
    small = true_ids[:, :grid[0], :grid[1]].flip(1)
    return SimpleNamespace(encode=lambda images: true_ids if images.shape[2] == 32 * ROWS else small)


def guess(planner, bpe, true_ids, chance):
    return guessed(planner, bpe, encode(true_ids), CAPTIONS, torch.zeros(2, 3, 32 * ROWS, 32 * COLUMNS), chance)


def guided(planner, bpe, true_ids):
    """The logits by which the cells are sampled, computed one poster at a time."""
    config, grid = planner.config, preview_grid(ROWS, COLUMNS, planner.config.preview_tokens)
    out = []
    for b, caption in enumerate(CAPTIONS):
        small = encode(true_ids).encode(torch.zeros(2, 3, 8, 8))
        both = [planner.predict([prompt_ids(bpe, text, ROWS, COLUMNS, grid, config.vision_vocab, config.boi)],
                                small[b:b + 1], true_ids[b:b + 1])[0][0] for text in (caption, bare(caption))]
        cells = flow.guide(*both, GUIDANCE)[grid[0] * grid[1]:-1, :config.codebook]
        out.append(cells / TEMPERATURE)
    return torch.stack(out)                                      # (2, h w, V)


def test_the_likeliest_id_is_what_no_chance_decides(planner, bpe, true_ids):
    found = guess(planner, bpe, true_ids, torch.zeros(2, ROWS, COLUMNS))
    assert torch.equal(found.flatten(1), guided(planner, bpe, true_ids).argmax(-1))


def test_ids_are_sampled_as_often_as_in_the_pipeline(planner, bpe, true_ids):
    logits, count = guided(planner, bpe, true_ids), 400
    wanted = logits.masked_fill(outside(logits, TOP_P), -torch.inf).softmax(-1)
    assert (wanted > 0).sum(-1).max() < LIKELY and (wanted > 0).sum(-1).max() > 3
    seen = torch.zeros_like(wanted)
    for i in range(count):                                       # numbers spread evenly from 0 to 1
        found = guess(planner, bpe, true_ids, torch.full((2, ROWS, COLUMNS), (i + 0.5) / count))
        seen.scatter_add_(-1, found.flatten(1)[..., None], torch.ones(2, ROWS * COLUMNS, 1))
    assert (seen / count - wanted).abs().max() < 1.5 / count


def test_a_guess_depends_on_the_cells_before_it_alone(planner, bpe, true_ids):
    chance = torch.rand(2, ROWS, COLUMNS)
    other = true_ids.clone()
    other[:, 1, 2] = (other[:, 1, 2] + 7) % planner.config.codebook
    a, b = (guess(planner, bpe, ids, chance).flatten(1) for ids in (true_ids, other))
    at = COLUMNS + 2
    assert torch.equal(a[:, :at + 1], b[:, :at + 1]) and not torch.equal(a, b)


def test_no_number_samples_what_top_p_drops(planner, bpe, true_ids):
    logits = guided(planner, bpe, true_ids)
    last = guess(planner, bpe, true_ids, torch.full((2, ROWS, COLUMNS), 1 - 2 ** -24))
    assert not outside(logits, TOP_P).gather(-1, last.flatten(1)[..., None]).any()


def test_a_lane_waits_for_the_stage_whose_planner_guesses(tmp_path):
    """The weights of an earlier stage of the planner are there long before."""
    (tmp_path / "planner").mkdir()
    (tmp_path / "planner" / "model.safetensors").touch()
    looks = iter([False, True])
    assert not lanes.wait_for(tmp_path, ("planner",), lambda: next(looks), ("planner-guided",))
    (tmp_path / "training" / "planner-guided").mkdir(parents=True)
    (tmp_path / "training" / "planner-guided" / "loss.png").touch()
    assert lanes.wait_for(tmp_path, ("planner",), lambda: True, ("planner-guided",))
