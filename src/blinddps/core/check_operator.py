"""Whether an operator keeps what :class:`~blinddps.core.Operator` asks of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import BlinddpsError, InputError
from .isolation import isolated
from .operator import unknowns_of
from .random import generator_for

__all__ = ["Check", "check_operator"]


@dataclass(frozen=True)
class Check:
    """What was tried: a line for each property, with the largest error found. ``print`` it."""

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


@isolated
@torch.no_grad()
def check_operator(
    operator: Callable[..., Tensor], *, seed: int = 0, tolerance: float = 1e-6, **shapes: Sequence[int]
) -> Check:
    """Try an operator on random arguments in float64; what solvers rely on either holds or is named.

    * shapes: ``(B, ...)`` comes back, float64 and finite, for one sample as for several;
    * arguments are left as they are;
    * determinism: equal arguments give equal results;
    * batch independence: a sample alone gives what it gives among others;
    * gradient, of each unknown: the derivative ``J d`` (:func:`torch.func.jvp`) is the difference quotient
      ``(A(u + h d) - A(u - h d)) / 2 h``, and not zero;
    * adjoint, of each unknown: ``<J d, r> = <d, J^T r>``, with ``J^T`` of :func:`torch.func.vjp`.

    Args:
        operator: called by keyword.
        seed: of the arguments, standard normal numbers.
        tolerance: largest relative error; the difference quotient may err by its root.
        **shapes: ``(C, h, w)`` of one sample of each unknown, ``image=(3, 64, 64)``.

    Returns:
        The report, a line for each property.

    Raises:
        InputError: the first property that does not hold, in one sentence; or what are no shapes, or of other names.
    """
    if not callable(operator):
        raise InputError(f"the operator is of type {type(operator).__name__}; give a function of keyword arguments")
    names = unknowns_of(operator)
    if not shapes or (names and set(names) != set(shapes)):
        raise InputError(
            f"the operator's unknowns are {', '.join(names) or 'not named'} and shapes were given of "
            f"{', '.join(shapes) or 'none'}; give one of each, and bind what is no unknown with functools.partial"
        )
    for name, shape in shapes.items():
        sides = tuple(shape) if isinstance(shape, Sequence) else ()
        if len(sides) != 3 or not all(isinstance(n, int) and n > 0 for n in sides):
            raise InputError(f"the shape of {name} is {shape!r}; give (C, h, w) of one sample, each at least 1")
    streams = {name: generator_for(seed, name) for name in (*shapes, "direction")}
    given = {n: torch.randn(3, *s, generator=streams[n], dtype=torch.float64) for n, s in shapes.items()}
    kept = {name: value.clone() for name, value in given.items()}
    lines = []

    def require(good: bool, line: str, fault: str) -> None:
        if not good:
            raise InputError(f"the operator {fault}")
        lines.append(line)

    def called(samples: str, **unknowns: Tensor) -> Tensor:
        try:
            return operator(**unknowns)
        except BlinddpsError:
            raise
        except Exception as reason:
            raise InputError(
                f"the operator cannot be called with float64 arguments of these shapes, {samples}: {_line(reason)}"
            ) from reason

    y = called("3 samples", **given)
    good = isinstance(y, Tensor) and y.is_floating_point() and y.ndim > 1 and len(y) == 3 and y.numel() > 0
    what = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
    require(good, f"shapes: {what} of 3 samples", f"gives {what} for 3 samples; give a floating-point tensor (3, ...)")
    require(y.dtype == torch.float64, "type: kept", f"gives {y.dtype} for float64 arguments; compute in their type")
    require(bool(y.isfinite().all()), "values: finite", "gives values not finite for standard normal arguments")
    changed = [name for name in given if not torch.equal(given[name], kept[name])]
    require(not changed, "arguments: left as they are", f"changes its argument {', '.join(changed)} in place; copy it")
    again = called("3 samples", **given)
    require(torch.equal(again, y), "determinism: equal", "gives another result for equal arguments; no state")

    apart = torch.cat([called("1 sample", **{n: v[i : i + 1] for n, v in given.items()}) for i in range(3)])
    error = _error(apart, y) if apart.shape == y.shape else torch.inf
    require(
        error <= tolerance,
        f"batch independence: {error:.1e}",
        f"mixes the samples of a batch: one alone differs by {error:.2g}; use no statistic over the first dimension",
    )
    for name, value in given.items():

        def of(u: Tensor, name: str = name) -> Tensor:
            return operator(**{**given, name: u})

        d = torch.randn(value.shape, generator=streams["direction"], dtype=torch.float64)
        r = torch.randn(y.shape, generator=streams["direction"], dtype=torch.float64)
        try:
            pushed = torch.func.jvp(of, (value,), (d,))[1]
            pulled = torch.func.vjp(of, value)[1](r)[0]
        except Exception as reason:
            raise InputError(f"the operator cannot be differentiated in {name}: {_line(reason)}") from reason
        h = 1e-6
        quotient = (of(value + h * d) - of(value - h * d)) / (2 * h)
        error, limit = _error(pushed, quotient), tolerance**0.5
        require(
            error <= limit,
            f"gradient of {name}: {error:.1e}",
            f"has a derivative in {name} that is not its difference quotient: they differ by {error:.2g} (limit "
            f"{limit:.1g}); detach nothing",
        )
        require(bool(pushed.any()), f"{name}: reaches y", f"has no derivative in {name}: it rounds it or leaves it out")
        left, right = (pushed * r).sum(), (d * pulled).sum()
        error = float((left - right).abs() / (pushed.norm() * r.norm()).clamp_min(1e-300))
        require(
            error <= tolerance,
            f"adjoint of {name}: {error:.1e}",
            f"has a backward derivative in {name} that is not the transpose of the forward one: <J d, r> is "
            f"{float(left):.6g} and <d, J^T r> {float(right):.6g}",
        )
    return Check(tuple(lines))


def _line(reason: Exception) -> str:
    return " ".join(str(reason).split())[:300]


def _error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300))
