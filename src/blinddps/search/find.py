"""The kernel of a photograph: candidates from several sources, each improved, the most credible kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..baselines.kernel_step import centre_kernel, clean_kernel
from ..core import Denoiser
from .evidence import Evidence, agreement, evidence, grey_of
from .refine import KernelStep, step_inputs
from .sources import SOURCES, Source
from .verdict import Verdict, VerdictNetwork

__all__ = [
    "FRAME",
    "Candidate",
    "Found",
    "Seen",
    "candidates",
    "consider",
    "find_kernel",
    "fitting",
    "most_credible",
    "seen_by",
    "trimmed",
]

SURE = 0.9  # probability from which no further source is asked
ASKED = 3  # sources at least
ECHO = 3.0  # dB of expected gain that a full correlation of the echoes is worth
ROOM = 4  # times a source's reach that the picture's shorter side must be
FRAME = 41  # side of the frame on which the kernel step works; larger kernels have their own
FLOOR, LEAST = 0.02, 0.05  # shares of maximum and mass below which a refined kernel's entries and pieces are no part


@dataclass(frozen=True)
class Seen:
    """A picture as the search looks at it: ``y`` ``(1, C, H, W)`` in [-1, 1], ``clean`` without its noise, still
    blurred, the ``denoiser`` of images, and the ``noise`` on the scale of ``y``."""

    y: Tensor
    clean: Tensor
    denoiser: Denoiser
    noise: float

    def weigh(self, kernel: Tensor, source: int, step: int) -> Candidate:
        """A candidate, with its evidence."""
        frame = max(FRAME, kernel.shape[-1])
        return Candidate(kernel, evidence(self.y, self.clean, kernel, self.denoiser, self.noise, frame), source, step)

    def refine(self, candidate: Candidate, step: KernelStep) -> Candidate:
        """The candidate after the learned step, on the smallest odd frame, its centroid at the origin."""
        fit = candidate.evidence.fit
        margin = (fit.shape[-1] - candidate.kernel.shape[-1]) // 2
        with torch.no_grad():
            found = step(step_inputs(F.pad(candidate.kernel, (margin,) * 4), fit, self.noise / 2))
        kernel = trimmed(centre_kernel(clean_kernel(found, floor=FLOOR, least=LEAST)))
        return self.weigh(kernel, candidate.source, candidate.step + 1)


@dataclass(frozen=True)
class Candidate:
    """``kernel``: ``(1, 1, n, n)``, ``n`` odd; ``source``: index of where it comes from; ``step``: 0 as found, 1
    refined, and so on."""

    kernel: Tensor
    evidence: Evidence
    source: int
    step: int


@dataclass(frozen=True)
class Found:
    """All candidates with their verdicts; which of them is kept follows."""

    candidates: Sequence[Candidate]
    verdicts: Sequence[Verdict]

    @property
    def best(self) -> int:
        return most_credible([v.gain for v in self.verdicts], [c.evidence.echo for c in self.candidates])

    @property
    def kept(self) -> Candidate:
        return self.candidates[self.best]

    @property
    def verdict(self) -> Verdict:
        return self.verdicts[self.best]


def most_credible(gain: Sequence[float], echo: Sequence[float]) -> int:
    """Which candidate has the largest ``gain + 3 echo``: gain expected by the verdict, dB, and
    :func:`~blinddps.search.evidence.echo`, which the verdict has not seen."""
    return max(range(len(gain)), key=lambda i: gain[i] + ECHO * echo[i])


def seen_by(y: Tensor, denoiser: Denoiser, noise: float) -> Seen:
    """``y`` and what is left of it without its noise."""
    with torch.no_grad():
        return Seen(y, denoiser(y, y.new_full((1,), noise)), denoiser, noise)


def candidates(seen: Seen, step: KernelStep, sources: Sequence[Source]) -> Iterator[Candidate]:
    """Of each source the kernel as found, and as the learned step improves it."""
    grey = grey_of(seen.clean)
    for index, source in enumerate(sources):
        first = seen.weigh(source.find(grey, seen.noise / 2), index, 0)
        yield first
        yield seen.refine(first, step)


def fitting(side: int, largest: int | None, sources: Sequence[Source] = SOURCES) -> list[Source]:
    """Those of ``sources`` that a picture of ``side`` pixels has room for, and none much larger than ``largest``; the
    smallest at least."""
    found = [s for s in sources if ROOM * s.reach <= side and (largest is None or s.reach <= largest + 2)]
    return found or [min(sources, key=lambda s: s.reach)]


def find_kernel(
    seen: Seen,
    step: KernelStep,
    judge: VerdictNetwork,
    *,
    largest: int | None = None,
    sure: float = SURE,
    watch: Callable[[int, int, Candidate], None] | None = None,
) -> Found:
    """All candidates, of which the verdict keeps one (:attr:`Found.best`), given how far the others agree with it.

    Sources are asked in turn until, of three at least, a kernel is ``sure``; all of them where none is.

    Args:
        seen: the picture.
        step, judge: the learned step and the learned verdict.
        largest: side of the largest kernel sought; None: as large as the picture has room for.
        sure: probability from which the search ends; above 1 every source is asked.
        watch: called with a count, the largest count, and each candidate when it was found.
    """
    sources = fitting(min(seen.y.shape[-2:]), largest)
    found: list[Candidate] = []
    verdicts: list[Verdict] = []
    for candidate in candidates(seen, step, sources):
        found.append(candidate)
        if watch is not None:
            watch(len(found), 2 * len(sources), candidate)
        if candidate.step == 0:
            continue
        verdicts = judged(found, judge)
        if candidate.source + 1 >= min(ASKED, len(sources)) and Found(found, verdicts).verdict.probability >= sure:
            break
    return Found(found, verdicts)


def consider(found: Found, seen: Seen, kernel: Tensor, step: KernelStep, judge: VerdictNetwork) -> Found:
    """What was ``found``, and one more kernel, from elsewhere, as it is and refined."""
    first = seen.weigh(trimmed(odd(kernel)), 1 + max(c.source for c in found.candidates), 0)
    every = [*found.candidates, first, seen.refine(first, step)]
    return Found(every, judged(every, judge))


def judged(found: Sequence[Candidate], judge: VerdictNetwork) -> list[Verdict]:
    """The verdict on each, given the others."""
    last = {c.source: c.kernel for c in found}
    verdicts = []
    for c in found:
        others = [kernel for source, kernel in last.items() if source != c.source]
        context = torch.tensor([*agreement(c.kernel, others), float(c.step)])
        verdicts.append(judge.judge(torch.cat([c.evidence.numbers, context])))
    return verdicts


def odd(kernel: Tensor) -> Tensor:
    """A kernel on a square frame of odd side, origin in the middle."""
    n = max(kernel.shape[-2:])
    n += 1 - n % 2
    h, w = kernel.shape[-2:]
    top, left = n // 2 - h // 2, n // 2 - w // 2
    return F.pad(kernel, (left, n - w - left, top, n - h - top))


def trimmed(kernel: Tensor, least: int = 3) -> Tensor:
    """The kernel without the empty rim of its frame, origin in the middle, at least ``least`` pixels a side."""
    middle = kernel.shape[-1] // 2
    places = (kernel[0, 0] > 0).nonzero() - middle
    reach = max(least // 2, int(places.abs().max()))
    return kernel[..., middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
