"""The range of values that a picture uses, brought to the one that priors and noise floors assume, and back; and
whether there is anything in a picture that could tell its blur."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core import Outcome, Solution, Step
from ..io import to_linear
from ..operators import estimate_sigma

__all__ = ["ROUNDING", "Range", "find_range", "no_blur", "rounding", "tells_a_blur", "unchanged"]

ROUNDING = 1 / 255 / math.sqrt(12)  # standard deviation of the rounding to 8 bit
USED = 0.5  # share of [0, 1] that a picture must use to stay as it is; of 200 of BSDS500 the least is 0.63
TRIMMED = 1e-4  # share of values left out at each end, of 3 x 3 medians: neither stars nor a hot pixel are lost to it
OUTLIERS = 1e-3  # ... and of the values themselves; more hot pixels than that are not expected
MARGIN = 0.05  # of the used range beyond each end: a restored picture has more contrast than a blurred one
LEAST = 1e-6  # of [0, 1]; a smaller range is rounding of one value

SCALES = (2, 4, 8)  # pixels a side of the blocks whose differences tell edges from noise
ABOVE_NOISE = 1.2  # times the noise's mean square, which is known to some 5 %; more where there are few differences
PEAK = 6.0  # times its standard deviation, for the few: stars
SHADING = 0.0004  # curvature, of the range per square pixel: what light falling off towards the corners has
FEW = 10  # values beyond which a peak is no accident
FAINT = 0.4  # of [0, 1]: what uses more is no noise; water and grass, 2 of 800 crops of which fall as noise, use it
FALLS = (4, 2.0), (8, 4.0)  # mean square of blocks of so many pixels over that of four times as many: of white noise 16
FLAT = 2.3  # fourth moment over the squared variance: of noise 3, of bars, checks and waves 1 to 2
AROUND = 33  # pixels a side whose mean is taken off for it
SKEW = 0.5  # of noise 0; of 800 crops of photographs, text and microscopy that are faint and fall so, 1 and more


@dataclass(frozen=True)
class Range:
    """Values of a picture, in what is solved (linear light with ``linear_light``), that are solved as 0 and as 1.

    ``measured``: of a detector, with room for peaks, whose faint parts count: the noise is what is estimated.
    """

    low: float = 0.0
    high: float = 1.0
    measured: bool = False

    @property
    def note(self) -> tuple[str, ...]:
        """What to tell of it."""
        if self.whole:
            return ()
        return (
            f"the picture uses {100 * (self.high - self.low):.2g} % of the range from black to white; it is restored "
            f"with {self.low:.4g} as black and {self.high:.4g} as white, and brought back",
        )

    @property
    def whole(self) -> bool:
        """Whether nothing is changed."""
        return (self.low, self.high) == (0.0, 1.0)

    @property
    def gain(self) -> float:
        """Noise of what is solved over that of the picture."""
        return 1.0 if self.whole else 1 / (self.high - self.low)

    def bring(self, light: Tensor) -> Tensor:
        """The picture as it is solved, in [0, 1]; what lies beyond the range is :meth:`beyond`."""
        return light if self.whole else ((self._within(light) - self.low) * self.gain).clamp(0, 1)

    def undo(self, solved: Tensor, beyond: Tensor) -> Tensor:
        """``solved``, and what lay beyond the range, in the picture's own values."""
        if self.whole:
            return solved
        return (solved.clamp(0, 1) / self.gain + self.low + beyond).clamp(0, 1)

    def beyond(self, light: Tensor) -> Tensor:
        """What of the values lies beyond the range: highlights, hot pixels. Of frames ``(T, C, H, W)`` the median."""
        return (light - self._within(light)).median(0, keepdim=True).values

    def _within(self, light: Tensor) -> Tensor:
        """Values beyond the range at its end; those of hot pixels, which no blur made, as the median of 3 x 3.

        Hot is what lies twice as far from that median as any of its neighbours: of a blurred star or edge these rise
        with it.
        """
        within = light.clamp(self.low, self.high)
        t, c, y, x = (light != within).nonzero(as_tuple=True)
        padded = F.pad(within, (1, 1, 1, 1), mode="replicate")
        around = torch.stack([padded[t, c, y + dy, x + dx] for dy in range(3) for dx in range(3)], dim=-1)
        median = around.median(-1, keepdim=True).values
        away = (around - median).abs().sort(-1).values
        within[t, c, y, x] = torch.where(2 * away[:, 7] < away[:, 8], median[:, 0], within[t, c, y, x])
        return within

    def listener(self, on_step: Callable[[Step], None] | None) -> Callable[[Step], None] | None:
        """``on_step``, which sees image and residual in the picture's own values, image on [-1, 1]."""
        if on_step is None or self.whole:
            return on_step

        def listen(step: Step) -> None:
            image = self.undo((step.estimate["image"] + 1) / 2, step.residual.new_zeros(1)) * 2 - 1
            estimate = {**step.estimate, "image": image}
            on_step(replace(step, estimate=estimate, residual=step.residual / self.gain))

        return listen


def find_range(y01: Tensor, linear_light: bool = False) -> Range:
    """The range of the display values ``(T, C, H, W)`` in [0, 1], one for all frames and channels.

    From the 0.01 % to the 99.99 % of the medians of 3 x 3 pixels or the 0.1 % to the 99.9 % of the pixels, whichever is
    wider, and 0.05 of it beyond, within [0, 1]. A picture that uses half of [0, 1] stays as it is, and so does one of a
    single value.
    """
    low, high = _used(y01, _medians(y01))
    used = high - low
    if used >= USED or used < LEAST:
        return Range()
    if linear_light:
        low, high = to_linear(torch.tensor([low, high], dtype=torch.float64)).tolist()
    room = MARGIN * (high - low)
    return Range(max(0.0, low - room), min(1.0, high + room))


def _used(y01: Tensor, medians: Tensor) -> tuple[float, float]:
    """Ends of the range of the medians, and of all values where these are more: thin strokes are no outliers."""
    low, high = 1.0, 0.0
    for values, share in ((medians, TRIMMED), (y01, OUTLIERS)):
        rising = values.flatten().sort().values
        cut = math.ceil(share * (len(rising) - 1))
        low, high = min(low, float(rising[cut])), max(high, float(rising[len(rising) - 1 - cut]))
    return low, high


def _medians(y: Tensor) -> Tensor:
    """Median of 3 x 3 pixels: of the least of three columns' the largest, of their middles the middle, and so on."""
    padded = F.pad(y, (1, 1, 1, 1), mode="replicate")
    low, middle, high = _sorted(padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :])
    most = _sorted(*_thirds(low))[2]
    least = _sorted(*_thirds(high))[0]
    return _sorted(most, _sorted(*_thirds(middle))[1], least)[1]


def _thirds(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x[..., :-2], x[..., 1:-1], x[..., 2:]


def _sorted(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    less, more = torch.minimum(a, b), torch.maximum(a, b)
    return torch.minimum(less, c), torch.maximum(less, torch.minimum(more, c)), torch.maximum(more, c)


def rounding(y01: Tensor) -> float:
    """Standard deviation of the rounding to 8 bit, of display values that are whole 255ths; else 0."""
    return ROUNDING if bool(((y01 * 255).round() / 255 - y01).abs().max() < 1e-6) else 0.0


def tells_a_blur(y01: Tensor) -> bool:
    """Whether anything in the display values ``(T, C, H, W)`` stands out that a blur could be told from.

    Second differences of block means (2, 4, 8 pixels a side) are, of white noise, ``6 (sigma / side)^2`` in mean
    square, of rounding to 8 bit less than a quarter of a step's square, and of shading small. They must be more in mean
    square than these together and chance allow; or, for a few stars in a dark sky, of 3 x 3 medians the tenth largest
    more than 6 of their standard deviations. Ramps have none. Of the range used, whatever it is. Noise that neighbours
    share is told in faint pictures of 96 pixels and more.
    """
    medians = _medians(y01)
    low, high = _used(y01, medians)
    step = rounding(y01) * math.sqrt(12)
    if high - low < max(LEAST, 2.5 * step):
        return False
    if high - low < FAINT and _is_noise(y01):
        return False
    used = find_range(y01)
    y, calm = used.bring(y01), used.bring(medians)
    clean = float((_second_differences(y, 1) == 0).float().mean()) > 0.5  # print: the estimate would be of its strokes
    sigma = 0.0 if clean else float(estimate_sigma(y).square().mean().sqrt())
    step *= used.gain
    for side in SCALES:
        if min(y.shape[-2:]) < 3 * side:
            break
        expected = 6 * (sigma / side) ** 2 + step**2 / 4
        shading = SHADING * side**2
        differences = _second_differences(y, side)
        least = (ABOVE_NOISE + 10 / math.sqrt(len(differences))) * expected + shading**2
        if float(differences.square().mean()) > least:
            return True
        peaks = _second_differences(calm, side).abs()
        if len(peaks) >= FEW and float(peaks.topk(FEW).values[-1]) > PEAK * math.sqrt(expected) + 2 * shading:
            return True
    return False


def _is_noise(y: Tensor) -> bool:
    """Whether this is noise that neighbours share, as of demosaicing and JPEG: from blocks that are larger than what
    neighbours share its power falls, where that of pictures rises; dark and bright are equally frequent, and
    what lies between them most, as in no pattern of two tones."""
    if min(y.shape[-2:]) < 3 * 4 * FALLS[-1][0]:
        return False
    for side, fall in FALLS:
        fine, coarse = (float(_second_differences(y, s).square().mean()) for s in (side, 4 * side))
        if fine < fall * coarse:
            return False
    if abs(_moment(y - y.mean((-2, -1), keepdim=True), 3)) > SKEW:
        return False
    around = F.avg_pool2d(y, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False)
    return _moment(y - around, 4) > FLAT


def _moment(x: Tensor, order: int) -> float:
    """The mean of a power over that power of the root mean square."""
    return float(x.pow(order).mean() / x.square().mean().clamp(min=1e-12) ** (order / 2))


def _second_differences(y: Tensor, side: int) -> Tensor:
    means = F.avg_pool2d(y, side)
    return torch.cat([means.diff(n=2, dim=-1).flatten(), means.diff(n=2, dim=-2).flatten()])


def unchanged(light: Tensor, samples: int, **others: Tensor) -> Solution:
    """The answer where nothing tells a blur: the picture on [0, 1] as it was, ``rejected``; ``others`` beside it."""
    reason = (
        "no edge, texture or star stands out from the noise, so nothing tells how the picture was blurred; it is "
        "returned as it was: give a part of it that shows something, or the kernel (known_kernel) if you know it"
    )
    estimate = {name: x.expand(samples, *x.shape[1:]) for name, x in {"image": light, **others}.items()}
    return Solution(estimate, torch.zeros(samples), (Outcome("rejected", reason),) * samples, backward=False)


def no_blur(size: int) -> Tensor:
    """The kernel ``(1, 1, size, size)`` that changes nothing: one at its origin ``size // 2``."""
    kernel = torch.zeros(1, 1, size, size)
    kernel[..., size // 2, size // 2] = 1
    return kernel
