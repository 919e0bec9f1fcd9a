"""Frames of one scene from folders, TIFF, GIF and video."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from blinddps.core import InputError
from blinddps.io import frames as module
from blinddps.io import read_frames, read_image, sharpest


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
    assert sorted(("1²2", "1a", "01²1"), key=module.natural) == ["1a", "01²1", "1²2"]  # ² is a digit, but no number
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


@pytest.mark.parametrize("between", [1, 2], ids=["white", "correlated"])
def test_noise_does_not_pass_for_sharpness(between: int) -> None:
    rng = np.random.default_rng(0)
    picture = rng.uniform(0.2, 0.8, (12, 12)).repeat(8, 0).repeat(8, 1)

    def frame(blur: int, noise: float) -> np.ndarray:
        seen = picture
        for axis in (0, 1):
            seen = sum(np.roll(seen, k, axis) for k in range(-blur, blur + 1)) / (2 * blur + 1)
        grain = rng.standard_normal((98, 98, 3))
        grain = sum(grain[i : i + 96, j : j + 96] for i in range(between) for j in range(between)) / between
        return (seen[..., None] + noise * grain).astype(np.float32)

    given = [frame(2, 0.1), frame(1, 0.0), frame(3, 0.2), frame(0, 0.03), frame(1, 0.08)]
    assert sharpest(given, 1) == [3]
    assert sharpest(given, 3) == [1, 3, 4]


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
    for name in ("missing.png", "x" * 300 + ".png", "x\0.png", "x" * 300 + ".mp4"):
        with pytest.raises(InputError, match="cannot read"):
            read_frames(tmp_path / name)


def test_our_own_results_in_a_folder_are_no_frames(tmp_path: Path) -> None:
    ours = ("x_restored.png", "x_tilt.png", "x_kernel_sample2.png", "x_figure.png", "x_restored_std.png")
    for name in ("1.png", "2.png", *ours):
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


# ------------------------------------------------------------------------------------------------ stacks, memory


@pytest.mark.parametrize("options", [{"imagej": True}, {"truncate": True}, {"imagej": True, "truncate": True}])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_stack_with_one_directory_keeps_all_frames(tmp_path: Path, options: dict[str, Any], dtype: str) -> None:
    stack = np.random.default_rng(0).random((5, 20, 24)).astype("f4")
    stack = stack if dtype == "f4" else np.rint(stack * np.iinfo(dtype).max).astype(dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, photometric="minisblack", **options)
    scene = read_frames(path)
    top = 1 if dtype == "f4" else np.iinfo(dtype).max
    np.testing.assert_allclose(np.stack(scene.frames)[..., 0], stack.astype("f4") / top, rtol=1e-6)
    assert scene.names == [f"page {i + 1}" for i in range(5)]
    picture = read_image(path, warn=False)
    np.testing.assert_array_equal(picture.data, scene.frames[0])
    assert picture.notes == ("the file holds 5 pages; only the first is used",)
    np.testing.assert_array_equal(read_image(path, warn=False, page=3).data, scene.frames[3])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot read"):
        read_frames(path)


def test_channels_and_slices_of_imagej_are_said(tmp_path: Path) -> None:
    stack = np.zeros((4, 3, 20, 24), np.uint8)
    for axes, said in (("TCYX", "3 channels"), ("TZYX", "3 slices")):
        tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": axes})
        scene = read_frames(tmp_path / "a.tif")
        assert len(scene.frames) == 12
        assert scene.notes == (f"its pages are of {said}, and each is taken for a frame",)


def test_a_colour_stack_with_one_directory(tmp_path: Path) -> None:
    stack = np.stack(frames(3))
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, truncate=True)
    np.testing.assert_array_equal(np.rint(np.stack(seen(tmp_path / "a.tif")[0]) * 255), stack)


def test_pages_are_walked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of reads grows with the pages, not with their square."""
    reads = {}
    for count in (20, 80):
        path = tmp_path / f"{count}.tif"
        tifffile.imwrite(path, np.zeros((count, 8, 8), np.uint8), photometric="minisblack", compression="zlib")

        class Counted(io.FileIO):
            calls = 0

            def readinto(self, buffer: Any) -> int:
                Counted.calls += 1
                return super().readinto(buffer)  # type: ignore[return-value]

        monkeypatch.setattr(module, "open_file", lambda path: (str(path), path, io.BufferedReader(Counted(path), 16)))
        assert len(read_frames(path).frames) == count
        reads[count] = Counted.calls
    assert reads[80] < 5 * reads[20]


def moving(path: Path, count: int) -> None:
    """A sharp frame at 3, blurred ones elsewhere."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with tifffile.TiffWriter(path) as tiff:
        for i in range(count):
            tiff.write(noise if i == 3 else noise // 2, photometric="minisblack", compression="zlib")


def test_no_more_is_held_than_is_kept(tmp_path: Path) -> None:
    moving(tmp_path / "a.tif", 40)
    tracemalloc.start()
    scene = read_frames(tmp_path / "a.tif", count=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scene.names == ["page 1", "page 4"]
    assert peak < 12 * 4 * 400 * 400  # of 40 frames in float32


def test_what_does_not_fit_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving(tmp_path / "a.tif", 8)
    monkeypatch.setattr(module, "free_memory", lambda: 5 * 4 * 400 * 400)
    with pytest.raises(InputError, match=r"do not fit in the free memory, of 0.0 GB, after 5; keep fewer"):
        read_frames(tmp_path / "a.tif")
    assert len(read_frames(tmp_path / "a.tif", count=3).frames) == 3

    def starved(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(module, "picture_of", starved)
    with pytest.raises(InputError, match="do not fit in the free memory"):
        read_frames(tmp_path / "a.tif")


def test_the_system_tells_itsfree_memory() -> None:
    assert module.free_memory() > 2**20


def test_the_content_tells_the_format(tmp_path: Path) -> None:
    given = frames(3)
    tifffile.imwrite(tmp_path / "a.png", np.stack(given), photometric="rgb")
    assert len(read_frames(tmp_path / "a.png").frames) == 3
    Image.fromarray(given[0]).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.gif")
    assert read_frames(tmp_path / "b.gif").names == ["b.gif"]


def test_an_animation_cut_between_its_frames_is_noted(tmp_path: Path) -> None:
    first, *others = (Image.fromarray(f) for f in frames(4))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=50)
    assert read_frames(tmp_path / "a.gif").notes == ()
    whole = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(whole[:-1])
    assert read_frames(tmp_path / "a.gif").notes == ("its end is missing; it may be cut",)


# ------------------------------------------------------------------------------------------------ alpha, profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_alpha_and_profile_that_all_frames_share_are_kept(tmp_path: Path) -> None:
    alpha = np.arange(480, dtype=np.uint16).astype(np.uint8).reshape(20, 24)
    for i, frame in enumerate(frames(3)):
        Image.fromarray(np.dstack([frame, alpha])).save(tmp_path / f"{i}.png", icc_profile=SRGB)
    scene = read_frames(tmp_path)
    assert scene.like is not None
    np.testing.assert_array_equal(scene.like.alpha, alpha)
    assert scene.like.icc_profile == SRGB
    assert scene.notes == ()
    Image.fromarray(frames(1)[0]).save(tmp_path / "3.png")
    scene = read_frames(tmp_path)
    assert scene.like is not None
    assert (scene.like.alpha, scene.like.icc_profile) == (None, None)
    assert scene.notes == tuple(f"the frames differ in their {w}, which is left out" for w in ("alpha", "ICC profile"))


# ------------------------------------------------------------------------------------------------ videos


def film(path: Path, given: list[np.ndarray], codec: str = "ffv1", pixel: str = "bgr0", **options: Any) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w", **options) as video:
        stream = video.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *given[0].shape[:2], pixel
        for frame in given:
            kind = "rgb48le" if frame.dtype == np.uint16 else "rgb24"
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=kind).reformat(format=pixel)))
        video.mux(stream.encode())


def test_a_video(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv", frames(3))
    scene = read_frames(tmp_path / "a.mkv")
    np.testing.assert_array_equal(np.rint(np.stack(scene.frames) * 255), np.stack(frames(3)))
    assert (scene.names, scene.dtype, scene.notes) == (["frame 1", "frame 2", "frame 3"], np.uint8, ())


def test_a_deep_video_keeps_its_depth(tmp_path: Path) -> None:
    deep = [np.random.default_rng(i).integers(0, 65536, (20, 24, 3)).astype(np.uint16) for i in range(2)]
    film(tmp_path / "a.mkv", deep, pixel="gbrp16le")
    scene = read_frames(tmp_path / "a.mkv")
    assert scene.dtype == np.uint16
    np.testing.assert_array_equal(np.rint(np.stack(scene.frames) * 65535), np.stack(deep))


# Display matrices (a b c d) as a phone writes them, and what they do: held upright, turned left, on its head, turned
# right, and the mirrored picture of a front camera. ISO 14496-12, 8.3.2: (x, y) is shown at (a x + c y, b x + d y).
MATRICES = {
    (1, 0, 0, 1): lambda x: x,
    (0, 1, -1, 0): lambda x: np.rot90(x, -1),
    (-1, 0, 0, -1): lambda x: np.rot90(x, 2),
    (0, -1, 1, 0): lambda x: np.rot90(x),
    (-1, 0, 0, 1): lambda x: x[:, ::-1],
    (1, 0, 0, -1): lambda x: x[::-1],
    (0, 1, 1, 0): lambda x: x.swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_a_video_is_turned_upright(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    corners = np.zeros((32, 48, 3), np.uint8)
    corners[:16, :24] = 255, 0, 0
    corners[:16, 24:] = 0, 255, 0
    corners[16:, :24] = 0, 0, 255
    film(tmp_path / "a.mp4", [corners] * 2, "mpeg4", "yuv420p")
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    place = content.index(b"tkhd") + 44  # type, version and flags, 5 numbers, 4 small ones: ISO 14496-12, 8.3.2
    a, b, c, d = (value << 16 for value in matrix)
    assert content[place : place + 36] == struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content)
    np.testing.assert_allclose(read_frames(tmp_path / "a.mp4").frames[1], MATRICES[matrix](corners) / 255, atol=0.3)


@pytest.mark.parametrize("name", ["http:a.mkv", "concat:a.mkv", "file:a.mkv", "tcp:a.mkv"])
def test_a_name_is_no_address(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "a.mkv", frames(3))
    (tmp_path / "a.mkv").rename(tmp_path / name)
    film(tmp_path / "a.mkv", frames(1))  # what FFmpeg would open for two of the names
    monkeypatch.chdir(tmp_path)
    assert len(read_frames(name).frames) == 3


def test_nothing_is_fetched(tmp_path: Path) -> None:
    pytest.importorskip("av")
    film(tmp_path / "a.mkv", frames(2))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        playlists = {
            "named.mp4": None,
            "concat.mp4": f"ffconcat version 1.0\nfile '{tmp_path / 'a.mkv'}'\n",
            "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n",
            "sdp.mp4": f"v=0\nc=IN IP4 127.0.0.1\nm=video {server.getsockname()[1]} RTP/AVP 96\n",
        }
        for name, content in playlists.items():
            source: Any = address
            if content is not None:
                source = tmp_path / name
                source.write_text(content)
            with pytest.raises(InputError, match="cannot"):
                read_frames(source)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel", "options"),
    [
        (".mkv", "ffv1", "bgr0", {}),
        (".mkv", "mpeg4", "yuv420p", {}),
        (".avi", "mpeg4", "yuv420p", {}),
        (".mov", "mpeg4", "yuv420p", {}),
        (".mov", "mpeg4", "yuv420p", {"options": {"movflags": "faststart"}}),
        (".ogv", "libvpx", "yuv420p", {"format": "ogg"}),
    ],
)
def test_a_cut_video_does_not_pass_for_a_whole_one(
    tmp_path: Path, suffix: str, codec: str, pixel: str, options: dict[str, Any]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 32, 48, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    try:
        film(path, list(noise), codec, pixel, **options)
    except ValueError as error:  # FFmpeg may come without an encoder
        pytest.skip(str(error))
    scene = read_frames(path)
    assert (len(scene.frames), scene.notes) == (30, ())
    whole = path.read_bytes()
    for share in (0.5, 0.7, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with contextlib.suppress(InputError):  # which is as good as a note
            scene = read_frames(path)
            assert len(scene.frames) < 30
            assert "may be cut" in scene.notes[-1]


def test_damaged_videos_end_in_a_sentence_or_in_frames(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv", frames(4))
    film(tmp_path / "b.mp4", [np.zeros((32, 48, 3), np.uint8)] * 4, "mpeg4", "yuv420p")
    for name in ("a.mkv", "b.mp4"):
        path, whole = tmp_path / name, (tmp_path / name).read_bytes()
        for seed in range(120):
            rng = np.random.default_rng(seed)
            content = bytearray(whole)
            for place in rng.integers(0, len(whole) if seed % 2 else 400, 1 + seed % 8):
                content[place] = rng.integers(256)
            path.write_bytes(content)
            with contextlib.suppress(InputError):
                read_frames(path, max_pixels=100_000)


def test_a_matroska_file_that_lacks_any_of_its_end_is_told(tmp_path: Path) -> None:
    """Its last pictures are fewer than the length it announces can tell."""
    film(tmp_path / "a.mkv", frames(4))
    whole = (tmp_path / "a.mkv").read_bytes()
    for end in range(0, len(whole), 50):
        (tmp_path / "a.mkv").write_bytes(whole[:end])
        told = ""
        try:
            told = " ".join(read_frames(tmp_path / "a.mkv").notes)
        except InputError as error:
            told = str(error)
        assert re.search(
            r"may be cut$|cannot be read \([A-Z][a-z /]+\); get|has no whole picture; get|is empty; get", told
        )
    (tmp_path / "a.mkv").write_bytes(whole + bytes(100))  # more than it says
    assert read_frames(tmp_path / "a.mkv").notes == ()


def test_text_that_is_not_utf_8_does_not_stop_a_video(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv", frames(3))
    content = (tmp_path / "a.mkv").read_bytes()
    assert content.count(b"Lavf") >= 1
    (tmp_path / "a.mkv").write_bytes(content.replace(b"Lavf", b"\xff\xfe\xfd\xfc"))
    assert len(read_frames(tmp_path / "a.mkv").frames) == 3


def test_a_video_is_written_as_it_was_shown(tmp_path: Path) -> None:
    from blinddps.io.encode.video import write_video
    from blinddps.io.video import Shown, shown_by

    colour = np.array([200, 40, 90]) / 255
    for sides, matrix in (((48, 64), 1), ((48, 64), 6), ((33, 41), 2)):
        shown, path = Shown(Fraction(30000, 1001), matrix, 1, 1, 0), tmp_path / "a.mp4"
        with write_video(path, shown.rate, shown) as write:
            for value in (0.25, 0.5, 0.75):
                write(np.full((*sides, 1), value, np.float32))
                write(np.broadcast_to(colour, (*sides, 3)))
        found = read_frames(path).frames
        assert shown_by(path) == Shown(Fraction(30000, 1001), matrix, 1, 1, 6)
        assert len(found) == 6
        assert np.abs(found[2] - 0.5).max() < 0.02
        assert np.abs(found[3] - colour).max() < 0.03
    before = path.read_bytes()

    def of_two_sizes() -> None:
        with write_video(path, Fraction(25)) as write:
            write(np.zeros((8, 8, 3), np.float32))
            write(np.zeros((9, 8, 3), np.float32))

    with pytest.raises(InputError, match="a frame is 8 x 9"):
        of_two_sizes()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
