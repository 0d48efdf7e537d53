"""Evaluation: the committed prompts are the generated ones and held out; reports add up."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from minglm.measure import evaluate, probe
from minglm.measure.evaluate import CHECKS, format_report, report, strip, summarise
from minglm.measure.probe import fit, perplexity
from minglm.world import prompts
from minglm.world.characters import is_han, level_one, unknown_characters
from minglm.world.colours import COLOURS
from minglm.world.draw import draw, is_held_out
from minglm.world.find import background
from minglm.world.layout import divided
from minglm.world.masks import object_cells, text_mask
from minglm.world.objects import things
from minglm.world.posters import CANVASES, MOST_LINES
from minglm.world.prompts import LIVE, SETS, TASKS, load_prompts, write_prompts
from minglm.world.quotes import quoted
from minglm.world.texts import held_out, words

STORED = [name for name in SETS if name not in LIVE]


# ---------------------------------------------------------------- the prompts

def test_committed_prompts_are_what_the_code_writes(tmp_path):
    write_prompts(tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(STORED)
    for name in STORED:
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (prompts.PROMPTS / f"{name}.jsonl").read_bytes(), name


@pytest.mark.parametrize("name, cells, each", [
    ("miniposter", 18, 40), ("minilong", 2, 40), ("minichineseword", 1, 3500), ("minicompose", 12, 30),
    ("miniopen", 2, 150)])
def test_every_set_has_its_cells(name, cells, each):
    counts = Counter(prompt.cell for prompt in load_prompts(name))
    assert len(counts) == cells and set(counts.values()) == {each}
    assert {cell[:2] for cell in counts} <= {"en", "zh"}


@pytest.mark.parametrize("name", SETS)
def test_some_prompts_are_chosen_at_random_and_always_the_same(name):
    some, every = load_prompts(name, 20), load_prompts(name)
    assert [every.index(one) for one in some] == sorted(every.index(one) for one in some)
    assert some == load_prompts(name, 20) and len(set(one.prompt for one in some)) == 20 and some != every[:20]
    assert load_prompts(name, 10 ** 6) == every


@pytest.mark.parametrize("name", SETS)
def test_prompts_quote_what_they_ask_for(name):
    for one in load_prompts(name):
        # in miniopen a text may be repeated in other words, and a joke may stand in title marks
        found, wanted = quoted(one.prompt), [region.text for region in one.regions]
        assert found == [text.replace("\n", " ") for text in wanted], one.prompt
        assert not unknown_characters("".join(wanted))


@pytest.mark.parametrize("name", [name for name in SETS if name != "miniopen"])
def test_prompts_of_a_poster_ask_for_all_of_it(name):
    for one in load_prompts(name, 100):
        poster = one.poster
        assert (one.prompt, one.regions, one.background, one.groups, one.place, one.height, one.width) == (
            poster.caption, poster.regions, poster.background, poster.groups, poster.place, poster.height, poster.width)
        assert (one.height, one.width) in (*CANVASES, (128, 256)) and one.language == poster.language
        assert len(poster.lines) <= MOST_LINES and not any(divided(r.text, one.width) for r in one.regions)


def test_texts_of_miniposter_are_of_their_cell_and_held_out():
    for one in load_prompts("miniposter"):
        language, split, count = one.cell.split("-")
        assert len(one.regions) == int(count) and len(one.groups) == 1
        for region in one.regions:
            assert held_out(region.text.casefold())
            if split != "random":
                assert region.text in words(f"{language}_{split}")


def test_minilong_is_longer():
    for one in load_prompts("minilong"):
        lines = one.poster.strings
        letters = sum(len(line.replace(" ", "")) for line in lines)
        assert 2 <= len(lines) <= 6 and letters >= len(lines) * (9 if one.language == "en" else 4)


def test_minichineseword_asks_for_every_character_once():
    found = load_prompts("minichineseword")
    characters = [one.regions[0].text for one in found]
    assert sorted(characters) == sorted(level_one()) and characters != sorted(characters)
    strokes = [level_one().index(c) / 3500 for c in characters[:500]]            # the list is ordered by strokes
    assert 0.45 < sum(strokes) / 500 < 0.55                                      # the first ones are a fair sample
    assert Counter(len(one.groups) for one in found) == {0: 1750, 1: 1750}


def test_minicompose_pairs_what_training_never_shows():
    for one in load_prompts("minicompose"):
        task = one.cell[3:]
        assert task in TASKS and (not one.groups or is_held_out(one.poster))
        assert [group.count for group in one.groups] in dict(
            [("two objects", [[1, 1]]), ("counting", [[2], [3]]), ("text colours", [[]])]).get(task, [[1]])
        assert len({region.colour for region in one.regions}) == {"text colours": 2, "colours": 1}.get(task, 0)


def test_miniopen_asks_for_what_there_is():
    for one in load_prompts("miniopen"):
        assert one.poster is None and one.height is None and one.place is None
        assert one.background in (None, *COLOURS) and all(r.colour in ("", *COLOURS) for r in one.regions)
        assert all(group.thing in things() and group.count in (1, 2, 3) for group in one.groups)
        assert is_han(one.prompt) or one.language == "en"


@pytest.mark.parametrize("name, limit", [("posters", None), ("miniposter", 0), ("miniopen", -1)])
def test_bad_requests_name_the_value(name, limit):
    with pytest.raises(ValueError, match=str(name if limit is None else limit)):
        load_prompts(name, limit)


# ---------------------------------------------------------------- reports

def scored(**more) -> dict:
    """Scores of a picture of which everything is right but the place."""
    return dict(right=[1.0], ned=[1.0], cased=[1.0], kept=5, asked=5, extra=False, full=True, refused=False,
                **{name: [] for name in CHECKS}) | dict(background=[True], place=[False]) | more


def some(cell):
    """Any prompt of a cell."""
    return prompts.Prompt(cell, "", (), None, ())


def test_scores_are_pooled_over_words_not_over_pictures():
    one = scored()
    two = scored(right=[0.0, 0.0, 1.0], ned=[0.5, 0.5, 1.0], cased=[0.0, 0.0, 0.0], kept=5, asked=15, extra=True,
                 text_colour=[True, False], full=False)
    out = summarise([one, two])
    assert (out["word_accuracy"], out["case_accuracy"], out["ned"], out["recall"]) == (0.5, 0.25, 0.75, 0.5)
    assert (out["extra_text"], out["place"], out["background"], out["full"]) == (0.5, 0, 1, 0.5)
    assert out["text_colour"] == 0.5 and out["object"] != out["object"]          # nobody asked: not a number
    scores = report([(some("en-words-1"), dict(gold=one)), (some("zh-words-3"), dict(gold=two))])
    assert scores["gold"]["en"]["words"] == 1 and scores["gold"]["zh-words-3"]["words"] == 3
    assert "0.333" in format_report(scores)


@pytest.fixture(scope="module")
def judge():
    pytest.importorskip("rapidocr")
    from minglm.measure.ocr import Judge

    return Judge(1)


@pytest.mark.parametrize("name", [name for name in SETS if name != "miniopen"])
def test_gold_pictures_are_right(judge, name):
    """What is asked for is on the picture that the prompt was made from, and the judge sees it."""
    for prompt in load_prompts(name, 2):
        scores = evaluate.score(judge, prompt.poster.image, prompt)
        assert scores["full"] and not scores["refused"] and all(scores["right"]), prompt.prompt
        assert scores["kept"] == scores["asked"] and all(scores["ned"])
        for check in ("background", "object", "count", "place"):
            assert all(scores[check]) and len(scores[check]) == (check == "background" or bool(prompt.groups))


class Refusing:
    """A pipeline that refuses prompts, and knows how to do the rest."""

    def __init__(self, pipe):
        self.pipe = pipe

    def __getattr__(self, name):
        return getattr(self.pipe, name)

    def __call__(self, prompts, *size, **how):
        raise ValueError("cannot write this")


def test_one_refused_prompt_leaves_the_others_of_its_batch(pipe, judge):
    class Choosy(Refusing):
        def __call__(self, prompts, *size, **how):
            if some[1].prompt in prompts:
                raise ValueError("cannot write this")
            return self.pipe(prompts, *size, **how)

    some = [p for p in load_prompts("miniposter", 40) if (p.height, p.width) == (128, 128)][:3]
    results = {number: pictures["pipeline"] for number, _, pictures, _ in evaluate.evaluate(
        Choosy(pipe), some, columns=("pipeline",), steps=1)}
    wanted = pipe([p.prompt for p in some], 128, 128, seed=0, steps=1, progress=False).images
    assert results[1] is None
    assert all(np.abs(np.asarray(results[i], float) - np.asarray(wanted[i], float)).max() <= 2 for i in (0, 2))


def test_a_refused_prompt_counts_as_wrong(pipe, judge):
    some = load_prompts("miniposter", 2)
    results = list(evaluate.evaluate(Refusing(pipe), some, columns=("gold", "pipeline"), steps=1))
    for _, prompt, pictures, scores in results:
        found = scores["pipeline"]
        assert pictures["pipeline"] is None and found["refused"] and not found["full"] and not any(found["right"])
        assert len(found["right"]) == len(scores["gold"]["right"]) and found["kept"] == 0
        assert all(found[check] == [False] * len(scores["gold"][check]) for check in CHECKS if check != "mixed_up")
    out = report([(prompt, scores) for _, prompt, _, scores in results])
    groups = [out["pipeline"][name] for name in ("en", "zh") if name in out["pipeline"]]
    assert all(group["refused"] == 1 and group["word_accuracy"] == group["background"] == 0 for group in groups)
    assert all(out["gold"][name]["refused"] == 0 for name in out["gold"])
    assert strip([results[0][2]]).height == 132                  # a picture that is not there leaves no gap
    assert strip([dict(pipeline=None)] * 2).size == (1, 264)     # which can be saved, unlike one without a width


def test_what_is_near_to_no_colour_is_not_red():
    assert background(Image.new("RGB", (8, 8), (1, 254, 1))) == "green"


def test_evaluation_of_a_pipeline_fills_every_column(pipe, judge):
    some = [one for one in load_prompts("miniposter") if one.height == 128][:2] + load_prompts("miniopen", 1)
    results = list(evaluate.evaluate(pipe, some, steps=1))
    assert sorted(number for number, *_ in results) == [0, 1, 2]
    for number, prompt, pictures, scores in results:
        # a prompt that was not made from a poster has no other column
        assert list(pictures) == list(scores) == (["pipeline"] if number == 2 else list(evaluate.COLUMNS))
        assert len(scores["pipeline"]["right"]) == len([w for r in prompt.regions for w in r.text.split()])
    gold = next(scores for number, *_, scores in results if number == 0)["gold"]
    assert gold["object"] == [True] and gold["background"] == [True]
    assert strip([results[0][2]]).size == (4 * 132, 132)


# ---------------------------------------------------------------- probes

def test_ids_of_one_ground_are_counted():
    posters = [draw(1, i) for i in range(40)]
    one = torch.tensor([[list(COLOURS).index(p.background)] * 16 for p in posters])
    assert probe.ground_ids(posters, one, 100) == pytest.approx(1)
    many = one + 20 * torch.arange(4).repeat(4)                                  # another in every column
    assert 2 < probe.ground_ids(posters, many, 100) < 4
    # what stands under text and objects does not count
    bare = (F.avg_pool2d(text_mask(posters), 32)[:, 0] == 0) & (object_cells(posters)[-1] == 0)
    many = torch.where(bare.flatten(1), one, torch.randint(100, one.shape))
    assert probe.ground_ids(posters, many, 100) == pytest.approx(1)


def test_objects_are_recognised_by_ids_that_know_them_and_not_by_others(pipe, monkeypatch):
    names = tuple(things())[:60]                                                 # so each ground is on many

    def told(reveal):
        """Ids of an encoder that gives away the object, or the ground only."""
        def gather(_, posters):
            return torch.tensor([[list(COLOURS).index(p.background),
                                  20 + names.index(p.groups[0].thing) if reveal else 20] for p in posters])
        return gather

    monkeypatch.setattr(probe, "gather_ids", told(True))
    assert probe.recognised(pipe, "normal", 3, names) == 1
    monkeypatch.setattr(probe, "gather_ids", told(False))
    assert probe.recognised(pipe, "normal", 3, names) < 0.3


def test_a_probe_learns_a_rule_and_not_noise():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(8, (600, 3), generator=generator)
    rows, answers = ids + 8 * torch.arange(3), ids[:, 1] % 4
    votes = fit(rows[:400], answers[:400], steps=100)
    right = F.embedding_bag(rows[400:], votes, mode="sum").argmax(1) == answers[400:]
    assert right.float().mean() > 0.98
    noise = torch.randint(4, (600,), generator=generator)
    votes = fit(rows[:400], noise[:400], steps=100)
    assert (F.embedding_bag(rows[400:], votes, mode="sum").argmax(1) == noise[400:]).float().mean() < 0.5


def test_perplexity_counts_codes_used_alike():
    assert perplexity(torch.tensor([[0, 1, 2, 3]]), 16) == pytest.approx(4)
    assert perplexity(torch.tensor([[5, 5, 5, 5]]), 16) == pytest.approx(1)
