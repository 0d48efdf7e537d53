"""The glyph encoder: strings are encoded alone, and filling up never shows."""

from dataclasses import replace

import pytest
import torch

from minglm.config import preset
from minglm.model.glyph import MOST_CELLS, MOST_STRINGS, GlyphEncoder, collate, gather

PICTURES = [["HELLO", "你好"], [], ["A"], ["X" * 40, "", "é!"]]


@pytest.fixture(scope="module", params=[True, False], ids=["places", "plain"])
def encoder(request):
    torch.manual_seed(0)
    model = GlyphEncoder(replace(preset("tiny").glyph, depth=2, places=request.param)).eval().requires_grad_(False)
    for p in model.parameters():
        p.add_(0.05 * torch.randn_like(p))
    return model


def tokens(encoder, pictures):
    """The glyph tokens of each picture, without filling."""
    batch = collate(pictures)
    features = gather(encoder(batch["ids"], batch["mask"], batch["places"]), batch["index"])
    return [row[mask] for row, mask in zip(features, batch["tokens"])]


def test_collate_lays_strings_one_behind_the_other():
    batch = collate([["HI", "é"], ["Z"]])
    assert batch["ids"].tolist() == [[75, 76, 1], [0xC3 + 3, 0xA9 + 3, 1], [93, 1, 0]]
    assert batch["mask"].tolist() == [[True] * 3, [True] * 3, [True, True, False]]
    ids = gather(batch["ids"][..., None], batch["index"])[..., 0]
    assert ids[0].tolist() == [75, 76, 1, 0xC3 + 3, 0xA9 + 3, 1]
    assert ids[1][batch["tokens"][1]].tolist() == [93, 1]


def test_no_text_is_one_empty_string():
    batch = collate([[]])
    assert batch["ids"].tolist() == [[1]] and batch["tokens"].tolist() == [[True]]
    same = collate([[""]])
    assert all(torch.equal(batch[name], same[name]) for name in batch)


def test_a_batch_of_pictures_equals_each_alone(encoder):
    together = tokens(encoder, PICTURES)
    for picture, features in zip(PICTURES, together):
        alone = tokens(encoder, [picture])[0]
        assert features.shape == alone.shape
        assert len(features) == sum(len(text.encode()) + 1 for text in picture or [""])
        assert (features - alone).abs().max() < 1e-5


def test_filling_is_masked(encoder):
    batch = collate(PICTURES)
    before = encoder(batch["ids"], batch["mask"], batch["places"])
    noise = torch.where(batch["mask"], batch["ids"], torch.full_like(batch["ids"], 99))
    after = encoder(noise, batch["mask"], batch["places"])
    assert torch.equal(after[batch["mask"]], before[batch["mask"]])
    changed = batch["ids"].clone()
    changed[0, 0] += 1
    assert not torch.allclose(encoder(changed, batch["mask"], batch["places"])[0], before[0])


def test_every_byte_sees_its_whole_string_and_no_other(encoder):
    one, two = tokens(encoder, [["ABCD", "EF"], ["ABCX", "EF"]])
    assert ((one - two)[:5].abs().amax(-1) > 1e-5).all()
    assert torch.equal(one[5:], two[5:])


def test_order_of_letters_matters(encoder):
    one, two = tokens(encoder, [["ABC"], ["CBA"]])
    assert (one - two.index_select(0, torch.tensor([2, 1, 0, 3]))).abs().max() > 1e-4


def test_places_say_which_cell_and_character_of_which_string():
    """From both ends; a Chinese character has two cells, its first byte the left one, the others the right one."""
    batch = collate([["AB", "你A"], ["C"]])
    width, high = MOST_CELLS, MOST_STRINGS
    assert batch["places"][0, :3, 0].tolist() == [0 * width + 2, 1 * width + 1, 2 * width + 0]
    assert batch["places"][1, :5, 0].tolist() == [0 * width + 3] + [1 * width + 2] * 2 + [2 * width + 1, 3 * width]
    assert batch["places"][1, :5, 1].tolist() == [0 * width + 2] * 3 + [1 * width + 1, 2 * width]
    assert batch["places"][:, 0, 2].tolist() == [0 * high + 1, 1 * high + 0, 0]


def test_places_stay_inside_their_tables():
    batch = collate([["W" * 50] * 12])
    assert batch["places"][..., :2].max() < MOST_CELLS ** 2 and batch["places"][..., 2].max() < MOST_STRINGS ** 2


def test_same_string_twice_is_told_apart_only_by_places():
    for places in (True, False):
        torch.manual_seed(0)
        model = GlyphEncoder(replace(preset("tiny").glyph, places=places))
        first, second = tokens(model, [["HI", "HI"]])[0].chunk(2)
        assert torch.allclose(first, second, atol=1e-5) != places


def test_buckets_are_exact_near_and_saturate_far():
    buckets = GlyphEncoder(preset("tiny").glyph).buckets(300)
    row = buckets[150]
    assert row[143:151].tolist() == [7, 6, 5, 4, 3, 2, 1, 0] and row[151:158].tolist() == [17, 18, 19, 20, 21, 22, 23]
    assert (row[:151].flip(0).diff() >= 0).all() and (row[151:].diff() >= 0).all()
    assert row[0] == 15 and row[-1] == 31 and buckets.min() == 0
