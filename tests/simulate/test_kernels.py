"""Kernel generators: invariants, reproducibility, statistics, and the database file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tests.engines import Backwards
from torch import Tensor

from blinddps.core.errors import InputError
from blinddps.simulate import (
    defocus_kernels,
    gaussian_kernels,
    kernel_set,
    motion_kernels,
    read_kernel_database,
    write_kernel_database,
)

GENERATORS = [motion_kernels, gaussian_kernels, defocus_kernels, kernel_set]
SIZES = [64, 33, (24, 40), (31, 20), 5]


def coordinates(k: Tensor) -> tuple[Tensor, Tensor]:
    h, w = k.shape[-2:]
    y, x = torch.arange(h, dtype=torch.float64) - h // 2, torch.arange(w, dtype=torch.float64) - w // 2
    return y.view(h, 1).expand(h, w), x.expand(h, w)


def centroid(k: Tensor) -> Tensor:
    return torch.stack([(k[:, 0].double() * c).sum((1, 2)) for c in coordinates(k)], 1)


def covariance(k: Tensor) -> Tensor:
    y, x = coordinates(k)
    k = k[:, 0].double()
    yy, xx, xy = ((k * p).sum((1, 2)) for p in (y * y, x * x, x * y))
    return torch.stack([torch.stack([yy, xy], 1), torch.stack([xy, xx], 1)], 1)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("generate", GENERATORS)
def test_kernels_are_distributions_centred_on_the_origin(generate, size) -> None:
    k = generate(200, size, seed=3)
    assert k.shape == (200, 1, *((size, size) if isinstance(size, int) else size))
    assert k.dtype == torch.float32
    assert k.min() >= 0
    torch.testing.assert_close(k.double().sum((1, 2, 3)), torch.ones(200, dtype=torch.float64), atol=1e-6, rtol=0)
    assert centroid(k).abs().max() < 1e-4


@pytest.mark.parametrize("generate", GENERATORS)
def test_item_depends_on_seed_and_index_alone(generate) -> None:
    whole = generate(600, (20, 17), seed=7)  # more than one internal chunk
    parts = torch.cat([generate(n, (20, 17), seed=7, start=s) for s, n in ((0, 1), (1, 299), (300, 300))])
    assert torch.equal(whole, parts)
    assert torch.equal(generate(3, (20, 17), seed=7, start=10**9), generate(5, (20, 17), seed=7, start=10**9 - 2)[2:])


@pytest.mark.parametrize("generate", GENERATORS)
def test_other_seeds_and_items_give_other_kernels(generate) -> None:
    k = torch.cat([generate(50, 16, seed=s) for s in (0, 1, 2**63)]).flatten(1)
    assert len(torch.unique(k, dim=0)) >= 0.9 * len(k)  # the narrowest Gaussians and discs are all one pixel


def test_the_generator_is_pinned() -> None:
    """Stored databases and trained priors refer to these kernels: a change needs a new GENERATOR_VERSION."""
    k = kernel_set(64, 32, seed=0, mixture={"motion": 1, "gaussian": 1, "defocus": 1}).double()
    y, x = coordinates(k)
    marks = [k.square().sum().item(), (k[:, 0] * (y * y + 0.5 * x * y)).sum().item()]
    assert marks == pytest.approx([3.45311962, 996.903324], rel=1e-5)


def test_empty_set() -> None:
    assert motion_kernels(0, 8).shape == (0, 1, 8, 8)


def test_intensity_zero_is_a_straight_line() -> None:
    """Across the line only rasterisation and smoothing are left: less than one pixel squared, whatever the length."""
    spread = torch.linalg.eigvalsh(covariance(motion_kernels(300, 64, intensity=0.0, seed=1)))
    assert spread[:, 0].max() < 0.6
    assert spread[:, 1].median() > 30


def test_curvature_grows_with_intensity() -> None:
    ratio = [
        torch.linalg.eigvalsh(covariance(motion_kernels(400, 64, intensity=i, seed=1))).unbind(1)
        for i in (0.0, 0.25, 0.5, 1.0)
    ]
    medians = [float((small / large).median()) for small, large in ratio]
    assert medians == sorted(medians)
    assert medians[0] < 0.01 < 0.1 < medians[-1]


def test_motion_kernels_are_thin_and_vary_in_extent() -> None:
    k = motion_kernels(1000, 64, seed=0)
    inked = (k > 0.05 * k.amax((2, 3), keepdim=True))[:, 0]
    rows, columns = inked.any(2), inked.any(1)
    extent = torch.maximum(rows.sum(1), columns.sum(1)) / 64
    assert extent.quantile(0.05) < 0.35
    assert extent.quantile(0.95) > 0.8
    assert inked.float().mean((1, 2)).quantile(0.95) < 0.1  # a curve, not a blob
    assert k.amax((1, 2, 3)).quantile(0.95) < 0.15  # it lingers, but nowhere for long


def test_motion_directions_are_uniform() -> None:
    c = covariance(motion_kernels(4000, 32, intensity=0.0, seed=2))
    doubled = torch.atan2(2 * c[:, 0, 1], c[:, 1, 1] - c[:, 0, 0])
    assert abs(torch.cos(doubled).mean()) < 0.05
    assert abs(torch.sin(doubled).mean()) < 0.05


def test_motion_shape_does_not_depend_on_the_frame() -> None:
    """The same item in a frame twice as large is the same trajectory at twice the scale."""
    small, large = (covariance(motion_kernels(100, s, seed=4)) for s in (65, 129))
    ratio = (large.diagonal(dim1=1, dim2=2).sum(1) / small.diagonal(dim1=1, dim2=2).sum(1)).sqrt()
    assert ((ratio - 2).abs() < 0.12).all()


@pytest.mark.parametrize("std", [1.0, 3.0, 5.0])
def test_gaussian_variance(std: float) -> None:
    """Integration over a pixel convolves with a box of variance 1/12."""
    c = covariance(gaussian_kernels(1, (64, 65), std=std))[0]
    torch.testing.assert_close(c, (std**2 + 1 / 12) * torch.eye(2, dtype=torch.float64), atol=1e-4, rtol=1e-4)


def test_gaussian_is_the_integral_over_each_pixel() -> None:
    k = gaussian_kernels(1, 9, std=1.3)[0, 0].double()

    def mass(i: int) -> float:
        return 0.5 * (math.erf((i + 0.5) / (1.3 * math.sqrt(2))) - math.erf((i - 0.5) / (1.3 * math.sqrt(2))))

    total = sum(mass(i) for i in range(-4, 5)) ** 2
    assert k[4 + 2, 4 - 1].item() == pytest.approx(mass(2) * mass(-1) / total, rel=1e-6)


def test_gaussian_std_is_uniform_in_its_range() -> None:
    trace = covariance(gaussian_kernels(2000, 32, std=(1.0, 3.0), seed=5)).diagonal(dim1=1, dim2=2).mean(1)
    std = (trace - 1 / 12).sqrt()
    assert 0.99 < std.min() < 1.01
    assert 2.98 < std.max() < 3.01
    assert std.mean().item() == pytest.approx(2.0, abs=0.04)


@pytest.mark.parametrize("radius", [2.0, 5.3, 12.0])
def test_defocus_is_a_flat_disc_of_the_stated_radius(radius: float) -> None:
    k = defocus_kernels(1, 33, radius=radius)[0, 0]
    assert (k / k.max()).sum().item() == pytest.approx(math.pi * radius**2, rel=0.05)
    y, x = coordinates(k[None, None])
    distance = torch.hypot(y, x)
    assert (k[distance < radius - 0.5] == k.max()).all()
    assert (k[distance > radius + 0.5] == 0).all()


def test_defocus_of_half_a_pixel_is_a_delta_and_the_largest_fits() -> None:
    assert defocus_kernels(1, 8, radius=0.5)[0, 0, 4, 4] == 1
    with pytest.raises(InputError, match=r"radius is 5\.0"):
        defocus_kernels(1, 10, radius=5.0)


def test_mixture_takes_each_kernel_from_its_class() -> None:
    k = kernel_set(3000, 16, seed=9, mixture={"motion": 2, "gaussian": 1, "defocus": 1})
    same = [
        (k == generate(3000, 16, seed=9)).flatten(1).all(1)
        for generate in (motion_kernels, gaussian_kernels, defocus_kernels)
    ]
    assert torch.stack(same).any(0).all()
    shares = [float(s.float().mean()) for s in same]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.03)


def test_mixture_ignores_order_and_scale() -> None:
    a = kernel_set(100, 16, mixture={"motion": 5 / 6, "gaussian": 1 / 6})
    assert torch.equal(a, kernel_set(100, 16, mixture={"gaussian": 0.25, "motion": 1.25}))
    assert torch.equal(a, kernel_set(100, 16))
    assert torch.equal(kernel_set(20, 16, mixture={"motion": 1, "gaussian": 0}), motion_kernels(20, 16))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: motion_kernels(1, 2), "size is 2"),
        (lambda: motion_kernels(-1, 8), "count is -1"),
        (lambda: motion_kernels(1, 8, seed=-4), "seed is -4"),
        (lambda: motion_kernels(1, 8, start=-1), "start is -1"),
        (lambda: motion_kernels(1, 8, intensity=1.5), "intensity is 1.5"),
        (lambda: motion_kernels(1, 8, intensity=(0.5, 0.2)), "intensity is"),
        (lambda: motion_kernels(1, 8, intensity=math.nan), "intensity is nan"),
        (lambda: gaussian_kernels(1, 8, std=0.0), "std is 0.0"),
        (lambda: defocus_kernels(1, 8, radius=(4.0, None)), "radius is"),
        (lambda: kernel_set(1, 8, mixture={"motoin": 1.0}), "did you mean 'motion'"),
        (lambda: kernel_set(1, 8, mixture={"motion": -1.0}), "is -1.0"),
        (lambda: kernel_set(1, 8, mixture={"motion": 0.0}), "no positive weight"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_database_round_trip(tmp_path: Path) -> None:
    path = write_kernel_database(tmp_path / "new" / "kernels.safetensors", 1100, (16, 20), seed=6, progress=False)
    assert [p.name for p in path.parent.iterdir()] == ["kernels.safetensors"]
    shared = write_kernel_database(tmp_path / "shared", 1100, (16, 20), seed=6, progress=False, engine=Backwards())
    assert shared.read_bytes() == path.read_bytes()
    k, about = read_kernel_database(path)
    expected = kernel_set(1100, (16, 20), seed=6)
    peak = expected.amax((2, 3), keepdim=True)
    assert ((k - expected).abs() / peak).max() < 2e-4
    torch.testing.assert_close(k.sum((1, 2, 3)), torch.ones(1100))
    assert torch.equal(k[1020:1030], read_kernel_database(path, 1020, 10)[0])
    assert (about["count"], about["size"], about["seed"]) == (1100, [16, 20], 6)
    assert about["mixture"] == {"motion": pytest.approx(5 / 6), "gaussian": pytest.approx(1 / 6)}


def test_database_leaves_nothing_behind_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k.safetensors"
    path.write_bytes(b"of an earlier call")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(InputError, match=r"^cannot write '.*k\.safetensors': No space left on device; free some"):
        write_kernel_database(path, 3, 8, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["k.safetensors"]
    assert path.read_bytes() == b"of an earlier call"


def test_database_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def works(*_: object, **__: object) -> None:
        raise AssertionError("kernels were made")

    monkeypatch.setattr("blinddps.simulate.kernels.kernel_set", works)
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "k", Path("/proc/blinddps/k"), tmp_path / ("n" * 300)):
        with pytest.raises(InputError, match=r"^cannot (write|use) '.*: .*; (give|choose) a"):
            write_kernel_database(path, 3, 8, progress=False)
    for count in (0, -1):
        with pytest.raises(InputError, match=f"^count is {count}; a database holds at least one kernel"):
            write_kernel_database(tmp_path / "k", count, 8, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_database_errors_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_kernel_database(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="is not a kernel database"):
        read_kernel_database(tmp_path / "text")
    path = write_kernel_database(tmp_path / "k.safetensors", 4, 8, progress=False)
    with pytest.raises(InputError, match=r"holds kernels 0 \.\.\. 3, not 2 \.\.\. 5"):
        read_kernel_database(path, 2, 4)


@pytest.mark.parametrize(
    "about",
    [
        None,
        "{",
        "[1]",
        "[" * 100_000,
        '{"count": "many"}',
        '{"count": 9}',
        '{"count": true}',
        '{"count": ' + "9" * 5000 + "}",
    ],
)
def test_database_that_is_damaged(tmp_path: Path, about: str | None) -> None:
    path = tmp_path / "k.safetensors"
    save_file(
        {"kernels": np.ones((4, 1, 8, 8), np.float16)}, path, metadata=None if about is None else {"blinddps": about}
    )
    with pytest.raises(InputError, match="is not a kernel database"):
        read_kernel_database(path)
    save_file({"kernels": np.zeros((1, 1, 8, 8), np.float16)}, path, metadata={"blinddps": '{"count": 1}'})
    with pytest.raises(InputError, match="have no sum above zero"):
        read_kernel_database(path)
