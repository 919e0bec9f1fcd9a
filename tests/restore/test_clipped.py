"""Lamps that a camera clipped have no weight; white paper has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from blinddps import deblur
from blinddps.core import InputError
from blinddps.operators import Blur
from blinddps.restore.candidates.known import deconvolved
from blinddps.restore.clipped import at_white, weight_beside_lamps
from blinddps.restore.geometry import crop

KERNEL = torch.full((1, 1, 1, 9), 1 / 9)
NOISE = 0.005
STREAK = slice(34, 37)  # rows of the lamp, and of its ringing


def blurred(scene: Tensor) -> tuple[Tensor, Tensor]:
    """A scene ``(1, 1, H, W)`` as a camera has it, and clipped but sharp."""
    y = Blur("valid")(image=scene, kernel=KERNEL)
    y = y + NOISE * torch.from_numpy(np.random.default_rng(1).standard_normal(y.shape)).float()
    return y.clamp(0, 1), crop(scene.clamp(0, 1), y.shape)


@pytest.fixture
def night() -> Tensor:
    scene = (
        0.1 + 0.3 * torch.from_numpy(np.kron(np.random.default_rng(0).random((1, 1, 12, 13)), np.ones((6, 6)))).float()
    )
    scene[..., 34:37, 40:42] = 20
    return scene


def weight_of(y01: Tensor, kernel: Tensor = KERNEL) -> Tensor | None:
    white = at_white(y01)
    if white is None:
        return None
    first = deconvolved(2 * y01 - 1, kernel, 2 * NOISE)
    return weight_beside_lamps(white, y01 - (Blur("valid")(image=first, kernel=kernel) + 1) / 2, kernel, NOISE)


def test_a_lamp_and_what_it_lights_have_no_weight(night: Tensor) -> None:
    y, _ = blurred(night)
    weight = weight_of(y)
    assert weight is not None
    out = (weight[0, 0] == 0).nonzero()
    assert out.amin(0).tolist() == [34, 36 - 4 - 4]  # its streak of 10 pixels, and 4 more on either side
    assert out.amax(0).tolist() == [36, 36 + 5 + 4]
    assert weight_of(y.clamp(0, 0.98)) is None


def test_white_paper_and_skies_keep_theirs() -> None:
    scene = torch.ones(1, 1, 60, 68)
    scene[..., 10:20, 10:50] = 0.1
    scene[..., 30:34, 20:24] = 0.0
    assert weight_of(blurred(scene)[0]) is None
    scene[..., 30:, :] = 1.15  # a sky that is brighter than white
    scene[..., :30, :] = 0.6
    assert weight_of(blurred(scene)[0]) is None


def test_a_lamp_does_not_ring(night: Tensor) -> None:
    y, truth = blurred(night)
    weight = weight_of(y)
    assert weight is not None
    errors = []
    for given in (None, weight):
        x = (crop(deconvolved(2 * y - 1, KERNEL, 2 * NOISE, given), y.shape) + 1) / 2
        errors.append(float(((x - truth) * weight)[..., STREAK, :].square().mean().sqrt()))
    assert errors[1] < 0.8 * errors[0]


def test_what_has_no_weight_is_not_looked_at(night: Tensor) -> None:
    """And of the others the exact minimum is found: ``C A^T (A C A^T + e)^-1``, in a frame that holds the image."""
    y = blurred(night)[0][..., :12, :16]
    weight = (torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) > 0.3).float()
    latent = (12, 24)
    options: dict[str, Any] = {
        "estimate": {},
        "mean": {"image": torch.zeros(1, 1, *latent), "kernel": KERNEL, "weight": weight},
        "error": {"image": lambda size: torch.full((size[0], size[1] // 2 + 1), 0.5), "kernel": None},
        "noise_variance": torch.full((1, 1, 1, 1), 0.01),
        "iterations": 200,
    }
    found = Blur("valid").update("image", y, **options)
    other = Blur("valid").update("image", torch.where(weight > 0, y, 7.0), **options)
    assert torch.allclose(found, other, atol=1e-5)
    columns = [Blur("valid")(image=e.reshape(1, 1, *latent), kernel=KERNEL).flatten() for e in torch.eye(12 * 24)]
    a = torch.stack(columns, 1)[weight.flatten() > 0].double()
    exact = 0.5 * a.T @ torch.linalg.solve(0.5 * a @ a.T + 0.01 * torch.eye(len(a)).double(), y[weight > 0].double())
    assert torch.allclose(a @ found.flatten().double(), a @ exact, atol=0.03)  # it ends at a tenth of the noise
    assert torch.equal(
        Blur("valid")(image=found, kernel=KERNEL, weight=weight)[weight == 0], torch.zeros(int((weight == 0).sum()))
    )
    with pytest.raises(InputError, match="pixels without weight"):
        Blur("replicate").update("image", y, **options)


def test_deblur_masks_lamps_unless_told_not_to(night: Tensor) -> None:
    def shrinking(x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + sigma.reshape(-1, 1, 1, 1).square())

    y, truth = blurred(night)
    weight = weight_of(y)
    assert weight is not None
    options: dict[str, Any] = {"prior": shrinking, "known_kernel": KERNEL[0, 0].numpy(), "noise": NOISE}
    errors = []
    for clipped in ("kept", "masked"):
        result = deblur(y[0].permute(1, 2, 0).numpy(), **options, clipped=clipped, device="cpu")
        x = torch.from_numpy(result.image).permute(2, 0, 1)[None]
        errors.append(float(((x - truth) * weight)[..., STREAK, :].square().mean().sqrt()))
        assert result.settings.clipped == clipped
    assert errors[1] < 0.8 * errors[0]
