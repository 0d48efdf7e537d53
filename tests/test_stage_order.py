"""Stage glyph-order: characters of the same bytes are told apart, and the others stay as they are."""

import itertools
import random
from dataclasses import replace

import torch
from parallel_worker import losses

from minglm.config import preset
from minglm.device import pick
from minglm.model.glyph import GlyphEncoder, collate, gather, ordered
from minglm.training import stage_glyph, stage_order
from minglm.training.recipe import RECIPES
from minglm.world.characters import confusable, han_characters

CPU = pick("cpu")


def test_one_character_in_six_has_the_bytes_of_another():
    """Found independently: by permuting the bytes of every character."""
    every = set(han_characters())
    for c in random.Random(0).sample(sorted(every), 400):
        others = {bytes(some) for some in itertools.permutations(c.encode())} - {c.encode()}
        shared = any(other in {o.encode() for o in every if o[0] != c} for other in others)
        assert (c in confusable()) == shared, c
    assert {"台", "小", "词", "药"} <= set(confusable()) and 1 / 7 < len(confusable()) / len(every) < 1 / 5


def test_every_other_string_of_the_order_stage_is_of_confusable_characters():
    found = [stage_order.string_of_order(i) for i in range(200)]
    assert all(set(text) <= set(confusable()) for text in found[::2])
    assert found[1::2] == [stage_glyph.string(i) for i in range(1, 200, 2)]


def test_ids_for_third_bytes_begin_near_those_for_second_ones(config):
    torch.manual_seed(0)
    encoder = GlyphEncoder(replace(config.glyph, order=False))
    before = encoder.embed.weight.detach().clone()
    stage_order.add_third_ids(encoder, torch.Generator().manual_seed(0))
    after = encoder.embed.weight.detach()
    second, third = (after[0x80 + 3 + k:0xC0 + 3 + k] for k in (0, 0x80))
    changed = (after != before).any(1).nonzero().flatten()
    assert changed.tolist() == list(range(0x100 + 3, 0x140 + 3))                 # and nothing else
    assert 0.7 < torch.cosine_similarity(second, third).mean() < 0.95 and encoder.config.order


def drawn(config, steps, twins, others):
    """The stage after some steps; the error of twins, as a share of that against the twin's picture; and how
    far the features of others have drifted."""
    unordered = replace(config, glyph=replace(config.glyph, order=False))
    torch.manual_seed(0)
    encoder = GlyphEncoder(unordered.glyph)
    data, rest = (stage_glyph.strings_to_draw(list(some), unordered, CPU) for some in (twins, others))

    def features(model, data):
        return gather(model(data["ids"], data["mask"], data["places"]), data["index"])[:, :2]

    recipe = replace(RECIPES["tiny"]["glyph-order"], steps=steps, batch=16, warmup=5, lr=4e-3, ema=0.9)
    with torch.no_grad():
        before = features(encoder, rest)
    stage = stage_order.glyph_order_stage(unordered, CPU, recipe, encoder)
    losses(stage)
    with torch.no_grad():
        found, wanted = encoder.draw(features(encoder, data)).sigmoid(), data["rasters"][:, :2]
        swapped = wanted.view(-1, 2, *wanted.shape[1:]).flip(1).flatten(0, 1)    # the twin's picture
        own, other = (found - wanted).square().mean(), (found - swapped).square().mean()
        return (own / other).item(), (features(encoder, rest) - before).square().mean().item()


def test_twins_come_apart_and_others_stay_what_they_are(config, monkeypatch):
    """Drawn nearer to their own pictures; and features of others drift less than without the penalty."""
    twins, others = "台小请路棍捣词药力囊士嫣才捉巾德", "天地人你我他山水"
    monkeypatch.setattr(stage_order, "confusable", lambda: twins)
    ratio, drift = drawn(config, 150, twins, others)
    monkeypatch.setattr(stage_order, "KEEP", 0.0)
    start, (_, free) = drawn(config, 0, twins, others)[0], drawn(config, 150, twins, others)
    assert start > 0.9 and ratio < 0.75 and drift < 0.5 * free, (start, ratio, drift, free)


def test_an_interrupted_run_compares_with_the_encoder_that_it_began_with(config, tmp_path):
    """Whatever the folder of weights holds by now."""
    def stage(seed):
        torch.manual_seed(seed)
        encoder = GlyphEncoder(replace(config.glyph, order=False))
        return stage_order.glyph_order_stage(config, CPU, replace(RECIPES["tiny"]["glyph-order"], steps=6, batch=4), encoder)

    wanted = losses(stage(0))
    assert losses(stage(0), tmp_path, 3) + losses(stage(1), tmp_path, resume=True) == wanted


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


def test_a_sum_over_bytes_has_no_order(config):
    """Without position biases the first bytes of twins get the same feature, unless third bytes have ids of
    their own."""
    torch.manual_seed(0)
    encoder = GlyphEncoder(replace(config.glyph, depth=2, order=False))
    torch.nn.init.zeros_(encoder.position_bias.weight)
    data = collate([["台"], ["小"]])

    def first():
        with torch.no_grad():
            return encoder(data["ids"], data["mask"], data["places"])[:, 0]

    one, other = first()
    assert torch.allclose(one, other, atol=1e-5)
    encoder.config = replace(encoder.config, order=True)
    one, other = first()
    assert (one - other).abs().max() > 0.1
