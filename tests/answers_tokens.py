"""Right and wrong answers to the checks of notebook 02; with each wrong one some words of its diagnosis."""

from collections import Counter
from functools import partial

from minglm.model.bpe import BPE, alphabet, to_alphabet, too_wide

# ---------------------------------------------------------------- right answers, written anew


def count_pairs(words):
    return dict(Counter(pair for word, n in words.items() for pair in list(zip(word, word[1:])) * n))


def merge(word, pair):
    if len(word) < 2:
        return word
    if word[:2] == pair:
        return ("".join(pair), *merge(word[2:], pair))
    return (word[0], *merge(word[1:], pair))


def learn_merges(words, count, wide=2, least=2, name=max, again=True, stop=False):
    merges, pairs = [], None
    for _ in range(count):
        pairs = count_pairs(words) if again or pairs is None else pairs
        if stop and pairs and too_wide("".join(max((n, pair) for pair, n in pairs.items())[1]), wide):
            break
        fit = [(n, pair) for pair, n in pairs.items()
               if n >= least and pair not in merges and not too_wide("".join(pair), wide)]
        if not fit:
            break
        most = max(fit)[0]
        best = name(pair for n, pair in fit if n == most)
        merges.append(best)
        words = {merge(word, best): n for word, n in words.items()}
    return merges


def fast_merges(words, count, wide=2):
    merges, words = [], [[list(word), n] for word, n in words.items()]
    counts, inside = Counter(), {}
    for i, (word, n) in enumerate(words):
        for pair in zip(word, word[1:]):
            counts[pair] += n
            inside.setdefault(pair, set()).add(i)
    while len(merges) < count:
        most = max(counts.values(), default=0)
        best = max((pair for pair, n in counts.items() if n == most), default=None)
        if most < 2:
            return merges
        if too_wide("".join(best), wide):
            counts.pop(best)
            continue
        merges.append(best)
        for i in inside.pop(best):
            word, n = words[i]
            for pair in zip(word, word[1:]):
                counts[pair] -= n
            words[i][0] = word = merge(tuple(word), best)
            for pair in zip(word, word[1:]):
                counts[pair] += n
                inside.setdefault(pair, set()).add(i)
        counts.pop(best, None)
    return merges


def piece(self, piece):
    tokens = list(to_alphabet(piece))
    if self.whole and "".join(tokens) in self.vocab:
        return [self.vocab["".join(tokens)]]
    while ranks := [self.merges.index(pair) for pair in zip(tokens, tokens[1:]) if pair in self.merges]:
        tokens = list(merge(tuple(tokens), self.merges[min(ranks)]))
    return [self.vocab[token] for token in tokens]


def decode(self, ids, errors="replace"):
    data = bytearray()
    for i in ids:
        name = next((name for name, number in self.specials.items() if number == i), None)
        data += name.encode() if name else bytes(alphabet().index(c) for c in self.tokens[i])
    return data.decode(errors=errors)


def prompt_ids(bpe, prompt, rows, columns, preview, offset, boi, specials=False, write=lambda bpe, p, q: bpe.encode(f"{p} {q}")):
    def size(grid):
        return [bpe.specials["<sop>"], *write(bpe, *grid), bpe.specials["<eop>"]] if grid else []
    return [i + offset for i in bpe.encode(prompt, specials) + size((rows, columns)) + size(preview)] + [boi]


RIGHT = dict(count_pairs=count_pairs, merge=merge, learn_merges=learn_merges, fast_merges=fast_merges, piece=piece,
             decode=decode, prompt_ids=prompt_ids)


# ---------------------------------------------------------------- mistakes, and what is said of them

def preview_first(bpe, prompt, rows, columns, preview, *rest):
    return prompt_ids(bpe, prompt, *preview, (rows, columns), *rest)


def columns_first(bpe, prompt, rows, columns, preview, *rest):
    return prompt_ids(bpe, prompt, columns, rows, preview[::-1], *rest)


def always_preview(bpe, prompt, rows, columns, preview, *rest):
    return prompt_ids(bpe, prompt, rows, columns, preview or (rows, columns), *rest)


def in_words(bpe, prompt, rows, columns, preview, offset, boi, specials=False):
    text = prompt + "".join(f"<sop>{p} {q}<eop>" for p, q in [(rows, columns), preview])
    return [offset + i for i in bpe.encode(text)] + [boi]


def joined_once(word, pair):
    text = "\0".join(word).replace("\0".join(pair), "".join(pair), 1)
    return tuple(text.split("\0"))


def reused(word, pair):
    out, skip = [], False
    for i, token in enumerate(word):
        if word[i:i + 2] == pair:
            out, skip = [*out, "".join(pair)], True
        elif not skip:
            out.append(token)
        else:
            skip = False
    return tuple(out)


def in_a_text(word, pair):
    return tuple(" ".join(word).replace(" ".join(pair), "".join(pair)).split())


def at_the_right_edge(word, pair):
    text = " ".join(word) + " "
    return tuple(text.replace(" ".join(pair) + " ", "".join(pair) + " ").split())


def left_to_right(self, piece):
    word, out = to_alphabet(piece), []
    while word:
        token = next((word[:n] for n in range(len(word), 1, -1) if word[:n] in self.vocab), word[0])
        out, word = [*out, self.vocab[token]], word[len(token):]
    return out


def in_order_of_place(self, piece):
    tokens = tuple(to_alphabet(piece))
    while known := [pair for pair in zip(tokens, tokens[1:]) if pair in self.rank]:
        tokens = merge(tokens, known[0])
    return [self.vocab[token] for token in tokens]


def wide_pairs_count(words, count, wide=2):
    merges, skipped = [], set()
    for _ in range(count):
        found = {pair: n for pair, n in count_pairs(words).items() if n > 1 and pair not in skipped}
        if not found:
            break
        best = max(found, key=lambda pair: (found[pair], pair))
        if too_wide("".join(best), wide):
            skipped.add(best)
            continue
        merges.append(best)
        words = {merge(word, best): n for word, n in words.items()}
    return merges


def no_overlap(words):
    counts = Counter()
    for word, n in words.items():
        i = 0
        while i < len(word) - 1:
            counts[word[i:i + 2]] += n
            i += 2 if word[i:i + 3] == word[i:i + 1] * 3 else 1
    return dict(counts)


def by_text(word, pair):
    out, i = [], 0
    while i < len(word):
        both = "".join(word[i:i + 2]) == "".join(pair) and i + 1 < len(word)
        out.append("".join(word[i:i + 1 + both]))
        i += 1 + both
    return tuple(out)


def highest_first(self, piece):
    tokens = tuple(to_alphabet(piece))
    while known := [pair for pair in zip(tokens, tokens[1:]) if pair in self.rank]:
        tokens = merge(tokens, max(known, key=self.rank.get))
    return [self.vocab[token] for token in tokens]


def not_shifted(bpe, prompt, rows, columns, preview, offset, boi, specials=False):
    found = prompt_ids(bpe, prompt, rows, columns, preview, offset, boi, specials)
    return [i - offset * (i - offset in bpe.specials.values()) for i in found[:-1]] + [boi]


def whole_string(bpe, prompt, rows, columns, preview, offset, boi, specials=False):
    text = prompt + "".join(f"<sop>{p} {q}<eop>" for p, q in ([(rows, columns), preview] if preview else [(rows, columns)]))
    return [offset + i for i in bpe.encode(text, specials=True)] + [boi]


def changed(words, count, wide=2):
    found = learn_merges(words, count, wide)
    words.clear()
    return found


WRONG = [
    ("merge", joined_once, "only the first"),
    ("merge", reused, "used twice"),
    ("merge", lambda word, pair: merge(word, pair)[:-1], "last token"),
    ("merge", in_a_text, "compared whole"),
    ("merge", at_the_right_edge, "compared whole"),
    ("merge", by_text, "both tokens"),
    ("count_pairs", no_overlap, "twice"), ("count_pairs", lambda words: None, "return"),
    ("learn_merges", wide_pairs_count, "none of the `count`"),
    ("learn_merges", lambda words, count, wide=2: learn_merges(words, count, wide, name=lambda pairs: next(iter(pairs))),
     "not the one counted first"),
    ("learn_merges", lambda words, count, wide=2: learn_merges(words, count, wide, name=lambda pairs: max(pairs, key="".join)),
     "not joined texts"),
    ("piece", highest_first, "highest rank"),
    ("prompt_ids", not_shifted, "ids of the text, too"), ("prompt_ids", whole_string, "is text unless"),
    ("prompt_ids", lambda *args: tuple(prompt_ids(*args)), "not a tuple"),
    ("merge", lambda word, pair: list(merge(word, pair)), "not a list"),
    ("count_pairs", lambda words: count_pairs(dict.fromkeys(words, 1)), "adds n"),
    ("count_pairs", lambda words: dict(Counter(p for w, n in words.items() for p in {*zip(w, w[1:])} for _ in range(n))),
     "counts twice"),
    ("count_pairs", lambda words: dict(Counter(p for w, n in words.items() for p in [*zip(w[::2], w[1::2])] * n)),
     "pairs overlap"),
    ("count_pairs", lambda words: list(count_pairs(words).items()), "a dict"),
    ("count_pairs", lambda words: {"".join(pair): n for pair, n in count_pairs(words).items()}, "tuple of two tokens, .* 'ba'"),
    ("count_pairs", lambda words: {pair: n for word, n in words.items() for pair in zip(word, word[1:])}, "instead of replacing"),
    ("learn_merges", lambda words, count, wide=2: learn_merges(words, count, wide, again=False), "count all pairs again"),
    ("learn_merges", lambda words, count, wide=2: learn_merges(words, count, wide, name=min), "last by name"),
    ("learn_merges", lambda words, count, wide=2: learn_merges(words, count, wide, least=1), "occurs once"),
    ("learn_merges", lambda words, count, wide=2: learn_merges(words, count, 99), "too_wide"),
    ("learn_merges", lambda words, count, wide=2: ["".join(p) for p in learn_merges(words, count, wide)], "return the pairs"),
    ("learn_merges", changed, "has changed"),
    ("learn_merges", lambda words, count, wide=2: learn_merges(words, count, wide, least=3), "still merged"),
    ("learn_merges", lambda words, count, wide=2: learn_merges(words, count, wide, stop=True), "do not stop there"),
    ("fast_merges", learn_merges, "times as long"),
    ("fast_merges", lambda words, count, wide=2: fast_merges(words, count, 99), "too_wide"),
    ("piece", left_to_right, "longest known"),
    ("piece", in_order_of_place, "leftmost"),
    ("piece", lambda self, text: [self.vocab[c] for c in to_alphabet(text)], "no pair"),
    ("piece", lambda self, text: [self.tokens[i] for i in piece(self, text)], "look up the id"),
    ("piece", lambda self, text: piece(BPE(self.vocab, self.merges, self.specials), text), "self.whole"),
    ("decode", lambda self, ids: "".join(decode(self, [i]) for i in ids), "decoded by itself"),
    ("decode", lambda self, ids: decode(self, ids, "ignore"), "U\\+FFFD"),
    ("decode", lambda self, ids: decode(self, ids, "strict"), "UnicodeDecodeError"),
    ("decode", lambda self, ids: "".join(self.tokens[i] for i in ids), "stand-ins"),
    ("prompt_ids", lambda b, p, h, w, small, o, boi, s=False: prompt_ids(b, p, h, w, small, 0, boi, s), "add `offset`"),
    ("prompt_ids", lambda b, p, h, w, small, o, boi, s=False: prompt_ids(b, p, h, w, small, o, boi + o, s), "do not add"),
    ("prompt_ids", preview_first, "large grid comes first"),
    ("prompt_ids", columns_first, "rows come"),
    ("prompt_ids", lambda *args: prompt_ids(*args)[:-1], "boi` is missing"),
    ("prompt_ids", in_words, "ids of their own"),
    ("prompt_ids", always_preview, "one grid only"),
    ("prompt_ids", partial(prompt_ids, write=lambda bpe, p, q: bpe.encode(f"{p}") + bpe.encode(f"{q}")), "a space between"),
    ("prompt_ids", partial(prompt_ids, write=lambda bpe, p, q: [p, q]), "encode them"),
    ("prompt_ids", lambda *args: prompt_ids(*args[:-1]), "pass `specials`"),
]
