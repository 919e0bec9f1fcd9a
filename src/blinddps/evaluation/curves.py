"""Progress curves: mean error against step, as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

__all__ = ["COLOURS", "Curve", "chart", "mean_curves"]

K = TypeVar("K")

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#6b6b6b")  # Okabe and Ito
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM, _TOP = 460, 280, 58, 22, 40, 12


@dataclass(frozen=True)
class Curve:
    """``y`` against the share ``x`` of the steps done, in [0, 1]; NaN where there is no value. ``colour``: an index."""

    label: str
    x: np.ndarray
    y: np.ndarray
    colour: int


def mean_curves(found: Mapping[str, Mapping[K, np.ndarray]]) -> tuple[dict[str, np.ndarray], int]:
    """Mean curve of each method, over the restorations that all of them have one of, and how many those are.

    Of a method count the curves of the commonest length: a restoration that ended early has a shorter one, which tells
    of other steps. A step that any of them has no value at is NaN, so that the mean is of the same ones at all steps.
    Methods that have none in common with those before them (by number, then in order) are left out.

    Args:
        found: by method, then by restoration: an item under a seed.
    """
    usable = {name: _commonest(curves) for name, curves in found.items()}
    common: set[K] = set()
    kept: list[str] = []
    for name in sorted(usable, key=lambda name: -len(usable[name])):
        shared = common & usable[name].keys() if kept else set(usable[name])
        if shared:
            common = shared
            kept.append(name)
    means = {n: np.stack([c for k, c in usable[n].items() if k in common]).mean(0) for n in found if n in kept}
    return means, len(common)


def _commonest(curves: Mapping[K, np.ndarray]) -> dict[K, np.ndarray]:
    finite = {key: curve for key, curve in curves.items() if np.isfinite(curve).any()}
    lengths = [len(curve) for curve in finite.values()]
    common = max(set(lengths), key=lambda n: (lengths.count(n), n), default=0)
    return {key: curve for key, curve in finite.items() if len(curve) == common}


def chart(title: str, curves: Sequence[Curve]) -> str:
    """An SVG figure; ``y`` is logarithmic, so only what is above 0 is drawn, and a line ends where it has no value."""
    every = np.concatenate([c.y[np.isfinite(c.y) & (c.y > 0)] for c in curves])
    if not len(every):
        return ""
    low, high = math.floor(math.log10(every.min()) * 2) / 2, math.ceil(math.log10(every.max()) * 2) / 2
    high = high if high > low else low + 0.5
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - _TOP

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + wide * x, _TOP + tall * (high - math.log10(y)) / (high - low)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">']
    for tick in np.arange(low, high + 1e-9, 0.5):
        _, at = place(0, 10**tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{10**tick:.1e}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        at, _ = place(share, 10**low)
        parts.append(f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{share:.0%}</text>')
    parts.append(f'<text x="{_LEFT + wide / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">steps done</text>')
    for curve in curves:
        style = f'stroke="{_colour(curve)}"' + ' stroke-dasharray="6 3"' * _dashed(curve)
        seen = np.isfinite(curve.y) & (curve.y > 0)
        for run in np.split(np.arange(len(seen)), np.flatnonzero(np.diff(seen)) + 1):
            if seen[run[0]]:
                points = [place(curve.x[i], curve.y[i]) for i in run]
                points *= 2 if len(points) == 1 else 1  # a dot
                path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
                line = 'fill="none" stroke-width="2" stroke-linecap="round"'
                parts.append(f'<polyline {line} {style} points="{path}"/>')
    parts.append("</svg>")
    legend = "".join(
        f'<li><span class="key{" dashed" * _dashed(curve)}" style="color:{_colour(curve)}"></span>'
        f"{html.escape(curve.label)}</li>"
        for curve in curves
    )
    caption = f"<figcaption>{html.escape(title)}</figcaption>"
    return f"<figure>{caption}{''.join(parts)}<ul class='legend'>{legend}</ul></figure>"


def _colour(curve: Curve) -> str:
    return COLOURS[curve.colour % len(COLOURS)]


def _dashed(curve: Curve) -> bool:
    return curve.colour >= len(COLOURS)
