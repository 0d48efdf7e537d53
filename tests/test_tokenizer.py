"""The tokenizer: ids are nearest codes, codes follow their features, the word loss has its least value."""

import pytest
import torch
import torch.nn.functional as F

from minglm.config import TokenizerConfig, preset
from minglm.model.tokenizer import Tokenizer, VectorQuantiser
from minglm.training.batches import pixels
from minglm.training.stage_tokenizer import Alignment, revise_codes, word_loss
from minglm.world.draw import draw
from minglm.world.masks import PARTS
from minglm.world.objects import things

CONFIG = preset("tiny").tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    model = Tokenizer(CONFIG).eval().requires_grad_(False)
    for p in model.encoder.parameters():
        p.add_(0.1 * torch.randn_like(p))
    return model


@pytest.mark.parametrize("height, width", [(32, 32), (96, 160), (160, 96), (64, 256)])
def test_one_id_for_every_32_pixels(tokenizer, height, width):
    ids = tokenizer.encode(torch.rand(2, 3, height, width) * 2 - 1)
    assert ids.shape == (2, height // 32, width // 32) and ids.dtype == torch.int64
    assert 0 <= ids.min() and ids.max() < CONFIG.codebook


def test_ids_do_not_depend_on_the_rest_of_the_batch(tokenizer):
    images = pixels([draw(0, i) for i in range(6)])
    together = tokenizer.encode(images)
    assert len(together.unique()) > 1
    for i in range(6):
        assert torch.equal(tokenizer.encode(images[i:i + 1])[0], together[i])
    assert torch.equal(tokenizer.encode(images.flip(0)), together.flip(0))


def test_every_patch_sees_the_whole_image(tokenizer):
    image = pixels([draw(0, 1)])
    changed = image.clone()
    changed[:, :, -32:, -32:] *= -1
    apart = (tokenizer.features(changed) - tokenizer.features(image)).abs().amax(-1)[0]
    assert apart.min() > 1e-5 and apart.argmax() == 15


def test_the_nearest_code_is_at_the_least_distance(tokenizer):
    quantiser = tokenizer.quantiser
    z = F.normalize(torch.randn(2, 3, 4, CONFIG.code_width), dim=-1)
    codes = F.normalize(quantiser.codes, dim=-1)
    wanted = torch.cdist(z.flatten(0, 2), codes).argmin(-1).view(2, 3, 4)
    assert torch.equal(quantiser.nearest(z), wanted)
    ids = torch.randint(CONFIG.codebook, (2, 3, 4))
    assert torch.equal(quantiser.nearest(quantiser.lookup(ids)), ids)
    assert torch.allclose(quantiser.lookup(ids).norm(dim=-1), torch.ones(2, 3, 4), atol=1e-5)


def test_the_length_of_a_code_does_not_count(tokenizer):
    quantiser = VectorQuantiser(CONFIG)
    z = F.normalize(torch.randn(50, 1, 1, CONFIG.code_width), dim=-1)
    before = quantiser.nearest(z)
    with torch.no_grad():
        quantiser.codes.mul_(torch.rand(CONFIG.codebook, 1) * 9 + 0.5)
    assert torch.equal(quantiser.nearest(z), before)


def test_features_are_unit_vectors(tokenizer):
    z = tokenizer.features(pixels([draw(0, i) for i in range(2)]))
    assert torch.allclose(z.norm(dim=-1), torch.ones(2, 4, 4), atol=1e-5)


def test_the_position_table_is_itself_at_its_own_size(tokenizer):
    side = CONFIG.table
    assert torch.allclose(tokenizer.encoder.positions(side, side), tokenizer.encoder.table, atol=1e-5)
    table = tokenizer.encoder.table.view(side, side, -1)
    half = (table[0::2, 0::2] + table[1::2, 0::2] + table[0::2, 1::2] + table[1::2, 1::2]) / 4
    assert torch.allclose(tokenizer.encoder.positions(side // 2, side // 2), half.flatten(0, 1), atol=1e-5)


# ---------------------------------------------------------------- codes follow their features

@pytest.fixture
def quantiser():
    torch.manual_seed(1)
    return VectorQuantiser(TokenizerConfig(width=8, codebook=6, code_width=4))


def revise(quantiser, usage, z, ids, times=1, **options):
    for _ in range(times):
        revise_codes(quantiser, usage, z, ids, torch.Generator().manual_seed(0), **options)


def test_a_chosen_code_moves_to_the_mean_of_its_features(quantiser):
    z = F.normalize(torch.randn(1, 4, 2, 4, generator=torch.Generator().manual_seed(2)), dim=-1)
    ids, usage, before = torch.full((1, 4, 2), 3), torch.full((6,), 9.0), quantiser.codes.detach().clone()
    mean = F.normalize(z.sum((0, 1, 2)), dim=-1)
    revise(quantiser, usage, z, ids)
    step = F.normalize(0.95 * before[3] + 0.05 * mean, dim=-1)
    assert torch.allclose(quantiser.codes[3], step, atol=1e-6)
    others = [0, 1, 2, 4, 5]
    assert torch.equal(quantiser.codes[others], before[others])
    revise(quantiser, usage.fill_(9), z, ids, 20, decay=0.5)
    assert torch.allclose(quantiser.codes[3], mean, atol=1e-3)


def test_usage_is_a_running_count(quantiser):
    usage, ids = torch.full((6,), 2.0), torch.tensor([[[0, 0, 1, 5]]])
    revise(quantiser, usage, F.normalize(torch.randn(1, 1, 4, 4), dim=-1), ids)
    assert torch.allclose(usage, 0.95 * 2 + 0.05 * torch.tensor([2.0, 1, 0, 0, 0, 1]))


def test_dead_codes_are_revived_from_the_features(quantiser):
    z = F.normalize(torch.randn(1, 3, 3, 4), dim=-1)
    usage = torch.tensor([9.0, 9, 0, 9, 0.001, 9])
    before = quantiser.codes.detach().clone()
    revise(quantiser, usage, z, torch.zeros(1, 3, 3, dtype=torch.long))
    for dead in (2, 4):
        assert (z.view(-1, 4) - quantiser.codes[dead]).abs().amax(-1).min() == 0
        assert usage[dead] == pytest.approx(0.2)
    assert torch.equal(quantiser.codes[[1, 3, 5]], before[[1, 3, 5]])


def test_of_two_codes_for_the_same_the_one_that_is_used_less_goes(quantiser):
    z = F.normalize(torch.randn(1, 2, 2, 4, generator=torch.Generator().manual_seed(3)), dim=-1)
    codes, usage = F.normalize(torch.eye(4)[[0, 0, 0, 1, 2, 3]] + 1e-3 * torch.randn(6, 4), dim=-1), torch.full((6,), 5.0)
    usage[1] = 7
    with torch.no_grad():
        quantiser.codes.copy_(codes)
    revise(quantiser, usage, z, torch.full((1, 2, 2), 5), decay=1.0)
    left = (quantiser.codes - codes).abs().amax(1) < 1e-5
    assert left.tolist() == [False, True, False, True, True, True]
    assert usage[[0, 2]].tolist() == pytest.approx([0.2, 0.2])


def test_revising_is_a_function_of_its_generator(quantiser):
    z, ids = F.normalize(torch.randn(1, 3, 3, 4), dim=-1), torch.zeros(1, 3, 3, dtype=torch.long)
    start, made = quantiser.codes.detach().clone(), []
    for _ in range(2):
        with torch.no_grad():
            quantiser.codes.copy_(start)
        torch.rand(3)
        revise(quantiser, torch.zeros(6), z, ids)
        made.append(quantiser.codes.detach().clone())
    assert torch.equal(*made)


# ---------------------------------------------------------------- losses

def test_word_loss_is_zero_at_the_perfect_prediction():
    words, rarity = torch.tensor([[1.0, 0, 1, 1], [0, 0, 1, 0]]), torch.tensor([0.5, 3, 1, 2])
    share = words * rarity / (words * rarity).sum(1, keepdim=True)
    assert word_loss(share.clamp_min(1e-12).log(), words, rarity).item() == pytest.approx(0, abs=1e-5)
    other = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    wanted = (share * (share.clamp_min(1e-9).log() - other.log_softmax(1))).sum(1).mean()
    assert word_loss(other, words, rarity).item() == pytest.approx(wanted.item(), abs=1e-5) and wanted > 0.1


def test_word_loss_survives_a_caption_without_words():
    assert word_loss(torch.randn(2, 4), torch.zeros(2, 4), torch.ones(4)).isfinite()


def test_alignment_answers_with_words_half_size_pixels_and_parts_of_objects():
    model = Alignment(CONFIG, 50)
    words, image, parts = model(torch.randn(2, 3, 5, CONFIG.code_width), torch.ones(2, 3, 5))
    assert words.shape == (2, 50) and image.shape == (2, 3, 48, 80)
    assert parts.shape == (2, 3, 5, len(PARTS) * len(things()))


def test_a_cell_and_its_object_are_told_from_its_code_alone():
    model, codes, shown = Alignment(CONFIG, 50), torch.randn(1, 3, 5, CONFIG.code_width), torch.ones(1, 3, 5)
    other = codes.clone()
    other[0, 1, 2] += 1
    (_, image, parts), (_, image2, parts2) = model(codes, shown), model(other, shown)
    changed = (parts2 != parts).any(-1)
    assert changed.sum() == 1 and changed[0, 1, 2]
    where = (image2 != image).any(1)[0].nonzero()
    assert where.amin(0).tolist() == [16, 32] and where.amax(0).tolist() == [31, 47]


def test_words_are_asked_of_cells_that_show_something():
    """Of a picture with nothing on it the answer is the same whatever its codes are."""
    model, nothing = Alignment(CONFIG, 50), torch.zeros(1, 3, 5)
    one, two = (model(torch.randn(1, 3, 5, CONFIG.code_width), nothing)[0] for _ in range(2))
    assert torch.equal(one, two)
    nothing[0, 1, 1] = 1
    one, two = (model(torch.randn(1, 3, 5, CONFIG.code_width), nothing)[0] for _ in range(2))
    assert not torch.equal(one, two)
