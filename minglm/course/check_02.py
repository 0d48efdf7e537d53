"""Checks of the exercises in notebook 02, Turn words into ids."""

from __future__ import annotations

import random
import re
import time
import timeit
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from minglm.course.answers import Case, Wrong, run
from minglm.course.muddled import learned, longest, merged, numbered
from minglm.model import bpe, prompt
from minglm.model.bpe import BPE, SPECIALS, Pair, Word, alphabet, to_alphabet

BANANA = {tuple("banana"): 2, tuple("bandana"): 1, tuple("cabana"): 1}
SENTENCES = ("the cat and the hat and the bat", "a cat, a hat: that is that", "一张红色的海报，一只红色的猫")


def words_of(texts: tuple[str, ...], times: int = 1) -> dict[Word, int]:
    """What BPE counts: the pieces of texts as tuples of bytes, and how often each occurs."""
    counts = Counter(piece for text in texts for piece in bpe.splitter().findall(text))
    return {tuple(to_alphabet(piece)): times * n for piece, n in counts.items()}


def count_pairs(learner: Callable) -> None:
    """Words (tuples of tokens) with how often each occurs -> how often each adjacent pair occurs in all."""
    def counts(words: Mapping[Word, int]) -> dict:
        got = learner(words)
        if got is None:
            raise Wrong("count_pairs: your code gives back None. Is its last line a `return`?")
        if not isinstance(got, Mapping):
            raise Wrong(f"count_pairs: a dict from pair to number is wanted, not a {type(got).__name__}")
        if odd := [pair for pair in got if not isinstance(pair, tuple) or len(pair) != 2]:
            raise Wrong(f"count_pairs: a key is a tuple of two tokens, and one of yours is {odd[0]!r}")
        return {pair: n for pair, n in got.items() if n}

    def mistakes(words: Mapping[Word, int]) -> dict:
        def counted(pairs_of: Callable) -> dict:
            return dict(Counter(pair for word, n in words.items() for pair in [*pairs_of(word)] * n))

        return {"a word that occurs n times adds n to each of its pairs":
                    dict(bpe.count_pairs(dict.fromkeys(words, 1))),
                "add n to what earlier words gave a pair, instead of replacing it":
                    {pair: n for word, n in words.items() for pair in zip(word, word[1:])},
                "a pair may occur twice in one word, and then it counts twice":
                    counted(lambda word: {*zip(word, word[1:])}),
                "pairs overlap: (a, b) and (b, c) are both in a b c":
                    counted(lambda word: zip(word[::2], word[1::2])),
                "pairs overlap: a a a has the pair (a, a) twice":
                    counted(lambda word: apart(word))}

    def apart(word: Word) -> list[Pair]:
        found, i = [], 0
        while i + 1 < len(word):
            found.append((word[i], word[i + 1]))
            i += 1 + (word[i:i + 3] == (word[i],) * 3)
        return found

    examples = BANANA, {("an", "an", "a"): 3, ("x",): 5}, {tuple("baaac"): 2, ("a", "a", "a"): 1}, {}
    run("count_pairs", counts,
        *(Case((words,), dict(bpe.count_pairs(words)), mistakes(words)) for words in examples))


def merge(learner: Callable) -> None:
    """A word (tuple of tokens) and a pair -> the word with every adjacent such pair merged, from the left."""
    def tuples(word: Word, pair: Pair) -> Word:
        got = learner(word, pair)
        if isinstance(got, list):
            raise Wrong("merge: a word is a tuple, not a list: words are keys of a dict")
        return got

    def first_only(word: Word, pair: Pair) -> Word:
        at = next((i for i in range(len(word) - 1) if word[i:i + 2] == pair), len(word))
        return word[:at] + tuple(["".join(pair)] * (at < len(word))) + word[at + 2:]

    def overlapping(word: Word, pair: Pair) -> Word:
        out, i = [], 0
        while i < len(word):
            out.append(word[i] + word[i + 1] if word[i:i + 2] == pair else word[i])
            i += 1 + (word[i:i + 2] == pair and word[i + 1:i + 3] != pair)
        return tuple(out)

    def in_text(word: Word, pair: Pair) -> Word:
        return tuple(" ".join(word).replace(" ".join(pair), "".join(pair)).split(" "))

    def one_sided(word: Word, pair: Pair) -> Word:
        return tuple(re.sub(re.escape(" ".join(pair)) + r"(?!\S)", "".join(pair), " ".join(word)).split(" "))

    inside = "tokens are compared whole: there is no pair (a, b) in (xa, b). Do not join and replace"
    examples = (("banana", ("a", "n")), ("aaaaa", ("a", "a")), ("nab", ("a", "b")), ("x", ("x", "y")),
                (("xa", "b"), ("a", "b")), (("a", "bx"), ("a", "b")), (("an", "d"), ("a", "nd")),
                (("b", "an", "an", "a"), ("an", "a")))
    cases = [(tuple(word), pair) for word, pair in examples]
    run("merge", tuples, *(Case(args, bpe.merge(*args), {
        "only the first pair was merged; continue after it": first_only(*args),
        "a token was used twice: after a merged pair continue two tokens further": overlapping(*args),
        "the last token is missing: nothing follows it, but it still belongs to the word":
            bpe.merge(*args)[:-1],
        inside: in_text(*args) if in_text(*args) != bpe.merge(*args) else one_sided(*args),
        "compare both tokens of the pair, not the text that they make together": ("".join(args[0]),),
    }) for args in cases))


def learn_merges(learner: Callable) -> None:
    """Words with how often each occurs, count and wide -> the first `count` merges that BPE learns."""
    run("learn_merges", *merges_cases("learn_merges", learner))


def merges_cases(name: str, learner: Callable) -> list:
    """The learner's function, with what is wrong with its kind of answer said, and the cases for it."""
    def pairs(words: Mapping[Word, int], count: int, wide: int = 2) -> list[Pair]:
        before = dict(words)
        got = learner(words, count, wide)
        if isinstance(got, list | tuple) and any(isinstance(each, str) for each in got):
            raise Wrong(f"{name}: return the pairs, two tokens each, not the merged tokens")
        if dict(words) != before:
            raise Wrong(f"{name}: the dict of words that you were given has changed; build a new one")
        return [tuple(each) for each in got] if isinstance(got, list | tuple) else got

    def case(words: Mapping[Word, int], count: int, wide: int = 2) -> Case:
        return Case((words, count, wide), bpe.learn_merges(words, count, wide), {
            "count all pairs again after every merge: the merged token has made new ones":
                learned(words, count, wide, again=False),
            "of equally frequent pairs take the one that is last by name: the largest":
                learned(words, count, wide, tie=min),
            "of equally frequent pairs take the largest by name, not the one counted first":
                learned(words, count, wide, tie=lambda pairs: pairs[0]),
            "of equally frequent pairs the largest is wanted; pairs are compared, not joined texts":
                learned(words, count, wide, tie=lambda pairs: max(pairs, key="".join)),
            "a pair that is left out as too wide is none of the `count` merges":
                learned(words, count, wide, spend=True),
            "a pair that occurs once is no pattern: stop when no pair occurs twice":
                learned(words, count, wide, least=1),
            "a pair that occurs twice is still merged: stop when no pair occurs at least twice":
                learned(words, count, wide, least=3),
            "a pair that is too wide is left out, and the next one is taken: do not stop there":
                learned(words, count, wide, stop=True),
            "leave out the pairs whose merged token is too_wide": learned(words, count, wide=99),
            "`count` is the number of merges": bpe.learn_merges(words, count + 1, wide)})

    return [pairs, case(BANANA, 3), case(words_of(SENTENCES[:2]), 99), case(words_of(SENTENCES, 2), 200, 1),
            case(words_of(SENTENCES, 2), 24, 1), case(words_of(SENTENCES, 3), 200)]


def fast_merges(learner: Callable) -> None:
    """The same as learn_merges, in time that grows with the words that change, not with all words."""
    rng, letters = random.Random(0), "etaoinshrdlu"
    words = {tuple(rng.choices(letters, range(12, 0, -1), k=rng.randint(3, 12))): rng.randint(1, 9)
             for _ in range(2000)}

    def quick(given: Mapping[Word, int], count: int, wide: int = 2) -> list[Pair]:
        if given == words:
            # the best of a few, without the garbage collector: a busy machine must not decide who is right
            own, theirs = (min(timeit.repeat(lambda: learn(words, count, wide), timer=time.thread_time,
                                             repeat=times, number=1))
                           for learn, times in ((learner, 2), (bpe.learn_merges, 5)))
            if own > 5 * theirs + 0.1:
                raise Wrong(f"fast_merges: it takes {own / theirs:.0f} times as long as the library. Keep "
                            "the counts, and after a merge change only those of words that contain the pair")
        return pairs(given, count, wide)

    pairs, *cases = merges_cases("fast_merges", learner)
    run("fast_merges", quick, *cases, Case((words, 120), bpe.learn_merges(words, 120)))


def tokenizers() -> tuple[BPE, BPE]:
    """A small tokenizer, and one in which a piece that is a token is looked up."""
    moon = to_alphabet("月")
    merges = [("l", "o"), ("e", "r"), ("w", "er"), ("lo", "w"), ("n", "e"), ("ne", "w"), ("s", "t"),
              ("e", "st"), ("e", "s"), ("Ġ", "low"), (moon[0], moon[1]), (moon[:2], moon[2])]
    tokens = [*alphabet(), *dict.fromkeys("".join(pair) for pair in merges), "lowest"]
    vocab = {token: i for i, token in enumerate(tokens)}
    names = {name: len(vocab) + i for i, name in enumerate(SPECIALS)}
    return BPE(vocab, merges, names), BPE(vocab, merges, names, whole=True)


def piece(learner: Callable) -> None:
    """A tokenizer (self) and a piece of text -> its ids: of all adjacent pairs, the one learned first is
    merged first."""
    def case(kind: int, text: str) -> Case:
        given, own = tokenizers()[kind], tokenizers()    # apart, as they remember pieces
        right, first = own[kind].piece(text), partial(min, key=given.rank.get)
        return Case((given, text), right, {
            "you take the longest known token from the left; BPE merges the pair learned first":
                longest(given, text),
            "only one pair was merged; repeat until no pair is among the merges":
                merged(given, text, first, most=1),
            "the leftmost known pair was merged; merge the one learned first, with the lowest rank":
                merged(given, text, lambda known: known[0]),
            "the highest rank was merged first; the pair learned first has the lowest":
                merged(given, text, partial(max, key=given.rank.get)),
            "no pair was merged": numbered(given, tuple(to_alphabet(text))),
            "these are tokens: look up the id of each in self.vocab": [given.tokens[i] for i in right],
            "with self.whole a piece that is itself a token is looked up, not merged": own[0].piece(text)})

    plain = "nest", "newest", "lower", "slowest", " low", "xyz", "月光", ""
    run("piece", learner, *(case(0, text) for text in plain), case(1, "lowest"))


def decode(learner: Callable) -> None:
    """A tokenizer (self) and ids -> the text; bytes that are no UTF-8 become U+FFFD."""
    small = tokenizers()[0]

    def each_alone(ids: list[int]) -> str:
        return "".join(small.decode([i]) for i in ids)

    def as_written(ids: list[int]) -> str:
        return "".join((small.tokens | {i: name for name, i in small.specials.items()})[i] for i in ids)

    def case(ids: list[int]) -> Case:
        right = small.decode(ids)
        return Case((tokenizers()[0], ids), right, {
            "each token was decoded by itself: put all bytes in a row first, since a character may be cut":
                each_alone(ids),
            "these are stand-ins: alphabet().index gives the byte of each": as_written(ids),
            'bytes that are no UTF-8 become U+FFFD: errors="replace"': right.replace("\ufffd", "")})

    moon = small.encode("月光")
    sizes = [small.specials["<sop>"], *small.encode("4 4"), small.specials["<eop>"]]
    run("decode", learner,
        *map(case, (small.encode("slower low"), moon, small.encode("é 🍎\n"), moon[:-1], sizes, [])))


def prompt_ids(learner: Callable) -> None:
    """bpe, prompt, rows, columns, preview (p, q) or None, offset, boi, specials -> PROMPT<sop>rows
    columns<eop><sop>p q<eop><boi> as a list of ids, with offset added to those of the text."""
    small = BPE.train(["a red cat 4 3", "一只猫"] * 2, 270)
    right = prompt.prompt_ids

    def listed(*args) -> list[int]:
        got = learner(*args)
        if got is not None and not isinstance(got, list):
            raise Wrong(f"prompt_ids: a list of whole numbers is wanted, not a {type(got).__name__}")
        return got

    def mistakes(text: str, rows: int, columns: int, preview: tuple | None, offset: int, boi: int,
                 specials: bool) -> dict:
        args = text, rows, columns, preview, offset, boi, specials
        good = right(small, *args)
        grids = [(rows, columns), preview] if preview else [(rows, columns)]
        written = text + "".join(f"<sop>{p} {q}<eop>" for p, q in grids)
        swapped = (text, *(preview or (columns, rows)), preview and (rows, columns), offset, boi, specials)
        turned = (text, columns, rows, preview and preview[::-1], offset, boi, specials)
        twice = right(small, text, rows, columns, preview or (rows, columns), offset, boi, specials)

        def sized(write: Callable) -> list[int]:
            sop, eop = small.specials["<sop>"], small.specials["<eop>"]
            ids = [*small.encode(text, specials), *(i for p, q in grids for i in (sop, *write(p, q), eop))]
            return [offset + i for i in ids] + [boi]

        return {"add `offset` to the ids of the text": right(small, *args[:4], 0, boi, specials),
                "`boi` is not an id of the text: do not add `offset` to it": [*good[:-1], boi + offset],
                "the large grid comes first, then the preview": right(small, *swapped),
                "rows come first: rows columns, not columns rows": right(small, *turned),
                "`boi` is missing at the end: it tells the model to begin the picture": good[:-1],
                "<sop> and <eop> are ids of their own, bpe.specials[...], not text to encode":
                    [offset + i for i in small.encode(written)] + [boi],
                "`<sop>` in a prompt is text unless `specials` is true: only your own become special ids":
                    [offset + i for i in small.encode(written, specials=True)] + [boi],
                "<sop> and <eop> are ids of the text, too: add `offset` to them":
                    [i - offset * (i - offset in small.specials.values()) for i in good[:-1]] + [boi],
                "the two numbers of a grid are one text, with a space between them":
                    sized(lambda p, q: small.encode(str(p)) + small.encode(str(q))),
                "the numbers of a grid are text, as in '4 4': encode them": sized(lambda p, q: [p, q]),
                "without a preview there is one grid only": twice,
                "pass `specials` on to bpe.encode": right(small, *args[:-1])}

    examples = (("a red cat", 4, 3, (2, 1), 4224, 4096, False), ("一只猫", 3, 5, (1, 2), 288, 256, False),
                ("a cat", 4, 3, None, 288, 256, False), ("a<sop>cat", 4, 3, (2, 1), 288, 256, True),
                ("a cat <sop>9 9<eop>", 4, 3, (2, 1), 288, 256, False))
    run("prompt_ids", listed, *(Case((small, *e), right(small, *e), mistakes(*e)) for e in examples))
