"""Your own pieces: used once they pass their check, kept for later notebooks, put in the library's place.

    attention = own.use(my_attention, check.attention, ops.attention)     # yours, or the library's until then
    ...
    with own.in_place(own.load()):                                        # notebook 10: all of yours at once
        pipe = Pipeline.from_pretrained("mini")

A kept piece is a Python file in the folder my_minglm beside the notebooks: its imports, what it uses of the
notebook, and itself.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import linecache
import symtable
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from minglm.course.answers import Wrong

FOLDER = "my_minglm"
PLAIN = bool, int, float, str, tuple          # what a piece may use of the notebook; written down as it is


def use(mine: Any, check: Callable[[Any], Any], theirs: Any) -> Any:
    """Your function or class if its check accepts it, otherwise the library's twin; prints which.

    A piece that is accepted is kept for later notebooks. One that is not leaves what was kept as it is.
    """
    try:
        with redirect_stdout(io.StringIO()):
            check(mine)
    except Wrong:
        print(f"{mine.__name__}: not right yet, so the library's {theirs.__qualname__} stands in")
        return theirs
    try:
        keep(mine, theirs)
        print(f"{mine.__name__}: yours, from here on")
    except (ValueError, OSError) as error:
        print(f"{mine.__name__}: yours, in this notebook only ({error})")
    return mine


def address(piece: Any) -> str:
    """Where a piece of the library lives: minglm.model.ops.attention, minglm.model.bpe.BPE.piece."""
    return f"{piece.__module__}.{piece.__qualname__}"


def keep(mine: Any, theirs: Any, folder: str | Path = FOLDER) -> None:
    """Write a learner's piece to a file that is named after its twin; its last line names the piece."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    path = folder / f"{address(theirs).removeprefix('minglm.')}.py"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f"{module_of(mine)}\n\npiece = {mine.__name__}\n", encoding="utf-8")
    temporary.replace(path)


def load(folder: str | Path = FOLDER) -> dict[str, Any]:
    """All kept pieces, by the address of their twin. One that cannot be read is named and left out."""
    pieces = {}
    for path in sorted(Path(folder).glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"{FOLDER}.{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            pieces[f"minglm.{path.stem}"] = module.piece
            sys.modules[spec.name] = module              # so that `holders` sees what it imported
        except Exception as error:                       # a learner's code can fail in every way there is
            print(f"{path}: {type(error).__name__}: {error}; the library's piece stays")
    return pieces


@contextmanager
def in_place(pieces: Mapping[str, Any]) -> Iterator[None]:
    """Let the library, and other pieces, use these instead of the library's, in every module that knows them.

    Raises ValueError for an address where the library has nothing.
    """
    undo = []
    try:
        for name, mine in pieces.items():
            for owner, key, theirs in holders(name):
                undo.append((owner, key, theirs))
                # a method keeps its kind: static, of the class, or plain
                bound = isinstance(theirs, staticmethod | classmethod)
                setattr(owner, key, type(theirs)(mine) if bound else mine)
        yield
    finally:
        for owner, key, theirs in reversed(undo):
            setattr(owner, key, theirs)


def holders(name: str) -> list[tuple[Any, str, Any]]:
    """Where the library holds the piece of this address: owner, name there, and what stands there."""
    parts = name.split(".")
    owner, path = None, parts
    for depth in range(len(parts) - 1, 0, -1):           # the module first: nobody may have imported it yet
        try:
            owner, path = import_module(".".join(parts[:depth])), parts[depth:]
            break
        except ModuleNotFoundError:
            pass
    for part in path[:-1]:
        owner = getattr(owner, part, None)
    if owner is None or path[-1] not in vars(owner):
        raise ValueError(f"the library has no {name}")
    theirs = vars(owner)[path[-1]]
    if not isinstance(owner, ModuleType):
        return [(owner, path[-1], theirs)]
    # what a piece itself imports stays: it may call its twin
    modules = [module for key, module in list(sys.modules.items())
               if key.split(".")[0] in ("minglm", FOLDER) and key.partition(".")[2] != name.partition(".")[2]]
    return [(module, key, theirs) for module in modules
            for key, value in list(vars(module).items()) if value is theirs]


def module_of(piece: Any) -> str:
    """A function or class of a notebook as the text of a module that stands on its own.

    Raises ValueError if its source is not known.
    """
    imports, parts, seen = ["from __future__ import annotations"], [], set()

    def visit(thing: Any) -> None:
        text, values = source(thing), functions(thing)[0].__globals__
        for name in sorted(around(text)):
            if name not in values or name in seen or values[name] is thing:
                continue
            seen.add(name)
            value = values[name]
            home, full = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
            if isinstance(value, ModuleType):
                imports.append(f"import {value.__name__} as {name}")
            elif home == thing.__module__ and full:              # a function or class, no object of a class
                visit(value)
                if full != name:                             # attention = own.use(my_attention, ...)
                    parts.append(f"{name} = {full}")
            elif home and full and home != "builtins":
                first, inside, _ = full.partition(".")           # noise = Pipeline.noise
                imports.append(f"from {home} import {first}" + f" as {name}" * (not inside))
                parts.extend([f"{name} = {full}"] * bool(inside))
            elif type(value) in PLAIN:
                parts.append(f"{name} = {value!r}")
        parts.append(text)

    visit(piece)
    return "\n".join(imports) + "\n\n" + "\n\n\n".join(parts)


def around(text: str) -> set[str]:
    """The names that a text takes from the module around it; its own variables are not among them."""
    names, tables = set(), [symtable.symtable(text, "piece", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        names |= {symbol.get_name() for symbol in table.get_symbols()
                  if symbol.is_referenced() and symbol.is_global()}
    return names


def source(thing: Any) -> str:
    """The lines that defined a function or class, also in a notebook (where `inspect` finds no classes)."""
    text = "".join(linecache.getlines(functions(thing)[0].__code__.co_filename))
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.ClassDef))
    found = [node for node in nodes if node.name == thing.__name__]
    if not found:
        raise ValueError(f"the source of {thing.__name__} is not known")
    node = found[-1]                                     # the last one: a cell may hold an earlier try
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1:node.end_lineno])


def functions(thing: Any) -> list[Callable]:
    """A function itself, or the methods of a class: they know their file and the names around them."""
    found = [each for each in (thing, *vars(thing).values()) if hasattr(each, "__code__")]
    if not found:
        raise ValueError(f"where {thing.__name__} was written is not known")
    return found
