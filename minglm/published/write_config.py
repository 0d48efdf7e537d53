"""The JSON files of the published layout, written such that the published classes load them.

The inverse of read_config.py, with the same tables."""

from __future__ import annotations

from pathlib import Path

from minglm.config import Config, PlannerConfig
from minglm.files import whole_file, write_json
from minglm.model.bpe import BPE, CODE
from minglm.published import read_config as names


def give(part, names: dict[str, str], fixed: dict) -> dict:
    """The inverse of `take`."""
    return {theirs: getattr(part, ours) for ours, theirs in names.items()} | fixed


def with_codes(bpe: BPE, planner: PlannerConfig) -> BPE:
    """Our BPE, whose text ids start at 0, in the order of the published one: codes first, then text.

    The placeholder of a source image takes the last of the unused ids between codes and text. Raises
    ValueError if none is unused.
    """
    if bpe.has_codes:
        return bpe
    first = planner.vision_vocab
    if first - planner.eoi < 2:
        raise ValueError("no unused id is left after the codes for the mark of a source image")
    codes = {CODE.format(i): i for i in range(first - 1)} | {"<|image|>": first - 1}
    marks = {token: codes[token]
             for token in (CODE.format(planner.boi), CODE.format(planner.eoi), "<|image|>")}
    return BPE(codes | {token: first + i for token, i in bpe.vocab.items()}, bpe.merges,
               marks | {token: first + i for token, i in bpe.specials.items()}, bpe.split, bpe.whole)


def template(planner: PlannerConfig) -> str:
    """The chat template: each source image as boi, placeholder, eoi; then the text."""
    image = f"{CODE.format(planner.boi)}<|image|>{CODE.format(planner.eoi)}"
    return ("{%- for m in messages -%}{%- if m.content is string -%}{{ m.content }}{%- else -%}"
            "{%- for item in m.content -%}{%- if item.type == 'image' -%}" + image +
            "{%- elif item.type == 'text' -%}{{ item.text }}{%- endif -%}{%- endfor -%}{%- endif -%}"
            "{%- endfor -%}")


def write(folder: Path, config: Config, bpe: BPE) -> None:
    """Write every file of a snapshot but the weights."""
    planner, vision, vae = config.planner, config.tokenizer, config.vae
    bpe = with_codes(bpe, planner)
    marks = bpe.specials
    boi, eoi = CODE.format(planner.boi), CODE.format(planner.eoi)
    pad = next((token for token in ("<|endoftext|>", "<pad>") if token in marks), eoi)
    write_json(folder / "model_index.json", {
        "_class_name": "GlmImagePipeline", "_diffusers_version": "0.42.0",
        **{name: list(kind) for name, kind in names.CLASSES.items()}})
    encoder = folder / "vision_language_encoder"
    text = give(planner, names.PLANNER, names.TEXT_FIXED) | dict(
        model_type="glm_image_text", head_dim=planner.head_dim, max_position_embeddings=131072,
        pad_token_id=marks.get(pad, planner.eoi), eos_token_id=planner.eoi,
        rope_parameters=give(planner, names.ROPE, names.ROPE_FIXED))
    side = vision.table * vision.patch
    write_json(encoder / "config.json", dict(
        architectures=["GlmImageForConditionalGeneration"], model_type="glm_image", tie_word_embeddings=False,
        image_token_id=marks["<|image|>"], image_start_token_id=planner.boi, image_end_token_id=planner.eoi,
        text_config=text,
        vision_config=give(vision, names.VISION, names.VISION_FIXED) | dict(
            model_type="glm_image_vision", image_size=side),
        vq_config=give(vision, names.CODES, {}) | dict(model_type="glm_image_vqmodel",
                                                       latent_channels=vision.width)))
    # the published code samples any id of the head; suppressing the illegal ones makes its grids legal too
    illegal = list(range(planner.codebook, planner.vision_vocab))
    write_json(encoder / "generation_config.json", dict(
        do_sample=True, temperature=0.9, top_p=0.75, eos_token_id=planner.eoi,
        pad_token_id=text["pad_token_id"], suppress_tokens=illegal))
    write_json(
        folder / "text_encoder" / "config.json", give(config.glyph, names.GLYPH, names.GLYPH_FIXED) | dict(
            architectures=["T5EncoderModel"], model_type="t5", is_encoder_decoder=False, use_cache=False,
            tie_word_embeddings=True, pad_token_id=0, eos_token_id=1))
    write_json(folder / "transformer" / "config.json", {
        "_class_name": "GlmImageTransformer2DModel", "out_channels": vae.channels,
        **give(config.decoder, names.DECODER, {})})
    levels = len(vae.widths)
    write_json(folder / "vae" / "config.json", {
        "_class_name": "AutoencoderKL", **give(vae, names.VAE, names.VAE_FIXED), "scaling_factor": 1.0,
        "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels})
    write_json(folder / "scheduler" / "scheduler_config.json", {
        "_class_name": names.CLASSES["scheduler"][1], "max_image_seq_len": 4096,
        **give(config.flow, names.FLOW, names.FLOW_FIXED)})
    write_json(folder / "tokenizer" / "tokenizer_config.json", dict(
        tokenizer_class="ByT5Tokenizer", extra_ids=125, pad_token="<pad>", eos_token="</s>",
        unk_token="<unk>"))
    processor = folder / "processor"
    sides = dict(zip(("shortest_edge", "longest_edge"), (side ** 2 for side in vision.sides)))
    write_json(processor / "processor_config.json", dict(
        processor_class="GlmImageProcessor",
        image_processor=give(vision, names.READER, names.READER_FIXED) | dict(
            image_processor_type="GlmImageImageProcessor", patch_size=vision.patch, do_convert_rgb=True,
            size=sides)))
    write_json(processor / "tokenizer_config.json", dict(
        tokenizer_class="TokenizersBackend", backend="tokenizers", processor_class="GlmImageProcessor",
        padding_side="left", bos_token=boi, eos_token=eoi, pad_token=pad, image_token="<|image|>",
        grid_bos_token="<sop>", grid_eos_token="<eop>"))
    with whole_file(processor / "chat_template.jinja") as temporary:
        temporary.write_text(template(planner), encoding="utf-8")
    bpe.save(processor / "tokenizer.json")
