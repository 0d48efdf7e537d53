"""Picture files of any kind: upright, eight bits, opaque, or refused in one sentence."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minglm.images import image_kind, open_image, rgb, save_image, to_images, to_tensor

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize("tag, blue", [(1, (8, 32)), (3, (40, 32)), (6, (32, 40)), (8, (32, 8)), (2, (8, 32)), (5, (32, 8))])
def test_a_picture_stands_upright(tmp_path, tag, blue):
    """Stored: blue above red. Where blue is seen, (row, column), follows from how the camera was held."""
    picture = Image.new("RGB", (64, 48), "red")
    picture.paste("blue", (0, 0, 64, 24))
    exif = Image.Exif()
    exif[0x0112] = tag
    picture.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    for got in (open_image(tmp_path / "phone.jpg"), open_image(Image.open(tmp_path / "phone.jpg"))):
        assert got.size == ((64, 48) if tag < 5 else (48, 64))
        assert got.getpixel((min(blue[1], got.width - 4), min(blue[0], got.height - 4)))[2] > 200
        assert rgb(got).size == got.size                         # turned once, not again


@pytest.mark.parametrize("name, values", [
    ("16bit.png", (RAMP * 65535).astype(np.uint16)), ("16bit.tif", (RAMP * 65535).astype(np.uint16)),
    ("int32.tif", (RAMP * 65535).astype(np.int32)), ("float.tif", RAMP.astype(np.float32))])
def test_deep_greys_are_scaled(tmp_path, name, values):
    Image.fromarray(values).save(tmp_path / name)
    got = np.asarray(open_image(tmp_path / name), float)
    assert np.abs(got - 255 * RAMP[..., None]).max() <= 1
    assert abs(float(to_tensor([Image.fromarray(values)]).mean())) < 0.01


@pytest.mark.parametrize("values", [np.full((4, 4), 3e5, np.float32), np.full((4, 4), -1, np.int32),
                                    np.full((4, 4), np.nan, np.float32), np.full((4, 4), 70000, np.int32)])
def test_greys_of_an_unknown_range_are_refused(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "map.tif")
    with pytest.raises(ValueError, match="map.tif.*grey values from"):
        open_image(tmp_path / "map.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_parts_are_white(tmp_path, mode):
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 4, 8))
    if mode == "P":                          # a palette with one transparent colour, as GIF has
        picture = picture.convert("RGB").quantize(4)
        picture.info["transparency"] = picture.getpixel((7, 7))
    else:
        picture = picture.convert(mode)
    left, right = (open_image(picture).getpixel((x, 4)) for x in (1, 6))
    assert right == (255, 255, 255) and left != right


def huge(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


# a texture of a pixel format that there is not, of which Pillow says NotImplementedError
TEXTURE = b"DDS " + struct.pack("<7I", 124, 4103, 8, 8, 8, 0, 0) + bytes(44) + struct.pack("<8I", 32, *[0] * 7) + bytes(20)


@pytest.mark.parametrize("data", [huge(20000), huge(64), b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(20), b"II*\0" + bytes(9),
                                  TEXTURE], ids=["bomb", "empty", "nothing", "header", "gif", "tiff", "texture"])
def test_what_is_no_picture_is_refused(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match="a.png' is not an image that can be read"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.h5", "a.palm", "a.xbm"])      # unknown, without a plugin, without colours
def test_a_kind_that_cannot_be_written_is_refused_before_the_work(tmp_path, name):
    with pytest.raises(ValueError, match="ends in .png or .jpg"):
        image_kind(tmp_path / name)
    assert [image_kind(tmp_path / f"a.{ending}") for ending in ("png", "JPG", "webp")] == ["PNG", "JPEG", "WEBP"]
    assert not list(tmp_path.iterdir())


def test_pictures_of_two_sizes_are_told():
    with pytest.raises(ValueError, match="one size are needed, these are 3x4, 4x4"):
        to_tensor([Image.new("RGB", (4, 4)), Image.new("RGB", (4, 3))])
    with pytest.raises(ValueError, match="these are none"):
        to_tensor([])


def test_there_and_back(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8))
    assert np.array_equal(to_images(to_tensor([noise]))[0], noise)
    save_image(noise, tmp_path / "a.png")
    assert np.array_equal(open_image(tmp_path / "a.png"), noise) and [p.name for p in tmp_path.iterdir()] == ["a.png"]
