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
from blinddps.simulate import kernel_set, simulate_blur, simulate_turbulence, tilt_set
from blinddps.training import RestorerConfig, configure, dry_run, recipe, train
from blinddps.training.adversarial import (
    LAYERS,
    AdversarialOptimisation,
    Features,
    critic_loss,
    generator_loss,
    slope_penalty,
)
from blinddps.training.checkpoint import load_checkpoint
from blinddps.training.restorer import RestorerOptimisation, charbonnier, draws, measured, psnr_loss
from blinddps.training.tasks import task_of

NETWORKS: dict[str, dict[str, Any]] = {
    "nafnet": {"kind": "nafnet", "width": 4, "encoders": (1,), "middle": 1, "decoders": (1,)},
    "mprnet": {"kind": "mprnet", "width": 4, "wider": 2, "last": 2, "blocks": 1},
    "deblurganv2": {"kind": "deblurganv2", "width": 4, "backbone": "mobilenet", "filters": 4},
    "tsr-wgan": {"kind": "tsr-wgan", "width": 4, "levels": 1},
}
CRITICS = {"width": 2, "perceptual": 0.0}
OWN: dict[str, dict[str, Any]] = {
    "nafnet": {"loss": "psnr"},
    "mprnet": {"loss": "charbonnier"},
    "deblurganv2": {"loss": "l2", "sizes": (64,), "adversary": {"kind": "ragan-ls", "weight": 0.001, **CRITICS}},
    "tsr-wgan": {
        "loss": "charbonnier",
        "degradation": "turbulence",
        "adversary": {"kind": "wgan-gp", "critics": "single", **CRITICS},
    },
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
    found = configure({**TINY, "network": NETWORKS[kind], **OWN[kind], **settings})
    assert isinstance(found, RestorerConfig)
    return found


class Sharp:
    """Smooth pictures, functions of the item alone."""

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        line = torch.arange(size) / 3
        waves = [torch.sin(line[:, None] + i) * torch.cos(line[None] - i) for i in items]
        return 0.8 * torch.stack([torch.stack([w, w.roll(3, 0), -w]) for w in waves])


def pairs(config: RestorerConfig, x: Tensor, items: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Measurements, and the noise of each."""
    drawn = draws(config, x, items)
    return measured(config, *drawn), drawn[2]


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


LEARNED: dict[str, tuple[int, dict[str, Any]]] = {  # steps, and settings
    "nafnet": (60, {}),
    "mprnet": (30, {}),
    # its output has half the picture's resolution
    "deblurganv2": (30, {"kernel_size": 31, "learning_rate": 5e-3}),
    "tsr-wgan": (30, {"kernel_size": 15}),
}


@pytest.mark.parametrize("kind", LEARNED)
def test_one_batch_is_learned(kind: str) -> None:
    steps, own = LEARNED[kind]
    config = tiny(kind, **{"learning_rate": 1e-2, "ema": 0.0, "noise": (0, 0), "mixture": {"gaussian": 1.0}, **own})
    run, x = task_of(config).begin(config, "cpu"), Sharp().batch(range(2), config.main_size)
    before = float(run.advance(run.draws(config, x, range(2)))[0][0].mean())
    for _ in range(steps):
        rows, _, _ = run.advance(run.draws(config, x, range(2)))
    y = measured(config, *draws(config, x, range(2)))
    with torch.no_grad():
        restored: Tensor = run.network.restore((y + 1) / 2)  # type: ignore[operator]
    gain = (psnr_loss((y + 1) / 2, (x + 1) / 2) - psnr_loss(restored, (x + 1) / 2)).mean()
    assert float(rows[0].mean()) < before
    assert gain > 3  # dB


def test_turbulent_pairs_are_the_simulation() -> None:
    x = Sharp().batch(range(3), 16)
    tilt = tilt_set(3, (16, 16), seed=0, mixture={"patch": 0.5, "atmospheric": 0.5})
    kernels = kernel_set(3, 5, seed=0, mixture={"motion": 0.5, "gaussian": 0.5})
    expected = simulate_turbulence(x, tilt, kernels, sigma_y=0.0, seed=0)
    assert torch.allclose(pairs(tiny("tsr-wgan", noise=(0, 0)), x, range(3))[0], expected, atol=1e-6)


def test_adversarial_losses_against_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 1, 4, 5))
    true, made = torch.from_numpy(a), torch.from_numpy(b)
    assert np.isclose(float(critic_loss("wgan-gp", true, made)), b.mean() - a.mean())
    assert np.allclose(generator_loss("wgan-gp", true, made).numpy(), -b.mean((1, 2, 3)))
    expected = (((a - b.mean() - 1) ** 2).mean() + ((b - a.mean() + 1) ** 2).mean()) / 2
    assert np.isclose(float(critic_loss("ragan-ls", true, made)), expected)
    each = (((a - b.mean() + 1) ** 2).mean((1, 2, 3)) + ((b - a.mean() - 1) ** 2).mean((1, 2, 3))) / 2
    assert np.allclose(generator_loss("ragan-ls", true, made).numpy(), each)


def test_the_penalty_is_of_the_slope_between_the_pictures() -> None:
    """A critic ``sum a z + b z^2 / 2`` has the slope ``a + b z``."""

    class Quadratic(torch.nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return (0.3 * z + z.square()).sum((1, 2, 3), keepdim=True)

    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 2, 3, 4, 4))
    t = np.array([0.25, 0.9])
    z = t[:, None, None, None] * a + (1 - t[:, None, None, None]) * b
    norms = np.sqrt(((0.3 + 2 * z) ** 2).sum((1, 2, 3)))
    found = slope_penalty(Quadratic(), *(torch.from_numpy(v) for v in (a, b, t)))
    assert np.isclose(found.item(), ((norms - 1) ** 2).mean())


def test_the_critics_learn_to_tell_and_the_generator_is_moved_by_them_alone() -> None:
    x = Sharp().batch(range(2), 16)
    given = {"kind": "ragan-ls", **CRITICS, "content": 0.0}
    configs = [tiny("tsr-wgan", learning_rate=1e-2, adversary={**given, "weight": weight}) for weight in (1.0, 0.0)]
    runs = [AdversarialOptimisation(config) for config in configs]
    before = {k: v.clone() for k, v in runs[0].network.state_dict().items()}
    norms = [run.advance(run.draws(run.config, x, range(2)))[2] for run in runs]
    assert norms[0] > 0 == norms[1]
    changed = [[not torch.equal(v, before[k]) for k, v in run.network.state_dict().items()] for run in runs]
    assert all(changed[0])
    assert not any(changed[1])
    for _ in range(30):
        runs[1].advance(runs[1].draws(configs[1], x, range(2)))
    with torch.no_grad():
        made = 2 * runs[1].network((pairs(configs[1], x, range(2))[0] + 1) / 2) - 1
        assert all(critic(x).mean() > critic(made).mean() + 0.5 for critic in runs[1].critics)


def test_features_are_those_of_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state, inputs = dict[str, Tensor](), 3
    for index, outputs in LAYERS:
        state[f"features.{index}.weight"] = 0.1 * torch.randn(outputs, inputs, 3, 3)
        state[f"features.{index}.bias"] = 0.1 * torch.randn(outputs)
        inputs = outputs
    torch.save(state | {"classifier.0.bias": torch.zeros(4)}, tmp_path / "vgg.pth")
    x = torch.rand(1, 3, 8, 8)
    expected = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    for index in range(15):  # torchvision's list of layers
        if index in (4, 9):
            expected = torch.nn.functional.max_pool2d(expected, 2, 2)
        elif f"features.{index}.bias" in state:
            weight, bias = (state[f"features.{index}.{n}"] for n in ("weight", "bias"))
            expected = torch.nn.functional.conv2d(expected, weight, bias, padding=1)
        else:
            expected = expected.clamp_min(0)
    file = str(tmp_path / "vgg.pth")
    assert torch.allclose(Features(file)(x), expected, rtol=1e-4, atol=1e-5)
    given = {**OWN["tsr-wgan"]["adversary"], "perceptual": 1.0}
    batch = Sharp().batch(range(1), 16)
    with pytest.warns(UserWarning, match="no perceptual part"):
        without = AdversarialOptimisation(tiny("tsr-wgan", adversary=given))
    runs = without, AdversarialOptimisation(tiny("tsr-wgan", adversary={**given, "features": file}))
    losses = [float(run.advance(run.draws(run.config, batch, range(1)))[0][0]) for run in runs]
    assert losses[1] > losses[0]
    del state["features.14.bias"]
    torch.save(state, file)
    with pytest.raises(InputError, match="hold no VGG-19"):
        Features(file)
    with pytest.raises(InputError, match="features: there is no file"):
        Features(str(tmp_path / "none.pth"))


def assert_same(a: Path, b: Path) -> None:
    one, other = load_checkpoint(a), load_checkpoint(b)
    assert one["step"] == other["step"]
    for key in ("network", "average", *(["critics"] if "critics" in one else [])):
        assert all(torch.equal(one[key][name], other[key][name]) for name in one[key])
    for key in ("optimizer", "critic_optimizer"):
        assert (key in one) == (key in other)
        for i, moments in one.get(key, {"state": {}})["state"].items():
            assert all(torch.equal(value, other[key]["state"][i][name]) for name, value in moments.items())
    file = "restorer/weights.safetensors"
    assert (a / file).read_bytes() == (b / file).read_bytes()
    logs = [[json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (a, b)]
    one, other = ([{**line, "seconds": 0, "waited": 0} for line in lines] for lines in logs)
    assert one == other


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
    """Of a generator and its critics, whose optimisers are two."""
    config = tiny("deblurganv2", steps=7, log_every=3, save_every=3)
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
    assert ("critics" in readme) == (kind in ("deblurganv2", "tsr-wgan"))
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
        ({"network": NETWORKS["deblurganv2"], "sizes": (32,)}, "crops of 32 are too small"),
        ({"adversary": {"kinds": "wgan-gp"}}, "unknown training setting 'kinds'; did you mean 'kind'"),
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


@pytest.mark.parametrize("name", ["nafnet", "mprnet", "deblurganv2", "tsr-wgan"])
def test_recipes_are_the_published_networks(name: str) -> None:
    config = configure({**recipe(name), "data": ("sharp",)})
    assert isinstance(config, RestorerConfig)
    assert config.network.kind == name
    expected = {"nafnet": 17.11, "mprnet": 20.13, "deblurganv2": 35.84, "tsr-wgan": 12.30}[name]
    with torch.device("meta"):
        from blinddps.baselines.supervised import restorer

        network = restorer(name, config.network.arguments)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == expected


def test_a_dry_run_counts(pictures: Path) -> None:
    plan = dry_run(tiny(data=(str(pictures),)))
    assert plan["pictures"] == 5
    assert plan["parameters"] == sum(p.numel() for p in RestorerOptimisation(tiny()).network.parameters())
    assert plan["gflop_per_sample"][16] > 0
