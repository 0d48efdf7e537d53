"""A class from the course: student copies of the notebooks, without solutions, and a page for the teacher."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from minglm.course.carry import carried, up_to_date
from minglm.course.grading import gradable, handed_out
from minglm.course.notebooks import dump, exercises, parsed, read, student
from minglm.course.teacher import syllabus, teacher
from minglm.files import HOME, put_aside

# the clone; of a wheel the package, which holds notebooks/ and docs/
REPOSITORY = HOME
SETTINGS = """c = get_config()
c.CourseDirectory.course_id = "minglm"
c.ExecutePreprocessor.timeout = 300          # of a cell that trains, in seconds
"""
COPY = re.compile(r"students/\d\d_")
LINK = re.compile(r'```.*?```|`[^`\n]*`|(?<=\]\()[^)\s]+|(?<= src=")[^"]+|(?<= href=")[^"]+', re.S)


def links(notebook: dict) -> list[str]:
    """The relative targets that the text of a notebook links to."""
    texts = (cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return [link for text in texts for link in LINK.findall(text) if is_relative(link)]


def is_relative(link: str) -> bool:
    return not link.startswith(("`", "#", "data:", "mailto:", "attachment:")) and "://" not in link


def linked_file(link: str, folder: Path) -> Path:
    """The file that a relative link leads to. Raises ValueError if there is none in the repository."""
    root = folder.parent.resolve()
    path = (folder / link.partition("#")[0]).resolve()
    # of a wheel `root` is the package
    if not path.exists() and path.is_relative_to(root / "minglm"):
        path = root / path.relative_to(root / "minglm")
    if not path.is_file() or not path.is_relative_to(root):
        raise ValueError(f"the link {link!r} leads to no file of the repository")
    return path


def build(folder: Path, nbgrader: bool = False, students_only: bool = False,
          through: int | None = None) -> dict[str, bytes]:
    """Every file of the class by its name: student copies, what they link to, the syllabus, and, unless
    students_only, the teacher's page.

    nbgrader: the copies can be graded by nbgrader, and, unless students_only, there is a course for it, whose
    assignments are the notebooks. through: the number of the last notebook to hand out.
    """
    files, notebooks = {}, {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not notebooks:
        raise ValueError(f"no notebooks in {folder}: run from a clone, installed with pip install -e .")

    def moved(match: re.Match, to: str) -> str:
        link = match[0]
        if not is_relative(link):
            return link
        path = linked_file(link, folder)
        if path.stem in notebooks:           # for nbgrader each is in a folder of its own
            return f"../{path.stem}/{link}" if to.startswith("nbgrader/") else link
        name = "source/" + posixpath.normpath(f"notebooks/{link.partition('#')[0]}")
        if to:
            files[f"{to}/{name}"] = path.read_bytes()
        return name + link[len(link.partition("#")[0]):]

    def relinked(notebook: dict, to: str, above: str = "") -> dict:
        """A notebook in the folder `to`, or, if that is "", its text in a file outside of `above`."""
        return notebook | dict(cells=[
            cell if cell["cell_type"] != "markdown" else cell | dict(source=LINK.sub(
                lambda match: above * is_relative(match[0]) + moved(match, to), cell["source"]))
            for cell in notebook["cells"]])

    course = {}
    for name, path in notebooks.items():
        try:
            course[name] = notebook = read(path)
            exercises(notebook)              # refuses what is malformed
            copy = student(notebook)
            if nbgrader:
                copy = handed_out(student(gradable(notebook)))
            if through is None or int(name[:2]) <= through:
                files[f"students/{path.name}"] = dump(relinked(copy, "students"))
                if nbgrader and not students_only:
                    to = f"nbgrader/source/{name}"
                    files[f"{to}/{path.name}"] = dump(relinked(gradable(notebook), to))
        except ValueError as error:
            raise ValueError(f"{path.name}, {error}") from None
    if not files:
        raise ValueError(f"no notebook has a number up to {through}")
    files["students/syllabus.md"] = syllabus(course).encode()
    if students_only:
        return files
    if nbgrader:
        files["nbgrader/nbgrader_config.py"] = SETTINGS.encode()
    course = {name: relinked(notebook, "", "students/") for name, notebook in course.items()}
    return files | {"teacher.md": teacher(course).encode()}


def is_for_nbgrader(out: Path) -> bool:
    """Whether there is a class already whose copies nbgrader can grade."""
    copies = (out / "students").glob("[0-9][0-9]_*.ipynb")
    return any(b'"nbgrader": {' in path.read_bytes() for path in copies)


def renewed(path: Path, copy: bytes) -> tuple[bytes, int, int]:
    """What a student copy becomes: as it is if it differs in answers only, else the new one with the answers
    that are in it; how many these are, and how many are left behind."""
    try:
        old = read(path)
    except ValueError:                       # no notebook any more
        return copy, 0, 0
    new = parsed(copy, path.name)
    if up_to_date(old, new):
        return path.read_bytes(), 0, 0
    notebook, answers, left = carried(old, new)
    return dump(notebook), answers, left


def write(out: Path, force: bool = False, nbgrader: bool = False, through: int | None = None,
          students_only: bool = False) -> str:
    """Make a class in the folder `out`; says in one line what was made.

    Nothing is lost: a folder with something in it needs `force`, and a file that differs from the new one is
    renamed. Of a student copy the answers are carried over, and one that differs in these only is left alone.
    through: the number of the last notebook to hand out yet; to a class that is there already, what is
    missing is added, and nothing else changes. students_only: without the teacher's page.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"cannot write to {out}: it is not a folder")
    grows = through is not None and not force and (out / "students" / "syllabus.md").is_file()
    if out.is_dir() and any(out.iterdir()) and not force and not grows:
        raise ValueError(f"{out} is not empty: choose another folder, or --force (old files are kept)")
    nbgrader = nbgrader or is_for_nbgrader(out)          # a class that was made for it stays so
    files = build(REPOSITORY / "notebooks", nbgrader, students_only, through)
    copies = [name for name in files if COPY.match(name)]
    if grows:
        files = {name: data for name, data in files.items() if not (out / name).exists()}
    added, answers, left, kept = len({*copies} & {*files}), 0, 0, 0
    for name in (name for name in copies if name in files and (out / name).exists()):
        files[name], count, behind = renewed(out / name, files[name])
        answers, left = answers + count, left + behind
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".classroom-", dir=out) as temporary:
        for name, data in files.items():
            (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(temporary) / name).write_bytes(data)
        for name, data in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.read_bytes() != data:
                # nbgrader takes every notebook in an assignment's folder for a part of it
                put_aside(path, out / "nbgrader/replaced" if name.startswith("nbgrader/source/") else None)
                kept += 1
            os.replace(Path(temporary) / name, path)
    return (
        f"{out}: {len(copies)} student copies in students/ to hand out"
        + (f", {added} of them new, up to {through:02}" if through is not None else "")
        + (", and teacher.md with the solutions to keep" if not students_only else "")
        + ("; nbgrader/ is a course for nbgrader" if nbgrader and not students_only else "")
        + (f"; {kept} old files are kept as NAME.1.ipynb and the like" if kept else "")
        + (f"; answers carried over: {answers}" if answers else "")
        + (f"; answers left in the old files, since their exercises have changed: {left}" if left else "")
    )
