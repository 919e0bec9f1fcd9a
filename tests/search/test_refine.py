"""The learned kernel step."""

from __future__ import annotations

import pytest
import torch

from blinddps.search.networks import learned
from blinddps.search.refine import KernelStep, moved_onto, step_inputs


@pytest.mark.parametrize("side", [9, 41, 58])
def test_kernels_of_any_frame_stay_kernels(side: int) -> None:
    generator = torch.Generator().manual_seed(side)
    kernel = torch.rand(1, 1, side, side, generator=generator)
    fit = torch.randn(1, 1, side, side, generator=generator)
    for others in ([], [(kernel.mT, fit), (kernel, fit.mT)]):
        with torch.no_grad():
            found = learned().step(step_inputs(kernel, fit, 0.01, others))
        assert found.shape == kernel.shape
        assert float(found.min()) >= 0
        assert float(found.sum()) == pytest.approx(1, abs=1e-5)


def test_other_kernels_are_moved_onto_this_one() -> None:
    kernel = torch.zeros(9, 9)
    kernel[4, 2:7] = torch.tensor([0.1, 0.3, 0.2, 0.1, 0.3])
    fit = torch.arange(81.0).reshape(9, 9)
    moves = ((2, -1), (0, 0), (-3, 2))
    away = [torch.stack([v.roll(move, (0, 1)) for v in (kernel, fit)]) for move in moves]
    kernels, fits = moved_onto(kernel, *torch.stack(away, 1))
    assert all(torch.equal(k, kernel) for k in kernels)
    assert torch.equal(fits[1], fit)
    assert torch.equal(fits[0, :-2, 1:], fit[:-2, 1:])
    assert float(fits[0, -2:].abs().sum() + fits[0, :, :1].abs().sum()) == 0  # had left the frame, so is not known


def test_what_the_step_sees_of_other_kernels() -> None:
    kernel = torch.zeros(1, 1, 9, 9)
    kernel[..., 4, 2:7] = torch.tensor([0.1, 0.3, 0.2, 0.1, 0.3])  # nothing moves onto it better than itself
    fits = torch.rand(2, 1, 1, 9, 9)
    others = [(kernel, fits[0]), (2 * kernel, fits[1])]
    seen = step_inputs(kernel, fits[0], 0.02, others)[0, 3:] * kernel.max()
    assert torch.allclose(seen[0], 1.5 * kernel[0, 0])
    assert torch.allclose(seen[1], 2 * kernel[0, 0])
    assert torch.allclose(seen[2], fits.mean(0)[0, 0])
    assert not step_inputs(kernel, fits[0], 0.02)[0, 3:].any()


def test_an_untrained_step_changes_nothing() -> None:
    kernel = torch.zeros(1, 1, 11, 11)
    kernel[..., 5, 3:8] = 0.2
    with torch.no_grad():
        assert torch.allclose(KernelStep(4)(step_inputs(kernel, torch.randn(1, 1, 11, 11), 0.02)), kernel)


def test_where_nothing_would_be_left_the_step_is_not_taken() -> None:
    step = KernelStep(4)
    assert step.last.bias is not None
    torch.nn.init.constant_(step.last.bias, -9.0)
    kernel = torch.full((1, 1, 9, 9), 1 / 81)
    with torch.no_grad():
        assert torch.allclose(step(step_inputs(kernel, kernel, 0.02)), kernel)
