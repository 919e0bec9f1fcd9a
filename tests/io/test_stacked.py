"""Scenes read into a file: which frames are kept, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blinddps.core import InputError
from blinddps.io import read_frames, stack_frames


def scene(folder: Path, contrast: list[int]) -> Path:
    """Stripes, the stronger the sharper."""
    stripes = np.tile(np.arange(24) // 4 % 2, (20, 1))
    for i, by in enumerate(contrast):
        Image.fromarray((100 + by * np.stack([stripes] * 3, -1)).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_the_sharpest_share_is_kept_in_its_order(tmp_path: Path) -> None:
    folder, seen = scene(tmp_path, [40, 90, 10, 60, 20, 80]), list[int]()
    half = stack_frames(folder, best=0.5, on_frame=seen.append)
    assert half.names == ["1.png", "3.png", "5.png"]
    assert (half.read, seen) == (6, [1, 2, 3, 4, 5, 6])
    expected = np.stack([read_frames(folder).frames[i] for i in (1, 3, 5)]).transpose(0, 3, 1, 2) * 2 - 1
    np.testing.assert_allclose(half.frames[:].numpy(), expected, atol=2**-14)
    assert stack_frames(folder, best=0.01).names == ["1.png"]
    assert len(stack_frames(folder, best=0.1, least=4).frames) == 4
    assert len(stack_frames(folder, count=2).frames) == 2
    assert len(stack_frames(folder).frames) == 6


def test_what_frames_do_not_share_is_left_out_and_said(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(np.full((20, 24, 4), 90 + i, np.uint8)).save(tmp_path / f"{i}.png")
    found = stack_frames(tmp_path)
    assert found.notes == ("the frames differ in their alpha, which is left out",)
    assert found.like.alpha is None
    assert found.dtype == np.uint8


def test_a_grey_gif_has_one_channel(tmp_path: Path) -> None:
    first, *others = (Image.fromarray(np.full((20, 24), v, np.uint8)) for v in (10, 90, 200))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    found = stack_frames(tmp_path / "a.gif")
    assert found.frames.shape == (3, 1, 20, 24)
    assert ((found.frames[:].mean((1, 2, 3)) + 1) * 127.5).round().tolist() == [10, 90, 200]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    scene(tmp_path, [10])
    Image.fromarray(np.zeros((10, 24, 3), np.uint8)).save(tmp_path / "9.png")
    with pytest.raises(InputError, match=r"'9.png' of .* is 24 x 10"):
        stack_frames(tmp_path)
    with pytest.raises(InputError, match=r"best is 1\.5"):
        stack_frames(tmp_path, best=1.5)
    with pytest.raises(InputError, match="count is 0"):
        stack_frames(tmp_path, count=0)
