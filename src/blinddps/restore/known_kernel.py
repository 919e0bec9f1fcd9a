"""A blur kernel that the user knows: checked, read, brought to sum one."""

from __future__ import annotations

import math
import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor

from ..core import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Kernel", "frozen_kernel", "read_kernel"]

Kernel = tuple[tuple[float, ...], ...]

PICTURES = (".png", ".tif", ".tiff", ".fits", ".fit")  # of kernels; a JPEG has speckle beside them

_LONGEST = 4096  # entries of a side: what is longer is no blur, and 128 MB in double precision
_SHOWN = 256  # pixels to which kernels are enlarged for the eye


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
        given: path of a ``.npy``, ``.png``, ``.tif`` or ``.fits`` file, or the numbers. A picture is grey, the kernel
            light on black; one that this program enlarged for the eye (``NAME_kernel.png``) is read at its own size.
        picture: rows and columns of the picture it has blurred, where there is one to compare with.

    Raises:
        InputError: a file that cannot be read, another shape than ``(h, w)`` or ``(1, 1, h, w)``, entries that are not
            finite or negative, all zero, or too large to be summed, or a kernel larger than the picture.
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

    if path.suffix.lower() in PICTURES:
        return _of_picture(path)
    if path.suffix.lower() != ".npy":
        raise InputError(f"kernel '{path}' is no .npy, .png, .tif or .fits file; save the array with numpy.save")
    remedy = "save the array with numpy.save"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"cannot read kernel '{path}': it is not a regular file; {remedy}")
        with open(path, "rb") as file:
            shape, columns_first, dtype = _header(file)
            if dtype is None or dtype.hasobject or dtype.kind not in "uif":
                raise InputError(f"cannot read kernel '{path}': it holds no array of numbers; {remedy}")
            _check_shape(shape, f"kernel '{path}'")
            length = math.prod(shape) * dtype.itemsize
            content = file.read(length)
    except FileNotFoundError:
        raise InputError(f"kernel '{path}' does not exist; check the path") from None
    except InputError:
        raise
    except ValueError:  # half a character, a zero
        raise InputError(f"cannot read kernel '{path}': no file can have this name; check it") from None
    except OSError as error:
        raise InputError(f"cannot read kernel '{path}': {error.strerror or error}; {remedy}") from None
    if len(content) < length:
        raise InputError(f"cannot read kernel '{path}': it is cut short; get the file again")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if columns_first else "C")


def _of_picture(path: Path) -> np.ndarray:
    """The values ``(h, w)`` of a grey picture of a kernel."""
    import numpy as np

    from ..io import read_image

    try:
        picture = read_image(path, warn=False, max_pixels=_LONGEST**2)
    except InputError as error:
        raise InputError(f"cannot read kernel {str(error).removeprefix('cannot read ')}") from None
    if picture.format not in ("PNG", "TIFF", "FITS"):
        raise InputError(f"kernel '{path}' is a {picture.format} file; give PNG, TIFF or NPY, which keep it exactly")
    k: np.ndarray = picture.data[..., 0]
    if picture.scaled:
        k = picture.low + k.astype(np.float64) * (picture.high - picture.low)
        k = np.where(np.abs(k) > 1e-6 * np.abs(k).max(), k, 0.0)  # zeros again, after the rounding
        return k
    if (picture.data != k[..., None]).any():
        raise InputError(f"kernel '{path}' is a picture in colour; give a grey one")
    rim = float(np.median(np.concatenate([k[0], k[-1], k[:, 0], k[:, -1]])))
    if rim > 0.9 * float(k.max()) and rim > float(k.mean()):
        raise InputError(f"kernel '{path}' is dark on a light ground; give it light on black, as it gathers light")
    return _own_size(k)


def _own_size(k: np.ndarray) -> np.ndarray:
    """A kernel at its own size where it was enlarged for the eye, as ``NAME_kernel.png`` is: pixels repeated."""
    h, w = k.shape
    for times in range(_SHOWN, 1, -1):
        if h % times == 0 and w % times == 0 and _SHOWN // (max(h, w) // times) == times:
            small = k[::times, ::times]
            if (small.repeat(times, 0).repeat(times, 1) == k).all():
                return small
    return k


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if shape[:-2] not in ((), (1, 1)) or len(shape) < 2 or min(shape) < 1:
        raise InputError(f"{name} has shape {shape}; give (h, w)")
    if max(shape) > _LONGEST:
        raise InputError(f"{name} is too large; give at most {_LONGEST} x {_LONGEST} entries")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype | None]:
    """Shape, whether columns come first, and type, which is None where the file begins like no array."""
    import numpy as np

    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, columns_first, dtype = readers[np.lib.format.read_magic(file)](file)
            return tuple(map(int, shape)), columns_first, dtype  # True is an int to NumPy
    except OSError:
        raise
    except Exception:  # NumPy evaluates the header as Python: whatever damage it has raises what Python would
        return (), False, None


def _checked(given: Any, name: str) -> np.ndarray:
    import numpy as np

    try:
        if isinstance(given, Tensor):
            given = given.detach().cpu()
            given = given.double() if given.is_floating_point() else given  # NumPy knows no bfloat16
        if np.ma.is_masked(given):
            raise InputError(f"{name} has masked entries; fill them first")
        array = np.asarray(given)
        if array.dtype.kind not in "uif":
            raise ValueError
        _check_shape(array.shape, name)
        with np.errstate(over="ignore"):  # of long doubles
            array = array.astype(np.float64)
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} is no array of numbers; give (h, w)") from None
    array = array[0, 0] if array.ndim == 4 else array
    if not np.isfinite(array).all() or array.min() < 0:
        raise InputError(f"{name} has entries that are negative or not finite; give a kernel of non-negative numbers")
    if array.max() == 0:
        raise InputError(f"{name} is zero everywhere; give a kernel with mass")
    with np.errstate(over="ignore"):
        total = array.sum()
    if not np.isfinite(total):
        raise InputError(f"{name} has entries up to {array.max():g}, whose sum overflows; divide them by the largest")
    return array
