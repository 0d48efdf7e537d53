"""Student copies: no solution is left in them, every check fails on them, and nothing else does."""

import contextlib
import copy
import io
import json
import linecache
import os
import re
import subprocess
import symtable
import sys
import tempfile
import types
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import sample_notebook
from nbclient import NotebookClient
from sample_notebook import NAME, SOLVED, STUB, code, sample

from minglm.__main__ import main
from minglm.arguments import command_line
from minglm.course import carry, check_01, check_05, classroom, grading, notebooks, teacher
from minglm.course import words as prose
from minglm.course.answers import Wrong

NOTEBOOKS = sorted((classroom.REPOSITORY / "notebooks").glob("*.ipynb"))
WITH_EXERCISES = [path for path in NOTEBOOKS if notebooks.exercises(notebooks.read(path))]    # all but the capstone
BEGIN, END = notebooks.BEGIN, notebooks.END


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A repository with the sample notebook in it, and the check it uses."""
    monkeypatch.setattr(check_05, "double", sample_notebook.double, raising=False)
    monkeypatch.setattr(classroom, "REPOSITORY", tmp_path / "clone")
    monkeypatch.chdir(tmp_path)
    return sample_notebook.clone(tmp_path / "clone")


def replace_cell(folder, number, **changes):
    notebook = sample()
    notebook["cells"][number] |= changes
    (folder / NAME).write_bytes(notebooks.dump(notebook))


# ---------------------------------------------------------------- markers

def test_a_solution_becomes_a_stub():
    assert notebooks.without_solution(SOLVED) == STUB
    two = SOLVED.replace("    y = x\n", f"    y = x\n    {END}\n    y = 1\n    {BEGIN}\n")
    assert notebooks.without_solution(two).count("raise NotImplementedError") == 2
    assert notebooks.without_solution("x = 1\n") == "x = 1\n"


@pytest.mark.parametrize("source, words", [
    (f"{BEGIN}\nx = 1", "without an end"), (f"x = 1\n{END}", "without a beginning"),
    (f"{END}\n{BEGIN}", "without a beginning"), (f"{BEGIN}\n{END}\n{END}", "without a beginning"),
    (f"{BEGIN}\n{BEGIN}\n{END}\n{END}", "inside a solution"),
    (f"{BEGIN}\n1\n### END  SOLUTION", "neither"), ("## BEGIN SOLUTION\n1\n## END SOLUTION", "neither"),
    ("### begin solution\n1\n### end solution", "neither"), (f"{BEGIN} of 5\n1\n{END}", "neither"),
    (f'text = """\n{BEGIN}"""', "neither"), ("# BEGIN_SOLUTION", "neither"), ("print('BEGIN SOLUTION')", "neither")])
def test_malformed_markers_are_refused(source, words, course, capsys):
    with pytest.raises(ValueError, match=words):
        notebooks.without_solution(source)
    replace_cell(course, 5, source=source)
    assert main(["classroom", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minglm: 05_try_a_sample.ipynb, cell 6 (") and words in error and error.count("\n") == 1
    assert not Path("out").exists()


def test_solutions_stand_in_code(course, capsys):
    replace_cell(course, 4, source=f"Text\n\n{BEGIN}\nhidden\n{END}")
    assert main(["classroom", "out"]) == 2
    assert "cell 5 (Text): a solution in a cell that is not code" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["HIDDEN TESTS", "MARK SCHEME"])
def test_what_nbgrader_hides_is_taken_out(kind):
    begin, end = f"### BEGIN {kind}", f"### END {kind}"
    hidden = f"{SOLVED}\n{begin}\nassert double(3) == 6\n{end}\ny = 1\n    {begin}\n    pass\n    {end}\n"
    assert notebooks.without_solution(hidden) == f"{STUB}\ny = 1\n"
    assert notebooks.without_solution(f"Say why.\n{begin}\n* 2 points\n{end}\nThanks.") == "Say why.\nThanks."


@pytest.mark.parametrize("source, words", [
    ("### BEGIN HIDDEN TESTS\n1", "without an end"), ("1\n### END MARK SCHEME", "without a beginning"),
    ("### BEGIN HIDDEN TESTS\n### END MARK SCHEME", "without a beginning"),
    (f"{BEGIN}\n### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\n{END}", "inside a solution"),
    (f"### BEGIN MARK SCHEME\n{BEGIN}\n{END}\n### END MARK SCHEME", "inside a mark scheme"),
    ("# begin hidden test\n1", "neither"), ("## BEGIN HIDDEN TESTS\n1\n## END HIDDEN TESTS", "neither"),
    ("### BEGIN MARKING SCHEME\n1", "neither"), ("### BEGIN MARK SCHEME of 05.1", "neither"),
    ("### BEGIN MARK SCHEME\n![plot](attachment:a.png)\n### END MARK SCHEME", "an attachment in a mark scheme")])
def test_malformed_hidden_parts_are_refused(source, words, course, capsys):
    replace_cell(course, 5, source=source)
    assert main(["classroom", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minglm: 05_try_a_sample.ipynb, cell 6 (") and words in error and error.count("\n") == 1
    assert not Path("out").exists()


def test_the_teacher_s_page_keeps_what_is_hidden(course):
    notebook, scheme = sample(), "\n\n### BEGIN MARK SCHEME\n* 2 points for the sum\n### END MARK SCHEME\n\nMore."
    notebook["cells"][4]["source"] += scheme
    hidden = code("### BEGIN HIDDEN TESTS\nassert double(4) == 8\n### END HIDDEN TESTS")
    notebook["cells"].insert(6, hidden | dict(execution_count=4, id="05-hidden"))
    (course / NAME).write_bytes(notebooks.dump(notebook))
    assert main(["classroom", "out"]) == 0
    page = Path("out/teacher.md").read_text(encoding="utf-8")
    assert "Mark scheme:\n\n* 2 points for the sum\n\n<details>" in page and page.count("2 points") == 1
    assert "check.double(double)\n\n### BEGIN HIDDEN TESTS\nassert double(4) == 8\n### END HIDDEN TESTS\n```" in page
    copy = Path("out/students", NAME).read_text(encoding="utf-8")
    assert "points" not in copy and "double(4)" not in copy and "HIDDEN" not in copy and "More." in copy


def test_a_student_copy_has_neither_solutions_nor_outputs():
    before = sample()
    given = copy.deepcopy(before)
    got = notebooks.student(given)
    assert given == before
    assert [c["source"] for c in got["cells"]] == [c["source"].replace(SOLVED, STUB) for c in before["cells"]]
    cells = [c for c in got["cells"] if c["cell_type"] == "code"]
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in cells)
    assert [c["metadata"].get("tags", []) for c in cells] == [[], [], ["nbval-ignore-output", "raises-exception"], []]
    nbformat.validate(nbformat.reads(notebooks.dump(got).decode(), 4))
    assert notebooks.student(got) == got                                            # a copy of a copy


def test_exercises_are_read_from_their_headings():
    task, = notebooks.exercises(sample())
    assert (task.number, task.name, task.stars, task.grade, task.minutes) == ("05.1", "twice", "★★", "build", 10)
    assert task.checks == ["double"] and task.cells == [SOLVED] and "<summary>Hint</summary>" in task.text


@pytest.mark.parametrize("heading", [
    "5.1: x  (★ warm-up, 5 minutes)", "05.1: x", "05.1 x (★ warm-up, 5 minutes)", "05.1: x (●○ build, 5 minutes)",
    "05.1: x (★ warm-up, 5 min)", "05.1: x (★, 5 minutes)", "05.1: x (★ easy, 5 minutes)"])
def test_malformed_headings_are_refused(heading, course, capsys):
    replace_cell(course, 4, source="### Exercise " + heading)
    assert main(["classroom", "out"]) == 2 and "should read '### Exercise" in capsys.readouterr().err


# ---------------------------------------------------------------- the command

def test_a_class_is_made(course, capsys):
    assert main(["classroom", "new/class"]) == 0
    assert capsys.readouterr().out.startswith("new/class: 1 student copies in students/")
    made = sorted(str(p.relative_to("new/class")) for p in Path("new/class").rglob("*") if p.is_file())
    assert made == ["students/05_try_a_sample.ipynb", "students/source/docs/notes.md", "students/syllabus.md", "teacher.md"]
    text = Path("new/class/students/05_try_a_sample.ipynb").read_text(encoding="utf-8")
    assert "return 2" not in text and "(source/docs/notes.md#top)" in text and "(05_try_a_sample.ipynb)" in text
    assert "(#top)" in text and "`a[0](b)`" in text and "(https://example.org/x)" in text


def test_the_teacher_s_page(course):
    main(["classroom", "out"])
    page = Path("out/teacher.md").read_text(encoding="utf-8")
    for words in ("| **3** | **A planner writes** | | **0.6 hours in all** | |",
                  "| | 05 Try a sample | 25 min | 1, 10 min | 2 |", "### 05.1 twice (★★ build, 10 minutes)",
                  "`check.double`: Twice a number.", "* that is the square, 3 \\* 3\n* that is half",
                  "<summary>Task</summary>\n\nDouble a number. See [the notes](students/source/docs/notes.md#top), [here](#top), "
                  "[05](students/05_try_a_sample.ipynb) and `a[0](b)`.",
                  "<summary>Solution</summary>\n\n```python\ndef double(x):\n    y = x\n    return 2 * y\n\ncheck"):
        assert words in page, words
    assert "SOLUTION" not in page


def test_the_task_on_the_teacher_s_page_ends_where_the_code_begins(course):
    """What follows the exercise's cell may discuss the answer, or ask about the next cell."""
    notebook = sample()
    notebook["cells"].insert(6, sample_notebook.markdown("As you have found, it is 2x. **Predict first.** Which is larger?"))
    (course / NAME).write_bytes(notebooks.dump(notebook))
    task, = notebooks.exercises(notebooks.read(course / NAME))
    assert task.text.rstrip().endswith("</details>") and task.cells == [SOLVED]
    main(["classroom", "out"])
    page = Path("out/teacher.md").read_text(encoding="utf-8")
    assert "Double a number." in page and "Predict first" not in page and "As you have found" not in page


def test_a_learner_s_folder_has_no_solutions(course, capsys):
    """That of `make lab`."""
    assert main(["classroom", "out", "--students-only"]) == 0
    assert capsys.readouterr().out == "out: 1 student copies in students/ to hand out\n"
    made = [path for path in Path("out").rglob("*") if path.is_file()]
    assert len(made) == 3 and not any("return 2" in path.read_text(encoding="utf-8") for path in made)
    assert main(["classroom", "other", "--students-only", "--nbgrader"]) == 0       # a student's of such a class
    made = [path for path in Path("other").rglob("*") if path.is_file()]
    assert len(made) == 3 and not any("return 2" in path.read_text(encoding="utf-8") for path in made)
    assert Path("other/students", NAME).read_text(encoding="utf-8").count('"nbgrader": {') == 2


def test_a_folder_with_something_in_it_is_refused(course, capsys):
    Path("out").mkdir()
    assert main(["classroom", "out"]) == 0                                          # an empty one is not
    Path("out/teacher.md").write_text("mine")
    Path("out/students/05_try_a_sample.ipynb").unlink()
    assert main(["classroom", "out"]) == 2
    error = capsys.readouterr().err
    assert error == "minglm: out is not empty: choose another folder, or --force (old files are kept)\n"
    assert Path("out/teacher.md").read_text() == "mine" and sorted(os.listdir("out/students")) == ["source", "syllabus.md"]
    Path("file").write_text("mine")
    for force in ([], ["--force"]):
        assert main(["classroom", "file", *force]) == 2 and Path("file").read_text() == "mine"


def test_force_keeps_what_it_replaces(course, capsys):
    main(["classroom", "out"])
    kept = {"out/teacher.md": "1", "out/students/05_try_a_sample.ipynb": "2", "out/notes.txt": "3"}
    for name, text in kept.items():
        Path(name).write_text(text)
    assert main(["classroom", "out", "--force"]) == main(["classroom", "out", "--force"]) == 0
    assert Path("out/notes.txt").read_text() == "3" and Path("out/teacher.1.md").read_text() == "1"
    assert Path("out/students/05_try_a_sample.1.ipynb").read_text() == "2"
    assert "2 old files are kept" in capsys.readouterr().out
    assert sorted(os.listdir("out")) == ["notes.txt", "students", "teacher.1.md", "teacher.md"]
    Path("out/teacher.md").write_text("4")
    assert main(["classroom", "out", "--force"]) == 0
    assert Path("out/teacher.1.md").read_text() == "1" and Path("out/teacher.2.md").read_text() == "4"


def test_a_class_grows_week_by_week(course, capsys):
    later = sample()
    later["cells"][0]["source"] = later["cells"][0]["source"].replace("05", "07")
    later["cells"] = [cell for cell in later["cells"] if "Exercise" not in cell["source"] and not of_exercise(cell)]
    (course / "07_go_on.ipynb").write_bytes(notebooks.dump(later))
    grow = ["classroom", "out", "--nbgrader", "--through"]
    assert main([*grow, "4"]) == 2 and "no notebook has a number up to 4" in capsys.readouterr().err
    assert main([*grow, "6"]) == 0
    assert capsys.readouterr().out.startswith("out: 1 student copies in students/ to hand out, 1 of them new, up to 06, and")
    assert not [*Path("out").rglob("07_*")] and "## 07" in Path("out/teacher.md").read_text(encoding="utf-8")
    mine = {"out/teacher.md": "1", "out/students/05_try_a_sample.ipynb": "2", f"out/nbgrader/source/05_try_a_sample/{NAME}": "3"}
    for name, text in mine.items():
        Path(name).write_text(text)
    assert main([*grow, "7"]) == 0 and "2 student copies in students/ to hand out, 1 of them new" in capsys.readouterr().out
    assert {name: Path(name).read_text() for name in mine} == mine                  # nothing renamed, either:
    assert sorted(path.name for path in Path("out").rglob("0*.ipynb")) == [NAME, NAME, "07_go_on.ipynb", "07_go_on.ipynb"]
    assert main([*grow, "7"]) == 0 and "0 of them new" in capsys.readouterr().out
    assert main(["classroom", "out"]) == 2 and "out is not empty" in capsys.readouterr().err
    Path("other").mkdir()
    Path("other/notes.txt").touch()
    assert main(["classroom", "other", "--through", "7"]) == 2 and "other is not empty" in capsys.readouterr().err


def test_what_only_later_notebooks_link_to_is_not_handed_out_before_them(course):
    later = sample_notebook.notebook(sample_notebook.markdown("# 07 Go on\n\n[The pieces of 05](../docs/pieces.md)"))
    (course / "07_go_on.ipynb").write_bytes(notebooks.dump(later))
    (course.parent / "docs" / "pieces.md").write_text("solved", encoding="utf-8")
    assert main(["classroom", "out", "--nbgrader", "--through", "5"]) == 0
    assert [path.name for path in Path("out").rglob("*.md")].count("notes.md") == 2 and not [*Path("out").rglob("pieces.md")]
    assert main(["classroom", "out", "--through", "7"]) == 0 and len([*Path("out").rglob("pieces.md")]) == 2   # still for nbgrader


# ---------------------------------------------------------------- answers are carried over

ANSWER = "def double(x):\n    # my own\n    return x + x\n\ncheck.double(double)"


def worked_in(path: Path, source: str, **changes) -> None:
    """As a student leaves a copy: an answer, outputs, a cell more."""
    notebook = notebooks.read(path)
    cell, = (cell for cell in notebook["cells"] if notebooks.STUB in cell["source"])
    cell |= dict(source=source, outputs=[sample_notebook.printed("double: right, 1 case\n")], execution_count=3)
    notebook["cells"].append(sample_notebook.markdown("My notes.") | dict(id="mine"))
    path.write_bytes(notebooks.dump(notebook | changes))


def answer_of(path: Path) -> str:
    return next(cell["source"] for cell in notebooks.read(path)["cells"] if cell.get("id") == "05-05")


def test_a_copy_that_is_up_to_date_is_left_alone(course, capsys):
    main(["classroom", "out", "--students-only"])
    mine = Path("out/students", NAME)
    worked_in(mine, ANSWER)
    before = mine.read_bytes()
    assert main(["classroom", "out", "--students-only", "--force"]) == 0
    assert mine.read_bytes() == before and "old files" not in capsys.readouterr().out
    assert [path.name for path in mine.parent.glob("*.ipynb")] == [NAME]


@pytest.mark.parametrize("then", [[], ["--nbgrader"]])
@pytest.mark.parametrize("first", [[], ["--nbgrader"]])
def test_answers_are_carried_over_to_a_corrected_notebook(first, then, course, capsys):
    """Also where the check gets a cell of its own; a class that was made for nbgrader stays so."""
    main(["classroom", "out", "--students-only", *first])
    mine, definition = Path("out/students", NAME), ANSWER.partition("\n\n")[0]
    worked_in(mine, definition if first else ANSWER)
    before = mine.read_bytes()
    replace_cell(course, 3, source="It stands for a picture, as has been corrected.")
    assert main(["classroom", "out", "--students-only", "--force", *then]) == 0
    assert "1 old files are kept as NAME.1.ipynb and the like; answers carried over: 1\n" in capsys.readouterr().out
    assert (mine.parent / "05_try_a_sample.1.ipynb").read_bytes() == before
    assert "as has been corrected" in mine.read_text(encoding="utf-8")
    assert "".join(answer_of(mine).split()) == "".join((definition if first or then else ANSWER).split())
    assert ("05-05-check" in mine.read_text(encoding="utf-8")) == bool(first or then)


@pytest.mark.parametrize("source, told", [
    (STUB, ""),                                                                     # nothing there to carry over
    ("def double(x):\n    # tried\n    raise NotImplementedError\n\ncheck.double(double)", ""),
    ("def twice(x):\n    return x + x\n\ncheck.double(twice)", "answers left in the old files, since their exercises have changed: 1")])
def test_what_does_not_fit_stays_in_the_old_copy(source, told, course, capsys):
    main(["classroom", "out"])
    mine = Path("out/students", NAME)
    worked_in(mine, source)
    replace_cell(course, 3, source="Corrected.")
    assert main(["classroom", "out", "--force"]) == 0
    said = capsys.readouterr().out
    assert told in said and "carried over" not in said and ("left in" in said) == bool(told)
    assert answer_of(mine) == STUB and answer_of(mine.with_name("05_try_a_sample.1.ipynb")) == source


def test_a_corrected_exercise_is_handed_out_again(course, capsys):
    main(["classroom", "out"])
    mine = Path("out/students", NAME)
    worked_in(mine, ANSWER)
    replace_cell(course, 5, source=SOLVED.replace("def double(x)", "def double(x: float)"))
    assert main(["classroom", "out", "--force"]) == 0 and "exercises have changed: 1" in capsys.readouterr().out
    assert "def double(x: float)" in answer_of(mine) and notebooks.STUB in answer_of(mine)


def test_of_two_holes_in_a_cell_one_may_be_filled():
    two = SOLVED.replace("    y = x\n", f"    y = x\n    {END}\n    y = 1\n    {BEGIN}\n")
    new = notebooks.student(sample_notebook.notebook(code(two)))
    stub, = (cell["source"] for cell in new["cells"])
    half = stub.replace(f"    {notebooks.STUB}\n    raise NotImplementedError\n", "    y = 3\n", 1)
    old = sample_notebook.notebook(code(half))
    corrected = new | dict(cells=[*new["cells"], sample_notebook.markdown("More.") | dict(id="more")])
    assert not carry.up_to_date(old, corrected) and carry.up_to_date(old, new)
    got, count, left = carry.carried(old, corrected)
    assert (got["cells"][0]["source"], count, left) == (half, 1, 0)


def test_old_assignments_are_not_left_among_the_new_ones(course):
    """nbgrader takes every notebook in an assignment's folder for a part of it."""
    main(["classroom", "out", "--nbgrader"])
    replace_cell(course, 3, source="Corrected.")
    assert main(["classroom", "out", "--nbgrader", "--force"]) == 0
    found = sorted(str(path.relative_to("out/nbgrader")) for path in Path("out/nbgrader").rglob("*.ipynb"))
    assert found == ["replaced/05_try_a_sample.1.ipynb", f"source/05_try_a_sample/{NAME}"]


def test_a_failed_write_leaves_what_was_there(course, monkeypatch, capsys):
    main(["classroom", "out"])
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    replace_cell(course, 0, source="# 05 Other")
    write = Path.write_bytes

    def full(path, data):
        if path.name == "teacher.md":
            raise OSError("no space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["classroom", "out", "--force"]) == 2 and "no space left" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("source, words", [
    ("[x](absent.md)", "'absent.md' leads to no file"), ("[x](../docs)", "'../docs'"),
    ("![x](../../away.png)", "away.png"), ('<img src="absent.png">', "absent.png"),
    ("[x](/etc/hostname)", "/etc/hostname")])
def test_links_that_lead_nowhere_are_refused(source, words, course, capsys):
    Path("away.png").touch()
    replace_cell(course, 6, source=source)
    assert main(["classroom", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minglm: 05_try_a_sample.ipynb, the link") and words in error and not Path("out").exists()


def test_broken_notebooks_and_none_at_all_are_refused(course, capsys):
    (course / NAME).write_text("{}")
    assert main(["classroom", "out"]) == 2 and "05_try_a_sample.ipynb is not a notebook" in capsys.readouterr().err
    (course / NAME).unlink()
    assert main(["classroom", "out"]) == 2 and "run from a clone" in capsys.readouterr().err


# ---------------------------------------------------------------- what a copy does when it is run

def names(source: str) -> tuple[set[str], set[str]]:
    """What a cell binds, and what it needs that it does not bind itself."""
    top = symtable.symtable(source, "cell", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    used, tables = {s.get_name() for s in top.get_symbols() if s.is_referenced()}, list(top.get_children())
    while tables:
        table = tables.pop()
        tables += table.get_children()
        used |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
        bound |= {s.get_name() for s in table.get_symbols() if s.is_declared_global() and s.is_assigned()}
    return bound, used - bound


def of_exercise(cell: dict) -> bool:
    source = cell["source"]
    return "# YOUR CODE HERE" in source or BEGIN in source or bool(notebooks.CHECK.search(source))


def borrowed(notebook: dict) -> list[str]:
    """Names that a cell takes from an earlier cell that does not pass in a student copy.

    A cell with own.use( may: it takes the library's piece while the learner's is not right.
    """
    origin, found = {}, []
    for cell in (c for c in notebook["cells"] if c["cell_type"] == "code"):
        bound, needed = names(cell["source"])
        if "own.use(" not in cell["source"]:
            found += [name for name in sorted(needed) if name in origin and of_exercise(origin[name])]
        origin |= dict.fromkeys(bound, cell)
    return found


def relevant(notebook: dict) -> list[dict]:
    """The exercises' cells, and of the others those that bind a name which these need, however indirectly."""
    chosen, needed = [], set()
    for cell in reversed([c for c in notebook["cells"] if c["cell_type"] == "code"]):
        bound, needs = names(cell["source"])
        if of_exercise(cell) or bound & needed:
            chosen.append(cell)
            needed |= needs
    return chosen[::-1]


def execute(notebook: dict) -> list[tuple[str, str, Exception | None]]:
    """Run the relevant cells here, without a kernel: (source, printed, error) of each exercise's cell."""
    plt.switch_backend("Agg")
    module, done = types.ModuleType("notebook"), []
    for number, cell in enumerate(relevant(notebook)):
        printed, error, path = io.StringIO(), None, f"<cell {number} of {id(module)}>"
        lines = cell["source"].splitlines(keepends=True)
        linecache.cache[path] = len(cell["source"]), None, lines, path              # own.keep looks for it there
        with contextlib.redirect_stdout(printed), contextlib.chdir(tempfile.gettempdir()):
            try:
                exec(compile(cell["source"], path, "exec"), vars(module))
            except Exception as raised:
                if not of_exercise(cell):
                    raise
                error = raised
        if of_exercise(cell):
            done.append((cell["source"], printed.getvalue(), error))
    plt.close("all")
    return done


def half_solved(notebook: dict, first: int) -> dict:
    """A student copy in which every second exercise is solved, from the first or the second on."""
    half = notebooks.student(notebook)
    stubs = [pair for pair in zip(half["cells"], notebook["cells"]) if pair[0]["source"] != pair[1]["source"]]
    for stub, whole in stubs[first::2]:
        stub["source"] = whole["source"]
    return half


def verify(notebook: dict) -> None:
    """What makes a notebook fit for a class, without running all of it.

    A student copy differs from its notebook in the cells of exercises only. So if these fail as they should, and no
    other cell takes a name from them, all other cells do what they do in the notebook, which `make test` runs whole.
    Whoever has solved every second exercise has these right, whatever is missing before them.
    """
    unsolved = notebooks.student(notebook)
    assert not borrowed(unsolved), f"names from an exercise are used after it: {borrowed(unsolved)}"
    for one in (unsolved, half_solved(notebook, 0), half_solved(notebook, 1), notebook):
        for source, printed, error in execute(one):
            if one is unsolved or one is not notebook and BEGIN not in source:
                assert isinstance(error, Wrong) and "nothing here yet" in str(error), f"{source}\n\n{error!r}"
            else:
                right, calls = printed.count(": right, "), len(notebooks.CHECK.findall(source))
                assert error is None and right == calls > 0, f"{source}\n\n{error!r}"


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:InlineBackend")                                 # traitlets, of matplotlib-inline
def test_every_check_fails_on_a_student_copy_and_passes_on_the_solution(path, threads):
    notebook = notebooks.read(path)
    if any("simulator.install" in cell["source"] for cell in notebook["cells"]):    # for good: in a process of its own
        script = "import pathlib, sys, test_classroom as t; t.verify(t.notebooks.read(pathlib.Path(sys.argv[1])))"
        subprocess.run([sys.executable, "-c", script, path], cwd=Path(__file__).parent, check=True)
        return
    verify(notebook)


def prepared(*cells) -> dict:
    return sample_notebook.notebook(code("from minglm.course import check_05 as check"), *cells)


def test_verify_accepts_a_fit_notebook(course):
    """Only what the exercise needs is run: no cell that divides by zero."""
    uses = code(SOLVED.replace("2", "twice"))
    after = code("double = print\n1 / 0"), code("double(twice)\ny = 1"), code("y")
    verify(prepared(code("twice = 2"), code("1 / 0"), uses, *after))


@pytest.mark.parametrize("cells, words", [
    ([code(SOLVED), code("double(3)")], r"after it: \['double'\]"),
    ([code(SOLVED), code("def f():\n    return [double(x) for x in (1,)]")], r"after it: \['double'\]"),
    ([code(SOLVED.replace("return 2", "return 3"))], "that is the square"),                 # a wrong solution
    ([code(f"def double(x):\n    return 2 * x\n\n{BEGIN}\npass\n{END}\ncheck.double(double)")], "NotImplementedError"),
    ([code("check.double(lambda x: 2 * x)")], "None"),                                       # nothing to solve
    ([code(SOLVED.replace("check.double(double)", "1"))], "None"),                           # no check
    ([code(SOLVED.replace("double(double)", "toothless(double)"))], "None")])                # a check of nothing
def test_verify_sees_what_is_wrong(cells, words, course, monkeypatch):
    monkeypatch.setattr(check_05, "toothless", lambda learner: print("toothless: right, 1 case"), raising=False)
    with pytest.raises(AssertionError, match=words):
        verify(prepared(*cells))


def run_all(notebook: dict, folder: Path) -> None:
    """Run All in a kernel: every cell of an unsolved exercise raises an error that says so, and no other cell."""
    loaded = nbformat.reads(notebooks.dump(notebook).decode(), 4)
    NotebookClient(loaded, timeout=300, resources=dict(metadata=dict(path=folder))).execute()
    for cell in (c for c in loaded.cells if c.cell_type == "code"):
        errors = [o.evalue for o in cell.outputs if o.output_type == "error"]
        unsolved = of_exercise(cell) and BEGIN not in cell.source
        deliberate = not of_exercise(cell) and "raises-exception" in cell.metadata.get("tags", [])
        assert len(errors) == (unsolved or deliberate), cell.source
        assert deliberate or all("nothing here yet" in text for text in errors), cell.source


def test_run_all_goes_on_past_what_is_not_solved(tmp_path):
    run_all(notebooks.student(sample()), tmp_path)


@pytest.mark.skipif("MINGLM_RUN_ALL" not in os.environ, reason="an hour: make classroom-test")
@pytest.mark.parametrize("copy", [notebooks.student, lambda notebook: half_solved(notebook, 0),
                                  lambda notebook: half_solved(notebook, 1)], ids=["unsolved", "odd", "even"])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_whole_student_copies(path, copy, tmp_path):
    run_all(copy(notebooks.read(path)), tmp_path)


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_nbgrader_makes_the_same_copies(path):
    preprocessors = pytest.importorskip("nbgrader.preprocessors", reason="nbgrader is not installed")
    clear = preprocessors.ClearSolutions(enforce_metadata=False)
    loaded = nbformat.read(path, 4)
    theirs, _ = clear.preprocess(loaded, {})
    ours = notebooks.student(notebooks.read(path))
    assert [c.source.replace("NotImplementedError()", "NotImplementedError") for c in theirs.cells] == [
        c["source"].replace("NotImplementedError()", "NotImplementedError") for c in ours["cells"]]
    assert any(c.source != other["source"] for c, other in zip(theirs.cells, notebooks.read(path)["cells"]))


def test_a_course_for_nbgrader_is_made(course, capsys):
    assert main(["classroom", "out", "--nbgrader"]) == 0 and "nbgrader/ is a course" in capsys.readouterr().out
    made = sorted(str(p.relative_to("out/nbgrader")) for p in Path("out/nbgrader").rglob("*") if p.is_file())
    folder = "source/05_try_a_sample"
    assert made == ["nbgrader_config.py", f"{folder}/05_try_a_sample.ipynb", f"{folder}/source/docs/notes.md"]
    solution, check = (cell for cell in notebooks.read(Path("out/nbgrader", folder, NAME))["cells"]
                       if "nbgrader" in cell["metadata"])
    assert solution["source"] + "\n\n" + check["source"] == SOLVED
    assert all("raises-exception" in cell["metadata"]["tags"] for cell in (solution, check))    # Run All goes on
    given = [cell for cell in notebooks.read(Path("out/students", NAME))["cells"] if "nbgrader" in cell["metadata"]]
    assert [cell["source"] for cell in given] == STUB.split("\n\n") and [cell["id"] for cell in given] == ["05-05", "05-05-check"]
    assert [cell["metadata"]["nbgrader"] for cell in given] == [cell["metadata"]["nbgrader"] for cell in (solution, check)]
    assert [cell["metadata"].get("editable") for cell in given] == [None, False]
    assert [cell["metadata"].get("deletable") for cell in given] == [False, False]
    assert check["metadata"]["nbgrader"] | dict(points=2, grade=True, locked=True, solution=False) == check["metadata"]["nbgrader"]
    assert solution["metadata"]["nbgrader"]["solution"] and not solution["metadata"]["nbgrader"]["grade"]


@pytest.mark.parametrize("answer, points", [
    ("    return x + x\n", 2), ("    return x * x\n", 0), (None, 0),
    ("    import warnings\n    warnings.warn('deprecated')\n    return x + x\n", 2)])    # stderr would cost the points
def test_nbgrader_gives_the_points_of_what_is_right(answer, points, tmp_path, monkeypatch):
    """As its autograder does: run every cell, then ask each graded cell whether it has raised."""
    utils = pytest.importorskip("nbgrader.utils", reason="nbgrader is not installed")
    clear = pytest.importorskip("nbgrader.preprocessors").ClearSolutions()
    made = nbformat.reads(notebooks.dump(grading.gradable(sample())).decode(), 4)
    given, _ = clear.preprocess(made, {})
    stub = "    # YOUR CODE HERE\n    raise NotImplementedError()"
    cell, = (cell for cell in given.cells if stub in cell.source)
    cell.source = cell.source.replace(stub, answer or stub)
    check, = (cell for cell in given.cells if utils.is_grade(cell))
    before = f"""import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]
from types import SimpleNamespace; import sample_notebook; check = SimpleNamespace(double=sample_notebook.double)"""
    given.cells = [nbformat.v4.new_code_cell(before), cell, check]
    NotebookClient(given, timeout=60, allow_errors=True, resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    assert utils.determine_grade(check) == (points, 2)


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_every_exercise_has_points_for_its_stars(path):
    notebook, made = notebooks.read(path), grading.gradable(notebooks.read(path))
    told = [cell["metadata"]["nbgrader"] for cell in made["cells"] if "nbgrader" in cell["metadata"]]
    tasks = notebooks.exercises(notebook)
    assert [one["points"] for one in told if one["grade"]] == [
        len(task.stars) for task in tasks for cell in task.cells if BEGIN in cell]
    assert len({one["grade_id"] for one in told}) == len(told) == 2 * sum(one["grade"] for one in told)
    joined = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"]
    assert "\n".join(joined).split() == "\n".join(
        cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code").split()
    nbformat.validate(nbformat.reads(notebooks.dump(made).decode(), 4))


def test_the_copies_of_the_course_are_made(tmp_path, capsys):
    """The real notebooks: every link resolves in the copies, and no solution is left."""
    assert main(["classroom", str(tmp_path / "class")]) == 0
    copies = sorted((tmp_path / "class" / "students").glob("*.ipynb"))
    assert [path.name for path in copies] == [path.name for path in NOTEBOOKS]
    for path in copies:
        notebook = notebooks.read(path)
        assert all((path.parent / link.partition("#")[0]).is_file() for link in classroom.links(notebook))
        assert "SOLUTION" not in json.dumps(notebook)
    page = (tmp_path / "class" / "teacher.md").read_text(encoding="utf-8")
    tasks = [task for path in NOTEBOOKS for task in notebooks.exercises(notebooks.read(path))]
    assert all(f"### {task.number} {task.name} (" in page for task in tasks)
    assert page.count("<summary>Solution</summary>") == len(tasks)


def test_the_assignments_of_the_course_are_made(tmp_path, capsys):
    """Every notebook is one, and every link of theirs leads to a file, from one to another too."""
    assert main(["classroom", str(tmp_path / "class"), "--nbgrader"]) == 0
    made = sorted((tmp_path / "class" / "nbgrader" / "source").glob("*/*.ipynb"))
    assert [path.name for path in made] == [path.name for path in NOTEBOOKS]
    there = [(path.parent / link.partition("#")[0]) for path in made for link in classroom.links(notebooks.read(path))]
    assert all(path.is_file() for path in there) and any(path.suffix == ".ipynb" for path in there)


# ---------------------------------------------------------------- what teacher and students read

def test_the_pages_name_commands_and_versions_that_exist():
    pages = prose.INTRODUCTION + prose.RUNNING + prose.SYLLABUS
    torch, = {*re.findall(r"torch==([\d.]+)", pages)}
    project = (classroom.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"torch=={torch}"' in project and f"PyTorch {torch.rpartition('.')[0]} " in pages
    found = re.findall(r"minglm ((?:classroom|doctor)[^`\n#]*)", pages)
    assert len(found) >= 6
    for line in found:
        command_line().parse_args(line.split())
    for name in re.findall(r"(?:generate_assignment|autograde|generate_feedback) (\d\w+)", pages):
        assert (classroom.REPOSITORY / "notebooks" / f"{name}.ipynb").is_file()
    extras = {extra for some in re.findall(r"\[([\w,]+)\]\"", pages) for extra in some.split(",")}
    assert extras == {"notebooks", "ocr"} and all(f"\n{extra} = [" in project for extra in extras)
    numbers = {task.number for path in NOTEBOOKS for task in notebooks.exercises(notebooks.read(path))}
    assert {*re.findall(r"(?<![\w.])[01]\d\.\d(?!\d)", prose.INTRODUCTION + prose.TWELVE)} <= numbers


def test_mistakes_that_a_check_raises_by_itself_are_on_the_page():
    found = teacher.mistakes(check_01.caption)
    assert "all captions begin with the same thing; change the order now and then" in found
    assert "… of the captions tell the …; from 10 to 90 % should: people leave things out, though not always" in found
    assert teacher.mistakes(sample_notebook.double) == ["that is the square, 3 * 3", "that is half"]
