"""Every part equals the published implementation when it is given the same weights.

The modules of transformers and diffusers are built small, at odd sizes, with random weights; ours
get those weights by the name tables of minglm.published.snapshot. Float32 outputs must agree to 1e-5 and ids exactly, so
weights trained here fit the published code and the other way round.
"""

import re

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from minglm.config import Config, DecoderConfig, FlowConfig, GlyphConfig, PlannerConfig, TokenizerConfig
from minglm.device import pick
from minglm.generate import plan
from minglm.generate.pipeline import Pipeline
from minglm.generate.plan import sample_ids
from minglm.model import flow
from minglm.model.bpe import BPE
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder, collate, glyph_ids
from minglm.model.planner import Planner, positions
from minglm.model.tokenizer import Tokenizer
from minglm.model.vae import VAE
from minglm.published import snapshot

transformers = pytest.importorskip("transformers")
diffusers = pytest.importorskip("diffusers")
perturb = pytest.importorskip("published").perturb
pytestmark = pytest.mark.filterwarnings("ignore")

UNUSED = r"post_quant_conv|encoder\.embed_tokens"  # never used, and tied to `shared`


def copy(ours, theirs, table, left=UNUSED):
    """Load the published weights into our module; every tensor of either side must be used."""
    source, used, state = theirs.state_dict(), set(), {}
    for name in ours.state_dict():
        wanted = snapshot.published(name, table)
        state[name] = source[wanted]
        used.add(wanted)
    assert not [name for name in source.keys() - used if not re.search(left, name)]
    ours.load_state_dict(state)
    return ours.eval().requires_grad_(False)


def close(a, b):
    assert a.shape == b.shape
    assert (a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max().item())


# ---------------------------------------------------------------- planner and tokenizer

AR = [  # (tokenizer, planner, text vocabulary)
    (TokenizerConfig(patch=8, width=24, depth=2, heads=3, mlp=40, table=5, codebook=29, code_width=10),
     PlannerConfig(codebook=29, vision_vocab=37, vocab=90, width=48, depth=2, heads=6, kv_heads=2,
                   head_dim=8, mlp=56, mrope_section=(1, 0, 1))),
    (TokenizerConfig(patch=4, width=20, depth=3, heads=2, mlp=33, table=7, codebook=51, code_width=6),
     PlannerConfig(codebook=51, vision_vocab=60, vocab=101, width=32, depth=3, heads=2, kv_heads=1,
                   head_dim=16, mlp=24, mrope_section=(1, 2, 1), rope_theta=500.0)),
    (TokenizerConfig(patch=2, width=12, depth=1, heads=1, mlp=50, table=3, codebook=200, code_width=24),
     PlannerConfig(codebook=200, vision_vocab=202, vocab=240, width=24, depth=1, heads=3, kv_heads=3,
                   head_dim=8, mlp=100, mrope_section=(0, 1, 1), eps=1e-3)),
]
IMAGE = 3  # source image placeholder, behind the vision vocabulary


@pytest.fixture(scope="module", params=range(len(AR)))
def ar(request):
    """Our tokenizer and planner beside the published model that holds the same weights."""
    vision, text = AR[request.param]
    config = transformers.GlmImageConfig(
        text_config=dict(
            vocab_size=text.vocab, vision_vocab_size=text.vision_vocab, hidden_size=text.width,
            intermediate_size=text.mlp, num_hidden_layers=text.depth, num_attention_heads=text.heads,
            num_key_value_heads=text.kv_heads, max_position_embeddings=512, rms_norm_eps=text.eps,
            pad_token_id=text.vision_vocab, eos_token_id=text.eoi,
            rope_parameters=dict(rope_type="default", rope_theta=text.rope_theta, partial_rotary_factor=0.5,
                                 mrope_section=list(text.mrope_section))),
        vision_config=dict(depth=vision.depth, hidden_size=vision.width, num_heads=vision.heads,
                           image_size=vision.table * vision.patch, patch_size=vision.patch,
                           intermediate_size=vision.mlp),
        vq_config=dict(embed_dim=vision.code_width, num_embeddings=vision.codebook,
                       latent_channels=vision.width),
        image_token_id=text.vision_vocab + IMAGE, image_start_token_id=text.boi, image_end_token_id=text.eoi)
    theirs = perturb(transformers.GlmImageForConditionalGeneration(config), request.param, 0.3)
    tokenizer = copy(Tokenizer(vision), theirs, snapshot.TOKENIZER, UNUSED + "|language_model|lm_head")
    return tokenizer, copy(Planner(text), theirs, snapshot.PLANNER, UNUSED + "|model.visual|vqmodel"), theirs


def picture(batch, rows, columns, patch, seed):
    """Random full-size pictures of rows x columns ids."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, 2 * rows * patch, 2 * columns * patch, generator=g) * 2 - 1


def published_pixels(images, patch):
    """(B, 3, H, W) -> the packed patches and grids that the published vision encoder takes."""
    rows, columns = images.shape[2] // patch, images.shape[3] // patch
    packed = rearrange(images, "b c (h p) (w q) -> (b h w) (c p q)", p=patch, q=patch)
    return packed, torch.tensor([[1, rows, columns]] * len(images))


@pytest.mark.parametrize("rows, columns", [(3, 3), (2, 5), (9, 4), (1, 1)])
def test_vision_encoder_and_ids(ar, rows, columns):
    tokenizer, _, theirs = ar
    patch = tokenizer.config.patch
    images = picture(3, rows, columns, patch, 1)
    half = F.avg_pool2d(images, 2)
    packed, grids = published_pixels(half, patch)
    features = theirs.get_image_features(packed, grids, return_dict=True)
    close(rearrange(tokenizer.encoder(half), "b h w d -> (b h w) d"), features.last_hidden_state)
    ids = theirs.get_image_tokens(features.pooler_output)
    assert torch.equal(tokenizer.encode(images).flatten(), ids.flatten())
    assert len(ids.unique()) > 1 or rows == 1


def sequence(config, text, seed=0):
    """A prompt of `text` tokens that ends with boi."""
    g = torch.Generator().manual_seed(seed)
    first = config.vision_vocab + IMAGE + 1
    return [*torch.randint(first, config.vocab, (text - 1,), generator=g).tolist(), config.boi]


def test_planner_scores_of_prompt_preview_and_large_grid(ar):
    _, planner, theirs = ar
    config = planner.config
    g = torch.Generator().manual_seed(2)
    ids = torch.tensor([sequence(config, 9, seed) for seed in range(2)])
    ids = torch.cat([ids, torch.randint(config.codebook, (2, 4 + 15), generator=g)], 1)
    place = positions([9, (2, 2), (3, 5)])
    scores = planner.head(planner(ids, place.expand(2, -1, -1)))
    close(scores, theirs(input_ids=ids, position_ids=place[:, None].expand(-1, 2, -1)).logits)


@pytest.mark.parametrize("sources", [[(2, 4)], [(3, 2), (1, 3)]])
def test_planner_scores_with_source_images(ar, sources):
    """The published model finds ids and positions itself, from pixels."""
    tokenizer, planner, theirs = ar
    config, patch = planner.config, tokenizer.config.patch
    ids, marked, parts, packed, text = [], [], [], [], 0
    for i, (rows, columns) in enumerate(sources):
        image = picture(1, rows, columns, patch, i)
        packed.append(published_pixels(F.avg_pool2d(image, 2), patch)[0])
        ids += [config.boi, *tokenizer.encode(image).flatten().tolist(), config.eoi]
        marked += [config.boi, *[config.vision_vocab + IMAGE] * (rows * columns), config.eoi]
        parts += [text + 1, (rows, columns)]
        text = 1
    prompt = sequence(config, 6)
    ids, marked, parts = ids + prompt, marked + prompt, [*parts, text + len(prompt)]
    grids = torch.tensor([[1, *grid] for grid in [*sources, (3, 4)]])
    theirs.model.rope_deltas = None
    wanted = theirs(input_ids=torch.tensor([marked]), attention_mask=torch.ones(1, len(marked), dtype=torch.long),
                    pixel_values=torch.cat(packed), image_grid_thw=grids,
                    images_per_sample=torch.tensor([len(grids)])).logits
    close(planner.head(planner(torch.tensor([ids]), positions(parts)[None])), wanted)


@pytest.mark.parametrize("preview, large", [((2, 2), (4, 4)), ((2, 3), (3, 5))])
def test_greedy_generation(ar, preview, large):
    """Cache, decoding positions and grid order: the same ids one by one, once theirs are made legal."""
    _, planner, theirs = ar
    config, prompt = planner.config, sequence(planner.config, 7, 3)
    total = preview[0] * preview[1] + large[0] * large[1]
    wanted = theirs.generate(
        input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        image_grid_thw=torch.tensor([[1, *large], [1, *preview]]), images_per_sample=torch.tensor([2]),
        max_new_tokens=total, do_sample=False, suppress_tokens=list(range(config.codebook, config.vision_vocab)))
    drawn = sample_ids(planner, [prompt], [preview, large], [torch.Generator()], temperature=0)
    drawn = torch.cat([ids.flatten() for ids in drawn])
    assert drawn.tolist() == wanted[0, len(prompt):].tolist()
    assert len(drawn.unique()) > 2


WIDE = dict(codebook=1000, vision_vocab=1152, vocab=1300, depth=2, exact=True)
WIDE = [PlannerConfig(**WIDE, width=256, heads=8, kv_heads=2, head_dim=32, mlp=768, mrope_section=(2, 3, 3)),
        PlannerConfig(**WIDE, width=384, heads=6, kv_heads=3, head_dim=64, mlp=1000, mrope_section=(4, 6, 6))]


@pytest.fixture(scope="module", params=WIDE, ids=["256 wide", "384 wide"])
def wide(request):
    """A planner with `exact`, beside the published one. With the first of these widths, products on an AVX-512 processor
    round differently when the matrix is transposed, with the second when it is joined to others or read by one thread
    of two."""
    config = request.param
    torch.manual_seed(0)
    theirs = transformers.GlmImageForConditionalGeneration(transformers.GlmImageConfig(
        text_config=dict(
            vocab_size=config.vocab, vision_vocab_size=config.vision_vocab, hidden_size=config.width,
            intermediate_size=config.mlp, num_hidden_layers=config.depth, num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads, max_position_embeddings=512, rms_norm_eps=config.eps,
            pad_token_id=config.vision_vocab, eos_token_id=config.eoi,
            rope_parameters=dict(rope_type="default", rope_theta=config.rope_theta, partial_rotary_factor=0.5,
                                 mrope_section=list(config.mrope_section))),
        vision_config=dict(depth=1, hidden_size=8, num_heads=1, image_size=16, patch_size=8, intermediate_size=8),
        vq_config=dict(embed_dim=8, num_embeddings=config.codebook, latent_channels=8),
        image_token_id=config.vision_vocab + IMAGE, image_start_token_id=config.boi, image_end_token_id=config.eoi))
    theirs = perturb(theirs).requires_grad_(True)    # as loaded; else matmul takes the first step's head for a batch of products
    return copy(Planner(config), theirs, snapshot.PLANNER, UNUSED + "|model.visual|vqmodel"), theirs


@pytest.mark.parametrize("lengths", [(9, 9), (9, 4)], ids=["one length", "padded"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 8, 16])
def test_exact_logits_are_theirs_to_the_last_bit(wide, monkeypatch, rows, lengths):
    """At every step, whatever the processor makes of layouts, numbers of rows and threads."""
    planner, theirs = wide
    config, longest, ours = planner.config, max(lengths[:rows]), []
    prompts = [sequence(config, lengths[row % 2], row) for row in range(rows)]
    missing = [longest - len(prompt) for prompt in prompts]
    choose = plan.choose
    monkeypatch.setattr(plan, "choose", lambda logits, *rest: ours.append(logits) or choose(logits, *rest))
    sample_ids(planner, prompts, [(2, 2), (2, 3)], [torch.Generator()] * rows, temperature=0)
    theirs.model.rope_deltas = None
    wanted = theirs.generate(
        input_ids=torch.tensor([[config.vision_vocab] * n + prompt for n, prompt in zip(missing, prompts)]),
        attention_mask=torch.tensor([[0] * n + [1] * (longest - n) for n in missing]),
        image_grid_thw=torch.tensor([[1, 2, 3], [1, 2, 2]] * rows), images_per_sample=torch.tensor([2] * rows),
        max_new_tokens=10, do_sample=False, suppress_tokens=list(range(config.codebook, config.vision_vocab)),
        output_logits=True, return_dict_in_generate=True).logits
    unequal = [i for i, (a, b) in enumerate(zip(ours, wanted, strict=True)) if not torch.equal(a, b[:, :config.codebook])]
    assert not unequal


# ---------------------------------------------------------------- glyph encoder

GLYPHS = [GlyphConfig(width=20, depth=2, heads=3, head_dim=6, mlp=44, places=False),
          GlyphConfig(width=36, depth=3, heads=2, head_dim=10, mlp=28, buckets=16, max_distance=40, places=False),
          GlyphConfig(width=12, depth=1, heads=1, head_dim=4, mlp=60, buckets=64, max_distance=90, eps=1e-3,
                      places=False)]


@pytest.fixture(scope="module", params=GLYPHS, ids=["wide", "deep", "flat"])
def glyph(request):
    config = request.param
    theirs = transformers.T5EncoderModel(transformers.T5Config(
        vocab_size=config.vocab, d_model=config.width, d_kv=config.head_dim, d_ff=config.mlp,
        num_layers=config.depth, num_heads=config.heads, relative_attention_num_buckets=config.buckets,
        relative_attention_max_distance=config.max_distance, layer_norm_epsilon=config.eps,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False))
    theirs = perturb(theirs)
    return copy(GlyphEncoder(config), theirs, snapshot.GLYPH), theirs


def test_glyph_encoder(glyph):
    ours, theirs = glyph
    batch = collate([["HI", "a longer sentence, far beyond the buckets " * 4, "", "你好，世界"]])
    wanted = theirs(input_ids=batch["ids"], attention_mask=batch["mask"].long()).last_hidden_state
    close(ours(batch["ids"], batch["mask"])[batch["mask"]], wanted[batch["mask"]])


def test_glyph_ids():
    texts = ["HI", "", "café 你好 🍎"]
    assert glyph_ids(texts) == transformers.ByT5Tokenizer()(texts).input_ids
    assert glyph_ids(["HI"]) == [[75, 76, 1]]


# ---------------------------------------------------------------- decoder

DECODERS = [DecoderConfig(channels=4, width=24, depth=3, heads=3, head_dim=8, glyph_width=20, time_width=18,
                          size_width=10, codebook=33, quarters=False, middle=None),
            DecoderConfig(channels=6, width=32, depth=2, heads=2, head_dim=16, glyph_width=36, time_width=32,
                          size_width=4, codebook=17, quarters=False, middle=None),
            DecoderConfig(channels=3, width=20, depth=1, heads=1, head_dim=20, glyph_width=12, time_width=6,
                          size_width=2, codebook=200, quarters=False, middle=None)]
SHAPES = [(8, 8), (4, 12), (20, 8)]  # latents


@pytest.fixture(scope="module", params=DECODERS, ids=["narrow", "wide", "shallow"])
def decoder(request):
    config = request.param
    theirs = diffusers.GlmImageTransformer2DModel(
        patch_size=config.patch, in_channels=config.channels, out_channels=config.channels,
        num_layers=config.depth, attention_head_dim=config.head_dim, num_attention_heads=config.heads,
        text_embed_dim=config.glyph_width, time_embed_dim=config.time_width, condition_dim=config.size_width,
        prior_vq_quantizer_codebook_size=config.codebook)
    theirs = perturb(theirs)
    return copy(Decoder(config), theirs, snapshot.DECODER), theirs


def painted(config, shape, batch=2, seed=0):
    """Random (latents, times, ids, glyphs) for a size of latents."""
    g = torch.Generator().manual_seed(seed)
    h, w = shape
    return (torch.randn(batch, config.channels, h, w, generator=g),
            999 * torch.rand(batch, generator=g).round(decimals=3),
            torch.randint(config.codebook, (batch, h // 4, w // 4), generator=g),
            torch.randn(batch, 5, config.glyph_width, generator=g))


def published_velocity(model, latents, time, ids, glyphs, drop=False, cache=None):
    """The published decoder, called as its pipeline calls it."""
    prior = F.interpolate(ids[:, None].float(), scale_factor=2, mode="nearest").long().flatten(1)
    size = torch.tensor([[8.0 * latents.shape[2], 8.0 * latents.shape[3]]]).expand(len(latents), -1)
    return model(latents, glyphs, prior, torch.full_like(prior, drop, dtype=torch.bool), time, size,
                 torch.zeros(len(latents), 2), return_dict=False, kv_caches=cache)[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("drop", [False, True], ids=["prior", "no-prior"])
def test_decoder(decoder, shape, drop):
    ours, theirs = decoder
    given = painted(ours.config, shape)
    keep = torch.full((2,), not drop)
    close(ours(*given, prior_keep=keep), published_velocity(theirs, *given, drop))


def test_decoder_without_glyphs(decoder):
    ours, theirs = decoder
    latents, time, ids, glyphs = painted(ours.config, (8, 12))
    close(ours(latents, time, ids, glyphs[:, :0]), published_velocity(theirs, latents, time, ids, glyphs[:, :0]))


@pytest.mark.parametrize("references", [[(8, 8)], [(4, 12), (8, 4)]], ids=["one", "two"])
def test_decoder_with_reference_images(decoder, references):
    from diffusers.models.transformers.transformer_glm_image import GlmImageKVCache

    ours, theirs = decoder
    cache, memory = GlmImageKVCache(ours.config.depth), []
    cache.set_mode("write")
    for i, shape in enumerate(references):
        latents, _, ids, glyphs = painted(ours.config, shape, 1, 10 + i)
        published_velocity(theirs, latents, torch.zeros(1), ids, glyphs[:, :0], cache=cache)
        memory.append(ours.remember(latents, ids))
    cache.set_mode("read")
    given = painted(ours.config, (8, 12), 1)
    seen = ours(*given, memory=memory)
    close(seen, published_velocity(theirs, *given, cache=cache))
    assert (seen - ours(*given)).abs().max() > 1e-3
    cache.set_mode("skip")
    close(ours(*given), published_velocity(theirs, *given, cache=cache))


# ---------------------------------------------------------------- schedule and loop

@pytest.mark.parametrize("steps", [1, 4, 20, 50])
@pytest.mark.parametrize("tokens, config", [(4096, FlowConfig(base_tokens=256)), (24, FlowConfig())])
def test_schedule(steps, tokens, config):
    numpy = pytest.importorskip("numpy")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000, use_dynamic_shifting=True, time_shift_type="linear",
        base_shift=config.base_shift, max_shift=config.max_shift, base_image_seq_len=config.base_tokens)
    told = numpy.linspace(1000, 1, steps + 1)[:-1].astype(numpy.int64).astype(numpy.float32)
    mu = config.max_shift * (tokens / config.base_tokens) ** 0.5 + config.base_shift
    scheduler.set_timesteps(sigmas=told / 1000, timesteps=told, mu=mu)
    times, sigmas = flow.schedule(steps, tokens, config)
    assert times == (scheduler.timesteps - 1).tolist()
    assert torch.allclose(torch.tensor(sigmas), scheduler.sigmas, atol=1e-6, rtol=0)


@pytest.mark.parametrize("decoder, glyph", list(zip(DECODERS, GLYPHS)), indirect=True,
                         ids=["first", "second", "third"])
@pytest.mark.parametrize("guidance", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("texts", [["HI"], ["HI", "你好", "a b"], []], ids=["one", "three", "none"])
def test_denoising_loop(decoder, glyph, guidance, texts):
    """Four steps of our pipeline against the published one's latents.

    (An even number of strings gives the published tokenizer an extra pad token, which we leave out.)
    """
    (transformer, published), (encoder, text_encoder) = decoder, glyph
    config = Config(decoder=transformer.config, glyph=encoder.config, flow=FlowConfig(base_tokens=256), posters=False)
    small = PlannerConfig(codebook=3, vision_vocab=6, vocab=8, width=8, depth=1, heads=1, kv_heads=1, head_dim=8, mlp=8)
    parts = dict(vae=VAE(config.vae), tokenizer=Tokenizer(TokenizerConfig(width=12, depth=1, heads=1, mlp=8)),
                 planner=Planner(small), glyph=encoder, decoder=transformer)
    ours = Pipeline(config, BPE({}, [], {}), parts, pick("cpu"))
    pipe = diffusers.GlmImagePipeline(
        tokenizer=transformers.ByT5Tokenizer(), processor=None, text_encoder=text_encoder,
        vision_language_encoder=None, transformer=published, vae=diffusers.AutoencoderKL(
            latent_channels=config.decoder.channels, block_out_channels=(8,) * 4, norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, time_shift_type="linear", base_shift=0.25, max_shift=0.75))
    pipe.set_progress_bar_config(disable=True)
    latents, _, ids, _ = painted(config.decoder, (16, 12), 1)
    prior = ids.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)
    wanted = pipe(" and ".join(f'"{text}"' for text in texts) or "a cat", height=128, width=96, num_inference_steps=4,
                  guidance_scale=guidance, latents=latents, prior_token_ids=prior, output_type="latent").images
    times, sigmas = flow.schedule(4, 8 * 6, config.flow)
    with torch.no_grad():
        *_, ours = flow.sample(ours.velocity([texts], ids, guidance), latents, times, sigmas)
    close(ours, wanted)
