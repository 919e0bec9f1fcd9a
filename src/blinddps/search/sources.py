"""Where candidate kernels come from: edges, sharpened coarse to fine, in frames of several sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from ..baselines.pan import PanWeights, find_kernel
from ..baselines.pyramid import resize

__all__ = ["HALVED", "SOURCES", "Source"]

BY_NOISE = 2e6  # weight of the kernel's squares over the noise's variance, docs/baselines.md


def _weights(**changed: float | bool) -> PanWeights:
    # three iterations a level and splitting weights that grow by four: a third of the time, and kernels as good
    fast = {"pixel": 0.0, "iterations": 3, "growth": 4.0, "fit_iterations": 15, "rounds": 60}
    return PanWeights(**{**fast, **changed})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Source:
    """``side`` of the kernel's frame, pixels at this source's own ``scale`` (1, or 1/2, 1/4 of the picture's size);
    ``by_noise``: the kernel's weight is at least ``2e6 noise^2``, as ``pan-l0`` has it by itself."""

    side: int
    weights: PanWeights
    scale: int = 1
    by_noise: bool = False

    @property
    def reach(self) -> int:
        """Largest kernel, pixels of the picture."""
        return self.side * self.scale

    def find(self, grey: Tensor, noise: float) -> Tensor:
        """The kernel ``(1, 1, n, n)`` of a picture ``(1, 1, H, W)`` in [0, 1], whose noise is gone; ``n`` odd.

        ``noise``: that it had, where white is 1.
        """
        weight = max(self.weights.kernel, BY_NOISE * noise**2) if self.by_noise else self.weights.kernel
        h, w = grey.shape[-2:]
        small = resize(grey, (round(h / self.scale), round(w / self.scale)))
        kernel = find_kernel(small, self.side, replace(self.weights, kernel=weight))
        if self.scale == 1:
            return kernel
        # corners on corners: an entry i comes to lie at scale * i, the origin on the origin
        n = self.scale * (self.side - 1) + 1
        large = F.interpolate(kernel, size=(n, n), mode="bicubic", align_corners=True).clamp_min(0)
        return large / large.sum()


SOURCES: tuple[Source, ...] = (
    Source(31, PanWeights(pixel=0.0)),
    Source(31, PanWeights(pixel=0.0), by_noise=True),
    Source(13, _weights()),
    Source(19, _weights(gradient=8e-3)),
    Source(35, _weights(kernel=30.0, per_area=True)),
    Source(25, _weights(floor=0.1)),
    Source(9, _weights()),
    Source(25, _weights(floor=0.1), 2),
    Source(35, _weights(kernel=30.0, per_area=True), 2),
    Source(25, _weights(floor=0.1), 4),
)
"""In the order in which they are asked. The published weights find faint arms; the others take a third of the time.
Small frames find small kernels, large ones leave speckle beside them (``benchmarks/studies/search_sources.txt``)."""

HALVED: tuple[Source, ...] = tuple(Source(25, _weights(floor=0.1), scale) for scale in (1, 2, 4))
"""What is asked of half a picture (:mod:`~blinddps.search.halves`), by the kernel's size."""
