"""The decoder: what may influence what, masks, sizes, reference images."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from minglm.config import preset
from minglm.model.decoder import Decoder, sinusoid
from minglm.model.rotary import rotate

CONFIG = replace(preset("tiny").decoder, channels=4, depth=3)


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    model = Decoder(CONFIG).eval().requires_grad_(False)
    for p in model.parameters():
        p.add_(0.05 * torch.randn_like(p))
    return model


def given(batch=2, h=8, w=12, glyphs=6, seed=0):
    """Random latents, times, ids and glyph features."""
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(batch, CONFIG.channels, h, w, generator=g), 999 * torch.rand(batch, generator=g),
            torch.randint(CONFIG.codebook, (batch, h // 4, w // 4), generator=g),
            torch.randn(batch, glyphs, CONFIG.glyph_width, generator=g))


def apart(a, b):
    return (a - b).abs().max().item()


@pytest.mark.parametrize("h, w", [(4, 4), (16, 16), (12, 20), (20, 4)])
@pytest.mark.parametrize("glyphs", [0, 1, 9])
def test_velocity_has_the_shape_of_the_latents(decoder, h, w, glyphs):
    out = decoder(*given(h=h, w=w, glyphs=glyphs))
    assert out.shape == (2, CONFIG.channels, h, w) and out.isfinite().all()


def test_it_starts_as_nothing():
    """Zero output and blocks that change nothing, so that training starts calmly."""
    torch.manual_seed(0)
    fresh, (latents, time, ids, glyphs) = Decoder(CONFIG), given()
    assert torch.equal(fresh(latents, time, ids, glyphs), torch.zeros_like(latents))
    x, c = fresh.embed(latents, ids), fresh.glyph_in(glyphs)
    m, rotary = fresh.modulator(time, 64, 96), fresh.rotary(4, 6, x.device)
    for block in fresh.blocks:
        after, glyphs_after, *_ = block(x, c, m, rotary, None)
        assert torch.equal(after, x) and torch.equal(glyphs_after, c)


def test_every_input_counts(decoder):
    latents, time, ids, glyphs = given()
    before = decoder(latents, time, ids, glyphs)
    assert apart(decoder(latents + 0.5, time, ids, glyphs), before) > 1e-3
    assert apart(decoder(latents, time / 2, ids, glyphs), before) > 1e-4
    assert apart(decoder(latents, time, (ids + 1) % CONFIG.codebook, glyphs), before) > 1e-3
    assert apart(decoder(latents, time, ids, glyphs.flip(0)), before) > 1e-4
    assert apart(decoder(latents.flip(2), time, ids.flip(1), glyphs), before.flip(2)) > 1e-3


def test_the_size_is_told(decoder):
    time = torch.tensor([10.0])
    square, wide = decoder.modulator(time, 128, 128), decoder.modulator(time, 128, 160)
    assert apart(square, wide) > 1e-3 and apart(wide, decoder.modulator(time, 160, 128)) > 1e-3


def test_samples_of_a_batch_do_not_meet(decoder):
    latents, time, ids, glyphs = given(3)
    together = decoder(latents, time, ids, glyphs)
    for i in range(3):
        one = slice(i, i + 1)
        assert apart(decoder(latents[one], time[one], ids[one], glyphs[one]), together[one]) < 1e-5


# ---------------------------------------------------------------- glyph mask

def test_a_filled_up_batch_equals_each_alone(decoder):
    latents, time, ids, glyphs = given(4, glyphs=7)
    sizes = [7, 3, 1, 5]
    mask = torch.arange(7) < torch.tensor(sizes)[:, None]
    together = decoder(latents, time, ids, glyphs, mask)
    for i, size in enumerate(sizes):
        one = slice(i, i + 1)
        assert apart(decoder(latents[one], time[one], ids[one], glyphs[one, :size]), together[one]) < 1e-5


def test_what_is_masked_changes_nothing(decoder):
    latents, time, ids, glyphs = given(glyphs=5)
    mask = torch.tensor([[True, True, False, False, False], [True, False, True, True, False]])
    before = decoder(latents, time, ids, glyphs, mask)
    noisy = torch.where(mask[..., None], glyphs, 10 * torch.randn_like(glyphs))
    assert torch.equal(decoder(latents, time, ids, noisy, mask), before)
    noisy = torch.where(mask[..., None], glyphs + 1, glyphs)
    assert apart(decoder(latents, time, ids, noisy, mask), before) > 1e-4


def test_training_attends_as_painting_does(decoder):
    """The written-out attention, which training on a CPU takes, equals the fused one."""
    latents, time, ids, glyphs = given(glyphs=4)
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    before = decoder(latents, time, ids, glyphs, mask)
    with torch.enable_grad():
        trained = decoder(latents.clone().requires_grad_(), time, ids, glyphs, mask)
    assert trained.requires_grad and apart(trained.detach(), before) < 1e-5


# ---------------------------------------------------------------- ids

def test_dropped_ids_have_no_influence(decoder):
    latents, time, ids, glyphs = given(3)
    keep = torch.tensor([True, False, False])
    before = decoder(latents, time, ids, glyphs, prior_keep=keep)
    after = decoder(latents, time, (ids + 7) % CONFIG.codebook, glyphs, prior_keep=keep)
    assert torch.equal(after[1:], before[1:]) and apart(after[:1], before[:1]) > 1e-3
    assert torch.equal(before[:1], decoder(latents, time, ids, glyphs)[:1])


def test_an_id_is_heard_on_its_two_by_two_tokens_and_on_those_of_its_neighbours(decoder):
    latents, _, ids, _ = given(1, 12, 16)
    alone = Decoder(replace(CONFIG, neighbours=False)).requires_grad_(False)
    for model, up, down, left, right in ((alone, 4, 6, 2, 4), (decoder, 2, 6, 0, 6)):
        before = model.embed(latents, ids).view(6, 8, -1)
        other = ids.clone()
        other[0, 2, 1] = (ids[0, 2, 1] + 1) % CONFIG.codebook
        changed = (model.embed(latents, other).view(6, 8, -1) - before).abs().sum(-1) > 0
        wanted = torch.zeros(6, 8, dtype=torch.bool)
        wanted[up:down, left:right] = True
        assert torch.equal(changed, wanted)


def test_what_the_neighbours_of_an_id_say_is_a_sum_of_linear_maps(decoder):
    """A matrix for each of the nine places, and nothing from beyond the edges."""
    x = torch.randn(1, 3, 2, CONFIG.width)
    wanted = x.clone()
    for row, column, i, j in product(range(3), range(2), range(3), range(3)):
        if 0 <= row + i - 1 < 3 and 0 <= column + j - 1 < 2:
            wanted[0, row, column] += decoder.near.conv.weight[:, :, i, j] @ x[0, row + i - 1, column + j - 1]
    assert apart(decoder.near(x), wanted) < 1e-5


def test_an_id_says_something_else_to_each_of_its_tokens_unless_the_model_is_as_released():
    latents, _, ids, _ = given()
    for quarters in (True, False):
        model = Decoder(replace(CONFIG, quarters=quarters, neighbours=False)).requires_grad_(False)
        side = model.embed(torch.zeros_like(latents), ids)
        cells = side.unflatten(1, (ids.shape[1], 2, ids.shape[2], 2))             # (B, h, 2, w, 2, D)
        parts = cells.transpose(2, 3).flatten(3, 4)                              # (B, h, w, 4, D)
        same = [torch.equal(parts[..., i, :], parts[..., 0, :]) for i in range(1, 4)]
        assert not any(same) if quarters else all(same)
        # what a token hears depends on its own id alone
        other = ids.clone()
        other[:, 0, 0] = (ids[:, 0, 0] + 1) % CONFIG.codebook
        changed = (model.embed(torch.zeros_like(latents), other) != side).any(-1)
        changed = changed.unflatten(1, (2 * ids.shape[1], 2 * ids.shape[2]))
        assert changed[:, :2, :2].all() and not changed[:, 2:].any() and not changed[:, :, 2:].any()


def test_patches_go_back_where_they_came_from():
    """embed and unpatch agree on the order of a patch: a decoder that passes latents through does."""
    model = Decoder(replace(CONFIG, width=16, heads=1, head_dim=16, quarters=False)).requires_grad_(False)
    latents, time, ids, _ = given()
    torch.nn.init.eye_(model.image_in.weight)
    torch.nn.init.eye_(model.image_out.weight)
    torch.nn.init.zeros_(model.image_in.bias)
    model.prior_in = torch.nn.Sequential(torch.nn.Linear(16, 16))
    torch.nn.init.zeros_(model.prior_in[0].weight)
    torch.nn.init.zeros_(model.prior_in[0].bias)
    out = model(latents, time, ids, torch.zeros(2, 0, CONFIG.glyph_width))
    patches = latents.unfold(2, 2, 2).unfold(3, 2, 2)                            # (B, C, h, w, 2, 2)
    mean = patches.mean((1, 4, 5), keepdim=True)
    std = patches.var((1, 4, 5), keepdim=True, correction=0)
    wanted = ((patches - mean) / (std + 1e-5).sqrt()).permute(0, 1, 2, 4, 3, 5).reshape(latents.shape)
    assert apart(out, wanted) < 1e-4


# ---------------------------------------------------------------- positions

def test_rotary_positions_are_relative_in_two_dimensions(decoder):
    cos, sin = (t.view(5, 7, -1) for t in decoder.rotary(5, 7, torch.device("cpu")))
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, CONFIG.head_dim, generator=g)

    def score(a, b):
        turned = [rotate(x[None, None, None], cos[at], sin[at]) for x, at in ((q, a), (k, b))]
        return (turned[0] * turned[1]).sum().item()

    assert abs(score((0, 0), (2, 3)) - score((2, 1), (4, 4))) < 1e-4
    assert abs(score((1, 5), (3, 2)) - score((2, 4), (4, 1))) < 1e-4
    assert abs(score((0, 0), (2, 3)) - score((0, 0), (3, 2))) > 1e-3
    assert abs(score((0, 0), (0, 1)) - score((0, 1), (0, 0))) > 1e-3


@pytest.mark.parametrize("middle, inner", [(None, slice(0, 4)), (4, slice(2, 6))])
def test_rotary_tables_nest(middle, inner):
    """A token's rotation depends on its place alone, not on the size of the picture: places count from the corner,
    as published, or from the middle of the top edge."""
    decoder = Decoder(replace(CONFIG, middle=middle))
    small, large = (decoder.rotary(*size, torch.device("cpu"))[0] for size in ((2, 4), (6, 8)))
    assert torch.equal(small.view(2, 4, -1), large.view(6, 8, -1)[:2, inner])


def test_sinusoid():
    out = sinusoid(torch.tensor([0.0, 1.0]), 6)
    turn = torch.tensor([1.0, 10000 ** (-1 / 3), 10000 ** (-2 / 3)])
    assert torch.allclose(out, torch.cat([torch.cat([(t * turn).cos(), (t * turn).sin()])[None] for t in (0, 1)]))


# ---------------------------------------------------------------- reference images

def test_the_target_sees_the_references(decoder):
    target, references = given(1), [given(1, h, w, 0, seed) for h, w, seed in ((8, 8, 1), (4, 12, 2))]
    memory = [decoder.remember(latents, ids) for latents, _, ids, _ in references]
    alone, one, both = decoder(*target), decoder(*target, memory=memory[:1]), decoder(*target, memory=memory)
    assert min(apart(alone, one), apart(one, both), apart(alone, both)) > 1e-4
    assert apart(both, decoder(*target, memory=memory[::-1])) < 1e-5             # their order does not count


def test_references_are_remembered_once_for_all_targets(decoder):
    """Keys and values of a reference depend on it alone, and painting leaves them as they are."""
    latents, _, ids, _ = given(1, 8, 8, 0, 1)
    memory = decoder.remember(latents, ids)
    before = [(k.clone(), v.clone()) for k, v in memory]
    assert len(memory) == CONFIG.depth and memory[0][0].shape == (1, CONFIG.heads, 16, CONFIG.head_dim)
    decoder(*given(1, seed=5), memory=[memory])
    for (k, v), (old_k, old_v), (new_k, new_v) in zip(memory, before, decoder.remember(latents, ids)):
        assert torch.equal(k, old_k) and torch.equal(v, old_v)
        assert torch.equal(k, new_k) and torch.equal(v, new_v)


def test_references_are_visible_beside_masked_glyphs(decoder):
    latents, time, ids, glyphs = given(2, glyphs=4)
    reference = given(2, 8, 8, 0, 1)
    memory = [decoder.remember(reference[0], reference[2])]
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    together = decoder(latents, time, ids, glyphs, mask, memory=memory)
    single = [[(k[1:], v[1:]) for k, v in memory[0]]]
    alone = decoder(latents[1:], time[1:], ids[1:], glyphs[1:, :2], memory=single)
    assert apart(together[1:], alone) < 1e-5


# ---------------------------------------------------------------- attention on glyphs

def test_watch_returns_the_attention_on_glyphs(decoder):
    latents, time, ids, glyphs = given(glyphs=3)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    out, seen = decoder.watch(latents, time, ids, glyphs, mask, block=1, heads=4)
    assert torch.equal(out, decoder(latents, time, ids, glyphs, mask))
    assert seen.shape == (2, CONFIG.heads, 24, 3)
    assert 0 < seen.exp().sum(-1).max() < 1 and seen[1, :, :, 1:].exp().max() == 0
    _, first = decoder.watch(latents, time, ids, glyphs, mask, block=1, heads=1)
    assert torch.allclose(first, seen[:, :1], atol=1e-6)


def test_what_tokens_are_told_by_ids_is_added_to_their_patches():
    latents, _, ids, _ = given()
    model = Decoder(CONFIG).requires_grad_(False)
    told = model.embed(latents, ids) - model.embed(latents, ids, torch.zeros(len(ids), dtype=torch.bool))
    silent = model.heard(ids, torch.zeros(len(ids), dtype=torch.bool))
    assert apart(told, model.heard(ids) - silent) < 1e-5 and silent.unique(dim=1).shape[1] <= 4
