"""The machinery of self-checks: it accepts what is right, and says what is wrong."""

import re
import signal
import threading
import time

import numpy as np
import pytest
import torch

from minglm.course import answers
from minglm.course.answers import Case, Wrong

X = torch.arange(6.0).view(2, 3)
CASE = Case((X,), X.T, {"rows and columns are not exchanged": X, "you doubled it": 2 * X.T})


def refuse(learner, words, case=CASE):
    with pytest.raises(Wrong, match=words):
        answers.run("transpose", learner, case)


def test_a_right_answer_prints_one_line(capsys):
    answers.run("transpose", lambda x: x.T, CASE, CASE)
    assert capsys.readouterr().out == "transpose: right, 2 cases\n"


def test_known_mistakes_are_named():
    refuse(lambda x: 2 * x.T, "you doubled it")
    refuse(lambda x: x, "not exchanged")


def test_unknown_mistakes_are_described():
    refuse(lambda x: x.T + torch.eye(3, 2), r"33% of the numbers are off.*\(0, 0\): 1, should be 0")
    refuse(lambda x: x.T[:2], r"shape is \(2, 2\), and should be \(3, 2\)")
    refuse(lambda x: x.T.long(), "int64")
    refuse(lambda x: x.T.tolist(), "a list")


def test_answers_in_parts_are_described_in_a_few_words():
    pair = (X, X + 1)
    for got, words in (((X, X, X), "a tuple of 3"), ([X], "a list of 1"), (X, "a Tensor of shape (2, 3)"), (3, "an int")):
        assert answers.difference(got, pair, 1e-4) == f"a tuple of 2 tensors is wanted, and this is {words}"
    assert answers.difference([1] * 99, [1] * 100, 1e-4) == "it has 99 entries, and should have 100"
    assert len(answers.difference("a" * 999, "b" * 999, 1e-4)) < 2 * answers.SHOWN + 20
    assert answers.difference({"a": 1}, {"a": 1, "b": 2}, 1e-4) == "'b' is missing"
    assert answers.difference({"a": 1, "b": 2}, {"a": 1}, 1e-4) == "'b' does not belong there"


def test_an_error_is_shown_with_the_line_of_the_learner():
    def deep(x):
        y = torch.nn.functional.layer_norm(x, (9,))
        return y

    refuse(deep, r"stops with RuntimeError: .*It stops in the line: y = torch.nn.functional.layer_norm\(x, \(9,\)\)")


def test_no_answer_is_told_from_a_wrong_one():
    def stub(x):
        raise NotImplementedError

    refuse(stub, "nothing here yet")
    refuse(lambda x: None, "return")
    refuse(lambda x: x.missing, "AttributeError")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
def test_a_loop_that_never_ends_is_stopped(monkeypatch):
    def endless(x):
        began = time.process_time()
        while time.process_time() - began < 5:           # in case nobody stops it
            try:
                sum(range(1000))
            except Exception:                            # a learner may catch what comes
                pass
        return x.T

    monkeypatch.setattr(answers, "SECONDS", 0.1)
    earlier = signal.signal(signal.SIGPROF, handler := lambda *_: None)
    try:
        refuse(endless, r"transpose: your code has not come back after 0.1 seconds. Is there a loop")
        refuse(lambda x: answers.call("transpose", endless, x), "not come back")             # as `played` asks
        assert signal.getsignal(signal.SIGPROF) is handler and signal.getitimer(signal.ITIMER_PROF) == (0, 0)
        signal.setitimer(signal.ITIMER_PROF, 50)                                             # somebody else's
        answers.run("transpose", lambda x: x.T, CASE)
        assert signal.getsignal(signal.SIGPROF) is handler and 40 < signal.setitimer(signal.ITIMER_PROF, 0)[0] <= 51
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)


def test_other_threads_have_no_time_limit(capsys):
    thread = threading.Thread(target=answers.run, args=("transpose", lambda x: x.T, CASE))
    thread.start()
    thread.join()
    assert "transpose: right" in capsys.readouterr().out


def test_arguments_changed_in_place_harm_nobody():
    kept = X.clone()
    answers.run("transpose", lambda x: x.add_(0).T, CASE)
    refuse(lambda x: x.add_(1).T, "changes its input")
    assert torch.equal(X, kept)


@pytest.mark.parametrize("got, right, same", [
    (3, 3, True), (True, 1, False), (3.0, 3, True), (3.1, 3, False), (0.50001, 0.5, True), (0.6, 0.5, False), ("a", "a", True), ("a", "b", False),
    ([1, 2], [1, 2], True), ([1, 2], [1, 3], False), ([1], [1, 2], False), ([X, 1.0], [X, 1.0], True), ({1}, {1}, True),
    (float("nan"), float("nan"), True), (float("nan"), 1.0, False), ((1, 2), [1, 2], True), (torch.tensor(float("nan")), torch.tensor(0.0), False),
    (torch.tensor([-torch.inf, 1]), torch.tensor([-torch.inf, 1]), True), (X * float("nan"), X, False)])
def test_answers_of_any_kind_are_compared(got, right, same):
    assert bool(answers.difference(got, right, 1e-4)) != same


def array(kind: str, dtype: str, values):
    """Numbers as numpy or torch has them; `numpy scalar` is one taken out of an array."""
    if kind == "torch":
        return torch.tensor(values, dtype=getattr(torch, dtype))
    made = np.array(values, dtype=dtype)
    return made[()] if kind == "numpy scalar" else made


@pytest.mark.parametrize("kind", ["numpy", "numpy scalar", "torch"])
@pytest.mark.parametrize("dtype, value, right, same", [
    ("float32", 26.33989, 26.3399, True), ("float64", 26.33989, 26.3399, True), ("float32", 26.4, 26.3399, False),
    ("int64", 3, 3, True), ("float64", 3.0, 3, True), ("float64", 3.00001, 3, False), ("int32", 4, 3, False),
    ("int64", 3, 3.0, True), ("bool", True, True, True), ("bool", True, 1, False), ("bool", False, True, False),
    ("int64", 1, True, False), ("float32", float("nan"), 0.5, False), ("float32", float("inf"), float("inf"), True),
    ("float32", [1.0, 2.0], (1, 2), True), ("int64", [1, 2], [1, 2], True), ("int64", [1, 3], (1, 2), False),
    ("int64", [1, 2, 3], (1, 2), False), ("float32", [0.1, 0.2], [0.1, 0.2], True), ("int64", [3], 3, True),
    ("float64", [3.0, 3.0], 3, False), ("int64", [[1, 2], [3, 4]], ((1, 2), (3, 4)), True), ("int64", 3, (3,), False)])
def test_numbers_of_every_library_are_compared(kind, dtype, value, right, same):
    assert bool(answers.difference(array(kind, dtype, value), right, 1e-4)) != same


def test_numbers_in_tuples_may_be_of_any_library():
    mixed = (np.int64(1), torch.tensor(2), np.float64(3), 4)
    assert answers.difference(mixed, [1, 2, 3, 4], 1e-4) == ""
    assert answers.difference(mixed, [1, 2, 3, 5], 1e-4) == "in entry 3: 4 is not 5"
    assert answers.difference(torch.stack([X, X]), [X, X], 1e-4)                  # a list of tensors is a list
    assert answers.difference(X.numpy(), X, 1e-4) == ""                           # where a tensor is right, too
    assert "int64" in answers.difference(X.numpy().astype(int), X, 1e-4)


@pytest.mark.parametrize("got, right, words", [
    (np.float32(26.34), 26.5, "26.34 is not 26.5"),
    (True, 1, "True is of type bool, not the int 1"), (1.23456789, 1.23456799, "1.2345679 is not 1.234568"),
    (np.float64(1.23456789), 1.23456799, "1.2345679 is not 1.234568"), (np.float64(2.5), 3, "2.5 is not 3"),
    (X, 3, "a number is wanted, and this is a Tensor of shape (2, 3)"), ("a", 0.5, "'a' is not 0.5"),
    (X.numpy(), 0.5, "a number is wanted, and this is a ndarray of shape (2, 3)"),
    (torch.tensor([1000.01, 1.0]), torch.tensor([1000.0, 1.0]), "at (0,): 1000.01, should be 1000"),
    ([np.float64(1.5), 2], [1.5, 3], "in entry 1: 2 is not 3")])
def test_a_message_never_shows_one_number_twice(got, right, words):
    said = answers.difference(got, right, 1e-9)
    assert said.endswith(words)
    shown = re.findall(r"\d[\d.]*", said.rpartition(": ")[2])
    assert "should be the" in said or len({*map(float, shown)}) == len(shown)


def test_jupyter_shows_the_message_alone():
    assert Wrong("attention: no scale")._render_traceback_() == ["Not yet. attention: no scale"]


def test_infinity_is_only_infinity():
    assert not answers.difference(float("inf"), float("inf"), 1e-4)
    assert answers.difference(-3.0, float("inf"), 1e-4) and answers.difference(float("inf"), 3.0, 1e-4)
