"""Networks that were trained to restore: their blocks, their published sizes and names, and files of their weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.tiny import TINY_TRAINED, tiny_trained
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from blinddps.baselines.supervised import NAFNet, network_of, padded, restorer
from blinddps.baselines.supervised.mprnet import ChannelAttentionBlock, MPRNet, SupervisedAttention
from blinddps.baselines.supervised.nafnet import NAFBlock
from blinddps.core import InputError
from blinddps.restore.trained import load_trained

SIDD = {"encoders": (2, 2, 4, 8), "middle": 12, "decoders": (2, 2, 2, 2)}
Array = np.ndarray[Any, Any]


def on_meta(kind: Callable[..., torch.nn.Module], **arguments: Any) -> torch.nn.Module:
    with torch.device("meta"):
        return kind(**arguments)


class TestPublished:
    @pytest.mark.parametrize(
        ("kind", "arguments", "millions"),
        [  # as their publications state them
            (NAFNet, {"width": 32}, 17.11),
            (NAFNet, {"width": 64}, 67.89),
            (NAFNet, {"width": 32, **SIDD}, 29.16),
            (NAFNet, {"width": 64, **SIDD}, 115.98),
            (MPRNet, {}, 20.13),
            (MPRNet, {"width": 40, "wider": 20, "last": 16}, 3.64),
        ],
    )
    def test_parameters(self, kind: Callable[..., torch.nn.Module], arguments: Any, millions: float) -> None:
        count = sum(p.numel() for p in on_meta(kind, **arguments).parameters())
        assert round(count / 1e6, 2) == millions

    def test_parameters_of_a_block(self) -> None:
        # as a public listing of NAFNet has it, of 512 channels
        assert sum(p.numel() for p in NAFBlock(512).parameters()) == 1_851_904

    @pytest.mark.parametrize(
        ("kind", "arguments", "thousands"),
        [(NAFNet, {"width": 32}, 16), (NAFNet, {"width": 64}, 63), (MPRNet, {}, 759)],
    )
    def test_multiplications(self, kind: Callable[..., torch.nn.Module], arguments: Any, thousands: int) -> None:
        """Of a picture of 256 x 256, in units of 1e9; published for NAFNet are 16 and 63."""
        network = on_meta(kind, **arguments)
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, 256, 256, device="meta"))
        assert round(counter.get_total_flops() / 2e9) == thousands

    def test_names_of_nafnet(self) -> None:
        layers = [
            f"{n}.{p}" for n in ("conv1", "conv2", "conv3", "sca.1", "conv4", "conv5") for p in ("weight", "bias")
        ]
        block = ["beta", "gamma", *layers, *(f"norm{i}.{p}" for i in (1, 2) for p in ("weight", "bias"))]
        blocks = [f"encoders.{i}.{j}" for i, n in enumerate((1, 1, 1, 28)) for j in range(n)]
        blocks += [*(f"decoders.{i}.0" for i in range(4)), "middle_blks.0"]
        expected = {f"{b}.{name}" for b in blocks for name in block}
        expected |= {
            f"{n}.{p}" for n in ("intro", "ending", *(f"downs.{i}" for i in range(4))) for p in ("weight", "bias")
        }
        expected |= {f"ups.{i}.0.weight" for i in range(4)}
        assert set(on_meta(NAFNet).state_dict()) == expected

    def test_names_of_mprnet(self) -> None:
        attention = [f"{n}.weight" for n in ("CA.conv_du.0", "CA.conv_du.2", "body.0", "body.1", "body.2")]
        blocks = [f"shallow_feat{i}.1" for i in (1, 2, 3)]
        for stage in ("stage1", "stage2"):
            blocks += [
                f"{stage}_{c}.{c}_level{i}.{j}" for c in ("encoder", "decoder") for i in (1, 2, 3) for j in (0, 1)
            ]
            blocks += [f"{stage}_decoder.skip_attn{i}" for i in (1, 2)]
        blocks += [f"stage3_orsnet.orb{i}.body.{j}" for i in (1, 2, 3) for j in range(8)]
        plain = [f"shallow_feat{i}.0" for i in (1, 2, 3)] + [f"stage3_orsnet.orb{i}.body.8" for i in (1, 2, 3)]
        plain += [f"stage{s}_encoder.down{d}.down.1" for s in (1, 2) for d in (12, 23)]
        plain += [f"stage{s}_decoder.up{u}.up.1" for s in (1, 2) for u in (21, 32)]
        plain += [f"stage2_encoder.csff_{c}{i}" for c in ("enc", "dec") for i in (1, 2, 3)]
        plain += [f"stage3_orsnet.conv_{c}{i}" for c in ("enc", "dec") for i in (1, 2, 3)]
        for c in ("enc", "dec"):
            plain += [f"stage3_orsnet.up_{c}1.up.1", *(f"stage3_orsnet.up_{c}2.{i}.up.1" for i in (0, 1))]
        plain += [f"sam{n}.conv{i}" for n in (12, 23) for i in (1, 2, 3)] + ["concat12", "concat23", "tail"]
        expected = {f"{b}.{name}" for b in blocks for name in attention} | {f"{name}.weight" for name in plain}
        found = on_meta(MPRNet).state_dict()
        assert set(found) == expected
        assert tuple(found["concat23.weight"].shape) == (128, 192, 3, 3)
        assert tuple(found["stage2_decoder.up32.up.1.weight"].shape) == (144, 192, 1, 1)


def convolve(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``(C, H, W)`` by sums over shifted pictures, zeros outside; depthwise where the weight has one input."""
    n = weight.shape[-1]
    wide = np.pad(x, ((0, 0), (n // 2, n // 2), (n // 2, n // 2)))
    h, w = x.shape[1:]
    out = np.zeros((len(weight), h, w))
    for i in range(n):
        for j in range(n):
            part = wide[:, i : i + h, j : j + w]
            taps = weight[..., i, j]
            out += taps[..., None] * part if weight.shape[1] == 1 < len(x) else np.einsum("oc,chw->ohw", taps, part)
    return out if bias is None else out + bias[:, None, None]


def doubles(network: torch.nn.Module) -> dict[str, Array]:
    return {name: value.numpy() for name, value in network.double().state_dict().items()}


def drawn(network: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network.requires_grad_(False)


class TestBlocks:
    """Against what the publications write, done again in NumPy in double precision."""

    x = np.random.default_rng(0).standard_normal((4, 7, 9))

    def given(self) -> Tensor:
        return torch.from_numpy(self.x)[None]

    def test_nafnet_block(self) -> None:
        block = drawn(NAFBlock(4))
        w = doubles(block)

        def norm(x: Array, name: str) -> Array:
            centred = x - x.mean(0)
            unit = centred / np.sqrt((centred**2).mean(0) + 1e-6)
            return unit * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

        def one(x: Array, name: str) -> Array:
            return convolve(x, w[f"{name}.weight"], w[f"{name}.bias"])

        inner = one(one(norm(self.x, "norm1"), "conv1"), "conv2")
        inner = inner[:4] * inner[4:]
        attention = w["sca.1.weight"][:, :, 0, 0] @ inner.mean((1, 2)) + w["sca.1.bias"]
        y = self.x + w["beta"][0] * one(inner * attention[:, None, None], "conv3")
        second = one(norm(y, "norm2"), "conv4")
        expected = y + w["gamma"][0] * one(second[:4] * second[4:], "conv5")
        assert np.abs(block(self.given())[0].numpy() - expected).max() < 1e-12

    def attention_block(self, x: Array, w: dict[str, Array]) -> Array:
        inner = convolve(x, w["body.0.weight"])
        inner = convolve(np.where(inner > 0, inner, w["body.1.weight"] * inner), w["body.2.weight"])
        hidden = np.maximum(w["CA.conv_du.0.weight"][:, :, 0, 0] @ inner.mean((1, 2)), 0)
        factor = 1 / (1 + np.exp(-(w["CA.conv_du.2.weight"][:, :, 0, 0] @ hidden)))
        return x + inner * factor[:, None, None]

    def test_mprnet_block(self) -> None:
        block = drawn(ChannelAttentionBlock(4, 2, torch.nn.PReLU()))
        expected = self.attention_block(self.x, doubles(block))
        assert np.abs(block(self.given())[0].numpy() - expected).max() < 1e-12

    def test_supervised_attention(self) -> None:
        block, y = drawn(SupervisedAttention(4, 3)), np.random.default_rng(2).standard_normal((3, 7, 9))
        w = doubles(block)
        picture = convolve(self.x, w["conv2.weight"]) + y
        mask = 1 / (1 + np.exp(-convolve(picture, w["conv3.weight"])))
        features, found = block(self.given(), torch.from_numpy(y)[None])
        assert np.abs(found[0].numpy() - picture).max() < 1e-12
        assert np.abs(features[0].numpy() - (self.x + convolve(self.x, w["conv1.weight"]) * mask)).max() < 1e-12

    def test_the_stages_see_quarters_halves_and_the_whole(self) -> None:
        """A change in one quarter reaches no other one's features of the first stage, nor the other half's picture."""
        network = tiny_trained("mprnet").double()
        y = torch.rand(1, 3, 32, 32, dtype=torch.float64)
        other = y.clone()
        other[..., :16, :16] += 0.1
        with torch.no_grad():
            (last, second, first), (last2, second2, first2) = network(y), network(other)
        assert torch.equal(first[..., 16:, :], first2[..., 16:, :])  # first stage: its own half alone
        assert not torch.equal(second[..., 16:, :], second2[..., 16:, :])  # the decoder of the second sees all
        assert not torch.equal(last[..., 16:, 16:], last2[..., 16:, 16:])

    def test_nafnet_without_its_blocks_is_its_convolutions(self) -> None:
        """beta = gamma = 0 makes every block the identity: what remains is linear, and done again here."""
        network = tiny_trained("nafnet").double()
        w = doubles(network)
        for name, parameter in network.named_parameters():
            if name.endswith(("beta", "gamma")):
                parameter.data.zero_()
        y = np.random.default_rng(3).random((3, 8, 12))

        def down(x: Array, i: int) -> Array:
            weight, (_, h, v) = w[f"downs.{i}.weight"], x.shape
            cells = x.reshape(len(x), h // 2, 2, v // 2, 2)
            return np.einsum("ocij,chivj->ohv", weight, cells) + w[f"downs.{i}.bias"][:, None, None]

        def up(x: Array, i: int) -> Array:
            wide = np.einsum("oc,chv->ohv", w[f"ups.{i}.0.weight"][:, :, 0, 0], x)
            _, h, v = x.shape
            return wide.reshape(-1, 2, 2, h, v).transpose(0, 3, 1, 4, 2).reshape(-1, 2 * h, 2 * v)

        first = convolve(y, w["intro.weight"], w["intro.bias"])
        second = down(first, 0)
        inner = up(up(down(second, 1), 0) + second, 1) + first
        expected = y + convolve(inner, w["ending.weight"], w["ending.bias"])
        with torch.no_grad():
            found = network(torch.from_numpy(y)[None])[0].numpy()
        assert np.abs(found - expected).max() < 1e-12


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (5, 3), (1, 40)])
def test_any_size(size: tuple[int, int]) -> None:
    seen: list[Tensor] = []

    def network(x: Tensor) -> Tensor:
        seen.append(x)
        return 2 * x

    x = torch.rand(2, 3, *size)
    assert torch.equal(padded(network, x, 8), 2 * x)
    assert all(n % 8 == 0 and n - m < 8 for n, m in zip(seen[0].shape[-2:], size, strict=True))


class TestFiles:
    @pytest.mark.parametrize("solver", TINY_TRAINED)
    @pytest.mark.parametrize("form", ["plain", "params", "state_dict", "module", "half", "safetensors"])
    def test_forms(self, tmp_path: Path, solver: str, form: str) -> None:
        network = tiny_trained(solver)
        state, path = network.state_dict(), tmp_path / "weights.pth"
        if form == "module":
            torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": {}}, path)
        elif form == "state_dict":
            torch.save({"epoch": 3, "state_dict": state}, path)
        elif form == "params":
            torch.save({"params": state}, path)
        elif form == "half":
            torch.save({k: v.half() for k, v in state.items()}, path)
        elif form == "safetensors":
            path = path.with_suffix(".safetensors")
            slopes = [k for k, v in state.items() if k.endswith("body.1.weight") and v.numel() == 1]
            save_file({k: v.clone() for k, v in state.items() if k not in slopes[1:]}, path)
        else:
            torch.save(state, path)
        found = load_trained(solver, path)
        assert (found.name, len(found.sha256)) == (path.name, 64)
        assert found.parameters == sum(p.numel() for p in network.parameters())
        x = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            expected: Any = network.restore(x)  # type: ignore[operator]
            got = found.network.restore(x)  # type: ignore[operator]
        error = (got - expected).abs()
        assert error.mean() < 5e-3 if form == "half" else error.max() < 1e-6  # norms of tiny maps enlarge roundings
        if solver == "mprnet":  # one slope, as in the publication
            assert sum(p.numel() == 1 for p in found.network.parameters()) == 1

    @pytest.mark.parametrize("width", [32, 64])
    def test_published_widths_are_read_off_the_tensors(self, width: int) -> None:
        with torch.device("meta"):
            state = NAFNet(width).state_dict()
        assert NAFNet.arguments(state) == {
            "width": width,
            "channels": 3,
            "encoders": (1, 1, 1, 28),
            "middle": 1,
            "decoders": (1, 1, 1, 1),
        }

    def test_published_mprnet_is_read_off_the_tensors(self) -> None:
        expected = {"width": 96, "wider": 48, "last": 32, "blocks": 8, "reduction": 4, "channels": 3}
        assert MPRNet.arguments(on_meta(MPRNet).state_dict()) == expected

    def test_refused(self, tmp_path: Path) -> None:
        state = dict(tiny_trained("nafnet").state_dict())
        cases: list[tuple[str, dict[str, Tensor], str]] = [
            ("mprnet", state, "no fitting tensor 'shallow_feat1.0.weight'"),
            ("nafnet", {k: v for k, v in state.items() if k != "ending.bias"}, "'ending.bias' is missing"),
            ("nafnet", state | {"extra": torch.zeros(1)}, "'extra' is not of it"),
            ("nafnet", state | {"intro.bias": torch.zeros(9)}, r"has shape \(9,\) in place of \(4,\)"),
            ("nafnet", state | {"intro.bias": torch.full((4,), math.nan)}, "not finite"),
            ("nafnet", state | {"intro.weight": torch.zeros(4)}, "no fitting tensor 'intro.weight'"),
            ("nafnet", {"intro.weight": torch.zeros(0, 3, 3, 3)}, "weights hold no nafnet"),
        ]
        for name, given, message in cases:
            with pytest.raises(InputError, match=message):
                network_of(name, given)
        several = dict(tiny_trained("mprnet").state_dict())
        several["shallow_feat1.1.body.1.weight"] = torch.ones(1)
        with pytest.raises(InputError, match="different slopes"):
            network_of("mprnet", several)
        with pytest.raises(InputError, match="unknown network 'nafnets'"):
            restorer("nafnets", {})
        (tmp_path / "text.pth").write_text("no weights")
        torch.save({"params": [1, 2]}, tmp_path / "list.pth")
        torch.save(state, tmp_path / "cut.pth")
        (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:-500])
        for name in ("text.pth", "list.pth", "cut.pth", "none.pth"):
            with pytest.raises(InputError, match=name):
                load_trained("nafnet", tmp_path / name)
