"""One method on one measurement, whatever its call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from blinddps.core import Step

from ..priors import read_card
from ..restore.solvers import FUSIONS, SOLVERS, SolverInfo
from .measure import Measurement
from .spec import Method

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Restored", "estimates_kernel", "resizes", "restore"]

_OF_IMAGE = {"prior", "noise", "boundary", "num_steps", "start", "device", "dtype", "tile", "linear_light"}


@dataclass(frozen=True)
class Restored:
    """What is kept of a restoration.

    Attributes:
        status: of the outcome (:class:`~blinddps.core.Outcome`); ``input`` is ``finished``. ``message`` says why.
        image: ``(H, W, C)`` float32 in [0, 1], or None if it diverged; ``kernel`` ``(h, w)`` and ``tilt``
            ``(T, 2, H, W)`` where the method estimates them.
        seconds: of the solver alone, without reading priors.
        nfe: network evaluations by unknown.
        residual: over the expected norm of the noise.
        settings, notes, priors: as the call resolved and told them.
    """

    status: str
    message: str = ""
    image: np.ndarray | None = None
    kernel: np.ndarray | None = None
    tilt: np.ndarray | None = None
    seconds: float | None = None
    nfe: dict[str, int] = field(default_factory=dict)
    residual: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    priors: dict[str, Any] = field(default_factory=dict)


def estimates_kernel(method: Method, options: dict[str, Any]) -> bool:
    """Whether its kernel is an estimate, and not the true one, or one that stands for none; ``options`` with the
    spec's defaults."""
    solver = _deblurring(options)
    models = solver is not None and solver.kernel != "none"
    return method.kernel and models and method.call in ("deblur", "turbulence") and not method.known_kernel


def _deblurring(options: dict[str, Any]) -> SolverInfo | None:
    """What takes the blur off; ``None`` where frames are made one picture and that is all."""
    solver = str(options.get("solver", "fast"))
    return SOLVERS.get(str(options.get("then", "none")) if solver in FUSIONS else solver)


def resizes(options: dict[str, Any], m: Measurement) -> bool:
    """Whether the prior works at one size and the measurement has another: the solver then resizes it, and its kernel
    and tilt are in other pixels than the true ones."""
    solver = _deblurring(options)
    if solver is None or not solver.has_prior:
        return False
    return not read_card(str(options.get("prior", "photos"))).takes(m.y.shape[-2], m.y.shape[-1])


def restore(
    method: Method,
    options: dict[str, Any],
    m: Measurement,
    seed: int,
    on_step: Callable[[Step], None] | None = None,
) -> Restored:
    """Call ``method`` with ``options`` on ``m``; ``seed`` is the solver's. Errors of the call are the caller's."""
    import blinddps

    frames = [y.permute(1, 2, 0).contiguous().numpy() for y in m.y]
    if method.call == "input":
        return Restored("finished", image=frames[0])
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    result: Any
    if method.call == "known-kernel":
        result = _with_truth(m, frames[0], options, seed, on_step)
    elif method.call == "turbulence":
        result = blinddps.restore_turbulence(frames, seed=seed, on_step=on_step, **options)
    else:
        if method.known_kernel:
            options["known_kernel"] = m.kernel[0, 0].numpy()
        result = blinddps.deblur(frames[0], seed=seed, on_step=on_step, **options)
    outcome = result.outcome[0]
    fine = outcome.status != "diverged"
    residual = result.residual[0] if result.residual else math.nan
    same_pixels = fine and not resizes(options, m)
    return Restored(
        outcome.status,
        outcome.message,
        image=result.image if fine else None,
        kernel=result.kernel if same_pixels and estimates_kernel(method, options) else None,
        tilt=result.tilt if same_pixels and method.call == "turbulence" and not result.settings.weights else None,
        seconds=result.seconds,
        nfe=dict(result.nfe),
        residual=residual if math.isfinite(residual) else None,
        # the known kernel lies beside the measurement
        settings={k: v for k, v in asdict(result.settings).items() if k != "known_kernel"},
        notes=tuple(result.notes),
        priors=result.priors,
    )


def _with_truth(
    m: Measurement, frame: np.ndarray, options: dict[str, Any], seed: int, on_step: Callable[[Step], None] | None
) -> Any:
    """The ceiling: ``fast`` with the true kernel of ``m`` and, where there is one, the true tilt of its first frame.

    Of ``options`` those of the image are used."""
    import blinddps

    from ..restore import DeblurSettings, TurbulenceSettings
    from ..restore.settings import with_options
    from ..restore.turbulence.joint import restore_jointly

    with_options(DeblurSettings(), options)
    of_image = {name: value for name, value in options.items() if name in _OF_IMAGE}
    if m.tilt is None:
        known = m.kernel[0, 0].numpy()
        return blinddps.deblur(frame, known_kernel=known, seed=seed, on_step=on_step, **of_image)
    settings = with_options(TurbulenceSettings(seed=seed), of_image)
    return restore_jointly([frame], settings, on_step, known={"kernel": m.kernel, "tilt": m.tilt[:1]})
