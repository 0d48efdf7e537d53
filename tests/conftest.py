"""What several tests share: a small vocabulary, and a whole pipeline with random weights."""

import pytest
import torch

from minglm.config import Config, preset
from minglm.device import pick
from minglm.generate.pipeline import Pipeline
from minglm.model import weights
from minglm.model.bpe import BPE
from minglm.training import batches
from minglm.world.draw import draw


@pytest.fixture(scope="session")
def config() -> Config:
    return preset("tiny")


@pytest.fixture(scope="session")
def bpe(config) -> BPE:
    """A vocabulary of full size, learned from few captions."""
    captions = [draw(0, i).caption for i in range(1000)]
    return BPE.train(captions, config.planner.vocab - config.planner.vision_vocab)


@pytest.fixture(scope="session")
def folder(config, bpe, tmp_path_factory):
    """A folder of weights: random, and none of them at a value that hides an input."""
    torch.manual_seed(0)
    parts = {name: part(getattr(config, name)) for name, part in weights.PARTS.items()}
    with torch.no_grad():
        for part in parts.values():
            for p in part.parameters():
                p.add_(0.05 * torch.randn_like(p))
        parts["vae"].start_from_pca(batches.pixels([draw(0, i) for i in range(64)]))
    path = tmp_path_factory.mktemp("weights") / "random"
    Pipeline(config, bpe, parts, pick("cpu")).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def pipe(folder) -> Pipeline:
    return Pipeline.from_pretrained(folder, "cpu")


@pytest.fixture
def threads():
    """Puts the number of threads back, which the command sets."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)
