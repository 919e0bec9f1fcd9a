"""Blur of light whose image is told in a stretch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from blinddps.core import InputError, natural_spectrum
from blinddps.operators import Blur, Stretch, StretchedBlur

KERNEL = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64)[None, None] / 16
NOISE = 0.001


def stretch_of(dark: float = 0.1, scale: float = 0.02, peak: float = 30.0) -> Stretch:
    return Stretch(*(torch.full((1, 1, 1, 1), v, dtype=torch.float64) for v in (dark, scale, peak)))


def test_it_is_linear_in_the_noise_and_logarithmic_beyond() -> None:
    stretch, x = stretch_of(), torch.tensor([0.1, 0.11, 1.0, 10.0, 30.0], dtype=torch.float64)[None, None, None]
    u = stretch.of(x)
    torch.testing.assert_close(stretch.light(u), x)
    assert u[..., 0].item() == pytest.approx(-0.8)
    assert u[..., 4].item() == pytest.approx(0.9)
    step = (u[..., 3] - u[..., 2]).item()
    assert step == pytest.approx(1.7 * np.log(9.9 / 0.9) / 8.0, rel=0.01)  # asinh(29.9 / 0.02) is 8.0
    v = u.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(stretch.light(v).sum(), v)[0], stretch.slope(u))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_update_is_the_minimum(weighted: bool) -> None:
    """Of misfit and pull together, a bright star on a dark sky: a search of its own gains little beyond."""
    stretch, g = stretch_of(), torch.Generator().manual_seed(0)
    mean = -0.8 + 0.02 * torch.randn(1, 1, 18, 20, dtype=torch.float64, generator=g)
    true = mean + 0.02 * torch.randn(mean.shape, dtype=torch.float64, generator=g)
    mean[..., 9, 9], true[..., 9, 9] = 0.0, 0.1
    weight = torch.rand(1, 1, 16, 18, dtype=torch.float64, generator=g) + 0.2 if weighted else torch.ones(1, 1, 16, 18)
    law = natural_spectrum()

    def own(size: tuple[int, ...]) -> Tensor:
        return law(0.1, size).double()

    operator = StretchedBlur(stretch)
    y = operator(image=true, kernel=KERNEL, weight=weight)
    options = {"estimate": {}, "noise_variance": torch.full((1, 1, 1, 1), NOISE**2, dtype=torch.float64)}
    known = {"image": mean, "kernel": KERNEL, "weight": weight}
    u = operator.update("image", y, mean=known, error={"image": own, "kernel": None}, **options)

    # C^-1 among the pixels of the image, which lie in a periodic frame
    basis = torch.eye(400, dtype=torch.float64).reshape(400, 20, 20)
    covariance = torch.fft.irfft2(torch.fft.rfft2(basis) * own((20, 20)), s=(20, 20))
    pull = torch.linalg.inv(covariance.reshape(400, 400)[:360, :360])

    def objective(u: Tensor) -> Tensor:
        misfit, d = y - operator(image=u, kernel=KERNEL, weight=weight), (u - mean).flatten()
        return misfit.square().sum() / NOISE**2 + d @ pull @ d

    best = u.clone().requires_grad_()
    search = torch.optim.LBFGS([best], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = objective(best)
        value.backward()
        return value

    search.step(closure)
    least = float(objective(best.detach()))
    assert float(objective(u)) - least < 0.005 * (float(objective(mean)) - least)


def test_what_it_does_not_find() -> None:
    with pytest.raises(InputError, match="not of 'kernel'"):
        StretchedBlur(stretch_of()).update(
            "kernel", KERNEL, estimate={}, mean={}, error={"image": None}, noise_variance=KERNEL
        )


def test_a_pixel_without_weight_tells_nothing() -> None:
    stretch, mean = stretch_of(), torch.full((1, 1, 12, 12), -0.8, dtype=torch.float64)
    y = Blur("valid")(image=stretch.light(mean), kernel=KERNEL)
    bad = torch.ones_like(y)
    bad[..., 4, 5] = 0
    y[..., 4, 5] = 0.0  # times its weight
    law = natural_spectrum()
    u = StretchedBlur(stretch).update(
        "image",
        y,
        estimate={},
        mean={"image": mean, "kernel": KERNEL, "weight": bad},
        error={"image": lambda size: law(0.1, size).double(), "kernel": None},
        noise_variance=torch.full((1, 1, 1, 1), NOISE**2, dtype=torch.float64),
    )
    torch.testing.assert_close(u, mean, atol=1e-5, rtol=0)
