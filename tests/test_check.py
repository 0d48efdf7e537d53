"""Every self-check of the course passes what is right, refuses a stub, and says what is wrong with the rest."""

from collections import Counter

import answers_decoder
import answers_edit
import answers_latents
import answers_npu
import answers_pipeline
import answers_planner
import answers_reward
import answers_tokens
import answers_world
import answers_writing
import pytest
from sample_notebook import checks

from minglm.course.answers import Wrong

PARTS = (answers_world, answers_tokens, answers_latents, answers_planner, answers_decoder, answers_writing, answers_pipeline,
         answers_edit, answers_reward, answers_npu)
RIGHT = {name: answer for part in PARTS for name, answer in part.RIGHT.items()}
WRONG = [row for part in PARTS for row in part.WRONG]
CHECKS = checks()


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes(name, capsys):
    CHECKS[name](RIGHT[name])
    assert capsys.readouterr().out.startswith(f"{name}: right, ")


@pytest.mark.parametrize("name", RIGHT)
def test_the_stub_is_refused(name):
    def stub(*args):
        raise NotImplementedError

    with pytest.raises(Wrong, match="nothing here yet"):
        CHECKS[name](stub)


@pytest.mark.parametrize("name, answer, words", WRONG, ids=[f"{name}: {words}" for name, _, words in WRONG])
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, words):
    with pytest.raises(Wrong, match=words):
        CHECKS[name](answer)


def test_every_check_has_two_wrong_answers_here():
    count = Counter(name for name, _, _ in WRONG)
    assert set(RIGHT) == set(count) and min(count.values()) >= 2


def test_decibels_may_be_a_float(capsys):
    CHECKS["psnr"](lambda a, b: float(RIGHT["psnr"](a, b)))
    assert capsys.readouterr().out == "psnr: right, 2 cases\n"
