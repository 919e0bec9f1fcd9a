"""DeblurGAN-v2, TSR-WGAN and their critics: published names and sizes, and all of them again in double precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blinddps.baselines.supervised import TSRWGAN, DeblurGANv2, critics, network_of, padded
from blinddps.baselines.supervised.critic import PatchCritic
from blinddps.restore.trained import load_trained

Array = np.ndarray[Any, Any]
Shapes = dict[str, tuple[int, ...]]


def unit(name: str, inputs: int, outputs: int, *size: int, conv: str = "conv", bn: str = "bn") -> Shapes:
    """A convolution without bias and its batch norm, as published files hold them."""
    found: Shapes = {f"{name}.{conv}.weight": (outputs, inputs, *size)}
    found |= {f"{name}.{bn}.{n}": (outputs,) for n in ("weight", "bias", "running_mean", "running_var")}
    return found | {f"{name}.{bn}.num_batches_tracked": ()}


def chain(name: str, inputs: int, *units: tuple[int, ...]) -> Shapes:
    found: Shapes = {}
    for i, (outputs, *size) in enumerate(units):
        found |= unit(f"{name}.{i}" if len(units) > 1 else name, inputs, outputs, *size)
        inputs = outputs
    return found


def inception() -> Shapes:
    """Inception-ResNet-v2 as its public listing has it, 55.8 M parameters."""
    one, three = (1, 1), (3, 3)
    found = chain("conv2d_1a", 3, (32, *three)) | chain("conv2d_2a", 32, (32, *three))
    found |= chain("conv2d_2b", 32, (64, *three)) | chain("conv2d_3b", 64, (80, *one))
    found |= chain("conv2d_4a", 80, (192, *three)) | chain("mixed_5b.branch0", 192, (96, *one))
    found |= chain("mixed_5b.branch1", 192, (48, *one), (64, 5, 5))
    found |= chain("mixed_5b.branch2", 192, (64, *one), (96, *three), (96, *three))
    found |= unit("mixed_5b.branch3.1", 192, 64, *one)
    for i in range(10):
        found |= chain(f"repeat.{i}.branch0", 320, (32, *one))
        found |= chain(f"repeat.{i}.branch1", 320, (32, *one), (32, *three))
        found |= chain(f"repeat.{i}.branch2", 320, (32, *one), (48, *three), (64, *three))
        found |= {f"repeat.{i}.conv2d.weight": (320, 128, *one), f"repeat.{i}.conv2d.bias": (320,)}
    found |= chain("mixed_6a.branch0", 320, (384, *three))
    found |= chain("mixed_6a.branch1", 320, (256, *one), (256, *three), (384, *three))
    for i in range(20):
        found |= chain(f"repeat_1.{i}.branch0", 1088, (192, *one))
        found |= chain(f"repeat_1.{i}.branch1", 1088, (128, *one), (160, 1, 7), (192, 7, 1))
        found |= {f"repeat_1.{i}.conv2d.weight": (1088, 384, *one), f"repeat_1.{i}.conv2d.bias": (1088,)}
    found |= chain("mixed_7a.branch0", 1088, (256, *one), (384, *three))
    found |= chain("mixed_7a.branch1", 1088, (256, *one), (288, *three))
    found |= chain("mixed_7a.branch2", 1088, (256, *one), (288, *three), (320, *three))
    for name in (*(f"repeat_2.{i}" for i in range(9)), "block8"):
        found |= chain(f"{name}.branch0", 2080, (192, *one))
        found |= chain(f"{name}.branch1", 2080, (192, *one), (224, 1, 3), (256, 3, 1))
        found |= {f"{name}.conv2d.weight": (2080, 448, *one), f"{name}.conv2d.bias": (2080,)}
    return (
        found
        | chain("conv2d_7b", 2080, (1536, *one))
        | {"last_linear.weight": (1000, 1536), "last_linear.bias": (1000,)}
    )


def mobile() -> Shapes:
    """The features of MobileNet-v2, 2.2 M parameters."""
    found = unit("0", 3, 32, 3, 3, conv="0", bn="1")
    inputs, index = 32, 1
    for t, outputs, count in ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)):
        for _ in range(count):
            inner, name = inputs * t, f"{index}.conv"
            found |= unit(name, inputs, inner, 1, 1, conv="0", bn="1") if t > 1 else {}
            first = 3 if t > 1 else 0
            found |= unit(name, 1, inner, 3, 3, conv=str(first), bn=str(first + 1))
            found |= unit(name, inner, outputs, 1, 1, conv=str(first + 3), bn=str(first + 4))
            inputs, index = outputs, index + 1
    return found | unit("18", 320, 1280, 1, 1, conv="0", bn="1")


ENCODERS = {
    "inception": (
        {"conv2d_1a": "0"},
        {"conv2d_2a": "1.0", "conv2d_2b": "1.1"},
        {"conv2d_3b": "2.0", "conv2d_4a": "2.1"},
        {"mixed_5b": "3.0", "repeat": "3.1", "mixed_6a": "3.2"},
        {"repeat_1": "4.0", "mixed_7a": "4.1"},
    ),
    "features": tuple(
        {str(i): f"{e}.{i - a}" for i in range(a, b)}
        for e, (a, b) in enumerate(((0, 2), (2, 4), (4, 7), (7, 11), (11, 16)))
    ),
}


def published(backbone: str) -> Shapes:
    """Names and shapes of ``fpn_inception.h5`` and ``fpn_mobilenet.h5``."""
    name, inner, wide = ("inception", inception(), 128) if backbone == "inception" else ("features", mobile(), 64)
    found = {f"fpn.{name}.{k}": v for k, v in inner.items()}
    for parts in ENCODERS[name]:
        for part, place in parts.items():
            found |= {f"fpn.enc{place}{k[len(part) :]}": v for k, v in inner.items() if k.startswith(f"{part}.")}
    channels = (32, 64, 192, 1088, 2080) if name == "inception" else (16, 24, 32, 64, 160)
    found |= {f"fpn.lateral{i}.weight": (2 * wide if i else wide, c, 1, 1) for i, c in enumerate(channels)}
    smooth = {f"fpn.td{i}": (2 * wide, 2 * wide) for i in (1, 2, 3)} | {
        "smooth": (wide, 4 * wide),
        "smooth2": (wide // 2, wide),
    }
    for n, (outputs, inputs) in smooth.items():
        found |= {f"{n}.0.weight": (outputs, inputs, 3, 3), f"{n}.0.bias": (outputs,)}
        found |= {f"{n}.1.running_mean": (outputs,), f"{n}.1.running_var": (outputs,), f"{n}.1.num_batches_tracked": ()}
    for i in range(1, 5):
        found |= {f"head{i}.block0.weight": (wide, 2 * wide, 3, 3), f"head{i}.block1.weight": (wide, wide, 3, 3)}
    return found | {"final.weight": (3, wide // 2, 3, 3), "final.bias": (3,)}


def count(shapes: Shapes) -> int:
    """Parameters, each once."""
    counted = ("running_mean", "running_var", "num_batches_tracked")
    return sum(int(np.prod(s)) for n, s in shapes.items() if not n.endswith(counted) and not n.startswith("fpn.enc"))


class TestPublished:
    def test_counts(self) -> None:
        assert count(inception()) == 55_843_464
        assert count(mobile()) == 2_223_872
        assert round(count(published("inception")) / 1e6, 1) == 60.9
        assert round(count(published("mobilenet")) / 1e6, 1) == 3.3

    @pytest.mark.parametrize("backbone", ["inception", "mobilenet"])
    def test_the_published_names_and_shapes_are_loaded(self, tmp_path: Path, backbone: str) -> None:
        """MobileNet's from a file; the other's 60.9 M numbers are one number, for the time."""
        rng = torch.Generator().manual_seed(0)
        small = backbone == "mobilenet"
        state = {
            f"module.{name}": torch.tensor(7)
            if name.endswith("num_batches_tracked")
            else 0.1 * torch.randn(shape if small else (), generator=rng).expand(shape)
            for name, shape in published(backbone).items()
        }
        if small:
            torch.save({"model": state}, tmp_path / "fpn_mobilenet.h5")
            network = load_trained("deblurganv2", tmp_path / "fpn_mobilenet.h5").network
        else:
            network = network_of("deblurganv2", state)
        own = network.state_dict()
        assert all(torch.equal(value, state[f"module.{name}"]) for name, value in own.items())
        assert sum(p.numel() for p in network.parameters()) == (2_106_627 if small else 35_840_099)
        unseen = {n for n in published(backbone) if n not in own and not n.startswith("fpn.enc")}
        ends = ("repeat_2", "block8", "conv2d_7b", "last_linear", "features.16", "features.17", "features.18")
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        assert all(n.endswith(statistics) or any(f".{end}." in n for end in ends) for n in unseen)


def convolve(x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: Any = None) -> Array:
    """``(C, H, W)`` by sums over shifted pictures, zeros outside; depthwise where the weight has one input."""
    h, w = weight.shape[-2:]
    down, right = (h // 2, w // 2) if padding is None else (padding, padding)
    x = np.pad(x, ((0, 0), (down, down), (right, right)))
    rows, columns = (x.shape[1] - h) // stride + 1, (x.shape[2] - w) // stride + 1
    out = np.zeros((len(weight), rows, columns))
    for i in range(h):
        for j in range(w):
            part = x[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
            taps = weight[..., i, j]
            out += taps[..., None] * part if weight.shape[1] == 1 < len(x) else np.einsum("oc,chw->ohw", taps, part)
    return out if bias is None else out + bias[:, None, None]


def normed(x: Array, epsilon: float, weight: Any = 1.0, bias: Any = 0.0) -> Array:
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * np.reshape(weight, (-1, 1, 1)) + np.reshape(bias, (-1, 1, 1))


def larger(x: Array, times: int) -> Array:
    return x.repeat(times, 1).repeat(times, 2)


def pooled(x: Array, stride: int, mean: bool = False) -> Array:
    """Of 3 x 3; a mean of what lies inside, with a border of one, or a maximum without border."""
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan) if mean else x
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (1, 2))[:, ::stride, ::stride]
    found: Array = np.nanmean(windows, (-2, -1)) if mean else windows.max((-2, -1))
    return found


class Weights(dict[str, Array]):
    """Of a network in double precision."""

    def __init__(self, network: torch.nn.Module) -> None:
        torch.manual_seed(1)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        super().__init__({n: v.numpy() for n, v in network.double().requires_grad_(False).state_dict().items()})

    def unit(self, x: Array, name: str, stride: int = 1, padding: Any = None) -> Array:
        inner = convolve(x, self[f"{name}.conv.weight"], None, stride, padding)
        return np.maximum(normed(inner, 1e-3, self[f"{name}.bn.weight"], self[f"{name}.bn.bias"]), 0)

    def norm(self, x: Array, name: str) -> Array:
        return normed(x, 1e-5, self[f"{name}.weight"], self[f"{name}.bias"])

    def smooth(self, x: Array, name: str) -> Array:
        return np.maximum(normed(convolve(x, self[f"{name}.0.weight"], self[f"{name}.0.bias"]), 1e-5), 0)

    def block(self, x: Array, name: str, scale: float, branches: tuple[int, ...]) -> Array:
        found = []
        for i, units in enumerate(branches):
            inner = x
            for j in range(units):
                inner = self.unit(inner, f"{name}.branch{i}" + (f".{j}" if units > 1 else ""))
            found.append(inner)
        joined = convolve(np.concatenate(found), self[f"{name}.conv2d.weight"], self[f"{name}.conv2d.bias"])
        return np.maximum(x + scale * joined, 0)

    def inception(self, x: Array) -> Iterator[Array]:
        p = "fpn.inception."
        x = self.unit(x, f"{p}conv2d_1a", 2, 0)
        yield x
        x = pooled(self.unit(self.unit(x, f"{p}conv2d_2a", 1, 0), f"{p}conv2d_2b"), 2)
        yield x
        x = pooled(self.unit(self.unit(x, f"{p}conv2d_3b"), f"{p}conv2d_4a", 1, 0), 2)
        yield x
        m = f"{p}mixed_5b.branch"
        one = self.unit(self.unit(x, f"{m}1.0"), f"{m}1.1")
        two = self.unit(self.unit(self.unit(x, f"{m}2.0"), f"{m}2.1"), f"{m}2.2")
        x = np.concatenate([self.unit(x, f"{m}0"), one, two, self.unit(pooled(x, 1, mean=True), f"{m}3.1")])
        x = self.block(x, f"{p}repeat.0", 0.17, (1, 2, 3))
        m = f"{p}mixed_6a.branch"
        one = self.unit(self.unit(self.unit(x, f"{m}1.0"), f"{m}1.1"), f"{m}1.2", 2, 0)
        x = np.concatenate([self.unit(x, f"{m}0", 2, 0), one, pooled(x, 2)])
        yield x
        x = self.block(x, f"{p}repeat_1.0", 0.10, (1, 3))
        m = f"{p}mixed_7a.branch"
        zero, one = (self.unit(self.unit(x, f"{m}{i}.0"), f"{m}{i}.1", 2, 0) for i in (0, 1))
        two = self.unit(self.unit(self.unit(x, f"{m}2.0"), f"{m}2.1"), f"{m}2.2", 2, 0)
        yield np.concatenate([zero, one, two, pooled(x, 2)])

    def mobile(self, x: Array) -> Iterator[Array]:
        p = "fpn.features."
        x = np.clip(self.norm(convolve(x, self[f"{p}0.0.weight"], None, 2), f"{p}0.1"), 0, 6)
        halved = {2, 4, 7, 14}
        for i in range(1, 16):
            inner, names = x, [0, 3] if i == 1 else [0, 3, 6]
            for j in names:
                stride = 2 if i in halved and j == 3 else 1
                inner = convolve(inner, self[f"{p}{i}.conv.{j}.weight"], None, stride)
                inner = self.norm(inner, f"{p}{i}.conv.{j + 1}")
                inner = inner if j == names[-1] else np.clip(inner, 0, 6)
            x = x + inner if inner.shape == x.shape else inner
            if i in (1, 3, 6, 10, 15):
                yield x


@pytest.mark.parametrize("backbone", ["inception", "mobilenet"])
def test_deblurganv2_again_in_numpy(backbone: str) -> None:
    arguments: dict[str, Any] = {"width": 2, "filters": 2, "depths": (1, 1)}
    if backbone == "mobilenet":
        arguments = {"width": 4, "filters": 2}
    network = DeblurGANv2(backbone=backbone, **arguments)
    w = Weights(network)
    given = np.random.default_rng(0).random((3, network.least, network.least + 32))
    y = 2 * given - 1
    maps = list(w.inception(y) if backbone == "inception" else w.mobile(y))
    maps = [convolve(m, w[f"fpn.lateral{i}.weight"]) for i, m in enumerate(maps)]
    if backbone == "inception":  # what its convolutions without border have lost
        lost = ((0, 1), (1, 1), (1, 2), (1, 1), (1, 1))
        maps = [np.pad(m, ((0, 0), a, a), mode="reflect") for m, a in zip(maps, lost, strict=True)]
    for finer, name in ((3, "td1"), (2, "td2"), (1, "td3")):
        maps[finer] = w.smooth(maps[finer] + larger(maps[finer + 1], 2), f"fpn.{name}")
    heads = []
    for i in (4, 3, 2, 1):
        inner = np.maximum(convolve(maps[i], w[f"head{i}.block0.weight"]), 0)
        heads.append(larger(np.maximum(convolve(inner, w[f"head{i}.block1.weight"]), 0), 2 ** (i - 1)))
    joined = w.smooth(larger(w.smooth(np.concatenate(heads), "smooth"), 2) + maps[0], "smooth2")
    found = y + np.tanh(convolve(larger(joined, 2), w["final.weight"], w["final.bias"]))
    expected = (np.clip(found, -1, 1) + 1) / 2
    assert (np.abs(found) < 1).mean() > 0.1  # not all of it is clipped
    assert np.abs(network(torch.from_numpy(given)[None])[0].numpy() - expected).max() < 1e-10


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def test_tsr_wgan_again_in_numpy() -> None:
    network = TSRWGAN(width=2, levels=2)
    w = Weights(network)

    def one(x: Array, name: str, stride: int = 1, padding: Any = None) -> Array:
        return convolve(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding)

    def block(x: Array, name: str) -> Array:
        return x + one(leaky(one(x, f"{name}.conv1")), f"{name}.conv2")

    y = np.random.default_rng(0).random((3, 8, 12))
    x, kept = one(y, "intro"), []
    for i in range(2):
        kept.append(block(x, f"encoders.{i}"))
        x = leaky(one(kept[-1], f"downs.{i}", 2, 1))
    x = block(x, "middle")
    for i in range(2):
        joined = np.concatenate([leaky(one(larger(x, 2), f"ups.{i}")), kept[1 - i]])
        x = block(one(joined, f"joins.{i}"), f"decoders.{i}")
    assert np.abs(network(torch.from_numpy(y)[None])[0].numpy() - (y + one(x, "ending"))).max() < 1e-10


@pytest.mark.parametrize(("layers", "field"), [(3, 70), (5, 286)])
def test_critics_again_in_numpy(layers: int, field: int) -> None:
    critic = PatchCritic(width=1, layers=layers)
    w = Weights(critic)
    given = np.random.default_rng(0).random((3, 40, 50))
    x = leaky(convolve(given, w["model.0.weight"], w["model.0.bias"], 2, 2))
    for i in range(1, layers + 1):
        name = f"model.{3 * i - 1}"
        x = leaky(normed(convolve(x, w[f"{name}.weight"], w[f"{name}.bias"], 2 if i < layers else 1, 2), 1e-5))
    name = f"model.{3 * layers + 2}"
    expected = convolve(x, w[f"{name}.weight"], w[f"{name}.bias"], 1, 2)
    assert np.abs(critic(torch.from_numpy(given)[None])[0].numpy() - expected).max() < 1e-10
    seen = 1
    for stride in [1, 1, *[2] * layers]:
        seen = (seen - 1) * stride + 4
    assert seen == field
    assert [len(c.model) for c in critics("double", 1)] == [12, 18]  # type: ignore[arg-type]
    # as published, of 64 channels at first
    expected_count = {3: 2_764_737, 5: 11_154_369}[layers]
    with torch.device("meta"):
        assert sum(p.numel() for p in PatchCritic(layers=layers).parameters()) == expected_count


def test_pictures_do_not_mix_and_small_ones_are_made_large() -> None:
    network = network_of("deblurganv2", DeblurGANv2(width=2, filters=2, depths=(1, 1)).state_dict())
    x = torch.rand(2, 3, 20, 30)
    restore: Any = network.restore
    both = padded(restore, x, 32, 128)
    assert both.shape == x.shape
    assert torch.allclose(both[:1], padded(restore, x[:1], 32, 128), atol=1e-6)
