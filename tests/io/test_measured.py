"""Values of detectors: FITS and float TIFF of any range, what is missing, headers, cubes, stacks of ImageJ and OME."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from blinddps.core import InputError
from blinddps.io import (
    filled,
    masked,
    output_suffix,
    read_frames,
    read_image,
    read_mask,
    read_planes,
    write_image,
    write_planes,
)

fits = pytest.importorskip("astropy.io.fits")


def counts(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(5, 300, shape)).astype(np.float32)


def header() -> Any:
    made = fits.Header()
    made["BUNIT"], made["OBJECT"], made["EXPTIME"] = "MJy/sr", "M 51", 30.0
    made["CTYPE1"], made["CTYPE2"] = "RA---TAN", "DEC--TAN"
    made["CRPIX1"], made["CRPIX2"], made["CRVAL1"], made["CRVAL2"] = 8.0, 6.0, 202.5, 47.2
    made["CDELT1"], made["CDELT2"] = -3e-4, 3e-4
    return made


def back(path: Path) -> np.ndarray:
    """What is written of what was read, in the file's values."""
    picture = read_image(path, warn=False)
    write_image(path.with_name("again.fits"), picture.data, like=picture, history=["one step"])
    return np.asarray(fits.getdata(path.with_name("again.fits"), -1))


def test_fits_keeps_values_header_and_coordinates(tmp_path: Path) -> None:
    x = counts(20, 30)
    fits.PrimaryHDU(x, header()).writeto(tmp_path / "x.fits")
    picture = read_image(tmp_path / "x.fits")
    assert picture.format == "FITS"
    assert picture.light == "linear"
    assert picture.data.shape == (20, 30, 1)
    assert picture.low < x.min() < x.max() < picture.high  # room for a restoration's peaks
    assert output_suffix(picture) == ".fits"
    written = back(tmp_path / "x.fits")
    assert written.dtype.itemsize == 4
    np.testing.assert_allclose(written, x, atol=1e-3)
    assert abs(written.sum() / x.sum() - 1) < 1e-4
    with fits.open(tmp_path / "again.fits") as parts:
        kept = parts[0].header
        for key, value in header().items():
            assert kept[key] == value, key
        assert list(kept["HISTORY"]) == ["one step"]
        from astropy.wcs import WCS

        there = WCS(kept).pixel_to_world_values(3, 4)
        np.testing.assert_allclose(there, WCS(header()).pixel_to_world_values(3, 4))


@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "f8", "u1"])
def test_fits_of_every_type(tmp_path: Path, kind: str) -> None:
    x = np.clip(counts(12, 14), 0 if "u" in kind else None, 250 if kind == "u1" else None).astype(kind)
    fits.PrimaryHDU(x).writeto(tmp_path / "x.fits")
    written = back(tmp_path / "x.fits")
    np.testing.assert_allclose(written, x, atol=1e-3)
    assert "BZERO" not in fits.getheader(tmp_path / "again.fits")


def test_fits_blank_pixels_are_missing_and_stay_so(tmp_path: Path) -> None:
    x = counts(20, 30)
    x[3, 4], x[10:13, 5], x[0, 0] = np.nan, np.inf, -np.inf
    fits.PrimaryHDU(x).writeto(tmp_path / "x.fits")
    picture = read_image(tmp_path / "x.fits")
    assert picture.missing is not None
    np.testing.assert_array_equal(picture.missing, ~np.isfinite(x))
    assert np.isfinite(picture.data).all()
    np.testing.assert_array_equal(np.isnan(back(tmp_path / "x.fits")), ~np.isfinite(x))

    whole = np.arange(300, dtype=np.int16).reshape(15, 20)
    hdu = fits.PrimaryHDU(whole)
    hdu.header["BLANK"] = 17
    hdu.writeto(tmp_path / "b.fits")
    missing = read_image(tmp_path / "b.fits").missing
    assert missing is not None
    np.testing.assert_array_equal(missing, whole == 17)


def test_fits_picture_in_an_extension_goes_back_there(tmp_path: Path) -> None:
    x = counts(20, 30)
    first = fits.PrimaryHDU()
    first.header["TELESCOP"] = "JWST"
    parts = [first, fits.ImageHDU(x, header(), name="SCI"), fits.ImageHDU(x, name="ERR")]
    fits.HDUList(parts).writeto(tmp_path / "x.fits")
    with pytest.warns(UserWarning, match="of its parts 'SCI' is restored, and ERR left out"):
        read_image(tmp_path / "x.fits")
    np.testing.assert_allclose(back(tmp_path / "x.fits"), x, atol=1e-3)
    with fits.open(tmp_path / "again.fits") as written:
        assert [p.name for p in written] == ["PRIMARY", "SCI"]
        assert written[0].header["TELESCOP"] == "JWST"
        assert written[1].header["BUNIT"] == "MJy/sr"

    whole = x.astype(np.int16)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(whole, name="SCI")]).writeto(tmp_path / "c.fits")
    np.testing.assert_allclose(back(tmp_path / "c.fits"), whole, atol=1e-3)


def test_fits_cubes_are_planes(tmp_path: Path) -> None:
    x = counts(2, 3, 12, 14)
    fits.PrimaryHDU(x, header()).writeto(tmp_path / "x.fits")
    with pytest.warns(UserWarning, match="holds 6 planes; only plane 1 is used"):
        read_image(tmp_path / "x.fits")
    planes = read_planes(tmp_path / "x.fits")
    assert len(planes) == 6
    assert len({(p.low, p.high) for p in planes}) == 1  # one range for all
    assert [p.notes for p in planes] == [()] * 6
    assert len(read_planes(tmp_path / "x.fits", "first")) == 1
    write_planes(tmp_path / "again.fits", [p.data for p in planes], planes)
    np.testing.assert_allclose(fits.getdata(tmp_path / "again.fits"), x, atol=1e-3)
    scene = read_frames(tmp_path / "x.fits")
    assert scene.names[:2] == ["plane 1", "plane 2"]
    np.testing.assert_array_equal(scene.frames[4], planes[4].data)


def test_fits_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.fits"
    fits.PrimaryHDU(counts(40, 50)).writeto(path)
    blob = path.read_bytes()
    for made, match in [
        (blob[:4000], "FITS data cannot be decoded"),
        (blob[:200], "FITS data cannot be decoded"),
        (
            blob.replace(b"NAXIS1  =                   50", b"NAXIS1  =               500000"),
            "more than max_pixels|decoded",
        ),
        (blob.replace(b"BITPIX  =                  -32", b"BITPIX  =                   13"), "cannot be decoded"),
    ]:
        assert made != blob
        path.write_bytes(made)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(InputError, match=match):
                read_image(path)
    path.unlink()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])]).writeto(path)
    with pytest.raises(InputError, match="holds no picture, only tables"):
        read_image(path)
    fits.PrimaryHDU(np.full((9, 9), np.nan)).writeto(path, overwrite=True)
    with pytest.raises(InputError, match="none of its values is a number"):
        read_image(path)
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(InputError, match=r"a FITS file and astropy is not installed; pip install 'blinddps\[fits\]'"):
        read_image(path)


def test_float_tiff_of_any_range(tmp_path: Path) -> None:
    x = counts(20, 30)
    x[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", x, photometric="minisblack")
    picture = read_image(tmp_path / "x.tif")
    assert picture.light == "linear"
    assert picture.missing is not None
    assert picture.missing.sum() == 1
    write_image(tmp_path / "y.tif", picture.data, like=picture)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "y.tif"), x, atol=1e-3)

    unit = np.random.default_rng(1).random((20, 30)).astype(np.float32)
    unit[5, 6] = 1.0009  # within the tolerance: clipped, and the range stays that of a screen
    tifffile.imwrite(tmp_path / "x.tif", unit, photometric="minisblack")
    picture = read_image(tmp_path / "x.tif")
    assert (picture.low, picture.high, picture.light) == (0, 1, "display")
    assert picture.data[5, 6] == 1


def test_stacks_of_imagej_and_ome_keep_what_they_say(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 4000, (3, 2, 16, 18), dtype=np.uint16)
    said = {"axes": "ZCYX", "spacing": 0.5, "unit": "um", "Labels": [f"plane {i}" for i in range(6)]}
    options: dict[str, Any] = {"resolution": (5.0, 5.0), "metadata": said}
    tifffile.imwrite(tmp_path / "ij.tif", x, imagej=True, photometric="minisblack", **options)
    ome = {"axes": "ZCYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm", "Channel": {"Name": ["a", "b"]}}
    tifffile.imwrite(tmp_path / "o.ome.tif", x, photometric="minisblack", metadata=ome)
    for name in ("ij.tif", "o.ome.tif"):
        planes = read_planes(tmp_path / name)
        assert len(planes) == 6
        write_planes(tmp_path / "y.tif", [p.data for p in planes], planes)
        with tifffile.TiffFile(tmp_path / name) as a, tifffile.TiffFile(tmp_path / "y.tif") as b:
            assert b.series[0].axes == a.series[0].axes == "ZCYX"
            np.testing.assert_array_equal(b.asarray(), x)
            assert b.pages[0].dtype == np.uint16
            if a.is_imagej:
                assert b.imagej_metadata == a.imagej_metadata
                assert b.pages[0].resolution == a.pages[0].resolution
            else:
                assert b.ome_metadata == a.ome_metadata
    tifffile.imwrite(tmp_path / "pages.tif", x[:, 0], photometric="minisblack", metadata=None)
    assert len(read_planes(tmp_path / "pages.tif")) == 1  # a scan's pages are no planes, unless asked for
    assert len(read_planes(tmp_path / "pages.tif", "each")) == 3


def test_fill_is_exact_for_ramps_and_bounded() -> None:
    y, x = np.mgrid[:40, :50].astype(np.float32)
    ramp = (0.01 * x + 0.005 * y)[..., None]
    hole = np.zeros((40, 50), bool)
    hole[20, 25], hole[:, 30] = True, True  # a hot pixel, a dead column
    spoiled = np.where(hole[..., None], np.float32(9), ramp)
    found = filled(spoiled, hole)
    np.testing.assert_array_equal(found[~hole], ramp[~hole])
    np.testing.assert_allclose(found, ramp, atol=0.012)
    large = np.zeros((40, 50), bool)
    large[:, 10:] = True
    assert ramp[:, :10].min() <= filled(spoiled, large).min() <= filled(spoiled, large).max() <= ramp[:, :10].max()


def test_masks(tmp_path: Path) -> None:
    x = counts(20, 30)
    x[1, 1] = np.nan
    fits.PrimaryHDU(x).writeto(tmp_path / "x.fits")
    bad = np.zeros((20, 30), bool)
    bad[4, 5], bad[:, 9] = True, True
    np.save(tmp_path / "m.npy", bad)
    fits.PrimaryHDU(bad.astype(np.int16) * 4).writeto(tmp_path / "m.fits")
    from PIL import Image

    Image.fromarray(bad.astype(np.uint8)).save(tmp_path / "m.png")
    for name in ("m.npy", "m.fits", "m.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), bad)
    picture = masked(read_image(tmp_path / "x.fits"), bad)
    assert picture.missing is not None
    assert picture.missing.sum() == bad.sum() + 1
    assert picture.blank is not None
    assert picture.blank.sum() == 1
    with pytest.raises(InputError, match="the mask is 7 x 6 pixels and the picture 30 x 20"):
        masked(picture, np.zeros((6, 7)))
    with pytest.raises(InputError, match="leaves no pixel"):
        masked(picture, np.ones((20, 30)))


def test_a_stream_of_fits(tmp_path: Path) -> None:
    stream = io.BytesIO()
    fits.PrimaryHDU(counts(12, 14)).writeto(stream)
    stream.seek(0)
    assert read_image(stream).data.shape == (12, 14, 1)
