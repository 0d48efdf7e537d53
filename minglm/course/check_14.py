"""Checks of the exercises in notebook 14: the planner's size, names of weights, and what a picture costs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import torch

from minglm.config import PlannerConfig, preset
from minglm.course.answers import Case, run
from minglm.measure.cost import BYTES, CARDS, count
from minglm.model.planner import Planner
from minglm.published import snapshot


def built_size(c: PlannerConfig) -> int:
    """The parameters of a planner of this configuration, counted on the meta device."""
    with torch.device("meta"):
        return count(Planner(c))


def planner_size(learner: Callable[[PlannerConfig], int]) -> None:
    """The number of parameters of a planner of this configuration."""
    cases = []
    for name in ("mini", "tiny", "glm_image"):
        c = preset(name).planner
        right = built_size(c)
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


def published(learner: Callable[[str, list[tuple[str, str]]], str]) -> None:
    """Our name of a tensor, table of (pattern, replacement) -> the published name."""
    cases = []
    for name, table in (("blocks.7.norm2.weight", snapshot.PLANNER), ("norm.weight", snapshot.PLANNER),
                        ("decoder.levels.2.blocks.0.skip.weight", snapshot.VAE),
                        ("blocks.3.o.bias", snapshot.DECODER),
                        ("encoder.blocks.3.qkv.weight", snapshot.TOKENIZER)):
        hits = [rule for rule in table if re.search(rule[0], name)]
        literal, backwards = name, name
        for pattern, replacement in table:
            literal = literal.replace(pattern, replacement)
        for pattern, replacement in reversed(table):
            backwards = re.sub(pattern, replacement, backwards)
        cases.append(Case((name, table), snapshot.published(name, table), {
            "from top to bottom: the order of the table matters": backwards,
            "the patterns are regular expressions: re.sub, not str.replace": literal,
            "go on after the first substitution: the later ones apply as well": re.sub(*hits[0], name),
            "each substitution works on what the one before it returned": re.sub(*hits[-1], name)}))
    run("published", learner, *cases)


def least_seconds(parameters: float, tokens: float, flops: float, bandwidth: float) -> float:
    """The least time of one pass of `tokens` tokens through bfloat16 weights."""
    return max(2 * parameters * tokens / flops, BYTES * parameters / bandwidth)


def roofline(learner: Callable[[float, float, float, float], float]) -> None:
    """(parameters, tokens, FLOP/s, bytes/s) -> the least seconds of one pass of the tokens through bfloat16
    weights, by the card's two peaks."""
    cases = []
    for card, parameters, tokens in (("h100", 8.9e9, 1), ("h100", 6.9e9, 8256), ("ascend-910b", 1e9, 128),
                                     ("laptop", 1e7, 64)):
        flops, bandwidth = CARDS[card].flops, CARDS[card].bandwidth
        work, read = 2 * parameters * tokens / flops, BYTES * parameters / bandwidth
        arguments = parameters, tokens, flops, bandwidth
        cases.append(Case(arguments, least_seconds(*arguments), {
            "reading and computing overlap: the longer one counts, not their sum": work + read,
            "the longer of the two counts, not the shorter": min(work, read),
            "a weight takes a multiplication and an addition per token: 2 operations": max(work / 2, read),
            "a bfloat16 number has 2 bytes": max(work, read / 2),
            "the weights are read once for all tokens of the pass": max(work, read * tokens)}))
    run("roofline", learner, *cases, tolerance=1e-6)


def kept_bytes(c: PlannerConfig, positions: int) -> int:
    """Bytes of the keys and values of `positions` tokens in bfloat16."""
    return 2 * c.depth * c.kv_heads * c.head_dim * BYTES * positions


def cache_bytes(learner: Callable[[PlannerConfig, int], int]) -> None:
    """Configuration, positions -> bytes of the cache of keys and values in bfloat16."""
    cases = []
    for name, positions in (("glm_image", 1408), ("mini", 100), ("tiny", 1)):
        c = preset(name).planner
        right = kept_bytes(c, positions)
        cases.append(Case((c, positions), right, {
            "keys and values are both kept: a factor of 2": right // 2,
            "every block has a cache of its own: a factor of depth": right // c.depth,
            "only kv_heads heads have keys and values": right // c.kv_heads * c.heads,
            "a head's key is a vector of head_dim numbers": right // c.head_dim,
            "a bfloat16 number has 2 bytes": right // BYTES,
            "one position is not enough: every position is kept": right // positions}))
    run("cache_bytes", learner, *cases)


def even_batch(parameters: float, bits: float, cache: float, flops: float, bandwidth: float) -> float:
    """The batch from which on a step of drawing waits for arithmetic; inf if it never does."""
    surplus = 2 * parameters / flops - cache / bandwidth           # seconds that each more sequence adds
    return bits / 8 * parameters / bandwidth / surplus if surplus > 0 else math.inf


def break_even(learner: Callable[[float, float, float, float, float], float]) -> None:
    """(parameters, bits of a weight, bytes of cache a sequence, FLOP/s, bytes/s) -> the batch at which
    arithmetic takes as long as reading; math.inf if there is none."""
    cases = []
    for card, parameters, bits, cache in (("h100", 8e9, 16, 0.0), ("h100", 8e9, 16, 3e7),
                                          ("ascend-910b", 9e9, 4, 2e7), ("h100", 8e9, 8, 1e9)):
        flops, bandwidth = CARDS[card].flops, CARDS[card].bandwidth
        arguments = parameters, bits, cache, flops, bandwidth
        read, surplus = bits / 8 * parameters / bandwidth, 2 * parameters / flops - cache / bandwidth
        cases.append(Case(arguments, even_batch(*arguments), {
            "more caches are read with every sequence: arithmetic has to catch up with both":
                even_batch(parameters, bits, 0.0, flops, bandwidth),
            "each further sequence adds its cache to the reading, on the other side of the equation":
                read / (2 * parameters / flops + cache / bandwidth),
            "the weights have `bits` bits, 8 to a byte": 8 * even_batch(*arguments),
            "the weights have `bits` bits, not 16": even_batch(parameters, 16, cache, flops, bandwidth),
            "a weight takes a multiplication and an addition per sequence: 2 operations":
                read / (parameters / flops - cache / bandwidth),
            "reading the caches grows faster than the arithmetic: there is no such batch, so math.inf":
                read / surplus}))
    run("break_even", learner, *cases, tolerance=1e-5)
