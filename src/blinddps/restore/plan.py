"""How each ``auto`` is decided, and the plan in which none is left."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..core import L0, L1, InputError, Penalty, PriorError
from ..operators import estimate_sigma
from ..priors import AnyPrior, PriorCard, read_card
from ..search.find import ROOM
from .known_kernel import read_kernel
from .light import ROUNDING, Range
from .pyramid import half_kernel
from .settings import DeblurSettings, Settings, used_settings
from .shot import shot_noise_of
from .solvers import SOLVERS, solver_info

Boundary = Literal["circular", "zero", "replicate", "reflect", "valid"]

__all__ = [
    "KNOWN_STEPS",
    "Cards",
    "Plan",
    "boundary_of",
    "default_steps",
    "fit_kernel",
    "name_of",
    "plan_of",
    "resolve",
    "search_of",
]

KNOWN_STEPS, KNOWN_START = 4, 0.5  # evaluations with the kernel known, any-size priors, and the level of the first
FIXED_STEPS = 8  # ... of priors of one size: four lose 0.1 dB (benchmarks/results/faces_known.txt)
TRUSTED_KERNEL = 32  # on larger supports, unless asked for, the fast solver left streaks at the frame's edge
MAX_KERNEL = 64  # of the shipped prior
DRAWS = {"quick": 1, "usual": 2, "best": 2}  # of the diffusions, by effort, where their agreement judges them
LEAST_OF_EDGES = 3  # pixels of kernel
LEAST_SEARCHED = 64  # pixels of the picture's shorter side: edges enough
LARGEST_ONE_SCALE = 16  # pixels of kernel that need no smaller size
LEAST_COARSE = 32  # pixels a side of the smallest size solved
FAINT = 2e-4  # least noise of measured values, of a range with room for peaks: faint stars count
FAINTEST = 2e-6  # ... where they are solved in a stretch; float32 rounds to less
TRAINED_TILE = 384  # pixels: 1.5 of the crops that published networks, whose attention is global, were trained on
UNEXPLAINED = 0.005  # what border and compression leave unexplained in a clean picture; the fast solver would fit it


@dataclass(frozen=True)
class Cards:
    """What is known of the priors before they are loaded, read once; ``None``: there is none, or a uniform one."""

    image: PriorCard | None
    kernel: PriorCard | None

    @classmethod
    def of(cls, settings: DeblurSettings) -> Cards:
        info = solver_info(settings.solver)
        found = "kernel_prior" in info.uses and settings.known_kernel is None and settings.kernel_prior != "uniform"
        return cls(
            read_card(settings.prior) if info.has_prior else None,
            read_card(settings.kernel_prior, "kernel") if found else None,
        )

    @property
    def any_image(self) -> bool:
        """Whether the image's prior works at any size."""
        return self.image is not None and self.image.any_size

    @property
    def any_kernel(self) -> bool:
        """Whether the kernel's prior works at any size; a uniform one does."""
        return self.kernel is None or self.kernel.any_size


def resolve(
    settings: Settings,
    y: Tensor,
    device: torch.device,
    *,
    found: Range | None = None,
    rounding: float = 0.0,
    cards: Cards | None = None,
) -> Settings:
    """Replace every ``auto`` that the solver uses by the value it stands for: what a result tells, and repeats it.

    ``y`` is the picture over the range ``found``, of values with ``rounding``; ``noise`` is the picture's own.
    """
    cards = cards or Cards.of(settings)
    gain = 1.0 if found is None else found.gain
    h, w = y.shape[-2:]
    info = SOLVERS[settings.solver]
    largest = MAX_KERNEL if settings.solver in ("paper", "uniform") else TRUSTED_KERNEL
    auto_size = min(largest, max(16, 8 * round(min(h, w) / 32)))
    size = auto_size if settings.kernel_size == "auto" else settings.kernel_size
    if settings.known_kernel is not None and "known_kernel" in info.uses:
        known = read_kernel(settings.known_kernel, (h, w))
        size = max(2, *known.shape[-2:])  # what may be asked for begins there
    elif size > min(h, w):
        raise InputError(f"kernel_size {size} is larger than the picture ({w} x {h}); give at most {min(h, w)}")
    if settings.noise == "auto":
        least = ROUNDING if settings.solver in ("paper", "uniform", "dps") else UNEXPLAINED
        if found is not None and found.measured:
            least = FAINTEST if settings.solver == "fast" and settings.known_kernel is not None else FAINT
        estimated = float(estimate_sigma(y).square().mean().sqrt()) / 2  # several frames: all of them
        noise = max(least, estimated, 0.0 if gain == 1 else rounding * gain) / gain
    else:
        noise = float(settings.noise)
        estimated = min(1.0, noise * gain)
    given = settings.solver == "fast" and settings.known_kernel is not None
    start = settings.start
    if start == "auto" and info.has_prior:
        begun = given and boundary_of(settings, cards) == "valid"
        start = KNOWN_START if begun else 1.0 if cards.any_image else "noise"
    from_noise = start == "noise"
    search = search_of(settings, size, min(h, w), cards)
    if search == "edges" and settings.kernel_size == "auto":
        size = max(size, min(h, w) // ROOM)
    one_kernel = given or search == "edges"
    update = settings.update if settings.update != "auto" else "draw" if _drawn(settings) and one_kernel else "mean"
    measured = found is not None and found.measured
    num_steps = _steps(settings, cards, search, measured) if settings.num_steps == "auto" else settings.num_steps
    step, kernel_step = default_steps(settings, num_steps, from_noise)
    # the diffusions of a search find kernels of the trusted size alone
    scales = _scales(settings, min(size, TRUSTED_KERNEL) if search == "edges" else size, min(h, w), cards)
    tile = settings.tile
    if tile == "auto":
        tile = TRAINED_TILE if info.trained else 512
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "bfloat16" if fast_bfloat16(device) else "float32"
    resolved: dict[str, Any] = {
        "boundary": boundary_of(settings, cards) or "replicate",
        "kernel_size": size,
        "noise": noise,
        "update": update,
        "num_steps": num_steps,
        "start": start,
        "restarts": (2 if scales > 1 else 1) if settings.restarts == "auto" else settings.restarts,
        "scales": scales,
        "search": search,
        "shot_noise": shot_noise_of(settings, y, noise, found or Range()),
        "max_memory": "none" if settings.max_memory == "auto" else settings.max_memory,
        "region": "none" if settings.region == "auto" else settings.region,  # of what is solved at once
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
    ours = (
        set(resolved)
        if not info.has_prior
        else {"step_size", "kernel_step_size", "kernel_weight", "sparsity", "update"}
    )
    used = used_settings(replace(settings, search=search))
    resolved = {name: value for name, value in resolved.items() if name in used or name not in ours}
    return replace(settings, **resolved)


def boundary_of(settings: DeblurSettings, cards: Cards) -> Boundary | None:
    """The boundary used, ``None`` by a solver that has none of ours. ``auto`` of ``fast``: nothing is assumed, but
    where the diffusions of a prior of any size find the kernel, which came out worse so."""
    if "boundary" not in solver_info(settings.solver).uses:
        return None
    if settings.boundary != "auto":
        return settings.boundary
    free = settings.known_kernel is not None or not cards.any_image
    return "valid" if free and settings.solver == "fast" else "replicate"


def _steps(settings: DeblurSettings, cards: Cards, search: str, measured: bool) -> int:
    """``num_steps`` of ``auto``."""
    known = settings.solver == "fast" and settings.known_kernel is not None
    if known and measured and cards.any_image:
        return KNOWN_STEPS + 1  # for the flux of stars
    if search == "edges" or (known and (cards.any_image or _drawn(settings))):
        return KNOWN_STEPS
    begun = known and settings.start == "auto" and boundary_of(settings, cards) == "valid"
    return FIXED_STEPS if begun else SOLVERS[settings.solver].steps


def _drawn(settings: DeblurSettings) -> bool:
    """Whether several samples may be draws."""
    return settings.samples > 1 and settings.update != "mean"


def search_of(settings: DeblurSettings, kernel: int, side: int, cards: Cards) -> Literal["none", "edges", "draws"]:
    """``search``, decided where it is ``auto``; of a picture whose shorter side is ``side``."""
    if settings.solver != "fast" or settings.known_kernel is not None:
        return "none"
    if settings.search != "auto":
        if settings.search == "draws" and settings.samples > 1:
            raise InputError(
                f"samples is {settings.samples}, and search draws judges one; give one sample, or search none"
            )
        if settings.search == "edges" and kernel < LEAST_OF_EDGES:
            raise InputError(f"kernel_size is {kernel}, and the search along edges finds {LEAST_OF_EDGES} at least")
        if settings.search == "edges" and side < LEAST_SEARCHED:
            raise InputError(
                f"the picture's shorter side is {side} pixels, too few edges to search along; give {LEAST_SEARCHED} at "
                "least, or search none"
            )
        return settings.search
    free = {settings.start, settings.scales, settings.restarts} == {"auto"}
    if not cards.any_image:
        return "draws" if free and settings.samples == 1 and settings.kernel_prior != "uniform" else "none"
    fits = kernel >= LEAST_OF_EDGES and side >= LEAST_SEARCHED
    return "edges" if free and fits and settings.boundary in ("auto", "valid") else "none"


def _scales(settings: DeblurSettings, kernel: int, side: int, cards: Cards) -> int:
    """``scales``, decided where it is ``auto``; of a picture whose shorter side is ``side``."""
    if settings.solver != "fast" or settings.known_kernel is not None:
        return 1
    scales = settings.scales
    if scales == "auto":
        large = kernel > LARGEST_ONE_SCALE and 6 * kernel >= side >= 2 * LEAST_COARSE
        large = large and half_kernel(kernel) <= side // 2
        return 2 if large and settings.start == "auto" and cards.any_kernel and cards.any_image else 1
    if scales == 1:
        return 1
    for prior, fits in ((settings.prior, cards.any_image), (settings.kernel_prior, cards.any_kernel)):
        if not fits:
            raise InputError(
                f"scales is {scales} and prior '{name_of(prior)}' works at given sizes only; give scales 1"
            )
    coarsest, support = side, kernel
    for fitting in range(1, scales):
        coarsest, support = -(-coarsest // 2), half_kernel(support)
        if coarsest < max(LEAST_COARSE, support):
            raise InputError(
                f"scales is {scales}, which makes a picture of {side} pixels and kernel of {kernel} too small "
                f"({coarsest} and {support}; at least {LEAST_COARSE}, and the kernel inside); give at most {fitting}"
            )
    return scales


def default_steps(settings: DeblurSettings, num_steps: int, from_noise: bool) -> tuple[float, float]:
    """Step sizes of image and kernel where none is given: the paper's 0.3 at 1000 steps, in proportion more at fewer.

    Below 50 steps they stay those of 50. Where the image starts from the measurement: 1.2 and 0.05 at 1000 steps.
    Measured on faces that no benchmark reports: ``benchmarks/studies/step_sizes.txt``.
    """
    if settings.step_schedule == "likelihood":
        return 1.0, 0.3
    scale = 1000 / max(50, num_steps)
    if settings.kernel_prior == "uniform":
        return (0.3 if from_noise else 1.2) * scale, 1e-6 * scale
    image, kernel = (0.3, 0.3) if from_noise else (1.2, 0.05)
    return image * scale, kernel * scale


def name_of(prior: AnyPrior) -> str:
    """What a prior is called in a message."""
    return str(prior) if isinstance(prior, str | os.PathLike) else str(read_card(prior).name)


def fit_kernel(settings: Settings, free: bool, side: int, cards: Cards) -> Settings:
    """``settings`` with a kernel size that the kernel's prior knows: the nearest, where the user left it ``free``."""
    card, size = cards.kernel, int(settings.kernel_size)
    if card is None or card.any_size or size in card.sizes:
        return settings
    fitting = [s for s in card.sizes if s <= side]
    if not free or not fitting:
        raise PriorError(
            f"kernel prior '{name_of(settings.kernel_prior)}' works on kernels of {', '.join(map(str, card.sizes))} "
            f"pixels a side, not {size}; "
            + (f"give --kernel-size {fitting[-1]}" if fitting else "choose a larger picture")
        )
    return replace(settings, kernel_size=min((abs(s - size), s) for s in fitting)[1])


@dataclass(frozen=True)
class Plan:
    """What is done, every choice made. A number that the solver does not use is 1.

    Attributes:
        noise: of what is solved, on [0, 1].
        start: noise level at which the image begins, from the measurement; ``None``: from pure noise.
        penalty, exact: of the kernel, and whether its projection is Euclidean.
        one_level: the kernel is at the image's noise levels, not at those of its own prior.
        known: the kernel ``(1, 1, h, w)`` where it is known.
        search, effort: whether the kernel is sought along edges, up to the kernel size, and how hard.
        kernel_only: whether a search ends with the kernel, the picture left as that was judged by; ``diffusions``:
            whether it may ask the diffusions where the effort does.
        draws: diffusions of each sample, of which the first is kept and judged by the others.
        update: what the fast solver keeps of a level's Gaussian.
        shot: slope and level of noise that grows with the light, of what is solved, on [0, 1]; None: it does not.
        device_noise: random numbers are drawn on a GPU.
        measured: values of a detector, whose restoration is not held to a range.
        weights: file of a trained network, where the solver is one.
        tilt_start: as ``start``, in pixels; ``order``, ``kernel_per_frame``: of several frames.
    """

    solver: str
    boundary: Boundary
    kernel_size: int
    noise: float
    num_steps: int
    start: float | None
    step_size: float
    kernel_step_size: float
    tilt_step_size: float
    step_schedule: Literal["constant", "sqrt_alpha_bar", "likelihood"]
    penalty: Penalty | None
    exact: bool
    one_level: bool
    kernel_weight: float
    samples: int
    restarts: int
    scales: int
    search: bool
    effort: Literal["quick", "usual", "best"]
    seed: int
    tile: int
    dtype: torch.dtype
    known: Tensor | None = None
    kernel_only: bool = False
    diffusions: bool = True
    tilt_start: float | None = None
    order: str = "tilt-blur"
    kernel_per_frame: bool = False
    weights: str | None = None
    draws: int = 1
    measured: bool = False
    update: Literal["mean", "draw"] = "mean"
    shot: tuple[float, float] | None = None
    device_noise: bool = False

    @property
    def takes_steps(self) -> bool:
        """Whether its solver goes along gradients, by steps of a size."""
        return "step_size" in SOLVERS[self.solver].uses

    def halved(self) -> Plan:
        """The same with steps half as long, after a divergence."""
        names = ("step_size", "kernel_step_size", "tilt_step_size")
        return replace(self, **{name: getattr(self, name) / 2 for name in names})


def plan_of(settings: DeblurSettings, picture: tuple[int, int], found: Range | None = None) -> Plan:
    """The plan of resolved ``settings`` for a ``picture`` of so many rows and columns, solved over a range."""
    uses = SOLVERS[settings.solver].uses
    gain = 1.0 if found is None else found.gain
    sparsity = _number(settings, "sparsity") if "sparsity" in uses else 0.0
    known = settings.known_kernel if "known_kernel" in uses else None
    boundary: Any = settings.boundary
    return Plan(
        solver=settings.solver,
        boundary="replicate" if boundary == "auto" else boundary,
        kernel_size=int(_number(settings, "kernel_size")),
        noise=min(1.0, _number(settings, "noise") * gain),
        measured=found is not None and found.measured,
        shot=_in_range(settings.shot_noise, found or Range()),
        num_steps=int(_number(settings, "num_steps")),
        start=_level(settings, "start"),
        step_size=_number(settings, "step_size"),
        kernel_step_size=_number(settings, "kernel_step_size"),
        tilt_step_size=_number(settings, "tilt_step_size"),
        step_schedule=settings.step_schedule,
        penalty=(L1 if settings.sparsity_norm == "l1" else L0)(sparsity) if sparsity > 0 else None,
        exact=settings.projection == "simplex" or "projection" not in uses,
        one_level=settings.as_published,
        kernel_weight=_number(settings, "kernel_weight"),
        samples=settings.samples,
        restarts=int(_number(settings, "restarts")),
        scales=int(_number(settings, "scales")),
        search=settings.search == "edges",
        effort=settings.effort,
        seed=settings.seed,
        tile=int(_number(settings, "tile")),
        dtype=torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32,
        known=None if known is None else read_kernel(known, picture),
        tilt_start=_level(settings, "tilt_start"),
        order=getattr(settings, "order", "tilt-blur"),
        kernel_per_frame=getattr(settings, "kernel_per_frame", False),
        weights=None if settings.weights is None else os.fspath(settings.weights),
        update="draw" if settings.update == "draw" else "mean",
        device_noise=settings.device_noise,
        draws=DRAWS[settings.effort] if settings.search == "draws" else 1,
    )


def _in_range(shot: str | tuple[float, float], found: Range) -> tuple[float, float] | None:
    """Slope and level, of the picture's light, in the range that is solved."""
    return None if isinstance(shot, str) else (shot[0] * found.gain, (shot[1] - found.low) * found.gain)


def _number(settings: DeblurSettings, name: str) -> float:
    value = getattr(settings, name, 1.0)
    return 1.0 if isinstance(value, str) else value


def _level(settings: DeblurSettings, name: str) -> float | None:
    value = getattr(settings, name, None)
    return None if isinstance(value, str) else value


def fast_bfloat16(device: torch.device) -> bool:
    """Whether ``dtype="auto"`` is bfloat16 there."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()
    return False
