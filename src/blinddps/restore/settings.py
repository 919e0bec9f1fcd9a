"""What a user may choose in a blind deblurring, checked, and how each ``auto`` is decided."""

from __future__ import annotations

import math
import numbers
import operator
import os
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..core import InputError, unknown_name
from ..operators import estimate_sigma
from ..operators.convolution import BOUNDARIES
from ..priors import read_card
from .known_kernel import Kernel, frozen_kernel, read_kernel
from .light import ROUNDING, Range
from .pyramid import half_kernel
from .solvers import KERNEL_PRIOR, SOLVERS

__all__ = [
    "DeblurSettings",
    "boundary_of",
    "find_device",
    "in_range",
    "resolve",
    "unused_settings",
    "with_options",
]

TRUSTED_KERNEL = 32  # on larger supports, unless asked for, the fast solver left streaks at the frame's edge
MAX_KERNEL = 64  # of the shipped prior
MAX_SCALES = 4
LEAST_FOUND = 5  # pixels of kernel that are worth a second start
LEAST_OF_PAN = 3
ROOM = 6  # times the kernel that a picture's side must be: in less pan-l0 finds speckle
LARGEST_ONE_SCALE = 16  # pixels of kernel that need no smaller size
LEAST_COARSE = 32  # pixels a side of the smallest size solved
STEPS = ("step_size", "kernel_step_size", "num_steps")
AUTO = frozenset({*STEPS, "kernel_size", "kernel_weight", "noise", "scales", "start", "starts", "sparsity", "tile"})
MIN_NOISE = 1e-9  # the outcome is judged against it
UNEXPLAINED = 0.005  # what border and compression leave unexplained in a clean picture; the fast solver would fit it


@dataclass(frozen=True)
class DeblurSettings:
    """Choices of a blind deblurring; ``auto`` ones are resolved by :func:`deblur` and recorded in its result.

    Attributes:
        prior: of the image: ``faces-128``, ``photos`` or a folder.
        kernel_prior: ``kernel``, a folder, or ``uniform`` (Algorithm 3: the likelihood alone).
        kernel_size: pixels, one side of the square support, or ``auto``: a quarter of the picture's shorter side, in
            steps of 8, from 16 to 32 (``paper``: to 64).
        noise: standard deviation in [0, 1] units of what is solved (linear light with ``linear_light``), or ``auto``:
            wavelet MAD of the picture, at least 0.005 (``paper``: the 0.0011 of rounding to 8 bit).
        boundary: what lies outside the picture: ``replicate``, ``reflect``, ``circular``, ``zero``, ``valid`` (nothing
            assumed: the image behind the measurement is larger, and cropped at the end). ``auto``: ``valid`` for
            ``fast`` with a known kernel and a prior of any size, else ``replicate``.
        solver: ``fast`` (:func:`~blinddps.samplers.blind_proximal`, forward passes only), ``paper``
            (:func:`~blinddps.samplers.blind_dps`, Algorithm 1) or one of the methods to compare with:
            :data:`~blinddps.restore.solvers.SOLVERS` says which settings each of them uses, ``docs/baselines.md`` what
            it is.
        known_kernel: the blur, where it is known: an array ``(h, w)`` of non-negative numbers, true convolution,
            origin at ``(h // 2, w // 2)``, divided by its sum; or the path of one (``.npy``). ``dps`` needs it.
        num_steps: of the priors' N; ``auto``: 50, or 250 with ``paper``, ``uniform``, ``dps`` and ``ilvr``. Of
            ``selfdeblur`` the iterations (1000), of ``richardson-lucy`` and ``wiener`` the rounds (10).
        start: noise level at which the image's diffusion begins, from the measurement; ``noise`` begins from pure
            noise as the paper does. ``auto``: 1 for priors of any size, whose pictures are too large for the prior to
            invent from noise, else ``noise``. With several ``scales`` that of the coarsest; the next ones begin at 1
            at most.
        step_size: of the image; ``kernel_step_size`` of the kernel. ``auto``: see :func:`default_steps`.
        step_schedule: ``constant`` (the paper), ``sqrt_alpha_bar`` (the authors' code) or ``likelihood`` (the Gaussian
            log-likelihood's gradient instead of the norm's, with the reverse SDE's own step).
        sparsity: weight of the kernel's penalty ``sparsity_norm``, ``l1`` or ``l0``, as a mean over the support (the
            paper's lambda times h w); 0 is none. ``auto``: 300 where ``start`` is a level, else 1.
        projection: of the kernel onto C: ``simplex`` (Euclidean) or ``normalise`` (clip and divide).
        kernel_weight: of the sum of squares of the kernel in ``pan-l0``, also where it is the ``second_start``, and in
            ``pan-dcp``; 2 is the published one, for pictures nearly without noise. ``auto``: ``2e6 noise^2``, at least
            2, by the noise given or estimated (``docs/baselines.md``).
        linear_light: undo the display gamma (sRGB) around the solver.
        samples: posterior samples.
        starts: diffusions begun for each sample, of which ``fast`` keeps the one that explains the picture best after
            0.4 of the steps; 4 take 2.2 times the evaluations of one. With several ``scales``: for each solution that a
            smaller size begins anew. ``auto``: 2 there, else 1.
        second_start: ``pan-l0``: ``fast`` solves a second time, from picture and kernel of ``pan-l0``, and keeps the
            better result of the two (:func:`~blinddps.restore.second_start.better`), for about half as much time
            again. ``none``: it does not. ``auto``: ``pan-l0`` where the image's diffusion begins at the measurement,
            and the kernel is to be found, of 5 pixels at least and a sixth of the picture's shorter side at most.
        scales: sizes at which ``fast`` solves, each half of the next one. Half the size is solved twice (a smaller one
            once), and from what the size below it has found; the next size keeps the best of these. ``auto``: 2 for
            priors of any size where the kernel's support is above 16 pixels and at least a sixth of the picture's
            shorter side, which is at least 64, and ``start`` not given (``docs/solvers.md``), else 1.
        seed: the result depends on it alone.
        device, dtype: ``auto``, or ``cpu``, ``cuda``, ... and ``float32``, ``bfloat16``.
        tile: pixels a side above which the image network sees tiles, or ``auto``.
    """

    prior: str = "photos"
    kernel_prior: str = "kernel"
    kernel_size: int | Literal["auto"] = "auto"
    noise: float | Literal["auto"] = "auto"
    boundary: Literal["auto", "circular", "zero", "replicate", "reflect", "valid"] = "auto"
    solver: str = "fast"
    num_steps: int | Literal["auto"] = "auto"
    start: float | Literal["auto", "noise"] = "auto"
    step_size: float | Literal["auto"] = "auto"
    kernel_step_size: float | Literal["auto"] = "auto"
    step_schedule: Literal["constant", "sqrt_alpha_bar", "likelihood"] = "constant"
    sparsity: float | Literal["auto"] = "auto"
    sparsity_norm: Literal["l1", "l0"] = "l1"
    projection: Literal["simplex", "normalise"] = "simplex"
    kernel_weight: float | Literal["auto"] = "auto"
    linear_light: bool = False
    samples: int = 1
    starts: int | Literal["auto"] = "auto"
    scales: int | Literal["auto"] = "auto"
    second_start: Literal["auto", "none", "pan-l0"] = "auto"
    seed: int = 0
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    tile: int | Literal["auto"] = "auto"
    known_kernel: str | os.PathLike[str] | Kernel | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "known_kernel", frozen_kernel(self.known_kernel))
        for f in fields(self):
            value: Any = getattr(self, f.name)
            if hasattr(value, "__index__") and not isinstance(value, int):  # NumPy's
                object.__setattr__(self, f.name, operator.index(value))
        _choice("boundary", self.boundary, ("auto", *BOUNDARIES))
        _choice("solver", self.solver, tuple(SOLVERS))
        if SOLVERS[self.solver].kernel == "needed" and self.known_kernel is None:
            raise InputError(f"solver '{self.solver}' needs the kernel; give known_kernel (--known-kernel FILE)")
        _choice("step_schedule", self.step_schedule, ("constant", "sqrt_alpha_bar", "likelihood"))
        _choice("sparsity_norm", self.sparsity_norm, ("l1", "l0"))
        _choice("projection", self.projection, ("simplex", "normalise"))
        _choice("second_start", self.second_start, ("auto", "none", "pan-l0"))
        _choice("dtype", self.dtype, ("auto", "float32", "bfloat16"))
        _number("kernel_size", self.kernel_size, 2, math.inf, whole=True)
        _number("noise", self.noise, MIN_NOISE, 1)
        _number("num_steps", self.num_steps, 1, math.inf, whole=True)
        if self.start != "noise":
            _number("start", self.start, 0.02, math.inf)
        _number("step_size", self.step_size, 0, math.inf)
        _number("kernel_step_size", self.kernel_step_size, 0, math.inf)
        _number("sparsity", self.sparsity, 0, math.inf)
        _number("kernel_weight", self.kernel_weight, 0, math.inf)
        _number("samples", self.samples, 1, math.inf, whole=True)
        _number("starts", self.starts, 1, math.inf, whole=True)
        _number("scales", self.scales, 1, MAX_SCALES, whole=True)
        _number("seed", self.seed, -math.inf, math.inf, whole=True)
        _number("tile", self.tile, 64, math.inf, whole=True)
        for name in ("prior", "kernel_prior", "tilt_prior"):
            what = getattr(self, name, "")
            if not isinstance(what, (str, os.PathLike)):
                raise InputError(f"{name} is {what!r}; give the name of a prior or its folder")
        if not isinstance(self.device, str):
            raise InputError(f"device is {self.device!r}; give its name, as 'cpu' or 'cuda:0', or auto")
        if not isinstance(self.linear_light, bool):
            raise InputError(f"linear_light is {self.linear_light!r}; give True or False")

    def networks(self) -> list[str]:
        """Names of the priors that are needed to restore a picture."""
        info = SOLVERS[self.solver]
        names = [self.prior] if info.has_prior else []
        found = "kernel_prior" in info.uses and self.known_kernel is None and self.kernel_prior != "uniform"
        return sorted({*names, self.kernel_prior}) if found else names


def with_options(settings: DeblurSettings, options: dict[str, Any]) -> DeblurSettings:
    known = [f.name for f in fields(settings)]
    for name in options:
        if name not in known:
            raise InputError(unknown_name("option", name, known))
    return replace(settings, **options)


def unused_settings(chosen: DeblurSettings) -> list[str]:
    """Names of the settings that differ from their default and that the chosen solver does not use."""
    names, uses = type(chosen).__dataclass_fields__, _used(chosen)
    neutral = {"starts": 1, "scales": 1, "second_start": "none"}
    return [n for n in names if n not in uses and getattr(chosen, n) not in (names[n].default, neutral.get(n, "auto"))]


def _used(chosen: DeblurSettings) -> frozenset[str]:
    """Names of the settings that change the result of a call."""
    info = SOLVERS[chosen.solver]
    uses = info.uses
    if chosen.known_kernel is not None and info.kernel != "none":
        uses = uses - KERNEL_PRIOR - {"scales", "second_start"}
        uses = uses - {"num_steps", "samples", "seed", "dtype", "kernel_weight"} if info.room == "baselines" else uses
    if chosen.solver == "fast" and (chosen.known_kernel is not None or chosen.second_start == "none"):
        uses = uses - {"kernel_weight"}
    if chosen.kernel_prior == "uniform":
        uses = uses - {"sparsity", "sparsity_norm"}
        uses = uses | {"kernel_prior"} if chosen.solver == "uniform" else uses
    return uses


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(unknown_name(name, str(value), known))


def _number(name: str, value: Any, lowest: float, highest: float, whole: bool = False) -> None:
    auto = name in AUTO
    if value == "auto" and auto:
        return
    right = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
    try:
        right = right and math.isfinite(value) and lowest <= value <= highest
    except OverflowError:  # whole numbers of hundreds of digits
        right = False
    if not right:
        kind = "a whole number" if whole else "a number"
        low, high = math.isfinite(lowest), math.isfinite(highest)
        limit = f" from {lowest:g} to {highest:g}" if high else f" of at least {lowest:g}" if low else ""
        raise InputError(f"{name} is {value!r}; give {kind}{limit}{', or auto' if auto else ''}")


def resolve(
    settings: DeblurSettings, y: Tensor, device: torch.device, found: Range | None = None, rounding: float = 0.0
) -> DeblurSettings:
    """Replace every ``auto`` that the solver uses by the value it stands for.

    ``y`` is the picture over the range ``found``, of values with ``rounding``; ``noise`` is the picture's own
    (:func:`in_range`).
    """
    gain = 1.0 if found is None else found.gain
    h, w = y.shape[-2:]
    info = SOLVERS[settings.solver]
    largest = MAX_KERNEL if settings.solver in ("paper", "uniform") else TRUSTED_KERNEL
    auto_size = min(largest, max(16, 8 * round(min(h, w) / 32)))
    size = auto_size if settings.kernel_size == "auto" else settings.kernel_size
    if settings.known_kernel is not None and "known_kernel" in info.uses:
        known = read_kernel(settings.known_kernel, (h, w))
        size = max(known.shape[-2:])
    elif size > min(h, w):
        raise InputError(f"kernel_size {size} is larger than the picture ({w} x {h}); give at most {min(h, w)}")
    if settings.noise == "auto":
        least = ROUNDING if settings.solver in ("paper", "uniform", "dps") else UNEXPLAINED
        estimated = float(estimate_sigma(y).square().mean().sqrt()) / 2  # several frames: all of them
        noise = max(least, estimated, 0.0 if gain == 1 else rounding * gain) / gain
    else:
        noise = float(settings.noise)
        estimated = min(1.0, noise * gain)
    start = settings.start
    if start == "auto" and info.has_prior:
        start = 1.0 if read_card(settings.prior).any_size else "noise"
    from_noise = start == "noise"
    num_steps = info.steps if settings.num_steps == "auto" else settings.num_steps
    step, kernel_step = default_steps(replace(settings, num_steps=num_steps), from_noise)
    scales = _scales(settings, size, min(h, w))
    second = _second_start(settings, size, min(h, w), from_noise)
    tile = settings.tile
    if tile == "auto":
        tile = 512
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "bfloat16" if _fast_bfloat16(device) else "float32"
    resolved: dict[str, Any] = {
        "boundary": boundary_of(settings) or "replicate",
        "kernel_size": size,
        "noise": noise,
        "num_steps": num_steps,
        "start": start,
        "starts": (2 if scales > 1 else 1) if settings.starts == "auto" else settings.starts,
        "scales": scales,
        "second_start": second,
        # not by the least noise: of a clean picture that would blur the kernel
        "kernel_weight": max(2.0, 2e6 * estimated**2) if settings.kernel_weight == "auto" else settings.kernel_weight,
        "sparsity": (1.0 if from_noise else 300.0) if settings.sparsity == "auto" else settings.sparsity,
        "step_size": step if settings.step_size == "auto" else settings.step_size,
        "kernel_step_size": kernel_step if settings.kernel_step_size == "auto" else settings.kernel_step_size,
        "tile": tile,
        "dtype": dtype,
        "device": str(device),
    }
    # what a solver does not use stays as it was given
    ours = set(resolved) if info.room == "baselines" else {"step_size", "kernel_step_size", "kernel_weight", "sparsity"}
    used = _used(replace(settings, second_start=second))
    resolved = {name: value for name, value in resolved.items() if name in used or name not in ours}
    return replace(settings, **resolved)


def in_range(settings: DeblurSettings, used: Range) -> DeblurSettings:
    """Resolved ``settings`` with the noise as it is where the range ``used`` is solved."""
    assert isinstance(settings.noise, float)
    return settings if used.whole else replace(settings, noise=min(1.0, settings.noise * used.gain))


def boundary_of(settings: DeblurSettings) -> str | None:
    """The boundary used, ``None`` by a solver that has none of ours. ``auto``: nothing is assumed where the kernel is
    known; one to be found came out worse so."""
    if "boundary" not in SOLVERS[settings.solver].uses:
        return None
    if settings.boundary != "auto":
        return settings.boundary
    free = settings.solver == "fast" and settings.known_kernel is not None and read_card(settings.prior).any_size
    return "valid" if free else "replicate"


def _second_start(settings: DeblurSettings, kernel: int, side: int, from_noise: bool) -> Literal["none", "pan-l0"]:
    if settings.solver != "fast" or settings.known_kernel is not None:
        return "none"
    if settings.second_start != "auto":
        if settings.second_start == "pan-l0" and kernel < LEAST_OF_PAN:
            raise InputError(
                f"kernel_size is {kernel}, and second_start pan-l0 finds kernels of {LEAST_OF_PAN} at least"
            )
        return settings.second_start
    return "none" if from_noise or kernel < LEAST_FOUND or ROOM * kernel > side else "pan-l0"


def _scales(settings: DeblurSettings, kernel: int, side: int) -> int:
    """``scales``, decided where it is ``auto``; of a picture whose shorter side is ``side``."""
    if settings.solver != "fast" or settings.known_kernel is not None:
        return 1
    scales = settings.scales
    any_kernel = settings.kernel_prior == "uniform" or read_card(settings.kernel_prior).any_size
    if scales == "auto":
        large = kernel > LARGEST_ONE_SCALE and 6 * kernel >= side >= 2 * LEAST_COARSE
        large = large and half_kernel(kernel) <= side // 2
        return 2 if large and settings.start == "auto" and any_kernel and read_card(settings.prior).any_size else 1
    if scales == 1:
        return 1
    for name, fits in ((settings.prior, read_card(settings.prior).any_size), (settings.kernel_prior, any_kernel)):
        if not fits:
            raise InputError(f"scales is {scales} and prior '{name}' works at given sizes only; give scales 1")
    coarsest, support = side, kernel
    for fitting in range(1, scales):
        coarsest, support = -(-coarsest // 2), half_kernel(support)
        if coarsest < max(LEAST_COARSE, support):
            raise InputError(
                f"scales is {scales}, which makes a picture of {side} pixels and kernel of {kernel} too small "
                f"({coarsest} and {support}; at least {LEAST_COARSE}, and the kernel inside); give at most {fitting}"
            )
    return scales


def default_steps(settings: DeblurSettings, from_noise: bool) -> tuple[float, float]:
    """Step sizes of image and kernel where none is given: the paper's 0.3 at 1000 steps, in proportion more at fewer.

    Below 50 steps they stay those of 50. Where the image starts from the measurement: 1.2 and 0.05 at 1000 steps.
    Measured on faces that no benchmark reports: ``benchmarks/studies/step_sizes.txt``.
    """
    if settings.step_schedule == "likelihood":
        return 1.0, 0.3
    assert not isinstance(settings.num_steps, str)
    scale = 1000 / max(50, settings.num_steps)
    if settings.kernel_prior == "uniform":
        return (0.3 if from_noise else 1.2) * scale, 1e-6 * scale
    image, kernel = (0.3, 0.3) if from_noise else (1.2, 0.05)
    return image * scale, kernel * scale


def find_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].partition(". ")[0][:200]
        raise InputError(f"device '{name}' is not usable here ({reason}); choose cpu or auto") from None
    return device


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()
    return False
