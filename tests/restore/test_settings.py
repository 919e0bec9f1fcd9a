from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from blinddps.core import InputError
from blinddps.restore import SOLVERS, DeblurSettings
from blinddps.restore.plan import resolve
from blinddps.restore.settings import find_device, with_options

CPU = torch.device("cpu")


def resolved(height: int = 64, width: int = 64, sigma: float = 0.0, **options: Any) -> DeblurSettings:
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    return resolve(DeblurSettings(**options), sigma * noise, CPU)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (16, 16, 16),
        (40, 300, 16),
        (96, 96, 24),
        (120, 200, 32),
        (200, 130, 32),
        (180, 180, 48),
        (256, 256, 64),
        (600, 400, 64),
    ],
)
def test_kernel_size_is_a_quarter_of_the_shorter_side(height: int, width: int, size: int) -> None:
    assert resolved(height, width, solver="paper").kernel_size == size
    assert resolved(height, width, search="none").kernel_size == min(size, 32)
    room = min(height, width) // 4 if min(height, width) >= 64 else 0  # of a search
    assert resolved(height, width).kernel_size == max(min(size, 32), room)
    assert resolved(height, width, kernel_size=11).kernel_size == 11


def test_a_kernel_larger_than_the_picture() -> None:
    with pytest.raises(InputError, match=r"^kernel_size 33 is larger than the picture \(48 x 32\); give at most 32$"):
        resolved(32, 48, kernel_size=33)
    assert resolved(32, 48, kernel_size=32).kernel_size == 32


@pytest.mark.parametrize("sigma", [0.02, 0.2])
def test_noise_is_estimated_in_units_of_0_to_1(sigma: float) -> None:
    assert resolved(128, 128, sigma).noise == pytest.approx(sigma / 2, rel=0.05)
    assert resolved(128, 128, sigma, noise=0.3).noise == 0.3


def test_noise_of_several_frames_is_that_of_all_in_any_order() -> None:
    z = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    frames = torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1) * z
    one, other = (resolve(DeblurSettings(), y, CPU).noise for y in (frames, frames.flip(0)))
    assert one == other
    assert one == pytest.approx(math.sqrt((0.1**2 + 0.3**2) / 2) / 2, rel=0.05)


def test_noise_is_at_least_that_of_rounding_to_8_bit() -> None:
    assert resolved(sigma=0.0, solver="paper").noise == pytest.approx(1 / 255 / math.sqrt(12))
    assert resolved(sigma=1e-4, solver="paper").noise == pytest.approx(1 / 255 / math.sqrt(12))
    assert resolved(sigma=1e-4).noise == 0.005  # the fast solver would fit what border and compression leave
    assert resolved(sigma=0.0, noise=1e-5).noise == 1e-5


@pytest.mark.parametrize(
    ("options", "step", "kernel_step"),
    [
        ({"num_steps": 1000, "start": "noise"}, 0.3, 0.3),
        ({"num_steps": 1000, "start": 0.7}, 1.2, 0.05),
        ({"num_steps": 250, "start": "noise"}, 1.2, 1.2),
        ({"num_steps": 3, "start": "noise"}, 6.0, 6.0),
        ({"num_steps": 250, "kernel_prior": "uniform"}, 4.8, 4e-6),
        ({"num_steps": 250, "step_schedule": "likelihood"}, 1.0, 0.3),
        ({"num_steps": 1000, "start": "noise", "step_size": 0.7}, 0.7, 0.3),
        ({"num_steps": 1000, "kernel_step_size": 0.7}, 1.2, 0.7),
    ],
)
def test_steps(options: dict[str, Any], step: float, kernel_step: float) -> None:
    found = resolved(solver="paper", **options)
    assert (found.step_size, found.kernel_step_size) == (pytest.approx(step), pytest.approx(kernel_step))


@pytest.mark.parametrize("solver", ["fast", "paper", "uniform", "pan-l0"])
def test_nothing_that_is_used_is_left_open_and_nothing_else_changed(solver: str) -> None:
    given = DeblurSettings(seed=3, sparsity=0.5, boundary="valid", solver=solver)
    found = resolve(given, torch.zeros(1, 1, 200, 200), CPU)  # room for a search
    assert not [name for name in SOLVERS[solver].uses if getattr(found, name) == "auto"]
    if solver == "fast":  # what is not used was not chosen
        assert (found.step_size, found.kernel_step_size, found.sparsity) == ("auto", "auto", 0.5)
    assert {k: v for k, v in vars(given).items() if v != "auto"}.items() <= vars(found).items()
    assert found.device == "cpu"
    assert resolve(found, torch.ones(1, 1, 200, 200), CPU) == found


@pytest.mark.parametrize(("noise", "weight"), [(0.0001, 2), (0.001, 2), (0.01, 200), (0.02, 800)])
def test_pans_kernel_weight_follows_the_noise(noise: float, weight: float) -> None:
    assert resolved(solver="pan-l0", noise=noise).kernel_weight == pytest.approx(weight)
    assert resolved(solver="pan-dcp", noise=noise, kernel_weight=7).kernel_weight == 7
    assert resolved(solver="fast", noise=noise, search="edges").kernel_weight == "auto"
    assert resolved(solver="paper", noise=noise).kernel_weight == "auto"  # of another solver
    estimated = resolved(solver="pan-l0", sigma=2 * noise)  # the least noise, 0.005, does not count
    assert estimated.kernel_weight == pytest.approx(weight, rel=0.5)


def test_options_replace_settings() -> None:
    settings = DeblurSettings(seed=1)
    assert with_options(settings, {"samples": 2}) == DeblurSettings(seed=1, samples=2)
    assert with_options(settings, {}) == settings


@pytest.mark.parametrize(
    ("name", "nearest"), [("kernelsize", "kernel_size"), ("step", "step_size"), ("seeds", "seed"), ("tiles", "tile")]
)
def test_an_unknown_option(name: str, nearest: str) -> None:
    with pytest.raises(
        InputError, match=f"^unknown option '{name}'; did you mean '{nearest}'\\? \\(known: as_published, "
    ):
        with_options(DeblurSettings(), {name: 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"boundary": "wrap"},
            r"unknown boundary 'wrap'; .*\(known: auto, circular, reflect, replicate, valid, zero\)",
        ),
        ({"boundary": "reflekt"}, "did you mean 'reflect'"),
        ({"step_schedule": "likelyhood"}, "unknown step_schedule 'likelyhood'; did you mean 'likelihood'"),
        ({"sparsity_norm": "l2"}, "unknown sparsity_norm 'l2'"),
        ({"projection": "simplx"}, "did you mean 'simplex'"),
        ({"dtype": "float64"}, "unknown dtype 'float64'"),
        ({"kernel_size": 1}, "kernel_size is 1; give a whole number of at least 2, or auto"),
        ({"kernel_size": 8.0}, r"kernel_size is 8.0; give a whole number"),
        ({"kernel_size": "large"}, "kernel_size is 'large'; give a whole number of at least 2, or auto"),
        ({"noise": 0}, "noise is 0; give a number from 1e-09 to 1, or auto"),
        ({"noise": 1.5}, "noise is 1.5"),
        ({"noise": math.nan}, "noise is nan"),
        ({"num_steps": 0}, "num_steps is 0; give a whole number of at least 1, or auto$"),
        ({"solver": "fats"}, "unknown solver 'fats'; did you mean 'fast'"),
        ({"num_steps": True}, "num_steps is True"),
        ({"step_size": -1}, "step_size is -1; give a number of at least 0, or auto"),
        ({"kernel_step_size": math.inf}, "kernel_step_size is inf"),
        ({"sparsity": -0.1}, "sparsity is -0.1"),
        ({"kernel_weight": -1}, "kernel_weight is -1; give a number of at least 0, or auto$"),
        ({"samples": 0}, "samples is 0"),
        ({"seed": 0.5}, "seed is 0.5; give a whole number$"),
        ({"seed": 10**400}, "seed is 1000.*; give a whole number$"),
        ({"step_size": 10**400}, "step_size is 1000.*; give a number"),
        ({"prior": ["photos"]}, r"prior is \['photos'\]; give the name of a prior or its folder"),
        ({"kernel_prior": None}, "kernel_prior is None; give the name"),
        ({"device": 1.5}, "device is 1.5; give its name"),
        ({"linear_light": "no"}, "linear_light is 'no'; give True or False"),
        ({"tile": 63}, "tile is 63; give a whole number of at least 64, or auto"),
    ],
)
def test_a_value_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DeblurSettings(**options)


def test_values_at_the_limits() -> None:
    DeblurSettings(kernel_size=2, noise=1e-9, num_steps=1, step_size=0, sparsity=0, samples=1, seed=-5, tile=64)
    DeblurSettings(noise=1)


def test_devices() -> None:
    assert find_device("cpu") == CPU
    assert find_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(InputError, match=f"^device '{name}' is not usable here .*; choose cpu or auto$"):
            find_device(name)


@pytest.mark.parametrize("there", [("cuda", "mps"), ("mps",), ()])
def test_the_best_device_that_is_there(there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        monkeypatch.setattr(module, "is_available", lambda name=name: name in there)
    assert find_device("auto") == torch.device((*there, "cpu")[0])


@pytest.mark.parametrize(
    ("prior", "given", "start", "sparsity"),
    [
        ("photos", {}, 1.0, 300.0),
        ("faces-128", {}, "noise", 1.0),
        ("photos", {"start": "noise"}, "noise", 1.0),
        ("faces-128", {"start": 0.5, "sparsity": 2.0}, 0.5, 2.0),
    ],
)
def test_start_and_sparsity(prior: str, given: dict[str, Any], start: object, sparsity: float) -> None:
    found = resolved(prior=prior, solver="paper", **given)
    assert (found.start, found.sparsity) == (start, sparsity)


@pytest.mark.parametrize(
    ("options", "steps"), [({}, 4), ({"search": "none"}, 50), ({"solver": "paper"}, 250), ({"num_steps": 7}, 7)]
)
def test_steps_that_are_not_given_are_the_solvers(options: dict[str, Any], steps: int) -> None:
    assert resolved(**options).num_steps == steps


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    settings = DeblurSettings(seed=np.int64(3), scales=np.int32(2), num_steps=np.int64(5))  # type: ignore[arg-type]
    assert settings == DeblurSettings(seed=3, scales=2, num_steps=5)
    assert {type(v) for v in (settings.seed, settings.scales, settings.num_steps)} == {int}
