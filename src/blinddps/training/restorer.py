"""The training of a network that restores: pairs made as they are drawn, its loss, and one step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blinddps.baselines.supervised import WRAPPERS, network_of, restorer
from blinddps.core import InputError, generator_for
from blinddps.operators import Blur, Tilt
from blinddps.priors import read_checkpoint
from blinddps.simulate import kernel_set, tilt_set

from .optimisation import Optimisation
from .restorer_config import RestorerConfig

__all__ = ["RestorerOptimisation", "charbonnier", "draws", "measured", "psnr_loss"]

EDGE = 0.05  # weight of the edge loss (MPRNet, equation 1)
SQUARED = 1e-6  # epsilon squared in the Charbonnier loss (there)


def draws(config: RestorerConfig, x0: Tensor, items: Sequence[int]) -> tuple[Tensor, ...]:
    """Of sharp crops ``x0`` ``(B, 3, H, W)`` in [-1, 1]: them, kernels ``(B, 1, h, w)``, standard deviations of the
    noise ``(B,)``, where white is 1, normal noise like ``x0``, tilts ``(B, 2, H, W)`` where there is turbulence (else
    empty), and a uniform number ``(B,)`` for the critics; each from ``(seed, item)``."""
    kernels = [kernel_set(1, config.kernel_size, seed=config.seed, start=i, mixture=config.mixture) for i in items]
    streams = [generator_for(config.seed, "measurement", i) for i in items]
    low, high = config.noise
    sigma = torch.stack([low + (high - low) * torch.rand((), generator=g) for g in streams])
    noise = torch.stack([torch.randn(x0.shape[1:], generator=g) for g in streams])
    grey = (x0 == x0[:, :1]).flatten(1).all(1)[:, None, None, None]
    noise = torch.where(grey, noise[:, :1].expand_as(noise), noise)  # a grey picture's noise is grey
    tilts = torch.empty(len(x0), 0)
    if config.degradation == "turbulence":
        size = x0.shape[-2], x0.shape[-1]
        tilts = torch.cat([tilt_set(1, size, seed=config.seed, start=i, mixture=config.tilts) for i in items])
    share = torch.stack([torch.rand((), generator=generator_for(config.seed, "critic", i)) for i in items])
    return x0, torch.cat(kernels), sigma, noise, tilts, share


def measured(
    config: RestorerConfig, x0: Tensor, kernels: Tensor, sigma: Tensor, noise: Tensor, tilts: Tensor, *_: Tensor
) -> Tensor:
    """Measurements of :func:`draws`, like ``x0``."""
    seen = Tilt(boundary=config.boundary)(image=x0, tilt=tilts) if tilts.numel() else x0
    blurred = Blur(boundary=config.boundary)(image=seen, kernel=kernels)
    return (blurred + 2 * sigma[:, None, None, None] * noise).clamp(-1, 1)


def psnr_loss(found: Tensor, truth: Tensor) -> Tensor:
    """``10 log10(mean squared error + 1e-8)``, the negative PSNR, of each sample ``(B,)``."""
    return 10 * (squared(found, truth) + 1e-8).log10()


def charbonnier(found: Tensor, truth: Tensor) -> Tensor:
    """The mean of ``sqrt(d^2 + 1e-6)``, ``d = found - truth``, and 0.05 times that of its Laplacian, ``(B,)``."""
    difference = found - truth
    taps = difference.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    weight = taps.expand(difference.shape[1], 1, 3, 3)
    edges = F.conv2d(F.pad(difference, (1, 1, 1, 1), mode="replicate"), weight, groups=difference.shape[1])
    both = [(value.square() + SQUARED).sqrt().flatten(1).mean(1) for value in (difference, edges)]
    return both[0] + EDGE * both[1]


def squared(found: Tensor, truth: Tensor) -> Tensor:
    """The mean squared error of each sample ``(B,)``."""
    return (found - truth).square().flatten(1).mean(1)


LOSSES = {"psnr": psnr_loss, "charbonnier": charbonnier, "l2": squared}


class RestorerOptimisation(Optimisation):
    """The same steps, averages and states, of a network that sees a measurement and is compared with the truth."""

    config: RestorerConfig

    def _build(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(self.config.seed)
            return restorer(self.config.network.kind, self.config.network.arguments)

    def start_from(self, prior: str | Path) -> None:
        """Take the weights of a file.

        Raises:
            InputError: the file cannot be read, or its network is another one than the configuration's.
            PriorError: it is no file of weights.
        """
        kind = self.config.network.kind
        given = network_of(kind, read_checkpoint(prior, within=WRAPPERS), f"weights '{prior}'").state_dict()
        ours = self.network.state_dict()
        if {k: v.shape for k, v in given.items()} != {k: v.shape for k, v in ours.items()}:
            raise InputError(
                f"weights '{prior}' are of a {kind} of another size than the configuration's; start from them with a "
                "configuration of the same network"
            )
        self.network.load_state_dict(given)
        self.average = self._copy()

    draws = staticmethod(draws)

    def _losses(self, x0: Tensor, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        _, sigma, *_, share = drawn
        y = measured(self.config, x0, *drawn)
        reduced = self.config.dtype == "bfloat16"
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=reduced):
            found = self.model((y + 1) / 2)
        stages = [stage.float() for stage in (found if isinstance(found, list) else [found])]
        return self._loss(stages, (x0 + 1) / 2, share), sigma

    def _loss(self, stages: list[Tensor], truth: Tensor, share: Tensor) -> Tensor:
        """Of each sample ``(B,)``; the pictures of the stages and the truth are in [0, 1]. ``share`` is drawn."""
        return torch.stack([LOSSES[self.config.loss](stage, truth) for stage in stages]).sum(0)

    def forward_once(self, size: int) -> None:
        self.network(torch.zeros(1, 3, size, size, device=self.device))
