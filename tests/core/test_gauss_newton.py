"""The one update against dense linear algebra, and what it does with the noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from blinddps.core import Error, SolverError, gauss_newton

G = torch.Generator().manual_seed(0)
MATRIX = torch.randn(30, 20, generator=G, dtype=torch.float64) / 4
TO_GAIN = torch.randn(30, 6, generator=G, dtype=torch.float64)
Y = torch.randn(2, 30, generator=G, dtype=torch.float64)
MEAN = {
    "image": torch.randn(2, 1, 4, 5, generator=G, dtype=torch.float64),
    "a": torch.randn(2, 1, 2, 3, generator=G, dtype=torch.float64),
    "b": torch.randn(2, 1, 2, 3, generator=G, dtype=torch.float64),
}


def operator(*, image: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Linear, and of no shape that a picture has."""
    return image.flatten(1) @ MATRIX.T + a.flatten(1) @ TO_GAIN.T + b.flatten(1) @ TO_GAIN.flip(0).T


def white(value: float) -> Error:
    return lambda size: torch.full((size[0], size[1] // 2 + 1), value, dtype=torch.float64)


ERROR = {"image": white(0.5), "a": white(2.0), "b": white(0.1)}


def solve(*names: str, noise: float = 0.01, error: dict[str, Error] = ERROR) -> dict[str, Tensor]:
    e = torch.full((2, 1, 1, 1), noise, dtype=torch.float64)
    return gauss_newton(operator, names, Y, mean=MEAN, error=error, noise_variance=e, iterations=200, tolerance=1e-12)


def test_the_image_s_noise_is_never_raised() -> None:
    """However badly the mean explains the measurement, the noise stays what it is stated to be."""
    r = Y - operator(**MEAN)
    assert float(r.square().mean()) > 100 * 0.01
    exact = torch.linalg.solve(MATRIX.T @ MATRIX / 0.01 + torch.eye(20) / 0.5, (r @ MATRIX / 0.01).T).T
    got = solve("image")["image"]
    torch.testing.assert_close(got.flatten(1), MEAN["image"].flatten(1) + exact, rtol=0, atol=1e-9)
    flat = solve("image", error={**ERROR, "image": None})["image"]
    free = MEAN["image"].flatten(1) + torch.linalg.lstsq(MATRIX, r.T).solution.T
    torch.testing.assert_close(flat.flatten(1), free, rtol=0, atol=1e-6)


@pytest.mark.parametrize("noise", [0.01, 100.0])
def test_parameters_meet_what_is_unexplained_as_noise_and_are_found_together(noise: float) -> None:
    r = Y - operator(**MEAN)
    w = r.square().mean(1).clamp_min(noise)
    both = torch.cat([TO_GAIN, TO_GAIN.flip(0)], 1)
    pull = torch.diag(torch.tensor([1 / 2.0] * 6 + [1 / 0.1] * 6, dtype=torch.float64))
    for order in (("a", "b"), ("b", "a")):
        got = solve(*order, noise=noise, error={**ERROR, "image": None})
        for i in range(2):
            exact = torch.linalg.solve(both.T @ both / w[i] + pull, both.T @ r[i] / w[i])
            found = torch.cat([(got[n] - MEAN[n])[i].flatten() for n in ("a", "b")])
            torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)


def test_where_all_are_found_together_their_own_errors_are_no_noise() -> None:
    e = torch.full((2, 1, 1, 1), 0.01, dtype=torch.float64)
    got = gauss_newton(
        operator, ["a", "b"], Y, mean=MEAN, error=ERROR, noise_variance=e, image=None, iterations=300, tolerance=1e-12
    )
    both, r = torch.cat([TO_GAIN, TO_GAIN.flip(0)], 1), Y - operator(**MEAN)
    pull = torch.diag(torch.tensor([1 / 2.0] * 6 + [1 / 0.1] * 6, dtype=torch.float64))
    exact = torch.linalg.solve(both.T @ both / 0.01 + pull, both.T @ r.T / 0.01).T
    found = torch.cat([(got[n] - MEAN[n]).flatten(1) for n in ("a", "b")], 1)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)


def test_a_picture_one_pixel_wide_is_weighed_by_frequency_too() -> None:
    """The spectrum of its error, one column, was taken for variances of its pixels."""
    image = torch.randn(1, 1, 12, 1, generator=G, dtype=torch.float64)
    c = torch.rand(12, 1, generator=G, dtype=torch.float64) + 0.1
    c[1:] = (c[1:] + c[1:].flip(0)) / 2
    gain = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    got = {}
    for tall in (True, False):

        def turned(x: Tensor, tall: bool = tall) -> Tensor:
            return x if tall else x.mT

        spectrum = c if tall else c[None, :7, 0]  # the other half plane
        got[tall] = gauss_newton(
            lambda *, image, gain: gain * image,
            ["gain"],
            turned(1.3 * image + torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(1, 1, 12, 1)),
            mean={"image": turned(image), "gain": gain},
            error={"image": lambda size, spectrum=spectrum: spectrum, "gain": white(1.0)},
            noise_variance=0.05 * gain,
        )["gain"]
    torch.testing.assert_close(got[True], got[False], rtol=1e-9, atol=0)


def test_what_the_image_s_error_makes_of_the_measurement_is_noise_to_parameters() -> None:
    """On one grid by frequency; on another the variance of an entry."""
    x = torch.zeros(1, 1, 8, 6, dtype=torch.float64)
    gain = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    c = torch.rand(8, 4, generator=G, dtype=torch.float64) + 0.5
    c[1:] = (c[1:] + c[1:].flip(0)) / 2
    bright = torch.randn(1, 1, 8, 6, generator=G, dtype=torch.float64)
    for pool in (1, 2):

        def seen(*, image: Tensor, gain: Tensor, pool: int = pool) -> Tensor:
            return torch.nn.functional.avg_pool2d(2 * image + gain * bright, pool)

        y = seen(image=x, gain=1.1 * gain)
        got = gauss_newton(
            lambda *, image, gain: seen(image=image, gain=gain),
            ["gain"],
            y,
            mean={"image": x, "gain": gain},
            error={"image": lambda size: c, "gain": white(1.0)},
            noise_variance=0.5 * gain,
            iterations=50,
            tolerance=1e-12,
        )["gain"]
        g = seen(image=x, gain=gain).flatten()
        if pool == 1:
            inverse = torch.fft.irfft2(torch.fft.rfft2(g.reshape(8, 6)) / (4 * c + 0.5), s=(8, 6)).flatten()
        else:  # pooling four pixels passes what the sinc of a box passes
            box = torch.fft.rfft2(torch.ones(2, 2, dtype=torch.float64) / 4, s=(8, 6)).real.clamp_min(0)
            variance = float(torch.fft.irfft2(4 * c * box / 4, s=(8, 6))[0, 0]) * 4
            inverse = g / (variance + 0.5)
        exact = 1 + 0.1 * float(g @ inverse) / (float(g @ inverse) + 1)
        assert float(got) == pytest.approx(exact, rel=1e-6)


def test_a_spectrum_pulls_by_frequency() -> None:
    eigenvalues = torch.rand(4, 3, generator=G, dtype=torch.float64) + 0.1
    eigenvalues[1:] = (eigenvalues[1:] + eigenvalues[1:].flip(0)) / 2  # of a real field
    got = solve("image", error={**ERROR, "image": lambda size: eigenvalues})["image"]
    basis = torch.eye(20, dtype=torch.float64).reshape(20, 4, 5)
    pull = torch.fft.irfft2(torch.fft.rfft2(basis) / eigenvalues, s=(4, 5)).reshape(20, 20)
    r = Y - operator(**MEAN)
    exact = torch.linalg.solve(MATRIX.T @ MATRIX / 0.01 + pull, (r @ MATRIX / 0.01).T).T
    torch.testing.assert_close(got.flatten(1), MEAN["image"].flatten(1) + exact, rtol=0, atol=1e-9)


def test_a_derivative_that_contradicts_itself_is_an_error() -> None:
    class Wrong(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def setup_context(ctx: object, inputs: object, output: object) -> None: ...

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:
            return -g

        @staticmethod
        def jvp(ctx: object, t: Tensor) -> Tensor:
            return t.clone()

    x = torch.randn(1, 1, 4, 4, generator=G, dtype=torch.float64)
    with pytest.raises(SolverError, match=r"derivative and its transpose do not agree.*check_operator"):
        gauss_newton(
            lambda *, image: Wrong.apply(image),
            ["image"],
            x,
            mean={"image": 0 * x},
            error={"image": white(1.0)},
            noise_variance=torch.full((1, 1, 1, 1), 0.01, dtype=torch.float64),
        )
