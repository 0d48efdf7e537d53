"""What a call of the pipeline asks for, validated before anything works, and what it returns.

Shapes: B pictures · h, w id grid · p, q preview grid.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from minglm.config import Config
from minglm.generate.expected import Expected, expected
from minglm.generate.sources import is_poster
from minglm.validate import real, whole
from minglm.world import quotes
from minglm.world.characters import tidy
from minglm.world.enhancer import NO_TEXT, enhance
from minglm.world.explicit import bare
from minglm.world.layout import wrap
from minglm.world.posters import CANVASES, canvas, validate_texts
from minglm.world.reading import read
from minglm.world.translations import to_write, told
from minglm.world.untold import quoting

MOST_PROMPT_IDS, SMALLEST_SIDE = 512, 96     # of posters
GUIDED = 1.5                                 # the usual guidance of a planner of posters
CANDIDATES = 8                               # the usual number of plans of a poster, of which one is painted
USUAL_SIDE = 1024                            # of a picture that is no poster, in pixels
MOST_SOURCES = 4                             # pictures to edit at once, as in training
STRANGE = "a picture is no poster of this world: its main colours and shapes are kept, its details are not"
UNKNOWN = "no object of the poster world is named"       # but fine-tuned weights may know others


@dataclass
class Output:
    """What a call returns; `prompts` as the planner read them."""

    images: list[Image.Image]
    plan: list[Tensor]                       # (h, w) int64, one per picture
    preview: list[Tensor]                    # (p, q) int64; empty if the plan was given
    prompts: list[str]
    notes: list[str]


def as_list(prompt: str | list[str]) -> list[str]:
    """One prompt or several as a list. Raises ValueError for anything else."""
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, (list, tuple)) or not all(isinstance(one, str) for one in prompts):
        raise ValueError(f"prompt {prompt!r}: a string or a list of strings is needed")
    return list(prompts)


def guided(weight: float | None, config: Config, editing: bool = False) -> float:
    """The planner's guidance: `weight`, or what is usual. Raises ValueError for what is no number."""
    if weight is None:                       # edits: not tried
        return GUIDED if config.posters and not editing else 1
    return real("planner_guidance", weight, -100, 100)


def tries(count: int | None, config: Config) -> int:
    """How many plans to draw for a picture: `count`, or what is usual. Raises ValueError for no such number,
    or for several if the decoder cannot tell which is best."""
    judges = config.decoder.aligned is not None
    if count is None:
        return CANDIDATES if config.posters and judges else 1
    if whole("candidates", count, 1, 1000) > 1 and not judges:
        raise ValueError(f"candidates {count}: the decoder of the {config.name} weights was not taught where "
                         "letters stand, so it cannot choose a plan; only 1 is possible")
    return count


def unconditional(prompt: str, config: Config, pictures: Sequence = ()) -> str:
    """What the unconditional branch of the planner's guidance reads, besides the pictures to edit. For a
    poster that is "A poster." in the prompt's language: guided away from it, more texts and objects are right
    than away from an empty prompt, even if one prompt in ten was empty in training
    (data/weights/mini/README.md)."""
    return bare(prompt) if config.posters and not pictures else ""


def sampling(temperature: float, top_p: float, top_k: int | None, guidance: float = 1) -> dict:
    """The planner's sampling arguments, validated. Raises ValueError naming the one that is wrong."""
    how = dict(temperature=real("temperature", temperature, 0), top_p=real("top_p", top_p, 0, 1, above=True),
               top_k=None if top_k is None else whole("top_k", top_k))
    # a method `plan` of one's own need not know of guidance that it is not asked for
    return how if guidance == 1 else how | dict(guidance=guidance)


def one_each(seed: int | list[int], count: int) -> list[int]:
    """A seed for each of `count` pictures."""
    return seed if isinstance(seed, list) else [seed + i for i in range(count)]


def repeat(items: list, count: int) -> list:
    """Each item `count` times in a row: [a, b] -> [a, a, b, b]."""
    return [item for item in items for _ in range(count)]


def given_ids(ids: Tensor | list[Tensor], count: int, rows: int, columns: int, codebook: int) -> Tensor:
    """The ids that a call gives in place of a plan, as (B, rows, columns) int64.

    Raises ValueError for another shape, or for ids that are no codes.
    """
    grids = [ids] if isinstance(ids, Tensor) and ids.ndim == 2 else list(ids)
    grids = [torch.as_tensor(grid) for grid in grids]
    if len(grids) != count or any(tuple(grid.shape) != (rows, columns) for grid in grids):
        raise ValueError(f"prior_ids of shapes {[tuple(grid.shape) for grid in grids]}: {count} of "
                         f"{(rows, columns)} are needed")
    ids = torch.stack(grids)
    if ids.min() < 0 or ids.max() >= codebook:
        raise ValueError(f"prior_ids from {ids.min()} to {ids.max()}: the codebook has 0 to {codebook - 1}")
    return ids.long()


def tell(notes: Iterable[str], progress: bool) -> None:
    """Print each note once, unless nothing is to be shown."""
    for note in dict.fromkeys(notes) if progress else ():
        print(f"minglm: {note}", file=sys.stderr)


def validate(prompts: list[str], height: int | None, width: int | None, config: Config) -> None:
    """Raises ValueError for an empty prompt or a size that cannot be painted."""
    cell, most = config.cell, config.max_side
    least = SMALLEST_SIDE if config.posters else cell
    for name, side in (("height", height), ("width", width)):
        if side is not None and (whole(name, side, -2 ** 63) % cell or not least <= side <= most):
            raise ValueError(f"{name} {side}: height and width must be multiples of {cell} "
                             f"from {least} to {most}")
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise ValueError("the prompt is empty: describe a poster, with its words in quotation marks")


@dataclass(frozen=True)
class Understood:
    """What prompts ask for: the captions that the planner reads, the lines to write, the size of all; and
    what can be expected of each plan, or an empty list."""

    captions: list[str]
    lines: list[list[str]]
    height: int
    width: int
    notes: list[str]
    expected: list[Expected | None] = field(default_factory=list)


def posters(prompts: list[str], seeds: list[int], height: int | None, width: int | None,
            enhanced: bool) -> Understood:
    """Understand prompts for posters, all of one size: the smallest in which the texts of each fit.

    enhanced: the captions are those of the prompt enhancer, else the prompts themselves. Raises ValueError
    for texts that cannot be written.
    """
    for prompt in prompts:                   # what cannot be drawn at all is said first
        validate_texts(quotes.quoted(quoting(prompt)[0] if enhanced else prompt), *CANVASES[-1])
    if enhanced:
        found = [enhance(prompt, seed, height, width) for prompt, seed in zip(prompts, seeds)]
        size = max(one.poster.height for one in found), max(one.poster.width for one in found)
        if any((one.poster.height, one.poster.width) != size for one in found):
            found = [enhance(prompt, seed, *size) for prompt, seed in zip(prompts, seeds)]
        notes = [note for one in found for note in (*one.notes, f"understood: {one.caption}")]
        return Understood([one.caption for one in found], [one.poster.strings for one in found], *size, notes,
                          [expected(one.poster) for one in found])
    asked = [read(prompt) for prompt in prompts]
    texts = [[tidy(one.text) for one in some.in_order()] for some in asked]
    if not (height and width):
        best = [canvas(some, sum(group.count for group in one.groups)) for some, one in zip(texts, asked)]
        height, width = height or max(h for h, _ in best), width or max(w for _, w in best)
    texts = [[text for text in validate_texts(some, height, width) if text] for some in texts]
    notes = [NO_TEXT] * (not all(texts)) + [UNKNOWN] * any(not one.groups for one in asked)
    lines = [[line for text in some for line in wrap(text, width)] for some in texts]
    return Understood(prompts, lines, height, width, notes)


def understood(config: Config, quoted: Callable[[str], list[str]], prompts: list[str], seeds: list[int],
               height: int | None, width: int | None, enhanced: bool, images: list[list[Image.Image]] | tuple
               ) -> Understood:
    """What is painted for each prompt, and its size; quoted: finds the texts of a prompt that is for no
    poster. Raises ValueError for what cannot be painted."""
    if config.posters and any(images):
        if not config.edits:
            raise ValueError(f"the {config.name} weights are not trained to edit pictures: leave the image "
                             "out, or train them (minglm train edit-planner edit-decoder)")
        return edits(prompts, images, height, width)
    if config.posters:
        return posters(prompts, seeds, height, width, enhanced)
    usual = min(USUAL_SIDE, config.max_side)
    return Understood(prompts, [quoted(p) for p in prompts], height or usual, width or usual, [])


def edits(instructions: list[str], images: list[list[Image.Image]], height: int | None, width: int | None,
          ) -> Understood:
    """Understand instructions to edit pictures, brought to whole cells: the planner reads them as they are,
    and what they quote is what may be written. The size is that of the first picture if none is given.

    Raises ValueError for texts that cannot be written, or first pictures of several sizes.
    """
    if (most := max(map(len, images))) > MOST_SOURCES:
        raise ValueError(f"{most} pictures to edit: at most {MOST_SOURCES}")
    for instruction in instructions:
        validate_texts(quotes.quoted(instruction), *CANVASES[-1])
    sizes = {(some[0].height, some[0].width) for some in images}
    if not (height and width) and len(sizes) > 1:
        raise ValueError(f"pictures to edit of {' and '.join(f'{h}x{w}' for h, w in sorted(sizes))}: "
                         "give height and width, or edit them in two calls")
    size = [max(SMALLEST_SIDE, side) for side in sizes.pop()]
    height, width = height or size[0], width or size[1]
    notes = [STRANGE] if not all(is_poster(one) for some in images for one in some) else []
    texts = [told(instruction) for instruction in instructions]
    return Understood(instructions, [to_write(some, [], width) for some in texts], height, width, notes)
