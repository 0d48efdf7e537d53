"""What learners build in notebooks 02 to 10 paints the library's pictures, all of it at once."""

import ast
import contextlib
import linecache
from collections import Counter
from types import ModuleType

import numpy as np
import pytest

from minglm.course import classroom, derailed, notebooks, own, twins
from minglm.course.pieces import PIECES, report
from minglm.generate.pipeline import Pipeline

WISHES = (('a cat, "Good morning, 你好"', 128, 160), ("A red poster.", None, None))


def definitions(source):
    """The imports, functions, classes and uses of pieces of a cell: what pieces are made of."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            yield from (ast.copy_location(ast.ImportFrom(node.module, [name], node.level), node) for name in node.names)
        elif isinstance(node, ast.Import | ast.FunctionDef | ast.ClassDef) or (
                isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("own.use(")):
            yield node


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """The folder of pieces of who has solved everything, notebook by notebook, and what notebook 10 defines."""
    folder, used = tmp_path_factory.mktemp("solved"), {}

    def use(mine, check, theirs):
        used[number].append(own.address(theirs).removeprefix("minglm."))
        own.keep(mine, theirs, folder)
        return mine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "use", use)
        for number in PIECES:
            path, = (classroom.REPOSITORY / "notebooks").glob(f"{number}_*.ipynb")
            used[number], module = [], ModuleType("a_notebook")
            for i, cell in enumerate(notebooks.read(path)["cells"]):
                if cell["cell_type"] != "code":
                    continue
                file = f"<cell {i} of {path.stem}>"
                linecache.cache[file] = len(cell["source"]), None, cell["source"].splitlines(keepends=True), file
                for node in definitions(cell["source"]):
                    # of helpers some need what is computed in between; pieces never do
                    with contextlib.suppress(NameError, ImportError):
                        exec(compile(ast.Module([node], []), file, "exec"), vars(module))
    return folder, used, module


def test_the_list_of_pieces_is_that_of_the_notebooks(solved):
    _, used, _ = solved
    for number, pieces in PIECES.items():
        assert {*pieces} <= {*used[number]}, number


def test_painting_needs_every_piece_of_the_list(folder):
    """The library's twins, watched: each is called between loading and the picture."""
    calls, watched = Counter(), {}

    def watch(name, theirs):
        def seen(*args, **how):
            calls[name] += 1
            return theirs(*args, **how)
        return seen

    for name in (f"minglm.{piece}" for pieces in PIECES.values() for piece in pieces):
        (_, _, theirs), *_ = own.holders(name)
        watched[name] = watch(name, theirs)
    with own.in_place(watched):
        Pipeline.from_pretrained(folder, "cpu")('"Hi"', 128, 128, steps=1, progress=False)
    assert {*calls} == {*watched}


@pytest.mark.parametrize("prompt, height, width", WISHES)
def test_all_pieces_together_paint_the_library_s_picture(prompt, height, width, solved, folder, pipe):
    where, _, notebook = solved
    how = dict(height=height, width=width, steps=3, guidance=2.0, seed=4)
    right = np.float32(twins.one_picture(pipe, prompt, **how))
    pieces = own.load(where)
    with own.in_place(pieces):
        mine = Pipeline.from_pretrained(folder, "cpu")
        by_library = mine(prompt, progress=False, planner_guidance=1, candidates=1, **how).images[0]
        by_learner = notebook.my_pipeline(mine, prompt, **how)
    assert isinstance(mine.planner.blocks[0], pieces["minglm.model.planner.PlannerBlock"])
    for image in (by_library, by_learner):
        assert image.size == right.shape[1::-1] and np.abs(np.float32(image) - right).max() <= 2


def test_the_pipelines_that_go_wrong_go_right_without_their_mistake(pipe):
    right = np.float32(twins.one_picture(pipe, 'a cat, "Hi"', steps=2, seed=3))
    assert np.abs(np.float32(derailed.painted("", pipe, 'a cat, "Hi"', steps=2, seed=3)) - right).max() <= 1


def test_the_report_says_what_is_whose():
    lines = report(["minglm.model.ops.attention", "minglm.model.vae.ResBlock"]).splitlines()
    assert lines[1] == "03  yours: ResBlock;  the library's stands in: VAE"
    assert lines[3] == "05  yours: attention;  the library's stand in: RMSNorm, rotate, positions, rotary, PlannerBlock, KVCache"
    assert lines[2] == "04  the library's stands in: VectorQuantiser"
