"""Whether an operator keeps what :class:`~blinddps.core.Operator` asks of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import InputError
from .operator import unknowns_of
from .random import generator_for

__all__ = ["Check", "check_operator"]


@dataclass(frozen=True)
class Check:
    """What was tried: a line for each property, with the largest error found. ``print`` it."""

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def check_operator(
    operator: Callable[..., Tensor], *, seed: int = 0, tolerance: float = 1e-6, **shapes: Sequence[int]
) -> Check:
    """Try an operator on random arguments in float64; what solvers rely on either holds or is named.

    * shapes: ``(B, ...)`` comes back, floating point and finite, for one sample as for several;
    * determinism: equal arguments give equal results, and are left as they are;
    * batch independence: a sample alone gives what it gives among others;
    * gradient, of each unknown: the derivative ``J d`` (:func:`torch.func.jvp`) is the difference quotient
      ``(A(u + h d) - A(u - h d)) / 2 h``;
    * adjoint, of each unknown: ``<J d, r> = <d, J^T r>``, with ``J^T`` of :func:`torch.func.vjp`.

    Args:
        operator: called by keyword.
        seed: of the arguments, standard normal numbers.
        tolerance: largest relative error; the difference quotient may err by its root.
        **shapes: ``(C, h, w)`` of one sample of each unknown, ``image=(3, 64, 64)``.

    Returns:
        The report, a line for each property.

    Raises:
        InputError: the first property that does not hold, in one sentence, or shapes of other names.
    """
    names = unknowns_of(operator)
    if names and set(names) != set(shapes):
        raise InputError(f"the operator's unknowns are {', '.join(names)} and shapes were given of {', '.join(shapes)}")
    streams = {name: generator_for(seed, name) for name in (*shapes, "direction")}
    given = {n: torch.randn(3, *s, generator=streams[n], dtype=torch.float64) for n, s in shapes.items()}
    kept = {name: value.clone() for name, value in given.items()}
    lines = []

    def tell(good: bool, line: str, fault: str) -> None:
        if not good:
            raise InputError(f"the operator {fault}")
        lines.append(line)

    y = operator(**given)
    good = isinstance(y, Tensor) and y.is_floating_point() and y.ndim > 1 and len(y) == 3
    what = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
    tell(good, f"shapes: {what} of 3 samples", f"gives {what} for 3 samples; give a floating-point tensor (3, ...)")
    tell(bool(y.isfinite().all()), "values: finite", "gives values that are not finite for standard normal arguments")
    tell(torch.equal(operator(**given), y), "determinism: equal", "gives another result for equal arguments; no state")
    changed = [name for name in given if not torch.equal(given[name], kept[name])]
    tell(not changed, "arguments: left as they are", f"changes its argument {', '.join(changed)} in place; copy it")

    apart = torch.cat([operator(**{name: v[i : i + 1] for name, v in given.items()}) for i in range(3)])
    error = _error(apart, y) if apart.shape == y.shape else torch.inf
    tell(
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
            raise InputError(f"the operator cannot be differentiated in {name}: {reason}") from reason
        h = 1e-6
        quotient = (of(value + h * d) - of(value - h * d)) / (2 * h)
        error, limit = _error(pushed, quotient), tolerance**0.5
        tell(
            error <= limit,
            f"gradient of {name}: {error:.1e}",
            f"has a derivative in {name} that is not its difference quotient: they differ by {error:.2g} (limit "
            f"{limit:.1g}); detach nothing",
        )
        left, right = (pushed * r).sum(), (d * pulled).sum()
        error = float((left - right).abs() / (pushed.norm() * r.norm()).clamp_min(1e-300))
        tell(
            error <= tolerance,
            f"adjoint of {name}: {error:.1e}",
            f"has a backward derivative in {name} that is not the transpose of the forward one: <J d, r> is "
            f"{float(left):.6g} and <d, J^T r> {float(right):.6g}",
        )
    return Check(tuple(lines))


def _error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300))
