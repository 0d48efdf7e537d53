"""Picture files to arrays and back; orientation, bit depth and transparency are handled here, once.

Shapes: B pictures · H, W height and width.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from minglm.files import whole_file

DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")     # Pillow's modes of more than 8 bits
ORIENTATION = 0x0112                         # the EXIF tag for how the camera was held


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """A picture file, to read from. Raises ValueError naming a file that cannot be read."""
    try:
        with Image.open(path) as file:
            yield file
    except FileNotFoundError:
        raise ValueError(f"no image file {str(path)!r}") from None
    except Exception as error:               # Pillow raises nearly any kind for broken and for huge files
        raise ValueError(f"{str(path)!r} is not an image that can be read: {error}") from None


def open_image(image: str | Path | Image.Image) -> Image.Image:
    """A picture as RGB, fully read and upright. Raises ValueError naming a file that cannot be read."""
    if isinstance(image, Image.Image):
        return rgb(image)
    with opened(image) as file:
        return rgb(file).copy()              # a picture of its own, for the file is closed afterwards


def rgb(image: Image.Image) -> Image.Image:
    """A picture as 8-bit RGB: upright, 16-bit and floating-point values rescaled, transparency on white.

    Raises ValueError for values whose range is not known.
    """
    if image.mode == "RGB" and not image.info:
        return image
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        image = eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 or 32 bits, or of floats in 0..1, as 8 bits. Raises ValueError if out of range."""
    values = np.asarray(image).astype(np.float64)
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    full = 1.0 if image.mode == "F" else 65535.0
    if not (0 <= least and most <= full):                # also where a value is not a number
        raise ValueError(f"grey values from {least:g} to {most:g}: from 0 to {full:g} are needed")
    return Image.fromarray((values * (255 / full)).round().astype(np.uint8))


def to_tensor(images: list[Image.Image]) -> Tensor:
    """Pictures of one size -> (B, 3, H, W) in [-1, 1]. Raises ValueError if their sizes differ."""
    images = [rgb(image) for image in images]
    if len({image.size for image in images}) != 1:
        sizes = ", ".join(sorted({f"{image.height}x{image.width}" for image in images})) or "none"
        raise ValueError(f"pictures of one size are needed, these are {sizes}")
    arrays = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(x: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [-1, 1] -> pictures."""
    arrays = ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def image_kind(path: Path) -> str:
    """The image format a file's name asks for. Raises ValueError if Pillow cannot write it."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    try:                                     # some formats are known but need a plugin, or hold no colours
        Image.new("RGB", (32, 32)).save(BytesIO(), format=kind or "none")
    except Exception:                        # KeyError, OSError, ...: each format has its own
        raise ValueError(f"cannot write {path}: use a name that ends in .png or .jpg") from None
    return kind


def save_image(image: Image.Image, path: Path) -> None:
    """Write a picture whole or not at all; the format follows the name."""
    kind = image_kind(path)
    with whole_file(path) as temporary:
        image.save(temporary, format=kind)


def with_palette(png: str | bytes, colours: int = 128) -> str | bytes:
    """A PNG, or one in base64, with a palette: of a chart a third of the size, and no other to the eye."""
    raw = b64decode(png) if isinstance(png, str) else png
    out = BytesIO()
    image = Image.open(BytesIO(raw)).convert("RGB")
    image = image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    image.save(out, "png", optimize=True)
    return b64encode(out.getvalue()).decode() if isinstance(png, str) else out.getvalue()
