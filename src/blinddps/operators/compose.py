"""Operators one after the other, their unknowns bound by name, with updates for the fast solver."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blinddps.core.errors import InputError, unknown_name
from blinddps.core.gauss_newton import gauss_newton
from blinddps.core.operator import Error, Updates, bound, unknowns_of
from blinddps.operators.convolution import centre
from blinddps.operators.tilt import Tilt

__all__ = ["Composed"]

# Gauss-Newton steps of an update, each from where the last one ended: two brought frames 0.5 dB (docs/turbulence.md)
_ROUNDS = 2


@dataclass(frozen=True)
class Composed:
    """Operators one after another, the first one first.

    ``y = A_n(... A_2(A_1(image, u_1), u_2) ..., u_n)``.

    ``Composed((Tilt(), Blur()))`` is the paper's model of turbulence, ``y = k * T_phi(x)``; the other order is
    in use too. Each operator takes ``image`` and further unknowns by name; unknowns of one name are one unknown.

    Raises:
        InputError: no operators, or one that does not take ``image``.
    """

    operators: tuple[Any, ...]  # Operator

    def __post_init__(self) -> None:
        if not self.operators:
            raise InputError("there are no operators to compose; give one at least")
        for operator in self.operators:
            if "image" not in unknowns_of(operator):
                raise InputError(f"operator {operator!r} does not take image=; only operators on images compose")

    @property
    def unknowns(self) -> tuple[str, ...]:
        """``image``, then those of the last operator, ..., the first: a tilt is found before the blur that hides it."""
        rest = [name for operator in reversed(self.operators) for name in unknowns_of(operator) if name != "image"]
        return ("image", *dict.fromkeys(rest))

    @property
    def __signature__(self) -> inspect.Signature:
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Signature([inspect.Parameter(name, kind) for name in self.unknowns])

    def __call__(self, **unknowns: Tensor) -> Tensor:
        """The measurement; ``image`` is ``(B, C, H, W)``, the rest what the operators take.

        Raises:
            InputError: an unknown is missing or of a name that no operator takes, or what the operators refuse.
        """
        known = self.unknowns
        for name in unknowns:
            if name not in known:
                raise InputError(unknown_name("unknown", name, known))
        missing = [name for name in known if name not in unknowns]
        if missing:
            raise InputError(f"the operator needs {', '.join(missing)} as well; give all of {', '.join(known)}")
        return self._through(self.operators, unknowns)

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
        """What ``y`` makes of one unknown; arguments as :meth:`blinddps.core.Updates.update`.

        An unknown of the last operator is left to that operator's own ``update``, which sees the image as the operators
        before it make it. Any other one takes steps of :func:`~blinddps.core.gauss_newton` through all operators.
        """
        if name not in self.unknowns:
            raise InputError(unknown_name("unknown", name, self.unknowns))
        *before, last = self.operators
        of_last = unknowns_of(last)
        if name != "image" and name in of_last and isinstance(last, Updates):
            own = {n: v for n, v in mean.items() if n in of_last}
            own["image"] = self._through(before, mean)
            return last.update(name, y, estimate=estimate, mean=own, error=error, noise_variance=noise_variance)
        return self.find(self, name, y, mean, error, noise_variance)

    @staticmethod
    def find(
        operator: Callable[..., Tensor],
        name: str,
        y: Tensor,
        mean: Mapping[str, Tensor],
        error: Mapping[str, Error],
        noise_variance: Tensor,
    ) -> Tensor:
        """Gauss-Newton steps through ``operator``: two for a parameter, one for the image, of which it is linear."""
        value = mean[name]
        for _ in range(1 if name == "image" else _ROUNDS):
            here = {**mean, name: value}
            value = gauss_newton(operator, [name], y, mean=here, error=error, noise_variance=noise_variance)[name]
        return value

    def fix_gauge(self, mean: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What image, kernel and tilt share: the kernel is put at its origin, which leaves the measurement as it is
        away from the border, and the mean of the tilt of a :class:`Tilt` at zero. The latter is a projection: the mean
        is dropped, not moved into the image, so the measurement changes unless the mean was zero."""
        fixed = self.centre_kernel(mean)
        if "tilt" in fixed and any(isinstance(operator, Tilt) for operator in self.operators):
            fixed["tilt"] = fixed["tilt"] - fixed["tilt"].mean((-2, -1), keepdim=True)
        return fixed

    def centre_kernel(self, mean: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The kernel's centroid put at its origin by whole pixels, the image moved against it and, with the image, a
        tilt that acts before the kernel; one that acts after it sees the same blurred image and stays. So does all
        where anything but a free tilt acts before the kernel: what it makes of a moved image is not known."""
        fixed = dict(mean)
        first = next((i for i, operator in enumerate(self.operators) if "kernel" in unknowns_of(operator)), 0)
        before = self.operators[:first]
        if "kernel" in fixed and "image" in fixed and all(isinstance(operator, Tilt) for operator in before):
            names = ("kernel", "image", *(["tilt"] if before else []))
            wrap = all(getattr(bound(operator)[0], "boundary", None) == "circular" for operator in self.operators)
            fixed |= dict(zip(names, centre(*(fixed[n] for n in names), wrap=wrap), strict=True))
        return fixed

    @staticmethod
    def _through(operators: Any, unknowns: Mapping[str, Tensor]) -> Tensor:
        image = unknowns["image"]
        for operator in operators:
            own = {name: unknowns[name] for name in unknowns_of(operator) if name != "image"}
            image = operator(image=image, **own)
        return image
