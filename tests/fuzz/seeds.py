"""Whole files of every kind that the package reads, made here: nothing is downloaded or taken from elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.priors.adm import Adm

from .mutate import as_toml, chunk

__all__ = ["Bomb", "Seeds", "make_seeds"]

Files = dict[str, bytes]


class Bomb:
    """What an unpickler would run: a folder that the harness finds."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


@dataclass(frozen=True)
class Seeds:
    """Bytes by kind (``pictures``, ``scenes``, ``kernels``, ``tars``, ``videos``), folders as bytes by name, and
    settings."""

    pictures: Files
    scenes: Files
    kernels: Files
    tars: Files
    prior: Files  # a folder, with a network that takes milliseconds
    kernel_prior: Files
    run: Files  # a folder of ``bench run``
    spec: dict[str, Any]
    data: Path  # of the spec
    folders: dict[str, str]  # options ``prior`` and ``kernel_prior``: whole
    database: bytes  # of ``simulate kernels``
    checkpoint: Files  # a folder of ``train``
    training: dict[str, Any]
    guided: dict[str, Any]  # weights of a guided-diffusion network


def make_seeds(home: Path) -> Seeds:
    """Everything, written under ``home``; some seconds."""
    folders = {"prior": _prior(home / "image", "image", 3), "kernel_prior": _prior(home / "kernel", "kernel", 1)}
    x = _pixels()
    data = home / "data" / "pictures"
    data.mkdir(parents=True)
    for n in range(2):
        (data / f"{n}.png").write_bytes(_saved(x[n:, n:], "PNG"))
    pictures, scenes = _pictures(x), _scenes(x)
    spec = _spec(folders)
    training = _training(home, data)
    return Seeds(
        pictures=pictures,
        scenes={**scenes, **_videos(home, x), **{k: v for k, v in pictures.items() if k.endswith(".tif")}},
        kernels=_kernels(),
        tars=_tars(pictures),
        prior=_files(Path(folders["prior"])),
        kernel_prior=_files(Path(folders["kernel_prior"])),
        run=_run(home, spec),
        spec=spec,
        data=home / "data",
        folders=folders,
        database=_database(home),
        checkpoint=_files(home / "training"),
        training=training,
        guided=Adm(multipliers=(1,), attention=()).state(),
    )


def _pixels() -> np.ndarray:
    i, j = np.mgrid[:33, :37] / 32
    return np.stack([127 + 100 * np.sin(5 * i + 2 * c) * np.cos(4 * j) for c in range(3)], -1).astype(np.uint8)


def _saved(x: np.ndarray, form: str, mode: str | None = None, **options: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    image = Image.fromarray(x)
    (image if mode is None else image.convert(mode)).save(out, form, **options)
    return out.getvalue()


def _pictures(x: np.ndarray) -> Files:
    from PIL import Image, ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.fromarray(np.roll(x, n, 1)) for n in range(3)]
    many = {"save_all": True, "append_images": frames[1:]}
    files = {
        "rgb.png": _saved(x, "PNG", icc_profile=icc, exif=exif.tobytes()),
        "grey.png": _saved(x, "PNG", "L"),
        "bits.png": _saved(x, "PNG", "1"),
        "palette.png": _saved(x, "PNG", "P", transparency=3),
        "alpha.png": _saved(x, "PNG", "RGBA"),
        "greyalpha.png": _saved(x, "PNG", "LA"),
        "animated.png": _saved(x, "PNG", **many),
        "interlaced.png": _interlaced(x[..., 0]),
        "grey.jpg": _saved(x, "JPEG", "L"),
        "turned.jpg": _saved(x, "JPEG", exif=exif.tobytes(), icc_profile=icc),
        "progressive.jpg": _saved(x, "JPEG", progressive=True),
        "cmyk.jpg": _saved(x, "JPEG", "CMYK"),
        "lossy.webp": _saved(x, "WEBP"),
        "lossless.webp": _saved(x, "WEBP", "RGBA", lossless=True, exact=True, icc_profile=icc),
        "animated.webp": _saved(x, "WEBP", **many),
        "one.gif": _saved(x, "GIF", "P"),
        "animated.gif": _saved(x, "GIF", **many),
        "rgb.bmp": _saved(x, "BMP"),
        "palette.bmp": _saved(x, "BMP", "P"),
        "bits.bmp": _saved(x, "BMP", "1"),
        "alpha.bmp": _saved(x, "BMP", "RGBA"),
    }
    deep = (x.astype(np.uint16) << 8) + 7
    head = struct.pack(">IIBBBBB", 37, 33, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    extra = [(b"gAMA", struct.pack(">I", 45455)), (b"cICP", bytes((9, 16, 0, 1))), (b"cHRM", bytes(32))]
    for name, more in (("deep.png", []), ("gamma.png", extra[:1]), ("hdr.png", extra)):
        body = [(b"IHDR", head), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        files[name] = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in body)
    return files | _tiffs(x, deep) | _arrays(x, deep) | _extras(x)


def _extras(x: np.ndarray) -> Files:
    """What the extras read, as far as they are installed."""
    files: Files = {}
    with contextlib.suppress(OSError, KeyError):
        files["rgb.avif"] = _saved(x, "AVIF")
    with contextlib.suppress(ImportError):
        import pillow_heif

        out = io.BytesIO()
        pillow_heif.from_bytes("RGB", (x.shape[1], x.shape[0]), x.tobytes()).save(out, quality=80)
        files["rgb.heic"] = out.getvalue()
    with contextlib.suppress(ImportError):
        from astropy.io import fits

        counts = x[..., 0].astype(np.float32) * 3 - 100
        counts[3, 4] = np.nan
        kinds = {
            "float": [fits.PrimaryHDU(counts)],
            "integers": [fits.PrimaryHDU(x[..., 0].astype(np.uint16))],
            "cube": [fits.PrimaryHDU(counts[None].repeat(3, 0))],
            "extension": [fits.PrimaryHDU(), fits.ImageHDU(counts, name="SCI")],
            "packed": [fits.PrimaryHDU(), fits.CompImageHDU(counts, compression_type="GZIP_2")],
            "table": [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])],
        }
        for name, parts in kinds.items():
            out = io.BytesIO()
            fits.HDUList(parts).writeto(out)
            files[f"{name}.fits"] = out.getvalue()
    return files


def _interlaced(grey: np.ndarray) -> bytes:
    height, width = grey.shape
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(b"\0" + row.tobytes() for top, left, down, right in passes for row in grey[top::down, left::right])
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    body = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in body)


def _tiffs(x: np.ndarray, deep: np.ndarray) -> Files:
    import tifffile

    unit, grey = x.astype(np.float32) / 255, x[..., 0]
    stack = np.stack([grey, grey[::-1], grey[:, ::-1]])
    palette = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    calls: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "rgb": (x, {"photometric": "rgb"}),
        "deep": (deep, {"photometric": "rgb", "compression": "zlib", "predictor": True}),
        "lzw": (grey, {"compression": "lzw", "byteorder": ">"}),
        "tiles": (x, {"photometric": "rgb", "tile": (16, 16)}),
        "planar": (x.transpose(2, 0, 1).copy(), {"photometric": "rgb", "planarconfig": "separate"}),
        "white": (grey, {"photometric": "miniswhite"}),
        "palette": (grey, {"photometric": "palette", "colormap": palette}),
        "float": (unit, {"photometric": "rgb"}),
        "half": (unit[..., 0].astype(np.float16), {}),
        "double": (unit[..., 0].astype(np.float64), {"bigtiff": True}),
        "alpha": (np.dstack([x, grey]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        "jpeg": (x, {"photometric": "ycbcr", "compression": "jpeg"}),
        "bits": (grey > 127, {}),
        "cmyk": (np.dstack([x, grey]), {"photometric": "separated"}),
        "pages": (stack, {"photometric": "minisblack"}),
        "imagej": (stack, {"imagej": True, "photometric": "minisblack"}),
        "volume": (stack, {"photometric": "minisblack", "volumetric": True, "tile": (16, 16, 16)}),
        "integers": (grey.astype(np.int32), {}),
    }
    files = {}
    for name, (array, options) in calls.items():
        out = io.BytesIO()
        options = {"metadata": None, **options} if name not in ("pages", "imagej") else options
        tifffile.imwrite(out, array, **options)
        files[f"{name}.tif"] = out.getvalue()
    return files


def _array(x: Any, version: tuple[int, int] | None = None, pickled: bool = False) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(x), version, allow_pickle=pickled)
    return out.getvalue()


def _arrays(x: np.ndarray, deep: np.ndarray) -> Files:
    unit = x.astype(np.float32) / 255
    bomb = np.empty(2, object)
    bomb[:] = Bomb()
    arrays = {"u1": x, "u2": deep, "f2": unit.astype("f2"), "f4": unit, "f8": unit[..., 0].astype(">f8")}
    files = {f"{name}.npy": _array(a) for name, a in arrays.items()}
    files |= {"fortran.npy": _array(np.asfortranarray(unit)), "v2.npy": _array(x, (2, 0)), "v3.npy": _array(x, (3, 0))}
    return files | {"bomb.npy": _array(bomb, pickled=True), "signed.npy": _array(x.astype("i8") - 9)}


def _scenes(x: np.ndarray) -> Files:
    pictures = _pictures(x)
    return {name: pictures[name] for name in ("animated.gif", "one.gif", "animated.webp", "animated.png", "u1.npy")}


def _videos(home: Path, x: np.ndarray) -> Files:
    try:
        import av
    except ImportError:
        return {}
    files = {}
    big = np.ascontiguousarray(np.pad(x, ((0, 31), (0, 27), (0, 0)), mode="wrap"))
    for suffix, codec, form in (
        (".mp4", "mpeg4", "yuv420p"),
        (".mkv", "ffv1", "yuv420p"),
        (".avi", "mjpeg", "yuvj420p"),
        (".mov", "mpeg4", "yuv420p"),
        (".webm", "libvpx", "yuv420p"),
    ):
        path = home / f"video{suffix}"
        try:
            with av.open(str(path), "w") as video:
                stream: Any = video.add_stream(codec, rate=10)
                stream.width, stream.height, stream.pix_fmt = 64, 64, form
                for n in range(4):
                    video.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(big, n, 1), format="rgb24")))
                video.mux(stream.encode())
        except (av.FFmpegError, ValueError):  # a build without this codec
            continue
        files[path.name] = path.read_bytes()
    return files


def _kernels() -> Files:
    i, j = np.mgrid[-4:5, -4:5]
    k = np.exp(-(i**2 + j**2) / 4.0)
    bomb = np.empty((3, 3), object)
    bomb[:] = Bomb()
    npz = io.BytesIO()
    np.savez(npz, k=k)
    return {
        "f8.npy": _array(k),
        "f4.npy": _array(k.astype("f4")[None, None]),
        "u1.npy": _array((255 * k).astype("u1")),
        "huge.npy": _array(np.full((5, 5), 1e308)),
        "tiny.npy": _array(np.full((5, 5), 5e-324)),
        "negative.npy": _array(k - 0.1),
        "empty.npy": _array(np.empty((0, 3))),
        "bomb.npy": _array(bomb, pickled=True),
        "text.npy": _array(np.array([["a", "b"]])),
        "zip.npy": npz.getvalue(),
        "pickle.npy": pickle.dumps(Bomb()),
    }


def _tars(pictures: Files) -> Files:
    files = {}
    for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
            for name in ("rgb.png", "grey.jpg", "rgb.tif", "lossy.webp"):
                info = tarfile.TarInfo(f"set/{name}")
                info.size = len(pictures[name])
                tar.addfile(info, io.BytesIO(pictures[name]))
            for name, kind, target in (
                ("set/link.png", tarfile.SYMTYPE, "../../../etc/hostname"),
                ("set/hard.png", tarfile.LNKTYPE, "set/rgb.png"),
                ("/dev.png", tarfile.CHRTYPE, ""),
                ("set/pipe.png", tarfile.FIFOTYPE, ""),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, target
                tar.addfile(info)
        files[f"set{suffix}"] = out.getvalue()
    return files


def _files(folder: Path) -> Files:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _prior(folder: Path, unknown: str, channels: int) -> str:
    from tests.tiny import tiny_prior

    from blinddps.priors import save_prior

    card: dict[str, Any] = {"name": f"tiny-{unknown}", "unknown": unknown, "sizes": (32,), "training": {"steps": 0}}
    return str(save_prior(tiny_prior(channels, seed=channels, **card), folder))


def _spec(folders: dict[str, str]) -> dict[str, Any]:
    return {
        "name": "tiny",
        "title": "A tiny benchmark",
        "seeds": [0],
        "trace": True,
        "reference": "fast",
        "data": {"source": "pictures", "layout": "pictures", "count": 2, "size": 32},
        "defaults": {**folders, "kernel_size": 8, "num_steps": 1, "noise": 0.02, "device": "cpu", "dtype": "float32"},
        "degradation": [
            {"kind": "motion", "kernel_size": 8, "noise": 0.02, "intensity": 0.5},
            {"kind": "gaussian", "name": "soft", "kernel_size": 9, "std": 1.5, "boundary": "circular"},
        ],
        "method": [
            {"name": "input"},
            {"name": "fast", "label": "ours", "options": {"num_steps": 2}},
            {"name": "lucy", "known_kernel": True, "count": 1, "options": {"solver": "richardson-lucy"}},
        ],
        "published": [{"method": "theirs", "data": "FFHQ", "source": "a table", "values": {"psnr": 20.5}}],
    }


def _run(home: Path, spec: dict[str, Any]) -> Files:
    from blinddps.evaluation import make_report, parse_spec, run_bench

    text = as_toml(spec)
    run_bench(parse_spec(text), home / "run", data=home / "data", source=text, progress=False)
    make_report(home / "run")
    return {name: blob for name, blob in _files(home / "run").items() if name != ".lock"}


def _database(home: Path) -> bytes:
    from blinddps.simulate import write_kernel_database

    path = home / "kernels.safetensors"
    write_kernel_database(path, 4, 16, seed=0, progress=False)
    return path.read_bytes()


def _training(home: Path, data: Path) -> dict[str, Any]:
    from blinddps.training import configure, train

    settings: dict[str, Any] = {
        "unknown": "image",
        "name": "tiny",
        "data": [str(data)],
        "sizes": [16],
        "network": {"channels": [4, 8], "groups": 2, "attention": False},
        "batch_size": 1,
        "steps": 1,
        "dtype": "float32",
        "sample_every": 1000,
    }
    train(configure(settings), home / "training", device="cpu", progress=False)
    whole: dict[str, Any] = json.loads((home / "training" / "config.json").read_text())
    return whole
