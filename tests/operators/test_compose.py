"""Operators one after the other, and frames: order, names, updates, gauge."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from blinddps.core import InputError
from blinddps.operators import Blur, Composed, Frames, Tilt
from blinddps.simulate import atmospheric_tilts, gaussian_kernels

SIZE = 48


def scene(frames: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """A smooth texture, a kernel, tilts."""
    noise = torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    image = Blur("circular")(image=noise, kernel=gaussian_kernels(1, 17, std=2.0)) * 3
    tilt = atmospheric_tilts(frames, SIZE, rms=0.8, aperture=12.0, seed=1).flatten(0, 1)[None]
    return image, gaussian_kernels(1, 9, std=1.0), tilt


def white(value: float):  # type: ignore[no-untyped-def]
    return lambda size: torch.full((size[0], size[1] // 2 + 1), value)


def test_the_first_operator_acts_first() -> None:
    image, kernel, tilt = scene()
    blurred_last = Blur()(image=Tilt()(image=image, tilt=tilt), kernel=kernel)
    tilted_last = Tilt()(image=Blur()(image=image, kernel=kernel), tilt=tilt)
    found = {"image": image, "kernel": kernel, "tilt": tilt}
    torch.testing.assert_close(Composed((Tilt(), Blur()))(**found), blurred_last)
    torch.testing.assert_close(Composed((Blur(), Tilt()))(**found), tilted_last)
    assert (blurred_last - tilted_last).abs().max() > 1e-3


def test_what_partial_has_bound_is_no_unknown() -> None:
    image, kernel, tilt = scene()
    known = Composed((partial(Tilt(), tilt=tilt), Blur()))
    assert known.unknowns == ("image", "kernel")
    torch.testing.assert_close(
        known(image=image, kernel=kernel), Composed((Tilt(), Blur()))(image=image, kernel=kernel, tilt=tilt)
    )


def test_names_are_checked() -> None:
    image, kernel, tilt = scene()
    model = Composed((Tilt(), Blur()))
    with pytest.raises(InputError, match="did you mean 'tilt'"):
        model(image=image, kernel=kernel, tilts=tilt)
    with pytest.raises(InputError, match="needs tilt as well"):
        model(image=image, kernel=kernel)
    with pytest.raises(InputError, match="image"):
        Composed((lambda kernel: kernel,))
    with pytest.raises(InputError, match="framewise"):
        Frames(model, 2, ("gain",))


@pytest.mark.parametrize("frames", [1, 3])
def test_updates_find_the_tilt_of_a_known_image(frames: int) -> None:
    image, kernel, tilt = scene(frames)
    model = Composed((Tilt(), Blur()))
    operator = model if frames == 1 else Frames(model, frames)
    y = operator(image=image, kernel=kernel, tilt=tilt)
    mean = {"image": image, "kernel": kernel, "tilt": torch.zeros_like(tilt)}
    for _ in range(3):
        mean["tilt"] = operator.update(
            "tilt",
            y,
            estimate=mean,
            mean=mean,
            error={"image": white(1e-6), "kernel": None, "tilt": white(1.0)},
            noise_variance=torch.full((1, 1, 1, 1), 1e-6),
        )
    before = (y - operator(image=image, kernel=kernel, tilt=torch.zeros_like(tilt))).norm()
    after = (y - operator(**mean)).norm()
    assert after < 0.1 * before


def test_the_image_update_agrees_with_the_exact_one_without_tilt() -> None:
    image, kernel, _ = scene()
    blur = Blur("circular")
    y = blur(image=image, kernel=kernel)
    none = torch.zeros(1, 2, SIZE, SIZE)
    start = {"image": torch.zeros_like(image), "kernel": kernel, "tilt": none}
    common = {"estimate": start, "noise_variance": torch.full((1, 1, 1, 1), 1e-2)}
    error = {"image": white(0.5), "kernel": None, "tilt": None}
    exact = blur.update("image", y, mean=start, error=error, **common)
    ours = Composed((Tilt("bilinear", "circular"), blur)).update("image", y, mean=start, error=error, **common)
    torch.testing.assert_close(ours, exact, rtol=0, atol=5e-3 * float(exact.abs().max()))


def test_more_frames_weigh_more_in_the_image() -> None:
    image, kernel, _ = scene()
    model, none = Composed((Tilt(), Blur())), torch.zeros(1, 2, SIZE, SIZE)
    y = model(image=image, kernel=kernel, tilt=none)
    error = {"image": white(1e-2), "kernel": None, "tilt": None}
    missing = []
    for count in (1, 6):
        mean = {"image": torch.zeros_like(image), "kernel": kernel, "tilt": none.repeat(1, count, 1, 1)}
        operator = Frames(model, count)
        found = operator.update(
            "image",
            y.repeat(1, count, 1, 1),
            estimate=mean,
            mean=mean,
            error=error,
            noise_variance=torch.full((1, 1, 1, 1), 1e-1),
        )
        missing.append(float((found - image).norm()))
    assert missing[1] < 0.8 * missing[0]


def test_gauge() -> None:
    image, kernel, tilt = scene(3)
    model = Composed((Tilt(), Blur()))
    moved = {"image": image, "kernel": kernel.roll(2, -1), "tilt": tilt[:, :2] + 1.5}
    fixed = model.fix_gauge(moved)
    torch.testing.assert_close(fixed["tilt"].mean((-2, -1)), torch.zeros(1, 2), rtol=0, atol=1e-6)
    torch.testing.assert_close(fixed["kernel"], kernel, rtol=0, atol=5e-3)  # a tail left its frame
    frames = Frames(model, 3)
    together = {"image": image, "kernel": kernel, "tilt": tilt}
    after = frames.fix_gauge(together)
    torch.testing.assert_close(after["tilt"].unflatten(1, (3, 2)).mean(1), torch.zeros(1, 2, SIZE, SIZE))
    inner = (..., slice(8, -8), slice(8, -8))
    y, seen = frames(**together), frames(**after)
    rms = (y - frames(**together | {"tilt": after["tilt"]}))[inner].norm()  # were the image not warped
    assert (y - seen)[inner].norm() < 0.35 * rms


def shrink(*, image: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(image, 2)


@pytest.mark.parametrize("before", [shrink, partial(Tilt(), tilt=scene()[2].roll(12, -1)), partial(shrink)])
def test_behind_what_knows_no_translation_the_kernel_stays(before: Callable[..., Tensor]) -> None:
    """A pixel of the kernel behind pooling is two of the image, and a known tilt does not move with it."""
    image, kernel, _ = scene()
    model = Composed((before, Blur("circular")))
    given = {"image": image, "kernel": kernel.roll(2, -1)}
    after = model.fix_gauge(given)
    inner = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(model(**after)[inner], model(**given)[inner], rtol=0, atol=1e-2 * float(image.std()))


def test_only_a_tilt_has_its_mean_removed() -> None:
    """An unknown that is merely called so was set to zero."""
    model = Composed((lambda *, image, tilt_gain: tilt_gain * image, lambda *, image, tilt: image + tilt))
    given = {"image": scene()[0], "tilt_gain": torch.full((1, 1, 1, 1), 1.3), "tilt": torch.ones(1, 1, 1, 1)}
    assert all(torch.equal(value, given[name]) for name, value in model.fix_gauge(given).items())


@pytest.mark.parametrize("framewise", [(), ("kernel",)])
def test_frames_of_one_operator(framewise: tuple[str, ...]) -> None:
    image, kernel, _ = scene()
    kernels = torch.cat([kernel, kernel.roll(1, -1)], 1) if framewise else kernel
    frames = Frames(Blur("circular"), 2, framewise)  # type: ignore[arg-type]
    y = frames(image=image, kernel=kernels)
    assert list(inspect.signature(frames).parameters) == ["image", "kernel"]
    mean = {"image": image, "kernel": torch.full_like(kernels, 1 / 81)}
    options = {"error": {"image": white(1e-6), "kernel": None}, "noise_variance": torch.full((1, 1, 1, 1), 1e-6)}
    same = Frames(Composed((Blur("circular"),)), 2, framewise)
    found, wanted = (f.update("kernel", y, estimate=mean, mean=mean, **options) for f in (frames, same))  # type: ignore[arg-type]
    assert torch.equal(found, wanted)
    torch.testing.assert_close(frames.fix_gauge(mean)["kernel"], mean["kernel"])


def test_a_tilt_known_for_all_is_that_of_each_row() -> None:
    image, kernel, tilt = scene(3)
    operator = Frames(Composed((Tilt(), Blur())), 3)
    rows = torch.cat([image, image.flip(-1)])
    each = operator(image=rows, kernel=kernel, tilt=tilt.repeat(2, 1, 1, 1))
    torch.testing.assert_close(operator(image=rows, kernel=kernel, tilt=tilt), each, rtol=0, atol=0)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("order", ["tilt-blur", "blur-tilt"])
def test_centring_the_kernel_leaves_the_measurement(order: str, frames: int) -> None:
    image, _, tilt = scene(frames)
    inside = torch.zeros(SIZE, SIZE)
    inside[4:-4, 4:-4] = 1  # what moves out at one border and in at the other has the same mean
    each = (tilt * inside).unflatten(1, (frames, 2))
    tilt = (each - each.mean(1 if frames > 1 else (-2, -1), keepdim=True)).flatten(1, 2)
    model = Composed((Tilt(), Blur()) if order == "tilt-blur" else (Blur(), Tilt()))
    operator = model if frames == 1 else Frames(model, frames)
    kernel = gaussian_kernels(1, 17, std=1.0).roll((2, -2), (-2, -1))
    before = {"image": image, "kernel": kernel, "tilt": tilt}
    after = operator.fix_gauge(before)
    inner = (..., slice(14, -14), slice(14, -14))
    assert (after["kernel"] - kernel).abs().max() > 0.1
    difference = (operator(**before) - operator(**after))[inner].norm() / operator(**before)[inner].norm()
    assert difference < 0.02
