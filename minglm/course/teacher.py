"""The teacher's page: a timetable, and for each exercise what is checked, mistakes and the solution."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import getdoc
from unittest.mock import patch

from tqdm import tqdm

from minglm.course import answers
from minglm.course.notebooks import MARKER, TIME, exercises, marked

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
PROJECT = 8 * 60                             # minutes of the capstone, which has no exercises
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


def title(notebook: dict) -> str:
    return notebook["cells"][0]["source"].splitlines()[0].lstrip("# ")


def timetable(course: dict[str, dict]) -> str:
    """A table of weeks with their notebooks, and the minutes of each."""
    table = "| week | notebook | reading | exercises |\n|---|---|---|---|"
    for week, (theme, numbers) in enumerate(WEEKS.items(), 1):
        names = [name for name in course if int(name[:2]) in numbers]
        reading = {name: sum(map(int, TIME.findall(course[name]["cells"][0]["source"]))) for name in names}
        tasks = {name: exercises(course[name]) for name in names}
        practice = {name: sum(task.minutes for task in tasks[name]) or PROJECT for name in names}
        total = sum(reading.values()) + sum(practice.values())
        table += f"\n| **{week}** | **{theme}** | | **{total / 60:.1f} hours in all** |"
        for name in names:
            what = len(tasks[name]) or "a project"
            table += f"\n| | {title(course[name])} | {reading[name]} min | {what}, {practice[name]} min |"
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


INTRODUCTION = """\
# For the teacher

This page has the solutions; hand out the folder `students/` only. Its notebooks run cell by cell or with *Run
All*: what is not solved yet raises an error, and the cells after it do not need it. So any subset of the
exercises can be set. A check prints one line when an answer is right, and says what is wrong when it is not.

**What leaks.** The course is also for people who learn alone. So the repository holds all notebooks solved,
the installed package has every piece that students write, and notebook 15, the capstone, is complete in every
copy: it contains short forms of 04.4, 06.4, 07.5 and 07.7. Hand it out when these are done. Some links lead
to the library's code, which is in `students/source/`.

**Machines.** Linux on x86-64 is tested, with Python 3.11 to 3.13; other systems are not. Two cores and 4 GB
of memory per student, 3 GB of disk, no GPU. `pip install '.[notebooks,ocr]'` in the clone installs what the
notebooks need (notebook 14 also compares with the published code: `.[notebooks,ocr,parity]`), and `minglm
doctor` says what is missing. Installing downloads PyTorch, about 200 MB; after that nothing is downloaded.
Outputs of training differ a little from machine to machine.

**Languages and accessibility.** The notebooks are in English; the README and its glossary are in Chinese,
too. Figures use colours that can be told apart with any colour vision, and all have alternative texts.

## Timetable

Eight weeks, at five to six hours a week; the last one, with the capstone, takes longer. Stars say how hard
an exercise is, from ★ to ★★★, and a word says of what kind: a *warm-up* (★, always) is a first step, a
*build* makes a piece of the system, an *experiment* computes or measures an answer, and a *stretch* goes
beyond the model of this course and may be left out.

**How honest are the minutes?** Those of 02, 05 and 08 rest on three trial readers, who solved these
notebooks by hand; all others are the authors' estimates, scaled from these. No class has been timed, so plan
for one and a half to two times as long with beginners."""

TWELVE = """\
For twelve weeks, take one notebook a week from 00 to 10, and 14 with 15 in the last; 11 and 12, about
editing and reinforcement learning, and 13 and 16, about accelerators, are optional. In a short course, set
the exercises that build what paints a picture, and let the library's pieces stand in for those you leave out:
02.4, 02.7; 03.4, 03.5; 04.1; 05.1 to 05.7; 06.4, 06.5; 07.5, 07.7 to 07.9; 08.1 to 08.6; 09.1 to 09.5;
10.1 to 10.6."""

RUNNING = """\
## Running a class

* **Hand out** `students/`, and `students/syllabus.md` first. Pieces that pass their check are kept in the
  folder `my_minglm` beside the notebook: who moves a notebook moves that folder, too.
* **Week by week**: `minglm classroom OUT --through 2` makes the copies up to notebook 02; a week later,
  `--through 4` adds 03 and 04. What is there stays as it is.
* **Collect** the notebooks and `my_minglm`.
* **Grade with nbgrader**: `minglm classroom OUT --nbgrader` also makes `OUT/nbgrader`, a course whose
  assignments are the notebooks. Solutions are marked; each check is a locked cell that gives one point for
  each star. There, `nbgrader generate_assignment 05_build_the_planner` makes the student's copy, and
  `nbgrader autograde` runs what was submitted, which takes as long as the notebook does. Activate the
  environment first: nbgrader calls a program, `alembic`, by its name.
* **What a check cannot see.** It accepts the library's own function, so look at the code, or ask one question
  about it. Only a check's line "right, ... cases" counts: other verdicts in a notebook are about the library
  where a piece is not solved.
* **Update** with `minglm classroom OUT --force`: files that differ are renamed first (`03_....1.ipynb`), so
  nothing is lost, but solved cells have to be copied over. `make lab` makes `my_course/` once and leaves it
  alone after that.

# Exercises"""

CAPSTONE = """\
A project instead of exercises, six to ten hours: rebuild the system from memory, as the notebook's last
section describes. A way to mark it: the world and its captions (1), a tokenizer whose ids tell the shapes
apart (2), a planner whose plans follow the caption (2), a decoder that paints from ids and letters (3), and a
word it has never seen that the OCR reads (2)."""

SYLLABUS = """\
# Syllabus

You need Python and the basics of PyTorch (tensors, `nn.Module`, `backward`); a laptop with two cores is
enough. Every notebook runs by itself. In each you write pieces of an image generator, check them, and train
or paint with them at once; pieces you have solved are kept in the folder `my_minglm` and used later."""
