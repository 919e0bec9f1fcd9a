"""What the training of a network that restores is made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from .run_config import RunConfig

__all__ = ["RESTORER_RECIPES", "Adversary", "RestorerConfig", "RestorerNetwork"]

_Count = Annotated[int, Field(ge=0, le=256)]


class RestorerNetwork(BaseModel):
    """``nafnet``: ``width``, and blocks in ``encoders``, ``middle``, ``decoders``. ``mprnet``: ``width``, ``wider``,
    ``last``, ``blocks``, ``reduction``. ``deblurganv2``: ``width``, ``backbone``, ``filters``, ``depths``.
    ``tsr-wgan``: ``width``, ``levels``. See :mod:`blinddps.baselines.supervised`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["nafnet", "mprnet", "deblurganv2", "tsr-wgan"] = "nafnet"
    width: int = Field(default=32, ge=1, le=1024)
    encoders: tuple[_Count, ...] = Field(default=(1, 1, 1, 28), min_length=1, max_length=8)
    middle: _Count = 1
    decoders: tuple[_Count, ...] = Field(default=(1, 1, 1, 1), min_length=1, max_length=8)
    wider: int = Field(default=48, ge=0, le=1024)
    last: int = Field(default=32, ge=0, le=1024)
    blocks: int = Field(default=8, ge=1, le=64)
    reduction: PositiveInt = 4
    backbone: Literal["inception", "mobilenet"] = "inception"
    filters: int = Field(default=128, ge=2, le=1024)
    depths: tuple[_Count, _Count] = (10, 20)
    levels: int = Field(default=3, ge=1, le=8)

    @model_validator(mode="after")
    def _fits(self) -> RestorerNetwork:
        if len(self.encoders) != len(self.decoders):
            raise ValueError(f"{len(self.encoders)} encoders and {len(self.decoders)} decoders; give as many of each")
        if self.kind == "mprnet" and self.width < self.reduction:
            raise ValueError(f"a width of {self.width} is less than reduction, {self.reduction}; give a larger one")
        return self

    @property
    def size_multiple(self) -> int:
        """What heights and widths must be multiples of."""
        halved = {"nafnet": len(self.encoders), "mprnet": 3, "deblurganv2": 5, "tsr-wgan": self.levels}
        return 2 ** halved[self.kind]

    @property
    def least(self) -> int:
        """What heights and widths must at least be."""
        return {"inception": 128, "mobilenet": 64}[self.backbone] if self.kind == "deblurganv2" else 1

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the network."""
        names = {
            "nafnet": ("encoders", "middle", "decoders"),
            "mprnet": ("wider", "last", "blocks", "reduction"),
            "deblurganv2": ("backbone", "filters", *(["depths"] if self.backbone == "inception" else [])),
            "tsr-wgan": ("levels",),
        }
        return {name: getattr(self, name) for name in ("width", *names[self.kind])}


class Adversary(BaseModel):
    """What a generator is trained against.

    ``ragan-ls``: relativistic least squares (Kupyn et al. 2019); ``wgan-gp``: Wasserstein distance, with ``penalty``
    times the penalty of the critic's slope (Gulrajani et al. 2017); ``none``: the loss alone. ``critics`` see patches,
    or (``double``) patches and nearly the whole. The generator's loss is ``content`` times the loss, ``perceptual``
    times the mean squared error of VGG-19's features (``conv3_3``) and ``weight`` times what the critics say.

    ``features``: torchvision's file of VGG-19's weights. Without it the loss has no perceptual part.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["none", "ragan-ls", "wgan-gp"] = "none"
    critics: Literal["single", "double"] = "double"
    width: int = Field(default=64, ge=1, le=1024)
    weight: float = Field(default=0.01, ge=0)
    content: float = Field(default=0.5, ge=0)
    perceptual: float = Field(default=0.006, ge=0)
    features: str | None = None
    penalty: float = Field(default=10.0, ge=0)


class RestorerConfig(RunConfig):
    """All settings of a run that trains a network to restore.

    Sharp crops ``x`` are blurred and made noisy as they are drawn: ``y = k * x + n``, clipped to [0, 1], the kernel of
    the ``mixture`` on ``kernel_size`` pixels, outside ``boundary``, noise of a standard deviation uniform in ``noise``
    (white is 1). With ``degradation`` of ``turbulence`` they are moved by a tilt of ``tilts`` first,
    ``y = k * T_phi(x) + n``. All of it is a function of the seed and the item.

    ``loss``: ``psnr``, ``10 log10`` of the mean squared error (NAFNet); ``charbonnier``, the mean of
    ``sqrt(d^2 + 1e-6)`` and 0.05 times that of the Laplacian of ``d``, summed over the stages (MPRNet, equation 1);
    ``l2``, the mean squared error (DeblurGAN-v2). ``adversary`` adds a critic's.
    """

    unknown: Literal["restorer"]
    channels: Literal[3] = 3
    network: RestorerNetwork = RestorerNetwork()
    degradation: Literal["blur", "turbulence"] = "blur"
    mixture: dict[str, float] = Field(default={"motion": 0.5, "gaussian": 0.5})
    kernel_size: int = Field(default=33, ge=3, le=255)
    boundary: Literal["circular", "zero", "replicate", "reflect"] = "replicate"
    noise: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 0.02)
    tilts: dict[str, float] = Field(default={"patch": 0.5, "atmospheric": 0.5})
    loss: Literal["psnr", "charbonnier", "l2"] = "psnr"
    adversary: Adversary = Adversary()
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.9)
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def size_multiple(self) -> int:
        return self.network.size_multiple

    @model_validator(mode="after")
    def _data(self) -> RestorerConfig:
        if not self.data:
            raise ValueError("a restorer needs data: give a folder or a tar of sharp images")
        if self.kernel_size > min(self.sizes):
            raise ValueError(f"kernel_size {self.kernel_size} is larger than crops of {min(self.sizes)}; give less")
        if min(self.sizes) < self.network.least:
            raise ValueError(f"crops of {min(self.sizes)} are too small; this backbone needs {self.network.least}")
        if self.noise[0] > self.noise[1]:
            raise ValueError(f"noise from {self.noise[0]:g} to {self.noise[1]:g}; give the smaller one first")
        return self


# steps and rates as published where a CPU does not forbid it; published batches are 32 and 16, of crops of 256
RESTORER_RECIPES: dict[str, dict[str, object]] = {
    "nafnet": {
        "unknown": "restorer",
        "sizes": (128,),
        "network": RestorerNetwork(kind="nafnet"),
        "loss": "psnr",
        "betas": (0.9, 0.9),
        "learning_rate": 1e-3,
        "weight_decay": 1e-3,
        "steps": 200_000,
        "decay_steps": 200_000,
        "batch_size": 8,
    },
    "mprnet": {
        "unknown": "restorer",
        "sizes": (128,),
        "network": RestorerNetwork(kind="mprnet", width=96),
        "loss": "charbonnier",
        "betas": (0.9, 0.999),
        "learning_rate": 2e-4,
        "steps": 400_000,
        "decay_steps": 400_000,
        "batch_size": 4,
    },
    "deblurganv2": {
        "unknown": "restorer",
        "sizes": (128,),
        "network": RestorerNetwork(kind="deblurganv2"),
        "loss": "l2",
        "adversary": Adversary(kind="ragan-ls"),
        "betas": (0.9, 0.999),
        "learning_rate": 1e-4,
        "steps": 300_000,
        "decay_steps": 150_000,
        "batch_size": 1,
    },
    "tsr-wgan": {
        "unknown": "restorer",
        "sizes": (128,),
        "network": RestorerNetwork(kind="tsr-wgan", width=64),
        "degradation": "turbulence",
        "mixture": {"gaussian": 1.0},
        "loss": "charbonnier",
        "adversary": Adversary(kind="wgan-gp", critics="single", content=1.0, perceptual=0.0),
        "betas": (0.9, 0.999),
        "learning_rate": 1e-4,
        "steps": 200_000,
        "decay_steps": 100_000,
        "batch_size": 4,
    },
}
