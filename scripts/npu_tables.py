"""Two small tables of what torch_npu can do, read from its wheel, which is never imported or installed.

    python scripts/npu_tables.py torch_npu-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl

`tests/data/npu_operators.json`: what an Ascend card does with every operator of torch itself:

* native: the wheel lists a kernel, in the two YAML files its dispatch code was generated from, and the
  name stands in the library libtorch_npu.so. Read, not inferred; a kernel may still refuse a dtype.
* decomposed: no kernel, but torch's own dispatcher holds a composite one that calls other operators.
  Exact for the torch beside this script, whose version must be the wheel's.
* cpu: neither. torch_npu registers one fallback for all such operators, which copies the inputs to the
  host, computes there and copies back. Inferred from the absence of the other two: some of them
  (sparse, quantised, CUDA libraries' own) would raise instead.

`tests/data/npu_signatures.json`: the arguments of the symbols in OPERATORS and PYTHON below. Operators'
schemas are text inside the library; functions and classes are read from the wheel's sources by `ast`.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import zipfile
from pathlib import Path

os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

import torch
import yaml

DATA = Path(__file__).parents[1] / "tests" / "data"
LISTS = ("npu_native_functions.yaml", "npu_native_functions_by_codegen.yaml")

OPERATORS = """npu_rms_norm npu_add_rms_norm npu_rotary_mul npu_swiglu npu_geglu npu_fusion_attention
    npu_group_norm_silu npu_cross_entropy_loss npu_apply_adam_w npu_format_cast get_npu_format""".split()

PYTHON = """__version__ npu npu.is_available npu.is_initialized npu.init npu.device_count npu.set_device npu.current_device
    npu.device npu.get_device_name npu.get_device_properties npu.mem_get_info npu.utilization npu.synchronize npu.Stream
    npu.Event npu.stream npu.current_stream npu.default_stream npu.set_stream npu.empty_cache npu.memory_allocated
    npu.max_memory_allocated npu.memory_reserved npu.max_memory_reserved npu.memory_stats npu.memory_summary
    npu.reset_peak_memory_stats npu.manual_seed npu.manual_seed_all npu.get_rng_state npu.set_rng_state
    npu.is_bf16_supported npu.get_amp_supported_dtype npu.set_compile_mode npu.set_sync_debug_mode npu.config npu.matmul
    npu.conv npu.utils npu.utils.get_cann_version npu.amp npu.amp.GradScaler optim optim.NpuFusedAdamW profiler
    profiler.profile profiler.schedule profiler.tensorboard_trace_handler profiler.ProfilerActivity""".split()


class Wheel:
    """The files of a wheel by name, read where they are."""

    def __init__(self, path: Path):
        self.zip = zipfile.ZipFile(path)
        self.files = set(self.zip.namelist())
        self.library = self.zip.read("torch_npu/lib/libtorch_npu.so")

    def text(self, name: str) -> str:
        return self.zip.read(name).decode()

    def module(self, dotted: str) -> str | None:
        """The file of a module or package, or None."""
        base = dotted.replace(".", "/")
        return next((name for name in (f"{base}.py", f"{base}/__init__.py") if name in self.files), None)


def kernels(wheel: Wheel) -> set[str]:
    """Overloads of torch's operators with a dense kernel: listed, and named in the library."""
    found = set()
    for name in LISTS:
        lists = yaml.safe_load(wheel.text(f"torch_npu/csrc/aten/{name}"))
        for entry in lists["supported"] + (lists.get("symint") or []):
            entry = entry if isinstance(entry, dict) else dict(func=entry)
            if not entry.keys() <= {"func", "sparse"} or "sparse" not in entry:  # the others have a dense one too
                found.add(entry["func"].partition("(")[0])
    missing = sorted(name for name in found if b"\0%s\0" % name.encode() not in wheel.library)
    if missing:
        raise ValueError(f"listed as kernels but not named in the library: {', '.join(missing)}")
    return found


def operators(wheel: Wheel) -> dict[str, list[str]]:
    """Every overload of torch's operators by what a card does with it."""
    native, out = kernels(wheel), dict(native=[], decomposed=[], cpu=[])
    composite = ("CompositeImplicitAutograd", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")
    for name in sorted(torch._C._dispatch_get_all_op_names()):
        short = name.removeprefix("aten::")
        if short == name:                                    # another library's
            continue
        composed = any(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in composite)
        out["native" if short in native else "decomposed" if composed else "cpu"].append(short)
    return out


def schemas(wheel: Wheel, name: str) -> list[str]:
    """The overloads of one of torch_npu's own operators, as its library declares them."""
    found = re.findall(rb"\0(?:npu::)?(%s(?:\.\w+)?\([^\0]*\) -> [^\0]+)(?=\0)" % name.encode(), wheel.library)
    return sorted({str(torch._C.parse_schema(text.decode())): text.decode() for text in found}.values())


def definition(wheel: Wheel, module: str, name: str) -> ast.AST | None:
    """Where a module gets `name`: the node that defines it, found through imports; a submodule; or None."""
    path = wheel.module(module)
    if path is None:
        return None
    package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(wheel.text(path))):
        if getattr(node, "col_offset", 1):                   # inside something else
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                if alias.name == "*" and source.startswith("torch_npu"):
                    if found := definition(wheel, source, name):
                        return found
                elif (alias.asname or alias.name) == name:   # of a compiled module no more is known
                    return definition(wheel, source, alias.name) or node
    inner = wheel.module(f"{module}.{name}")
    return ast.parse(wheel.text(inner)) if inner else None


def signature(wheel: Wheel, dotted: str) -> str:
    """The arguments of a function or class, "(device=None)"; or "module"; or "object", of which no more is told."""
    module, _, name = f"torch_npu.{dotted}".rpartition(".")
    node = definition(wheel, module, name)
    if node is None:
        raise ValueError(f"torch_npu has no {dotted}")
    makers = [n for n in getattr(node, "body", []) if getattr(n, "name", "") in ("__init__", "__new__")]
    function = makers[0] if isinstance(node, ast.ClassDef) and makers else node
    if not isinstance(function, ast.FunctionDef):
        return "module" if isinstance(node, ast.Module) else "object"
    arguments = function.args
    everything = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    for argument in [*everything, arguments.vararg, arguments.kwarg]:
        if argument:
            argument.annotation = None
    if function is not node:                                 # self or cls
        arguments.args.pop(0)
    return f"({ast.unparse(arguments)})"


def write(name: str, table: dict) -> None:
    path = DATA / name
    path.with_suffix(".tmp").write_text(json.dumps(table, indent=0) + "\n")
    os.replace(path.with_suffix(".tmp"), path)
    print(f"{path.name}: " + ", ".join(f"{len(v)} {k}" for k, v in table.items() if k != "wheel"))


def main(path: Path) -> None:
    wheel, version = Wheel(path), path.name.split("-")[1]
    if torch.__version__.partition("+")[0] != version.partition(".post")[0]:
        raise ValueError(f"{path.name} needs torch {version} beside this script, not {torch.__version__}")
    write("npu_operators.json", dict(wheel=path.name, **operators(wheel)))
    declared = {name: schemas(wheel, name) for name in OPERATORS}
    if absent := [name for name, found in declared.items() if not found]:
        raise ValueError(f"the library declares no {', '.join(absent)}")
    write("npu_signatures.json", dict(wheel=path.name, operators=declared,
                                      python={name: signature(wheel, name) for name in PYTHON}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/npu_tables.py WHEEL")
    main(Path(sys.argv[1]))
