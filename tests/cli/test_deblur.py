"""``blinddps deblur`` as a process: every format, every kind of bad input, and what lies in the folder afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

Call = Callable[..., Any]

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    """A smooth random picture."""
    import cv2

    noise = np.random.default_rng(seed).random(shape)
    unit = cv2.GaussianBlur(noise, (0, 0), 2).reshape(shape)
    unit = (unit - unit.min()) / np.ptp(unit)
    return unit.astype(dtype) if np.dtype(dtype).kind == "f" else np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def write_formats(folder: Path) -> dict[str, np.ndarray]:
    """One file of each kind, written by other libraries than ours where there is one; the pixels of each."""
    import cv2

    pixels = {
        "rgb8.png": picture(20, 24, 3),
        "grey8.png": picture(20, 24),
        "rgba8.png": picture(20, 24, 4),
        "rgb16.png": picture(20, 24, 3, dtype=np.uint16),
        "rgb16.tif": picture(20, 24, 3, dtype=np.uint16),
        "float.tiff": picture(20, 24, 3, dtype=np.float32),
        "rotated.jpg": picture(20, 24, 3),
        "half.npy": picture(20, 24, 3, dtype=np.float16),
        "grey.npy": picture(20, 24, dtype=np.uint8),
    }
    for name in ("rgb8.png", "grey8.png", "rgba8.png"):
        Image.fromarray(pixels[name]).save(folder / name, icc_profile=PROFILE if name == "rgb8.png" else None)
    cv2.imwrite(str(folder / "rgb16.png"), pixels["rgb16.png"][..., ::-1])
    tifffile.imwrite(folder / "rgb16.tif", pixels["rgb16.tif"], photometric="rgb")
    tifffile.imwrite(folder / "float.tiff", pixels["float.tiff"], photometric="rgb")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(pixels["rotated.jpg"]).save(folder / "rotated.jpg", exif=exif)
    for name in ("half.npy", "grey.npy"):
        np.save(folder / name, pixels[name])
    return pixels


def load(path: Path) -> np.ndarray:
    """Pixels as stored, by another library than ours."""
    import cv2

    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix in (".tif", ".tiff"):
        return tifffile.imread(path)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    return (
        stored
        if stored.ndim == 2
        else cv2.cvtColor(stored, cv2.COLOR_BGR2RGB if stored.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    )


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory, several: Call, tiny: list[object]) -> tuple[Any, Path, Path, Any]:
    """All formats in one call: (how it ended, folder of inputs, folder of results, pixels)."""
    inputs, out = tmp_path_factory.mktemp("formats"), tmp_path_factory.mktemp("results")
    pixels = write_formats(inputs)
    (done,) = several([["deblur", inputs, "--out", out, *tiny]])
    return done, inputs, out, pixels


RESULT_OF = {
    "rgb8.png": "rgb8_restored.png",
    "grey8.png": "grey8_restored.png",
    "rgba8.png": "rgba8_restored.png",
    "rgb16.png": "rgb16_restored.png",
    "rgb16.tif": "rgb16-2_restored.tif",
    "float.tiff": "float_restored.tiff",
    "rotated.jpg": "rotated_restored.png",
    "half.npy": "half_restored.npy",
    "grey.npy": "grey_restored.npy",
}


def test_every_format_is_restored(formats: tuple[Any, Path, Path, Any]) -> None:
    done, _, out, _ = formats
    assert done.code == 0, done.err
    assert done.out == ""  # --quiet
    assert not done.errors
    names = {name.rpartition("_")[0] for name in RESULT_OF.values()}
    kinds = ("kernel.npy", "kernel.png", "figure.png", "result.json")
    expected = {*RESULT_OF.values()} | {f"{name}_{kind}" for name in names for kind in kinds}
    assert {path.name for path in out.iterdir()} == expected


@pytest.mark.parametrize(("name", "result"), RESULT_OF.items())
def test_size_and_depth_are_the_inputs(formats: tuple[Any, Path, Path, Any], name: str, result: str) -> None:
    _, _, out, pixels = formats
    restored = load(out / result)
    height, width = (24, 20) if name == "rotated.jpg" else (20, 24)
    assert restored.shape == (height, width, *pixels[name].shape[2:])
    assert restored.dtype == pixels[name].dtype
    assert restored[..., :1].std() > 0
    assert not np.array_equal(restored, pixels[name])


def test_alpha_and_profile_pass_through(formats: tuple[Any, Path, Path, Any]) -> None:
    _, _, out, pixels = formats
    assert np.array_equal(load(out / "rgba8_restored.png")[..., 3], pixels["rgba8.png"][..., 3])
    assert Image.open(out / "rgb8_restored.png").info["icc_profile"] == PROFILE
    assert "icc_profile" not in Image.open(out / "grey8_restored.png").info


def test_the_kernel_is_exact_and_a_picture(formats: tuple[Any, Path, Path, Any]) -> None:
    _, _, out, _ = formats
    kernel = np.load(out / "rgb8_kernel.npy")
    assert kernel.shape == (16, 16)
    assert kernel.dtype == np.float32
    assert kernel.min() >= 0
    assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    seen = load(out / "rgb8_kernel.png")
    assert seen.shape == (256, 256)
    assert seen.max() == 255
    assert np.abs(seen[::16, ::16] / 255 - kernel / kernel.max()).max() <= 0.5 / 255 + 1e-6


def test_the_result_says_everything(formats: tuple[Any, Path, Path, Any], image_prior: Path) -> None:
    import hashlib

    _, inputs, out, _ = formats
    result = json.loads((out / "rgb16-2_result.json").read_text())
    assert result["input"] == {
        "path": str(inputs / "rgb16.tif"),
        "sha256": hashlib.sha256((inputs / "rgb16.tif").read_bytes()).hexdigest(),
        "format": "TIFF",
        "width": 24,
        "height": 20,
        "channels": 3,
        "dtype": "uint16",
        "alpha": False,
        "icc_profile": False,
        "missing": 0,
        "values": [0.0, 1.0],
    }
    unused = {"step_size", "kernel_step_size", "kernel_weight", "sparsity"}  # by the fast solver
    assert {name for name, value in result["settings"].items() if value == "auto"} == unused
    assert result["settings"]["prior"] == str(image_prior)
    assert result["settings"]["kernel_size"] == 16
    assert result["settings"]["num_steps"] == 3
    assert result["noise"] == result["settings"]["noise"] > 0
    (sample,) = result["samples"]
    assert sample["outcome"] in ("finished", "rejected")
    assert sample["residual_over_noise"] > 0
    assert f"{sample['residual_over_noise']:.2f} times" in sample["message"]
    assert sample["files"] == ["rgb16-2_restored.tif", "rgb16-2_kernel.npy", "rgb16-2_kernel.png"]
    assert result["files"] == [*sample["files"], "rgb16-2_figure.png"]
    assert result["nfe"] == {"image": 3, "kernel": 2}
    assert result["priors"]["kernel"] == {"name": "tiny-kernel", "licence": "CC0-1.0", "trained": 0}
    assert (result["attempts"], result["seed"], result["device"], result["notes"]) == (1, 0, "cpu", [])
    assert result["seconds"] > 0
    assert {"blinddps", "torch", "diffusers", "python", "command"} <= set(result["environment"])
    assert "deblur" in result["environment"]["command"]


def test_the_seed_alone_decides(
    formats: tuple[Any, Path, Path, Any], several: Call, tiny: list[object], tmp_path: Path
) -> None:
    """The same bytes alone as among others, in any order, on top of old results; another seed gives another picture."""
    _, inputs, together, _ = formats
    alone, other = tmp_path / "alone", tmp_path / "other"
    alone.mkdir()
    stale = ["rgb8_restored_sample7.png", "rgb8_restored.tif", "rgb8_frames.gif"]
    for name in stale:
        (alone / name).write_bytes(b"of an earlier call")
    record = {"samples": [{"files": stale[:2]}], "files": stale[2:], "environment": {"blinddps": "0.1.0"}}
    (alone / "rgb8_result.json").write_text(json.dumps(record))
    users = ["rgb8.png", "rgb8_restored.psd", "rgb8_frames.mp4", "rgb8_result.csv", "rgb8_kernel_sample2.npy"]
    for name in users:
        (alone / name).write_bytes(b"mine")
    refused, replaced, reseeded = several(
        [
            ["deblur", inputs / "rgb8.png", "--out", alone, *tiny],
            ["deblur", inputs / "grey.npy", inputs / "rgb8.png", "--out", alone, *tiny, "--overwrite"],
            ["deblur", inputs / "rgb8.png", "--out", other, *tiny, "--seed", 1],
        ]
    )
    assert refused.code == 1
    assert len(refused.errors) == 1
    assert "--overwrite" in refused.errors[0]
    assert (replaced.code, reseeded.code) == (0, 0), replaced.err + reseeded.err
    kinds = ("restored.png", "kernel.npy", "kernel.png", "figure.png", "result.json")
    mine = {path.name for path in alone.iterdir() if not path.name.startswith("grey")}
    assert mine == {*users} | {f"rgb8_{kind}" for kind in kinds}  # what was stale is gone, what is not ours stays
    assert all((alone / name).read_bytes() == b"mine" for name in users)
    for kind in kinds[:4]:
        assert (alone / f"rgb8_{kind}").read_bytes() == (together / f"rgb8_{kind}").read_bytes()
    for kind in ("restored.png", "kernel.npy"):
        assert (other / f"rgb8_{kind}").read_bytes() != (together / f"rgb8_{kind}").read_bytes()


def test_options(formats: tuple[Any, Path, Path, Any], several: Call, tiny: list[object], tmp_path: Path) -> None:
    """Samples, animation, every setting; two inputs of one name; results beside their inputs are no inputs."""
    _, inputs, together, _ = formats
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(inputs / "rgb8.png", tmp_path / folder / "same.png")
    settings = {
        "--kernel-size": "11",
        "--noise": "0.02",
        "--boundary": "valid",
        "--step-size": "0.5",
        "--kernel-step-size": "0.25",
        "--step-schedule": "sqrt_alpha_bar",
        "--sparsity": "0.1",
        "--sparsity-norm": "l0",
        "--projection": "normalise",
        "--seed": "3",
        "--device": "cpu",
        "--dtype": "float32",
        "--tile": "64",
    }
    flat = [part for option in settings.items() for part in option]
    out = tmp_path / "out"
    two, linear, again, uniform = several(
        [
            [
                "deblur",
                tmp_path / "a",
                tmp_path / "b" / "same.png",
                "--out",
                out,
                *tiny,
                *flat,
                "--samples",
                2,
                "--animate",
            ],
            ["deblur", tmp_path / "a", "--out", tmp_path / "a", *tiny, "--linear-light"],
            ["deblur", tmp_path / "a", "--out", tmp_path / "a", *tiny],
            ["deblur", tmp_path / "b", "--out", tmp_path / "b", *tiny, "--kernel-prior", "uniform"],
        ]
    )
    assert (two.code, linear.code, uniform.code) == (0, 0, 0), two.err + linear.err + uniform.err
    kinds = ["restored.png", "kernel.npy", "kernel.png", "figure.png", "frames.png", "frames.gif", "result.json"]
    kinds += ["restored_sample2.png", "kernel_sample2.npy", "kernel_sample2.png"]
    kinds += ["restored_mean.png", "restored_std.npy", "restored_std.png", "restored_interval.npy"]
    kinds += ["kernel_std.npy", "kernel_std.png"]
    assert {path.name for path in out.iterdir()} == {f"{n}_{kind}" for n in ("same", "same-2") for kind in kinds}
    result = json.loads((out / "same_result.json").read_text())
    given = {
        "kernel_size": 11,
        "noise": 0.02,
        "boundary": "valid",
        "step_size": 0.5,
        "kernel_step_size": 0.25,
        "step_schedule": "sqrt_alpha_bar",
        "sparsity": 0.1,
        "sparsity_norm": "l0",
        "projection": "normalise",
        "seed": 3,
        "device": "cpu",
        "dtype": "float32",
        "tile": 64,
    }
    assert {key: result["settings"][key] for key in given} == given
    assert len(result["samples"]) == 2
    low, high = np.load(out / "same_restored_interval.npy")
    std = np.load(out / "same_restored_std.npy")
    assert low.shape == high.shape == std.shape == np.asarray(Image.open(inputs / "rgb8.png")).shape
    spread = result["spread"]
    assert (spread["draws"], spread["kernel"], spread["level"], spread["factors"]) == (2, "blind", 0.9, None)
    assert spread["std"] == pytest.approx(float(std.mean()), abs=1e-5)
    assert std.mean() > 0
    assert set(spread["files"]) == {
        f"same_{kind}" for kind in kinds if "mean" in kind or "std" in kind or "int" in kind
    }
    assert (out / "same_restored.png").read_bytes() != (out / "same_restored_sample2.png").read_bytes()
    assert (out / "same_restored_sample2.png").read_bytes() == (out / "same-2_restored_sample2.png").read_bytes()
    assert np.load(out / "same_kernel.npy").shape == (11, 11)
    assert Image.open(out / "same_frames.gif").n_frames == 3

    assert json.loads((tmp_path / "a" / "same_result.json").read_text())["settings"]["linear_light"] is True
    assert (tmp_path / "a" / "same_restored.png").read_bytes() != (together / "rgb8_restored.png").read_bytes()
    assert again.code == 1  # same.png has its results; they are not restored themselves
    assert len(again.errors) == 1
    assert "4 files named like results were left out" in again.err
    assert json.loads((tmp_path / "b" / "same_result.json").read_text())["nfe"] == {"image": 3, "kernel": 0}


def png_header(width: int, height: int) -> bytes:
    """A whole PNG file that promises far more pixels than it holds."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_bad_inputs_are_named_and_the_others_done(
    formats: tuple[Any, Path, Path, Any], several: Call, tiny: list[object], tmp_path: Path
) -> None:
    _, inputs, _, _ = formats
    bad = tmp_path / "bad"
    bad.mkdir()
    whole = (inputs / "rgb8.png").read_bytes()
    nan = picture(20, 24, 3, dtype=np.float32)
    nan[3, 4] = np.nan
    for name, content in {
        "empty.png": b"",
        "truncated.png": whole[: len(whole) // 2],
        "text.png": b"this is no picture at all",
        "bomb.png": png_header(100_000, 100_000),
    }.items():
        (bad / name).write_bytes(content)
    np.save(bad / "nan.npy", nan)
    np.save(bad / "objects.npy", np.array([{}]), allow_pickle=True)
    Image.fromarray(picture(1, 1, 3)).save(bad / "one.png")
    Image.fromarray(picture(3, 2000, 3)).save(bad / "thin.png")
    names = sorted(path.name for path in bad.iterdir())
    (tmp_path / "hollow").mkdir()

    out = tmp_path / "out"
    missing, hollow = bad / "missing.png", tmp_path / "hollow"
    (done,) = several([["deblur", bad, missing, hollow, inputs / "rgb8.png", "--out", out, *tiny]])
    assert done.code == 1
    assert "Traceback" not in done.err
    assert len(done.errors) == len(names) + 2
    for path in [*(bad / name for name in names), missing, hollow]:
        (line,) = (line for line in done.errors if str(path) in line)
        assert line.count("; ") >= 1  # what is wrong; what to do
    kinds = ("restored.png", "kernel.npy", "kernel.png", "figure.png", "result.json")
    assert {path.name for path in out.iterdir()} == {f"rgb8_{kind}" for kind in kinds}


def test_a_divergence_is_told_and_leaves_no_picture(
    formats: tuple[Any, Path, Path, Any], several: Call, tiny: list[object], tmp_path: Path
) -> None:
    _, inputs, _, _ = formats
    call = ["deblur", inputs / "rgb8.png", "--out", tmp_path, *tiny]
    (done,) = several([[*call, "--solver", "paper", "--step-size", "1e38", "--animate"]])
    assert done.code == 1
    assert len(done.errors) == 1
    assert "diverged" in done.errors[0]
    assert "lower step_size" in done.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["rgb8_result.json"]
    result = json.loads((tmp_path / "rgb8_result.json").read_text())
    assert result["attempts"] == 3
    assert result["samples"][0]["outcome"] == "diverged"
    assert result["samples"][0]["residual_over_noise"] is None
    assert result["samples"][0]["files"] == result["files"] == []
    assert len(result["notes"]) == 2
    assert done.err.count("started again with the step sizes halved") == 2


def test_bad_priors_options_and_outputs(
    formats: tuple[Any, Path, Path, Any],
    several: Call,
    tiny: list[object],
    image_prior: Path,
    kernel_prior: Path,
    tmp_path: Path,
) -> None:
    """Each is one sentence before any work: nothing is written."""
    _, inputs, _, _ = formats
    damaged, pickled = (shutil.copytree(image_prior, tmp_path / name) for name in ("damaged", "pickled"))
    (weights,) = (damaged / "unet").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    (weights,) = (pickled / "unet").glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    (tmp_path / "weights.ckpt").write_bytes(b"\x80\x04pickle")
    (tmp_path / "file").write_bytes(b"in the way")

    out = tmp_path / "out"
    cases: list[tuple[list[object], int, str]] = [  # options, exit code, what the sentence holds
        (["--prior", "kernl"], 1, "unknown prior 'kernl'; did you mean 'kernel'?"),
        (["--prior", damaged], 1, "damaged"),
        (["--prior", pickled], 1, "a pickle, which is not loaded"),
        (["--prior", tmp_path / "weights.ckpt"], 1, "pickled checkpoints are not loaded"),
        (["--prior", tmp_path], 1, "it does not exist; a prior is"),
        (["--prior", kernel_prior], 1, "models the kernel, not an image"),
        (["--kernel-prior", image_prior], 1, "models the image, not a kernel"),
        (["--kernel-size", "21"], 1, "larger than the picture (24 x 20)"),
        (["--out", tmp_path / "file"], 1, "a file is in the way"),
        (["--out", "/proc/blinddps"], 1, "output folder"),
        (["--steps", "5000"], 1, "num_steps is 5000"),
        (["--kernel-size", "1"], 2, "kernel_size is 1; give a whole number of at least 2, or auto"),
        (["--kernel-size", "8.5"], 2, "kernel_size is '8.5'; give a whole number"),
        (["--noise", "-0.1"], 2, "noise is -0.1"),
        (["--noise", "nan"], 2, "noise is nan"),
        (["--noise", "loud"], 2, "noise is 'loud'"),
        (["--step-size", "inf"], 2, "step_size is inf"),
        (["--samples", "0"], 2, "samples is 0"),
        (["--samples", "two"], 2, "--samples"),
        (["--boundary", "reflct"], 2, "did you mean 'reflect'?"),
        (["--sparsity-norm", "l2"], 2, "unknown sparsity_norm 'l2'"),
        (["--device", "cuda:99"], 2, "device 'cuda:99' is not usable here"),
        (["--dtype", "float64"], 2, "unknown dtype 'float64'"),
        (["--tile", "8"], 2, "tile is 8"),
        (["--stpes", "8"], 2, "--stpes"),
    ]
    calls = [["deblur", inputs / "rgb8.png", "--out", out, *tiny, *options] for options, _, _ in cases]
    for done, (options, code, sentence) in zip(several(calls), cases, strict=True):
        flat = " ".join(done.err.replace("│", " ").split())
        assert (done.code, sentence in flat) == (code, True), (options, done)
        assert "Traceback" not in done.err
        if code == 1:
            assert done.err.splitlines() == done.errors
            assert len(done.errors) == 1
    assert not out.exists() or not list(out.iterdir())


def test_an_interrupt_leaves_nothing(
    image_prior: Path, kernel_prior: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    np.save(tmp_path / "y.npy", picture(64, 64, 3))
    out = tmp_path / "out"
    call = [sys.executable, "-m", "blinddps", "deblur", tmp_path / "y.npy", "--out", out, "--steps", "1000"]
    call += ["--prior", image_prior, "--kernel-prior", kernel_prior, "--animate", "--search", "none"]
    screen, terminal = os.openpty()  # the bar is for terminals
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    seen = b""

    def heed() -> None:  # a shell's background job, and so all its children, would ignore interrupts
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        call, stderr=terminal, stdout=subprocess.DEVNULL, env=environment, preexec_fn=heed
    ) as process:
        os.close(terminal)
        interrupted = False
        while piece := read_terminal(screen):
            seen += piece
            if b"/1000" in seen and b"residual" in seen and not interrupted:
                process.send_signal(signal.SIGINT)
                interrupted = True
        assert process.wait(timeout=60) == 130, seen
    os.close(screen)
    assert b"Traceback" not in seen
    assert list(out.iterdir()) == []


def read_terminal(screen: int) -> bytes:
    """What the terminal shows next; nothing once nobody writes to it."""
    try:
        return os.read(screen, 4096)
    except OSError:  # on Linux the end of the last writer is an error
        return b""


def test_no_blur_is_drawn_as_a_point(tmp_path: Path) -> None:
    from blinddps.results import write_kernel

    write_kernel(tmp_path / "kernel.npy", np.ones((1, 1)))
    assert np.load(tmp_path / "kernel.npy").shape == (1, 1)
    seen = load(tmp_path / "kernel.png")
    assert (seen.min(), seen.max()) == (0, 255)
