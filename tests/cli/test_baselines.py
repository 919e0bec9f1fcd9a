"""``blinddps deblur --solver`` and ``--known-kernel`` as processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.tiny import tiny_weights


@pytest.fixture(scope="module")
def blurred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blurred")
    sharp = np.kron(np.random.default_rng(0).random((8, 10, 3)), np.ones((8, 8, 1)))
    rows = sum(np.roll(sharp, s, 1) for s in (-1, 0, 1)) / 3
    Image.fromarray((rows * 255).astype(np.uint8)).save(folder / "y.png")
    np.save(folder / "k.npy", np.ones((1, 3)))
    np.save(folder / "flat.npy", np.ones(3))
    return folder


def test_a_baseline_and_a_known_kernel(blurred: Path, tmp_path: Path, several: Callable[..., list[Any]]) -> None:
    call = ["deblur", blurred / "y.png", "--out", tmp_path, "--solver", "pan-l0", "--kernel-size", 7, "--animate"]
    (done,) = several([call])
    assert done.code == 0, done.err
    assert not done.errors
    record = json.loads((tmp_path / "y_result.json").read_text())
    assert record["settings"]["solver"] == "pan-l0"
    assert (record["nfe"], record["priors"], record["notes"]) == ({"image": 0}, {}, [])
    assert record["samples"][0]["outcome"] == "finished"
    assert np.load(tmp_path / "y_kernel.npy").shape == (7, 7)
    assert (tmp_path / "y_frames.gif").exists()
    assert np.asarray(Image.open(tmp_path / "y_restored.png")).shape == (64, 80, 3)


def test_a_trained_network(
    blurred: Path, tmp_path: Path, several: Callable[[Sequence[Sequence[object]]], list[Any]]
) -> None:
    weights = tiny_weights(tmp_path, "nafnet")
    call = ["deblur", blurred / "y.png", "--out", tmp_path / "out", "--solver", "nafnet"]
    into = ["deblur", blurred / "y.png", "--out", tmp_path, "--solver", "nafnet", "--weights"]
    (tmp_path / "y_result.json").write_bytes(weights.read_bytes())
    through = ["turbulence", blurred / "y.png", "--out", tmp_path / "air", "--solver", "tsr-wgan", "--weights"]
    done, air, without, other, own = several(
        [
            [*call, "--weights", weights],
            [*through, tiny_weights(tmp_path, "tsr-wgan")],
            call,
            [*call[:-1], "mprnet", "--weights", weights],
            [*into, tmp_path / "y_result.json", "--overwrite"],
        ]
    )
    assert done.code == 0, done.err
    assert "finished" in done.out
    assert air.code == 0, air.err
    assert json.loads((tmp_path / "air" / "y_result.json").read_text())["priors"]["weights"]["name"] == "tsr-wgan.pth"
    record = json.loads((tmp_path / "out" / "y_result.json").read_text())
    assert record["samples"][0]["outcome"] == "finished"
    assert "no kernel" in record["samples"][0]["message"]
    assert record["priors"]["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["settings"]["weights"] == str(weights)
    assert np.asarray(Image.open(tmp_path / "out" / "y_restored.png")).shape == (64, 80, 3)
    for refused, sentence in ((without, "needs its weights"), (other, "hold no mprnet"), (own, "input of this")):
        assert refused.code != 0
        assert sentence in refused.err
    assert (tmp_path / "y_result.json").read_bytes() == weights.read_bytes()


def test_kernel_options(
    blurred: Path, tmp_path: Path, several: Callable[[Sequence[Sequence[object]]], list[Any]], tiny: list[object]
) -> None:
    def call(*more: object, out: str = "a") -> list[object]:
        return ["deblur", blurred / "y.png", "--out", tmp_path / out, *more]

    k = ["--known-kernel", blurred / "k.npy"]
    calls = [
        call("--solver", "wiener", *k),
        call(*tiny, *k, "--animate", out="b"),
        call(*tiny, "--solver", "ilvr", out="c"),
        call("--solver", "dps", out="d"),
        call("--solver", "pan-dpc", out="e"),
        call("--solver", "wiener", "--known-kernel", blurred / "flat.npy", out="f"),
        call("--solver", "wiener", "--known-kernel", blurred / "none.npy", out="g"),
    ]
    wiener, fast, ilvr, needs, unknown, flat, none = several(calls)
    assert (wiener.code, fast.code, ilvr.code) == (0, 0, 0), wiener.err + fast.err + ilvr.err
    for out in ("a", "b"):
        assert np.allclose(np.load(tmp_path / out / "y_kernel.npy"), 1 / 3)
        record = json.loads((tmp_path / out / "y_result.json").read_text())
        assert record["settings"]["known_kernel"] == str(blurred / "k.npy")
    assert np.load(tmp_path / "c" / "y_kernel.npy").shape == (1, 1)
    assert needs.code == unknown.code == 2
    assert "solver 'dps' needs the kernel; give known_kernel (--known-kernel FILE)" in needs.err
    assert "unknown solver 'pan-dpc'; did you mean 'pan-dcp'?" in unknown.err
    assert flat.code == none.code == 1
    assert "flat.npy' has shape (3,); give (h, w)" in flat.err
    assert "none.npy' does not exist; check the path" in none.err
    assert not any((tmp_path / out).exists() for out in "defg")
