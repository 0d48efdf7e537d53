"""A notebook as nbgrader takes it: what a student answers, what is graded and for how many points.

nbgrader grades cells. Each cell of an exercise is divided in two: the solution, which it clears for the
student's copy, and the check, locked, which gives its points if it raises nothing: one for each star. (A
check that writes to stderr would give none, and one that ends in a number would give that.)
"""

from __future__ import annotations

from copy import deepcopy

from minglm.course.notebooks import BEGIN, CHECK, END, HEADING, may_fail

SCHEMA = 3                                   # of nbgrader's metadata


def gradable(notebook: dict) -> dict:
    """A copy with nbgrader's metadata, still solved: nbgrader makes the student's copy from it."""
    cells, number, stars = [], "", 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            for match in filter(None, map(HEADING.fullmatch, cell["source"].splitlines())):
                number, stars = match[1], len(match[3])
        if cell["cell_type"] == "code" and BEGIN in cell["source"]:
            solution, check = divided(cell["source"])
            identity = f"exercise-{number.replace('.', '-')}"
            cells += [made(cell, solution, identity, solution=True),
                      made(cell, check, f"{identity}-check", points=stars)]
        else:
            cells.append(dict(cell))
    return notebook | dict(cells=cells)


def divided(source: str) -> tuple[str, str]:
    """A cell up to its check, and the check: what begins at the margin after the last solution."""
    lines = source.split("\n")
    end = max(i for i, line in enumerate(lines) if END in line)
    first = next((i for i in range(end + 1, len(lines)) if lines[i][:1].strip()), len(lines))
    check = "\n".join(lines[first:])
    if not CHECK.search(check):
        raise ValueError(f"no check after the solution in the cell {lines[0]!r}")
    return "\n".join(lines[:first]).rstrip(), check


def made(cell: dict, source: str, identity: str, solution: bool = False, points: int = 0) -> dict:
    """A cell of an exercise: its solution, or the check that grades it. Run All goes on after both."""
    told = dict(schema_version=SCHEMA, grade_id=identity, cell_type="code", task=False, solution=solution,
                grade=not solution, locked=not solution)
    told |= {} if solution else dict(points=points)
    name = cell.get("id", identity) + ("" if solution else "-check")
    cell = cell | dict(id=name, metadata=deepcopy(cell["metadata"]) | dict(nbgrader=told), source=source,
                       outputs=[], execution_count=None)
    may_fail(cell)
    return cell


def handed_out(notebook: dict) -> dict:
    """A student copy of a notebook that is gradable: neither cell of an exercise can be deleted, and checks
    cannot be changed, as in the copies that nbgrader makes."""
    cells = []
    for cell in notebook["cells"]:
        if told := cell["metadata"].get("nbgrader"):
            held = dict(deletable=False) | ({} if told["solution"] else dict(editable=False))
            cell = cell | dict(metadata=cell["metadata"] | held)
        cells.append(cell)
    return notebook | dict(cells=cells)
