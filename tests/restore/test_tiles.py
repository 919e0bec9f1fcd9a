"""Large pictures: tiles that cover, blend, are kept and gone on with."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.engines import Backwards
from torch import Tensor

from blinddps import deblur
from blinddps.cli import main
from blinddps.core import InputError, Outcome, SolverError
from blinddps.io import Picture, read_image, write_image
from blinddps.restore import Cards, DeblurSettings, tiles
from blinddps.restore.geometry import spans
from blinddps.restore.kept_kernel import Found, KeptKernel
from blinddps.restore.tiles import Kept, forget, goes_in_tiles


def shrinking(x: Tensor, sigma: Tensor) -> Tensor:
    """The denoiser of a unit Gaussian."""
    return x / (1 + sigma.reshape(-1, 1, 1, 1).square())


KERNEL = np.full((3, 5), 0.02, np.float32)
KERNEL[1, 1:4] = 0.1, 0.56, 0.1
OPTIONS: dict[str, Any] = {"prior": shrinking, "known_kernel": KERNEL, "noise": 0.02, "device": "cpu"}


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes in tiles, and is kept, at sizes that take no time."""
    for name, value in {"LARGE": 5000, "SIDE": 64, "MARGIN": 4, "RAMP": 8}.items():
        monkeypatch.setattr(tiles, name, value)
    monkeypatch.setattr(sys.modules["blinddps.restore.deblur"], "RESUMABLE", 5000)


def interrupted_at(monkeypatch: pytest.MonkeyPatch, which: int) -> SimpleNamespace:
    """Tiles are solved but for the call ``which``, at which somebody presses Ctrl-C; ``count`` of the calls."""
    solve, calls = tiles.solve, SimpleNamespace(count=0)

    def counted(*arguments: Any) -> Any:
        calls.count += 1
        if calls.count == which:
            raise KeyboardInterrupt
        return solve(*arguments)

    monkeypatch.setattr(tiles, "solve", counted)
    return calls


def blurred(height: int = 90, width: int = 110) -> tuple[np.ndarray, np.ndarray]:
    """Sharp and blurred, of one size."""
    rng = np.random.default_rng(0)
    sharp = np.kron(rng.random((height // 6 + 2, width // 6 + 2, 3)), np.ones((6, 6, 1)))[: height + 2, : width + 4]
    turned = KERNEL[::-1, ::-1]
    y = sum(turned[i, j] * sharp[i : i + height, j : j + width] for i in range(3) for j in range(5))
    noisy = (y + 0.01 * rng.standard_normal(y.shape)).clip(0, 1).astype(np.float32)
    return sharp[1:-1, 2:-2].astype(np.float32), noisy


@pytest.mark.parametrize(("length", "side"), [(64, 64), (65, 64), (100, 64), (1000, 64), (41, 64)])
def test_tiles_cover_an_axis_and_their_borders_do_not_count(length: int, side: int) -> None:
    total = np.zeros(length)
    found = spans(length, side, 6, 8)
    for one in found:
        assert len(one.weight) == min(side, length)
        total[one.place] += one.weight
        if one.start > 0:
            assert not one.weight[:6].any()
        if one.start + side < length:
            assert not one.weight[-6:].any()
    assert np.allclose(total, 1, atol=1e-6)
    assert len(found) == (1 if length <= side else -(-(length - 20) // (side - 20)))


def test_what_goes_in_tiles() -> None:
    def goes(size: tuple[int, int] = (1200, 900), kernel: int = 25, **options: Any) -> bool:
        settings = DeblurSettings(known_kernel=np.ones((3, 3)), **options)
        return goes_in_tiles(settings, Cards.of(settings), size, (kernel, kernel))

    assert goes()
    assert not goes((1000, 1000))
    assert not goes(kernel=129)
    assert not goes(boundary="circular")
    assert not goes(samples=2)
    assert not goes(solver="wiener")
    assert not goes(prior="faces-128")


def test_tiles_give_the_picture_that_is_restored_at_once(small_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sharp, y = blurred()
    steps = []
    tiled = deblur(y, **OPTIONS, on_step=steps.append)
    assert tiled.tiles == 6
    assert [s.index for s in steps] == list(range(24))
    assert {s.total for s in steps} == {24}
    monkeypatch.setattr(tiles, "LARGE", 10**6)
    whole = deblur(y, **OPTIONS)
    assert whole.tiles == 1
    errors = [float(np.sqrt(np.square(x - sharp).mean())) for x in (y, tiled.image, whole.image)]
    assert errors[1] < errors[0]
    assert errors[1] < 1.1 * errors[2]
    assert tiled.residual[0] == pytest.approx(whole.residual[0], rel=0.1)
    assert tiled.outcome[0].status == "finished"


def test_what_is_interrupted_goes_on_to_the_same_bytes(
    small_tiles: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, y = blurred()
    unbroken = deblur(y, **OPTIONS).image
    calls = interrupted_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        deblur(y, **OPTIONS, work=tmp_path / "kept")
    again = deblur(y, **OPTIONS, work=tmp_path / "kept")
    assert calls.count == 4 + 3
    assert np.array_equal(again.image, unbroken)
    assert any(n.startswith("3 of 6 tiles had been kept") for n in again.notes)
    calls.count = 10
    deblur(y, **{**OPTIONS, "noise": 0.03}, work=tmp_path / "kept")  # another call's tiles are no help
    assert calls.count == 16
    forget(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_workers_share_the_tiles_to_the_same_bytes(small_tiles: None, tmp_path: Path) -> None:
    _, y = blurred()
    heard = []
    alone = deblur(y, **OPTIONS).image
    assert np.array_equal(deblur(y, **OPTIONS, engine=Backwards(), on_step=heard.append).image, alone)
    assert [(step.index, step.total) for step in heard] == [(i, 6) for i in range(6)]
    with pytest.raises(SolverError, match="tile 3 was not restored: its process was ended"):
        deblur(y, **OPTIONS, engine=Backwards(dies=lambda batch: batch[0].index == 2), work=tmp_path / "kept")
    again = deblur(y, **OPTIONS, work=tmp_path / "kept")
    assert np.array_equal(again.image, alone)
    assert any(n.startswith("3 of 6 tiles had been kept") for n in again.notes)


def test_tiles_in_batches_as_a_gpu_has_room(small_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _, y = blurred()
    alone = deblur(y, **OPTIONS).image
    solve, sizes = tiles.solve, []

    def narrow(problem: Any, on_step: Any) -> Any:
        sizes.append(len(problem.y))
        if len(problem.y) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return solve(problem, on_step)

    monkeypatch.setattr(tiles, "solve", narrow)
    monkeypatch.setattr(tiles, "tiles_at_once", lambda device, pixels: 4)
    assert np.abs(deblur(y, **OPTIONS).image - alone).max() < 2e-4
    assert sizes == [4, 2, 2, 2]


def test_measured_light_loses_nothing_to_tiles(small_tiles: None) -> None:
    """16 bit of a range with room for peaks would be coarser than the noise."""
    _, y = blurred()
    low, high = -100.0, 1e6
    measured = Picture(y, None, np.dtype(np.float32), None, "FITS", None, y.shape, low=low, high=high, light="linear")
    image = deblur(measured, **{**OPTIONS, "noise": 1e-3}).image
    assert np.abs(image * 65535 - np.rint(image * 65535)).max() > 0.4


def test_a_file_of_the_users_with_the_kernels_name_stays(tmp_path: Path) -> None:
    """It was replaced if the word blinddps stood in it."""
    part = Found(KERNEL, (Outcome("restored", "well"),), 0.9, None, {}, (), 2.0, {})
    kept = KeptKernel(tmp_path, blurred()[1], DeblurSettings())
    (tmp_path / "kernel.json").write_text('{"made for": "blinddps"}')
    kept.put(part, (0, 0, 70, 64), ())
    assert (tmp_path / "kernel.json").read_text() == '{"made for": "blinddps"}'
    (tmp_path / "kernel.json").unlink()
    for seconds in (2.0, 3.0):  # ours is
        kept.put(replace(part, seconds=seconds), (0, 0, 70, 64), ())
        again = kept.get()
        assert again is not None
        assert again[0].seconds == seconds


def test_the_kernel_that_was_found_is_kept_too(
    small_tiles: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, y = blurred()
    sought = 0
    part = Found(
        KERNEL, (Outcome("restored", "well"),), 0.9, None, {"image": 3}, ("a note",), 2.0, {"image": {"name": "x"}}
    )

    def found(*_: Any) -> Any:
        nonlocal sought
        sought += 1
        return part, (0, 0, 70, 64), (((0, 0, 70, 64), 0.9),)

    monkeypatch.setattr(sys.modules["blinddps.restore.deblur"], "kernel_by_region", found)
    options = {**OPTIONS, "known_kernel": None, "region": (0, 0, 70, 64)}
    unbroken = deblur(y, **options)
    calls = interrupted_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        deblur(y, **options, work=tmp_path / "kept")
    again = deblur(y, **options, work=tmp_path / "kept")
    assert (sought, calls.count) == (2, 3 + 4)
    assert np.array_equal(again.image, unbroken.image)
    assert np.array_equal(again.kernel, unbroken.kernel)
    assert (again.confidence, again.region, again.regions) == (0.9, (0, 0, 70, 64), (((0, 0, 70, 64), 0.9),))
    assert again.outcome == unbroken.outcome
    assert any(n.startswith("the kernel had been kept") for n in again.notes)
    deblur(y, **{**options, "seed": 1}, work=tmp_path / "kept")  # another call's kernel is no help
    assert sought == 3
    forget(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_the_folder_of_tiles_is_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="holds other files"):
        Kept(tmp_path / "kept", "a")
    assert (tmp_path / "kept" / "holiday.jpg").read_bytes() == b"mine"
    forget(tmp_path / "kept")
    assert (tmp_path / "kept" / "holiday.jpg").exists()
    (tmp_path / "kept" / "holiday.jpg").unlink()
    for name, content in (("tiles.json", b"mine"), ("tile-mine.npz", b"mine"), ("tile-00001.npz", b"mine")):
        (tmp_path / "kept" / name).write_bytes(content)
        with pytest.raises(InputError, match=r"holds other files|no record of this program"):
            Kept(tmp_path / "kept", "a")
        forget(tmp_path / "kept")
        assert (tmp_path / "kept" / name).read_bytes() == content
        (tmp_path / "kept" / name).unlink()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot keep tiles"):
        Kept(tmp_path / "file", "a")


def test_the_command_says_what_is_kept_and_goes_on(
    small_tiles: None,
    tiny: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_image(tmp_path / "y.png", blurred()[1])
    np.save(tmp_path / "k.npy", KERNEL)
    call = ["blinddps", "deblur", str(tmp_path / "y.png"), "--out", str(tmp_path / "out"), "--threads", "1"]
    call += ["--known-kernel", str(tmp_path / "k.npy"), "--prior", tiny["prior"], "--noise", "0.02"]
    monkeypatch.setattr(sys, "argv", call)
    calls = interrupted_at(monkeypatch, 3)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert "2 tiles are kept in" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)
    assert calls.count == 3 + 4
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "y_figure.png",
        "y_kernel.npy",
        "y_kernel.png",
        "y_restored.png",
        "y_result.json",
    ]
    assert read_image(tmp_path / "out" / "y_restored.png").data.shape == (90, 110, 3)
