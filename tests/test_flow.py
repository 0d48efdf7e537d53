"""Flow matching: the published schedule, the sampler, guidance, the loss."""

import pytest
import torch

from minglm.config import FlowConfig, preset
from minglm.model import flow


def test_schedule_of_the_released_model_at_1024():
    times, sigmas = flow.schedule(50, 4096, preset("glm_image").flow)
    assert len(times) == 50 and len(sigmas) == 51
    assert times[:3] == [999, 979, 959] and times[-1] == 19
    wanted = {0: 1, 1: 0.9938, 2: 0.9873, 48: 0.1193, 49: 0.0622, 50: 0}
    assert all(abs(sigmas[i] - sigma) < 1e-4 for i, sigma in wanted.items())


@pytest.mark.parametrize("side, mu", [(512, 1.75), (1024, 3.25), (2048, 6.25)])
def test_shift_of_the_released_model(side, mu):
    sigma = flow.shift(torch.tensor([0.25]), (side // 16) ** 2, preset("glm_image").flow).item()
    assert abs(sigma - mu / (mu + 3)) < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
@pytest.mark.parametrize("name", ["tiny", "mini", "base", "glm_image"])
def test_schedule_falls_from_pure_noise_to_none(steps, name):
    times, sigmas = flow.schedule(steps, 64, preset(name).flow)
    assert times[0] == 999 and sigmas[0] == 1 and sigmas[-1] == 0
    assert all(a > b for a, b in zip(sigmas, sigmas[1:])) and min(times) >= 0
    assert all(time == int(time) for time in times)


def test_larger_pictures_get_more_noise():
    u = torch.tensor([0.1, 0.5, 0.9])
    small, large = (flow.shift(u, tokens, FlowConfig()) for tokens in (16, 256))
    assert (large > small).all() and flow.shift(torch.tensor([1.0]), 64, FlowConfig()).item() == 1


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_steps_are_named(steps):
    with pytest.raises(ValueError, match=f"{steps} steps"):
        flow.schedule(steps, 64, FlowConfig())


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_euler_recovers_data_from_a_straight_path(steps):
    """The velocity of one datum is constant along the way, so every number of steps is exact."""
    data, noise = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    path = list(flow.sample(lambda x, time: noise - data, noise, *flow.schedule(steps, 64, FlowConfig())))
    assert len(path) == steps and torch.allclose(path[-1], data, atol=1e-5)
    sigmas = flow.schedule(steps, 64, FlowConfig())[1]
    for x, sigma in zip(path, sigmas[1:]):
        assert torch.allclose(x, flow.mix(data, noise, torch.full((2,), sigma)), atol=1e-5)


def test_euler_solves_a_linear_equation():
    """dx/dsigma = x from 1 to 0 divides by e; the error falls with the step."""
    errors = []
    for steps in (50, 200, 800):
        *_, x = flow.sample(lambda x, time: x, torch.ones(1, 1, 1, 1), *flow.schedule(steps, 16, FlowConfig()))
        errors.append(abs(x.item() - torch.tensor(-1.0).exp().item()))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-3


def test_the_velocity_is_told_unshifted_times():
    told = []
    times, sigmas = flow.schedule(5, 64, FlowConfig())
    list(flow.sample(lambda x, time: told.append(time) or x, torch.zeros(1, 1, 1, 1), times, sigmas))
    assert told == times == [999, 799, 599, 399, 199]


def test_guidance():
    a, b = torch.randn(2, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(flow.guide(a, b, 1), a, atol=1e-6) and torch.equal(flow.guide(a, b, 0), b)
    assert torch.allclose(flow.guide(a, b, 1.5), a + 0.5 * (a - b), atol=1e-6)


def test_mix_ends_at_data_and_noise():
    data, noise = torch.randn(2, 3, 4, 2, 2)
    assert torch.equal(flow.mix(data, noise, torch.zeros(3)), data)
    assert torch.equal(flow.mix(data, noise, torch.ones(3)), noise)


def test_loss_is_zero_at_the_true_velocity_and_weighted():
    data, noise = torch.randn(2, 2, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    weight = torch.ones(2, 1, 6, 6)
    assert flow.loss(noise - data, data, noise, weight) == 0
    wrong = noise - data
    wrong[:, :, :3] += 2
    assert abs(flow.loss(wrong, data, noise, weight).item() - 2) < 1e-5
    weight[:, :, :3] = 3
    assert abs(flow.loss(wrong, data, noise, weight).item() - 3) < 1e-5
    weight[:, :, :3] = 0
    assert flow.loss(wrong, data, noise, weight).item() < 1e-10
