"""Stage glyph-order: characters of the same bytes are told apart, and the others stay as they are."""

import itertools
import random
from dataclasses import replace

import pytest
import torch
from parallel_worker import losses

from minglm.config import preset
from minglm.device import pick
from minglm.files import read_json
from minglm.model import weights
from minglm.model.glyph import GlyphEncoder, collate, gather, ordered
from minglm.training import stage_glyph, stage_order
from minglm.training.recipe import RECIPES, staged
from minglm.training.stages import build, finish
from minglm.world.characters import han_characters

CPU = pick("cpu")


@pytest.fixture
def config():
    return preset("tiny")


def test_one_character_in_six_has_the_bytes_of_another():
    """Found independently: by permuting the bytes of every character."""
    every = set(han_characters())
    for c in random.Random(0).sample(sorted(every), 400):
        others = {bytes(some) for some in itertools.permutations(c.encode())} - {c.encode()}
        shared = any(other in {o.encode() for o in every if o[0] != c} for other in others)
        assert (c in stage_order.confusable()) == shared, c
    assert {"台", "小", "词", "药"} <= set(stage_order.confusable()) and len(stage_order.confusable()) > 500


def test_every_other_string_of_the_order_stage_is_of_confusable_characters():
    found = [stage_order.mixed(i) for i in range(200)]
    assert all(set(text) <= set(stage_order.confusable()) for text in found[::2])
    assert found[1::2] == [stage_glyph.string(i) for i in range(1, 200, 2)]


def test_ids_for_third_bytes_begin_near_those_for_second_ones(config):
    torch.manual_seed(0)
    encoder = GlyphEncoder(config.glyph)
    before = encoder.embed.weight.detach().clone()
    stage_order.begin(encoder, torch.Generator().manual_seed(0))
    after = encoder.embed.weight.detach()
    second, third = (after[0x80 + 3 + k:0xC0 + 3 + k] for k in (0, 0x80))
    changed = (after != before).any(1).nonzero().flatten()
    assert changed.tolist() == list(range(0x100 + 3, 0x140 + 3))                 # and nothing else
    assert 0.7 < torch.cosine_similarity(second, third).mean() < 0.95


def test_the_order_stage_separates_what_shares_its_bytes(config, monkeypatch):
    """Two characters with the same bytes get nearer to their own pictures; others stay what they were."""
    monkeypatch.setattr(stage_order, "confusable", lambda: "台小")
    unordered = replace(config, glyph=replace(config.glyph, order=False))
    torch.manual_seed(0)
    recipe = replace(RECIPES["tiny"]["glyph-order"], steps=120, batch=16, warmup=5)
    stage = stage_order.glyph_order_stage(unordered, CPU, recipe, GlyphEncoder(unordered.glyph))
    data = stage_glyph.strings_to_draw(["台", "小"], unordered, CPU)

    def apart():
        with torch.no_grad():
            model = stage.model
            features = gather(model(data["ids"], data["mask"], data["places"]), data["index"])
            drawn, wanted = model.draw(features).sigmoid()[:, :2].flatten(1), data["rasters"][:, :2].flatten(1)
            own, other = (drawn - wanted).square().mean(), (drawn - wanted.flip(0)).square().mean()
            return (own / other).item()

    before, found = apart(), losses(stage)
    assert before > 0.9 and apart() < 0.5 and found[-1] < found[0]
    assert stage.model.config.order


def test_only_third_and_fourth_bytes_have_other_ids():
    """As counted from the characters themselves, in strings of all lengths of bytes, padded or not."""
    text = "aé你好🎉!你"
    ids = collate([[text], ["a"]])["ids"]
    wanted = [[byte + 3 + 128 * (k > 1) for c in text for k, byte in enumerate(c.encode())] + [1]]
    assert ordered(ids)[:1].tolist() == wanted and torch.equal(ordered(ids)[1], ids[1])
    spare = range(max(range(256)) + 4, preset("mini").glyph.vocab)
    assert all(0x80 + 3 + 128 <= i in spare for i in wanted[0] if i > 258)


def test_without_the_order_the_published_ids_are_read(config):
    torch.manual_seed(0)
    encoder = GlyphEncoder(replace(config.glyph, order=False))
    data = collate([["你a"]])
    read = encoder(data["ids"], data["mask"], data["places"])
    encoder.config = replace(encoder.config, order=True)
    told = encoder(data["ids"], data["mask"], data["places"])
    assert not torch.equal(read, told)
    with torch.no_grad():                    # the third byte's new id means what the old one did
        encoder.embed.weight[0x100 + 3:0x140 + 3] = encoder.embed.weight[0x80 + 3:0xC0 + 3]
    assert torch.equal(encoder(data["ids"], data["mask"], data["places"]), read)


def test_a_new_run_s_encoder_learns_the_order_late(config, tmp_path):
    """Stage glyph leaves an encoder without it, glyph-order one with it, and both are written so."""
    assert config.glyph.order and preset("mini").glyph.order
    first = staged("glyph", config)
    finish(stage_glyph.glyph_stage(first, CPU, RECIPES["tiny"]["glyph"]), first, tmp_path)
    assert read_json(tmp_path / "glyph" / "config.json")["order"] is False
    stage = build("glyph-order", config, CPU, RECIPES["tiny"]["glyph-order"], tmp_path)
    finish(stage, config, tmp_path)
    assert read_json(tmp_path / "glyph" / "config.json")["order"] is True
    kept = weights.load_part(tmp_path, "glyph", config).embed.weight.clone()
    again = build("glyph-order", config, CPU, RECIPES["tiny"]["glyph-order"], tmp_path)
    assert torch.equal(again.model.embed.weight, kept)           # ids that are there are kept
