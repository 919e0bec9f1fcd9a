"""The learned verdict: how likely a kernel is right, and what the picture gains by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .evidence import AGREEMENT, NAMES

__all__ = ["RIGHT", "SHORT", "Trust", "Verdict", "VerdictNetwork"]

RIGHT = 0.75  # normalised cross-correlation with the true kernel from which one is called right, ...
SHORT = 3.0  # ... if its picture is not further than so many dB below that of the true kernel
LEAST_PROBABILITY = 0.01  # beyond, and as near to one, the verdict's logit says no more
LARGEST = 4.0  # standard deviations; evidence further off than any seen in training says no more
MEMBERS, WIDTH = 4, 48
GAIN = 3.0  # decibel: scale of the network's third output


@dataclass(frozen=True)
class Verdict:
    """``probability`` that the kernel is right, by what the picture as a whole tells, ``likeness``: its
    cross-correlation with the true one, expected, ``gain``: of the restored picture over the measurement, dB, expected.

    A kernel is right if that correlation is at least 0.75, and its picture at most 3 dB below the true kernel's.
    """

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


class Trust(nn.Module):
    """How sure a result is: the verdict on its kernel, and two witnesses that the verdict has not heard.

        p = sigmoid(w . (logit(verdict's p), expected gain, likeness, echo) + b),   w >= 0

    ``likeness``: of the kernel to those of the picture's halves (:class:`~blinddps.search.halves.Halves`); ``echo``:
    :func:`~blinddps.search.evidence.echo`. Fitted by :func:`~blinddps.training.search.fit_trust` on kernels that a
    search kept, of pictures that had no part in the verdict's training.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("bias", torch.zeros(1))

    @staticmethod
    def numbers(verdict: Verdict, likeness: float, echo: float) -> Tensor:
        """``(4,)``: what is weighed."""
        p = min(max(verdict.probability, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
        return torch.tensor([math.log(p / (1 - p)), verdict.gain, likeness, echo])

    def probability(self, verdict: Verdict, likeness: float, echo: float) -> float:
        return float((self.numbers(verdict, likeness, echo) @ self.weight + self.bias).sigmoid())
