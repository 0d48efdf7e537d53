"""What every notebook of the course has to be: run in order, small, readable on GitHub, and whole."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
import sample_notebook
from sample_notebook import NAME, checks, code, markdown, picture, printed, sample

from minglm.course import check_05, classroom, notebooks, teacher

NOTEBOOKS = sorted((classroom.REPOSITORY / "notebooks").glob("*.ipynb"))
MACHINE = re.compile(r"(?<![\w.~])/(home|root|work|tmp|Users|mnt|opt|usr|farm)/\w|\b[A-Z]:\\+Users")
OWNERS = "karpathy|dqbd|huggingface|KellerJordan|cloneofsimo|black-forest-labs|pytorch|Ascend|zai-org"     # on GitHub
PARTS = ("**", "*You will do:*", "*You will learn:*", "*You need:*", "*Time:*")


def cells(notebook: dict, kind: str) -> Iterator[tuple[int, dict]]:
    return ((n, cell) for n, cell in enumerate(notebook["cells"], 1) if cell["cell_type"] == kind)


def outputs(notebook: dict) -> Iterator[tuple[int, dict, dict]]:
    return ((n, cell, output) for n, cell in cells(notebook, "code") for output in cell["outputs"])


def has_picture(cell: dict) -> bool:
    return any(kind.startswith("image/") for output in cell.get("outputs", ()) for kind in output.get("data", ()))


def has_words(cell: dict) -> bool:
    """Whether each picture of a cell carries its alt text."""
    drawn = [o for o in cell["outputs"] if any(kind.startswith("image/") for kind in o.get("data", ()))]
    return all(len(o["metadata"].get(kind, {}).get("alt", "")) > 10
               for o in drawn for kind in o["data"] if kind.startswith("image/"))


# Each rule yields what breaks it in a notebook, in words. `path` is where the notebook is.

def valid(notebook: dict, path: Path) -> Iterator[str]:
    ids = [cell.get("id") for cell in notebook["cells"]]
    if len(ids) != len({*ids}):
        yield "two cells have one id"
        return                                                                      # nbformat would warn, and mend it
    try:
        nbformat.validate(nbformat.reads(notebooks.dump(notebook).decode(), 4))
    except nbformat.ValidationError as error:
        yield f"not valid: {error.message}"


def run_in_order(notebook: dict, path: Path) -> Iterator[str]:
    counts = [cell["execution_count"] for _, cell in cells(notebook, "code")]
    if counts != [*range(1, len(counts) + 1)]:
        yield f"execution counts are {counts}"


def portable(notebook: dict, path: Path) -> Iterator[str]:
    metadata = notebook["metadata"]
    if metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3"
    if "widgets" in metadata or any("widget" in kind for *_, o in outputs(notebook) for kind in o.get("data", ())):
        yield "widgets, which GitHub does not show"
    if any("execution" in cell["metadata"] for cell in notebook["cells"]):
        yield "times of execution in the metadata"
    if found := MACHINE.search(json.dumps(notebook, ensure_ascii=False)):
        yield f"a path of one machine: {found[0]}"


def small(notebook: dict, path: Path) -> Iterator[str]:
    if (size := len(notebooks.dump(notebook))) >= 400_000:
        yield f"{size / 1000:.0f} kB"
    for n, cell in cells(notebook, "code"):
        lines = cell["source"].splitlines()
        imports = sum(line.startswith(("from ", "import ")) for line in lines)     # each name has one address, so these are many
        # an exercise may be a whole class, and 15 has no other cells than whole ones
        most = 25 + imports + 20 * (notebooks.BEGIN in cell["source"]) + 10 * path.name.startswith("15_")
        if not 1 <= len(lines) <= most:
            yield f"cell {n} has {len(lines)} lines"
        if (longest := max(map(len, lines), default=0)) > 100:
            yield f"cell {n} has a line of {longest} characters"


def quiet(notebook: dict, path: Path) -> Iterator[str]:
    for n, cell, output in outputs(notebook):
        if output["output_type"] == "error" and "raises-exception" not in cell["metadata"].get("tags", []):
            yield f"cell {n} stopped with {output['ename']}"
        if output.get("name") == "stderr":
            yield f"cell {n} wrote to stderr"
        if re.search(r"it/s|s/it|%\|", str(output.get("text", ""))):
            yield f"cell {n} drew a progress bar"


def plain_python(notebook: dict, path: Path) -> Iterator[str]:
    for n, cell in cells(notebook, "code"):
        try:
            ast.parse(cell["source"])
        except SyntaxError:
            yield f"cell {n} is not plain Python"
        if "get_ipython" in cell["source"]:
            yield f"cell {n} needs IPython"


def pictures_in_words(notebook: dict, path: Path) -> Iterator[str]:
    """Alt text: every picture says in words what is to be seen, as plot.show and plot.live put it there."""
    for n, cell in enumerate(notebook["cells"], 1):
        if has_picture(cell) and not has_words(cell):
            yield f"cell {n} draws a picture without alt text (plot.show, plot.live)"
        if cell["cell_type"] == "markdown" and re.search(r"!\[\s*\]\(|<img (?![^>]*\balt=\"[^\"])", cell["source"]):
            yield f"cell {n} has an image without a text"


def linked(notebook: dict, path: Path) -> Iterator[str]:
    for link in classroom.links(notebook):
        try:
            classroom.linked_file(link, path.parent)
        except ValueError as error:
            yield str(error)


def sourced(notebook: dict, path: Path) -> Iterator[str]:
    """Papers and repositories are links that lead to them."""
    for n, cell in cells(notebook, "markdown"):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", cell["source"], flags=re.S)
        papers = re.findall(r"\[arXiv:([\d.]+)\]\(https://arxiv\.org/abs/([\d.]+)\)", text)
        if len(papers) < len(re.findall(r"arXiv:\d", text)) or any(one != other for one, other in papers):
            yield f"cell {n} names a paper of arXiv without a link to it"
        yield from (f"cell {n} names {name} without a link" for name in re.findall(
            rf"(?<![\w/.\[])(?:{OWNERS})/[\w-]+", text))


def whole(notebook: dict, path: Path) -> Iterator[str]:
    """The parts that every notebook of the course has."""
    first = notebook["cells"][0]["source"]
    if not first.startswith(f"# {path.name[:2]} "):
        yield f"the title does not begin with {path.name[:2]}"
    yield from (f"no {part} at its head" for part in PARTS if part not in first)
    if not notebooks.TIME.search(first):
        yield "no time in minutes at its head"
    text = "\n".join(cell["source"] for _, cell in cells(notebook, "markdown"))
    for part in ("n the real GLM-Image", "## Summary", "## References"):
        if part not in text:
            yield f"nothing like {part!r}"


def exercised(notebook: dict, path: Path) -> Iterator[str]:
    try:
        tasks = notebooks.exercises(notebook)
        notebooks.student(notebook)
    except ValueError as error:
        yield str(error)
        return
    numbers = [task.number for task in tasks]
    if path.name.startswith("15_") and not tasks:                                  # to be rebuilt as a whole
        return
    if not tasks or numbers != [f"{path.name[:2]}.{n}" for n in range(1, len(tasks) + 1)]:
        yield f"the exercises are {numbers or 'missing'}"
    for task in tasks:
        if (task.grade == "warm-up") != (task.stars == "★"):
            yield f"exercise {task.number}: a warm-up has one star"
        if not re.search(r"<summary>Hint( 1: [^<]+)?</summary>", task.text):
            yield f"exercise {task.number} has no hint"
        solved = [cell for cell in task.cells if notebooks.BEGIN in cell]
        if len(solved) != 1 or len(notebooks.CHECK.findall(solved[0])) != 1:
            yield f"exercise {task.number} needs one cell with one solution and its check"
        known = import_module(f"minglm.course.check_{path.stem[:2]}")
        yield from (f"there is no check.{name}" for name in task.checks if not hasattr(known, name))
    inside = sum(notebooks.BEGIN in cell for task in tasks for cell in task.cells)
    if inside != sum(notebooks.BEGIN in cell["source"] for cell in notebook["cells"]):
        yield "a solution outside an exercise"


RULES = (valid, run_in_order, portable, small, quiet, plain_python, pictures_in_words, linked, sourced, whole, exercised)


def problems(notebook: dict, path: Path) -> list[str]:
    return [problem for rule in RULES for problem in rule(notebook, path)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_of_the_course(path):
    found = problems(notebooks.read(path), path)
    assert not found, "\n".join(found)
    assert path.stat().st_size < 400_000


# ---------------------------------------------------------------- the course

def test_exercises_and_checks_belong_together():
    used = [name for path in NOTEBOOKS for task in notebooks.exercises(notebooks.read(path)) for name in task.checks]
    assert used
    assert sorted(used) == sorted({*used}), "two exercises with one check"
    assert {*used} == {*checks()}
    for name, function in checks().items():
        assert function.__doc__, name
        assert teacher.mistakes(function), f"{name} knows no mistakes"


def test_there_are_enough_exercises_and_the_readmes_count_them():
    tasks = {path.stem: notebooks.exercises(notebooks.read(path)) for path in NOTEBOOKS}
    used = sum(len({*re.findall(r"own\.use\((\w+)", cell["source"])})
               for path in NOTEBOOKS for _, cell in cells(notebooks.read(path), "code"))
    total = sum(map(len, tasks.values()))
    assert total >= 60 and used >= 20
    for page, words in (("README.md", f"The {total} exercises"), ("README.zh-CN.md", f"{total} 道练习")):
        text = (classroom.REPOSITORY / page).read_text(encoding="utf-8")
        assert words in text
        for name, mine in tasks.items():
            assert re.search(rf"\(notebooks/{name}\.ipynb\) .*\| {len(mine)} \|", text), (page, name)


def solutions(notebook: dict) -> Iterator[tuple[int, list[str]]]:
    """The number of each cell with a solution, and its lines, without indentation and comments."""
    for n, cell in cells(notebook, "code"):
        lines = [line.strip() for line, kind, end in notebooks.marked(cell["source"]) if kind == "SOLUTION" and not end]
        lines = [re.sub(r"\s+#.*", "", line) for line in lines]
        if lines := [line for line in lines if line and not line.startswith(("#", '"""'))]:
            yield n, lines


SHARED = 0.6                                                                        # of a solution's phrases


@cache
def phrases(source: str) -> set[tuple[str, ...]]:
    """Runs of four words and signs of a text. Of a name with dots only the last part counts: self.embed and
    pipe.decoder.embed are the same."""
    source = re.sub(r"\b[A-Za-z_][\w.]*\.(?=\w)", "", re.sub(r"#.*", "", source))
    words = re.findall(r"\w+|[^\w\s]", source)
    return {tuple(words[i:i + 4]) for i in range(len(words) - 3)}


def given_away(notebook: dict, earlier: list[dict] = ()) -> Iterator[str]:
    """Solutions that can be read elsewhere in a student copy, hints included, or in the code of an earlier notebook's:
    literally in an earlier cell or the two next ones, or most of their phrases anywhere."""
    copy = notebooks.student(notebook)
    before = [cell["source"] for one in earlier for _, cell in cells(notebooks.student(one), "code")]
    for n, lines in solutions(notebook):
        for m, cell in cells(copy, "code"):
            text = "\n".join(re.sub(r"\s+#.*", "", line.strip()) for line in cell["source"].splitlines())
            if m <= n + 2 and m != n and "\n".join(lines) in text and len("".join(lines)) > 20:
                yield f"cell {m} shows the solution of cell {n}: {lines[0]}"
        mine, others = phrases("\n".join(lines)), [each["source"] for m, each in enumerate(copy["cells"], 1) if m != n]
        for source in [*others, *before]:
            if len(mine) >= 15 and len(mine & phrases(source)) > SHARED * len(mine):
                yield f"most of the solution of cell {n} stands in the cell {source.splitlines()[0]}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_student_copy_gives_a_solution_away(path):
    notebook = notebooks.read(path)
    assert not [*given_away(notebook, [notebooks.read(other) for other in NOTEBOOKS if other < path])]
    # and it would be seen
    lines = next((lines for _, lines in solutions(notebook) if len("".join(lines)) > 20), None)
    if lines is None:                                    # 15 has no exercises
        return
    notebook["cells"].insert(0, dict(cell_type="code", source="\n".join(lines), metadata={}, outputs=[], execution_count=None))
    assert [*given_away(notebook)]


def test_a_solution_in_other_words_is_seen():
    solution = "x = self.embed(latents, ids)\nfor block in self.blocks:\n    x, c, (_, k, v) = block(x, c, m, rotary, None)\n    kept.append((k, v))"
    task = code(f"def remember(self, latents, ids):\n    {notebooks.BEGIN}\n    " + solution.replace("\n", "\n    ") + f"\n    {notebooks.END}")
    other = solution.replace("self.", "pipe.decoder.").replace("ids", "plan").replace("kept.append((k, v))", "seen += [k]")
    for cell in (code(other), markdown(f"Like this:\n\n```python\n{other}\n```")):
        assert [*given_away(sample_notebook.notebook(task, *sample()["cells"], cell))]
        assert [*given_away(sample_notebook.notebook(task), [sample_notebook.notebook(cell)])] == (
            [*given_away(sample_notebook.notebook(task, code(other)))] if cell["cell_type"] == "code" else [])
    assert not [*given_away(sample_notebook.notebook(task, code("x = self.embed(latents, ids)\nprint(x.shape)")))]


def test_what_is_solved_is_used():
    """Every answer that its check accepts takes the library's place in its notebook."""
    for path in NOTEBOOKS:
        notebook = notebooks.read(path)
        used = {*re.findall(r"own\.use\((\w+)", "\n".join(cell["source"] for _, cell in cells(notebook, "code")))}
        for task in notebooks.exercises(notebook):
            answers = re.findall(r"(?<![\w.])check\.\w+\((\w+)", "\n".join(task.cells))
            assert used & {*answers}, f"{task.number}: own.use({answers[0]}, ...)"


def test_the_capstone_is_short_and_stands_alone():
    """Notebook 15: at most 320 lines that are not blank, and nothing of minglm's model in them."""
    notebook, = (notebooks.read(path) for path in NOTEBOOKS if path.name.startswith("15_"))
    source = "\n".join(cell["source"] for _, cell in cells(notebook, "code"))
    assert sum(bool(line.strip()) for line in source.splitlines()) <= 320
    nodes = [*ast.walk(ast.parse(source))]
    taken = {f"{node.module}.{name.name}" for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names}
    taken |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert {name for name in taken if name.startswith("minglm")} == {
        "minglm.plot", "minglm.files.DATA", "minglm.measure.ocr.Judge"}


def test_notebooks_are_numbered_and_each_has_its_week():
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem) for path in NOTEBOOKS)
    numbers = [int(path.stem[:2]) for path in NOTEBOOKS]
    assert len(numbers) == len({*numbers})
    assert all(sum(n in week for week in teacher.WEEKS.values()) == 1 for n in numbers)


# ---------------------------------------------------------------- the rules have teeth

@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(check_05, "double", sample_notebook.double, raising=False)
    return sample_notebook.clone(tmp_path)


def replaced(number: int, old: str, new: str):
    def spoil(nb):
        source = nb["cells"][number]["source"]
        assert old in source
        nb["cells"][number]["source"] = source.replace(old, new)
    return spoil


def given(number: int, **changes):
    return lambda nb: nb["cells"][number].update(changes)


def put(number: int, *cells: dict):
    def spoil(nb):
        nb["cells"][number:number] = cells
        nb.update(sample_notebook.notebook(*nb["cells"]))
    return spoil


def test_the_sample_is_fit(folder):
    assert problems(sample(), folder / NAME) == []
    assert problems(notebooks.read(folder / NAME), folder / NAME) == []


ERROR = dict(output_type="error", ename="ValueError", evalue="no", traceback=[])
WIDGET = dict(output_type="display_data", data={"application/vnd.jupyter.widget-view+json": {}}, metadata={})


@pytest.mark.parametrize("spoil, words", [
    (given(1, execution_count=None), "execution counts"), (given(1, execution_count=7), "execution counts"),
    (given(1, id="05-00"), "one id"), (given(2, outputs=[dict(output_type="strange")]), "not valid"),
    (lambda nb: nb["metadata"]["kernelspec"].update(name="mine"), "the kernel"),
    (lambda nb: nb["metadata"].update(widgets={}), "widgets"), (given(1, outputs=[WIDGET]), "widgets"),
    (given(1, metadata=dict(execution={})), "times of execution"),
    (given(1, outputs=[printed("/root/minglm/x.py")]), "path of one machine: /root/"),
    (given(1, source=r"x = 'C:\\Users\\me'"), "path of one machine"), (replaced(7, "math.tau", "'/tmp/x'"), "/tmp/"),
    (given(2, outputs=[picture(), printed("x" * 400_000)]), "kB"), (put(8, code("x\n" * 26)), "26 lines"),
    (put(8, code("")), "0 lines"), (put(8, code("x = 1" + "1" * 96)), "101 characters"),
    (given(1, outputs=[ERROR]), "stopped with ValueError"), (given(1, outputs=[printed("!", "stderr")]), "stderr"),
    (given(1, outputs=[printed("3/9 [2.1it/s]")]), "progress bar"),
    (put(8, code("%matplotlib inline")), "not plain Python"), (put(8, code("!ls")), "not plain Python"),
    (put(8, code("get_ipython()")), "needs IPython"),
    (given(2, outputs=[picture(alt="")]), "alt text"), (given(2, outputs=[picture(alt="It.")]), "alt text"),
    (put(8, code("1", picture("image/jpeg", alt=""))), "alt text"),
    (put(8, code("1", picture(), picture(alt=""))), "alt text"),
    (replaced(3, "It stands", "![](../docs/notes.md)"), "an image"),
    (replaced(3, "It stands", '<img src="../docs/notes.md">'), "an image"),
    (replaced(4, "notes.md", "note.md"), "no file"), (replaced(4, "05_try", "06_try"), "no file"),
    (replaced(6, "## References", "## References\n\narXiv:1706.03762"), "a paper"), (replaced(6, "[The web]", "karpathy/minbpe [The web]"), "names karpathy"),
    (replaced(6, "## References", "## References\n\n[arXiv:1706.03762](https://arxiv.org/abs/1706.03761)"), "a paper"),
    (replaced(0, "# 05", "# 5"), "the title"), (replaced(0, "*You need:*", "Need"), "no *You need:*"),
    (replaced(0, "25 minutes", "half an hour"), "no time"), (replaced(3, "the real", "a"), "'n the real GLM-Image'"),
    (replaced(6, "## Summary", ""), "Summary"), (replaced(6, "## References", ""), "References"),
    (replaced(4, "★★ build, ", ""), "should read"), (replaced(4, " build", ""), "should read"), (replaced(4, "build", "built"), "should read"), (replaced(4, ", 10 minutes", ""), "should read"),
    (replaced(4, "05.1", "05.2"), "exercises are ['05.2']"), (replaced(4, "05.1", "06.1"), "exercises are ['06.1']"),
    (replaced(4, "### Exercise", "### Task"), "the exercises are missing"), (replaced(4, "Hint", "More"), "no hint"),
    (replaced(5, "check.double(double)", ""), "one solution and its check"),
    (replaced(5, "check.double(double)", "check.absent(double)"), "no check.absent"),
    (put(6, code("1\n### BEGIN SOLUTION\n2\n### END SOLUTION")), "one solution and its check"),
    (put(2, code("1\n### BEGIN SOLUTION\n2\n### END SOLUTION")), "a solution outside"),
    (replaced(5, "    ### END SOLUTION\n", ""), "cell 6 (def double(x):): '### BEGIN SOLUTION' without an end"),
    (replaced(5, "    ### BEGIN SOLUTION\n", ""), "without a beginning")])
def test_a_spoilt_notebook_is_seen(spoil, words, folder):
    notebook = sample()
    spoil(notebook)
    found = problems(notebook, folder / NAME)
    assert any(words in problem for problem in found), found


def test_what_is_allowed_is_not_refused(folder):
    error = code("1 / 0", ERROR, tags=("raises-exception",))
    text = markdown('![a square](../docs/notes.md) <img alt="a square" src="../docs/notes.md">')
    fit = sample_notebook.notebook(*sample()["cells"], error, code("1", picture()), text)
    assert problems(fit, folder / NAME) == []
