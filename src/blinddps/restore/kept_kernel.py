"""The kernel of a large picture, kept beside its tiles, so that a call that was killed does not seek it again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import InputError, Outcome
from ..core.atomic import write_json
from ..core.reading import read_text
from ..version import __version__
from .regions import Region
from .settings import DeblurSettings
from .tiles import KERNEL, key_in, key_of

if TYPE_CHECKING:
    import numpy as np

    from .whole import Deblurred

__all__ = ["Found", "KeptKernel"]

Regions = tuple[tuple[Region, float | None], ...]


@dataclass(frozen=True)
class Found:
    """Of :class:`~blinddps.restore.Deblurred` what is told of the part on which the kernel was found."""

    kernel: np.ndarray
    outcome: tuple[Outcome, ...]
    confidence: float | None
    agreement: float | None
    nfe: dict[str, int]
    notes: tuple[str, ...]
    seconds: float
    priors: dict[str, Any]


class KeptKernel:
    """A file of :data:`~blinddps.restore.tiles.KERNEL` in the ``folder`` of a picture's tiles.

    It answers to the same picture and settings alone. What is damaged or another's is passed over, and replaced only
    where it was ours.
    """

    def __init__(self, folder: Path, data: np.ndarray, settings: DeblurSettings) -> None:
        self._path, self._key = folder / KERNEL, key_of(data, settings, None)

    def get(self) -> tuple[Found, Region, Regions] | None:
        """Kernel, part and the parts that were asked."""
        import numpy as np

        with suppress(OSError, ValueError, InputError, RecursionError, AttributeError, KeyError, TypeError):
            held = json.loads(read_text(self._path))
            if held["key"] != self._key:
                return None
            x, y, width, height = held["region"]
            told = {name: held[name] for name in ("confidence", "agreement", "nfe", "seconds", "priors")}
            found = Found(
                kernel=np.array(held["kernel"], np.float32),
                outcome=tuple(Outcome(**one) for one in held["outcome"]),
                notes=(*held["notes"], "the kernel had been kept by an earlier call and was not sought again"),
                **told,
            )
            regions = tuple((tuple(region), sure) for region, sure in held["regions"])
            return found, (x, y, width, height), regions
        return None

    def put(self, found: Deblurred | Found, region: Region, regions: Regions) -> None:
        """Keep it; the folder is made."""
        told = {name: getattr(found, name) for name in Found.__dataclass_fields__}
        told |= {"kernel": found.kernel.tolist(), "outcome": [asdict(one) for one in found.outcome]}
        told |= {"region": region, "regions": regions, "environment": {"blinddps": __version__}}
        try:
            self._path.parent.mkdir(exist_ok=True)
            if not self._path.exists() or key_in(self._path) is not None:
                write_json(self._path, {"key": self._key, **told})
        except OSError as error:
            raise InputError(
                f"cannot keep the kernel in '{self._path.parent}': {error.strerror}; give another --out"
            ) from error
