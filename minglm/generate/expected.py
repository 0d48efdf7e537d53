"""What a plan should show, as far as it is known before the plan is sampled, and how much of it is there.

The enhancer knows what it asked the planner for: which letters stand where, and which objects. So a plan is
judged by more than whether its letters find a place: it has to be theirs. And one pass of the decoder from
pure noise predicts, blurred, the picture that a plan leads to. There letters should have their colour, and
objects are compared with it around the place where they should be.

Shapes: K candidates · H, W pixels · h, w id grid · N image tokens · S visible glyph tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from minglm.generate.known_ids import KnownIds
from minglm.images import to_tensor
from minglm.world.carried import Carried, within
from minglm.world.colours import COLOURS
from minglm.world.draw import has_room
from minglm.world.explicit import explicit
from minglm.world.layout import CELL, line_box
from minglm.world.lettering import lettering, rasters
from minglm.world.posters import Box, Poster
from minglm.world.scenes import Edit

BLUR = 4                                     # objects are compared in pictures smaller by so much
USUAL = (64, 96, 128)                        # sides of objects
REACH = CELL                                 # how far from its place an object may be, in pixels
SEEN, COLOURED = 1.0, 0.2                    # what it counts if all objects are seen, or all colours right
ASTRAY = 0.05                                # what a cell costs in which an object is missing, or too much
LETTERS = 0.3                                # of its attention that a cell with letters pays them


@dataclass(frozen=True)
class Expected:
    """What is known of a plan (h, w) before it is sampled: the poster that it leads to. Of an edit, the edit
    itself; the caption by which it can be drawn, if it can; what is known of its ids; and what of its
    pictures is shown again, see world/carried.py."""

    poster: Poster
    edit: Edit | None = None
    caption: str = ""
    known: KnownIds | None = None
    carried: Sequence[Carried] = ()


def expected(poster: Poster) -> Expected | None:
    """What is expected of the plan of a poster; None: nothing, if it is bare."""
    return Expected(poster) if poster.groups or poster.regions else None


def usual(expected: Expected | None) -> Poster | None:
    """A poster that is to have big or small objects, with objects of the usual size; None: of any other, or
    if there is no room for these.

    An id of a big or small object stands for many others too, and on each ground there is another, so few of
    them can be recognised: it is better to see a cat of the usual size than a big one that is none.
    """
    poster = expected.poster if expected and not expected.edit else None
    if not poster or not poster.boxes or poster.size == "normal":
        return None
    other = replace(poster, size="normal")
    if not has_room(other) or other.boxes == poster.boxes:
        return None
    other.caption = explicit(other)
    return other


def kept(expected: Sequence[Expected | None], candidates: int) -> Tensor | None:
    """The ids that each plan of each picture keeps, elsewhere -1, (B K, h w); None: no picture keeps any."""
    each = [one.known.before.flatten() if one and one.known else None for one in expected]
    some = next((ids for ids in each if ids is not None), None)
    if some is None:
        return None
    each = [torch.full_like(some, -1) if ids is None else ids for ids in each]
    return torch.stack(each).repeat_interleave(candidates, 0)


# ---------------------------------------------------------------- letters

def near(expected: Expected) -> Tensor:
    """The image tokens that may draw each letter, (2, N, S) bool, for upper and for lower halves: those where
    it should stand, and those next to them."""
    written = expected.edit or expected.poster
    visible = torch.from_numpy(rasters(written.strings).any(1))                  # no spaces, no ends
    align, _ = lettering([written], visible[None])                               # (1, 2, N, all glyph tokens)
    there = rearrange(align[0, ..., visible], "t (y x) s -> s t y x", x=written.width // (CELL // 2))
    return rearrange(F.max_pool2d(there, 3, 1, 1) > 0, "s t y x -> t (y x) s")


# ---------------------------------------------------------------- objects and colours

def shown(plans: Tensor, text: Tensor, pictures: Tensor, expected: Expected) -> Tensor:
    """What it is worth that plans (K, h, w) show the objects and colours of a poster, (K,).

    text (K, h, w): the attention that each cell pays letters; pictures (K, 3, H, W): what the decoder
    predicts, in [-1, 1]."""
    poster, value = expected.poster, torch.zeros(len(plans))
    if poster.boxes:
        astray = [misplaced(plans, text, one) for one in (poster, usual(expected)) if one]
        value = value - ASTRAY * torch.stack(astray).amin(0)
    if getattr(poster, "style", ""):         # nothing has its usual looks
        return value
    return value + SEEN * seen(pictures, poster) + COLOURED * coloured(pictures, poster)


def ground(poster: Poster) -> Tensor:
    """The colour of a poster's background, (3, 1, 1) in [-1, 1]."""
    return torch.tensor(COLOURS[poster.background][0])[:, None, None] / 127.5 - 1


def line_boxes(poster: Poster) -> list[Box]:
    """The box of each line of text."""
    return [line_box(letters) for _, _, letters in poster.lines]


def coloured(pictures: Tensor, poster: Poster) -> Tensor:
    """Whether lines have their colours in blurred pictures (K, 3, H, W): the cosine between how their places
    differ from the ground and how they should, the mean over lines, (K,)."""
    boxes, found, drawn = line_boxes(poster), torch.zeros(len(pictures)), to_tensor([poster.image])
    for x0, y0, x1, y1 in boxes:
        one, own = (some[:, :, y0:y1, x0:x1] - ground(poster) for some in (pictures, drawn))
        found += F.cosine_similarity(one.mean((2, 3)), own.mean((2, 3))) / len(boxes)
    return found


def misplaced(plans: Tensor, text: Tensor, poster: Poster) -> Tensor:
    """The cells of plans (K, h, w) that show an object where there should be none, or none where there should
    be one, (K,). What is neither ground nor letters is objects; cells meant for letters do not count."""
    wanted, letters = (torch.zeros(plans.shape[1:], dtype=torch.bool) for _ in range(2))
    for cells, boxes in ((wanted, [box for _, box in poster.boxes]), (letters, line_boxes(poster))):
        for box in boxes:
            for cell in within(box, CELL, poster):
                cells[cell] = True
    plain = plans.flatten(1).mode(1).values[:, None, None]
    covered = (plans != plain) & (text < LETTERS)
    return ((covered != wanted) & (wanted | ~letters)).sum((1, 2)).float()


def seen(pictures: Tensor, poster: Poster) -> Tensor:
    """How well the objects of a poster can be seen in blurred pictures (K, 3, H, W), each near its place and
    at any usual size, the mean over objects, (K,): 1 if they look exactly so, 0 if there is only ground."""
    if not poster.boxes:
        return torch.zeros(len(pictures))
    small = F.avg_pool2d(pictures, BLUR) - ground(poster)                        # (K, 3, H / 4, W / 4)
    found = torch.zeros(len(pictures), len(poster.boxes))
    for i, (name, box) in enumerate(poster.boxes):
        squares: list[tuple[slice, slice] | None] = [None] * len(small)
        for side in sorted({box[2] - box[0], *USUAL}):
            if side > min(pictures.shape[2:]):
                continue
            like, s = likeness(small, template(poster, name, side) - ground(poster), box), side // BLUR
            for k, one in enumerate(like):
                if one.max() > found[k, i]:
                    y, x = divmod(int(one.argmax()), one.shape[1])
                    found[k, i], squares[k] = one.max(), (slice(y, y + s), slice(x, x + s))
        for one, square in zip(small, squares):                                  # nothing is seen twice
            if square:
                one[:, *square] = 0
    return found.mean(1)


def template(poster: Poster, name: str, side: int) -> Tensor:
    """An object on the ground of a poster, blurred: (1, 3, side / 4, side / 4)."""
    image = Image.new("RGB", (side, side), COLOURS[poster.background][0])
    sprite = poster.look_of(name, side - 4)
    image.paste(sprite, (2, 2), sprite)      # as a poster draws it
    return F.avg_pool2d(to_tensor([image]), BLUR)


def likeness(small: Tensor, wanted: Tensor, box: Box) -> Tensor:
    """1 - |picture - object|^2 / |object|^2 on every square of blurred pictures (K, 3, H / 4, W / 4), given
    the object (1, 3, s, s), both less the ground: (K, places down, places right), -1 far from a box."""
    energy = F.conv2d(small.square().sum(1, keepdim=True), torch.ones_like(wanted[:, :1]))
    like = ((2 * F.conv2d(small, wanted) - energy) / wanted.square().sum())[:, 0]
    y, x = (BLUR * (torch.arange(places) + wanted.shape[-1] / 2) - (first + last) / 2
            for places, first, last in ((like.shape[1], box[1], box[3]), (like.shape[2], box[0], box[2])))
    return like.masked_fill((y[:, None].abs() > REACH) | (x.abs() > REACH), -1)
