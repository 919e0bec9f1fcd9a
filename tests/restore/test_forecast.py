"""What a restoration will take, and a limit on its memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blinddps import deblur
from blinddps.cli import main
from blinddps.core import InputError
from blinddps.io import write_image
from blinddps.restore import forecast, tiles
from blinddps.restore.forecast import slowness
from blinddps.restore.geometry import spans
from blinddps.restore.memory import memory_of
from blinddps.restore.tiles import grid_of

KERNEL = np.full((3, 5), 1 / 15, np.float32)
forecasting = sys.modules[forecast.__module__]


@pytest.fixture(autouse=True)
def as_slow_as_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "slowness", lambda: 1.0)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3), dtype=np.float32)


def test_a_known_kernel_takes_seconds_by_the_pixel() -> None:
    half, one = (forecast(noise(h, 1000), known_kernel=KERNEL) for h in (500, 1000))
    assert half.seconds is not None
    assert one.seconds is not None
    assert half.seconds[0] == half.seconds[1]
    grown = one.seconds[0] - half.seconds[0]
    assert grown == pytest.approx(0.5 * (forecasting.PICTURE + forecasting.WRITTEN))
    assert (one.tiles, one.tile, one.regions) == (1, 0, ())
    large = forecast(noise(1100, 1000), known_kernel=KERNEL)
    assert large.tile == 512
    assert large.tiles == len(spans(1100, 510, 13, 24)) * len(spans(1000, 508, 14, 24))
    assert large.memory is not None
    assert one.memory is not None
    assert large.memory < one.memory  # a tile is less than a picture


def test_a_kernel_that_is_sought_takes_from_to() -> None:
    quick = forecast(noise(700, 700), effort="quick")
    usual = forecast(noise(700, 700))
    assert quick.seconds is not None
    assert usual.seconds is not None
    assert quick.seconds[0] < quick.seconds[1] < usual.seconds[1]
    assert quick.seconds[0] == usual.seconds[0]
    assert len(quick.regions) == 1
    assert quick.regions[0][2:] == (400, 400)
    assert forecast(noise(300, 300)).regions == ()


def test_a_large_picture_whose_kernel_is_sought_goes_in_tiles() -> None:
    """It was said to need the memory of a picture restored at once: 16 GB for 12 MP."""
    sought = forecast(noise(1100, 1000))
    known = forecast(noise(1100, 1000), known_kernel=np.ones((64, 64)))
    assert sought.regions
    assert (sought.tiles, sought.tile) == (known.tiles, known.tile)
    assert sought.tile == 512
    assert sought.memory == known.memory


def test_what_is_not_forecast() -> None:
    for options in ({"solver": "pan-l0"}, {"samples": 2}, {"prior": "faces-128"}):
        told = forecast(noise(128, 128), **options)
        assert told.seconds is None
        assert told.memory is None


def test_how_slow_this_machine_is() -> None:
    assert 0.05 < slowness() < 500


def test_tiles_fit_into_a_limit() -> None:
    picture = noise(1100, 1000)
    least = memory_of(1100 * 1000, 0)
    told = forecast(picture, known_kernel=KERNEL, max_memory=least + 0.1)
    assert told.tile == 288  # the largest multiple of 16 whose square takes 0.1 GB
    assert told.memory is not None
    assert told.memory <= least + 0.1
    with pytest.raises(
        InputError, match=r"^max_memory is 0\.5 GB, and a picture of 1000 x 1100 pixels needs about 0\."
    ):
        forecast(picture, known_kernel=KERNEL, max_memory=0.5)
    with pytest.raises(InputError, match="a picture of 700 x 700 pixels needs about"):
        deblur(noise(700, 700), max_memory=0.7)  # the part on which its kernel is found


def test_a_picture_too_large_for_the_limit_goes_in_tiles() -> None:
    def shrinking(x: Any, sigma: Any) -> Any:
        return x / (1 + sigma.reshape(-1, 1, 1, 1).square())

    picture = 0.5 + 0.2 * noise(170, 190)
    options: dict[str, Any] = {"prior": shrinking, "known_kernel": KERNEL, "noise": 0.02, "device": "cpu"}
    whole = deblur(picture, **options)
    assert (whole.tiles, whole.settings.max_memory) == (1, "none")
    limit = memory_of(170 * 190, 130**2)
    tiled = deblur(picture, **options, max_memory=limit)
    assert tiled.tiles == len(grid_of((170, 190), (3, 5), 128)) == 4
    assert tiled.image.shape == picture.shape


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "y.png", noise(650, 700))
    (tmp_path / "z.png").write_bytes(b"no picture")

    def no_work(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a dry run solved something")

    monkeypatch.setattr(tiles, "solve", no_work)
    call = ["blinddps", "deblur", str(tmp_path / "y.png"), str(tmp_path / "z.png"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*call, "--dry-run", "--threads", "1"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    told = capsys.readouterr()
    assert f"{tmp_path / 'y.png'}: 700 x 650 pixels; kernel on 400 x 400 pixels at (" in told.out
    assert " GB" in told.out
    assert "z.png" in told.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["y.png", "z.png"]
