"""One optimisation step, and the state it changes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blinddps.core import InputError, generator_for, linear_schedule
from blinddps.priors import load_prior

from .network import build_network, draws, losses
from .run_config import RunConfig

__all__ = ["Optimisation", "learning_rate", "size_of_step", "update_average"]


COMPILER = "inductor"  # of torch.compile


class Optimisation:
    """Network, running average of its weights, and optimizer (AdamW), after ``step`` steps.

    The average ``w <- d w + (1 - d) network`` has ``d = min(ema, (1 + step) / (10 + step))``, so that it forgets the
    initial weights soon. Gradients are clipped to norm 1. ``draws(config, x0, items)`` is what :meth:`advance` takes.
    """

    config: Any
    draws: Callable[[Any, Tensor, Sequence[int]], tuple[Tensor, ...]] = staticmethod(draws)

    def __init__(self, config: RunConfig, device: str = "cpu") -> None:
        self.config, self.device, self.step = config, device, 0
        self.schedule = linear_schedule()
        network = self._build()
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model: nn.Module = self.network
        self._compile()
        self.average = self._copy()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )

    def _build(self) -> nn.Module:
        config = self.config
        return build_network(config.network, config.channels, config.main_size, seed=config.seed)

    def _compile(self) -> None:
        if self.config.compile:
            self.model = torch.compile(self.model, backend=COMPILER)  # type: ignore[assignment]

    def _losses(self, x0: Tensor, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and noise level of each sample, ``(B,)``."""
        sigma, noise = drawn
        return losses(self.model, self.config, self.schedule, x0, sigma, noise)

    def forward_once(self, size: int) -> None:
        """One sample of ``size`` through the network, to be counted."""
        block = self.config.network.pixel_unshuffle
        shape = (1, self.config.channels * block**2, size // block, size // block)
        self.network(torch.zeros(shape, device=self.device), torch.zeros(1, device=self.device))

    def start_from(self, prior: str | Path) -> None:
        """Take the weights of a prior folder, or of a shipped prior by name.

        Its ``data_mean`` and ``data_std`` may be others: a warning says that the weights are then a start at which the
        loss is high, though a better one than none (``benchmarks/studies/prior_design.txt``).

        Raises:
            PriorError: there is no such prior.
            InputError: its network or what it predicts is another than the configuration's.
        """
        loaded = load_prior(prior)
        ours, theirs = _plain_config(self.network), _plain_config(loaded.network)
        ours["prediction"], theirs["prediction"] = self.config.prediction, loaded.prediction
        for key in ours.keys() & theirs.keys():
            if ours[key] != theirs[key]:
                raise InputError(
                    f"prior '{prior}' has {key} = {theirs[key]}, the configuration {ours[key]}; "
                    "start from it with a configuration of the same network"
                )
        values, wanted = ((c.data_mean, c.data_std) for c in (loaded.card, self.config))
        if values != wanted:
            warnings.warn(
                f"prior '{prior}' models values of data_mean, data_std = {values}, the configuration of {wanted}; its "
                "weights are a start at which the loss is high",
                stacklevel=3,
            )
        self.network.load_state_dict(loaded.network.state_dict())
        self.average = self._copy()

    def distribute(self) -> None:
        """Average the gradients over all processes from now on."""
        self.model = nn.parallel.DistributedDataParallel(self.network)
        self._compile()

    def advance(self, batch: Sequence[Tensor]) -> tuple[Tensor, float, float]:
        """One step on a batch, see ``draws``, in ``accumulate`` parts; returns ``(2, B)`` losses and noise levels of
        the samples, learning rate, gradient norm.

        Raises:
            InputError: the gradient is not finite; weights, average and optimizer are as before.
        """
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        parts = list(zip(*(values.chunk(self.config.accumulate) for values in batch), strict=True))
        told = []
        for number, part in enumerate(parts, 1):
            with self._alone() if number < len(parts) else nullcontext():
                per_sample, sigma = self._losses(*(values.to(self.device, non_blocking=True) for values in part))
                (per_sample.sum() / len(batch[0])).backward()
            told.append(torch.stack([per_sample.detach(), sigma]))
        rows = torch.cat(told, dim=1)
        norm = self._clipped(self.network, rows[0])
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.network, min(self.config.ema, (1 + self.step) / (10 + self.step)))
        return rows, rate, norm

    def _clipped(self, network: nn.Module, loss: Tensor) -> float:
        """The norm of the gradient, which is clipped to 1."""
        norm = float(nn.utils.clip_grad_norm_(network.parameters(), 1.0))
        if not norm < float("inf"):
            raise InputError(
                f"the gradient became {norm} at step {self.step + 1} (loss {float(loss.mean()):.4g}); lower "
                f"learning_rate ({self.config.learning_rate}) and begin a new run, from the last saved prior if you "
                "like: what was saved is whole"
            )
        return norm

    def _alone(self) -> AbstractContextManager[Any]:
        """Within it gradients are not sent to the other processes: the last part sends the sum."""
        inner = getattr(self.model, "_orig_mod", self.model)
        return inner.no_sync() if isinstance(inner, nn.parallel.DistributedDataParallel) else nullcontext()

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self.average = {k: v.to(self.device) for k, v in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _copy(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.network.state_dict().items()}


def learning_rate(config: RunConfig, step: int) -> float:
    """Linear warm-up over ``warmup`` steps, constant, then linear decay to zero over the last ``decay_steps``."""
    rate = config.learning_rate * min(1.0, (step + 1) / config.warmup)
    if config.decay_steps:
        rate *= min(1.0, (config.steps - step) / config.decay_steps)
    return rate


def size_of_step(config: RunConfig, step: int) -> int:
    """The size of all items of a step, drawn with ``size_weights`` from ``(seed, step)``."""
    if len(config.sizes) == 1:
        return config.sizes[0]
    weights = torch.tensor(config.size_weights or [1.0] * len(config.sizes))
    return config.sizes[int(torch.multinomial(weights, 1, generator=generator_for(config.seed, "size", step)))]


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """``average <- decay average + (1 - decay) weights``, in place."""
    for key, value in network.state_dict().items():
        average[key].lerp_(value, 1 - decay)


def _plain_config(network: nn.Module) -> dict[str, Any]:
    """The diffusers configuration that decides the function a network computes (its lists may be tuples)."""
    config = dict(network.config)  # type: ignore[arg-type]  # a diffusers FrozenDict
    return {"class": type(network).__name__} | {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in config.items()
        if not key.startswith("_") and key != "sample_size"
    }
