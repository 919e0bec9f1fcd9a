"""What a training run is made of; written to ``config.json`` of the run, read back on ``--resume``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from blinddps.core import InputError, unknown_name

from .restorer_config import RESTORER_RECIPES, RestorerConfig
from .run_config import LINE, RunConfig

__all__ = ["NetworkConfig", "TrainConfig", "configure", "recipe"]


class NetworkConfig(BaseModel):
    """``unet``, a diffusers ``UNet2DModel``: channels per level, residual blocks per level, attention (heads of
    ``head_dim`` channels) at the coarsest level, group normalisation in ``groups``. Or ``residual``, a
    :class:`~blinddps.priors.residual.ResidualUNet`, which has neither attention nor groups. Both see blocks of
    ``pixel_unshuffle`` pixels as channels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["unet", "residual"] = "unet"
    channels: tuple[Annotated[int, Field(ge=1, le=2**14)], ...] = Field(default=(32, 64, 128), min_length=1)
    layers: int = Field(default=1, ge=1, le=64)
    attention: bool = True
    head_dim: PositiveInt = 32
    groups: PositiveInt = 8
    pixel_unshuffle: int = Field(default=1, ge=1, le=64)

    @property
    def size_multiple(self) -> int:
        """What heights and widths must be multiples of: each level but the first halves them."""
        return self.pixel_unshuffle * 2 ** (len(self.channels) - 1)

    @model_validator(mode="after")
    def _divides(self) -> NetworkConfig:
        if len(self.channels) > 10 or self.size_multiple > 1024:
            raise ValueError(
                f"{len(self.channels)} levels on blocks of {self.pixel_unshuffle} pixels need sizes that are multiples "
                "of more than 1024; take fewer levels or smaller blocks"
            )
        if self.kind == "residual":
            return self
        for channels in self.channels:
            if channels % self.groups:
                raise ValueError(f"{channels} channels do not split into {self.groups} groups; choose other groups")
        if self.attention and self.channels[-1] % self.head_dim:
            raise ValueError(
                f"{self.channels[-1]} channels do not split into attention heads of {self.head_dim}; "
                "choose another head_dim or attention = false"
            )
        return self


class TrainConfig(RunConfig):
    """All settings of a run that trains a prior. Noise levels as in Karras et al.
    2022: ``log sigma ~ N(p_mean, p_std^2)``, a share ``uniform_share`` uniform in the schedule's step instead. The
    network models ``(x_0 - data_mean) / data_std``, and ``sigma`` is the noise of that. ``weighting`` of a sample's
    loss by its level, with ``SNR = 1 / sigma^2``: ``min_snr`` that of Hang et al. 2023, ``min(SNR, 5)`` of the error of
    ``x0_hat``; ``none`` of the network's own target. Of an image prior ``generator`` makes the pictures: ``text``, with
    the fonts in ``data`` or those of the system, or ``stars``; a run goes on exactly with the same fonts."""

    unknown: Literal["kernel", "image", "tilt"]
    channels: int = Field(default=3, ge=1, le=1024)
    any_size: bool = False
    generator: Literal["none", "text", "stars"] = "none"
    mixture: dict[str, float] = Field(default={"motion": 5 / 6, "gaussian": 1 / 6})
    network: NetworkConfig = NetworkConfig()
    prediction: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    weighting: Literal["none", "min_snr"] = "none"
    p_mean: float = -0.4
    p_std: float = Field(default=1.4, gt=0)
    uniform_share: float = Field(default=0.2, ge=0, le=1)
    units: str = Field(default="[-1, 1]", min_length=1, max_length=500, pattern=LINE)
    scale: float = Field(default=1.0, ge=1e-6, le=1e6, description="physical value of 1 in the prior's range")
    data_mean: float = Field(default=0.0, ge=-1e3, le=1e3)
    data_std: float = Field(default=1.0, ge=1e-3, le=1e2)

    @property
    def size_multiple(self) -> int:
        return self.network.size_multiple

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.unknown == "kernel" and self.channels != 1:
            raise ValueError(f"a kernel has one channel, not {self.channels}; set channels = 1")
        if self.unknown == "tilt" and (self.channels != 2 or self.data):
            raise ValueError(
                f"a tilt has two channels, not {self.channels}, and no data; set channels = 2, leave data out"
            )
        if self.sources and self.unknown != "image":
            raise ValueError(f"sources are of pictures, which a {self.unknown} prior has none of; leave them out")
        if self.generator != "none":
            self._generated()
        elif self.unknown == "image" and not self.data:
            raise ValueError("an image prior needs data: give a folder or a tar of images")
        return self

    def _generated(self) -> None:
        if self.unknown != "image" or self.channels != 1:
            raise ValueError(f"generator {self.generator} makes grey images; set unknown = image and channels = 1")
        if self.generator == "stars" and self.data:
            raise ValueError("stars are made by the package, and need no data; leave data out")
        if self.sources:
            raise ValueError(f"sources are of pictures, and generator {self.generator} reads none; leave them out")


def configure(settings: Mapping[str, Any]) -> TrainConfig | RestorerConfig:
    """``TrainConfig(**settings)``, or ``RestorerConfig`` where ``unknown`` is ``restorer``, with what is wrong told in
    one sentence.

    Raises:
        InputError: an unknown or missing setting, or a value out of its range.
    """
    kind = RestorerConfig if settings.get("unknown") == "restorer" else TrainConfig
    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        *parents, field = [str(part) for part in first["loc"]] or [""]
        if first["type"] == "extra_forbidden":
            inner = kind.model_fields[parents[0]].annotation if parents else kind
            known = getattr(inner, "model_fields", kind.model_fields)
            raise InputError(unknown_name("training setting", field, known)) from None
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            message = "it is missing; add it"
        elif first["type"] == "int_parsing_size":
            message = "it has too many digits; give a smaller number"
        where = f"setting {'.'.join([*parents, field])} does" if first["loc"] else "settings do"  # of one or of several
        raise InputError(f"training {where} not fit: {message[:1].lower()}{message[1:]}") from None


def recipe(name: str) -> dict[str, object]:
    """Settings of the shipped priors, and of networks that restore; anything can be overridden. Chosen for two CPU
    cores. What a prior's own runs had beside these (steps, rates, levels of later runs) is in its model card.

    Raises:
        InputError: no recipe has this name.
    """
    generated: dict[str, object] = {
        "unknown": "image",
        "channels": 1,
        "any_size": True,
        "flip": False,
        "network": NetworkConfig(kind="residual", channels=(32, 48, 64), layers=2, attention=False, pixel_unshuffle=2),
        "batch_size": 8,
        "learning_rate": 1e-3,
        "ema": 0.9995,
        "uniform_share": 0.1,
    }
    recipes: dict[str, dict[str, object]] = {
        **RESTORER_RECIPES,
        "kernel": {
            "unknown": "kernel",
            "channels": 1,
            "sizes": (16, 32, 48, 64),
            "size_weights": (0.2, 0.6, 0.05, 0.15),
            "any_size": True,
            "flip": False,
            "mixture": {"motion": 0.65, "gaussian": 0.25, "defocus": 0.1},
            "network": NetworkConfig(channels=(32, 64, 128), layers=1),
            "batch_size": 16,
            "units": "2 k / max(k) - 1",
            "data_mean": -0.88,
            "data_std": 0.41,
        },
        "tilt": {
            "unknown": "tilt",
            "channels": 2,
            "sizes": (64, 128, 256),
            "size_weights": (0.5, 0.48, 0.02),
            "any_size": True,
            "flip": False,
            "mixture": {"patch": 0.5, "atmospheric": 0.5},
            "network": NetworkConfig(channels=(32, 48, 64), layers=1, pixel_unshuffle=2),
            "batch_size": 16,
            "units": "pixels / scale",
            "scale": 8.0,  # one field of the generators in a hundred reaches 5 px
            "data_std": 0.09,
        },
        "faces-128": {
            "unknown": "image",
            "sizes": (128,),
            "grey_share": 0.1,
            "network": NetworkConfig(channels=(32, 64, 128, 192), layers=1, pixel_unshuffle=2),
            "batch_size": 16,
            "data_std": 0.5,
            "p_mean": -0.6,
        },
        "photos": {
            "unknown": "image",
            "sizes": (96,),
            "any_size": True,
            "random_scale": 0.3,
            "grey_share": 0.2,
            "network": NetworkConfig(
                kind="residual", channels=(64, 96, 128, 128), layers=2, attention=False, pixel_unshuffle=2
            ),
            "batch_size": 8,
            "learning_rate": 6e-4,
            "data_std": 0.5,
            "p_mean": -1.3,
            "p_std": 1.2,
            "uniform_share": 0.1,
        },
        "text": generated
        | {
            "generator": "text",
            "sizes": (64, 96, 128),
            "size_weights": (0.4, 0.4, 0.2),
            "data_std": 0.5,
            "p_mean": -1.1,
            "p_std": 1.3,
        },
        "stars": generated
        | {
            "generator": "stars",
            "sizes": (64, 96),
            "size_weights": (0.8, 0.2),
            "data_mean": -0.75,
            "data_std": 0.3,
            "p_mean": -1.8,
            "p_std": 1.6,
        },
    }
    if name not in recipes:
        raise InputError(unknown_name("training recipe", name, recipes))
    return recipes[name] | {"name": name}
