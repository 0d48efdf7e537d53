"""Checks of the exercises in notebook 10, Put it together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minglm.course.answers import Case, run
from minglm.generate import paint
from minglm.measure import ocr, scores


def noise_of_seeds(learner: Callable[[int, int, tuple], Tensor]) -> None:
    """(seed, count, shape) -> the noise of `count` pictures; picture i has a generator seeded seed + i."""
    def case(seed: int, count: int, shape: tuple) -> Case:
        def generator(i: int) -> torch.Generator:
            return torch.Generator().manual_seed(seed + i)

        right = torch.stack([paint.noise(shape, paint.generator(seed + i)) for i in range(count)])
        one = torch.randn(shape, generator=generator(0)).expand(count, *shape)
        mistakes = {"one generator for all pictures: then a picture depends on its neighbours":
                        torch.randn(count, *shape, generator=generator(0)),
                    "all pictures have the same noise: seed the i-th with seed + i": one,
                    "the first picture has seed, not seed + 1":
                        torch.stack([torch.randn(shape, generator=generator(i + 1)) for i in range(count)])}
        return Case((seed, count, shape), right, mistakes)

    run("noise_of_seeds", learner, case(0, 3, (16, 16, 16)), case(7, 2, (16, 12, 20)))


def edit_distance(learner: Callable[[str, str], int]) -> None:
    """The fewest insertions, deletions and substitutions of a letter that turn one text into the other."""
    def case(a: str, b: str) -> Case:
        right = scores.edit_distance(a, b)
        in_place = sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b))
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):                                            # with substitutions at cost 2
            above, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + 2 * (x != y))
        mistakes = {"a substitution counts once, not as a deletion and an insertion": row[-1],
                    "a missing letter shifts all letters after it, and still counts once": in_place,
                    "missing or additional letters count too": sum(x != y for x, y in zip(a, b))}
        return Case((a, b), right, {f"of {a!r} and {b!r}: {why}": wrong for why, wrong in mistakes.items()
                                    if wrong != right})

    run("edit_distance", learner, *(case(a, b) for a, b in (
        ("MOON", "MOON"), ("HELLO", "HALLO"), ("HELLO", "ELLO"), ("SUN", "SUNS"), ("", "ABC"),
        ("月光", "月亮"), ("KITTEN", "SITTING"))))


def word_accuracy(learner: Callable[[list[tuple[list[str], list[str]]]], float]) -> None:
    """(requested texts, lines read) of each picture -> the fraction of requested words that were read, pooled
    over all pictures."""
    pictures = [(["GOOD NEWS"], ["GOOD", "news"]), (["CAT", "SUN"], ["CATS", "SUN"]),
                (["HALF", "MOON", "TEA"], []), (["BLUE SKY"], ["Sky blue", "ART"])]

    def rights(one: tuple[list[str], list[str]]) -> list[float]:
        return scores.score_text(one[0], [ocr.Found(line, 1.0, (0, 0, 0, 0)) for line in one[1]])["right"]

    def share(found: Callable[[str, list[str]], bool], some: list) -> float:
        words = [found(word, lines) for targets, lines in some for target in targets
                 for word in target.split()]
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
            "a word must be read in its own picture":
                share(lambda word, _: word.casefold() in anywhere, some),
            "a line may hold several words: split it":
                share(lambda word, lines: word.casefold() in fold(lines), some)}
        right = sum(map(sum, each)) / sum(map(len, each))
        return Case((some,), right, {why: wrong for why, wrong in mistakes.items() if wrong != right})

    run("word_accuracy", learner, case(pictures[:1]), case(pictures),
        case([(["TEA"], ["COFFEE"]), (["COFFEE"], [])]))
