"""Measurements are functions of seed and item alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blinddps.core import InputError
from blinddps.evaluation.datasets import items_of
from blinddps.evaluation.measure import measure, solver_seed
from blinddps.evaluation.spec import Data, Defocus, Gaussian, Motion, Turbulence
from blinddps.operators import Blur, Tilt

KINDS = [
    Motion(kind="motion", kernel_size=9),
    Gaussian(kind="gaussian", kernel_size=9, std=1.0),
    Defocus(kind="defocus", kernel_size=9, radius=2.0),
    Turbulence(kind="turbulence", kernel_size=9, std=1.0, frames=2),
    Turbulence(kind="turbulence", kernel_size=9, std=1.0, tilt="atmospheric"),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k.kind}-{getattr(k, 'tilt', '')}")
def test_same_seed_and_item_same_measurement(kind, data: Path) -> None:
    every = items_of(Data(source="s", size=32), data / "pictures")
    (alone,) = items_of(Data(source="s", size=32, start=3, count=1), data / "pictures")
    one, again = measure(every[3], kind, 7), measure(alone, kind, 7)
    for name in ("y", "truth", "kernel", "tilt"):
        a, b = getattr(one, name), getattr(again, name)
        assert a is b is None or torch.equal(a, b), name
    other = measure(every[3], kind, 8)
    assert not torch.equal(other.y, one.y)
    assert solver_seed(every[3].index, 7) == solver_seed(alone.index, 7) != solver_seed(every[2].index, 7)
    if isinstance(kind, Motion):
        assert not torch.equal(other.kernel, one.kernel)
        assert not torch.equal(measure(every[2], kind, 7).kernel, one.kernel)


def test_a_measurement_is_its_operator_and_noise_clipped(data: Path) -> None:
    item = items_of(Data(source="s", size=32), data / "pictures")[1]
    for kind in (KINDS[0], KINDS[4]):
        silent = measure(item, kind.model_copy(update={"noise": 0.0}), 0)
        x = silent.truth if silent.tilt is None else Tilt(boundary="replicate")(image=silent.truth, tilt=silent.tilt)
        torch.testing.assert_close(silent.y, Blur("replicate")(image=x, kernel=silent.kernel), atol=2e-6, rtol=0)
        noisy = measure(item, kind.model_copy(update={"noise": 0.2}), 0)
        assert float(noisy.y.min()) == 0
        assert float(noisy.y.max()) == 1
    small = measure(item, KINDS[1].model_copy(update={"noise": 0.01}), 0)
    clean = measure(item, KINDS[1].model_copy(update={"noise": 0.0}), 0)
    assert float((small.y - clean.y).std()) == pytest.approx(0.01, rel=0.05)


def test_valid_keeps_the_truth_under_the_measurement(data: Path) -> None:
    item = items_of(Data(source="s", size=32), data / "pictures")[0]
    kind = Gaussian(kind="gaussian", kernel_size=8, std=0.05, noise=0.0, boundary="valid")  # a single pixel
    m = measure(item, kind, 0)
    assert m.y.shape == m.truth.shape == (1, 3, 25, 25)
    torch.testing.assert_close(m.y, m.truth, atol=1e-5, rtol=0)


def test_a_kernel_larger_than_the_picture(data: Path) -> None:
    item = items_of(Data(source="s", size=16), data / "pictures")[0]
    with pytest.raises(InputError, match="is 16 x 16 pixels, kernel_size of 'gaussian' 32"):
        measure(item, Gaussian(kind="gaussian"), 0)
