"""What a forward operator is, and what it may offer a solver."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Error", "FixesGauge", "Operator", "Updates", "bound", "unknowns_of"]

Error = Callable[[tuple[int, ...]], Tensor] | None
"""How wrong an unknown's mean is: eigenvalues of its error's circulant covariance on the half plane of ``rfft2`` of a
given ``(h, w)``, broadcasting with ``(B, C, h, w // 2 + 1)``. ``None``: nothing is known of it, so nothing pulls."""


class Operator(Protocol):
    """``A``: what the measurement would be, ``y = A(image=..., kernel=..., ...) + n``.

    A plain function of keyword arguments will do. Each argument is a floating-point tensor ``(B, C, h, w)``, the result
    ``(B, ...)``, and

    * it remembers nothing: equal arguments give equal results;
    * it treats each sample of the batch on its own;
    * it is differentiable in every argument, forward and backward (:func:`torch.func.jvp`, :func:`torch.func.vjp`).

    :func:`blinddps.check_operator` tries all of it. What is known is bound with :func:`functools.partial`.

    Optional: an attribute ``unknowns``, the names in the order in which the operator would have them found from last to
    first (:func:`unknowns_of` reads the signature where there is none); :class:`Updates`; :class:`FixesGauge`.
    """

    def __call__(self, *args: Any, **unknowns: Any) -> Tensor: ...


@runtime_checkable
class Updates(Protocol):
    """An operator with updates of its own, in closed form, in place of :func:`~blinddps.core.gauss_newton`."""

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
        """What ``y`` makes of the unknown ``name``, shaped like ``mean[name]``.

        Args:
            name: of the unknown.
            y: measurement.
            estimate: all unknowns as the step before left them.
            mean: posterior means, updated ones in place of their own; the prior pulls to ``mean[name]``.
            error: how wrong the means are, by unknown.
            noise_variance: of ``y``, above 0, ``(B, 1, 1, 1)``.
        """
        ...


@runtime_checkable
class FixesGauge(Protocol):
    """An operator whose unknowns share what no measurement can tell, such as a translation of kernel and image."""

    def fix_gauge(self, mean: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same scene, with what the unknowns share put where it belongs."""
        ...


def bound(operator: Callable[..., Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """The operator itself, and what :func:`functools.partial` has bound to it by name."""
    if isinstance(operator, partial) and not operator.args:
        base, inner = bound(operator.func)
        return base, inner | dict(operator.keywords)
    return operator, {}


def unknowns_of(operator: Callable[..., Tensor]) -> tuple[str, ...]:
    """Names of an operator's unknowns: its ``unknowns`` or those of its signature; what is bound is none."""
    base, known = bound(operator)
    names = getattr(base, "unknowns", None)
    if names is None:
        parameters = inspect.signature(base).parameters.values()
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return tuple(name for name in names if name not in known)
