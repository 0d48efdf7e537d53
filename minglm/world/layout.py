"""The layout of a poster: slots for text, squares for the object, and letters in their cells. Units: pixels.

Everything is aligned to a grid of 32-pixel cells (one planner id each), and characters to a fixed pitch: 16
pixels for Latin capitals, 32 for Chinese, less only where a slot is too narrow. So what a piece of the
picture shows is nearly a function of (word, slot), which is what makes it learnable on a laptop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from minglm.files import DATA

CELL = 32
LATIN_PITCH, HAN_PITCH = 16, 32
LATIN_FONT, HAN_FONT = 26 / 16, 28 / 32      # font size per pixel of pitch
SMALLEST_FONT = 16


@dataclass(frozen=True)
class Letter:
    """One drawn character and its cell, in pixels."""

    character: str
    x: float
    y: float
    width: float
    height: float


def slot_box(slot: str, height: int, width: int) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of a text slot: a row at the full width, or two cells beside the object."""
    middle = height // 2 - CELL // 2
    return {"top": (0, 0, width, CELL), "bottom": (0, height - CELL, width, height),
            "left": (0, middle, 2 * CELL, middle + CELL),
            "right": (width - 2 * CELL, middle, width, middle + CELL)}[slot]


def object_box(place: str, height: int, width: int) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of the square that holds the object."""
    free = height // 2 if place in ("top", "bottom") else height - 2 * CELL
    side = min(2 * CELL, width // 2, free)
    x = {"left": 0, "right": width - side}.get(place, (width - side) // 2)
    y = {"top": 0, "bottom": height - side}.get(place, (height - side) // 2)
    return x, y, x + side, y + side


def is_han(text: str) -> bool:
    """Whether a text is set at the wide pitch: it contains a Chinese character."""
    return any("\u4e00" <= c <= "\u9fff" for c in text)


def pitch(text: str, room: int) -> float:
    """The pixels from one character of `text` to the next in a slot `room` pixels wide."""
    return min(HAN_PITCH if is_han(text) else LATIN_PITCH, room / max(1, len(text)))


def fits(text: str, room: int) -> bool:
    """Whether `text` can be set in `room` pixels at no less than the smallest font size."""
    return pitch(text, room) * (HAN_FONT if is_han(text) else LATIN_FONT) >= SMALLEST_FONT - 0.01


def set_text(text: str, box: tuple[int, int, int, int]) -> list[Letter]:
    """Centre `text`, in capitals, in a slot.

    At full pitch an odd number of letters starts half a letter left of the exact centre, so that letters are
    aligned to the 16-pixel grid of the decoder's tokens.
    """
    x0, y0, x1, y1 = box
    step = pitch(text, x1 - x0)
    start = (x0 + x1) / 2 - step * len(text) / 2
    if step == LATIN_PITCH:
        start -= start % LATIN_PITCH
    return [Letter(c, start + i * step, y0, step, y1 - y0) for i, c in enumerate(text.upper())]


@cache
def glyph(character: str, step: float, wide: bool) -> tuple[Image.Image, int, int]:
    """(mask, dx, dy): a character's raster and its offset in a cell `step` wide and 32 high."""
    name = "MiniGLMSansSC-Bold.ttf" if wide else "MiniGLMMono-Bold.ttf"
    size = round(step * (HAN_FONT if wide else LATIN_FONT))
    font = ImageFont.truetype(DATA / "fonts" / name, size, layout_engine=ImageFont.Layout.BASIC)
    x0, y0, x1, y1 = font.getbbox(character)
    mask = Image.new("L", (max(1, x1 - x0), max(1, y1 - y0)))
    ImageDraw.Draw(mask).text((-x0, -y0), character, fill=255, font=font)
    # centre the ink of Chinese characters, but keep Latin capitals on one baseline
    _, top, _, bottom = font.getbbox(character if wide else "H")
    return mask, round((step - mask.width) / 2), round((CELL - (bottom - top)) / 2 - top + y0)
