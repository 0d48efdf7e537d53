"""What an edit carries over: the right tokens, where they will stand, and ids that are known beforehand."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from minglm.config import preset
from minglm.generate.known_ids import known_ids
from minglm.generate.sources import remembered
from minglm.model import memory
from minglm.model.decoder import Decoder
from minglm.model.rotary import rotate
from minglm.training.references import references
from minglm.world.carried import carried, giver, is_said, links, within
from minglm.world.draw import draw
from minglm.world.edits import KINDS, edit
from minglm.world.posters import Group, Region
from minglm.world.scenes import Edit, Scene, parts

TOKEN = 16


@pytest.fixture(scope="module")
def trained() -> list[Edit]:
    return [edit(5, i) for i in range(400)]


def scene(*groups: Group, place="centre", regions=(), background="white", height=128, width=128, **more) -> Scene:
    return Scene(background, groups, place, tuple(regions), height, width, **more)


def where(numbers: np.ndarray, shift: np.ndarray, source: Scene, target: Scene) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    """Each token's row and column in the source, and those at which it is remembered, in the target's."""
    w, middle = source.width // TOKEN, target.width // TOKEN // 2 - source.width // TOKEN // 2
    return [((int(n) // w, int(n) % w), (int(n) // w + y, int(n) % w + x + middle)) for n, (y, x) in zip(numbers, shift)]


# ---------------------------------------------------------------- keys that move

def test_a_key_that_moved_is_the_key_of_a_token_there():
    """A rotary position is an angle: turning a key on is as good as turning it to its new place at once."""
    decoder = Decoder(preset("mini").decoder)
    rows, columns, heads, width = 5, 8, 3, decoder.config.head_dim
    cos, sin = decoder.rotary(rows, columns, torch.device("cpu"))                # (N, E)
    keys = torch.randn(1, heads, rows * columns, width, generator=torch.Generator().manual_seed(0))
    there = rotate(keys, cos, sin)
    # three rows down and two columns to the left, as far as these are in the grid
    y, x = np.mgrid[:rows - 3, 2:columns]
    old, new = torch.tensor((y * columns + x).ravel()), torch.tensor(((y + 3) * columns + x - 2).ravel())
    shift = torch.tensor([3.0, -2.0]).expand(1, len(old), 2)
    (found, values), = memory.moved(memory.picked([(there, keys)], old), shift, decoder.config)
    wanted = rotate(keys[:, :, old], cos[new], sin[new])
    assert (found - wanted).abs().max() < 1e-5 < (there[:, :, old] - wanted).abs().max()
    assert torch.equal(values, keys[:, :, old])                                  # values have no position
    still, _ = memory.moved([(there, keys)], torch.zeros(1, rows * columns, 2), decoder.config)[0]
    assert torch.equal(still, there)
    half = memory.moved(memory.moved([(there, keys)], torch.full((1, rows * columns, 2), 0.5), decoder.config),
                        torch.full((1, rows * columns, 2), 0.5), decoder.config)[0][0]
    whole = memory.moved([(there, keys)], torch.ones(1, rows * columns, 2), decoder.config)[0][0]
    assert (half - whole).abs().max() < 1e-5


def test_the_decoder_remembers_what_it_is_told_to(pipe):
    read = [pipe.read(draw(1, i, 128, 128).image) for i in range(2)]
    numbers, shift = np.array([9, 9, 40]), np.array([[0.0, 0.0], [2.0, -1.0], [0.0, 0.0]])
    with torch.no_grad():
        every, some = remembered(pipe.decoder, read), remembered(pipe.decoder, read, [(numbers, shift)])
    for (keys, values), (k, v), other, same in zip(every[0], some[0], every[1], some[1]):
        assert torch.equal(v, values[:, :, numbers]) and torch.equal(k[:, :, [0, 2]], keys[:, :, [9, 40]])
        assert (k[:, :, 1] - keys[:, :, 9]).abs().max() > 0.1
        assert torch.equal(other[0], same[0]) and torch.equal(other[1], same[1])


def test_a_batch_has_what_each_sample_is_told(trained):
    batch = trained[:8]
    kept = [carried(one, TOKEN) if i % 2 else None for i, one in enumerate(batch)]
    found = references([one.sources for one in batch], TOKEN, kept)
    whole = references([one.sources for one in batch], TOKEN)
    for row, mask, shift, one, mine, every, all_of in zip(found.where, found.mask, found.shift, batch, kept, whole.where, whole.mask):
        if mine is None:
            assert torch.equal(row[mask], every[all_of]) and not shift.any()
            continue
        starts = np.cumsum([0, *(s.height // TOKEN * (s.width // TOKEN) for s in one.sources)])
        wanted = np.concatenate([first + numbers for first, (numbers, _) in zip(starts, mine)])
        assert row[mask].tolist() == every[all_of][wanted].tolist()
        assert np.allclose(shift[mask], np.concatenate([s for _, s in mine])) and not shift[~mask].any()


# ---------------------------------------------------------------- what goes where

def test_what_is_carried_over_looks_as_the_target_does_there(trained):
    """Of whole tokens that move by whole tokens on the same ground, pixel by pixel."""
    seen, right = Counter(), Counter()
    for one in trained:
        if one.target.style:
            continue
        target = np.asarray(one.target.image, dtype=np.int16)
        for source, (numbers, shift) in zip(one.sources, carried(one, TOKEN)):
            if source.background != one.target.background:
                continue
            picture = np.asarray(source.image, dtype=np.int16)
            for (y, x), (row, column) in where(numbers, shift, source, one.target):
                if row % 1 or column % 1 or not (0 <= row < one.height // TOKEN and 0 <= column < one.width // TOKEN):
                    continue
                row, column = int(row), int(column)
                patches = [some[TOKEN * a:TOKEN * (a + 1), TOKEN * b:TOKEN * (b + 1)]
                           for some, a, b in ((picture, y, x), (target, row, column))]
                seen[one.kind] += 1
                right[one.kind] += np.abs(patches[0] - patches[1]).mean() < 3
    # letters that are recoloured, or translated without being quoted, are not those of the target
    for kind in KINDS:
        if kind not in ("restyle", "background", "recolour text"):
            assert seen[kind] > 200 and right[kind] / seen[kind] > 0.93, kind
    assert right["recolour text"] / seen["recolour text"] > 0.7


def test_nothing_is_remembered_that_nobody_needs(trained):
    """Neither objects of kinds that are not shown any more nor, if all new words are known, old letters."""
    objects = letters = 0
    for one in trained:
        if one.target.style:
            continue
        names, known = {part.thing for part in parts(one.target)}, links(one)
        for number, (source, (numbers, _)) in enumerate(zip(one.sources, carried(one, TOKEN))):
            kept = {(int(n) // (source.width // TOKEN), int(n) % (source.width // TOKEN)) for n in numbers}
            others = {cell for part in parts(source) for cell in within(part.box, TOKEN, source)
                      if any(old == part for i, old, _ in known if i == number)}
            for part in parts(source):
                cells = {*within(part.box, TOKEN, source)} - others
                if part.thing and part.thing not in names:
                    assert not cells & kept
                    objects += bool(cells)
                if part.region and one.kind == "remove text" and (number, part) not in [(i, old) for i, old, _ in known]:
                    assert not cells & kept
                    letters += bool(cells)
    assert objects > 50 and letters > 10


def test_letters_that_nobody_told_are_always_remembered(trained):
    """Where they will stand; or, if that is not clear, all letters that there are."""
    linked_, kept_ = 0, 0
    for one in trained:
        linked = [new for _, _, new in links(one)]
        unknown = [part for part in parts(one.target) if part.region and not is_said(one, part)]
        if one.target.style or not unknown:
            continue
        if all(part in linked for part in unknown):
            linked_ += 1
            continue
        for source, (numbers, _) in zip(one.sources, carried(one, TOKEN)):
            kept = {(int(n) // (source.width // TOKEN), int(n) % (source.width // TOKEN)) for n in numbers}
            assert all({*within(part.box, TOKEN, source)} <= kept for part in parts(source) if part.region)
        kept_ += 1
    assert linked_ > 100 and kept_ > 3


def test_an_object_goes_where_it_will_stand_and_grows_with_it():
    cat, small = scene(Group("cat"), place="left"), scene(Group("cat"), place="right", size="big")
    (numbers, shift), = carried(Edit("", "en", (cat,), small), TOKEN)
    old, new = cat.boxes[0][1], small.boxes[0][1]
    assert new[2] - new[0] == 2 * (old[2] - old[0])
    went = [at for at, moved in zip(where(numbers, shift, cat, small), shift) if moved.any()]
    for (y, x), (row, column) in went:
        for at, first, then, place in ((y, old[1], new[1], row), (x, old[0], new[0], column)):
            assert (place + 0.5) * TOKEN == pytest.approx(then + 2 * ((at + 0.5) * TOKEN - first))
    # the new square is all of the picture, so no ground is left; a token that stays, stays by chance
    assert len(numbers) == 16 and len(went) >= 15


def test_one_object_may_be_shown_twice():
    one, two = scene(Group("cat")), scene(Group("cat", 2))
    numbers, shift = carried(Edit("", "en", (one,), two), TOKEN)[0]
    times = Counter(numbers.tolist())
    inside = {y * 8 + x for y, x in within(one.boxes[0][1], TOKEN, one)}
    assert {times[n] for n in inside} == {2} and {times[n] for n in times if n not in inside} == {1}


def test_of_several_pictures_each_gives_what_it_should():
    first = scene(Group("cat"), regions=[Region("top", "Hello", "red")], background="blue", width=192)
    second = scene(Group("dog"), regions=[Region("bottom", "Bye", "black")])
    target = scene(Group("cat"), regions=[Region("bottom", "Bye", "black")], background="blue")
    both = Edit("combine", "en", (first, second), target, ("object", "text"))
    assert giver(both) == 0
    (numbers, shift), (others, _) = carried(both, TOKEN)
    assert {new.thing or new.line for _, _, new in links(both)} == {"cat", "Bye"}
    cat = {y * 12 + x for y, x in within(first.boxes[0][1], TOKEN, first)}
    assert cat <= {*numbers.tolist()} and not shift.any()        # counted from the middle it stands where it stood
    bye = next(part for part in parts(second) if part.line)
    assert {*others.tolist()} == {y * 8 + x for y, x in within(bye.box, TOKEN, second)}
    swapped = replace(both, roles=("text", "object"), target=scene(Group("dog"), regions=[Region("top", "Hello", "red")]))
    assert [(i, new.thing or new.line) for i, _, new in links(swapped)] == [(1, "dog"), (0, "Hello")]


# ---------------------------------------------------------------- ids that are known

def test_known_ids_are_those_of_the_target(trained, pipe):
    """As far as the tokenizer gives the same ids to the same cell elsewhere; many are not known."""
    same, moved, count = [], 0, 0
    for one in trained[:120]:
        if one.target.style:
            continue
        read = [pipe.read(source.image).ids for source in one.sources]
        found = known_ids(one, read).before
        true = pipe.read(one.target.image).ids.cpu()
        assert found.shape == true.shape
        may = found >= 0
        same += (found == true)[may].tolist()
        if len(read) == 1 and read[0].shape == true.shape:
            moved += int((may & torch.from_numpy(one.cells)).sum())
        count += may.numel()
    assert np.mean(same) > 0.8 and 0.4 < len(same) / count < 0.95 and moved > 50


def test_ids_of_another_ground_are_laid_over_where_enough_cells_tell_the_new_one(pipe):
    cat, there = scene(Group("cat"), place="left"), scene(Group("cat"), place="right", background="yellow")
    read = [pipe.read(cat.image).ids]
    known = known_ids(Edit("", "en", (cat,), there), read)
    assert (known.before < 0).all() and (known.after >= 0).sum() == 4
    assert torch.equal(known.after[1:3, 2:], read[0].cpu()[1:3, :2])
    same = known_ids(Edit("", "en", (cat,), replace(there, background="white")), read)
    assert torch.equal(same.before[1:3, 2:], read[0].cpu()[1:3, :2])
    assert (same.before >= 0).all() and (same.after < 0).all() and not same.bare.any()       # and the ground
    other = known_ids(Edit("", "en", (cat,), replace(there, background="white", style="outline")), read)
    assert (other.before < 0).all() and (other.after < 0).all()
    big = [scene(Group("cat"), size="big", background=ground) for ground in ("white", "yellow")]
    all_of_it = Edit("", "en", (big[0],), big[1])                                # but for what is all cat
    found = known_ids(all_of_it, [pipe.read(big[0].image).ids])
    assert ((found.before >= 0).numpy() == ~all_of_it.cells).all() and all_of_it.cells.sum() > 8
    assert (found.after < 0).all()


def test_what_is_laid_over_a_plan(pipe):
    """The ids that are known, and where nothing stands the id that most such cells have."""
    cat, there = scene(Group("cat"), place="left"), scene(Group("cat"), place="right", background="yellow")
    known = known_ids(Edit("", "en", (cat,), there), [pipe.read(cat.image).ids])
    plans = torch.full((2, 4, 4), 7)
    plans[1] = torch.arange(16).view(4, 4)
    plans[1, 0] = 3
    before, laid = plans.clone(), known.laid(plans)
    assert torch.equal(plans, before)
    assert (laid[:, 1:3, 2:] == known.after[1:3, 2:]).all()
    assert (laid[0][known.bare] == 7).all() and (laid[1][known.bare] == 3).all() and known.bare.sum() == 12


def test_words_that_are_known_are_planned_anew_on_another_ground(pipe):
    texts = [Region("top", "Hello", "red")]
    old, new = (scene(regions=texts, background=ground) for ground in ("white", "yellow"))
    read = [pipe.read(old.image).ids]
    assert (known_ids(Edit("", "en", (old,), new, (), "Make it yellow"), read).after[0] >= 0).any()
    quoted = known_ids(Edit("", "en", (old,), new, (), 'Make it yellow, keep "Hello"'), read)
    assert (quoted.after < 0).all() and (quoted.before < 0).all()
