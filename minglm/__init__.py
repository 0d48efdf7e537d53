"""minglm: GLM-Image, small enough to read, train and run on a laptop.

The reading order of the package is the flow of the data: config, layout, posters, text, ops, layers, vae,
autoencoder, tokenizer, planner, drawing, glyph, decoder, flow, painting, editing, pipeline; then batches,
stages, train, muon, checkpoint, run, device, judge; for the released model shards, hf, compat; for several cards
parallel, sharding; and for an Ascend card without one simnpu, simcard, simcount, dispatch, dryrun.
"""

import os

# torch loads every installed backend while it is being imported, and torch-npu without CANN
# then makes `import torch` itself fail. minglm asks for the backend later, in device.py.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "Pipeline":  # imported on first use, so that `import minglm` stays cheap
        from minglm.generate.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module 'minglm' has no attribute {name!r}")
