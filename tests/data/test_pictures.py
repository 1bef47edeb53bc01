"""One picture as an array: every mode of Pillow, what is transparent, EXIF, and squares."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from gan_jax.data import pictures

RED = (200, 30, 90)
GREY = 88  # of RED: 0.299 200 + 0.587 30 + 0.114 90 = 87.67


def through(picture, form="PNG", **how):
    """Return a picture as it comes back from a file."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **how)
    return Image.open(io.BytesIO(buffer.getvalue()))


def paletted():
    """Return a picture of a palette whose index 7 is RED."""
    picture = Image.new("P", (4, 3), 7)
    picture.putpalette([0, 0, 0] * 7 + list(RED) + [9, 9, 9])
    return picture


def grey16(v, mode="<u2"):
    return Image.fromarray(np.full((3, 4), v, mode))


CASES = {  # one colour, as (the picture, RGB, grey)
    "P": (paletted, RED, GREY),
    "P in a GIF": (lambda: through(paletted(), "GIF"), RED, GREY),
    "P in a PNG": (lambda: through(paletted()), RED, GREY),
    "P, index 7 transparent": (lambda: through(paletted(), transparency=7), (255,) * 3, 255),
    "P, another transparent": (lambda: through(paletted(), transparency=6), RED, GREY),
    "P, half transparent": (lambda: through(paletted(), transparency=bytes([255] * 7 + [128, 255])), (227, 142, 172), 171),
    "PA": (lambda: paletted().convert("PA"), RED, GREY),
    "1": (lambda: through(Image.new("1", (4, 3), 1)), (255,) * 3, 255),
    "1, black": (lambda: through(Image.new("1", (4, 3), 0)), (0,) * 3, 0),
    "L": (lambda: through(Image.new("L", (4, 3), 77)), (77,) * 3, 77),
    "L, one grey transparent": (lambda: through(Image.new("L", (4, 3), 77), transparency=77), (255,) * 3, 255),
    "LA": (lambda: through(Image.new("LA", (4, 3), (77, 0))), (255,) * 3, 255),
    "LA, half": (lambda: through(Image.new("LA", (4, 3), (0, 51))), (204,) * 3, 204),
    "RGB": (lambda: through(Image.new("RGB", (4, 3), RED)), RED, GREY),
    "RGB, one colour transparent": (lambda: through(Image.new("RGB", (4, 3), RED), transparency=RED), (255,) * 3, 255),
    "RGBA": (lambda: through(Image.new("RGBA", (4, 3), (*RED, 255))), RED, GREY),
    "RGBA, nothing there": (lambda: through(Image.new("RGBA", (4, 3), (*RED, 0))), (255,) * 3, 255),
    "RGBA, a fifth": (lambda: through(Image.new("RGBA", (4, 3), (*RED, 51))), (244, 210, 222), 222),
    "CMYK in a TIFF": (lambda: through(Image.new("CMYK", (4, 3), (0, 51, 102, 0)), "TIFF"), (255, 204, 153), 213),
    "CMYK in a JPEG": (lambda: through(Image.new("CMYK", (4, 3), (0, 51, 102, 0)), "JPEG", quality=100), (255, 204, 153), 213),
    "YCbCr": (lambda: Image.new("RGB", (4, 3), RED).convert("YCbCr"), RED, GREY),
    "I;16": (lambda: through(grey16(257 * 77)), (77,) * 3, 77),
    "I;16, rounded up": (lambda: through(grey16(257 * 77 + 129)), (78,) * 3, 78),
    "I;16, rounded down": (lambda: through(grey16(257 * 77 - 128)), (77,) * 3, 77),
    "I;16, white": (lambda: through(grey16(65535)), (255,) * 3, 255),
    "I;16B in a TIFF": (lambda: through(grey16(257 * 77, ">u2"), "TIFF"), (77,) * 3, 77),
    "I;16, one grey transparent": (lambda: through(grey16(1000), transparency=1000), (255,) * 3, 255),
    "I": (lambda: Image.fromarray(np.full((3, 4), 257 * 77, np.int32)), (77,) * 3, 77),
    "F up to 1": (lambda: through(Image.fromarray(np.full((3, 4), 0.2, np.float32)), "TIFF"), (51,) * 3, 51),
    "F up to 255": (lambda: Image.fromarray(np.full((3, 4), 51.4, np.float32)), (51,) * 3, 51),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_mode_keeps_the_colours(name):
    """No index of a palette, no cut byte, no black where nothing is: the colour, with 1 and with 3 channels."""
    make, colour, grey = CASES[name]
    near = dict(rtol=0, atol=2 if name in ("YCbCr", "CMYK in a JPEG") else 0)  # these two round on their way here
    for channels, expected in ((3, colour), (1, (grey,))):
        a = pictures.rgb(make(), channels)
        assert a.dtype == np.uint8 and a.shape == (3, 4, channels) and a.flags.c_contiguous
        np.testing.assert_allclose(np.int32(a), np.broadcast_to(expected, a.shape), **near)


def test_16_bit_steps_are_not_lost():
    """Every value of 16 bits is v / 257 rounded, not its high byte."""
    v = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    a = pictures.rgb(through(Image.fromarray(v)), 1)[..., 0]
    np.testing.assert_array_equal(a, (v.astype(int) * 2 + 257) // 514)


def test_colours_of_16_bits():
    """Pillow reads them by their high byte: no more than one step of 255 beside."""
    rows = b"".join(b"\0" + b"".join(v.to_bytes(2, "big") for v in (51400, 7710, 23130)) * 4 for _ in range(3))
    a = pictures.rgb(Image.open(io.BytesIO(png(4, 3, 16, 2, rows))), 3)
    assert np.abs(np.int32(a) - RED).max() <= 1


def png(w, h, bits, colour, rows):
    """Return a PNG file, written by hand."""
    import struct
    import zlib

    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_four_channels_keep_what_is_transparent():
    """RGBA stays; what has no alpha is opaque; a transparent colour has alpha 0."""
    make = {name: case[0] for name, case in CASES.items()}
    assert pictures.rgb(make["RGBA, a fifth"](), 4)[1, 2].tolist() == [*RED, 51]
    assert pictures.rgb(make["P"](), 4)[1, 2].tolist() == [*RED, 255]
    assert pictures.rgb(make["P, index 7 transparent"](), 4)[1, 2, 3] == 0
    assert pictures.rgb(make["I;16"](), 4)[1, 2].tolist() == [77, 77, 77, 255]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, form):
    """A camera held any way: the picture stands as Pillow's own `exif_transpose` has it."""
    x, y = np.meshgrid(np.arange(24), np.arange(16))
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = orientation
    picture = through(Image.fromarray(np.stack([10 * x, 15 * y, 0 * x], -1).astype(np.uint8)), form, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(picture))
    assert upright.shape == ((24, 16, 3) if orientation > 4 else (16, 24, 3))
    np.testing.assert_array_equal(pictures.rgb(picture, 3), upright)


@pytest.mark.parametrize(
    "picture, channels, words",
    [
        (Image.fromarray(np.full((3, 4), 70_000, np.int32)), 1, "from 70000 to 70000"),
        (Image.fromarray(np.full((3, 4), -1, np.int32)), 1, "from -1 to -1"),
        (Image.fromarray(np.full((3, 4), np.nan, np.float32)), 1, "from nan to nan"),
        (Image.fromarray(np.full((3, 4), 300, np.float32)), 3, "from 300 to 300"),
        (Image.new("RGB", (4, 3)), 2, "1, 3 or 4 channels, not 2"),
    ],
)
def test_what_can_not_be_told_is_refused(picture, channels, words):
    """Values outside of every convention, and modes without RGB, are never wrapped around or cut."""
    with pytest.raises(ValueError, match=words):
        pictures.rgb(picture, channels)


def test_indices_of_a_palette_are_kept_for_maps_of_labels():
    """A map of classes is its numbers, whatever colours its palette has; a colour picture is no such map."""
    assert (pictures.indices(through(paletted())) == 7).all()
    assert pictures.indices(through(grey16(3000)))[0, 0] == 3000
    with pytest.raises(ValueError, match="mode RGB"):
        pictures.indices(Image.new("RGB", (4, 3)))


@pytest.mark.parametrize("h, w, size", [(12, 12, 4), (7, 9, 3), (9, 7, 5), (5, 5, 5), (3, 4, 8), (10, 10, 7)])
def test_square_is_the_area_average_of_the_middle(h, w, size):
    """Against a picture in which every pixel is `size` x `size` small ones, so that all areas are whole."""
    a = np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8)
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    fine = np.kron(a[top : top + side, left : left + side], np.ones((size, size, 1), int))  # [side * size, ...]
    mean = fine.reshape(size, side, size, side, 3).sum((1, 3))
    np.testing.assert_array_equal(pictures.square(a, size), (2 * mean + side**2) // (2 * side**2))


def test_a_square_map_mixes_no_labels():
    """Each label of the small map is one of the large one, the one in the middle of its area."""
    a = np.random.default_rng(0).integers(0, 12, (9, 15))
    np.testing.assert_array_equal(pictures.square_map(a, 3), a[1::3, 4:12:3])
