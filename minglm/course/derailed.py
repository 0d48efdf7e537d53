"""The pieces of notebook 10, each with one mistake, by its name in `off`; without one they are right.

Shapes: B pictures · C latent channels · h, w id grid (latents 4 h x 4 w) · S glyph tokens · D features.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from minglm.generate import paint
from minglm.generate.pipeline import Pipeline
from minglm.generate.plan import Generators, sample_ids
from minglm.images import to_images
from minglm.model import flow
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder, collate
from minglm.model.prompt import preview_grid, prompt_ids
from minglm.world.enhancer import enhance
from minglm.world.quotes import quoted

PLANS = {
    "sides": "rows come before columns, in every call",
    "offset": "text ids come after all ids of the head: the offset is vision_vocab",
    "square": "preview_grid gives the preview the shape of the large grid; it is not always a square",
    "order": "the preview is sampled first, so that the large grid can follow it",
    "return": "give back the preview first, then the large grid",
    "how": "temperature, top_p and top_k are not passed on",
    "generator": "each picture has its own generator: pass all of them on",
}


def plan(off: str, pipe, prompts: list[str], rows: int, columns: int, generators: Generators,
         temperature: float = 0.9, top_p: float = 0.75, top_k: int | None = None) -> tuple[Tensor, Tensor]:
    """As `Pipeline.plan` without pictures to edit."""
    config, large = pipe.planner.config, (columns, rows) if off == "sides" else (rows, columns)
    small = (2, 2) if off == "square" else preview_grid(*large, config.preview_tokens)
    offset = config.codebook if off == "offset" else config.vision_vocab
    texts = [prompt_ids(pipe.bpe, prompt, *large, small, offset, config.boi) for prompt in prompts]
    grids = [large, small] if off == "order" else [small, large]
    how = () if off == "how" else (temperature, top_p, top_k or 0)
    found = sample_ids(pipe.planner, texts, grids, generators[0] if off == "generator" else generators, *how)
    return tuple(found[::-1] if off in ("order", "return") else found)


GLYPHS = {
    "empty": "a picture without texts has the token of one empty text: the end, with id 1",
    "padding": "padding is left in: cut every string to its bytes and the end before you put them together",
    "seen": "mask the padding, or the bytes attend to it",
    "strings": "places count within a picture: which of its texts, and how many it has",
    "joined": "every text is a string of its own, with an end of its own",
    "reversed": "the texts of a picture keep their order",
    "mask": "the mask is False where a picture has fewer tokens than the longest",
}


def glyphs(off: str, encoder: GlyphEncoder, texts: list[list[str]]) -> tuple[Tensor, Tensor]:
    """As `paint.glyphs`."""
    if off == "joined":
        texts = [["".join(some)] for some in texts]
    elif off == "reversed":
        texts = [some[::-1] for some in texts]
    data = collate(texts)
    mask = torch.ones_like(data["mask"]) if off == "seen" else data["mask"]
    places = data["places"]
    if off == "strings":                     # as if all texts were of one picture
        places = collate([[text for some in texts for text in some or [""]]])["places"]
    features, lengths = encoder(data["ids"], mask, places), data["mask"].sum(1).tolist()
    if off == "padding":
        lengths = [features.shape[1]] * len(features)
    strings = iter(feature[:length] for feature, length in zip(features, lengths))
    rows = [torch.cat([next(strings) for _ in some or [""]]) for some in texts]
    if off == "empty":
        rows = [row if some else row[:0] for row, some in zip(rows, texts)]
    tokens = pad_sequence(rows, batch_first=True)
    kept = torch.arange(tokens.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    return tokens, torch.ones_like(kept) if off == "mask" else kept


VELOCITIES = {
    "words": "the unconditional branch still has the texts: it should have none",
    "ids": "the unconditional branch still has the plan: keep is False for its rows",
    "kept": "the plan is dropped from the wrong half: the first half, the conditional one, keeps it",
    "guide": "the two predictions are exchanged: flow.guide takes the conditional one first",
    "weight": "the difference alone is no velocity: add it to the unconditional one, as flow.guide does",
    "passes": "put both branches into one batch: the decoder is called twice for each step",
    "always": "guidance 1 is the conditional prediction: the second half of the batch is not needed",
    "again": "the glyph tokens do not change with the time: encode them once, outside of `at`",
}


def velocity(off: str, decoder: Decoder, encoder: GlyphEncoder, texts: list[list[str]], ids: Tensor,
             guidance: float) -> paint.Velocity:
    """As `paint.velocity` without pictures to edit."""
    count, alone = len(texts), guidance == 1 and off != "always"
    blank = texts if off == "words" else [[]] * count
    words = paint.glyphs(encoder, texts if alone else [*texts, *blank])
    keep = torch.arange(2 * count) < (2 * count if off == "ids" else count)
    keep = ~keep if off == "kept" else keep

    def at(latents: Tensor, time: float) -> Tensor:
        anew = off == "again"
        tokens, mask = paint.glyphs(encoder, texts if alone else [*texts, *blank]) if anew else words
        times = torch.full((1,), time)
        if alone:
            return decoder(latents, times, ids, tokens, mask)
        if off == "passes":
            one, two = (decoder(latents, times, ids, tokens[half], mask[half], keep[half])
                        for half in (slice(count), slice(count, None)))
        else:
            one, two = decoder(torch.cat([latents, latents]), times, torch.cat([ids, ids]), tokens, mask,
                               keep).chunk(2)
        if off == "weight":
            return guidance * (one - two)
        return flow.guide(two, one, guidance) if off == "guide" else flow.guide(one, two, guidance)

    return at


PIPELINES = {
    "prompt": "the planner reads the caption of the enhanced prompt, not the prompt",
    "choices": "what the enhancer chooses depends on the seed, too",
    "dice": "the planner's generator has the same seed as the noise",
    "noise": "the noise has the seed that was asked for",
    "quoted": "the glyph tokens are those of the lines, poster.strings, each broken as it will be drawn",
    "guidance": "guidance is not used",
    "ids": "the schedule is shifted by the number of image tokens, which is four times that of the ids",
    "straight": "the schedule is not shifted: flow.schedule wants the config's flow",
    "steps": "the number of steps is not the one asked for",
    "early": "decode the last latents, not those before",
}


@torch.no_grad()
def painted(off: str, pipe: Pipeline, prompt: str, height: int | None = None, width: int | None = None,
            steps: int = 20, guidance: float = 1.5, seed: int = 0) -> Image.Image:
    """One picture of a prompt, from the library's pieces."""
    told = enhance(prompt, seed + (off == "choices"), height, width)
    poster, cell = told.poster, pipe.config.cell
    rows, columns = poster.height // cell, poster.width // cell
    caption = prompt if off == "prompt" else told.caption
    _, ids = pipe.plan([caption], rows, columns, [paint.generator(seed + (off == "dice"))])
    texts = quoted(prompt) if off == "quoted" else poster.strings
    at = pipe.velocity([texts], ids, 1.0 if off == "guidance" else guidance)
    config = pipe.config.flow
    if off == "straight":
        config = replace(config, max_shift=0.0, base_shift=1.0)
    tokens = rows * columns * (1 if off == "ids" else 4)
    times, sigmas = flow.schedule(steps + (off == "steps"), tokens, config)
    scale, channels = pipe.config.vae.scale, pipe.config.vae.channels
    shape = channels, poster.height // scale, poster.width // scale
    latents = pipe.noise(seed + (off == "noise"), 1, shape)
    passed = [latents, *flow.sample(at, latents, times, sigmas)]
    return to_images(pipe.vae.decode(passed[-2 if off == "early" else -1]))[0]
