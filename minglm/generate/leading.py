"""What pictures to edit should become: each instruction as a caption of the target, where it is understood.

The pictures are looked at (world/seen.py), the decoder tells where the quoted words stand (legible.py), and
the enhancer of edits does the rest (world/edit_enhancer.py).

Shapes: h, w id grid.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from PIL import Image

from minglm.config import FlowConfig
from minglm.generate import legible, sources
from minglm.generate.best import Expected, expected
from minglm.generate.request import Understood, repeat
from minglm.generate.sources import Source, is_poster
from minglm.model.decoder import Decoder, Memory
from minglm.model.glyph import GlyphEncoder
from minglm.world.edit_enhancer import lead, worded
from minglm.world.explicit import explicit
from minglm.world.goals import goal
from minglm.world.mentions import mentions
from minglm.world.quotes import quoted
from minglm.world.scenes import Edit, Scene
from minglm.world.seen import see

UNCLEAR = "not clear what should change, so the planner reads the instruction as it is"


def scene(decoder: Decoder, encoder: GlyphEncoder, image: Image.Image, source: Source, instruction: str,
          config: FlowConfig) -> Scene:
    """What a picture shows, as far as an instruction names it."""
    named = [str(m.value) for m in mentions(instruction) if m.kind == "thing"]
    texts = list(dict.fromkeys(" ".join(text.split()) for text in quoted(instruction) if text.strip()))
    rows = zip(texts, legible.where(decoder, encoder, source, texts, config))
    return worded(see(image, named=named), {text: y for text, y in rows if y is not None})


def led(decoder: Decoder, encoder: GlyphEncoder, instruction: str, images: list[Image.Image],
        read: list[Source], height: int, width: int, config: FlowConfig) -> Edit | None:
    """The edit that an instruction asks for, of posters on whole cells, to one of `height` x `width`; None
    if it is not understood."""
    scenes = [scene(decoder, encoder, image, source, instruction, config)
              for image, source in zip(images, read)]
    return lead(instruction, scenes, height, width)


def understood(decoder: Decoder, encoder: GlyphEncoder, asked: Understood, instructions: list[str],
               images: list[list[Image.Image]], read: list[list[Source]], config: FlowConfig, enhanced: bool,
               ) -> Understood:
    """What is asked for, with the captions of targets in place of the instructions that are understood, or
    of none unless `enhanced`. instructions, images, read: of each prompt, which may be asked several times.
    """
    captions, lines, notes, plans = [], [], list(asked.notes), []
    for instruction, some, its in zip(instructions, images, read):
        # a picture that is no poster was mentioned already
        size, known = (asked.height, asked.width), enhanced and all(map(is_poster, some))
        edit = led(decoder, encoder, instruction, some, its, *size, config) if known else None
        captions.append(goal(edit) if edit else instruction)
        lines.append(edit.strings if edit else legible.lines(decoder, encoder, its, instruction,
                                                             asked.width, config))
        plans.append(edit and planned(edit, its[0]))
        if known:
            notes.append(f"understood: {captions[-1]}" if edit else UNCLEAR)
    each = len(asked.captions) // len(instructions)
    captions, lines, plans = (repeat(some, each) for some in (captions, lines, plans))
    return replace(asked, captions=captions, lines=lines, notes=notes, expected=plans)


def planned(edit: Edit, source: Source) -> Expected | None:
    """What is expected of an edit whose first picture is `source`: the ids that it keeps, the caption by
    which it can be drawn, and what of the picture is not needed. Letters that nobody knows are x there."""
    may = torch.from_numpy(edit.cells)
    if source.ids.shape != may.shape:
        return expected(edit.target)
    drawn = len(edit.sources) == 1 and not edit.target.style
    return expected(edit.target, source.ids.cpu().where(~may, -1),
                    caption=explicit(edit.target) if drawn else "", gone=edit.gone)


def remembered(decoder: Decoder, read: list[list[Source]], expected: list[Expected | None]
               ) -> list[list[Memory]]:
    """What the decoder attends to for each picture, of the pictures to edit that are read for it: not of what
    an edit takes away."""
    gone = [one and one.gone for one in expected] or [None] * len(read)
    return [sources.remembered(decoder, some, hidden) for some, hidden in zip(read, gone)]
