"""The pieces of notebook 11, each with one mistake, by its name in `off`; without one they are right.

Shapes: B pictures · N tokens · D width · V ids · R tokens of a reference image · h, w id grid (latents
4 h x 4 w).
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from minglm.generate import paint
from minglm.generate.pipeline import Pipeline
from minglm.generate.plan import sample_ids
from minglm.images import to_images
from minglm.model import flow
from minglm.model.copying import Copying
from minglm.model.decoder import Decoder
from minglm.model.memory import Memory
from minglm.model.prompt import preview_grid, prompt_ids, with_sources

VOTES = {
    "all": "the vote goes to one logit of each token, that of its old id, not to all of them",
    "first": "-1 says that there is no old id: there, add nothing to any logit, not to that of id 0 either",
    "last": "-1 says that there is no old id: there, add nothing; as an index it would be the last id",
    "instead": "add the vote to what the head says: yours replaces the logit of the old id",
    "apart": "the vote of a token is for the old id of the same token: yours are one token apart",
    "sigmoid": "the vote is added as it is: a sigmoid would never let it say no",
}


def voted(off: str, copying: Copying, logits: Tensor, features: Tensor, old: Tensor) -> Tensor:
    """As `Copying.voted`."""
    vote, count = copying.vote(features), logits.shape[-1]
    if off == "apart":
        vote = vote.roll(1, 1)
    if off == "sigmoid":
        vote = vote.sigmoid()
    old = old.clamp_min(0) if off == "first" else old % count if off == "last" else old
    same = old[..., None] == torch.arange(count)
    if off == "instead":
        return torch.where(same, vote, logits)
    return logits + (vote if off == "all" else vote * same)


MEMORIES = {
    "time": "the latents of a reference are clean: its time is 0",
    "ids": "each token of the reference is told its id: use self.embed(latents, ids)",
    "first": "each block reads what the block before it gave back, not what the first one read",
    "tokens": "the modulation wants height and width in pixels: 16 for each token",
    "turned": "rows come before columns, in the rotary embedding and in the size",
    "queries": "keep keys and values; the queries of a reference are not needed again",
    "order": "each pair has the keys first, then the values",
    "all": "keep keys and values of every block, not only of the last",
}


def remember(off: str, decoder: Decoder, latents: Tensor, ids: Tensor) -> Memory:
    """As `Decoder.remember`."""
    rows, columns = latents.shape[2] // 2, latents.shape[3] // 2
    x = decoder.embed(latents, ids, torch.zeros(len(ids)) if off == "ids" else None)
    high, wide = (columns, rows) if off == "turned" else (rows, columns)
    pixels = 1 if off == "tokens" else 16
    time = torch.full((len(x),), 999.0 if off == "time" else 0.0)
    m, rotary = decoder.modulator(time, pixels * high, pixels * wide), decoder.rotary(high, wide, x.device)
    first, c, kept = x, x[:, :0], []
    for block in decoder.blocks:
        x, c, (q, k, v) = block(first if off == "first" else x, c, m, rotary, None)
        kept.append((v, k) if off == "order" else (q if off == "queries" else k, v))
    return kept[-1:] if off == "all" else kept


EDITS = {
    "blind": "the planner reads the ids of the pictures before the instruction: with_sources",
    "parts": "tell sample_ids by `parts` where in the prompt the pictures are, or their ids count as text",
    "preview": "there is no preview when a picture is edited: neither its size in the prompt nor its grid",
    "memory": "the decoder does not see the pictures: pass memory to the conditional branch",
    "both": "the unconditional branch gets no memory either",
    "words": "the unconditional branch gets no words",
    "drop": "the unconditional branch gets no ids: its keep is False",
    "exchanged": "guide takes the conditional velocity first",
    "unguided": "the guidance is not used",
    "silent": "what is to be written becomes glyph tokens: pipe.unwritten(instruction, read, width)",
    "generator": "plan and noise have a generator each, both seeded with seed",
    "last": "each picture needs a memory of its own: one list entry per picture",
    "drawing": "these are the weights that draw: planner and decoder edit inside `with pipe.editing.on():`",
    "plan": "the planner, too, edits only inside `with pipe.editing.on():`",
    "paint": "the decoder, too, remembers and paints an edit only inside `with pipe.editing.on():`",
}


def edited(off: str, pipe: Pipeline, instruction: str, images: list[Image.Image], steps: int = 20,
           guidance: float = 1.5, seed: int = 0) -> Image.Image:
    """As `edit_twins.one_edit`."""
    config, width = pipe.planner.config, images[0].width
    read = [pipe.read(image) for image in images]
    rows, columns = read[0].ids.shape
    small = preview_grid(rows, columns, config.preview_tokens) if off == "preview" else None
    text = prompt_ids(pipe.bpe, instruction, rows, columns, small, config.vision_vocab, config.boi)
    ids, parts = with_sources([] if off == "blind" else [one.ids for one in read], text, config)
    generator = paint.generator(seed)
    start = paint.noise((1, 16, 4 * rows, 4 * columns), generator if off == "generator" else
                        paint.generator(seed))
    grids = [small, (rows, columns)] if small else [(rows, columns)]
    with pipe.editing.on(off not in ("drawing", "plan")):
        *_, plan = sample_ids(pipe.planner, [ids], grids, [generator], 0.9, 0.75,
                              parts=None if off == "parts" else [parts])
    seen = read[-1:] if off == "last" else read
    words = paint.glyphs(pipe.glyph, [[] if off == "silent" else pipe.unwritten(instruction, read, width)])
    nothing = words if off == "words" else paint.glyphs(pipe.glyph, [[]])
    keep = torch.tensor([off == "drop"])

    def at(latents: Tensor, time: float) -> Tensor:
        times = torch.full((1,), time)
        told = pipe.decoder(latents, times, plan, *words, memory=memory)
        free = pipe.decoder(latents, times, plan, *nothing, keep, memory if off == "both" else None)
        if off == "unguided":
            return told
        return flow.guide(*((free, told) if off == "exchanged" else (told, free)), guidance)

    with pipe.editing.on(off not in ("drawing", "paint")):
        memory = None if off == "memory" else [pipe.decoder.remember(s.latents, s.ids[None]) for s in seen]
        *_, latents = flow.sample(at, start, *flow.schedule(steps, 4 * rows * columns, pipe.config.flow))
    return to_images(pipe.vae.decode(latents))[0]
