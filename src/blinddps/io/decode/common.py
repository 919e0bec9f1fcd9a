"""What the decoders share."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import InputError
from ..metadata import Metadata
from ..picture import AlphaKind, Light

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Decoded",
    "cmyk_to_rgb",
    "count_note",
    "exif_orientation",
    "gamma_note",
    "missing_extra",
    "orientation_of",
    "undecodable",
]


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoder's answer: pixels as stored, ``(H, W)`` or ``(H, W, C)``, alpha last where C is 2 or 4.

    ``measured``: floats of any range, of which those that are not finite are missing; ``span``: what of these becomes 0
    and 1, by default the least and the largest. ``light``: as in :class:`~blinddps.io.Picture`.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    orientation: int = 1
    alpha_kind: AlphaKind = "straight"
    notes: tuple[str, ...] = ()
    measured: bool = False
    span: tuple[float, float] | None = None
    light: Light = "display"
    metadata: Metadata = field(default_factory=Metadata)


def missing_extra(what: str, library: str, extra: str, remedy: str) -> InputError:
    """What is said where a format's library is not installed."""
    return InputError(f"it is {what} and {library} is not installed; pip install 'blinddps[{extra}]', or {remedy}")


def exif_orientation(exif: bytes) -> int:
    from PIL import Image

    try:
        parsed = Image.Exif()
        parsed.load(exif)
        return orientation_of(parsed.get(0x0112))
    except Exception:  # a damaged tag is no reason to refuse the pixels
        return 1


def orientation_of(tag: Any) -> int:
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def count_note(count: int, what: str, used: str = "only the first is used") -> tuple[str, ...]:
    return (f"the file holds {count} {what}; {used}",) if count > 1 else ()


def gamma_note(gamma: float) -> tuple[str, ...]:
    """What is said of a file's encoding exponent; 1 / 2.2 is near enough to sRGB's curve, and 0 is none."""
    if gamma <= 0 or abs(gamma - 1 / 2.2) < 0.005:
        return ()
    return (
        f"its values have the gamma {gamma:.4g}, which is neither applied nor kept: they are taken for sRGB; convert "
        "it to sRGB first where its colours matter",
    )


def cmyk_to_rgb(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, str]:
    from PIL import ImageCms

    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if rgb is not None:
                return np.asarray(rgb), "CMYK colours were converted to sRGB with the embedded profile"
        except (ImageCms.PyCMSError, OSError):
            pass
    return np.asarray(image.convert("RGB")), "CMYK colours were converted to RGB without a profile: an approximation"


def undecodable(what: str, error: object) -> InputError:
    """What a decoder's own exception becomes."""
    reason = " ".join(str(error).split())[:120]
    return InputError(f"its {what} data cannot be decoded ({reason}); it may be damaged or truncated, get a fresh copy")
