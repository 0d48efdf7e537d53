"""Scores of a picture: its text as read by OCR, its colours, object and place.

Shapes: H, W height and width of a picture.

Text is scored by two published formulas. CVTG-2K: a word is correct if it is among the words read (word
accuracy), and its best match scores 1 - edit distance / length (NED). LongText-Bench: the fraction of the
characters (Chinese) or words (English) that were read, as multisets (recall). Pictures are flat and the
sprites known, so colours and objects are checked by comparing pixels, without a model.
"""

from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
from PIL import Image

from minglm.images import rgb
from minglm.measure.ocr import Found
from minglm.world.characters import is_han, simplified
from minglm.world.colours import COLOURS
from minglm.world.find import Box, background, find_objects, nearest_colour
from minglm.world.layout import CELL
from minglm.world.posters import Poster, Region
from minglm.world.prompts import Prompt

SURE = 0.9                                   # OCR confidence from which an unrequested text counts as extra
# Characters that look the same in a font cannot be told apart. Latin without case: a capital I looks like l.
LATIN_TWINS = str.maketrans({"0": "o", "i": "l", "1": "l", "|": "l"})
CASE_TWINS = str.maketrans({"0": "O", "o": "O", "l": "I", "1": "I", "|": "I"})
HAN_TWINS = str.maketrans(
    {"カ": "力", "ロ": "口", "ニ": "二", "エ": "工", "ハ": "八", "タ": "夕", "曰": "日", "黒": "黑"}
)  # and traditional as simplified: the reader prefers one or the other


# ---------------------------------------------------------------- scores of text


def canon(text: str, latin: bool, case: bool = False) -> str:
    """Letters, digits and Han only, look-alikes of the target's script merged, without case unless `case`."""
    text = unicodedata.normalize("NFKC", text)
    if case:
        text = text.translate(CASE_TWINS)
    else:
        text = text.casefold().translate(LATIN_TWINS if latin else HAN_TWINS)
    text = text if latin else "".join(simplified().get(c, c) for c in text)
    return "".join(c for c in text if c.isalnum())


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance: the insertions, deletions and substitutions that turn `a` into `b`."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def similarity(target: str, text: str) -> float:
    """1 - edit distance / length of the longer, after `canon`: 1 if both are then equal, and 0 if nothing is
    left of either, as of marks alone."""
    latin = not is_han(target)
    a, b = canon(target, latin), canon(text, latin)
    longer = max(len(a), len(b))
    return 1 - edit_distance(a, b) / longer if longer else 0.0


def is_part(line: str, target: str) -> bool:
    """Whether a line is one of several in which a text is written: two or more of its letters, in order."""
    part = canon(line, not is_han(target))
    return len(part) > 1 and part in canon(target, not is_han(target))


def words_of(text: str) -> list[str]:
    """The words of a text. Marks that stand alone, such as &, are left out: `canon` leaves nothing of them to
    compare."""
    words = text.split()
    return [word for word in words if canon(word, not is_han(word))] or words


def score_text(targets: list[str], found: list[Found]) -> dict:
    """CVTG-2K's and LongText-Bench's counts for one picture.

    targets: the quoted texts. Returns lists over their words (`right`, 0 or 1; `ned`; and, of Latin words
    only, `cased`: right with every capital), the recall counts (`kept` of `asked`), and `extra`: whether a
    line read with confidence resembles no target.
    """
    lines = [f.text for f in found]
    # a word may be read as a line of its own or within one
    read = lines + [word for line in lines for word in line.split()]
    words = [word for target in targets for word in words_of(target)]
    joined = canon("".join(lines), False)    # a Chinese text may go on in the next line
    best = [1.0 if is_han(word) and canon(word, False) in joined else
            max((similarity(word, text) for text in read), default=0.0) for word in words]
    cased = {canon(text, True, case=True) for text in read}

    def bag(texts: list[str]) -> Counter:
        """Words of Latin text, characters of Chinese text."""
        parts = [part for text in texts for part in text.split()]
        return Counter(unit for part in parts
                       for unit in (list(canon(part, False)) if is_han(part) else [canon(part, True)]))

    asked, got = bag(targets), bag(lines)
    kept = sum((asked & got).values())
    extra = any(f.score >= SURE and not any(similarity(t, f.text) >= 0.5 for t in (*targets, *words))
                and not any(is_part(f.text, t) for t in targets) for f in found)
    return dict(
        right=[float(b == 1) for b in best],
        ned=best,
        kept=kept,
        asked=sum(asked.values()),
        extra=extra,
        cased=[float(canon(word, True, case=True) in cased) for word in words if not is_han(word)],
    )


# ---------------------------------------------------------------- checks of the picture

def ink(pixels: np.ndarray, ground: str, box: Box) -> str:
    """The colour of what is written in a box: that of the tenth of its pixels that differs most."""
    x0, y0, x1, y1 = (int(v) for v in box)
    margin = max(0, y1 - y0 - CELL // 2) // 4  # a box around letters may reach into the next line
    part = pixels[max(0, y0 + margin):y1 + 1 - margin, max(0, x0):x1 + 1].reshape(-1, 3)
    distance = np.square(part - COLOURS[ground][0]).sum(-1)
    return nearest_colour(np.median(part[distance >= np.quantile(distance, 0.9)], 0))


def lines_of(region: Region, found: list[Found], height: int, width: int) -> list[Found]:
    """The lines read that show a text or parts of it.

    Of lines that show the same, those that stand where the text was asked for: it may be there twice.
    """
    latin = not is_han(region.text)
    whole = canon(region.text, latin)

    def part(one: Found) -> bool:
        line = canon(one.text, latin)
        return bool(line) and (line in whole or whole in line or similarity(region.text, one.text) >= 0.6)

    mine = [one for one in found if canon(one.text, latin) == whole] or [one for one in found if part(one)]
    same = [canon(one.text, latin) for one in mine]
    there = [one for one in mine if region.slot and stands(region.slot, one.box, height, width)]
    return there if there and len(set(same)) < len(same) else mine


def stands(slot: str, box: Box, height: int, width: int) -> bool:
    """Whether a box stands where it was asked for: its centre is on that side of the picture's."""
    x, y = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height
    return dict(top=y < 0.5, bottom=y > 0.5, left=x < 0.5, right=x > 0.5, centre=abs(x - 0.5) < 0.2)[slot]


def drawn_at(poster: Poster | None, region: Region, box: Box) -> bool:
    """Whether a box is where the poster that a prompt was made from has this text: of several at the bottom
    the first may stand above the middle."""
    lines = [letters for owner, _, letters in poster.lines if owner == region] if poster else []
    if not lines:
        return False
    there = bounds([(line[0].x, line[0].y, line[-1].x + line[-1].width, line[0].y + CELL) for line in lines])
    return all(abs(box[i] + box[i + 2] - there[i] - there[i + 2]) < 2 * CELL for i in (0, 1))


def bounds(boxes: list[Box]) -> Box:
    """The smallest box around some."""
    x0, y0, x1, y1 = zip(*boxes)
    return min(x0), min(y0), max(x1), max(y1)


def check_picture(image: Image.Image, found: list[Found], asked: Prompt) -> dict:
    """What is right in a picture apart from spelling, as far as it was asked for: background, objects with
    their numbers, the place of the objects, places and colours of the texts. Lists hold one value for each
    thing that was asked for, so nothing counts that was left open."""
    pixels, ground = np.asarray(rgb(image), dtype=np.float32), background(image)
    height, width = pixels.shape[:2]
    # an object may be read as a letter, so only what was asked for is taken for text
    lines = [lines_of(region, found, height, width) for region in asked.regions]
    texts = [one.box for some in lines for one in some]
    objects = find_objects(image, texts)
    counts = Counter(name for name, _ in objects)
    wanted = Counter({group.thing: group.count for group in asked.groups})
    where = bounds([box for _, box in objects]) if objects else None
    colours, places = [], []
    for region, mine in zip(asked.regions, lines):
        if region.colour:
            colours.append(bool(mine) and all(ink(pixels, ground, one.box) == region.colour for one in mine))
        if region.slot:
            box = bounds([one.box for one in mine]) if mine else None
            places.append(bool(box) and (
                stands(region.slot, box, height, width) or drawn_at(asked.poster, region, box)))
    return dict(
        background=[ground == asked.background] if asked.background else [],
        object=[set(wanted) <= set(counts)] if wanted else [],
        count=[wanted == counts] if wanted else [],
        place=[bool(where) and stands(asked.place, where, height, width)] if asked.place and wanted else [],
        text_colour=colours,
        text_place=places,
        # of texts in two colours: whether neither has its own
        mixed_up=[colours == [False, False]] if len({r.colour for r in asked.regions}) == 2 else [],
    )
