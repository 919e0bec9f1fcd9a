"""Anything picture-like becomes the right picture, or is refused in a sentence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from blinddps import io as room
from blinddps.core import InputError
from blinddps.io import as_picture

RGB = np.random.default_rng(0).integers(0, 256, (11, 14, 3), dtype=np.uint8)
RGBA = np.random.default_rng(1).integers(0, 256, (11, 14, 4), dtype=np.uint8)
UNIT = RGB.astype(np.float32) / np.float32(255)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG")
    return file.getvalue()


def test_an_empty_path_is_not_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    for read in (as_picture, room.read_frames, room.read_image):
        with pytest.raises(InputError, match=r"^the path is empty; give one, or '\.' for the present folder$"):
            read("")
    assert len(room.read_frames(".").frames) == 1


class Unseekable:
    """A file as a network gives it."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


def written() -> io.BytesIO:
    """A stream that stands at its end, as one just written does."""
    file = io.BytesIO()
    file.write(png())
    return file


def test_files_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png())
    with open(path, "rb") as file:
        for source in (path, str(path), png(), bytearray(png()), memoryview(png()), file, Unseekable(png()), written()):
            np.testing.assert_array_equal(as_picture(source).data, UNIT)
    picture = as_picture(path)
    assert as_picture(picture) is picture
    assert (picture.format, picture.path) == ("PNG", path)


DEEP = RGB.astype(np.uint16) * 257


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (RGB, UNIT),
        (DEEP, UNIT),
        (DEEP.astype(">u2"), UNIT),
        (UNIT.astype(np.float64), UNIT),
        (UNIT.astype(np.longdouble), UNIT),
        (RGB[:, ::-1], UNIT[:, ::-1]),
        (np.asfortranarray(RGB), UNIT),
        (RGB[..., 0], UNIT[..., :1]),
        (RGB[..., :1], UNIT[..., :1]),
        (RGB > 99, (RGB > 99).astype(np.float32)),
        (np.ma.masked_array(RGB), UNIT),
        (np.ma.masked_equal(np.minimum(RGB, 200), 255), np.minimum(UNIT, np.float32(200 / 255))),
        ([[0.0, 0.5], [0.25, 1.0]], np.float32([[[0], [0.5]], [[0.25], [1]]])),
    ],
)
def test_arrays(array: Any, expected: np.ndarray) -> None:
    picture = as_picture(array)
    np.testing.assert_array_equal(picture.data, expected)
    assert picture.data.flags.c_contiguous
    assert picture.dtype.isnative
    assert (picture.format, picture.alpha) == ("ARRAY", None)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, torch.float32, torch.bfloat16])
def test_rounding_beyond_the_range_is_clipped(dtype: Any) -> None:
    values = torch.tensor([[0.0, 1.0], [0.5, 1.0]])
    given: Any = values.to(dtype) if isinstance(dtype, torch.dtype) else values.numpy().astype(dtype)
    given[0, 0], given[0, 1] = -1e-7, 1.0000001
    np.testing.assert_array_equal(as_picture(given).data[..., 0], [[0, 1], [0.5, 1]])
    picture = as_picture(np.array([[1.0000001, 0.5]]))
    assert picture.data.max() == 1
    given[0, 1] = 1.01
    with pytest.raises(InputError, match="not finite or not in"):
        as_picture(given)


def test_the_last_of_two_or_four_channels_is_alpha() -> None:
    for given in (RGBA, torch.from_numpy(RGBA).permute(2, 0, 1), Image.fromarray(RGBA)):
        picture = as_picture(given)
        np.testing.assert_array_equal(np.rint(picture.data * 255), RGBA[..., :3])
        np.testing.assert_array_equal(picture.alpha, RGBA[..., 3])
    assert as_picture(RGBA[..., 2:]).data.shape == (11, 14, 1)


def test_tensors() -> None:
    chw = torch.from_numpy(UNIT).permute(2, 0, 1)
    for x in (chw, chw[None], chw.contiguous(), chw.clone().requires_grad_(), chw.double(), torch.from_numpy(UNIT)):
        np.testing.assert_array_equal(as_picture(x).data, UNIT)
    np.testing.assert_array_equal(as_picture(chw[0]).data, UNIT[..., :1])
    np.testing.assert_array_equal(as_picture((chw * 255).round().to(torch.uint8)).data, UNIT)
    np.testing.assert_array_equal(as_picture(torch.from_numpy(DEEP)).data, UNIT)
    np.testing.assert_allclose(as_picture(chw.bfloat16()).data, UNIT, atol=2**-9)
    np.testing.assert_array_equal(as_picture(torch.ones(3, 4, dtype=torch.bool)).data, 1)
    with torch.inference_mode():
        np.testing.assert_array_equal(as_picture(chw + 0).data, UNIT)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_tensors_on_a_device() -> None:
    np.testing.assert_array_equal(as_picture(torch.from_numpy(UNIT).permute(2, 0, 1).cuda()).data, UNIT)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "YCbCr", "HSV", "CMYK", "LAB"])
def test_modes_of_pillow_without_alpha(mode: str) -> None:
    smooth = np.add.outer(np.arange(16), np.arange(20))[..., None] * np.array([1, 3, 5]) + np.array([90, 60, 20])
    image = Image.fromarray(smooth.astype(np.uint8))
    if mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        given = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        expected = np.asarray(image)
    else:
        given = image.convert(mode)
        expected = np.atleast_3d(np.asarray(given.convert("L" if mode in ("1", "L") else "RGB")))
    picture = as_picture(given)
    tolerance = 6 if mode in ("LAB", "HSV") else 0  # these have 8 bits of their own
    assert np.abs(picture.data * 255 - expected).max() <= tolerance + 1e-4
    assert picture.alpha is None
    if mode == "CMYK":
        assert "CMYK" in picture.notes[0]


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBa"])
def test_modes_of_pillow_with_alpha(mode: str) -> None:
    given = Image.fromarray(RGBA).convert("LA").convert(mode) if mode in ("La", "PA") else Image.fromarray(RGBA)
    given = given if mode in ("La", "PA") else given.convert(mode)
    straight = np.asarray(given.convert("LA" if mode in ("LA", "La") else "RGBA"))
    picture = as_picture(given)
    np.testing.assert_array_equal(np.rint(picture.data * 255), straight[..., :-1])
    np.testing.assert_array_equal(picture.alpha, straight[..., -1])


def test_a_transparent_palette_becomes_alpha() -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.info["transparency"] = 0
    picture = as_picture(image)
    np.testing.assert_array_equal(np.rint(picture.data[0] * 255), [[10, 20, 30], [200, 100, 50]])
    np.testing.assert_array_equal(picture.alpha, [[0, 255], [255, 0]])


def test_deep_modes_of_pillow() -> None:
    deep = DEEP[..., 0]
    big = Image.frombytes("I;16B", deep.shape[::-1], deep.astype(">u2").tobytes())
    for given in (Image.fromarray(deep), big, Image.fromarray(deep.astype(np.int32))):
        picture = as_picture(given)
        assert picture.dtype == np.uint16
        np.testing.assert_array_equal(picture.data, UNIT[..., :1])
    np.testing.assert_array_equal(as_picture(Image.fromarray(UNIT[..., 0])).data, UNIT[..., :1])
    with pytest.raises(InputError, match=r"32-bit values span \[0, 70000\]"):
        as_picture(Image.fromarray(np.array([[0, 70000]], np.int32)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "memory"])
def test_an_image_is_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise brings it upright
    image: Any = Image.fromarray(RGB)
    if kind == "memory":
        image.getexif()[0x0112] = 6
    else:
        file = io.BytesIO()
        image.save(file, kind, exif=exif, quality=100)
        image = Image.open(io.BytesIO(file.getvalue()))
    picture = as_picture(image)
    assert picture.data.shape == (14, 11, 3)
    if kind != "JPEG":
        np.testing.assert_array_equal(np.rint(picture.data * 255), np.rot90(RGB, -1))


def test_an_image_keeps_its_profile_and_says_its_frames() -> None:
    file = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(file, "PNG", icc_profile=profile)
    assert as_picture(Image.open(file)).icc_profile == profile
    grey = [Image.fromarray(np.full((4, 4), 60 * i, np.uint8)) for i in range(3)]
    grey[0].save(file := io.BytesIO(), "GIF", save_all=True, append_images=grey[1:])
    image = Image.open(file)
    image.seek(2)
    picture = as_picture(image)
    assert "3 frames; only the one it stands at" in picture.notes[0]
    np.testing.assert_allclose(picture.data, 120 / 255, atol=2 / 255)


def text_file() -> Any:
    return io.StringIO("no bytes")


def closed_file() -> Any:
    file = io.BytesIO(png())
    file.close()
    return file


def closed_image() -> Any:
    image = Image.open(io.BytesIO(png()))
    image.close()
    return image


def cut_image() -> Any:
    return Image.open(io.BytesIO(png()[:200]))


def masked() -> Any:
    return np.ma.masked_less(RGB, 3)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (None, "is of type NoneType; give a path"),
        (3, "shape \\(\\)"),
        (object(), "is of type object; give a path"),
        ({"a": 1}, "is of type dict; give a path"),
        ([[1.0], [1.0, 2.0]], "cannot be made an array"),
        (b"", "the file is empty"),
        (b"no picture", "its content is not PNG"),
        ("no\0name", r"cannot read 'no\\x00name': no file can have this name"),
        ("\ud800.png", r"cannot read '\\ud800.png': no file can have this name"),
        (text_file, "gives str, not bytes; open it in binary mode"),
        (closed_file, "closed file.*; open it in binary mode"),
        (closed_image, "cannot be decoded by Pillow"),
        (cut_image, "cannot be decoded by Pillow"),
        (masked, r"\d+ masked of 462 values.*; fill them in first"),
        (np.zeros((3, 16, 16)), r"shape \(3, 16, 16\); give \(H, W\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros((4, 4), np.int64), "is of type int64; give uint8"),
        (np.zeros((4, 4), complex), "is of type complex128"),
        (np.full((4, 4), None), "is of type object"),
        (np.full((4, 4), "a"), "is of type <U1"),
        (np.zeros((4, 4), [("a", "f4")]), r"is of type \[\('a'"),
        (np.full((4, 4), np.nan), "not finite or not in"),
        (np.full((4, 4), 255.0), r"not finite or not in \[0, 1\], from 255 to 255"),
        (torch.zeros(2, 3, 4, 4), r"shape \(2, 3, 4, 4\); give \(H, W\), \(C, H, W\)"),
        (torch.zeros(4, 4).to_sparse(), "cannot be used as a picture"),
        (torch.zeros(3, 4, 4, device="meta"), "cannot be used as a picture"),
        (torch.full((3, 4, 4), -0.5), "not finite or not in"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "is of type int32"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(given: Any, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        as_picture(given() if callable(given) and not isinstance(given, torch.Tensor) else given)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


@pytest.mark.parametrize("kind", [np.float32, np.bool_])
def test_a_broadcast_array_is_refused_before_its_values_are_looked_at(kind: type) -> None:
    with pytest.raises(InputError, match="it has 1000000 x 1000000 = 1000000000000 pixels"):
        as_picture(np.broadcast_to(np.ones((), kind), (10**6, 10**6)))


def test_the_number_of_pixels_is_limited() -> None:
    for given in (np.zeros((20, 20)), torch.zeros(20, 20), Image.new("L", (20, 20)), png()):
        with pytest.raises(InputError, match="more than max_pixels = 99"):
            as_picture(given, max_pixels=99)


def test_one_list_of_suffixes() -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".npy"} < room.PICTURE_SUFFIXES
    assert {".fits", ".fit", ".heic", ".avif", ".dng", ".nef", ".cr3"} < room.PICTURE_SUFFIXES
    assert room.DATASET_SUFFIXES < room.PICTURE_SUFFIXES
    assert {".tiff", ".gif", ".mp4", ".mkv"} < room.FRAME_SUFFIXES
