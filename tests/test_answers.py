"""The machinery of self-checks: it accepts what is right, and says what is wrong."""

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


def test_no_answer_is_told_from_a_wrong_one():
    def stub(x):
        raise NotImplementedError

    refuse(stub, "nothing here yet")
    refuse(lambda x: None, "return")
    refuse(lambda x: x.missing, "AttributeError")


def test_arguments_changed_in_place_harm_nobody():
    kept = X.clone()
    answers.run("transpose", lambda x: x.add_(0).T, CASE)
    refuse(lambda x: x.add_(1).T, "off")
    assert torch.equal(X, kept)


@pytest.mark.parametrize("got, right, same", [
    (3, 3, True), (True, 1, False), (3.0, 3, True), (3.1, 3, False), (np.float64(3), 3, True), (np.int64(3), 3.0, True), (np.bool_(True), 1, False), (0.50001, 0.5, True), (0.6, 0.5, False), ("a", "a", True), ("a", "b", False),
    ([1, 2], [1, 2], True), ([1, 2], [1, 3], False), ([1], [1, 2], False), ([X, 1.0], [X, 1.0], True), ({1}, {1}, True),
    ((1, 2), [1, 2], True), (torch.tensor(float("nan")), torch.tensor(0.0), False),
    (torch.tensor([-torch.inf, 1]), torch.tensor([-torch.inf, 1]), True), (X * float("nan"), X, False)])
def test_answers_of_any_kind_are_compared(got, right, same):
    assert bool(answers.difference(got, right, 1e-4)) != same


def test_jupyter_shows_the_message_alone():
    assert Wrong("attention: no scale")._render_traceback_() == ["Not yet. attention: no scale"]
