"""What is fed: a target draws an input, writes its files into ``place``, and gives the call, with what must hold after.

A call may write below ``place / "out"`` and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from . import mutate
from .seeds import Files, Seeds

__all__ = ["TARGETS", "Wrong"]

Call = Callable[[], object]
PIXELS = 4_000_000  # max_pixels: the time and memory of a picture are its right, of a damaged header they are not


class Wrong(AssertionError):
    """A call came back with what it must not come back with."""


def _demand(right: bool, what: str) -> None:
    if not right:
        raise Wrong(what)


def _is_image(x: Any, shape: tuple[int, ...] | None = None, measured: bool = False) -> None:
    """``measured``: restored from values of a detector, which are no display's, and may leave [0, 1]."""
    _demand(isinstance(x, np.ndarray) and x.dtype == np.float32 and x.ndim == 3 and x.size > 0, f"no image: {type(x)}")
    _demand(x.shape[2] in (1, 3) and (shape is None or x.shape[:2] == shape), f"an image of shape {x.shape}")
    _demand(bool(np.isfinite(x).all()), "values that are not finite")
    _demand(measured or (x.min() >= 0 and x.max() <= 1), "values that are not in [0, 1]")


def _spoiled(rng: Random, files: Files, share: float = 0.97) -> tuple[str, bytes]:
    """Name and bytes of one of ``files``, mostly damaged; now and then under another suffix."""
    name = rng.choice(sorted(files))
    blob = files[name]
    if rng.random() < share:
        png = blob[:4] == b"\x89PNG" and rng.random() < 0.5
        blob = mutate.png_of(rng, blob) if png else mutate.bytes_of(rng, blob, [files[n] for n in sorted(files)])
    if rng.random() < 0.1:
        name = Path(name).stem + Path(rng.choice(sorted(files))).suffix
    return name, blob


def _written(place: Path, name: str, blob: bytes) -> Path:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    return path


def _folder(place: Path, files: Files) -> Path:
    for name, blob in files.items():
        _written(place, name, blob)
    return place


def _name(rng: Random, place: Path) -> str:
    """A name that is no file of ours."""
    (place / "folder.png").mkdir()
    (place / "dangling.npy").symlink_to("nowhere")
    (place / "loop.tif").symlink_to("loop.tif")
    local = [str(place / n) for n in ("folder.png", "dangling.npy", "loop.tif", "missing.mp4", "x" * 300 + ".png")]
    return rng.choice(
        (
            *local,
            *("", ".", "/", "/dev/null", "/dev/zero", "/proc/self/mem", "~", "x\0.png", "\ud800.npy", "a" * 5000),
            *("http://127.0.0.1:9/x.mp4", "tcp://127.0.0.1:9/x.mkv", "concat:a|b.avi", "file:x.mov", "-", "pipe:0.mp4"),
        )
    )


def picture(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.io import output_suffix, read_image, write_image

    name, blob = _spoiled(rng, seeds.pictures)
    source: Any = _written(place, name, blob)
    kind = rng.randrange(8)
    if kind == 0:
        source = io.BytesIO(blob)
    elif kind == 1:
        source = _name(rng, place)

    def call() -> None:
        read = read_image(source, max_pixels=PIXELS, warn=False)
        _is_image(read.data)
        _demand(read.alpha is None or read.alpha.shape == read.data.shape[:2], "alpha of another size")
        if kind > 4:
            write_image(place / "out" / f"x{output_suffix(read)}", read.data, like=read)
            back = read_image(place / "out" / f"x{output_suffix(read)}", warn=False)
            same = np.array_equal(back.data, read.data) or (read.light == "linear" and _near(back, read))
            _demand(same, "a picture that does not come back")

    return call


def _near(back: Any, read: Any) -> bool:
    """Whether values of a range of their own are the same, as far as float32 holds them."""
    a, b = (p.low + p.data.astype(np.float64) * (p.high - p.low) for p in (back, read))
    return bool(np.abs(a - b).max() <= 1e-5 * max(abs(read.low), abs(read.high)))


def planes(rng: Random, place: Path, seeds: Seeds) -> Call:
    """Stacks and cubes, restored by nobody, written again."""
    from blinddps.io import read_planes, write_planes

    names = {k: v for k, v in seeds.pictures.items() if k.endswith((".tif", ".fits"))}
    name, blob = _spoiled(rng, names)
    path, which = _written(place, name, blob), rng.choice(("auto", "first", "shared", "each"))

    def call() -> None:
        found = read_planes(path, which, max_pixels=PIXELS)
        for one in found:
            _is_image(one.data, found[0].data.shape[:2])
        write_planes(place / "out" / "x.tif", [p.data for p in found], found)

    return call


def anything(rng: Random, place: Path, seeds: Seeds) -> Call:
    """Whatever a caller may take for a picture."""
    from blinddps.io import as_picture

    given = odd_array(rng)
    if rng.random() < 0.3:
        name, blob = _spoiled(rng, seeds.pictures, 0.7)
        given = rng.choice((blob, bytearray(blob), memoryview(blob), io.BytesIO(blob), _written(place, name, blob)))

    def call() -> None:
        read = as_picture(given, max_pixels=PIXELS)
        _is_image(read.data)
        _demand(read.alpha is None or read.alpha.shape == read.data.shape[:2], "alpha of another size")

    return call


def frames(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.io import read_frames

    kind = rng.randrange(6)
    if kind == 0:
        source = str(place / "scene")
        for n in range(rng.randrange(4)):
            name, blob = _spoiled(rng, seeds.pictures, 0.4)
            _written(place / "scene", f"{n}_{name}", blob)
    elif kind == 1:
        source = _name(rng, place)
    else:
        source = str(_written(place, *_spoiled(rng, seeds.scenes)))
    count = rng.choice((None, None, 1, 2, 1000, 0))

    def call() -> None:
        scene = read_frames(source, count=count)
        _demand(0 < len(scene.frames) == len(scene.names), f"{len(scene.frames)} frames, {len(scene.names)} names")
        for frame in scene.frames:
            _is_image(frame, scene.frames[0].shape[:2])

    return call


def kernel(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.restore.known_kernel import read_kernel

    given: Any = str(_written(place, *_spoiled(rng, seeds.kernels, 0.8)))
    if rng.random() < 0.3:
        given = rng.choice((_name(rng, place), mutate.value(rng), odd_array(rng)))

    def call() -> None:
        k = read_kernel(given, (40, 40))
        _demand(bool((k >= 0).all()) and abs(float(k.sum()) - 1) < 1e-4, f"a kernel of sum {float(k.sum())}")

    return call


def prior(rng: Random, place: Path, seeds: Seeds) -> Call:
    import torch

    from blinddps.priors import load_prior

    files = dict(rng.choice((seeds.prior, seeds.kernel_prior)))
    name = rng.choice(sorted(files))
    if name.endswith(".json") and rng.random() < 0.9:
        import json

        files[name] = mutate.json_of(rng, json.loads(files[name]))
    elif name.endswith(".safetensors") and rng.random() < 0.5:
        files[name] = mutate.safetensors_of(rng, files[name])
    elif rng.random() < 0.2:
        other = rng.choice(("unet/old.safetensors", "unet/diffusion_pytorch_model.bin", "unet/config.json.bak"))
        files[other] = mutate.bytes_of(rng, files[name])
    else:
        files[name] = mutate.bytes_of(rng, files[name])
    if rng.random() < 0.1:
        del files[rng.choice(sorted(files))]
    folder = str(_folder(place / "prior", files)) if rng.random() < 0.95 else _name(rng, place)

    def call() -> None:
        loaded = load_prior(folder)
        side = next((s for s in loaded.card.sizes if s <= 64), 32)
        side += -side % loaded.card.size_multiple if loaded.card.size_multiple <= 64 else 0
        shape = (1, min(loaded.card.channels, 64), side, side)
        answer = loaded(torch.zeros(shape), torch.ones(1))
        _demand(tuple(answer.shape) == shape and bool(answer.isfinite().all()), "a prior that does not answer")

    return call


def spec(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.evaluation import load_spec

    path = _written(place, "spec.toml", mutate.toml_of(rng, seeds.spec))
    source = str(path) if rng.random() < 0.95 else _name(rng, place)
    return lambda: load_spec(source)


def _spoiled_run(rng: Random, folder: Path, seeds: Seeds) -> Path:
    import json

    files = dict(seeds.run)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(sorted(files))
        if name.endswith(".json") and rng.random() < 0.8:
            files[name] = mutate.json_of(rng, json.loads(seeds.run[name]))
        elif rng.random() < 0.1:
            del files[name]
        else:
            files[name] = mutate.bytes_of(rng, files[name])
    return _folder(folder, files)


def report(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.evaluation import make_report

    folder = _spoiled_run(rng, place / "out", seeds)
    return lambda: make_report(folder)


def reuse(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.evaluation import parse_spec, run_bench

    other = _spoiled_run(rng, place / "other", seeds)
    text = mutate.as_toml(seeds.spec)
    options = {"data": seeds.data, "source": text, "progress": False}
    return lambda: run_bench(parse_spec(text), place / "out", reuse=[other], **options)


def resumed(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.evaluation import parse_spec, run_bench

    folder = _spoiled_run(rng, place / "out", seeds)
    text = mutate.as_toml(seeds.spec)
    return lambda: run_bench(parse_spec(text), folder, data=seeds.data, source=text, progress=False)


def bench(rng: Random, place: Path, seeds: Seeds) -> Call:
    """A benchmark of damaged data: each of its pictures fails alone."""
    from blinddps.evaluation import parse_spec, run_bench

    if rng.random() < 0.5:
        for n in range(2):
            _written(place / "data" / "pictures", f"{n}.png", _spoiled(rng, seeds.pictures, 0.5)[1])
        source = "pictures"
    else:
        source, blob = _spoiled(rng, seeds.tars)
        _written(place / "data", source, blob)
    tree = {
        **seeds.spec,
        "data": {"source": source, "count": 2, "size": 32},
        "degradation": seeds.spec["degradation"][1:],
    }
    tree["data"]["layout"] = rng.choice(("pictures", "pictures", "ffhq", "imagenet", "afhq-dog"))
    text = mutate.as_toml(tree)
    return lambda: run_bench(parse_spec(text), place / "out", data=place / "data", source=text, progress=False)


def training(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.training import configure

    settings = mutate.tree_of(rng, seeds.training)
    return lambda: configure(settings if isinstance(settings, dict) else {"unknown": settings})


def training_data(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.simulate import read_kernel_database
    from blinddps.training.data import read_pictures

    if rng.random() < 0.3:
        spoil = rng.choice((mutate.safetensors_of, mutate.bytes_of))
        path = _written(place, "k.safetensors", spoil(rng, seeds.database))
        return lambda: read_kernel_database(path, 0, 2)
    if rng.random() < 0.5:
        source = str(_written(place, *_spoiled(rng, seeds.tars)))
    elif rng.random() < 0.1:
        source = _name(rng, place)
    else:
        _written(place / "set", *_spoiled(rng, seeds.pictures))
        source = str(place / "set")
    return lambda: read_pictures([source])


def checkpoint(rng: Random, place: Path, seeds: Seeds) -> Call:
    """A run of training that was damaged, gone on with."""
    from blinddps.training import configure, train

    files = {k: v for k, v in seeds.checkpoint.items() if k in ("checkpoint.pt", "config.json", "log.jsonl")}
    name = rng.choice(sorted(files))
    files[name] = mutate.bytes_of(rng, files[name])
    folder = _folder(place / "out", files)
    config = configure({**seeds.training, "steps": 2})
    return lambda: train(config, folder, resume=True, progress=False)


def converted(rng: Random, place: Path, seeds: Seeds) -> Call:
    """A checkpoint whose weights, bytes or settings were damaged, made a prior."""
    import torch
    from safetensors.torch import save

    from blinddps.priors import convert_checkpoint, load_prior

    state: dict[str, Any] = dict(seeds.guided)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        name = rng.choice(sorted(n for n, v in state.items() if v.numel() < 10**9))  # a huge one would have to be made
        value = state.pop(name)
        kind = rng.randrange(8)
        if kind == 0:
            state[rng.choice((*state, "label_emb.weight", "output_blocks.99.0.in_layers.0.weight", "x", ""))] = value
        elif kind == 1:
            state[name] = value[: rng.randrange(len(value) + 1)]
        elif kind == 2:
            state[name] = value.to(
                rng.choice((torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.complex64))
            )
        elif kind == 3:
            state[name] = torch.full_like(value, rng.choice((float("nan"), float("inf"), 1e38)))
        elif kind == 4:
            state[name] = rng.choice((value.flatten(), value[None], value.reshape(-1)[0], value.reshape(-1, 1)))
        elif kind == 5:
            state[name] = value.reshape(-1)[:1].expand(10**6, 10**6)
    if rng.random() < 0.3:
        blob, end = save({k: v.contiguous() for k, v in state.items() if v.numel() < 10**9}), ".safetensors"
        blob = mutate.safetensors_of(rng, blob) if rng.random() < 0.3 else blob
    else:
        stream = io.BytesIO()
        torch.save(rng.choice((state, state, state, {"ema": state}, list(state.values()))), stream)
        blob, end = stream.getvalue(), ".pt"
    blob = mutate.bytes_of(rng, blob) if rng.random() < 0.3 else blob
    file = _written(place, "guided" + rng.choice((end, end, end, ".pt", ".ckpt", "")), blob)
    options: dict[str, Any] = {"size": 8, "head_channels": 32}
    odd: dict[str, tuple[Any, ...]] = {
        "unknown": ("image", "kernel", None),
        "size": (None, 1, 9),
        "head_channels": (16, 3, 0, -1),
        "heads": (1, 2, 5),
        "heads_first": (False,),
        "schedule": ("cosine",),
        "steps": (20, 2, 1, 0),
        "scale": (0.0, float("nan")),
        "half": (True,),
        "name": ("x", "", "a\nb"),
    }
    options |= {option: rng.choice(odd[option]) for option in rng.sample(sorted(odd), rng.choice((0, 0, 1, 2)))}

    def call() -> None:
        convert_checkpoint(file, place / "out", **options)
        load_prior(place / "out")

    return call


def odd_array(rng: Random) -> Any:
    """Something picture-like, or not quite."""
    import torch
    from PIL import Image

    noise = np.random.default_rng(rng.getrandbits(32))
    shape = rng.choice(
        (
            (24, 20),
            (24, 20, 3),
            (24, 20, 1),
            (24, 20, 4),
            (24, 20, 2),
            (1, 24, 20, 3),
            (3, 24, 20),
            (0, 9),
            (9,),
            (),
            (2, 2),
        )
    )
    x: Any = noise.random(shape)
    kind = rng.randrange(16)
    if kind < 4:
        kinds = ("u1", "u2", "i4", "i8", "u4", "?", "f2", "f4", "f8", ">f4", ">u2", "c8", "g", "S2", "U2", "O", "M8[s]")
        with np.errstate(all="ignore"):
            return (x * rng.choice((1, 255, 65535, 1e-40))).astype(rng.choice(kinds))
    if kind == 4:
        with np.errstate(all="ignore"):
            return x * rng.choice((1.0000001, 1.01, 255.0, 1e308, -1.0, math.nan, math.inf, 0.0))
    if kind == 5:
        x = x.copy()
        x.flat[:1] = rng.choice((math.nan, math.inf, -1e-9, 1 + 1e-7, 2.0))
        return x
    if kind == 6:
        return np.ma.masked_array(x, mask=noise.random(shape) < rng.choice((0.0, 0.1, 1.0)))
    if kind == 7:
        return np.broadcast_to(np.float32(0.5), rng.choice(((10**6, 10**6), (24, 20), (10**9, 24, 3))))
    if kind == 8:
        return rng.choice(
            (x[::-1, ::2] if x.ndim > 1 else x, np.asfortranarray(x), x.tolist(), memoryview(x.tobytes()))
        )
    if kind < 12:
        kinds = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.int64, torch.bool)
        t = torch.from_numpy(np.asarray(x)).to(rng.choice(kinds))
        t = t.requires_grad_() if t.is_floating_point() and rng.random() < 0.4 else t
        return rng.choice((t, t, t.to("meta"), t.to_sparse() if t.ndim and t.numel() else t, t[None]))
    if kind < 14:
        modes = (
            "1",
            "L",
            "P",
            "PA",
            "LA",
            "RGB",
            "RGBA",
            "CMYK",
            "YCbCr",
            "HSV",
            "LAB",
            "I",
            "F",
            "I;16",
            "RGBX",
            "RGBa",
        )
        mode = rng.choice(modes)
        image = Image.new(mode, rng.choice(((20, 24), (17, 40), (0, 0), (1, 1))), None)
        if rng.random() < 0.3:
            image.getexif()[0x0112] = rng.choice((6, 8, 0, 99))
        return image
    return rng.choice((None, 3, "nonsense", b"bytes", [], {}, [x, x], io.BytesIO(b""), object, type, x.dtype))


_PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "solver": ("fast", "fast", "fast", "paper", "uniform", "dps", "ilvr", "pan-l0", "richardson-lucy", "wiener"),
    "kernel_size": ("auto", 2, 3, 5, 8, 16, 20, 21, 24, 25, 100),
    "noise": ("auto", 1e-6, 0.01, 0.5, 1.0),
    "boundary": ("auto", "circular", "zero", "replicate", "reflect", "valid"),
    "num_steps": (1, 2, 3),
    "start": ("auto", "noise", 0.02, 1.0, 1e6),
    "step_size": ("auto", 0.0, 1.0, 1e30),
    "kernel_step_size": ("auto", 0.0, 1.0, 1e30),
    "step_schedule": ("constant", "sqrt_alpha_bar", "likelihood"),
    "sparsity": ("auto", 0.0, 1.0, 1e30),
    "sparsity_norm": ("l1", "l0"),
    "projection": ("simplex", "normalise"),
    "kernel_weight": ("auto", 0.0, 2.0, 1e30),
    "linear_light": (True, False),
    "samples": (1, 2),
    "restarts": ("auto", 1, 2),
    "scales": ("auto", 1, 2, 4),
    "search": ("auto", "none", "edges"),
    "seed": (0, 1, -1, 2**63, 10**30),
    "dtype": ("float32", "bfloat16", "auto"),
    "tile": ("auto", 64),
    "known_kernel": (None, ((1.0,),), ((0.2, 0.3), (0.1, 0.4)), ((1e308, 1e308),), ((0.1,) * 30,) * 30),
    "kernel_prior": ("uniform",),
    "tilt_prior": ("stationary",),
    "tilt_start": ("auto", "noise", 0.0, 1.0, 1e6),
    "order": ("tilt-blur", "blur-tilt"),
    "kernel_per_frame": (True, False),
}


def _options(rng: Random, kind: type, seeds: Seeds, odd: float) -> dict[str, Any]:
    from dataclasses import fields

    names = [f.name for f in fields(kind)]
    options: dict[str, Any] = {}
    for name in rng.sample(names, rng.randint(1, 5)):
        if rng.random() < odd:
            options[name] = mutate.value(rng)
        elif name in _PLAUSIBLE:
            options[name] = rng.choice(_PLAUSIBLE[name])
    return options


def settings(rng: Random, place: Path, seeds: Seeds) -> Call:
    from blinddps.restore import DeblurSettings, TurbulenceSettings

    kind = rng.choice((DeblurSettings, TurbulenceSettings))
    options = _options(rng, kind, seeds, 0.6)

    def call() -> None:
        made = kind(**options)
        _demand(
            made == kind(**options) and hash(made) == hash(kind(**options)), "settings that do not equal themselves"
        )

    return call


def _plain_picture(rng: Random) -> np.ndarray:
    noise = np.random.default_rng(rng.getrandbits(32))
    height, width, channels = rng.choice(((32, 32, 3), (24, 40, 1), (16, 17, 3), (40, 33, 3), (15, 32, 1)))
    flat = rng.choice((0.0, 0.5, 1.0))
    x = noise.random((height, width, channels)) * rng.choice((0.0, 1e-6, 0.01, 1.0))
    return (x + flat * (1 - x)).astype(np.float32)


def deblurred(rng: Random, place: Path, seeds: Seeds) -> Call:
    import blinddps
    from blinddps.io import as_picture

    kind = rng.randrange(4)
    given = odd_array(rng) if kind < 2 else _plain_picture(rng)
    if kind == 3 and rng.random() < 0.5:
        given = _written(place, *_spoiled(rng, seeds.pictures))
    options = {**seeds.folders, "num_steps": 1, "dtype": "float32", "device": "cpu"}
    if kind > 1:
        options |= _options(rng, blinddps.DeblurSettings, seeds, 0.05)
        options["num_steps"] = min(options["num_steps"], 3) if type(options["num_steps"]) is int else 1
        options["samples"] = min(options.get("samples", 1), 2) if type(options.get("samples", 1)) is int else 1

    def call() -> None:
        result = blinddps.deblur(given, **options)
        shape = given.shape[:2] if isinstance(given, np.ndarray) and kind > 1 else None
        _is_image(result.image, shape, as_picture(given).scaled)
        k = result.kernel
        _demand(bool(np.isfinite(k).all()) and k.min() >= 0 and abs(k.sum() - 1) < 1e-3, f"a kernel of sum {k.sum()}")

    return call


def turbulent(rng: Random, place: Path, seeds: Seeds) -> Call:
    import blinddps

    kind = rng.randrange(4)
    first = _plain_picture(rng)
    given: Any = [first] + [np.roll(first, n, 1) for n in range(1, rng.randint(1, 3))]
    if kind == 0:
        given = [odd_array(rng) for _ in range(rng.randrange(3))]
    elif kind == 1:
        given = odd_array(rng)
    elif kind == 2:
        given.append(_plain_picture(rng))
    options = {**seeds.folders, "num_steps": 1, "dtype": "float32", "device": "cpu"}
    if kind > 1:
        options |= _options(rng, blinddps.TurbulenceSettings, seeds, 0.05)
        options["num_steps"] = min(options["num_steps"], 2) if type(options["num_steps"]) is int else 1
        options["samples"] = 1

    def call() -> None:
        _is_image(blinddps.restore_turbulence(given, **options).image)

    return call


def command(rng: Random, place: Path, seeds: Seeds) -> Call:
    """The command line, in this process."""
    from blinddps.cli import main

    given = str(_written(place, *_spoiled(rng, seeds.pictures, 0.5)))
    words = [str(w) for w in (*mutate.TEXTS, *mutate.NUMBERS, given) if "\0" not in str(w) and "\ud800" not in str(w)]
    tiny = ["--prior", seeds.folders["prior"], "--kernel-prior", seeds.folders["kernel_prior"], "--steps", "1"]
    tiny += ["--device", "cpu", "--quiet"]
    calls: Sequence[list[str]] = (
        ["deblur", given, "--out", "out", *tiny],
        ["turbulence", given, "--out", "out", *tiny],
        ["simulate", "blur", given, "--out", "out"],
        ["simulate", "turbulence", given, "--out", "out"],
        ["simulate", "kernels", "--out", "out/k.safetensors", "--count", "3", "--size", "16"],
        ["simulate", "tilts", "--out", "out/t.safetensors", "--count", "3", "--size", "16"],
        ["priors"],
        ["train", "image", "--out", "out", "--dry-run", "--data", given],
        ["bench", "report", given],
        ["bench", "list"],
    )
    argv = list(rng.choice(calls))
    options = (
        "--seed",
        "--noise",
        "--samples",
        "--kernel-size",
        "--boundary",
        "--solver",
        "--known-kernel",
        "--prior",
        "--size",
        "--kernel",
        "--count",
        "--set",
        "--frames",
        "--dtype",
    )
    for _ in range(rng.randrange(3)):
        kind = rng.randrange(4)
        if kind == 0:
            argv[rng.randrange(len(argv))] = rng.choice(words)
        elif kind == 1:
            argv.insert(rng.randrange(len(argv) + 1), rng.choice(words))
        else:
            argv += [rng.choice(options), rng.choice(words)]

    if "--out" in argv[:-1]:  # where it writes is seen to
        argv[argv.index("--out") + 1] = rng.choice(
            ("out", "out", "out/..//out/x", given, "", "/dev/null/x", "out/" + "a" * 300)
        )

    def call() -> None:
        before, out, err, code = sys.argv, io.StringIO(), io.StringIO(), 0
        sys.argv = ["blinddps", *argv]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
                main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            sys.argv = before
        said = err.getvalue()
        _demand(code in (0, 1, 2), f"exit code {code}")
        _demand("Traceback" not in said and "error: unexpected " not in said, f"{argv}: {said[-300:]}")
        _demand(code == 0 or bool(said.strip()), f"{argv}: exit code {code} without a word")

    return call


TARGETS: dict[Callable[[Random, Path, Seeds], Call], int] = {
    picture: 22,
    anything: 8,
    planes: 6,
    frames: 12,
    kernel: 6,
    prior: 9,
    spec: 8,
    report: 5,
    reuse: 2,
    resumed: 2,
    bench: 2,
    training: 5,
    training_data: 5,
    checkpoint: 2,
    converted: 3,
    settings: 5,
    deblurred: 6,
    turbulent: 2,
    command: 4,
}
"""How often each is drawn, in parts of their sum."""
