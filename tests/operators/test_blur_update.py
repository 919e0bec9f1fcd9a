"""The closed-form updates against dense linear algebra, and what they promise of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from blinddps.core import InputError, project_simplex
from blinddps.core.spectrum import filtered, radial_frequency
from blinddps.operators import Blur
from blinddps.operators.blur_update import _simplex_least_squares, update_image
from blinddps.operators.convolution import BOUNDARIES, OfSpectrum

G = torch.Generator().manual_seed(0)
IMAGE = torch.rand(2, 2, 12, 11, generator=G, dtype=torch.float64) * 2 - 1
KERNEL = project_simplex(torch.rand(2, 1, 5, 4, generator=G, dtype=torch.float64) ** 4)
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


def spectrum(size: tuple[int, ...]) -> Tensor:
    """Falling with frequency, as an image's error does."""
    radius = torch.fft.fftfreq(size[0])[:, None] ** 2 + torch.fft.rfftfreq(size[1])[None] ** 2
    return (0.1 / (1 + 40 * radius)).double()


def dense(linear: object, shape: tuple[int, ...]) -> Tensor:
    basis = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).reshape(-1, *shape)
    return torch.stack([linear(b[None])[0].flatten() for b in basis], 1)  # type: ignore[operator]


@each_boundary
def test_the_image_is_the_posterior_mode(boundary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blinddps.operators.blur_update._OF_NOISE", 1e-4)
    blur = Blur(boundary)  # type: ignore[arg-type]
    y = blur(image=IMAGE, kernel=KERNEL) + 0.1
    mean, noise = 0.5 * IMAGE, torch.tensor([0.01, 0.04], dtype=torch.float64).reshape(2, 1, 1, 1)
    got = blur.update(
        "image",
        y,
        estimate={"image": mean, "kernel": KERNEL},
        mean={"image": mean, "kernel": KERNEL},
        error={"image": spectrum, "kernel": None},
        noise_variance=noise,
        iterations=200,
    )
    # beyond a ``valid`` border the image goes on in a frame of 12 x 12, where its error is circulant
    frame = (12, 12) if boundary == "valid" else (12, 11)
    covariance = dense(lambda v: torch.fft.irfft2(torch.fft.rfft2(v) * spectrum(frame), s=frame), (2, *frame))
    covariance = covariance.reshape(2, *frame, 2, *frame)[:, :12, :11, :, :12, :11].reshape(264, 264)
    prior = torch.linalg.inv(covariance)
    for b in range(2):
        a = dense(lambda v, b=b: blur(image=v, kernel=KERNEL[b : b + 1]), (2, 12, 11))
        right = a.T @ (y[b].flatten() - a @ mean[b].flatten()) / noise[b].item()
        exact = mean[b].flatten() + torch.linalg.solve(a.T @ a / noise[b].item() + prior, right)
        # conjugate gradients stop at a thousandth of the first gradient
        assert torch.allclose(got[b].flatten(), exact, rtol=0, atol=1e-9 if boundary == "circular" else 2e-3)


def test_where_the_border_is_open_the_last_digits_decide_nothing() -> None:
    """Of a denoiser's error at level 1."""
    g = torch.Generator().manual_seed(1)

    def law(size: tuple[int, ...]) -> Tensor:
        power = 1e-3 / (radial_frequency(*size) + 0.01) ** 2.5
        return power / (power + 1)

    image = filtered(torch.randn(1, 1, 96, 82, generator=g), law((96, 82)).sqrt())[..., :48, :41].clamp(-1, 1)
    kernel = torch.full((1, 1, 9, 8), 1 / 72)
    y = Blur("valid")(image=image, kernel=kernel)

    def update(y: Tensor, dtype: torch.dtype) -> Tensor:
        return Blur("valid").update(
            "image",
            y.to(dtype),
            estimate={"kernel": kernel},
            mean={"image": torch.zeros_like(image, dtype=dtype), "kernel": kernel.to(dtype)},
            error={"image": lambda size: law(size).to(dtype), "kernel": None},
            noise_variance=torch.full((1, 1, 1, 1), 1e-4, dtype=dtype),
        )

    exact = update(y, torch.float64).float()
    assert float((Blur("valid")(image=exact, kernel=kernel) - y).square().mean().sqrt()) < 0.02
    assert float((update(y, torch.float32) - exact).abs().max()) < 1e-3
    nudged = y + 1e-6 * torch.randn(y.shape, generator=g)
    assert float((update(nudged, torch.float32) - exact).abs().max()) < 1e-3


@each_boundary
@pytest.mark.parametrize("pull", [False, True])
def test_the_kernel_is_found_from_the_true_image(boundary: str, pull: bool) -> None:
    g = torch.Generator().manual_seed(1)
    image = torch.randn(2, 1, 40, 36, generator=g, dtype=torch.float64)
    blur = Blur(boundary)  # type: ignore[arg-type]
    y = blur(image=image, kernel=KERNEL)
    k = flat = torch.full_like(KERNEL, 1 / 20)
    for _ in range(30):
        k = blur.update(
            "kernel",
            y,
            estimate={"image": image, "kernel": k},
            mean={"image": image, "kernel": flat},
            error={
                "image": lambda size: torch.full((), 1e-3),
                "kernel": (lambda size: torch.full((), 1.0)) if pull else None,
            },
            noise_variance=torch.full((2, 1, 1, 1), 1e-4, dtype=torch.float64),
        )
    assert float(k.min()) >= 0
    assert torch.allclose(k.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))
    assert float((k - KERNEL).norm() / KERNEL.norm()) < 0.02


def test_least_squares_on_the_simplex_meets_its_optimality_conditions() -> None:
    """Where ``k > 0`` the gradient is one constant, elsewhere at least that; projecting the free solution is worse."""
    g = torch.Generator().manual_seed(2)
    size, support = (16, 15), (5, 6)
    power = torch.fft.rfft2(torch.randn(1, 1, *size, generator=g, dtype=torch.float64)).abs().square() + 1
    right = torch.randn(1, 1, *support, generator=g, dtype=torch.float64) * 20

    def gradient(k: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(k, (0, size[1] - support[1], 0, size[0] - support[0]))
        return torch.fft.irfft2(torch.fft.rfft2(padded) * power, s=size)[..., : support[0], : support[1]] - right

    k = _simplex_least_squares(power, right, torch.full((1, 1, *support), 1 / 30, dtype=torch.float64), size, 5000)
    slope = gradient(k)
    level = slope[k > 1e-9]
    assert float(level.max() - level.min()) < 1e-6
    assert float(slope.min()) > float(level.min()) - 1e-6
    assert 0 < int((k > 1e-9).sum()) < 30


def test_the_gauge_leaves_the_measurement_and_centres_the_kernel() -> None:
    kernel = torch.zeros(2, 1, 9, 9, dtype=torch.float64)
    kernel[0, 0, 1:3, 6], kernel[1, 0, 4, 4] = 0.5, 1.0
    image = torch.rand(2, 3, 20, 22, dtype=torch.float64)
    fixed = Blur().fix_gauge({"image": image, "kernel": kernel, "gain": image})
    assert torch.equal(fixed["gain"], image)
    assert torch.equal(fixed["kernel"][1], kernel[1])
    assert torch.equal(fixed["image"][1], image[1])
    rows, columns = torch.meshgrid(torch.arange(9) - 4, torch.arange(9) - 4, indexing="ij")
    assert abs(float((fixed["kernel"][0, 0] * rows).sum())) <= 0.75
    assert abs(float((fixed["kernel"][0, 0] * columns).sum())) <= 0.75
    before, after = (
        Blur("zero")(image=c["image"], kernel=c["kernel"]) for c in ({"image": image, "kernel": kernel}, fixed)
    )
    assert torch.allclose(before[..., 8:-8, 8:-8], after[..., 8:-8, 8:-8])


def test_the_gauge_of_a_periodic_image_wraps_and_changes_nothing() -> None:
    blur = Blur("circular")
    kernel = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    kernel[0, 0, 1:3, 6] = 0.5
    image = torch.rand(1, 3, 20, 22, generator=G, dtype=torch.float64)
    fixed = blur.fix_gauge({"image": image, "kernel": kernel})
    assert torch.equal(fixed["image"], image.roll((-2, 2), (-2, -1)))
    assert torch.allclose(blur(**fixed), blur(image=image, kernel=kernel), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("off", "moves"), [(0.3, 0), (0.49, 0), (0.51, 0), (0.7, 0), (0.8, 1), (1.4, 1)])
def test_the_gauge_moves_only_what_is_clearly_off(off: float, moves: int) -> None:
    """Around half a pixel, where rounding would say now this and now that, nothing moves."""
    kernel = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
    whole = int(off)
    kernel[0, 0, 3, 3 + whole], kernel[0, 0, 3, 4 + whole] = 1 - (off - whole), off - whole
    image = torch.rand(1, 1, 12, 12, generator=G, dtype=torch.float64)
    fixed = Blur("circular").fix_gauge({"image": image, "kernel": kernel})
    assert torch.equal(fixed["image"], image.roll(moves, -1))
    assert torch.equal(fixed["kernel"], kernel.roll(-moves, -1))


def test_an_unknown_of_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="unknown unknown 'tilt'"):
        Blur().update("tilt", IMAGE, estimate={}, mean={}, error={}, noise_variance=torch.ones(()))


@pytest.mark.parametrize("boundary", [b for b in BOUNDARIES if b != "circular"])
@pytest.mark.parametrize("size", [(12, 11), (11, 12)])
def test_the_prepared_map_is_the_operator_and_its_transpose(boundary: str, size: tuple[int, int]) -> None:
    blur, image = Blur(boundary), IMAGE.reshape(2, 2, *size)  # type: ignore[arg-type]
    prepared = OfSpectrum(KERNEL, size, boundary)
    y = blur(image=image, kernel=KERNEL)
    assert torch.allclose(prepared.apply(torch.fft.rfft2(image)), prepared.place(y))
    back = torch.fft.irfft2(prepared.transpose(prepared.place(y)), s=size)
    assert torch.allclose(back, blur.adjoint(y, kernel=KERNEL, image_shape=image.shape))


@pytest.mark.parametrize(("boundary", "transforms"), [("replicate", 6), ("reflect", 6), ("zero", 6), ("valid", 2)])
def test_a_step_of_conjugate_gradients_takes_no_more_transforms_than_it_needs(
    boundary: str, transforms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def counted(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **options: Any) -> Tensor:
            nonlocal calls
            calls += 1
            return of(*args, **options)

        return call

    for name in ("rfft2", "irfft2"):
        monkeypatch.setattr(torch.fft, name, counted(getattr(torch.fft, name)))
    image = torch.randn(2, 2, 40, 36, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    error, noise = spectrum((40, 36))[None, None], torch.full((2, 1, 1, 1), 1e-4, dtype=torch.float64)
    y = Blur(boundary)(image=image, kernel=KERNEL)  # type: ignore[arg-type]
    seen = []
    for iterations in (2, 3):
        calls = 0
        update_image(y, KERNEL, 0 * image, error, noise, boundary, iterations)
        seen.append(calls)
    assert seen[1] - seen[0] == transforms
