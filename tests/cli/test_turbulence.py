"""``blinddps simulate turbulence`` and ``blinddps turbulence`` as a user calls them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from blinddps.core import InputError
from blinddps.io import read_image

Call = Callable[..., Any]


def test_from_a_sharp_picture_to_a_restored_one(tmp_path: Path, several: Call, tiny: list[object]) -> None:
    j, i = np.meshgrid(np.arange(32), np.arange(32))
    sharp = np.stack([(7 * i) % 256, (5 * j) % 256, (3 * (i + j)) % 256], -1).astype(np.uint8)
    Image.fromarray(sharp).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "deep.tif", np.stack([sharp, sharp]).astype(np.uint16) * 257, photometric="rgb")
    inputs = [tmp_path / name for name in ("a.png", "deep.tif", "missing")]
    made, out = tmp_path / "made", tmp_path / "out"
    simulate = ["simulate", "turbulence", tmp_path / "a.png", "--out", made]
    restore = ["turbulence", made / "a_turbulent", "--out", out, "--kernel-size", 8, *tiny]
    screens = ["--kind", "phase-screen", "--frames", 2, "--kernel-size", 8]
    done = several(
        [
            [*simulate, "--frames", 3, "--kernel-size", 8],
            simulate,
            [*restore, "--frames", 2],
            restore,
            ["turbulence", *inputs, "--out", out, "--kernel-size", 8, *tiny],
            ["turbulence", tmp_path / "a.png", "--out", out, "--order", "tilt-blurr"],
            ["simulate", "turbulence", tmp_path / "a.png", "--out", tmp_path / "b", "--kind", "atmosferic"],
            ["simulate", "tilts", "--out", tmp_path / "t.safetensors", "--count", 3, "--size", 16, "--quiet"],
            [*simulate[:-1], tmp_path / "air", *screens, "--d-r0", 2],
            [*simulate[:-1], tmp_path / "air", *screens, "--d-r0", 0],
        ]
    )
    assert [d.code for d in done] == [0, 1, 0, 1, 1, 2, 2, 0, 0, 1], [d.err for d in done]
    assert "did you mean 'atmospheric'" in done[6].err.replace("\n", " ")
    assert "D / r0 is 0" in done[9].err
    air = json.loads((tmp_path / "air" / "a_turbulent_truth.json").read_text())
    assert air["tilt"]["d_over_r0"] == pytest.approx(2)
    psfs = np.load(tmp_path / "air" / "a_turbulent_truth_psfs.npy")
    assert psfs.shape == (2, 2, 2, 8, 8)
    assert np.allclose(np.load(tmp_path / "air" / "a_turbulent_truth_kernel.npy"), psfs.mean((0, 1, 2)))
    assert "does not use" not in done[2].err
    truth = json.loads((made / "a_turbulent_truth.json").read_text())
    assert truth["files"][:3] == ["a_turbulent/001.png", "a_turbulent/002.png", "a_turbulent/003.png"]
    assert np.load(made / "a_turbulent_truth_tilt.npy").shape == (3, 2, 32, 32)
    result = json.loads((out / "a_turbulent_result.json").read_text())
    assert len(result["input"]["frames"]) == 2
    assert set(result["files"]) | {"a_turbulent_result.json"} == {p.name for p in out.glob("a_turbulent_*")}
    assert np.load(out / "a_turbulent_tilt.npy").shape == (2, 2, 32, 32)
    assert Image.open(out / "a_turbulent_restored.png").size == (32, 32)
    assert "results are there already" in done[3].err
    assert (out / "a_result.json").exists()  # the missing input left the other to be done
    assert read_image(out / "a_restored.png").dtype == np.uint8
    assert read_image(out / "deep_restored.png").dtype == np.uint16  # as deep as what was given
    assert "did you mean 'tilt-blur'" in done[5].err.replace("\n", " ")
    from safetensors.torch import load_file

    assert load_file(tmp_path / "t.safetensors")["tilts"].shape == (3, 2, 16, 16)


def test_frames_of_an_earlier_simulation_do_not_stay(tmp_path: Path, several: Call) -> None:
    Image.fromarray(np.full((24, 24), 99, np.uint8)).save(tmp_path / "a.png")
    made, folder = tmp_path / "made", tmp_path / "made" / "a_turbulent"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((24, 24), 9, np.uint8)).save(folder / "007.png")
    (folder / "notes.txt").write_text("mine")
    simulate = ["simulate", "turbulence", tmp_path / "a.png", "--out", made, "--kernel-size", 8]
    done = several([[*simulate, "--frames", 3], [*simulate, "--frames", 5, "--overwrite"]])
    assert [d.code for d in done] == [1, 1], [d.err for d in done]  # it would pass for a frame, and is not ours
    assert "results are there already" in done[0].err
    assert f"'{folder / '007.png'}' is there and no record of an earlier result names it" in done[1].err
    assert [p.name for p in made.iterdir()] == ["a_turbulent"]
    (folder / "007.png").unlink()
    done = several([[*simulate, "--frames", 5], [*simulate, "--frames", 5]])
    assert [d.code for d in done] == [0, 1], [d.err for d in done]
    assert len(list(folder.glob("*.png"))) == 5
    done = several([[*simulate, "--frames", 3, "--overwrite"]])
    assert sorted(p.name for p in folder.iterdir()) == ["001.png", "002.png", "003.png", "notes.txt"]
    several([[*simulate, "--overwrite"]])
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]
    assert (made / "a_turbulent.png").exists()
    several([[*simulate, "--frames", 2, "--overwrite"]])
    assert not (made / "a_turbulent.png").exists()


def test_folders_keep_their_names_and_wrong_usage_is_named(
    tmp_path: Path, several: Call, tiny: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, out = tmp_path / "a.scene", tmp_path / "out"
    scene.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)).save(scene / "1.png")
    monkeypatch.chdir(scene)
    restore = ["turbulence", ".", "--out", out, "--kernel-size", 8, *tiny]
    done = several([restore, [*restore, "--frames", 0], [*restore, "--tilt-prior", "stationery"]])
    assert [d.code for d in done] == [0, 2, 1], [d.err for d in done]
    assert (out / "a.scene_restored.png").exists()
    assert "--frames" in done[1].err
    assert "did you mean 'stationary'" in done[2].err


def test_frames_made_one_picture(tmp_path: Path, several: Call, tiny: list[object]) -> None:
    scene, out = tmp_path / "scene", tmp_path / "out"
    scene.mkdir()
    for i in range(3):
        Image.fromarray(np.full((32, 32), 50 * i, np.uint8)).save(scene / f"{i}.png")
    fuse = ["turbulence", scene, "--out", out, "--overwrite", "--solver"]
    done = several(
        [
            [*fuse, "mean"],
            [*fuse, "mean", "--then", "fast", *tiny],
            [*fuse, "mead"],
            ["turbulence", scene, "--out", tmp_path / "half", "--solver", "mean", "--best", "60%"],
            ["turbulence", scene, "--out", tmp_path / "none", "--best", "0%"],
            ["turbulence", scene, "--out", tmp_path / "robust", "--solver", "registered"],
        ]
    )
    assert [d.code for d in done] == [0, 0, 2, 0, 2, 0], [d.err for d in done]
    assert read_image(tmp_path / "robust/scene_moving.png").data.shape == (32, 32, 1)
    assert not (tmp_path / "half/scene_moving.png").exists()  # the plain mean leaves nothing out
    assert "2 of 3 frames" in done[3].out.replace("\n", " ")
    assert "--frames is '0%'; give auto, all, a number such as 30" in " ".join(done[4].err.split())
    half = json.loads((tmp_path / "half/scene_result.json").read_text())["input"]
    assert (half["frames"], half["frames_read"]) == (["0.png", "1.png"], 3)
    assert json.loads((out / "scene_result.json").read_text())["kept"] == "restored"
    assert "3 frames, mean of the frames (3); no blur was taken off" in done[0].out.replace("\n", " ")
    assert "note" not in done[0].err
    assert "does not use" not in done[1].err
    assert "did you mean 'mean'" in done[2].err
    assert (read_image(out / "scene_restored.png").data * 255).round().max() == 50
    record = json.loads((out / "scene_result.json").read_text())
    assert record["settings"]["then"] == "fast"


def test_alpha_and_profile_are_kept(tmp_path: Path, several: Call, tiny: list[object]) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    x = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    Image.fromarray(x).save(tmp_path / "a.png", icc_profile=profile)
    made, out = tmp_path / "made", tmp_path / "out"
    simulate = ["simulate", "turbulence", tmp_path / "a.png", "--kernel-size", 8, "--out"]
    restore = ["--out", out, "--kernel-size", 8, *tiny]
    done = several(
        [
            [*simulate, made],
            [*simulate, tmp_path / "many", "--frames", 2],
            ["turbulence", made / "a_turbulent.png", tmp_path / "many" / "a_turbulent", *restore],
        ]
    )
    assert [d.code for d in done] == [0, 0, 0], [d.err for d in done]
    written = [made / "a_turbulent.png", tmp_path / "many/a_turbulent/002.png"]
    for path in [*written, out / "a_turbulent_restored.png", out / "a_turbulent-2_restored.png"]:
        picture = read_image(path)
        assert picture.icc_profile == profile
        np.testing.assert_array_equal(picture.alpha, x[..., 3])


def test_more_frames_than_fit_are_refused_before_any_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from blinddps.cli import app
    from blinddps.io import frames as frames_of

    Image.fromarray(np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "a.png")
    call = ["simulate", "turbulence", str(tmp_path / "a.png"), "--kernel-size", "5", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(frames_of, "free_memory", lambda: 4 * 16 * 16 * 5 * 20)  # of 20 grey frames and their tilts
    for count, status, sentence in ((20, 0, ""), (21, 1, "21 frames of this picture take")):
        with pytest.raises(SystemExit) as end:
            app([*call, "--frames", str(count), "--overwrite"])
        assert end.value.code == status
        assert sentence in capsys.readouterr().err
    with pytest.raises(InputError, match="frames is 10001; give a number from 1 to 10000"):
        app([*call, "--frames", "10001", "--overwrite"])


def test_the_command_line_begins_where_the_library_does() -> None:
    """Its ``--restarts`` was 1, which left the search along edges out, and with it the first step."""
    from blinddps.cli.turbulence import turbulence
    from blinddps.restore import TurbulenceSettings
    from blinddps.restore.settings import from_text

    options = {name: p.default for name, p in inspect.signature(turbulence).parameters.items()}
    given = {name: value for name, value in options.items() if value is not inspect.Parameter.empty}
    assert from_text(TurbulenceSettings, given) == TurbulenceSettings()


def test_a_video_is_made_still_and_is_whole_after_an_interrupt(
    tmp_path: Path, several: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fractions import Fraction

    import typer

    from blinddps.cli.turbulence import turbulence
    from blinddps.io import read_frames
    from blinddps.io.encode.video import write_video
    from blinddps.io.video import shown_by

    given, out = tmp_path / "a.mp4", tmp_path / "out"
    blocks = np.random.default_rng(0).uniform(0.2, 0.8, (6, 8, 3)).repeat(8, 0).repeat(8, 1)
    with write_video(given, Fraction(12)) as write:
        for t in range(5):
            write(np.roll(blocks, t % 2, 1))
    call = ["turbulence", given, "--video", "--window", 3, "--solver", "registered", "--out", out]
    done = several(
        [
            call,
            [*call, "--frames", "50%"],
            [*call, "--overwrite", "--window", 2],
            [*call[:5], "--out", tmp_path / "small"],
            [*call[:5], "--out", tmp_path / "small", "--solver", "lucky"],
            [*call[:5], "--out", tmp_path / "small", "--varying"],
        ]
    )
    assert [d.code for d in done] == [0, 2, 2, 1, 1, 1], [d.err for d in done]
    assert "leave one of them out" in " ".join(done[5].err.split())
    assert "nothing judges the kernel of frames of 64 x 48 pixels" in done[3].err
    assert "a video is made by solver 'fast'" in done[4].err
    result = json.loads((out / "a_result.json").read_text())
    assert (result["frames"], result["rate"], result["kept"], result["interrupted"]) == (5, "12", "registered", False)
    assert shown_by(out / "a_restored.mp4").rate == 12
    assert len(read_frames(out / "a_restored.mp4").frames) == 5
    assert not any((tmp_path / "small").iterdir())

    def broken_off(*_: Any) -> Any:
        yield from (np.zeros((48, 64, 3), np.float32) for _ in range(2))
        raise KeyboardInterrupt

    monkeypatch.setattr("blinddps.restore.turbulence.video.still_frames", broken_off)
    defaults = {
        name: getattr(p.default, "default", p.default) for name, p in inspect.signature(turbulence).parameters.items()
    }
    given_now = {"inputs": [given], "out": out, "video": True, "solver": "registered", "overwrite": True, "quiet": True}
    with pytest.raises(typer.Exit) as stopped:
        turbulence(**{**defaults, **given_now})
    assert stopped.value.exit_code == 130
    assert len(read_frames(out / "a_restored.mp4").frames) == 2
    assert json.loads((out / "a_result.json").read_text())["interrupted"]
