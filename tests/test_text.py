"""Text: our BPE is the published one, quotes are found, the prompt is laid out as published."""

import random
import unicodedata

import pytest

from minglm.model.bpe import BPE, SPECIALS, alphabet
from minglm.model.glyph import glyph_ids
from minglm.model.prompt import preview_grid, prompt_ids
from minglm.model.spelling import AFTER, BEFORE, WIDEST, SpellingBPE
from minglm.world.characters import known
from minglm.world.draw import draw
from minglm.world.quotes import quoted

SPACES = "\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u2003\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
PLANES = [(0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF), (0x1100, 0x11FF),
          (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xFB00, 0xFFFD),
          (0x10000, 0x103FF), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0001, 0xE01EF)]


GLM_4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")  # the released tokenizer's pattern


def noise(rng):
    """Text of random characters: many planes, all kinds of space, contractions, digits, repeats."""
    def piece():
        kind = rng.random()
        if kind < 0.5:
            return chr(rng.randint(*rng.choice(PLANES)))
        if kind < 0.7:
            return rng.choice(SPACES) * rng.randint(1, 3)
        return rng.choice(["'s", "'RE", "'ll", "don't", "'Sam", "'\u017ftar", "'lLama", "123456", "x", "É", "你好",
                           "e\u0301", "🍎🏽", "👩\u200d🚀", "...", "\r\n", "<sop>", "<eop>", "<pad>", "½", "٣", "Ⅷ", "ß", "İ"])
    return "".join(piece() for _ in range(rng.randint(0, 40)))


def texts(count=1500):
    rng = random.Random(0)
    return [draw(5, i).caption for i in range(300)] + [noise(rng) for _ in range(count)] + ["", " ", "\n", SPACES]


@pytest.fixture(scope="module")
def published(bpe, tmp_path_factory):
    """The `tokenizers` library reading the file we save, its text split by the released pattern."""
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    bpe.save(path)
    made = tokenizers.Tokenizer.from_file(str(path))
    split = Split(tokenizers.Regex(GLM_4), "isolated")
    made.pre_tokenizer = Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    return made


# ---------------------------------------------------------------- BPE

def assigned(text):
    """Whether every character is known to Python's Unicode tables, so that both libraries must agree."""
    return all(unicodedata.category(c) != "Cn" for c in text)


def test_ids_are_those_of_the_tokenizers_library(bpe, published):
    compared = 0
    for text in texts():
        if assigned(text) and not any(name in text for name in SPECIALS):
            assert bpe.encode(text) == published.encode(text).ids, ascii(text)
            compared += 1
    assert compared > 500


def test_the_saved_file_alone_gives_the_same_ids(bpe, published, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    bpe.save(tmp_path / "tokenizer.json")
    plain = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in texts(300):
        ids = plain.encode(text).ids
        assert ids == published.encode(text).ids
        assert plain.decode(ids, skip_special_tokens=False) == text


def test_pieces_are_those_of_the_tokenizers_library(published):
    """Random texts, then every assigned character, one by one, between letters and digits."""
    from minglm.model.bpe import splitter, to_alphabet

    rng = random.Random(1)
    everything = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    rng.shuffle(everything)
    text = "".join(c + rng.choice(("a", "1", " ", "", "  ", "!", "'s")) for c in everything[:40_000])
    for text in (*filter(assigned, texts()), text):
        wanted = [piece for piece, _ in published.pre_tokenizer.pre_tokenize_str(text)]
        assert [to_alphabet(piece) for piece in splitter().findall(text)] == wanted


def test_decoding_gives_the_text_back(bpe):
    for text in texts():
        assert bpe.decode(bpe.encode(text)) == text


def test_saved_and_loaded_is_the_same(bpe, published, tmp_path):
    bpe.save(tmp_path / "tokenizer.json")
    again = BPE.load(tmp_path / "tokenizer.json")
    assert (again.vocab, again.merges, again.specials) == (bpe.vocab, bpe.merges, bpe.specials)
    assert len(again) == len(bpe) == published.get_vocab_size()
    assert not list(tmp_path.glob("*.tmp"))


def test_ids_are_dense_and_specials_come_last(bpe):
    assert sorted([*bpe.vocab.values(), *bpe.specials.values()]) == list(range(len(bpe)))
    assert [bpe.specials[name] for name in SPECIALS] == [len(bpe) - 3, len(bpe) - 2, len(bpe) - 1]


def test_training_is_deterministic_and_joins_the_most_frequent():
    lines = ["low lower lowest", "low low", "newer wider"] * 3
    one, two = BPE.train(lines, 259 + 12), BPE.train(iter(lines), 259 + 12)
    assert one.vocab == two.vocab and one.merges == two.merges
    counts = {}
    for word, n in (("low", 3), (" lower", 3), (" lowest", 3), (" low", 3), ("low", 3), ("newer", 3), (" wider", 3)):
        for pair in zip(word.replace(" ", "Ġ"), word.replace(" ", "Ġ")[1:]):
            counts[pair] = counts.get(pair, 0) + n
    assert counts[one.merges[0]] == max(counts.values())


def test_no_token_joins_more_wide_characters_than_allowed():
    captions = [draw(9, i, language="zh").caption for i in range(300)]
    for wide in (1, 2, 3):
        tokens = BPE.train(captions, 700, wide).vocab
        most = max(sum(c in alphabet()[128:] for c in token) for token in tokens)
        assert most == 3 * wide                                                  # three bytes each


def test_training_equals_counting_anew_for_every_merge():
    """The incremental pair counts, against the algorithm written out."""
    from collections import Counter

    from minglm.model.bpe import merge, splitter, to_alphabet

    captions = [draw(9, i).caption for i in range(60)]
    words = Counter(tuple(to_alphabet(piece)) for text in captions for piece in splitter().findall(text))
    wanted = []
    for _ in range(120):
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        wanted.append(best)
        joined = Counter()
        for word, n in words.items():
            joined[merge(word, best)] += n
        words = joined
    assert BPE.train(captions, 259 + 120, wide=99).merges == wanted


def test_a_frequent_word_is_one_id(bpe):
    assert len(bpe.encode(" poster")) == 1 and len(bpe.encode("海报")) == 1


def test_training_stops_when_nothing_repeats():
    bpe = BPE.train(["ab"], 300)
    assert len(bpe) == 259 and bpe.decode(bpe.encode("ab")) == "ab"


@pytest.mark.parametrize("size", [0, 256, 258])
def test_a_vocabulary_too_small_is_named(size):
    with pytest.raises(ValueError, match=str(size)):
        BPE.train(["a"], size)


def test_specials_in_a_text_are_text(bpe):
    for name in SPECIALS:
        ids = bpe.encode(f"a {name} b")
        assert not set(ids) & set(bpe.specials.values()) and bpe.decode(ids) == f"a {name} b"
        assert bpe.decode([bpe.specials[name]]) == name


def test_lone_surrogates_do_not_crash(bpe):
    assert bpe.decode(bpe.encode("a\ud800b")) == "a?b"


def test_broken_bytes_decode_to_replacement(bpe):
    byte = bpe.vocab[alphabet()[0xE4]]
    assert bpe.decode([byte]) == "\ufffd"


@pytest.mark.parametrize("content", [
    "", "{", "[]", "{}", '{"model": {}}', '{"model": {"vocab": {}, "merges": 3}}', "\x80"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match="tokenizer.json"):
        BPE.load(path)


# ---------------------------------------------------------------- quotes


@pytest.mark.parametrize("prompt, wanted", [
    ("a 'B' c", ["B"]), ("a “B” c", ["B"]), ('a "B" c', ["B"]), ("a 「B」 c", ["B"]),
    ("「一」 then \"TWO\" then 'THREE' then “FOUR”", ["一", "TWO", "THREE", "FOUR"]),
    ("no words", []), ("", []), ('"A""B"', ["A", "B"]),
    ("it's a cat's life", []), ("it's a 'BIG' cat's life", ["BIG"]), ("the cats' 'BED'", ["BED"]),
    ("'tis the cat's bed", []),
    ("'O'CLOCK'", ["O'CLOCK"]), ("'DON'T STOP'", ["DON'T STOP"]), ("\"IT'S\" on a card", ["IT'S"]),
    ("“IT’S” on a card", ["IT’S"]), ("'A' and 'B'", ["A", "B"]), ("写着'你好'的海报", ["你好"]),
    ('"" and "X"', ["X"]), ("'' and 'X'", ["X"]), ("“” and 「」", []),
    ('say "A B, C!"', ["A B, C!"]), ("rock 'n' roll", []), ('an unclosed "quote', []),
    ("a 6' tall man, 5' wide", []), ("“外「内」外”", ["外「内」外"]),
])
def test_quoted(prompt, wanted):
    assert quoted(prompt) == wanted


def test_glyph_ids_are_bytes_and_an_end():
    assert glyph_ids(["HI", "", "你"]) == [[75, 76, 1], [1], [0xE4 + 3, 0xBD + 3, 0xA0 + 3, 1]]


# ---------------------------------------------------------------- quoted texts spelled out

@pytest.fixture(scope="module")
def spelling(bpe):
    return SpellingBPE(bpe.vocab, bpe.merges, bpe.specials)


def raw(bpe, ids):
    """The bytes of the ids, undecoded."""
    return b"".join(bytes(map(alphabet().index, bpe.tokens[i])) for i in ids)


def test_quoted_texts_are_spelled_out_after_their_order_and_width(bpe, spelling):
    prompt = 'A red poster with "Hello", "World!" and “你好”.'
    wanted = [('A red poster with "', 0, 2, 5, "Hello"), ('", "', 1, 1, 6, "World!"), ('" and “', 2, 0, 4, "你好")]
    ids, whole = spelling.encode(prompt), b""
    for before, number, later, width, line in wanted:
        count = len(bpe.encode(before))
        assert ids[:count] == bpe.encode(before)
        spelled, size = ids[count:], len(line.encode())
        assert raw(bpe, spelled[:3]) == bytes((BEFORE[number], AFTER[later], width))
        assert [raw(bpe, [i]) for i in spelled[3:3 + size]] == [bytes([b]) for b in line.encode()]
        ids = spelled[3 + size:]
        whole += (before + line).encode()
    assert whole + raw(bpe, ids) == prompt.encode()


@pytest.mark.parametrize("prompt", ["a cat", "", 'inches 12" wide', "it's", 'an empty "" one', "<sop>1 2<eop>"])
def test_without_a_quotation_it_is_the_plain_bpe(bpe, spelling, prompt):
    assert spelling.encode(prompt) == bpe.encode(prompt)
    assert spelling.encode(prompt, specials=True) == bpe.encode(prompt, specials=True)


def test_its_numbers_are_bytes_that_no_text_has_and_stop_at_the_largest(spelling):
    texts = "".join(known()).encode()
    assert not {*BEFORE, *AFTER, *range(WIDEST + 1)} & {*texts}
    ids = spelling.encode(", ".join(f'"{"W" * 40}"' for _ in range(9)))
    last = raw(spelling, ids).split(b", ")[-1]
    assert last[1:4] == bytes((BEFORE[7], AFTER[0], WIDEST))
    assert raw(spelling, ids)[2] == AFTER[4]


# ---------------------------------------------------------------- the planner's prompt

def shown(bpe, ids, offset, boi):
    assert ids[-1] == boi and min(ids[:-1]) >= offset
    return bpe.decode(i - offset for i in ids[:-1]) + "<boi>"


@pytest.mark.parametrize("prompt", ["a cat", "一只猫 with “你好”", "tricky <sop>1 2<eop>", ""])
def test_prompt_layout(bpe, prompt):
    ids = prompt_ids(bpe, prompt, 4, 3, (18, 13), 300, 256)
    assert shown(bpe, ids, 300, 256) == f"{prompt}<sop>4 3<eop><sop>18 13<eop><boi>"
    assert ids.count(300 + bpe.specials["<sop>"]) == ids.count(300 + bpe.specials["<eop>"]) == 2
    ids = prompt_ids(bpe, prompt, 4, 3, None, 300, 256)
    assert shown(bpe, ids, 300, 256) == f"{prompt}<sop>4 3<eop><boi>"


@pytest.mark.parametrize("grid, wanted", [
    ((32, 32), (16, 16)), ((36, 24), (19, 13)), ((64, 16), (32, 8)), ((16, 16), (16, 16)), ((4, 3), (18, 13))])
def test_preview_grid_of_the_released_model(grid, wanted):
    assert preview_grid(*grid, 256) == wanted
    assert preview_grid(*grid[::-1], 256) == wanted[::-1]


def test_preview_grid_equals_the_published_processor():
    processing = pytest.importorskip("transformers.models.glm_image.processing_glm_image")
    for rows in range(1, 65):
        for columns in range(1, 65):
            shape = processing.GlmImageProcessor._get_target_shape(None, 32 * rows, 32 * columns)
            assert (rows, columns, *preview_grid(rows, columns, 256)) == shape


@pytest.mark.parametrize("tokens", [4, 16, 256])
def test_preview_keeps_the_shape_and_is_never_empty(tokens):
    for rows in range(1, 40):
        for columns in range(1, 40):
            p, q = preview_grid(rows, columns, tokens)
            assert p >= 1 and q >= 1
            assert (p >= q) == (rows >= columns) or p == q
