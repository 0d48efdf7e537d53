"""minglm: GLM-Image, small enough to read, train and run on a laptop.

Folders in the order in which they build on each other: world (posters and captions), model (the networks;
start here), published (the released files), generate (from a prompt to a picture), measure, training, ascend
(a card simulated), course. The docstring of each says in which order to read its files.
"""

import os

# `import torch` loads every installed backend, and fails if torch-npu is installed without CANN. minglm loads
# the backend later, in device.py.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
# Where ATen is held below AVX-512, oneDNN must not use AMX: PyTorch 2.13's bfloat16 attention would raise an
# error.
if os.environ.get("ATEN_CPU_CAPABILITY", "avx512") != "avx512":
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")

__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "Pipeline":  # imported on first use, so that `import minglm` stays cheap
        from minglm.generate.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module 'minglm' has no attribute {name!r}")
