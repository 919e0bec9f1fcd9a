"""The learned verdict: how likely a kernel is right, and what the picture gains by it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .evidence import AGREEMENT, NAMES

__all__ = ["RIGHT", "Verdict", "VerdictNetwork"]

RIGHT = 0.75  # normalised cross-correlation with the true kernel from which one is called right
LARGEST = 4.0  # standard deviations; evidence further off than any seen in training says no more
MEMBERS, WIDTH = 4, 48
GAIN = 3.0  # decibel: scale of the network's third output


@dataclass(frozen=True)
class Verdict:
    """``probability`` that the kernel is right (its cross-correlation with the true one at least 0.75), ``likeness``:
    the cross-correlation expected, ``gain``: of the restored picture over the measurement, dB, expected."""

    probability: float
    likeness: float
    gain: float


class VerdictNetwork(nn.Module):
    """Four small networks of the standardised evidence, averaged before the sigmoid.

    ``mean``, ``std``: of the evidence in training, with the agreement at its end. ``sharpness``: the logit's factor,
    fitted on held-out pictures, so that of results called 90 % sure nine of ten are right.
    """

    mean: Tensor
    std: Tensor
    sharpness: Tensor

    def __init__(self) -> None:
        super().__init__()
        count = len(NAMES) + len(AGREEMENT)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))
        self.register_buffer("sharpness", torch.ones(1))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Linear(count, WIDTH),
                nn.SiLU(),
                nn.Dropout(0.15),
                nn.Linear(WIDTH, WIDTH),
                nn.SiLU(),
                nn.Dropout(0.15),
                nn.Linear(WIDTH, 3),
            )
            for _ in range(MEMBERS)
        )

    def standardised(self, numbers: Tensor) -> Tensor:
        return ((numbers - self.mean) / self.std).clamp(-LARGEST, LARGEST)

    def forward(self, numbers: Tensor) -> Tensor:
        """``(B, numbers)`` to the logits of the probability and of the likeness, and the gain in units of 3 dB."""
        seen = self.standardised(numbers)
        found = torch.stack([member(seen) for member in self.members]).mean(0)
        return torch.cat([self.sharpness * found[:, :1], found[:, 1:]], 1)

    @torch.no_grad()
    def judge(self, numbers: Tensor) -> Verdict:
        """The verdict on one candidate's evidence and agreement, one row."""
        right, likeness, gain = self(numbers[None])[0]
        return Verdict(float(right.sigmoid()), float(likeness.sigmoid()), GAIN * float(gain))
