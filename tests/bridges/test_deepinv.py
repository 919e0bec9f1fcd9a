"""Priors and operators of deepinv here, and ours there. ``make test-deepinv`` runs all of it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tiny import tiny_prior

import blinddps
from blinddps.bridges.deepinv import as_denoiser, as_operator, as_physics, as_prior, as_reconstructor, kernels_of
from blinddps.core import InputError
from blinddps.simulate import gaussian_kernels

_HERE = importlib.util.find_spec("deepinv") is not None
OF_PHYSICS = (
    *("operators_adjointness", "adjointness_test", "operators_norm", "adjoint_autograd", "pseudo_inverse"),
    *("operators_differentiability", "physics_state_dict", "clone"),
)
there = pytest.mark.skipif(not _HERE, reason="deepinv is not installed; make test-deepinv")


@pytest.mark.skipif(_HERE, reason="deepinv is installed")
def test_without_deepinv_one_sentence() -> None:
    with pytest.raises(InputError, match=r"blinddps\[deepinv\]"):
        as_denoiser(tiny_prior())


def smooth(x: torch.Tensor, sigma: Any, **_: Any) -> torch.Tensor:
    """A denoiser of pictures in [0, 1]."""
    level = torch.as_tensor(sigma).reshape(-1, 1, 1, 1)
    return 0.5 + (x - 0.5) / (1 + level**2)


def test_their_denoiser_is_a_prior() -> None:
    """``N(0, 4)`` on [-1, 1] is ``N(0.5, 1)`` on [0, 1]."""
    x, sigma = torch.randn(2, 3, 8, 8), torch.tensor([0.5, 2.0])
    assert torch.allclose(as_prior(smooth)(x, sigma), x * 4 / (4 + sigma.reshape(-1, 1, 1, 1) ** 2), atol=1e-6)
    picture = np.random.default_rng(0).uniform(0.3, 0.7, (32, 32, 3)).astype(np.float32)
    options: dict[str, Any] = {
        "known_kernel": np.full((3, 3), 1 / 9),
        "num_steps": 2,
        "search": "none",
        "device": "cpu",
    }
    assert blinddps.deblur(picture, prior=as_prior(smooth), **options).image.shape == picture.shape


@there
def test_a_prior_is_their_denoiser() -> None:
    import deepinv

    prior = tiny_prior()
    found = as_denoiser(prior)
    assert isinstance(found, deepinv.models.Denoiser)
    x = torch.rand(2, 3, 16, 16)
    one, each = found(x, 0.1), found(x, torch.tensor([0.1, 0.3]))
    assert torch.allclose(one[0], each[0], atol=1e-6)
    assert torch.allclose(2 * each - 1, prior(2 * x - 1, torch.tensor([0.2, 0.6])), atol=1e-6)


@there
@pytest.mark.parametrize("boundary", ["circular", "zero", "replicate", "valid"])
def test_parameters_are_kept_as_their_physics_keep_them(boundary: Any) -> None:
    blur = blinddps.Blur(boundary=boundary)
    physics = as_physics(blur, (3, 16, 16), kernel=gaussian_kernels(1, 5, std=1.0))
    x, other = torch.rand(2, 3, 16, 16), gaussian_kernels(1, 5, std=2.0)
    assert torch.equal(physics(x, kernel=other), blur(image=x, kernel=other.expand(2, -1, -1, -1)))
    assert torch.equal(physics.kernel, other)


def called(test: Any, **given: Any) -> None:
    test(**{name: given[name] for name in inspect.signature(test).parameters})


@there
@pytest.mark.parametrize("boundary", ["circular", "zero", "replicate", "valid"])
@pytest.mark.parametrize("test", OF_PHYSICS)
def test_an_operator_passes_their_own_tests(
    test: str, boundary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs: Any = importlib.import_module("deepinv.tests.test_physics")
    uneven = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))

    def find(name: str, device: str, imsize: Any = None, get_physics_param: bool = False) -> tuple[Any, ...]:
        size = (3, 16, 16)
        physics = as_physics(blinddps.Blur(boundary=boundary), size, kernel=uneven / uneven.sum())
        return (physics, size, 1.0, torch.float32, *([["kernel"]] if get_physics_param else []))

    monkeypatch.setattr(theirs, "find_operator", find)
    monkeypatch.chdir(tmp_path)
    name = "deblur_circular" if boundary == "circular" else "deblur_valid"  # of others they ask no norm
    monkeypatch.setattr(theirs, "OPERATORS", [name])
    given = {"num_samples": 3, "verbose": False, "implicit_backward_solver": False}
    called(getattr(theirs, f"test_{test}"), name=name, device="cpu", rng=torch.Generator().manual_seed(0), **given)


@there
@pytest.mark.parametrize("test", ["color", "gray", "sigma_color", "sigma_gray"])
def test_a_prior_passes_their_own_tests(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import deepinv

    monkeypatch.syspath_prepend(Path(deepinv.__file__).parent / "tests")  # one of them imports what lies beside it
    theirs: Any = importlib.import_module("deepinv.tests.test_models")
    monkeypatch.setattr(theirs, "choose_denoiser", lambda name, size: as_denoiser(tiny_prior(size[0])))
    sizes = {"imsize": (3, 32, 32), "imsize_1_channel": (1, 32, 32)}
    called(getattr(theirs, f"test_denoiser_{test}"), denoiser="ours", device="cpu", batch_size=2, **sizes)


@there
def test_a_parameter_of_theirs_is_an_unknown_and_nothing_is_kept() -> None:
    import deepinv

    size = (1, 16, 16)
    physics = deepinv.physics.BlurFFT(img_size=size, filter=gaussian_kernels(1, 5, std=1.0))
    before = physics.filter.clone()
    operator = as_operator(physics, kernel="filter")
    assert torch.equal(physics.filter, before)
    image, kernel = torch.rand(1, *size) * 2 - 1, gaussian_kernels(1, 5, std=2.0)
    assert torch.allclose(operator(image=image, kernel=kernel), physics.A((image + 1) / 2, filter=kernel), atol=1e-6)
    ours = blinddps.Blur("circular")(image=(image + 1) / 2, kernel=kernel)
    assert torch.allclose(operator(image=image, kernel=kernel), ours, atol=1e-5)
    with pytest.raises(InputError, match="takes"):
        operator(image=image)


@there
@pytest.mark.parametrize("of", ["Downsampling", "Inpainting", "SpaceVaryingBlur", "MRI"])
def test_their_physics_is_an_operator(of: str) -> None:
    import deepinv

    kind, size = getattr(deepinv.physics, of), (2 if of == "MRI" else 3, 16, 16)
    draw = torch.Generator().manual_seed(0)
    filters = torch.rand(1, 1, 4, 5, 5, generator=draw) / 12
    multipliers = torch.full((1, 1, 4, 16, 16), 0.25)
    mask = (torch.rand(1, 1, 16, 16, generator=draw) < 0.5).float()
    options: dict[str, Any] = {
        "Downsampling": {"img_size": size, "factor": 2, "filter": None},
        "Inpainting": {"img_size": size, "mask": 0.5},  # has a random generator
        "SpaceVaryingBlur": {"filters": filters, "multipliers": multipliers, "padding": "circular"},
        "MRI": {"img_size": size, "mask": mask},
    }
    physics = kind(**options[of])
    assert blinddps.check_operator(as_operator(physics), image=size)
    if of == "MRI":
        before = physics.mask.clone()
        unknown = as_operator(physics, sampled="mask")
        assert blinddps.check_operator(unknown, image=size, sampled=(1, 16, 16))
        assert torch.equal(physics.mask, before)


@there
def test_their_kernels_blur_here() -> None:
    from deepinv.physics.generator import MotionBlurGenerator, SigmaGenerator

    generator = MotionBlurGenerator((9, 9))
    kernels, again = (kernels_of(generator, 3, seed=5) for _ in range(2))
    assert torch.equal(kernels, again)
    assert kernels.shape == (3, 1, 9, 9)
    assert float(kernels.min()) >= 0
    assert torch.allclose(kernels.sum((1, 2, 3)), torch.ones(3), atol=1e-5)
    assert blinddps.Blur()(image=torch.rand(3, 1, 16, 16), kernel=kernels).shape == (3, 1, 16, 16)
    with pytest.raises(InputError, match=r"SigmaGenerator makes \['sigma'\]; give one that makes 'filter'"):
        kernels_of(SigmaGenerator(), 3)


@there
def test_deblur_is_their_reconstructor() -> None:
    import deepinv

    kernel = gaussian_kernels(1, 5, std=1.0)
    physics = deepinv.physics.Blur(filter=kernel, padding="replicate")
    y = physics(torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    blind = as_reconstructor(solver="pan-l0", kernel_size=5, noise=0.01)
    assert isinstance(blind, deepinv.models.Reconstructor)
    x, parameters = blind(y, physics, seed=0)
    assert x.shape == y.shape
    filters = parameters["filter"]
    assert filters.shape[:2] == (2, 1)
    assert torch.allclose(filters.sum((1, 2, 3)), torch.ones(2), atol=1e-4)
    # as their blur takes them
    uneven = torch.rand(1, 1, 5, 5)
    ours = blinddps.Blur("replicate")(image=x, kernel=uneven.expand(2, -1, -1, -1))
    assert torch.allclose(physics(x, filter=uneven), ours, atol=1e-4)
    alone = blinddps.deblur(y[1, 0].numpy(), solver="pan-l0", kernel_size=5, noise=0.01, seed=1)
    assert np.allclose(x[1, 0].numpy(), alone.image.squeeze(), atol=1e-6)
