"""Evaluation: held-out prompts, painted and scored, with every part measured on its own.

Where a prompt was made from a poster, four columns side by side show which part is the weakest: the gold
picture, its reconstruction by the VAE, the decoder given the gold picture's ids, and the whole pipeline,
given only the prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from minglm.generate import best
from minglm.generate.paint import denoise
from minglm.generate.pipeline import Pipeline
from minglm.images import to_images
from minglm.measure.ocr import Judge
from minglm.measure.scores import check_picture, score_text
from minglm.model import flow
from minglm.world.prompts import Prompt

COLUMNS = ("gold", "vae", "decoder", "pipeline")
CHECKS = ("background", "object", "count", "place", "text_colour", "text_place", "mixed_up")
BATCH = 16                                   # pictures painted together


def paint(pipe: Pipeline, column: str, prompts: list[Prompt], seed: int, **how) -> list[Image.Image]:
    """The pictures of one column, for prompts of one size."""
    size = prompts[0].height, prompts[0].width
    texts = [prompt.prompt for prompt in prompts]
    if column == "pipeline":
        return pipe(texts, *size, seed=seed, progress=False, **how).images
    gold = [prompt.poster.image for prompt in prompts]
    if column == "gold":
        return gold
    if column == "vae":
        return pipe.reconstruct(gold)
    return from_ids(pipe, pipe.encode_ids(gold), [prompt.poster.strings for prompt in prompts], seed, **how)


@torch.no_grad()
def from_ids(pipe: Pipeline, ids: list[Tensor], lines: list[list[str]], seed: int, steps: int = 20,
             guidance: float = 1.5, **_) -> list[Image.Image]:
    """Pictures from true ids (h, w) and the lines to write, without a prompt or the planner."""
    plan, (rows, columns) = torch.stack(ids).to(pipe.device.device), ids[0].shape
    scale = pipe.config.cell // pipe.config.vae.scale
    shape = (pipe.config.vae.channels, scale * rows, scale * columns)
    noise = pipe.noise(seed, len(ids), shape).to(pipe.device.device)
    path = flow.schedule(steps, 4 * rows * columns, pipe.config.flow)
    begun = best.begin(pipe.decoder, pipe.glyph, lines, plan, seed, *path)       # as the pipeline does
    latents = denoise(pipe.velocity(lines, plan, guidance), noise, *path, begun=begun)
    return to_images(pipe.vae.decode(latents))


def evaluate(pipe: Pipeline, prompts: list[Prompt], seed: int = 0, columns: tuple[str, ...] = COLUMNS,
             **how) -> Iterator[tuple[int, Prompt, dict, dict]]:
    """Yields (number, prompt, pictures, scores) for each prompt, grouped by size; two dicts by column.

    `how` is passed to the pipeline: steps, guidance, temperature, top_p, enhance. Prompts that were not made
    from a poster have the last column only. A prompt that is refused scores nothing, and its picture is None.
    """
    judge = Judge(torch.get_num_threads())
    sizes = defaultdict(list)
    for number, prompt in enumerate(prompts):
        # without a size each is painted by itself, as people do
        sizes[(prompt.height, prompt.width) if prompt.height else number].append((number, prompt))
    for same in sizes.values():
        for start in range(0, len(same), BATCH):
            some = same[start:start + BATCH]
            mine = columns if some[0][1].poster else ("pipeline",)
            painted = {}
            for column in mine:
                painted[column] = tried(pipe, column, [p for _, p in some], seed + some[0][0], **how)
            for i, (number, prompt) in enumerate(some):
                pictures = {column: painted[column][i] for column in mine}
                yield number, prompt, pictures, {
                    column: score(judge, picture, prompt) for column, picture in pictures.items()}


def tried(pipe: Pipeline, column: str, prompts: list[Prompt], seed: int, **how) -> list[Image.Image | None]:
    """As `paint`, None for each prompt that is refused."""
    try:
        return paint(pipe, column, prompts, seed, **how)
    except ValueError:
        if len(prompts) == 1:
            return [None]
        # one of them is refused: by itself each is as in the batch
        return [picture for i, prompt in enumerate(prompts)
                for picture in tried(pipe, column, [prompt], seed + i, **how)]


def score(judge: Judge, picture: Image.Image | None, prompt: Prompt) -> dict:
    """All scores of one picture; None: the prompt was refused, and everything asked for is missing."""
    texts = [region.text for region in prompt.regions]
    if picture is None:
        nothing = check_picture(Image.new("RGB", (128, 128), (1, 254, 1)), [], prompt)
        checks = {name: [False] * len(values) for name, values in nothing.items()}
        return score_text(texts, []) | checks | dict(refused=True, full=False)
    if prompt.cell.endswith("-word"):        # one character: read its slot, where no detection can miss it
        found = judge.read_slots(picture, prompt.poster)
    else:
        found = judge.read(picture)
    scores = score_text(texts, found) | check_picture(picture, found, prompt)
    return scores | dict(refused=False, full=all(scores["right"]) and all(scores["background"]))


def summarise(scores: list[dict]) -> dict:
    """Scores of many pictures, pooled: word accuracy and NED over words, recall over characters (Chinese) or
    words, the fraction of pictures with extra text, and the fractions of passed checks. `full`: every text
    read back and the background right; `refused`: prompts that could not be painted."""
    def mean(values: list) -> float:
        return round(sum(values) / len(values), 4) if values else float("nan")

    right = [r for s in scores for r in s["right"]]
    out = dict(pictures=len(scores), words=len(right), word_accuracy=mean(right),
               case_accuracy=mean([c for s in scores for c in s["cased"]]),
               ned=mean([n for s in scores for n in s["ned"]]),
               recall=round(sum(s["kept"] for s in scores) / max(1, sum(s["asked"] for s in scores)), 4),
               full=mean([s["full"] for s in scores]), refused=mean([s["refused"] for s in scores]),
               extra_text=mean([s["extra"] for s in scores]))
    return out | {name: mean([c for s in scores for c in s[name]]) for name in CHECKS}


def report(results: list[tuple[Prompt, dict]]) -> dict:
    """(prompt, scores by column) of every prompt -> {column: {group: summary}}; groups: languages, cells."""
    groups = defaultdict(list)
    for prompt, scores in results:
        for group in (prompt.cell[:2], prompt.cell):
            groups[group].append(scores)
    return {column: {group: summarise([s[column] for s in groups[group]]) for group in sorted(groups)}
            for column in results[0][1]}


def format_report(scores: dict) -> str:
    """The report as text: one block per language, one row per metric, columns side by side."""
    columns, lines = list(scores), []
    names = ("word_accuracy", "case_accuracy", "ned", "recall", "full", "refused", "extra_text", *CHECKS)
    for language in [group for group in scores[columns[0]] if len(group) == 2]:
        count = scores[columns[0]][language]
        title = f"{language}: {count['pictures']} pictures, {count['words']} words"
        lines += [f"{title:<44}" + "".join(f"{column:>10}" for column in columns)]
        for name in names:
            label = name.replace("_", " ")
            lines.append(f"  {label:<42}" + "".join(f"{scores[c][language][name]:>10.3f}" for c in columns))
        for cell in [group for group in scores[columns[0]] if group.startswith(f"{language}-")]:
            label = f"word accuracy, {cell[3:].replace('-', ' words, ') if cell[-1].isdigit() else cell[3:]}"
            row = "".join(f"{scores[c][cell]['word_accuracy']:>10.3f}" for c in columns)
            lines.append(f"  {label:<42}{row}")
    return "\n".join(lines)


def strip(pictures: list[dict], height: int = 128) -> Image.Image:
    """One image of all pictures: a row per prompt, a column per column of the report."""
    rows = [[picture.resize((round(picture.width * height / picture.height), height))
             for picture in one.values() if picture] for one in pictures]
    width = max(1, *(sum(picture.width + 4 for picture in row) for row in rows))     # 1: all were refused
    sheet = Image.new("RGB", (width, len(rows) * (height + 4)), "white")
    for r, row in enumerate(rows):
        x = 0
        for picture in row:
            sheet.paste(picture, (x, r * (height + 4)))
            x += picture.width + 4
    return sheet
