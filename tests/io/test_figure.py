import numpy as np
import pytest
from PIL import Image

from blinddps.core.errors import InputError
from blinddps.io.figure import comparison_figure, grid, kernel_picture, map_picture, strip_and_gif, write_map

KERNEL = np.zeros((5, 5))
KERNEL[1, 2], KERNEL[3, 3] = 0.2, 0.8


def image(height, width, value=(0.2, 0.4, 0.6)):
    return np.broadcast_to(np.array(value, np.float32), (height, width, len(value)))


def boxes(path, colour=(51, 102, 153)):
    """(left, top, right, bottom) of the pixels of one colour."""
    with Image.open(path) as picture:
        rows, columns = np.nonzero((np.asarray(picture.convert("RGB")) == colour).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_kernel_picture():
    picture = kernel_picture(KERNEL, 3)
    assert picture.shape == (15, 15, 1)
    assert picture.dtype == np.float32
    assert picture.max() == 1
    np.testing.assert_array_equal(picture[3:6, 6:9], np.float32(0.25))
    np.testing.assert_array_equal(picture[9:12, 9:12], 1)
    assert (picture > 0).sum() == 18
    assert kernel_picture(KERNEL - 0.1).min() == 0
    assert kernel_picture(np.zeros((2, 3))).max() == 0
    for bad in (KERNEL[None], np.zeros((0, 3)), KERNEL * np.nan):
        with pytest.raises(InputError, match="a kernel to draw has shape"):
            kernel_picture(bad)
    with pytest.raises(InputError, match="scale"):
        kernel_picture(KERNEL, 0)


def test_maps_grow_lighter_and_have_a_legend(tmp_path):
    ramp = np.linspace(0, 2, 200, dtype=np.float32)[None].repeat(100, 0)
    seen = map_picture(ramp, 1.0)
    assert seen.shape == (100, 200, 3)
    light = seen[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light[:100]) > 0).all()
    np.testing.assert_array_equal(seen[:, 100:], seen[:, -1:].repeat(100, 1))  # the limit and more
    write_map(ramp, 1.0, "standard deviation", ("0", "3 % of white"), tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.width >= 400  # 192 high at least
        assert picture.height > 200 + 13
    for bad, limit in ((ramp[None], 1.0), (ramp * np.nan, 1.0), (ramp, 0.0)):
        with pytest.raises(InputError, match=r"a map to draw has shape|the limit of a map"):
            map_picture(bad, limit)


def test_grid():
    sheet = grid([image(10, 20), image(10, 20, (0.0,)), image(4, 6, (1.0, 0.0, 0.0))], columns=2, padding=3)
    assert sheet.shape == (3 + 2 * 13, 3 + 2 * 23, 3)
    assert sheet.dtype == np.float32
    np.testing.assert_allclose(sheet[3:13, 3:23], image(10, 20), atol=1e-6)
    np.testing.assert_array_equal(sheet[3:13, 26:46], 0)
    np.testing.assert_array_equal(sheet[19:23, 10:16], image(4, 6, (1.0, 0.0, 0.0)))
    assert (sheet == 1).all(-1).sum() == 29 * 49 - 200 - 200 - 24
    assert grid([KERNEL] * 2, columns=5, padding=1).shape == (7, 13, 3)
    with pytest.raises(InputError, match="at least one image"):
        grid([], 2)
    with pytest.raises(InputError, match=r"shape \(4, 4, 2\)"):
        grid([np.zeros((4, 4, 2))], 2)


def test_comparison_figure(tmp_path):
    path = tmp_path / "x.png"
    comparison_figure([("measurement", image(200, 300)), ("kernel", KERNEL)], path)
    left, top, right, bottom = boxes(path)
    assert (right - left, bottom - top) == (300, 200)
    with Image.open(path) as figure:
        x = np.asarray(figure)
    pad = left
    kernel = x[top:bottom, right + pad : right + pad + 200]
    np.testing.assert_array_equal(kernel[20::40, 20::40, 0], np.rint(KERNEL / 0.8 * 255))
    assert x.shape[:2] == (bottom + pad, right + pad + 200 + pad)
    for edge in (x[:pad], x[-pad:], x[:, :pad], x[:, -pad:]):
        assert (edge == 255).all()
    assert (x[:top, left:right] < 128).any()  # the title


def test_comparison_figure_sizes_and_titles(tmp_path):
    path = tmp_path / "x.png"
    comparison_figure([("", image(64, 64))], path)
    left, top, right, bottom = boxes(path)
    assert (right - left, bottom - top) == (192, 192)
    comparison_figure(
        [("a title far wider than its panel", image(64, 8)), ("two\nlines", image(32, 8))], path, panel_height=64
    )
    left, top, right, bottom = boxes(path)
    assert bottom - top == 64
    with Image.open(path) as figure:
        x = np.asarray(figure)
    assert (x[:, :8] == 255).all()
    assert left > 60  # the narrow panel is centred below its title
    comparison_figure([("large", image(1000, 1500))], path)
    left, top, right, bottom = boxes(path)
    assert (right - left, bottom - top) == (1152, 768)


def test_a_kernel_of_one_pixel_is_seen(tmp_path):
    """It filled its panel, white on white."""
    comparison_figure([("", np.ones((1, 1), np.float32))], tmp_path / "figure.png", panel_height=90)
    with Image.open(tmp_path / "figure.png") as figure:
        assert (np.asarray(figure.convert("L")) == 0).sum() == 80 * 100  # 9 x 9 cells of 10 x 10 pixels, one white


def test_strip_and_gif(tmp_path):
    frames = [(f"step {i}", (image(100, 100, (i / 10, 0.0, 0.0)), KERNEL)) for i in range(11)]
    strip, gif = tmp_path / "strip.png", tmp_path / "evolution.gif"
    strip_and_gif(frames, strip, gif, strip_columns=3, frame_ms=50, hold_ms=900)
    tops = [boxes(strip, colour) for colour in ((128, 0, 0), (255, 0, 0))]  # the middle and the last frame
    assert all((right - left, bottom - top) == (200, 200) for left, top, right, bottom in tops)
    assert tops[0][0] < tops[1][0]
    assert tops[0][1] == tops[1][1]
    with Image.open(strip) as picture:
        assert picture.height > 400  # two panels, one below the other
        assert 600 < picture.width < 800
    with Image.open(gif) as picture:
        assert picture.n_frames == 11
        assert picture.info["loop"] == 0
        durations = []
        for i in range(11):
            picture.seek(i)
            durations.append(picture.info["duration"])
        assert durations == [50] * 10 + [900]
        last = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.abs(last - [255, 0, 0]).max(-1) <= 8).sum() == pytest.approx(200 * 200, rel=0.01)


def test_one_of_the_two_and_one_frame(tmp_path):
    strip_and_gif([("only", [KERNEL])], tmp_path / "strip.png", None)
    strip_and_gif([("only", [KERNEL])], None, tmp_path / "x.gif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["strip.png", "x.gif"]


def test_what_cannot_be_drawn(tmp_path):
    with pytest.raises(InputError, match="at least one column"):
        comparison_figure([], tmp_path / "x.png")
    with pytest.raises(InputError, match="does not exist"):
        comparison_figure([("a", KERNEL)], tmp_path / "no" / "x.png")
    for bad, match in (
        (np.full((4, 4, 3), np.nan), "NaN or infinite"),
        (np.zeros((4, 4, 3), np.uint8), "is uint8 of shape"),
        (np.zeros((0, 4, 3)), r"shape \(0, 4, 3\)"),
        (np.zeros(4), r"shape \(4,\)"),
    ):
        with pytest.raises(InputError, match=match):
            comparison_figure([("a", bad)], tmp_path / "x.png")
    for frames in ([], [("a", [KERNEL]), ("b", [KERNEL, KERNEL])], [("a", [])]):
        with pytest.raises(InputError, match="the same number of arrays"):
            strip_and_gif(frames, tmp_path / "x.png", tmp_path / "x.gif")
    assert list(tmp_path.iterdir()) == []
