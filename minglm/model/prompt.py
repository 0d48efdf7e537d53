"""What the planner reads: text ids, the grid sizes, and the ids of pictures to edit.

Three readers want the prompt in three forms. The planner reads all of it as BPE ids, followed by the grid
sizes. The glyph encoder reads only what stands in quotation marks, byte by byte (glyph.py). The tokenizer's
training reads the caption as BPE ids alone.
"""

from __future__ import annotations

from torch import Tensor

from minglm.config import PlannerConfig
from minglm.model.bpe import BPE


def preview_grid(rows: int, columns: int, tokens: int) -> tuple[int, int]:
    """The preview grid of a large grid: its shape, at an area of about `tokens` ids."""
    ratio, side = (rows / columns) ** 0.5, tokens ** 0.5
    return max(1, int(ratio * side)), max(1, int(side / ratio))


def prompt_ids(bpe: BPE, prompt: str, rows: int, columns: int, preview: tuple[int, int] | None,
               offset: int, boi: int, specials: bool = False) -> list[int]:
    """`PROMPT<sop>rows columns<eop><sop>rows columns<eop><boi>`: text, large grid, preview grid.

    Text ids stand behind the planner's codes, so they are raised by `offset`. Without a preview
    (image editing) its sizes are left out. specials: as for `BPE.encode`. Mirrors GlmImageProcessor.
    """
    ids = bpe.encode(prompt, specials)
    for grid in [(rows, columns), preview] if preview else [(rows, columns)]:
        ids += [bpe.specials["<sop>"], *bpe.encode(f"{grid[0]} {grid[1]}"), bpe.specials["<eop>"]]
    return [offset + i for i in ids] + [boi]


def with_sources(sources: list[Tensor], text: list[int], config: PlannerConfig) -> tuple[list[int], list]:
    """`text` ids preceded by the ids (h, w) of each source image, and the parts as `planner.positions` wants them."""
    ids, parts = [], []
    for source in sources:
        ids += [config.boi, *source.flatten().tolist(), config.eoi]
        parts += [1, tuple(source.shape), 1]
    return ids + text, [*parts, len(text)]
