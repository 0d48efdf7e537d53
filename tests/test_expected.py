"""What is expected of a plan: letters and objects, where they should be."""

from dataclasses import replace

import pytest
import torch

from minglm.generate import best
from minglm.generate.expected import Expected, coloured, expected, misplaced, near, seen, shown, usual
from minglm.generate.pipeline import Pipeline
from minglm.images import to_tensor
from minglm.world.draw import draw
from minglm.world.posters import Group, Poster, Region
from minglm.world.scenes import Edit, Scene


@pytest.fixture(scope="module")
def shipped():
    return Pipeline.from_pretrained("mini", "cpu")


def poster(*texts, groups=(), place="centre", height=128, width=128, ground="white", **more):
    """texts: (slot, text)."""
    return Poster(ground, tuple(Group(*g) if isinstance(g, tuple) else Group(g) for g in groups), place,
                  tuple(Region(slot, text, "black") for slot, text in texts), height, width, **more)


def score(pipe, asked, shown, seed=0, **how):
    """The scores of the true ids of some posters, for what is asked for."""
    plans, noise = torch.stack(pipe.encode_ids([one.image for one in shown])), torch.Generator().manual_seed(seed)
    noise = torch.randn(16, asked.height // 8, asked.width // 8, generator=noise)
    return best.score(pipe.decoder, pipe.glyph, asked.strings, plans, noise, [], vae=pipe.vae, **how)


def test_of_a_bare_poster_nothing_is_expected():
    assert expected(poster()) is None
    assert expected(poster(("top", "Hi"))) and expected(poster(groups=["cat"]))


# ---------------------------------------------------------------- letters

@pytest.mark.parametrize("asked", [
    poster(("top", "a b"), ("bottom", "\u4f60\u597d")), poster(("centre", "Odd"), width=192),
    poster(("right", "Hi"), groups=["cat"], place="left", height=96, width=160)])
def test_a_letter_may_stand_one_token_from_its_place(asked):
    """By hand, from the boxes of the letters: 16-pixel tokens, two planes for wide letters."""
    planes = []
    for _, _, letters in asked.lines:
        for one in letters:
            step = one.width / (1 + one.wide)
            planes += [(one.x + i * step, one.y) for i in range(1 + one.wide) if one.character != " "]
    found, columns = near(Expected(asked)), asked.width // 16
    assert found.shape == (2, columns * asked.height // 16, len(planes)) and found.dtype == torch.bool
    for s, (x, y) in enumerate(planes):
        for half in range(2):
            for token in range(found.shape[1]):
                row, column = divmod(token, columns)
                there = abs(row - (y // 16 + half)) <= 1 and abs(column - x // 16) <= 1
                assert found[half, token, s] == there


def test_of_an_edit_the_words_that_are_told_count():
    source = Scene("white", (), "centre", (Region("top", "Old", "black"),), 128, 128)
    target = replace(source, regions=(*source.regions, Region("bottom", "New", "black")))
    edit = Edit("add text", "en", (source,), target, instruction='Write "New" at the bottom.')
    found = near(Expected(target, edit))
    assert found.shape == (2, 64, 3) and not found[:, :32].any() and found[:, 32:].any()


def test_letters_elsewhere_count_less():
    attention = torch.full((1, 4, 64, 2), -1e9)
    at = near(Expected(poster(("top", "Hi"))))
    for letter in range(2):
        attention[:, :2, 3 + letter, letter] = 0.0       # the upper halves where they should be
        attention[:, 2:, 59 + letter, letter] = 0.0      # the lower ones at the other end
    assert best.found(attention).tolist() == [[2, 2]] and best.found(attention, at).tolist() == [[1, 1]]


def test_a_plan_with_its_text_where_it_should_be_scores_higher(shipped):
    """Without knowing where, about half of these choices are wrong."""
    right = blind = 0
    for i in range(12):
        one = draw(5, i, 128, 128, split="phrases", count=1, objects=0)
        one = replace(one, regions=(replace(one.regions[0], slot="top"),))
        two = replace(one, regions=(replace(one.regions[0], slot="bottom"),))
        for asked, other in ((one, two), (two, one)):
            good, bad = score(shipped, asked, [asked, other], i, expected=Expected(asked))
            right += bool(good > bad + 0.3)
            good, bad = score(shipped, asked, [asked, other], i)
            blind += bool(good > bad)
    assert right >= 22 and blind <= 16


# ---------------------------------------------------------------- objects

def test_cells_of_objects_that_are_there_too_much_or_not():
    """4 x 4 cells: ground 7, a line of letters in the last row, a cat on the left."""
    asked = poster(("bottom", "Hello"), groups=["cat"], place="left")            # y from 32 to 96
    text, plans = torch.zeros(6, 4, 4), torch.full((6, 4, 4), 7)
    text[:, 3, :3], plans[:, 3, :3] = 0.5, torch.arange(20, 23)
    plans[1:, 1:3, :2] = 9                   # the cat
    plans[2, 0, 3] = 8                       # and a bit of something
    plans[3, 1:3, 2:] = torch.tensor([[30, 31], [32, 33]])                       # and another
    plans[4, 1:3, :2], plans[4, 1:3, 2:] = 7, 9                                  # it stands on the other side
    text[5, 3], text[5, 1, 0] = 0.0, 0.5     # objects in place of letters, which are no matter; one letter on it
    assert misplaced(plans, text, asked).tolist() == [4, 0, 1, 4, 8, 1]
    assert misplaced(plans, text, poster()).tolist()[:2] == [0, 4]


def test_a_picture_shows_its_own_objects(shipped):
    asked = poster(("top", "Hi"), groups=[("cat", 2)], place="bottom", ground="blue")
    pictures = [asked, replace(asked, groups=()), replace(asked, groups=(Group("cat"),), place="centre"),
                replace(asked, groups=(Group("car", 2),)), replace(asked, size="small")]
    values = seen(to_tensor([one.image for one in pictures]), asked).tolist()
    assert values[0] == pytest.approx(1, abs=1e-4) and values[1] == 0
    assert 0.3 < values[2] < 0.6             # one of two: nothing is seen twice
    assert values[3] < 0.5
    assert values[4] < 0.5                   # 32 pixels are no usual size, unless it is asked for
    small = replace(asked, size="small")
    assert seen(to_tensor([small.image]), small).item() == pytest.approx(1, abs=1e-4)
    large = replace(asked, groups=(Group("cat"),), place="centre", size="big", regions=())
    assert seen(to_tensor([large.image]), replace(large, size="normal")).item() > 0.9        # of another size


def test_objects_of_another_size_may_have_the_usual_one():
    big = poster(("top", "Hi"), groups=["cat"], size="big")                      # 96 pixels
    other = usual(Expected(big))
    assert other == replace(big, size="normal", caption=other.caption)
    assert "big" not in other.caption and "a cat" in other.caption
    assert usual(Expected(poster(groups=[("cat", 2)], size="small"))).size == "normal"
    for nothing in (None, Expected(other), Expected(poster(("top", "Hi"), size="big"))):
        assert usual(nothing) is None
    # there is room for one of 64 pixels only, big or not
    assert usual(Expected(poster(("top", "Hi"), ("bottom", "you"), groups=["cat"], size="big"))) is None
    # what stands beside a small one has no room beside a larger one
    beside = poster(("right", "seven"), groups=["cat"], place="left", size="small")
    assert beside.image and usual(Expected(beside)) is None
    # of an edit it is known where everything stands
    scene = Scene("white", (Group("cat"),), "centre", (), 128, 128, "big")
    assert usual(Expected(scene, Edit("swap", (scene,), scene, (), "en"))) is None


def test_a_plan_with_objects_of_the_usual_size_has_none_astray():
    """4 x 4 cells: ground 7, a cat in the middle, in place of one that covers all."""
    asked, plans = poster(groups=["cat"], size="big"), torch.full((3, 4, 4), 7)
    plans[0, 1:3, 1:3], plans[1] = 9, torch.arange(20, 36).view(4, 4)
    plans[2, 1:3, 1:] = 9
    pictures = torch.zeros(3, 3, 128, 128)
    values = shown(plans, torch.zeros(3, 4, 4), pictures, Expected(asked))
    # of what covers all, the cell that there is most of is taken for ground
    assert (values - values[0]).tolist() == pytest.approx([0, -0.05, -0.1])
    assert misplaced(plans, torch.zeros(3, 4, 4), asked).tolist() == [12, 1, 10]


def test_an_object_is_seen_near_its_place_only():
    asked, other = (poster(groups=["cat"], place=place, width=192) for place in ("left", "right"))
    for one, two in ((asked, other), (other, asked)):
        pictures = to_tensor([one.image, two.image])
        here, there = seen(pictures, one).tolist()
        assert here == pytest.approx(1, abs=1e-4) and there < 0.3
    # half of it, as through a fog
    fog = (to_tensor([asked.image]) + to_tensor([replace(asked, groups=()).image])) / 2
    assert seen(fog, asked).item() == pytest.approx(0.75, abs=1e-4)


def test_a_plan_with_the_right_objects_scores_higher(shipped):
    """The true ids of posters, of the same with another object, and with none."""
    right = 0
    for i in range(12):
        one = draw(6, i, 128, 128, split="phrases", count=1, objects=1)
        one = replace(one, size="normal")
        other = replace(one, groups=draw(7, i, 128, 128, objects=1).groups)
        scores = score(shipped, one, [other, replace(one, groups=()), one], i, expected=Expected(one))
        right += int(scores.argmax()) == 2
    assert right >= 10


def test_letters_in_another_colour_count_less():
    """Each line by itself; ground in their place counts nothing, the opposite colour takes away."""
    asked = Poster("white", (), "centre", (Region("top", "Hi", "red"), Region("bottom", "You", "blue")))
    other = replace(asked, regions=(Region("top", "Hi", "red"), Region("bottom", "You", "yellow")))
    pictures = to_tensor([asked.image, other.image, replace(asked, regions=()).image])
    values = coloured(torch.cat([pictures, 2 * pictures[2:] - pictures[:1]]), asked).tolist()
    assert values[0] == pytest.approx(1, abs=1e-4) and values[2:] == pytest.approx([0, -1], abs=1e-4)
    assert 0.3 < values[1] < 0.9
    assert coloured(pictures, replace(asked, regions=())).tolist() == [0, 0, 0]


def test_without_a_vae_or_in_a_style_no_objects_are_looked_for(shipped):
    asked = poster(("top", "Hi"), groups=["cat"], place="bottom")
    plans, noise = torch.randint(256, (3, 4, 4)), torch.randn(16, 16, 16)
    how = shipped.decoder, shipped.glyph, asked.strings, plans, noise, []
    blind = best.score(*how, Expected(asked))
    assert torch.equal(best.score(*how, Expected(replace(asked, groups=()))), blind)
    assert not torch.equal(best.score(*how, Expected(asked), shipped.vae), blind)
    scene = Scene("white", asked.groups, asked.place, asked.regions, style="outline")
    pictures, text = torch.randn(3, 3, 128, 128), torch.zeros(3, 4, 4)
    assert torch.equal(shown(plans, text, pictures, Expected(scene)),
                       shown(plans, text, torch.zeros_like(pictures), Expected(scene)))
