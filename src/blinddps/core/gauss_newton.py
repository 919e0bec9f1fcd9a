"""What a measurement makes of the unknowns of any operator: one Gauss-Newton step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from .cg import conjugate_gradients
from .operator import Error
from .spectrum import filtered

__all__ = ["gauss_newton"]


@torch.no_grad()
def gauss_newton(
    operator: Callable[..., Tensor],
    names: Sequence[str],
    y: Tensor,
    *,
    mean: Mapping[str, Tensor],
    error: Mapping[str, Error],
    noise_variance: Tensor,
    image: str | None = "image",
    iterations: int = 12,
    tolerance: float = 1e-3,
) -> dict[str, Tensor]:
    """The most probable values of ``names`` given ``y``, the operator linearised at the means of all unknowns.

        argmin_d <r - J d, W^-1 (r - J d)> + sum_u <d_u, C_u^-1 d_u>,    u = mean[u] + d_u,

    ``r = y - A(mean)``, ``J`` the derivative of ``A`` in ``names``, ``C_u`` the covariance of the mean's error and
    ``W`` that of what is not explained: the noise, ``e``. For *parameters* beside an image that is not known, ``W``
    holds what its error makes of ``y`` too, and is raised to the mean square of ``r`` where that is larger, since what
    the other unknowns' errors leave unexplained is noise to them. Otherwise it is never raised: the errors of ``names``
    are what ``r`` is made of. Conjugate gradients with products of ``J`` and its transpose, no derivative of a network;
    several names are found together, so their order decides nothing.

    Args:
        names: unknowns to update; the image, or parameters.
        y: measurement ``(B, ...)``.
        mean: all unknowns, ``(B, C, h, w)`` each.
        error: of ``names`` and of the image, as :data:`~blinddps.core.Error`.
        noise_variance: ``e`` of ``y``, ``(B, 1, 1, 1)``.
        image: name of the image that is not known; ``None`` where there is none, or all of them are in ``names``.
        iterations: at most so many, each one ``J`` and one transpose.
        tolerance: of the gradient's norm, as a share of that at the means.

    Returns:
        The updated values by name.
    """
    start = {name: mean[name] for name in names}
    sizes = [value[0].numel() for value in start.values()]

    def pack(parts: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([parts[name].flatten(1) for name in names], 1)

    def unpack(packed: Tensor) -> dict[str, Tensor]:
        parts = packed.split(sizes, 1)
        return {name: part.reshape(start[name].shape) for name, part in zip(names, parts, strict=True)}

    def forward(moving: Mapping[str, Tensor]) -> Tensor:
        return operator(**{**mean, **moving})

    prediction, transpose = torch.func.vjp(forward, start)[:2]

    def push(d: Mapping[str, Tensor]) -> Tensor:
        pushed: Tensor = torch.func.jvp(forward, (start,), (dict(d),))[1]
        return pushed

    r = y - prediction
    each = (-1, *[1] * (y.ndim - 1))
    unexplained = noise_variance.reshape(each)
    if image is not None and image not in names:
        if (of_image := error.get(image)) is not None:
            unexplained = unexplained + _left_open(operator, mean, image, of_image, y)
        size = unexplained.mean((-2, -1), keepdim=True) if y.ndim > 2 else unexplained
        unexplained = unexplained * (r.square().flatten(1).mean(1).reshape(each) / size).clamp_min(1.0)
    white = unexplained[0].numel() == 1

    def weigh(v: Tensor) -> Tensor:  # W^-1 v
        return v / unexplained if white else filtered(v, 1 / unexplained)

    pull: dict[str, Tensor] = {}  # C^-1
    for name in names:
        if (of := error[name]) is not None:
            pull[name] = 1 / of(tuple(start[name].shape[-2:]))
    curvature = dict(pull)  # for parameters C^-1 alone: what they are told differs by orders from place to place
    if image is not None and image in names:
        seen = _seen(operator, mean, image) / noise_variance
        curvature[image] = seen + pull.get(image, 1e-6)

    def normal(packed: Tensor) -> Tensor:
        d = unpack(packed)
        back = transpose(weigh(push(d)))[0]
        return pack({n: back[n] + filtered(d[n], pull[n]) if n in pull else back[n] for n in names})

    def precondition(packed: Tensor) -> Tensor:
        d = unpack(packed)
        return pack({n: filtered(d[n], 1 / curvature[n]) if n in curvature else d[n] for n in names})

    step = conjugate_gradients(
        normal, pack(transpose(weigh(r))[0]), iterations=iterations, tolerance=tolerance, precondition=precondition
    )
    return {name: start[name] + d for name, d in unpack(step).items()}


def _seen(operator: Callable[..., Tensor], mean: Mapping[str, Tensor], image: str) -> Tensor:
    """``|A|^2`` by frequency of the image, were the operator the same everywhere as in its middle: what it and its
    transpose make of an impulse there."""

    def forward(u: Tensor) -> Tensor:
        return operator(**{**mean, image: u})

    x = mean[image]
    h, w = x.shape[-2:]
    impulse = torch.zeros_like(x)
    impulse[..., h // 2, w // 2] = 1
    answer = torch.func.vjp(forward, x)[1](torch.func.jvp(forward, (x,), (impulse,))[1])[0]
    spectrum = torch.fft.rfft2(answer.roll((-(h // 2), -(w // 2)), dims=(-2, -1)))
    return spectrum.real.mean(1, keepdim=True).clamp_min(0)


def _left_open(
    operator: Callable[..., Tensor],
    mean: Mapping[str, Tensor],
    image: str,
    error: Callable[[tuple[int, ...]], Tensor],
    y: Tensor,
) -> Tensor:
    """Variance that the image's error has in ``y``: by frequency where they share their pixels, else of an entry.

    Of several frames it is the sum, since the error is the same in all of them and does not average out.
    """
    size = tuple(mean[image].shape[-2:])
    spectrum = _seen(operator, mean, image) * error(size)
    if y.ndim == 4 and tuple(y.shape[-2:]) == size:
        return spectrum
    field = torch.fft.irfft2(spectrum, s=size)[..., :1, :1]  # at no distance: the mean over the whole plane
    share = mean[image][0].numel() / y[0].numel()
    return (share * field).reshape(-1, *[1] * (y.ndim - 1))
