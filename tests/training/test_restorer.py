"""Networks that restore, trained by the same loop as priors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from blinddps import deblur
from blinddps.core import InputError
from blinddps.io import read_image
from blinddps.simulate import kernel_set, simulate_blur
from blinddps.training import RestorerConfig, configure, dry_run, recipe, train
from blinddps.training.checkpoint import load_checkpoint
from blinddps.training.restorer import RestorerOptimisation, charbonnier, pairs, psnr_loss

NETWORKS: dict[str, dict[str, Any]] = {
    "nafnet": {"kind": "nafnet", "width": 4, "encoders": (1,), "middle": 1, "decoders": (1,)},
    "mprnet": {"kind": "mprnet", "width": 4, "wider": 2, "last": 2, "blocks": 1},
}
TINY: dict[str, Any] = {
    "unknown": "restorer",
    "name": "tiny",
    "data": ("sharp",),
    "sizes": (16,),
    "kernel_size": 5,
    "batch_size": 2,
    "steps": 6,
    "warmup": 2,
    "log_every": 2,
    "save_every": 2,
    "sample_every": 1000,
}


def tiny(kind: str = "nafnet", **settings: Any) -> RestorerConfig:
    loss = {"nafnet": "psnr", "mprnet": "charbonnier"}[kind]
    found = configure({**TINY, "network": NETWORKS[kind], "loss": loss, **settings})
    assert isinstance(found, RestorerConfig)
    return found


class Sharp:
    """Smooth pictures, functions of the item alone."""

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        line = torch.arange(size) / 3
        waves = [torch.sin(line[:, None] + i) * torch.cos(line[None] - i) for i in items]
        return 0.8 * torch.stack([torch.stack([w, w.roll(3, 0), -w]) for w in waves])


def test_pairs_are_functions_of_the_seed_and_the_item() -> None:
    config, x = tiny(noise=(0.01, 0.05)), Sharp().batch(range(8), 16)
    y, sigma = pairs(config, x, range(8))
    assert y.shape == x.shape
    assert y.abs().max() <= 1
    assert sigma.min() >= 0.01
    assert sigma.max() <= 0.05
    one, alone = pairs(config, x[5:6], [5])
    assert torch.equal(one, y[5:6])
    assert torch.equal(alone, sigma[5:6])
    assert not torch.equal(pairs(tiny(noise=(0.01, 0.05), seed=1), x, range(8))[0], y)
    # without noise: the package's own simulation, the kernels its own generators'
    kernels = kernel_set(8, 5, seed=0, mixture={"motion": 0.5, "gaussian": 0.5})
    expected = simulate_blur(x, kernels, sigma_y=0.0, seed=0)
    assert torch.allclose(pairs(tiny(noise=(0, 0)), x, range(8))[0], expected, atol=1e-6)


def test_noise_is_of_the_level_that_is_told_and_grey_on_grey() -> None:
    flat = torch.zeros(4, 3, 64, 64)
    y, sigma = pairs(tiny(noise=(0.02, 0.06), sizes=(64,)), flat, range(4))
    assert torch.equal(y[:, 0], y[:, 1])
    spread = y[:, 0].flatten(1).std(1) / 2
    assert torch.allclose(spread, sigma, rtol=0.06)  # five standard errors of 4096 values


def test_losses_against_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 2, 3, 6, 7))
    found, truth = torch.from_numpy(a), torch.from_numpy(b)
    expected = 10 * np.log10(((a - b) ** 2).mean((1, 2, 3)) + 1e-8)
    assert np.allclose(psnr_loss(found, truth).numpy(), expected, rtol=1e-12)
    d = a - b
    wide = np.pad(d, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    laplacian = wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1] + wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:] - 4 * d
    both = [np.sqrt(v**2 + 1e-6).mean((1, 2, 3)) for v in (d, laplacian)]
    assert np.allclose(charbonnier(found, truth).numpy(), both[0] + 0.05 * both[1], rtol=1e-12)


@pytest.mark.parametrize(("kind", "steps"), [("nafnet", 60), ("mprnet", 30)])
def test_one_batch_is_learned(kind: str, steps: int) -> None:
    config = tiny(kind, learning_rate=1e-2, ema=0.0, noise=(0, 0), mixture={"gaussian": 1.0})
    run, x = RestorerOptimisation(config), Sharp().batch(range(2), 16)
    before = float(run.advance(x, range(2))[0][0].mean())
    for _ in range(steps):
        rows, _, _ = run.advance(x, range(2))
    y, _ = pairs(config, x, range(2))
    with torch.no_grad():
        restored: Tensor = run.network.restore((y + 1) / 2)  # type: ignore[operator]
    gain = (psnr_loss((y + 1) / 2, (x + 1) / 2) - psnr_loss(restored, (x + 1) / 2)).mean()
    assert float(rows[0].mean()) < before
    assert gain > 3  # dB


def assert_same(a: Path, b: Path) -> None:
    one, other = load_checkpoint(a), load_checkpoint(b)
    assert one["step"] == other["step"]
    for key in ("network", "average"):
        assert all(torch.equal(one[key][name], other[key][name]) for name in one[key])
    for i, moments in one["optimizer"]["state"].items():
        assert all(torch.equal(value, other["optimizer"]["state"][i][name]) for name, value in moments.items())
    file = "restorer/weights.safetensors"
    assert (a / file).read_bytes() == (b / file).read_bytes()
    logs = [[json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (a, b)]
    assert [{**line, "seconds": 0} for line in logs[0]] == [{**line, "seconds": 0} for line in logs[1]]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[3])
from test_restorer import Sharp
from blinddps.training import RestorerConfig, train

class Deadly(Sharp):
    def batch(self, items, size):
        if items[0] == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(items, size)

train(RestorerConfig.model_validate_json(sys.argv[1]), sys.argv[2], progress=False, data=Deadly())
"""


def test_killed_and_resumed_equals_unbroken(tmp_path: Path) -> None:
    config = tiny(steps=7, log_every=3, save_every=3)
    train(config, tmp_path / "whole", progress=False, data=Sharp())
    call = [
        sys.executable,
        "-c",
        KILLED,
        config.model_dump_json(),
        str(tmp_path / "broken"),
        str(Path(__file__).parent),
    ]
    done = subprocess.run(call, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert load_checkpoint(tmp_path / "broken")["step"] == 3
    train(config, tmp_path / "broken", resume=True, progress=False, data=Sharp())
    assert_same(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("kind", NETWORKS)
def test_stopped_after_every_step_equals_unbroken_and_deblur_takes_it(
    tmp_path: Path, kind: str, pictures: Path
) -> None:
    config = tiny(kind, data=(str(pictures),), steps=2, sample_every=2, licence="CC0-1.0")
    train(config, tmp_path / "whole", progress=False)
    for step in range(2):
        folder = train(config, tmp_path / "parts", resume=step > 0, progress=False, max_minutes=0)
    assert folder == tmp_path / "parts" / "restorer"
    assert_same(tmp_path / "whole", tmp_path / "parts")
    card = json.loads((folder / "blinddps.json").read_text())
    assert (card["solver"], card["training"]["steps"]) == (kind, 2)
    readme = (folder / "README.md").read_text()
    assert f"--solver {kind}" in readme
    assert "2 steps, 4 samples" in readme
    sheet = read_image(tmp_path / "parts" / "samples" / "00000002.png").data
    assert min(sheet.shape[:2]) > 3 * 16
    y = np.full((20, 24, 3), 0.5, np.float32) + 0.3 * np.random.default_rng(0).random((20, 24, 3), np.float32)
    result = deblur(y, solver=kind, weights=folder / "weights.safetensors", device="cpu")
    told = result.priors["weights"]
    assert (told["licence"], told["trained"]) == ("CC0-1.0", 2)
    more = train(
        tiny(kind, data=(str(pictures),)),
        tmp_path / "more",
        start_from=folder / "weights.safetensors",
        progress=False,
        max_minutes=0,
    )
    assert (more / "weights.safetensors").exists()


def test_refused(tmp_path: Path, pictures: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"data": ()}, "a restorer needs data"),
        ({"sizes": (17,)}, "size 17 is no multiple of 2"),
        ({"kernel_size": 33}, "kernel_size 33 is larger than crops of 16"),
        ({"noise": (0.2, 0.1)}, "give the smaller one first"),
        ({"prediction": "epsilon"}, "unknown training setting 'prediction'"),
        ({"network": {"kind": "nafnet", "encoders": (1, 1)}}, "2 encoders and 4 decoders"),
        ({"network": {"kind": "mprnet", "width": 2}}, "less than reduction"),
        ({"network": {"kind": "unet"}}, "network.kind"),
    ]
    for settings, message in cases:
        with pytest.raises(InputError, match=message):
            configure({**TINY, "network": NETWORKS["nafnet"], **settings})
    config = tiny(data=(str(pictures),))
    folder = train(config, tmp_path / "run", progress=False, max_minutes=0)
    wider = tiny(data=(str(pictures),), network={**NETWORKS["nafnet"], "width": 8})
    with pytest.raises(InputError, match="of another size"):
        train(wider, tmp_path / "other", start_from=folder / "weights.safetensors", progress=False)
    with pytest.raises(InputError, match="kernel_size = 5, now it is 7"):
        train(tiny(data=(str(pictures),), kernel_size=7), tmp_path / "run", resume=True, progress=False)


@pytest.mark.parametrize("name", ["nafnet", "mprnet"])
def test_recipes_are_the_published_networks(name: str) -> None:
    config = configure({**recipe(name), "data": ("sharp",)})
    assert isinstance(config, RestorerConfig)
    assert config.network.kind == name
    expected = {"nafnet": 17.11, "mprnet": 20.13}[name]
    with torch.device("meta"):
        from blinddps.baselines.supervised import restorer

        network = restorer(name, config.network.arguments)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == expected


def test_a_dry_run_counts(pictures: Path) -> None:
    plan = dry_run(tiny(data=(str(pictures),)))
    assert plan["pictures"] == 5
    assert plan["parameters"] == sum(p.numel() for p in RestorerOptimisation(tiny()).network.parameters())
    assert plan["gflop_per_sample"][16] > 0
