"""Snapshots of the published layout: loaded, they give the same numbers; written, they load there.

Tiny published models with random weights, in three odd configurations (published.py), stand in for the
released one; its full size is compared on the meta device, where nothing is computed.
"""

import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from minglm import files
from minglm.config import AutoencoderConfig, Config, preset
from minglm.generate.pipeline import Pipeline
from minglm.images import to_tensor
from minglm.model import flow
from minglm.model.autoencoder import AutoencoderKL
from minglm.model.prompt import prompt_ids, with_sources
from minglm.model.weights import PARTS
from minglm.published import read_config, snapshot, tensor_files, write_config

transformers = pytest.importorskip("transformers")
diffusers = pytest.importorskip("diffusers")
published = pytest.importorskip("published")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=range(3), ids=["first", "second", "third"])
def pair(request, tmp_path_factory):
    """A published pipeline, the snapshot it wrote, and ours that read it. The second is in shards."""
    theirs = published.bridge(published.build(request.param))
    folder = tmp_path_factory.mktemp("snapshot")
    theirs.save_pretrained(folder, max_shard_size="60KB" if request.param == 1 else "5GB")
    return theirs, Pipeline.from_pretrained(folder, "cpu"), folder


def close(a, b, most=1e-5):
    assert a.shape == b.shape
    assert (a - b).abs().max() <= most * max(1.0, b.abs().max().item())


def generator(seed):
    return torch.Generator().manual_seed(seed)


def paint_both(pair, prompt, height, width, seed=3, count=1, images=None, guidance=1.5, steps=3):
    """Pictures of both, as arrays of 0 to 255, and our output."""
    theirs, ours, _ = pair
    wanted = theirs(prompt, height=height, width=width, image=images, num_images_per_prompt=count,
                    num_inference_steps=steps, guidance_scale=guidance, generator=generator(seed), output_type="np")
    out = published.with_quirks(ours)(prompt, height, width, image=images, images_per_prompt=count, steps=steps,
                                      guidance=guidance, seed=seed, progress=False)
    return np.round(255 * wanted.images), np.stack([np.asarray(image) for image in out.images]), out


# ---------------------------------------------------------------- whole pictures

CASES = dict(
    wide=dict(prompt=published.PROMPTS[0], height=64, width=160),
    several=dict(prompt=published.PROMPTS[:2], height=96, width=64, count=2, guidance=3.0),
    one_source=dict(prompt=published.PROMPTS[1], height=64, width=96, images=[published.picture(96, 128)], count=2),
    two_sources=dict(prompt=published.PROMPTS[0], height=96, width=64,
                     images=[published.picture(96, 128), published.picture(128, 96, 1)]),
    sources_of_a_batch=dict(prompt=published.PROMPTS[1:], height=64, width=64, count=2,
                            images=[[published.picture(128, 96)], [published.picture(128, 96, 5)]]))


@pytest.mark.parametrize("case", CASES)
def test_pictures_are_the_same(pair, case):
    wanted, seen, out = paint_both(pair, **CASES[case])
    assert wanted.shape == seen.shape and np.abs(wanted - seen).max() <= 1
    assert seen.std() > 5 and len(torch.stack(out.plan).unique()) > 1


def test_the_picture_depends_on_every_stage(pair):
    """So that equal pictures mean something."""
    def paint(prompt='a "HI"', **options):
        how = dict(image=published.picture(96, 96), steps=3, progress=False) | options
        return np.asarray(published.with_quirks(pair[1])(prompt, 64, 64, **how).images[0], int)

    first = paint()
    for other in (paint(planner_seed=5), paint('a "HO"'), paint(seed=1), paint(image=published.picture(96, 96, 1)),
                  paint(steps=4), paint(guidance=3.0)):
        assert np.abs(first - other).max() > 1


def test_a_list_of_seeds_is_a_list_of_generators(pair):
    theirs, ours, _ = pair
    prior = torch.zeros(2, 4 * 4, dtype=torch.long)
    wanted = theirs(["a", "b"], height=64, width=64, prior_token_ids=prior, num_inference_steps=2,
                    generator=[generator(7), generator(2)], output_type="np").images
    out = published.with_quirks(ours)(["a", "b"], 64, 64, prior_ids=[torch.zeros(2, 2)] * 2, steps=2, seed=[7, 2],
                                      progress=False)
    assert np.abs(np.round(255 * wanted) - np.stack([np.asarray(image) for image in out.images])).max() <= 1


# ---------------------------------------------------------------- the planner

TEXTS = [*published.PROMPTS, "", " ", "it's 1234567 o'clock\r\n\n\t x", "naïve café 🍎🍏 ½", "全角　文字ＡＢＣ。！",
         "\u2028a\x85b", "x<sop>3 4<eop>", "<|dit_token_3|><|image|> y"]


def test_ids_of_texts(pair):
    theirs, ours, folder = pair
    words = theirs.processor.tokenizer
    for text in TEXTS:
        assert ours.bpe.encode(text, specials=True) == words(text).input_ids, text
    assert ours.bpe.has_codes and len(ours.bpe) == len(words)
    for text in TEXTS[:-2]:
        assert ours.bpe.decode(ours.bpe.encode(text)) == text


def test_ids_of_whole_prompts(pair):
    theirs, ours, _ = pair
    message = [[dict(role="user", content=[dict(type="text", text=published.PROMPTS[1])])]]
    wanted = theirs.processor.apply_chat_template(message, tokenize=True, target_h=96, target_w=160, return_dict=True,
                                                  return_tensors="pt").input_ids[0].tolist()
    assert prompt_ids(ours.bpe, published.PROMPTS[1], 3, 5, (12, 20), 0, ours.config.planner.boi) == wanted


@pytest.mark.parametrize("sources", [[], [(96, 64)], [(96, 64), (64, 128)]], ids=["none", "one", "two"])
def test_planner_scores_and_positions(pair, sources):
    """The whole way from pictures and text to scores: ids of the sources, prompt, positions, logits."""
    from minglm.model.planner import positions

    theirs, ours, _ = pair
    side = ours.config.tokenizer.sides[0] // 32 * 32
    images = [published.picture(side * h // 64, side * w // 64, i) for i, (h, w) in enumerate(sources)]
    content = [*[dict(type="image", image=image) for image in images], dict(type="text", text=published.PROMPTS[0])]
    given = theirs.processor.apply_chat_template([[dict(role="user", content=content)]], tokenize=True, target_h=96,
                                                 target_w=64, return_dict=True, return_tensors="pt")
    theirs.vision_language_encoder.model.rope_deltas = None
    wanted = theirs.vision_language_encoder(**given).logits
    planner = ours.config.planner
    read = [ours.read(image).ids for image in images]
    preview = None if images else (19, 13)
    text = prompt_ids(ours.bpe, published.PROMPTS[0], 3, 2, preview, 0, planner.boi)
    ids, parts = with_sources(read, text, planner)
    assert len(ids) == given["input_ids"].shape[1]
    close(ours.planner.head(ours.planner(torch.tensor([ids]), positions(parts)[None])), wanted)


@pytest.mark.parametrize("settings", [dict(top_k=7, top_p=0.9), dict(top_k=0, top_p=1.0)])
def test_sampled_ids(pair, settings):
    theirs, ours, _ = pair
    prompts, config = published.PROMPTS[:2], theirs.vision_language_encoder.generation_config
    before = config.top_k, config.top_p
    config.top_k, config.top_p = settings["top_k"], settings["top_p"]
    wanted, *_ = theirs.generate_prior_tokens(prompts, 64, 96, generator=generator(5))
    config.top_k, config.top_p = before
    _, plan = published.with_quirks(ours).plan(prompts, 2, 3, generator(5), temperature=0.9, **settings)
    assert torch.equal(plan.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1), wanted)


# ---------------------------------------------------------------- glyphs, autoencoder, sampler

def test_glyph_tokens(pair):
    from minglm.generate import as_published

    theirs, ours, _ = pair
    few, long = [*published.PROMPTS, "'one' \"two\" 「三」 and “four” \"\""], [f'"{"long" * 600}"']
    for prompts, most in [(few, 1e-5), (long, 1e-4)]:  # the long one is cut; sums of 2,048 differ by their order
        texts = [as_published.quoted(prompt) for prompt in prompts]
        assert texts == theirs.get_glyph_texts(prompts)
        close(as_published.glyphs(ours.glyph, texts), theirs._get_glyph_embeds(prompts), most)


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (160, 64)])
def test_autoencoder(pair, size):
    theirs, ours, _ = pair
    images = to_tensor([published.picture(*size), published.picture(*size, 1)])
    config = theirs.vae.config
    mean, std = (torch.tensor(t)[:, None, None] for t in (config.latents_mean, config.latents_std))
    latents = (theirs.vae.encode(images).latent_dist.mode() - mean) / std
    close(ours.vae.encode(images), latents, 1e-4)
    close(ours.vae.decode(latents), theirs.vae.decode(latents * std + mean).sample, 1e-4)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_latents_after_eight_steps(pair, guidance):
    """Given ids, with a source image or without; theirs prepares times and sigmas itself."""
    theirs, ours, _ = pair
    config, g = ours.config, generator(1)
    latents = torch.randn(2, config.vae.channels, 96 // config.vae.scale, 64 // config.vae.scale, generator=g)
    ids = torch.randint(config.planner.codebook, (2, 3, 2), generator=g)
    prior = ids.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)
    seen = []
    wanted = theirs(published.PROMPTS[:2], height=96, width=64, prior_token_ids=prior, latents=latents,
                    num_inference_steps=8, guidance_scale=guidance, output_type="latent").images
    published.with_quirks(ours)(published.PROMPTS[:2], 96, 64, prior_ids=list(ids), latents=latents, steps=8,
                                guidance=guidance, progress=False, on_step=lambda i, x: seen.append(x))
    close(seen[-1], wanted, 1e-4)


@pytest.mark.parametrize("steps", [1, 8, 20, 50, 99, 1000])
@pytest.mark.parametrize("tokens", [24, 1024, 3456, 16384])
def test_schedule_is_exact(steps, tokens):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="linear")
    told = np.linspace(1000, 1, steps + 1)[:-1].astype(np.int64).astype(np.float32)
    scheduler.set_timesteps(sigmas=told / 1000, timesteps=told, mu=0.75 * (tokens / 256) ** 0.5 + 0.25)
    times, sigmas = flow.schedule(steps, tokens, preset("glm_image").flow)
    assert times == (scheduler.timesteps - 1).tolist() and sigmas == scheduler.sigmas.tolist()


def test_sizes_of_source_images():
    """Theirs and ours, of many pictures; ours refuses what theirs refuses."""
    from transformers.models.glm_image.image_processing_pil_glm_image import smart_resize

    from minglm.generate.sources import half_size

    g = np.random.default_rng(0)
    for sides in [(512, 2048), (64, 256), (96, 160), (30, 100)]:
        for height, width in np.exp(g.uniform(np.log(10), np.log(5000), (500, 2))).astype(int).tolist():
            try:
                wanted = smart_resize(height, width, 16, sides[0] ** 2, sides[1] ** 2)
            except ValueError:
                with pytest.raises(ValueError, match=f"an image of {height}x{width} cannot be edited"):
                    half_size(height, width, sides)
            else:
                assert half_size(height, width, sides) == wanted


# ---------------------------------------------------------------- files

def test_every_tensor_is_where_the_tables_say(pair):
    theirs, ours, _ = pair
    for name, (_, members) in snapshot.FOLDERS.items():
        state = getattr(theirs, name).state_dict()
        state.pop(snapshot.TIED, None)
        found = {snapshot.published(key, table): value for part, _, table in members
                 for key, value in getattr(ours, part).state_dict().items()}
        assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("limit", [5 * 10 ** 9, 50_000])
def test_what_is_written_loads_there_and_gives_the_same_picture(pair, tmp_path, limit):
    theirs, ours, _ = pair
    snapshot.save(tmp_path, ours.config, ours.bpe, {name: getattr(ours, name) for name in PARTS}, limit)
    assert not [p for p in tmp_path.rglob("*") if p.suffix == ".tmp"]
    again = published.bridge(diffusers.GlmImagePipeline.from_pretrained(tmp_path))
    again.set_progress_bar_config(disable=True)
    for name in snapshot.FOLDERS:
        one, other = getattr(theirs, name).state_dict(), getattr(again, name).state_dict()
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    case = dict(prompt=published.PROMPTS[1], height=64, width=64, images=[published.picture(96, 96)], steps=2)
    wanted, seen, _ = paint_both((again, Pipeline.from_pretrained(tmp_path, "cpu"), None), **case)
    assert np.abs(wanted - seen).max() <= 1
    assert np.abs(paint_both(pair, **case)[0] - wanted).max() <= 1


def own(bpe) -> Pipeline:
    """A model that was made here, of the published kind, with our vocabulary."""
    from minglm.device import pick

    torch.manual_seed(0)
    config = preset("tiny")
    config = replace(config, vae=AutoencoderConfig(4, (4, 4, 8, 8), 1, 2, (0.1,) * 4, (2.0,) * 4), posters=False,
                     tokenizer=replace(config.tokenizer, post_conv=True), glyph=replace(config.glyph, places=False, order=False),
                     decoder=replace(config.decoder, channels=4, quarters=False, neighbours=False, middle=None, aligned=None),
                     flow=preset("glm_image").flow, name="own",
                     planner=replace(config.planner, preview_tokens=256, exact=True, spelled=False))
    return Pipeline(config, bpe, {name: published.perturb(part(getattr(config, name))) for name, part in PARTS.items()},
                    pick("cpu"))


def test_a_model_made_here_loads_there(bpe, tmp_path):
    ours = own(bpe)
    ours.save_pretrained(tmp_path, layout="published")
    theirs = published.bridge(diffusers.GlmImagePipeline.from_pretrained(tmp_path))
    theirs.set_progress_bar_config(disable=True)
    for options in (dict(), dict(images=[published.picture(96, 128)])):
        wanted, seen, _ = paint_both((theirs, ours, None), 'a red "猫" <b>', 64, 96, steps=2, **options)
        assert np.abs(wanted - seen).max() <= 1
    again = Pipeline.from_pretrained(tmp_path, "cpu")
    assert again("a cat", 64, 64, steps=1, progress=False).images[0].tobytes() == ours(
        "a cat", 64, 64, steps=1, progress=False).images[0].tobytes()


def test_our_own_layout_keeps_the_released_autoencoder(bpe, tmp_path):
    ours = own(bpe)
    ours.save_pretrained(tmp_path)
    again = Pipeline.from_pretrained(tmp_path, "cpu")
    assert isinstance(again.vae, AutoencoderKL) and again.config == ours.config
    assert again("a cat", 64, 64, steps=1, progress=False).images[0].size == (64, 64)


def test_poster_weights_cannot_be_written_in_the_published_layout(pipe, tmp_path):
    with pytest.raises(ValueError, match="tiny is not of the published kind"):
        pipe.save_pretrained(tmp_path, layout="published")
    with pytest.raises(ValueError, match="unknown layout 'other'"):
        pipe.save_pretrained(tmp_path, layout="other")


@pytest.mark.parametrize("part, change", [("planner", dict(preview_tokens=4)), ("decoder", dict(rope_theta=500.0)),
                                          ("tokenizer", dict(post_conv=False))])
def test_what_the_published_layout_cannot_say_is_refused(bpe, tmp_path, part, change):
    ours = own(bpe)
    ours.config = replace(ours.config, **{part: replace(getattr(ours.config, part), **change)})
    with pytest.raises(ValueError, match=f"{part}.{[*change][0]} is {[*change.values()][0]}, not "):
        ours.save_pretrained(tmp_path, layout="published")
    assert not list(tmp_path.iterdir())


def test_glyph_encoders_have_the_distance_of_t5_where_none_is_said(pair, tmp_path):
    folder = shutil.copytree(pair[2], tmp_path / "copy")
    path = folder / "text_encoder" / "config.json"
    values = files.read_json(path)
    values.pop("relative_attention_max_distance", None)
    files.write_json(path, values)
    assert read_config.read(folder).glyph.max_distance == 128


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(pair, dtype):
    theirs, ours, folder = pair
    pipe = Pipeline.from_pretrained(folder, "cpu", dtype=dtype)
    assert {p.dtype for name in PARTS for p in getattr(pipe, name).parameters()} == {dtype}
    assert torch.equal(pipe.planner.embed.weight, ours.planner.embed.weight.to(dtype))
    out = pipe("a cat", 64, 64, image=published.picture(96, 96), steps=2, progress=False)
    prior = out.plan
    near = ours("a cat", 64, 64, prior_ids=prior, image=published.picture(96, 96), steps=2, progress=False)
    assert np.abs(np.asarray(out.images[0], int) - np.asarray(near.images[0])).mean() < 8


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("stored, dtype", [(torch.bfloat16, torch.float32), (torch.float32, torch.float32)])
def test_loading_takes_the_memory_of_the_model(tmp_path, stored, dtype):
    """In a process whose peak so far can be forgotten: no more than a tenth above the model."""
    def memory(what):
        return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(what))

    tensors = {f"{i}": torch.randn(2500, 2000).to(stored) for i in range(12)}
    tensor_files.write(tmp_path, "model", tensors, limit=60 * 2 ** 20)
    size = sum(tensor.numel() for tensor in tensors.values()) * dtype.itemsize
    del tensors
    try:
        open("/proc/self/clear_refs", "w").write("5")
    except OSError:
        pytest.skip("the peak cannot be reset here")
    before = memory("VmRSS")
    loaded = [tensor_files.read(place, dtype) for place in tensor_files.find(tmp_path, "model").values()]
    assert memory("VmHWM") - before < 1.1 * size and len(loaded) == 12


# ---------------------------------------------------------------- full size

def released():
    """The published classes from the released configuration, on the meta device."""
    text = dict(vocab_size=168064, vision_vocab_size=16512, hidden_size=4096, intermediate_size=13696,
                num_hidden_layers=40, num_attention_heads=32, num_key_value_heads=2, max_position_embeddings=131072,
                rms_norm_eps=1e-5, pad_token_id=167841, eos_token_id=16385,
                rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5,
                                     mrope_section=[8, 12, 12]))
    vision = dict(depth=40, hidden_size=1536, num_heads=16, image_size=2048, patch_size=16, intermediate_size=6144)
    codes = dict(embed_dim=2048, num_embeddings=16384, latent_channels=1536)
    with torch.device("meta"):
        return dict(
            vision_language_encoder=transformers.GlmImageForConditionalGeneration(transformers.GlmImageConfig(
                text_config=text, vision_config=vision, vq_config=codes)),
            transformer=diffusers.GlmImageTransformer2DModel(
                patch_size=2, in_channels=16, out_channels=16, num_layers=30, attention_head_dim=128,
                num_attention_heads=32, text_embed_dim=1472, time_embed_dim=512, condition_dim=256,
                prior_vq_quantizer_codebook_size=16384),
            vae=diffusers.AutoencoderKL(
                latent_channels=16, block_out_channels=(128, 512, 1024, 1024), layers_per_block=3, norm_num_groups=32,
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=transformers.T5EncoderModel(transformers.T5Config(
                vocab_size=384, d_model=1472, d_kv=64, d_ff=3584, num_layers=12, num_heads=6,
                feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False)))


def test_full_size_on_meta():
    config, theirs = preset("glm_image"), released()
    totals = dict(vision_language_encoder=10_114_245_632, transformer=6_926_882_880, vae=406_100_643,
                  text_encoder=217_657_472)
    for name, (_, members) in snapshot.FOLDERS.items():
        with torch.device("meta"):
            ours = {part: build(getattr(config, part)) for part, build, _ in members}
        shapes = {snapshot.published(key, table): value.shape for part, _, table in members
                  for key, value in ours[part].state_dict().items()}
        state = theirs[name].state_dict()
        state.pop(snapshot.TIED, None)
        assert shapes == {key: value.shape for key, value in state.items()}
        assert sum(p.numel() for part in ours.values() for p in part.parameters()) == totals[name]
        assert sum(p.numel() for p in theirs[name].parameters()) == totals[name]


def test_the_preset_is_what_its_own_files_say(tmp_path):
    """The released configuration, written as JSON and read again."""
    class Words:
        specials = {"<|image|>": 167855, "<|endoftext|>": 167841}
        has_codes = True
        save = staticmethod(lambda path: None)

    write_config.write(tmp_path, preset("glm_image"), Words)
    assert read_config.read(tmp_path) == preset("glm_image")
    assert Config.from_dict(preset("glm_image").to_dict()) == preset("glm_image")
