"""A folder of pictures as a person might have it, and the stages that fine-tune on it, for several tests."""

import json
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from minglm.device import Device, pick
from minglm.model import weights
from minglm.training.recipe import RECIPES, Stage
from minglm.training.stage_finetune import finetune_stage
from minglm.world.folder import CAPTIONS, read

NAMES = ("finetune-planner", "finetune-decoder", "lora-planner", "lora-decoder")
RANK = 3
ROWS = ((128, 128, 'a blue zorb and the word "ZORB" at the bottom'), (128, 128, "a red zorb on the left"),
        (128, 128, "一个蓝色的佐布，底部写着“佐布”"), (96, 128, 'a zorb, "A" and "B"'), (96, 128, "two zorbs"))


def write(folder: Path) -> Path:
    """Five pictures of two sizes, with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (height, width, caption) in enumerate(ROWS):
        image = Image.new("RGB", (width, height), (40 * i, 90, 200))
        ImageDraw.Draw(image).ellipse((10 + 5 * i, 20, 70 + 5 * i, 80), fill=(250, 60 * (i % 4), 20), outline="black", width=4)
        image.save(folder / f"{i}.png")
        rows.append(json.dumps(dict(file=f"{i}.png", caption=caption), ensure_ascii=False))
    (folder / CAPTIONS).write_text("\n".join(rows), encoding="utf-8")
    return folder


def build(name: str, folder: Path, data: Path, device: Device | None = None, **recipe) -> Stage:
    """The stage of that name, with recipe entries of one's own."""
    kind, _, part = name.partition("-")
    pictures, _ = read(data, weights.load_config(folder).max_side)
    return finetune_stage(part, folder, device or pick("cpu"), replace(RECIPES["tiny"][name], **recipe), pictures,
                          RANK if kind == "lora" else None)
