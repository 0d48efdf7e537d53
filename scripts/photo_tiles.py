"""Photographs cut into tiles, with captions: a folder to fine-tune on that has nothing of a poster.

    python scripts/photo_tiles.py tiles                          # those that scikit-image or matplotlib bring along
    python scripts/photo_tiles.py tiles "a beach=beach.jpg" ...  # your own

Each photograph becomes nine square tiles, and each caption says of what and from where: "A photograph of a cat,
top left." scikit-image is no dependency of minglm; without it there is one photograph, of matplotlib's.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from matplotlib.cbook import get_sample_data
from PIL import Image, ImageOps

from minglm.images import open_image, save_image
from minglm.world.folder import CAPTIONS

TILE, ROWS, COLUMNS = 128, ("top", "middle", "bottom"), ("left", "centre", "right")
SCIKIT = {"astronaut": "an astronaut", "coffee": "a cup of coffee", "chelsea": "a cat", "rocket": "a rocket"}


def photographs(arguments: list[str]) -> dict[str, Image.Image]:
    """What is shown -> the photograph."""
    if arguments:
        pairs = [argument.rpartition("=") for argument in arguments]
        return {what or Path(file).stem: open_image(file) for what, _, file in pairs}
    if find_spec("skimage"):
        from skimage import data

        return {what: Image.fromarray(getattr(data, name)()) for name, what in SCIKIT.items()}
    with get_sample_data("grace_hopper.jpg") as file:
        return {"an admiral": open_image(Image.open(file))}


def main(folder: Path, arguments: list[str]) -> None:
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    rows = []
    for what, photograph in photographs(arguments).items():
        whole = ImageOps.fit(photograph, (len(COLUMNS) * TILE, len(ROWS) * TILE))
        for y, row in enumerate(ROWS):
            for x, column in enumerate(COLUMNS):
                name = f"{len(rows) + 1:02d}.png"
                save_image(whole.crop((x * TILE, y * TILE, (x + 1) * TILE, (y + 1) * TILE)), folder / name)
                rows.append(json.dumps(dict(file=name, caption=f"A photograph of {what}, {row} {column}."),
                                       ensure_ascii=False))
    (folder / CAPTIONS).write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python scripts/photo_tiles.py FOLDER [WHAT=PICTURE ...]")
    main(Path(sys.argv[1]), sys.argv[2:])
