"""What ``--animate`` keeps of the estimates."""

from __future__ import annotations

import pytest
import torch

from blinddps.cli.progress import Evolution
from blinddps.core import Step


@pytest.mark.parametrize(("height", "width", "seen"), [(16, 9000, (1, 512, 3)), (700, 1024, (350, 512, 3))])
def test_frames_are_reduced_and_keep_at_least_a_pixel(height: int, width: int, seen: tuple[int, ...]) -> None:
    frames = Evolution(linear_light=False)
    estimate = {"image": torch.zeros(1, 3, height, width), "kernel": torch.ones(1, 1, 4, 4) / 16}
    frames(Step(0, 1, {}, torch.zeros(1), estimate, {}))
    ((label, (image, kernel)),) = frames.frames
    assert (label, image.shape, kernel.shape) == ("step 1 / 1", seen, (4, 4))
