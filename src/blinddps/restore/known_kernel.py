"""A blur kernel that the user knows: checked, read, brought to sum one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Kernel", "frozen_kernel", "read_kernel"]

Kernel = tuple[tuple[float, ...], ...]


def frozen_kernel(given: Any) -> str | Kernel | None:
    """What settings keep of a kernel: a path as text, an array as rows of numbers, so that settings compare and are
    written as JSON.

    Raises:
        InputError: an array that is no kernel; see :func:`read_kernel`. A path is not opened.
    """
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, os.PathLike):
        return os.fspath(given)
    return tuple(map(tuple, _checked(given, "known_kernel").tolist()))


def read_kernel(given: str | os.PathLike[str] | Kernel, picture: tuple[int, int] | None = None) -> Tensor:
    """The kernel ``(1, 1, h, w)`` float32, sum one.

    Args:
        given: path of a ``.npy`` file, or the numbers.
        picture: rows and columns of the picture it has blurred, where there is one to compare with.

    Raises:
        InputError: a file that cannot be read, another shape than ``(h, w)`` or ``(1, 1, h, w)``, entries that are not
            finite or negative, all zero, or a kernel larger than the picture.
    """
    if isinstance(given, (str, os.PathLike)):
        array = _checked(_load(Path(given)), f"kernel '{os.fspath(given)}'")
    else:
        array = _checked(given, "known_kernel")
    (h, w), (height, width) = array.shape, picture or array.shape
    if h > height or w > width:
        raise InputError(
            f"the known kernel is {w} x {h} pixels and the picture {width} x {height}; "
            "give the part of it that is not zero"
        )
    kernel = torch.from_numpy(array / array.sum()).float()[None, None]
    return kernel / kernel.sum()


def _load(path: Path) -> Any:
    import numpy as np

    if path.suffix.lower() != ".npy":
        raise InputError(f"kernel '{path}' is no .npy file; save the array with numpy.save")
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"kernel '{path}' does not exist; check the path") from None
    except (OSError, ValueError, EOFError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it holds no array of numbers"
        raise InputError(f"cannot read kernel '{path}': {reason}; save the array with numpy.save") from None


def _checked(given: Any, name: str) -> np.ndarray:
    import numpy as np

    try:
        array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
        if array.dtype.kind not in "uif":
            raise ValueError
        array = array.astype(np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{name} is no array of numbers; give (h, w)") from None
    shape = array.shape
    if array.ndim == 4 and shape[:2] == (1, 1):
        array = array[0, 0]
    if array.ndim != 2 or 0 in shape:
        raise InputError(f"{name} has shape {shape}; give (h, w)")
    if not np.isfinite(array).all() or array.min() < 0:
        raise InputError(f"{name} has entries that are negative or not finite; give a kernel of non-negative numbers")
    if array.max() == 0:
        raise InputError(f"{name} is zero everywhere; give a kernel with mass")
    return array
