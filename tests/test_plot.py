"""The figures: Chinese shows, unknown characters do not break a title, every drawing function draws."""

import io
import warnings
from base64 import b64encode
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from minglm import plot
from minglm.images import with_palette
from minglm.measure.ocr import Found
from minglm.training.run import loss_curve


@pytest.fixture
def plt():
    import matplotlib

    matplotlib.use("Agg")
    plt = plot.pyplot()
    yield plt
    plt.close("all")


def test_a_log_may_have_gaps(tmp_path, plt):
    """As that of stage edit-planner, which has a preview at every third step only."""
    (tmp_path / "log.csv").write_text("step,loss,preview,seconds\n20,3.0,,1\n40,2.0,5.0,2\n60,1.0,,3\n")
    loss_curve(tmp_path / "log.csv", tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size[0] > 100


def test_showable_keeps_what_fonts_have():
    assert plot.showable("HELLO 你好\n√") == "HELLO 你好\n√"
    assert plot.showable("A\u9f98B") == "A\u25a1B"  # a rare character: a dragon, doubled


def test_titles_in_chinese_raise_no_warning(plt):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot.pictures([Image.new("RGB", (8, 8))] * 3, ["你好", "two\nlines", "\u9f98"], columns=2)
        figure.canvas.draw()
    assert [axis.get_title() for axis in figure.axes] == ["你好", "two\nlines", "\u25a1"]


def test_a_palette_keeps_a_chart_and_makes_it_small(plt):
    figure, axis = plt.subplots(figsize=(3, 2))
    axis.plot([1, 2, 1], color=plot.BLUE)
    whole = io.BytesIO()
    figure.savefig(whole, format="png")
    small = with_palette(whole.getvalue())
    pictures = [np.int16(Image.open(io.BytesIO(png)).convert("RGB")) for png in (whole.getvalue(), small)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 24 and len(small) < len(whole.getvalue()) / 1.5
    assert with_palette(b64encode(whole.getvalue()).decode()) == b64encode(small).decode()


def test_a_chart_is_shown_as_png_even_where_figures_are_jpeg(plt, monkeypatch):
    shown, figure = [], plt.subplots(figsize=(2, 1))[0]
    formatter = SimpleNamespace(format=lambda figure: ({"image/jpeg": "/9j/", "text/plain": "<Figure>"}, {}))
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(display_formatter=formatter))
    monkeypatch.setattr("IPython.display.display", lambda data, raw, metadata: shown.append((data, metadata)))
    plot.show(figure, "An empty chart.")
    plot.show(figure, "An empty chart.", chart=True)
    assert [sorted(data) for data, _ in shown] == [["image/jpeg", "text/plain"], ["image/png", "text/plain"]]
    assert shown[1][1]["image/png"] == {"alt": "An empty chart."}


def test_a_live_curve_has_words_from_its_first_drawing_to_its_last(plt, monkeypatch):
    seen, steps = [], [SimpleNamespace(number=i, steps=3, stats=dict(loss=1 / i), samples_per_second=9) for i in (1, 2, 3)]

    def display(figure, display_id, metadata):
        told(figure, metadata)
        return SimpleNamespace(update=told)

    def told(figure, metadata):
        seen.append(metadata["image/png"]["alt"])

    monkeypatch.setattr("IPython.display.display", display)
    assert [*plot.live(steps, every=0, alt="A loss that falls.")] == steps
    assert len(seen) == 4 and {*seen} == {"A loss that falls."}
    assert [*plot.live(steps)] == steps and "loss" in seen[-1]


def test_errors_are_points_between_the_ends_of_their_intervals(plt):
    axis = plt.subplots()[1]
    plot.errors(axis, ("a", "b"), {"en": [(8, 10), (5, 5)], "zh": [(9, 10), (0, 4)]}, lambda right, n: (right / n - 0.1, right / n))
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["en", "zh"] and axis.get_ylim()[0] == 0
    points, _, (bars,) = axis.containers[0]
    assert np.allclose(points.get_ydata(), [0.2, 0]) and points.get_xdata()[0] < 0 < axis.containers[1][0].get_xdata()[0]
    assert np.allclose([[y for _, y in segment] for segment in bars.get_segments()], [[0.2, 0.3], [0, 0.1]])


def test_drawing_over_a_picture(plt):
    image, (_, axes) = Image.new("RGB", (64, 32)), plt.subplots(1, 3)
    plot.grid_over(axes[0], image, torch.tensor([[1, 22]]))
    assert [text.get_text() for text in axes[0].texts] == ["1", "22"]
    plot.lines_over(axes[1], image, 16)
    assert len(axes[1].lines) == 3 + 1
    plot.boxes_over(axes[2], image, {"a": (0, 0, 32, 32), "b": (32, 0, 64, 32)})
    assert len(axes[2].patches) == 2 and axes[2].texts[1].get_position() == (48, 16)


def test_a_timeline_has_a_row_per_lane(plt):
    axis = plt.subplots()[1]
    plot.timeline(axis, {"host": [(0, 5), (5, 9), (9, 11)], "device": [(5, 6), (9, 12)]}, "two lanes", start=4)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["host", "device"] and axis.get_title(loc="left") == "two lanes"
    host, device = axis.collections
    corners = [path.vertices for path in (*host.get_paths(), *device.get_paths())]
    assert [(c[:, 0].min(), c[:, 0].max()) for c in corners] == [(-4, 1), (1, 5), (5, 7), (1, 2), (5, 8)]
    assert host.get_paths()[0].vertices[:, 1].min() > device.get_paths()[0].vertices[:, 1].max()     # the first row is on top
    assert len({tuple(colour) for colour in host.get_facecolors()}) == 2 and len(device.get_facecolors()) == 1


def test_readings_stay_beside_their_boxes(plt):
    figure = plot.pictures([Image.new("RGB", (64, 64))])
    found = [Found("TOP", 0.9, (4, 2, 40, 20)), Found("月\u9f98", 0.9, (4, 40, 40, 60))]
    plot.mark_readings(figure.axes[0], found)
    top, low = figure.axes[0].texts
    assert (top.get_text(), low.get_text()) == ("TOP", "月\u25a1") and len(figure.axes[0].patches) == 2
    assert top.get_position()[1] > 20 and low.get_position()[1] < 40               # below, and above


def test_tokens_stand_in_boxes_one_after_the_other(plt):
    axis = plt.subplots()[1]
    plot.tokens(axis, 0, [b"a", b" cat", "月".encode(), b"\xe6\x9c"])
    labels = [text.get_text() for text in axis.texts]
    assert labels == ["a", "·cat", "月", "e69c", "4"]
    boxes = axis.patches
    assert all(one.get_x() + one.get_width() < other.get_x() for one, other in zip(boxes, boxes[1:]))
    assert axis.get_xlim()[1] > boxes[-1].get_x() + boxes[-1].get_width()
    plot.tokens(axis, 1, [b"b"], colours=[plot.PINK])                    # a second row leaves room for the first
    assert axis.get_ylim()[1] >= 2 and len(axis.patches) == 5
