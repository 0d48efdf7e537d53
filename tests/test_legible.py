"""Which texts are in a picture already, told by the decoder; and so what an edit is to write."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from minglm.generate import leading, legible
from minglm.generate.pipeline import Pipeline
from minglm.measure import evaluate_edits
from minglm.model import flow
from minglm.world.draw import draw
from minglm.world.edits import edit
from minglm.world.goals import goal
from minglm.world.posters import Group, Poster
from minglm.world.translations import to_write, told


@pytest.fixture(scope="module")
def shipped():
    return Pipeline.from_pretrained("mini", "cpu")


def reads(pipe, image, texts):
    return legible.are_there(pipe.decoder, pipe.glyph, pipe.read(image), texts, pipe.config.flow)


def test_the_shipped_decoder_reads_what_is_there(shipped):
    """It was never trained to; one or two in a hundred may go wrong."""
    right, asked = 0, 0
    posters = [draw(5, i, 128, 128, split="words") for i in range(40)]
    posters = [one for one in posters if one.regions]
    others = [one.regions[0].text for one in posters]
    for i, one in enumerate(posters):
        mine = [region.text for region in one.regions]
        texts = [*mine, *(text for text in others[i - 3:i] if text not in mine)]
        right += sum(found == (text in mine) for text, found in zip(texts, reads(shipped, one.image, texts)))
        asked += len(texts)
    assert asked > 80 and right / asked > 0.93


def test_errors_are_those_of_each_list_of_lines_by_itself(pipe):
    source = pipe.read(draw(1, 2, 128, 192).image)
    lists, how = [[], ["Hi"], ["Hello", "World"]], (pipe.decoder, pipe.glyph, source)
    with torch.no_grad():
        together = legible.errors(*how, lists, pipe.config.flow)
        for one, found in zip(lists, together):
            assert torch.allclose(legible.errors(*how, [one], pipe.config.flow)[0], found, rtol=1e-4)
    assert together.shape == (3, 8) and not torch.allclose(together[0], together[1], rtol=1e-4)
    # by hand, for the first
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(2, *source.latents.shape[1:], generator=g)
    time = torch.full((2,), legible.TIME)
    mixed = flow.mix(source.latents.expand(2, -1, -1, -1), noise, flow.shift(time, 4 * 4 * 6, pipe.config.flow))
    features, tokens = legible.glyphs(pipe.glyph, [[], []])
    with torch.no_grad():
        v = pipe.decoder(mixed, 1000 * time - 1, source.ids.expand(2, -1, -1), features, tokens)
    error = (v - (noise - source.latents)).square().sum(1).mean(0)               # (16, 24)
    assert torch.allclose(together[0], error.view(8, -1).sum(1), rtol=1e-4)


def test_nothing_is_asked_about_no_text(pipe):
    assert reads(pipe, draw(1, 2).image, []) == []


@pytest.mark.parametrize("texts, there, lines", [
    (["Hi", "Bye"], [True, False], ["Bye"]),                                     # replaced
    (["Hi"], [True], ["Hi"]),                                                    # moved
    (["Hi", "Hello World"], [False, False], ["Hi", "Hello", "World"]),
    (["Hi"], [], ["Hi"]),                                                        # nothing is known
    ([], [], []),
])
def test_what_is_new_is_written_or_all(texts, there, lines):
    assert to_write(texts, there, 128) == lines


def test_translations_that_are_not_given_are_looked_up():
    assert told('Write "Egg" in Chinese') == ["Egg", "鸡蛋"]
    assert told('Write "Egg" in Chinese: "蛋"') == ["Egg", "蛋"] and told('Move "Egg" up') == ["Egg"]


def test_a_text_is_found_where_it_stands(shipped):
    right = []
    for i in range(15):
        one = draw(6, i, 160, 160, split="words", count=2)
        texts = [region.text for region in one.regions]
        if len(set(texts)) < 2:
            continue
        found = legible.where(shipped.decoder, shipped.glyph, shipped.read(one.image), texts, shipped.config.flow)
        for y, region in zip(found, one.regions):
            tops = [letters[0].y for of, _, letters in one.lines if of == region]
            right.append(y is not None and any(top <= y < top + 32 for top in tops))
    assert len(right) > 15 and sum(right) / len(right) > 0.9


def test_training_tells_an_edit_as_the_pipeline_does(shipped):
    """From the scenes, what the pipeline finds in the pictures: the same goal, as a rule, and the same words."""
    right, same = [], []
    for kind in ("replace text", "translate text", "move text", "swap object", "background", "combine"):
        for i in range(3):
            one = edit(31, i, 128, 128, kind=kind)
            images = [scene.image for scene in one.sources]
            found = leading.led(shipped.decoder, shipped.glyph, one.instruction, images, list(map(shipped.read, images)),
                                one.height, one.width, shipped.config.flow)
            right.append(found is not None and found.strings == one.strings)
            same.append(found is not None and goal(found) == goal(one))
    assert sum(right) / len(right) > 0.8 and sum(same) / len(same) > 0.6


def test_the_planner_reads_the_goal_and_the_decoder_its_words(pipe, monkeypatch):
    """Unless nothing is understood, or nobody wants it to be."""
    monkeypatch.setattr(pipe, "config", replace(pipe.config, edits=True))
    monkeypatch.setattr(legible, "where", lambda decoder, encoder, source, texts, config: [None] * len(texts))
    seen, velocity = [], pipe.velocity
    monkeypatch.setattr(pipe, "velocity", lambda lines, *some: seen.append(lines) or velocity(lines, *some))
    poster = Poster("white", (Group("cat"),), "left", (), 128, 128)

    def asked(instruction, **how):
        out = pipe(instruction, image=poster.image, steps=1, progress=False, **how)
        return out.prompts, seen.pop(), out.notes

    goal_ = 'A white poster with a dog on the left and the black words "Hi" at the top.'
    wish = 'Replace the cat by a dog and add "Hi" at the top'
    assert asked(wish) == ([goal_], [["Hi"]], [f"understood: {goal_}"])
    assert asked(wish, images_per_prompt=2)[:2] == ([goal_] * 2, [["Hi"]] * 2)
    assert asked(wish, enhance=False) == ([wish], [["Hi"]], [])
    assert asked("Hmm?") == (["Hmm?"], [[]], [leading.UNCLEAR])
    noise = Image.effect_noise((128, 128), 90).convert("RGB")        # no poster
    out = pipe(wish, image=noise, steps=1, progress=False)
    assert out.prompts == [wish] and leading.UNCLEAR not in out.notes


def test_old_words_are_not_written_again(pipe, monkeypatch):
    """The decoder of a pipeline that edits is given the new words only."""
    one = next(e for e in (edit(31, i, 128, 128, kind="replace text") for i in range(99)) if len(told(e.instruction)) > 1)
    old = {region.text for region in one.sources[0].regions}
    monkeypatch.setattr(pipe, "config", replace(pipe.config, edits=True))
    monkeypatch.setattr(legible, "are_there", lambda decoder, encoder, source, texts, config: [t in old for t in texts])
    seen, velocity = [], pipe.velocity
    monkeypatch.setattr(pipe, "velocity", lambda lines, *some: seen.append(lines) or velocity(lines, *some))
    pipe(one.instruction, image=one.sources[0].image, steps=1, progress=False, enhance=False)
    assert seen == [[one.strings]]
    list(evaluate_edits.evaluate(pipe, [one], columns=("decoder",), steps=1))
    assert seen == [[one.strings]] * 2
