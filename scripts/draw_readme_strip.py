"""Paint the pictures of the README with the shipped weights: docs/posters.png and docs/steps.png.

    python scripts/draw_readme_strip.py

steps.png shows a prompt on its way to a poster. Ids have no colours of their own: each is drawn as the mean of
all patches of 6,000 drawn posters that have it.
"""

from pathlib import Path
from textwrap import fill

import numpy as np
import torch

from minglm import Pipeline
from minglm.device import set_threads
from minglm.measure.patches import mean_patches, mosaic
from minglm.plot import pictures, pyplot

PROMPTS = (
    'a red poster with a cat, it says "Hello, World!"',
    "粉色的生日卡片，画一个蛋糕，写着“生日快乐”",
    'Sign for my café: two cups of coffee and the text "Café open 9-5" at the top, brown please',
    "蓝色背景，一只猫头鹰，顶部用白色写“晚安，世界”",
    'A dog and a cat on green, "Walk with us" in white',
    "画一条龙，红底黄字，“新年快乐”，“万事如意”",
)
DOCS = Path(__file__).parents[1] / "docs"


def save(figure, name: str) -> None:
    DOCS.mkdir(exist_ok=True)
    temporary = DOCS / f"{name}.tmp"
    figure.savefig(temporary, format="png")
    temporary.replace(DOCS / f"{name}.png")


@torch.no_grad()
def main() -> None:
    set_threads()
    pipe = Pipeline.from_pretrained("mini")
    outs = [pipe(prompt) for prompt in PROMPTS]                                  # each in its own size
    save(pictures([out.images[0] for out in outs], columns=6), "posters")

    plt, (large, small) = pyplot(), mean_patches(pipe.tokenizer, 6000)
    figure, axes = plt.subplots(2, 4, figsize=(8.4, 3.5), width_ratios=(1.7, 1, 1, 1))
    for row, i in zip(axes, (0, 1)):
        row[0].text(0, 0.5, fill(PROMPTS[i], 30 if PROMPTS[i].isascii() else 15), va="center", fontsize=10)
        out = outs[i]
        shown = mosaic(out.preview[0], small), mosaic(out.plan[0], large), np.asarray(out.images[0])
        for axis, picture in zip(row[1:], shown):
            axis.imshow(picture)
        for axis in row:
            axis.axis("off")
    for axis, title in zip(axes[0], ("prompt", "preview", "plan", "poster")):
        axis.set_title(title, fontsize=10, loc="left" if title == "prompt" else "center")
    figure.tight_layout(pad=0.5)
    save(figure, "steps")


if __name__ == "__main__":
    main()
