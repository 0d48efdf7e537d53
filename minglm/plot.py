"""Figures: one style, colours that colour-blind readers can tell apart (Okabe and Ito's)."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import matplotlib

BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
STYLE = {"figure.dpi": 100, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
         "axes.prop_cycle": matplotlib.cycler(color=[BLUE, ORANGE, GREEN, PINK, SKY, RED]),
         "legend.frameon": False, "image.interpolation": "nearest"}


def pyplot():
    """pyplot in the project's style; imported here, so that `import minglm` opens no window system."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(STYLE)
    return plt


def pictures(images: list, titles: list[str] | None = None, columns: int = 6, size: float = 1.8):
    """Images (PIL, or arrays for imshow) side by side, row by row, without axes."""
    plt = pyplot()
    rows = -(-len(images) // columns)
    columns = min(columns, len(images))
    tall = size + (0.35 if titles else 0)
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, tall * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, image in enumerate(images):
        axis = axes.flat[i]
        axis.imshow(image)
        if titles:
            axis.set_title(titles[i], fontsize=9)
    figure.tight_layout(pad=0.4)
    return figure


def grid_over(axis, image, ids, colour: str = "black") -> None:
    """A picture with a grid of ids written over it, each where it belongs."""
    rows, columns = ids.shape
    axis.imshow(image)
    axis.axis("off")
    height, width = image.height / rows, image.width / columns
    for r in range(rows):
        for c in range(columns):
            axis.text((c + 0.5) * width, (r + 0.5) * height, int(ids[r, c]), ha="center", va="center",
                      fontsize=8, color=colour, bbox=dict(facecolor="white", alpha=0.7, pad=1, lw=0))
    for r in range(1, rows):
        axis.axhline(r * height - 0.5, color="white", lw=0.7)
    for c in range(1, columns):
        axis.axvline(c * width - 0.5, color="white", lw=0.7)


def loss_curve(log: str | Path, out: str | Path) -> None:
    """Draw the columns of a training log (log.csv) as small curves over the steps, into a PNG."""
    plt = pyplot()
    with Path(log).open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [n for n in (rows[0] if rows else {}) if n not in ("step", "seconds")]
    if not names:
        return
    figure, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.2), squeeze=False)
    for axis, name in zip(axes.flat, names):
        axis.plot([int(r["step"]) for r in rows], [float(r[name]) for r in rows], lw=1)
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel("step")
    figure.tight_layout()
    temporary = Path(out).with_suffix(".tmp")
    figure.savefig(temporary, format="png")
    plt.close(figure)
    os.replace(temporary, out)
