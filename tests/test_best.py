"""Several candidate plans of a picture, and the choice among them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from minglm.config import preset
from minglm.generate import best, legible, paint
from minglm.generate.expected import Expected, kept
from minglm.generate.known_ids import KnownIds
from minglm.generate.pipeline import Pipeline
from minglm.generate.plan import sample_ids
from minglm.generate.request import CANDIDATES
from minglm.model import flow
from minglm.model.planner import Planner
from minglm.model.prompt import preview_grid, prompt_ids
from minglm.world.draw import draw
from minglm.world.posters import Group, Poster

PROMPTS = ['A red poster with a cat and the words "Hello World"', "“你好”和一只狗", "a dog"]


def painted(pipe, *prompt, **how):
    return pipe(*prompt, **dict(height=128, width=128, steps=1, progress=False) | how)


def plan_of(out, i=0):
    return out.preview[i].tolist(), out.plan[i].tolist()


def of_seed(pipe, prompt, seed, **how):
    """The plan that a seed gives, if it is the only one."""
    return plan_of(painted(pipe, prompt, planner_seed=seed, candidates=1, **how))


def test_the_first_candidate_is_the_picture_s_own_plan_and_all_differ():
    assert best.seeds(7, 3, 1) == 7 and best.seeds([7, 9], 2, 1) == [7, 9]
    two = best.seeds(7, 2, 3)
    assert two[0::3] == [7, 8] and len({*two}) == 6 and two == best.seeds([7, 8], 2, 3)
    last = best.seeds(2 ** 63 - 1, 1, 2)
    assert last[0] == 2 ** 63 - 1 and 0 <= last[1] < 2 ** 63


def test_painted_is_the_candidate_with_the_best_score(pipe):
    plans = [of_seed(pipe, PROMPTS[0], seed, enhance=False) for seed in best.seeds(5, 1, 6)]
    assert len({str(plan) for plan in plans}) > 1
    out = painted(pipe, PROMPTS[0], seed=5, candidates=6, enhance=False)
    noise = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(5))
    # by hand: one plan at a time
    features, mask = paint.glyphs(pipe.glyph, [["Hello", "World"]])
    scores = []
    for _, plan in plans:
        _, seen = pipe.decoder.watch(noise[None], torch.tensor([999.0]), torch.tensor([plan]), features, mask,
                                     block=2, heads=4)
        weights = seen[0].detach().exp()                                         # (H, N, S)
        letters = [i for i, byte in enumerate("Hello World".encode()) if byte != 32]     # 5: the end of Hello
        scores.append(sum(weights[half].mean(0)[:, i].max() for half in (slice(0, 2), slice(2, 4)) for i in letters))
    assert len({f"{score:.4f}" for score in scores}) > 1
    assert plan_of(out) == plans[max(range(6), key=lambda i: scores[i])]


def test_the_choice_depends_on_neither_batch_nor_the_painter_s_seed(pipe):
    together = painted(pipe, PROMPTS, seed=3, candidates=4)
    for i, prompt in enumerate(PROMPTS):
        alone = painted(pipe, prompt, seed=3 + i, candidates=4)
        assert plan_of(together, i) == plan_of(alone)
    other = painted(pipe, PROMPTS[0], seed=11, planner_seed=3, candidates=4, enhance=False)
    assert plan_of(other) == plan_of(painted(pipe, PROMPTS[0], seed=3, candidates=4, enhance=False))


@pytest.mark.parametrize("which, told", [([0, 4, 8], []), ([3, 7, 9], ["big"]), ([2, 5, 11], ["big", "small"])])
def test_half_of_the_plans_of_a_big_object_are_for_one_of_the_usual_size(pipe, which, told, monkeypatch, capsys):
    """And it is told if such a one is painted."""
    read, plans = [], pipe.plans
    monkeypatch.setattr(pipe, "plans", lambda captions, *some, **how: read.extend(captions) or plans(captions, *some, **how))
    monkeypatch.setattr(best, "choose", lambda *some: which)
    out = painted(pipe, ['A red poster with a big cat and the words "Hi"', "a cat", "一只小小的狗"], candidates=4, progress=True)
    big, cat, small = read[:4], read[4:8], read[8:]
    assert ["big" in one for one in big] == ["小小" in one for one in small] == [True, True, False, False]
    assert big[2] == big[3] == big[0].replace("big ", "") and big[0] == big[1] and len(set(cat)) == 1
    assert out.prompts == [read[i] for i in which]
    notes = [note for note in out.notes if "usual size" in note]
    assert len(notes) == len(told) and all(size in note for size, note in zip(told, notes))
    assert capsys.readouterr().err.count("usual size") == len(told)


def test_several_pictures_of_a_prompt(pipe):
    out = painted(pipe, PROMPTS[:2], seed=3, candidates=3, images_per_prompt=2, enhance=False)
    for i in range(4):
        alone = painted(pipe, PROMPTS[i // 2], seed=3 + i, candidates=3, enhance=False)
        assert plan_of(out, i) == plan_of(alone)


@pytest.mark.parametrize("prompt, how, rows", [
    (PROMPTS[0], dict(), 2 * CANDIDATES), (PROMPTS[0], dict(candidates=3), 6), (PROMPTS[0], dict(temperature=0), 2),
    (PROMPTS[0], dict(candidates=3, planner_guidance=1), 3), (PROMPTS[2], dict(), 2 * CANDIDATES), ("a blue poster", dict(), 2),
    (PROMPTS[2], dict(enhance=False), 2), (PROMPTS[0], dict(candidates=1), 2)])
def test_how_many_plans_are_drawn(pipe, prompt, how, rows, monkeypatch):
    """One if all would be equal, or if nothing that is expected tells them apart."""
    seen = []
    monkeypatch.setattr("minglm.generate.pipeline.sample_ids",
                        lambda planner, prompts, *some, **more: seen.append(len(prompts)) or sample_ids(planner, prompts, *some, **more))
    painted(pipe, prompt, **how)
    assert seen == [rows]


def test_a_decoder_that_was_not_taught_where_letters_stand_does_not_choose(pipe):
    config = replace(pipe.config, decoder=replace(pipe.config.decoder, aligned=None))
    parts = {name: getattr(pipe, name) for name in ("vae", "tokenizer", "planner", "glyph", "decoder")}
    other = Pipeline(config, pipe.bpe, parts, pipe.device)
    assert plan_of(painted(other, PROMPTS[0], seed=4)) == plan_of(painted(pipe, PROMPTS[0], seed=4, candidates=1))
    with pytest.raises(ValueError, match="candidates 2: .* only 1 is possible"):
        painted(other, PROMPTS[0], candidates=2)
    assert preset("glm_image").decoder.aligned is None


# ---------------------------------------------------------------- the score

def test_attention_that_finds_every_letter_scores_two_and_none_scores_nothing():
    """4 heads, 6 image tokens, 3 glyph tokens: the first two heads for upper halves, the others for lower."""
    sharp = torch.full((4, 6, 3), -1e9)
    for head in range(4):
        for letter in range(3):
            sharp[head, letter + 3 * (head // 2), letter] = 0.0
    assert torch.allclose(best.found(sharp[None]), torch.full((1, 3), 2.0))
    assert torch.equal(best.found(torch.full((1, 4, 6, 3), -1e9)), torch.zeros(1, 3))
    half = sharp.clone()
    half[2:, :, 1] = -1e9                    # nobody draws the lower half of letter 1
    assert torch.allclose(best.found(half[None]), torch.tensor([[2.0, 1.0, 2.0]]))


def test_a_plan_with_room_for_the_words_scores_higher():
    """The ids of posters against those of the same posters without one of their texts."""
    better, shipped = 0, Pipeline.from_pretrained("mini", "cpu")
    for i in range(12):
        poster = draw(77, i, 128, 128, split="phrases", count=2)
        less = replace(poster, regions=poster.regions[:1])
        plans = torch.stack(shipped.encode_ids([less.image, poster.image]))
        noise = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(i))
        worse, good = best.score(shipped.decoder, shipped.glyph, poster.strings, plans, noise, [])
        better += bool(good > worse)
    assert better >= 11


def test_nothing_to_write_leaves_the_first(pipe):
    plans, noise = torch.randint(256, (3, 4, 4)), torch.randn(16, 16, 16)
    assert best.score(pipe.decoder, pipe.glyph, [], plans, noise, []).tolist() == [0, 0, 0]
    assert best.choose(pipe.decoder, pipe.glyph, [[]], plans, noise[None], [[]]) == [0]


def test_what_stays_is_kept_in_each_plan(pipe):
    stays = torch.full((2, 3), -1)
    stays[0, 1], stays[1] = 250, torch.tensor([7, 8, 9])
    poster = Poster("white", (Group("cat"),), "left", (), 128, 128)
    known = KnownIds(stays, torch.full_like(stays, -1), torch.zeros_like(stays, dtype=torch.bool))
    expected = [Expected(poster, known=known), None, Expected(poster)]
    rows = kept(expected, 2)
    assert rows.tolist() == [stays.flatten().tolist()] * 2 + [[-1] * 6] * 4
    assert kept([None, Expected(poster)], 3) is None is kept([], 3)
    prompts = [[400, 401, 256]] * 2          # the second plan is free
    rows = torch.cat([rows[:1], rows[-1:]])
    for guidance in (1, 2):
        [ids] = sample_ids(pipe.planner, prompts * guidance, [(2, 3)], [torch.Generator().manual_seed(i) for i in (0, 0)],
                           guidance=guidance, kept=rows)
        assert ids[0][stays >= 0].tolist() == [250, 7, 8, 9]
        free = sample_ids(pipe.planner, prompts * guidance, [(2, 3)], [torch.Generator().manual_seed(0)] * 1 + [torch.Generator().manual_seed(0)],
                          guidance=guidance)[0]
        assert torch.equal(ids[1], free[1]) and ids[0, 0, 0] == free[0, 0, 0]    # nothing was kept before it


def test_letters_are_neither_ends_nor_spaces(pipe):
    plans, noise = torch.randint(256, (2, 4, 6)), torch.randn(2, 16, 16, 24)
    velocity, seen = best.attention(pipe.decoder, pipe.glyph, ["a b", "c"], plans, noise, best.START)
    features, _ = paint.glyphs(pipe.glyph, [["a b", "c"]])
    moves, every = pipe.decoder.watch(noise, torch.full((1,), 999.0), plans, features.expand(2, -1, -1), block=2, heads=4)
    assert torch.allclose(velocity, moves, atol=1e-5)
    assert torch.allclose(seen, every[..., [0, 2, 4]], atol=1e-5)                # a, b, c of "a b", end, "c", end


def test_pictures_to_edit_are_attended_to(pipe):
    """The score with a reference is that of one plan at a time, and not that without."""
    g = torch.Generator().manual_seed(0)
    plans, noise = torch.randint(256, (3, 4, 4), generator=g), torch.randn(16, 16, 16, generator=g)
    memory = [pipe.decoder.remember(torch.randn(1, 16, 16, 16, generator=g), torch.randint(256, (1, 4, 4), generator=g))]
    together = best.score(pipe.decoder, pipe.glyph, ["Hi"], plans, noise, memory)
    alone = [best.score(pipe.decoder, pipe.glyph, ["Hi"], plan[None], noise, memory).item() for plan in plans]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)
    assert together.tolist() != pytest.approx(best.score(pipe.decoder, pipe.glyph, ["Hi"], plans, noise, []).tolist(), abs=1e-5)


# ---------------------------------------------------------------- prompts that are the same

@pytest.mark.parametrize("exact", [False, True])
def test_prompts_that_are_the_same_are_read_once(exact, monkeypatch):
    """And give what they give one by one. Not so where the published batch has to be kept."""
    torch.manual_seed(0)
    planner = Planner(replace(preset("tiny").planner, exact=exact)).eval()
    one, two = [400, 401, 402, 256], [500, 256]
    prompts, grids = [one, two, one, two, two], [(2, 2), (2, 3)]
    alone = [sample_ids(planner, [p], grids, [torch.Generator().manual_seed(i)]) for i, p in enumerate(prompts)]
    read, forward = [], planner.forward
    monkeypatch.setattr(planner, "forward", lambda ids, *rest: read.append(len(ids)) or forward(ids, *rest))
    together = sample_ids(planner, prompts, grids, [torch.Generator().manual_seed(i) for i in range(5)])
    assert read == [5 if exact else 2]
    for i, single in enumerate(alone):
        assert all(torch.equal(grid[i], own[0]) for grid, own in zip(together, single))


# ---------------------------------------------------------------- likelihood

def test_the_likelihood_is_that_of_the_drawn_ids_given_their_prompt():
    """Added up while sampling, guided or not, as in one pass over the finished plan."""
    torch.manual_seed(0)
    planner = Planner(preset("tiny").planner).eval()
    codes, start, without = planner.config.codebook, [400, 401, 402, 256], [500, 256]
    for guidance, prompts in ((1, [start, start]), (2.5, [start, start, without, without])):
        found = torch.tensor([5.0, 0.0])
        random = [torch.Generator().manual_seed(i) for i in range(2)]
        small, large = sample_ids(planner, prompts, [(2, 2), (2, 3)], random, guidance=guidance, likelihood=found)
        with torch.no_grad():
            logits, target = planner.predict([start] * 2, small, large)
        each = logits[..., :codes].log_softmax(-1)[:, :-1].gather(-1, target[:, :-1, None])[..., 0]
        assert torch.allclose(found, each.sum(1) + torch.tensor([5.0, 0.0]), atol=1e-3) and not torch.equal(large[0], large[1])


def test_of_edits_the_likelihood_counts_too(pipe):
    plans, noise = torch.randint(256, (4, 4, 4)), torch.randn(2, 16, 16, 16)
    how = (pipe.decoder, pipe.glyph, [[], ["Hi"]], plans, noise, [[], []])
    assert best.choose(*how, torch.tensor([-9.0, -8.0, 0.0, 0.0]))[0] == 1
    alone = best.choose(*how)[1]
    other = {2: 3, 3: 2}[alone]
    assert best.choose(*how, 1e4 * torch.eye(4)[other])[1] == other


def test_edits_have_candidates_without_words_too(pipe, monkeypatch):
    """And the one that is painted is the likeliest of those drawn one by one."""
    monkeypatch.setattr(pipe, "config", replace(pipe.config, edits=True))
    image, wish = draw(1, 2, 128, 128).image, "make the background blue"
    how = dict(image=image, enhance=False)
    plans = [painted(pipe, wish, seed=seed, candidates=1, **how).plan[0] for seed in best.seeds(3, 1, CANDIDATES)]
    assert len({str(plan.tolist()) for plan in plans}) > 1
    read, likely = [pipe.read(image)], torch.zeros(CANDIDATES)
    pipe.plan([wish] * CANDIDATES, 4, 4, [paint.generator(s) for s in best.seeds(3, 1, CANDIDATES)], [read] * CANDIDATES,
              likelihood=likely)
    assert torch.equal(painted(pipe, wish, seed=3, **how).plan[0], plans[int(likely.argmax())])


def test_edits_that_are_understood_are_drawn_and_the_others_edited(pipe, monkeypatch):
    """Each by its own planner, with its own seeds, whatever else is in the batch; the rest keeps its ids."""
    monkeypatch.setattr(pipe, "config", replace(pipe.config, edits=True))
    monkeypatch.setattr(legible, "where", lambda decoder, encoder, source, texts, config: [None] * len(texts))
    poster = Poster("white", (Group("cat"),), "left", (), 128, 128)
    old = pipe.encode_ids([poster.image])[0]
    wishes = ["nicer!", 'write "Hi" at the bottom', "as a line drawing", "two cats"]
    together = painted(pipe, wishes, image=[[poster.image]] * 4, seed=3, candidates=2)
    for i, wish in enumerate(wishes):
        alone = painted(pipe, wish, image=poster.image, seed=3 + i, candidates=2)
        assert torch.equal(together.plan[i], alone.plan[0]) and together.preview[i].numel() == 0
    words = torch.zeros(4, 4, dtype=torch.bool)
    words[3, 1:3] = True                     # "Hi" is two letters wide
    assert torch.equal(together.plan[1][~words], old[~words]) and not torch.equal(together.plan[1], old)
    assert torch.equal(together.plan[3][:, 2:][[0, 3]], old[:, 2:][[0, 3]])      # the second cat stands between
    # by hand: the planner that draws, told the caption, given what stays, without a preview of it
    stays = old.where(~words, -1).flatten()
    caption = 'A white poster with a cat on the left and the black words "Hi" at the bottom.'
    assert together.prompts[1] == caption
    grid = preview_grid(4, 4, pipe.planner.config.preview_tokens)
    ids = [prompt_ids(pipe.bpe, one, 4, 4, grid, 256, pipe.planner.config.boi) for one in (caption, "A poster.")]
    seen = [sample_ids(pipe.planner, ids, [grid, (4, 4)], [paint.generator(seed)], guidance=1.5,
                       kept=stays[None])[1][0] for seed in best.seeds(4, 1, 2)]
    assert any(torch.equal(together.plan[1], one) for one in seen)


# ---------------------------------------------------------------- several noises

def test_painting_goes_on_from_the_best_of_four_beginnings(pipe):
    """By hand: each noise for the first three of twenty steps, judged by its worst letter."""
    plan = torch.randint(256, (1, 4, 4), generator=torch.Generator().manual_seed(2))
    noises = pipe.noise(best.seeds(9, 1, best.NOISES), best.NOISES, (16, 16, 16))
    times, sigmas = flow.schedule(20, 64, pipe.config.flow)
    begun = best.begin(pipe.decoder, pipe.glyph, [["Hello"]], plan, 9, times, sigmas)
    assert len(begun) == 3 and times[2] > best.EARLY >= times[3]
    worst, ends = [], []
    for noise in noises:
        velocity = paint.velocity(pipe.decoder, pipe.glyph, [["Hello"]], plan, 1)
        *_, end = flow.sample(velocity, noise[None], times[:3], sigmas[:4])
        features, mask = paint.glyphs(pipe.glyph, [["Hello"]])
        _, seen = pipe.decoder.watch(end, torch.tensor([times[3]]), plan, features, mask, block=2, heads=4)
        worst.append(float(best.found(seen.detach())[0, :5].min()))
        ends.append(end)
    assert len({f"{one:.4f}" for one in worst}) > 1
    assert torch.allclose(begun[-1], ends[worst.index(max(worst))], atol=1e-4)
    # with nothing to write there is nothing to choose by
    first = best.begin(pipe.decoder, pipe.glyph, [[]], plan, 9, times, sigmas)
    *_, own = flow.sample(paint.velocity(pipe.decoder, pipe.glyph, [[]], plan, 1), noises[:1], times[:3], sigmas[:4])
    assert torch.allclose(first[-1], own, atol=1e-4)
    # a single step leaves none to go on with
    assert best.begin(pipe.decoder, pipe.glyph, [["Hi"]], plan, 9, *flow.schedule(1, 64, pipe.config.flow)) == []


def test_every_step_is_reported_once_and_the_picture_is_that_of_the_chosen_noise(pipe):
    seen = []
    out = painted(pipe, PROMPTS[0], seed=6, steps=20, on_step=lambda i, latents: seen.append((i, latents.clone())))
    assert [i for i, _ in seen] == [*range(20)]
    noises = pipe.noise(best.seeds(6, 1, best.NOISES), best.NOISES, (16, 16, 16))
    # the others would end elsewhere
    alone = [painted(pipe, PROMPTS[0], seed=6, steps=20, prior_ids=out.plan[0], latents=noise[None]).images[0]
             for noise in noises]
    apart = [np.abs(np.asarray(one, float) - np.asarray(out.images[0], float)).mean() for one in alone]
    assert 2 * min(apart) < sorted(apart)[1]


def test_blanks_are_no_letters(pipe):
    plan, path = torch.zeros(1, 4, 4, dtype=torch.long), flow.schedule(20, 64, pipe.config.flow)
    blank = best.begin(pipe.decoder, pipe.glyph, [[" "]], plan, 9, *path)
    own = pipe.noise([9], 1, (16, 16, 16))
    *_, end = flow.sample(paint.velocity(pipe.decoder, pipe.glyph, [[" "]], plan, 1), own, path[0][:3], path[1][:4])
    assert torch.allclose(blank[-1], end, atol=1e-4)


@pytest.mark.parametrize("how", [dict(candidates=1), dict(latents=torch.zeros(1, 16, 16, 16)), dict(guidance=0.5)])
def test_one_candidate_given_noise_and_less_of_the_prompt_are_painted_from_one_noise(pipe, how, monkeypatch):
    monkeypatch.setattr(best, "begin", lambda *_: pytest.fail("begun several times"))
    painted(pipe, PROMPTS[0], steps=4, **how)


def test_a_given_plan_is_painted_as_if_it_had_been_sampled(pipe):
    out = painted(pipe, PROMPTS, seed=3, steps=8)
    again = painted(pipe, PROMPTS, seed=3, steps=8, prior_ids=out.plan)
    assert all(np.abs(np.asarray(a, float) - np.asarray(b, float)).max() <= 2 for a, b in zip(out.images, again.images))


def test_the_chosen_noise_does_not_depend_on_the_batch(pipe):
    together = painted(pipe, PROMPTS, seed=3, steps=8)
    for i, prompt in enumerate(PROMPTS):
        alone = painted(pipe, prompt, seed=3 + i, steps=8)
        assert np.abs(np.asarray(together.images[i], float) - np.asarray(alone.images[0], float)).max() <= 2
