"""What the losses are told about letters agrees with the picture."""

import numpy as np
import pytest
import torch

from minglm.model.glyph import collate
from minglm.world.lettering import RASTER, lettering, raster, text_mask
from minglm.world.posters import COLOURS, Poster, Region


def poster(*regions: tuple[str, str], **more) -> Poster:
    return Poster("white", "cat", "right", tuple(Region(slot, text, "black") for slot, text in regions), **more)


def told(*posters: Poster):
    glyphs = collate([[r.text for r in p.regions] for p in posters])
    return (glyphs, *lettering(list(posters), glyphs["index"]))


def test_the_mask_covers_every_letter_and_nothing_else():
    p = poster(("top", "HELLO"), ("left", "你好"))
    mask = text_mask([p])[0, 0].bool().numpy()
    blank = Poster(p.background, p.thing, p.place, ())
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
    p = poster(("left", "AB"))
    _, _, rasters = told(p)
    image = (255 - np.asarray(p.image.convert("L"), dtype=np.float32)) / 255
    ink = max(1e-6, 1 - sum(COLOURS["black"][0]) / 3 / 255)
    letters = p.letters(p.regions[0])
    for s, letter in enumerate(letters):
        x, y = round(letter.x), round(letter.y)
        drawn = image[y:y + 32, x:x + 16] / ink
        want = rasters[0, s].view(RASTER, RASTER)[:, 8:24].numpy()
        assert np.abs(drawn - want).mean() < 0.05
    assert rasters[0, 2:].abs().max() == 0                                       # the end token draws nothing
    assert np.array_equal(raster("A", False), rasters[0, 0].numpy())
