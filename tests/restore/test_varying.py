"""Blur that varies: fields of kernels, and tiles restored with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.restore.test_tiles import shrinking

from blinddps import deblur
from blinddps.core import InputError, Outcome
from blinddps.io import as_picture
from blinddps.restore import Cards, DeblurSettings, tiles, varying
from blinddps.restore.varying import Field, field_of, restore_with_field


def line(size: int, along: int) -> np.ndarray:
    kernel = np.zeros((size, size), np.float32)
    index: list[Any] = [size // 2, size // 2]
    index[along] = slice(None)
    kernel[tuple(index)] = 1 / size
    return kernel


def scene(height: int, width: int) -> np.ndarray:
    return np.kron(np.random.default_rng(0).random((height // 6 + 1, width // 6 + 1, 1)), np.ones((6, 6, 1)))[
        :height, :width
    ]


def blurred_by(field: Field, sharp: np.ndarray) -> np.ndarray:
    """Each pixel by the kernel of its place."""
    half = field.kernels.shape[-1] // 2
    wide = np.pad(sharp[..., 0], half, mode="edge")
    seen = np.lib.stride_tricks.sliding_window_view(wide, field.kernels.shape[-2:])[..., ::-1, ::-1]
    kernels = np.stack([[field.at(y, x) for x in range(sharp.shape[1])] for y in range(sharp.shape[0])])
    y = (seen * kernels).sum((2, 3))[..., None] + 0.005 * np.random.default_rng(1).standard_normal(sharp.shape)
    return y.clip(0, 1).astype(np.float32)


def test_a_field_is_bilinear_and_its_kernels_have_sum_one() -> None:
    field = Field(np.stack([[line(5, 0), line(5, 1)]]), np.array([10.0]), np.array([20.0, 40.0]))
    np.testing.assert_array_equal(field.at(99, 0), line(5, 0))
    np.testing.assert_array_equal(field.at(0, 50), line(5, 1))
    np.testing.assert_allclose(field.at(3, 25), 0.75 * line(5, 0) + 0.25 * line(5, 1), atol=1e-7)


def test_tiles_with_a_field_beat_any_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varying, "TILE", 24)
    for name, value in {"MARGIN": 4, "RAMP": 8}.items():
        monkeypatch.setattr(tiles, name, value)
        monkeypatch.setattr(varying, name, value)
    sharp = scene(72, 150)
    field = Field(np.stack([[line(7, 0), line(7, 1)]]), np.array([36.0]), np.array([30.0, 120.0]))
    picture, settings = as_picture(blurred_by(field, sharp)), DeblurSettings(prior=shrinking, noise=0.01, device="cpu")

    def error(x: np.ndarray) -> float:
        return float(np.sqrt(np.square(x - sharp)[8:-8, 8:-8].mean()))

    cards, cpu = Cards.of(settings), torch.device("cpu")
    varied = restore_with_field(picture, settings, cards, field, cpu)
    assert varied.tiles > 4
    single = [error(deblur(picture, settings, known_kernel=k).image) for k in (line(7, 0), line(7, 1), field.at(0, 75))]
    assert error(varied.image) < 0.75 * min(single)
    assert error(varied.image) < 0.9 * error(picture.data)
    assert varied.kernel_field is not None
    assert varied.kernel.shape == (7, 7)


def test_doubtful_regions_take_their_neighbours_kernels() -> None:
    good = np.array([[True, True, False]])
    kernels = [[line(5, 0), line(5, 1), line(3, 0)]]
    field = field_of(kernels, good, [[0], [0, 160, 320]], (64, 64))
    assert field is not None
    assert field.kernels.shape == (1, 3, 5, 5)
    np.testing.assert_allclose(field.kernels[0, 1], line(5, 1), atol=1e-6)
    assert (field.kernels[0, 2] * line(5, 1)).sum() > 10 * (field.kernels[0, 2] * line(5, 0))[[0, 1, 3, 4]].sum()
    np.testing.assert_allclose(field.kernels.sum((2, 3)), 1, atol=1e-5)
    assert field_of([[line(5, 0)] * 3], good, [[0], [0, 160, 320]], (64, 64)) is None


def test_kernels_are_centred_to_a_part_of_a_pixel() -> None:
    two = np.array([[0, 0, 0], [0, 0.5, 0.5], [0, 0, 0]], np.float32)  # its centroid half a pixel to the right
    field = field_of([[two, line(3, 0)]], np.ones((1, 2), bool), [[0], [0, 160]], (64, 64))
    assert field is not None
    columns = field.kernels[0, 0].sum(0)
    assert float(columns @ (np.arange(len(columns)) - len(columns) // 2)) == pytest.approx(0, abs=0.05)


def test_where_regions_agree_or_tell_nothing_there_is_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    sharp = scene(260, 270).astype(np.float32)
    asked: list[float] = []
    sure = iter([0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1])

    def found(*_: Any, **__: Any) -> Any:
        asked.append(next(sure))
        return SimpleNamespace(kernel=line(5, 0), confidence=asked[-1], outcome=(Outcome("restored", ""),))

    monkeypatch.setattr(varying, "restore_at_once", found)

    settings, cpu = DeblurSettings(varying=True, device="cpu"), torch.device("cpu")
    picture, cards = as_picture(sharp), Cards.of(settings)
    alike = varying.deblur_varying(picture, settings, cards, cpu)
    assert alike == "the kernels of 4 regions are alike, so the picture has one for all"
    unsure = varying.deblur_varying(picture, settings, cards, cpu)
    assert unsure == "1 of 4 regions has a kernel to be trusted, so one is sought for all"
    for options, size, message in (
        ({"samples": 2}, 260, "varying needs"),
        ({"known_kernel": np.ones((3, 3))}, 260, "varying needs"),
        ({}, 255, "give 256 pixels a side"),
    ):
        with pytest.raises(InputError, match=message):
            deblur(sharp[:size], settings, **options)
    bad = np.zeros((260, 270))
    bad[4, 4] = 1
    with pytest.raises(InputError, match="missing pixels"):
        deblur(sharp, settings, mask=bad)
