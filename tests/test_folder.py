"""A person's own folder of pictures: what is taken, and every way in which it can be wrong, said in one line."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minglm.world import folder
from minglm.world.draw import draw
from minglm.world.folder import CAPTIONS, Picture, fitted, read
from minglm.world.layout import wrap
from minglm.world.posters import Poster
from minglm.world.quotes import unpaired

CAPTION = 'A red poster with a lighthouse and the white word "SEA" at the top.'


def picture(size=(128, 128), mode="RGB", **how) -> bytes:
    """The bytes of a picture, width by height, of no single colour."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, **dict(format="PNG") | how)
    return file.getvalue()


def row(file="1.png", caption=CAPTION, **more) -> str:
    return json.dumps(dict(file=file, caption=caption, **more), ensure_ascii=False)


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with three pictures, and no captions yet."""
    for name in ("1.png", "2.png", "3.png"):
        (tmp_path / name).write_bytes(picture())
    return tmp_path


def captions(place: Path, *rows: str | bytes) -> Path:
    data = [row.encode() if isinstance(row, str) else row for row in rows]
    (place / CAPTIONS).write_bytes(b"\n".join(data))
    return place


# ---------------------------------------------------------------- what is taken

def test_pictures_are_read_in_order_and_lazily(place, monkeypatch):
    rows = [row("2.png", "a lighthouse"), row("1.png")]
    found, notes = read(captions(place, *rows))
    assert [(p.path.name, p.caption) for p in found] == [("2.png", "a lighthouse"), ("1.png", CAPTION)]
    assert [p.texts for p in found] == [(), ("SEA",)] and found[1].strings == ["SEA"]
    assert [p.where for p in found] == [f"{place / CAPTIONS}, row {n}" for n in (1, 2)]
    assert notes == [f"not in {place / CAPTIONS}, so not used: 3.png"]
    assert "image" not in vars(found[0])                 # not kept from the check
    opened = []
    monkeypatch.setattr(folder, "open_image", lambda path: opened.append(path) or Image.new("RGB", (128, 128)))
    assert found[0].image is found[0].image and opened == [place / "2.png"]


def test_the_same_folder_gives_the_same_pictures(place):
    captions(place, row(), row("2.png"))
    one, two = read(place)[0], read(place)[0]
    assert one == two and hash(one[0]) == hash(two[0])
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two))


def test_harmless_things_are_accepted(place):
    """A byte order mark, blank lines, Windows' line ends, a line separator in a text, other files, subfolders."""
    (place / "more").mkdir()
    (place / "more" / "4.jpg").write_bytes(picture(format="JPEG"))
    (place / "notes.txt").write_text("mine")
    odd = row("./2.png", "a light\u2028house")
    captions(place, b"\xef\xbb\xbf" + row().encode() + b"\r", "", odd + "\r", "   ", row("more/4.jpg"), row(caption="灯塔"), "")
    found, notes = read(place)
    assert [p.path.relative_to(place).as_posix() for p in found] == ["1.png", "2.png", "more/4.jpg", "1.png"]
    assert [p.where.rpartition(" ")[2] for p in found] == ["1", "3", "5", "6"] and len(notes) == 1


def test_many_unused_pictures_are_one_note(place):
    for i in range(4, 9):
        (place / f"{i}.png").write_bytes(picture())
    assert read(captions(place, row()))[1] == [f"not in {place / CAPTIONS}, so not used: 2.png, 3.png, 4.png and 4 more"]


@pytest.mark.parametrize("size", [(128, 128), (96, 256), (256, 96), (160, 224)])
def test_a_size_that_can_be_painted_stays(place, size):
    (place / "1.png").write_bytes(picture(size[::-1]))
    [found], _ = read(captions(place, row()))
    assert (found.height, found.width) == size and np.array_equal(found.image, Image.open(place / "1.png"))


def test_every_size_comes_near_in_aspect_and_is_not_enlarged_for_nothing():
    for height, width in [(3000, 4000), (4000, 3000), (200, 300), (50, 60), (1080, 1920), (100, 250), (97, 131), (32, 32)]:
        h, w = fitted(height, width, 256)
        assert h % 32 == w % 32 == 0 and 96 <= min(h, w) and max(h, w) <= 256
        assert abs(math.log(h * width / (w * height))) < math.log(1.12), (height, width, h, w)
        assert (h - 32) * (w - 32) <= max(96, height) * max(96, width)
    assert fitted(3000, 4000, 256) == (192, 256) and fitted(90, 95, 256) == (96, 96)
    assert fitted(3000, 4000, 128) == (96, 128)          # of the tiny preset


def test_pictures_are_upright_and_opaque(place):
    """A telephone's picture lies on its side and says so; what is transparent becomes white."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (place / "1.png").write_bytes(picture((192, 96), exif=exif))
    clear = Image.new("RGBA", (128, 128))
    clear.save(place / "2.png")
    (one, two), _ = read(captions(place, row(), row("2.png")))
    assert (one.height, one.width) == (192, 96) and one.image.size == (96, 192)
    assert np.asarray(two.image).min() == 255


@pytest.mark.parametrize("how", [dict(mode="L"), dict(mode="P"), dict(mode="1"), dict(format="WEBP"), dict(format="BMP"),
                                 dict(format="GIF", mode="P"), dict(format="JPEG", mode="CMYK"), dict(format="TIFF")],
                         ids=str)
def test_kinds_of_pictures(place, how):
    (place / "1.png").write_bytes(picture(**how))
    [found], _ = read(captions(place, row()))
    assert found.image.mode == "RGB" and found.image.size == (128, 128)


def test_a_telephone_s_double_picture_is_taken(place):
    first, second = (Image.new("RGB", (128, 128), colour) for colour in ("red", "blue"))
    first.save(place / "1.png", format="MPO", save_all=True, append_images=[second])
    [found], _ = read(captions(place, row()))
    assert Image.open(place / "1.png").n_frames == 2 and found.image.getpixel((5, 5))[0] > 200


def test_quoted_texts_are_set_in_lines_like_a_poster_s(place):
    text = "GOOD MORNING SUNSHINE"
    [found], _ = read(captions(place, row(caption=f'A poster with “{text}”, 12" high, and it\'s red.')))
    assert found.texts == (text,) and found.strings == list(wrap(text, 128)) and len(found.strings) > 1


def test_a_picture_has_what_training_asks_of_a_poster(place):
    [found], _ = read(captions(place, row()))
    poster = draw(0, 0)
    for name in ("image", "caption", "height", "width", "strings", "lines", "boxes", "regions"):
        assert type(getattr(found, name)) is type(getattr(poster, name)) or name == "lines"
    assert not found.lines and not found.regions and found.boxes == [("", (0, 0, 128, 128))]
    bare = found.without_texts()
    assert isinstance(bare, Picture) and bare.strings == [] and bare.caption == found.caption
    assert isinstance(poster.without_texts(), Poster) and poster.without_texts().strings == []


# ---------------------------------------------------------------- what is refused

def written(name: str, data: bytes):
    return lambda place: (place / name).write_bytes(data) and None


def animation(place: Path) -> None:
    frames = [Image.new("RGB", (128, 128), colour) for colour in ("red", "blue")]
    frames[0].save(place / "1.png", format="GIF", save_all=True, append_images=frames[1:])


def pages(place: Path) -> None:
    frames = [Image.new("RGB", (128, 128), colour) for colour in ("red", "blue")]
    frames[0].save(place / "1.png", format="TIFF", save_all=True, append_images=frames[1:])


def torn(place: Path) -> None:
    """Two pages, of which the second does not say how wide it is: its tag 256 has another number."""
    pages(place)
    before, width, after = (place / "1.png").read_bytes().rpartition(bytes((0, 1, 4, 0)))    # tag, type: a long
    (place / "1.png").write_bytes(before + bytes((0, 255)) + width[2:] + after)


SMALL = picture((1, 1), format="BMP")
BOMB = SMALL[:18] + (30000).to_bytes(4, "little") * 2 + SMALL[26:]               # says it is of 900 megapixels
CUT = picture()[:3000]
# what is wrong -> a change to the folder or None, the rows, which row is named, what is said
WRONG = {
    "not JSON": (None, [row(), "file: 2.png"], 2, "not JSON, Expecting value at column 1"),
    "half a line": (None, [row()[:-5]], 1, "not JSON, Unterminated string"),
    "an array over all lines": (None, ["[", row(), "]"], 1, "not JSON"),
    "two objects in a line": (None, [row() + row("2.png")], 1, "not JSON, Extra data"),
    "single quotes": (None, [str(dict(file="1.png", caption="x"))], 1, "not JSON"),
    "too deep": (None, ["[" * 100_000], 1, "not JSON, too deep"),
    "an endless number": (None, ["1" * 5000], 1, "integer string"),
    "a list": (None, ["", '["1.png", "a lighthouse"]'], 2, "['1.png', 'a lighthouse']: 'file' and 'caption' are needed"),
    "a text": (None, ['"1.png"'], 1, "'1.png': 'file' and 'caption' are needed"),
    "a text of two lines": (None, [r'"a\nb"'], 1, r"'a\nb': 'file' and 'caption' are needed"),
    "null": (None, ["null"], 1, "None: 'file' and 'caption' are needed"),
    "an empty object": (None, ["{}"], 1, "{}: 'file' and 'caption' are needed"),
    "no file": (None, ['{"caption": "x"}'], 1, "the keys 'caption': 'file' and 'caption' are needed"),
    "no caption": (None, ['{"file": "1.png"}'], 1, "the keys 'file': 'file' and 'caption' are needed"),
    "a key misspelt": (None, ['{"file": "1.png", "cpation": "x"}'], 1, "the keys 'file', 'cpation'"),
    "a key too many": (None, [row(weight=2)], 1, "the keys 'file', 'caption', 'weight'"),
    "a key twice": (None, ['{"file": "1.png", "file": "2.png", "caption": "x"}'], 1, "a key stands twice"),
    "a number as file": (None, [row(1)], 1, "file 1: a text is needed"),
    "no text as caption": (None, [row(caption=None)], 1, "caption None: a text is needed"),
    "a list as caption": (None, [row(caption=["x"])], 1, "caption ['x']: a text is needed"),
    "an empty caption": (None, [row(), row("2.png", " \t")], 2, r"caption ' \t': a text is needed"),
    "an empty file name": (None, [row("")], 1, "file '': a text is needed"),
    "half a character": (None, ['{"file": "1.png", "caption": "\\ud83d"}'], 1, "is no character of a text"),
    "a control character": (None, [row("1.png\0")], 1, r"file '1.png\x00'"),
    "a file that is missing": (None, [row(), row("4.png")], 2, "there is no file '4.png' in "),
    "a name too long": (None, [row("x" * 5000)], 1, "there is no file"),
    "a folder as file": (lambda place: (place / "more").mkdir(), [row("more")], 1, "there is no file 'more'"),
    "outside": (None, [row("../1.png")], 1, "file '../1.png' must be a path from the folder on"),
    "outside and back": (None, [row("more/../../1.png")], 1, "must be a path from the folder on"),
    "an absolute path": (None, [row("/home/me/1.png")], 1, "file '/home/me/1.png' must be"),
    "a path of Windows": (None, [row("C:\\me\\1.png")], 1, "must be a path from the folder on"),
    "the same row twice": (None, [row(), row("2.png"), row("./1.png")], 3, "file and caption are those of row 1"),
    "no picture": (written("1.png", b"a text"), [row()], 1, "is not an image that can be read"),
    "an empty file": (written("1.png", b" "), [row()], 1, "is not an image that can be read"),
    "a picture cut short": (written("1.png", CUT), [row()], 1, "is not an image that can be read"),
    "too large to open": (written("1.png", BOMB), [row()], 1, "exceeds limit"),
    "an animation": (animation, [row()], 1, "is an animation, or has several pages: save one of its 2"),
    "a torn page": (torn, [row()], 1, "is not an image that can be read"),
    "several pages": (pages, [row()], 1, "has several pages"),
    "too small": (written("1.png", picture((128, 20))), [row()], 1, "is 20x128 pixels: at least 32 a side"),
    "too long": (written("1.png", picture((800, 200))), [row()], 1, "a picture of 200x800: a side can be 3.3 times"),
    "a character that cannot be written": (None, [row(caption='a lighthouse and "SEA 🌊"')], 1, "cannot write 🌊 in 'SEA 🌊'"),
    "a traditional character": (None, [row(caption="灯塔，顶部写着“龍”")], 1, "龍 (in simplified form 龙)"),
    "a text too long": (None, [row(caption=f'"{"long words " * 9}"')], 1, "has room for 4"),
    "too many texts": (None, [row(caption='"A" "B" "C" "D" "E"')], 1, "needs 5 lines"),
    "a mark without a partner": (None, [row(caption='a lighthouse and "SEA')], 1, 'quotation mark " has no partner'),
    "a corner without a partner": (None, [row(caption="灯塔，写着「海")], 1, "quotation mark 「 has no partner"),
    "the wrong one of two": (None, [row(caption="灯塔，写着海」")], 1, "quotation mark 」 has no partner"),
    "marks with nothing in them": (None, [row(caption='a lighthouse and ""')], 1, "or an empty text"),
    "marks with a blank in them": (None, [row(caption='a lighthouse and " "')], 1, "an empty quotation"),
}


@pytest.mark.parametrize("change, rows, number, words", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_one_line_with_file_and_row(place, change, rows, number, words):
    if change:
        change(place)
    captions(place, *rows)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with pytest.raises(ValueError) as caught:
        read(place)
    said = str(caught.value)
    assert said.startswith(f"{place / CAPTIONS}, row {number}: ") and words in said and "\n" not in said
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_first_row_that_is_right_does_not_hide_a_second_that_is_wrong():
    """The table above puts most mistakes into row 1; here is what the rows are counted by."""
    assert len(WRONG) >= 45 and {number for _, _, number, _ in WRONG.values()} == {1, 2, 3}


def test_a_folder_that_is_none(place):
    for path, words in [(place / "none", "no folder "), (place / "1.png", "1.png is a file: the folder")]:
        with pytest.raises(ValueError, match=words):
            read(path)


def test_captions_that_are_none(place):
    for change, words in [(lambda: None, "captions.jsonl is missing: it holds a line such as"),
                          (lambda: captions(place), "captions.jsonl is empty: a line such as"),
                          (lambda: captions(place, "", "\r", "  "), "captions.jsonl is empty"),
                          (lambda: captions(place, row(), row().encode("utf-16")), "captions.jsonl, row 2: not UTF-8"),
                          (lambda: captions(place, row(caption="灯塔").encode("gbk")), "captions.jsonl, row 1: not UTF-8")]:
        change()
        with pytest.raises(ValueError, match=words) as caught:
            read(place)
        assert "\n" not in str(caught.value)
    (place / CAPTIONS).unlink()
    (place / CAPTIONS).mkdir()
    with pytest.raises(ValueError, match="cannot read .*captions.jsonl"):
        read(place)


def test_sizes_follow_what_can_be_painted(place):
    """The tiny preset paints 128 pixels a side at most, so less of an aspect, too."""
    (place / "1.png").write_bytes(picture((256, 128)))
    captions(place, row())
    assert read(place)[0][0].width == 256
    with pytest.raises(ValueError, match="a picture of 128x256: a side can be 1.7 times"):
        read(place, 128)


@pytest.mark.parametrize("prompt, mark", [
    ('"A" and “B”', None), ("it's l'arbre of the '90s", None), ('a 12" pizza', None), ("《书》", None), ('"A', '"'),
    ('A"', '"'), ('"A" and “B', "“"), ("「」", "「"), ("say 'SEA", None), ('"it\'s"', None)])
def test_marks_without_partners(prompt, mark):
    assert unpaired(prompt) == mark
