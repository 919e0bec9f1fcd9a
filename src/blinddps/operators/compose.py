"""Operators one after the other, their unknowns bound by name, with updates for the fast solver."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blinddps.core.cg import conjugate_gradients
from blinddps.core.errors import InputError, unknown_name
from blinddps.operators.blur_update import centred

__all__ = ["Composed"]

# Gauss-Newton steps of an update, each from where the last one ended: two brought frames 0.5 dB (docs/turbulence.md)
_ROUNDS = 2


@dataclass(frozen=True)
class Composed:
    """``y = A_n(... A_2(A_1(image, u_1), u_2) ..., u_n)``: the first operator acts first.

    ``Composed((Tilt(), Blur()))`` is the paper's model of turbulence, ``y = k * T_phi(x)``; the other order is
    in use too. Each operator takes ``image`` and further unknowns by name; unknowns of one name are one unknown.

    Raises:
        InputError: no operators, or one that does not take ``image``.
    """

    operators: tuple[Callable[..., Tensor], ...]

    def __post_init__(self) -> None:
        if not self.operators:
            raise InputError("there are no operators to compose; give one at least")
        for operator in self.operators:
            if "image" not in _names(operator):
                raise InputError(f"operator {operator!r} does not take image=; only operators on images compose")

    @property
    def unknowns(self) -> tuple[str, ...]:
        """``image``, then those of the last operator, ..., the first: a tilt is found before the blur that hides it."""
        rest = [name for operator in reversed(self.operators) for name in _names(operator) if name != "image"]
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
        center: Mapping[str, Tensor],
        error: Mapping[str, Callable[[tuple[int, ...]], Tensor] | None],
        noise_variance: Tensor,
        iterations: int = 12,
    ) -> Tensor:
        """What ``y`` makes of one unknown; arguments as :meth:`blinddps.operators.Blur.update`.

        An unknown of the last operator is left to that operator's own ``update``, which sees the image as the operators
        before it make it. Any other one takes a Gauss-Newton step

            argmin_u <r - J d, W (r - J d)> + <d, P^-1 d>,    u = center + d,

        ``r = y - A(center)``, ``P`` the circulant covariance of the unknown's error and ``W`` the inverse covariance of
        what is not explained: the noise and, for unknowns other than the image, the part of the image's error that the
        blur lets through, by frequency, both raised to the size of ``r`` where that is larger. Conjugate gradients
        through the operator alone, preconditioned by ``P``, and for the image by its step under the blur alone.
        """
        if name not in self.unknowns:
            raise InputError(unknown_name("unknown", name, self.unknowns))
        *before, last = self.operators
        if name != "image" and name in _names(last) and hasattr(last, "update"):
            seen = self._through(before, center)
            own = {n: v for n, v in center.items() if n in _names(last)}
            return last.update(
                name, y, estimate=estimate, center=own | {"image": seen}, error=error, noise_variance=noise_variance
            )
        value = center[name]
        for _ in range(1 if name == "image" else _ROUNDS):
            value = self.gauss_newton(self, name, y, {**center, name: value}, error, noise_variance, iterations)
        return value

    def fix_gauge(self, center: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What image, kernel and tilt share: the kernel is put at its origin, which leaves the measurement as it is
        away from the border, and the mean of each tilt at zero. The latter is a projection: the mean is dropped, not
        moved into the image, so the measurement changes unless the mean was zero."""
        fixed = self.centre_kernel(center)
        for name, value in fixed.items():
            if name.startswith("tilt"):
                fixed[name] = value - value.mean((-2, -1), keepdim=True)
        return fixed

    def centre_kernel(self, center: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The kernel's centroid put at its origin by whole pixels, the image moved against it and, with the image, the
        tilts that act before the kernel; those that act after it see the same blurred image and stay."""
        fixed = dict(center)
        if "kernel" in fixed and "image" in fixed:
            takes = [_names(operator) for operator in self.operators]
            first = next(i for i, names in enumerate(takes) if "kernel" in names)
            tilts = [n for n in fixed if n.startswith("tilt") and any(n in names for names in takes[:first])]
            names = ("kernel", "image", *tilts)
            fixed |= dict(zip(names, centred(*(fixed[n] for n in names)), strict=True))
        return fixed

    @staticmethod
    @torch.no_grad()
    def gauss_newton(
        operator: Callable[..., Tensor],
        name: str,
        y: Tensor,
        center: Mapping[str, Tensor],
        error: Mapping[str, Callable[[tuple[int, ...]], Tensor] | None],
        noise_variance: Tensor,
        iterations: int = 12,
    ) -> Tensor:
        """The step of :meth:`update` through any ``operator``; one frame's blur gives the preconditioner."""

        def forward(u: Tensor) -> Tensor:
            return operator(**{**center, name: u})

        c = center[name]
        size, measured = tuple(c.shape[-2:]), tuple(y.shape[-2:])
        prediction, transpose = torch.func.vjp(forward, c)[:2]
        missing = y - prediction
        gain = _transfer2(center.get("kernel"), measured)
        open_image = None if name == "image" else error.get("image")
        unexplained = noise_variance + (0.0 if open_image is None else gain * open_image(measured))
        if name != "image":
            ratio = missing.square().flatten(1).mean(1).reshape(-1, 1, 1, 1) / _mean(unexplained)
            unexplained = unexplained * ratio.clamp_min(1.0)
        own = error[name]
        prior = None if own is None else own(size)

        def weigh(r: Tensor) -> Tensor:
            return _filter(torch.fft.rfft2(r) / unexplained, measured)

        def normal(d: Tensor) -> Tensor:
            curved = transpose(weigh(torch.func.jvp(forward, (c,), (d,))[1]))[0]
            return curved if prior is None else curved + _filter(torch.fft.rfft2(d) / prior, size)

        if name == "image":  # seen once in every frame
            curvature = y.shape[1] / c.shape[1] * gain / noise_variance + (1e-6 if prior is None else 1 / prior)
        else:  # the prior alone: what the image's slope tells differs by orders of magnitude from place to place
            curvature = torch.ones(()) if prior is None else 1 / prior
        step = conjugate_gradients(
            normal,
            transpose(weigh(missing))[0],
            iterations=iterations,
            tolerance=1e-3,
            precondition=lambda v: _filter(torch.fft.rfft2(v) / curvature, size),
        )
        return c + step

    @staticmethod
    def _through(operators: Any, unknowns: Mapping[str, Tensor]) -> Tensor:
        image = unknowns["image"]
        for operator in operators:
            own = {name: unknowns[name] for name in _names(operator) if name != "image"}
            image = operator(image=image, **own)
        return image


def _names(operator: Callable[..., Tensor]) -> tuple[str, ...]:
    """Unknowns of an operator; what :func:`functools.partial` has bound is none."""
    if isinstance(operator, partial):
        return tuple(name for name in _names(operator.func) if name not in operator.keywords)
    declared: tuple[str, ...] | None = getattr(operator, "unknowns", None)
    return declared or tuple(inspect.signature(operator).parameters)


def _transfer2(kernel: Tensor | None, size: tuple[int, ...]) -> Tensor:
    """``|K|^2`` on the half plane of ``rfft2`` of ``size``; one where there is no kernel."""
    if kernel is None:
        return torch.ones(())
    folded = kernel[..., : size[0], : size[1]]
    return torch.fft.rfft2(folded, s=size).abs().square().mean(1, keepdim=True)


def _mean(spectrum: Tensor) -> Tensor:
    return spectrum.mean((-2, -1), keepdim=True) if spectrum.ndim > 1 else spectrum


def _filter(spectrum: Tensor, size: tuple[int, ...]) -> Tensor:
    return torch.fft.irfft2(spectrum, s=size)
