"""The pieces that painting a poster needs, by the notebook in which a learner builds them."""

from __future__ import annotations

from collections.abc import Iterable

PIECES = {
    "02": ("model.bpe.BPE.piece", "model.prompt.prompt_ids"),
    "03": ("model.vae.ResBlock", "model.vae.VAE"),
    "04": ("model.tokenizer.VectorQuantiser",),
    "05": ("model.ops.attention", "model.layers.RMSNorm", "model.rotary.rotate", "model.planner.positions",
           "model.planner.Planner.rotary", "model.planner.PlannerBlock", "model.layers.KVCache"),
    "06": ("generate.plan.choose", "generate.plan.sample_ids"),
    "07": ("model.flow.shift", "model.flow.schedule", "model.flow.guide", "model.flow.sample"),
    "08": ("model.decoder.unpatchify", "model.decoder.Decoder.heard", "model.decoder.sinusoid",
           "model.ops.modulate", "model.decoder.Decoder.rotary", "model.decoder.DecoderBlock"),
    "09": ("model.glyph.owners", "model.glyph.ordered", "model.glyph.GlyphEncoder.buckets",
           "model.glyph.biased_attention", "model.glyph.GlyphBlock"),
    "10": ("generate.pipeline.Pipeline.noise", "generate.pipeline.Pipeline.plan", "generate.paint.glyphs",
           "generate.paint.velocity", "images.to_images"),
}


def report(kept: Iterable[str]) -> str:
    """One line per notebook: which pieces are the learner's, by their addresses, and where the library's
    stand in."""
    kept, lines = {*kept}, []
    for notebook, pieces in PIECES.items():
        mine = [piece for piece in pieces if f"minglm.{piece}" in kept]
        theirs = [piece for piece in pieces if piece not in mine]
        parts = ["yours: " + names(mine)] * bool(mine)
        parts += [f"the library's stand{'s' * (len(theirs) == 1)} in: " + names(theirs)] * bool(theirs)
        lines.append(f"{notebook}  {';  '.join(parts)}")
    return "\n".join(lines)


def names(pieces: list[str]) -> str:
    return ", ".join(piece.rpartition(".")[2] for piece in pieces)
