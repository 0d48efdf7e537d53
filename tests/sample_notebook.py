"""A small notebook with one exercise, as a notebook of the course has it, for tests to read, run and spoil."""

import inspect
import itertools
from importlib import import_module
from pathlib import Path

from minglm import course
from minglm.course import notebooks
from minglm.course.answers import Case, run

NAME = "05_try_a_sample.ipynb"
SOLVED = """\
def double(x):
    ### BEGIN SOLUTION
    y = x
    return 2 * y
    ### END SOLUTION

check.double(double)"""
STUB = "def double(x):\n    # YOUR CODE HERE\n    raise NotImplementedError\n\ncheck.double(double)"
TASK = """\
## Exercises

### Exercise 05.1: twice  (★★ build, 10 minutes)

Double a number. See [the notes](../docs/notes.md#top), [here](#top), [05](05_try_a_sample.ipynb) and `a[0](b)`.

<details><summary>Hint</summary>

Add it to itself.

</details>"""
HEAD = """\
# 05 Try a sample

**Double a number.**

* *You will do:* arithmetic.
* *You will learn:* arithmetic.
* *You need:* nothing.
* *Time:* 25 minutes to read."""


def double(learner):
    """Twice a number."""
    run("double", learner, Case((3,), 6, {"that is the square, 3 * 3": 9, "that is half": 1.5}))


def markdown(source: str) -> dict:
    return dict(cell_type="markdown", metadata={}, source=source)


def code(source: str, *outputs: dict, tags: tuple[str, ...] = ()) -> dict:
    return dict(cell_type="code", metadata=dict(tags=list(tags)) if tags else {}, outputs=list(outputs), source=source)


def printed(text: str, name: str = "stdout") -> dict:
    return dict(output_type="stream", name=name, text=text)


def picture(kind: str = "image/png", alt: str = "A black square on white.") -> dict:
    return dict(output_type="display_data", data={kind: "iVBORw0KGgo=", "text/plain": "<Figure>"},
                metadata={kind: dict(alt=alt)} if alt else {})


def notebook(*cells: dict) -> dict:
    """A notebook of these cells, run from top to bottom."""
    counts = itertools.count(1)
    for number, cell in enumerate(cells):
        cell["id"] = f"05-{number:02}"
        if cell["cell_type"] == "code":
            cell["execution_count"] = next(counts)
    metadata = dict(kernelspec=dict(display_name="Python 3", language="python", name="python3"),
                    language_info=dict(name="python"))
    return dict(cells=list(cells), metadata=metadata, nbformat=4, nbformat_minor=5)


def sample() -> dict:
    imports = "import math\n\nfrom minglm.course import check_05 as check\nfrom minglm.course.answers import Case, run\n\n"
    return notebook(
        markdown(HEAD), code(f"{imports}{inspect.getsource(double)}\ncheck.double = double"),
        code("print(math.pi)", picture()),
        markdown("It stands for a picture.\n\n> **In the real GLM-Image** it is larger."),
        markdown(TASK), code(SOLVED, printed("double: right, 1 case\n"), tags=("nbval-ignore-output",)),
        markdown("## Summary\n\n[The web](https://example.org/x)\n\n## References"), code("print(math.tau)"))


def clone(folder: Path) -> Path:
    """A repository with the sample in it; returns the folder of its notebooks."""
    for name, data in {f"notebooks/{NAME}": notebooks.dump(sample()), "docs/notes.md": b"# top"}.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(data)
    return folder / "notebooks"


def checks() -> dict:
    """Every check in the modules check_*.py of the course, by its name."""
    names = sorted(path.stem for path in Path(course.__file__).parent.glob("check_*.py"))
    assert len(names) > 10, names
    modules = [import_module(f"minglm.course.{name}") for name in names]
    return {name: value for module in modules for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__ and
            getattr(value, "__code__", None) and value.__code__.co_varnames[:1] == ("learner",)}
