"""LPIPS with seeded random weights, saved to files and loaded as a user's would be, against its formula.

Once, by hand: equal to ``lpips`` 0.1.4 with the same random weights, both networks, to the last bit.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core.errors import InputError
from blinddps.metrics import Lpips, load_lpips

SHIFT, SCALE = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])


def backbone(network: str) -> dict[str, Tensor]:
    """Random weights under torchvision's names, of variance 2 / fan-in so that nothing fades with depth."""
    g = torch.Generator().manual_seed(0)
    state = {}
    for name, value in Lpips(network).state_dict().items():
        if name.startswith("features"):
            scale = (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.1
            state[name] = scale * torch.randn(value.shape, generator=g)
    return state


def pair(channels: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.rand(2, 2, channels, 40, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return x[0], x[1]


def by_hand(state: dict[str, Tensor], linear: list[Tensor], x: Tensor) -> list[Tensor]:
    """Unit features of AlexNet."""
    f = (x - SHIFT.view(1, 3, 1, 1)) / SCALE.view(1, 3, 1, 1)
    taps = []
    for i, (stride, pad) in {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}.items():
        f = F.max_pool2d(f, 3, 2) if i in (3, 6) else f
        f = F.relu(F.conv2d(f, state[f"features.{i}.weight"], state[f"features.{i}.bias"], stride, pad))
        taps.append(f / (f.norm(dim=1, keepdim=True) + 1e-10))
    return taps


def test_the_formula_and_both_layouts(tmp_path: Path) -> None:
    state = backbone("alex")
    torch.save(state, tmp_path / "alexnet.pth")
    g = torch.Generator().manual_seed(2)
    linear = [torch.rand(1, c, 1, 1, generator=g) for c in (64, 192, 384, 256, 256)]
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    whole = {f"net.slice{slices[int(k.split('.')[1])]}.{k.removeprefix('features.')}": v for k, v in state.items()}
    whole |= {f"lins.{i}.model.1.weight": v for i, v in enumerate(linear)}
    torch.save(whole, tmp_path / "whole.pth")
    torch.save({f"lin{i}.model.1.weight": v for i, v in enumerate(linear)}, tmp_path / "linear.pth")
    x, y = pair()
    expected = sum(
        ((a - b).square() * w).sum(1).mean((1, 2))
        for a, b, w in zip(by_hand(state, linear, x), by_hand(state, linear, y), linear, strict=True)
    )
    for files in (("whole.pth",), ("alexnet.pth", "linear.pth")):
        metric, read = load_lpips("alex", *(tmp_path / name for name in files))
        torch.testing.assert_close(metric(x, y), expected, rtol=1e-5, atol=0)
        assert [f.name for f in read] == list(files)
        assert not any(f.published for f in read)  # random weights are never taken for the published ones


def test_vgg_has_its_size_and_its_properties(tmp_path: Path) -> None:
    assert sum(v.numel() for v in backbone("vgg").values()) == 14_714_688  # VGG-16's convolutions
    assert sum(v.numel() for v in backbone("alex").values()) == 2_469_696  # AlexNet's
    torch.save(backbone("vgg"), tmp_path / "vgg16.pth")
    metric, (given, linear) = load_lpips("vgg", tmp_path / "vgg16.pth")
    assert (given.published, linear.published, linear.name) == (False, True, "vgg.pth")  # torchmetrics' copy
    x, y = pair()
    d = metric(x, y)
    assert bool((d > 0).all())
    assert torch.equal(metric(x, x), torch.zeros(2))
    torch.testing.assert_close(metric(y, x), d)
    torch.testing.assert_close(metric(x[1:], y[1:]), d[1:], rtol=1e-4, atol=1e-7)
    grey, other = pair(1)
    torch.testing.assert_close(metric(grey, other), metric(grey.repeat(1, 3, 1, 1), other.repeat(1, 3, 1, 1)))


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown network of LPIPS 'vg'; did you mean 'vgg'"):
        Lpips("vg")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot read weights"):
        load_lpips("vgg", tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="cannot be read"):
        load_lpips("vgg", tmp_path / "text.pth")
    torch.save(backbone("alex"), tmp_path / "alex.pth")
    with pytest.raises(InputError, match=r"features\.0\.weight' of shape \(64, 3, 11, 11\), LPIPS \(vgg\) needs"):
        load_lpips("vgg", tmp_path / "alex.pth")
    torch.save({name: v * torch.nan for name, v in backbone("alex").items()}, tmp_path / "nan.pth")
    with pytest.raises(InputError, match=r"have values in 'features\.0\.weight' that are not finite"):
        load_lpips("alex", tmp_path / "nan.pth")
    with pytest.raises(InputError, match="at least 32 x 32"):
        Lpips("alex")(torch.zeros(1, 3, 31, 40), torch.zeros(1, 3, 31, 40))
