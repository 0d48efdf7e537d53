"""What the losses are told about letters agrees with the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from minglm.model.glyph import collate
from minglm.world.colours import COLOURS
from minglm.world.lettering import RASTER, lettering, raster
from minglm.world.masks import text_mask
from minglm.world.posters import Group, Poster, Region


def poster(*regions: tuple[str, str], **more) -> Poster:
    return Poster("white", (Group("cat"),), "right", tuple(Region(slot, text, "black") for slot, text in regions), **more)


def told(*posters: Poster):
    glyphs = collate([p.strings for p in posters])
    return (glyphs, *lettering(list(posters), glyphs["index"]))


def test_the_mask_covers_every_letter_and_nothing_else():
    p = poster(("top", "HELLO"), ("left", "你好"))
    mask = text_mask([p])[0, 0].bool().numpy()
    blank = replace(p, regions=())
    changed = (np.asarray(p.image) != np.asarray(blank.image)).any(-1)
    assert changed.any() and not (changed & ~mask).any()
    assert mask.sum() == 5 * 16 * 32 + 2 * 32 * 32


@pytest.mark.parametrize("text, slot", [("HELLO", "top"), ("A", "left"), ("GO", "bottom"), ("你好", "left"), ("山", "top")])
def test_every_token_under_text_looks_somewhere_and_no_other_does(text, slot):
    p = poster((slot, text))
    _, align, _ = told(p)
    under = text_mask([p])[0, 0].unfold(0, 16, 16).unfold(1, 16, 16).amax((-1, -2)).flatten().bool()
    total = align[0].sum(-1)                                                     # (2, N)
    assert torch.equal(total[0] > 0, under) and torch.equal(total[1] > 0, under)
    assert torch.allclose(total[total > 0], torch.ones(1))


def test_letters_in_order_upper_half_and_lower_half():
    _, align, _ = told(poster(("left", "ABCD")))                                 # rows 3 and 4, columns 0 to 3
    upper, lower = (part.view(8, 8, -1) for part in align[0])
    for column in range(4):
        assert upper[3, column].argmax() == lower[4, column].argmax() == column
        assert upper[4, column].argmax() == lower[3, column].argmax() == 4       # the end token
    assert align.shape[-1] == 5


def test_a_wide_letter_gives_a_byte_to_each_of_its_columns():
    _, align, _ = told(poster(("left", "你好")))                                   # three bytes a letter
    upper = align[0, 0].view(8, 8, -1)
    assert [int(upper[3, column].argmax()) for column in range(4)] == [0, 1, 3, 4]


def test_strings_do_not_mix():
    glyphs, align, _ = told(poster(("top", "HI"), ("left", "YOU")))
    rows = align[0].sum(0).view(8, 8, -1).sum(1)                                 # (8, S)
    assert (rows[:2, :3] > 0).any() and (rows[:2, 3:] == 0).all()
    assert (rows[3:5, 3:] > 0).any() and (rows[3:5, :3] == 0).all()
    assert glyphs["tokens"].sum() == 3 + 4


def test_rasters_are_the_letters_of_the_picture():
    """Cell by cell: a narrow letter's first byte has its cell, a wide one's first two bytes its halves."""
    p = poster(("left", "A你"))
    _, _, drawn = told(p)
    image = (255 - np.asarray(p.image.convert("L"), dtype=np.float32)) / 255
    ink = 1 - sum(COLOURS["black"][0]) / 3 / 255
    paper = 1 - sum(COLOURS["white"][0]) / 3 / 255
    letter = p.lines[0][2][0]
    x, y = round(letter.x), round(letter.y)
    for k, byte in enumerate((0, 1, 2)):                                         # A, and both halves of 你
        shown = (image[y:y + 32, x + 16 * k:x + 16 * (k + 1)] - paper) / (ink - paper)
        want = drawn[0, byte].view(RASTER).numpy()
        assert want.max() > 0.9 and np.abs(shown - want).max() < 0.02
    assert drawn[0, 3:].abs().max() == 0                                         # the third byte and the end token
    assert np.array_equal(raster("A", False)[0], drawn[0, 0].view(RASTER).numpy())


def test_a_tight_line_is_told_where_its_letters_are():
    """Nine letters in 128 pixels: each image token attends to the letters above it by their share."""
    p = poster(("top", "ABCDEFGHI"))
    _, align, _ = told(p)
    upper = align[0, 0].view(8, 8, -1)[0]                                        # (8 columns, S)
    letters, step = p.lines[0][2], 128 / 9
    assert letters[0].x == 0 and letters[1].x == pytest.approx(step)
    for column in range(8):
        for i in range(9):
            share = max(0, min(16 * (column + 1), step * (i + 1)) - max(16 * column, step * i)) / 16
            assert upper[column, i].item() == pytest.approx(share, abs=1e-4)


def test_the_tokens_of_every_line_are_its_own():
    """A text of two lines is two strings, with two end tokens."""
    glyphs, align, _ = told(poster(("top", "HELLO WORLD")))
    rows = align[0].sum(0).view(8, 8, -1).sum(1)                                 # (8, S)
    assert glyphs["tokens"].sum() == 12 and glyphs["ids"].shape[0] == 2
    assert (rows[:2, :6] > 0).any() and (rows[:2, 6:] == 0).all()
    assert (rows[2:4, 6:] > 0).any() and (rows[2:4, :6] == 0).all()
