"""Our Muon against torch's, which takes matrix by matrix, and against what it is for."""

from functools import partial

import pytest
import torch

from minglm.training import optimisers
from minglm.training.optimisers import Muon, orthogonal

OPTIONS = dict(lr=0.02, weight_decay=0.1, momentum=0.95, ns_steps=4)
THEIRS = partial(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")
SHAPES = [(16, 16), (48, 16), (16, 16), (16, 48), (20, 33), (48, 16)]


def trained(kind, steps=6, shapes=SHAPES):
    g = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=g)) for shape in shapes]
    optimiser = kind(params, **OPTIONS)
    for _ in range(steps):
        for p in params[:-1]:                                    # the last never gets a gradient
            p.grad = torch.randn(p.shape, generator=g)
        optimiser.step()
    return params, optimiser


@pytest.mark.parametrize("most", [optimisers.MOST, 1])                 # all of a shape together, or one by one
def test_the_same_as_matrix_by_matrix(monkeypatch, most):
    monkeypatch.setattr(optimisers, "MOST", most)
    ours, theirs = trained(Muon)[0], trained(THEIRS)[0]
    start = trained(Muon, steps=0)[0]
    for a, b, before in zip(ours, theirs, start):
        assert torch.allclose(a, b, atol=4e-3)                   # updates are in bfloat16
        assert a is ours[-1] or (a - before).abs().max() > 0.05


def test_its_state_is_that_of_torch(tmp_path):
    """So checkpoints of either can be continued by the other."""
    _, ours = trained(Muon)
    _, theirs = trained(THEIRS)
    a, b = ours.state_dict(), theirs.state_dict()
    assert a["state"].keys() == b["state"].keys()
    for key, state in a["state"].items():
        assert torch.allclose(state["momentum_buffer"], b["state"][key]["momentum_buffer"], atol=1e-6)
    theirs.load_state_dict(a)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 16, 64)])
def test_updates_become_orthogonal(shape):
    g = torch.Generator().manual_seed(1)
    made = orthogonal(torch.randn(shape, generator=g), (3.4445, -4.7750, 2.0315), 5, 1e-7)
    values = torch.linalg.svdvals(made.float())
    assert values.min() > 0.4 and values.max() < 1.4             # of a random matrix they spread from 0 up


def test_no_gradient_or_a_zero_one_moves_nothing():
    p = torch.nn.Parameter(torch.ones(4, 4))
    optimiser = Muon([p], **OPTIONS | dict(weight_decay=0.0))
    optimiser.step()
    p.grad = torch.zeros(4, 4)
    optimiser.step()
    assert torch.equal(p, torch.ones(4, 4))
