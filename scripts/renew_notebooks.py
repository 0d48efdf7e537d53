"""Run notebooks as `make test` does and store what they put out; nothing but outputs changes.

    python scripts/renew_notebooks.py notebooks/05_build_the_planner.ipynb ...

Widgets are left out, since they show nothing without their kernel. A notebook is written whole, after its last cell, or not
at all: a cell that fails leaves the file as it was. Look at the difference before you commit it: numbers of trained models
differ from machine to machine, and a text that quotes one must stay true on all of them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

REFERENCE = dict(MINGLM_DEVICE="cpu", OMP_WAIT_POLICY="PASSIVE", TORCH_DEVICE_BACKEND_AUTOLOAD="0")  # as in the Makefile

WIDGET = "application/vnd.jupyter.widget-view+json"


def renew(path: Path) -> None:
    """Run one notebook from its folder and store its outputs. Raises CellExecutionError and leaves the file otherwise."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    ran = nbformat.read(path, as_version=4)
    NotebookClient(ran, timeout=600, coalesce_streams=True, record_timing=False,
                   resources=dict(metadata=dict(path=str(path.parent)))).execute()
    for cell, done in zip(stored["cells"], ran.cells):
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = done.execution_count, lines(
                [output for output in done.outputs if WIDGET not in output.get("data", {})])
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def lines(outputs: list) -> list:
    """Outputs as they lie in a file: long texts as lists of lines."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)])
    return json.loads(nbformat.writes(notebook))["cells"][0]["outputs"]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python scripts/renew_notebooks.py NOTEBOOK ...")
    os.environ |= REFERENCE
    for name in sys.argv[1:]:
        print(name, flush=True)
        renew(Path(name))
