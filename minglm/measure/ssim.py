"""SSIM: how alike two pictures are in structure, pixel by pixel (Wang, Bovik, Sheikh and Simoncelli, 2004).

Around each pixel a Gaussian window compares mean, spread and correlation; 1 where both pictures are the same.

Shapes: H, W pixels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from minglm.images import rgb

SIGMA, RADIUS = 1.5, 5                       # of the window, 11 pixels a side
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2    # keep the quotient from trembling where a picture is flat
LUMA = (0.299, 0.587, 0.114)


def luma(image: Image.Image | np.ndarray) -> np.ndarray:
    """(H, W) brightness in 0..255 of a picture, or of RGB values (H, W, 3)."""
    pixels = np.asarray(rgb(image) if isinstance(image, Image.Image) else image, dtype=np.float64)
    return pixels @ np.array(LUMA)


def blur(values: np.ndarray) -> np.ndarray:
    """The mean around each pixel (H, W), weighed by the window; at the edges the picture is mirrored."""
    window = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    window /= window.sum()
    for axis in (0, 1):                      # the window is a product, so rows first, then columns
        pad = [(RADIUS, RADIUS) if one == axis else (0, 0) for one in (0, 1)]
        padded, length = np.pad(values, pad, mode="symmetric"), values.shape[axis]
        values = sum(weight * np.take(padded, range(i, i + length), axis) for i, weight in enumerate(window))
    return values


def ssim_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W): the SSIM of two brightness pictures (H, W) at each pixel, at most 1."""
    mx, my = blur(x), blur(y)
    xx, yy, xy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    return (2 * mx * my + C1) * (2 * xy + C2) / ((mx * mx + my * my + C1) * (xx + yy + C2))
