"""Several frames of one scene as one measurement: an image seen through one operator per frame."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from blinddps.core.errors import InputError
from blinddps.core.operator import Error, Updates, unknowns_of
from blinddps.operators.compose import Composed
from blinddps.operators.tilt import Tilt

__all__ = ["Frames"]


@dataclass(frozen=True)
class Frames:
    """Several frames of one image, all in one likelihood.

    ``y_t = A(image, u_t)`` for ``t = 1 ... count``.

    Frames lie in the channels: ``y`` is ``(B, count * C, H, W)``, and an unknown of ``framewise`` has ``count`` times
    the channels that ``operator`` takes, frame after frame. Other unknowns are the same in all frames. An ``operator``
    that is no :class:`Composed` is made one.

    Raises:
        InputError: fewer than one frame, or ``framewise`` names that the operator does not take.
    """

    operator: Composed
    count: int
    framewise: tuple[str, ...] = ("tilt",)

    def __post_init__(self) -> None:
        given: Any = self.operator
        if not isinstance(given, Composed):
            object.__setattr__(self, "operator", Composed((given,)))
        strange = [n for n in self.framewise if n not in self.operator.unknowns or n == "image"]
        if self.count < 1 or strange:
            raise InputError(
                f"count is {self.count} and framewise {self.framewise}; give at least 1 frame, and names among "
                f"{', '.join(self.operator.unknowns[1:])}"
            )

    @property
    def unknowns(self) -> tuple[str, ...]:
        return self.operator.unknowns

    @property
    def __signature__(self) -> inspect.Signature:
        return self.operator.__signature__

    def __call__(self, **unknowns: Tensor) -> Tensor:
        """``(B, count * C, H, W)``; arguments as the operator's, those of ``framewise`` with frames in the channels.

        Raises:
            InputError: channels that do not split into the frames, or what the operator refuses.
        """
        return self._fold(self.operator(**self._each(unknowns)))

    @torch.no_grad()
    def update(
        self,
        name: str,
        y: Tensor,
        *,
        estimate: Mapping[str, Tensor],
        mean: Mapping[str, Tensor],
        error: Mapping[str, Error],
        noise_variance: Tensor,
    ) -> Tensor:
        """As :meth:`Composed.update`. An unknown of a frame is updated from its frame, the image and what is shared
        from all frames; the error of the denoised image is the same in all, so it does not average out."""
        if name in self.framewise:
            each = self.operator.update(
                name,
                self._unfold(y),
                estimate=self._each(estimate),
                mean=self._each(mean),
                error={n: self._error_of_frame(n, of) for n, of in error.items()},
                noise_variance=noise_variance.repeat_interleave(self.count, 0),
            )
            return self._fold(each)
        *before, last = self.operator.operators
        if name == "image" or name not in unknowns_of(last) or not isinstance(last, Updates):
            return self.operator.find(self, name, y, mean, error, noise_variance)
        seen = self._fold(Composed(tuple(before))(**self._only(before, mean)) if before else self._each(mean)["image"])
        of_image = error["image"]
        common = None if of_image is None else lambda size: self.count * of_image(size)
        return last.update(
            name,
            y,
            estimate=estimate,
            mean={name: mean[name], "image": seen},
            error={**error, "image": common},
            noise_variance=noise_variance,
        )

    def fix_gauge(self, mean: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A deformation that all frames share belongs to the image: the tilt's mean over the frames is put at zero,
        pixel by pixel, and the image warped by it. What moves one frame against another is no gauge and stays. A shared
        kernel is centred as by :meth:`Composed.centre_kernel`, the tilts of all frames with it; kernels of their own
        stay."""
        if "tilt" not in self.framewise:
            common = {n: v for n, v in mean.items() if n not in self.framewise}
            return dict(mean) | self.operator.fix_gauge(common)
        fixed = dict(mean) if "kernel" in self.framewise else self.operator.centre_kernel(mean)
        if "tilt" in fixed and "image" in fixed:
            frames = fixed["tilt"].unflatten(1, (self.count, 2))
            shared = frames.mean(1)
            fixed["image"] = Tilt("bicubic", self._boundary())(image=fixed["image"], tilt=shared)
            fixed["tilt"] = (frames - shared[:, None]).flatten(1, 2)
        return fixed

    def _boundary(self) -> Literal["replicate", "reflect", "circular", "zero"]:
        """Of the operator's own warp; ``replicate`` where its tilt is applied by something else."""
        own = [part.boundary for part in self.operator.operators if isinstance(part, Tilt)]
        return own[0] if own else "replicate"

    def _each(self, unknowns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = max(map(len, unknowns.values()))  # what is known may be one for the whole batch
        each = {n: v.expand(rows, *v.shape[1:]) for n, v in unknowns.items()}
        return {
            n: self._unfold(v) if n in self.framewise else v.repeat_interleave(self.count, 0) for n, v in each.items()
        }

    def _only(self, operators: list[Callable[..., Tensor]], mean: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = Composed(tuple(operators)).unknowns
        return {n: v for n, v in self._each(mean).items() if n in names}

    def _error_of_frame(self, name: str, error: Error) -> Error:
        if error is None:
            return None

        def of_frame(size: tuple[int, ...]) -> Tensor:
            spectrum = error(size)
            if spectrum.ndim < 4 or len(spectrum) == 1:
                return spectrum
            # relative to the squared norm of all frames' kernels together
            return spectrum.repeat_interleave(self.count, 0) / (self.count if name in self.framewise else 1)

        return of_frame

    def _unfold(self, x: Tensor) -> Tensor:
        if x.shape[1] % self.count:
            raise InputError(f"{x.shape[1]} channels do not split into {self.count} frames; stack the frames' channels")
        return x.unflatten(1, (self.count, -1)).flatten(0, 1)

    def _fold(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, self.count)).flatten(1, 2)
