"""``blinddps kernel`` as a process, and the series of pictures that it is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Call = Callable[..., Any]
QUICK = ["--effort", "quick", "--kernel-size", "9"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.random((8, 10, 3)), np.ones((12, 12, 1)))[:90, :110]
    Image.fromarray((255 * blocks).astype(np.uint8)).save(tmp_path / "photo.png")
    Image.fromarray((255 * blocks[::-1]).astype(np.uint8)).save(tmp_path / "other.png")
    return tmp_path


def test_a_kernel_and_a_series(photo: Path, several: Call, tiny: list[object]) -> None:
    found, again, wrong, beyond, series, drawn = several(
        [
            ["kernel", photo / "photo.png", "--out", photo / "new" / "k.npy", *tiny, *QUICK, "--region", "20,10,80,70"],
            ["kernel", photo / "photo.png", "--out", photo / "new" / "k.npy", *tiny],
            ["kernel", photo / "photo.png", "--out", photo / "k.png", *tiny],
            ["kernel", photo / "photo.png", "--out", photo / "l.npy", *tiny, "--region", "90,10,80,70"],
            [
                *["deblur", photo / "photo.png", photo / "other.png", "--out", photo / "out", *tiny],
                *["--known-kernel", photo / "new" / "k.npy"],
            ],
            [
                *["deblur", photo / "photo.png", "--out", photo / "drawn", *tiny],
                *["--known-kernel", photo / "new" / "k.png"],
            ],
        ]
    )
    assert found.code == 0, found.err
    assert sorted(p.name for p in (photo / "new").iterdir()) == ["k.npy", "k.png", "k_figure.png", "k_result.json"]
    kernel = np.load(photo / "new" / "k.npy")
    assert kernel.dtype == np.float32
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    record = json.loads((photo / "new" / "k_result.json").read_text())
    assert record["region"] == [20, 10, 80, 70]
    assert record["regions"] == [{"region": [20, 10, 80, 70], "confidence": record["confidence"]}]
    assert 0 < record["confidence"] < 1
    assert record["outcome"] in ("restored", "doubtful")
    assert record["files"] == ["k.npy", "k.png", "k_figure.png"]
    assert (again.code, wrong.code, beyond.code) == (1, 2, 1)
    assert "results are there already" in again.err
    assert "ends in .npy" in wrong.err
    assert "photo.png: region 90,10,80,70 reaches beyond the picture of 110 x 90 pixels" in beyond.err
    assert series.code == 0, series.err
    for name in ("photo", "other"):
        assert Image.open(photo / "out" / f"{name}_restored.png").size == (110, 90)
        assert np.allclose(np.load(photo / "out" / f"{name}_kernel.npy"), kernel, atol=1e-6)
    assert drawn.code == 0, drawn.err
    shape = kernel.shape if kernel.size > 1 else (9, 9)  # no blur is drawn as a point
    assert np.load(photo / "drawn" / "photo_kernel.npy").shape == shape


def test_the_figure_shows_the_region(photo: Path, several: Call, tiny: list[object]) -> None:
    (done,) = several(
        [["deblur", photo / "photo.png", "--out", photo / "out", *tiny, "--region", "20,10,70,66", *QUICK]]
    )
    assert done.code == 0, done.err
    figure = np.asarray(Image.open(photo / "out" / "photo_figure.png"))
    assert (figure == (255, 217, 0)).all(-1).sum() > 4 * 66
    record = json.loads((photo / "out" / "photo_result.json").read_text())
    assert record["region"] == [20, 10, 70, 66]
    assert any("as asked for" in note for note in record["notes"])
