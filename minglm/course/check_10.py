"""Self-checks of notebooks 00 (Meet minglm), 09 (Write words) and 10 (Put it together).

Shapes: R strings · H heads · L bytes of the longest · E head width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minglm import glyph, judge, painting, text
from minglm.answers import Case, run
from minglm.config import preset
from minglm.pipeline import Output, Pipeline


def greedy_plan(learner: Callable[[Pipeline, str, int], Tensor]) -> None:
    """The plan of a prompt when the planner always takes the likeliest id, whatever the seed."""
    pipe, prompt = Pipeline.from_pretrained("mini", "cpu"), 'A poster with the word "RUN".'

    def out(seed: int, **how: float) -> Output:
        return pipe(prompt, steps=1, seed=seed, progress=False, **how)

    run("greedy_plan", learner, *(Case((pipe, prompt, seed), out(seed, temperature=0).plan[0], {
        "the dice are still thrown: temperature 0 puts them away": out(seed).plan[0],
        "a small top_p still leaves a choice now and then: temperature 0 leaves none": out(seed, top_p=0.3).plan[0],
        "this is the preview; the plan is the large grid": out(seed, temperature=0).preview[0],
        "this is a list with the plan of each picture: take the first": out(seed, temperature=0).plan,
    }) for seed in (1, 2, 3)))


def move_right(learner: Callable[[Tensor], Tensor]) -> None:
    """A plan with its rows 1 and 2 moved one column to the right, round the edge; the other rows as they were."""
    def case(seed: int) -> Case:
        plan = torch.randint(0, 1024, (4, 4), generator=torch.Generator().manual_seed(seed))

        def moved(rows: slice, by: int, axis: int) -> Tensor:
            out = plan.clone()
            out[rows] = plan[rows].roll(by, axis)
            return out

        cut = moved(slice(1, 3), 1, 1)
        cut[1:3, 0] = plan[1:3, 0]
        return Case((plan,), moved(slice(1, 3), 1, 1), {
            "all rows are moved; rows 0 and 3 should stay": moved(slice(0, 4), 1, 1),
            "row 2 should move too: a slice stops before its end": moved(slice(1, 2), 1, 1),
            "row 3 should stay: a slice stops before its end": moved(slice(1, 4), 1, 1),
            "the rows are moved to the left": moved(slice(1, 3), -1, 1),
            "the rows are moved down; a row runs along dimension 1": moved(slice(1, 3), 1, 0),
            "what falls out on the right should come back on the left": cut})

    run("move_right", learner, *map(case, range(3)))


def glyph_ids(learner: Callable[[str], list[int]]) -> None:
    """The ids of one string: every byte of its UTF-8 form plus 3, then a 1."""
    def case(string: str) -> Case:
        raw = list(string.encode())
        characters = [ord(c) + 3 for c in string] + [1]
        mistakes = {"the 1 at the end is missing": [b + 3 for b in raw],
                    "the bytes are not raised by 3: 0, 1 and 2 are taken": [*raw, 1]}
        if not string.isascii():
            mistakes["ord() numbers characters, of which there are 150,000: take the bytes of .encode()"] = characters
        return Case((string,), text.glyph_ids([string])[0], mistakes)

    run("glyph_ids", learner, *map(case, ("HI", "A 1!", "你好", "GO 早上", "")))


def relative_buckets(learner: Callable[[int], Tensor]) -> None:
    """T5's buckets of key - query for 32 buckets and a largest distance of 128: (L, L)."""
    with torch.random.fork_rng(devices=[]):
        right = glyph.GlyphEncoder(preset("tiny").glyph).buckets

    def case(length: int) -> Case:
        place = torch.arange(length)
        offset = place[None] - place[:, None]
        size, behind = offset.abs(), 16 * (offset > 0)
        log = (8 * torch.log(size.clamp(min=1) / 8) / torch.log(torch.tensor(16.0))).long()
        good, endless = right(length), torch.where(size < 8, size, 8 + log) + behind
        mistakes = {"the offset is key - query: rows are queries, columns are keys": good.T,
                    "keys behind the query have buckets of their own: add 16 where offset > 0": good - behind,
                    "distances from 128 on share the last bucket of their half, 15 or 31": endless,
                    "from distance 8 on the buckets grow: 8 + 8 log(distance / 8) / log(128 / 8), cut off":
                        size.clamp(max=15) + behind}
        return Case((length,), good, {why: wrong for why, wrong in mistakes.items() if not torch.equal(wrong, good)})

    run("relative_buckets", learner, *map(case, (6, 40, 300)))


def glyph_attention(learner: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """T5's attention: no scale, a bias on the scores, and keys that are filling left out."""
    g = torch.Generator().manual_seed(0)

    def case(strings: int, heads: int, length: int, width: int) -> Case:
        q, k, v = torch.randn(3, strings, heads, length, width, generator=g)
        bias = 2 * torch.randn(heads, length, length, generator=g)
        mask = torch.arange(length) < torch.arange(length, length - strings, -1)[:, None]        # (R, L)
        seen = mask[:, None, None]

        def answer(scores: Tensor, axis: int = -1) -> Tensor:
            return scores.softmax(axis) @ v

        hide = torch.finfo(torch.float32).min
        raw = q @ k.transpose(-1, -2)
        scores = raw + bias
        return Case((q, k, v, bias, mask), answer(scores.masked_fill(~seen, hide)), {
            "T5 does not divide the scores by sqrt(E)": answer((raw * width ** -0.5 + bias).masked_fill(~seen, hide)),
            "the position bias is not added": answer(raw.masked_fill(~seen, hide)),
            "filling is looked at: where mask is False, no query may look": answer(scores),
            "the mask is the wrong way round: True = a byte, may be looked at": answer(scores.masked_fill(seen, hide)),
            "the softmax runs over the keys, the last axis": answer(scores.masked_fill(~seen, hide), -2)})

    run("glyph_attention", learner, case(3, 2, 5, 4), case(2, 4, 7, 8))


def noise_of_seeds(learner: Callable[[int, int, tuple], Tensor]) -> None:
    """The noise of `count` pictures of one shape: picture i has a generator of its own, seeded seed + i."""
    def case(seed: int, count: int, shape: tuple) -> Case:
        def generator(i: int) -> torch.Generator:
            return torch.Generator().manual_seed(seed + i)

        one = torch.randn(shape, generator=generator(0)).expand(count, *shape)
        mistakes = {"one generator makes all pictures: then a picture depends on its neighbours":
                        torch.randn(count, *shape, generator=generator(0)),
                    "all pictures have the same noise: seed the i-th with seed + i": one,
                    "the first picture has seed, not seed + 1":
                        torch.stack([torch.randn(shape, generator=generator(i + 1)) for i in range(count)])}
        return Case((seed, count, shape), painting.generators(seed, None, count)[0](shape), mistakes)

    run("noise_of_seeds", learner, case(0, 3, (16, 16, 16)), case(7, 2, (16, 12, 20)))


def edit_distance(learner: Callable[[str, str], int]) -> None:
    """The fewest insertions, deletions and exchanges of a letter that turn one text into the other."""
    def case(a: str, b: str) -> Case:
        right = judge.edit_distance(a, b)
        in_place = sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b))
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):                                             # with exchanges that cost 2
            above, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + 2 * (x != y))
        mistakes = {"an exchange counts once, not as a deletion and an insertion": row[-1],
                    "one letter lost moves all behind it, and still counts once": in_place,
                    "letters missing or left over count too": sum(x != y for x, y in zip(a, b))}
        return Case((a, b), right, {f"of {a!r} and {b!r}: {why}": wrong for why, wrong in mistakes.items()
                                    if wrong != right})

    run("edit_distance", learner, *(case(a, b) for a, b in (
        ("MOON", "MOON"), ("HELLO", "HALLO"), ("HELLO", "ELLO"), ("SUN", "SUNS"), ("", "ABC"), ("月光", "月亮"),
        ("KITTEN", "SITTING"))))


def word_accuracy(learner: Callable[[list[tuple[list[str], list[str]]]], float]) -> None:
    """The share of asked words that are among the words read, pooled over all pictures."""
    pictures = [(["GOOD NEWS"], ["GOOD", "news"]), (["CAT", "SUN"], ["CATS", "SUN"]),
                (["HALF", "MOON", "TEA"], []), (["BLUE SKY"], ["Sky blue", "ART"])]

    def rights(one: tuple[list[str], list[str]]) -> list[float]:
        return judge.score_text(one[0], [judge.Found(line, 1.0, (0, 0, 0, 0)) for line in one[1]])["right"]

    def share(found: Callable[[str, list[str]], bool], some: list) -> float:
        words = [found(word, lines) for targets, lines in some for target in targets for word in target.split()]
        return sum(words) / len(words)

    def fold(lines: list[str]) -> list[str]:
        return [line.casefold() for line in lines]

    def case(some: list) -> Case:
        each = [rights(one) for one in some]
        anywhere = fold([word for _, lines in some for line in lines for word in line.split()])
        mistakes = {
            "pool the words: a picture with three words counts three times as much as one with one":
                sum(sum(r) / len(r) for r in each) / len(each),
            "capitals do not matter: compare words in one case":
                share(lambda word, lines: word in " ".join(lines).split(), some),
            "a word must be read whole: CAT is not found in CATS":
                share(lambda word, lines: word.casefold() in " ".join(fold(lines)), some),
            "a word must be read in its own picture": share(lambda word, _: word.casefold() in anywhere, some),
            "a line may hold several words: split it": share(lambda word, lines: word.casefold() in fold(lines), some)}
        right = sum(map(sum, each)) / sum(map(len, each))
        return Case((some,), right, {why: wrong for why, wrong in mistakes.items() if wrong != right})

    run("word_accuracy", learner, case(pictures[:1]), case(pictures), case([(["TEA"], ["COFFEE"]), (["COFFEE"], [])]))
