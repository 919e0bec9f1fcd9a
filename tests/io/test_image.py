"""Real files of every format and depth: what is read is what was stored, and what is written reads back the same."""

import io
import logging
import struct
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import PIL
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from blinddps.core.errors import InputError
from blinddps.io import (
    Picture,
    from_float,
    from_tensor,
    output_suffix,
    read_image,
    to_float,
    to_tensor,
    write_image,
)
from blinddps.io.picture import apply_orientation

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]
CHANNELS = {"grey": 1, "grey+alpha": 2, "rgb": 3, "rgba": 4}


def pixels(dtype, channels, height=13, width=17, seed=0):
    """Random values of the whole range, with both ends present; alpha as random as the colours."""
    rng = np.random.default_rng(seed)
    shape = (height, width, channels)
    if np.dtype(dtype).kind == "f":
        x = rng.random(shape).astype(dtype)
        x.flat[:2] = 0, 1
    else:
        x = rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
        x.flat[:2] = 0, np.iinfo(dtype).max
    return x


def assert_holds(picture: Picture, x: np.ndarray):
    """The picture is the array ``x`` (H, W, C), alpha last, value for value."""
    colours = 1 if x.shape[2] < 3 else 3
    assert picture.data.dtype == np.float32
    assert picture.data.flags.c_contiguous
    assert picture.data.shape == (*x.shape[:2], colours)
    np.testing.assert_array_equal(from_float(picture.data, x.dtype), x[..., :colours])
    if x.shape[2] in (2, 4):
        assert picture.alpha.dtype == x.dtype
        np.testing.assert_array_equal(picture.alpha, x[..., -1])
    else:
        assert picture.alpha is None


def png_chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_file(width, height, depth, colour_type, rows, extra=b""):
    """PNG from raw filtered rows, for the depths and chunks no writer at hand makes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    idat = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + idat + png_chunk(b"IEND", b"")


# -------------------------------------------------------------------------------- conversion of values


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("intermediate", [np.float32, np.float64])
def test_every_integer_survives_the_way_through_floats(dtype, intermediate):
    x = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1, 1)
    unit = to_float(x)
    assert unit.min() == 0
    assert unit.max() == 1
    np.testing.assert_array_equal(from_float(unit.astype(intermediate), dtype), x)
    picture = Picture(unit, None, np.dtype(dtype), None, "PNG", None, x.shape)
    np.testing.assert_array_equal(from_float(from_tensor(to_tensor(picture)), dtype), x)


def test_quantisation_rounds_and_clips():
    x = np.array([-1.0, 0.0, 0.49 / 255, 0.51 / 255, 1.0, 7.0])
    np.testing.assert_array_equal(from_float(x, np.uint8), [0, 0, 0, 1, 255, 255])
    np.testing.assert_array_equal(from_float(x, np.float32)[[0, -1]], [0, 1])
    assert from_float(np.array([0.5], np.float16), np.uint16) == 32768


def test_tensors():
    picture = Picture(pixels(np.float32, 3), None, np.dtype(np.float32), None, "NPY", None, ())
    x = to_tensor(picture)
    assert x.shape == (1, 3, 13, 17)
    assert x.dtype == torch.float32
    assert x.is_contiguous()
    torch.testing.assert_close(x[0, 2, 4, 5].item(), float(picture.data[4, 5, 2]) * 2 - 1)
    np.testing.assert_allclose(from_tensor(x.requires_grad_()), picture.data, atol=1e-7)
    assert from_tensor(x[0].double()).dtype == np.float64
    assert from_tensor(x.bfloat16()).dtype == np.float32
    assert from_tensor(torch.full((1, 1, 1), 3.0)).item() == 1
    with pytest.raises(InputError, match=r"one image.*\(2, 3, 4, 4\)"):
        from_tensor(torch.zeros(2, 3, 4, 4))
    with pytest.raises(InputError, match="one image"):
        from_tensor(torch.zeros(4, 4))


# -------------------------------------------------------------------------------- exact reading


@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_reads_png(tmp_path, dtype, channels):
    x = pixels(dtype, channels)
    (tmp_path / "x.png").write_bytes(imagecodecs.png_encode(x))
    picture = read_image(tmp_path / "x.png")
    assert_holds(picture, x)
    assert (picture.format, picture.dtype, picture.path) == ("PNG", np.dtype(dtype), tmp_path / "x.png")
    assert picture.notes == ()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_reads_low_bit_png(tmp_path, depth):
    values = np.random.default_rng(depth).integers(0, 2**depth, (5, 16), dtype=np.uint8)
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = b"".join(b"\0" + np.packbits(row.ravel()).tobytes() for row in bits)
    (tmp_path / "grey.png").write_bytes(png_file(16, 5, depth, 0, rows))
    assert_holds(read_image(tmp_path / "grey.png"), (values * (255 // (2**depth - 1)))[..., None])

    table = np.random.default_rng(9).integers(0, 256, (2**depth, 3), dtype=np.uint8)
    palette = png_chunk(b"PLTE", table.tobytes())
    (tmp_path / "palette.png").write_bytes(png_file(16, 5, depth, 3, rows, palette))
    assert_holds(read_image(tmp_path / "palette.png"), table[values])

    opacity = np.array([10, 200] + [255] * (2**depth - 2), np.uint8)
    palette += png_chunk(b"tRNS", opacity[:2].tobytes())
    (tmp_path / "transparent.png").write_bytes(png_file(16, 5, depth, 3, rows, palette))
    assert_holds(read_image(tmp_path / "transparent.png"), np.dstack([table[values], opacity[values]]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_interlaced_png_is_read_in_silence(tmp_path, dtype, capfd, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])  # those of pytest; without any, warnings go to the terminal
    x = pixels(dtype, 3)
    rows = b""
    for top, left, down, across in (  # PNG, 8.2: Adam7
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        for row in x[top::down, left::across]:
            rows += b"\0" + row.astype(x.dtype.newbyteorder(">")).tobytes()
    blob = bytearray(png_file(17, 13, 8 * x.itemsize, 2, rows))
    blob[28] = 1  # of IHDR: interlaced
    blob[29:33] = struct.pack(">I", zlib.crc32(blob[12:29]))
    (tmp_path / "x.png").write_bytes(blob)
    assert_holds(read_image(tmp_path / "x.png"), x)
    assert capfd.readouterr() == ("", "")


def test_png_transparent_colour_becomes_alpha(tmp_path):
    x = pixels(np.uint16, 1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in x[..., 0])
    (tmp_path / "x.png").write_bytes(png_file(17, 13, 16, 0, rows, png_chunk(b"tRNS", x[3, 3].astype(">u2").tobytes())))
    assert_holds(read_image(tmp_path / "x.png"), np.dstack([x, np.where(x == x[3, 3], 0, 65535).astype(np.uint16)]))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_reads_pillow_png_modes_as_pillow_does(tmp_path, mode):
    image = Image.fromarray(pixels(np.uint8, 4 if "A" in mode else 3)).convert(mode)
    image.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as stored:
        wide = {"1": "L", "P": "RGB"}.get(mode, mode)
        expected = np.atleast_3d(np.asarray(stored.convert(wide)))
    assert_holds(read_image(tmp_path / "x.png"), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_reads_jpeg_as_pillow_does(tmp_path, channels):
    x = np.zeros((24, 40, 3), np.uint8) + np.arange(40, dtype=np.uint8)[:, None] * 6
    image = Image.fromarray(x if channels == 3 else x[..., 0])
    image.save(tmp_path / "x.jpg", icc_profile=SRGB)
    with Image.open(tmp_path / "x.jpg") as stored:
        expected = np.atleast_3d(np.asarray(stored))
    picture = read_image(tmp_path / "x.jpg")
    assert_holds(picture, expected)
    assert picture.icc_profile == SRGB
    assert picture.format == "JPEG"


@pytest.mark.parametrize("channels", [3, 4])
def test_reads_lossless_webp(tmp_path, channels):
    x = pixels(np.uint8, channels)
    Image.fromarray(x).save(tmp_path / "x.webp", lossless=True, exact=True, icc_profile=SRGB)
    picture = read_image(tmp_path / "x.webp")
    assert_holds(picture, x)
    assert picture.icc_profile == SRGB


def test_reads_lossy_webp_gif_and_bmp(tmp_path):
    x = pixels(np.uint8, 3)
    for suffix in ("webp", "gif", "bmp"):
        Image.fromarray(x).save(tmp_path / f"x.{suffix}")
        with Image.open(tmp_path / f"x.{suffix}") as stored:
            expected = np.asarray(stored.convert("RGB"))
        assert_holds(read_image(tmp_path / f"x.{suffix}"), expected)
    Image.fromarray(x[..., 0]).save(tmp_path / "grey.bmp")
    assert_holds(read_image(tmp_path / "grey.bmp"), x[..., :1])


def test_gif_transparency_becomes_alpha(tmp_path):
    x = pixels(np.uint8, 4)
    x[..., 3] = np.where(x[..., 3] > 127, 255, 0)
    Image.fromarray(x).save(tmp_path / "x.gif")
    np.testing.assert_array_equal(read_image(tmp_path / "x.gif").alpha, x[..., 3])


TIFF_OPTIONS = {
    "plain": {},
    "lzw": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib", "predictor": True},
    "tiled": {"compression": "zlib", "tile": (16, 16)},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
}


@pytest.mark.parametrize("options", TIFF_OPTIONS.values(), ids=TIFF_OPTIONS)
@pytest.mark.parametrize("planar", [False, True], ids=["contiguous", "planar"])
@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_reads_tiff(tmp_path, dtype, channels, planar, options):
    x = pixels(dtype, channels)
    stored = x[..., 0] if channels == 1 else np.ascontiguousarray(x.transpose(2, 0, 1)) if planar else x
    tifffile.imwrite(
        tmp_path / "x.tif",
        stored,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=None if channels == 1 else "separate" if planar else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        iccprofile=SRGB,
        metadata=None,
        **options,
    )
    picture = read_image(tmp_path / "x.tif")
    assert_holds(picture, x)
    assert picture.icc_profile == SRGB
    assert picture.alpha_kind == "straight"


def test_reads_the_same_tiff_as_pillow_wrote(tmp_path):
    x = pixels(np.uint8, 3)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        Image.fromarray(x).save(tmp_path / "x.tif", compression=compression, icc_profile=SRGB)
        picture = read_image(tmp_path / "x.tif")
        assert_holds(picture, x)
        assert picture.icc_profile == SRGB
    bits = Image.fromarray(x).convert("1")
    bits.save(tmp_path / "bits.tif", compression="group4")
    assert_holds(read_image(tmp_path / "bits.tif"), np.asarray(bits.convert("L"))[..., None])


def test_tiff_min_is_white_is_inverted(tmp_path):
    for dtype in (np.uint8, np.uint16, np.float32):
        x = pixels(dtype, 1)
        tifffile.imwrite(tmp_path / "x.tif", x[..., 0], photometric="miniswhite")
        top = 1 if dtype == np.float32 else np.iinfo(dtype).max
        assert_holds(read_image(tmp_path / "x.tif"), (top - x).astype(dtype))


def test_tiff_palette(tmp_path):
    indices = pixels(np.uint8, 1)[..., 0]
    table = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint16)
    for factor in (257, 256):  # both ways of widening 8-bit colours to the 16 bits of a colour map are in use
        tifffile.imwrite(
            tmp_path / "x.tif", indices, photometric="palette", colormap=(table * factor).astype(np.uint16)
        )
        assert_holds(read_image(tmp_path / "x.tif"), table.T[indices].astype(np.uint8))


def test_tiff_palette_of_8_bit_values(tmp_path):
    """As some programs write it; libtiff takes a map without a value above 255 so, too."""
    indices = pixels(np.uint8, 1)[..., 0]
    table = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", indices, photometric="palette", colormap=table)
    assert_holds(read_image(tmp_path / "x.tif"), table.T[indices].astype(np.uint8))


def test_tiff_of_12_bit_is_stretched_to_16(tmp_path):
    x = pixels(np.uint16, 1) >> 4
    tifffile.imwrite(tmp_path / "x.tif", x[..., 0], photometric="minisblack", bitspersample=12)
    picture = read_image(tmp_path / "x.tif")
    assert picture.dtype == np.uint16
    np.testing.assert_allclose(picture.data, x / 4095, atol=1 / 65535)
    assert picture.data.max() == 1


def test_tiff_jpeg_in_ycbcr_is_rgb(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8) + np.array([200, 30, 40], np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", red, photometric="rgb", compression="jpeg")
    Image.fromarray(red).save(tmp_path / "y.tif", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert tiff.pages[0].photometric.name == "YCBCR"
    for name in ("x.tif", "y.tif"):
        np.testing.assert_allclose(read_image(tmp_path / name).data, red / 255, atol=0.02)


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f2", "f4", "f8", ">f8"])
def test_reads_npy(tmp_path, dtype):
    native = np.dtype(dtype).newbyteorder("=")
    for channels in (1, 2, 3, 4):
        x = pixels(native, channels)
        np.save(tmp_path / "x.npy", np.asfortranarray(x.astype(dtype)))
        picture = read_image(tmp_path / "x.npy")
        assert picture.dtype == native
        np.testing.assert_array_equal(picture.data, to_float(x[..., : 1 if channels < 3 else 3]))
        if channels in (2, 4):
            np.testing.assert_array_equal(picture.alpha, x[..., -1])
    np.save(tmp_path / "x.npy", pixels(native, 1)[..., 0])
    assert read_image(tmp_path / "x.npy").data.shape == (13, 17, 1)


def test_format_is_told_by_content_and_streams_are_read(tmp_path):
    x = pixels(np.uint16, 3)
    blob = imagecodecs.png_encode(x)
    (tmp_path / "wrong.jpg").write_bytes(blob)
    assert_holds(read_image(str(tmp_path / "wrong.jpg")), x)
    stream = io.BytesIO(blob)
    picture = read_image(stream)
    assert_holds(picture, x)
    assert picture.path is None
    assert not stream.closed
    tifffile.imwrite(tiff := io.BytesIO(), x, photometric="rgb")
    tiff.seek(0)
    assert_holds(read_image(tiff), x)
    assert not tiff.closed


# -------------------------------------------------------------------------------- orientation, profiles, CMYK, pages


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_pillow(tmp_path, orientation):
    x = pixels(np.uint8, 4)
    image = Image.fromarray(x)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(apply_orientation(x, orientation), upright)

    image.save(tmp_path / "x.png", exif=image.getexif())
    image.save(tmp_path / "x.webp", exif=image.getexif(), lossless=True, exact=True)
    tifffile.imwrite(tmp_path / "x.tif", x, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    for suffix in ("png", "webp", "tif"):
        picture = read_image(tmp_path / f"x.{suffix}")
        assert_holds(picture, upright)
        write_image(tmp_path / "out.png", picture.data, like=picture)
        with Image.open(tmp_path / "out.png") as written:
            assert written.getexif().get(0x0112) is None
            np.testing.assert_array_equal(np.asarray(written), upright)

    image.convert("RGB").save(tmp_path / "x.jpg", exif=image.getexif())
    with Image.open(tmp_path / "x.jpg") as stored:
        upright_jpeg = np.asarray(ImageOps.exif_transpose(stored))
    assert_holds(read_image(tmp_path / "x.jpg"), upright_jpeg)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's
def test_damaged_metadata_do_not_stop_the_pixels(tmp_path, capfd):
    x = pixels(np.uint16, 3)
    blob = imagecodecs.png_encode(x)
    extra = (
        png_chunk(b"iCCP", b"name\0\0" + b"not zlib") + png_chunk(b"eXIf", b"junk") + png_chunk(b"gAMA", b"\0\0\0\0")
    )
    (tmp_path / "x.png").write_bytes(blob[:33] + extra + blob[33:])
    picture = read_image(tmp_path / "x.png")
    assert_holds(picture, x)
    assert picture.icc_profile is None
    assert capfd.readouterr() == ("", "")  # libpng would complain on standard output

    image = Image.fromarray(to_8bit(x))
    image.save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(tmp_path / "x.jpg").data.shape == x.shape


def to_8bit(x):
    return (x >> 8).astype(np.uint8)


LINEAR, USUAL = struct.pack(">I", 100000), struct.pack(">I", 45455)
PRIMARIES = {
    "sRGB": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    "P3": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
}


@pytest.mark.parametrize(
    ("chunks", "notes"),
    [
        ({b"gAMA": LINEAR}, ["gamma 1, which is neither applied nor kept"]),
        ({b"gAMA": USUAL}, []),
        ({b"gAMA": bytes(4)}, []),
        ({b"gAMA": USUAL, b"cHRM": PRIMARIES["sRGB"]}, []),
        ({b"gAMA": USUAL, b"cHRM": PRIMARIES["P3"]}, ["primaries other than sRGB's"]),
        ({b"gAMA": LINEAR, b"cHRM": PRIMARIES["P3"]}, ["gamma 1", "primaries other than sRGB's"]),
        ({b"gAMA": LINEAR, b"sRGB": b"\0"}, []),
        ({b"gAMA": LINEAR, b"iCCP": b"name\0\0" + zlib.compress(SRGB)}, []),
        ({b"cICP": bytes((1, 13, 0, 1))}, []),
        ({b"cICP": bytes((9, 16, 0, 1)), b"iCCP": b"name\0\0" + zlib.compress(SRGB)}, ["coded as cICP 9-16-0-1"]),
    ],
    ids=lambda x: "+".join(k.decode() for k in x) if isinstance(x, dict) else None,
)
def test_png_colours_that_are_not_srgb_are_said(tmp_path, chunks, notes):
    """PNG, third edition, 4.3: cICP before iCCP, this before sRGB, this before gAMA and cHRM."""
    x = pixels(np.uint16, 3)
    blob = imagecodecs.png_encode(x)
    extra = b"".join(png_chunk(kind, payload) for kind, payload in chunks.items())
    (tmp_path / "x.png").write_bytes(blob[:33] + extra + blob[33:])
    picture = read_image(tmp_path / "x.png", warn=False)
    assert_holds(picture, x)
    assert len(picture.notes) == len(notes)
    for said, expected in zip(picture.notes, notes, strict=True):
        assert expected in said


def test_profile_bomb_is_bounded(tmp_path):
    payload = b"name\0\0" + zlib.compress(bytes(1 << 27), 9)
    blob = imagecodecs.png_encode(pixels(np.uint8, 3))
    (tmp_path / "x.png").write_bytes(blob[:33] + png_chunk(b"iCCP", payload) + blob[33:])
    assert len(read_image(tmp_path / "x.png").icc_profile) == 1 << 26


def test_cmyk_jpeg_is_converted_and_said(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    cmyk.save(tmp_path / "x.jpg", quality=100)
    with pytest.warns(UserWarning, match="CMYK colours were converted to RGB without a profile"):
        picture = read_image(tmp_path / "x.jpg")
    np.testing.assert_allclose(picture.data, np.broadcast_to([1, 0, 0], (16, 16, 3)), atol=0.02)
    assert "CMYK" in picture.notes[0]

    # An embedded profile that is not one for CMYK is of no use, and neither is kept.
    cmyk.save(tmp_path / "x.jpg", icc_profile=SRGB)
    picture = read_image(tmp_path / "x.jpg", warn=False)
    assert picture.icc_profile is None
    assert "without a profile" in picture.notes[0]

    tifffile.imwrite(tmp_path / "x.tif", np.asarray(cmyk), photometric="separated")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif", warn=False).data[0, 0], [1, 0, 0])


def cmyk_profile():
    """A minimal ICC v2 printer profile: one lut8 table from CMYK to Lab, mid grey for pure cyan, else by blackness."""
    corners = np.full((2, 2, 2, 2, 3), 128, np.uint8)
    corners[..., 0] = 0
    corners[0, 0, 0, 0, 0] = 255
    corners[1, 0, 0, 0, 0] = 128
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(np.eye(3, dtype=int).ravel() << 16))
    lut += ramp * 4 + corners.tobytes() + ramp * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 128 + 16, len(lut))
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    size = 128 + len(tags) + len(lut)
    header = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp") + d50
    return header.ljust(128, b"\0") + tags + lut


def test_cmyk_is_converted_with_its_profile(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    cmyk.save(tmp_path / "x.jpg", quality=100, icc_profile=cmyk_profile())
    tifffile.imwrite(tmp_path / "x.tif", np.asarray(cmyk), photometric="separated", iccprofile=cmyk_profile())
    for name in ("x.jpg", "x.tif"):
        with pytest.warns(UserWarning, match="CMYK colours were converted to sRGB with the embedded profile"):
            picture = read_image(tmp_path / name)
        # L* = 128 / 255 * 100 is the neutral sRGB value 119.5; the conversion without a profile gives (0, 1, 1).
        np.testing.assert_allclose(picture.data, 119.5 / 255, atol=2 / 255)
        assert picture.icc_profile is None


def test_only_the_first_page_or_frame_is_read_and_said(tmp_path):
    frames = [Image.fromarray(pixels(np.uint8, 3, seed=i)) for i in range(3)]
    for suffix in ("gif", "png", "webp"):
        frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], duration=50, lossless=True)
        with pytest.warns(UserWarning, match="holds 3 frames; only the first is used"):
            picture = read_image(tmp_path / f"x.{suffix}")
        if suffix != "gif":
            assert_holds(picture, np.asarray(frames[0]))
    stack = pixels(np.uint16, 4).transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack")
    with pytest.warns(UserWarning, match="holds 4 pages; only the first is used"):
        assert_holds(read_image(tmp_path / "x.tif"), stack[0][..., None])


@pytest.mark.parametrize("limit", [100, 1000])  # Pillow warns above its limit and raises above twice that
def test_pillows_own_pixel_limit_does_not_apply(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    files = files_of_every_kind(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in files:
            if path.suffix != ".webp" or limit == 1000:
                read_image(path)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older WebP plugins have no limit of their own")
def test_pillows_limit_on_webp_is_said(tmp_path, monkeypatch):
    Image.new("RGB", (50, 40)).save(tmp_path / "x.webp")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    refused(tmp_path / "x.webp", "2000 pixels.*; raise PIL.Image.MAX_IMAGE_PIXELS if you trust it")


# -------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", np.uint8), (".png", np.uint16)]
    + [(s, d) for s in (".tif", ".TIFF", ".npy") for d in (np.uint8, np.uint16, np.float16, np.float32)],
)
def test_round_trip_is_exact(tmp_path, suffix, dtype, channels):
    x = pixels(dtype, channels)
    profile = GREY_PROFILE if channels < 3 else SRGB
    alpha = x[..., -1] if channels in (2, 4) else None
    source = Picture(
        to_float(x[..., : 1 if channels < 3 else 3]), alpha, np.dtype(dtype), profile, "TIFF", None, x.shape
    )
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    write_image(first, source.data, like=source)
    picture = read_image(first)
    assert_holds(picture, x)
    assert picture.dtype == dtype
    assert picture.icc_profile == (None if suffix == ".npy" else profile)
    write_image(second, picture.data, like=picture)
    assert second.read_bytes() == first.read_bytes()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(
        [("png", np.uint8), ("png", np.uint16), ("tif", np.uint16), ("tif", np.float32), ("npy", np.uint16)]
    ),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_round_trip_of_any_size(tmp_path_factory, kind, channels, height, width, seed):
    suffix, dtype = kind
    x = np.random.default_rng(seed).random((height, width, channels))
    x = from_float(x, dtype)
    alpha = x[..., -1] if channels in (2, 4) else None
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    source = Picture(to_float(x[..., : 1 if channels < 3 else 3]), alpha, np.dtype(dtype), None, "PNG", None, (0, 0, 0))
    write_image(path, source.data, like=source)
    assert_holds(read_image(path), x)


def test_other_programs_read_what_was_written(tmp_path):
    x = pixels(np.uint16, 4)
    source = Picture(to_float(x[..., :3]), x[..., 3], np.dtype(np.uint16), SRGB, "PNG", None, x.shape)
    write_image(tmp_path / "x.png", source.data, like=source)
    cv2 = pytest.importorskip("cv2")
    bgra = cv2.imread(str(tmp_path / "x.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(bgra[..., [2, 1, 0, 3]], x)
    with Image.open(tmp_path / "x.png") as image:
        assert image.info["icc_profile"] == SRGB
    write_image(tmp_path / "x.tif", source.data, like=source, dtype=np.uint8)
    with Image.open(tmp_path / "x.tif") as image:
        assert image.mode == "RGBA"
        assert image.info["icc_profile"] == SRGB
        np.testing.assert_array_equal(np.asarray(image)[..., :3], from_float(source.data, np.uint8))


def test_depth_follows_the_picture_and_the_format(tmp_path):
    data = pixels(np.float32, 3)
    deep = Picture(data, None, np.dtype(np.float32), None, "TIFF", None, data.shape)
    for suffix, like, dtype, expected in [
        (".png", None, None, np.uint8),
        (".tif", None, None, np.float32),
        (".npy", None, None, np.float32),
        (".png", deep, None, np.uint16),
        (".png", deep, np.uint8, np.uint8),
        (".tif", deep, "uint16", np.uint16),
        (".webp", deep, None, np.uint8),
    ]:
        write_image(tmp_path / f"x{suffix}", data, like=like, dtype=dtype)
        picture = read_image(tmp_path / f"x{suffix}")
        assert picture.dtype == expected
        np.testing.assert_array_equal(from_float(data, expected), from_float(picture.data, expected))
    write_image(tmp_path / "x.jpg", np.full((32, 32, 3), 0.5), like=deep)
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.format == "JPEG"
        np.testing.assert_allclose(np.asarray(image), 128, atol=1)
    write_image(tmp_path / "x.npy", data.astype(np.float64), dtype=np.float64)
    assert np.load(tmp_path / "x.npy").dtype == np.float64


def test_npy_keeps_the_rank_of_a_grey_array(tmp_path):
    for shape in ((6, 5), (6, 5, 1)):
        np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
        picture = read_image(tmp_path / "x.npy")
        write_image(tmp_path / "y.npy", picture.data, like=picture)
        assert np.load(tmp_path / "y.npy").shape == shape
    write_image(tmp_path / "y.npy", np.zeros((6, 5, 1)))
    assert np.load(tmp_path / "y.npy").shape == (6, 5)


@pytest.mark.parametrize(("tag", "kind"), [("assocalpha", "premultiplied"), ("unspecified", "unspecified")])
def test_tiff_kind_of_alpha_is_kept(tmp_path, tag, kind):
    x = pixels(np.uint16, 4)
    x[..., :3] = np.minimum(x[..., :3], x[..., 3:])
    tifffile.imwrite(tmp_path / "x.tif", x, photometric="rgb", extrasamples=[tag])
    picture = read_image(tmp_path / "x.tif")
    assert_holds(picture, x)
    assert picture.alpha_kind == kind
    write_image(tmp_path / "y.tif", picture.data, like=picture)
    assert_holds(read_image(tmp_path / "y.tif"), x)
    assert read_image(tmp_path / "y.tif").alpha_kind == kind

    write_image(tmp_path / "y.png", picture.data, like=picture)
    straight = read_image(tmp_path / "y.png")
    np.testing.assert_array_equal(straight.alpha, x[..., 3])
    if kind == "premultiplied":  # PNG holds straight colours only
        weight = to_float(x[..., 3:])
        np.testing.assert_allclose(straight.data * weight, picture.data, atol=1 / 65535)
    else:
        np.testing.assert_array_equal(straight.data, picture.data)


def test_alpha_follows_the_output_depth(tmp_path):
    x = pixels(np.uint8, 4)
    source = Picture(to_float(x[..., :3]), x[..., 3], np.dtype(np.uint8), None, "PNG", None, x.shape)
    write_image(tmp_path / "x.png", source.data, like=source, dtype=np.uint16)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").alpha, x[..., 3].astype(np.uint16) * 257)


def test_profile_of_another_number_of_channels_is_left_out(tmp_path):
    source = Picture(np.zeros((4, 4, 1), np.float32), None, np.dtype(np.uint8), GREY_PROFILE, "PNG", None, (4, 4))
    write_image(tmp_path / "x.png", np.zeros((4, 4, 3)), like=source)
    assert read_image(tmp_path / "x.png").icc_profile is None
    write_image(tmp_path / "x.png", np.zeros((4, 4, 1)), like=source)
    assert read_image(tmp_path / "x.png").icc_profile == GREY_PROFILE
    write_image(tmp_path / "x.webp", np.zeros((4, 4, 1)), like=source)  # WebP stores grey as RGB
    assert read_image(tmp_path / "x.webp").icc_profile is None


def test_output_suffix():
    def of(format_, path):
        return output_suffix(Picture(np.zeros((1, 1, 1)), None, np.dtype("u1"), None, format_, path, (1, 1)))

    assert [of(f, Path("a.x")) for f in ("PNG", "JPEG", "WEBP", "GIF", "BMP")] == [".png"] * 5
    assert of("NPY", None) == ".npy"
    assert of("TIFF", None) == of("TIFF", Path("a.png")) == ".tif"
    assert of("TIFF", Path("a.TIFF")) == ".TIFF"


# -------------------------------------------------------------------------------- what is refused


def refused(path, match, **options):
    """The file is refused in one line that names it, and without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=match) as caught:
            read_image(path, **options)
    message = str(caught.value)
    assert message.startswith(f"cannot read '{path}': ")
    assert "\n" not in message
    assert "; " in message  # what is wrong; what to do


def test_missing_folder_empty_and_foreign_files(tmp_path):
    refused(tmp_path / "no.png", "No such file or directory; check its name")
    refused(tmp_path / ("x" * 300), "name too long")
    refused(tmp_path, "it is a folder")
    refused(Path("/dev/null"), "not a regular file")
    refused(tmp_path / "x.png" / "y.png", "No such file or directory")
    (tmp_path / "x.png").write_bytes(b"")
    refused(tmp_path / "x.png", "the file is empty")
    for content in (b"just text", b"\0" * 100, b"RIFF\0\0\0\0WAVE", b"PK\x03\x04", b"%!PS-Adobe"):
        (tmp_path / "x.png").write_bytes(content)
        refused(tmp_path / "x.png", "its content is not PNG, JPEG")


def files_of_every_kind(folder):
    x = pixels(np.uint8, 3, 40, 50)
    for name in ("a.png", "b.jpg", "c.webp", "d.bmp", "e.gif"):
        Image.fromarray(x).save(folder / name)
    (folder / "f.png").write_bytes(imagecodecs.png_encode(pixels(np.uint16, 4, 40, 50)))
    tifffile.imwrite(folder / "g.tif", x, photometric="rgb", metadata=None)
    tifffile.imwrite(folder / "h.tif", pixels(np.uint16, 3), photometric="rgb", compression="zlib", metadata=None)
    np.save(folder / "i.npy", x)
    return sorted(folder.iterdir())


def test_truncated_files(tmp_path, capfd):
    for path in files_of_every_kind(tmp_path):
        whole = path.read_bytes()
        read_image(path)
        lengths = {17, 20, 33, 60, len(whole) // 3, len(whole) // 2, len(whole) - 20, len(whole) - 4}
        if path.suffix == ".gif":  # its last bytes hold no pixels
            lengths = {n for n in lengths if n <= len(whole) // 2}
        for length in lengths:
            path.write_bytes(whole[:length])
            refused(path, "cannot be decoded")
    assert capfd.readouterr() == ("", "")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_gives_an_input_error_or_an_image(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damage"
    if not folder.exists():
        folder.mkdir()
        files_of_every_kind(folder)
    blob = bytearray(data.draw(st.sampled_from(sorted(folder.iterdir()))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, min(len(blob) - 1, 300)))] = data.draw(st.integers(0, 255))
    try:
        picture = read_image(io.BytesIO(bytes(blob)), max_pixels=100_000, warn=False)
    except InputError:
        return
    assert picture.data.size <= 300_000
    assert np.isfinite(picture.data).all()


def test_damaged_png_pixels_are_noticed(tmp_path):
    blob = bytearray(imagecodecs.png_encode(pixels(np.uint16, 3)))
    blob[len(blob) // 2] ^= 4
    (tmp_path / "x.png").write_bytes(blob)
    refused(tmp_path / "x.png", "PNG data cannot be decoded")


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    n = 60_000
    (tmp_path / "x.png").write_bytes(png_file(n, n, 8, 2, b""))
    jpeg = io.BytesIO()
    Image.new("L", (8, 8)).save(jpeg, "JPEG")
    sof = jpeg.getvalue().index(b"\xff\xc0")
    jpeg = bytearray(jpeg.getvalue())
    jpeg[sof + 5 : sof + 9] = struct.pack(">HH", n, n)
    (tmp_path / "x.jpg").write_bytes(jpeg)
    vp8x = struct.pack("<4sI4s", b"VP8X", 10, bytes(4)) + 2 * (n - 1).to_bytes(3, "little")
    (tmp_path / "x.webp").write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(vp8x), b"WEBP") + vp8x)
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((8, 8), np.uint8), photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[tag].overwrite(n)
    tifffile.imwrite(tmp_path / "tile.tif", np.zeros((8, 8), np.uint8), photometric="minisblack", tile=(16, 16))
    with tifffile.TiffFile(tmp_path / "tile.tif", mode="r+") as tiff:
        for tag in ("TileWidth", "TileLength"):
            tiff.pages[0].tags[tag].overwrite(n)
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (n, n, 3)})
    bmp, gif = io.BytesIO(), io.BytesIO()
    Image.new("L", (8, 8)).save(bmp, "BMP")
    (tmp_path / "x.bmp").write_bytes(bmp.getvalue()[:18] + struct.pack("<ii", n, n) + bmp.getvalue()[26:])
    Image.new("L", (8, 8)).save(gif, "GIF")
    (tmp_path / "x.gif").write_bytes(gif.getvalue()[:6] + struct.pack("<HH", n, n) + gif.getvalue()[10:])
    for name in ("x.png", "x.jpg", "x.webp", "x.tif", "tile.tif", "x.npy", "x.bmp", "x.gif"):
        refused(tmp_path / name, "60000 x 60000 = 3600000000 pixels, more than max_pixels = 200000000")

    x = pixels(np.uint8, 3, 40, 50)
    for method, suffix in ((0, "lossy.webp"), (1, "lossless.webp")):
        Image.fromarray(x).save(tmp_path / suffix, lossless=bool(method))
        assert read_image(tmp_path / suffix, max_pixels=2000).data.shape == x.shape
        refused(tmp_path / suffix, "50 x 40 = 2000 pixels, more than max_pixels = 1999", max_pixels=1999)


def test_float_values(tmp_path):
    path = tmp_path / "x.npy"

    def save(x):
        np.save(path, x)

    x = pixels(np.float32, 1)[..., 0]
    for bad in (np.nan, np.inf, -np.inf):
        x[3, 4] = bad
        save(x)
        refused(path, "1 of its 221 values are NaN or infinite")
    for bad in (1.5, -0.5, 255.0):
        x[3, 4] = bad
        save(x)
        refused(path, r"its values span \[.*\] but a float image must lie in \[0, 1\]")
    x[3, 4], x[5, 6] = 1.0009, -0.0009  # within the tolerance: clipped
    save(x)
    picture = read_image(path)
    assert picture.data[3, 4] == 1
    assert picture.data[5, 6] == 0


def test_npy_that_is_no_image(tmp_path):
    path = tmp_path / "x.npy"
    for array, match in [
        (np.array([[1, None]], dtype=object), "pickled Python objects, which are never loaded"),
        (np.zeros(5), r"its shape is \(5,\)"),
        (np.float64(1), r"its shape is \(\)"),
        (np.zeros((2, 3, 4, 4)), r"its shape is \(2, 3, 4, 4\)"),
        (np.zeros((3, 8, 8)), r"its shape is \(3, 8, 8\)"),
        (np.zeros((0, 5)), "its size is 5 x 0"),
        (np.zeros((5, 0, 3)), "its size is 0 x 5"),
        (np.zeros((5, 5, 0)), r"its shape is \(5, 5, 0\)"),
        (np.zeros((4, 4), np.complex64), "its pixels are complex64"),
        (np.zeros((4, 4), np.int32), "its pixels are int32"),
        (np.zeros((4, 4), np.int64), "its pixels are int64"),
        (np.zeros((4, 4), np.int16), "its pixels are int16"),
        (np.zeros((4, 4), bool), "its pixels are bool"),
        (np.zeros((4, 4), "U3"), "its pixels are str96"),
        (np.zeros((4, 4), [("a", "f4")]), "its pixels are void32"),
    ]:
        np.save(path, array, allow_pickle=True)
        refused(path, match)


def test_a_damaged_npy_header_is_told_without_pythons_insides(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 5, 3), np.uint8))
    whole = (tmp_path / "x.npy").read_bytes()
    for old, new in [
        (b"False", b"Falsy"),
        (b"(4, 5, 3)", b"(4, 5, 3\0"),
        (b"'|u1'", b"'|u1\xff"),
        (b"descr", b"descs"),
    ]:
        assert old in whole
        (tmp_path / "x.npy").write_bytes(whole.replace(old, new))
        refused(tmp_path / "x.npy", "NPY data cannot be decoded .its header makes no sense")


def test_tiff_that_is_no_image_of_ours(tmp_path):
    path = tmp_path / "x.tif"
    grey = {"photometric": "minisblack"}
    for array, options, match in [
        (np.zeros((4, 4), np.int16), grey, "its pixels are int16"),
        (np.zeros((4, 4), np.uint32), grey, "its pixels are uint32"),
        (np.zeros((4, 4), np.complex64), grey, "its pixels are complex64"),
        (np.zeros((4, 4, 3), np.uint8), {"photometric": "cielab"}, "photometric type 8 with 3 samples"),
        (np.zeros((4, 4, 5), np.uint8), {"photometric": "rgb", "planarconfig": "contig"}, "type 2 with 5 samples"),
        (np.zeros((4, 4, 3), np.uint8), {"photometric": "ycbcr"}, "JPEG compression only"),
        (np.zeros((4, 4, 4), np.uint16), {"photometric": "separated"}, "8 bit without alpha only"),
        (np.zeros((16, 16, 16), np.uint8), grey | {"volumetric": True, "tile": (16, 16, 16)}, "axes ZYX"),
        (np.zeros((4, 4), np.uint8), grey | {"subfiletype": 1}, "camera raw data cannot be decoded"),
    ]:
        tifffile.imwrite(path, array, **options)
        refused(path, match)


def not_written(path, match, *args, **options):
    with pytest.raises(InputError, match=match) as caught:
        write_image(path, *args, **options)
    assert str(caught.value).startswith(f"cannot write '{path}': ")
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_what_cannot_be_written(tmp_path):
    good = np.zeros((4, 5, 3))
    not_written(tmp_path / "x", "unknown image suffix ''; use one of .png", good)
    not_written(tmp_path / "x.gif", "unknown image suffix '.gif'", good)
    not_written(tmp_path / "x.png", ".png cannot hold float32; use uint8 or uint16", good, dtype=np.float32)
    not_written(tmp_path / "x.tif", ".tif cannot hold int32", good, dtype=np.int32)
    not_written(tmp_path / "x.tif", ".tif cannot hold 'uint12'", good, dtype="uint12")
    not_written(tmp_path / "x.png", "the data are uint8", good.astype(np.uint8))
    not_written(tmp_path / "x.png", r"shape \(1, 3, 4, 4\)", np.zeros((1, 3, 4, 4)))
    not_written(tmp_path / "x.png", r"shape \(4, 4, 4\)", np.zeros((4, 4, 4)))
    not_written(tmp_path / "x.png", r"shape \(0, 4, 3\)", np.zeros((0, 4, 3)))
    not_written(tmp_path / "x.png", "NaN or infinite", np.full((4, 5, 3), np.nan))
    not_written(tmp_path / "x.webp", "1 x 16384 and this format ends at 16383", np.zeros((16384, 1, 3)))
    like = Picture(good, np.zeros((4, 5), np.uint8), np.dtype(np.uint8), None, "PNG", None, (4, 5, 4))
    not_written(tmp_path / "x.jpg", "JPEG cannot hold the alpha channel", good, like=like)
    not_written(
        tmp_path / "x.png",
        "the data are 8 x 8 but the alpha channel to carry over is 5 x 4",
        np.zeros((8, 8)),
        like=like,
    )


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif", ".webp", ".jpg"])
def test_a_link_to_a_name_without_suffix_is_followed(tmp_path, suffix):
    (tmp_path / f"x{suffix}").symlink_to("plain")
    write_image(tmp_path / f"x{suffix}", np.full((8, 9, 3), 0.2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain", f"x{suffix}"]
    np.testing.assert_allclose(read_image(tmp_path / "plain").data, 0.2, atol=0.01)


def test_what_does_not_fit_in_memory_is_refused(tmp_path, monkeypatch):
    write_image(tmp_path / "x.npy", np.zeros((4, 5, 3)))

    def starved(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np, "load", starved)
    refused(tmp_path / "x.npy", "there is not enough memory for its pixels")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    write_image(path, np.zeros((4, 5, 3)))
    before = path.read_bytes()
    monkeypatch.setattr(imagecodecs, "png_encode", lambda pixels: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_image(path, np.ones((4, 5, 3)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no Linux")
def test_a_file_that_cannot_be_read_though_it_is_there():
    with pytest.raises(InputError, match="cannot read '/proc/self/mem': Input/output error; get a fresh copy"):
        read_image("/proc/self/mem")
