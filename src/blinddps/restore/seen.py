"""A picture, or the frames of a scene, as they are solved, and what was found as a picture again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core import InputError, PriorError, Step
from .geometry import crop
from .light import Range, find_range, rounding
from .plan import Cards, name_of
from .settings import DeblurSettings

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Seen", "estimates_of", "see"]

MIN_SIDE = 16  # pixels; below, no kernel of use fits


@dataclass(frozen=True)
class Seen:
    """What is solved of pictures of one size.

    Attributes:
        given: values ``(T, C, H, W)`` in [0, 1] of the pictures; ``display``: at the size that is solved; ``light``:
            linear, where that is solved.
        y: the same over ``range``, in [-1, 1].
        range: see :func:`~blinddps.restore.light.find_range`.
        notes: what was done that may not be expected.
    """

    given: Tensor
    display: Tensor
    light: Tensor
    y: Tensor
    range: Range
    linear: bool
    notes: tuple[str, ...]

    @property
    def rounding(self) -> float:
        """Of the values, see :func:`~blinddps.restore.light.rounding`."""
        return rounding(self.display)

    @property
    def resized(self) -> bool:
        """Whether the prior sees another size."""
        return self.display.shape != self.given.shape

    def unchanged(self, samples: int) -> np.ndarray:
        """The first picture as it was given, ``(samples, H, W, C)``."""
        return self.given[:1].expand(samples, -1, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()

    def pictures(self, image: Tensor) -> np.ndarray:
        """Solved images ``(B, C, H, W)`` in [-1, 1] as pictures ``(B, H, W, C)`` in [0, 1] of the size as given; of
        measured values they may leave that."""
        import numpy as np

        from ..io import from_tensor, to_display

        if self.range.measured:  # what is cut off would be missing from the flux
            return ((crop(image, self.y.shape) + 1) / 2).permute(0, 2, 3, 1).float().cpu().contiguous().numpy()
        beyond = self.range.beyond(self.light).to(image.device)
        images = self.range.undo((crop(image, self.y.shape) + 1) / 2, beyond)
        images = to_display(images.clamp(0, 1)) if self.linear else images
        images = resize(images, (self.given.shape[-2], self.given.shape[-1])) if self.resized else images
        return np.stack([from_tensor(2 * x - 1) for x in images])


def see(pictures: Sequence[Any], settings: DeblurSettings, cards: Cards) -> Seen:
    """Read ``pictures``, bring them to the prior's size if it has one, to linear light if asked for, and to the range
    that is solved.

    Raises:
        InputError: what cannot be read, is too small, or of different sizes.
        PriorError: a prior of another size, and a picture that is not square.
    """
    from ..io import as_picture, to_linear

    notes: list[str] = []
    stack = []
    measured = False
    for picture in pictures:
        read = as_picture(picture)
        notes += read.notes
        measured = measured or read.scaled
        stack.append(torch.from_numpy(read.data.transpose(2, 0, 1).copy())[None])
    for i, one in enumerate(stack):
        if one.shape != stack[0].shape:
            (c, h, w), (c0, h0, w0) = one.shape[1:], stack[0].shape[1:]
            raise InputError(
                f"frame {i + 1} is {w} x {h} pixels of {c} channels and the first one {w0} x {h0} of {c0}; "
                "give frames of one size"
            )
    y01 = torch.cat(stack)
    height, width = y01.shape[-2:]
    if min(height, width) < MIN_SIDE:
        raise InputError(
            f"the picture is {width} x {height} pixels; blind deblurring needs at least {MIN_SIDE} on each side"
        )
    fixed = _fixed_size(settings, cards, (height, width), notes)
    display = resize(y01, fixed) if fixed else y01
    light = to_linear(display) if settings.linear_light else display
    found = Range(measured=True) if measured else find_range(display, settings.linear_light)
    card = cards.image
    if y01.shape[1] == 1 and card is not None and card.channels == 3 and card.grey == "none":
        notes.append(
            f"prior '{name_of(settings.prior)}' was not trained on grey pictures; expect less of it on "
            + ("this one" if len(y01) == 1 else "these")
        )
    y = found.bring(light) * 2 - 1
    return Seen(y01, display, light, y, found, settings.linear_light, (*notes, *found.note))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, C, H, W)`` in [0, 1] at another size, bicubic."""
    return torch.nn.functional.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(
        0, 1
    )


def _fixed_size(
    settings: DeblurSettings, cards: Cards, size: tuple[int, int], notes: list[str]
) -> tuple[int, int] | None:
    """The size a fixed-size prior works at when the picture has another one; square pictures only."""
    card = cards.image
    if card is None or card.takes(size[0], size[1]):
        return None
    own, prior = min(card.sizes, key=lambda s: abs(s - min(size))), name_of(settings.prior)
    if settings.known_kernel is not None and size[0] == size[1]:
        raise InputError(
            f"the known kernel is in pixels of this picture, which prior '{prior}' sees at {own} x {own}; "
            "bring picture and kernel to that size first, or choose prior photos"
        )
    if size[0] != size[1]:
        raise PriorError(
            f"prior '{prior}' works on square pictures of {own} x {own} and this one is {size[1]} x {size[0]}; "
            "crop it to a square around its subject, or choose --prior photos, which takes any size"
        )
    notes.append(
        f"prior '{prior}' works at {own} x {own}: the picture was resized from {size[1]} x {size[0]}, restored, and "
        "resized back, so it holds no finer detail than that; kernel and noise are those of the resized picture"
    )
    return own, own


def estimates_of(step: Step, linear_light: bool, side: int) -> tuple[np.ndarray, np.ndarray] | None:
    """To show, of the first sample: the denoised picture ``(H, W, C)`` in [0, 1], of at most ``side`` pixels, and
    the kernel ``(h, w)``; None where one of them is not finite."""
    from ..io import to_display

    image, kernel = (step.estimate["image"][:1] + 1) / 2, step.estimate["kernel"][:1]
    if not bool(image.isfinite().all() & kernel.isfinite().all()):
        return None
    shrink = side / max(image.shape[-2:])
    if shrink < 1:
        size = [max(1, round(n * shrink)) for n in image.shape[-2:]]
        image = torch.nn.functional.interpolate(image, size=size, mode="area")
    image = image.clamp(0, 1)
    image = to_display(image) if linear_light else image
    return image[0].permute(1, 2, 0).float().cpu().numpy(), kernel[0, 0].float().cpu().numpy()
