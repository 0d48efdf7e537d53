"""Styles of a whole picture: what "as a line drawing", "as pixel art" and "with inverted colours" mean here.

Each is a function of the picture, so what a restyled poster has to look like is known to the pixel.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

STYLES = ("outline", "pixel art", "inverted")
COARSE, FINE = 4, 2                          # pixels a side of a block of pixel art: objects, letters
Box = tuple[int, int, int, int]


def restyle(image: Image.Image, style: str, objects: list[Box]) -> Image.Image:
    """An RGB picture in a style, or as it is if the style is ""; objects: where they stand.

    Raises ValueError for an unknown style.
    """
    if style == "":
        return image
    if style == "outline":
        return outline(image)
    if style == "pixel art":
        return pixel_art(image, objects)
    if style == "inverted":
        return ImageOps.invert(image)
    raise ValueError(f"unknown style {style!r}: choose one of {', '.join(STYLES)}")


def outline(image: Image.Image) -> Image.Image:
    """Black lines on white where neighbouring pixels differ, the darker the more they do."""
    pixels = np.pad(np.asarray(image, dtype=np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    down, across = pixels[2:, 1:-1] - pixels[:-2, 1:-1], pixels[1:-1, 2:] - pixels[1:-1, :-2]
    strength = np.sqrt(np.square(down) + np.square(across)).max(-1)              # of the clearest channel
    return Image.fromarray((255 - np.clip(1.6 * strength, 0, 255)).astype(np.uint8)).convert("RGB")


def pixel_art(image: Image.Image, objects: list[Box]) -> Image.Image:
    """Square blocks, large ones where objects stand; letters would be illegible in these."""
    fine = blocks(image, FINE)
    for box in objects:
        fine.paste(blocks(image.crop(box), COARSE), box)
    return fine


def blocks(image: Image.Image, side: int) -> Image.Image:
    """A picture of squares of one colour each."""
    small = image.resize((image.width // side, image.height // side), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.NEAREST)
