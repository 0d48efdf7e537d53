"""JupyterLab in a browser: the first notebook as a reader meets it, and the playground, typed into and clicked."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minglm.course import classroom

NAME = "00_meet_minglm.ipynb"
LAB = ("--no-browser", "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token=", "--ServerApp.port_retries=0",
       "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None",
       "--LabApp.extension_manager=readonly")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def wait_for(question, seconds: float, what: str):
    """Ask until the answer is true, and give it back; fails after so many seconds."""
    until = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > until:
            pytest.fail(f"after {seconds} s still waiting for {what}")
        time.sleep(0.5)
    return answer


def ask(address: str):
    """What the server answers, or nothing while it does not."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


@contextmanager
def serving(tmp_path: Path, *command: str) -> Iterator[str]:
    """The address of a JupyterLab of its own, which `python -m command` starts, until the end of the block."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{name}_DIR": str(tmp_path / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    own |= dict(PYTHONPATH=os.pathsep.join(filter(None, (str(classroom.REPOSITORY), os.environ.get("PYTHONPATH")))))
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-m", *command, *LAB, f"--port={port}"], env=os.environ | own,
                                  stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: server.poll() is not None or ask(f"{address}/api/status"), 180, "the server to start")
            assert server.poll() is None, (tmp_path / "log").read_text()
            yield address
        finally:
            server.terminate()                                                      # it ends its kernels, too
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab with a copy of the notebook that has never been run."""
    notebook = classroom.read(classroom.REPOSITORY / "notebooks" / NAME)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / NAME).write_bytes(classroom.dump(notebook))
    with serving(tmp_path, "jupyterlab", f"--ServerApp.root_dir={tmp_path / 'work'}") as address:
        yield address


@pytest.fixture
def page():
    """A page in a browser without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("no chromium on the path")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, timeout=180_000)
        page = browser.new_page(viewport=dict(width=1280, height=900))
        page.set_default_timeout(180_000)
        yield page
        browser.close()


def finished(page, address: str, path: Path) -> list[dict]:
    """The code cells as saved, once every one has been run or one has stopped the others; else nothing."""
    if any(kernel["execution_state"] != "idle" for kernel in ask(f"{address}/api/kernels")):
        return []
    page.keyboard.press("Control+s")
    time.sleep(1)
    cells = [cell for cell in classroom.read(path)["cells"] if cell["cell_type"] == "code"]
    failed = any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    return cells if failed or all(cell["execution_count"] for cell in cells) else []


def test_the_first_notebook_runs_in_jupyterlab(page, lab, tmp_path):
    page.goto(f"{lab}/lab/tree/{NAME}?reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    wait_for(lambda: ask(f"{lab}/api/kernels"), 180, "a kernel")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    cells = wait_for(lambda: finished(page, lab, tmp_path / "work" / NAME), 300, "the last cell")
    page.screenshot(path=tmp_path / "page.png")

    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"] == []
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    shown = page.locator(".jp-OutputArea-output img")
    assert shown.count() >= 1 and shown.first.evaluate("image => image.complete && image.naturalWidth") > 100
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0


# ---------------------------------------------------------------- the playground

def test_the_playground_is_typed_into_and_clicked(page, folder, tmp_path):
    pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
    (tmp_path / "work").mkdir()
    command = ("minglm", "play", "--weights", str(folder), "--out", str(tmp_path / "work" / "playground.ipynb"), "--")
    with serving(tmp_path, *command) as address:
        page.goto(f"{address}/lab/tree/playground.ipynb?reset")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        wait_for(lambda: ask(f"{address}/api/kernels"), 180, "a kernel")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        press = lambda name: page.get_by_role("button", name=name, exact=True).click()             # noqa: E731
        says = lambda words: page.locator(".minglm-says", has_text=words).wait_for()               # noqa: E731
        shown = lambda: page.locator(".jp-OutputArea-output img:visible")                          # noqa: E731

        # a prompt that cannot be painted is answered in a line
        page.locator(".jp-OutputArea-output textarea").fill('a card with "Ω"')
        press("Paint")
        says("cannot write Ω in 'Ω'")
        assert shown().count() == 0

        # paint: preview, plan and picture stand side by side
        page.locator(".jp-OutputArea-output textarea").fill('a yellow poster with a cat and the words "Hi you"')
        press("Paint")
        says("done in")
        says("understood: A yellow poster with a cat")
        cells = page.locator(".jp-OutputArea-output button[title^='row ']")
        assert shown().count() == 2 and cells.count() == 16
        boxes = [one.bounding_box() for one in (shown().nth(0), cells.nth(0), shown().nth(1))]
        assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"] and len({round(box["y"]) for box in boxes}) == 1
        assert "data:image/png" in cells.nth(6).evaluate("cell => getComputedStyle(cell).backgroundImage")
        looks = cells.nth(6).evaluate("cell => getComputedStyle(cell).backgroundImage")
        first = pixels(shown().nth(1))

        # click a cell, choose another id, paint again
        cells.nth(6).click()
        says("Row 1, column 2: id ")
        painted = page.locator(".minglm-says", has_text="was painted").inner_text().split("id ")[1].split()[0]
        offers = page.locator(f".jp-OutputArea-output button[title^='take id ']:not([title='take id {painted}'])")
        assert offers.count() >= 11
        offers.last.click()
        says("paint again to see")
        assert cells.nth(6).evaluate("cell => getComputedStyle(cell).backgroundImage") != looks
        assert pixels(shown().nth(1)) == first
        press("Paint again")
        wait_for(lambda: shown().count() == 3, 180, "the picture before")
        says("done in")
        page.screenshot(path=tmp_path / "playground.png")
        assert pixels(shown().nth(2)) == first != pixels(shown().nth(1))
        assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
        assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0


def pixels(image) -> str:
    """What a picture of the page shows, as a browser decodes it."""
    return image.evaluate("""async image => {
        await image.decode();
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data).join();
    }""")
