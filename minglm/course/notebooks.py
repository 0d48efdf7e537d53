"""Notebooks of the course: their exercises, and a copy as a student gets it.

A notebook holds task, solution and check of each exercise. Between two markers, nbgrader's own, stands what a
student has to find:

    def double(x):
        ### BEGIN SOLUTION
        return 2 * x
        ### END SOLUTION

    check.double(double)
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
REGION = re.compile(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)")      # nbgrader's
MARKER = re.compile(r"(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)"
                    # also what was meant to be one
                    r"|#\W*(?i:(begin|end)[\W_]*(solution|hidden|mark[\W_]*scheme))")


HEADING = re.compile(r"### Exercise (\d\d\.\d+): (.+?) +\((★+), (\d+) minutes\)")
CHECK = re.compile(r"(?<![\w.])check\.(\w+)\(")
TIME = re.compile(r"^\* \*Time:\* (\d+) minutes", re.M)


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
    """A cell as a student gets it: solutions become a stub, hidden tests and mark schemes are gone.

    Raises ValueError unless nbgrader's markers stand in pairs.
    """
    kept, inside = [], None
    for line in source.split("\n"):
        marker = line.strip() if MARKER.search(line) else None
        match = marker and REGION.fullmatch(marker)
        if marker and not match:
            raise ValueError(
                f"{marker!r} is neither {BEGIN!r} nor {END!r}, nor a marker of hidden tests or a mark scheme"
            )
        verb, region = match.groups() if match else (None, None)
        if verb == "BEGIN" and inside or verb == "END" and inside != region:
            raise ValueError(
                f"{marker!r} {f'inside a {inside.lower()}' if inside else 'without a beginning'}"
            )
        if verb == "BEGIN" and region == "SOLUTION":
            indent = line[:len(line) - len(line.lstrip())]
            kept += [indent + "# YOUR CODE HERE", indent + "raise NotImplementedError"]
        elif not marker and not inside:
            kept.append(line)
        inside = region if verb == "BEGIN" else None if verb else inside
    if inside:
        raise ValueError(f"'### BEGIN {inside}' without an end")
    return "\n".join(kept)


def student(notebook: dict) -> dict:
    """A copy without solutions and outputs. Cells that cannot pass yet are tagged, so that Run All goes
    on."""
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
