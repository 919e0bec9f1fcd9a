"""``examples/gallery/make.py`` on two tiny generated pictures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy.signal import fftconvolve

from blinddps.core.reading import read_json

SCRIPT = Path(__file__).parents[1] / "examples" / "gallery" / "make.py"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery_make", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures behind known blurs, one with its truth."""
    folder = tmp_path / "data" / "real_more" / "flowdec"
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:48, :48] - 24
    psf = np.exp(-(rows**2 + columns**2) / 4)
    truth = (np.random.default_rng(0).random((6, 6)) > 0.5).repeat(8, 0).repeat(8, 1) * 160.0 + 40
    blurred = fftconvolve(np.pad(truth, 24, "edge"), psf / psf.sum(), "same")[24:-24, 24:-24]
    for name, picture in {"measured": blurred, "blurred": blurred, "truth": truth, "psf": 255 * psf}.items():
        for scene in ("bead", "bars"):
            Image.fromarray(picture.round().astype(np.uint8)).save(folder / f"{scene}_zsum_{name}.tif")
    return tmp_path / "data"


def test_two_pictures_leave_plates_records_and_a_page(
    gallery: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert gallery.main(["--data", str(data), "--out", str(out), "--only", "bead", "bars-16-bit", "moon"]) == 0
    assert "moon: left out" in capsys.readouterr().err
    page = (out / "gallery.md").read_text("utf-8")
    for name in ("bead", "bars-16-bit"):
        record = read_json(out / f"{name}_result.json")
        assert record["pixels"] == [48, 48]
        assert record["cpu_seconds"] > 0
        assert f"Verdict: {record['verdict']}." in page
        assert f"]({name}_plate.png)" in page
        with Image.open(out / f"{name}_plate.png") as plate:
            assert plate.width > 3 * 192
        assert record["verdict"] == "finished"  # nothing judges a known kernel
    before, after = read_json(out / "bars-16-bit_result.json")["psnr"]
    assert after > before + 2
    assert f"PSNR {before} dB before, {after} after." in page
    assert page.index("## bead") < page.index("## bars-16-bit")
    assert "moon" not in page


def test_nothing_of_others_is_replaced(gallery: ModuleType, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "bead_plate.png").write_bytes(b"mine")
    assert gallery.main(["--data", str(data), "--out", str(out), "--only", "bead"]) == 1
    assert (out / "bead_plate.png").read_bytes() == b"mine"
    (out / "bead_plate.png").unlink()
    (out / "gallery.md").write_text("mine", "utf-8")
    assert gallery.main(["--data", str(data), "--out", str(out), "--only", "bead"]) == 1
    assert (out / "gallery.md").read_text("utf-8") == "mine"


def test_no_picture_at_all_is_an_error(gallery: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gallery.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--only", "moon"]) == 1
    assert "none of the pictures" in capsys.readouterr().err


def test_every_case_is_named_once(gallery: ModuleType) -> None:
    names = [case.name for case in gallery.CASES]
    assert len(names) == len({*names}) >= 12
