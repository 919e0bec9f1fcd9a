"""Any diffusers unconditional network as a denoiser."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blinddps.core import ErrorSpectrum, NoiseSchedule, PriorError

from .card import PriorCard
from .process import Process
from .scheduler import Prediction

__all__ = ["DiffusionPrior"]


@dataclass(frozen=True)
class DiffusionPrior:
    """Denoiser ``x0_hat = E[x_0 | x_0 + sigma n = x]`` made from a network that predicts noise, velocity or ``x_0``.

    With ``a = 1 / (1 + sigma^2)`` and ``x_t = sqrt(a) x`` the network's output ``o`` at step ``t(sigma)`` gives

    * ``epsilon``: ``x0_hat = x - sigma o``
    * ``v_prediction``: ``x0_hat = sqrt(a) x_t - sqrt(1 - a) o`` (Salimans & Ho 2022)
    * ``sample``: ``x0_hat = o``

    all of ``z = (x - m) / s`` at level ``sigma / s``, where the network models ``z`` (``m = card.data_mean``,
    ``s = card.data_std``): ``E[x_0 | x] = m + s E[z_0 | z]``.

    The network may work on ``card.pixel_unshuffle`` blocks; sizes that are no multiple of ``card.size_multiple`` are
    reflected at the border and cropped. A one-channel network sees the channels of a colour image one by one; a
    three-channel one sees a grey image three times and its outputs are averaged.

    Args:
        network: called as ``network(x_t, t)``, returns a tensor or an object with ``.sample``; ``(B, C, H, W)``.
        schedule: noise levels of ``x`` that it was trained at: ``s`` times those of the network.
        prediction: what its first ``C`` output channels are; a second ``C`` are the learned variance range.
        card: description of the unknown.
        dtype: of the network's arithmetic (autocast); input and output keep theirs.
        process: of a network of another diffusion, in place of ``prediction``: see :mod:`.process`.
    """

    network: nn.Module
    schedule: NoiseSchedule
    prediction: Prediction
    card: PriorCard
    dtype: torch.dtype = torch.float32
    process: Process | None = None

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @cached_property
    def error_spectrum(self) -> ErrorSpectrum | None:
        """How wrong it is at each level and frequency, if that was measured."""
        return None if self.card.error_spectrum is None else ErrorSpectrum(**self.card.error_spectrum)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> DiffusionPrior:
        """The same prior on ``device`` (its network is moved) with arithmetic in ``dtype``."""
        if device is not None:
            self.network.to(device)
        return replace(self, dtype=dtype or self.dtype)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.denoise_with_variance(x, sigma)[0]

    def denoise_with_variance(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """``(x0_hat, fraction)``: see :class:`blinddps.core.VarianceDenoiser`.

        Raises:
            PriorError: the channels of ``x`` do not fit the prior.
        """
        b, c, h, w = x.shape
        channels = self.card.channels
        if c != channels and channels != 1 and (c, channels) != (1, 3):
            raise PriorError(
                f"prior '{self.card.name}' models {channels} channels, the {self.card.unknown} has {c}; "
                "convert the picture to grey or RGB, or choose another prior"
            )
        folded = channels == 1 and c > 1
        seen = x.reshape(b * c, 1, h, w) if folded else x.expand(-1, channels, -1, -1) if c != channels else x
        level = sigma.repeat_interleave(c) if folded else sigma
        x0_hat, fraction = self._on_blocks(seen, level)

        def back(t: Tensor) -> Tensor:
            return t.reshape(b, c, h, w) if folded else t.mean(1, keepdim=True) if c != channels else t

        return back(x0_hat), None if fraction is None else back(fraction)

    def _on_blocks(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        h, w = x.shape[-2:]
        multiple = math.lcm(self.card.size_multiple, self.card.pixel_unshuffle)
        pad = (-w % multiple, -h % multiple)
        mode = "reflect" if pad[0] < w and pad[1] < h else "replicate"
        padded = F.pad(x, (0, pad[0], 0, pad[1]), mode=mode) if any(pad) else x
        x0_hat, fraction = self._network(F.pixel_unshuffle(padded, self.card.pixel_unshuffle), sigma)
        x0_hat = F.pixel_shuffle(x0_hat, self.card.pixel_unshuffle)[..., :h, :w]
        if fraction is not None:
            fraction = F.pixel_shuffle(fraction, self.card.pixel_unshuffle)[..., :h, :w]
        return x0_hat, fraction

    def _network(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, std = self.card.data_mean, self.card.data_std
        z, s = (x - mean) / std, sigma.to(x.dtype).reshape(-1, 1, 1, 1) / std
        root_a, root_1_a = (1 + s * s).rsqrt(), s * (1 + s * s).rsqrt()
        x_t, step = root_a * z, self.schedule.timestep(sigma)
        if self.process is not None:
            x_t, step = self.process.ask(z, s.flatten())
        if getattr(getattr(self.network, "config", None), "time_embedding_type", None) == "learned":
            step = step.round().long()  # a row of a table
        reduced = self.dtype != torch.float32
        with torch.autocast(x.device.type, self.dtype, enabled=reduced):
            output = self.network(x_t.to(next(self.network.parameters()).dtype), step)
        output = getattr(output, "sample", output).to(x.dtype)
        c = x.shape[1]
        fraction = None
        if output.shape[1] not in (c, 2 * c):
            raise PriorError(
                f"the network of prior '{self.card.name}' gives {output.shape[1]} channels for {c}; "
                "it must give as many, or twice as many with a learned variance"
            )
        if output.shape[1] == 2 * c:
            output, raw = output.chunk(2, dim=1)
            fraction = ((raw + 1) / 2).clamp(0, 1)
        if self.process is not None:
            z0_hat = self.process.answer(z, s.flatten(), output)
        elif self.prediction == "epsilon":
            z0_hat = z - s * output
        elif self.prediction == "v_prediction":
            z0_hat = root_a * x_t - root_1_a * output
        else:
            z0_hat = output
        return mean + std * z0_hat, fraction
