"""The planner: positions, causality, generation with its cache, sampling, loss."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minglm.config import preset
from minglm.device import pick
from minglm.generate import plan
from minglm.generate.plan import choose, sample_ids
from minglm.images import to_tensor
from minglm.model import weights
from minglm.model.copying import Copying
from minglm.model.layers import KVCache
from minglm.model.planner import Planner, positions
from minglm.model.prompt import with_sources
from minglm.training import cooccurrence
from minglm.training.batches import drawn
from minglm.training.cooccurrence import pmi

CONFIG = replace(preset("tiny").planner, codebook=40, vision_vocab=48, vocab=90)
GRIDS = [(2, 2), (3, 4)]


@pytest.fixture(scope="module")
def planner():
    torch.manual_seed(0)
    return filled(Planner(CONFIG))


@pytest.fixture(scope="module")
def copier():
    """A planner that edits."""
    torch.manual_seed(0)
    model = Planner(CONFIG)
    model.copying = Copying(CONFIG.width)
    return filled(model)


def filled(model):
    for p in model.eval().requires_grad_(False).parameters():
        p.add_(0.3 * torch.randn_like(p))
    return model


def prompt(length, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [*torch.randint(48, 90, (length - 1,), generator=g).tolist(), CONFIG.boi]


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


# ---------------------------------------------------------------- positions

def test_positions_of_text_preview_and_large_grid():
    place = positions([10, (2, 2), (4, 4), 1]).tolist()
    before = list(range(10))
    assert place[0] == before + [10] * 4 + [12] * 16 + [16]
    assert place[1] == before + [10, 10, 11, 11] + [12] * 4 + [13] * 4 + [14] * 4 + [15] * 4 + [16]
    assert place[2] == before + [10, 11, 10, 11] + [12, 13, 14, 15] * 4 + [16]


def test_positions_behind_a_source_image():
    """boi, a 2 x 4 image, then eoi, five text tokens and boi, which are text again."""
    place = positions([1, (2, 4), 7, (1, 1)]).tolist()
    assert place[0] == [0] + [1] * 8 + [5, 6, 7, 8, 9, 10, 11] + [12]
    assert place[1] == [0] + [1] * 4 + [2] * 4 + [5, 6, 7, 8, 9, 10, 11] + [12]
    assert place[2] == [0] + [1, 2, 3, 4] * 2 + [5, 6, 7, 8, 9, 10, 11] + [12]


# ---------------------------------------------------------------- the network

def test_nothing_looks_ahead(planner):
    ids, place = torch.tensor([prompt(12)]), positions([12])[None]
    features = planner(ids, place)
    for at in range(12):
        changed = ids.clone()
        changed[0, at] = 50 if ids[0, at] != 50 else 51
        other = planner(changed, place)
        assert torch.allclose(other[:, :at], features[:, :at], atol=1e-6)
        assert (other[:, at:] - features[:, at:]).abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("axis", range(3))
def test_every_axis_of_the_positions_matters(planner, axis):
    ids, place = torch.tensor([prompt(6)]), positions([6])[None].clone()
    before = planner(ids, place)
    place[:, axis, 3:] += 2
    assert (planner(ids, place) - before)[:, -1].abs().max() > 1e-4


def test_positions_count_only_relatively(planner):
    ids, place = torch.tensor([prompt(6)]), positions([6])[None]
    assert torch.allclose(planner(ids, place + 17), planner(ids, place), atol=1e-4)


@pytest.mark.parametrize("rows, filled", [(1, False), (3, True), (5, True), (8, False)])
@pytest.mark.parametrize("how", ["packed", "exact", "large"])
def test_one_new_token_is_what_the_whole_forward_gives(planner, rows, filled, how, monkeypatch):
    if how == "large":                                           # matrices as they are
        monkeypatch.setattr(plan, "light", lambda planner: False)
    if how == "exact":
        state, planner = planner.state_dict(), Planner(replace(planner.config, exact=True)).eval()
        planner.load_state_dict(state)
    g = torch.Generator().manual_seed(rows)
    ids = torch.randint(0, planner.config.vocab, (rows, 12), generator=g)
    place = positions([6, (2, 3)])[None].expand(rows, -1, -1)
    mask = None
    if filled:                                                   # a third of the rows begins later
        mask = torch.ones(rows, 1, 1, 12, dtype=torch.bool)
        mask[::3, ..., :2] = False
    causal = torch.ones(12, 12, dtype=torch.bool).tril() & (torch.ones(()) > 0 if mask is None else mask)
    with torch.no_grad():
        whole = planner(ids, place, causal.expand(rows, 1, 12, 12) | torch.eye(12, dtype=torch.bool))
        cache = [KVCache(rows, planner.config.kv_heads, 12, planner.config.head_dim, whole) for _ in planner.blocks]
        begin = causal[..., :9, :9].expand(rows, 1, 9, 9) | torch.eye(9, dtype=torch.bool)
        planner(ids[:, :9], place[:, :, :9], begin, cache)
        step, head = plan.stepper(planner, place, mask, cache)
        for at in (9, 10, 11):
            features = step(ids[:, at], at)
            assert torch.allclose(features, whole[:, at], atol=1e-5)
            assert torch.allclose(head(features), planner.head(features), atol=1e-5)


# ---------------------------------------------------------------- copying

def test_a_new_pointer_copies_nothing():
    """It is the planner that it would be without a pointer."""
    torch.manual_seed(3)
    planner = Planner(CONFIG).eval()
    g = torch.Generator().manual_seed(1)
    source, large = (torch.randint(CONFIG.codebook, (2, 3), generator=g) for _ in range(2))
    start, parts = with_sources([source], prompt(6), CONFIG)
    without = planner.predict([start], None, large[None], [parts])[0]
    planner.copying = Copying(CONFIG.width)
    assert torch.equal(planner.predict([start], None, large[None], [parts])[0], without)
    nn.init.constant_(planner.copying.vote.bias, 2.0)            # a vote of 2 for each old id, and for nothing else
    more = planner.predict([start], None, large[None], [parts])[0] - without
    wanted = 2.0 * F.one_hot(source.flatten(), CONFIG.vision_vocab)
    assert torch.allclose(more[0, :6], wanted.float(), atol=1e-5) and not more[0, 6].any()


@pytest.mark.parametrize("how", ["fast", "plain"])
def test_sampling_copies_as_training_does(copier, how, monkeypatch):
    """Cached and in a batch as without a cache and alone."""
    if how == "plain":
        monkeypatch.setattr(plan, "stepper", plan.plain_stepper)
    g = torch.Generator().manual_seed(4)
    sources = [torch.randint(CONFIG.codebook, shape, generator=g) for shape in ((2, 3), (1, 2), (2, 3))]
    asked = [with_sources(some, prompt(n, n), CONFIG) for some, n in ((sources[:1], 6), (sources[1:2], 4), (sources[1:], 7), ([], 5))]
    together = sample_ids(copier, [ids for ids, _ in asked], [(2, 3)], generators(0, 1, 2, 3), 0, parts=[parts for _, parts in asked])[0]
    for i, ((ids, parts), old) in enumerate(zip(asked, (sources[0], None, sources[2], None))):
        old, drawn = [-1] * 7 if old is None else [*old.flatten().tolist(), -1], torch.zeros(2, 3, dtype=torch.long)
        for cell in range(6):
            drawn.view(-1)[cell] = by_hand(copier, ids, parts, drawn, old)[0][cell, :CONFIG.codebook].argmax()
        assert torch.equal(together[i], drawn)
    assert not torch.equal(together[0], sample_ids(copier, [asked[0][0]], [(2, 3)], generators(0), 0)[0][0])


# ---------------------------------------------------------------- generation

def uncached(planner, start, grids, temperature=0.0, top_p=1.0, generator=None):
    """Generation as one would write it first: the whole sequence again for every id."""
    ids = list(start)
    for _ in range(sum(h * w for h, w in grids)):
        place = positions([len(start), *grids])[:, : len(ids)]
        scores = planner.head(planner(torch.tensor([ids]), place[None])[:, -1])[:, : CONFIG.codebook]
        ids.append(choose(scores, temperature, top_p, 0, [generator]).item())
    return ids[len(start):]


def flat(grids, row=0):
    return torch.cat([ids[row].flatten() for ids in grids]).tolist()


@pytest.mark.parametrize("grids", [GRIDS, [(1, 3)], [(2, 1), (3, 2), (1, 1)]])
def test_cached_generation_equals_uncached(planner, grids):
    start = prompt(9)
    drawn = sample_ids(planner, [start], grids, generators(0), temperature=0)
    assert [tuple(ids.shape) for ids in drawn] == [(1, *grid) for grid in grids]
    assert flat(drawn) == uncached(planner, start, grids)
    assert len(set(flat(drawn))) > 1
    drawn = sample_ids(planner, [start], grids, generators(5), temperature=1.1, top_p=0.8)
    assert flat(drawn) == uncached(planner, start, grids, 1.1, 0.8, *generators(5))


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("lengths", [(5, 5, 5), (4, 11, 7)])
def test_a_batch_equals_each_prompt_alone(planner, lengths, temperature):
    prompts = [prompt(length, i) for i, length in enumerate(lengths)]
    together = sample_ids(planner, prompts, GRIDS, generators(1, 2, 3), temperature)
    for i, one in enumerate(prompts):
        assert flat(together, i) == flat(sample_ids(planner, [one], GRIDS, generators(i + 1), temperature))
    assert flat(together, 0) != flat(together, 1)


def test_parts_place_source_images(planner):
    start, parts = prompt(10), [2, (2, 3), 2]
    ids = sample_ids(planner, [start, prompt(6)], [(2, 2)], generators(0, 1), 0, parts=[parts, [6]])[0]
    place = positions([*parts, (1, 1)])[:, :10]
    scores = planner.head(planner(torch.tensor([start]), place[None])[:, -1])[:, : CONFIG.codebook]
    assert ids[0, 0, 0] == scores.argmax()


def test_only_codes_are_drawn(planner):
    favourites = Planner(CONFIG).eval()
    favourites.load_state_dict(planner.state_dict())
    with torch.no_grad():
        favourites.head.weight[CONFIG.codebook:] = 100 * favourites.head.weight[:8]
    for temperature in (0, 2.0):
        for ids in sample_ids(favourites, [prompt(5)] * 8, GRIDS, generators(*range(8)), temperature, top_p=1):
            assert 0 <= ids.min() and ids.max() < CONFIG.codebook


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("guidance", [0.0, 1.5, 4.0])
def test_guided_generation_equals_two_whole_passes_for_every_id(planner, guidance, temperature):
    start, without = prompt(9), prompt(4, 1)
    drawn = sample_ids(planner, [start, without], GRIDS, generators(3), temperature, guidance=guidance)
    assert [tuple(ids.shape) for ids in drawn] == [(1, *grid) for grid in GRIDS]
    found, (generator,) = [], generators(3)
    for _ in range(16):
        scores = []
        for before in (start, without):
            place = positions([len(before), *GRIDS])[:, : len(before) + len(found)]
            features = planner(torch.tensor([[*before, *found]]), place[None])[:, -1]
            scores.append(planner.head(features)[:, : CONFIG.codebook].log_softmax(-1))
        # p(id | prompt) ^ guidance * p(id) ^ (1 - guidance), up to a constant
        found.append(choose(guidance * scores[0] + (1 - guidance) * scores[1], temperature, 0.75, 0, [generator]).item())
    assert flat(drawn) == found
    other = sample_ids(planner, [start, prompt(4, 2)], GRIDS, generators(3), temperature, guidance=guidance)
    assert flat(other) != found                                  # the second half matters


def test_a_guided_batch_equals_each_prompt_alone(planner):
    prompts = [prompt(length, length) for length in (5, 11, 7)]
    together = sample_ids(planner, [*prompts, *[prompt(3)] * 3], GRIDS, generators(1, 2, 3), guidance=2)
    for i, one in enumerate(prompts):
        assert flat(together, i) == flat(sample_ids(planner, [one, prompt(3)], GRIDS, generators(i + 1), guidance=2))


def test_progress_counts_to_the_end(planner):
    calls = []
    sample_ids(planner, [prompt(5)], GRIDS, generators(0), progress=lambda *call: calls.append(call))
    assert calls == [(i + 1, 16) for i in range(16)]


# ---------------------------------------------------------------- sampling

def allowed(scores, temperature, top_p, top_k):
    """The ids that may be drawn and their chances, for one row, in plain Python."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    chances = torch.tensor(scores).double().div(temperature).softmax(0).tolist()
    kept = order[:top_k] if top_k else order
    total = sum(chances[i] for i in kept)
    nucleus, mass = [], 0.0
    for i in kept:
        if mass >= top_p - 1e-9 and nucleus:
            break
        nucleus.append(i)
        mass += chances[i] / total
    share = sum(chances[i] for i in nucleus)
    return {i: chances[i] / share for i in nucleus}


@pytest.mark.parametrize("temperature, top_p, top_k", [
    (1.0, 1.0, 0), (0.9, 0.75, 0), (1.0, 0.3, 0), (2.0, 1.0, 3), (0.7, 0.9, 5),
    (1.0, 1e-6, 0), (1.0, 0.5, 1), (1.0, 1.0, 99)])
def test_choose_draws_what_it_should(temperature, top_p, top_k):
    scores = torch.randn(12, generator=torch.Generator().manual_seed(4)) * 1.5
    wanted, count = allowed(scores.tolist(), temperature, top_p, top_k), 6000
    g = torch.Generator().manual_seed(0)
    drawn = choose(scores.expand(count, -1), temperature, top_p, top_k, [g] * count)
    shares = torch.bincount(drawn, minlength=12) / count
    assert set(drawn.unique().tolist()) <= set(wanted)
    for i, chance in wanted.items():
        assert abs(shares[i].item() - chance) < 0.03


def test_temperature_zero_takes_the_best_and_draws_nothing():
    scores, g = torch.randn(5, 9, generator=torch.Generator().manual_seed(1)), torch.Generator().manual_seed(0)
    before = g.get_state()
    assert torch.equal(choose(scores, 0, 0.5, 2, [g] * 5), scores.argmax(-1))
    assert torch.equal(g.get_state(), before)


def test_each_row_has_its_own_generator():
    scores = torch.zeros(3, 1000)
    a = choose(scores, 1.0, 1.0, 0, generators(1, 2, 3))
    b = choose(scores[:2], 1.0, 1.0, 0, generators(9, 2))
    assert a[1] == b[1] and a[0] != b[0]


# ---------------------------------------------------------------- loss

def test_loss_is_the_weighted_cross_entropy(planner):
    g = torch.Generator().manual_seed(0)
    prompts = [prompt(5, 1), prompt(9, 2)]
    small = torch.randint(CONFIG.codebook, (2, 2, 2), generator=g)
    large = torch.randint(CONFIG.codebook, (2, 3, 4), generator=g)
    value, stats = planner.loss(prompts, small, large)
    total, weights, first = 0.0, 0.0, []
    for b, start in enumerate(prompts):
        target = [*small[b].flatten().tolist(), *large[b].flatten().tolist(), CONFIG.eoi]
        ids, place = torch.tensor([start + target[:-1]]), positions([len(start), (2, 2), (3, 4)])
        chances = planner.head(planner(ids, place[None])).log_softmax(-1)[0, len(start) - 1:]
        for i, wanted in enumerate(target):
            weight = CONFIG.preview_weight if i < 4 else 1.0
            total, weights = total - weight * chances[i, wanted].item(), weights + weight
            first += [-chances[i, wanted].item()] if i < 4 else []
    assert abs(value.item() - total / weights) < 1e-5 * abs(total / weights)
    assert abs(stats["preview"].item() - sum(first) / len(first)) < 1e-4
    assert 0 <= stats["right"] <= 1


def by_hand(planner, start, parts, grid, old):
    """The logits (T, V) of a grid after a prompt, in one pass; old: the ids that may be copied, -1: none."""
    target = [*grid.flatten().tolist(), CONFIG.eoi]
    place = positions([*parts, tuple(grid.shape)])[None]
    told = torch.tensor([[-1] * (len(start) - 1) + old])
    x = planner(torch.tensor([start + target[:-1]]), place, old=told)[0, len(start) - 1:]
    return planner.scores(x, torch.tensor(old)), torch.tensor(target)


def test_loss_without_a_preview_and_with_source_images(copier):
    """As in editing: the ids of pictures stand in the prompt, and no preview comes before the large grid."""
    g = torch.Generator().manual_seed(1)
    sources = [torch.randint(CONFIG.codebook, shape, generator=g) for shape in ((1, 2), (2, 3), (2, 3))]
    edit = with_sources(sources, prompt(6), CONFIG)
    plain = prompt(4, 1), [4]
    large = torch.randint(CONFIG.codebook, (2, 2, 3), generator=g)
    value, stats = copier.loss([edit[0], plain[0]], None, large, parts=[edit[1], plain[1]])
    old = [[*sources[1].flatten().tolist(), -1], [-1] * 7]       # of the first one that has the shape of the new
    losses = [F.cross_entropy(*by_hand(copier, *some, grid, ids)) for some, grid, ids in zip((edit, plain), large, old)]
    assert abs(value - sum(losses) / 2) < 1e-5 and "preview" not in stats
    logits, target = copier.predict([edit[0], plain[0]], None, large, [edit[1], plain[1]])
    assert torch.allclose(logits[0], by_hand(copier, *edit, large[0], old[0])[0], atol=1e-4)
    moved, _ = copier.loss([edit[0], plain[0]], None, large)    # sources taken for text stand elsewhere
    assert abs(moved - value) > 1e-4


def test_loss_does_not_depend_on_filling(planner):
    """A prompt beside a longer one has the loss it has alone."""
    g = torch.Generator().manual_seed(3)
    small, large = (torch.randint(CONFIG.codebook, (2, *grid), generator=g) for grid in GRIDS)
    prompts = [prompt(4), prompt(13)]
    alone = [planner.loss([p], s[None], t[None])[0].item() for p, s, t in zip(prompts, small, large)]
    assert abs(planner.loss(prompts, small, large)[0].item() - sum(alone) / 2) < 1e-5 * sum(alone)


def test_the_released_sizes_rotate_half_of_each_head():
    sections = preset("glm_image").planner
    assert 2 * sum(sections.mrope_section) == sections.head_dim * sections.rotary_fraction
    for name in ("tiny", "mini", "base"):
        config = preset(name).planner
        assert 2 * sum(config.mrope_section) == config.head_dim * config.rotary_fraction
        assert config.codebook + 2 <= config.vision_vocab < config.vocab


# ---------------------------------------------------------------- what the words of a prompt say

def test_each_token_of_a_prompt_predicts_the_ids_of_its_plan(planner):
    g = torch.Generator().manual_seed(4)
    prompts = [prompt(5, 1), prompt(9, 2)]
    small = torch.randint(CONFIG.codebook, (2, 2, 2), generator=g)
    large = torch.randint(3, (2, 3, 4), generator=g)             # few ids, so that most occur several times
    plain, _ = planner.loss(prompts, small, large)
    value, stats = planner.loss(prompts, small, large, words=0.25)
    wanted = []
    for start, *grids in zip(prompts, small, large):
        plan = {*torch.cat([grid.flatten() for grid in grids]).tolist()}
        logits = planner.head(planner(torch.tensor([start]), positions([len(start)])[None]))[0]
        wanted.append(-logits.log_softmax(-1)[:, sorted(plan)].mean())
    assert abs(stats["words"] - sum(wanted) / 2) < 1e-4
    assert abs(value - plain - 0.25 * stats["words"]) < 1e-4


def test_a_planner_begins_with_what_occurs_together():
    """Four words, each with an id of its own, and one of each that is everywhere and so says nothing."""
    together = torch.zeros(43, 41)
    for i in range(4):
        for row in (i, 20, 42):
            for column in (i, 30, 40):
                together[row, column] += 5
    table = pmi(together)
    assert torch.allclose(table[:4, :4], torch.eye(4) * math.log(4)) and table[20, 30] == 0
    once = together.clone()
    once[5, 5] = once[5, 40] = once[42, 5] = 1                       # a pair seen once
    assert pmi(once)[5, 5] == 0


def test_words_of_a_new_planner_know_their_ids(bpe, config, folder, monkeypatch):
    tokenizer = weights.load_part(folder, "tokenizer", config)
    words, codes = config.planner.vocab - config.planner.vision_vocab, config.planner.codebook
    table = torch.zeros(words, codes)
    owner = torch.arange(words) % 16                                 # of all words, sixteen kinds, each with its id
    table[torch.arange(words), 3 * owner] = 2.0
    monkeypatch.setattr(cooccurrence, "pmi", lambda together: table)
    planner = Planner(config.planner)
    cooccurrence.begin(planner, pick("cpu"), bpe, tokenizer, 1)
    rows = planner.embed.weight[config.planner.vision_vocab:]
    logits = planner.head(F.rms_norm(rows, rows.shape[1:]))[:, :codes]
    assert torch.equal(logits.argmax(1), 3 * owner)
    assert 1 < logits[torch.arange(words), 3 * owner].mean() < 4     # about the PMI


def test_what_is_counted_is_in_the_posters(bpe, config, folder):
    """A word and an id are counted together once for each poster that has both."""
    tokenizer = weights.load_part(folder, "tokenizer", config).eval()
    got = cooccurrence.count(config.planner, pick("cpu"), bpe, tokenizer, 5)
    wanted = torch.zeros_like(got)
    posters = drawn("planner", 0, 128, (128, 128))[:5]
    images = to_tensor([poster.image for poster in posters])
    with torch.no_grad(), pick("cpu").autocast():                # rounded alike
        small, large = (tokenizer.encode(x).flatten(1) for x in (F.interpolate(images, (64, 64), mode="area"), images))
    for poster, ids in zip(posters, torch.cat([small, large], 1).tolist()):
        for word in {*bpe.encode(poster.caption), -1}:
            for code in {*ids, -1}:
                wanted[word, code] += 1
    assert torch.equal(got, wanted)
