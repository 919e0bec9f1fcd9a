"""What a visitor may choose: options of the command line, with its words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..io.stacked import frames_asked
from .limits import Refused

__all__ = ["FEW", "PRESETS", "Control", "checked", "command", "described"]

FEW = ("prior", "effort", "kernel_size", "noise", "frames")
NOT_OFFERED = ("device", "dtype", "known_kernel", "max_memory")  # the owner's; a file, which is not typed
OWN = ("form", "frames")  # of the command, not of the settings
LONGEST = 40  # characters of a value
PRESETS: dict[str, dict[str, Any]] = {
    "Phone shake": {"kind": "deblur", "options": {}, "about": "The kernel is a path that the hand drew."},
    "Out of focus": {
        "kind": "deblur",
        "options": {"linear_light": "true"},
        "about": "A lens blurs light, so the sRGB curve is undone first.",
    },
    "Telescope": {
        "kind": "turbulence",
        "options": {},
        "about": "A video or several frames of one scene, seen through moving air.",
    },
    "Text": {
        "kind": "deblur",
        "options": {"effort": "best"},
        "about": "More is tried. No prior for letters is shipped: read the result with care.",
    },
    "Face": {
        "kind": "deblur",
        "options": {"prior": "faces-128"},
        "about": "A square picture of one face, restored at 128 x 128 pixels.",
    },
}


@dataclass(frozen=True)
class Control:
    """An option of the command line: its name among the settings, how it is written, what it is by default (as text; of
    a flag ``true`` or ``false``), and its help."""

    name: str
    flag: str
    default: str
    help: str
    metavar: str = ""
    off: str = ""  # how a flag that is on by default is turned off
    is_flag: bool = False
    more: str = ""  # the part of --help it stands in


def described(kind: str, controls: Sequence[Control]) -> list[dict[str, Any]]:
    """For the page: each option that a visitor may set, and the words to choose from, where it is one of a few."""
    from ..priors import read_card, shipped_priors
    from ..restore import DeblurSettings, TurbulenceSettings

    settings = {f.name: f for f in fields(DeblurSettings if kind == "deblur" else TurbulenceSettings)}
    unknown = {name: read_card(name).unknown for name in shipped_priors()}
    named = {
        "prior": sorted((n for n, u in unknown.items() if u == "image"), key=lambda n: (n != "photos", n)),
        "kernel_prior": [*(n for n, u in unknown.items() if u == "kernel"), "uniform"],
        "tilt_prior": ["stationary", *(n for n, u in unknown.items() if u == "tilt")],
        "form": ["auto", "same", "png", "jpeg", "webp", "tiff", "npy", "fits"],
    }
    found = []
    for control in controls:
        if control.name in NOT_OFFERED or not (control.name in settings or control.name in OWN):
            continue
        among = named.get(control.name)
        if among is None and control.name in settings:
            among = list(settings[control.name].metadata.get("among", ()))
        found.append(asdict(control) | {"among": among or [], "few": control.name in FEW})
    return found


def checked(offered: Sequence[Mapping[str, Any]], given: Any) -> dict[str, Any]:
    """What a visitor chose that is not the default.

    Raises:
        Refused: it names no option that is offered, or none of the words to choose from.
        InputError: frames are neither a number nor a share.
    """
    if not isinstance(given, dict):
        raise Refused("the options are no JSON object")
    by_name = {control["name"]: control for control in offered}
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        control = by_name.get(name)
        if control is None:
            raise Refused(f"this page has no option {str(name)[:LONGEST]!r}")
        if not isinstance(value, str) or len(value) > LONGEST:
            raise Refused(f"{control['flag']} needs a text of at most {LONGEST} characters")
        value = value.strip()
        among = ["true", "false"] if control["is_flag"] else control["among"]
        if among and value not in among:
            raise Refused(f"{control['flag']} is {value!r}; choose {', '.join(among)}")
        if value not in ("", control["default"]):
            chosen[name] = value == "true" if control["is_flag"] else value
    frames_asked(chosen.get("frames", "auto"))
    return chosen


def command(
    kind: str, offered: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], source: str, kernel: str = ""
) -> str:
    """The same as a command line."""
    by_name = {control["name"]: control for control in offered}
    words = ["blinddps", kind, source if not source.startswith("-") else f"./{source}", "--out", "restored"]
    for name, value in chosen.items():
        control = by_name[name]
        if control["is_flag"]:
            words.append(control["flag"] if value else control["off"])
        else:
            words += [control["flag"], str(value)]
    return shlex.join([*words, *(["--known-kernel", kernel] if kernel else [])])
