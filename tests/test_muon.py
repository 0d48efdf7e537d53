"""Our Muon against torch's, which takes matrix by matrix, and against what it is for."""

from functools import partial

import pytest
import torch
from torch import nn

from minglm.device import pick
from minglm.training import optimisers
from minglm.training.loop import train
from minglm.training.optimisers import Muon, orthogonal
from minglm.training.recipe import Recipe, Stage

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


def test_rows_that_are_rarely_seen_move_further():
    """Of two equal tables, the one that is said to be rarely seen; and neither is pulled towards 0."""
    torch.manual_seed(0)
    model = nn.ModuleDict(dict(rare=nn.Embedding(4, 3), usual=nn.Embedding(4, 3)))
    model["usual"].weight.data.copy_(model["rare"].weight)
    before = model["rare"].weight.detach().clone()

    def loss(ids):
        return sum(table(ids).sum() for table in model.values()), {}

    recipe = Recipe(steps=4, batch=1, lr=1e-3, warmup=1, decay=0.0, weight_decay=0.0, clip=1e9)
    for _ in train(Stage("tables", model, lambda step: torch.tensor([step % 2]), loss, recipe,
                         rare=lambda name: name == "rare.weight"), pick("cpu")):
        pass
    moved = {name: (table.weight - before).abs().mean(1) for name, table in model.items()}
    assert torch.allclose(moved["rare"][:2], optimisers.RARE * moved["usual"][:2], rtol=1e-3)
    assert not any(rows[2:].any() for rows in moved.values())
