"""Noise levels and prediction of a network, as a diffusers scheduler's configuration tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import torch

from blinddps.core import NoiseSchedule, PriorError, linear_schedule

from .process import OTHERS

__all__ = ["Prediction", "beta_config", "read_scheduler"]

Prediction = Literal["epsilon", "v_prediction", "sample"]

_LINEAR = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
_STABLE = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}
_DEFAULTS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            *("DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler", "PNDMScheduler"),
            *("DDIMInverseScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler", "RePaintScheduler"),
            *("EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler"),
            *("DPMSolverSinglestepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler", "SASolverScheduler"),
        ),
        _LINEAR,
    ),
    **dict.fromkeys(
        ("HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler"),
        _STABLE,
    ),
    "UnCLIPScheduler": {"beta_schedule": "squaredcos_cap_v2"},
}
"""Schedulers of variance-preserving diffusions, and the betas of each where its configuration is silent."""

_OF_SAMPLING = frozenset(
    [
        *("clip_sample", "clip_sample_range", "thresholding", "dynamic_thresholding_ratio", "sample_max_value"),
        *("timestep_spacing", "steps_offset", "set_alpha_to_one", "skip_prk_steps", "eta", "noise_sampler_seed"),
        *("solver_order", "solver_type", "solver_p", "algorithm_type", "predictor_order", "corrector_order"),
        *("disable_corrector", "tau_func", "predict_x0", "lower_order_final", "euler_at_final", "final_sigmas_type"),
        *("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "interpolation_type"),
        *("sigma_min", "sigma_max", "lambda_min_clipped", "flow_shift", "time_shift_type", "tensor_format"),
        *("timestep_values", "variance_type"),
    ]
)
"""How diffusers' own sampler walks; the network is the same. (A learned variance is told by its channels.)"""

_OTHER_PROCESS: dict[str, str] = {
    "rescale_betas_zero_snr": "a zero terminal SNR schedule, whose last noise level is infinite",
    "use_flow_sigmas": "flow matching, which is not a variance-preserving diffusion",
    "use_dynamic_shifting": "flow matching, which is not a variance-preserving diffusion",
    "shift_terminal": "flow matching, which is not a variance-preserving diffusion",
}
"""Flags that make it another process, and what each is; false or null: it is none."""

_READ = {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"}
_READ |= {"prediction_type", "predict_epsilon", "timestep_type"}
_MOST_STEPS = 100_000
_LEVELS = (1e-6, 1e6)  # beyond them float32 has no more to say


def read_scheduler(config: dict[str, Any], folder: Path) -> tuple[NoiseSchedule, Prediction]:
    """Noise levels and prediction of the configuration in ``scheduler/scheduler_config.json`` of ``folder``.

    Betas are those of diffusers' ``DDPMScheduler``, which all schedulers known here share, with the defaults of their
    own class. A setting that is not known must be false or null.

    Raises:
        PriorError: a scheduler or setting of another kind of diffusion, one that is not known, or betas that make no
            noise levels from 1e-6 to 1e6.
    """
    kind = config.get("_class_name", "DDPMScheduler")
    if not isinstance(kind, str) or kind not in _DEFAULTS:
        raise PriorError(
            f"prior '{folder}' has the scheduler '{_short(kind)}', which is not known to be of a variance-preserving "
            f"or another diffusion; supported are {', '.join(sorted({*_DEFAULTS, *OTHERS}))}"
        )
    for flag, what in _OTHER_PROCESS.items():
        if config.get(flag) not in (None, False):
            raise PriorError(f"prior '{folder}' has {what} ({flag} in its scheduler); choose another prior")
    if config.get("timestep_type") not in (None, "discrete"):
        raise PriorError(
            f"prior '{folder}' has timestep_type '{_short(config['timestep_type'])}' in its scheduler; its "
            "network must be told the step's number ('discrete'), not another measure of the noise"
        )
    if config.get("variance_type") == "learned":
        raise PriorError(
            f"prior '{folder}' has variance_type 'learned' in its scheduler; a learned variance must be a place in its "
            "range ('learned_range')"
        )
    for key, value in config.items():
        known = key in _READ or key in _OF_SAMPLING or key in _OTHER_PROCESS or key.startswith("_")
        if not known and value not in (None, False):
            raise PriorError(
                f"prior '{folder}' has the setting '{_short(key)}' in its scheduler, which is not known here; remove "
                "it from scheduler_config.json if the network is the same without"
            )
    return _schedule(config | {"_class_name": kind}, folder), _prediction(config, folder)


def _prediction(config: dict[str, Any], folder: Path) -> Prediction:
    """Configurations before diffusers 0.11 say ``predict_epsilon``."""
    told, before = config.get("prediction_type"), config.get("predict_epsilon")
    if before not in (None, True, False):
        raise PriorError(
            f"prior '{folder}' has predict_epsilon '{_short(before)}' in its scheduler; give true or false"
        )
    meant = {True: "epsilon", False: "sample", None: None}[before]
    if told is not None and meant is not None and told != meant:
        raise PriorError(
            f"prior '{folder}' has predict_epsilon {str(before).lower()} and prediction_type '{_short(told)}' in its "
            "scheduler, which contradict each other; remove the wrong one from scheduler_config.json"
        )
    prediction = told or meant or "epsilon"
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise PriorError(
            f"prior '{folder}' has prediction_type '{_short(prediction)}'; supported are epsilon, v_prediction and "
            "sample"
        )
    return cast(Prediction, prediction)


def _schedule(config: dict[str, Any], folder: Path) -> NoiseSchedule:
    """Noise levels from a scheduler's configuration, its betas by diffusers' own DDPMScheduler."""
    from diffusers import DDPMScheduler

    given = {k: v for k in _READ if (v := config.get(k)) is not None}
    count, betas = given.get("num_train_timesteps"), given.get("trained_betas")
    if count is None or not given.keys() & {"beta_start", "beta_end", "beta_schedule", "trained_betas"}:
        raise PriorError(
            f"prior '{folder}' has a scheduler without num_train_timesteps or betas; its noise levels are unknown, "
            "only variance-preserving schedules are supported"
        )

    def unusable(reason: str) -> PriorError:
        return PriorError(f"prior '{folder}' has a noise schedule that cannot be used ({reason}); choose another prior")

    if type(count) is not int or not 2 <= count <= _MOST_STEPS:
        raise unusable(f"num_train_timesteps is {_short(count)}, not a whole number from 2 to {_MOST_STEPS}")
    chosen = {"num_train_timesteps": count, **_DEFAULTS[config["_class_name"]]}
    chosen |= {k: v for k, v in given.items() if k in ("beta_start", "beta_end", "beta_schedule", "trained_betas")}
    numbers = betas if isinstance(betas, list) else [chosen.get("beta_start", 0.0), chosen.get("beta_end", 0.0)]
    if (betas is not None and not isinstance(betas, list)) or not all(
        type(v) in (int, float) and abs(v) < 1 for v in numbers
    ):
        raise unusable("its betas are not numbers below 1")
    if betas is not None and len(betas) != count:
        raise unusable(f"it has {len(betas)} trained_betas for {count} steps")
    try:
        if betas is not None:
            beta = torch.tensor(betas, dtype=torch.float64)
        elif chosen["beta_schedule"] == "linear":
            # diffusers' float32 betas are right to 6e-8; these are exact
            return _within(linear_schedule(count, chosen["beta_start"], chosen["beta_end"]))
        else:
            beta = DDPMScheduler(**chosen).betas.double()
        return _within(NoiseSchedule(torch.cumprod(1 - beta, 0)))  # diffusers' own product is rounded to float32
    except (NotImplementedError, ValueError, TypeError, RuntimeError) as error:
        raise unusable(_short(error)) from None


def _within(schedule: NoiseSchedule) -> NoiseSchedule:
    low, high = float(schedule.sigmas[0]), float(schedule.sigmas[-1])
    if not (_LEVELS[0] <= low and high <= _LEVELS[1]):
        raise ValueError(f"its noise levels are {low:.3g} to {high:.3g}, not within {_LEVELS[0]:g} to {_LEVELS[1]:g}")
    return schedule


def _short(value: object) -> str:
    return " ".join(str(value).split())[:120]


def beta_config(schedule: NoiseSchedule) -> dict[str, Any]:
    """Settings of a scheduler with these noise levels."""
    beta = 1 - torch.cat([schedule.alpha_bar[:1], schedule.alpha_bar[1:] / schedule.alpha_bar[:-1]])
    line = torch.linspace(float(beta[0]), float(beta[-1]), len(beta), dtype=torch.float64)
    if torch.allclose(beta, line, rtol=1e-6, atol=0):
        start, end = round(float(beta[0]), 10), round(float(beta[-1]), 10)
        return {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return {"trained_betas": beta.tolist()}
