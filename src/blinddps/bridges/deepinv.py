"""Priors and operators to and from deepinv (extra ``deepinv``).

deepinv's pictures are in [0, 1], those of priors here in [-1, 1]: so is every ``sigma`` half of ours.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..baselines.common import pad_kernel
from ..core import InputError
from ..core.denoiser import Denoiser

__all__ = ["as_denoiser", "as_operator", "as_physics", "as_prior", "as_reconstructor", "kernels_of"]


def as_denoiser(prior: Denoiser) -> Any:
    """A prior as ``deepinv.models.Denoiser``: ``(D(2 x - 1, 2 sigma) + 1) / 2``.

    Args:
        prior: of pictures, ``denoiser(x, sigma)`` with ``x`` ``(B, C, H, W)`` in [-1, 1]. If it has a network, that is
            on its own device.
    """
    _asked_for()
    from deepinv.models import Denoiser as Theirs

    class PriorDenoiser(Theirs):
        def forward(self, x: Tensor, sigma: float | Tensor, **_: Any) -> Tensor:
            """``x`` ``(B, C, H, W)`` in [0, 1]; ``sigma`` one number, or one for each picture."""
            level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1).expand(len(x))
            return (prior(2 * x - 1, 2 * level) + 1) / 2

    return PriorDenoiser()


def as_prior(denoiser: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """A ``deepinv.models.Denoiser`` as a denoiser here: ``2 D((x + 1) / 2, sigma / 2) - 1``.

    ``blinddps.deblur(picture, prior=as_prior(DRUNet()))``; also the prior of an :class:`~blinddps.Unknown`.
    """

    def prior(x: Tensor, sigma: Tensor) -> Tensor:
        found: Tensor = denoiser((x + 1) / 2, sigma / 2)
        return 2 * found - 1

    prior.__name__ = type(denoiser).__name__
    return prior


def as_physics(operator: Callable[..., Tensor], image_size: tuple[int, int, int], **known: Tensor) -> Any:
    """A linear operator as ``deepinv.physics.LinearPhysics``; its adjoint is the derivative's transpose.

    Args:
        operator: linear in ``image``, as :class:`~blinddps.Blur`. The range does not matter to it.
        image_size: ``(C, H, W)``.
        known: its other unknowns, ``(1, ...)`` or ``(B, ...)``: parameters of the physics, which a call may give anew
            by name and ``update`` keeps.
    """
    _asked_for()
    from deepinv.physics import LinearPhysics

    class OperatorPhysics(LinearPhysics):
        def __init__(self) -> None:
            super().__init__(img_size=image_size)
            for name, value in known.items():
                self.register_buffer(name, value)

        def A(self, x: Tensor, **given: Any) -> Tensor:
            return operator(image=x, **self._parameters_of(given, len(x)))

        def A_adjoint(self, y: Tensor, **given: Any) -> Tensor:
            parameters = self._parameters_of(given, len(y))
            start = y.new_zeros((len(y), *image_size))
            back: Tensor = torch.func.vjp(lambda x: operator(image=x, **parameters), start)[1](y)[0]
            return back

        def _parameters_of(self, given: dict[str, Any], batch: int) -> dict[str, Tensor]:
            self.update_parameters(**{n: v for n, v in given.items() if n in known and v is not None})
            kept = {name: getattr(self, name) for name in known}
            return {n: v.expand(batch, *v.shape[1:]) for n, v in kept.items()}

    return OperatorPhysics()


def as_operator(physics: Any, **names: str) -> Callable[..., Tensor]:
    """A ``deepinv.physics.Physics`` as an operator: ``A((image + 1) / 2, ...)``, without its noise.

    ``A`` of deepinv keeps the parameters that it is given; the operator asks a copy each time, so it remembers nothing.

    Args:
        physics: with parameters or without.
        names: by the name of an unknown here that of its parameter there, as ``kernel="filter"`` of ``BlurFFT``.
    """
    own = copy.deepcopy(physics)

    def operator(*, image: Tensor, **unknowns: Tensor) -> Tensor:
        if unknowns.keys() != names.keys():
            raise InputError(f"the operator was given {sorted(unknowns)} beside the image; it takes {sorted(names)}")
        found: Tensor = _again(own, image.dtype).A((image + 1) / 2, **{names[n]: v for n, v in unknowns.items()})
        return found

    wanted = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("image", *names)]
    operator.__signature__ = inspect.Signature(wanted)  # type: ignore[attr-defined]  # by which its unknowns are known
    return operator


def _again(module: Any, dtype: torch.dtype) -> Any:
    """A module around the same tensors, its numbers in the precision ``dtype``: what is set on it, or on a part of it,
    is not set on the other. A deep copy would not do: random generators cannot be copied while a derivative is taken.
    """
    new = copy.copy(module)
    for kept in ("_parameters", "_buffers"):
        tensors = module.__dict__[kept].items()
        new.__dict__[kept] = {n: v.to(dtype) if v is not None and v.is_floating_point() else v for n, v in tensors}
    parts = module.__dict__["_modules"].items()
    new.__dict__["_modules"] = {n: None if part is None else _again(part, dtype) for n, part in parts}
    return new


def as_reconstructor(**options: Any) -> Any:
    """:func:`blinddps.deblur` as a blind ``deepinv.models.Reconstructor``.

    ``reconstructor(y, physics=None, seed=0)`` gives ``x`` ``(B, C, H, W)`` in [0, 1], and the parameters that were
    found, ``{"filter": kernels (B, 1, h, w)}``, as ``deepinv.physics.Blur`` takes them. The physics is not looked at:
    nothing is known of it. Each picture is restored by itself, picture ``i`` with ``seed + i``.

    Args:
        options: of :func:`blinddps.deblur`.
    """
    _asked_for()
    from deepinv.models import Reconstructor

    from ..restore import deblur

    class BlindReconstructor(Reconstructor):
        def forward(
            self, y: Tensor, physics: Any = None, *, seed: int = 0, **_: Any
        ) -> tuple[Tensor, dict[str, Tensor]]:
            pictures = y.detach().clamp(0, 1).cpu().permute(0, 2, 3, 1).numpy()
            found = [deblur(picture, **{**options, "seed": seed + i}) for i, picture in enumerate(pictures)]
            side = max(n for one in found for n in one.kernel.shape[-2:])
            kernels = torch.cat([pad_kernel(torch.from_numpy(one.kernel)[None, None], side) for one in found])
            images = torch.stack(
                [torch.from_numpy(one.image).reshape(p.shape) for one, p in zip(found, pictures, strict=True)]
            )
            return images.permute(0, 3, 1, 2).to(y), {"filter": kernels.to(y)}

    return BlindReconstructor()


def kernels_of(generator: Any, count: int, *, seed: int = 0) -> Tensor:
    """Blur kernels ``(count, 1, h, w)`` of a ``deepinv.physics.generator.PhysicsGenerator``, non-negative, sum one.

    For :class:`~blinddps.Blur`, to measure with kernels of another program, or, saved by ``numpy.save``, to train a
    prior of kernels.

    Args:
        generator: one that makes a ``filter``, as ``MotionBlurGenerator`` and ``DiffractionBlurGenerator``.
        count: how many.
        seed: of theirs.

    Raises:
        InputError: it makes no ``filter``, or one of several channels.
    """
    made = generator.step(batch_size=count, seed=seed)
    if "filter" not in made or made["filter"].ndim != 4 or made["filter"].shape[1] != 1:
        raise InputError(
            f"{type(generator).__name__} makes {sorted(made)}; give one that makes 'filter' (count, 1, h, w)"
        )
    kernels: Tensor = made["filter"].detach().clamp_min(0)
    return kernels / kernels.sum((-2, -1), keepdim=True)


def _asked_for() -> None:
    try:
        import deepinv  # noqa: F401
    except (ImportError, RuntimeError) as error:  # torchvision whose compiled part does not fit torch
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"deepinv cannot be imported ({reason}); install it with pip install 'blinddps[deepinv]'"
        ) from None
