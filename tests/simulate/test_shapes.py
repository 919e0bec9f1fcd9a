"""Kernels of many kinds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from blinddps.simulate.shapes import KINDS, random_kernel


@pytest.mark.parametrize("reach", [1.2, 5.0, 20.0])
def test_kernels(reach: float) -> None:
    drawn: dict[str, np.ndarray] = {}
    for seed in range(60):
        kernel, kind = random_kernel(np.random.default_rng(seed), reach)
        drawn[kind] = kernel
        n = kernel.shape[0]
        assert kernel.shape == (n, n)
        assert n % 2 == 1
        assert kernel.dtype == np.float32
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        assert np.abs(np.array(ndimage.center_of_mass(kernel)) - n // 2).max() <= 1
        assert n <= 2 * (2 * reach + 7) + 1
    assert set(drawn) == set(KINDS)


def test_the_generator_decides_alone() -> None:
    first, again, other = (random_kernel(np.random.default_rng(seed), 6.0)[0] for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
