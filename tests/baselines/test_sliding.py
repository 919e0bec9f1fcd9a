"""Frames made still by those about them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from blinddps.baselines.sliding import sliding
from blinddps.core import InputError
from blinddps.operators import Tilt
from blinddps.simulate import atmospheric_tilts

COUNT = 9


def scene(width: int = 48) -> Tensor:
    cells = torch.rand(1, 1, 6, width // 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(cells, scale_factor=8, mode="nearest") * 1.6 - 0.8


def seen(picture: Tensor, moves: Tensor | None = None) -> Tensor:
    tilt = atmospheric_tilts(COUNT, (48, picture.shape[-1]), rms=0.8, aperture=16.0, seed=1)
    return Tilt("bicubic")(image=picture.expand(COUNT, -1, -1, -1), tilt=tilt if moves is None else tilt + moves)


def test_every_frame_comes_out_stiller_and_in_its_order() -> None:
    frames = seen(scene()) + 0.03 * torch.randn(COUNT, 1, 48, 48, generator=torch.Generator().manual_seed(2))
    made = torch.stack(list(sliding(iter(frames), 5)))
    assert made.shape == frames.shape
    inner = (..., slice(6, -6), slice(6, -6))
    step = [(x[1:] - x[:-1])[inner].square().mean() for x in (made, frames)]
    assert step[0] < 0.1 * step[1]
    error = [(x - scene())[inner].square().mean() for x in (made, frames)]
    assert error[0] < 0.6 * error[1]
    assert len(list(sliding(iter(frames[:2]), 5))) == 2
    assert list(sliding(iter([]), 5)) == []
    with pytest.raises(InputError, match="window is 2"):
        next(sliding(iter(frames), 2))


def test_a_camera_that_moves_goes_on_to_move() -> None:
    wide = scene(96)
    move = torch.zeros(COUNT, 2, 1, 1)
    move[:, 0, 0, 0] = 2.0 * torch.arange(COUNT)
    frames = seen(wide, move)[..., 24:72]
    made = torch.stack(list(sliding(iter(frames), 3)))
    still = Tilt("bicubic")(image=wide.expand(COUNT, -1, -1, -1), tilt=move.expand(-1, -1, 48, 96))[..., 24:72]
    inner = (slice(1, -1), slice(None), slice(6, -6), slice(6, -6))
    error = [(x - still)[inner].square().mean() for x in (made, frames)]
    assert error[0] < 0.8 * error[1]


def test_what_moves_is_kept_where_it_is() -> None:
    wide = scene(96)
    frames = wide.repeat(COUNT, 1, 1, 1)
    for t in range(COUNT):
        frames[t, :, 20:26, 10 * t : 10 * t + 6] = 1.0
    made = torch.stack(list(sliding(iter(frames), 7)))
    shown = torch.stack([made[t, 0, 21:25, 10 * t + 1 : 10 * t + 5].mean() for t in range(COUNT)])
    behind = torch.stack([wide[0, 0, 21:25, 10 * t + 1 : 10 * t + 5].mean() for t in range(COUNT)])
    assert (shown > behind + 0.7 * (1 - behind)).all()
    assert (made[4, 0, 20:26, 20:26] - wide[0, 0, 20:26, 20:26]).abs().mean() < 0.1  # where it was before
