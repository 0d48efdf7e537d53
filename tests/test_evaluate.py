"""Evaluation: the committed prompts are the generated ones and held out; reports add up."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from minglm.measure import evaluate
from minglm.measure.evaluate import format_report, report, strip, summarise
from minglm.measure.probe import fit, perplexity
from minglm.world import prompts
from minglm.world.draw import held_out
from minglm.world.layout import fits, slot_box
from minglm.world.posters import words
from minglm.world.prompts import SETS, load_prompts, write_prompts
from minglm.world.quotes import quoted


@pytest.mark.parametrize("name", SETS)
def test_committed_prompts_are_what_the_code_writes(name, tmp_path):
    write_prompts(tmp_path)
    assert (tmp_path / f"{name}.jsonl").read_bytes() == (prompts.PROMPTS / f"{name}.jsonl").read_bytes()


def test_miniposter_has_forty_prompts_in_each_cell():
    counts = Counter(cell for cell, _ in load_prompts("miniposter"))
    assert len(counts) == 18 and set(counts.values()) == {40}


def test_any_eighteen_in_a_row_hold_every_cell():
    assert len({cell for cell, _ in load_prompts("miniposter", 18)}) == 18


def test_prompts_quote_exactly_what_the_poster_shows():
    for name in SETS:
        for _, poster in load_prompts(name):
            assert [t.upper() for t in quoted(poster.caption)] == [r.text for r in poster.regions]


def test_unseen_and_random_texts_are_held_out():
    for cell, poster in load_prompts("miniposter"):
        language, split, count = cell.split("-")
        assert len(poster.regions) == int(count)
        for region in poster.regions:
            if split == "random":
                assert held_out(region.text)
            else:
                assert region.text in words(f"{language}_{split}")


def test_minilong_is_longer_and_fits():
    prompts = load_prompts("minilong")
    assert Counter(cell for cell, _ in prompts) == {"en-long": 40, "zh-long": 40}
    for cell, poster in prompts:
        assert len(poster.regions) in (2, 3)
        letters = sum(len(r.text.replace(" ", "")) for r in poster.regions)
        assert 12 <= letters <= 24 if cell == "en-long" else 6 <= letters <= 12
        for region in poster.regions:
            x0, _, x1, _ = slot_box(region.slot, poster.height, poster.width)
            assert fits(region.text, x1 - x0)


@pytest.mark.parametrize("name, limit", [("posters", None), ("miniposter", 0)])
def test_bad_requests_name_the_value(name, limit):
    with pytest.raises(ValueError, match=str(name if limit is None else limit)):
        load_prompts(name, limit)


def test_scores_are_pooled_over_words_not_over_pictures():
    checks = dict(background=True, object=True, place=False, text_colour=[True])
    one = dict(right=[1.0], ned=[1.0], kept=5, asked=5, extra=False) | checks
    two = dict(right=[0.0, 0.0, 1.0], ned=[0.5, 0.5, 1.0], kept=5, asked=15, extra=True) | checks
    out = summarise([one, two])
    assert (out["word_accuracy"], out["ned"], out["recall"]) == (0.5, 0.75, 0.5)
    assert (out["extra_text"], out["place"], out["object"]) == (0.5, 0, 1)
    scores = report([("en-seen-1", dict(gold=one)), ("zh-seen-3", dict(gold=two))])
    assert scores["gold"]["en"]["words"] == 1 and scores["gold"]["zh-seen-3"]["words"] == 3
    assert "0.333" in format_report(scores)


def test_evaluation_of_a_pipeline_fills_every_column(pipe):
    pytest.importorskip("rapidocr")
    results = list(evaluate.evaluate(pipe, load_prompts("miniposter", 3), steps=1))
    assert sorted(number for number, *_ in results) == [0, 1, 2]
    for _, _, poster, pictures, scores in results:
        assert list(pictures) == list(scores) == list(evaluate.COLUMNS)
        assert scores["gold"]["object"] and len(scores["pipeline"]["right"]) == len(poster.regions)
    assert strip([results[0][3]]).size == (4 * 132, 132)


# ---------------------------------------------------------------- probes

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
