"""Answers carried over: from a copy that somebody has worked in to a newer one of the same notebook."""

from __future__ import annotations

import re

from minglm.course.notebooks import STUB

UNSOLVED = "raise NotImplementedError"
HOLE = re.compile(rf"[ \t]*{re.escape(STUB)}\n[ \t]*{UNSOLVED}(?:\(\))?")


def carried(old: dict, new: dict) -> tuple[dict, int, int]:
    """A new student copy with the answers of an old one; how many these are, and how many were left behind.

    A cell is recognised by its id, and has an answer if some of its stubs are gone. It is taken as it is if
    what stands around the stubs is still what the new copy has there; otherwise the answer is left behind.
    """
    before, after = ({cell["id"]: cell["source"].strip() for cell in each["cells"] if "id" in cell}
                     for each in (old, new))
    cells, count, left = [], 0, 0
    for cell in new["cells"]:
        stub, name = cell["source"].strip(), cell.get("id")
        if STUB in stub and name in before:
            answer, check = before[name], f"{name}-check"
            if check in after and check not in before:                  # nbgrader's, in a cell of its own
                answer = answer.replace(after[check], "").strip()
            if answer.count(UNSOLVED) < stub.count(UNSOLVED):
                fits = re.fullmatch(".*".join(map(re.escape, HOLE.split(stub))), answer, re.S)
                count, left = count + bool(fits), left + (not fits)
                cell = cell | dict(source=answer) if fits else cell
        cells.append(cell)
    return new | dict(cells=cells), count, left


def up_to_date(old: dict, new: dict) -> bool:
    """Whether an old copy lacks nothing of the new one: text and code agree, answers apart.

    What was run in the old one, or added to it, does not count.
    """
    before = {cell.get("id"): cell["source"].strip() for cell in old["cells"]}
    return all(before.get(cell.get("id")) == cell["source"].strip() for cell in carried(old, new)[0]["cells"])
