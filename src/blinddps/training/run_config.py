"""What every training run is told, whatever it trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

__all__ = ["LINE", "RunConfig"]

LINE = r"^[^\x00-\x1f\x7f]+$"


class RunConfig(BaseModel):
    """Data, steps and how they are recorded. ``sizes`` are drawn per step with ``size_weights``.

    ``sources`` are CSV files of the pictures' licences (columns ``file``, ``licence``, ``url``, ``repo``). Pictures of
    a licence that ``leave_out`` names are not read; whose the others are stands in ``ATTRIBUTION.md`` of what is
    trained. ``tensorboard`` also writes the log for TensorBoard (extra ``train``). A step's batch goes through the
    network in ``accumulate`` parts, whose gradients are added: for batches that a GPU has no room for. ``compile``
    gives the network to ``torch.compile``. ``loader_workers`` processes make batches ahead of their steps; none: the
    steps do."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")
    data: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    sizes: tuple[Annotated[int, Field(ge=1, le=2**16)], ...] = Field(default=(64,), min_length=1, max_length=1000)
    size_weights: tuple[float, ...] = ()
    random_scale: float = Field(default=1.0, gt=0, le=1, description="smallest scale a picture is reduced to first")
    flip: bool = True
    grey_share: float = Field(default=0.0, ge=0, le=1)
    steps: PositiveInt = 100_000
    batch_size: PositiveInt = 16
    accumulate: PositiveInt = 1
    compile: bool = False
    loader_workers: int = Field(default=0, ge=0, le=256)
    learning_rate: float = Field(default=4e-4, gt=0)
    warmup: PositiveInt = 200
    decay_steps: int = Field(default=0, ge=0, description="the rate falls to zero over the last so many steps")
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    ema: float = Field(default=0.999, ge=0, lt=1)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int = 0
    log_every: PositiveInt = 50
    save_every: PositiveInt = 250
    sample_every: PositiveInt = 2000
    tensorboard: bool = False
    licence: str = Field(default="unknown", min_length=1, max_length=500, pattern=LINE)

    @property
    def size_multiple(self) -> int:
        """What heights and widths must be multiples of."""
        return 1

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        for size in self.sizes:
            if size % self.size_multiple:
                raise ValueError(
                    f"size {size} is no multiple of {self.size_multiple}, which the network's levels need; give one "
                    "that is"
                )
        if self.size_weights and len(self.size_weights) != len(self.sizes):
            raise ValueError(f"{len(self.size_weights)} size_weights for {len(self.sizes)} sizes; give one for each")
        if self.size_weights and (min(self.size_weights) < 0 or sum(self.size_weights) <= 0):
            raise ValueError(f"size_weights {self.size_weights} must not be negative and not all zero")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} does not split into accumulate = {self.accumulate} parts")
        if self.leave_out and not self.sources:
            raise ValueError("leave_out needs sources, tables that tell each picture's licence")
        return self

    @property
    def main_size(self) -> int:
        """The size most steps have."""
        weights = self.size_weights or (1.0,) * len(self.sizes)
        return self.sizes[weights.index(max(weights))]
