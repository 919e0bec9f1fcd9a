"""Every solver behind one call, and a kernel that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blinddps import TurbulenceSettings, deblur
from blinddps.baselines import fusion
from blinddps.core import InputError, Step
from blinddps.metrics import aligned_psnr, mnc
from blinddps.operators import Blur
from blinddps.restore import DeblurSettings
from blinddps.restore.candidates.baseline import _METHODS
from blinddps.restore.solvers import FUSIONS, SOLVERS

Picture = Callable[..., np.ndarray]
BASELINES = [name for name, info in SOLVERS.items() if info.room == "baselines"]
KERNEL = np.outer([1.0, 2, 1], [1, 3, 1, 0])  # even and odd, sum 20


def options(tiny: dict[str, Any], solver: str) -> dict[str, Any]:
    """What ``solver`` uses of the options that make tests fast."""
    uses = SOLVERS[solver].uses
    return {name: value for name, value in tiny.items() if name in uses} | {"solver": solver}


def test_the_table_fits_the_settings_and_the_methods() -> None:
    names = {f.name for f in fields(DeblurSettings)}
    assert all(info.uses <= names for info in SOLVERS.values())
    assert set(BASELINES) == set(_METHODS)
    assert set(fusion.FUSIONS) == set(FUSIONS)
    assert all(info.uses <= {f.name for f in fields(TurbulenceSettings)} for info in FUSIONS.values())
    with pytest.raises(InputError, match="unknown solver 'lucky'"):
        DeblurSettings(solver="lucky")


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_restores(tiny: dict[str, Any], picture: Picture, trained: dict[str, Path], solver: str) -> None:
    known: dict[str, Any] = {"known_kernel": KERNEL} if SOLVERS[solver].kernel == "needed" else {}
    if SOLVERS[solver].trained:
        known = {"weights": trained[solver]}
    steps: list[Step] = []
    result = deblur(picture(32, 40), **options(tiny, solver), **known, on_step=steps.append)
    assert result.image.shape == (32, 40, 3)
    assert np.isfinite(result.image).all()
    assert result.image.min() >= 0
    assert result.image.max() <= 1
    expected = {"needed": (3, 4), "none": (1, 1), "found": (8, 8)}[SOLVERS[solver].kernel]
    assert result.kernel.shape == expected
    assert result.kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(result.residual[0])
    assert [s.index for s in steps] == list(range(steps[0].total))
    assert all({"image", "kernel"} <= set(s.estimate) for s in steps)
    assert set(result.priors) == ({"image"} if SOLVERS[solver].has_prior else set()) | (
        {"kernel"} if "kernel_prior" in SOLVERS[solver].uses else set()
    ) | ({"weights"} & known.keys())
    assert [n for n in result.notes if "does not use" in n] == []


@pytest.mark.parametrize("solver", [s for s, info in SOLVERS.items() if "known_kernel" in info.uses])
def test_a_known_kernel_is_kept(tiny: dict[str, Any], picture: Picture, tmp_path: Path, solver: str) -> None:
    given = {n: v for n, v in options(tiny, solver).items() if n not in ("kernel_size", "kernel_prior")}
    given = {n: v for n, v in given.items() if SOLVERS[solver].has_prior or n in ("solver", "device")}
    result = deblur(picture(), **given, known_kernel=KERNEL)
    assert np.allclose(result.kernel, KERNEL / 20, atol=1e-7)
    assert "kernel" not in result.priors
    assert "kernel" not in result.nfe
    np.save(tmp_path / "k.npy", KERNEL)
    for path in (tmp_path / "k.npy", str(tmp_path / "k.npy")):
        assert np.array_equal(deblur(picture(), **given, known_kernel=path).image, result.image)
    again = deblur(picture(), result.settings)
    assert np.array_equal(again.image, result.image)
    assert result.settings.known_kernel == tuple(map(tuple, KERNEL.tolist()))
    doubled = deblur(picture(), **given, known_kernel=2 * KERNEL)
    assert np.allclose(doubled.image, result.image, atol=1e-6)


@pytest.mark.parametrize("boundary", ["replicate", "valid"])
def test_the_residual_with_a_known_kernel_is_that_of_the_answer(
    tiny: dict[str, Any], picture: Picture, boundary: str
) -> None:
    y = picture()
    given = {n: v for n, v in tiny.items() if n not in ("kernel_size", "kernel_prior")}
    result = deblur(y, **given, known_kernel=KERNEL, boundary=boundary, noise=0.05)
    assert result.image.shape == y.shape
    if boundary == "replicate":
        x, k = (torch.from_numpy(a) for a in (result.image.transpose(2, 0, 1)[None], result.kernel[None, None]))
        seen = Blur(boundary)(image=x, kernel=k)[0].numpy().transpose(1, 2, 0)
        assert result.residual[0] == pytest.approx(float(np.sqrt(np.mean((y - seen) ** 2))) / 0.05, rel=1e-3)


def test_pan_l0_improves_a_picture_and_its_record_repeats_it() -> None:
    rng = np.random.default_rng(3)
    sharp = np.kron(rng.random((14, 14)), np.ones((6, 6))).astype(np.float32)
    kernel = np.zeros((7, 7), np.float32)
    kernel[3, 1:6] = 0.2
    x, k = torch.from_numpy(sharp)[None, None], torch.from_numpy(kernel)[None, None]
    y = Blur("valid")(image=x, kernel=k)[0, 0].numpy() + 0.003 * rng.standard_normal((78, 78)).astype(np.float32)
    result = deblur(y.clip(0, 1), solver="pan-l0", kernel_size=9)
    truth = torch.from_numpy(sharp[3:-3, 3:-3])[None, None]
    out = torch.from_numpy(result.image[None, ..., 0])[None]
    gain = aligned_psnr(out, truth, 4, 1.0) - aligned_psnr(torch.from_numpy(y)[None, None], truth, 4, 1.0)
    assert float(gain) > 3
    assert float(mnc(torch.from_numpy(result.kernel)[None, None], k)) > 0.9
    assert result.nfe == {"image": 0}
    again = deblur(y.clip(0, 1), result.settings)
    assert np.array_equal(again.image, result.image)
    assert again.notes == ()


def test_uniform_is_the_paper_without_a_kernel_prior(tiny: dict[str, Any], picture: Picture) -> None:
    own = deblur(picture(), **options(tiny, "uniform"))
    paper = deblur(picture(), **options(tiny, "paper") | {"kernel_prior": "uniform"})
    assert np.array_equal(own.image, paper.image)
    assert own.settings.kernel_prior == "uniform"
    assert own.notes == paper.notes == ()
    assert deblur(picture(), paper.settings).notes == ()  # of a penalty that nobody asked for


@pytest.mark.parametrize("solver", ["paper", "uniform"])
def test_a_uniform_prior_is_held_by_the_projection_alone(tiny: dict[str, Any], picture: Picture, solver: str) -> None:
    given = options(tiny, solver) | {"kernel_prior": "uniform", "kernel_step_size": 0.01}
    simplex, divided = (deblur(picture(), **given, projection=p) for p in ("simplex", "normalise"))
    assert divided.notes == ()
    assert not np.array_equal(simplex.kernel, divided.kernel)
    (note,) = deblur(picture(), **given, sparsity=3.0).notes
    assert note == f"solver '{solver}' with a uniform prior of the kernel does not use sparsity"
    fast = options(tiny, "fast")
    plain, told = deblur(picture(), **fast), deblur(picture(), **fast, projection="normalise")
    assert told.notes == ("solver 'fast' does not use projection; choose solver 'paper' for these",)
    assert np.array_equal(plain.image, told.image)


def test_dps_is_the_paper_with_the_kernel_known(tiny: dict[str, Any], picture: Picture) -> None:
    given = {n: v for n, v in tiny.items() if n not in ("kernel_size", "kernel_prior")}
    dps, paper = (deblur(picture(), **given, solver=s, known_kernel=KERNEL) for s in ("dps", "paper"))
    assert np.array_equal(dps.image, paper.image)
    with pytest.raises(InputError, match=r"^solver 'dps' needs the kernel; give known_kernel \(--known-kernel FILE\)$"):
        deblur(picture(), **given, solver="dps")


def test_unused_choices_are_told(tiny: dict[str, Any], picture: Picture) -> None:
    result = deblur(picture(), solver="pan-l0", kernel_size=9, samples=3, prior="faces-128")
    assert result.notes == ("solver 'pan-l0' does not use prior, samples",)
    assert len(result.images) == 1
    heavy = deblur(picture(), solver="pan-l0", kernel_size=9, kernel_weight=200)
    assert heavy.notes == ()
    assert not np.array_equal(heavy.kernel, result.kernel)
    assert deblur(picture(), solver="pan-dcp", known_kernel=KERNEL, kernel_weight=3).notes == (
        "solver 'pan-dcp' with a known kernel does not use kernel_weight",
    )
    assert "does not use kernel_weight" in deblur(picture(), **tiny, kernel_weight=3).notes[0]
    for solver in ("pan-l0", "pan-dcp", "selfdeblur", "richardson-lucy", "wiener"):
        plain = deblur(picture(), solver=solver, known_kernel=KERNEL)
        assert plain.notes == deblur(picture(), plain.settings).notes == (), solver
    known = deblur(picture(), solver="selfdeblur", known_kernel=KERNEL, num_steps=4)
    assert known.notes == ("solver 'selfdeblur' with a known kernel does not use num_steps",)
    (note,) = deblur(picture(), **options(tiny, "ilvr")).notes
    assert note.startswith("solver 'ilvr' knows no blur: its kernel is a single one")


def test_names_and_kernels_that_cannot_be_used(picture: Picture, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^unknown solver 'pan-10'; did you mean 'pan-l0'\?"):
        deblur(picture(), solver="pan-10")
    for name, content in (("empty.npy", b""), ("text.npy", b"hello"), ("k.png", b"")):
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    cases: list[tuple[Any, str]] = [
        (np.ones(3), r"known_kernel has shape \(3,\); give \(h, w\)"),
        (np.ones((2, 1, 3, 3)), r"known_kernel has shape \(2, 1, 3, 3\); give"),
        (np.zeros((3, 3)), "known_kernel is zero everywhere; give a kernel with mass"),
        (np.full((3, 3), 1e308), r"known_kernel has entries up to 1e\+308, whose sum overflows; divide them by the"),
        (np.ma.masked_equal(np.eye(3), 1), "known_kernel has masked entries; fill them first"),
        (torch.ones(3, 3, device="meta"), "known_kernel is no array of numbers"),
        (np.array([[1.0, -0.1]]), "known_kernel has entries that are negative or not finite"),
        (np.array([[1.0, np.nan]]), "known_kernel has entries that are negative or not finite"),
        ([["a", "b"]], "known_kernel is no array of numbers"),
        ([[1.0], [1.0, 2.0]], "known_kernel is no array of numbers"),
        (
            np.ones((33, 3)),
            "the known kernel is 3 x 33 pixels and the picture 32 x 32; give the part of it that is not",
        ),
        ("/nowhere/k.npy", "kernel '/nowhere/k.npy' does not exist; check the path"),
        (tmp_path / "k.png", r"cannot read kernel '.*k.png': the file is empty; get a fresh copy"),
        (tmp_path / "empty.npy", "cannot read kernel '.*empty.npy': it holds no array of numbers"),
        (tmp_path / "text.npy", "cannot read kernel '.*text.npy': it holds no array of numbers"),
        (tmp_path / "objects.npy", "cannot read kernel '.*objects.npy': it holds no array of numbers"),
    ]
    for given, message in cases:
        with pytest.raises(InputError, match=message):
            deblur(picture(), solver="pan-l0", known_kernel=given)


def test_a_known_kernel_is_not_resized(tiny: dict[str, Any], make_prior: Callable[..., str], picture: Picture) -> None:
    fixed = tiny | {"prior": make_prior("image", 3, any_size=False, sizes=(32,))}
    assert deblur(picture(32, 32), **fixed, known_kernel=KERNEL).image.shape == (32, 32, 3)
    with pytest.raises(
        InputError, match=r"the known kernel is in pixels of this picture, which prior '.*' sees at 32 x 32"
    ):
        deblur(picture(40, 40), **fixed, known_kernel=KERNEL)


def test_turbulence_takes_none_of_this() -> None:
    with pytest.raises(InputError, match="unknown solver 'pan-l0'"):
        TurbulenceSettings(solver="pan-l0")
    with pytest.raises(InputError, match="known_kernel is given, which a restoration through turbulence cannot take"):
        TurbulenceSettings(known_kernel=KERNEL)


def test_a_known_kernel_assumes_nothing_beyond_the_edge(tiny: dict[str, Any], picture: Picture) -> None:
    assert deblur(picture(), **tiny, known_kernel=KERNEL).settings.boundary == "valid"
    assert deblur(picture(), **tiny, known_kernel=KERNEL, boundary="zero").settings.boundary == "zero"
    assert deblur(picture(), **tiny).settings.boundary == "replicate"
