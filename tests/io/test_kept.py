"""EXIF, XMP and resolution of what comes in go out again, upright; HEIC, AVIF and raw files come in."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, features

from blinddps.core import InputError
from blinddps.io import output_suffix, read_image, suffix_of, to_linear, write_image

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="a"/></x:xmpmeta>'


def pixels(height: int = 20, width: int = 30) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([8 * x, 10 * y, 4 * (x + y)], -1).clip(0, 255).astype(np.uint8)


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x0112], made[0x010F], made[0x8298] = 6, "Maker", "Somebody"
    inner = made.get_ifd(0x8769)
    inner[0xA002], inner[0xA003], inner[0x829A] = 30, 20, 0.01
    return made


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_and_xmp_are_kept_and_upright(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(pixels()).save(tmp_path / "in.jpg", exif=exif(), xmp=XMP, quality=95)
    picture = read_image(tmp_path / "in.jpg")
    assert picture.data.shape == (30, 20, 3)
    write_image(tmp_path / f"out{suffix}", picture.data, like=picture)
    with Image.open(tmp_path / f"out{suffix}") as written, Image.open(tmp_path / "in.jpg") as given:
        found = written.getexif()
        assert 0x0112 not in found or found[0x0112] == 1
        assert (found[0x010F], found[0x8298]) == ("Maker", "Somebody")
        upright = np.asarray(ImageOps.exif_transpose(given), float)
        np.testing.assert_allclose(np.asarray(written), upright, atol=6 if suffix == ".jpg" else 0)
        if suffix != ".tif":
            inner = found.get_ifd(0x8769)
            assert (inner[0xA002], inner[0xA003], float(inner[0x829A])) == (20, 30, 0.01)
    again = read_image(tmp_path / f"out{suffix}")
    assert again.metadata.xmp == XMP.replace(b'"6"', b'"1"')
    write_image(tmp_path / f"twice{suffix}", picture.data, like=again)
    assert read_image(tmp_path / f"twice{suffix}").metadata.xmp == again.metadata.xmp


def test_damaged_exif_is_left_out(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "in.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    picture = read_image(tmp_path / "in.jpg")
    write_image(tmp_path / "out.png", picture.data, like=picture)
    assert read_image(tmp_path / "out.png").metadata.exif == b""


def test_resolution_and_description_of_tiff_are_kept(tmp_path: Path) -> None:
    x = pixels().astype(np.uint16) * 257
    said: dict[str, Any] = {"resolution": (300, 300), "resolutionunit": 2, "description": "a scan", "metadata": None}
    tifffile.imwrite(tmp_path / "in.tif", x, photometric="rgb", **said)
    picture = read_image(tmp_path / "in.tif")
    write_image(tmp_path / "out.tif", picture.data, like=picture)
    with tifffile.TiffFile(tmp_path / "out.tif") as written:
        page = written.pages[0]
        assert page.description == "a scan"
        assert page.resolution == (300, 300)
        np.testing.assert_array_equal(page.asarray(), x)
    whole, told = (tmp_path / "in.tif").read_bytes(), struct.pack("<II", 300, 1)
    assert told in whole
    for damage in ((0, 0), (300, 0), (0, 1)):  # no fraction, none of a size, nothing
        (tmp_path / "in.tif").write_bytes(whole.replace(told, struct.pack("<II", *damage)))
        picture = read_image(tmp_path / "in.tif")
        assert picture.metadata.resolution is None
        write_image(tmp_path / "out.tif", picture.data, like=picture)


def test_suffixes() -> None:
    assert [suffix_of(f, s) for f, s in (("JPEG", ".jpg"), ("TIFF", ".TIFF"), ("FITS", ".fit"), (None, ""))] == [
        ".png",
        ".TIFF",
        ".fits",
        ".png",
    ]
    assert [suffix_of(f, s, "same") for f, s in (("JPEG", ".JPG"), ("JPEG", ".png"), ("WEBP", ".webp"))] == [
        ".JPG",
        ".jpg",
        ".webp",
    ]
    assert suffix_of("HEIC", ".heic", "same") == suffix_of("TIFF", ".dng") == ".png"
    assert suffix_of("TIFF", ".tif", "jpeg") == ".jpg"


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_avif(tmp_path: Path, mode: str) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = Image.fromarray(pixels()).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(pixels()[..., 0]))
    image.save(tmp_path / "x.avif", quality=100, subsampling="4:4:4")
    picture = read_image(tmp_path / "x.avif")
    assert picture.format == "AVIF"
    np.testing.assert_allclose(picture.data, np.asarray(image.convert("RGB"), float) / 255, atol=0.03)
    assert (picture.alpha is not None) == (mode == "RGBA")


def test_heic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    x = pixels(64, 96)
    heif.from_bytes("RGB", (96, 64), x.tobytes()).save(tmp_path / "x.heic", quality=100, exif=exif().tobytes())
    deep = (x.astype(np.uint16) << 8) + 128
    heif.from_bytes("RGB;16", (96, 64), deep.tobytes()).save(tmp_path / "deep.heic", quality=100)
    picture = read_image(tmp_path / "x.heic")
    assert (picture.format, picture.dtype, output_suffix(picture)) == ("HEIC", np.uint8, ".png")
    tall = picture.data.shape[0] > picture.data.shape[1]  # libheif turns by the file's own boxes
    given = np.rot90(x, -1) if tall else x
    np.testing.assert_allclose(picture.data, given / 255, atol=0.04)
    write_image(tmp_path / "x.jpg", picture.data, like=picture)
    with Image.open(tmp_path / "x.jpg") as written:
        assert written.getexif()[0x010F] == "Maker"
        assert 0x0112 not in written.getexif()
    wide = read_image(tmp_path / "deep.heic")
    assert wide.dtype == np.uint16
    np.testing.assert_allclose(wide.data, deep / 65535, atol=0.03)
    with pytest.raises(InputError, match="= 6144 pixels, more than max_pixels"):
        read_image(tmp_path / "x.heic", max_pixels=100)
    blob = (tmp_path / "x.heic").read_bytes()
    for end in (40, 300, len(blob) // 2):
        with pytest.raises(InputError, match="cannot read"):
            read_image(io.BytesIO(blob[:end]))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"pip install 'blinddps\[heic\]'"):
        read_image(tmp_path / "x.heic")


def dng(path: Path) -> np.ndarray:
    """A small file of a sensor's mosaic, as a camera would write it; its light."""
    y, x = np.mgrid[:64, :96]
    light = (2000 + 300 * x + 100 * y).astype(np.uint16)
    matrix = [round(1e4 * v) for v in (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.204, 1.057)]
    rational = [v for m in matrix for v in (m, 10000)]
    tags = [
        (33421, 3, 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, 1, 4, bytes([0, 1, 1, 2]), True),  # CFAPattern: red, green, green, blue
        (50706, 1, 4, bytes([1, 4, 0, 0]), True),  # DNGVersion
        (50708, 2, None, "Test", True),  # UniqueCameraModel
        (50714, 4, 1, 0, True),  # BlackLevel
        (50717, 4, 1, 65535, True),  # WhiteLevel
        (50721, 10, 9, rational, True),  # ColorMatrix1
        (50728, 5, 3, [1, 1, 1, 1, 1, 1], True),  # AsShotNeutral
        (50778, 3, 1, 21, True),  # CalibrationIlluminant1: D65
    ]
    tifffile.imwrite(path, light, photometric=32803, extratags=tags, metadata=None)
    return light / 65535


def test_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rawpy")
    light = dng(tmp_path / "x.dng")
    picture = read_image(tmp_path / "x.dng")
    assert (picture.light, picture.dtype, picture.data.shape[2]) == ("camera", np.uint16, 3)
    assert output_suffix(picture) == ".png"
    found = to_linear(picture.data)[8:-8, 8:-8].mean(-1)
    h, w = found.shape
    seen = light[8 : 8 + h, 8 : 8 + w]
    slope = np.polyfit(seen.ravel(), found.ravel(), 1)
    assert np.abs(found - np.polyval(slope, seen)).max() < 0.02 * found.max()  # linear light
    with pytest.raises(InputError, match="more than max_pixels = 100"):
        read_image(tmp_path / "x.dng", max_pixels=100)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(InputError, match=r"camera raw file and rawpy is not installed; pip install 'blinddps\[raw\]'"):
        read_image(tmp_path / "x.dng")


def test_bits_become_grey(tmp_path: Path) -> None:
    bits = Image.fromarray(pixels()).convert("1")
    bits.save(tmp_path / "x.png")
    bits.save(tmp_path / "x.tif", compression="group4", dpi=(600, 600))
    for name in ("x.png", "x.tif"):
        picture = read_image(tmp_path / name)
        assert (picture.dtype, picture.data.shape[2]) == (np.uint8, 1)
        np.testing.assert_array_equal(picture.data[..., 0], np.asarray(bits, np.float32))
