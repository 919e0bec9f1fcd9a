"""Items for the search's networks, and their training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engines import Backwards
from torch import Tensor

from blinddps.core import InputError
from blinddps.engine import Engine
from blinddps.search.evidence import NAMES
from blinddps.search.refine import KernelStep
from blinddps.search.verdict import Trust, Verdict, VerdictNetwork
from blinddps.training import search_run
from blinddps.training.search import calibrate, fit_trust, kept, spoiled, train_step, train_verdict, verdict_rows
from blinddps.training.search_items import (
    Item,
    StepItem,
    make_item,
    make_step_item,
    measure,
    read_item,
    write_item,
)


def smooth(x: Tensor, sigma: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


@pytest.fixture(scope="module")
def pictures() -> list[Tensor]:
    blocks = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 48)).astype(np.uint8)
    return [torch.from_numpy(np.kron(b, np.ones((1, 8, 8), np.uint8))) for b in blocks]


@pytest.fixture(scope="module")
def item(pictures: list[Tensor]) -> Item:
    measurement = measure(pictures, np.random.default_rng(3), 96, (2.0, 3.0))
    return make_item(measurement, smooth, KernelStep(4), np.random.default_rng(3), sources=2)


@pytest.fixture(scope="module")
def step_item(pictures: list[Tensor]) -> StepItem:
    measurement = measure(pictures, np.random.default_rng(3), 96, (2.0, 3.0))
    return make_step_item(measurement, smooth, np.random.default_rng(3), sources=2, frame=41)


def test_a_measurement_is_a_blurred_crop(pictures: list[Tensor]) -> None:
    first, again = (measure(pictures, np.random.default_rng(5), 64, (2.0, 3.0)) for _ in range(2))
    assert first.y.shape == first.sharp.shape == (64, 64, 3)
    assert first.y.dtype == np.uint8
    assert np.array_equal(first.y, again.y)
    assert 0.01 < np.abs(first.y / 255 - first.sharp).mean() < 0.3


def test_an_item_and_its_file(item: Item, tmp_path: Path) -> None:
    assert item.numbers.shape == (6, len(NAMES))
    assert item.step.tolist() == [0, 1, 0, 1, 2, 2]
    assert item.likeness.min() > 0
    assert item.likeness.max() <= 1 + 1e-6
    assert np.allclose(np.diag(item.alike), 1, atol=1e-4)
    assert item.halves.shape == (6,)
    assert 0 < item.halves.min() <= item.halves.max() <= 1 + 1e-4
    assert item.echo.shape == (6,)
    assert np.isfinite(item.known)
    write_item(tmp_path / "0.npz", item)
    read = read_item(tmp_path / "0.npz", Item)
    assert all(np.array_equal(v, getattr(read, name)) for name, v in vars(item).items())
    with pytest.raises(InputError, match=r"0\.npz' is no item of this training .*; delete it, and it is made again$"):
        read_item(tmp_path / "0.npz", StepItem)
    (tmp_path / "0.npz").write_bytes((tmp_path / "0.npz").read_bytes()[:300])
    with pytest.raises(InputError, match=r"0\.npz' is no item"):
        read_item(tmp_path / "0.npz", Item)


def test_the_step_learns_an_item(step_item: StepItem, pictures: list[Tensor]) -> None:
    assert step_item.kernels.shape == step_item.fits.shape == (2, 41, 41)
    wide = make_step_item(
        measure(pictures, np.random.default_rng(4), 96, (2.0, 3.0)),
        smooth,
        np.random.default_rng(4),
        sources=2,
        frame=45,
    )
    losses: list[float] = []
    network = KernelStep(8)
    train_step([step_item, wide], network, steps=60, batch=8, on_step=lambda i, n, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert not network.training


def test_what_a_wrong_kernel_spoils() -> None:
    true, point = torch.zeros(2, 1, 1, 41, 41)
    true[..., 20, 18:23] = 0.2
    point[..., 20, 20] = 1
    noise = torch.tensor([0.01])
    assert float(spoiled(3 * true.roll(1, -1), true, noise)) == pytest.approx(0, abs=1e-4)
    shorter = true.clone()
    shorter[..., 20, 22] = 0
    assert 0 < float(spoiled(shorter, true, noise)) < float(spoiled(point, true, noise))
    # of a picture: the Wiener filter's own errors
    n, sigma = 240, 0.01
    f = torch.fft.fftfreq(n)
    power = 1 / (f[:, None] ** 2 + f[None] ** 2).clamp_min(0.01**2)
    power = 0.05 * power / power.mean()
    random = torch.Generator().manual_seed(0)
    picture = torch.fft.fft2(torch.randn(n, n, generator=random)) * power.sqrt()
    t, k = (torch.fft.fft2(v[0, 0], s=(n, n)) for v in (true, shorter / shorter.sum()))
    moved = t * torch.exp(2j * torch.pi * f * 0.5)  # the shorter one lies half a pixel to the left
    y = moved * picture + sigma * torch.fft.fft2(torch.randn(n, n, generator=random))
    errors = [
        float((y * v.conj() / (v.abs().square() + sigma**2 / power) - picture).abs().square().mean())
        for v in (k, moved)
    ]
    assert float(spoiled(shorter, true, noise)) == pytest.approx(np.log(errors[0] / errors[1]), rel=0.1)


def test_the_verdict_learns_and_is_calibrated(item: Item) -> None:
    # the first number alone tells right from wrong
    random = np.random.default_rng(0)
    items = []
    for _ in range(40):
        likeness = random.choice([0.5, 0.95], 6).astype(np.float32)
        numbers = item.numbers.copy()
        numbers[:, 0] = likeness * 4 + 0.3 * random.standard_normal(6)
        gain = np.where(likeness > 0.75, 3.0, np.nan).astype(np.float32)  # unknown gains teach nothing
        items.append(Item(**{**vars(item), "likeness": likeness, "numbers": numbers, "gain": gain}))
    network = train_verdict(items[:30], epochs=40)
    assert calibrate(network, items[30:]) > 0
    right, judged = [], []
    for one in items[30:]:
        for row, like in zip(verdict_rows(one, random, all_others=True), one.likeness, strict=True):
            verdict = network.judge(row)
            right.append(like > 0.75)
            judged.append(verdict.probability > 0.5)
            assert np.isfinite(verdict.gain)
    assert np.mean(np.array(right) == np.array(judged)) > 0.8


def test_right_is_a_kernel_that_is_alike_and_loses_little(item: Item) -> None:
    given = {
        "likeness": np.array([0.9, 0.9, 0.7, 0.76]),
        "gain": np.array([1.0, 2.1, 5.0, np.nan]),
        "known": np.array(5.0),
    }
    assert Item(**{**vars(item), **given}).right.tolist() == [False, True, False, True]


def test_trust_finds_the_model_that_drew_it() -> None:
    generator = torch.Generator().manual_seed(0)
    spread, mean = torch.tensor([1.0, 2.0, 0.2, 0.3]), torch.tensor([1.0, 0.0, 0.7, 0.5])
    x = torch.randn(40000, 4, generator=generator) * spread + mean
    weight, bias = torch.tensor([0.5, 0.3, 6.0, 2.0]), -5.0
    right = torch.rand(len(x), generator=generator) < (x @ weight + bias).sigmoid()
    trust = fit_trust(x, right)
    assert torch.allclose(trust.weight, weight, rtol=0.1)  # four standard errors and more
    assert float(trust.bias) == pytest.approx(bias, rel=0.1)
    assert trust.probability(Verdict(0.5, 0.9, 0.0), 5 / 6, 0.0) == pytest.approx(0.5, abs=0.05)
    against = fit_trust(torch.cat([-x[:, :1], x[:, 1:]], 1), right)
    assert float(against.weight[0]) == 0  # no number that speaks for a kernel counts against it
    assert float(against.weight[1:].min()) > 0
    held = fit_trust(x[:50], right[:50], ridge=1e4)
    assert float(held.weight.abs().max()) < 0.1  # held back


def test_what_is_kept_is_what_trust_weighs(item: Item) -> None:
    network = VerdictNetwork()
    best, told = kept(item, network.eval(), np.random.default_rng(0))
    row = verdict_rows(item, np.random.default_rng(0), all_others=True)[best]
    assert torch.allclose(told, Trust.numbers(network.judge(row), float(item.halves[best]), float(item.echo[best])))


def test_a_killed_run_goes_on(pictures: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_run, "SIZES", ((64, (1.2, 2.0), 41, 0.5), (64, (1.2, 2.0), 43, 0.5)))
    monkeypatch.setattr(search_run, "STEP_SOURCES", 1)
    monkeypatch.setattr(search_run, "SOURCES", 1)

    def run(told: search_run.Told | None = None, engine: Engine | None = None) -> dict[str, Any]:
        return search_run.train_search(pictures, smooth, tmp_path, items=16, steps=3, width=4, told=told, engine=engine)

    def stop(phase: str, count: int, total: int) -> None:
        if phase == "second" and count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stop)
    kept = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.suffix in (".npz", ".safetensors")}
    assert len(kept) == 16 + 1 + 3
    report = run(engine=Backwards())
    assert report["items"] == 8
    assert 0 <= report["calibration_error"] <= 1
    assert all(p.read_bytes() == content for p, content in kept.items())
    assert (tmp_path / "verdict.safetensors").exists()
    assert (tmp_path / "trust.safetensors").exists()
    with pytest.raises(InputError, match=r"^items is 7; give at least 16"):
        search_run.train_search(pictures, smooth, tmp_path, items=7)
    with pytest.raises(InputError, match=r" was made with steps 3, seed 0; give the same, or another folder$"):
        search_run.train_search(pictures, smooth, tmp_path, items=16, steps=4, width=4, seed=1)
    remade = tmp_path / "second" / "000005.npz"  # by a worker, before
    before = read_item(remade, Item)
    remade.unlink()
    state = torch.random.get_rng_state()
    run()
    assert all(np.array_equal(v, getattr(before, name)) for name, v in vars(read_item(remade, Item)).items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_reliability() -> None:
    told = search_run.reliability(np.array([0.95, 0.95, 0.15, 0.15]), np.array([True, False, False, False]))
    assert told["bins"] == [(2, pytest.approx(0.15), 0.0), (2, pytest.approx(0.95), 0.5)]
    assert told["calibration_error"] == pytest.approx((0.15 + 0.45) / 2)
