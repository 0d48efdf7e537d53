"""What the simulated npu can do, refuses and counts. Run by test_simnpu.py in a process of its own."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from minglm.ascend import counters, simulator
from minglm.device import npu_status, pick
from minglm.model import ops
from minglm.model.rotary import rotate

torch.set_num_threads(1)
simulator.install(forbidden={"std.correction"})
import torch_npu  # noqa: E402  the stand-in

MIX = "Expected all tensors to be on the same device, but found at least two devices, npu:0 and cpu!"


def on_both(function, *shapes, tolerance=1e-6):
    """The same function and its gradients with inputs on the CPU and on the card."""
    results = []
    for device in ("cpu", "npu"):
        generator = torch.Generator().manual_seed(0)
        inputs = [torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes]
        out = function(*inputs)
        assert out.device.type == device
        out.square().sum().backward()
        results.append([out.detach().cpu(), *(x.grad.cpu() for x in inputs)])
    for wanted, found in zip(*results):
        assert torch.allclose(wanted, found, atol=tolerance)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.LayerNorm(16), nn.Linear(16, 4))


def steps(device, make, autocast=None, count=5, model=None):
    """Losses of a few training steps of `net` with the optimiser that `make` makes."""
    model = (model or net()).to(device)
    optimiser, generator, found = make(model.parameters()), torch.Generator().manual_seed(0), []
    for _ in range(count):
        x = torch.randn(6, 8, generator=generator).to(device)
        with torch.autocast(device, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
            loss = (model(x).float() - x[:, :4]).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        found.append(loss.detach().cpu())
    return torch.stack(found)


# ---------------------------------------------------------------- what works

def test_the_device_is_found():
    assert npu_status() == (True, "1 card visible") and pick("npu").kind == "npu" and pick("npu:0").kind == "npu"
    assert torch.accelerator.current_accelerator().type == "npu"
    simulator.install()                         # again: nothing happens
    with pytest.raises(ValueError, match="cards 0 to 0"):
        pick("npu:1")


def test_factories():
    made = [torch.arange(5, device="npu"), torch.full((5,), 2, device="npu"), torch.tensor([1, 2], device="npu"),
            torch.zeros(2, 2, device="npu"), torch.eye(3, device="npu"), torch.linspace(0, 1, 3, device="npu")]
    assert all(x.device == torch.device("npu:0") for x in made)
    assert made[0].tolist() == [0, 1, 2, 3, 4] and made[4].sum().item() == 3
    assert torch.empty_like(made[0]).is_npu and torch.zeros_like(made[0], device="cpu").is_cpu
    with torch.device("npu"):
        assert torch.ones(3).is_npu


def test_views_share_memory_and_writes_go_through():
    x = torch.zeros(4, 6, device="npu")
    x[1:3, ::2] = 1
    x.view(-1)[0].fill_(7)
    x.t()[5].add_(2)
    a, b = x.chunk(2)
    b.mul_(10)
    assert x.cpu().tolist() == [[7, 0, 0, 0, 0, 2], [1, 0, 1, 0, 1, 2], [10, 0, 10, 0, 10, 20], [0, 0, 0, 0, 0, 20]]
    assert a.add_(1) is a and torch.add(a, 1, out=(c := torch.empty_like(a))) is c


def test_set_data_brings_the_numbers():
    x = nn.Parameter(torch.zeros(3, device="npu"))
    x.data = torch.ones(3, device="npu")
    assert (x + 0).tolist() == [1, 1, 1]


def test_indexing():
    x = torch.arange(12.0).view(3, 4)
    y = x.to("npu")
    rows, mask = torch.tensor([2, 0]), x > 4
    for index in ((rows,), (rows, rows), (slice(None), rows), (mask,)):
        moved = tuple(i.to("npu") if isinstance(i, torch.Tensor) else i for i in index)
        assert torch.equal(x[index], y[moved].cpu())
    assert torch.equal(y[rows].cpu(), x[rows])                                   # indices may be on the host


@pytest.mark.parametrize("function, shapes", [
    (lambda x, w: F.linear(x, w).softmax(-1), [(3, 4), (5, 4)]),
    (lambda x, w: F.conv2d(x, w, padding=1), [(2, 3, 8, 8), (4, 3, 3, 3)]),
    (lambda x: F.group_norm(F.silu(x), 2), [(2, 4, 5, 5)]),
    (lambda x: F.interpolate(x, (8, 8)) + F.interpolate(x, (8, 8), mode="area"), [(1, 2, 4, 4)]),
    (lambda x, y: torch.einsum("bnd,bmd->bnm", x, y).logsumexp(-1), [(2, 3, 4), (2, 5, 4)]),
    (lambda x: torch.cat([x, x.flip(0)]).topk(3).values.cumsum(-1), [(4, 5)]),
    (lambda x: F.cross_entropy(x, torch.arange(4, device=x.device), reduction="none"), [(4, 5)]),
    (lambda x: checkpoint(lambda h: F.gelu(h) * h, x, use_reentrant=False), [(4, 5)]),
    (lambda q, k: F.scaled_dot_product_attention(q, k, k, is_causal=True), [(2, 4, 5, 8), (2, 4, 5, 8)]),
    (lambda q, k: F.scaled_dot_product_attention(q, k, k, torch.ones(5, 6, dtype=torch.bool, device=q.device).tril(),
                                                 enable_gqa=True), [(2, 4, 5, 8), (2, 2, 6, 8)]),
    (lambda x, w: ops.rms_norm(x, w, 1e-5), [(2, 3, 8), (8,)]),
    (rotate, [(2, 3, 4, 8), (4, 6), (4, 6)]),
    (ops.swiglu, [(3, 8)]),
], ids=lambda value: None)
def test_values_and_gradients_are_those_of_the_cpu(function, shapes):
    on_both(function, *shapes)


def test_second_derivatives_and_own_functions():
    def slope(x):
        return torch.autograd.grad(x.pow(3).sum(), x, create_graph=True)[0]
    on_both(slope, (4,))


@pytest.mark.parametrize("make", [
    lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=False), lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=True),
    lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True), lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    lambda p: torch.optim.Muon([x for x in p if x.ndim == 2], lr=1e-2),
], ids=["loop", "foreach", "fused", "sgd", "muon"])
def test_optimisers(make):
    assert torch.allclose(steps("npu", make), steps("cpu", make), atol=1e-5)


def test_autocast():
    def adamw(p):
        return torch.optim.AdamW(p, lr=1e-2, fused=True)
    assert torch.allclose(steps("npu", adamw, torch.bfloat16), steps("cpu", adamw, torch.bfloat16), rtol=0.03)
    model, x = net().to("npu"), torch.randn(2, 8).to("npu")
    with torch.autocast("npu", dtype=torch.bfloat16):
        assert model(x).dtype == torch.bfloat16 and model(x).softmax(-1).dtype == torch.float32


def test_half_precision_with_a_scaler():
    model, scaler = net().to("npu"), torch.amp.GradScaler("npu", init_scale=2.0 ** 8)
    optimiser, x = torch.optim.AdamW(model.parameters(), lr=1e-2), torch.randn(6, 8).to("npu")
    found = []
    for _ in range(10):
        with torch.autocast("npu", dtype=torch.float16):
            loss = (model(x).float() - x[:, :4]).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()
        found.append(loss.item())
    assert found[-1] < found[0]


def test_generators_of_the_card():
    def drawn(seed):
        generator = torch.Generator("npu").manual_seed(seed)
        x = torch.ones(4, device="npu")
        return [draw.cpu() for draw in (torch.rand(3, device="npu", generator=generator), x.normal_(generator=generator),
                                        torch.multinomial(x.abs(), 2, generator=generator))]

    host, card = torch.get_rng_state(), torch.npu.get_rng_state()
    first, again, other = drawn(3), drawn(3), drawn(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again)) and not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), host) and torch.equal(torch.npu.get_rng_state(), card)
    assert torch.Generator("npu").device == torch.device("npu:0") and torch.Generator().device.type == "cpu"
    assert isinstance(torch.default_generator, torch.Generator) and not isinstance(3, torch.Generator)
    host = [torch.rand(3, generator=torch.Generator(*device).manual_seed(3)) for device in ((), ("cpu",))]
    assert torch.equal(*host) and torch.equal(host[0], first[0])
    with pytest.raises(RuntimeError, match="invalid device ordinal npu:1"):
        torch.Generator("npu:1")


def test_chance_is_the_cards_own():
    host = torch.get_rng_state()
    saved = torch.npu.get_rng_state()
    first = [torch.rand(3, device="npu"), F.dropout(torch.ones(9, device="npu")), torch.randperm(5, device="npu")]
    assert torch.equal(torch.get_rng_state(), host)
    torch.npu.set_rng_state(saved)
    again = [torch.rand(3, device="npu"), F.dropout(torch.ones(9, device="npu")), torch.randperm(5, device="npu")]
    assert all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(first, again))
    torch.manual_seed(3)
    assert torch.equal(torch.npu.get_rng_state(), torch.Generator().manual_seed(3).get_state())
    with pytest.raises(RuntimeError, match="Expected a 'npu' device type for generator but found 'cpu'"):
        torch.rand(3, device="npu", generator=torch.Generator())


def test_checkpoints_hold_host_tensors():
    model, file = net().to("npu"), io.BytesIO()
    with pytest.raises(RuntimeError, match="move tensors to the cpu"):
        torch.save(model.state_dict(), io.BytesIO())
    torch.save({name: value.cpu() for name, value in model.state_dict().items()}, file)
    other = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.LayerNorm(16), nn.Linear(16, 4)).to("npu")
    file.seek(0)
    other.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    x = torch.ones(1, 8, device="npu")
    assert torch.equal(model(x).cpu(), other(x).cpu())


def test_copies_are_deep():
    model = net().to("npu")
    twin = copy.deepcopy(model)
    twin[0].weight.data.zero_()
    assert isinstance(twin[0].weight, nn.Parameter) and model[0].weight.abs().sum() > 0


def test_inference_mode():
    layer, x, q = nn.Linear(3, 4).to("npu"), torch.ones(2, 3, device="npu"), torch.ones(1, 1, 3, 4, device="npu")

    def work():
        y = layer(x).to(torch.float16).float().view(4, 2)[1:]
        return y.cpu(), F.scaled_dot_product_attention(q, q, q, is_causal=True).tolist(), layer.weight[0].cpu()

    with torch.no_grad(), counters.counting(trace=True) as wanted:
        work()
    with torch.inference_mode(), counters.counting(trace=True) as found:
        work()
    with torch.inference_mode(), pytest.raises(RuntimeError, match="not fused"):
        F.scaled_dot_product_attention(q, q, q, torch.zeros(3, 3, device="npu"))
    assert found.trace == wanted.trace and found.syncs == wanted.syncs == 3 and found.to_host == wanted.to_host


def test_printing():
    x = torch.ones(2, device="npu")
    assert repr(x) == f"{x}" == "tensor([1., 1.], device='npu:0')"
    assert f"{x.mean():.4f} {x.sum().int():3d} {x.mean()}" == "1.0000   2 1.0"
    with pytest.raises(TypeError, match="unsupported format string"):              # as PyTorch's
        f"{x:.4f}"


def test_pinned_memory_of_the_host():
    x = torch.arange(3.0)
    assert torch.equal(x.pin_memory(), x) and x.pin_memory().to("npu", non_blocking=True).tolist() == [0, 1, 2]
    batches = [*torch.utils.data.DataLoader([dict(x=x), dict(x=x + 1)], batch_size=2, pin_memory=True)]
    assert len(batches) == 1 and batches[0]["x"].tolist() == [[0, 1, 2], [1, 2, 3]]
    assert batches[0]["x"].is_pinned() and not x.is_pinned()
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        x.to("npu").pin_memory()


@pytest.mark.parametrize("mistake", [
    lambda: torch.npu.set_device(3), lambda: torch.npu.set_device("npu:1"), lambda: torch.npu.device(1),
    lambda: torch.npu.set_device(torch.device("npu:1")), lambda: torch.npu.set_device(-1),
    lambda: torch.ones(3, device="npu:1"), lambda: torch.ones(3).to("npu:1"), lambda: torch.tensor([1], device="npu:1"),
    lambda: torch.ones(3, device="npu").to("npu:1"), lambda: torch.zeros_like(torch.ones(3, device="npu"), device="npu:1"),
    lambda: net().to("npu:1"),
])
def test_a_card_that_is_not_there(mistake):
    with pytest.raises(RuntimeError, match="invalid device ordinal npu:.*: the simulated cards are 0 to 0"):
        mistake()
    torch.npu.set_device(0), torch.npu.set_device("npu"), torch.npu.device(0), torch.ones(3, device="npu:0")


# ---------------------------------------------------------------- what is refused

@pytest.mark.parametrize("mistake", [
    lambda x, h: x + h, lambda x, h: x @ h, lambda x, h: torch.cat([x, h]), lambda x, h: torch.where(x > 0, x, h),
    lambda x, h: torch.stack([x[0, 0], h[0, 0]]),
    lambda x, h: F.embedding(h.long(), x), lambda x, h: F.linear(x, h), lambda x, h: x.add_(h),
    lambda x, h: F.scaled_dot_product_attention(x, x, x, h > 0), lambda x, h: torch_npu.npu_rms_norm(x, h[0]),
], ids="add matmul cat where stack embedding linear add_ mask fused".split())
def test_a_host_tensor_meeting_a_device_tensor(mistake):
    with pytest.raises(RuntimeError, match=MIX):
        mistake(torch.ones(3, 3, device="npu"), torch.ones(3, 3))
    assert (torch.ones(3, device="npu") * torch.tensor(2.0)).tolist() == [2, 2, 2]  # a lone number may


@pytest.mark.parametrize("mistake", [
    lambda: torch.ones(3, dtype=torch.float64, device="npu"), lambda: torch.ones(3).double().to("npu"),
    lambda: torch.ones(3, device="npu").double(), lambda: net().to("npu").double(),
    lambda: torch.polar(torch.ones(3, device="npu"), torch.ones(3, device="npu")),
    lambda: torch.view_as_complex(torch.ones(3, 2, device="npu")),
    lambda: torch.ones(3, dtype=torch.complex64).to("npu"),
])
def test_float64_and_complex(mistake):
    with pytest.raises(RuntimeError, match="(float64|complex64) is forbidden on an npu"):
        mistake()


def test_operators_without_kernels():
    x = torch.ones(3, device="npu")
    for mistake in (lambda: F.huber_loss(x, x), lambda: x.std()):
        with pytest.raises(RuntimeError, match="forbidden here: an npu has no kernel"):
            mistake()


def test_a_float_mask(monkeypatch):
    q, mask = torch.ones(1, 1, 3, 4, device="npu"), torch.zeros(3, 3, device="npu")
    with pytest.raises(RuntimeError, match="mask of torch.float32 is not fused"):
        F.scaled_dot_product_attention(q, q, q, mask)
    with pytest.raises(RuntimeError, match="attn_mask should not be set when is_causal=True"):
        F.scaled_dot_product_attention(q, q, q, mask, is_causal=True)
    simulator.install(strict=False)
    with counters.counting() as seen:
        F.scaled_dot_product_attention(q, q, q, mask)
    simulator.install(strict=True)
    assert seen.unfused == 1 and seen.launches > 3 and "npu_fusion_attention_v3" not in seen.operators


def test_an_optimiser_made_before_the_model_is_moved():
    model = net()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.to("npu")
    model(torch.ones(1, 8, device="npu")).sum().backward()
    with pytest.raises(RuntimeError, match="they are on cpu: was it made before the model was moved"):
        optimiser.step()


def test_a_host_sync_beyond_the_budget():
    x = torch.ones(3, device="npu")
    with pytest.raises(RuntimeError, match="host sync number 2, by _local_scalar_dense: only 1 allowed"):
        with counters.counting(budget=1):
            x.sum().item()
            if x.sum() > 2:
                x = x + 1


def test_wrong_names_of_fused_operators():
    x = torch.ones(2, 8, device="npu")
    for mistake in (lambda: torch_npu.npu_rms_norm(x, x[0], eps=1e-6), lambda: torch_npu.npu_swiglu(x, axis=-1),
                    lambda: torch_npu.npu_rotary_mul(x, x, x, mode="half")):
        with pytest.raises(TypeError):
            mistake()
    with pytest.raises(AttributeError):
        torch_npu.npu_rmsnorm(x, x[0])


@pytest.mark.parametrize("mistake", [
    lambda x: x.numpy(), lambda x: x.unsqueeze_(0), lambda x: x.pin_memory(),
    lambda x: torch.load(saved(), map_location="npu", weights_only=True),
])
def test_other_refusals(mistake):
    with pytest.raises((RuntimeError, TypeError)):
        mistake(torch.ones(3, device="npu"))


def saved():
    file = io.BytesIO()
    torch.save(torch.ones(3), file)
    file.seek(0)
    return file


# ---------------------------------------------------------------- what is counted

def test_launches():
    x = torch.ones(4, 4, device="npu")
    with counters.counting(trace=True) as seen:
        y = x.t().reshape(2, 8)[:1] * 2      # a copy, since the order changes, and a product; views are free
        torch.empty_like(y)
    assert seen.launches == 2 and seen.trace == ["clone", "mul.Tensor"] and seen.operators["t"] == 1


def test_a_fused_kernel_is_one_launch_each_way():
    x, w = torch.ones(2, 3, 8, device="npu", requires_grad=True), torch.ones(8, device="npu")
    ones = torch.ones(2, 3, 8, device="npu")
    for function, name in ((lambda: ops.rms_norm(x, w, 1e-6), "npu_rms_norm"),
                           (lambda: ops.swiglu(torch.cat([x, x], -1)), "npu_swiglu")):
        with counters.counting(trace=True) as seen:
            function().backward(ones)
        assert [op for op in seen.trace if op.startswith("npu_")] == [name, f"{name}_backward"]


@pytest.mark.parametrize("read", [
    lambda x: x.item(), lambda x: bool(x > 0), lambda x: x.cpu(), lambda x: x.tolist(), lambda x: print(x),
    lambda x: f"{x.mean():.4f}",
    lambda x: torch.zeros(1).copy_(x), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: torch.equal(x, x),
    lambda x: float(x), lambda x: x.to("cpu", torch.float16),
], ids="item bool cpu tolist print format copy_ mask nonzero equal float to".split())
def test_syncs(read):
    x = torch.ones(1, device="npu")
    with counters.counting() as seen:
        x + 1, x.sum(), x[0], x.to("npu"), torch.isfinite(x)
        assert seen.syncs == 0
        read(x)
        assert seen.syncs == 1


def test_bytes():
    with counters.counting() as seen:
        x = torch.ones(10, 10).to("npu")
        x.half().cpu()
        torch.tensor([1, 2], device="npu")
    assert (seen.to_card, seen.to_host) == (400 + 16, 200)


def test_memory():
    torch.npu.reset_peak_memory_stats()
    before = torch.npu.memory_allocated()
    x = torch.zeros(1000, device="npu")
    y = x.view(10, 100)[3:5]                 # a view costs nothing, and keeps the whole
    assert torch.npu.memory_allocated() - before == 4000
    del x
    assert torch.npu.memory_allocated() - before == 4000 and y.numel() == 200
    torch.zeros(500, device="npu")
    del y
    assert torch.npu.memory_allocated() == before == counters.alive
    assert pick("npu").peak_memory() - before == 6000
    with counters.counting() as seen:
        torch.zeros(250, device="npu")
    assert seen.peak - before == 1000
