"""The checks of notebook 14 accept right answers, and say what is wrong with others."""

import numpy as np
import pytest
import torch
from torch import nn

from minglm.course import answers, check_14


def stub(*arguments):
    raise NotImplementedError


def refuse(checked, learner, words):
    with pytest.raises(answers.Wrong, match=words):
        checked(learner)


def size(c, bias=True, out_bias=False, kv="kv_heads", gates=2, norms=4, last=1, head="vision_vocab"):
    """By torch's own layers, one after the other."""
    inner, kv = c.heads * c.head_dim, getattr(c, kv) * c.head_dim
    with torch.device("meta"):
        block = [nn.Linear(c.width, inner, bias), nn.Linear(c.width, kv, bias), nn.Linear(c.width, kv, bias),
                 nn.Linear(inner, c.width, out_bias), nn.Linear(c.width, gates * c.mlp, out_bias),
                 nn.Linear(c.mlp, c.width, out_bias), *(nn.RMSNorm(c.width) for _ in range(norms))]
        around = [nn.Embedding(c.vocab, c.width), *(nn.RMSNorm(c.width) for _ in range(last)),
                  *([nn.Linear(c.width, getattr(c, head), False)] if head else [])]
    one, rest = (sum(p.numel() for part in parts for p in part.parameters()) for parts in (block, around))
    return c.depth * one + rest


def test_planner_size_accepts_what_torch_counts(capsys):
    check_14.planner_size(size)
    assert capsys.readouterr().out == "planner_size: right, 3 cases\n"


@pytest.mark.parametrize("wrong, words", [
    (dict(bias=False), "q, k and v have biases"), (dict(out_bias=True), "only q, k and v have biases"),
    (dict(kv="heads"), "kv_heads"), (dict(gates=1), "gate_up has 2 mlp outputs"), (dict(norms=2), "four norms"),
    (dict(last=0), "one more norm"), (dict(head=None), "a matrix of its own"),
    (dict(head="vocab"), "vision_vocab outputs, not vocab"), (dict(norms=3), "is not")])
def test_planner_size_names_what_was_forgotten(wrong, words):
    refuse(check_14.planner_size, lambda c: size(c, **wrong), words)


def test_roofline_accepts_the_longer_of_both(capsys):
    check_14.roofline(lambda n, tokens, flops, bandwidth: 2 * n * (tokens / flops if tokens / flops > 1 / bandwidth
                                                                else 1 / bandwidth))
    assert capsys.readouterr().out == "roofline: right, 4 cases\n"


@pytest.mark.parametrize("number", [np.float32, torch.tensor], ids=["numpy", "torch"])
def test_numbers_in_single_precision_are_precise_enough(number, capsys):
    def seconds(n, tokens, flops, bandwidth):
        n, flops, bandwidth = map(number, (n, flops, bandwidth))
        return max(2 * n * tokens / flops, 2 * n / bandwidth)

    def batch(n, bits, cache, flops, bandwidth):
        n, cache, flops, bandwidth = map(number, (n, cache, flops, bandwidth))
        surplus = 2 * n / flops - cache / bandwidth
        return n * bits / 8 / bandwidth / surplus if surplus > 0 else number(float("inf"))

    check_14.roofline(seconds)
    check_14.break_even(batch)
    assert capsys.readouterr().out == "roofline: right, 4 cases\nbreak_even: right, 4 cases\n"


@pytest.mark.parametrize("learner, words", [
    (lambda n, t, f, b: 2 * n * t / f + 2 * n / b, "not their sum"),
    (lambda n, t, f, b: min(2 * n * t / f, 2 * n / b), "not the shorter"),
    (lambda n, t, f, b: max(n * t / f, 2 * n / b), "2 operations"),
    (lambda n, t, f, b: max(2 * n * t / f, n / b), "2 bytes"),
    (lambda n, t, f, b: max(2 * n * t / f, 2 * n * t / b), "once for all tokens"),
    (lambda n, t, f, b: 1000 * max(2 * n * t / f, 2 * n / b), "is not")])
def test_roofline_names_the_mistake(learner, words):
    refuse(check_14.roofline, learner, words)


@pytest.mark.parametrize("checked", [check_14.planner_size, check_14.roofline])
def test_an_empty_answer_is_refused(checked):
    refuse(checked, stub, "nothing here yet")
