"""Where letters and objects are, held against the pictures themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minglm.world.draw import draw
from minglm.world.masks import PARTS, filled, object_cells, object_mask, square_mask, text_mask
from minglm.world.objects import things
from minglm.world.posters import Group, Poster, Region

SIZES = ((128, 128), (96, 160), (192, 256))


def posters(height: int, width: int, count: int = 24) -> list[Poster]:
    return [draw(31, i, height, width) for i in range(count)]


def changed(poster: Poster, other: Poster) -> torch.Tensor:
    """(H, W): where two pictures differ."""
    pair = [np.asarray(p.image, dtype=np.int16) for p in (poster, other)]
    return torch.from_numpy((pair[0] != pair[1]).any(-1))


@pytest.mark.parametrize("height, width", SIZES)
def test_masks_cover_what_is_painted_and_nothing_else(height, width):
    drawn = posters(height, width)
    texts, objects, squares = text_mask(drawn)[:, 0], object_mask(drawn)[:, 0], square_mask(drawn)[:, 0]
    assert objects.amax() == 1 and ((objects > 0) <= (squares > 0)).all()
    for i, poster in enumerate(drawn):
        bare = replace(poster, groups=(), regions=())
        painted = changed(poster, bare)
        assert not (painted & (texts[i] == 0) & (objects[i] == 0)).any()        # nothing is painted elsewhere
        solid = (objects[i] > 0.9) & (texts[i] == 0)
        # an object may have a few pixels of the ground's own colour
        assert not solid.any() or painted[solid].float().mean() > 0.9


@pytest.mark.parametrize("cell", (32, 64))
def test_cells_tell_the_object_and_how_much_of_them_it_covers(cell):
    drawn = [p for p in posters(128, 128, 60) if len(p.groups) == 1 and p.groups[0].count == 1]
    which, _, share = object_cells(drawn, cell)
    assert which.shape == share.shape == (len(drawn), 128 // cell, 128 // cell)
    assert torch.allclose(share, F.avg_pool2d(object_mask(drawn), cell)[:, 0], atol=1e-6)
    for i, poster in enumerate(drawn):
        assert set(which[i][share[i] > 0].tolist()) == {things()[poster.groups[0].thing].index}


def test_of_two_objects_on_a_cell_the_one_that_covers_more_counts():
    pair = Poster("white", (Group("cat"), Group("dog")), "centre", (), 128, 160)
    assert [box[0] for _, box in pair.boxes] == [16, 80]                         # so both are on the third column
    which, _, share = object_cells([pair])
    mask = object_mask([pair])
    alone = []
    for columns in (slice(0, 80), slice(80, 160)):
        part = torch.zeros_like(mask)
        part[..., columns] = mask[..., columns]
        alone.append(F.avg_pool2d(part, 32)[0, 0])
    assert torch.allclose(share[0], torch.maximum(*alone), atol=1e-6)
    cat = torch.where(alone[0] >= alone[1], things()["cat"].index, things()["dog"].index)
    assert torch.equal(which[0][share[0] > 0], cat[share[0] > 0]) and (alone[0][:, 2] > 0).any()
    assert not any(t.any() for t in object_cells([replace(pair, groups=())]))


def test_parts_of_objects_are_quarters_or_all():
    """Of an object of 64 pixels each cell is a quarter; one of 32 is all of it, or, between cells, in quarters."""
    def parts(**how):
        _, part, share = object_cells([Poster("white", (Group("cat"),), "centre", (), 128, 128, **how)])
        return {tuple(at): PARTS[part[0][tuple(at)]] for at in (share[0] > 0).nonzero().tolist()}

    quarters = {(1, 1): "upper left", (1, 2): "upper right", (2, 1): "lower left", (2, 2): "lower right"}
    assert parts() == quarters and parts(size="small") == quarters               # the small one is where four cells meet
    big = parts(size="big")
    assert len(big) == 16 and {big[row, column] for row in (0, 1) for column in (2, 3)} == {"upper right"}
    corner = replace(Poster("white", (Group("cat"),), "left", (), 128, 160, size="small"), place="left", height=96)
    _, part, share = object_cells([corner])
    assert [PARTS[i] for i in part[share > 0].tolist()] == ["all"]


def test_filled_cells_do_not_tell_letters_apart():
    one, other = (Poster("blue", (), "centre", (Region("top", text, "white"),)) for text in ("Monday", "Friend"))
    pictures = [torch.from_numpy(np.asarray(p.image, dtype=np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
                for p in (one, other)]
    assert not torch.equal(*pictures)
    assert torch.equal(filled([one], pictures[0]), filled([other], pictures[1]))
