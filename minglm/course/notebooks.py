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
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

KINDS = {"SOLUTION": "a solution", "HIDDEN TESTS": "hidden tests", "MARK SCHEME": "a mark scheme"}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "# YOUR CODE HERE"
MARKER = re.compile(r"(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)"         # also what was meant to be one
                    r"|#\W*(?i:(begin|end)[\W_]*(solution|hidden[\W_]*test|mark(?:ing)?[\W_]*scheme))")
GRADES = "warm-up", "build", "experiment", "stretch"
HEADING = re.compile(rf"### Exercise (\d\d\.\d+): (.+?) +\((★+) ({'|'.join(GRADES)}), (\d+) minutes\)")
CHECK = re.compile(r"(?<![\w.])check\.(\w+)\(")
TIME = re.compile(r"^\* \*Time:\* (\d+) minutes", re.M)


@dataclass
class Exercise:
    """What stands under one exercise's heading: the task, which ends with the first code cell, and the source
    of its code cells."""

    number: str
    name: str
    stars: str
    grade: str
    minutes: int
    text: str
    cells: list[str]

    @property
    def checks(self) -> list[str]:
        return CHECK.findall("\n".join(self.cells))


def read(path: Path) -> dict:
    """A notebook, with the source of each cell as one text."""
    return parsed(path.read_bytes(), path.name)


def parsed(data: bytes, name: str) -> dict:
    """`read` for a notebook whose bytes are at hand."""
    try:
        notebook = json.loads(data.decode())
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{name} is not a notebook that can be read") from None
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
                *told, minutes = match.groups()
                found.append(current := Exercise(*told, int(minutes), "", []))
            elif line.startswith("### Exercise"):
                raise ValueError(f"{line!r} should read '### Exercise 05.2: name (★★ build, 10 minutes)'; "
                                 f"grades are {', '.join(GRADES)}")
            elif line.startswith(("# ", "## ", "### ")) and not MARKER.search(line):
                current = None
            elif current and not current.cells:
                current.text += line + "\n"
    return found


def marked(source: str) -> Iterator[tuple[str, str, str]]:
    """Each line of a cell, the kind of region it is in ("" outside), and "BEGIN" or "END" if it is a marker.

    Raises ValueError unless markers stand in pairs, alone in their lines.
    """
    inside = ""
    for line in source.split("\n"):
        if not (match := MARKER.search(line)):
            yield line, inside, ""
            continue
        marker, letter = line.strip(), (match[2] or match[4]).upper()[0]
        kind = next(kind for kind in KINDS if kind[0] == letter)
        ends = {f"### {end} {kind}": end for end in ("BEGIN", "END")}
        if marker not in ends:
            raise ValueError(f"{marker!r} is neither {' nor '.join(map(repr, ends))}")
        if ends[marker] == "BEGIN" and inside:
            raise ValueError(f"{marker!r} inside {KINDS[inside]}")
        if ends[marker] == "END" and inside != kind:
            raise ValueError(f"{marker!r} without a beginning")
        yield line, kind, ends[marker]
        inside = kind if ends[marker] == "BEGIN" else ""
    if inside:
        raise ValueError(f"'### BEGIN {inside}' without an end")


def without_solution(source: str) -> str:
    """A cell as a student gets it: solutions become a stub, hidden tests and mark schemes are gone.

    Raises ValueError for malformed markers, and, as nbgrader does, for an attached picture in what is taken
    out: the attachment would be handed out.
    """
    kept = []
    for line, kind, end in marked(source):
        if not kind:
            kept.append(line)
        elif "(attachment:" in line:
            raise ValueError(f"an attachment in {KINDS[kind]} would be handed out")
        elif kind == "SOLUTION" and end == "BEGIN":
            indent = line[:len(line) - len(line.lstrip())]
            kept += [indent + STUB, indent + "raise NotImplementedError"]
    return "\n".join(kept)


def student(notebook: dict) -> dict:
    """A copy without outputs and what is for the teacher alone.

    Cells that cannot pass yet are tagged, so that Run All goes on.
    """
    copy = deepcopy(notebook)
    for number, cell in enumerate(copy["cells"], 1):
        source = cell["source"]
        try:
            cell["source"] = without_solution(source)
            if cell["cell_type"] != "code" and BEGIN in source:
                raise ValueError("a solution in a cell that is not code")
        except ValueError as error:
            raise ValueError(f"cell {number} ({source.splitlines()[0]}): {error}") from None
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            cell["metadata"].pop("execution", None)                     # when it was run
            if cell["source"] != source or CHECK.search(source):
                may_fail(cell)
    return copy


def may_fail(cell: dict) -> None:
    """Tag a cell, so that Run All goes on after it."""
    tags = cell["metadata"].setdefault("tags", [])
    tags += {"raises-exception"} - {*tags}
