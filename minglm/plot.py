"""Figures in one style, with Okabe and Ito's colours, which colour-blind readers can distinguish."""

from __future__ import annotations

import io
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import matplotlib
import numpy as np
from matplotlib import font_manager, patches

from minglm.files import DATA
from minglm.images import with_palette

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


def notebook(quality: int = 68, subsampling: int = 0):
    """pyplot for a notebook with many painted pictures: its figures are stored as JPEG.

    Painted pictures contain invisible noise, which makes PNG four times as large as JPEG. For rendered
    posters and charts PNG is smaller. subsampling: 2 stores colours at half the size, fine for enlarged ones.
    """
    from IPython import get_ipython
    from matplotlib_inline.config import InlineBackend

    plt = pyplot()
    backend = InlineBackend.instance(parent=get_ipython())
    pil = dict(quality=quality, subsampling=subsampling, optimize=True)
    backend.print_figure_kwargs = dict(bbox_inches="tight", pil_kwargs=pil)
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
    height, width = image.height / rows, image.width / columns
    lines_over(axis, image, (width, height))
    for r in range(rows):
        for c in range(columns):
            axis.text((c + 0.5) * width, (r + 0.5) * height, int(ids[r, c]), ha="center", va="center",
                      fontsize=8, color=colour, bbox=dict(facecolor="white", alpha=0.7, pad=1, lw=0))


def lines_over(axis, image, step: float | tuple[float, float], colour: str = "white") -> None:
    """A picture with a line every `step` pixels: one number, or one across and one down."""
    axis.imshow(image)
    axis.axis("off")
    across, down = step if isinstance(step, tuple) else (step, step)
    for x in np.arange(across, image.width - 0.5, across):
        axis.axvline(x - 0.5, color=colour, lw=0.7)
    for y in np.arange(down, image.height - 0.5, down):
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


def tokens(axis, y: float, parts: Sequence[bytes], colours: Sequence[str] = (SKY, ORANGE)) -> None:
    """Tokens, which are bytes, as a row of boxes at height y, and their number; hexadecimal where a token
    ends inside a character. colours: taken in turn."""
    x, fonts = 0.0, ["DejaVu Sans Mono", han_family()]
    for i, token in enumerate(parts):
        label = readable(token)
        width = sum(1.75 if ord(c) > 0x2fff else 1 for c in label) + 0.5
        axis.add_patch(patches.Rectangle((x, y), width - 0.15, 0.7, color=colours[i % len(colours)],
                                         alpha=0.45, lw=0))
        axis.text(x + width / 2 - 0.07, y + 0.33, label, ha="center", va="center", fontsize=7.5,
                  family=fonts)
        x += width
    axis.text(x + 0.6, y + 0.33, f"{len(parts)}", va="center", fontsize=9, weight="bold")
    axis.set(xlim=(0, max(axis.get_xlim()[1], x + 4)), ylim=(-0.2, max(axis.get_ylim()[1], y + 1)))
    axis.axis("off")


def readable(token: bytes) -> str:
    """A token as a label: with a dot for a space, or in hexadecimal if it is not valid text."""
    try:
        return token.decode().replace(" ", "·")
    except UnicodeDecodeError:
        return token.hex()


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


def timeline(axis, lanes: dict[str, Sequence[tuple[float, float]]], title: str, start: float = 0) -> None:
    """When each lane is at work, spans (begin, end), as bars from `start` on: a row per name, from the top.
    Neighbouring bars are told apart by two blues; those of the last row are orange."""
    for row, spans in enumerate(lanes.values()):
        colours = [ORANGE] if row == len(lanes) - 1 else [BLUE, SKY]
        axis.broken_barh([(begin - start, end - begin) for begin, end in spans], (-row - 0.4, 0.8),
                         facecolors=colours, edgecolors="white", lw=0.4)
    axis.set_yticks(range(0, -len(lanes), -1), lanes)
    axis.set_title(title, fontsize=9, loc="left")


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
