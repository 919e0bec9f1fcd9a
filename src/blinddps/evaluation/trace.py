"""Error of image and kernel estimates after every step (the paper's section C.3)."""

from __future__ import annotations

import numpy as np

from blinddps.core import InputError, Step

from ..metrics import align_kernel, kernel_mse
from .measure import Measurement

__all__ = ["Trace"]


class Trace:
    """Listener of a solver; a restart begins it anew.

    ``arrays()``, each with a value for every step: ``sigma`` of the image's diffusion; ``image_mse``, mean square error
    of the denoised image on [0, 1]; ``kernel_mse``, of the denoised kernel, sum one, aligned (absent where it is
    known); ``residual``, norm on [-1, 1]. Of several starts or samples it is the first.
    """

    def __init__(self, m: Measurement) -> None:
        self._m = m
        self._rows: list[dict[str, float]] = []

    def __call__(self, step: Step) -> None:
        if step.index == 0:
            self._rows.clear()
        image = (step.estimate["image"][:1].float().cpu() + 1) / 2
        h, w = self._m.truth.shape[-2:]
        top, left = (image.shape[-2] - h) // 2, (image.shape[-1] - w) // 2  # of an image that reaches beyond y
        if top < 0 or left < 0 or image.shape[1] != self._m.truth.shape[1]:
            raise InputError(
                f"the trace compares images of {tuple(image.shape[1:])} with a truth of "
                f"{tuple(self._m.truth.shape[1:])}; set trace = false, or give a prior of the pictures' size"
            )
        error = image[..., top : top + h, left : left + w] - self._m.truth
        row = {
            "sigma": step.sigma["image"],
            "image_mse": float(error.square().mean()),
            "residual": float(step.residual[0]),
        }
        if "kernel" in step.estimate:
            k = step.estimate["kernel"][:1, :1].float().cpu()
            positive = bool(k.isfinite().all()) and bool((k > 0).any())
            aligned = align_kernel(k, self._m.kernel) if positive else k
            row["kernel_mse"] = (
                float(kernel_mse(aligned, self._m.kernel)) if positive and float(aligned.sum()) > 0 else np.nan
            )
        self._rows.append(row)

    def arrays(self) -> dict[str, np.ndarray]:
        names = self._rows[0] if self._rows else {}
        return {name: np.array([row[name] for row in self._rows]) for name in names}
