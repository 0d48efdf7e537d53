"""Recording: the operators that really start something. Replay: a schedule that no event simulation contradicts."""

import heapq
import random
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from minglm.ascend import launches
from minglm.ascend.launches import STAGES, Launch, Trace, buckets, record, replay, ring, send, work

# ---------------------------------------------------------------- replay


def events(device, host, depth, reads, pauses):
    """End of the last operator, by a simulation of messages between threads that knows no recursion formula."""
    costs = [[cost] * len(device) for cost in host] + [list(device)]
    costs[0] = [cost + pauses.get(i, 0) for i, cost in enumerate(costs[0])]
    waiting, busy, agenda, order = [[] for _ in costs], [False] * len(costs), [], 0
    issued = finished = 0
    held, now = False, 0.0                                    # held: the host waits for what it reads
    while True:
        if issued < len(device) and not busy[0] and not waiting[0] and not held and issued - finished < depth:
            waiting[0].append(issued)
            held, issued = issued in reads, issued + 1
        for k, queue in enumerate(waiting):
            if queue and not busy[k]:
                busy[k], order = True, order + 1
                heapq.heappush(agenda, (now + costs[k][queue[0]], order, k, queue.pop(0)))
        if not agenda:
            return now
        now, _, k, i = heapq.heappop(agenda)
        busy[k] = False
        if k + 1 < len(costs):
            waiting[k + 1].append(i)
        else:
            finished += 1
            held = held and i not in reads


def times(seed, count=200):
    rng = random.Random(seed)
    return [rng.choice((1.0, 3.0, 5.0, 5.0, 40.0)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("host", STAGES.values(), ids=len)
@pytest.mark.parametrize("depth", [1, 3, 1000])
@pytest.mark.parametrize("reads", [(), (7, 8, 150)])
def test_an_event_simulation_ends_at_the_same_moment(seed, host, depth, reads):
    for pauses in ({}, {0: 30, 9: 400, 150: 77}):
        line = replay(times(seed), host, depth, reads, pauses)
        assert line.end == pytest.approx(events(times(seed), host, depth, reads, pauses))


@pytest.mark.parametrize("seed", range(4))
def test_it_takes_at_least_as_long_as_the_busiest_queue(seed):
    device = times(seed)
    for host in STAGES.values():
        line = replay(device, host)
        assert line.end >= max(sum(device), len(device) * max(host))
        assert line.idle == pytest.approx(1 - sum(device) / line.end)
        for lane in line.lanes:
            assert all(before[1] <= after[0] for before, after in zip(lane, lane[1:]))
        for earlier, later in zip(line.lanes, line.lanes[1:]):
            assert all(a[1] <= b[0] for a, b in zip(earlier, later))


@pytest.mark.parametrize("depth", [2, 5, 1000])
@pytest.mark.parametrize("reads", [(), range(0, 200, 50)])
def test_more_stages_for_the_same_work_are_never_slower(depth, reads):
    assert all(sum(host) == pytest.approx(STAGES[1][0]) for host in STAGES.values())
    for seed in range(4):
        ends = [replay(times(seed), STAGES[n], depth, reads).end for n in (1, 2, 3)]
        assert ends == sorted(ends, reverse=True) and ends[2] < ends[0]


def test_a_host_that_costs_nothing_leaves_no_gap():
    for depth in (1, 1000):
        assert replay(times(0), (0.0,), depth).idle == 0
        assert replay(times(0), (0.0, 0.0, 0.0), depth, reads=(3, 50)).idle == 0


@pytest.mark.parametrize("depth", [1, 4, 16])
def test_the_queue_bounds_how_far_the_host_runs_ahead(depth):
    line = replay([50.0] * 100, STAGES[3], depth)
    begun, finished = [begin for begin, _ in line.lanes[0]], [end for _, end in line.lanes[-1]]
    ahead = [sum(b <= t for b in begun) - sum(f <= t for f in finished) for t in begun]
    assert max(ahead) == depth
    assert replay([50.0] * 100, STAGES[3], 1000).lanes[0][-1][1] < line.lanes[0][-1][1]


def test_what_the_host_reads_empties_the_queue():
    device = times(1)
    free, held = replay(device, STAGES[3]), replay(device, STAGES[3], reads=(100,))
    assert held.lanes[0][101][0] == held.lanes[-1][100][1] > free.lanes[0][101][0]
    assert held.end > free.end


def test_a_host_that_is_ahead_hides_its_pause_unless_it_reads():
    busy = [50.0] * 400
    plain, paused = replay(busy, STAGES[3]), replay(busy, STAGES[3], pauses={200: 3000})
    assert paused.end == plain.end
    assert replay(busy, STAGES[3], reads=(199,), pauses={200: 3000}).end == plain.end + 3000 + STAGES[1][0]


def test_bad_queues_are_refused():
    for host, depth in (((), 4), ((1.0,), 0)):
        with pytest.raises(ValueError, match=f"{len(host)} host stages and depth {depth}"):
            replay([1.0], host, depth)
    assert replay([]).end == replay([]).idle == 0


def test_work_takes_the_slowest_of_arithmetic_memory_and_floor():
    card = launches.Card("made up", flops=1e12, bandwidth=1e12, memory=1, flops_share=0.5, bandwidth_share=0.25)
    assert work(Launch("mm", 1e9, 0), card) == pytest.approx(2000)
    assert work(Launch("add", 0, 1e9), card) == pytest.approx(4000)
    assert work(Launch("add", 8, 8), card, floor=7) == 7


# ---------------------------------------------------------------- the wire

def test_gradients_that_travel_early_arrive_no_later():
    rng = random.Random(0)
    for _ in range(20):
        done = sorted(rng.uniform(0, 1000) for _ in range(8))
        messages = [(t, rng.uniform(0, 200)) for t in done]
        early, late = send(messages), send(messages, after=1000)
        total = sum(time for _, time in messages)
        assert late[-1][1] == pytest.approx(1000 + total)
        assert max(total, done[-1] + messages[-1][1]) <= early[-1][1] + 1e-9 <= late[-1][1] + 2e-9
        assert all(a[1] <= b[0] for a, b in zip(early, early[1:]))
        assert all(begin >= t for (begin, _), t in zip(early, done))


def test_buckets_hold_every_gradient_once_and_close_when_full():
    gradients = [(3, 40), (5, 70), (6, 10), (9, 10), (9, 100), (12, 5)]
    assert buckets(gradients, 100) == [(5, 110), (9, 120), (12, 5)]
    assert buckets(gradients, 1) == gradients and buckets(gradients, 1e9) == [(12, 235)] and buckets([], 5) == []


def test_a_ring_moves_nearly_everything_twice():
    assert ring(1e9, 2, wire=1e9, latency=5) == pytest.approx(5 + 1e6)
    assert ring(1e9, 1000, wire=1e9, latency=0) == pytest.approx(2e6, rel=2e-3)


# ---------------------------------------------------------------- recording

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 4))


def test_every_operator_that_starts_something_is_recorded_and_no_view():
    model, x = net(), torch.randn(5, 8)

    def step():
        y = model(x)
        y.t().view(4, 5)[:, None].detach()
        torch.empty(3)
        return y.square().sum().backward()

    with torch.profiler.profile() as profile:
        step()
    model.zero_grad()
    trace = record(step, model)
    seen = Counter(event.name.removeprefix("aten::") for event in profile.events())
    ours = Counter(launch.name for launch in trace.launches)
    assert ours["addmm"] == 2 and ours["silu"] == 1 and ours["silu_backward"] == 1 and ours["mm"] == 3
    assert all(seen[name] >= count for name, count in ours.items()), ours - seen
    assert not {"t", "view", "unsqueeze", "detach", "empty", "transpose", "expand"} & set(ours)
    first = trace.launches[0]
    assert (first.name, first.flops) == ("addmm", 2 * 5 * 8 * 16)
    assert first.bytes == 4 * (5 * 8 + 8 * 16 + 16 + 5 * 16)


def test_each_gradient_is_noted_behind_the_operator_that_made_it():
    model = net()
    trace = record(lambda: model(torch.randn(5, 8)).sum().backward(), model)
    after = [i for i, _ in trace.gradients]
    assert after == sorted(after) and after[-1] == len(trace.launches)
    assert sum(size for _, size in trace.gradients) == 4 * sum(p.numel() for p in model.parameters())
    assert sum(launch.name in ("mm", "sum") for launch in trace.launches[:after[0]]) >= 1
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())        # nothing is left behind


@pytest.mark.parametrize("read", [lambda y: y.sum().item(), lambda y: bool(y.sum() > 0), lambda y: y[y > 0],
                                  lambda y: float(y[0, 0]), lambda y: y.nonzero()])
def test_what_makes_the_host_wait_is_marked(read):
    model, x = net(), torch.randn(5, 8)
    assert record(lambda: model(x)[torch.tensor([1])].sum(), model).reads == []
    trace = record(lambda: read(model(x).detach()), model)
    assert trace.reads and all(trace.launches[i].read for i in trace.reads)


def test_fake_tensors_leave_the_same_trace():
    def step():
        return model(torch.empty(5, 8, device="meta")).square().sum().backward()

    traces = []
    for mode in (nullcontext(), FakeTensorMode()):
        with mode, torch.device("meta"):
            model = net()
            traces.append(record(step, model))
    assert traces[0] == traces[1] and len(traces[0].gradients) == 4


def test_only_the_model_s_device_counts():
    with torch.device("meta"):
        model = net()
    trace = record(lambda: (model(torch.empty(5, 8, device="meta")), torch.randn(3) + 1), model)
    assert [launch.name for launch in trace.launches] == ["addmm", "silu", "addmm"]


def test_the_simulated_device_counts_the_same():
    """In a process of its own, which cannot lose the simulation again."""
    code = """
import torch
from torch import nn
from minglm.ascend import counters, launches, simulator
from minglm.model import ops
simulator.install()
model = nn.Linear(8, 8).to("npu")
def step():
    q = model(torch.ones(2, 2, 4, 8).to("npu"))
    q = ops.swiglu(ops.rms_norm(ops.attention(q, q, q, causal=True), model.bias, 1e-5))
    (q[..., :2].square().sum() * q.sum().item()).backward()
with counters.counting(trace=True) as seen:
    trace = launches.record(step, model)
names = [launch.name for launch in trace.launches if not launch.read]
assert names == [name.split(".")[0] for name in seen.trace], (names, seen.trace)
assert {"npu_rms_norm", "npu_rms_norm_backward", "npu_swiglu", "npu_fusion_attention_v3"} <= {*names}, names
assert len(trace.reads) == seen.syncs == 1 and all(launch.bytes for launch in trace.launches)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- AdamW and the average

def test_one_step_of_adamw_and_average_is_the_same_in_all_ways_and_three_launches_when_fused():
    ends, counted = [], {}
    for way in ("loop", "foreach", "fused"):
        model = net()
        step = launches.adamw_with_average(model, way, keep=0.9)
        for _ in range(3):
            F.mse_loss(model(torch.ones(2, 8)), torch.zeros(2, 4)).backward()
            counted[way] = len(record(step, model).launches)
            model.zero_grad()
        ends.append([*model.parameters(), *step.mean])
    for other in ends[1:]:
        for a, b in zip(ends[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    assert counted["fused"] == 3 < counted["foreach"] < counted["loop"]
    assert any((a - b).abs().max() > 1e-4 for a, b in zip(step.mean, model.parameters()))
    with pytest.raises(ValueError, match="'quick': allowed are loop"):
        launches.adamw_with_average(net(), "quick")


def test_a_trace_lists_its_reads():
    assert Trace([Launch("mm", 1, 1), Launch("_local_scalar_dense", 0, 4, True)]).reads == [1]
