"""An adapter on a weight reaches everything that computes with it: training, prefill, sampling, guidance, references.

A LoRA layer adds a product of two thin matrices to a weight, here by torch.nn.utils.parametrize, or as a module that
stands in the linear map's place. Fast paths that read a weight past its module would ignore either silently.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from minglm.config import preset
from minglm.generate.plan import sample_ids
from minglm.model import layers
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder, collate
from minglm.model.planner import Planner, positions

CONFIG = preset("tiny")
START = [3, 7, 300, CONFIG.planner.boi]


class LoRA(nn.Module):
    """weight -> weight + up down, of rank 2."""

    def __init__(self, weight: torch.Tensor, scale: float = 0.3):
        super().__init__()
        g = torch.Generator().manual_seed(weight.numel())
        self.down = nn.Parameter(torch.randn(2, weight.shape[1], generator=g) * scale)
        self.up = nn.Parameter(torch.randn(weight.shape[0], 2, generator=g) * scale)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


class Beside(nn.Module):
    """The same as a module around a linear map, as adapter libraries have it; it is no nn.Linear."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear, self.lora = linear, LoRA(linear.weight)

    @property
    def weight(self) -> torch.Tensor:        # of the map inside, without the adapter: a trap for whoever reads it
        return self.linear.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.lora(self.linear.weight), self.linear.bias)


def made(kind: type, config) -> nn.Module:
    torch.manual_seed(0)
    module = kind(config).eval()
    for p in module.parameters():            # parts that start at zero would hide what an adapter does
        nn.init.normal_(p, std=0.1) if p.ndim > 1 else nn.init.normal_(p, mean=1.0, std=0.1)
    return module


def linears(model: nn.Module) -> list[tuple[nn.Module, str]]:
    return [(module, name) for block in model.blocks for module in block.modules()
            for name, child in module.named_children() if isinstance(child, nn.Linear)]


def parametrized(model: nn.Module, name: str) -> None:
    """An adapter on every weight of that name."""
    for parent, child in linears(model):
        if child == name:
            linear = getattr(parent, child)
            parametrize.register_parametrization(linear, "weight", LoRA(linear.weight))


def merged(model: nn.Module, name: str) -> None:
    """What an adapter adds, added to the weights once and for all."""
    for parent, child in linears(model):
        if child == name:
            weight = getattr(parent, child).weight
            weight.data = LoRA(weight)(weight).detach()


def replaced(model: nn.Module, name: str) -> None:
    for parent, child in linears(model):
        if child == name:
            setattr(parent, child, Beside(getattr(parent, child)))


def sampled(planner: Planner) -> list:
    """Ids of three prompts, of grids large enough for a small change to be seen."""
    prompts = [START, START[1:], [5, *START]]
    ids = sample_ids(planner, prompts, [(2, 2), (8, 8)], [torch.Generator().manual_seed(i) for i in range(3)],
                     temperature=3.0, top_p=1.0)
    return [grid.tolist() for grid in ids]


def loss_and_gradient(planner: Planner) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    preview, large = (torch.randint(0, CONFIG.planner.codebook, (2, n, n), generator=g) for n in (1, 3))
    loss, _ = planner.loss([START, START[1:]], preview, large)
    return loss, torch.autograd.grad(loss, planner.embed.weight)[0]


@pytest.mark.parametrize("name", ["q", "k", "v", "o", "gate_up", "down"])
@pytest.mark.parametrize("way", [parametrized, replaced])
def test_an_adapter_reaches_the_planner(name, way):
    plain, adapted, wanted = (made(Planner, CONFIG.planner) for _ in range(3))
    way(adapted, name)
    merged(wanted, name)
    assert sampled(adapted) == sampled(wanted) != sampled(plain)
    ids, place = torch.tensor([START]), positions([len(START)])[None]
    torch.testing.assert_close(adapted(ids, place), wanted(ids, place), rtol=1e-4, atol=1e-4)
    for a, b in zip(loss_and_gradient(adapted), loss_and_gradient(wanted)):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    loss, _ = adapted.loss([START], torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(1, 2, 2, dtype=torch.long))
    loss.backward()
    thin = [p for n, p in adapted.named_parameters() if n.endswith((".up", ".down"))]
    assert len(thin) == 2 * CONFIG.planner.depth and all(p.grad.abs().max() > 0 for p in thin)


def given(config) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(2)
    latents = torch.randn(2, config.channels, 8, 8, generator=g)
    ids = torch.randint(0, config.codebook, (2, 2, 2), generator=g)
    return latents, torch.tensor([5.0, 600.0]), ids, torch.randn(2, 3, config.glyph_width, generator=g)


@pytest.mark.parametrize("name", ["q", "k", "v", "o", "fc1", "fc2"])
@pytest.mark.parametrize("grad", [False, True], ids=["sampling", "training"])
def test_an_adapter_reaches_the_decoder(name, grad):
    plain, adapted, wanted = (made(Decoder, CONFIG.decoder) for _ in range(3))
    parametrized(adapted, name)
    merged(wanted, name)
    x = given(CONFIG.decoder)
    with torch.set_grad_enabled(grad):
        memory = [[model.remember(x[0], x[2])] for model in (plain, adapted, wanted)]
        out = [model(*x, memory=seen) for model, seen in zip((plain, adapted, wanted), memory)]
    torch.testing.assert_close(out[1], out[2], rtol=1e-3, atol=1e-4)
    assert (out[1] - out[0]).abs().max() > 1e-3
    if grad:
        out[1].square().mean().backward()
        assert all(p.grad.abs().max() > 0 for n, p in adapted.named_parameters() if n.endswith((".up", ".down")))


def test_an_adapter_reaches_the_glyph_encoder():
    g = collate([["HELLO", "你好"]])
    for name in ("q", "up"):
        plain, adapted, wanted = (made(GlyphEncoder, CONFIG.glyph) for _ in range(3))
        parametrized(adapted, name)
        merged(wanted, name)
        out = [model(g["ids"], g["mask"], g["places"]) for model in (plain, adapted, wanted)]
        torch.testing.assert_close(out[1], out[2], rtol=1e-4, atol=1e-4)
        assert (out[1] - out[0]).abs().max() > 1e-3


def test_several_maps_of_one_input_ask_a_module_that_is_no_linear_map():
    """In training they are one product of weights side by side, which an adapter's own forward would not enter."""
    maps = [layers.Linear(4, 3) for _ in range(3)]
    x, beside = torch.randn(2, 4), Beside(maps[1])
    out = layers.side_by_side(x, maps[0], beside, maps[2])
    assert torch.equal(out[1], beside(x)) and not torch.allclose(out[1], maps[1](x))


def test_exact_planners_take_adapters_too():
    config = replace(CONFIG.planner, exact=True)
    adapted, wanted = (made(Planner, config) for _ in range(2))
    parametrized(adapted, "v")
    merged(wanted, "v")
    assert sampled(adapted) == sampled(wanted)
