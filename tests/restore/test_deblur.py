"""Restoration of a picture, with tiny priors of random weights: what is promised whatever the priors know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blinddps import deblur
from blinddps.core import InputError, PriorError, Step
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior, as_prior
from blinddps.restore import DeblurSettings, Problem, run, solve
from blinddps.restore import problem as problem_module
from blinddps.restore.geometry import crop
from blinddps.restore.solvers import SOLVERS

Picture = Callable[..., np.ndarray]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("boundary", ["replicate", "reflect", "circular", "zero", "valid"])
def test_shapes_and_ranges(tiny: dict[str, Any], picture: Picture, channels: int, boundary: str) -> None:
    result = deblur(picture(32, 41, channels), **tiny, boundary=boundary, samples=2)
    assert result.images.shape == (2, 32, 41, channels)
    assert result.kernels.shape == (2, 8, 8)
    assert {a.dtype for a in (result.images, result.kernels)} == {np.dtype("float32")}
    assert np.array_equal(result.image, result.images[0])
    assert np.array_equal(result.kernel, result.kernels[0])
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert result.kernels.min() >= 0
    assert result.kernels.sum((1, 2)) == pytest.approx(1, abs=1e-5)
    assert len(result.outcome) == len(result.residual) == 2
    assert (result.attempts, result.nfe) == (1, {"image": 3, "kernel": 2})  # held at the last level
    assert result.priors["image"] == {"name": "tiny-image", "licence": "CC0-1.0", "trained": 7}


@pytest.mark.parametrize("boundary", ["replicate", "circular"])
def test_the_residual_is_that_of_the_answer(tiny: dict[str, Any], picture: Picture, boundary: str) -> None:
    y = picture()
    result = deblur(y, **tiny, boundary=boundary, noise=0.05)
    image, kernel = (torch.from_numpy(a) for a in (result.image.transpose(2, 0, 1), result.kernel))
    prediction = Blur(boundary)(image=image[None], kernel=kernel[None, None])[0].numpy().transpose(1, 2, 0)
    assert result.residual[0] == pytest.approx(float(np.sqrt(np.mean((y - prediction) ** 2))) / 0.05, rel=1e-4)
    assert result.noise == 0.05


def test_the_residual_does_not_depend_on_how_the_picture_is_given(
    tiny: dict[str, Any], picture: Picture, tmp_path: Path
) -> None:
    from PIL import Image

    y = (picture() * 255).round().astype(np.uint8)
    Image.fromarray(y).save(tmp_path / "y.png")
    results = [deblur(p, **tiny) for p in (y, tmp_path / "y.png", str(tmp_path / "y.png"))]
    for other in results[1:]:
        assert np.array_equal(results[0].image, other.image)
    grey = picture(channels=1)
    assert np.array_equal(deblur(grey, **tiny).image, deblur(grey[..., 0], **tiny).image)


def test_what_reading_left_out_is_noted(tiny: dict[str, Any], picture: Picture, tmp_path: Path) -> None:
    from PIL import Image

    first, second = (Image.fromarray((picture() * v).astype(np.uint8)) for v in (255, 128))
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    assert deblur(tmp_path / "two.tif", **tiny).notes == ("the file holds 2 pages; only the first is used",)


def test_the_seed_alone_decides(tiny: dict[str, Any], picture: Picture) -> None:
    y, options = picture(), {**tiny, "update": "draw"}
    first = deblur(y, **options, seed=3)
    torch.manual_seed(1)
    again, two, other = (deblur(y, **options, seed=s, samples=n) for s, n in ((3, 1), (3, 2), (4, 1)))
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.kernels, again.kernels)
    assert np.allclose(first.image, two.image, atol=1e-4)
    assert np.allclose(first.kernel, two.kernel, atol=1e-4)
    assert np.abs(first.image - other.image).mean() > 0.01
    assert np.abs(two.images[0] - two.images[1]).mean() > 0.01


def test_the_recorded_settings_repeat_the_result(tiny: dict[str, Any], picture: Picture) -> None:
    result = deblur(picture(), **tiny, seed=3, solver="paper")
    assert [n for n in SOLVERS["paper"].uses if getattr(result.settings, n) == "auto"] == []
    assert result.settings.step_size == pytest.approx(24)  # 1.2 * 1000 / 50
    assert np.array_equal(deblur(picture(), result.settings).image, result.image)


def test_options_win_over_settings_and_unknown_ones_are_named(tiny: dict[str, Any], picture: Picture) -> None:
    result = deblur(picture(), DeblurSettings(**tiny, seed=3), seed=4, num_steps=2)
    assert (result.settings.seed, result.settings.num_steps) == (4, 2)
    with pytest.raises(InputError, match=r"^unknown option 'kernal_size'; did you mean 'kernel_size'\?"):
        deblur(picture(), kernal_size=9)


def test_the_listener_hears_every_step(tiny: dict[str, Any], picture: Picture) -> None:
    steps: list[Step] = []
    deblur(picture(), **tiny, on_step=steps.append)
    assert [s.index for s in steps] == [0, 1, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"linear_light": True},
        {"step_schedule": "likelihood"},
        {"step_schedule": "sqrt_alpha_bar"},
        {"projection": "normalise"},
        {"sparsity_norm": "l0"},
        {"kernel_prior": "uniform"},
        {"kernel_size": 9},
        {"solver": "paper"},
        {"update": "draw"},
        {"dtype": "bfloat16"},
    ],
    ids=lambda o: next(f"{k}-{v}" for k, v in o.items()),
)
def test_every_choice_runs_and_matters(tiny: dict[str, Any], picture: Picture, options: dict[str, Any]) -> None:
    steps: dict[str, Any] = {"step_size": 0.5, "kernel_step_size": 0.5, "noise": 0.02}
    if set(options) & {"step_schedule", "projection", "sparsity_norm"}:
        steps["solver"] = "paper"
    plain, chosen = deblur(picture(), **(tiny | steps)), deblur(picture(), **(tiny | steps | options))
    assert chosen.outcome[0].status != "diverged"
    assert np.isfinite(chosen.image).all()
    assert not np.array_equal(plain.image, chosen.image)
    assert chosen.kernel.sum() == pytest.approx(1, abs=1e-5)


def test_linear_light_is_undone(tiny: dict[str, Any], picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that returns its measurement gives the picture back, though it saw it in linear light."""
    seen: list[Tensor] = []

    def returns_y(problem: Problem, on_step: Any = None) -> Any:
        seen.append(problem.y)
        solution = solve(problem, on_step)
        return replace(solution, estimate={**solution.estimate, "image": problem.y})

    monkeypatch.setattr(run, "solve", returns_y)
    for linear in (False, True):
        assert np.allclose(deblur(picture(), **tiny, linear_light=linear).image, picture(), atol=1e-5)
    assert float((seen[1] - seen[0]).mean()) < -0.2  # sRGB 0.5 is 0.21 of linear light


@pytest.mark.parametrize("size", [(5, 5), (4, 4), (5, 4), (2, 7)])
def test_the_crop_of_valid_is_where_a_delta_kernel_leaves_it(size: tuple[int, int]) -> None:
    kernel = torch.zeros(1, 1, *size)
    kernel[..., size[0] // 2, size[1] // 2] = 1
    blur = Blur("valid")
    x = torch.randn(blur.image_shape((2, 3, 12, 15), size), generator=torch.Generator().manual_seed(0))
    y = blur(image=x, kernel=kernel)
    assert y.shape == (2, 3, 12, 15)
    assert torch.allclose(crop(x, y.shape), y, atol=1e-6)


class Pointwise(nn.Module):
    """A network that sees one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.7), requires_grad=False)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return (self.gain * x_t).tanh()


def test_tiles_change_nothing_where_the_network_sees_less_than_a_tile(
    tiny: dict[str, Any], picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Listening(Pointwise):
        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            sizes.append(max(x_t.shape[-2:]))
            return super().forward(x_t, t)

    def local_prior(name: str, **options: Any) -> Any:
        prior = as_prior(name, **options)
        assert isinstance(prior, DiffusionPrior)
        return replace(prior, network=Listening()) if prior.card.unknown == "image" else prior

    monkeypatch.setattr(problem_module, "as_prior", local_prior)
    steps: dict[str, Any] = {"step_size": 0.5, "kernel_step_size": 0.5}
    whole, tiled = (deblur(picture(70, 100), **tiny, **steps, tile=tile) for tile in (128, 64))
    assert (max(sizes), min(sizes)) == (100, 64)
    assert np.allclose(whole.image, tiled.image, atol=1e-4)
    assert np.allclose(whole.kernel, tiled.kernel, atol=1e-4)


class FailsAbove:
    """The prior, but NaN while the step size of the running attempt is above ``limit``."""

    def __init__(self, prior: Any, running: dict[str, float], limit: float) -> None:
        self.prior, self.running, self.limit = prior, running, limit
        self.card, self.schedule = prior.card, prior.schedule

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        x0_hat: Tensor = self.prior(x, sigma)
        return x0_hat * math.nan if self.running["step"] > self.limit else x0_hat


@pytest.mark.parametrize(
    ("limit", "attempts", "last", "status"),
    [(4.0, 1, 4.0, "fine"), (2.0, 2, 2.0, "fine"), (1.0, 3, 1.0, "fine"), (0.5, 3, 1.0, "diverged")],
)
def test_a_divergence_is_started_again_at_halved_steps(
    tiny: dict[str, Any],
    picture: Picture,
    monkeypatch: pytest.MonkeyPatch,
    limit: float,
    attempts: int,
    last: float,
    status: str,
) -> None:
    running: dict[str, float] = {}
    tried: list[tuple[object, object]] = []

    def failing_prior(name: str, **options: Any) -> Any:
        prior = as_prior(name, **options)
        return FailsAbove(prior, running, limit) if prior.card.unknown == "image" else prior

    def listening(problem: Problem, on_step: Any = None) -> Any:
        running["step"] = problem.plan.step_size
        tried.append((problem.plan.step_size, problem.plan.kernel_step_size))
        return solve(problem, on_step)

    monkeypatch.setattr(problem_module, "as_prior", failing_prior)
    monkeypatch.setattr(run, "solve", listening)
    result = deblur(picture(), **tiny, solver="paper", step_size=4.0, kernel_step_size=0.4)
    assert tried == [(4.0, 0.4), (2.0, 0.2), (1.0, 0.1)][:attempts]
    assert result.attempts == attempts
    assert (result.settings.step_size, result.settings.kernel_step_size) == tried[-1]
    assert result.settings.step_size == last
    assert (result.outcome[0].status == "diverged") == (status == "diverged")
    restarts = [n for n in result.notes if n.endswith("started again with the step sizes halved")]
    assert len(restarts) == attempts - 1
    for i, note in enumerate(restarts, 1):
        assert note.startswith(f"attempt {i} diverged (")
        assert "at step 1 of 3" in note


def test_a_prior_of_one_size_resizes_a_square_picture_and_says_so(
    tiny: dict[str, Any], make_prior: Callable[..., str], picture: Picture
) -> None:
    fixed = tiny | {"prior": make_prior("image", 3, any_size=False, sizes=(16, 32))}
    result = deblur(picture(40, 40), **fixed)
    assert result.image.shape == (40, 40, 3)
    assert len(result.notes) == 1
    assert "works at 32 x 32: the picture was resized from 40 x 40, restored, and resized back" in result.notes[0]
    for side in (16, 32):
        assert deblur(picture(side, side), **fixed).notes == ()
    with pytest.raises(
        PriorError, match=r"works on square pictures of 32 x 32 and this one is 50 x 40; crop it to a square"
    ):
        deblur(picture(40, 50), **fixed)


def test_a_kernel_prior_of_some_sizes(tiny: dict[str, Any], make_prior: Callable[..., str], picture: Picture) -> None:
    fixed = tiny | {"kernel_prior": make_prior("kernel", 1, any_size=False, sizes=(8, 12))}
    assert deblur(picture(), **(fixed | {"kernel_size": "auto"})).kernel.shape == (12, 12)
    assert deblur(picture(), **(fixed | {"kernel_size": 8})).kernel.shape == (8, 8)
    with pytest.raises(PriorError, match=r"works on kernels of 8, 12 pixels a side, not 9; give --kernel-size 12$"):
        deblur(picture(), **(fixed | {"kernel_size": 9}))
    large = tiny | {"kernel_prior": make_prior("kernel", 1, any_size=False, sizes=(64,)), "kernel_size": "auto"}
    with pytest.raises(PriorError, match=r"not 16; choose a larger picture$"):
        deblur(picture(), **large)


def test_priors_of_the_wrong_unknown(tiny: dict[str, Any], picture: Picture) -> None:
    with pytest.raises(PriorError, match=r"models the kernel, not an image; choose another$"):
        deblur(picture(), **(tiny | {"prior": tiny["kernel_prior"]}))
    with pytest.raises(PriorError, match=r"models the image, not a kernel; choose another$"):
        deblur(picture(), **(tiny | {"kernel_prior": tiny["prior"]}))


BAD: list[tuple[Any, str]] = [
    (np.zeros((15, 40, 3)), r"the picture is 40 x 15 pixels; blind deblurring needs at least 16 on each side"),
    (np.zeros((32, 32, 5)), r"the picture has shape \(32, 32, 5\); give \(H, W\), \(H, W, 1\) or \(H, W, 3\)"),
    (np.zeros(32), r"the picture has shape \(32,\)"),
    (np.zeros((0, 32, 3)), r"the picture has shape \(0, 32, 3\)"),
    (np.zeros((32, 32), dtype=np.int64), "the picture is of type int64; give uint8, uint16 or floats"),
    (np.full((32, 32), 255.0), "the picture has values that are not finite or not in"),
    (np.full((32, 32), np.nan), "the picture has values that are not finite or not in"),
    ("/nowhere/at/all.png", "/nowhere/at/all.png"),
]


@pytest.mark.parametrize(("given", "message"), BAD, ids=range(len(BAD)))
def test_a_picture_that_cannot_be_used(tiny: dict[str, Any], given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        deblur(given, **tiny)


@pytest.mark.parametrize(("solver", "told"), [("fast", 1), ("paper", 0)])
def test_a_choice_that_the_solver_does_not_use_is_told(
    tiny: dict[str, Any], picture: Picture, solver: str, told: int
) -> None:
    result = deblur(picture(), **tiny, solver=solver, sparsity=2.0, step_size=0.5)
    sentences = [n for n in result.notes if "does not use step_size, sparsity; choose solver 'paper'" in n]
    assert len(sentences) == told


def test_what_is_as_published_was_not_chosen_one_by_one(tiny: dict[str, Any], picture: Picture) -> None:
    known = tiny | {"known_kernel": np.ones((3, 3)), "as_published": True, "kernel_prior": "kernel"}
    assert deblur(picture(), **known).notes == ()
    (note,) = deblur(picture(), **known, sparsity_norm="l0").notes
    assert "does not use sparsity_norm" in note


@pytest.mark.parametrize("solver", ["fast", "paper"])
def test_a_result_repeats_from_its_own_settings(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray], solver: str
) -> None:
    first = deblur(picture(), **tiny, solver=solver)
    again = deblur(picture(), first.settings)
    np.testing.assert_array_equal(again.image, first.image)
    assert again.settings == first.settings
    assert again.notes == first.notes
    assert deblur(picture(), first.settings, num_steps=4).notes == first.notes
    assert any("step_size" in n for n in deblur(picture(), **tiny, step_size=0.7).notes)
