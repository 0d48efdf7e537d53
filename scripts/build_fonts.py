"""Rebuild data/fonts from the packages the fonts come from.

    python scripts/build_fonts.py han  SOURCE.woff2   # npm @fontsource/noto-sans-sc 5.3.0, weight 700
    python scripts/build_fonts.py mono                # DejaVu Sans Mono Bold, inside matplotlib

Needs fontTools (and brotli to read woff2). A subset may not carry the name of its source
(OFL: "Noto" is a trademark; Bitstream Vera licence: no "Vera"), so both get names of their own.
"""

import sys
from pathlib import Path

import matplotlib
from fontTools import subset

FONTS = Path(__file__).parents[1] / "data" / "fonts"
ASCII = "".join(map(chr, range(32, 127)))


def build(source: Path, target: Path, family: str, characters: str) -> list[str]:
    """Write the subset of `source` that holds `characters`; return the ones it lacks."""
    options = subset.Options(layout_features=[], hinting=False, notdef_outline=True,
                             glyph_names=False, name_IDs=["*"], name_languages=[0x409])
    options.drop_tables += ["GPOS", "GSUB", "GDEF", "BASE", "vhea", "vmtx", "VORG", "DSIG", "FFTM"]
    font = subset.load_font(str(source), options, lazy=True)
    missing = [c for c in characters if ord(c) not in font.getBestCmap()]
    worker = subset.Subsetter(options)
    worker.populate(text=characters)
    worker.subset(font)
    names = font["name"]
    for number in (3, 16, 17, 18, 21, 22, 25):
        names.removeNames(nameID=number)
    plain = family.replace(" ", "")
    for number, value in ((1, family), (2, "Bold"), (3, f"{plain}-Bold subset"),
                          (4, f"{family} Bold"), (6, f"{plain}-Bold")):
        names.removeNames(nameID=number)
        names.setName(value, number, 3, 1, 0x409)
    subset.save_font(font, str(target), options)
    return missing


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["mono"] and len(arguments) == 1:
        source = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono-Bold.ttf"
        missing = build(source, FONTS / "MiniGLMMono-Bold.ttf", "MiniGLM Mono", ASCII)
    elif arguments[:1] == ["han"] and len(arguments) == 2:
        characters = (FONTS / "chars.txt").read_text(encoding="utf-8").replace("\n", "")
        missing = build(Path(arguments[1]), FONTS / "MiniGLMSansSC-Bold.ttf", "MiniGLM Sans SC",
                        characters)
    else:
        sys.exit(__doc__)
    print("missing characters:", "".join(missing) or "none")


if __name__ == "__main__":
    main(sys.argv[1:])
