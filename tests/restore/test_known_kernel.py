"""Files of kernels, whole and damaged."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from blinddps import deblur
from blinddps.core import InputError, Unknown
from blinddps.operators import Blur
from blinddps.priors import load_prior
from blinddps.restore import DeblurSettings, Problem, load_priors, plan_of, resolve
from blinddps.restore.candidates.known import Deconvolved, deconvolved, restore_image
from blinddps.restore.geometry import crop, extend
from blinddps.restore.known_kernel import frozen_kernel, read_kernel
from blinddps.results import write_kernel

KERNEL = np.array([[0, 1, 2], [3, 4, 0]])


def stored(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def header(text: str, version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    """An array's file with whatever header, and no data."""
    size = (len(text) if length is None else length).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + text.encode("latin-1")


def described(shape: object, dtype: str = "<f8", order: str = "False") -> bytes:
    return header(f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}\n")


@pytest.mark.parametrize(
    "array",
    [
        KERNEL.astype(np.float32),
        KERNEL.astype(">f8"),
        KERNEL.astype(np.uint8),
        KERNEL.astype(np.float16)[None, None],
        np.asfortranarray(KERNEL),
        KERNEL * 5e-324,  # the smallest numbers there are
        KERNEL * 1e306,
    ],
)
def test_files_that_are_kernels(tmp_path: Path, array: np.ndarray) -> None:
    (tmp_path / "k.npy").write_bytes(stored(array) + b"more")
    kernel = read_kernel(tmp_path / "k.npy")
    assert kernel.shape == (1, 1, 2, 3)
    assert np.allclose(kernel[0, 0].numpy(), KERNEL / 10, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32])
def test_tensors_that_are_kernels(dtype: torch.dtype) -> None:
    given = torch.from_numpy(KERNEL).to(dtype)
    given.requires_grad_(dtype.is_floating_point)
    assert np.allclose(read_kernel(frozen_kernel(given))[0, 0].numpy(), KERNEL / 10)


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, k=KERNEL)
    return file.getvalue()


WHOLE = stored(KERNEL.astype(np.float64))
NO_ARRAY = "it holds no array of numbers; save the array with numpy.save"
DAMAGED = {
    "nothing": (b"", NO_ARRAY),
    "text": (b"0 1 2\n3 4 0\n", NO_ARRAY),
    "magic alone": (b"\x93NUMPY", NO_ARRAY),
    "half the header": (WHOLE[:40], NO_ARRAY),
    "half the data": (WHOLE[:-20], "it is cut short; get the file again"),
    "no data": (WHOLE[:128], "it is cut short; get the file again"),
    "an archive": (archive(), NO_ARRAY),
    "half an archive": (archive()[:60], NO_ARRAY),
    "an empty archive": (b"PK\x05\x06" + bytes(18), NO_ARRAY),
    "objects": (stored(np.array([[{}]]), allow_pickle=True), NO_ARRAY),
    "a pickle": (b"\x80\x04}\x94.", NO_ARRAY),
    "dates": (stored(np.zeros((2, 2), "M8[s]")), NO_ARRAY),
    "complex": (stored(np.ones((2, 2), complex)), NO_ARRAY),
    "truths": (stored(np.ones((2, 2), bool)), NO_ARRAY),
    "fields": (stored(np.zeros((2, 2), [("a", "f4")])), NO_ARRAY),
    "version 3": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2)}\n", b"\x03\x00"), NO_ARRAY),
    "version 9": (b"\x93NUMPY\x09\x00" + WHOLE[8:], NO_ARRAY),
    "open brackets": (header("{'descr': (((((\n"), NO_ARRAY),
    "an open string": (header("{'descr': '''<f8, \n"), NO_ARRAY),
    "a zero byte": (header("{'descr': '<f8\0'\n"), NO_ARRAY),
    "deep nesting": (header("(" * 9000 + "\n"), NO_ARRAY),
    "a huge header": (header("{" + " " * 60000 + "}\n"), NO_ARRAY),
    "a header of four gigabytes": (header("{}", b"\x02\x00", 2**32 - 1), NO_ARRAY),
    "no such type": (described((2, 2), "<f99"), NO_ARRAY),
    "a shape that is none": (described("'two'"), NO_ARRAY),
    "a negative shape": (described((-2, 3)), r"has shape \(-2, 3\); give \(h, w\)"),
    "shape 0": (described((0, 3)), r"has shape \(0, 3\); give \(h, w\)"),
    "no shape": (described(()), r"has shape \(\); give \(h, w\)"),
    "three axes": (described((1, 3, 3)), r"has shape \(1, 3, 3\); give \(h, w\)"),
    "a huge shape": (described((2**40, 2**40)), "give at most 4096 x 4096 entries"),
    "a number of 400 digits": (described(f"({'9' * 400}, 3)"), "give at most 4096 x 4096 entries"),
    "too large to be summed": (stored(np.full((8, 8), 1e308)), r"entries up to 1e\+308, whose sum overflows; divide"),
    "infinite": (stored(np.array([[np.inf, 1]])), "negative or not finite; give a kernel"),
    "long doubles": (stored(np.array([[np.longdouble("1e400"), 1]])), "not finite; give a kernel"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_sentence(tmp_path: Path, name: str) -> None:
    content, sentence = DAMAGED[name]
    (tmp_path / "k.npy").write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        read_kernel(tmp_path / "k.npy")
    assert str(tmp_path / "k.npy") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_of_a_kernel(tmp_path: Path) -> None:
    shown = np.rint(KERNEL * 60.0).astype(np.uint8)
    Image.fromarray(shown).save(tmp_path / "k.png")
    Image.fromarray(np.dstack([shown] * 3)).save(tmp_path / "rgb.png")
    tifffile.imwrite(tmp_path / "deep.tif", KERNEL.astype(np.uint16) * 9000)
    tifffile.imwrite(tmp_path / "float.tiff", KERNEL.astype(np.float32) / 10)
    for name in ("k.png", "rgb.png", "deep.tif", "float.tiff"):
        assert np.allclose(read_kernel(tmp_path / name)[0, 0].numpy(), KERNEL / 10, atol=1e-6), name
    Image.fromarray(np.full((4, 4), 200, np.uint8)).save(tmp_path / "box.png")
    assert np.allclose(read_kernel(tmp_path / "box.png").numpy(), 1 / 16)


@pytest.mark.parametrize(("shape", "shown"), [((15, 31), (248, 120)), ((9, 9), (252, 252))])  # 252 is 126 x 2 too
def test_a_kernel_that_was_enlarged_for_the_eye_is_read_at_its_own_size(
    tmp_path: Path, shape: tuple[int, int], shown: tuple[int, int]
) -> None:
    k = np.random.default_rng(0).random(shape).astype(np.float32)
    write_kernel(tmp_path / "k.npy", k / k.sum())
    assert Image.open(tmp_path / "k.png").size == shown
    assert np.allclose(read_kernel(tmp_path / "k.png")[0, 0].numpy(), k / k.sum(), atol=0.003 * k.max() / k.sum())
    square = np.zeros((8, 8), np.uint8)
    square[2:6, 2:6] = 255  # pixels are repeated here too, and mean it
    Image.fromarray(square).save(tmp_path / "square.png")
    assert read_kernel(tmp_path / "square.png").shape == (1, 1, 8, 8)


def test_a_kernel_of_one_entry_is_no_blur(tiny: dict[str, Any], picture: Any) -> None:
    """It was refused, with a sentence on kernel_size, which nobody had given."""
    given = {name: tiny[name] for name in ("prior", "device", "dtype")}
    assert deblur(picture(), **given, known_kernel=np.ones((1, 1))).kernel.shape == (1, 1)


def test_pictures_that_are_no_kernel(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    negative = np.full((9, 9), 255, np.uint8)
    negative[4, 2:7] = 0
    Image.fromarray(negative).save(tmp_path / "negative.png")
    Image.fromarray(negative).save(tmp_path / "jpeg.jpg")
    (tmp_path / "jpeg.jpg").rename(tmp_path / "jpeg.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("0 1 2")
    for name, sentence in {
        "colour.png": "is a picture in colour; give a grey one",
        "negative.png": "is dark on a light ground; give it light on black",
        "jpeg.png": "is a JPEG file; give PNG, TIFF or NPY",
        "black.png": "is zero everywhere",
        "text.png": "cannot read kernel '.*text.png': its content is not",
        "none.tif": "cannot read kernel '.*none.tif': No such file",
    }.items():
        with pytest.raises(InputError, match=sentence) as caught:
            read_kernel(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"is no \.npy, \.png, \.tif or \.fits file"):
        read_kernel(tmp_path / "k.txt")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")  # it would be waited for
    for name in ("folder.npy", "pipe.npy"):
        with pytest.raises(InputError, match="it is not a regular file; save the array"):
            read_kernel(tmp_path / name)
    with pytest.raises(InputError, match="does not exist; check the path"):
        read_kernel(tmp_path / "none.npy")


def test_an_array_is_as_large_as_a_file_may_be() -> None:
    """A broadcast one takes a byte, its numbers as doubles terabytes."""
    for shape in ((10**6, 10**6), (4097, 3)):
        with pytest.raises(InputError, match="known_kernel is too large; give at most 4096 x 4096 entries"):
            read_kernel(np.broadcast_to(np.uint8(1), shape))  # type: ignore[arg-type]


def test_a_name_that_no_file_can_have() -> None:
    for name in ("\ud800.npy", "k\0.npy"):
        with pytest.raises(InputError, match=r"cannot read kernel '.*': no file can have this name; check it"):
            read_kernel(name)


def test_a_shape_of_truths_is_one_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "k.npy").write_bytes(described("(True, 3)")[0:] + np.ones(3).tobytes())
    assert read_kernel(tmp_path / "k.npy").shape == (1, 1, 1, 3)


def test_the_image_of_a_kernel_is_what_deblur_makes_of_it(tiny: dict[str, Any], picture: Any, make_prior: Any) -> None:
    """Whatever else the problem says of kernels and steps; one kernel for each measurement is taken too."""
    given, kernel = picture(40, 44), np.random.default_rng(0).random((5, 6)).astype(np.float32)
    options = {name: tiny[name] for name in ("prior", "device", "dtype")}
    known = deblur(given, **options, known_kernel=kernel, noise=0.02)
    assert known.nfe == {"image": 4}
    assert known.settings.start == 0.5
    fixed = options | {"prior": make_prior("image", 3, any_size=False, sizes=(40,))}
    face = deblur(given[:, :40], **fixed, known_kernel=kernel, noise=0.02)
    assert (face.nfe, face.settings.start) == ({"image": 8}, 0.5)
    face = deblur(given[:, :40], **fixed, known_kernel=kernel, noise=0.02, boundary="replicate", num_steps=3)
    assert face.settings.start == "noise"
    settings = DeblurSettings(**{**tiny, "num_steps": 7, "restarts": 3, "noise": 0.02})
    y = torch.from_numpy(given.transpose(2, 0, 1)[None]) * 2 - 1
    settings = resolve(settings, y, torch.device("cpu"))
    problem = Problem(y, plan_of(settings, (40, 44)), *load_priors(settings, torch.device("cpu")), sigma_y=0.04)
    k = read_kernel(frozen_kernel(kernel))
    found = restore_image(problem, k).estimate
    assert found["image"].shape == (1, 3, 44, 49)
    assert torch.equal(found["kernel"], k)
    shown = (crop(found["image"], y.shape)[0].permute(1, 2, 0).numpy() + 1) / 2
    assert np.allclose(shown, known.image, atol=1e-5)

    both = replace(problem, y=y.repeat(2, 1, 1, 1), seed=[0, 0])
    two = restore_image(both, torch.cat([k, k.flip(-1)])).estimate["image"]
    assert torch.allclose(two[:1], found["image"], atol=1e-4)
    assert not torch.allclose(two[1:], found["image"], atol=1e-2)


def test_a_known_kernel_begins_where_the_blur_is_off(tiny: dict[str, Any]) -> None:
    """Nearer to the truth than the measurement, all over: nothing is assumed beyond the border."""
    rng = np.random.default_rng(5)
    sharp = torch.from_numpy(np.kron(rng.random((1, 1, 16, 17)), np.ones((6, 6))).astype(np.float32)) * 1.6 - 0.8
    kernel = torch.full((1, 1, 1, 9), 1 / 9)
    y = Blur("valid")(image=sharp, kernel=kernel)
    y = y + 0.01 * torch.from_numpy(rng.standard_normal(y.shape).astype(np.float32))
    unknown = Unknown(
        load_prior("photos"), (1, *sharp.shape[-2:]), initial=extend(y, sharp.shape[-2:]), start_sigma=0.5
    )
    begun = Deconvolved(deconvolved(y, kernel, 0.01)).begin({"image": unknown}, y)["image"]
    assert begun.start_sigma == 0.5
    assert begun.initial is not None
    before, after = ((x - sharp).square().mean().sqrt() for x in (unknown.initial, begun.initial))
    assert after < 0.6 * before
    border = (..., slice(None), slice(4, 12))  # what the measurement holds of its first columns
    assert (begun.initial - sharp)[border].square().mean() < 0.6 * (unknown.initial - sharp)[border].square().mean()


def test_a_kernel_may_be_a_fits_file(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    k = np.zeros((9, 9), np.float32)
    k[3:6, 4] = (1, 2, 1)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(40 * k, name="PSF")]).writeto(tmp_path / "k.fits")
    np.testing.assert_allclose(read_kernel(tmp_path / "k.fits")[0, 0].numpy(), k / 4, atol=1e-5)
