"""Each baseline on a small picture with a known blur: what it finds, what it refuses, what decides its result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from blinddps.baselines import pan_dcp, pan_l0, richardson_lucy, selfdeblur, wiener
from blinddps.baselines.richardson_lucy import blind_richardson_lucy, lucy_steps
from blinddps.baselines.untrained import ImageGenerator, KernelGenerator, build
from blinddps.core import InputError, Solution, Step, generator_for
from blinddps.metrics import aligned_psnr, mnc, psnr
from blinddps.operators import Blur
from blinddps.simulate import gaussian_kernels

Method = Callable[..., Solution]
METHODS: dict[str, Method] = {
    "pan-l0": pan_l0,
    "pan-dcp": pan_dcp,
    "richardson-lucy": partial(richardson_lucy, num_steps=2),
    "wiener": partial(wiener, num_steps=2),
    "selfdeblur": partial(selfdeblur, num_steps=3, width=8),
}
EACH = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def gain(case: Any, image: Tensor) -> float:
    """Decibels above the blurred picture, both aligned."""
    return float(aligned_psnr(image, case.truth, max_shift=4) - aligned_psnr(case.y, case.truth, max_shift=4))


@pytest.mark.parametrize(("channels", "least"), [(1, 10), (3, 7)])
def test_pan_l0_finds_a_camera_shake(case: Callable[..., Any], channels: int, least: float) -> None:
    given = case("streak", channels, side=72)
    solution = pan_l0(given.y, kernel_size=9, sigma_y=given.noise)
    assert float(mnc(solution.estimate["kernel"], given.kernel)) > 0.97
    assert gain(given, solution.estimate["image"]) > least
    assert solution.outcome[0].status == "finished"


def test_a_noisy_smooth_blur_asks_for_a_larger_weight_of_the_kernel(case: Callable[..., Any]) -> None:
    given = case("gauss", side=64)
    y = given.y + 0.05 * torch.randn(given.y.shape, generator=generator_for(1, "noise"))
    published, more = (
        float(mnc(pan_l0(y, kernel_size=9, sigma_y=0.05, kernel_weight=w).estimate["kernel"], given.kernel))
        for w in (2.0, 200.0)
    )
    assert more > published + 0.05


@pytest.mark.parametrize(("kind", "least"), [("streak", 6), ("gauss", 5)])
def test_pan_dcp_finds_the_blur(case: Callable[..., Any], kind: str, least: float) -> None:
    given = case(kind, side=64)
    solution = pan_dcp(given.y, kernel_size=9, sigma_y=given.noise)
    assert float(mnc(solution.estimate["kernel"], given.kernel)) > 0.95
    assert gain(given, solution.estimate["image"]) > least


@pytest.mark.parametrize(("method", "least"), [(richardson_lucy, 1.5), (wiener, 2.5)], ids=["rl", "wiener"])
def test_the_floor_is_above_the_input_on_a_gaussian_blur(
    case: Callable[..., Any], method: Method, least: float
) -> None:
    given = case("gauss")
    solution = method(given.y, kernel_size=9, sigma_y=given.noise)
    assert float(mnc(solution.estimate["kernel"], given.kernel)) > 0.98
    assert gain(given, solution.estimate["image"]) > least


def test_blind_richardson_lucy_moves_the_kernel_towards_the_blur(case: Callable[..., Any]) -> None:
    """On a shake it starts from a Gaussian and explains the picture better round by round."""
    given, seen = case("streak"), []
    kernel = blind_richardson_lucy((given.y + 1) / 2, 9, 4, seen.append, given.y)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
    assert float(kernel.min()) >= 0
    residuals = [float(s.residual) for s in seen]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] < 0.95 * residuals[0]


@EACH
def test_with_the_kernel_known_each_is_above_the_input(case: Callable[..., Any], method: Method) -> None:
    given = case("streak", 3, side=64)
    solution = method(given.y, kernel_size=9, sigma_y=given.noise, known_kernel=given.kernel)
    assert torch.equal(solution.estimate["kernel"], given.kernel)
    assert gain(given, solution.estimate["image"]) > 1


def test_selfdeblur_comes_to_explain_the_picture(case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's rate raised, as a test has no thousands of iterations."""
    monkeypatch.setattr(sys.modules[selfdeblur.__module__], "RATES", (1e-2, 1e-3))
    given, steps = case("streak", side=40), []
    solution = selfdeblur(given.y, kernel_size=9, sigma_y=given.noise, num_steps=100, width=16, on_step=steps.append)
    first, last = (mnc(s.estimate["kernel"], given.kernel) for s in (steps[0], steps[99]))
    assert float(steps[99].residual) < 0.25 * float(steps[0].residual)
    assert float(last) > float(first) + 0.3
    final = solution.estimate["kernel"]  # the same, as far centred as its frame lets it
    assert float(mnc(final, steps[99].estimate["kernel"])) > 0.95


@pytest.mark.parametrize("method", [richardson_lucy, wiener, pan_l0], ids=["rl", "wiener", "pan-l0"])
@pytest.mark.parametrize("size", [14, 15])
@pytest.mark.parametrize("known", [True, False])
def test_nothing_comes_in_from_the_border(method: Method, size: int, known: bool) -> None:
    """A constant picture stays constant under a kernel as wide as a quarter of it."""
    kernel = gaussian_kernels(1, size, std=3.0, seed=0) if known else None
    y = torch.full((1, 1, 64, 60), -0.2)
    image = method(y, kernel_size=size, known_kernel=kernel).estimate["image"]
    assert torch.allclose(image, y, atol=2e-3)  # of a range of 2


@pytest.mark.parametrize(("method", "least"), [(richardson_lucy, 4), (wiener, 3)], ids=["rl", "wiener"])
def test_the_border_is_restored_too(case: Callable[..., Any], method: Method, least: float) -> None:
    given = case("streak")
    image = method(given.y, kernel_size=9, sigma_y=given.noise, known_kernel=given.kernel).estimate["image"]

    def rim(x: Tensor) -> Tensor:
        return torch.cat([x[..., :9, :], x[..., -9:, :]], -2)

    assert float(psnr(rim(image), rim(given.truth)) - psnr(rim(given.y), rim(given.truth))) > least


def test_a_lucy_step_is_that_of_the_matrix() -> None:
    """``x k^T (y / (k x)) / k^T 1`` with the convolution written out, an even kernel that is off its centre."""
    generator = generator_for(0, "lucy")
    x, k = (torch.rand(1, 1, *s, generator=generator, dtype=torch.float64) for s in ((9, 8), (4, 3)))
    units = torch.eye(72, dtype=torch.float64).reshape(72, 1, 9, 8)
    matrix = Blur("valid")(image=units, kernel=k.expand(72, 1, 4, 3)).flatten(1).T
    y = torch.rand(1, 1, 6, 6, generator=generator, dtype=torch.float64)
    wanted = x.flatten() * (matrix.T @ (y.flatten() / (matrix @ x.flatten()))) / matrix.sum(0)
    assert torch.allclose(lucy_steps(x, y, k, 1).flatten(), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "size"), [*((method, 8) for method in METHODS.values()), (METHODS["pan-l0"], 9)], ids=[*METHODS, "odd"]
)
def test_shapes_ranges_and_steps(case: Callable[..., Any], method: Method, size: int) -> None:
    given, steps = case(channels=3, side=32), []
    solution = method(given.y, kernel_size=size, sigma_y=given.noise, on_step=steps.append)
    image, kernel = solution.estimate["image"], solution.estimate["kernel"]
    assert image.shape == given.y.shape
    assert image.dtype == torch.float32
    assert float(image.abs().max()) <= 1
    assert kernel.shape == (1, 1, size, size)
    assert float(kernel.min()) >= 0
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
    if size == 8:  # an odd kernel in an even support
        assert float(kernel[..., 0, :].abs().sum() + kernel[..., 0].abs().sum()) == 0
    assert [s.index for s in steps] == list(range(steps[0].total))
    assert all(s.estimate["image"].shape == given.y.shape for s in steps)
    assert all(bool(s.residual.isfinite().all()) for s in steps)
    last: Step = steps[-1]
    assert torch.allclose(last.estimate["image"], image, atol=1e-6)
    assert torch.allclose(last.residual, solution.residual, rtol=1e-5)


@EACH
@pytest.mark.parametrize(("side", "size"), [(16, 16), (17, 17), (16, 3)])
def test_kernels_as_large_as_the_picture(case: Callable[..., Any], method: Method, side: int, size: int) -> None:
    solution = method(case("streak").y[..., :side, : side + 3], kernel_size=size)
    assert solution.estimate["kernel"].shape == (1, 1, size, size)
    assert bool(solution.estimate["image"].isfinite().all())
    assert bool(solution.residual.isfinite().all())


@EACH
def test_a_sample_does_not_depend_on_its_batch(case: Callable[..., Any], method: Method) -> None:
    first, second = (case(side=32, seed=s) for s in (1, 2))
    state = torch.get_rng_state()
    both = method(torch.cat([first.y, second.y]), kernel_size=5, sigma_y=0.01)
    assert torch.equal(torch.get_rng_state(), state)  # no global generator was touched
    torch.manual_seed(7)
    for b, given in enumerate((first, second)):
        alone = method(given.y, kernel_size=5, sigma_y=0.01)
        for name in ("image", "kernel"):
            assert torch.allclose(both.estimate[name][b : b + 1], alone.estimate[name], atol=1e-4), name
    torch.set_rng_state(state)


def test_selfdeblur_follows_its_seed(case: Callable[..., Any]) -> None:
    given = case(side=40)
    solve = partial(selfdeblur, given.y, kernel_size=9, num_steps=3, width=8)
    first, again, other = solve(seed=1), solve(seed=1), solve(seed=2)
    two = solve(seed=1, samples=2)
    assert torch.equal(first.estimate["kernel"], again.estimate["kernel"])
    assert not torch.equal(first.estimate["kernel"], other.estimate["kernel"])
    assert torch.equal(two.estimate["kernel"][:1], first.estimate["kernel"])
    assert not torch.equal(two.estimate["kernel"][1], two.estimate["kernel"][0])


BAD: list[tuple[dict[str, Any], str]] = [
    ({"y": torch.zeros(1, 2, 40, 40)}, r"y is torch.float32 of shape \(1, 2, 40, 40\); give floating-point pictures"),
    ({"y": torch.full((1, 1, 40, 40), torch.nan)}, "y holds values that are not finite; repair or mask"),
    ({"kernel_size": 41}, "kernel_size is 41; give 3 to 40, the picture's shorter side"),
    ({"kernel_size": 2}, "kernel_size is 2; give 3 to 40"),
    ({"known_kernel": torch.ones(3, 3)}, r"known_kernel has shape \(3, 3\); give \(1, 1, h, w\)"),
    ({"known_kernel": torch.ones(2, 1, 3, 3)}, r"known_kernel has shape \(2, 1, 3, 3\); give"),
]


@EACH
@pytest.mark.parametrize(("changed", "message"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_used_is_told(method: Method, changed: dict[str, Any], message: str) -> None:
    options = {"kernel_size": 9, **changed}
    y = options.pop("y", torch.zeros(1, 1, 40, 40))
    with pytest.raises(InputError, match=message):
        method(y, **options)


def test_selfdeblur_refuses_numbers_that_do_not_fit() -> None:
    y = torch.zeros(2, 1, 40, 40)
    with pytest.raises(InputError, match="num_steps is 0 and samples 1; give at least 1"):
        selfdeblur(y, kernel_size=9, num_steps=0)
    with pytest.raises(InputError, match="3 seeds were given for 2 measurements"):
        selfdeblur(y, kernel_size=9, num_steps=1, seed=[1, 2, 3])
    with pytest.raises(InputError, match="the picture is 40 x 10 pixels; selfdeblur needs 11"):
        selfdeblur(torch.zeros(1, 1, 10, 40), kernel_size=9, num_steps=1)


def test_without_scikit_image_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(InputError, match=r"needs scikit-image, which is not installed; pip install 'blinddps\[baseli"):
        wiener(torch.zeros(1, 1, 40, 40), kernel_size=9)


@pytest.mark.parametrize("size", [(40, 37), (33, 64)])
def test_the_generators(size: tuple[int, int]) -> None:
    painter = build(ImageGenerator(width=8, depth=4), generator_for(0, "a"))
    image = painter(torch.rand(1, 8, *size, generator=generator_for(0, "z")))
    assert image.shape == (1, 1, *size)
    assert bool(((image > 0) & (image < 1)).all())
    kernel = build(KernelGenerator(7), generator_for(0, "a"))(torch.zeros(200))
    assert kernel.shape == (1, 1, 7, 7)
    assert float(kernel.detach().sum()) == pytest.approx(1, abs=1e-5)
    image.mean().backward()
    assert all(p.grad is not None for p in painter.parameters())
