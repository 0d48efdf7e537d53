"""Rebuild data/objects.json and data/objects.webp from sources/objects.txt and Debian's Noto Color Emoji.

    apt-get download fonts-noto-color-emoji      # Debian 12: 2.042-0+deb12u1
    dpkg-deb -x fonts-noto-color-emoji_*.deb packages
    python scripts/build_objects.py packages

Byte for byte with Pillow 13.0.0 (libwebp 1.6.0). The pictures are Noto Emoji, (c) Google, Apache-2.0.
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SOURCE, DATA = Path(__file__).parent / "sources" / "objects.txt", Path(__file__).parents[1] / "data"
FONT = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
SIDE, COLUMNS, MARGIN = 96, 20, 2
COLOURS = dict(red="红色", orange="橙色", yellow="黄色", green="绿色", blue="蓝色", purple="紫色",
               pink="粉色", brown="棕色", black="黑色", white="白色", gray="灰色", gold="金色", silver="银色")
CATEGORIES = dict(animal="动物", fruit="水果", vegetable="蔬菜", food="食物", sweet="甜点", drink="饮料",
                  plant="植物", vehicle="交通工具", building="建筑", place="景点", sky="天空",
                  household="日用品", furniture="家具", electronics="电子产品", stationery="文具",
                  tool="工具", science="科学仪器", medical="医疗用品", instrument="乐器", sport="体育用品",
                  toy="玩具", clothes="服装", treasure="宝物", festive="节日用品", face="表情",
                  character="角色", symbol="符号")
PLURALS = {"mouse": "mice", "calf": "calves", "deer": "deer", "fish": "fish", "sheep": "sheep",
           "leaf": "leaves", "loaf": "loaves", "knife": "knives", "cactus": "cacti", "reindeer": "reindeer",
           "wolf": "wolves", "die": "dice", "dice": "dice", "aircraft": "aircraft",
           "spacecraft": "spacecraft", "shrimp": "shrimp", "fungus": "fungi", "goldfish": "goldfish",
           "sheaf": "sheaves", "tomato": "tomatoes", "potato": "potatoes", "mango": "mangoes",
           "volcano": "volcanoes", "clownfish": "clownfish", "angelfish": "angelfish",
           "jellyfish": "jellyfish", "crayfish": "crayfish", "crawfish": "crawfish", "half": "halves",
           "scarf": "scarves", "bow and arrow": "bows and arrows"}
# what some pictures say
TEXT = {"1f3ea": "24", "1f4c5": "July 17", "1f4af": "100", "1f9e7": "福", "1f004": "中", "1f4b5": "$"}


def article(name: str) -> str:
    """a or an, by the sound of the first word."""
    if name.startswith(("unicorn", "ewe", "UFO", "one ")):
        return "a"
    return "an" if name.startswith(("hour", "F1", "X", "SUV", "MP")) or name[0].lower() in "aeiou" else "a"


def plural(name: str) -> str:
    """Plural of a name: of its last word, or of what is before " of ", " in " and the like."""
    for link in (" of ", " in ", " on ", " with ", " behind "):
        head, found, tail = name.partition(link)
        if found:
            return plural(head) + link + tail
    front, space, last = name.rpartition(" ")
    if name in PLURALS or last in PLURALS:
        return PLURALS.get(name) or front + space + PLURALS[last]
    if last.endswith(("s", "x", "ch", "sh", "z")):
        return name + "es"
    if last.endswith("man"):
        return name[:-2] + "en"
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def form(name: str) -> tuple[str, list[str]]:
    """A name as the table has it -> the name, [article, plural]."""
    plain = name.rstrip("!^")
    if plain != name:
        return plain, [{"!": "none", "^": "the"}[name[-1]], plain]
    return name, [article(name), plural(name)]


def read() -> list[dict]:
    """The rows of the table as dictionaries."""
    rows = []
    for line in SOURCE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        code, en, zh, en_more, zh_more, measure, category, colours = line.split("|")
        forms = dict(map(form, [en, *en_more.split(";")]))
        en, *more = forms
        one, many = forms.pop(en)
        rows.append(dict(
            codepoint=code, emoji=chr(int(code, 16)), en=en, zh=zh, en_synonyms=more,
            zh_synonyms=zh_more.split(";"), article=one, plural=many, measure=measure,
            category_en=category, category_zh=CATEGORIES[category], colours_en=colours.split(),
            colours_zh=[COLOURS[c] for c in colours.split()], text=TEXT.get(code, ""), forms=forms))
    return rows


def check(rows: list[dict]) -> None:
    """Raise ValueError if two objects share a name, plural or picture, or one has the name of a category."""
    owner: dict[str, str] = {name: "a category" for pair in CATEGORIES.items() for name in pair}
    for row in rows:
        plurals = [row["plural"], *(many for _, many in row["forms"].values())]
        names = [row["en"], row["zh"], *row["en_synonyms"], *row["zh_synonyms"], *plurals]
        for name in {row["emoji"], *map(str.casefold, names)}:
            if name in owner:
                raise ValueError(f"{name!r} belongs to {owner[name]} and to {row['en']}")
            owner[name] = row["en"]


def picture(emoji: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """One emoji: cropped to what is visible, squared, scaled with colours premultiplied, with a margin."""
    large = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(large).text((20, 20), emoji, font=font, embedded_color=True)
    if (box := large.getchannel("A").getbbox()) is None:
        raise ValueError(f"the font has no picture for {emoji}")
    ink = large.crop(box)
    square = Image.new("RGBA", (max(ink.size),) * 2)
    square.paste(ink, ((square.width - ink.width) // 2, (square.height - ink.height) // 2))
    inner, cell = SIDE - 2 * MARGIN, Image.new("RGBA", (SIDE, SIDE))
    small = square.convert("RGBa").resize((inner, inner), Image.Resampling.LANCZOS).convert("RGBA")
    cell.paste(small, (MARGIN, MARGIN))
    return cell


def main(packages: Path) -> None:
    rows = read()
    check(rows)
    text = "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"
    (DATA / "objects.json").write_text(text, encoding="utf-8")
    font = ImageFont.truetype(packages / FONT, 109)                  # the one size this bitmap font has
    sheet = Image.new("RGBA", (COLUMNS * SIDE, -(-len(rows) // COLUMNS) * SIDE))
    for i, row in enumerate(rows):
        sheet.paste(picture(row["emoji"], font), (SIDE * (i % COLUMNS), SIDE * (i // COLUMNS)))
    sheet.save(DATA / "objects.webp", lossless=True, quality=100, method=6, exact=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
