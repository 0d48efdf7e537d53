"""Paint docs/posters.png, the strip of the README, with the shipped weights.

    python scripts/draw_readme_strip.py
"""

from pathlib import Path

from minglm import Pipeline
from minglm.device import set_threads
from minglm.plot import pictures

PROMPTS = (
    'A purple poster with a cat on the left, the yellow word "GOOD" at the top and the white word "MORNING" at the bottom.',
    '一张蓝色海报，中间画着月亮，顶部是白色文字“晚安”，底部是黄色文字“平安”。',
    'A strawberry in the centre on a white background. The top says "SWEET" in red.',
    '绿色背景的海报，左边有熊猫，右边写着白色的“你好”，底部写着黄色的“中国”。',
    'A pink card with a rocket on the right and the black text "GO UP!" at the top.',
    '一张黑色海报，底部画着气球，顶部是青色文字“出门去”。',
)
TARGET = Path(__file__).parents[1] / "docs" / "posters.png"


def main() -> None:
    set_threads()
    out = Pipeline.from_pretrained("mini")(list(PROMPTS))
    TARGET.parent.mkdir(exist_ok=True)
    figure = pictures(out.images, columns=6)
    temporary = TARGET.with_suffix(".tmp")
    figure.savefig(temporary, format="png")
    temporary.replace(TARGET)


if __name__ == "__main__":
    main()
