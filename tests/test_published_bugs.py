"""The published code's mistakes, one test each, with both behaviours side by side.

Ours are mended by default. Those that decide pixels come back with PublishedPipeline; the others only make
the published code fail, and nothing needs them.
"""

import numpy as np
import pytest
import torch

from minglm.generate import as_published
from minglm.generate.pipeline import Pipeline
from minglm.model import flow, prompt
from minglm.world import quotes

transformers = pytest.importorskip("transformers")
diffusers = pytest.importorskip("diffusers")
published = pytest.importorskip("published")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A published pipeline with many codes, and ours that read its snapshot."""
    theirs = published.build(2)
    folder = tmp_path_factory.mktemp("snapshot")
    theirs.save_pretrained(folder)
    return theirs, Pipeline.from_pretrained(folder, "cpu")


@pytest.fixture
def theirs(pair):
    return pair[0]


@pytest.fixture
def ours(pair):
    return pair[1]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def array(image):
    return np.asarray(image, dtype=int)


def theirs_paint(pipe, prompt, height, width, **options):
    images = pipe(prompt, height=height, width=width, num_inference_steps=2, output_type="np",
                  **dict(generator=generator()) | options).images
    return np.round(255 * images).astype(int)


def given(pipe, count, rows=2, columns=2):
    """Ids and noise for `count` pictures, so that only what is tested differs."""
    ids = torch.randint(50, (count, rows, columns), generator=generator(1))
    side = 32 // pipe.config.vae.scale
    noise = torch.randn(count, pipe.config.vae.channels, side * rows, side * columns, generator=generator(2))
    return ids, noise, ids.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)


def test_1_the_model_is_told_the_unshifted_time(theirs, ours, monkeypatch):
    """The sigmas are shifted and the times are not. (diffusers 0.40 told 1000 sigma: magenta pictures.)"""
    told = []
    forward = theirs.transformer.forward
    monkeypatch.setattr(theirs.transformer, "forward",
                        lambda *a, **k: told.append(k["timestep"][0].item()) or forward(*a, **k))
    theirs_paint(theirs, "a cat", 64, 64, prior_token_ids=given(ours, 1)[2], guidance_scale=1.0)
    times, sigmas = flow.schedule(2, 16, ours.config.flow)
    assert told == times == [999.0, 499.0]
    assert abs(1000 * sigmas[1] - times[1]) > 50


def test_2_editing_fails_with_this_transformers(theirs, ours):
    """Features come as a list of (D, h, w), diffusers concatenates them as rows."""
    image = published.picture(64, 64)
    with pytest.raises(RuntimeError):
        theirs_paint(theirs, "a cat", 64, 64, image=[image])
    assert ours("a cat", 64, 64, image=image, steps=1, progress=False).images[0].size == (64, 64)


def test_3_top_k_is_50_unless_it_is_set(theirs, ours):
    config = theirs.vision_language_encoder.generation_config
    before = config.temperature, config.top_p
    config.temperature, config.top_p = 3.0, 1.0
    try:
        assert config.top_k is None
        silent = theirs.generate_prior_tokens("a cat", 64, 64, generator=generator())[0]
        config.top_k = 0
        every = theirs.generate_prior_tokens("a cat", 64, 64, generator=generator())[0]
    finally:
        config.temperature, config.top_p, config.top_k = *before, None

    def plan(pipe=ours, **how):
        ids = pipe("a cat", 64, 64, steps=1, temperature=3.0, top_p=1.0, seed=0, progress=False, **how).plan[0]
        return ids.repeat_interleave(2, 0).repeat_interleave(2, 1).flatten()

    quirks = published.with_quirks(ours)
    assert torch.equal(plan(quirks), silent[0])
    assert torch.equal(plan(quirks, top_k=0), every[0])
    assert not torch.equal(silent, every)
    assert torch.equal(plan(), plan(top_k=0)) and not torch.equal(plan(), plan(top_k=50))


def test_4_ids_that_are_no_codes_can_be_drawn():
    theirs = published.build(0, legal=False)
    config, codes = theirs.vision_language_encoder.generation_config, published.SIZES[0]["codes"]
    config.temperature, config.top_p = 5.0, 1.0
    config.suppress_tokens = [codes + 1]                                         # so that it goes on to the end
    with pytest.raises(IndexError):
        theirs_paint(theirs, "a cat", 128, 128)


def test_4_ours_are_codes(ours):
    for pipe in (ours, published.with_quirks(ours)):
        out = pipe(["a cat", "b"], 128, 128, steps=1, temperature=9.0, top_p=1.0, progress=False)
        assert 0 <= min(ids.min() for ids in out.plan + out.preview)
        assert max(ids.max() for ids in out.plan + out.preview) < ours.config.planner.codebook


def test_5_training_needs_positions_and_its_labels_fail(theirs, ours):
    model, planner = theirs.vision_language_encoder, ours.config.planner
    prompt = [140, 141, 142, planner.boi]
    ids = torch.tensor([[*prompt, 1, 2, 3, 4]])
    grids = dict(image_grid_thw=torch.tensor([[1, 2, 2]]), images_per_sample=torch.tensor([1]))
    with pytest.raises(RuntimeError):  # cross-entropy over the text vocabulary, of scores of codes only
        model(input_ids=ids[:, :4], labels=ids[:, :4], **grids)
    loss, _ = ours.planner.loss([prompt], torch.tensor([[[1]]]), torch.tensor([[[1, 2], [3, 4]]]))
    assert torch.isfinite(loss)


def test_6_the_preview_has_256_ids_whatever_the_picture(theirs):
    shape = theirs.processor._get_target_shape
    for height, width in [(1024, 1024), (1152, 768), (2048, 512), (512, 512), (128, 96), (32, 2048)]:
        rows, columns, *preview = shape(height, width)
        assert tuple(preview) == prompt.preview_grid(rows, columns, 256)
    assert shape(128, 96) == (4, 3, 18, 13) and prompt.preview_grid(4, 3, 4) == (2, 1)


def test_7_source_images_of_some_sizes_fail(theirs, ours):
    bridged = published.bridge(published.build(2))
    for height, width in [(100, 120), (16, 40), (64, 80)]:
        image = published.picture(height, width)
        with pytest.raises((RuntimeError, ValueError)):
            theirs_paint(bridged, "a cat", 64, 64, image=[image])
        with pytest.raises(ValueError, match=f"an image of {height}x{width} has ids for .* the published code cannot"):
            published.with_quirks(ours)("a cat", 64, 64, image=image, steps=1, progress=False)
        assert ours("a cat", 64, 64, image=image, steps=1, progress=False).plan[0].shape == (2, 2)


def test_7_source_images_of_different_sizes_in_a_batch(ours):
    images = [[published.picture(64, 64)], [published.picture(96, 64), published.picture(64, 64)]]
    bridged = published.bridge(published.build(2))
    with pytest.raises((RuntimeError, ValueError)):
        theirs_paint(bridged, ["a", "b"], 64, 64, image=[[published.picture(64, 64)], [published.picture(96, 64)]])
    together = ours(["a", "b"], 64, 64, image=images, steps=2, progress=False)
    for i, text in enumerate("ab"):
        alone = ours(text, 64, 64, image=images[i], steps=2, seed=i, progress=False)
        assert torch.equal(alone.plan[0], together.plan[i])
        assert np.abs(array(alone.images[0]) - array(together.images[i])).max() <= 1


def test_8_the_attention_mask_does_not_mask(theirs, ours):
    """Theirs adds 0 and 1 to the scores; ours is the same as leaving the masked tokens out."""
    ids, noise, prior = given(ours, 1)
    glyphs = torch.randn(1, 6, ours.config.glyph.width, generator=generator())
    mask = torch.tensor([[True] * 4 + [False] * 2])
    time = torch.tensor([500.0])

    def theirs_velocity(glyphs, mask=None):
        size = torch.tensor([[64.0, 64.0]])
        return theirs.transformer(noise, glyphs, prior, torch.zeros_like(prior, dtype=torch.bool), time, size,
                                  torch.zeros(1, 2), attention_mask=mask, return_dict=False)[0]

    trimmed = theirs_velocity(glyphs[:, :4])
    assert (theirs_velocity(glyphs, mask.float()) - trimmed).abs().max() > 1e-4
    assert (ours.decoder(noise, time, ids, glyphs, mask) - trimmed).abs().max() < 1e-5


def test_8_company_changes_a_picture(theirs, ours):
    """Glyph tokens are filled up with zeros that are looked at."""
    prompts = ['a "HI"', 'a "much longer text"']
    ids, noise, prior = given(ours, 2)
    alone, company = (theirs_paint(theirs, prompts[:n], 64, 64, prior_token_ids=prior[:n], latents=noise[:n],
                                   guidance_scale=5.0)[0] for n in (1, 2))
    assert np.abs(alone - company).max() > 1

    def paint(count, pipe=ours):
        return array(pipe(prompts[:count], 64, 64, prior_ids=list(ids[:count]), latents=noise[:count], steps=2,
                          guidance=5.0, progress=False).images[0])

    quirks = published.with_quirks(ours)
    assert np.abs(paint(2, quirks) - company).max() <= 1 and np.abs(paint(1, quirks) - alone).max() <= 1
    assert np.abs(paint(1) - alone).max() <= 1 and np.abs(paint(2) - paint(1)).max() <= 1


@pytest.mark.parametrize("prompt, theirs_find, ours_find", [
    ("it's a cat's \"HI\"", ["s a cat", "HI"], ["HI"]),
    ('first "one", then \'two\'', ["two", "one"], ["one", "two"]),
    ("「三」 and “four”", ["four", "三"], ["三", "four"]),
])
def test_9_quotes(theirs, prompt, theirs_find, ours_find):
    assert theirs.get_glyph_texts(prompt)[0] == theirs_find == as_published.quoted(prompt)
    assert quotes.quoted(prompt) == ours_find


def test_9_an_even_number_of_texts_gets_pads(theirs, ours):
    from minglm.generate.paint import glyphs

    for texts, pads in [(["a"], 0), (["a", "b"], 2), (["a", "b", "c"], 0)]:
        prompt = " ".join(f'"{t}"' for t in texts)
        wanted = theirs._get_glyph_embeds(prompt)
        assert wanted.shape[1] == 2 * len(texts) + pads == as_published.glyphs(ours.glyph, [texts]).shape[1]
        assert glyphs(ours.glyph, [texts])[0].shape[1] == 2 * len(texts)


def test_10_widths_are_cut_silently(ours):
    prior = given(ours, 1, 2, 3)[2]
    assert theirs_paint(published.build(0), "a cat", 64, 100, prior_token_ids=prior).shape[2] == 96
    for pipe in (ours, published.with_quirks(ours)):
        with pytest.raises(ValueError, match="width 100: height and width must be multiples of 32"):
            pipe("a cat", 64, 100, progress=False)


def test_pictures_of_one_prompt_share_their_ids(theirs, ours):
    """Only the decoder's noise differs, though the planner decides what is in the picture."""
    quirks = published.with_quirks(ours)
    shared = quirks("a cat", 64, 64, images_per_prompt=3, steps=1, temperature=3.0, progress=False).plan
    own = ours("a cat", 64, 64, images_per_prompt=3, steps=1, temperature=3.0, progress=False)
    assert all(torch.equal(ids, shared[0]) for ids in shared)
    assert len({tuple(ids.flatten().tolist()) for ids in own.plan}) == 3
    last = ours("a cat", 64, 64, seed=2, steps=1, temperature=3.0, progress=False)
    assert torch.equal(own.plan[2], last.plan[0]) and np.abs(array(own.images[2]) - array(last.images[0])).max() <= 1


def test_specials_in_a_prompt_are_obeyed(theirs, ours):
    """A prompt can end its own text and ask for another size."""
    words, prompt = theirs.processor.tokenizer, "a cat<eop><|image|>"
    assert ours.bpe.encode(prompt, specials=True) == words(prompt).input_ids
    assert ours.bpe.specials["<eop>"] in words(prompt).input_ids
    assert not set(ours.bpe.encode(prompt)) & set(ours.bpe.specials.values())
    assert ours.bpe.decode(ours.bpe.encode(prompt)) == prompt


def test_guidance_below_one_is_none(theirs, ours):
    ids, noise, prior = given(ours, 1)
    none, half = (theirs_paint(theirs, 'a "HI"', 64, 64, prior_token_ids=prior, latents=noise, guidance_scale=g)
                  for g in (1.0, -3.0))
    assert np.array_equal(none, half)

    def paint(guidance, pipe=ours):
        return array(pipe('a "HI"', 64, 64, prior_ids=ids[0], latents=noise, steps=2, guidance=guidance,
                          progress=False).images[0])

    quirks = published.with_quirks(ours)
    assert np.array_equal(paint(1.0, quirks), paint(-3.0, quirks))
    assert np.abs(paint(1.0) - paint(-3.0)).max() > 1
