"""Frames of one scene from folders, TIFF, GIF and video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from blinddps.core import InputError
from blinddps.io import read_frames, sharpest


def frames(count: int, height: int = 20, width: int = 24) -> list[np.ndarray]:
    """Ramps, frame ``i`` with a slope of ``i + 1``."""
    ramp = np.arange(width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    return [ramp * (i + 1) for i in range(count)]


def seen(source: Path, **options: Any) -> tuple[list[np.ndarray], list[str]]:
    scene = read_frames(source, **options)
    return scene.frames, scene.names


def test_a_folder_comes_in_natural_order(tmp_path: Path) -> None:
    given = frames(3)
    for name, frame in zip(("frame10.png", "frame2.png", "Frame1.png"), given, strict=True):
        Image.fromarray(frame).save(tmp_path / name)
    read, names = seen(tmp_path)
    assert names == ["Frame1.png", "frame2.png", "frame10.png"]
    for got, expected in zip(read, reversed(given), strict=True):
        np.testing.assert_array_equal(np.rint(got * 255), expected)


def test_pages_and_animations(tmp_path: Path) -> None:
    given = frames(3)
    deep = np.stack(given).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    read, _ = seen(tmp_path / "a.tif")
    np.testing.assert_allclose(np.stack(read), np.stack(given) / 255, atol=1e-6)
    assert read_frames(tmp_path / "a.tif").notes == ()  # no page was left out
    grey = [Image.fromarray(f[..., 0]) for f in given]
    grey[0].save(tmp_path / "a.gif", save_all=True, append_images=grey[1:], duration=50)
    read, names = seen(tmp_path / "a.gif")
    assert names == ["frame 1", "frame 2", "frame 3"]
    np.testing.assert_allclose(np.stack(read), np.stack(given)[..., :1] / 255, atol=1.5 / 255)


def test_the_sharpest_are_kept_in_their_order(tmp_path: Path) -> None:
    order = [2, 0, 3, 1]
    given = frames(4)
    for i, which in enumerate(order):
        Image.fromarray(given[which]).save(tmp_path / f"{i}.png")
    read, names = seen(tmp_path, count=2)
    assert names == ["0.png", "2.png"]
    assert sharpest(read, 1) == [1]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no pictures"):
        read_frames(tmp_path)
    with pytest.raises(InputError, match="count is 0"):
        read_frames(tmp_path, count=0)
    Image.fromarray(frames(1)[0]).save(tmp_path / "1.png")
    Image.fromarray(frames(1, 10)[0]).save(tmp_path / "2.png")
    with pytest.raises(InputError, match=r"'2.png' of .* is 24 x 10 .* '1.png' 24 x 20"):
        read_frames(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"cannot be read|blinddps\[video\]"):
        read_frames(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="cannot read"):
        read_frames(tmp_path / "missing.png")


def test_our_own_results_in_a_folder_are_no_frames(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "x_restored.png", "x_tilt.png", "x_kernel_sample2.png", "x_figure.png"):
        Image.fromarray(frames(1)[0]).save(tmp_path / name)
    assert read_frames(tmp_path).names == ["1.png", "2.png"]


def test_a_truncated_animation_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 20, 24), dtype=np.uint8)
    first, *others = (Image.fromarray(frame) for frame in noise)
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=50)
    whole = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match="cannot read"):
        read_frames(tmp_path / "a.gif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}])
def test_truncated_pages_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", noise, photometric="rgb", **options)
    whole = (tmp_path / "a.tif").read_bytes()
    assert len(read_frames(tmp_path / "a.tif").frames) == 6
    for share in (0.2, 0.5, 2 / 3, 0.9):
        (tmp_path / "a.tif").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="cannot read"):
            read_frames(tmp_path / "a.tif")


def test_pages_are_read_as_a_single_picture_is(tmp_path: Path) -> None:
    grey = np.stack(frames(3))[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="miniswhite")
    read, _ = seen(tmp_path / "a.tif")
    np.testing.assert_allclose(np.stack(read)[..., 0], (255 - grey) / 255, atol=1e-6)


def test_a_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mkv"), "w") as video:
        stream = video.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 24, 20, "bgr0"
        for frame in frames(3):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")))
        video.mux(stream.encode())
    read, _ = seen(tmp_path / "a.mkv")
    np.testing.assert_array_equal(np.rint(np.stack(read) * 255), np.stack(frames(3)))
