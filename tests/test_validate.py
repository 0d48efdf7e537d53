"""Arguments: numbers of any library are taken, everything else is named."""

import math

import numpy as np
import pytest
import torch

from minglm.validate import real, seed_or_seeds, whole


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)])
def test_whole_numbers(value):
    assert whole("n", value) == 3 and type(whole("n", value)) is int


@pytest.mark.parametrize("value", [3.0, "3", None, True, [3], np.float32(3), np.array([3, 4]), -1, 8])
def test_what_is_no_whole_number_in_range(value):
    with pytest.raises(ValueError, match="n .*a whole number from 0 to 7 is needed"):
        whole("n", value, 0, 7)


def test_a_number_too_large_is_told_the_limit():
    with pytest.raises(ValueError, match=f"seed {2 ** 64}: a whole number from 0 to {2 ** 63 - 1} is needed"):
        whole("seed", 2 ** 64)
    with pytest.raises(ValueError, match="seed -1: a whole number of at least 0 is needed"):
        whole("seed", -1)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5)])
def test_real_numbers(value):
    assert real("x", value, 0, 1) == 0.5 and type(real("x", value)) is float


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30, "0.5", None, True, -0.1, torch.ones(2), 1j])
def test_what_is_no_real_number_in_range(value):
    with pytest.raises(ValueError, match="x .*a finite number of at least 0 and up to 1 is needed"):
        real("x", value, 0, 1)


def test_a_limit_that_is_out():
    with pytest.raises(ValueError, match="above 0 and up to 1"):
        real("top_p", 0, 0, 1, above=True)
    assert real("top_p", 1, 0, 1, above=True) == 1


@pytest.mark.parametrize("value", [[3, 4], (3, 4), range(3, 5), np.array([3, 4]), torch.tensor([3, 4]), [np.int64(3), 4]])
def test_seeds_of_several_pictures(value):
    assert seed_or_seeds(value, 2) == [3, 4]
    with pytest.raises(ValueError, match="2 seeds for 3 pictures"):
        seed_or_seeds(value, 3)


@pytest.mark.parametrize("value", [1.5, None, "0", -1, {"seed": 1}, [1.5, 2], ["1", "2"], 2 ** 63])
def test_what_is_no_seed(value):
    with pytest.raises(ValueError, match="seed"):
        seed_or_seeds(value, 2)
