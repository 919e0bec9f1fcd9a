"""``--overwrite`` and the files that lie where results go: the user's stay, and no input is replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blinddps.training import configure, recipe

Call = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture and a kernel, the present folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    np.save(tmp_path / "scene_kernel.npy", np.ones((3, 3)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


NEIGHBOURS = ("scene_restored.psd", "scene_frames.mp4", "scene_result.csv", "scene_blurred.psd", "scene_truth.csv")


def test_the_users_files_stay(folder: Path, several: Call, tiny: list[object]) -> None:
    for name in NEIGHBOURS:
        (folder / name).write_bytes(b"mine")
    before = content(folder)
    deblur = ["deblur", "scene.png", "--out", ".", *tiny, "--solver", "dps", "--known-kernel", "scene_kernel.npy"]
    turbulence = ["turbulence", "scene.png", "--out", ".", "--kernel-size", 8, *tiny]
    blur = ["simulate", "blur", "scene.png", "--out", "."]
    for done in several([[*call, "--overwrite"] for call in (deblur, turbulence)]):
        assert done.code == 1
        assert len(done.errors) == 1, done.err
        assert "scene_kernel.npy' is " in done.errors[0]  # an input; there
    assert content(folder) == before

    (folder / "scene_kernel.npy").rename("k.npy")
    before["k.npy"] = before.pop("scene_kernel.npy")
    deblur[-1] = "k.npy"
    calls = [deblur, turbulence, blur, [*blur, "--kernel", "gaussian"]]
    again = [*deblur[:-1], "scene_kernel.npy"]  # which an earlier result names, but it is read here
    *all_done, refused = several([[*call, "--overwrite"] for call in (*calls, again)])
    assert [done.code for done in all_done] == [0, 0, 0, 0], [done.err for done in all_done]
    after = content(folder)
    assert {name: after[name] for name in before} == before
    assert json.loads(after["scene_truth.json"])["kernel"]["kind"] == "gaussian"
    assert refused.code == 1
    assert "'scene_kernel.npy' is an input of this call and a result would take its place" in refused.err


def test_blur_and_turbulence_of_one_picture_lie_side_by_side(folder: Path, several: Call) -> None:
    turbulence = ["simulate", "turbulence", "scene.png", "--out", "made", "--kernel-size", 8]
    done = several([["simulate", "blur", "scene.png", "--out", "made"], turbulence, [*turbulence, "--overwrite"]])
    assert [d.code for d in done] == [0, 0, 0], [d.err for d in done]
    truths = {name: json.loads((folder / "made" / name).read_text()) for name in ("scene_truth.json",)}
    truths["turbulent"] = json.loads((folder / "made" / "scene_turbulent_truth.json").read_text())
    files = [name for truth in truths.values() for name in truth["files"]]
    assert len(files) == len(set(files)) == 3 + 5
    assert all((folder / "made" / name).exists() for name in files)


def test_a_picture_named_like_the_result_of_another(folder: Path, several: Call, tiny: list[object]) -> None:
    for name in ("scene_restored.png", "scene_blurred.png", "scene_turbulent.png"):
        shutil.copy("scene.png", name)
    (folder / "link.png").symlink_to("scene_kernel.png")
    shutil.copy("scene.png", "scene_kernel.png")
    before = content(folder)
    calls = [
        ["deblur", "scene.png", "scene_restored.png", "--out", ".", *tiny],
        ["deblur", "scene.png", "link.png", "--out", ".", *tiny],
        ["turbulence", "scene.png", "scene_restored.png", "--out", ".", *tiny],
        ["simulate", "blur", "scene.png", "scene_blurred.png", "--out", "."],
        ["simulate", "turbulence", "scene.png", "scene_turbulent.png", "--out", "."],
    ]
    for done in several([*calls, *([*call, "--overwrite"] for call in calls)]):
        assert done.code == 1
        assert len(done.errors) == 1, done.err
        assert "is an input of this call and a result would take its place" in done.errors[0]
    assert content(folder) == before


def test_a_folder_of_frames_that_holds_results(folder: Path, several: Call, tiny: list[object]) -> None:
    scene = folder / "scene"
    scene.mkdir()
    for name in ("1.png", "2.png"):
        shutil.copy("scene.png", scene / name)
    call = ["turbulence", "scene", "--out", "scene", "--kernel-size", 8, *tiny]
    first, second = several([call, [*call, "--overwrite"]])
    assert first.code == 0, first.err
    assert second.code == 1
    assert "is an input of this call" in second.err


def test_databases(folder: Path, several: Call) -> None:
    for name in ("k.safetensors", "t.safetensors", "text"):
        (folder / name).write_bytes(b"mine")
    small = ["--count", 2, "--size", 8, "--quiet", "--overwrite"]
    calls = [
        ["simulate", kind, "--out", file, *small] for kind, file in (("kernels", "k.safetensors"), ("tilts", "text"))
    ]
    for done in several(calls):
        assert done.code == 1
        assert "so it is not replaced; give another name" in done.errors[0]
    assert (folder / "k.safetensors").read_bytes() == (folder / "text").read_bytes() == b"mine"
    made = [["simulate", kind, "--out", f"new_{kind}", *small] for kind in ("kernels", "tilts")]
    crossed = [["simulate", kind, "--out", f"new_{other}", *small] for kind, other in (("kernels", "tilts"),)]
    done = several([*made, *made, *crossed])
    assert [d.code for d in done] == [0, 0, 0, 0, 1]


def test_demo(folder: Path, several: Call) -> None:
    (folder / "face_restored.png").write_bytes(b"mine")
    (folder / "result.json").write_text("{}")
    before = content(folder)
    (done,) = several([["demo", "--out", ".", "--steps", 1, "--quiet"]])
    assert done.code == 1
    assert "face_restored.png' is there and no record of an earlier result names it" in done.errors[0]
    assert content(folder) == before


def test_train(folder: Path, several: Call) -> None:
    """A folder of the user's is not made a run's; what a run reads it does not write."""
    (folder / "mine").mkdir()
    shutil.copy("scene.png", "mine/scene.png")
    settings = configure({**recipe("kernel"), "name": "mine"})
    (folder / "mine" / "config.json").write_text(settings.model_dump_json())
    (folder / "pictures" / "samples").mkdir(parents=True)
    shutil.copy("scene.png", "pictures/samples/scene.png")
    before = content(folder)
    small = ["--steps", 1, "--size", 16, "--device", "cpu", "--quiet"]
    calls: list[tuple[list[object], str]] = [
        (["kernel", "--out", "mine"], "'mine/config.json' is there and of no training run, so it is not replaced"),
        (
            ["kernel", "--out", "mine", "--config", "mine/config.json"],
            "config.json' is an input of this run, which would",
        ),
        (["image", "--out", "pictures", "--data", "pictures/samples"], "samples' is an input of this run, which would"),
    ]
    for done, (_, sentence) in zip(several([["train", *call, *small] for call, _ in calls]), calls, strict=True):
        assert (done.code, len(done.errors)) == (1, 1), done.err
        assert sentence in done.errors[0]
    assert content(folder) == before
