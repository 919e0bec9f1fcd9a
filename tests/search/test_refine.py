"""The learned kernel step."""

from __future__ import annotations

import pytest
import torch

from blinddps.search.networks import kernel_step
from blinddps.search.refine import KernelStep, step_inputs


@pytest.mark.parametrize("side", [9, 41, 58])
def test_kernels_of_any_frame_stay_kernels(side: int) -> None:
    generator = torch.Generator().manual_seed(side)
    kernel = torch.rand(2, 1, side, side, generator=generator)
    fit = torch.randn(2, 1, side, side, generator=generator)
    with torch.no_grad():
        found = kernel_step()(step_inputs(kernel, fit, 0.01))
    assert found.shape == kernel.shape
    assert float(found.min()) >= 0
    assert torch.allclose(found.sum((1, 2, 3)), torch.ones(2))


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
