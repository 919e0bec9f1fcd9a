"""Error of image and kernel estimates after every step (the paper's section C.3)."""

from __future__ import annotations

import numpy as np

from blinddps.core import Step

from ..io import to_display
from .measure import Measurement
from .scores import kernel_error

__all__ = ["Trace"]


class Trace:
    """Listener of a solver; a restart begins it anew.

    ``arrays()``, each with a value for every step: ``sigma`` of the image's diffusion; ``image_mse``, mean square error
    of the denoised image on [0, 1]; ``kernel_mse``, of the denoised kernel, sum one, aligned (absent where none is
    estimated); ``residual``, norm on [-1, 1]. NaN: there is no such value, as of a solver that has no noise level, of
    an image of another size than the truth, or of the kernel of a coarser scale. Of several starts or samples it is
    the first.

    Args:
        kernel: the solver estimates the kernel; the true one, or one that stands for none, is not compared.
        linear: the estimates are in linear light, the truth is not.
        resized: the solver sees another size than the measurement's, so nothing can be compared on the way.
    """

    def __init__(self, m: Measurement, kernel: bool = True, *, linear: bool = False, resized: bool = False) -> None:
        self._m, self._kernel, self._linear, self._resized = m, kernel and not resized, linear, resized
        self._rows: list[dict[str, float]] = []
        self._sizes: list[tuple[int, ...]] = []

    def __call__(self, step: Step) -> None:
        if step.index == 0:
            self._rows.clear()
            self._sizes.clear()
        image = (step.estimate["image"][:1].float().cpu() + 1) / 2
        image = to_display(image.clamp(0, 1)) if self._linear else image
        h, w = self._m.truth.shape[-2:]
        top, left = (image.shape[-2] - h) // 2, (image.shape[-1] - w) // 2  # of an image that reaches beyond y
        truth = self._m.truth.expand(-1, image.shape[1] if self._m.truth.shape[1] == 1 else -1, -1, -1)
        error = np.nan
        if not self._resized and top >= 0 and left >= 0 and image.shape[1] == truth.shape[1]:
            error = float((image[..., top : top + h, left : left + w] - truth).square().mean())
        sigma = float(step.sigma.get("image", np.nan))
        row = {"sigma": sigma, "image_mse": error, "residual": float(step.residual[0])}
        if self._kernel and "kernel" in step.estimate:
            k = step.estimate["kernel"][:1, :1].float().cpu()
            positive = bool(k.isfinite().all()) and float(k.sum()) > 0
            row["kernel_mse"] = kernel_error(k, self._m.kernel) if positive else np.nan
            self._sizes.append(tuple(k.shape[-2:]))
        self._rows.append(row)

    def arrays(self) -> dict[str, np.ndarray]:
        names = self._rows[-1] if self._rows else {}
        found = {name: np.array([row.get(name, np.nan) for row in self._rows]) for name in names}
        if "kernel_mse" in found and len(self._sizes) == len(self._rows):
            found["kernel_mse"][[size != self._sizes[-1] for size in self._sizes]] = np.nan
        return found
