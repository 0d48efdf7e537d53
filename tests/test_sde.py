"""The flow's stochastic sampler: its marginals are those of the ODE."""

import math

import pytest
import torch

from minglm.model import sde


def gaussian(x, sigma, mean=2.0, spread=0.5):
    """The true velocity where data is N(mean, spread^2): E[noise - data | x]."""
    variance = (1 - sigma) ** 2 * spread ** 2 + sigma ** 2
    apart = x - (1 - sigma) * mean
    return sigma * apart / variance - (mean + (1 - sigma) * spread ** 2 * apart / variance)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.7])
def test_every_level_ends_with_the_data_and_passes_the_same_marginals(level):
    torch.manual_seed(0)
    x = torch.randn(40_000, 1, 1, 1)
    levels = torch.linspace(1, 0, 201).tolist()
    for sigma, following in zip(levels, levels[1:]):
        mean, deviation = sde.step(x, gaussian(x, sigma), sigma, following, level)
        x = mean + deviation * torch.randn_like(x)
        if abs(following - 0.5) < 1e-6:
            assert float(x.mean()) == pytest.approx(1.0, abs=0.02)
            assert float(x.std()) == pytest.approx(math.sqrt(0.25 * 0.25 + 0.25), abs=0.02)
    assert float(x.mean()) == pytest.approx(2.0, abs=0.02) and float(x.std()) == pytest.approx(0.5, abs=0.02)


def test_level_0_is_eulers_step():
    x, v = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    mean, deviation = sde.step(x, v, 0.8, 0.6, 0.0)
    assert torch.allclose(mean, x + (0.6 - 0.8) * v) and deviation == 0


def test_log_probabilities_and_divergence_are_torchs_own():
    torch.manual_seed(0)
    mean, other, sample = torch.randn(3, 2, 3, 4, 4)
    p, q = (torch.distributions.Normal(m, 0.3) for m in (mean, other))
    assert torch.allclose(sde.log_probability(sample, mean, 0.3), p.log_prob(sample).flatten(1).mean(1), atol=1e-5)
    kl = torch.distributions.kl_divergence(p, q).flatten(1).mean(1)
    assert torch.allclose(sde.divergence(mean, other, 0.3), kl, atol=1e-4)


@pytest.mark.parametrize("sigma, following", [(0.5, 0.5), (0.4, 0.6), (1.2, 0.5), (0.5, -0.1)])
def test_steps_that_do_not_fall_are_refused(sigma, following):
    with pytest.raises(ValueError, match=f"a step from noise level {sigma} to {following}"):
        sde.step(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), sigma, following, 0.5)
