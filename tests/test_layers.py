"""Norm, rotary embedding, attention and KV cache against their formulas."""

import pytest
import torch

from minglm.model.layers import KVCache, Linear, RMSNorm
from minglm.model.ops import attention, plain_attention
from minglm.model.ops_cpu import TrainedAttention, TrainedModulation
from minglm.model.rotary import TrainedRotation, frequencies, rotate


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- norm and rotary

def test_rms_norm():
    norm, x = RMSNorm(7, 1e-3), 3 * random(2, 5, 7)
    torch.nn.init.uniform_(norm.weight)
    wanted = x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight
    assert torch.allclose(norm(x), wanted, atol=1e-6)
    assert norm(torch.zeros(1, 7)).abs().max() == 0


def test_rms_norm_counts_in_float32():
    """Squares of these overflow in half precision."""
    norm, x = RMSNorm(8, 1e-6).half(), torch.full((1, 8), 1000.0).half()
    assert norm(x).dtype == torch.float16 and torch.allclose(norm(x).float(), torch.ones(1, 8), atol=1e-3)


@pytest.mark.parametrize("shape", [(7,), (2, 5, 7)])
def test_gradients_of_the_rms_norm_are_those_of_its_formula(shape):
    norm, x = RMSNorm(7, 1e-3), (3 * random(*shape)).requires_grad_()
    with torch.no_grad():
        norm.weight.copy_(random(7, seed=1))
    g = random(*shape, seed=2)
    ours = torch.autograd.grad(norm(x), (x, norm.weight), g)
    formula = x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight
    for a, b in zip(ours, torch.autograd.grad(formula, (x, norm.weight), g)):
        assert torch.allclose(a, b, atol=1e-5)
    once, = torch.autograd.grad(norm(x), x, g, create_graph=True)
    with pytest.raises(RuntimeError):        # a second derivative is refused, not wrong
        torch.autograd.grad(once.sum(), x)


def test_gradients_of_the_modulation_are_those_of_its_formula():
    x, shift, scale = (random(*shape, seed=i).requires_grad_() for i, shape in enumerate(((2, 5, 8), (2, 8), (2, 8))))
    normal = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    formula, found = normal * (1 + scale[:, None]) + shift[:, None], TrainedModulation.apply(x, shift, scale, 1e-5)
    assert torch.allclose(found, formula, atol=1e-5)
    for a, b in zip(*(torch.autograd.grad(y, (x, shift, scale), random(2, 5, 8, seed=3)) for y in (found, formula))):
        assert torch.allclose(a, b, atol=1e-5) and b.abs().max() > 0.5


# ---------------------------------------------------------------- linear maps

@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("shape", [(1, 6), (5, 6), (2, 7, 6), (2, 3, 4, 6)])
def test_a_linear_map_and_its_gradients_are_pytorchs(shape, gelu, bias):
    ours, theirs = Linear(6, 9, bias), torch.nn.Linear(6, 9, bias)
    theirs.load_state_dict(ours.state_dict())
    wide = random(*shape[:-1], 2 * shape[-1])
    x, g = wide[..., ::2].requires_grad_(), random(9)            # neither lies in one piece
    g = g.expand(*shape[:-1], 9)

    def wanted(x):
        return torch.nn.functional.gelu(theirs(x), approximate="tanh") if gelu else theirs(x)

    assert torch.allclose(ours(x, gelu), wanted(x), atol=1e-5)
    found = torch.autograd.grad(ours(x, gelu), (x, *ours.parameters()), g)
    for a, b in zip(found, torch.autograd.grad(wanted(x), (x, *theirs.parameters()), g), strict=True):
        assert torch.allclose(a, b, atol=1e-5) and b.abs().max() > 0.01
    with torch.no_grad():
        assert torch.allclose(ours(x, gelu), wanted(x), atol=1e-5)


def test_a_linear_map_gives_gradients_to_what_wants_them_alone():
    layer, x = Linear(6, 9).requires_grad_(False), random(2, 6).requires_grad_()
    layer(x).sum().backward()
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(2, 6), atol=1e-5) and layer.weight.grad is None
    layer.requires_grad_(True)
    layer(random(2, 6)).sum().backward()
    assert torch.equal(layer.bias.grad, torch.full((9,), 2.0))


def test_an_exact_linear_map_is_pytorchs_to_the_last_bit():
    layer, x = Linear(300, 200, exact=True), random(33, 300)
    with torch.no_grad():
        assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_a_linear_map_obeys_autocast():
    layer = Linear(6, 9)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(random(2, 6), gelu=True).dtype == torch.bfloat16


# ---------------------------------------------------------------- rotary

def test_frequencies_fall_from_one():
    f = frequencies(8, 10000.0)
    assert torch.allclose(f, torch.tensor([1, 0.1, 0.01, 0.001]))


def tables(positions, width=8):
    angles = positions[:, None].float() * frequencies(width, 100.0)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def test_rotation_keeps_norms_and_starts_at_the_identity():
    x = random(2, 3, 6, 8)
    turned = rotate(x, *tables(torch.arange(6)))
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    assert torch.equal(turned[:, :, 0], x[:, :, 0]) and not torch.allclose(turned[:, :, 1], x[:, :, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_the_rotation_are_those_of_its_formula(dtype):
    x, cos, sin, g = (random(2, 3, 5, 8, seed=i) for i in range(4))
    x, g = x.to(dtype).requires_grad_(), g.to(dtype)
    a, b = x.chunk(2, -1)
    formula = (x.float() * cos + torch.cat([-b, a], -1).float() * sin).to(dtype)
    found = TrainedRotation.apply(x, cos, sin)
    assert found.dtype == dtype and torch.allclose(found, formula, atol=1e-6 if dtype == torch.float32 else 0.04)
    (found,), (wanted,) = (torch.autograd.grad(y, x, g) for y in (found, formula))
    assert torch.allclose(found, wanted, atol=1e-6 if dtype == torch.float32 else 0.04) and wanted.abs().max() > 1


def test_rotated_products_depend_on_the_distance_alone():
    q, k = random(8), random(8, seed=1)

    def score(a, b):
        x = torch.stack([q, k])[None, None]
        a, b = rotate(x, *tables(torch.tensor([a, b])))[0, 0]
        return (a @ b).item()

    assert score(3, 5) == pytest.approx(score(13, 15), abs=1e-4)
    assert score(3, 5) == pytest.approx(score(0, 2), abs=1e-4)
    assert abs(score(3, 5) - score(5, 3)) > 1e-3 and abs(score(3, 5) - score(3, 6)) > 1e-3


def test_channels_behind_the_rotary_part_pass_through():
    x = random(1, 2, 4, 12)
    turned = rotate(x, *tables(torch.arange(4)))
    assert torch.equal(turned[..., 8:], x[..., 8:])
    assert torch.equal(turned[..., :8], rotate(x[..., :8], *tables(torch.arange(4))))


def test_channel_i_turns_with_channel_i_plus_half():
    x = torch.zeros(1, 1, 1, 8)
    x[..., 1] = 1
    turned = rotate(x, *tables(torch.tensor([1])))[0, 0, 0]
    angle = frequencies(8, 100.0)[1]
    assert turned[1] == pytest.approx(angle.cos().item()) and turned[5] == pytest.approx(angle.sin().item())
    assert turned.count_nonzero() == 2


# ---------------------------------------------------------------- attention

def naive(q, k, v, allowed):
    """One query, one head, one sum at a time. allowed(batch, query, key) -> bool"""
    out = torch.zeros(*q.shape[:3], v.shape[3])
    group = q.shape[1] // k.shape[1]
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for n in range(q.shape[2]):
                weights = {m: (q[b, h, n] @ k[b, h // group, m]).item() / q.shape[3] ** 0.5
                           for m in range(k.shape[2]) if allowed(b, n, m)}
                top = max(weights.values())
                weights = {m: torch.tensor(w - top).exp() for m, w in weights.items()}
                out[b, h, n] = sum(w * v[b, h // group, m] for m, w in weights.items()) / sum(weights.values())
    return out


MASK = torch.tensor([[True, True, False, True, False], [False, True, True, True, True]])


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", ["all", "causal", "mask", "square mask"])
@pytest.mark.parametrize("trained", [False, True])
def test_attention_equals_a_loop(groups, kind, trained):
    """Both the fused operator and the written-out one that training on a CPU takes."""
    q, k, v = random(2, 4, 5, 6), random(2, groups, 5, 6, seed=1), random(2, groups, 5, 6, seed=2)
    square = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(3)) > 0.5
    square = square | torch.eye(5, dtype=torch.bool)
    mask, causal, allowed = {
        "all": (None, False, lambda b, n, m: True),
        "causal": (None, True, lambda b, n, m: m <= n),
        "mask": (MASK[:, None, None], False, lambda b, n, m: MASK[b, m]),
        "square mask": (square, False, lambda b, n, m: square[b, 0, n, m])}[kind]
    out = attention(q.requires_grad_(trained), k, v, mask, causal)
    assert out.requires_grad == trained
    assert torch.allclose(out.detach(), naive(q.detach(), k, v, allowed), atol=1e-5)


@pytest.mark.parametrize("function", [plain_attention, TrainedAttention.apply])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("mask", [MASK[:, None, None], torch.ones(5, 5, dtype=torch.bool).tril(), None])
def test_written_out_attention_has_the_gradients_of_the_fused_one(mask, groups, function):
    made = []
    for attend in (function, lambda *given: torch.nn.functional.scaled_dot_product_attention(*given, enable_gqa=True)):
        q, k, v = (random(2, heads, 5, 4, seed=i).requires_grad_() for i, heads in enumerate((4, groups, groups)))
        out = attend(q, k, v, mask)
        out.square().sum().backward()
        made.append(torch.cat([out.flatten(), *(x.grad.flatten() for x in (q, k, v))]))
    assert torch.allclose(*made, atol=1e-5) and made[0].abs().max() > 0.1


@pytest.mark.parametrize("causal", [False, True])
def test_attention_trained_in_half_precision(causal):
    q, k, v = (random(2, heads, 5, 4, seed=i).bfloat16().requires_grad_() for i, heads in enumerate((4, 2, 2)))
    mask = None if causal else MASK[:, None, None]
    found, wanted = (torch.autograd.grad(f(q, k, v, mask, causal).float().sin().sum(), (q, k, v)) for f in (attention, plain_attention))
    for a, b in zip(found, wanted):
        assert torch.allclose(a, b, atol=0.05) and b.abs().max() > 0.3


def test_more_keys_than_queries():
    q, k, v = random(1, 2, 1, 4), random(1, 2, 7, 4, seed=1), random(1, 2, 7, 4, seed=2)
    assert torch.allclose(attention(q, k, v), naive(q, k, v, lambda b, n, m: True), atol=1e-5)


# ---------------------------------------------------------------- cache

def test_cache_returns_all_it_was_given():
    cache = KVCache(2, 3, 6, 4, torch.zeros(1))
    pieces = [(random(2, 3, n, 4, seed=n), random(2, 3, n, 4, seed=n + 9)) for n in (3, 1, 2)]
    for i, piece in enumerate(pieces):
        k, v = cache.append(*piece)
        assert torch.equal(k, torch.cat([k for k, _ in pieces[: i + 1]], 2))
        assert torch.equal(v, torch.cat([v for _, v in pieces[: i + 1]], 2))
    assert cache.length == 6


def test_cache_refuses_what_does_not_fit():
    cache = KVCache(1, 1, 4, 2, torch.zeros(1))
    cache.append(torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2))
    with pytest.raises(ValueError, match="4 positions cannot hold 5"):
        cache.append(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert cache.length == 3 and cache.k[:, :, :3].min() == 1
    cache.append(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))


def test_cache_takes_type_from_its_example():
    assert KVCache(1, 1, 2, 2, torch.zeros(1, dtype=torch.bfloat16)).v.dtype == torch.bfloat16
