"""Evaluation: held-out prompts, painted and scored, with every part measured on its own.

Four columns side by side show which part is the weakest: the gold picture, its reconstruction by the VAE, the
decoder given the gold picture's ids, and the whole pipeline, given only the prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from PIL import Image

from minglm.generate.pipeline import Pipeline
from minglm.measure.ocr import Judge
from minglm.measure.scores import check_picture, score_text
from minglm.world.posters import Poster

COLUMNS = ("gold", "vae", "decoder", "pipeline")
CHECKS = ("background", "object", "place", "text_colour")
BATCH = 16                                   # pictures painted together


def paint(pipe: Pipeline, column: str, posters: list[Poster], seed: int, **how) -> list[Image.Image]:
    """The pictures of one column, for posters of one size."""
    gold = [poster.image for poster in posters]
    if column == "gold":
        return gold
    if column == "vae":
        return pipe.reconstruct(gold)
    ids = pipe.encode_ids(gold) if column == "decoder" else None
    return pipe([poster.caption for poster in posters], posters[0].height, posters[0].width, prior_ids=ids,
                seed=seed, progress=False, **how).images


def evaluate(pipe: Pipeline, prompts: list[tuple[str, Poster]], seed: int = 0,
             columns: tuple[str, ...] = COLUMNS, **how) -> Iterator[tuple[int, str, Poster, dict, dict]]:
    """Yields (number, cell, poster, pictures, scores) for each prompt, grouped by size; two dicts by column.

    `how` is passed to the pipeline: steps, guidance, temperature, top_p.
    """
    judge = Judge(torch.get_num_threads())
    sizes = defaultdict(list)
    for number, (cell, poster) in enumerate(prompts):
        sizes[poster.height, poster.width].append((number, cell, poster))
    for same in sizes.values():
        for start in range(0, len(same), BATCH):
            some = same[start:start + BATCH]
            painted = {c: paint(pipe, c, [p for _, _, p in some], seed + some[0][0], **how) for c in columns}
            for i, (number, cell, poster) in enumerate(some):
                pictures = {column: painted[column][i] for column in columns}
                texts = [region.text for region in poster.regions]
                yield number, cell, poster, pictures, {
                    column: score_text(texts, judge.read(picture)) | check_picture(picture, poster)
                    for column, picture in pictures.items()}


def summarise(scores: list[dict]) -> dict:
    """Scores of many pictures, pooled: word accuracy and NED over words, recall over characters (Chinese) or
    words, the fraction of pictures with extra text, and the fractions of passed checks."""
    def mean(values: list) -> float:
        return round(sum(values) / len(values), 4) if values else float("nan")

    right = [r for s in scores for r in s["right"]]
    out = dict(pictures=len(scores), words=len(right), word_accuracy=mean(right),
               ned=mean([n for s in scores for n in s["ned"]]),
               recall=round(sum(s["kept"] for s in scores) / max(1, sum(s["asked"] for s in scores)), 4),
               extra_text=mean([s["extra"] for s in scores]))
    out |= {name: mean([s[name] for s in scores]) for name in CHECKS[:3]}
    return out | dict(text_colour=mean([c for s in scores for c in s["text_colour"]]))


def report(results: list[tuple[str, dict]]) -> dict:
    """(cell, scores by column) of every prompt -> {column: {group: summary}}; groups: languages and cells."""
    groups = defaultdict(list)
    for cell, scores in results:
        for group in (cell[:2], cell):
            groups[group].append(scores)
    return {column: {group: summarise([s[column] for s in groups[group]]) for group in sorted(groups)}
            for column in results[0][1]}


def format_report(scores: dict) -> str:
    """The report as text: one block per language, one row per metric, columns side by side."""
    columns, lines = list(scores), []
    names = ("word_accuracy", "ned", "recall", "extra_text", *CHECKS)
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
             for picture in one.values()] for one in pictures]
    width = max(sum(picture.width + 4 for picture in row) for row in rows)
    sheet = Image.new("RGB", (width, len(rows) * (height + 4)), "white")
    for r, row in enumerate(rows):
        x = 0
        for picture in row:
            sheet.paste(picture, (x, r * (height + 4)))
            x += picture.width + 4
    return sheet
