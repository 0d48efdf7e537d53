"""What pictures to edit should become: each instruction as a caption of the target, where it is understood.

The pictures are looked at (world/seen.py), the decoder tells where the quoted words stand (legible.py), and
the enhancer of edits does the rest (world/edit_enhancer.py).

Shapes: h, w id grid.
"""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from minglm.config import FlowConfig
from minglm.generate import legible, sources
from minglm.generate.expected import Expected
from minglm.generate.known_ids import known_ids
from minglm.generate.request import Understood, repeat
from minglm.generate.sources import Source, is_poster
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.memory import Memory
from minglm.world.carried import carried
from minglm.world.edit_enhancer import lead, worded
from minglm.world.edit_joining import named
from minglm.world.explicit import explicit
from minglm.world.goals import goal
from minglm.world.quotes import quoted
from minglm.world.scenes import Edit, Scene
from minglm.world.seen import see

UNCLEAR = "not clear what should change, so the planner reads the instruction as it is"


def scene(decoder: Decoder, encoder: GlyphEncoder, image: Image.Image, source: Source, instruction: str,
          named: list[str], config: FlowConfig) -> Scene:
    """What a picture shows, as far as an instruction names it. named: objects that may be there."""
    texts = list(dict.fromkeys(" ".join(text.split()) for text in quoted(instruction) if text.strip()))
    rows = zip(texts, legible.where(decoder, encoder, source, texts, config))
    return worded(see(image, named=named), {text: y for text, y in rows if y is not None})


def led(decoder: Decoder, encoder: GlyphEncoder, instruction: str, images: list[Image.Image],
        read: list[Source], height: int, width: int, config: FlowConfig) -> Edit | None:
    """The edit that an instruction asks for, of posters on whole cells, to one of `height` x `width`; None
    if it is not understood."""
    scenes = [scene(decoder, encoder, image, source, instruction, names, config)
              for image, source, names in zip(images, read, named(instruction, len(images)))]
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
        plans.append(edit and planned(edit, its, decoder.config.scale * decoder.config.patch))
        if known:
            notes.append(f"understood: {captions[-1]}" if edit else UNCLEAR)
    each = len(asked.captions) // len(instructions)
    captions, lines, plans = (repeat(some, each) for some in (captions, lines, plans))
    return replace(asked, captions=captions, lines=lines, notes=notes, expected=plans)


def planned(edit: Edit, read: list[Source], token: int) -> Expected:
    """What is expected of an edit whose pictures are `read`: the ids that it keeps, the caption by which it
    can be drawn, and which of the decoder's tokens, `token` pixels square, show what is needed. In that
    caption, letters whose words are unknown are x."""
    caption = "" if edit.target.style else explicit(edit.target)
    known = known_ids(edit, [source.ids for source in read])
    return Expected(edit.target, edit, caption, known, carried(edit, token))


def remembered(decoder: Decoder, read: list[list[Source]], expected: list[Expected | None]
               ) -> list[list[Memory]]:
    """For each new picture, the memory of each of its sources: what the decoder attends to."""
    kept = [one.carried if one else () for one in expected] or [()] * len(read)
    return [sources.remembered(decoder, *one) for one in zip(read, kept)]
