"""The house: which file may import which. CONTRIBUTING.md says the rule; a planted example of each breach is found here.

Imports are read from the source, those inside functions too, so that none hides.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "minglm"
WINGS = ("world", "model", "published", "generate", "measure", "training", "ascend", "course")  # from the ground up
GROUND = {"minglm.arguments", "minglm.plot", "minglm.doctor", "minglm.config", "minglm.device", "minglm.files", "minglm.images",
          "minglm.validate"}                 # files beside the wings, which import none of them

Tree = dict[str, ast.Module]                 # module -> its source, parsed


def read(package: Path) -> Tree:
    """Every module of a package by its dotted name. Raises AssertionError if there is none."""
    files = {path: path.relative_to(package.parent).with_suffix("") for path in package.rglob("*.py")}
    assert files, f"no modules in {package}"
    return {".".join(name.parts).removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8"))
            for path, name in files.items()}


def imports(tree: Tree, module: str) -> Iterator[tuple[str, str]]:
    """(module of the package, name imported from it; "" for the module itself) of every import in a module."""
    top = module.split(".")[0]
    for node in ast.walk(tree[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == top)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:                   # from . import x
                raise AssertionError(f"{module}:{node.lineno} imports relatively; write minglm. in full")
            for alias in node.names if base.split(".")[0] == top else ():
                inside = f"{base}.{alias.name}"
                yield (inside, "") if inside in tree else (base, alias.name)


def graph(tree: Tree) -> dict[str, set[str]]:
    return {module: {other for other, _ in imports(tree, module)} - {module} for module in tree}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, however far round (Kosaraju's algorithm)."""
    order, seen = [], set()

    def visit(module: str, along: dict[str, set[str]], out: list[str]) -> None:
        stack = [(module, iter(along.get(module, ())))]
        seen.add(module)
        while stack:
            at, rest = stack[-1]
            if (after := next((m for m in rest if m not in seen), None)) is None:
                out.append(stack.pop()[0])
            else:
                seen.add(after)
                stack.append((after, iter(along.get(after, ()))))

    for module in edges:
        if module not in seen:
            visit(module, edges, order)
    back = {module: {m for m in edges if module in edges[m]} for module in edges}
    seen, groups = set(), []
    for module in reversed(order):
        if module not in seen:
            groups.append(group := [])
            visit(module, back, group)
    return [sorted(group) for group in groups if len(group) > 1]


def wing(module: str) -> str:
    """The wing a module belongs to; "" on the ground floor."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in WINGS else ""


def upwards(edges: dict[str, set[str]], free: frozenset[str] = frozenset()) -> list[str]:
    """Imports of a later wing, or of any wing by the ground floor."""
    return [f"{module} imports {other}" for module, others in edges.items() for other in sorted(others)
            if module not in free and wing(other) and wing(module) != wing(other)
            and (not wing(module) or WINGS.index(wing(other)) > WINGS.index(wing(module)))]


def strangers(tree: Tree) -> list[str]:
    """Names imported from a module that does not define them itself: every name has one address."""
    found = []
    for module in tree:
        for other, name in imports(tree, module):
            if name and (other not in tree or name not in defined(tree[other])):
                found.append(f"{module} imports {name} from {other}")
    return found


def defined(tree: ast.Module) -> set[str]:
    """What a module defines: functions, classes and what it assigns, also to a global of a function."""
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in tree.body:
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            names |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)} if target else set()
    return names | ({"Pipeline"} if "__getattr__" in names else set())           # minglm.Pipeline, imported on first use


TREE = read(PACKAGE)
EDGES = graph(TREE)
# the entrance: the command starts everything, `minglm.Pipeline` is there for `from minglm import Pipeline`
ENTRANCE = frozenset({"minglm", "minglm.__main__"})


def test_every_module_is_seen():
    assert len(TREE) > 60 and {wing(module) for module in TREE} == {"", *WINGS}
    assert {m for m in TREE if not wing(m)} == GROUND | ENTRANCE


def test_no_two_files_import_each_other():
    assert circles(EDGES) == []


def test_no_wing_imports_a_later_one():
    assert upwards(EDGES, ENTRANCE) == []


def test_every_name_has_one_address():
    assert strangers(TREE) == []


@pytest.mark.parametrize("name", WINGS)
def test_a_wing_says_what_it_is_and_in_what_order_to_read_it(name):
    tree = TREE[f"minglm.{name}"]
    text = ast.get_docstring(tree)
    assert len(tree.body) == 1, "an __init__.py holds its docstring only"
    files = {module.rsplit(".", 1)[1] for module in TREE if module.startswith(f"minglm.{name}.")}
    listed = {f"check_{i:02d}" for i in range(17) if i != 15} if name == "course" else set()
    assert {file for file in files if file not in text} <= listed


@pytest.mark.parametrize("module", TREE)
def test_modules_fit_a_sitting(module):
    lines = (PACKAGE.parent / module.replace(".", "/")).with_suffix(".py")
    lines = lines if lines.exists() else lines.with_suffix("") / "__init__.py"
    text = lines.read_text(encoding="utf-8").splitlines()
    assert ast.get_docstring(TREE[module]), "a module says at its top what it is"
    most = 300 if module.startswith("minglm.course.check_") else 250     # checks are cases, to be read one by one
    assert len(text) <= most, f"{len(text)} lines"


# ---------------------------------------------------------------- the rules have teeth

def planted(folder: Path, **files: str) -> Tree:
    """A package `house` with the given files, such as model__layers="import ..."."""
    for name in ("", *WINGS):
        (folder / "house" / name).mkdir(parents=True, exist_ok=True)
        (folder / "house" / name / "__init__.py").write_text("")
    for name, text in files.items():
        (folder / "house" / f"{name.replace('__', '/')}.py").write_text(text)
    return read(folder / "house")


def test_circles_are_found(tmp_path):
    tree = planted(tmp_path, model__a="from house.model import b", model__b="from house.model.c import x",
                   model__c="x = 1\n\n\ndef late():\n    import house.model.a", model__d="from house.model.a import b")
    assert circles(graph(tree)) == [["house.model.a", "house.model.b", "house.model.c"]]


def test_looking_upwards_is_found(tmp_path):
    tree = planted(tmp_path, model__a="def late():\n    from house.training.loop import train", training__loop="train = 1",
                   files="from house.world import draw", world__draw="", course__fine="from house.world import draw")
    assert upwards(graph(tree)) == ["house.files imports house.world.draw", "house.model.a imports house.training.loop"]


def test_a_name_from_another_address_is_found(tmp_path):
    tree = planted(tmp_path, model__ops="def attention(): pass", model__layers="from house.model.ops import attention",
                   model__planner="from house.model.layers import attention\nfrom house.model.gone import x")
    assert strangers(tree) == ["house.model.planner imports attention from house.model.layers",
                               "house.model.planner imports x from house.model.gone"]


def test_an_empty_list_is_found(tmp_path):
    (tmp_path / "house").mkdir()
    with pytest.raises(AssertionError, match="no modules"):
        read(tmp_path / "house")
