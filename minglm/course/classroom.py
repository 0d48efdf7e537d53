"""A class from the course: student copies of the notebooks, without solutions, and a page for the teacher.

A notebook of the course holds task, solution and check of each exercise. Between two markers, nbgrader's own, stands
what a student has to find:

    def double(x):
        ### BEGIN SOLUTION
        return 2 * x
        ### END SOLUTION

    check.double(double)
"""

from __future__ import annotations

import json
import os
import re
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from inspect import getdoc
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from minglm.course import answers
from minglm.files import DATA

REPOSITORY = DATA.parent
WEEKS = {"The model, its world and its words": range(3), "Pictures become ids, and a planner writes": range(3, 6),
         "Plan and paint": range(6, 9), "Letters, whole pictures, the real thing": range(9, 100)}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
MARKER = re.compile(r"(BEGIN|END) SOLUTION|#\W*(?i:(begin|end)[\W_]*solution)")   # also what was meant to be one
HEADING = re.compile(r"### Exercise (\d\d\.\d+): (.+?) +\((★+), (\d+) minutes\)")
CHECK = re.compile(r"(?<![\w.])check\.(\w+)\(")
TIME = re.compile(r"^\* \*Time:\* (\d+) minutes", re.M)
LINK = re.compile(r'```.*?```|`[^`\n]*`|(?<=\]\()[^)\s]+|(?<= src=")[^"]+|(?<= href=")[^"]+', re.S)


@dataclass
class Exercise:
    """What stands under one exercise's heading: its text, and the source of its code cells."""

    number: str
    name: str
    stars: str
    minutes: int
    text: str
    cells: list[str]

    @property
    def checks(self) -> list[str]:
        return CHECK.findall("\n".join(self.cells))


def read(path: Path) -> dict:
    """A notebook, with the source of each cell as one text."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path.name} is not a notebook that can be read") from None
    return notebook


def dump(notebook: dict) -> bytes:
    """A notebook as Jupyter writes it."""
    lines = [cell | dict(source=cell["source"].splitlines(keepends=True)) for cell in notebook["cells"]]
    return (json.dumps(notebook | dict(cells=lines), indent=1, ensure_ascii=False) + "\n").encode()


def exercises(notebook: dict) -> list[Exercise]:
    """The exercises of a notebook, in order. An exercise ends where the next heading begins."""
    found, current = [], None
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and current:
            current.cells.append(cell["source"])
        for line in cell["source"].splitlines() if cell["cell_type"] == "markdown" else ():
            if match := HEADING.fullmatch(line.rstrip()):
                number, name, stars, minutes = match.groups()
                found.append(current := Exercise(number, name, stars, int(minutes), "", []))
            elif line.startswith("### Exercise"):
                raise ValueError(f"{line!r} should read '### Exercise 05.2: name (★★, 10 minutes)'")
            elif line.startswith(("# ", "## ", "### ")):
                current = None
            elif current:
                current.text += line + "\n"
    return found


def without_solution(source: str) -> str:
    """A cell as a student gets it. Raises ValueError unless its markers stand in pairs."""
    kept, inside = [], False
    for line in source.split("\n"):
        marker = line.strip() if MARKER.search(line) else None
        if marker not in (None, BEGIN, END):
            raise ValueError(f"{marker!r} is neither {BEGIN!r} nor {END!r}")
        if marker and (marker == BEGIN) == inside:
            raise ValueError(f"{marker!r} {'inside a solution' if inside else 'without a beginning'}")
        if marker == BEGIN:
            indent = line[:len(line) - len(line.lstrip())]
            kept += [indent + "# YOUR CODE HERE", indent + "raise NotImplementedError"]
        elif not marker and not inside:
            kept.append(line)
        inside = marker == BEGIN or inside and not marker
    if inside:
        raise ValueError(f"{BEGIN!r} without an end")
    return "\n".join(kept)


def student(notebook: dict) -> dict:
    """A copy without solutions and outputs. Cells that cannot pass yet are tagged, so that Run All goes on."""
    copy = deepcopy(notebook)
    for number, cell in enumerate(copy["cells"], 1):
        source = cell["source"]
        try:
            cell["source"] = without_solution(source)
            if cell["cell_type"] != "code" and cell["source"] != source:
                raise ValueError("a solution in a cell that is not code")
        except ValueError as error:
            raise ValueError(f"cell {number} ({source.splitlines()[0]}): {error}") from None
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            cell["metadata"].pop("execution", None)                     # when it was run
            if cell["source"] != source or CHECK.search(source):
                tags = cell["metadata"].setdefault("tags", [])
                tags += {"raises-exception"} - {*tags}
    return copy


def links(notebook: dict) -> list[str]:
    """The relative targets that the text of a notebook links to."""
    texts = (cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return [link for text in texts for link in LINK.findall(text) if is_relative(link)]


def is_relative(link: str) -> bool:
    return not link.startswith(("`", "#", "data:", "mailto:", "attachment:")) and "://" not in link


def linked_file(link: str, folder: Path) -> Path:
    """The file that a relative link leads to. Raises ValueError if there is none in the repository."""
    path = (folder / link.partition("#")[0]).resolve()
    if not path.is_file() or not path.is_relative_to(folder.parent.resolve()):
        raise ValueError(f"the link {link!r} leads to no file of the repository")
    return path


def build(folder: Path) -> dict[str, bytes]:
    """Every file of the class by its name: student copies, what they link to, and the teacher's page."""
    files, notebooks = {}, {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not notebooks:
        raise ValueError(f"no notebooks in {folder}: run from a clone, installed with pip install -e .")

    def moved(match: re.Match) -> str:
        link = match[0]
        if not is_relative(link) or (path := linked_file(link, folder)).stem in notebooks:
            return link
        name = f"source/{path.relative_to(folder.parent.resolve()).as_posix()}"
        files[f"students/{name}"] = path.read_bytes()
        return name + link[len(link.partition("#")[0]):]

    course = {}
    for name, path in notebooks.items():
        try:
            course[name] = notebook = read(path)
            copy = student(notebook)
            exercises(notebook)
            for cell in copy["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = LINK.sub(moved, cell["source"])
        except ValueError as error:
            raise ValueError(f"{path.name}, {error}") from None
        files[f"students/{path.name}"] = dump(copy)
    return files | {"teacher.md": teacher(course).encode()}


def mistakes(function) -> list[str]:
    """The mistakes that a check knows by name: those of the cases that it hands to `run`."""
    found = {}

    def record(name, learner, *cases, **options):
        found.update((why, None) for case in cases for why in case.mistakes)

    def unsolved(*arguments):
        raise NotImplementedError

    with patch.dict(function.__globals__, run=record):
        try:
            function(unsolved)
        except answers.Wrong:                                             # of a check that goes on by itself
            pass
    return list(found)


def literal(text: str) -> str:
    """Text as Markdown that shows it as it is: a <boi> is no HTML, and 2 * 3 * 4 is not in italics."""
    return re.sub(r"`[^`]*`|[<*]", lambda match: match[0] if match[0][0] == "`" else "\\" + match[0], text)


def teacher(course: dict[str, dict]) -> str:
    """The teacher's page: a timetable, and for each exercise what is checked, mistakes and the solution."""
    titles = {name: notebook["cells"][0]["source"].splitlines()[0].lstrip("# ") for name, notebook in course.items()}
    tasks = {name: exercises(notebook) for name, notebook in course.items()}
    page = [INTRODUCTION, "| week | notebook | reading | exercises |\n|---|---|---|---|"]
    for week, (theme, numbers) in enumerate(WEEKS.items(), 1):
        names = [name for name in course if int(name[:2]) in numbers]
        reading = {name: sum(map(int, TIME.findall(course[name]["cells"][0]["source"]))) for name in names}
        practice = {name: sum(task.minutes for task in tasks[name]) for name in names}
        total = sum(reading.values()) + sum(practice.values())
        page[-1] += f"\n| **{week}** | **{theme}** | | **{total / 60:.1f} hours in all** |"
        for name in names:
            page[-1] += f"\n| | {titles[name]} | {reading[name]} min | {len(tasks[name])}, {practice[name]} min |"
    for name, notebook in course.items():
        page.append(f"## {titles[name]}")
        for task in tasks[name]:
            page.append(f"### {task.number} {task.name} ({task.stars}, {task.minutes} minutes)")
            checks = import_module(f"minglm.course.check_{name[:2]}")
            for function in (getattr(checks, each) for each in task.checks):
                page.append(f"`check.{function.__name__}`: {literal(getdoc(function))}")
                if known := mistakes(function):
                    page.append("Mistakes it knows:\n\n" + "\n".join(f"* {literal(why)}" for why in known))
            code = "\n\n".join(cell for cell in task.cells if BEGIN in cell)
            code = "\n".join(line for line in code.split("\n") if not MARKER.search(line))
            page.append(f"<details><summary>Solution</summary>\n\n```python\n{code}\n```\n\n</details>")
    return "\n\n".join(page) + "\n"


def write(out: Path, force: bool = False) -> str:
    """Make a class in the folder `out`; says in one line what was made.

    Nothing is lost: a folder with something in it needs `force`, and a file that differs from the new one is renamed.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"cannot write to {out}: it is not a folder")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise ValueError(f"{out} is not empty: choose another folder, or --force (old files are kept)")
    files = build(REPOSITORY / "notebooks")
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".classroom-", dir=out) as temporary:
        for name, data in files.items():
            (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(temporary) / name).write_bytes(data)
        for name, data in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.read_bytes() != data:
                names = (path.with_name(f"{path.stem}.{n}{path.suffix}") for n in count(1))
                path.rename(next(name for name in names if not name.exists()))
            os.replace(Path(temporary) / name, path)
    copies = sum(name.endswith(".ipynb") for name in files)
    return f"{out}: {copies} student copies in students/ to hand out, and teacher.md with the solutions to keep"


INTRODUCTION = """\
# For the teacher

This page has the solutions; hand out the folder `students/` only. Its notebooks run wherever minglm is installed, cell
by cell or with *Run All*: what is not solved yet raises an error, and the cells after it do not need it. So any
subset of the exercises can be set. A check prints one line when an answer is right, and says what is wrong when it
is not. The repository holds the solutions too, as the course is also for people who learn alone.

A course with nbgrader can take the repository's notebooks as they are, since the markers are nbgrader's:

```sh
jupyter nbconvert --to notebook NOTEBOOK --output COPY --ClearSolutions.enforce_metadata=False \\
  --Exporter.preprocessors='["nbgrader.preprocessors.ClearSolutions","nbgrader.preprocessors.ClearOutput"]'
```

## Timetable

Four weeks. Each notebook is read and run in class, its exercises are done there or at home; they can be chosen by their
stars, ★ easy to ★★★ hard. Times are the course's own estimates."""
