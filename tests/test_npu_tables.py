"""scripts/npu_tables.py on a wheel of a few lines: what it finds, what it follows, what it refuses."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "npu_tables.py"
FILES = {
    "torch_npu/__init__.py": "from .version import __version__\n",
    "torch_npu/version.py": "__version__ = '0'\n",
    "torch_npu/npu/__init__.py": "from .utils import wait as pause\nfrom .memory import *\nfrom torch_npu._C import Opaque\n"
                                 "from .streams import Stream\nconfig = make()\ndef available(): pass\n"
                                 "def outer():\n    def hidden(x): pass\n",
    "torch_npu/npu/utils.py": "def wait(device: int = None, *, blocking=True): pass\n",
    "torch_npu/npu/memory.py": "def peak(device=0): pass\n",
    "torch_npu/npu/streams.py": "class Stream(Base):\n    def __new__(cls, device=None, **more): pass\n",
    "torch_npu/csrc/aten/npu_native_functions.yaml": "supported:\n- mm\n- func: silu\n  op_api: True\nsymint:\n",
    "torch_npu/csrc/aten/npu_native_functions_by_codegen.yaml":
        "supported:\n- func: add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor\n  impl_ns: op_api\n  sparse: op_api\n"
        "- func: _coalesce(Tensor self) -> Tensor\n  sparse: op_api\nsymint:\n- func: zeros(SymInt[] size) -> Tensor\n",
}
LIBRARY = (b"\0mm\0silu\0add.Tensor\0zeros\0npu::npu_x(Tensor input, float eps=1e-06) -> Tensor\0"
           b"npu_x.out(Tensor input, *, Tensor(a!) out) -> Tensor(a!)\0npu_xy(Tensor a) -> Tensor\0")


@pytest.fixture
def tables():
    spec = importlib.util.spec_from_file_location("npu_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(tables, folder: Path, library: bytes = LIBRARY):
    path = folder / "torch_npu-0-cp311-cp311-linux.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in (FILES | {"torch_npu/lib/libtorch_npu.so": library}).items():
            file.writestr(name, text)
    return tables.Wheel(path)


def test_operators_are_sorted_by_what_a_card_does(tables, tmp_path):
    found = tables.operators(wheel(tables, tmp_path))
    assert found["native"] == ["add.Tensor", "mm", "silu", "zeros"]              # _coalesce: for sparse tensors only
    assert {"linear", "rms_norm", "add.Scalar"} <= set(found["decomposed"])      # composites of torch itself
    assert {"_coalesce", "nonzero", "huber_loss"} <= set(found["cpu"])


def test_a_listed_kernel_that_the_library_lacks_is_an_error(tables, tmp_path):
    with pytest.raises(ValueError, match="silu"):
        tables.operators(wheel(tables, tmp_path, LIBRARY.replace(b"silu", b"sila")))


def test_signatures_are_followed_through_imports(tables, tmp_path):
    made = wheel(tables, tmp_path)
    assert {name: tables.signature(made, name) for name in (
        "__version__", "npu", "npu.pause", "npu.peak", "npu.Stream", "npu.config", "npu.Opaque", "npu.available", "npu.utils.wait")} == {
        "__version__": "object", "npu": "module", "npu.pause": "(device=None, *, blocking=True)", "npu.peak": "(device=0)",
        "npu.Stream": "(device=None, **more)", "npu.config": "object", "npu.Opaque": "object", "npu.available": "()",
        "npu.utils.wait": "(device=None, *, blocking=True)"}
    for absent in ("npu.wait", "npu.hidden", "npus", "npu.utils.pause"):
        with pytest.raises(ValueError, match=absent):
            tables.signature(made, absent)


def test_schemas_are_those_of_that_name_only(tables, tmp_path):
    assert tables.schemas(wheel(tables, tmp_path), "npu_x") == [
        "npu_x(Tensor input, float eps=1e-06) -> Tensor", "npu_x.out(Tensor input, *, Tensor(a!) out) -> Tensor(a!)"]


def test_another_version_of_torch_is_refused(tables, tmp_path):
    path = Path(wheel(tables, tmp_path).zip.filename)
    with pytest.raises(ValueError, match="needs torch 0"):
        tables.main(path)
