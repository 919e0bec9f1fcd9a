"""What a benchmark is made of, read from TOML: data, degradations, methods, and what was published."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from blinddps.core import BlinddpsError, InputError, unknown_name
from blinddps.core.reading import parse_toml, read_text

__all__ = [
    "Data",
    "Defocus",
    "Degradation",
    "Gaussian",
    "Method",
    "Motion",
    "Own",
    "Published",
    "Spec",
    "Turbulence",
    "builtin_specs",
    "load_spec",
    "parse_spec",
]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Boundary = Literal["circular", "zero", "replicate", "reflect", "valid"]
PSEUDO = ("input", "known-kernel")
_LONGEST = 2**20  # bytes


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(_Strict):
    """Pictures, by default all: ``count`` of them from the ``start``-th on.

    Attributes:
        source: folder or tar, relative to the folder of data sets.
        layout: how the source is laid out, see :mod:`.datasets`.
        crop: side of the centre crop taken, pixels of the picture.
        size: side of the square that is left: the centre of the (cropped) picture, reduced (bicubic, antialiased), or
            enlarged where its shorter side is less, as is usual for ImageNet.
    """

    source: str = Field(min_length=1)
    layout: Literal["pictures", "ffhq", "afhq-dog", "imagenet", "levin"] = "pictures"
    start: NonNegativeInt = 0
    count: PositiveInt | None = None
    crop: PositiveInt | None = None
    size: PositiveInt | None = None


class _Blurred(_Strict):
    name: Name = ""
    kernel_size: int = Field(default=32, ge=3)
    noise: float = Field(default=0.01, ge=0, le=1, description="standard deviation where white is 1")
    boundary: Boundary = "replicate"

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value.get("kind", ""), **value} if isinstance(value, dict) else value


class Motion(_Blurred):
    """Camera shake, of :func:`blinddps.simulate.motion_kernels`."""

    kind: Literal["motion"]
    intensity: float = Field(default=0.5, ge=0, le=1)


class Gaussian(_Blurred):
    """An isotropic Gaussian of ``std`` pixels."""

    kind: Literal["gaussian"]
    std: float = Field(default=3.0, gt=0)


class Defocus(_Blurred):
    """A disc of ``radius`` pixels."""

    kind: Literal["defocus"]
    radius: float = Field(default=4.0, ge=0.5)


class Turbulence(_Blurred):
    """Tilt, then a Gaussian of ``std`` pixels, in each of ``frames``.

    ``tilt``: ``patch``, the paper's, or ``atmospheric``, stationary with ``rms`` and ``aperture`` in pixels.
    """

    kind: Literal["turbulence"]
    boundary: Literal["circular", "zero", "replicate", "reflect"] = "replicate"
    std: float = Field(default=2.0, gt=0)
    tilt: Literal["patch", "atmospheric"] = "patch"
    rms: float = Field(default=1.0, gt=0)
    aperture: float = Field(default=16.0, gt=0)
    frames: PositiveInt = 1


class Own(_Strict):
    """The data set's own blurred pictures and kernels (Levin); ``noise`` is what is thought to be in them."""

    kind: Literal["own"]
    name: Name = "own"


KINDS: dict[str, type[BaseModel]] = {
    "motion": Motion,
    "gaussian": Gaussian,
    "defocus": Defocus,
    "turbulence": Turbulence,
    "own": Own,
}
Degradation = Annotated[Motion | Gaussian | Defocus | Turbulence | Own, Field(discriminator="kind")]


class Method(_Strict):
    """A name, and the options of a call.

    Attributes:
        call: ``deblur`` (:func:`blinddps.deblur`), ``turbulence`` (:func:`blinddps.restore_turbulence`), ``input`` (the
            measurement itself) or ``known-kernel`` (the fast solver with the operator known: the ceiling). Methods
            named like the last two are those.
        label: what tables call it.
        options: of the call, over the spec's ``defaults``.
        known_kernel: ``deblur`` is given the true kernel as its argument ``known_kernel``, for non-blind solvers.
        kernel: it estimates a kernel; false for methods that know no blur, whose kernel is none to be measured.
        count: only the first so many items, for slow methods.
    """

    name: Name
    call: Literal["deblur", "turbulence", "input", "known-kernel"] = "deblur"
    label: str = ""
    options: dict[str, Any] = {}
    known_kernel: bool = False
    kernel: bool = True
    count: PositiveInt | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        name = value.get("name", "")
        return {"call": name if name in PSEUDO else "deblur", "label": name, **value}


class Published(_Strict):
    """Figures of others, shown beside ours and never mixed with them; ``degradation`` says in which table."""

    method: str = Field(min_length=1)
    data: str = Field(min_length=1)
    source: str = Field(min_length=1)
    degradation: str | None = None
    values: dict[str, float] = Field(min_length=1)


class Spec(_Strict):
    """One benchmark. Every item meets every degradation under every seed, and every method restores it.

    Attributes:
        name, title, about: of the benchmark; ``about`` may be several paragraphs.
        reference: method that the others are compared with, item by item.
        seeds: each gives kernels, noise and solver other random numbers.
        trace: keep the error of image and kernel after every step.
        defaults: options of all methods that take options.
    """

    name: Name
    title: str = ""
    about: str = ""
    data: Data
    degradation: tuple[Degradation, ...] = Field(min_length=1)
    method: tuple[Method, ...] = Field(min_length=1)
    reference: str | None = None
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0,), min_length=1)
    trace: bool = False
    defaults: dict[str, Any] = {}
    published: tuple[Published, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Spec:
        methods, degradations = [m.name for m in self.method], [d.name for d in self.degradation]
        for kind, names in (("method", methods), ("degradation", degradations), ("seed", list(map(str, self.seeds)))):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} '{twice[0]}' is there twice; give each a name of its own")
        if self.reference is not None and self.reference not in methods:
            raise ValueError(unknown_name("method", self.reference, methods))
        for row in self.published:
            if row.degradation is not None and row.degradation not in degradations:
                raise ValueError(unknown_name("degradation", row.degradation, degradations))
        own = any(isinstance(d, Own) for d in self.degradation)
        if own and self.data.layout != "levin":
            raise ValueError(
                f"layout '{self.data.layout}' has no blurred pictures of its own; take another degradation"
            )
        if own and (self.data.crop or self.data.size):
            raise ValueError("a data set's own blurred pictures are taken whole; leave out crop and size")
        return self

    def options(self, method: Method) -> dict[str, Any]:
        """All options of a method's call."""
        return {} if method.call == "input" else {**self.defaults, **method.options}


def load_spec(path: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> Spec:
    """Read and check a spec: every key, and every option of every method.

    Args:
        path: of the TOML file.
        options: of every method that takes options, over the spec's own.

    Raises:
        InputError: a file that cannot be read, a key that is unknown or missing, a value out of its range, or a method
            with an option or solver that does not exist; the sentence names it.
    """
    return parse_spec(read_text(path, "spec", remedy="give a TOML file", limit=_LONGEST), str(path), options)


def parse_spec(content: str, where: str = "<text>", options: Mapping[str, Any] | None = None) -> Spec:
    """:func:`load_spec` of a file's content; ``where`` is its name in messages."""
    table = parse_toml(content, f"spec '{where}'", remedy="mend the file")
    try:
        spec = Spec(**table)
    except ValidationError as error:
        raise InputError(f"spec '{where}': {_sentence(error)}") from None
    if options:
        methods = [m.model_copy(update={"options": _without(m.options, options)}) for m in spec.method]
        spec = spec.model_copy(update={"defaults": {**spec.defaults, **options}, "method": tuple(methods)})
    for method in spec.method:
        try:
            _check(spec, method)
        except BlinddpsError as error:
            raise InputError(f"spec '{where}': method '{method.name}': {error}") from None
    return spec


def _without(own: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in own.items() if name not in others}


def builtin_specs(folder: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Name and file of each spec in ``folder``, by default of those that come with the package: the paper's tables.

    Raises:
        InputError: there is no such folder.
    """
    place = Path(folder) if folder is not None else Path(__file__).parent / "specs"
    if not place.is_dir():
        raise InputError(f"folder '{place}' does not exist; give none for the specs that come with the package")
    return {path.stem: path for path in sorted(place.glob("*.toml"))}


def _sentence(error: ValidationError) -> str:
    # a misspelt key is also a missing one: the misspelling says more
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    parts = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        *parents, field = parts
        sections: dict[str, type[BaseModel]] = {"data": Data, "method": Method, "published": Published, **KINDS}
        model = next((sections[p] for p in reversed(parents) if p in sections), Spec)
        return f"{_place(parents)}{unknown_name('key', field, model.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_invalid":
        return f"{_place(parts)}{unknown_name('kind', str(first['input'].get('kind')), KINDS)}"
    if first["type"] == "union_tag_not_found":
        return f"{_place(parts)}'kind' is missing; give one of {', '.join(KINDS)}"
    if first["type"] == "missing":
        return f"{_place(parts[:-1])}'{parts[-1]}' is missing"
    if first["type"] == "int_parsing_size":
        return f"{_place(parts)}it has too many digits; give a smaller number"
    return f"{_place(parts)}{message[:1].lower()}{message[1:]}"


def _place(parts: list[str]) -> str:
    """``method 2 options: `` from ``method, 1, options``; kinds of the union are left out."""
    shown = [str(int(p) + 1) if re.fullmatch(r"\d+", p) else p for p in parts]
    if len(shown) > 2 and shown[0] == "degradation":
        del shown[2]
    return f"{' '.join(shown)}: " if shown else ""


def _check(spec: Spec, method: Method) -> None:
    """Raise what the method's call would say to its options."""
    import blinddps

    from ..restore.settings import with_options

    options = spec.options(method)
    if method.call == "input":
        if method.options:
            raise InputError(f"'input' is the measurement and has no options; leave out {', '.join(method.options)}")
        return
    for name in ("seed", "on_step", "picture", "settings", "known_kernel"):
        if name in options:
            raise InputError(f"'{name}' cannot be an option of a method; a spec has 'seeds' and 'known_kernel = true'")
    settings = blinddps.TurbulenceSettings() if method.call == "turbulence" else blinddps.DeblurSettings()
    checked = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    if method.known_kernel and method.call == "deblur":
        checked["known_kernel"] = ((1.0,),)  # a solver may refuse to be without; the true one is known with the item
    with_options(settings, checked)
    if method.known_kernel and method.call != "deblur":
        raise InputError("this call takes no 'known_kernel'; use the method 'known-kernel' or another solver")
    of_turbulence = [d for d in spec.degradation if isinstance(d, Turbulence)]
    if method.call == "turbulence" and len(of_turbulence) < len(spec.degradation):
        raise InputError("the call 'turbulence' is for degradations of the kind 'turbulence' alone")
    if method.call == "known-kernel" and any(d.frames > 1 for d in of_turbulence):
        raise InputError("'known-kernel' restores single pictures; set frames = 1")
