"""The pipeline: one seed is one picture, stages can be skipped, bad input is refused in words."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from minglm.generate.pipeline import Pipeline
from minglm.generate.plan import sample_ids
from minglm.generate.request import UNKNOWN
from minglm.images import open_image, to_images, to_tensor
from minglm.model import flow
from minglm.model.glyph import collate, gather
from minglm.model.prompt import preview_grid, prompt_ids
from minglm.model.weights import PARTS
from minglm.world.draw import draw
from minglm.world.enhancer import NO_TEXT, NO_THING, enhance
from minglm.world.layout import wrap
from minglm.world.posters import CANVASES

PROMPT = 'A yellow poster with an apple in the centre and the red word "HELLO" at the bottom.'
PROMPTS = [PROMPT, "一张蓝色海报，中间画着猫，顶部是红色文字“你好”。", "a cat"]
SIZES = [(96, 96), (96, 128), (128, 96), (128, 128)]


@pytest.fixture
def paint(pipe):
    def call(prompt=PROMPT, *size, **options):
        return pipe(prompt, *size, **dict(steps=2, progress=False) | options)
    return call


def same(a, b):
    """Pictures alike to rounding: float32 sums differ a little between batch sizes."""
    return np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def ids(out):
    return [plan.tolist() for plan in out.plan], [preview.tolist() for preview in out.preview]


# ---------------------------------------------------------------- painting

@pytest.mark.parametrize("height, width", SIZES)
def test_every_size(paint, height, width):
    out = paint(PROMPT, height, width)
    assert out.images[0].size == (width, height) and out.images[0].mode == "RGB"
    assert out.plan[0].shape == (height // 32, width // 32) and out.plan[0].dtype == torch.int64
    assert out.preview[0].shape == preview_grid(height // 32, width // 32, 4)
    assert np.asarray(out.images[0]).std() > 1


def test_one_seed_is_one_picture(paint):
    one, two, other = paint(seed=3), paint(seed=3), paint(seed=4)
    assert one.images[0].tobytes() == two.images[0].tobytes() and ids(one) == ids(two)
    assert one.images[0].tobytes() != other.images[0].tobytes() and ids(one) != ids(other)


def test_nothing_outside_decides_the_picture(paint, folder):
    one = paint(seed=3)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    two = Pipeline.from_pretrained(folder, "cpu")(PROMPT, steps=2, seed=3, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.images[0].tobytes() == two.images[0].tobytes()


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_picture_is_the_same_alone_and_in_company(paint, guidance):
    together = paint(PROMPTS, seed=5, guidance=guidance)
    assert len(together.images) == len(together.plan) == len(together.preview) == 3
    for i, prompt in enumerate(PROMPTS):
        alone = paint(prompt, seed=5 + i, guidance=guidance)
        assert ids(alone)[0][0] == ids(together)[0][i] and same(alone.images[0], together.images[i])


def test_the_same_prompt_twice_gives_two_pictures(paint):
    out = paint([PROMPT, PROMPT])
    assert not same(*out.images)


def test_several_pictures_of_one_prompt(paint):
    """Each with ids and noise of its own, as if the prompt had been given so often."""
    several, twice = paint(PROMPTS[:2], seed=5, images_per_prompt=2), paint([PROMPT, PROMPT, *PROMPTS[1:2] * 2], seed=5)
    assert ids(several) == ids(twice) and len(several.images) == 4
    assert [a.tobytes() for a in several.images] == [b.tobytes() for b in twice.images]


def test_seeds_can_be_listed(paint):
    out = paint([PROMPT] * 2, seed=[9, 4])
    assert ids(out)[0] == [ids(paint(seed=9))[0][0], ids(paint(seed=4))[0][0]]
    assert same(out.images[1], paint(seed=4).images[0])


def test_the_planner_has_a_seed_of_its_own(paint):
    one, two, three = paint(seed=1), paint(seed=1, planner_seed=2), paint(seed=2)
    assert ids(two) == ids(three) and ids(two) != ids(one)
    assert not same(two.images[0], three.images[0])
    assert paint(seed=1, planner_seed=1).images[0].tobytes() == one.images[0].tobytes()


def test_temperature_zero_does_not_depend_on_the_seed(paint):
    assert ids(paint(seed=1, temperature=0)) == ids(paint(seed=2, temperature=0))


def test_the_planner_is_guided(paint, pipe):
    """By 1.5 unless it is told otherwise; by 1, `plan` gives the ids of the prompt alone."""
    plans = {weight: ids(paint(PROMPTS, 128, 128, seed=3, planner_guidance=weight, candidates=1)) for weight in (None, 1, 1.5, 4)}
    assert plans[None] == plans[1.5] and plans[1] != plans[1.5] != plans[4]
    assert plans[None] == ids(paint(PROMPTS, 128, 128, seed=3, image=[[] for _ in PROMPTS], candidates=1))   # nothing to edit
    captions = paint(PROMPTS, 128, 128, seed=3).prompts
    generators = [torch.Generator().manual_seed(3 + i) for i in range(len(PROMPTS))]
    assert pipe.plan(captions, 4, 4, generators)[1].tolist() == [plan.tolist() for plan in
                                                                 paint(PROMPTS, 128, 128, seed=3, planner_guidance=1, candidates=1).plan]


def test_steps_and_guidance_change_the_picture(paint):
    plan = paint().plan
    pictures = [paint(prior_ids=plan, **how).images[0].tobytes()
                for how in (dict(), dict(steps=3), dict(guidance=1.0), dict(guidance=3.0))]
    assert len(set(pictures)) == 4
    assert same(paint(prior_ids=plan, guidance=1.0).images[0], paint(prior_ids=plan, guidance=1 + 1e-6).images[0])


# ---------------------------------------------------------------- skipping stages

def test_given_ids_skip_the_planner(paint, pipe, monkeypatch):
    out = paint(PROMPTS, seed=5)
    monkeypatch.setattr(pipe, "planner", None)
    for given in (out.plan, torch.stack(out.plan)):
        again = paint(PROMPTS, seed=5, prior_ids=given)
        assert [a.tobytes() for a in again.images] == [a.tobytes() for a in out.images]
        assert ids(again)[0] == ids(out)[0] and all(preview.numel() == 0 for preview in again.preview)
    one = paint(PROMPT, seed=5, prior_ids=out.plan[0])
    assert same(one.images[0], out.images[0])


def test_given_noise_is_started_from(paint):
    noise = torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(8))
    assert paint(seed=8, candidates=1).images[0].tobytes() == paint(seed=8, candidates=1, latents=noise).images[0].tobytes()
    assert not same(paint(seed=8).images[0], paint(seed=8, latents=-noise).images[0])


def test_the_decoder_never_sees_the_prompt(paint):
    """Given the ids, only the lines to write count, letter by letter."""
    plan = paint().plan
    one = paint('a red cat with "hello"', prior_ids=plan).images[0].tobytes()
    assert one == paint("一张蓝色海报“hello”", prior_ids=plan).images[0].tobytes()
    assert one == paint('a dog, "hello"', prior_ids=plan, enhance=False).images[0].tobytes()
    for other in ('a red cat with "HELLO"', 'a red cat with "hellp"', 'a red cat with "hello" and "A"', "a red cat"):
        assert one != paint(other, prior_ids=plan).images[0].tobytes()


def test_painting_by_hand_gives_the_same(pipe, paint):
    """The parts put together once more, each branch of the guidance on its own."""
    with torch.no_grad():
        planner = pipe.planner.config
        caption = enhance(PROMPT, 6, 96, 128).caption
        start = prompt_ids(pipe.bpe, caption, 3, 4, preview_grid(3, 4, 4), planner.vision_vocab, planner.boi)
        grids = [preview_grid(3, 4, 4), (3, 4)]
        bare = prompt_ids(pipe.bpe, "A poster.", 3, 4, preview_grid(3, 4, 4), planner.vision_vocab, planner.boi)
        preview, plan = sample_ids(pipe.planner, [start, bare], grids, [torch.Generator().manual_seed(6)], guidance=1.5)
        x = torch.randn(16, 12, 16, generator=torch.Generator().manual_seed(6))[None]
        words, nothing = (collate([texts]) for texts in (["HELLO"], []))
        c, u = (gather(pipe.glyph(g["ids"], g["mask"], g["places"]), g["index"]) for g in (words, nothing))
        times, sigmas = flow.schedule(3, 48, pipe.config.flow)
        for time, a, b in zip(times, sigmas, sigmas[1:]):
            t = torch.tensor([time])
            with_words = pipe.decoder(x, t, plan, c)
            without = pipe.decoder(x, t, plan, u, prior_keep=torch.tensor([False]))
            x = x + (b - a) * (without + 2.5 * (with_words - without))
        wanted = to_images(pipe.vae.decode(x))[0]
    out = paint(PROMPT, 96, 128, steps=3, guidance=2.5, seed=6, candidates=1)
    assert torch.equal(out.plan[0], plan[0]) and torch.equal(out.preview[0], preview[0]) and out.prompts == [caption]
    assert same(out.images[0], wanted)


def test_every_step_is_reported(paint):
    seen = []
    paint(steps=4, on_step=lambda i, latents: seen.append((i, latents.clone())))
    assert [i for i, _ in seen] == [0, 1, 2, 3] and all(x.shape == (1, 16, 16, 16) for _, x in seen)
    assert not torch.equal(seen[0][1], seen[1][1])


def test_progress_can_be_silent(paint, capfd):
    paint()
    assert capfd.readouterr() == ("", "")
    paint(progress=True)
    assert "painting" in capfd.readouterr().err


# ---------------------------------------------------------------- from pictures

def test_pictures_to_ids_and_back_through_the_vae(pipe):
    images = [draw(0, i).image for i in range(3)]
    found = pipe.encode_ids(images)
    assert [tuple(x.shape) for x in found] == [(4, 4)] * 3 and 0 <= min(x.min() for x in found)
    assert torch.equal(found[1], pipe.encode_ids(images[1:2])[0])
    again = pipe.reconstruct(images)
    assert [image.size for image in again] == [(128, 128)] * 3


def test_tensors_and_images_are_inverse():
    images = [draw(0, i, 96, 128).image for i in range(2)]
    tensor = to_tensor(images)
    assert tensor.shape == (2, 3, 96, 128) and tensor.min() >= -1 and tensor.max() <= 1
    assert [a.tobytes() for a in to_images(tensor)] == [a.tobytes() for a in images]
    assert np.asarray(to_images(torch.full((1, 3, 1, 1), 9.0))[0]).tolist() == [[[255] * 3]]


def test_open_image_takes_files_and_pictures(tmp_path):
    Image.new("RGBA", (4, 3), (1, 2, 3, 255)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").size == open_image(str(tmp_path / "a.png")).size == (4, 3)
    assert open_image(Image.new("L", (2, 2))).mode == open_image(tmp_path / "a.png").mode == "RGB"


# ---------------------------------------------------------------- refusing


@pytest.mark.parametrize("prompt, words", [
    ("", "the prompt is empty"), ("  \n", "the prompt is empty"), ([], "the prompt is empty"),
    (["a", ""], "the prompt is empty"), ([3], r"prompt \[3\]: a string or a list of strings"), ("“龘”", "cannot write 龘"),
    ('"Ωmega é!"', "cannot write Ω in 'Ωmega é!'"), ('a "🍎" b', "cannot write 🍎"),
    ("“龍年Ω大吉”", r"cannot write 龍 \(in simplified form 龙\), Ω in '龍年Ω大吉'"),
    (f'"{"A" * 145}"', "needs 9 lines at a width of 256 pixels: a height of 256 has room for 8"),
    (" ".join('"A"' for _ in range(9)), "needs 9 lines"),
    ("a very long prompt " * 300, "ids is too long"),
])
@pytest.mark.parametrize("enhanced", (True, False))
def test_prompts_that_cannot_be_painted(paint, prompt, words, enhanced):
    if enhanced and "too long" in words:
        assert len(paint(prompt).prompts[0]) < 200                               # it says the same in a sentence
        return
    with pytest.raises(ValueError, match=words):
        paint(prompt, enhance=enhanced)


@pytest.mark.parametrize("prompt, words", [
    (" ".join('"A"' for _ in range(5)), "does not fit 128x128"), (f'"{"A" * 41}"', "does not fit 128x128"),
    ('a cat and "A\nB\nC\nD"', "does not fit 128x128")])
def test_texts_that_a_size_has_no_room_for(paint, prompt, words):
    with pytest.raises(ValueError, match=words):
        paint(prompt, 128, 128)


@pytest.mark.parametrize("height, width, wrong", [
    (100, 128, "height 100"), (128, 130, "width 130"), (64, 128, "height 64"), (288, 128, "height 288"),
    (128, 0, "width 0"), (-128, 128, "height -128"), (1024, 1024, "height 1024")])
def test_sizes_that_cannot_be_painted(paint, height, width, wrong):
    with pytest.raises(ValueError, match=f"^{wrong}: .*multiples of 32 from 96 to 256"):
        paint(PROMPT, height, width)


@pytest.mark.parametrize("options, words", [
    (dict(temperature=-0.1), "temperature -0.1"), (dict(top_p=0), "top_p 0"), (dict(top_p=1.1), "top_p 1.1"),
    (dict(planner_guidance=1000), "planner_guidance 1000"), (dict(candidates=0), "candidates 0"), (dict(steps=0), "steps 0"), (dict(steps=1001), "steps 1001"),
    (dict(temperature=float("nan")), "temperature nan"),
    (dict(latents=torch.zeros(1, 16, 8, 8)), "latents"),
    (dict(latents=torch.zeros(3, 16, 16, 16)), "latents"),
    (dict(prior_ids=torch.zeros(3, 4, dtype=torch.long)), r"shapes \[\(3, 4\)\]: 1 of \(4, 4\) are needed"),
    (dict(prior_ids=torch.zeros(2, 4, 4, dtype=torch.long)), r"shapes \[\(4, 4\), \(4, 4\)\]: 1 of"),
    (dict(prior_ids=torch.full((4, 4), 256)), "0 to 255"), (dict(prior_ids=torch.full((4, 4), -1)), "-1"),
    (dict(prior_ids=[torch.zeros(3, 4), torch.zeros(4, 4)]), "prior_ids"),
    (dict(image=Image.new("RGB", (64, 64))), "not trained to edit"),
    (dict(images_per_prompt=0), "images_per_prompt 0"), (dict(images_per_prompt=1.5), "images_per_prompt 1.5"),
    (dict(seed=[1, 2]), "2 seeds for 1 pictures"),
    (dict(image=[[], []]), "source images for 2 of 1 prompts"),
    (dict(image="nowhere.png"), "no image file 'nowhere.png'"),
    (dict(image=[__file__]), "not an image that can be read"),
])
def test_options_that_make_no_sense(paint, options, words):
    with pytest.raises(ValueError, match=words):
        paint(**options)


def test_bad_input_is_refused_before_any_work(paint, pipe, monkeypatch):
    monkeypatch.setattr(pipe, "planner", None)
    monkeypatch.setattr(pipe, "decoder", None)
    for options in (dict(height=100), dict(prompt=""), dict(prompt='"Ω"'), dict(image="nowhere.png")):
        with pytest.raises(ValueError):
            paint(**options)


def test_only_the_poster_world_limits_its_letters(pipe):
    parts = {name: getattr(pipe, name) for name in PARTS}
    free = Pipeline(replace(pipe.config, posters=False), pipe.bpe, parts, pipe.device)
    assert free('a card with "Ωmega" and "é"', 96, 96, steps=1, progress=False).images[0].size == (96, 96)


def test_unknown_device_is_named(folder):
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        Pipeline.from_pretrained(folder, "tpu")


@pytest.mark.parametrize("change", [lambda: torch.set_default_device("meta"), lambda: torch.set_default_dtype(torch.float64)])
def test_defaults_of_the_process_change_nothing(paint, pipe, change):
    wanted = paint(steps=1)
    ids, back = pipe.encode_ids(wanted.images), pipe.reconstruct(wanted.images)
    try:
        change()
        out = paint(steps=1)
        again, same = pipe.encode_ids(out.images), pipe.reconstruct(out.images)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert np.array_equal(out.images[0], wanted.images[0]) and torch.equal(out.plan[0], wanted.plan[0])
    assert torch.equal(again[0], ids[0]) and np.array_equal(same[0], back[0])


# ---------------------------------------------------------------- what a prompt is understood as

@pytest.fixture
def large(pipe):
    """The same weights, for posters of every size."""
    return Pipeline(replace(pipe.config, max_side=256), pipe.bpe, {name: getattr(pipe, name) for name in PARTS},
                    pipe.device)


@pytest.mark.parametrize("prompt, size", [
    ('a cat and "HELLO"', (128, 128)), ('"Congratulations"', (192, 256)), ("three cats", (128, 192)),
    ('"A" "B" "C" "D" "E" "F" "G" "H"', (256, 192))])
def test_without_a_size_the_smallest_canvas_is_taken(large, prompt, size):
    for enhanced in (True, False):
        out = large(prompt, steps=1, progress=False, enhance=enhanced)
        assert out.images[0].size == size[::-1] and out.plan[0].shape == (size[0] // 32, size[1] // 32)
    out = large('a cat and "HELLO"', width=192, steps=1, progress=False)        # one side alone may be told
    assert out.images[0].size == (192, 128)


def test_several_prompts_share_one_size(large):
    """That in which the texts of each fit; each is then understood for that size."""
    prompts = ['a cat and "HELLO"', "three dogs", '"A\nB\nC\nD\nE"']
    for enhanced in (True, False):
        alone = [large(prompt, steps=1, progress=False, enhance=enhanced).images[0] for prompt in prompts]
        out = large(prompts, steps=1, progress=False, enhance=enhanced)
        shared = max(image.width for image in alone), max(image.height for image in alone)
        assert {image.size for image in out.images} == {shared} and len({image.size for image in alone}) > 1
        assert (shared[1], shared[0]) in CANVASES
    assert large(prompts[0], 256, 256, steps=1, progress=False).images[0].size == (256, 256)


def test_the_planner_reads_the_enhanced_prompt_of_each_seed(paint):
    prompts = [PROMPT, *["a cat"] * 5]
    out = paint(prompts, seed=3, steps=1)
    assert out.prompts == [enhance(prompt, 3 + i, 128, 128).caption for i, prompt in enumerate(prompts)]
    assert '"HELLO"' in out.prompts[0] and "yellow" in out.prompts[0] and "apple" in out.prompts[0]
    assert len(set(out.prompts[1:])) > 1                         # what is left open is the seed's


def test_without_the_enhancer_the_prompt_is_read_as_it_is(paint, pipe):
    """The planner's prompt is the user's; the lines to write are broken as posters are."""
    out = paint([PROMPT, "“新年快乐，万事如意”"], enhance=False)
    assert out.prompts == [PROMPT, "“新年快乐，万事如意”"] and ids(out) != ids(paint([PROMPT, "“新年快乐，万事如意”"]))
    asked = pipe.understand(["“新年快乐，万事如意”"], [0], None, None, False)
    assert asked.lines == [list(wrap("新年快乐，万事如意", asked.width))] and len(asked.lines[0]) > 1


@pytest.mark.parametrize("prompt, lines", [
    ('a card with "B" at the bottom and "A" at the top', ["A", "B"]),            # as they stand on the picture
    ("底部写“乙”，顶部写“甲”", ["甲", "乙"]),
    ('a card with "B" at the bottom and "A"', ["B", "A"]),                       # as quoted, unless each is told
    ('"ＨＩ　 there"', ["HI there"]), ("a cat", []),
])
def test_without_the_enhancer_lines_are_sorted_by_told_places(pipe, prompt, lines):
    assert pipe.understand([prompt], [0], None, None, False).lines == [lines]


@pytest.mark.parametrize("enhanced", (True, False))
def test_what_will_not_be_painted_is_told(paint, capsys, enhanced):
    def notes(prompt):
        found = paint(prompt, steps=1, enhance=enhanced)
        told = [note for note in found.notes if not note.startswith("understood: ")]
        # the enhancer tells what it has understood, of every prompt
        assert len(found.notes) - len(told) == enhanced and (not enhanced or f"understood: {found.prompts[0]}" in found.notes)
        return told

    nothing = NO_THING if enhanced else UNKNOWN
    assert notes("a red poster with a cat") == [NO_TEXT] and notes('a red card with "HI"') == [nothing]
    assert notes("a red poster") == [NO_TEXT, nothing] and notes(PROMPT) == []
    assert capsys.readouterr().err == ""                         # who wants no progress is told by the notes alone
    paint(["a red poster", 'a card with "HI"'], steps=1, progress=True, enhance=enhanced)
    said = capsys.readouterr().err
    assert said.count(f"minglm: {NO_TEXT}") == said.count(f"minglm: {nothing}") == 1
