"""What a user may choose in a blind deblurring, each choice described once, and checked."""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

import torch

from ..core import InputError, unknown_name
from ..operators.convolution import BOUNDARIES
from ..priors import AnyPrior
from ..search.families import FAMILIES
from .known_kernel import Kernel, frozen_kernel
from .regions import checked_region
from .shot import checked_shot_noise
from .solvers import KERNEL_PRIOR, SOLVERS, TRAINED, solver_info

__all__ = ["DeblurSettings", "choice", "find_device", "from_text", "number", "unused_settings", "with_options"]

MAX_SCALES = 4
MIN_NOISE = 1e-9  # the outcome is judged against it
PUBLISHED: dict[str, Any] = {
    "solver": "paper",
    "boundary": "zero",
    "start": "noise",
    "step_size": 1.0,
    "kernel_step_size": 1.0,
    "step_schedule": "sqrt_alpha_bar",
    "sparsity": 0.0,
}

Settings = TypeVar("Settings", bound="DeblurSettings")


def number(
    default: Any, low: float = -math.inf, high: float = math.inf, *, whole: bool = False, words: tuple[str, ...] = ()
) -> Any:
    """A setting that is a number from ``low`` to ``high``, or one of ``words``."""
    return field(default=default, metadata={"low": low, "high": high, "whole": whole, "words": words})


def choice(default: str, *among: str) -> Any:
    """A setting that is one of a few words."""
    return field(default=default, metadata={"among": among})


AUTO = ("auto",)


@dataclass(frozen=True)
class DeblurSettings:
    """Choices of a blind deblurring; ``auto`` ones are resolved by :func:`deblur` and recorded in its result.

    Attributes:
        prior: of the image: ``faces-128``, ``photos``, a folder, a loaded prior or a denoiser of one's own:
            what :func:`blinddps.priors.as_prior` takes.
        kernel_prior: ``kernel``, a folder, a loaded prior or a denoiser, or ``uniform`` (Algorithm 3: the likelihood
            alone).
        kernel_size: pixels, one side of the square support, or ``auto``: a quarter of the picture's shorter side; of
            the diffusions alone in steps of 8, from 16 to 32 (``paper``: to 64). Of a ``search`` the largest one.
        noise: standard deviation in [0, 1] units of what is solved (linear light with ``linear_light``), or ``auto``:
            wavelet MAD of the picture, at least 0.005 (``paper``: the 0.0011 of rounding to 8 bit).
        shot_noise: noise that grows with the light, ``(slope, level)`` or the text ``SLOPE,LEVEL``: its variance is
            ``noise^2 + slope (value - level)``, in the units of ``noise``, and pixels weigh accordingly where the
            kernel is known or was found along edges (``fast``). ``none``: the same everywhere. ``auto``: of a
            detector's light estimated with ``noise``; ``none`` of photographs, where ``noise`` is given, and where it
            hardly varies (:mod:`~blinddps.restore.shot`).
        boundary: what lies outside the picture: ``replicate``, ``reflect``, ``circular``, ``zero``, ``valid`` (nothing
            assumed: the image behind the measurement is larger, and cropped at the end). ``auto``: ``valid`` for
            ``fast`` with a known kernel or a prior of given sizes, else ``replicate``.
        solver: ``fast`` (:func:`~blinddps.samplers.blind_proximal`, forward passes only), ``paper``
            (:func:`~blinddps.samplers.blind_dps`, Algorithm 1) or one of the methods to compare with:
            :data:`~blinddps.restore.solvers.SOLVERS` says which settings each of them uses, ``docs/baselines.md`` what
            it is.
        known_kernel: the blur, where it is known: an array ``(h, w)`` of non-negative numbers, true convolution,
            origin at ``(h // 2, w // 2)``, divided by its sum; or the path of one (``.npy``). ``dps`` needs it.
        num_steps: of the priors' N; ``auto``: 50, or 4 with a known kernel and a prior of any size or several samples
            (``benchmarks/results/known_kernel_steps.txt``), or 250 with ``paper``, ``uniform``, ``dps`` and ``ilvr``.
            Of ``selfdeblur`` the iterations (1000), of ``richardson-lucy`` and ``wiener`` the rounds (10).
        start: noise level at which the image's diffusion begins, from the measurement; ``noise`` begins from pure
            noise as the paper does. With a known kernel and boundary ``valid`` it begins from the deconvolved picture,
            at 0.5. ``auto``: 1 for priors of any size, whose pictures are too large for the prior to
            invent from noise, else ``noise``. With several ``scales`` that of the coarsest; the next ones begin at 1
            at most.
        step_size: of the image; ``kernel_step_size`` of the kernel. ``auto``: see :func:`default_steps`.
        step_schedule: ``constant`` (the paper), ``sqrt_alpha_bar`` (the authors' code) or ``likelihood`` (the Gaussian
            log-likelihood's gradient instead of the norm's, with the reverse SDE's own step).
        sparsity: weight of the kernel's penalty ``sparsity_norm``, ``l1`` or ``l0``, as a mean over the support (the
            paper's lambda times h w); 0 is none. ``auto``: 300 where ``start`` is a level, else 1.
        projection: of the kernel onto C: ``simplex`` (Euclidean) or ``normalise`` (clip and divide).
        kernel_weight: of the sum of squares of the kernel in ``pan-l0`` and ``pan-dcp``; 2 is the published one, for
            pictures nearly without noise. ``auto``: ``2e6 noise^2``, at least 2, by the noise given or estimated
            (``docs/baselines.md``).
        linear_light: undo the display gamma (sRGB) around the solver.
        samples: posterior samples.
        update: what ``fast`` keeps of each level's Gaussian: its ``mean``, or a ``draw`` from it, without which several
            samples are too alike (:func:`~blinddps.samplers.blind_proximal`). ``auto``: ``draw`` for several samples
            of one kernel, known or searched, else ``mean``, with which the kernels' agreement was measured.
        restarts: diffusions begun for each sample, of which ``fast`` keeps the one that explains the picture best after
            0.4 of the steps; 4 take 2.2 times the evaluations of one. With several ``scales``: for each solution that a
            smaller size begins anew. ``auto``: 2 there, else 1.
        search: ``edges``: ``fast`` takes the kernel from the picture's edges, sought in frames of several sizes, each
            improved by a learned step, the most credible by a learned verdict (:mod:`blinddps.search`); while that
            doubts, the diffusions' kernel is a candidate too; samples share the kernel. ``draws``: the diffusions
            twice; how far their kernels agree tells how likely the first is right. ``none``: the diffusions alone.
            ``auto``, where neither ``start``, ``scales`` nor ``restarts`` is given: ``edges`` with priors of any size,
            of pictures that have room for it; ``draws`` of one sample with the others, but for a
            uniform prior of the kernel.
        effort: of that search: ``quick`` asks the edges alone, ``usual`` the diffusions where the verdict calls the
            kernel rather wrong than right, ``best`` every source, and the diffusions until it is sure. Of ``draws``
            ``quick`` makes one, which nothing judges.
        scales: sizes at which ``fast`` solves, each half of the next one. Half the size is solved twice (a smaller one
            once), and from what the size below it has found; the next size keeps the best of these. ``auto``: 2 for
            priors of any size where the kernel's support is above 16 pixels and at least a sixth of the picture's
            shorter side, which is at least 64, and ``start`` not given (``docs/solvers.md``), else 1.
        region: ``(x, y, width, height)`` in pixels, or the text ``X,Y,W,H``: the part of the picture on which its
            kernel is found, at least 64 pixels a side. ``none``: the whole. ``auto``: of pictures whose shorter side is
            above 600 pixels the part with most edges; while the verdict doubts, the next best (``effort``: ``quick`` 1
            part, ``usual`` 2, ``best`` 4), of which the surest is kept.
        varying: the blur is sought in regions of the picture, and restored with kernels that vary smoothly between
            them (``fast``, priors of any size, :mod:`~blinddps.restore.varying`); one where the regions agree.
        clipped: of lamps that the camera clipped: ``masked``: they and what they light have no weight where the kernel
            is known or was found along edges (``fast``, :mod:`~blinddps.restore.clipped`). ``kept``: all pixels have.
        max_memory: GB (10^9 bytes) that the process may need, about (``fast``): tiles are made to fit, and what cannot
            fit is refused. ``auto``: no limit, ``none`` in a result.
        family: ``gaussian``, ``moffat``, ``disc``, ``airy`` or ``linear-motion``: a kernel of few parameters, the most
            likely one of the picture (:func:`~blinddps.search.families.fit_family`), then known. ``free``: any.
        psf_from_stars: the kernel is that of the stars in the picture (extra ``stars``), ``kernel_size`` pixels a side,
            25 by default.
        seed: the result depends on it alone.
        device, dtype: ``auto`` (the first of ``cuda``, ``mps`` and ``cpu`` that is there), or ``cpu``, ``cuda:1``, ...
            and ``float32``, ``bfloat16``.
        device_noise: random numbers are drawn on the GPU, which is faster there: other results than elsewhere, with the
            same seed. On a processor it changes nothing.
        tile: pixels a side above which the image network sees tiles, or ``auto``.
        as_published: ``paper`` with what the authors' code has: steps of ``sqrt(alpha_bar)``, no penalty, one noise
            level for image and kernel from pure noise, nothing but zeros beyond the edge.
        weights: file of the trained network of ``nafnet``, ``mprnet``, ``deblurganv2`` or ``tsr-wgan``: a published
            one, or one that ``blinddps train restorer`` wrote (``docs/baselines.md``). Other solvers take none.
    """

    prior: AnyPrior = "photos"
    kernel_prior: AnyPrior = "kernel"
    kernel_size: int | Literal["auto"] = number("auto", 2, whole=True, words=AUTO)
    noise: float | Literal["auto"] = number("auto", MIN_NOISE, 1, words=AUTO)
    shot_noise: str | tuple[float, float] = "auto"
    boundary: Literal["auto", "circular", "zero", "replicate", "reflect", "valid"] = choice("auto", "auto", *BOUNDARIES)
    solver: str = choice("fast", *SOLVERS)
    num_steps: int | Literal["auto"] = number("auto", 1, whole=True, words=AUTO)
    start: float | Literal["auto", "noise"] = number("auto", 0.02, words=("auto", "noise"))
    step_size: float | Literal["auto"] = number("auto", 0, words=AUTO)
    kernel_step_size: float | Literal["auto"] = number("auto", 0, words=AUTO)
    step_schedule: Literal["constant", "sqrt_alpha_bar", "likelihood"] = choice(
        "constant", "constant", "sqrt_alpha_bar", "likelihood"
    )
    sparsity: float | Literal["auto"] = number("auto", 0, words=AUTO)
    sparsity_norm: Literal["l1", "l0"] = choice("l1", "l1", "l0")
    projection: Literal["simplex", "normalise"] = choice("simplex", "simplex", "normalise")
    kernel_weight: float | Literal["auto"] = number("auto", 0, words=AUTO)
    linear_light: bool = False
    samples: int = number(1, 1, whole=True)
    update: Literal["auto", "mean", "draw"] = choice("auto", "auto", "mean", "draw")
    restarts: int | Literal["auto"] = number("auto", 1, whole=True, words=AUTO)
    scales: int | Literal["auto"] = number("auto", 1, MAX_SCALES, whole=True, words=AUTO)
    search: Literal["auto", "none", "edges", "draws"] = choice("auto", "auto", "none", "edges", "draws")
    effort: Literal["quick", "usual", "best"] = choice("usual", "quick", "usual", "best")
    region: str | tuple[int, int, int, int] = "auto"
    varying: bool = False
    clipped: Literal["masked", "kept"] = choice("masked", "masked", "kept")
    max_memory: float | Literal["auto", "none"] = number("auto", 0.1, words=("auto", "none"))
    family: str = choice("free", "free", *FAMILIES)
    psf_from_stars: bool = False
    seed: int = number(0, whole=True)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = choice("auto", "auto", "float32", "bfloat16")
    device_noise: bool = False
    tile: int | Literal["auto"] = number("auto", 64, whole=True, words=AUTO)
    known_kernel: str | os.PathLike[str] | Kernel | None = None
    as_published: bool = False
    weights: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "known_kernel", frozen_kernel(self.known_kernel))
        object.__setattr__(self, "region", checked_region(self.region))
        object.__setattr__(self, "shot_noise", checked_shot_noise(self.shot_noise))
        for f in fields(self):
            value: Any = getattr(self, f.name)
            if hasattr(value, "__index__") and not isinstance(value, int) and f.metadata:  # NumPy's
                object.__setattr__(self, f.name, operator.index(value))
            _check(f, getattr(self, f.name))
        for name in ("prior", "kernel_prior", "tilt_prior"):
            given = getattr(self, name, "")
            if isinstance(given, type) or not (isinstance(given, str | os.PathLike) or callable(given)):
                raise InputError(
                    f"{name} is {given!r}; give the name of a prior or its folder, a loaded one or a denoiser"
                )
        if not isinstance(self.device, str):
            raise InputError(f"device is {self.device!r}; give its name, as 'cpu' or 'cuda:0', or auto")
        for f in fields(self):
            if isinstance(f.default, bool) and not isinstance(getattr(self, f.name), bool):
                raise InputError(f"{f.name} is {getattr(self, f.name)!r}; give True or False")
        if self.shaped and (self.known_kernel is not None or (self.family != "free" and self.psf_from_stars)):
            raise InputError(
                "a known kernel, a family and a kernel from stars exclude each other; give one of known_kernel, family "
                "and psf_from_stars"
            )
        if self.shaped and (self.samples != 1 or solver_info(self.solver).kernel == "none"):
            raise InputError("family and psf_from_stars give one kernel; leave samples out, and choose another solver")
        if solver_info(self.solver).kernel == "needed" and self.known_kernel is None and not self.shaped:
            raise InputError(f"solver '{self.solver}' needs the kernel; give known_kernel (--known-kernel FILE)")
        self._check_weights()
        if self.as_published:
            for name, value in PUBLISHED.items():
                given, default = getattr(self, name), self.__dataclass_fields__[name].default
                object.__setattr__(self, name, value)
                self._publish(name, value if given == default else given)

    @property
    def shaped(self) -> bool:
        """Whether the kernel is of a family or from stars."""
        return self.family != "free" or self.psf_from_stars

    def _check_weights(self) -> None:
        if self.weights is not None and not isinstance(self.weights, str | os.PathLike):
            raise InputError(f"weights is {self.weights!r}; give the path of a file")
        trained = solver_info(self.solver).trained
        if trained and self.weights is None:
            raise InputError(f"solver '{self.solver}' needs its weights; give weights (--weights FILE)")
        if self.weights is not None and not trained:
            names = ", ".join(TRAINED)
            raise InputError(
                f"solver '{self.solver}' takes no weights; leave weights (--weights) out, or choose of {names}"
            )
        object.__setattr__(self, "weights", None if self.weights is None else os.fspath(self.weights))

    def _publish(self, name: str, given: Any) -> None:
        value = PUBLISHED[name]
        if given != value:
            raise InputError(
                f"{name} is {given!r}, and as_published (--as-published) sets it to {value!r}; leave one of them out"
            )

    def networks(self) -> list[str]:
        """Names of the priors that are needed to restore a picture."""
        info = solver_info(self.solver)
        free = self.known_kernel is None and not self.shaped
        found = "kernel_prior" in info.uses and free and self.kernel_prior != "uniform"
        given = [*([self.prior] if info.has_prior else []), *([self.kernel_prior] if found else [])]
        return sorted({os.fspath(name) for name in given if isinstance(name, str | os.PathLike)})


def with_options(settings: Settings, options: dict[str, Any]) -> Settings:
    """``settings`` with single ones replaced by name."""
    known = [f.name for f in fields(settings)]
    for name in options:
        if name not in known:
            raise InputError(unknown_name("option", name, known))
    return _unless_contrary(replace(settings, **options), options)


def from_text(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Settings of those of ``given`` that are settings, numbers as a command line has them; what is no number stays
    text, ``auto`` or something that is refused by name."""
    found = {}
    for f in fields(kind):
        if f.name in given:
            value = given[f.name]
            if isinstance(value, str) and "low" in f.metadata:
                with contextlib.suppress(ValueError):
                    value = int(value) if f.metadata["whole"] else float(value)
            found[f.name] = value
    return _unless_contrary(kind(**found), found)


def _unless_contrary(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """Refuse what was ``given`` by name and ``as_published`` decides otherwise, be it the default."""
    for name in PUBLISHED if settings.as_published else ():
        settings._publish(name, given.get(name, PUBLISHED[name]))
    return settings


def _check(f: Field[Any], value: Any) -> None:
    """Refuse a value that its description does not allow."""
    if "among" in f.metadata and value not in f.metadata["among"]:
        raise InputError(unknown_name(f.name, str(value), f.metadata["among"]))
    if "low" not in f.metadata or (isinstance(value, str) and value in f.metadata["words"]):
        return
    lowest, highest, whole = f.metadata["low"], f.metadata["high"], f.metadata["whole"]
    right = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
    try:
        right = right and math.isfinite(value) and lowest <= value <= highest
    except OverflowError:  # whole numbers of hundreds of digits
        right = False
    if not right:
        kind = "a whole number" if whole else "a number"
        low, high = math.isfinite(lowest), math.isfinite(highest)
        limit = f" from {lowest:g} to {highest:g}" if high else f" of at least {lowest:g}" if low else ""
        auto = ", or auto" if "auto" in f.metadata["words"] else ""
        raise InputError(f"{f.name} is {value!r}; give {kind}{limit}{auto}")


def unused_settings(chosen: DeblurSettings) -> list[str]:
    """Names of the settings that differ from their default and that the chosen solver does not use."""
    names, uses = type(chosen).__dataclass_fields__, used_settings(chosen)
    neutral: dict[str, Any] = {
        "restarts": 1,
        "scales": 1,
        "search": "none",
        "region": "none",
        "shot_noise": "none",
        "max_memory": "none",
        "as_published": chosen.as_published,
    }
    if chosen.as_published:  # which nobody chose one by one
        neutral |= PUBLISHED
    return [n for n in names if n not in uses and getattr(chosen, n) not in (names[n].default, neutral.get(n, "auto"))]


def used_settings(chosen: DeblurSettings) -> frozenset[str]:
    """Names of the settings that change the result of a call."""
    info = solver_info(chosen.solver)
    uses = info.uses
    if chosen.known_kernel is not None and info.kernel != "none":
        uses = uses - KERNEL_PRIOR - {"scales", "search", "effort", "region", "varying"}
        uses = uses - {"num_steps", "samples", "seed", "dtype", "kernel_weight"} if info.room == "baselines" else uses
    if chosen.search == "none":
        uses = uses - {"effort"}
    if chosen.kernel_prior == "uniform":
        uses = uses - {"sparsity", "sparsity_norm"}
        uses = uses | {"kernel_prior"} if chosen.solver == "uniform" else uses
    return uses


def find_device(name: str) -> torch.device:
    if name == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(found)
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].partition(". ")[0][:200]
        raise InputError(f"device '{name}' is not usable here ({reason}); choose cpu or auto") from None
    return device
