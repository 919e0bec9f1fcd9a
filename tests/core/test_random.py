"""One stream per sample and unknown: results depend on the seed alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from blinddps.core import generator_for, normal_like


def draw(*key: int | str, n: int = 4096) -> torch.Tensor:
    return torch.randn(n, generator=generator_for(*key))


def test_same_key_same_stream() -> None:
    assert torch.equal(draw(3, "kernel", 1), draw(3, "kernel", 1))


def test_neighbouring_streams_are_uncorrelated() -> None:
    """Of 4096 numbers the correlation of independent streams has a spread of 1/64; five of these is the limit."""
    keys = [(0, "image", 0), (1, "image", 0), (0, "image", 1), (0, "kernel", 0), (-1, "image", 0), (0, "image", 0, 0)]
    streams = torch.stack([draw(*key) for key in keys])
    correlation = streams @ streams.T / streams.shape[1]
    for a, b in itertools.combinations(range(len(keys)), 2):
        assert abs(float(correlation[a, b])) < 5 / 64, (keys[a], keys[b])


def test_a_number_and_its_name_are_different_labels() -> None:
    assert not torch.equal(draw(0, "1"), draw(0, 1))


def test_numpy_numbers_are_numbers() -> None:
    assert torch.equal(draw(0, "image", 7), draw(np.int64(0), "image", np.int64(7)))


@pytest.mark.parametrize("seed", [0, -1, 2**63, 10**30])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert bool(draw(seed, "x").isfinite().all())


def test_noise_of_a_sample_is_independent_of_its_batch_and_place() -> None:
    def noise(*items: int) -> torch.Tensor:
        return normal_like(torch.empty(len(items), 2, 5, 3), [generator_for(0, "image", i) for i in items])

    alone, batch, reverse = noise(1), noise(0, 1, 2), noise(2, 1, 0)
    assert torch.equal(alone[0], batch[1])
    assert torch.equal(batch, reverse.flip(0))
    assert not torch.equal(batch[0], batch[1])


def test_noise_is_standard_normal_in_the_type_of_its_model() -> None:
    noise = normal_like(torch.empty(2, 100, 100, dtype=torch.float64), [generator_for(0, i) for i in range(2)])
    assert noise.dtype == torch.float64
    assert float(noise.mean()) == pytest.approx(0, abs=5 / 20000**0.5)
    assert float(noise.var()) == pytest.approx(1, abs=5 * (2 / 20000) ** 0.5)


def test_noise_does_not_depend_on_global_state() -> None:
    x = torch.empty(1, 40, dtype=torch.float64)
    expected = normal_like(x, [generator_for(0)])
    before = torch.get_rng_state()
    try:
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(1)
        assert torch.equal(normal_like(x, [generator_for(0)]), expected)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_rng_state(before)
