"""Text to ids: a byte-level BPE, trained here or read from a tokenizer.json.

A text is split into pieces by a regular expression (the pre-tokeniser), each piece is written as its UTF-8
bytes, and neighbouring tokens are merged in the order in which training learned the merges.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from minglm.files import whole_file

CODE = "<|dit_token_{}|>"                    # the published vocabulary's name for an image code
SPECIALS = ("<sop>", "<eop>", "<pad>")       # around the grid sizes; after short prompts
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")  # GLM-4's pre-tokeniser
GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

Word = tuple[str, ...]                       # the tokens of a piece of text
Pair = tuple[str, str]                       # two of them that are neighbours


@cache
def alphabet() -> str:
    """GPT-2's printable stand-in for each of the 256 bytes, which keeps a vocabulary readable."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return "".join(chr(b if b in printable else next(others)) for b in range(256))


@cache
def splitter(split: str = SPLIT) -> re.Pattern:
    r"""`split` compiled for Python's `re`, which supports neither \p{L} (letters) nor \p{N} (numbers)."""
    # first letter of every code point's Unicode category; runs of the same letter become ranges
    kinds = [unicodedata.category(chr(c))[0] for c in range(sys.maxunicode + 1)]

    def ranges(kind: str) -> str:
        edges = [c for c in range(len(kinds)) if (kinds[c] == kind) != (c and kinds[c - 1] == kind)]
        return "".join(f"\\U{a:08x}-\\U{b - 1:08x}" for a, b in zip(edges[::2], edges[1::2]))

    spaces = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode White_Space
    # Python's \s covers four control characters that Unicode's White_Space does not, so \s is spelled out too
    text = split.replace(r"[^\s", f"[^{spaces}").replace(r"\S", f"[^{spaces}]")
    text = text.replace(r"\s", f"[{spaces}]")
    for kind in "LN":  # outside brackets a class needs brackets of its own, inside them it does not
        text = re.sub(rf"(?<!\[)(?<!\}})\\p{{{kind}}}(?=[+{{])", lambda _: f"[{ranges(kind)}]", text)
        text = text.replace(f"\\p{{{kind}}}", ranges(kind))
    return re.compile(text)


def merge(word: Word, pair: Pair) -> Word:
    """`word` with every adjacent `pair` merged, from the left."""
    out, i = [], 0
    while i < len(word):
        size = 1 + (word[i:i + 2] == pair)
        out.append("".join(word[i:i + size]))
        i += size
    return tuple(out)


def count_pairs(words: Mapping[Word, int]) -> Counter[Pair]:
    """How often every adjacent pair occurs in words that occur as often as their number says."""
    pairs = Counter()
    for word, n in words.items():
        for pair in zip(word, word[1:]):
            pairs[pair] += n
    return pairs


def too_wide(token: str, wide: int) -> bool:
    """Whether a token holds more than `wide` Chinese characters, of three bytes each."""
    return len(token) > 3 * wide and sum(c in alphabet()[128:] for c in token) > 3 * wide


def learn_merges(words: Mapping[Word, int], count: int, wide: int = 2) -> list[Pair]:
    """The first `count` merges of BPE: each the most frequent pair, of equals the last by name.

    Fewer if no pair is left that occurs twice. No merge makes a token that is `too_wide`.
    """
    words, pairs, where, merges = dict(words), count_pairs(words), defaultdict(set), []
    for word in words:
        for pair in zip(word, word[1:]):
            where[pair].add(word)                        # the words that contain the pair
    while pairs and len(merges) < count:
        most = max(pairs.values())
        if most < 2:                                     # a pair seen once is no pattern
            break
        best = max(pair for pair, n in pairs.items() if n == most)
        if too_wide("".join(best), wide):
            del pairs[best]
            continue
        merges.append(best)
        # only the words that contain the pair change: subtract their old pairs, then add the new ones
        for word in where.pop(best):
            n, merged = words.pop(word), merge(word, best)
            words[merged] = words.get(merged, 0) + n
            for pair in zip(word, word[1:]):
                pairs[pair] -= n
                where[pair].discard(word)
            for pair in zip(merged, merged[1:]):
                pairs[pair] += n
                where[pair].add(merged)
        del pairs[best]
    return merges


class BPE:
    """Byte-pair encoding over bytes: any text can be encoded, and decoding its ids gives the text back.

    vocab: token -> id, with the bytes written as in `alphabet()`; merges: pairs, by priority; split: the
    pre-tokeniser's pattern; whole: a piece that is itself a token is looked up, not merged from its bytes.
    """

    def __init__(self, vocab: dict[str, int], merges: list[tuple[str, str]], specials: dict[str, int],
                 split: str = SPLIT, whole: bool = False):
        self.vocab, self.merges, self.specials = vocab, merges, specials
        self.split, self.whole = split, whole
        self.rank = {pair: i for i, pair in enumerate(merges)}
        self.tokens = {i: token for token, i in vocab.items()}
        self.known: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.vocab | self.specials)

    @property
    def has_codes(self) -> bool:
        """Whether the image codes are tokens of this vocabulary, as in the published one. Then its text ids
        are already the planner's; ours start at 0 and are offset to come after the codes."""
        return CODE.format(0) in self.vocab or CODE.format(0) in self.specials

    @classmethod
    def train(cls, texts: Iterable[str], size: int, wide: int = 2) -> BPE:
        """Merge the most frequent pair repeatedly until there are `size` ids, specials included.

        wide: the most non-ASCII characters in one token. Chinese is written without spaces, so BPE would turn
        whole clauses of the repetitive captions into single tokens, and a model trained on those would not
        understand any other clause. Raises ValueError if `size` cannot hold the 256 bytes and the specials.
        """
        if size < 256 + len(SPECIALS):
            raise ValueError(f"a vocabulary of {size} ids is too small: at least {256 + len(SPECIALS)}")
        counts = Counter(piece for text in texts for piece in splitter().findall(text))
        words = {tuple(to_alphabet(piece)): n for piece, n in counts.items()}
        merges = learn_merges(words, size - 256 - len(SPECIALS), wide)
        tokens = [*alphabet(), *(a + b for a, b in merges)]  # two merges may give the same token: keep one id
        vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
        return cls(vocab, merges, {name: len(vocab) + i for i, name in enumerate(SPECIALS)})

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """Text -> ids. Names of specials are encoded as plain text, since only `prompt_ids` should emit
        specials; with `specials` they are recognised, as in the published tokenizer."""
        if specials and self.specials:
            # longest first, lest one special match the beginning of another
            longest = sorted(self.specials, key=len, reverse=True)
            parts, known = re.split("(" + "|".join(map(re.escape, longest)) + ")", text), self.specials
            return [i for part in parts for i in ([known[part]] if part in known else self.encode(part))]
        return [i for piece in splitter(self.split).findall(text) for i in self.piece(piece)]

    def piece(self, piece: str) -> list[int]:
        """The ids of one piece: of all adjacent pairs, the one learned first is merged first."""
        if piece not in self.known:
            text = to_alphabet(piece)
            word = (text,) if self.whole and text in self.vocab else tuple(text)
            while len(word) > 1:
                best = min(zip(word, word[1:]), key=lambda pair: self.rank.get(pair, len(self.rank)))
                if best not in self.rank:  # no pair is left that training merged
                    break
                word = merge(word, best)
            if len(self.known) > 50_000:                                         # keeps the cache bounded
                self.known.clear()
            self.known[piece] = [self.vocab[token] for token in word]
        return self.known[piece]

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; invalid UTF-8 becomes U+FFFD."""
        names, place = {i: name for name, i in self.specials.items()}, alphabet().index
        data = b"".join(names[i].encode() if i in names else bytes(map(place, self.tokens[i])) for i in ids)
        return data.decode("utf-8", errors="replace")

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json` in the format of the `tokenizers` library."""
        added = [dict(id=i, content=name, single_word=False, lstrip=False, rstrip=False, normalized=False,
                      special=True) for name, i in self.specials.items()]
        level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
        split = dict(type="Split", pattern=dict(Regex=self.split), behavior="Isolated", invert=False)
        model = dict(type="BPE", vocab=self.vocab, merges=[list(pair) for pair in self.merges], dropout=None,
                     unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
                     byte_fallback=False, ignore_merges=self.whole)
        file = dict(version="1.0", truncation=None, padding=None, added_tokens=added,
                    normalizer=None, pre_tokenizer=dict(type="Sequence", pretokenizers=[split, level]),
                    post_processor=None, decoder=level, model=model)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(file, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> BPE:
        """Read `tokenizer.json`. Raises ValueError naming the file if it is not one, if its pre-tokeniser is
        of another kind than ours, GLM-4's or GPT-2's, or if a byte or the result of a merge has no id."""
        try:
            file = json.loads(Path(path).read_text(encoding="utf-8"))
            model = file["model"]
            merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
            bpe = cls(model["vocab"], merges, {t["content"]: t["id"] for t in file["added_tokens"]},
                      pre_tokeniser(file), bool(model.get("ignore_merges")))
            if {type(i) for i in [*bpe.vocab.values(), *bpe.specials.values()]} - {int}:
                raise TypeError("an id is not a whole number")
            for token in (*alphabet(), *map("".join, merges)):
                if token not in bpe.vocab:
                    raise TypeError(f"{token!r} has no id")
            splitter(bpe.split)
        except FileNotFoundError:
            raise ValueError(f"incomplete weights: {path} is missing") from None
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError, re.error) as error:
            raise ValueError(f"{path} is not a tokenizer.json of a BPE: {error!r}") from error
        return bpe

    def check(self, path: str | Path, size: int, marks: Iterable[str]) -> None:
        """Raise ValueError naming the file the BPE is from unless its ids are below `size`, what the planner
        embeds, and `marks` are among its special tokens."""
        if missing := [mark for mark in marks if mark not in self.specials]:
            raise ValueError(f"{path} lacks the special tokens {', '.join(missing)}")
        ids = [*self.vocab.values(), *self.specials.values()]
        if min(ids) < 0 or max(ids) >= size:
            worst = f"an id {min(ids)}" if min(ids) < 0 else f"ids up to {max(ids)}"
            raise ValueError(f"{path} has {worst}, but the planner embeds {size}")


def pre_tokeniser(file: dict) -> str:
    """The split pattern of a tokenizer.json. Raises TypeError if it does anything else to a text."""
    steps = file["pre_tokenizer"]
    steps = steps["pretokenizers"] if steps["type"] == "Sequence" else [steps]
    *splits, level = steps
    known = (file.get("normalizer") is None and level["type"] == "ByteLevel" and not level["add_prefix_space"]
             and len(splits) == (not level.get("use_regex", True))
             and all(s["type"] == "Split" and s["behavior"] == "Isolated" and not s["invert"]
                     for s in splits))
    if not known:
        raise TypeError("its normaliser or pre-tokeniser is not known")
    return splits[0]["pattern"]["Regex"] if splits else GPT2_SPLIT


def to_alphabet(piece: str) -> str:
    """A piece of text as the printable stand-ins of its bytes."""
    return "".join(alphabet()[b] for b in piece.encode("utf-8", errors="replace"))
