"""scripts/renew_notebooks.py stores new outputs and nothing else, and nothing at all when a cell fails."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "renew_notebooks.py"


def renew(folder: Path, *sources: str) -> tuple[int, dict, dict]:
    """(exit code, notebook before, notebook after) of a notebook with these cells and a stale output each."""
    cells = [nbformat.v4.new_code_cell(source, execution_count=9,
                                       outputs=[nbformat.v4.new_output("stream", text="stale\n")]) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=dict(
        name="python3", display_name="Python 3", language="python")))
    path = folder / "small.ipynb"
    nbformat.write(notebook, path)
    before = json.loads(path.read_text(encoding="utf-8"))
    ran = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, timeout=120)
    assert [each.name for each in folder.iterdir()] == ["small.ipynb"]
    return ran.returncode, before, json.loads(path.read_text(encoding="utf-8"))


def test_outputs_are_renewed_and_nothing_else(tmp_path):
    code, before, after = renew(tmp_path, "import os\nprint(os.environ['MINGLM_DEVICE'])\nprint('你好')", "1 + 1")
    assert code == 0
    first, second = (cell.pop("outputs") for cell in after["cells"])
    assert first == [dict(name="stdout", output_type="stream", text=["cpu\n", "你好\n"])]
    assert second[0]["data"] == {"text/plain": ["2"]} and second[0]["execution_count"] == 2
    assert [cell.pop("execution_count") for cell in after["cells"]] == [1, 2]
    for cell in before["cells"]:
        del cell["outputs"], cell["execution_count"]
    assert after == before


def test_widgets_are_left_out(tmp_path):
    pytest.importorskip("ipywidgets")
    code, _, after = renew(tmp_path, "import ipywidgets\nprint('a button')\nipywidgets.Button()", "display(ipywidgets.Text())\n3")
    first, second = (cell["outputs"] for cell in after["cells"])
    assert code == 0 and "widgets" not in after["metadata"]
    assert [output["text"] for output in first] == [["a button\n"]]
    assert [output["data"] for output in second] == [{"text/plain": ["3"]}]


@pytest.mark.parametrize("last", ["1 / 0", "raise SystemExit"])
def test_a_cell_that_fails_leaves_the_file(tmp_path, last):
    code, before, after = renew(tmp_path, "1 + 1", last)
    assert code != 0 and after == before
