"""Pictures that use little of the range from black to white, and pictures that show nothing."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import blinddps
from blinddps import deblur, restore_turbulence
from blinddps.core import Step
from blinddps.io import as_picture, read_image
from blinddps.restore.light import Range, find_range, tells_a_blur
from blinddps.restore.solvers import SOLVERS

Picture = Callable[..., np.ndarray]

ASSETS = f"{blinddps.__path__[0]}/assets"


def shipped(name: str, side: int = 96) -> np.ndarray:
    data = read_image(f"{ASSETS}/{name}.png").data
    top, left = ((n - side) // 2 for n in data.shape[:2])
    return data[top : top + side, left : left + side]


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))[None]


def in_8_bit(y: Tensor) -> Tensor:
    return (y.clamp(0, 1) * 255).round() / 255


# ------------------------------------------------------------------------------------------------------ range


@pytest.mark.parametrize("name", ["photo_blurred", "photo_sharp", "face_blurred", "face_sharp"])
def test_a_picture_that_uses_half_the_range_stays_as_it_is(name: str) -> None:
    y = tensor(read_image(f"{ASSETS}/{name}.png").data)
    found = find_range(y)
    assert found == Range(0.0, 1.0)
    assert found.whole
    assert found.gain == 1
    assert found.bring(y) is y
    assert found.note == ()


@pytest.mark.parametrize(("scale", "offset"), [(1 / 4, 0.0), (1 / 16, 0.0), (1 / 64, 0.0), (1 / 4, 0.3), (1 / 64, 0.9)])
def test_the_range_follows_the_picture_and_is_undone(scale: float, offset: float) -> None:
    y = tensor(shipped("photo_blurred"))
    low, high = y.quantile(0.001).item(), y.quantile(0.999).item()
    found = find_range(scale * y + offset)
    room = 0.05 * (high - low)
    assert found.low == pytest.approx(max(0, scale * (low - room) + offset), abs=0.03 * scale)
    assert found.high == pytest.approx(scale * (high + room) + offset, abs=0.03 * scale)
    seen = found.bring(scale * y + offset)
    assert torch.allclose(found.undo(seen, found.beyond(scale * y + offset)), scale * y + offset, atol=1e-6)
    assert float(seen.max() - seen.min()) > 0.9
    assert found.note[0].startswith("the picture uses ")


def test_one_hot_pixel_does_not_set_the_range_and_survives() -> None:
    y = tensor(shipped("photo_blurred")) / 16
    hot = y.clone()
    hot[0, :, 40, 50] = 1.0
    assert find_range(hot).high == pytest.approx(find_range(y).high, rel=0.01)
    found = find_range(hot)
    assert torch.allclose(found.undo(found.bring(hot), found.beyond(hot)), hot, atol=1e-6)
    assert torch.allclose(found.bring(hot), found.bring(y), atol=0.05)  # no blur made it


@pytest.mark.parametrize("width", [0.6, 1.0, 3.0])
def test_the_tip_of_a_blurred_star_is_no_hot_pixel(width: float) -> None:
    far = torch.arange(-20.0, 21.0)
    bell = torch.exp(-(far**2) / (2 * width**2))
    y = 0.01 + 0.9 * (bell * bell[:, None])[None, None]
    seen = Range(0.0, 0.25).bring(y)
    assert seen[0, 0, 20, 20] == seen.max() == 1


def test_stars_set_the_range() -> None:
    sky = stars(0.0)
    assert find_range(sky * 0.2).high == pytest.approx(0.2 * float(sky.max()), rel=0.15)


def test_linear_light_is_scaled_in_linear_light() -> None:
    y = tensor(shipped("photo_blurred")) / 4
    display, light = find_range(y), find_range(y, linear_light=True)
    assert light.high < display.high / 4  # the curve is far below the line there
    assert light.low < display.low or display.low == 0


@pytest.mark.parametrize("solver", [s for s in SOLVERS if s != "dps"])
def test_every_solver_gives_the_same_at_a_fraction_of_the_range(
    tiny: dict[str, Any], trained: dict[str, Path], solver: str
) -> None:
    """In float, where scaling loses nothing, up to the room that a stretched picture is given."""
    y = shipped("photo_blurred", 32)
    used = find_range(tensor(y) / 16)
    stretched = used.bring(tensor(y) / 16)[0].permute(1, 2, 0).numpy()
    options = {**tiny, "solver": solver, "noise": 0.02}
    if solver in trained:
        options["weights"] = trained[solver]
    if solver in ("selfdeblur", "richardson-lucy", "wiener"):
        options["num_steps"] = 2
    whole = deblur(stretched, **options)
    dark = deblur(y / 16, **{**options, "noise": 0.02 / used.gain})
    assert dark.range == (used.low, used.high)
    assert whole.range == (0.0, 1.0)
    assert dark.noise == dark.settings.noise == pytest.approx(0.02 / used.gain, rel=1e-6)
    assert np.allclose(dark.images * used.gain - used.low * used.gain, whole.images, atol=0.02)
    assert np.allclose(dark.kernels, whole.kernels, atol=0.01)
    assert dark.residual == pytest.approx(whole.residual, rel=0.02)
    assert [n for n in dark.notes if n.startswith("the picture uses")] == list(used.note)


def as_saved(noisy: Tensor, how: str) -> Tensor:
    """From a camera's filter array by bilinear demosaicing, or as JPEG of a quality."""
    if how == "demosaiced":
        mask = torch.zeros_like(noisy)
        mask[:, 0, ::2, ::2] = mask[:, 1, ::2, 1::2] = mask[:, 1, 1::2, ::2] = mask[:, 2, 1::2, 1::2] = 1
        weight = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).expand(3, 1, 3, 3)
        around = [F.conv2d(F.pad(x, (1, 1, 1, 1)), weight, groups=3) for x in (noisy * mask, mask)]
        return in_8_bit(around[0] / around[1])
    file = io.BytesIO()
    Image.fromarray((noisy[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()).save(
        file, "JPEG", quality=int(how)
    )
    return tensor(as_picture(file.getvalue()).data)


@pytest.mark.parametrize("how", ["demosaiced", "95", "85", "70"])
@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.04])
def test_noise_that_neighbours_share_tells_no_blur(how: str, sigma: float) -> None:
    noise = sigma * torch.randn(1, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    assert not tells_a_blur(as_saved(0.5 + noise, how))
    assert not tells_a_blur(as_saved(0.45 + 0.1 * torch.linspace(0, 1, 192) + noise, how))
    edge = torch.zeros(192)
    edge[90:] = 2.5 * sigma
    assert tells_a_blur(as_saved(0.45 + edge + noise, how))


@pytest.mark.parametrize("contrast", [0.15, 0.2, 0.3])
@pytest.mark.parametrize("period", [6, 12, 16])
def test_a_faint_pattern_is_no_noise(period: int, contrast: float) -> None:
    place = torch.arange(96)
    bars = (place // (period // 2) % 2).float()
    waves = 0.5 + 0.5 * torch.sin(2 * math.pi * place / period)
    for pattern in (bars + 0 * bars[:, None], (bars + bars[:, None]) % 2, waves + 0 * waves[:, None]):
        picture = 0.4 + contrast * pattern.expand(1, 3, 96, 96)
        assert tells_a_blur(in_8_bit(picture))
        noise = 0.01 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
        assert tells_a_blur(in_8_bit(picture + noise))


@pytest.mark.parametrize("name", ["photo_blurred", "photo_sharp", "face_blurred", "face_sharp"])
@pytest.mark.parametrize("scale", [1.0, 0.3, 0.05])
def test_a_faint_picture_tells_a_blur(name: str, scale: float) -> None:
    assert tells_a_blur(in_8_bit(scale * tensor(read_image(f"{ASSETS}/{name}.png").data) + 0.2))


def test_noise_beyond_the_range_that_is_solved_is_told(tiny: dict[str, Any]) -> None:
    y = shipped("photo_blurred", 32) / 16
    many, few = (deblur(y, **{**tiny, "noise": noise}).notes for noise in (0.5, 0.005))
    assert any(note.startswith("noise 0.5 is more than the range of values that is solved, 0.0") for note in many)
    assert not any(note.startswith("noise") for note in few)


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_the_shipped_photograph_at_a_sixteenth_and_by_its_record(dtype: Any) -> None:
    """With the kernel known and few steps: the gain in decibels is that at full range (A3: 14 dB were lost)."""
    kernel = np.load(f"{ASSETS}/photo_kernel.npy")
    blurred, sharp = shipped("photo_blurred"), shipped("photo_sharp")
    hot = blurred / 16
    hot[40, 40] = 1.0  # it rang over a quarter of the picture
    given = np.rint(hot * 65535).astype(dtype) if dtype == np.uint16 else hot.astype(dtype)
    options: dict[str, Any] = {
        "known_kernel": kernel, "num_steps": 4, "device": "cpu", "dtype": "float32", "start": 0.3
    }  # fmt: skip

    def decibels(image: np.ndarray) -> float:
        inside = (image - sharp)[24:-24, 24:-24]
        return float(-10 * np.log10(np.mean(inside**2)))

    full, dark = deblur(blurred, **options), deblur(given, **options)
    assert decibels(full.image) > decibels(blurred) + 3
    shown = dark.image * 16
    shown[40, 40] = sharp[40, 40]
    assert decibels(shown) == pytest.approx(decibels(full.image), abs=0.3)
    assert dark.image[40, 40].min() > 0.9  # the highlight is there
    assert dark.outcome[0].status == "finished"
    if dtype == np.uint16:
        assert np.array_equal(deblur(given, dark.settings).image, dark.image)


def test_frames_have_one_range(tiny: dict[str, Any], picture: Picture) -> None:
    y = picture()
    frames = [y / 16, np.roll(y, 1, axis=1) / 16]
    result = restore_turbulence(frames, **tiny)
    assert result.range[1] == pytest.approx(y.max() / 16, rel=0.1)
    assert 0.3 * y.mean() < result.image.mean() * 16 < 3 * y.mean()
    assert result.image.max() < y.max() / 16 * 1.1
    assert result.noise == result.settings.noise < 0.02  # 0.02 of the range used


def test_the_listener_sees_the_pictures_own_values(tiny: dict[str, Any], picture: Picture) -> None:
    steps: list[Step] = []
    result = deblur(picture() / 16, **tiny, on_step=steps.append)
    image = (steps[-1].estimate["image"][0].permute(1, 2, 0).numpy() + 1) / 2
    assert np.allclose(image, result.image.clip(*result.range), atol=1e-5)  # but for what lies beyond the range
    expected = 2 * result.noise * np.sqrt(image.size)
    assert float(steps[-1].residual[0]) / expected == pytest.approx(result.residual[0], rel=1e-4)


# ----------------------------------------------------------------------------------------- nothing to be told


def noise(sigma: float, side: int = 64, channels: int = 3) -> Tensor:
    return 0.5 + sigma * torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(0))


def stars(sigma: float) -> Tensor:
    place = torch.arange(-8, 9.0)
    line = torch.exp(-(place**2) / 18)
    sky = torch.zeros(1, 1, 256, 256)
    for row, column in ((30, 40), (200, 90), (128, 222)):
        sky[0, 0, row, column] = 1
    sky = F.conv2d(sky, torch.outer(line, line)[None, None], padding=8)
    grain = torch.randn(sky.shape, generator=torch.Generator().manual_seed(1))
    return in_8_bit(0.02 + 0.5 * sky + sigma * grain)


RAMP = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
SHADE = ((torch.arange(128) - 64) / 64).square()
EMPTY = {
    "constant": torch.full((1, 3, 64, 64), 0.5),
    "black": torch.zeros(1, 1, 64, 64),
    "ramp": RAMP,
    "ramp in 8 bit": in_8_bit(RAMP),
    "weak ramp in 8 bit": in_8_bit(0.4 + 0.1 * RAMP),
    "one hot pixel": F.pad(torch.full((1, 1, 1, 1), 1.0), (30, 33, 30, 33), value=0.5),
    "ramp with noise": in_8_bit(RAMP + 0.1 * (noise(0.1) - 0.5)),
    "vignette": in_8_bit(0.7 - 0.1 * (SHADE + SHADE[:, None]).expand(1, 3, 128, 128)),
    **{f"noise {s}": in_8_bit(noise(s)) for s in (0.002, 0.01, 0.05, 0.2, 0.5)},
    "noise in float": noise(0.003).clamp(0, 1),
    "small grey noise": in_8_bit(noise(0.2, 32, 1)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_what_shows_nothing(name: str) -> None:
    assert not tells_a_blur(EMPTY[name])


@pytest.mark.parametrize("scale", [1, 1 / 16])
@pytest.mark.parametrize("sigma", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("name", ["photo_blurred", "photo_sharp", "face_blurred", "face_sharp"])
def test_what_shows_something(name: str, sigma: float, scale: float) -> None:
    y = tensor(read_image(f"{ASSETS}/{name}.png").data)
    grain = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    assert tells_a_blur(in_8_bit(scale * (y + sigma * grain)))


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.05])
def test_three_stars_in_a_dark_sky_are_something(sigma: float) -> None:
    assert tells_a_blur(stars(sigma))


def test_a_line_of_text_is_something() -> None:
    from PIL import Image, ImageDraw

    page = Image.new("L", (160, 120), 200)
    ImageDraw.Draw(page).text((40, 50), "a few words", fill=160)
    assert tells_a_blur(torch.from_numpy(np.array(page, np.float32) / 255)[None, None])


@pytest.mark.parametrize("solver", [s for s, info in SOLVERS.items() if info.kernel == "found"])
def test_it_comes_back_as_it_was(tiny: dict[str, Any], solver: str) -> None:
    y = EMPTY["noise 0.05"][0].permute(1, 2, 0).numpy()
    result = deblur(y, **{**tiny, "solver": solver, "samples": 2 if "samples" in SOLVERS[solver].uses else 1})
    assert np.allclose(result.images, y, atol=1e-6)
    assert result.kernels[0, 4, 4] == result.kernels[0].sum() == 1
    assert {o.status for o in result.outcome} == {"rejected"}
    assert result.outcome[0].message.startswith("no edge, texture or star stands out from the noise")
    assert (result.residual[0], result.agreement, result.nfe) == (0, None, {})


def test_noise_that_a_prior_s_size_would_smooth_comes_back_too(
    tiny: dict[str, Any], make_prior: Callable[..., str]
) -> None:
    """Reduced to the prior's size, noise has structure; and the answer was the reduced picture, enlarged."""
    y = in_8_bit(0.5 + 0.05 * torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(1)))
    given = y[0].permute(1, 2, 0).numpy()
    fixed = tiny | {"prior": make_prior("image", 3, any_size=False, sizes=(32,))}
    for result in (deblur(given, **fixed, samples=2), restore_turbulence([given] * 2, **fixed, samples=2)):
        assert {o.status for o in result.outcome} == {"rejected"}
        assert result.images.shape == (2, 56, 56, 3)
        assert np.array_equal(result.images[1], given)


def test_with_the_kernel_known_nothing_has_to_be_told(tiny: dict[str, Any]) -> None:
    constant = np.full((32, 32, 1), 0.5, np.float32)
    assert deblur(constant, **tiny, known_kernel=np.ones((3, 3))).nfe["image"] == 3


def test_frames_that_show_nothing_come_back(tiny: dict[str, Any]) -> None:
    y = EMPTY["constant"][0].permute(1, 2, 0).numpy()[:32, :32]
    result = restore_turbulence([y, y], **tiny, samples=2)
    assert np.allclose(result.images, y, atol=1e-6)
    assert result.outcome[1].status == "rejected"
    assert (result.kernels.shape, result.tilts.shape) == ((2, 1, 8, 8), (2, 2, 2, 32, 32))
    assert not result.tilts.any()
