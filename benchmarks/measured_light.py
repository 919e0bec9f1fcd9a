"""Star fields and galaxies of a detector, the kernel known: what is right of a restoration, and what rings.

``python benchmarks/measured_light.py --count 2`` (needs the extra ``stars``, and scikit-image)

Made by other programs: stars rendered by photutils from a PSF sampled four times a pixel, galaxies (a disc with arms, a
bulge, stars around) by astropy's models, blurred by scipy; Poisson noise of gain 1, read noise 5, background 50, 128
pixels. The brightest star has 3e5 electrons and the faintest 300. PSFs: a Moffat function (FWHM 3.5, beta 2.5) and an
Airy disc (first zero at 3.5 pixels), which has rings of its own. The kernel that is given is exact on 41 pixels, 6 %
too wide, or cut off at 15 pixels.

PSNR is of ``asinh((x - background) / 10)``, against stars of FWHM 1.4 pixels and galaxies without blur. Ring: root mean
square of what is wrong 3.5 to 13 pixels from the five brightest stars, in percent of the peak that the input has. Flux:
median error of single bright stars, in percent. Sky: noise of what is background. The background and its gain are not
told to any method.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from blinddps.io.picture import room
from blinddps.restore import DeblurSettings, Problem, load_priors, plan_of, resolve, solve
from blinddps.restore.geometry import crop
from blinddps.restore.light import Range
from common import header

Array = NDArray[np.float64]
SIDE, FINE, REACH = 128, 4, 30  # pixels, samples of the PSF in one, and pixels that it reaches
SKY, READ, STARS, BRIGHTEST = 50.0, 5.0, 60, 3e5


def psf(kind: str) -> Array:
    """Sampled FINE times a pixel, sum one."""
    from astropy.modeling.models import AiryDisk2D, Moffat2D
    from scipy.ndimage import gaussian_filter

    y, x = np.mgrid[-REACH * FINE : REACH * FINE + 1, -REACH * FINE : REACH * FINE + 1] / FINE
    if kind == "moffat":
        p = Moffat2D(1, 0, 0, gamma=3.5 / 2 / np.sqrt(2 ** (1 / 2.5) - 1), alpha=2.5)(x, y)
    else:
        p = gaussian_filter(AiryDisk2D(1, 0, 0, radius=3.5)(x, y), 0.5 * FINE)
    found: Array = p / p.sum()
    return found


def kernel_of(fine: Array, radius: int) -> Array:
    """What a pixel sees of a star in a pixel's middle."""
    from scipy.ndimage import convolve1d

    box = np.ones(FINE + 1)
    box[[0, -1]] = 0.5
    seen = convolve1d(convolve1d(np.pad(fine, FINE), box / FINE, axis=0), box / FINE, axis=1)
    middle = len(seen) // 2
    kernel = seen[middle % FINE :: FINE, middle % FINE :: FINE]
    c = len(kernel) // 2
    kernel = kernel[c - radius : c + radius + 1, c - radius : c + radius + 1]
    found: Array = kernel / kernel.sum()
    return found


def wider(kernel: Array) -> Array:
    from scipy.ndimage import zoom

    large = zoom(kernel, 1.06, order=3).clip(0)
    n = len(kernel)
    y, x = np.unravel_index(large.argmax(), large.shape)
    part = np.pad(large, n)[y + n - n // 2 :, x + n - n // 2 :][:n, :n]
    found: Array = part / part.sum()
    return found


def exposed(light: Array, rng: np.random.Generator) -> Array:
    y: Array = rng.poisson((light + SKY).clip(0)) + rng.normal(0, READ, light.shape)
    return y


def star_field(seed: int, fine: Array) -> tuple[Array, Array, Array]:
    """Measurement, truth and ``(x, y, flux)`` of each star."""
    from astropy.table import QTable
    from photutils.datasets import make_model_image
    from photutils.psf import ImagePSF

    rng = np.random.default_rng(seed)
    stars = QTable()
    for name in ("x_0", "y_0"):
        stars[name] = rng.uniform(-20, SIDE + 20, STARS)
    stars["flux"] = BRIGHTEST * 10 ** (-3 * rng.uniform(0, 1, STARS) ** 0.7)
    light = make_model_image(
        (SIDE, SIDE), ImagePSF(fine * FINE**2, oversampling=FINE), stars, model_shape=(2 * REACH + 1,) * 2
    )
    y, x = np.mgrid[:SIDE, :SIDE]
    truth = np.full((SIDE, SIDE), SKY)
    places = np.array([stars["x_0"], stars["y_0"], stars["flux"]]).T
    for a, b, flux in places:
        truth += flux / (2 * np.pi * 0.36) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.72)
    return exposed(light, rng), truth, places


def galaxy(seed: int, fine: Array) -> tuple[Array, Array, Array]:
    from astropy.modeling.models import Sersic2D
    from scipy.signal import fftconvolve

    rng = np.random.default_rng(seed)
    n = SIDE + 2 * REACH
    y, x = np.mgrid[: n * FINE, : n * FINE] / FINE
    cx, cy = n / 2 + rng.uniform(-3, 3, 2)
    turned = rng.uniform(0, np.pi)
    arms = 1 + 0.5 * np.cos(2 * np.arctan2(y - cy, x - cx) - 4 * np.log(np.hypot(y - cy, x - cx) + 1))
    scene = Sersic2D(60, 18, 1.0, cx, cy, 0.5, turned)(x, y) * arms
    scene += np.minimum(Sersic2D(600, 3, 2.5, cx, cy, 0.2, turned)(x, y), 3e4)
    for _ in range(15):
        a, b = rng.uniform(20, n - 20, 2)
        scene += 10 ** rng.uniform(2, 4) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.72)
    inner = slice(REACH, -REACH), slice(REACH, -REACH)
    truth, light = (
        v.reshape(n, FINE, n, FINE).mean((1, 3))[inner] for v in (scene, fftconvolve(scene, fine, mode="same"))
    )
    return exposed(light, rng), truth + SKY, np.array([[cx - REACH, cy - REACH, np.inf]])


def score(x: Array, truth: Array, y: Array, places: Array) -> dict[str, float]:
    shown, right = (np.arcsinh((v - SKY) / 10) for v in (x, truth))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    found = {"psnr": -10 * np.log10(np.mean((shown - right) ** 2) / right.max() ** 2)}
    inside = sorted((p for p in places if np.all((p[:2] > 14) & (p[:2] < SIDE - 15))), key=lambda p: -p[2])
    rings = []
    for a, b, flux in inside[:5]:
        distance = np.hypot(rows - b, columns - a)
        ring = (distance > 3.5) & (distance < 13)
        for c, d, other in places:
            if (c, d) != (a, b) and other > 0.003 * flux:
                ring &= np.hypot(rows - d, columns - c) > 4
        peak = y[int(b) - 2 : int(b) + 4, int(a) - 2 : int(a) + 4].max() - SKY
        rings.append(100 * np.sqrt(np.mean((x - truth)[ring] ** 2)) / peak)
    found["ring"] = float(np.median(rings))
    errors = []
    for a, b, flux in inside:
        near = places[np.hypot(places[:, 0] - a, places[:, 1] - b) < 9]
        if np.isfinite(flux) and flux > 3e3 and (near[:, 2] > 0.02 * flux).sum() == 1:
            star = np.hypot(rows - b, columns - a) < 4.5
            errors.append(100 * abs((x - SKY)[star].sum() / (truth - SKY)[star].sum() - 1))
    found["flux"] = float(np.median(errors)) if errors else float("nan")
    sky = x[np.abs(truth - SKY) < 3]
    found["sky"] = float(1.4826 * np.median(np.abs(sky - np.median(sky))))
    return found


def lucy(steps: int) -> Callable[[Array, Array], Array]:
    from skimage.restoration import richardson_lucy

    def restored(y: Array, kernel: Array) -> Array:
        half = len(kernel) // 2
        wide = np.pad(y.clip(1e-3), half, mode="edge")
        x: Array = richardson_lucy(wide / wide.max(), kernel, steps, clip=False)[half:-half, half:-half] * wide.max()
        return x

    return restored


def ours(stretched: bool, **options: str) -> Callable[[Array, Array], Array]:
    """``deblur`` of a FITS file; not ``stretched``: on the scale of the file, as photographs are."""
    cpu = torch.device("cpu")

    def restored(y: Array, kernel: Array) -> Array:
        low, high = room(float(y.min()), float(y.max()))
        given = torch.from_numpy(((y - low) / (high - low)).astype(np.float32))[None, None] * 2 - 1
        settings = DeblurSettings(known_kernel=kernel, device="cpu", **options)
        chosen = resolve(settings, given, cpu, found=Range(measured=True))
        plan = plan_of(chosen, (SIDE, SIDE), Range(measured=True))
        if not stretched:
            plan = replace(plan, measured=False, shot=None, num_steps=4, noise=max(2e-4, plan.noise))
        prior, _ = load_priors(chosen, cpu)
        solution = solve(Problem(given, plan, prior, None, sigma_y=2 * plan.noise, seed=0))
        x = crop(solution.estimate["image"], given.shape)[0, 0].double().numpy()
        return low + (high - low) * (x + 1) / 2

    return restored


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2, help="seeds of each scene and PSF")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(args.first)), flush=True)
    methods: dict[str, Callable[[Array, Array], Array]] = {
        "input": lambda y, kernel: y,
        "Richardson-Lucy, 10": lucy(10),
        "linear scale": ours(False),
        "stretched, noise alike": ours(True, shot_noise="none"),
        "stretched": ours(True),
    }
    print(f"\n{'':8s} {'kernel':8s} {'':24s}   PSNR   ring %  flux %     sky  CPU s")
    for scene in (star_field, galaxy):
        for given in ("exact", "wide", "cut off"):
            for name, method in methods.items():
                rows, spent = [], 0.0
                for seed in range(args.first, args.first + args.count):
                    for kind in ("moffat", "airy"):
                        fine = psf(kind)
                        y, truth, places = scene(seed, fine)
                        kernel = kernel_of(fine, 7 if given == "cut off" else 20)
                        begun = time.process_time()
                        x = method(y, wider(kernel) if given == "wide" else kernel)
                        spent += time.process_time() - begun
                        rows.append(list(score(x, truth, y, places).values()))
                numbers = np.mean(rows, 0)
                line = f"{numbers[0]:7.2f} {numbers[1]:8.2f} {numbers[2]:7.2f} {numbers[3]:7.2f}"
                kind = "stars" if scene is star_field else "galaxy"
                print(f"{kind:8s} {given:8s} {name:24s}{line} {spent / len(rows):6.1f}", flush=True)


if __name__ == "__main__":
    main()
