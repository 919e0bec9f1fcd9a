"""Progress curves: mean error against step, as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["COLOURS", "chart", "mean_curve"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#6b6b6b")  # Okabe and Ito
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM, _TOP = 460, 280, 58, 22, 40, 12


def mean_curve(curves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    """Share of the steps done, mean over ``curves``, and how many those are: the ones of the commonest length.

    A restoration that ended early has a shorter one, which tells of other steps.
    """
    lengths = [len(c) for c in curves]
    common = max(set(lengths), key=lambda n: (lengths.count(n), n))
    chosen = np.stack([c for c in curves if len(c) == common])
    return (np.arange(common) + 1) / common, chosen.mean(0), len(chosen)


def chart(title: str, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """An SVG figure of curves ``(x in [0, 1], y)`` by label; ``y`` is logarithmic, so only what is above 0 is drawn."""
    every = np.concatenate([y[np.isfinite(y) & (y > 0)] for _, y in curves.values()])
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
    for i, (x, y) in enumerate(curves.values()):
        points = [place(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b) and b > 0]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline fill="none" stroke-width="2" stroke="{COLOURS[i % len(COLOURS)]}" points="{path}"/>')
    parts.append("</svg>")
    legend = "".join(
        f'<li><span class="key" style="background:{COLOURS[i % len(COLOURS)]}"></span>{html.escape(label)}</li>'
        for i, label in enumerate(curves)
    )
    caption = f"<figcaption>{html.escape(title)}</figcaption>"
    return f"<figure>{caption}{''.join(parts)}<ul class='legend'>{legend}</ul></figure>"
