"""Blur against independent references; the promises common to all operators are in contracts/test_operators.py."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor

from blinddps.core.errors import InputError
from blinddps.operators import Blur

BOUNDARIES = ("circular", "zero", "replicate", "reflect", "valid")
SCIPY_MODE = {"circular": "wrap", "zero": "constant", "replicate": "nearest", "reflect": "mirror"}
METHODS = ("auto", "fft", "direct")


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def delta(h: int, w: int, dy: int = 0, dx: int = 0) -> Tensor:
    kernel = torch.zeros(1, 1, h, w, dtype=torch.float64)
    kernel[0, 0, h // 2 + dy, w // 2 + dx] = 1
    return kernel


def reference(plane: np.ndarray, kernel: np.ndarray, boundary: str) -> np.ndarray:
    if boundary == "valid":
        return scipy.signal.convolve2d(plane, kernel, mode="valid")
    return scipy.ndimage.convolve(plane, kernel, mode=SCIPY_MODE[boundary])  # its origin is size // 2 too


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 4), (5, 2), (2, 7), (9, 8)])
def test_matches_scipy(boundary: str, method: str, size: tuple[int, int]) -> None:
    image, kernel = random(2, 3, 12, 11), random(2, 1, *size, seed=1)
    y = Blur(boundary, method)(image=image, kernel=kernel)
    for b, c in np.ndindex(2, 3):
        expected = reference(image[b, c].numpy(), kernel[b, 0].numpy(), boundary)
        np.testing.assert_allclose(y[b, c].numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", ["zero", "replicate"])
@pytest.mark.parametrize("method", ["fft", "direct"])
def test_kernel_larger_than_the_image_matches_scipy(boundary: str, method: str) -> None:
    image, kernel = random(1, 1, 6, 5), random(1, 1, 13, 14, seed=1)
    y = Blur(boundary, method)(image=image, kernel=kernel)
    expected = reference(image[0, 0].numpy(), kernel[0, 0].numpy(), boundary)
    np.testing.assert_allclose(y[0, 0].numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundary", ["circular", "zero", "replicate", "reflect"])
@pytest.mark.parametrize("size", [(1, 1), (5, 5), (6, 6), (4, 7)])
def test_delta_kernel_is_the_identity(boundary: str, size: tuple[int, int], method: str) -> None:
    image = random(2, 3, 10, 9)
    torch.testing.assert_close(Blur(boundary, method)(image=image, kernel=delta(*size)), image, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(7, 7), (8, 8), (6, 9)])
def test_off_centre_one_moves_the_content_down_and_right(size: tuple[int, int], method: str) -> None:
    image = random(1, 1, 12, 12)
    y = Blur("circular", method)(image=image, kernel=delta(*size, dy=2, dx=-1))
    torch.testing.assert_close(y, image.roll((2, -1), dims=(-2, -1)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [(5, 5), (6, 4)])
def test_valid_is_the_inside_of_every_other_boundary(size: tuple[int, int]) -> None:
    image, kernel = random(1, 1, 12, 13), random(1, 1, *size, seed=1)
    inside = Blur("valid")(image=image, kernel=kernel)
    top, left = (n - 1 - n // 2 for n in size)
    for boundary in ("circular", "zero", "replicate", "reflect"):
        y = Blur(boundary)(image=image, kernel=kernel)
        window = y[..., top : top + inside.shape[-2], left : left + inside.shape[-1]]
        torch.testing.assert_close(window, inside, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_shapes_forth_and_back(boundary: str) -> None:
    blur, image, kernel = Blur(boundary), random(2, 3, 12, 13), random(2, 1, 4, 5)
    shape = blur.measurement_shape(image.shape, kernel.shape)
    assert tuple(blur(image=image, kernel=kernel).shape) == shape
    assert blur.image_shape(shape, kernel.shape) == tuple(image.shape)


@pytest.mark.parametrize("method", ["fft", "direct"])
def test_one_kernel_for_the_batch(method: str) -> None:
    blur, image, kernel = Blur(method=method), random(3, 2, 8, 9), random(1, 1, 4, 5)
    torch.testing.assert_close(
        blur(image=image, kernel=kernel), blur(image=image, kernel=kernel.expand(3, -1, -1, -1)), rtol=0, atol=1e-12
    )
    residual = random(3, 2, 8, 9, seed=1)
    shared = blur.adjoint_kernel(residual, image=image, kernel_shape=(1, 1, 4, 5))
    each = blur.adjoint_kernel(residual, image=image, kernel_shape=(3, 1, 4, 5))
    torch.testing.assert_close(shared, each.sum(0, keepdim=True), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_adjoint_and_update_need_no_gradient(mode: type) -> None:
    blur = Blur()
    with mode():
        image, kernel = random(2, 1, 8, 8), random(2, 1, 3, 4, seed=1)
        y = blur(image=image, kernel=kernel)
        back = blur.adjoint(y, kernel=kernel, image_shape=image.shape)
        torch.testing.assert_close((back * image).sum(), y.square().sum(), rtol=1e-10, atol=0)
        given = {"image": image, "kernel": kernel}
        error = {"image": lambda size: torch.ones(()), "kernel": None}
        restored = blur.update(
            "image", y, estimate=given, mean=given, error=error, noise_variance=torch.ones(2, 1, 1, 1)
        )
    torch.testing.assert_close(restored, image, rtol=0, atol=1e-12)  # nothing to pull at: y is exact


# --- regression tests: defects of the authors' code, shared/docs/method.md section 8 -------------------------------


@pytest.mark.parametrize("method", ["fft", "direct"])
def test_defect_3_a_sample_meets_its_own_kernel_only(method: str) -> None:
    image = random(2, 1, 9, 9)
    kernels = torch.cat([delta(5, 5), delta(5, 5, 1, 0)])
    y = Blur("circular", method)(image=image, kernel=kernels)
    torch.testing.assert_close(y[0], image[0], rtol=0, atol=1e-13)
    torch.testing.assert_close(y[1], image[1].roll(1, dims=-2), rtol=0, atol=1e-13)

    kernels.requires_grad_()
    loss = Blur("circular", method)(image=image, kernel=kernels)[0].square().sum()
    (gradient,) = torch.autograd.grad(loss, kernels)
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0


@pytest.mark.parametrize("method", METHODS)
def test_defect_4_grey_images_are_images(method: str) -> None:
    colour, kernel = random(2, 3, 9, 9), random(2, 1, 5, 4, seed=1)
    y = Blur(method=method)(image=colour, kernel=kernel)
    for c in range(3):
        grey = Blur(method=method)(image=colour[:, c : c + 1], kernel=kernel)
        torch.testing.assert_close(grey, y[:, c : c + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_defect_6_convolution_not_correlation(method: str) -> None:
    """A single bright pixel takes the shape of the kernel itself, not of its mirror image."""
    image, kernel = torch.zeros(1, 1, 11, 11, dtype=torch.float64), random(1, 1, 5, 5)
    image[0, 0, 5, 5] = 1
    y = Blur("zero", method)(image=image, kernel=kernel)
    torch.testing.assert_close(y[..., 3:8, 3:8], kernel, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_defect_6_no_dark_border(method: str) -> None:
    """A constant image stays constant under the default boundary."""
    image, kernel = torch.ones(1, 1, 16, 16, dtype=torch.float64), random(1, 1, 8, 8).flatten(1).softmax(1)
    y = Blur(method=method)(image=image, kernel=kernel.reshape(1, 1, 8, 8))
    torch.testing.assert_close(y, image, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [32, 33])
def test_defect_6_an_even_kernel_does_not_move_the_image(method: str, size: int) -> None:
    image = random(1, 1, 40, 40)
    y = Blur("replicate", method)(image=image, kernel=delta(size, size))
    torch.testing.assert_close(y, image, rtol=0, atol=1e-13)


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'replicate'"):
        Blur("replicated")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="did you mean 'direct'"):
        Blur(method="directly")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "kernel", "message"),
    [
        (torch.zeros(3, 8, 8), torch.zeros(1, 1, 3, 3), r"image is torch.float32 of shape \(3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 3, 3), "image is torch.uint8"),
        (torch.zeros(1, 3, 0, 8), torch.zeros(1, 1, 3, 3), r"image is torch.float32 of shape \(1, 3, 0, 8\)"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(3, 3), r"kernel is torch.float32 of shape \(3, 3\)"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 3, 3), "one kernel for all channels"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 0, 3), r"shape \(1, 1, 0, 3\)"),
        (torch.zeros(3, 3, 8, 8), torch.zeros(2, 1, 3, 3), "kernel has batch size 2 and image 3"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 3, 3, device="meta"), "kernel is on meta and image on cpu"),
    ],
)
def test_refuses_what_does_not_fit(image: Tensor, kernel: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Blur()(image=image, kernel=kernel)


@pytest.mark.parametrize(("boundary", "size"), [("circular", (9, 3)), ("valid", (3, 9)), ("reflect", (16, 3))])
def test_refuses_a_kernel_too_large_for_the_boundary(boundary: str, size: tuple[int, int]) -> None:
    image, kernel = random(1, 1, 8, 8), random(1, 1, *size)
    with pytest.raises(
        InputError, match=f"kernel of {size[0]} x {size[1]}.*crop the kernel or use boundary 'replicate'"
    ):
        Blur(boundary)(image=image, kernel=kernel)
    fits = random(1, 1, size[0] - 1, size[1] - 1)
    assert Blur(boundary)(image=image, kernel=fits).isfinite().all()


def test_adjoint_refuses_a_residual_of_another_shape() -> None:
    with pytest.raises(InputError, match=r"residual has shape \(1, 1, 7, 8\)"):
        Blur().adjoint(random(1, 1, 7, 8), kernel=random(1, 1, 3, 3), image_shape=(1, 1, 8, 8))


def test_adjoint_refuses_a_residual_on_another_device() -> None:
    with pytest.raises(InputError, match="kernel is on cpu and image on meta"):
        Blur().adjoint(random(1, 1, 8, 8).to("meta"), kernel=random(1, 1, 3, 3), image_shape=(1, 1, 8, 8))
