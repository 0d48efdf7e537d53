"""The teacher's page: a timetable, and for each exercise what is checked, mistakes and the solution."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import getdoc
from unittest.mock import patch

from minglm.course import answers
from minglm.course.notebooks import MARKER, TIME, exercises, marked

WEEKS = {
    "The model, its world and its words": range(3),
    "Pictures become latents and ids": range(3, 5),
    "A planner writes": range(5, 7),
    "A decoder paints": range(7, 9),
    "Letters, and whole pictures": range(9, 13),
    "Cards, and the real thing": range(13, 100),
}
LEARN = re.compile(r"^\* \*You will learn:\* (.+?)$", re.M)


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
        except (answers.Wrong, NotImplementedError):                      # of a check that goes on by itself
            pass
    return list(found)


def literal(text: str) -> str:
    """Text as Markdown that shows it as it is: a <boi> is no HTML, and 2 * 3 * 4 is not in italics."""
    return re.sub(r"`[^`]*`|[<*]", lambda match: match[0] if match[0][0] == "`" else "\\" + match[0], text)


def teacher(course: dict[str, dict]) -> str:
    """The teacher's page: a timetable, and for each exercise what is checked, mistakes and the solution."""
    titles = {
        name: notebook["cells"][0]["source"].splitlines()[0].lstrip("# ") for name, notebook in course.items()
    }
    tasks = {name: exercises(notebook) for name, notebook in course.items()}
    page = [INTRODUCTION, "| week | notebook | reading | exercises |\n|---|---|---|---|"]
    for week, (theme, numbers) in enumerate(WEEKS.items(), 1):
        names = [name for name in course if int(name[:2]) in numbers]
        reading = {name: sum(map(int, TIME.findall(course[name]["cells"][0]["source"]))) for name in names}
        practice = {name: sum(task.minutes for task in tasks[name]) for name in names}
        total = sum(reading.values()) + sum(practice.values())
        page[-1] += f"\n| **{week}** | **{theme}** | | **{total / 60:.1f} hours in all** |"
        for name in names:
            page[-1] += (
                f"\n| | {titles[name]} | {reading[name]} min | {len(tasks[name])}, {practice[name]} min |"
            )
    page.append(SYLLABUS)
    for theme, numbers in WEEKS.items():
        goals = [f"* **{titles[name]}**: {' '.join(LEARN.findall(course[name]['cells'][0]['source']))}"
                 for name in course if int(name[:2]) in numbers]
        page.append("\n".join([f"**{theme}.**", "", *goals]))
    for name, notebook in course.items():
        page.append(f"## {titles[name]}")
        for task in tasks[name]:
            page.append(f"### {task.number} {task.name} ({task.stars}, {task.minutes} minutes)")
            checks = import_module(f"minglm.course.check_{name[:2]}")
            for function in (getattr(checks, each) for each in task.checks):
                page.append(f"`check.{function.__name__}`: {literal(getdoc(function))}")
                if known := mistakes(function):
                    page.append("Mistakes it knows:\n\n" + "\n".join(f"* {literal(why)}" for why in known))
            scheme = "\n".join(line for line, kind, end in marked(task.text) if kind and not end)
            if scheme:
                page.append(f"Mark scheme:\n\n{scheme}")
            code = "\n\n".join(cell for cell in task.cells if MARKER.search(cell))
            code = "\n".join(line for line, kind, end in marked(code) if not (kind == "SOLUTION" and end))
            page.append(f"<details><summary>Solution</summary>\n\n```python\n{code}\n```\n\n</details>")
    return "\n\n".join(page) + "\n"


INTRODUCTION = """\
# For the teacher

This page has the solutions; hand out the folder `students/` only. Its notebooks run wherever minglm is
installed, cell by cell or with *Run All*: what is not solved yet raises an error, and the cells after it do
not need it. So any subset of the exercises can be set. A check prints one line when an answer is right, and
says what is wrong when it is not. The repository holds the solutions too, as the course is also for people
who learn alone.

A course with nbgrader can take the repository's notebooks as they are, since the markers are nbgrader's:

```sh
jupyter nbconvert --to notebook NOTEBOOK --output COPY --ClearSolutions.enforce_metadata=False \\
  --ClearHiddenTests.enforce_metadata=False --ClearMarkScheme.enforce_metadata=False \\
  --Exporter.preprocessors='["nbgrader.preprocessors.ClearSolutions","nbgrader.preprocessors.ClearHiddenTests",
    "nbgrader.preprocessors.ClearMarkScheme","nbgrader.preprocessors.ClearOutput"]'
```

## Timetable

Six weeks. Each notebook is read and run in class, its exercises are done there or at home; they can be
chosen by their stars: ★ warms up, ★★ builds, ★★★ is an experiment or goes further. Times are the course's own
estimates. Where time is short, set the ★★ exercises of 02, 03, 05, 07 and 08, which build what trains and
paints, and run the other notebooks as they are: the library's pieces stand in."""

SYLLABUS = """\
## Syllabus

To hand out. You need Python and the basics of PyTorch (tensors, `nn.Module`, `backward`); a laptop with two
cores is enough, and nothing is downloaded. Every notebook runs by itself. In each you write pieces of an
image generator, check them, and train or paint with them at once; pieces you have solved are kept in the
folder `my_minglm` and used later."""
