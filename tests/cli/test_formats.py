"""``blinddps deblur`` on other users' files: FITS, stacks, and what ``--format`` makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from .test_deblur import picture

fits = pytest.importorskip("astropy.io.fits")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, several: Callable[..., Any], tiny: list[Any]) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("formats")
    sky = 40 * picture(24, 28, dtype=np.float32) - 7
    sky[5, 6] = np.nan
    head = fits.Header({"BUNIT": "adu", "CRVAL1": 202.5})
    fits.PrimaryHDU(sky, head).writeto(folder / "sky.fits")
    fits.PrimaryHDU(np.stack([sky, sky[::-1]]), head).writeto(folder / "cube.fits")
    stack = np.stack([picture(20, 24, dtype=np.uint16, seed=i) for i in range(3)])
    tifffile.imwrite(folder / "stack.tif", stack, imagej=True, metadata={"axes": "ZYX", "unit": "um"})
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    Image.fromarray(picture(20, 24, 3)).save(folder / "photo.jpg", exif=exif)
    Image.fromarray(picture(20, 24, 4)).save(folder / "alpha.png")
    Image.fromarray(picture(40, 44) > 127).save(folder / "scan.png")

    def call(name: str, *more: Any) -> list[Any]:
        return ["deblur", folder / name, "--out", folder / f"{name}-{len(more)}", *tiny, *more]

    calls = [
        call("sky.fits"),
        call("cube.fits"),
        call("cube.fits", "--planes", "each"),
        call("stack.tif", "--planes", "each"),
        call("photo.jpg", "--format", "same"),
        call("alpha.png", "--format", "jpeg"),
        call("stack.tif", "--planes", "auto", "--format", "png"),
        call("sky.fits", "--format", "gif"),
        call("scan.png"),
    ]
    return folder, several(calls)


def record(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}_result.json").read_text())


def test_fits_in_is_fits_out(done: tuple[Path, Any]) -> None:
    folder, answers = done
    assert answers[0].code == 0, answers[0].err
    out = folder / "sky.fits-0"
    with fits.open(out / "sky_restored.fits") as parts:
        image, header = parts[0].data, parts[0].header
    assert image.dtype.itemsize == 4
    assert np.isnan(image).sum() == 1
    assert np.isnan(image[5, 6])
    assert (header["BUNIT"], header["CRVAL1"]) == ("adu", 202.5)
    assert "sky_kernel.npy" in str(header["HISTORY"])
    told = record(out, "sky")
    assert told["input"]["missing"] == 1
    given = fits.getdata(folder / "sky.fits")
    assert told["flux"]["before"] == pytest.approx(np.nansum(given), rel=1e-4)
    assert told["flux"]["after"] == pytest.approx(np.nansum(image), rel=1e-4)
    assert told["kernel_fwhm"] > 0


def test_cubes_and_stacks_come_back_as_such(done: tuple[Path, Any]) -> None:
    folder, answers = done
    for i in (1, 2, 3):
        assert answers[i].code == 0, answers[i].err
    cube = fits.getdata(folder / "cube.fits-0" / "cube_restored.fits")
    assert cube.shape == (2, 24, 28)
    assert np.load(folder / "cube.fits-0" / "cube_kernel.npy").ndim == 2  # one for all
    assert np.load(folder / "cube.fits-2" / "cube_kernel.npy").shape[0] == 2
    assert len(record(folder / "cube.fits-0", "cube")["planes"]) == 2
    with tifffile.TiffFile(folder / "stack.tif-2" / "stack_restored.tif") as tiff:
        assert tiff.asarray().shape == (3, 20, 24)
        assert tiff.pages[0].dtype == np.uint16
        assert tiff.imagej_metadata["unit"] == "um"


def test_jpeg_may_come_out_as_jpeg(done: tuple[Path, Any]) -> None:
    folder, answers = done
    assert answers[4].code == 0, answers[4].err
    with Image.open(folder / "photo.jpg-2" / "photo_restored.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (20, 24))
        assert image.getexif()[0x010F] == "Maker"


def test_what_a_format_cannot_hold_is_told_before_the_work(done: tuple[Path, Any]) -> None:
    _, answers = done
    assert "JPEG cannot hold the alpha channel; use .png" in answers[5].err
    assert ".png holds one picture and the input has 3 planes" in answers[6].err
    assert "gif" in answers[7].err
    assert [a.code for a in answers[5:8]] == [1, 1, 2]


def test_scans_of_one_bit(done: tuple[Path, Any]) -> None:
    folder, answers = done
    assert answers[8].code == 0, answers[8].err
    with Image.open(folder / "scan.png-0" / "scan_restored.png") as image:
        assert (image.mode, image.size) == ("L", (44, 40))
