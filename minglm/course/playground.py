"""Where the playground is opened: in a notebook by `show`, and by `minglm play` in a JupyterLab of its own.

    from minglm.course import playground

    playground.show(pipe)

Nothing here needs Jupyter before it is asked for: the widgets are in panel.py, what they do in play.py.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from minglm.course import notebooks
from minglm.device import pick
from minglm.files import writable
from minglm.generate.pipeline import Pipeline
from minglm.model import weights as disk
from minglm.published.snapshot import is_snapshot

FUNCTIONS = "paint, alternatives, repaint and show of minglm.course.play do the same; help(play) shows how"
TEXT = """# A place to play

Run the cell below: click into it and press *Shift* + *Enter*. Then type a prompt and press *Paint*. Each id
of preview and plan is drawn as the mean of the patches that have it. Click a cell of the plan, take another
id, and paint again."""
TEMPORARY = """

This notebook goes when JupyterLab is shut down; `minglm play --out mine.ipynb` makes one that stays."""
CODE = """from minglm import Pipeline
from minglm.course import playground
from minglm.device import set_threads

set_threads()
playground.show(Pipeline.from_pretrained({weights!r}, {device!r}))"""


def show(pipe: Pipeline) -> None:
    """Show the playground. Outside Jupyter, or without ipywidgets, say which functions do the same."""
    if find_spec("ipywidgets") is None:
        print("no buttons without ipywidgets (pip install -e '.[notebooks]'):", FUNCTIONS)
        return
    if not in_jupyter():
        print("no buttons outside Jupyter:", FUNCTIONS)
        return
    from IPython.display import display

    from minglm.course.panel import Panel

    display(Panel(pipe).box)


def in_jupyter() -> bool:
    """Whether a kernel runs this, which can talk to a browser."""
    shell = sys.modules.get("IPython")
    return getattr(shell and shell.get_ipython(), "kernel", None) is not None


def notebook(weights: str, device: str, stays: bool) -> dict:
    """A notebook with the playground in it, and whether it stays when JupyterLab is shut down."""
    cells = [dict(cell_type="markdown", id="play-0", metadata={}, source=TEXT + TEMPORARY * (not stays)),
             dict(cell_type="code", id="play-1", metadata={}, outputs=[], execution_count=None,
                  source=CODE.format(weights=weights, device=device))]
    kernel = dict(name="python3", display_name="Python 3", language="python")
    return dict(cells=cells, metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)


def open_lab(weights: str, device: str, out: Path | None, options: list[str]) -> None:
    """Open JupyterLab on a notebook with the playground, and return when it is shut down.

    out: where to write the notebook; None: into a folder that is removed in the end. options: of JupyterLab.
    Raises ValueError without Jupyter, if there is something at `out`, and for weights that cannot be loaded.
    """
    if absent := [name for name in ("jupyterlab", "ipywidgets") if find_spec(name) is None]:
        raise ValueError(f"playing needs {' and '.join(absent)}: pip install -e '.[notebooks]'")
    if out is not None:
        if out.exists():
            raise ValueError(f"{out} is there already: jupyter lab {out} opens it; or choose another name")
        if out.suffix != ".ipynb":
            raise ValueError(f"cannot write {out}: use a name that ends in .ipynb")
        writable(out)
    pick(device)
    folder = disk.find(weights)
    if is_snapshot(folder):
        raise ValueError(f"{weights} is no model of posters, which is what the playground is for")
    disk.load(folder)                        # what is wrong with them is said here, not in the notebook
    # the notebook's kernel works in the notebook's folder, from where a relative path leads elsewhere
    source = folder.name if folder.parent == disk.FOLDER else str(folder.resolve())

    from jupyterlab.labapp import LabApp

    with nullcontext(out.resolve().parent) if out else TemporaryDirectory(prefix="minglm-play-") as place:
        path = Path(place) / (out.name if out else "playground.ipynb")
        with path.open("xb") as file:        # x: never over what is there
            file.write(notebooks.dump(notebook(source, device, stays=out is not None)))
        LabApp.launch_instance([str(path), f"--ServerApp.root_dir={path.parent}", *options])
