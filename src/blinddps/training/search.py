"""Training of the learned kernel step and of the verdict, on items of :mod:`~blinddps.training.search_items`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..operators.convolution import fast_length
from ..search.find import FRAME, JOINED, most_credible
from ..search.refine import KernelStep, step_inputs
from ..search.verdict import GAIN, Trust, VerdictNetwork
from .search_items import Item, StepItem

__all__ = ["calibrate", "fit_trust", "kept", "spoiled", "train_step", "train_verdict", "verdict_rows"]

Report = Callable[[int, int, float], None]

STEP_RATE, VERDICT_RATE = 2e-3, 3e-3
ALONE = 0.5  # share of the step's samples that see no other source's kernel
UNLIKE, SPOILED = 0.05, 0.3  # of a kernel that the step's loss takes for nearly right: distance, and what it spoils
TINY = 1e-9  # no kernel is empty
LOWEST, VARIANCE = 0.01, 0.05  # of pictures there: cycles a pixel below which power is even; where white is 1
SOFT = 60.0  # of the softplus in place of the clamp in training
DRAWS = 8  # subsets of the other candidates for each row of the verdict's data
LIKE = (0.05, 0.995)  # of the likeness whose logit is learned
LARGEST_GAIN = 8.0  # dB
RANKED, CHOICE = 0.5, 1.0  # weight of the choice in the verdict's loss; dB that make one candidate e times likelier
RIDGE, NEWTON = 1.0, 20  # of the last regression: weight of the squares, iterations


def train_step(
    items: Sequence[StepItem],
    network: KernelStep,
    *,
    steps: int,
    batch: int = 32,
    seed: int = 0,
    on_step: Report | None = None,
) -> None:
    """Adam on two distances to the true kernel ``t``, wherever it lies, each over what it was before the step:

        d / (d_0 + 0.05) + s / (s_0 + 0.3),    d = 1 - max_s <k(. + s), t> / (||k|| ||t||),    s = :func:`spoiled`

    The first is what a kernel is judged by, the second what it does to the picture: with the first alone kernels lose
    the light in their faint arms, and pictures lose more than the step brings. Divided, a kernel that is nearly right
    counts as much as a wrong one. Flips and transposes; learning rate falling as a cosine.

    Half of the time the network sees the kernels of other sources, a random few. Items of large frames come in smaller
    batches, as often as there are such items.
    """
    pools = [
        _Pool([i for i in items if i.truth.shape[-1] == side]) for side in sorted({i.truth.shape[-1] for i in items})
    ]
    share = torch.tensor([float(len(p)) for p in pools])
    optimiser = torch.optim.AdamW(network.parameters(), STEP_RATE, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for i in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = STEP_RATE * min(1.0, (i + 1) / 50) * 0.5 * (1 + math.cos(math.pi * i / steps))
        pool = pools[int(torch.multinomial(share, 1, generator=generator))]
        x, truth, noise = pool.draw(max(4, round(batch * (FRAME / pool.side) ** 2)), generator)
        turn = int(torch.randint(8, (1,), generator=generator))
        x, truth = _turned(x, turn), _turned(truth, turn)
        with torch.autocast("cpu", torch.bfloat16):
            change = network.correction(x)
        kernel = F.softplus(SOFT * (x[:, :1] + change.float())) / SOFT + TINY
        given = x[:, :1] + TINY
        distance, before = (1 - _correlation(k, truth) for k in (kernel, given))
        worse, than = (spoiled(k, truth, noise) for k in (kernel, given))
        loss = (distance / (before + UNLIKE) + worse / (than + SPOILED)).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if on_step is not None:
            on_step(i, steps, float(loss.detach()))
    network.eval()


def spoiled(kernel: Tensor, truth: Tensor, noise: Tensor) -> Tensor:
    """How much larger the error of a Wiener filter gets by a wrong kernel, over pictures whose power falls as
    ``P(f) = c / f^2``, of variance 0.05:

        log e(K) / e(T),    e(K) = sum_f P |G T - 1|^2 + noise^2 |G|^2,    G = conj(K) / (|K|^2 + noise^2 / P)

    ``T`` is moved to where ``K`` lies by the best sub-pixel shift. 4.34 times that is what the picture loses in dB.

    Args:
        kernel, truth: ``(B, 1, n, n)``; both are divided by their sums.
        noise: ``(B,)``, standard deviation where white is 1.

    Returns:
        ``(B,)``, not negative but for rounding.
    """
    n = fast_length(2 * kernel.shape[-1] - 1)
    found, true = (torch.fft.rfft2(k / k.sum((-2, -1), keepdim=True), s=(n, n))[:, 0] for k in (kernel, truth))
    rows, columns = torch.fft.fftfreq(n)[:, None], torch.fft.rfftfreq(n)[None]
    with torch.no_grad():
        down, right = _shift(torch.fft.irfft2(found * true.conj(), s=(n, n)))
        turn = -2 * math.pi * (down[:, None, None] * rows + right[:, None, None] * columns)
        moved = true * torch.polar(torch.ones_like(turn), turn)
    share = torch.where(columns > 0, 2.0, 1.0).expand(n, -1) / n**2  # of each frequency that rfft2 keeps
    power = 1 / (rows**2 + columns**2).clamp_min(LOWEST**2)
    power = VARIANCE * power / (share * power).sum()
    flat = noise[:, None, None] ** 2

    def error(of: Tensor, kernel: Tensor) -> Tensor:
        wiener = kernel.conj() / (kernel.abs().square() + flat / power)
        lost = power * (wiener * of - 1).abs().square() + flat * wiener.abs().square()
        return (share * lost).sum((-2, -1))

    return (error(moved, found) / error(true, true)).log()


def _shift(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Where ``(B, n, n)``, periodic, is largest, to a fraction of a pixel by a parabola: rows and columns, ``(B,)``."""
    n = correlation.shape[-1]
    best, every = correlation.flatten(1).argmax(1), torch.arange(len(correlation))
    rows, columns = best // n, best % n

    def at(down: int, right: int) -> Tensor:
        return correlation[every, (rows + down) % n, (columns + right) % n]

    def vertex(before: Tensor, here: Tensor, after: Tensor) -> Tensor:
        return (0.5 * (before - after) / (before - 2 * here + after).clamp_max(-1e-12)).clamp(-0.5, 0.5)

    here = at(0, 0)
    return rows + vertex(at(-1, 0), here, at(1, 0)), columns + vertex(at(0, -1), here, at(0, 1))


class _Pool:
    """Found kernels on frames of one size, each with those that other sources found in the same measurement."""

    def __init__(self, items: Sequence[StepItem]) -> None:
        self.side = items[0].truth.shape[-1]
        self._found: list[list[tuple[Tensor, Tensor]]] = []
        self._rows: list[tuple[int, int]] = []
        self._items = items
        for number, item in enumerate(items):
            pairs = zip(item.kernels[item.whole], item.fits[item.whole], strict=True)
            self._found.append([tuple(torch.from_numpy(v)[None, None] for v in pair) for pair in pairs])  # type: ignore[misc]
            self._rows += [(number, i) for i in range(len(self._found[-1]))]

    def __len__(self) -> int:
        return len(self._rows)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs ``(count, 6, n, n)``, the true kernels ``(count, 1, n, n)``, and the noise ``(count,)``."""
        inputs, truths, noises = [], [], []
        for row in torch.randint(len(self._rows), (count,), generator=generator).tolist():
            number, i = self._rows[row]
            found, item = self._found[number], self._items[number]
            share = float(torch.rand((), generator=generator)) if torch.rand((), generator=generator) > ALONE else 0.0
            shown = torch.rand(len(found), generator=generator) < share
            others = [pair for j, pair in enumerate(found) if j != i and shown[j]]
            kernel, fit = found[i]
            inputs.append(step_inputs(kernel, fit, float(item.noise), others))
            truths.append(torch.from_numpy(item.truth)[None, None])
            noises.append(float(item.noise))
        return torch.cat(inputs), torch.cat(truths), torch.tensor(noises)


def verdict_rows(item: Item, random: np.random.Generator, *, all_others: bool = False) -> Tensor:
    """Evidence of each candidate with its agreement with some of the other sources' last candidates."""
    rows = []
    last = {int(s): j for j, (s, step) in enumerate(zip(item.source, item.step, strict=True)) if step < JOINED}
    for j, source in enumerate(item.source):
        others = [k for s, k in last.items() if s != source]
        if not all_others:
            share = random.choice([0.25, 0.5, 1.0])
            others = [k for k in others if random.random() < share]
        alike = item.alike[j, others]
        told = [float(alike.max()), float(alike.mean()), float(min(len(others), 4))] if others else [0.0, 0.0, 0.0]
        rows.append(np.concatenate([item.numbers[j], told, [float(item.step[j])]]))
    return torch.tensor(np.array(rows), dtype=torch.float32)


def train_verdict(
    items: Sequence[Item], *, epochs: int = 60, batch: int = 8, seed: int = 0, on_step: Report | None = None
) -> VerdictNetwork:
    """Each member by Adam on the cross-entropy of "right", the likeness's logit and the gain, dropout between; and on
    which candidate of a picture gains most, by the cross-entropy of two distributions over its candidates:

        - sum_c p_c log q_c,    p = softmax(gain / 1 dB),    q = softmax(expected gain / 1 dB)

    Gains differ more between pictures than between the candidates of one, and it is among these that a search chooses:
    without that term the kernels it keeps lose 0.2 dB (``benchmarks/results/growth_photos.txt``). ``batch``: pictures.
    """
    random = np.random.default_rng(seed)
    rows = [verdict_rows(i, random) for _ in range(DRAWS) for i in items]
    x = torch.cat(rows)
    torch.manual_seed(seed)
    network = VerdictNetwork()
    network.mean, network.std = x.mean(0), x.std(0) + 1e-3
    steps = epochs * len(items) // batch
    done = 0
    for member in network.members:
        optimiser = torch.optim.AdamW(member.parameters(), VERDICT_RATE, weight_decay=3e-2)
        member.train()
        for i in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = VERDICT_RATE * 0.5 * (1 + math.cos(math.pi * i / steps))
            drawn = torch.randint(len(rows), (batch,)).tolist()
            some = [items[n % len(items)] for n in drawn]
            seen = network.standardised(torch.cat([rows[n] for n in drawn]))
            out = member(seen + 0.05 * torch.randn_like(seen))
            loss = _misjudged(out, some)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            done += 1
            if on_step is not None:
                on_step(done, steps * len(network.members), float(loss.detach()))
    network.eval()
    return network


def _misjudged(out: Tensor, items: Sequence[Item]) -> Tensor:
    """The loss of what a member says, ``(n, 3)``, of all candidates of ``items``."""
    right = torch.cat([torch.from_numpy(i.right) for i in items]).float()
    likeness = torch.cat([torch.from_numpy(i.likeness) for i in items])
    gain = torch.cat([torch.from_numpy(i.gain) for i in items])
    known = gain.isfinite()  # where it was measured
    loss = F.binary_cross_entropy_with_logits(out[:, 0], right)
    loss = loss + F.smooth_l1_loss(out[:, 1], torch.logit(likeness.clamp(*LIKE)))
    learned = gain[known].clamp(-LARGEST_GAIN, LARGEST_GAIN) / GAIN
    loss = loss + F.smooth_l1_loss(out[known, 2], learned) * known.float().mean()
    for found, true, there in zip(
        *(v.split([len(i.gain) for i in items]) for v in (GAIN * out[:, 2], gain, known)), strict=True
    ):
        chosen = (true[there] / CHOICE).softmax(0)
        loss = loss - RANKED / len(items) * (chosen * (found[there] / CHOICE).log_softmax(0)).sum()
    return loss


@torch.no_grad()
def calibrate(network: VerdictNetwork, items: Sequence[Item], seed: int = 0) -> float:
    """Sets the logit's factor that makes the cross-entropy of ``items``, held out, least; returns it."""
    random = np.random.default_rng(seed)
    x = torch.cat([verdict_rows(i, random) for i in items])
    right = torch.cat([torch.from_numpy(i.right) for i in items]).float()
    network.sharpness = torch.ones(1)
    logit = network(x)[:, 0]
    factors = [0.3 + 0.02 * n for n in range(60)]
    losses = [float(F.binary_cross_entropy_with_logits(f * logit, right)) for f in factors]
    best = factors[losses.index(min(losses))]
    network.sharpness = torch.full((1,), best)
    return best


@torch.no_grad()
def kept(item: Item, network: VerdictNetwork, random: np.random.Generator) -> tuple[int, Tensor]:
    """Which candidate the search would keep, and what :class:`~blinddps.search.verdict.Trust` weighs of it."""
    verdicts = [network.judge(row) for row in verdict_rows(item, random, all_others=True)]
    best = most_credible([v.gain for v in verdicts], item.echo.tolist())
    return best, Trust.numbers(verdicts[best], float(item.halves[best]), float(item.echo[best]))


def fit_trust(numbers: Tensor, right: Tensor, ridge: float = RIDGE) -> Trust:
    """Logistic regression by Newton's method; the squares of the weights, in units of the numbers' spread, are held
    back by ``ridge``. What would count against a kernel although it speaks for it is left out: no weight is negative.

    Args:
        numbers: ``(n, 4)``, :meth:`~blinddps.search.verdict.Trust.numbers` of kept candidates that were held out.
        right: ``(n,)``.
    """
    x, y = numbers.double(), right.double()
    mean, spread = x.mean(0), x.std(0) + 1e-6
    x = torch.cat([(x - mean) / spread, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    used = list(range(x.shape[1]))
    while True:
        some = x[:, used]
        held = torch.diag(torch.tensor([ridge] * (len(used) - 1) + [1e-3], dtype=x.dtype))
        w = x.new_zeros(len(used))
        for _ in range(NEWTON):
            p = (some @ w).sigmoid()
            curvature = (some * (p * (1 - p))[:, None]).T @ some + held
            w = w - torch.linalg.solve(curvature, some.T @ (p - y) + held @ w)
        if len(used) == 1 or float(w[:-1].min()) >= 0:
            break
        del used[int(w[:-1].argmin())]
    whole = x.new_zeros(x.shape[1])
    whole[used] = w
    trust = Trust()
    trust.weight = (whole[:-1] / spread).float()
    trust.bias = (whole[-1] - (whole[:-1] * mean / spread).sum())[None].float()
    return trust


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    size = (fast_length(2 * a.shape[-1]),) * 2  # two frames: no shift meets itself from behind
    spectrum = torch.fft.rfft2(a, s=size) * torch.fft.rfft2(b, s=size).conj()
    peak = torch.fft.irfft2(spectrum, s=size).flatten(1).amax(1)
    return peak / (a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1) + 1e-9)


def _turned(x: Tensor, which: int) -> Tensor:
    """One of the eight flips and transposes."""
    if which & 1:
        x = x.flip(-1)
    if which & 2:
        x = x.flip(-2)
    return x.transpose(-2, -1) if which & 4 else x
