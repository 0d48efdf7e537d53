"""Rewards of a picture, for reinforcement: how much of what was asked for is there, 0 to 1 each.

A reward is a function of what the judge has read and what `check_picture` has found. To add one, write it and
put it into REWARDS; a training run weights them by name.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache

from PIL import Image

from minglm.measure.ocr import Judge
from minglm.measure.scores import check_picture, score_text
from minglm.world.prompts import Prompt

Reward = Callable[[dict], float | None]      # None: nothing of the kind was asked for


def share(name: str) -> Reward:
    """The reward that is the fraction of a list of checks that passed."""
    def reward(scores: dict) -> float | None:
        return sum(scores[name]) / len(scores[name]) if scores[name] else None

    return reward


def text(scores: dict) -> float | None:
    """How similar the words read are to those asked for, less a half if others stand there, too."""
    if not scores["ned"]:
        return 0.0 if scores["extra"] else None
    return max(0.0, sum(scores["ned"]) / len(scores["ned"]) - 0.5 * scores["extra"])


REWARDS: dict[str, Reward] = dict(
    text=text, room=share("text_place"), background=share("background"), object=share("object"),
    count=share("count"), place=share("place"), colour=share("text_colour"))


def rewards(picture: Image.Image, asked: Prompt, judge: Judge) -> dict[str, float | None]:
    """Every reward of a picture."""
    found = judge.read(picture)
    texts = [region.text for region in asked.regions]
    scores = score_text(texts, found) | check_picture(picture, found, asked)
    return {name: reward(scores) for name, reward in REWARDS.items()}


def total(each: dict[str, float | None], weights: dict[str, float]) -> float:
    """The weighted mean of those rewards whose subject was asked for. Raises ValueError for a weight of no
    reward."""
    if strange := weights.keys() - REWARDS.keys():
        raise ValueError(f"no reward {', '.join(sorted(strange))}: choose from {', '.join(REWARDS)}")
    counted = {name: weight for name, weight in weights.items() if each[name] is not None}
    return sum(weight * each[name] for name, weight in counted.items()) / (sum(counted.values()) or 1.0)


# ---------------------------------------------------------------- in processes of their own

@cache
def judge() -> Judge:
    """The judge of this process; loading one takes seconds."""
    return Judge(1)


def scored(picture: Image.Image, asked: Prompt) -> dict[str, float | None]:
    """`rewards` by this process's own judge."""
    return rewards(picture, asked, judge())


def attend() -> None:
    """What a scorer does first. Ctrl-C reaches it too, but it is the caller who ends, after a whole step that
    may wait for this process. If the caller is killed, it ends as well, instead of waiting for pictures."""
    def end() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end, daemon=True).start()


class Scorers:
    """Processes that score pictures while others are painted; with 0 workers the caller does it itself.

    They end with this object.
    """

    def __init__(self, workers: int = 1):
        spawn = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(workers, spawn, initializer=attend) if workers else None

    def score(self, picture: Image.Image, asked: Prompt) -> Future:
        """A future that will hold the rewards of a picture."""
        if self.pool:
            return self.pool.submit(scored, picture, asked)
        done: Future = Future()
        done.set_result(scored(picture, asked))
        return done
