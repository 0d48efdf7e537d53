"""What a poster is: a flat background, up to three objects, texts in lines, and its picture. Units: pixels.

draw.py chooses what stands on a poster; here is where it goes. Texts fill rows of cells from the top and from
the bottom; the objects stand in a row of squares in what is left, and short texts may stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from PIL import Image

from minglm.world.characters import explain, han_characters, simplified, tidy, unknown_characters
from minglm.world.colours import COLOURS
from minglm.world.layout import CELL, Letter, glyph, measure, set_line, tight, wrap
from minglm.world.objects import sprite

PLACES = {"left": "左边", "right": "右边", "centre": "中间", "top": "顶部", "bottom": "底部"}
SLOTS = ("top", "left", "centre", "right", "bottom")  # of texts, in reading order
SIZES = ("small", "normal", "big")           # of objects: one cell, two cells, as large as fits
PITCH_Y = CELL // 2                          # rows of tokens, on which blocks of text stand
LARGEST = 4 * CELL                           # side of an object
MOST_LINES, MOST_THINGS = 8, 3
CANVASES = ((128, 128), (128, 192), (192, 128), (192, 192), (192, 256), (256, 192), (256, 256))  # by area


@dataclass(frozen=True)
class Region:
    """One quoted text: its slot, the text as written in the caption, and its colour name."""

    slot: str
    text: str
    colour: str


@dataclass(frozen=True)
class Group:
    """Objects of one kind: the English name, and how many."""

    thing: str
    count: int = 1


Box = tuple[int, int, int, int]              # x0, y0, x1, y1


@dataclass
class Poster:
    """What a poster shows, its caption, and its picture, rendered on first use."""

    background: str
    groups: tuple[Group, ...]                # kinds of objects, from left to right; may be none
    place: str                               # of the objects
    regions: tuple[Region, ...]              # in reading order
    height: int = 128
    width: int = 128
    size: str = "normal"                     # of the objects
    caption: str = ""
    language: str = "en"

    @cached_property
    def image(self) -> Image.Image:
        """The picture, RGB, (height, width)."""
        image = Image.new("RGB", (self.width, self.height), COLOURS[self.background][0])
        for name, (x0, y0, x1, _) in self.boxes:
            picture = self.look_of(name, x1 - x0 - 4)                            # a margin of two pixels
            image.paste(picture, (x0 + 2, y0 + 2), picture)
        for region, _, letters in self.lines:
            for letter in letters:
                mask, dx, dy = glyph(letter.character, letter.width, letter.wide)
                image.paste(COLOURS[region.colour][0], (round(letter.x + dx), round(letter.y + dy)), mask)
        return image

    def look_of(self, name: str, side: int) -> Image.Image:
        """An object as it looks on this poster, RGBA, `side` pixels square. (scenes.py has other looks.)"""
        return sprite(name, side)

    @cached_property
    def lines(self) -> list[tuple[Region, str, list[Letter]]]:
        """Every line of text with its region and its letters, in reading order."""
        found = []
        for region, line, (x0, y, x1, _) in arrange(self)[1]:
            found.append((region, line, set_line(line, x0, x1, y)))
        return found

    @cached_property
    def boxes(self) -> list[tuple[str, Box]]:
        """Every object with its square, from left to right."""
        return arrange(self)[0]

    @property
    def strings(self) -> list[str]:
        """The lines as the glyph encoder reads them."""
        return [line for _, line, _ in self.lines]

    def without_texts(self) -> Poster:
        return replace(self, regions=())


def arrange(poster: Poster) -> tuple[list[tuple[str, Box]], list[tuple[Region, str, Box]]]:
    """(objects with their squares, lines with their boxes). Raises ValueError if there is no room."""
    height, width, place = poster.height, poster.width, poster.place
    blocks: dict[str, list[tuple[Region, str]]] = {slot: [] for slot in SLOTS}
    for region in poster.regions:
        blocks[region.slot] += [(region, line) for line in wrap(region.text, width)]
    # rows from the top and from the bottom; the objects have what is between
    lines = [(*line, (0, CELL * i, width, CELL * (i + 1))) for i, line in enumerate(blocks["top"])]
    top, bottom = CELL * len(blocks["top"]), height - CELL * len(blocks["bottom"])
    names = [group.thing for group in poster.groups for _ in range(group.count)]
    side = object_side(len(names), poster.size, bottom - top, width)
    x = {"left": 0, "right": width - side * len(names)}.get(place, (width - side * len(names)) // 2)
    y = {"top": top, "bottom": bottom - side}.get(place, min(max((height - side) // 2, top), bottom - side))
    boxes = [(name, (x + i * side, y, x + (i + 1) * side, y + side)) for i, name in enumerate(names)]
    # a block beside the objects, or in the middle where there are none, is centred like them
    beside = {"left": (0, x), "right": (x + side * len(names), width), "centre": (0, width)}
    for slot, (x0, x1) in beside.items():
        block = blocks[slot]
        begin = min(
            max((height - CELL * len(block)) // 2 // PITCH_Y * PITCH_Y, top), bottom - CELL * len(block)
        )
        lines += [(*line, (x0, begin + CELL * i, x1, begin + CELL * (i + 1))) for i, line in enumerate(block)]
        if begin < top or any(
            measure(line, region.text) > x1 - x0 for region, line in block if slot != "centre"
        ):
            raise ValueError(f"no room for {block[0][0].text!r} beside the objects" if block else "no room")
    lines += [(*line, (0, bottom + CELL * i, width, bottom + CELL * (i + 1)))
              for i, line in enumerate(blocks["bottom"])]
    if blocks["centre"] and names or side > bottom - top or top > bottom:
        raise ValueError(f"the objects and {len(lines)} lines of text do not fit {height}x{width}")
    return boxes, lines


def object_side(count: int, size: str, height: int, width: int) -> int:
    """The side of each of `count` objects in a row: a multiple of 32, 0 if there are none."""
    if not count:
        return 0
    most = min(height, width // count, LARGEST) // CELL * CELL
    return max(CELL, {"small": CELL, "normal": min(2 * CELL, most)}.get(size, most))


# ---------------------------------------------------------------- what can be painted

def fits(texts: list[str], count: int, height: int, width: int, size: str = "normal") -> bool:
    """Whether texts and `count` objects have room: no word tight or divided, no object smaller than usual."""
    rows = sum(len(wrap(text, width)) for text in texts)
    side = 0 if not count else CELL if size == "small" else 2 * CELL
    return (not any(tight(text, width) for text in texts) and rows <= MOST_LINES
            and CELL * rows + side <= height and side * count <= width)


def canvas(texts: list[str], count: int, size: str = "normal") -> tuple[int, int]:
    """The smallest (height, width) in which texts and objects fit; the largest if they fit none."""
    return next((one for one in CANVASES if fits(texts, count, *one, size)), CANVASES[-1])


def validate_texts(texts: list[str], height: int, width: int) -> list[str]:
    """The texts as they are drawn. Raises ValueError if they cannot be written on a poster of this size."""
    texts = [tidy(text) for text in texts]
    for text in texts:
        if strange := unknown_characters(text):
            modern = "".join(simplified().get(c, c) for c in text)               # a whole text can be pasted
            raise ValueError(
                f"cannot write {', '.join(map(explain, strange))} in {text!r}: known are letters, digits "
                f"and marks of ASCII, é and the like, Chinese marks, and {len(han_characters()):,} common "
                "Chinese characters (data/words/zh_characters.txt and zh_more.txt)"
                + ("" if unknown_characters(modern) else f"; in simplified characters: {modern}")
            )
    lines, most = sum(len(wrap(text, width)) for text in texts), min(MOST_LINES, height // CELL)
    if lines > most:
        raise ValueError(f"{' / '.join(texts)!r} needs {lines} lines at a width of {width} pixels: "
                         f"a height of {height} has room for {most}")
    return texts
