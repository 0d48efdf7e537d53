"""Checks calls into torch_npu against the real library's signatures, without the library.

The signatures are in data/npu_signatures.json; scripts/npu_tables.py reads them from the wheel. A use is
found wherever the source reaches torch_npu or torch.npu: by import, by `torch.npu`, `torch.ops.npu`,
`torch.get_device_module(...)`, by `Device.module`, or by the module that `minglm.device.fused` returns.
"""

import ast
import inspect
import json
from functools import cache
from pathlib import Path

import torch

DATA = Path(__file__).parent / "data"
MAKERS = {"fused": "", "get_device_module": "npu"}           # calls that return torch_npu, and torch_npu.npu
ELSEWHERE = {"npu.driver_allocated_memory"}                  # device.py asks mps for it, never an npu


@cache
def table() -> dict:
    return json.loads((DATA / "npu_signatures.json").read_text())


def root(node: ast.expr, names: dict[str, str]) -> str | None:
    """Where in torch_npu an expression leads ("" or "npu"), if it is one of the ways in."""
    text = ast.unparse(node)
    if isinstance(node, ast.Call) and (made := ast.unparse(node.func).split(".")[-1]) in MAKERS:
        return MAKERS[made]
    if text in ("device.module", "self.module", "device.device.module"):
        return "npu"
    return {"torch.npu": "npu", "torch_npu": "", "torch.ops.npu": ""}.get(text, names.get(text))


def ways_in(tree: ast.AST) -> dict[str, str]:
    """Names of this file that stand for torch_npu or something in it."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname and alias.name.split(".")[0] == "torch_npu":
                    names[alias.asname] = alias.name.removeprefix("torch_npu").strip(".")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch_npu":
            inside = node.module.removeprefix("torch_npu").strip(".")
            names |= {alias.asname or alias.name: f"{inside}.{alias.name}".strip(".") for alias in node.names}
    for node in ast.walk(tree):
        target = getattr(node, "target", None) or (getattr(node, "targets", None) or [None])[0]
        if isinstance(node, ast.Assign | ast.NamedExpr) and isinstance(target, ast.Name):
            if (where := root(node.value, names)) is not None:
                names[target.id] = where
    return names


def arguments(dotted: str) -> list[inspect.Signature] | None:
    """The signatures of a symbol; None if it is there but nothing to call. Raises LookupError if it is not there."""
    known = table()
    if dotted in known["operators"]:
        parsed = [torch._C.parse_schema(text).arguments for text in known["operators"][dotted]]
        kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        return [inspect.Signature([
            inspect.Parameter(a.name, kinds[a.kwarg_only],
                              default=None if a.has_default_value() else inspect.Parameter.empty) for a in overload])
            for overload in parsed]
    if dotted not in known["python"]:
        raise LookupError
    text = known["python"][dotted]
    return [inspect.signature(eval(f"lambda {text[1:-1]}: 0"))] if text.startswith("(") else None


def check(source: str, where: str = "source") -> tuple[int, list[str]]:
    """How many uses of torch_npu a source has, and what is wrong with them, one line each."""
    tree = ast.parse(source)
    names, known, used, wrong = ways_in(tree), table(), [], []
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        outermost = isinstance(node, ast.Attribute | ast.Name) and id(node) not in inner
        chain, base = [], node
        while isinstance(base, ast.Attribute) and root(base, names) is None:
            chain.insert(0, base.attr)
            base = base.value
        start = root(base, names) if outermost else None
        if start is None or isinstance(getattr(node, "ctx", None), ast.Store) or not (start or chain):
            continue
        path = [*filter(None, start.split(".")), *chain]
        while "object" in (known["python"].get(".".join(path[:i])) for i in range(1, len(path))):
            path.pop()                                       # the inside of objects is not in the table
        dotted, call = ".".join(path), calls.get(id(node)) if path[-1:] == chain[-1:] or not chain else None
        if dotted in ELSEWHERE or dotted == "npu" and not chain:
            continue
        used.append(dotted)
        try:
            overloads = arguments(dotted)
        except LookupError:
            wrong.append(f"{where}:{node.lineno}: torch_npu.{dotted} is not in the table: misspelt, or not asked for in "
                         "scripts/npu_tables.py")
            continue
        if call is None or overloads is None:
            continue
        starred = any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)
        reasons = []
        for overload in overloads:
            try:
                bind = overload.bind_partial if starred else overload.bind
                bind(*(0 for a in call.args if not isinstance(a, ast.Starred)), **{k.arg: 0 for k in call.keywords if k.arg})
            except TypeError as error:
                reasons.append(str(error))
        if len(reasons) == len(overloads):
            wrong.append(f"{where}:{node.lineno}: torch_npu.{dotted}: {reasons[0]}")
    return len(used), wrong


def code(path: Path) -> str:
    """The Python of a file or of a notebook's cells, without lines for the shell."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
