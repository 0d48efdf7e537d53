"""Checks of the exercises in notebook 02, Turn words into ids."""

from __future__ import annotations

from collections.abc import Callable

from minglm.course.answers import Case, run
from minglm.model.bpe import BPE
from minglm.model.bpe import merge as merged
from minglm.model.prompt import prompt_ids


def merge(learner: Callable) -> None:
    """A word (tuple of tokens) and a pair -> the word with every adjacent such pair merged, from the left."""
    def first_only(word: tuple, pair: tuple) -> tuple:
        at = next((i for i in range(len(word) - 1) if word[i:i + 2] == pair), len(word))
        return word[:at] + tuple(["".join(pair)] * (at < len(word))) + word[at + 2:]

    def overlapping(word: tuple, pair: tuple) -> tuple:
        out, i = [], 0
        while i < len(word):
            out.append(word[i] + word[i + 1] if word[i:i + 2] == pair else word[i])
            i += 1 + (word[i:i + 2] == pair and word[i + 1:i + 3] != pair)
        return tuple(out)

    examples = ("banana", ("a", "n")), ("aaaaa", ("a", "a")), ("nab", ("a", "b")), ("x", ("x", "y"))
    run("merge", learner, *(Case(args, merged(*args), {
        "only the first pair was merged; continue after it": first_only(*args),
        "a token was used twice: after a merged pair continue two tokens further": overlapping(*args),
        "the last token is missing: nothing follows it, but it still belongs to the word": merged(*args)[:-1],
    }) for args in ((tuple(letters), pair) for letters, pair in examples)))


def encode(learner: Callable) -> None:
    """A word (str) and merges, in the order learned -> its tokens, by merging the pair learned first."""
    merges = [("l", "o"), ("e", "r"), ("w", "er"), ("lo", "w"), ("n", "e"), ("ne", "w"), ("s", "t"),
              ("e", "st")]

    def by_rank(word: str) -> list[str]:
        tokens = tuple(word)
        for pair in merges:                  # each was learned after all earlier ones had been applied
            tokens = merged(tokens, pair)
        return list(tokens)

    def longest(word: str) -> list[str]:
        known, out = {a + b for a, b in merges}, []
        while word:
            size = max((n for n in range(1, len(word) + 1) if word[:n] in known), default=1)
            out, word = [*out, word[:size]], word[size:]
        return out

    def one_round(word: str) -> list[str]:
        return list(merged(tuple(word), next((p for p in merges if "".join(p) in word), ())))

    run("encode", learner, *(Case((word, merges), by_rank(word), {
        "you take the longest known token from the left; BPE merges the pair learned first": longest(word),
        "only one pair was merged; repeat until no pair is among the merges": one_round(word),
        "no pair was merged": list(word),
    }) for word in ("lower", "newest", "slowest", "xyz", "")))


def prompt_layout(learner: Callable) -> None:
    """bpe, prompt, large grid (h, w), preview grid (p, q), offset, boi -> PROMPT<sop>h w<eop><sop>p
    q<eop><boi> as a list of ids, with offset added to those of the text."""
    bpe = BPE.train(["a red cat 4 3", "一只猫"] * 2, 270)

    def layout(prompt: str, large: tuple, preview: tuple, offset: int, boi: int) -> list[int]:
        return prompt_ids(bpe, prompt, *large, preview, offset, boi)

    def mistakes(prompt: str, large: tuple, preview: tuple, offset: int, boi: int) -> dict:
        right, written = layout(prompt, large, preview, offset, boi), "{}<sop>{} {}<eop><sop>{} {}<eop>"
        return {"add `offset` to the ids of the text": layout(prompt, large, preview, 0, boi),
                "`boi` is not an id of the text: do not add `offset` to it": [*right[:-1], boi + offset],
                "the large grid comes first, then the preview": layout(prompt, preview, large, offset, boi),
                "rows come first: h w, not w h": layout(prompt, large[::-1], preview[::-1], offset, boi),
                "`boi` is missing at the end: it tells the model to begin the picture": right[:-1],
                "<sop> and <eop> are ids of their own, bpe.specials[...], not text to encode":
                    [offset + i for i in bpe.encode(written.format(prompt, *large, *preview))] + [boi]}

    examples = ("a red cat", (4, 3), (2, 1), 4224, 4096), ("一只猫", (3, 5), (1, 2), 288, 256)
    run("prompt_layout", learner, *(Case((bpe, *e), layout(*e), mistakes(*e)) for e in examples))
