"""``blinddps.json``: what a prior folder says of itself beyond what diffusers records."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CARD_NAME", "PriorCard"]

CARD_NAME = "blinddps.json"


class PriorCard(BaseModel):
    """Description of a prior: which unknown it models, in which range and units, at which sizes.

    ``scale`` is the physical value (pixels of a tilt) of 1 in the range. The network models ``(x - data_mean) /
    data_std``, and so does the pipeline that diffusers makes of the folder: a schedule of unit variance fits values of
    about unit variance (``sigma_data`` of Karras et al. 2022). Solvers begin at zero, so ``data_mean`` should be small
    against ``data_std`` times the highest noise level.
    ``channels`` are the unknown's, before pixel unshuffling; ``sizes`` are the heights (= widths) it was trained at;
    ``any_size`` says that other sizes are in its range too; ``grey`` whether a three-channel network was trained on
    grey pictures whose noise is equal in all channels, as it sees one-channel images (``replicate``), or not
    (``none``). ``error_spectrum`` are the fields of :class:`~blinddps.core.ErrorSpectrum`, measured.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    name: str
    unknown: str
    channels: int = Field(ge=1)
    value_range: tuple[float, float] = (-1.0, 1.0)
    units: str
    scale: float = Field(default=1.0, gt=0)
    data_mean: float = Field(default=0.0, allow_inf_nan=False)
    data_std: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    sizes: tuple[int, ...]
    any_size: bool = False
    pixel_unshuffle: int = Field(default=1, ge=1)
    size_multiple: int = Field(default=1, ge=1)
    grey: Literal["replicate", "none"] = "none"
    error_spectrum: dict[str, Any] | None = None
    licence: str = "unknown"
    training: dict[str, Any] = Field(default_factory=dict)

    def takes(self, height: int, width: int) -> bool:
        """Whether a picture of this size is in its range as it is."""
        return self.any_size or (height == width and height in self.sizes)
