"""The teacher's page: a timetable, and for each exercise what is checked, mistakes and the solution."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from inspect import getdoc, getsource
from unittest.mock import patch

from tqdm import tqdm

from minglm.course import answers
from minglm.course.notebooks import MARKER, TIME, exercises, marked
from minglm.course.words import CAPSTONE, INTRODUCTION, RUNNING, SYLLABUS, TWELVE

WEEKS = {
    "The model, its world and its words": range(3),
    "Pictures become latents and ids": range(3, 5),
    "A planner writes": range(5, 7),
    "A decoder paints": range(7, 9),
    "Letters, and whole pictures": range(9, 11),
    "Edits and rewards": range(11, 13),
    "Cards, and the real thing": (13, 14, 16),
    "The capstone": (15,),
}
PROJECT = 8 * 60                             # minutes of the capstone, which has no exercises,
PROJECT_POINTS = 10                          # and its points, those of its mark scheme below
LEARN = re.compile(r"^\* \*You will learn:\* (.+?)$", re.M)


def mistakes(function) -> list[str]:
    """The mistakes that a check knows by name: those of the cases that it hands to `run`, and those that it
    raises by itself, with an ellipsis for what depends on the answer."""
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
    for node in ast.walk(ast.parse(getsource(function))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Wrong":
            parts = getattr(node.args[0], "values", node.args)
            why = "".join(str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "…"
                          for part in parts)
            found[why.removeprefix(f"{function.__name__}: ")] = None
    return list(found)


def literal(text: str) -> str:
    """Text as Markdown that shows it as it is: a <boi> is no HTML, and 2 * 3 * 4 is not in italics."""
    return re.sub(r"`[^`]*`|[<*]", lambda match: match[0] if match[0][0] == "`" else "\\" + match[0], text)


def title(notebook: dict) -> str:
    return notebook["cells"][0]["source"].splitlines()[0].lstrip("# ")


def timetable(course: dict[str, dict]) -> str:
    """A table of weeks with their notebooks, and minutes and points of each."""
    table = "| week | notebook | reading | exercises | points |\n|---|---|---|---|---|"
    for week, (theme, numbers) in enumerate(WEEKS.items(), 1):
        names = [name for name in course if int(name[:2]) in numbers]
        reading = {name: sum(map(int, TIME.findall(course[name]["cells"][0]["source"]))) for name in names}
        tasks = {name: exercises(course[name]) for name in names}
        practice = {name: sum(task.minutes for task in tasks[name]) or PROJECT for name in names}
        total = sum(reading.values()) + sum(practice.values())
        table += f"\n| **{week}** | **{theme}** | | **{total / 60:.1f} hours in all** | |"
        for name in names:
            what = len(tasks[name]) or "a project"
            points = sum(len(task.stars) for task in tasks[name]) or PROJECT_POINTS
            table += (f"\n| | {title(course[name])} | {reading[name]} min | {what}, {practice[name]} min "
                      f"| {points} |")
    return table


def syllabus(course: dict[str, dict]) -> str:
    """The page to hand out: what is needed, and what each week teaches."""
    page = [SYLLABUS]
    for theme, numbers in WEEKS.items():
        goals = [f"* **{title(course[name])}**: "
                 f"{' '.join(LEARN.findall(course[name]['cells'][0]['source']))}"
                 for name in course if int(name[:2]) in numbers]
        page.append("\n".join([f"**{theme}.**", "", *goals]))
    return "\n\n".join(page) + "\n"


def teacher(course: dict[str, dict]) -> str:
    """The teacher's page: a timetable, and for each exercise the task, what is checked, mistakes and the
    solution."""
    page = [INTRODUCTION, timetable(course), TWELVE, RUNNING]
    for name, notebook in tqdm(course.items(), "teacher.md", unit="notebook", disable=None, leave=False):
        page.append(f"## {title(notebook)}")
        tasks = exercises(notebook)
        if not tasks:
            page.append(CAPSTONE)
        for task in tasks:
            page.append(f"### {task.number} {task.name} ({task.stars} {task.grade}, {task.minutes} minutes)")
            scheme = "\n".join(line for line, kind, end in marked(task.text) if kind and not end)
            text = "\n".join(line for line, kind, _ in marked(task.text) if not kind).strip()
            page.append(f"<details><summary>Task</summary>\n\n{text}\n\n</details>")
            checks = import_module(f"minglm.course.check_{name[:2]}")
            for function in (getattr(checks, each) for each in task.checks):
                page.append(f"`check.{function.__name__}`: {literal(getdoc(function))}")
                if known := mistakes(function):
                    page.append("Mistakes it knows:\n\n" + "\n".join(f"* {literal(why)}" for why in known))
            if scheme:
                page.append(f"Mark scheme:\n\n{scheme}")
            code = "\n\n".join(cell for cell in task.cells if MARKER.search(cell))
            code = "\n".join(line for line, kind, end in marked(code) if not (kind == "SOLUTION" and end))
            page.append(f"<details><summary>Solution</summary>\n\n```python\n{code}\n```\n\n</details>")
    return "\n\n".join(page) + "\n"
