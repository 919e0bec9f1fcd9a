"""A prior from a network and a scheduler, wherever these come from, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from blinddps.core import InputError, PriorError, unknown_name

from .card import CARD_NAME, PriorCard
from .diffusion import DiffusionPrior
from .process import OTHERS, read_other
from .scheduler import Prediction, beta_config, read_scheduler

__all__ = ["card_of", "checked_card", "prior_of", "scheduler_of"]


def prior_of(
    network: nn.Module, scheduler: dict[str, Any], card: PriorCard, folder: Path, dtype: torch.dtype = torch.float32
) -> DiffusionPrior:
    """The prior of a diffusers network, which stays where it is.

    Args:
        network: with ``config``, as diffusers' models have.
        scheduler: configuration of the scheduler, ``_class_name`` included.
        card: what it models.
        folder: what messages call it.
        dtype: of its arithmetic.

    Raises:
        PriorError: a scheduler that states no noise schedule, a card that is of another network, or a range other
            than [-1, 1].
    """
    if card.value_range != (-1.0, 1.0):
        raise PriorError(
            f"prior '{folder}' has value_range {card.value_range}; only priors of values in (-1, 1) are supported"
        )
    process = None
    if str(scheduler.get("_class_name")) in OTHERS:
        schedule, process = read_other(scheduler, folder)
        prediction: Prediction = "sample"
    else:
        schedule, prediction = read_scheduler(scheduler, folder)
    shape: Any = network.config
    _check_size(shape.get("sample_size"), folder)
    if card.data_std != 1 and shape["out_channels"] != shape["in_channels"]:
        raise PriorError(
            f"prior '{folder}' has a learned variance and data_std {card.data_std:g}, whose bounds would not fit; "
            "only one of the two is supported"
        )
    try:
        levels = schedule.scaled(card.data_std)
    except InputError as error:
        raise PriorError(f"prior '{folder}' has data_std {card.data_std:g}, too far from 1 ({error})") from None
    return DiffusionPrior(network, levels, prediction, card, dtype, process)


def _check_size(told: Any, folder: Path) -> None:
    """Refuse a network's ``sample_size`` that is none; which sizes the prior takes, its card says."""
    sides = told if isinstance(told, list | tuple) else [told]
    if told is None:
        return
    if len(sides) > 2 or not sides or not all(type(side) is int and side > 0 for side in sides):
        raise PriorError(f"prior network '{folder / 'unet'}' has sample_size {told!r}, which is no size; get it again")


def scheduler_of(prior: DiffusionPrior) -> Any:
    """diffusers' ``DDPMScheduler`` with the network's noise levels and prediction.

    Raises:
        PriorError: its diffusion is not the variance-preserving one.
    """
    from diffusers import DDPMScheduler

    if prior.process is not None:
        raise PriorError(
            f"prior '{prior.card.name}' is of another diffusion than the variance-preserving one; copy its folder"
        )
    schedule = prior.schedule.scaled(1 / prior.card.data_std)  # the network's own
    config: Any = prior.network.config
    return DDPMScheduler(
        num_train_timesteps=len(schedule),
        prediction_type=prior.prediction,
        variance_type="learned_range" if config.out_channels == 2 * config.in_channels else "fixed_small",
        **beta_config(schedule),
    )


def checked_card(fields: Mapping[str, Any], called: object) -> PriorCard:
    """A card of what ``called`` holds.

    Raises:
        PriorError: a field that is missing, unknown or out of its range.
    """
    try:
        return PriorCard.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        said = " ".join(first["msg"].removeprefix("Value error, ").split())
        if first["type"] == "extra_forbidden":
            said = unknown_name("field", field, PriorCard.model_fields)
        if first["type"] == "missing":
            said = "it is missing"
        raise PriorError(
            f"{called} is not a valid prior description: field '{field}': {said}; mend it or get the folder again"
        ) from None


def card_of(config: Mapping[str, Any], scheduler: Any, name: str, folder: Path, unknown: str = "image") -> PriorCard:
    """What a network's own ``config`` and the class name of its ``scheduler`` tell of a prior without a card.

    Raises:
        PriorError: pictures that are not square, or in [0, 1] before the network; sizes that are none.
    """
    size = config.get("sample_size") or 64
    height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
    if height != width:
        raise PriorError(
            f"prior '{folder}' was trained on pictures that are not square (sample_size {height} x {width}), which "
            f"only a {CARD_NAME} beside it can describe; add one with any_size true if it fits other sizes"
        )
    halves = scheduler == "ScoreSdeVeScheduler"  # whose pipeline has pictures in [0, 1], centred in the network or not
    if config.get("center_input_sample") and not halves:
        raise PriorError(
            f"prior '{folder}' has center_input_sample in its network, so its pictures are in [0, 1]; only priors of "
            "values in [-1, 1] are supported"
        )
    try:
        return PriorCard(
            name=name,
            unknown=unknown,
            channels=int(config.get("in_channels") or 3),
            units="[-1, 1]",
            data_mean=-1.0 if halves else 0.0,
            data_std=2.0 if halves else 1.0,
            sizes=(int(height),),
            size_multiple=2 ** (len(config.get("block_out_channels") or [0]) - 1),
        )
    except (LookupError, TypeError, ValueError, OverflowError):
        raise PriorError(
            f"prior network '{folder / 'unet'}' has in_channels, sample_size or block_out_channels that are no numbers "
            "above zero, or too large; get the folder again"
        ) from None
