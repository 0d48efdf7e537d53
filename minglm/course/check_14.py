"""Checks of the exercises in notebook 14: the planner's size, and what limits a pass over the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from minglm.config import PlannerConfig, preset
from minglm.course.answers import Case, run
from minglm.measure.cost import BYTES, CARDS, count
from minglm.model.planner import Planner


def planner_size(learner: Callable[[PlannerConfig], int]) -> None:
    """The number of parameters of a planner of this configuration."""
    cases = []
    for name in ("mini", "tiny", "glm_image"):
        c = preset(name).planner
        with torch.device("meta"):
            right = count(Planner(c))
        q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
        cases.append(Case((c,), right, {
            "q, k and v have biases, one number per output": right - c.depth * (q + 2 * kv),
            "only q, k and v have biases in a block: o, gate_up and down have none":
                right + c.depth * (2 * c.width + 2 * c.mlp),
            "k and v have kv_heads heads, fewer than q": right + c.depth * 2 * (q - kv) * (c.width + 1),
            "gate_up has 2 mlp outputs: the gate and what is gated": right - c.depth * c.width * c.mlp,
            "a block has four norms": right - c.depth * 2 * c.width,
            "there is one more norm, after the last block": right - c.width,
            "the head is a matrix of its own, not tied to the embedding": right - c.vision_vocab * c.width,
            "the head has vision_vocab outputs, not vocab": right + (c.vocab - c.vision_vocab) * c.width}))
    run("planner_size", learner, *cases)


def roofline(learner: Callable[[float, float, float, float], float]) -> None:
    """(parameters, tokens, FLOP/s, bytes/s) -> the least seconds of one pass of the tokens through bfloat16
    weights, by the card's two peaks."""
    cases = []
    for card, parameters, tokens in (("h100", 8.9e9, 1), ("h100", 6.9e9, 8256), ("ascend-910b", 1e9, 128),
                                     ("laptop", 1e7, 64)):
        flops, bandwidth = CARDS[card].flops, CARDS[card].bandwidth
        work, read = 2 * parameters * tokens / flops, BYTES * parameters / bandwidth
        cases.append(Case((parameters, tokens, flops, bandwidth), max(work, read), {
            "reading and computing overlap: the longer one counts, not their sum": work + read,
            "the longer of the two counts, not the shorter": min(work, read),
            "a weight takes a multiplication and an addition per token: 2 operations": max(work / 2, read),
            "a bfloat16 number has 2 bytes": max(work, read / 2),
            "the weights are read once for all tokens of the pass": max(work, read * tokens)}))
    run("roofline", learner, *cases, tolerance=1e-9)
