"""Setting text: a text is broken into lines, and each line's letters get their cells. Units: pixels.

A line is 32 pixels high, as tall as the picture of one planner id. Narrow characters are 16 pixels wide and
wide ones 32, less only where a single word is a little too long for its line. So what a piece of the picture
shows is nearly a function of (line, place), which is what makes it learnable on a laptop. Training, prompts
and the pipeline all break lines with `wrap`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from math import ceil

from PIL import Image, ImageDraw, ImageFont

from minglm.files import DATA
from minglm.world.characters import columns, is_wide

CELL = 32                                    # pixels per planner id and side; the height of a line
PITCH = 16                                   # pixels per narrow character
TIGHT = 0.8                                  # the smallest pitch, as a share of the full one
FONT = {False: 26 / 16, True: 28 / 32}       # font size per pixel of pitch: narrow, wide
NEVER_FIRST = "，。！？：；、）》】」』”’…—·～,.!?:;)]}%°"
NEVER_LAST = "（《【「『“‘([{￥$£€¥#@"


@dataclass(frozen=True)
class Letter:
    """One drawn character and its cell, in pixels."""

    character: str
    wide: bool
    x: float
    y: float
    width: float


def measure(line: str, text: str | None = None) -> int:
    """The width of a line at full pitch; `text` is what the line is a part of."""
    return PITCH * columns(line, text)


# ---------------------------------------------------------------- breaking lines

def pieces(text: str) -> list[str]:
    """What may stand alone in a line: a word with the space before it, or a wide character with its marks."""
    found: list[str] = []
    for part in re.findall(r" *[^ ]+", text):
        piece = ""
        for c in part:
            # between two characters of which one is wide there may be a break, unless a mark forbids it
            open_ = piece.strip() and (is_wide(c, text) or is_wide(piece[-1], text))
            if open_ and c not in NEVER_FIRST and piece[-1] not in NEVER_LAST:
                found.append(piece)
                piece = ""
            piece += c
        found.append(piece)
    return found


def fill(parts: list[str], text: str, room: int, most: int) -> list[str]:
    """Lines of at most `room` pixels at full pitch, each filled before the next is begun; a piece that is
    wider has a line for itself, and is divided if it is wider than `most`, too."""
    lines: list[str] = []
    for part in parts:
        if lines and measure(lines[-1] + part, text) <= room:
            lines[-1] += part
            continue
        part = part.lstrip()
        while len(part) > 1 and measure(part, text) > most:
            count = next(n for n in range(len(part) - 1, 0, -1) if n == 1 or measure(part[:n], text) <= room)
            lines.append(part[:count])
            part = part[count:]
        lines.append(part)
    return lines


@lru_cache(maxsize=4096)
def wrap(text: str, room: int) -> tuple[str, ...]:
    """The lines of a text in `room` pixels: as few as possible, then as equal in length as possible.

    A word that is too long for a line is set up to a fifth tighter before it is divided. A line break in the
    text is kept.
    """
    found: list[str] = []
    for paragraph in text.split("\n"):
        parts, most = pieces(paragraph), int(room / TIGHT)
        lines = fill(parts, paragraph, room, most)
        widths = [measure(part.strip(), paragraph) for part in parts]
        least = max((width for width in widths if width <= room), default=room)
        for narrower in range(room // PITCH * PITCH, least - 1, -PITCH):
            even = fill(parts, paragraph, narrower, most)
            if len(even) > len(lines):
                break
            lines = even
        found += lines
    return tuple(found)


def tight(text: str, room: int) -> bool:
    """Whether a word is too long for lines of `room` pixels at full pitch."""
    return any(measure(part.strip(), text) > room for part in pieces(text.replace("\n", " ")))


def divided(text: str, room: int) -> bool:
    """Whether a word has to be divided to fit lines of `room` pixels."""
    return tight(text, int(room / TIGHT))


# ---------------------------------------------------------------- placing letters

def set_line(line: str, x0: float, x1: float, y: float) -> list[Letter]:
    """The letters of one line, centred between x0 and x1.

    At full pitch letters stand on the 16-pixel grid of the decoder's tokens, so a line with an odd number of
    narrow characters starts half a letter left of the exact centre.
    """
    width = measure(line)
    scale = min(1.0, (x1 - x0) / max(1, width))
    x = (x0 + x1) / 2 - scale * width / 2
    if scale == 1.0:
        x -= (x - x0) % PITCH
    letters = []
    for c in line:
        wide = is_wide(c, line)
        step = scale * PITCH * (1 + wide)
        letters.append(Letter(c, wide, x, y, step))
        x += step
    return letters


def line_box(letters: list[Letter]) -> tuple[int, int, int, int]:
    """The box of a line that is set: x0, y0, x1, y1."""
    first, last = letters[0], letters[-1]
    return int(first.x), int(first.y), ceil(last.x + last.width), int(first.y) + CELL


@cache
def font(wide: bool, size: int) -> ImageFont.FreeTypeFont:
    """The font of wide or of narrow characters."""
    name = "MiniGLMSansSC-Bold.ttf" if wide else "MiniGLMMono-Bold.ttf"
    return ImageFont.truetype(DATA / "fonts" / name, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=16384)
def glyph(character: str, step: float, wide: bool) -> tuple[Image.Image, int, int]:
    """(mask, dx, dy): a character's raster and its offset in a cell `step` wide and 32 high."""
    face = font(wide, round(step * FONT[wide]))
    x0, y0, x1, y1 = face.getbbox(character)
    mask = Image.new("L", (max(1, x1 - x0), max(1, y1 - y0)))
    ImageDraw.Draw(mask).text((-x0, -y0), character, fill=255, font=face)
    # a character stays where the font has it in its cell: letters on one baseline, marks where they belong
    _, top, _, bottom = face.getbbox("国" if wide else "H")
    return mask, round((step - face.getlength(character)) / 2 + x0), round((CELL - bottom - top) / 2 + y0)
