"""What the teacher's page and the syllabus say whatever the notebooks are."""

from __future__ import annotations

INTRODUCTION = """\
# For the teacher

This page has the solutions; hand out the folder `students/` only. Its notebooks run cell by cell or
with *Run All*: what is not solved yet raises an error, and the cells after it do not need it. So any
subset of the exercises can be set. A check prints one line when an answer is right, and says what is
wrong when it is not.

**What leaks.** The course is also for people who learn alone. So the repository and the installed
package hold all notebooks solved, and the library has every piece that students write. Some links of
the notebooks lead to its code, which is in `students/source/` (`minglm/model/planner.py`, for one,
holds pieces of 05 and 06). And notebook 15, the capstone, is complete in every copy: it contains short
forms of many exercises of 03 to 10, such as 03.2, 04.4, 05.3, 06.4, 07.2, 07.5, 07.7, 08.3, 08.4 and
10.5. Hand it out when these are done.

**Machines.** Two cores and 4 GB of memory per student, 3 GB of disk, Python 3.11, 3.12 or 3.13; no GPU,
no make. Tested on Linux (x86-64) only. Windows and Macs with Apple silicon should do, but nobody has
tried: let one student of each kind set up early. (On Windows a check cannot stop a loop that never
ends: interrupt the kernel.) PyTorch 2.13 does not exist for Macs with Intel processors or a macOS
before 14, nor for Windows on ARM; those need Colab or a machine of yours. Outputs of training differ a
little from machine to machine.

**Installing.** `students/syllabus.md` has the commands. Replace its `REPOSITORY` by the address of your
clone, hand it out a week before the course, and have students do this at home: about 450 MB are
downloaded, 200 of them PyTorch; after that the notebooks need no network. On Linux the order of the
commands matters: left to itself, pip takes PyTorch for NVIDIA cards, which fills five gigabytes.

**Without a network**, hand out the packages, for each system and version of Python (450 MB; minglm with
its weights is one of them, so students need no clone). In the clone, on such a machine:

```sh
pip wheel -w wheels torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu     # on Linux
pip wheel -w wheels --find-links wheels ".[notebooks,ocr]"
```

Students then install from the folder:

```sh
pip install --no-index --find-links wheels "minglm[notebooks,ocr]"
```

Notebook 14 also compares with the published code, which needs the extra `parity`
(`.[notebooks,ocr,parity]`); without it, all the rest of 14 runs. `minglm doctor` says what is missing.

**Languages and accessibility.** The notebooks are in English; the README and its glossary are in
Chinese, too. Figures use colours that can be told apart with any colour vision, and all have
alternative texts.

## Timetable

Eight weeks, at five to six hours a week; the last one, with the capstone, takes longer. Stars say how
hard an exercise is, from ★ to ★★★, and are its points; a word says of what kind it is: a *warm-up* (★,
always) is a first step, a *build* makes a piece of the system, an *experiment* computes or measures an
answer, and a *stretch* goes beyond the model of this course and may be left out.

**How honest are the minutes?** Those of 02, 05 and 08 rest on three trial readers, who solved these
notebooks by hand; all others are the authors' estimates, scaled from these. No class has been timed, so
plan for one and a half to two times as long with beginners."""

TWELVE = """\
For twelve weeks, take one notebook a week from 00 to 10, and 14 with 15 in the last; 11 and 12, about
editing and reinforcement learning, and 13 and 16, about accelerators, are optional. In a short course,
set the exercises that build what paints a picture, and let the library's pieces stand in for those you
leave out: 02.4, 02.7; 03.4, 03.5; 04.1; 05.1 to 05.7; 06.4, 06.5; 07.5, 07.7 to 07.9; 08.1 to 08.6;
09.1 to 09.5; 10.1 to 10.6."""

RUNNING = """\
## Running a class

* **Hand out** `students/`, and `students/syllabus.md` first. Students put the folder anywhere and start
  JupyterLab there. Pieces that pass their check are kept in the folder `my_minglm` beside the notebook:
  who moves a notebook moves that folder, too.
* **Week by week**: `minglm classroom OUT --through 2` makes the copies up to notebook 02; a week later,
  `--through 4` adds 03 and 04. What is there stays as it is. (16, of week 7, comes with 15, of week 8:
  keep 15 back until then.)
* **Collect** the notebooks and `my_minglm`.
* **What a check cannot see.** It accepts the library's own function, so look at the code, or ask one
  question about it. Only a check's line "right, ... cases" counts: other verdicts in a notebook are
  about the library where a piece is not solved.

### Grading with nbgrader

Decide before you hand out: nbgrader gives points only for copies that were made with `--nbgrader`, in
which the check of each exercise has a locked cell of its own, worth one point for each star. (Copies
made without it can still be turned into such: see the next section.) Install nbgrader into minglm's
environment, and activate that (nbgrader calls a program, `alembic`, by its name).

```sh
pip install nbgrader
minglm classroom class/ --nbgrader
cd class/nbgrader                                      # the next four commands are for here
nbgrader generate_assignment 05_build_the_planner      # once: enters its exercises in gradebook.db
nbgrader autograde 05_build_the_planner                # runs what was submitted; --force: once more
nbgrader generate_feedback 05_build_the_planner        # feedback/: a page for each student, to hand back
nbgrader export                                        # grades.csv: the points of all students so far
```

* **Hand out** `class/students/`, not the folder `release/` that nbgrader makes: there each notebook
  stands alone, and notebook 10 would not find the pieces from 02 to 09.
* **Submissions** go, before `autograde`, to `submitted/STUDENT/05_build_the_planner/`: the notebook
  under the name that it was handed out with and, for 10, the student's `my_minglm` beside it.
  (`nbgrader zip_collect` puts there what a Moodle or the like has collected.)
* `autograde` runs whole notebooks, a minute or two for each student, and it runs what students wrote
  under your account: use one that may be lost, or a container. A right answer gets all points of its
  exercise, a wrong or missing one none. Parts of them are given by hand, in nbgrader's *formgrader*
  (JupyterLab's menu, where it is started in this folder).
* Points that you do not want to count (a *stretch*, say): set `"points": 0` in the check's metadata in
  `source/`, before `generate_assignment`.

### A correction in mid-course

* **Of the library or a check**: `git pull` in each clone, nothing more: `-e` has installed the clone
  itself. (From a folder of wheels: `pip install --no-deps --force-reinstall` with minglm's new one.)
* **Of a notebook**: make the class again with `--force` (and `--through`, if you use it; a class that
  was made with `--nbgrader` stays so). Files that differ are renamed first (`03_....1.ipynb`), so
  nothing is lost; put the address into the syllabus again. Students do the same to their own copies, as
  the syllabus says: their answers are carried over, and a copy that differs from the new one in its
  answers only is left alone. (A corrected notebook that is put in the place of the old one has no
  answers.) With `--nbgrader`, copies that were made without it become such that nbgrader can grade.
* **In nbgrader**, after that: `nbgrader generate_assignment ... --force`, and
  `nbgrader autograde ... --force`. Its old sources are in `nbgrader/replaced/`.
* `make lab` makes `my_course/` once and leaves it alone after that. To renew it:
  `minglm classroom my_course --students-only --force`.

# Exercises"""

CAPSTONE = """\
A project instead of exercises, six to ten hours: rebuild the system from memory, as the notebook's last
section describes. A way to mark it: the world and its captions (1), a tokenizer whose ids tell the
shapes apart (2), a planner whose plans follow the caption (2), a decoder that paints from ids and
letters (3), and a word it has never seen that the OCR reads (2)."""

SYLLABUS = """\
# Syllabus

You need Python and the basics of PyTorch (tensors, `nn.Module`, `backward`); a laptop with two cores, 4
GB of memory and 3 GB of free disk is enough. Every notebook runs by itself. In each you write pieces of
an image generator, check them, and train or paint with them at once; pieces you have solved are kept in
the folder `my_minglm` beside the notebook and used later.

## Set up

Once, and before the first class: about 450 MB are downloaded. After that no network is needed. You need
Python 3.11, 3.12 or 3.13, and git. On Linux or a Mac (Apple silicon, macOS 14 or later):

```sh
git clone --depth 1 REPOSITORY minglm
cd minglm
python3 -m venv .venv
.venv/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu    # not on a Mac
.venv/bin/pip install -e ".[notebooks,ocr]"
.venv/bin/minglm doctor
```

(On Debian and Ubuntu, `python3 -m venv` needs the package `python3-venv`.) The fourth command keeps pip
from filling five gigabytes with PyTorch for NVIDIA cards. On Windows:

```sh
git clone --depth 1 REPOSITORY minglm
cd minglm
py -m venv .venv
.venv\\Scripts\\python -m pip install -e ".[notebooks,ocr]"
.venv\\Scripts\\python -m minglm doctor
```

`doctor` should say `absent` of `torch-npu` only. Put the folder with this page, `students`, beside
`minglm`, and open it from minglm's environment (in VS Code, choose `.venv` as the kernel):

```sh
.venv/bin/jupyter lab ../students
.venv\\Scripts\\python -m jupyterlab ..\\students
```

## Work

Write your code where a cell says `YOUR CODE HERE`, in place of `raise NotImplementedError`, then run
the check. What is not solved raises an error, and everything else runs all the same. Add cells where
you like, but do not delete cells of exercises: a grading program recognises them by hidden names.
Before you hand a notebook in, restart the kernel and run all cells.

When notebooks have been corrected, make your copies again, with the folder *above* `students` (here
`..`), and with the options `--through` or `--nbgrader` if your teacher says so:

```sh
git pull
.venv/bin/minglm classroom .. --students-only --force
.venv\\Scripts\\python -m minglm classroom .. --students-only --force
```

Your old copies are renamed (`03_....1.ipynb`), and your answers are carried over to the new ones.

## What you learn"""
