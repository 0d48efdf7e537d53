"""The playground: what is computed, what a click does, and how it is opened. tests/test_browser.py clicks for real."""

import html
import inspect
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from minglm.__main__ import main
from minglm.course import notebooks, play, playground
from minglm.generate.pipeline import Pipeline
from minglm.images import to_tensor
from minglm.measure import patches
from minglm.model import weights
from minglm.world.draw import draw

PROMPT = 'a yellow poster with a cat and the words "Hi you" at the top'
HOW = dict(seed=3, steps=2)
ROOT = Path(__file__).resolve().parents[1]
needs_widgets = pytest.mark.skipif(find_spec("ipywidgets") is None, reason="ipywidgets is not installed")


@pytest.fixture(autouse=True)
def few_posters(monkeypatch):
    """Ids are known by few posters here."""
    monkeypatch.setattr(play, "POSTERS", 30)


@pytest.fixture(scope="module")
def one(pipe) -> play.Painting:
    return play.paint(pipe, PROMPT, **HOW)


# ---------------------------------------------------------------- what ids look like

@pytest.mark.parametrize("shrink", [1, 2])
def test_an_id_looks_like_the_mean_of_its_patches(pipe, shrink):
    tables = patches.mean_patches(pipe.tokenizer, 30)
    codes = pipe.config.tokenizer.codebook
    assert all(table.shape == (codes, 32, 32, 3) and table.dtype == torch.uint8 for table in tables)
    pictures = F.avg_pool2d(to_tensor([draw(0, i).image for i in range(30)]), shrink)
    ids = pipe.tokenizer.encode(pictures)
    some = int(ids.flatten().mode().values)                  # one that many patches have
    found = [pictures[n, :, 32 * r:32 * r + 32, 32 * c:32 * c + 32] for n, r, c in (ids == some).nonzero().tolist()]
    mean = 127.5 * (torch.stack(found).mean(0).permute(1, 2, 0) + 1)
    assert len(found) > 1 and (tables[shrink - 1][some] - mean).abs().max() <= 0.51


def test_an_id_that_is_rare_at_one_scale_is_drawn_as_at_the_other_or_else_grey(pipe):
    large, small = patches.mean_patches(pipe.tokenizer, 5)
    pictures = to_tensor([draw(0, i).image for i in range(5)])
    seen, tiny = ({*pipe.tokenizer.encode(F.avg_pool2d(pictures, shrink)).flatten().tolist()} for shrink in (1, 2))
    assert seen - tiny and {*range(len(large))} - seen - tiny
    for id in range(len(large)):
        assert (id in seen & tiny) or torch.equal(large[id], small[id])
        assert id in seen | tiny or (large[id] == 128).all()


def test_posters_are_looked_at_once(pipe, monkeypatch):
    told = []
    first = patches.mean_patches(pipe.tokenizer, 130, lambda *done: told.append(done))
    assert told == [(100, 130), (130, 130)]
    monkeypatch.setattr(patches, "draw", None)
    assert patches.mean_patches(pipe.tokenizer, 130) is first
    with pytest.raises(TypeError):
        patches.mean_patches(pipe.tokenizer, 131)


def test_a_mosaic_has_each_patch_in_its_place():
    some = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 2, 2, 3)
    assert patches.mosaic(torch.tensor([[0, 2], [1, 1]]), some)[..., 0].tolist() == [
        [0, 0, 2, 2], [0, 0, 2, 2], [1, 1, 1, 1], [1, 1, 1, 1]]


# ---------------------------------------------------------------- functions

def test_paint_is_the_pipeline_s_picture(pipe, one):
    out = pipe(PROMPT, progress=False, **HOW)
    assert one.image.tobytes() == out.images[0].tobytes() and torch.equal(one.plan, out.plan[0])
    assert torch.equal(one.preview, out.preview[0]) and one.notes == out.notes and one.understood == out.prompts[0]
    assert one.how == dict(prompt=PROMPT, **HOW)


@pytest.mark.parametrize("prompt, how", [
    (PROMPT, {}), (PROMPT, dict(enhance=False)), ("一张海报，三只猫，“你好”", {}), ("a dog", dict(height=96, width=160)),
    ('a red card, "one more long line of words" "and another line of words"', {}), ('small cat, "abcdefghijklmnopq"', {})])
def test_nothing_changed_is_the_same_picture(pipe, prompt, how):
    before = play.paint(pipe, prompt, steps=1, **how)
    after = play.repaint(pipe, before, {})
    assert after.image.tobytes() == before.image.tobytes() and after.understood == before.understood
    assert torch.equal(after.plan, before.plan) and torch.equal(after.preview, before.preview)
    assert after.how == before.how


def test_another_id_is_another_picture_and_the_painting_before_stays(pipe, one):
    other = (int(one.plan[1, 2]) + 1) % pipe.config.planner.codebook
    plan = one.plan.clone()
    two = play.repaint(pipe, one, {(1, 2): other})
    assert torch.equal(one.plan, plan) and two.plan[1, 2] == other
    assert (two.plan != one.plan).sum() == 1 and torch.equal(two.preview, one.preview)
    assert two.image.tobytes() != one.image.tobytes()
    expected = pipe(PROMPT, 128, 128, prior_ids=two.plan, progress=False, **HOW)
    assert two.image.tobytes() == expected.images[0].tobytes()


def test_a_plan_may_be_painted_by_other_words_noise_and_steps(pipe, one):
    seen = []
    two = play.repaint(pipe, one, {}, lambda i, latents: seen.append(i), prompt='"Bye"', seed=9, steps=3)
    assert seen == [0, 1, 2] and two.how == dict(prompt='"Bye"', seed=9, steps=3)
    assert torch.equal(two.plan, one.plan) and two.image.tobytes() != one.image.tobytes()


@pytest.mark.parametrize("changes, words", [
    ({(4, 0): 1}, "row 4"), ({(0, -1): 1}, "column -1"), ({(0, 0): 256}, "the codebook has 0 to 255"), ({(0, 0): -1}, "-1")])
def test_places_and_ids_that_there_are_not(pipe, one, changes, words):
    with pytest.raises(ValueError, match=words):
        play.repaint(pipe, one, changes)


@pytest.mark.parametrize("guidance", [1, 1.5])
def test_the_likeliest_ids_are_those_that_a_planner_without_dice_takes(pipe, guidance):
    how = dict(temperature=0, steps=1, planner_guidance=guidance)
    greedy = play.paint(pipe, PROMPT, **how)
    chances = play.probabilities(pipe, greedy.understood, greedy.preview, greedy.plan, guidance)
    assert chances.shape == (4, 4, 256) and torch.allclose(chances.sum(-1), torch.ones(4, 4))
    assert torch.equal(chances.argmax(-1), greedy.plan)
    wide = play.paint(pipe, PROMPT, **how, height=96, width=160)
    chances = play.probabilities(pipe, wide.understood, wide.preview, wide.plan, guidance)
    assert torch.equal(chances.argmax(-1), wide.plan)
    offered = play.alternatives(pipe, wide, 1, 2)
    assert offered[0] == (wide.plan[1, 2], pytest.approx(chances[1, 2].max().item(), abs=1e-6))


def test_alternatives_are_sorted_and_look_back_only(pipe, one):
    *found, own = play.alternatives(pipe, one, 2, 1, count=5)
    assert own[0] == one.plan[2, 1] and own[1] < found[-1][1]            # unlikely, and there all the same
    assert len({id for id, _ in found}) == 5 and all(type(id) is int and 0 < chance < 1 for id, chance in found)
    assert [chance for _, chance in found] == sorted((chance for _, chance in found), reverse=True)
    other = (int(one.plan[1, 3]) + 1) % 256
    later, earlier = ({place: other} for place in ((2, 2), (1, 3)))
    assert play.alternatives(pipe, one, 2, 1, 5, later) == [*found, own]
    assert play.alternatives(pipe, one, 2, 1, 5, earlier) != [*found, own]
    every = play.alternatives(pipe, one, 2, 1, count=1000)
    assert len(every) == 256 and own in every and sum(chance for _, chance in every) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="column 7"):
        play.alternatives(pipe, one, 2, 7)


def test_views_are_of_one_size(pipe, one):
    large, small = patches.mean_patches(pipe.tokenizer, 30)
    ids = (large != small).flatten(1).any(1).nonzero().flatten()[:4].view(2, 2)  # that look different in plan and preview
    preview, plan, picture = play.views(pipe, replace(one, preview=ids))
    assert preview.size == plan.size == picture.size == (128, 128) and picture is one.image
    assert np.array_equal(plan, patches.mosaic(one.plan, large))
    assert np.array_equal(preview.reduce(2), patches.mosaic(ids, small))


def test_paintings_are_shown_below_each_other(pipe, one):
    figure = play.show(pipe, one, one)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["preview", "plan", "picture"] * 2
    assert [int(text.get_text()) for text in figure.axes[4].texts] == one.plan.flatten().tolist()


# ---------------------------------------------------------------- what a click does

@pytest.fixture
def panel(pipe):
    pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
    from minglm.course.panel import Panel

    made = Panel(pipe)
    for name, value in dict(prompt=PROMPT, **HOW).items():
        made.asked[name].value = value
    return made


def said(widget) -> str:
    assert widget.value.startswith('<div class="minglm-says">')
    return html.unescape(widget.value.partition(">")[2].removesuffix("</div>"))


def picture(widget) -> Image.Image:
    return Image.open(BytesIO(widget.value))


def chosen(panel) -> tuple[list, list]:
    """The cells and the ids on offer that are marked as chosen."""
    return tuple([name for name, square in squares.items() if "minglm-chosen" in square._dom_classes]
                 for squares in (panel.cells, panel.offers))


def is_shown(widget) -> bool:
    return widget.layout.display != "none"


def test_the_panel_begins_with_the_pipeline_s_numbers(pipe):
    pytest.importorskip("ipywidgets")
    from minglm.course.panel import Panel

    panel, usual = Panel(pipe), inspect.signature(Pipeline.__call__).parameters
    how = panel.how()
    assert list(how) == ["prompt", "seed", "steps", "guidance", "temperature", "enhance"]
    assert all(value == usual[name].default for name, value in how.items() if name != "prompt")
    assert panel.again.disabled and not panel.paint.disabled
    assert not any(map(is_shown, (*panel.figures, panel.choice)))


def test_paint_shows_prompt_preview_plan_and_picture(panel, pipe, one):
    steps, tell = [], panel.on_step
    panel.on_step = lambda i, latents: (tell(i, latents), steps.append((said(panel.status), panel.paint.disabled)))
    panel.paint.click()
    assert steps == [("painting: step 1 of 2", True), ("painting: step 2 of 2", True)]
    assert said(panel.status).startswith("done in") and panel.bar.layout.visibility == "hidden"
    assert said(panel.understood) == "\n".join(one.notes) and "understood: A yellow poster" in said(panel.understood)
    assert picture(panel.picture).tobytes() == one.image.tobytes()
    assert picture(panel.preview).tobytes() == play.views(pipe, one)[0].tobytes()
    assert len(panel.plan.children) == 16 and [*panel.cells.values()] == [*panel.plan.children]
    for (row, column), cell in panel.cells.items():
        id = int(one.plan[row, column])
        assert cell.tooltip == f"row {row}, column {column}: id {id}" and f"minglm-id-{id}" in cell._dom_classes
        assert f".minglm-id-{id} {{background-image: url(data:image/png;base64," in panel.css.value
    assert not panel.paint.disabled and not panel.again.disabled
    assert [is_shown(figure) for figure in panel.figures] == [True, True, True, False] and not is_shown(panel.choice)


def test_numbers_and_checkbox_reach_the_pipeline(panel, pipe):
    how = dict(prompt="a dog", seed=5, steps=1, guidance=2.0, temperature=1.4, enhance=False)
    for name, value in how.items():
        panel.asked[name].value = value
    panel.paint.click()
    assert picture(panel.picture).tobytes() == pipe(**how, progress=False).images[0].tobytes()


def test_a_cell_is_clicked_an_id_taken_and_the_plan_painted_again(panel, pipe, one):
    panel.paint.click()
    place, before, painted = (1, 2), panel.picture.value, int(one.plan[1, 2])
    panel.cells[place].click()
    assert is_shown(panel.choice) and f"id {painted} was painted" in said(panel.hint)
    likely = play.alternatives(pipe, one, *place)
    assert [*panel.offers] == [id for id, _ in likely] and painted in panel.offers
    assert [box.children[0].value for box in panel.palette.children] == [f"{chance:.1%}" for _, chance in likely]
    assert chosen(panel) == ([place], [painted])
    other = next(id for id, _ in likely if id != painted)
    panel.offers[other].click()
    assert f"becomes {other}" in said(panel.status) and panel.picture.value == before
    assert {"minglm-changed", f"minglm-id-{other}"} <= {*panel.cells[place]._dom_classes}
    assert chosen(panel) == ([place], [other])
    panel.again.click()
    two = play.repaint(pipe, one, {place: other})
    assert picture(panel.picture).tobytes() == two.image.tobytes() and panel.picture.value != before
    assert panel.before.value == before and is_shown(panel.figures[3])
    assert torch.equal(panel.painting.plan, two.plan) and panel.changes == {}
    assert is_shown(panel.choice) and chosen(panel) == ([place], [other])        # for another try
    panel.paint.click()                                      # anew: nothing to compare with
    assert not is_shown(panel.figures[3]) and panel.picture.value == before and not is_shown(panel.choice)


def test_any_id_may_be_typed_and_taken_back(panel, one):
    panel.paint.click()
    panel.cells[0, 0].click()
    planned = int(one.plan[0, 0])
    assert panel.number.value == planned and panel.number.max == 255
    panel.number.value = other = (planned + 100) % 256
    panel.take.click()
    assert panel.changes == {(0, 0): other} and panel.cells[0, 0].tooltip == f"row 0, column 0: id {other}"
    panel.cells[3, 3].click()
    panel.number.value = other
    panel.take.click()
    assert [*panel.changes] == [(0, 0), (3, 3)]
    panel.cells[0, 0].click()
    assert panel.number.value == other
    panel.offers[planned].click()
    assert [*panel.changes] == [(3, 3)] and said(panel.status).endswith("stays")
    assert "minglm-changed" not in panel.cells[0, 0]._dom_classes


def test_another_size_has_other_cells(panel):
    panel.paint.click()
    first = [*panel.cells.values()]
    panel.asked["prompt"].value = 'a dog and "a long line of words" "and another long line of words" "and one more"'
    panel.paint.click()
    rows, columns = panel.painting.plan.shape
    assert rows * columns > 16 and len(panel.cells) == len(panel.plan.children) == rows * columns
    assert all(cell.comm is None for cell in first), "cells that are gone are closed"
    assert panel.plan.layout.grid_template_columns == f"repeat({columns}, 32px)"


@pytest.mark.parametrize("prompt, words", [
    ('a card with "Ω <b>"', "cannot write Ω in 'Ω <b>'"), ("   ", "the prompt is empty"), (f'"{"X" * 200}"', "needs 13 lines")])
def test_what_cannot_be_painted_is_said_in_a_line(panel, capfd, prompt, words):
    panel.asked["prompt"].value = prompt
    panel.paint.click()
    assert words in said(panel.status) and "\n" not in said(panel.status) and "<b>" not in panel.status.value
    assert panel.painting is None and panel.again.disabled and not panel.paint.disabled
    panel.asked["prompt"].value = PROMPT
    panel.paint.click()                                      # and it goes on
    kept = panel.picture.value
    panel.cells[1, 1].click()
    panel.asked["prompt"].value = prompt
    panel.again.click()
    assert words in said(panel.status) and panel.picture.value == kept and is_shown(panel.choice)
    assert not panel.again.disabled and capfd.readouterr().err == ""


def test_a_card_without_memory_is_said_in_a_line(panel, monkeypatch):
    def full(*arguments, **how):
        raise RuntimeError("out of memory\nand much more")

    monkeypatch.setattr(play, "paint", full)
    panel.paint.click()
    assert said(panel.status) == "That cannot be done: out of memory"


# ---------------------------------------------------------------- how it is opened

def test_without_widgets_functions_are_named(pipe, capsys, monkeypatch):
    playground.show(pipe)                                    # no kernel runs the tests
    assert capsys.readouterr().out.startswith("no buttons outside Jupyter: paint, alternatives, repaint and show of")
    monkeypatch.setattr(playground, "find_spec", lambda name: None)
    playground.show(pipe)
    assert "pip install -e '.[notebooks]'" in capsys.readouterr().out
    assert all(callable(getattr(play, name)) and f"play.{name}(pipe" in play.__doc__
               for name in ("paint", "alternatives", "repaint", "show"))


def test_in_jupyter_the_panel_is_displayed(pipe, monkeypatch):
    pytest.importorskip("ipywidgets")
    import IPython.display

    shown = []
    monkeypatch.setattr(playground, "in_jupyter", lambda: True)
    monkeypatch.setattr(IPython.display, "display", shown.append)
    playground.show(pipe)
    [box] = shown
    assert len(box.children) == 8


def test_the_command_needs_no_widgets_to_be_imported():
    """So that every other command works where ipywidgets is not installed."""
    code = "import sys; sys.modules['ipywidgets'] = None; import minglm.__main__, minglm.course.playground, minglm.course.play"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | dict(PYTHONPATH=str(ROOT))).returncode == 0


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """JupyterLab that does not start: its arguments, and the notebook as it would have found it."""
    app = pytest.importorskip("jupyterlab.labapp", reason="JupyterLab is not installed").LabApp
    started = []

    def launch(arguments):
        started.append((arguments, Path(arguments[0]).read_text(encoding="utf-8")))

    monkeypatch.setattr(app, "launch_instance", launch)
    monkeypatch.chdir(tmp_path)
    return started


@needs_widgets
def test_play_opens_a_notebook_that_is_gone_later(lab, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "mine")
    assert main(["play", "--weights", "mine", "--", "--no-browser", "--port=9"]) == 0
    [(arguments, text)] = lab
    path = Path(arguments[0])
    assert arguments[1:] == [f"--ServerApp.root_dir={path.parent}", "--no-browser", "--port=9"]
    assert not path.parent.exists() and os.listdir() == ["mine"]
    made = nbformat.reads(text, 4)
    nbformat.validate(made)
    assert "--out" in made.cells[0].source
    source = made.cells[1].source
    assert f"playground.show(Pipeline.from_pretrained('{tmp_path / 'mine'}', 'auto'))" in source
    shown = []
    exec(source.replace("playground.show(", "shown.append("), dict(shown=shown))
    assert shown[0].config.name == "tiny"


@needs_widgets
def test_a_notebook_may_be_kept_and_nothing_is_overwritten(lab, folder, capsys, monkeypatch):
    assert main(["play", "--weights", str(folder), "--device", "cpu", "--out", "my.ipynb"]) == 0
    assert "'cpu'))" in lab[0][1] and Path("my.ipynb").read_text(encoding="utf-8") == lab[0][1]
    assert "is gone" not in lab[0][1]
    Path("my.ipynb").write_text("mine")
    assert main(["play", "--weights", str(folder), "--out", "my.ipynb"]) == 2
    assert "my.ipynb is there already" in capsys.readouterr().err
    assert Path("my.ipynb").read_text() == "mine" and len(lab) == 1
    monkeypatch.setattr(weights, "load", lambda folder: Path("late.ipynb").write_text("mine"))   # while it is at work
    assert main(["play", "--weights", str(folder), "--out", "late.ipynb"]) == 2
    assert Path("late.ipynb").read_text() == "mine" and len(lab) == 1


@needs_widgets
@pytest.mark.parametrize("arguments, words", [
    (["--weights", "absent"], "no weights 'absent'"), (["--weights", "broken"], "incomplete weights"),
    (["--weights", "published"], "published is no model of posters"),
    (["--device", "tpu"], "unknown device 'tpu'"), (["--out", "absent/a.ipynb"], "there is no folder absent"),
    (["--out", "a.txt"], "ends in .ipynb"), (["--out", "."], "is there already")])
def test_play_refuses_in_a_line(lab, folder, capsys, arguments, words):
    shutil.copytree(folder, "broken")
    (Path("broken") / "vae" / "model.safetensors").unlink()
    Path("published").mkdir()
    Path("published", "model_index.json").write_text("{}")
    assert main(["play", *([] if "--weights" in arguments else ["--weights", str(folder)]), *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and words in said.err and lab == []
    assert sorted(os.listdir()) == ["broken", "published"]


@pytest.mark.parametrize("absent", [["jupyterlab"], ["ipywidgets"], ["jupyterlab", "ipywidgets"]])
def test_what_is_not_installed_is_named_with_the_extra(capsys, monkeypatch, absent):
    monkeypatch.setattr(playground, "find_spec", lambda name: None if name in absent else find_spec(name))
    if find_spec("jupyterlab") is None or find_spec("ipywidgets") is None:
        pytest.skip("they are not installed")
    assert main(["play"]) == 2
    assert capsys.readouterr().err == f"minglm: playing needs {' and '.join(absent)}: pip install -e '.[notebooks]'\n"


def test_weights_that_are_shipped_go_by_their_name():
    source = playground.notebook("mini", "auto", stays=True)["cells"][1]["source"]
    assert "Pipeline.from_pretrained('mini', 'auto')" in source and (weights.FOLDER / "mini").is_dir()
    assert nbformat.validate(nbformat.reads(notebooks.dump(playground.notebook("mini", "auto", False)).decode(), 4)) is None
