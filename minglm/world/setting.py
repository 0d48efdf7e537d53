"""What a poster is painted on, as far as a prompt tells: its format, its size, the colours of its scene."""

from __future__ import annotations

import re

from minglm.world.draw import LARGEST_SIDE
from minglm.world.layout import CELL

SHAPES = {
    "portrait": r"竖版|竖幅|竖构图|竖屏|竖图|纵向|(in )?portrait (format|orientation|mode|layout|poster|card)"
                r"|in portrait\b",
    "landscape": r"横版|横构图|横屏|横图|横向|(in )?landscape (format|orientation|mode|layout|poster|card)"
                 r"|in landscape\b",
    "square": r"正方形|方形的?(海报|卡片|图|贺卡)|square (format|poster|card|picture|image)",
}
PIXELS = re.compile(r"(?<![\d.])(\d{2,4}) ?(?:px|像素)? ?[x×X*] ?(\d{2,4})(?![\d.])")    # width x height
SCENES = {
    ("green",): r"草地|草坪|(on|in) the (green )?(grass|lawn|meadow)\b",
    ("black", "blue"): r"夜空|夜晚|夜里|深夜|黑夜|星空|\bnight sky\b|\bat night\b",
    ("white",): r"雪地|(in|on) the snow\b|白板",
    ("black",): r"黑板(?!报)|\b(chalk|black)board\b",
    ("blue",): r"大海|海上|海面|海底|天空|蓝天|天上|\b(in|across|on|under) the (sky|sea|ocean)\b|\bat sea\b",
}
NOT = re.compile(r"(不要|没有|不是|别|无)(画|有|用)?$|\b(no|not|without)( \w+)?\s*$", re.IGNORECASE)
# where something stands: no wave and no snowflake are asked for
GROUND = re.compile("雪地|(大海|海洋)[上里中]")


def format_(prompt: str) -> tuple[str | None, tuple[int, int] | None, str | None]:
    """(portrait, landscape, square or None, the (height, width) told, the size told that cannot be)."""
    shape = next((name for name, words in SHAPES.items() if re.search(words, prompt, re.IGNORECASE)), None)
    if not (told := PIXELS.search(prompt)):
        return shape, None, None
    width, height = int(told[1]), int(told[2])
    if all(3 * CELL <= side <= LARGEST_SIDE and side % CELL == 0 for side in (height, width)):
        return shape, (height, width), None
    return shape_of(height, width), None, f"{width}x{height}"


def shape_of(height: int, width: int) -> str:
    return "portrait" if height > width else "landscape" if width > height else "square"


def scene(prompt: str) -> tuple[str, ...]:
    """The colours that the scene of a prompt may have: green on grass; none if it tells of no scene."""
    found = [(told.start(), colours) for colours, words in SCENES.items()
             for told in re.finditer(words, prompt, re.IGNORECASE) if not NOT.search(prompt[:told.start()])]
    return min(found)[1] if found else ()
