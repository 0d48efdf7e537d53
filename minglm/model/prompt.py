"""What the planner reads: text ids, the grid sizes, and the ids of pictures to edit.

Shapes: h, w id grid of a source image.

The prompt is read in three forms. The planner reads all of it as BPE ids, followed by the grid sizes (our own
planner reads what is quoted byte by byte: spelling.py). The glyph encoder reads only what is in quotation
marks, byte by byte (glyph.py). The tokenizer's training reads the caption as BPE ids alone.
"""

from __future__ import annotations

from torch import Tensor

from minglm.config import PlannerConfig
from minglm.model.bpe import BPE

Grid = tuple[int, int]                       # rows and columns of ids


def preview_grid(rows: int, columns: int, tokens: int) -> Grid:
    """The (rows, columns) of the preview: the aspect ratio of the large grid, at about `tokens` ids."""
    ratio, side = (rows / columns) ** 0.5, tokens ** 0.5
    return max(1, int(ratio * side)), max(1, int(side / ratio))


def text_offset(bpe: BPE, config: PlannerConfig) -> int:
    """What is added to the BPE's ids: ids of text come after all ids of the head, unless the BPE counts the
    codes itself."""
    return 0 if bpe.has_codes else config.vision_vocab


def prompt_ids(bpe: BPE, prompt: str, rows: int, columns: int, preview: Grid | None,
               offset: int, boi: int, specials: bool = False) -> list[int]:
    """`PROMPT<sop>rows columns<eop><sop>rows columns<eop><boi>`: text, large grid, preview grid.

    offset: see `text_offset`. Without a preview (image editing) the sizes of it are omitted. specials: see
    `BPE.encode`. Mirrors GlmImageProcessor.
    """
    ids = bpe.encode(prompt, specials)
    # the sizes of both grids as text, between special tokens
    for grid in [(rows, columns), preview] if preview else [(rows, columns)]:
        ids += [bpe.specials["<sop>"], *bpe.encode(f"{grid[0]} {grid[1]}"), bpe.specials["<eop>"]]
    return [offset + i for i in ids] + [boi]


def with_sources(sources: list[Tensor], text: list[int], config: PlannerConfig) -> tuple[list[int], list]:
    """The ids (h, w) of each source image, then the `text` ids; and the parts for `planner.positions`."""
    ids, parts = [], []
    for source in sources:
        ids += [config.boi, *source.flatten().tolist(), config.eoi]
        parts += [1, tuple(source.shape), 1]                                     # boi and eoi count as text
    return ids + text, [*parts, len(text)]


def source_places(shapes: list[Grid]) -> list[int]:
    """Where in the ids of `with_sources` those of the source images stand, whose grids have these shapes."""
    places, at = [], 0
    for rows, columns in shapes:
        places += range(at + 1, at + 1 + rows * columns)
        at += rows * columns + 2                                                 # boi and eoi
    return places
