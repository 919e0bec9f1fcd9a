"""``blinddps.json``: what a prior folder says of itself beyond what diffusers records."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from blinddps.core import ErrorSpectrum, InputError

__all__ = ["CARD_NAME", "PriorCard"]

CARD_NAME = "blinddps.json"

_Words = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]  # one line, for messages


class PriorCard(BaseModel):
    """Description of a prior: which unknown it models, in which range and units, at which sizes.

    ``scale`` is the physical value (pixels of a tilt) of 1 in the range. The network models ``(x - data_mean) /
    data_std``, and so does the pipeline that diffusers makes of the folder: a schedule of unit variance fits values of
    about unit variance (``sigma_data`` of Karras et al. 2022). Solvers begin at zero, so ``data_mean`` should be small
    against ``data_std`` times the highest noise level.
    ``channels`` are the unknown's, before pixel unshuffling; ``sizes`` are the heights (= widths) it was trained at;
    ``any_size`` says that other sizes are in its range too; ``grey`` whether a three-channel network was trained on
    grey pictures whose noise is equal in all channels, as it sees one-channel images (``replicate``), or not
    (``none``). ``licence`` says for what it may be used, then by which terms or for which data:
    ``any use (Apache-2.0, generated data)``. ``error_spectrum`` are the fields of
    :class:`~blinddps.core.ErrorSpectrum`, measured.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    name: _Words
    unknown: _Words
    channels: int = Field(ge=1, le=1024)
    value_range: tuple[float, float] = (-1.0, 1.0)
    units: _Words
    scale: float = Field(default=1.0, ge=1e-6, le=1e6)
    data_mean: float = Field(default=0.0, ge=-1e3, le=1e3)
    data_std: float = Field(default=1.0, ge=1e-3, le=1e2)
    sizes: tuple[Annotated[int, Field(ge=1, le=2**16)], ...] = Field(min_length=1, max_length=1000)
    any_size: bool = False
    pixel_unshuffle: int = Field(default=1, ge=1, le=64)
    size_multiple: int = Field(default=1, ge=1, le=1024)
    grey: Literal["replicate", "none"] = "none"
    error_spectrum: dict[str, Any] | None = None
    licence: _Words = "unknown"
    training: dict[str, Any] = Field(default_factory=dict)

    @field_validator("error_spectrum")
    @classmethod
    def _fits(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            try:
                ErrorSpectrum(**value)
            except InputError:
                raise
            except (TypeError, ValueError, RuntimeError, OverflowError) as error:
                raise ValueError(
                    f"it is no table of an error spectrum ({' '.join(str(error).split())[:100]})"
                ) from None
        return value

    def takes(self, height: int, width: int) -> bool:
        """Whether a picture of this size is in its range as it is."""
        return self.any_size or (height == width and height in self.sizes)
