"""Twenty posters of an object that minglm does not know, a lighthouse, with captions: something to fine-tune on.

    python scripts/new_object.py lighthouse
    minglm train planner decoder --data lighthouse --lora 8

The lighthouse is drawn here. Backgrounds, places, texts and captions are those of the poster world, but for
four backgrounds, which are left to ask for afterwards: docs/finetune.md.
"""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from minglm.images import save_image
from minglm.world.colours import text_colours
from minglm.world.draw import caption, has_room
from minglm.world.folder import CAPTIONS
from minglm.world.posters import PLACES, Group, Poster, Region
from minglm.world.texts import choose_text

NAME = {"en": ("church", "lighthouse"), "zh": ("教堂", "灯塔")}    # what captions call it, and shall
BACKGROUNDS = ("blue", "green", "yellow", "purple", "pink", "gray", "cyan", "orange")   # not red, brown, black, white
COUNT, FINE = 20, 8                          # pictures; pixels that are drawn for one that is kept


def lighthouse(side: int) -> Image.Image:
    """The object, RGBA, `side` pixels square: a striped tower on a rock, its lamp lit."""
    image = Image.new("RGBA", (100 * FINE, 100 * FINE))
    draw = ImageDraw.Draw(image)

    def shape(colour: str, *points: tuple[float, float]) -> None:
        draw.polygon([(x * FINE, y * FINE) for x, y in points], fill=colour, outline="#222222", width=FINE)

    def edge(y: float) -> float:             # half of the tower's width at a height
        return 10 + (y - 34) * 0.14

    draw.polygon([(x * FINE, 28 * FINE + d * FINE) for x, d in ((50, -4), (98, -18), (98, 14), (50, 2))], fill="#ffe97a")
    shape("#6b6258", (14, 98), (22, 86), (38, 82), (64, 82), (80, 87), (88, 98))
    for i, (top, bottom) in enumerate((34 + 10 * k, 44 + 10 * k) for k in range(5)):
        shape("#d92b2b" if i % 2 else "#fafafa", (50 - edge(top), top), (50 + edge(top), top),
              (50 + edge(bottom), bottom), (50 - edge(bottom), bottom))
    shape("#222222", (36, 31), (64, 31), (64, 35), (36, 35))
    shape("#ffd21f", (42, 19), (58, 19), (58, 31), (42, 31))
    shape("#b01818", (39, 19), (50, 6), (61, 19))
    return image.convert("RGBa").resize((side, side), Image.Resampling.LANCZOS).convert("RGBA")


def poster(index: int) -> tuple[Image.Image, str]:
    """Picture number `index` and its caption."""
    language, background = ("en", "zh")[index % 2], BACKGROUNDS[index % len(BACKGROUNDS)]
    rng, (old, new) = random.Random(f"lighthouse/{index}"), NAME[language]
    while True:
        place = tuple(PLACES)[index % len(PLACES)]
        slots = {"top": ["bottom"], "bottom": ["top"]}.get(place, ["top", "bottom"])
        texts = [Region(rng.choice(slots), choose_text(rng, language), rng.choice(text_colours(background)))
                 for _ in range(rng.choice((0, 1, 1)))]
        made = Poster(background, (Group("church"),), place, tuple(texts), size=rng.choice(("normal", "normal", "big")),
                      language=language)
        said = caption(rng, made) if has_room(made) else ""
        if said.count(old) == 1 and not any(old in text.text for text in texts):  # not by another of its names
            break
    image = replace(made, groups=()).image   # texts stand above or below, so they stay where they are
    for _, (x0, y0, x1, _) in made.boxes:
        object_ = lighthouse(x1 - x0 - 4)
        image.paste(object_, (x0 + 2, y0 + 2), object_)
    return image, said.replace(old, new)


def main(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    rows = []
    for index in range(COUNT):
        image, said = poster(index)
        save_image(image, folder / f"{index + 1:02d}.png")
        rows.append(json.dumps(dict(file=f"{index + 1:02d}.png", caption=said), ensure_ascii=False))
    (folder / CAPTIONS).write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/new_object.py FOLDER")
    main(Path(sys.argv[1]))
