"""Evaluation of editing: the columns are those of prompts, from gold to pipeline; edit_scores.py judges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from PIL import Image

from minglm.generate.pipeline import Pipeline
from minglm.generate.sources import remembered
from minglm.images import to_images
from minglm.measure.edit_scores import format_edits, score_edit, summarise_edits
from minglm.measure.ocr import Judge
from minglm.model import flow
from minglm.world.carried import carried
from minglm.world.scenes import Edit

COLUMNS = ("gold", "vae", "decoder", "pipeline")
BATCH = 16                                   # pictures painted together


def paint(pipe: Pipeline, column: str, edits: list[Edit], seed: int, **how) -> list[Image.Image]:
    """The pictures of one column, for edits of one size."""
    target = [edit.target.image for edit in edits]
    if column == "gold":
        return target
    if column == "vae":
        return pipe.reconstruct(target)
    images = [[scene.image for scene in edit.sources] for edit in edits]
    if column == "decoder":
        with pipe.editing.on():
            return from_ids(pipe, target, edits, images, seed, **how)
    size = edits[0].height, edits[0].width
    return pipe([edit.instruction for edit in edits], *size, image=images, seed=seed, progress=False,
                **how).images


@torch.no_grad()
def from_ids(pipe: Pipeline, target: list[Image.Image], edits: list[Edit], images: list[list[Image.Image]],
             seed: int, steps: int = 20, guidance: float = 1.5, **_) -> list[Image.Image]:
    """Pictures from the ids that a perfect planner would have given."""
    plan = torch.stack(pipe.encode_ids(target)).to(pipe.device.device)
    read = [[pipe.read(image) for image in some] for some in images]
    token = pipe.decoder.config.scale * pipe.decoder.config.patch
    scale = pipe.config.cell // pipe.config.vae.scale
    memory = [remembered(pipe.decoder, some, carried(edit, token)) for some, edit in zip(read, edits)]
    rows, columns = plan.shape[1:]
    noise = pipe.noise(seed, len(edits), (pipe.config.vae.channels, scale * rows, scale * columns))
    velocity = pipe.velocity([edit.strings for edit in edits], plan, guidance, memory)
    *_, latents = flow.sample(velocity, noise.to(plan.device),
                              *flow.schedule(steps, 4 * rows * columns, pipe.config.flow))
    return to_images(pipe.vae.decode(latents))


def evaluate(pipe: Pipeline, edits: list[Edit], seed: int = 0, columns: tuple[str, ...] = COLUMNS, **how,
             ) -> Iterator[tuple[int, Edit, dict, dict]]:
    """Yields (number, edit, pictures, scores) for each edit, grouped by size; two dicts by column. `pictures`
    begins with the first source, which has no scores."""
    judge, sizes = Judge(torch.get_num_threads()), defaultdict(list)
    for number, edit in enumerate(edits):
        sizes[edit.height, edit.width].append((number, edit))
    for same in sizes.values():
        for start in range(0, len(same), BATCH):
            some = same[start:start + BATCH]
            painted = {column: paint(pipe, column, [edit for _, edit in some], seed + some[0][0], **how)
                       for column in columns}
            for i, (number, edit) in enumerate(some):
                pictures = {column: painted[column][i] for column in columns}
                yield number, edit, dict(source=edit.sources[0].image) | pictures, {
                    column: score_edit(judge, picture, edit) for column, picture in pictures.items()}


def report(results: list[tuple[Edit, dict]]) -> dict:
    """(edit, scores by column) of every edit -> {column: {group: means}}."""
    return {column: summarise_edits([(edit, scores[column]) for edit, scores in results])
            for column in results[0][1]}


def format_report(scores: dict) -> str:
    """The report as text, column by column."""
    return "\n\n".join(f"{column}\n{format_edits(summary)}" for column, summary in scores.items())
