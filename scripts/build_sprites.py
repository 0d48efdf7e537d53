"""Rebuild data/sprites.png from the pictures of npm's emoji-datasource-google 16.0.0.

    npm pack emoji-datasource-google@16.0.0 && tar xzf emoji-datasource-google-16.0.0.tgz
    python scripts/build_sprites.py package/img/google/64

The pictures are Noto Emoji, (c) Google, Apache-2.0. Order and names come from data/names.json.
"""

import json
import sys
from pathlib import Path

from PIL import Image

DATA = Path(__file__).parents[1] / "data"
SIDE, COLUMNS = 64, 12


def build(folder: Path) -> Image.Image:
    """All objects on one transparent sheet. Raises FileNotFoundError naming a missing picture."""
    rows = json.loads((DATA / "names.json").read_text(encoding="utf-8"))
    sheet = Image.new("RGBA", (COLUMNS * SIDE, -(-len(rows) // COLUMNS) * SIDE))
    for i, row in enumerate(rows):
        code = f"{ord(row['emoji'][0]):x}"
        path = folder / f"{code}.png"
        with Image.open(path if path.exists() else folder / f"{code}-fe0f.png") as picture:
            sheet.paste(picture.convert("RGBA").resize((SIDE, SIDE)), (SIDE * (i % COLUMNS), SIDE * (i // COLUMNS)))
    return sheet


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build(Path(sys.argv[1])).save(DATA / "sprites.png", optimize=True)
