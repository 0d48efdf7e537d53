"""Figures in one style, with Okabe and Ito's colours, which colour-blind readers can distinguish."""

from __future__ import annotations

import csv
import io
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager, patches
from PIL import Image

from minglm.files import DATA, whole_file

HAN = DATA / "fonts" / "MiniGLMSansSC-Bold.ttf"
BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
STYLE = {"figure.dpi": 100, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
         "axes.prop_cycle": matplotlib.cycler(color=[BLUE, ORANGE, GREEN, PINK, SKY, RED]),
         "legend.frameon": False, "image.interpolation": "nearest"}


def pyplot():
    """pyplot in the project's style; imported on use, since importing it may need a display."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(STYLE)
    plt.rcParams["font.family"] = ["DejaVu Sans", han_family()]   # the second for characters the first lacks
    return plt


def notebook(quality: int = 68):
    """pyplot for a notebook with many painted pictures: its figures are stored as JPEG.

    Painted pictures contain invisible noise, which makes PNG four times as large as JPEG. For rendered
    posters and charts PNG is smaller.
    """
    from IPython import get_ipython
    from matplotlib_inline.config import InlineBackend

    plt = pyplot()
    backend = InlineBackend.instance(parent=get_ipython())
    backend.print_figure_kwargs = dict(bbox_inches="tight", pil_kwargs=dict(quality=quality, subsampling=0))
    backend.figure_formats = {"jpeg"}
    return plt


@cache
def han_family() -> str:
    """The name of the Chinese font in data/fonts, which is registered with matplotlib, which has none."""
    font_manager.fontManager.addfont(HAN)
    entries = font_manager.fontManager.ttflist
    entries.append(replace(entries[-1], weight=400))  # bold, declared normal, or matplotlib would warn
    return entries[-1].name


def show(figure, alt: str, chart: bool = False) -> None:
    """Show a figure in a notebook, with what is to be seen in words (`alt`) for readers who cannot see it.

    chart: as PNG, which is small for lines and plain areas, even where figures are JPEG.
    """
    from IPython import get_ipython
    from IPython.display import display

    kinds = "image/png", "image/jpeg"
    about = {kind: {"alt": alt} for kind in kinds}
    if shell := get_ipython():
        data, more = shell.display_formatter.format(figure)
        if chart and "image/jpeg" in data:
            out = io.BytesIO()
            figure.savefig(out, format="png", bbox_inches="tight")
            data = {"image/png": b64encode(out.getvalue()).decode(), "text/plain": data["text/plain"]}
        if "image/png" in data:
            data["image/png"] = with_palette(data["image/png"])
        display(data, raw=True, metadata={kind: more.get(kind, {}) | text for kind, text in about.items()})
    else:
        display(figure, metadata=about)
    pyplot().close(figure)


def with_palette(png: str | bytes, colours: int = 128) -> str | bytes:
    """A PNG, or one in base64, with a palette: of a chart a third of the size, and no other to the eye."""
    raw = b64decode(png) if isinstance(png, str) else png
    out = io.BytesIO()
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    image = image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    image.save(out, "png", optimize=True)
    return b64encode(out.getvalue()).decode() if isinstance(png, str) else out.getvalue()


@cache
def known_characters() -> frozenset[int]:
    """The code points that figures can show."""
    fonts = font_manager.findfont("DejaVu Sans"), HAN
    return frozenset(code for font in fonts for code in font_manager.get_font(font).get_charmap())


def showable(text: str) -> str:
    """`text` with a box for each character that the fonts lack, some of which an OCR may read."""
    return "".join(c if c == "\n" or ord(c) in known_characters() else "\u25a1" for c in text)


def pictures(images: list, titles: list[str] | None = None, columns: int = 6, scale: float = 1):
    """A figure of images (PIL, or arrays for imshow), row by row, aligned at the top, without axes.

    scale: pixels of the figure per pixel of an image. A whole number keeps pixels square.
    """
    plt = pyplot()
    arrays, columns = [np.asarray(image) for image in images], min(columns, len(images))
    rows, dpi = -(-len(images) // columns), STYLE["figure.dpi"]
    head = 6 + (16 * max(title.count("\n") + 1 for title in titles) if titles else 0)
    wide, tall = (round(scale * max(array.shape[side] for array in arrays)) for side in (1, 0))
    width, height = columns * (wide + 12), rows * (tall + head)
    figure = plt.figure(figsize=(width / dpi, height / dpi))
    for i, array in enumerate(arrays):
        row, column = divmod(i, columns)
        across, down = round(scale * array.shape[1]), round(scale * array.shape[0])
        left, bottom = column * (wide + 12) + 6, height - row * (tall + head) - head - down
        axis = figure.add_axes((left / width, bottom / height, across / width, down / height))
        axis.imshow(array, aspect="auto")
        axis.axis("off")
        if titles:
            axis.set_title(showable(titles[i]), fontsize=9, pad=4)
    return figure


def grid_over(axis, image, ids, colour: str = "black") -> None:
    """A picture with a grid of ids written over it, each in its cell."""
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


def lines_over(axis, image, step: int, colour: str = "white") -> None:
    """A picture with a line every `step` pixels, both ways."""
    axis.imshow(image)
    axis.axis("off")
    for x in range(step, image.width, step):
        axis.axvline(x - 0.5, color=colour, lw=0.7)
    for y in range(step, image.height, step):
        axis.axhline(y - 0.5, color=colour, lw=0.7)


def boxes_over(axis, image, boxes: dict[str, tuple[float, float, float, float]], colour: str = BLUE) -> None:
    """A picture with boxes (x0, y0, x1, y1) drawn over it, each with its name at the centre."""
    axis.imshow(image)
    axis.axis("off")
    for name, (x0, y0, x1, y1) in boxes.items():
        axis.add_patch(patches.Rectangle((x0 + 0.5, y0 + 0.5), x1 - x0 - 2, y1 - y0 - 2, fill=False,
                                         edgecolor=colour, lw=1.5))
        axis.text((x0 + x1) / 2, (y0 + y1) / 2, showable(name), ha="center", va="center", fontsize=9,
                  color=colour)


def mark_readings(axis, found: list, colour: str = RED) -> None:
    """A box around each line that an OCR found in the picture drawn on `axis`, labelled with what it read."""
    for line in found:
        x0, y0, x1, y1 = line.box
        axis.add_patch(patches.Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False,
                                         edgecolor=colour, lw=1.2))
        side = dict(y=y1 + 1, va="top") if y0 < 20 else dict(y=y0 - 2, va="bottom")
        axis.text((x0 + x1) / 2, s=showable(line.text), ha="center", fontsize=7, color="white",
                  bbox=dict(facecolor=colour, pad=1, lw=0), **side)


def live(run: Iterable, names: tuple[str, ...] = ("loss",), every: float = 1.0, alt: str = "") -> Iterator:
    """Yields the steps of a training run while plotting their statistics in a notebook.

    One small figure is updated in place every `every` seconds; its title shows step, samples/s and time left.
    names: which of `step.stats` to plot. alt: what is to be seen at the end, in words.
    """
    from IPython.display import display

    alt = alt or f"Curves over the steps of the training run: {', '.join(names)}."
    about = {kind: {"alt": alt} for kind in ("image/png", "image/jpeg")}
    plt, shown, steps, values = pyplot(), None, [], {name: [] for name in names}
    figure, axes = plt.subplots(1, len(names), figsize=(1.4 + 2.8 * len(names), 2.2), squeeze=False)
    began = drawn = time.monotonic()
    for step in run:
        steps.append(step.number)
        stats = step.stats
        for name in names:
            values[name].append(stats[name])
        now = time.monotonic()
        if shown is None or now - drawn > every or step.number == step.steps:
            left = (now - began) / len(steps) * (step.steps - step.number)
            figure.suptitle(f"step {step.number} of {step.steps}, {step.samples_per_second:.0f} samples/s, "
                            f"{left:.0f} s left", fontsize=9)
            for axis, name in zip(axes.flat, names):
                axis.clear()
                axis.plot(steps, values[name], lw=1)
                axis.set(title=name, xlabel="step", xlim=(0, step.steps))
            figure.tight_layout()
            shown = shown or display(figure, display_id=True, metadata=about)
            shown.update(figure, metadata=about)
            drawn = now
        yield step
    plt.close(figure)


def loss_curve(log: str | Path, out: str | Path) -> None:
    """Plot the columns of a training log (log.csv) over the steps, into a PNG."""
    plt = pyplot()
    with Path(log).open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [n for n in (rows[0] if rows else {}) if n not in ("step", "seconds")]
    if not names:
        return
    figure, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.2), squeeze=False)
    for axis, name in zip(axes.flat, names):
        told = [row for row in rows if row[name]]            # edits, for instance, have no preview
        points = [(int(row["step"]), float(row[name])) for row in told]
        axis.plot(*zip(*points), lw=1)
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel("step")
    figure.tight_layout()
    try:
        with whole_file(out) as temporary:
            figure.savefig(temporary, format="png")
    finally:
        plt.close(figure)


def errors(axis, names: Sequence[str], series: dict[str, list[tuple[float, int]]],
           interval: Callable) -> None:
    """The share that is wrong of each (right, of how many), one per name and label of `series`, as points
    between the ends of interval(right, count)."""
    for i, (label, pairs) in enumerate(series.items()):
        x = np.arange(len(names)) + 0.6 * ((i + 0.5) / len(series) - 0.5)
        wrong = np.array([1 - right / count for right, count in pairs])
        high, low = np.array([interval(right, count) for right, count in pairs]).T[::-1]
        least, most = 1 - high, 1 - low
        bars = (wrong - least).clip(0), (most - wrong).clip(0)
        axis.errorbar(x, wrong, yerr=bars, fmt="o", ms=3, lw=1, capsize=2, label=label)
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set_ylim(0, None)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(series))
