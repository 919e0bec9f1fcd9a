"""Noise levels of a discrete variance-preserving diffusion, in the coordinate ``u = x_t / sqrt(alpha_bar)``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import InputError

__all__ = ["NoiseSchedule", "ancestral_step", "linear_schedule"]


@dataclass(frozen=True)
class NoiseSchedule:
    """``alpha_bar`` of a diffusion with ``N`` steps, decreasing, each in (0, 1).

    ``sigma_i = sqrt((1 - alpha_bar_i) / alpha_bar_i)`` is the noise-to-signal ratio of step ``i``.
    """

    alpha_bar: Tensor

    def __post_init__(self) -> None:
        a = torch.as_tensor(self.alpha_bar, dtype=torch.float64).detach().cpu()
        if a.ndim != 1 or a.numel() < 1 or not bool(((a > 0) & (a < 1)).all()) or not bool((a.diff() < 0).all()):
            raise InputError(
                f"alpha_bar of shape {tuple(a.shape)} is not a noise schedule; give values in (0, 1) that decrease"
            )
        object.__setattr__(self, "alpha_bar", a)

    def __len__(self) -> int:
        return self.alpha_bar.numel()

    @property
    def sigmas(self) -> Tensor:
        """``(N,)`` noise levels, increasing with ``i``."""
        return ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    def scaled(self, factor: float) -> NoiseSchedule:
        """The schedule whose levels are ``factor`` times these: of ``factor x``, where this one is that of ``x``."""
        return self if factor == 1 else NoiseSchedule(1 / (1 + (factor * self.sigmas) ** 2))

    def levels(self, num_steps: int, highest: float | None = None) -> Tensor:
        """``(num_steps + 1,)`` decreasing levels: ``num_steps`` of the ``N``, evenly spaced in ``i``, then 0.

        Both ends of the schedule are kept; a single step starts at the highest level. With ``highest`` only the part of
        the schedule up to that level is used, with levels between the schedule's own where there are too few.

        Raises:
            InputError: ``highest`` is below the lowest level, or ``num_steps`` is not in 1 ... N.
        """
        n = len(self)
        if not 1 <= num_steps <= n:
            raise InputError(f"num_steps is {num_steps}; the prior's schedule has {n} steps, so give 1 to {n}")
        zero = torch.zeros(1, dtype=torch.float64)
        if highest is None:
            index = torch.linspace(n - 1, 0, num_steps, dtype=torch.float64).round().long()
            return torch.cat([self.sigmas[index], zero])
        if not highest > float(self.sigmas[0]):
            lowest = float(self.sigmas[0])
            raise InputError(f"start_sigma is {highest:g}; the prior's lowest noise level is {lowest:.3g}, give more")
        top = float(self.timestep(torch.tensor([highest]))[0])
        place = torch.linspace(top, 0, num_steps, dtype=torch.float64)
        low = place.floor().long().clamp_max(n - 2)
        table = self.sigmas.log()
        return torch.cat([torch.lerp(table[low], table[low + 1], place - low).exp(), zero])

    def spaced(self, num_steps: int, highest: float = 20.0, lowest: float = 0.02, rho: float = 7.0) -> Tensor:
        """``(num_steps + 1,)`` levels, ``sigma^(1 / rho)`` falling evenly, then 0 (Karras et al. 2022, eq. 5).

        ``highest`` and ``lowest`` are held to the schedule's own ends.

        Raises:
            InputError: ``num_steps`` is not in 1 ... N.
        """
        n = len(self)
        if not 1 <= num_steps <= n:
            raise InputError(f"num_steps is {num_steps}; the prior's schedule has {n} steps, so give 1 to {n}")
        low, high = float(self.sigmas[0]), float(self.sigmas[-1])
        top = min(max(highest, low), high)
        place = torch.linspace(0, 1, num_steps, dtype=torch.float64)
        ends = top ** (1 / rho), min(max(lowest, low), top) ** (1 / rho)
        return torch.cat([(ends[0] + place * (ends[1] - ends[0])) ** rho, place.new_zeros(1)])

    def timestep(self, sigma: Tensor) -> Tensor:
        """Fractional index at which the schedule has level ``sigma``: linear in ``log sigma``, held at the ends."""
        table = self._table(sigma.device)
        value = sigma.to(torch.float32).clamp_min(1e-12).log()
        hi = (
            torch.searchsorted(table, value).clamp(1, len(self) - 1)
            if len(self) > 1
            else torch.zeros_like(value).long()
        )
        lo = (hi - 1).clamp_min(0)
        gap = (table[hi] - table[lo]).clamp_min(1e-12)
        return (lo + (value - table[lo]) / gap).clamp(0, len(self) - 1)

    def _table(self, device: torch.device) -> Tensor:
        """``log sigma`` in float32 on ``device``, put there once."""
        tables: dict[torch.device, Tensor] = self.__dict__.setdefault("_tables", {})
        if device not in tables:
            with torch.inference_mode(False):  # it is kept, and may meet gradients later
                tables[device] = self.sigmas.log().float().to(device)
        return tables[device]


def linear_schedule(num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """``beta`` linear from ``beta_start`` to ``beta_end`` over ``num_steps`` (Ho et al. 2020): the paper's schedule."""
    beta = torch.linspace(beta_start, beta_end, num_steps, dtype=torch.float64)
    return NoiseSchedule(torch.cumprod(1 - beta, 0))


def ancestral_step(
    u: Tensor,
    x0_hat: Tensor,
    sigma: float,
    sigma_next: float,
    noise: Tensor,
    fraction: Tensor | None = None,
) -> Tensor:
    """One ancestral step (Ho et al. 2020) in the coordinate ``u = x_t / sqrt(alpha_bar)``.

    ``u' = x0_hat + rho^2 (u - x0_hat) + s z`` with ``rho = sigma_next / sigma`` and
    ``s^2 = sigma_next^2 (1 - rho^2)``, the variance of ``u'`` given ``u`` and ``x_0``.
    A learned ``fraction`` in [0, 1] interpolates ``log s^2`` towards its upper bound ``beta (1 + sigma_next^2)``,
    ``beta = 1 - alpha_bar / alpha_bar_next`` (Nichol & Dhariwal 2021, eq. 15).
    """
    rho2 = (sigma_next / sigma) ** 2
    lower = sigma_next**2 * (1 - rho2)
    mean = x0_hat + rho2 * (u - x0_hat)
    if fraction is None or sigma_next == 0:
        return mean + lower**0.5 * noise
    upper = (1 - (1 + sigma_next**2) / (1 + sigma**2)) * (1 + sigma_next**2)
    return mean + (lower**0.5) * (upper / lower) ** (fraction / 2) * noise
