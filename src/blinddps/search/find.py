"""The kernel of a photograph: candidates from several sources, each improved, the most credible kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..baselines.kernel_step import centre_kernel, clean_kernel
from ..core import Denoiser
from .evidence import Evidence, agreement, echo, evidence, grey_of
from .frames import centred_frame, placed, trimmed
from .halves import Halves
from .networks import Learned
from .picture import Part, busiest
from .refine import KernelStep, step_inputs
from .sources import SOURCES, Source
from .verdict import Verdict

__all__ = [
    "FRAME",
    "Candidate",
    "Found",
    "Seen",
    "candidates",
    "consider",
    "find_kernel",
    "fitting",
    "joined",
    "judged",
    "most_credible",
    "seen_by",
]

SURE = 0.8  # confidence from which no further source is asked
ASKED = 3  # sources at least
JOINED = 2  # step of a kernel from those of several sources
AT_MOST = 4  # other sources whose kernels the learned step sees
ECHO = 3.0  # dB of expected gain that a full correlation of the echoes is worth
ROOM = 4  # times a source's reach that the picture's shorter side must be
LOOK, LOOK_KERNELS = 256, 5  # side, pixels and kernels, of the part of a picture on which candidates are judged
FRAME = 41  # side of the frame on which the kernel step works; larger kernels have their own
FLOOR, LEAST = 0.005, 0.02  # shares of maximum and mass below which a refined kernel's entries and pieces are no part


@dataclass(frozen=True)
class Seen:
    """A picture as the search looks at it: ``y`` ``(1, C, H, W)`` in [-1, 1], ``clean`` without its noise, still
    blurred, the ``denoiser`` of images, and the ``noise`` on the scale of ``y``."""

    y: Tensor
    clean: Tensor
    denoiser: Denoiser
    noise: float

    @cached_property
    def halves(self) -> Halves:
        return Halves(grey_of(self.clean), self.noise / 2)

    def weigh(self, kernel: Tensor, source: int, step: int) -> Candidate:
        """A candidate, with its evidence: of a square part of a large picture, the one with the strongest edges, and
        the echoes of all of it."""
        n = kernel.shape[-1]
        part = busiest(self.clean, max(LOOK, LOOK_KERNELS * n))
        seen = evidence(self.y[part], self.clean[part], kernel, self.denoiser, self.noise, max(FRAME, n))
        return Candidate(kernel, seen, echo(grey_of(self.y), kernel), part, source, step)

    def refine(self, candidate: Candidate, step: KernelStep, others: Sequence[Candidate] = ()) -> Candidate:
        """The candidate after the learned step, which sees those of ``others`` too, on the smallest odd frame, its
        centroid at the origin."""
        frame = max(c.evidence.fit.shape[-1] for c in (candidate, *others))
        own, *rest = ((placed(c.kernel, frame), placed(c.evidence.fit, frame)) for c in (candidate, *others))
        with torch.no_grad():
            found = step(step_inputs(*own, self.noise / 2, rest))
        kernel = trimmed(centre_kernel(clean_kernel(found, floor=FLOOR, least=LEAST)))
        return self.weigh(kernel, candidate.source, JOINED if others else 1)


@dataclass(frozen=True)
class Candidate:
    """``kernel``: ``(1, 1, n, n)``, ``n`` odd; ``evidence``: of the ``part`` of the picture that was looked at;
    ``echo``: :func:`~blinddps.search.evidence.echo`, of all of it; ``source``: index of where it comes from; ``step``:
    0 as found, 1 refined, 2 refined with the kernels of other sources in view."""

    kernel: Tensor
    evidence: Evidence
    echo: float
    part: Part
    source: int
    step: int


@dataclass(frozen=True)
class Found:
    """All candidates with their verdicts; which of them is kept, and how sure that is (``confidence``)."""

    candidates: Sequence[Candidate]
    verdicts: Sequence[Verdict]
    confidence: float

    @property
    def best(self) -> int:
        return most_credible([v.gain for v in self.verdicts], [c.echo for c in self.candidates])

    @property
    def kept(self) -> Candidate:
        return self.candidates[self.best]

    @property
    def verdict(self) -> Verdict:
        return self.verdicts[self.best]


def most_credible(gain: Sequence[float], echo: Sequence[float]) -> int:
    """Which candidate has the largest ``gain + 3 echo``: gain expected by the verdict, dB, and
    :func:`~blinddps.search.evidence.echo`, which the verdict has not seen."""
    return max(range(len(gain)), key=lambda i: _credit(gain[i], echo[i]))


def _credit(gain: float, echo: float) -> float:
    return gain + ECHO * echo


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
    learned: Learned,
    *,
    largest: int | None = None,
    sure: float = SURE,
    watch: Callable[[int, int, Candidate], None] | None = None,
) -> Found:
    """All candidates, of which the verdict keeps one (:attr:`Found.best`), given how far the others agree with it.

    Sources are asked in turn until, of three at least, a kernel is ``sure``; all of them where none is. From what three
    found, and at the end from what all found, the learned step makes one more (:func:`joined`).

    Args:
        seen: the picture.
        learned: the networks.
        largest: side of the largest kernel sought; None: as large as the picture has room for.
        sure: confidence from which the search ends; above 1 every source is asked.
        watch: called with a count, the largest count, and each candidate when it was found.
    """
    sources = fitting(min(seen.y.shape[-2:]), largest)
    least = min(ASKED, len(sources))
    most = 2 * len(sources) + (len(sources) > 1) + (len(sources) > least)
    every: list[Candidate] = []

    def heard(candidate: Candidate) -> list[Candidate]:
        every.append(candidate)
        if watch is not None:
            watch(len(every), most, candidate)
        return every

    found = Found(every, [], 0.0)
    asked = 0
    for candidate in candidates(seen, learned.step, sources):
        heard(candidate)
        if candidate.step == 0:
            continue
        asked += 1
        if asked < least:
            continue
        found = judged(every, seen, learned)
        if asked == least and asked > 1:
            found = judged(heard(joined(found, seen, learned.step)), seen, learned)
        if found.confidence >= sure:
            break
    if asked > least:
        found = judged(heard(joined(found, seen, learned.step)), seen, learned)
    return found


def joined(found: Found, seen: Seen, step: KernelStep) -> Candidate:
    """The most credible source's kernel after the learned step, which sees those of the next four, all as found."""
    worth: dict[int, float] = {}
    for c, v in zip(found.candidates, found.verdicts, strict=True):
        if c.step < JOINED:
            worth[c.source] = max(worth.get(c.source, -math.inf), _credit(v.gain, c.echo))
    first = {c.source: c for c in found.candidates if c.step == 0}
    own, *others = (first[source] for source in sorted(worth, key=lambda s: -worth[s])[: AT_MOST + 1])
    return seen.refine(own, step, others)


def consider(found: Found, seen: Seen, kernel: Tensor, learned: Learned) -> Found:
    """What was ``found``, one more kernel, from elsewhere, as it is and refined, and what all now make together."""
    first = seen.weigh(trimmed(centred_frame(kernel)), 1 + max(c.source for c in found.candidates), 0)
    more = judged([*found.candidates, first, seen.refine(first, learned.step)], seen, learned)
    return judged([*more.candidates, joined(more, seen, learned.step)], seen, learned)


def judged(found: Sequence[Candidate], seen: Seen, learned: Learned) -> Found:
    """With the verdict on each, given how far other sources agree with it, and the trust in the one that is kept."""
    last = {c.source: c.kernel for c in found if c.step < JOINED}
    verdicts = []
    for c in found:
        others = [kernel for source, kernel in last.items() if source != c.source]
        context = torch.tensor([*agreement(c.kernel, others), float(c.step)])
        verdicts.append(learned.verdict.judge(torch.cat([c.evidence.numbers, context])))
    best = Found(tuple(found), verdicts, 0.0)
    likeness = seen.halves.likeness(best.kept.kernel)
    return replace(best, confidence=learned.trust.probability(best.verdict, likeness, best.kept.echo))
