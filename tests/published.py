"""The published implementation, built small with random weights, for tests to compare with.

Three configurations, odd on purpose; the last has latents of 1/4 the side in patches of 4x4. Tests that import this must skip first where transformers,
diffusers or tokenizers is missing.
"""

from functools import cache

import diffusers
import tokenizers
import torch
import transformers
from PIL import Image
from tokenizers import decoders, models, pre_tokenizers

from minglm.generate.as_published import PublishedPipeline
from minglm.generate.pipeline import Pipeline
from minglm.model.bpe import BPE, SPLIT
from minglm.world.draw import draw

# codes, vision vocabulary, widths ... of each configuration
SIZES = [
    dict(codes=64, spare=16, width=32, heads=2, kv=1, layers=2, mlp=64, mrope=[1, 1, 2], vision=(32, 2, 2, 48, 8, 12),
         glyph=(20, 2, 3, 6, 44, 32, 128), decoder=(3, 3, 8, 18, 10), channels=4, vae=((8, 12, 16, 8), 1, 4),
         glm4=True, sides=(64, 256)),
    dict(codes=50, spare=9, width=48, heads=6, kv=2, layers=3, mlp=40, mrope=[1, 0, 1], vision=(24, 3, 3, 40, 5, 10),
         glyph=(36, 3, 2, 10, 28, 16, 40), decoder=(2, 2, 16, 32, 4), channels=6, vae=((6, 6, 9, 12), 2, 3),
         glm4=False, sides=(96, 160)),
    dict(codes=131, spare=3, width=32, heads=1, kv=1, layers=2, mlp=96, mrope=[3, 2, 3], vision=(20, 1, 2, 33, 7, 16),
         glyph=(24, 1, 2, 8, 20, 32, 64), decoder=(2, 1, 24, 16, 8), channels=16, vae=((4, 8, 6), 3, 2), patch=4,
         glm4=True, sides=(32, 512)),
]
PROMPTS = ['a red cube with "HI"', "一张海报，写着“你好”和\"a b\" it's", "nothing to write, 12345 things\n\n on  two lines"]


def perturb(module, seed=0, spread=0.05):
    """Move every weight, bias and norm gain, so that no parameter is at a value that hides it."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(spread * torch.randn_like(p))
    return module.eval().requires_grad_(False)


@cache
def learn():
    """Merges of a few captions. (The library's own trainer is not the same on every run.)"""
    return BPE.train([draw(0, i).caption for i in range(300)], 600).merges


def tokenizer(codes, spare, glm4):
    """A tokenizer with the image codes first and text behind them; with GLM-4's pre-tokeniser and image
    codes as special tokens, or with GPT-2's and image codes as words that no text holds."""
    names = [f"<|dit_token_{i}|>" for i in range(codes + spare)]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not glm4)
    split = pre_tokenizers.Split(tokenizers.Regex(SPLIT), "isolated")
    learned = learn() if glm4 else []
    words = [*names, *sorted(pre_tokenizers.ByteLevel.alphabet()), *dict.fromkeys(a + b for a, b in learned)]
    made = tokenizers.Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=learned))
    made.pre_tokenizer = pre_tokenizers.Sequence([split, level]) if glm4 else level
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([*(names if glm4 else []), "<|endoftext|>", "<sop>", "<eop>", "<|image|>"])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<|endoftext|>", bos_token=names[codes], eos_token=names[codes + 1],
        padding_side="left", extra_special_tokens=dict(image_token="<|image|>", grid_bos_token="<sop>",
                                                       grid_eos_token="<eop>"))


def chat_template(codes):
    return ("{%- for m in messages -%}{%- for item in m.content -%}{%- if item.type == 'image' -%}"
            f"<|dit_token_{codes}|><|image|><|dit_token_{codes + 1}|>"
            "{%- elif item.type == 'text' -%}{{ item.text }}{%- endif -%}{%- endfor -%}{%- endfor -%}")


def language_config(s, words, vocab):
    depth, heads, side = s["vision"][1], s["vision"][2], s["vision"][4]
    return transformers.GlmImageConfig(
        text_config=dict(
            vocab_size=vocab, vision_vocab_size=s["codes"] + s["spare"], hidden_size=s["width"],
            intermediate_size=s["mlp"], num_hidden_layers=s["layers"], num_attention_heads=s["heads"],
            num_key_value_heads=s["kv"], max_position_embeddings=4096, pad_token_id=words.pad_token_id,
            eos_token_id=s["codes"] + 1,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5,
                                 mrope_section=s["mrope"])),
        vision_config=dict(depth=depth, hidden_size=s["vision"][0], num_heads=heads, image_size=16 * side,
                           patch_size=16, intermediate_size=s["vision"][3]),
        vq_config=dict(embed_dim=s["vision"][5], num_embeddings=s["codes"], latent_channels=s["vision"][0]),
        image_token_id=words.convert_tokens_to_ids("<|image|>"), image_start_token_id=s["codes"],
        image_end_token_id=s["codes"] + 1)


def build(kind=0, legal=True, sizes=None):
    """A whole published pipeline. legal: forbid what is no code, which the published code leaves to chance.
    sizes: others than SIZES[kind]."""
    s = sizes or SIZES[kind]
    torch.manual_seed(kind)
    words = tokenizer(s["codes"], s["spare"], s["glm4"])
    language = transformers.GlmImageForConditionalGeneration(language_config(s, words, len(words) + 5 * kind))
    settings = language.generation_config
    settings.do_sample, settings.temperature, settings.top_p = True, 0.9, 0.75
    if legal:
        settings.suppress_tokens = list(range(s["codes"], s["codes"] + s["spare"]))
    width, depth, heads, head, mlp, buckets, distance = s["glyph"]
    text = transformers.T5EncoderModel(transformers.T5Config(
        vocab_size=384, d_model=width, d_kv=head, d_ff=mlp, num_layers=depth, num_heads=heads,
        relative_attention_num_buckets=buckets, relative_attention_max_distance=distance,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False))
    layers, heads, head, time, size = s["decoder"]
    transformer = diffusers.GlmImageTransformer2DModel(
        patch_size=s.get("patch", 2), in_channels=s["channels"], out_channels=s["channels"], num_layers=layers,
        attention_head_dim=head, num_attention_heads=heads, text_embed_dim=width, time_embed_dim=time,
        condition_dim=size, prior_vq_quantizer_codebook_size=s["codes"])
    widths, blocks, groups = s["vae"]
    torch.manual_seed(kind)
    vae = diffusers.AutoencoderKL(
        latent_channels=s["channels"], block_out_channels=widths, layers_per_block=blocks, norm_num_groups=groups,
        down_block_types=("DownEncoderBlock2D",) * len(widths), up_block_types=("UpDecoderBlock2D",) * len(widths),
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
        latents_mean=torch.randn(s["channels"]).tolist(), latents_std=(0.5 + torch.rand(s["channels"])).tolist())
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, time_shift_type="linear", base_shift=0.25, max_shift=0.75)
    processor = transformers.GlmImageProcessor(
        transformers.GlmImageImageProcessorPil(
            patch_size=16, merge_size=1, temporal_patch_size=1,
            size=dict(shortest_edge=s["sides"][0] ** 2, longest_edge=s["sides"][1] ** 2)),
        words, chat_template=chat_template(s["codes"]))
    pipe = diffusers.GlmImagePipeline(
        tokenizer=transformers.ByT5Tokenizer(), processor=processor, text_encoder=perturb(text, 1 + kind),
        vision_language_encoder=perturb(language, 2 + kind, 0.3), vae=perturb(vae, 3 + kind),
        transformer=perturb(transformer, 4 + kind), scheduler=scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def bridge(pipe):
    """Let diffusers' editing work with transformers 5.23: it concatenates features, flat, where it now gets a
    list of (D, h, w), and gives them to the codebook with the grids, where that now wants such a list."""
    language = pipe.vision_language_encoder
    features, tokens = language.get_image_features, language.model.get_image_tokens

    def get_image_features(pixel_values, image_grid_thw=None, images_per_sample=None, **options):
        out = features(pixel_values, image_grid_thw, images_per_sample, **options)
        if not options.get("return_dict"):                                       # asked by diffusers
            out.pooler_output = [f.flatten(1).T for f in out.pooler_output]
        return out

    def get_image_tokens(hidden, grids=None):
        if grids is None:
            return tokens(hidden)
        parts = hidden.split(grids.prod(-1).tolist())
        return tokens([part.T.reshape(-1, *grid[1:].tolist()) for part, grid in zip(parts, grids)])

    language.get_image_features, language.get_image_tokens = get_image_features, get_image_tokens
    return pipe


def picture(height, width, seed=0):
    """A smooth random picture with some noise."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 4, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    noisy = (smooth + 0.1 * torch.randn(3, height, width, generator=g)).clamp(0, 1)
    return Image.fromarray((noisy * 255).byte().permute(1, 2, 0).numpy())


def with_quirks(ours: Pipeline) -> PublishedPipeline:
    """The same parts, behaving as the published code does."""
    parts = {name: getattr(ours, name) for name in ("vae", "tokenizer", "planner", "glyph", "decoder")}
    return PublishedPipeline(ours.config, ours.bpe, parts, ours.device)
