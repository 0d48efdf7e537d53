"""Checks of the exercises in notebook 16: gradients on many ranks, a ring, timelines, shards.

Shapes: N operators · S host stages · D width · M inner width of a feed-forward.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from minglm.ascend import launches
from minglm.ascend.launches import Timeline
from minglm.course.answers import Case, Wrong, difference, normal, run
from minglm.course.played import Rank, played
from minglm.model.ops import swiglu

# ---------------------------------------------------------------- data parallel


def average(learner: Callable[[Iterable[nn.Parameter]], None]) -> None:
    """Parameters with gradients of this rank -> in place: the means over all ranks. Some have no gradient."""
    def on_all(gradients: list[list[Tensor | None]]) -> list[list[Tensor]]:
        def ask(rank: Rank) -> tuple:
            own = [nn.Parameter(torch.zeros(2, 3)) for _ in gradients[0]]
            for p, g in zip(own, gradients[rank.number]):
                p.grad = None if g is None else g.clone()
            return (own,)

        def grads(own: list[nn.Parameter]) -> list[Tensor]:
            learner(iter(own))
            return [torch.zeros(0) if p.grad is None else p.grad for p in own]

        return played("average", grads, ask, len(gradients))[0]

    def case(count: int, frozen: bool) -> Case:
        gradients = [[normal(2, 3, seed=3 * rank + i) for i in range(3)] for rank in range(count)]
        sums = [torch.stack(all_).sum(0) for all_ in zip(*gradients)]

        def answer(values: Callable[[int, int], Tensor]) -> list[list[Tensor]]:
            return [[torch.zeros(0) if frozen and i == 1 else values(rank, i) for i in range(3)]
                    for rank in range(count)]

        if frozen:
            for own in gradients:
                own[1] = None
        return Case((gradients,), answer(lambda rank, i: sums[i] / count), {
            "that is the sum; divide by the number of ranks": answer(lambda rank, i: sums[i]),
            "nothing has travelled: every rank still has its own gradients":
                answer(lambda rank, i: gradients[rank][i]),
            "the mean was divided by the number of ranks once more":
                answer(lambda rank, i: sums[i] / count ** 2),
            "only the first gradient is averaged; do it for every parameter":
                answer(lambda rank, i: gradients[rank][i] if i else sums[i] / count)})

    run("average", on_all, case(2, False), case(3, True))


# ---------------------------------------------------------------- a ring


def ring(learner: Callable[[list[Tensor], int, Callable[[Tensor], Tensor]], list[Tensor]]) -> None:
    """n pieces of this rank, its number, swap -> the n sums over ranks, having sent 2 (n - 1) pieces."""
    def on_all(vectors: Tensor) -> list[list[Tensor]]:
        count, size = len(vectors), vectors[0].numel() // len(vectors)

        def ask(rank: Rank) -> tuple:
            return [*vectors[rank.number].clone().chunk(count)], rank.number, rank.swap

        answers, sent = played("ring", learner, ask, count)
        answers = [list(answer) if isinstance(answer, Sequence) else answer for answer in answers]
        sums = [*vectors.sum(0).chunk(count)]
        if not difference(answers, [sums] * count, 1e-4) and sent > 2 * (count - 1) * size:
            raise Wrong(f"ring: the sums are right, but each rank sent {sent} numbers. In a ring of "
                        f"{count} it is {2 * (count - 1)} pieces of {size}: one piece in each swap")
        return answers

    def case(count: int, size: int) -> Case:
        vectors = torch.stack([normal(count * size, seed=r) for r in range(count)])
        sums = [*vectors.sum(0).chunk(count)]
        half = played("ring", lambda *args: first_half(*args), lambda rank: (
            [*vectors[rank.number].chunk(count)], rank.number, rank.swap), count)[0]
        return Case((vectors,), [sums] * count, {
            "every rank has the sum of one piece now; the second round, in which complete sums go around, is "
            "missing": half,
            "nothing was exchanged: use swap": [[*vector.chunk(count)] for vector in vectors],
            "these are the means, not the sums": [[s / count for s in sums]] * count,
            "the sums are right, but not in the order of the pieces": [sums[1:] + sums[:1]] * count})

    run("ring", on_all, case(2, 3), case(4, 2), case(3, 1))


def first_half(pieces: list[Tensor], rank: int, swap: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """`ring_sum` without its second round."""
    n, pieces = len(pieces), list(pieces)
    for step in range(n - 1):
        got = swap(pieces[(rank - step) % n])
        pieces[(rank - step - 1) % n] = pieces[(rank - step - 1) % n] + got
    return pieces


def ring_time(learner: Callable[[float, int, float, float], float]) -> None:
    """Bytes, cards, bytes/s of a wire, latency of a message (µs) -> the time of a ring all-reduce in µs."""
    cases = []
    for size, cards, wire, latency in ((17e6, 8, 20e9, 30.0), (1e6, 2, 5e9, 10.0), (4e9, 64, 25e9, 100.0)):
        right = launches.ring(size, cards, wire, latency)
        cases.append(Case((size, cards, wire, latency), right, {
            "a ring has two rounds: reduce-scatter and all-gather": latency + (right - latency) / 2,
            "a rank sends a piece, 1 / cards of all, in each of the cards - 1 swaps of a round":
                latency + (right - latency) * cards / (cards - 1),
            "pieces have 1 / cards of the bytes": latency + (right - latency) * cards,
            "microseconds: a second has 1e6 of them": latency + (right - latency) / 1e6,
            "the latency is missing": right - latency}))
    run("ring_time", learner, *cases, tolerance=1e-6)


# ---------------------------------------------------------------- timelines


def timeline(device: Sequence[float], host: Sequence[float], depth: int, reads: Collection[int],
             pauses: Mapping[int, float], queue: bool = True, order: bool = True) -> Tensor:
    """`launches.replay` as a tensor (S + 1, N, 2), or with one of two mistakes."""
    lanes: list[list[tuple[float, float]]] = [[] for _ in range(len(host) + 1)]
    free = 0.0
    for i, time in enumerate(device):
        ready = max(free, lanes[-1][i - depth][1] if i >= depth else 0.0)
        for lane, cost in zip(lanes, (host[0] + pauses.get(i, 0.0), *host[1:], time)):
            begin = max(ready if order else free, lane[-1][1] if lane and queue else 0.0)
            ready = begin + cost
            lane.append((begin, ready))
        free = ready if i in reads else free
    return torch.tensor(lanes, dtype=torch.float32)


def replay(learner: Callable[..., Timeline]) -> None:
    """Times on the device, of the host's stages, depth of the queue, reads, pauses -> Timeline: when each
    operator is in each stage."""
    times = [5.0, 5.0, 40.0, 5.0, 3.0, 60.0, 5.0, 5.0, 12.0, 5.0]

    def lanes(*arguments) -> Tensor:
        line = learner(*arguments)
        if not isinstance(line, Timeline):
            raise Wrong(f"replay: return a Timeline(lanes), not a {type(line).__name__}")
        try:
            return torch.tensor(line.lanes, dtype=torch.float32)
        except (TypeError, ValueError):
            raise Wrong("replay: lanes is a list with a list of pairs (begin, end) for each host stage and, "
                        "last, for the device; all of them hold every operator") from None

    def case(host: tuple, depth: int = 99, reads: tuple = (), pauses: Mapping = {}) -> Case:
        everything = times, host, depth, reads, pauses
        return Case(everything, timeline(*everything), {
            "a stage works on one operator at a time: it begins when the one before has left":
                timeline(*everything, queue=False),
            "an operator enters a stage after it has left the stage before":
                timeline(*everything, order=False),
            "the host may be only `depth` operators ahead: operator i enters when i - depth is done on the "
            "device": timeline(times, host, 99, reads, pauses),
            "after a read the host waits until that operator is done on the device":
                timeline(times, host, depth, (), pauses),
            "a pause makes the first host stage of its operator longer":
                timeline(times, host, depth, reads, {}),
            "a pause belongs to one operator, not to all":
                timeline(times, host, depth, reads, dict.fromkeys(range(10), sum(pauses.values())))})

    run("replay", lanes, case((20.0,)), case((7.0, 6.5, 6.5)), case((7.0, 6.5, 6.5), depth=2),
        case((7.0, 6.5), reads=(2, 5)), case((7.0, 6.5), pauses={3: 100.0, 6: 10.0}),
        case((7.0, 6.5, 6.5), 3, (4,), {5: 50.0}))


def send(learner: Callable[[Sequence[tuple[float, float]], float], list[tuple[float, float]]]) -> None:
    """Messages (ready, duration), after -> the span in which each is on the wire: one at a time, in order."""
    messages = [(10.0, 5.0), (12.0, 30.0), (13.0, 2.0), (80.0, 4.0), (81.0, 1.0)]

    def spans(after: float, wire: bool = True, wait: bool = True) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for ready, time in messages:
            begin = max(ready if wait else 0.0, after, found[-1][1] if found and wire else 0.0)
            found.append((begin, begin + time))
        return found

    def listed(given: list, after: float) -> list:
        return [tuple(map(float, span)) for span in learner(given, after)]

    cases = [Case((messages, after), spans(after), {
        "a wire carries one message at a time: wait for the one before": spans(after, wire=False),
        "a message cannot leave before it is ready": spans(after, wait=False),
        "nothing leaves before `after`": spans(0.0),
        "the second number of a span is its end, not its duration":
            [(begin, end - begin) for begin, end in spans(after)]}) for after in (0.0, 50.0)]
    run("send", listed, *cases)


# ---------------------------------------------------------------- shards


def scatter(learner: Callable[[Tensor], Tensor]) -> None:
    """Gradient of the gathered whole, one on each rank (ranks n, ...) -> of this rank's piece (n, ...)."""
    def on_all(gradients: Tensor) -> list[Tensor]:
        def one(gradient: Tensor) -> Tensor:
            before = gradient.clone()
            got = learner(gradient)
            if not torch.equal(gradient, before):
                raise Wrong("scatter: the gradient that was given is changed in place, though autograd "
                            "may still need it: clone it first")
            return got

        return played("scatter", one, lambda rank: (gradients[rank.number].clone(),), len(gradients))[0]

    def case(count: int) -> Case:
        gradients = torch.stack([normal(2 * count, 3, seed=r) for r in range(count)])
        pieces = [*gradients.sum(0).chunk(count)]
        return Case((gradients,), pieces, {
            "that is this rank's own gradient; every rank's loss depends on the piece, so add all up":
                [g.chunk(count)[r] for r, g in enumerate(gradients)],
            "a rank keeps the gradient of its own piece only": [gradients.sum(0)] * count,
            "the sum, not the mean: each loss contributes its derivative": [p / count for p in pieces],
            "every rank has the piece of rank 0": [pieces[0]] * count})

    run("scatter", on_all, case(2), case(3))


def shard(learner: Callable[[Tensor, Tensor, int], list[tuple[Tensor, Tensor]]]) -> None:
    """gate_up (2 M, D), down (D, M), cards -> a slice of both per card, so that the outputs add up."""
    def feed(x: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        return sum(swiglu(x @ gate_up.T) @ down.T for gate_up, down in parts)

    def case(cards: int) -> Case:
        x, gate_up, down = normal(3, 6), normal(2 * 8, 6, seed=1), normal(6, 8, seed=2)
        gates, ups, downs = gate_up[:8].chunk(cards), gate_up[8:].chunk(cards), down.chunk(cards, 1)
        return Case((x, gate_up, down, cards), feed(x, [(gate_up, down)]), {
            "gate_up holds all gates, then all ups: a card needs its gates and the ups that belong to them":
                feed(x, list(zip(gate_up.chunk(cards), downs))),
            "the columns of down must be those of the card's own gates and ups":
                feed(x, [(torch.cat(pair), d) for *pair, d in zip(gates, ups, downs[::-1])])})

    def together(x: Tensor, gate_up: Tensor, down: Tensor, cards: int) -> Tensor:
        parts, m = list(learner(gate_up, down, cards)), down.shape[1] // cards
        shapes = [tuple(tuple(w.shape) for w in part) for part in parts]
        wanted = ((2 * m, len(down)), (len(down), m))
        if len(parts) != cards or any(shape != wanted for shape in shapes):
            raise Wrong(f"shard: {cards} cards, each with {wanted}, are expected; yours are {shapes}. "
                        "gate_up is split by rows, its outputs; down by columns, its inputs")
        return feed(x, parts)

    run("shard", together, case(2), case(4), case(1))
