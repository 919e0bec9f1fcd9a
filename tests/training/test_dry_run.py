from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from blinddps.core import InputError
from blinddps.training import TrainConfig, dry_run
from blinddps.training.network import build_network


def test_it_tells_the_cost_and_writes_nothing(
    tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny(sizes=(8, 16), size_weights=(0.25, 0.75), steps=7200)
    plan = dry_run(config)
    assert os.listdir(tmp_path) == []
    network = build_network(config.network, 1, 8)
    assert plan["parameters"] == sum(p.numel() for p in network.parameters())
    assert plan["pictures"] is None
    # the convolutions, whose share is the pixels', are most of it; attention and the time embedding are the rest
    assert 3 < plan["gflop_per_sample"][16] / plan["gflop_per_sample"][8] < 5
    seconds = plan["seconds_per_step"]
    assert plan["seconds_per_step_mean"] == pytest.approx(0.25 * seconds[8] + 0.75 * seconds[16])
    assert plan["seconds_per_batch"] > 0
    assert plan["estimated_hours"] == pytest.approx(2 * (plan["seconds_per_step_mean"] + plan["seconds_per_batch"]))
    assert 0.1 < plan["peak_memory_gib"] < 32  # torch alone takes 0.2
    assert 0.1 < plan["loss"] < 10


def test_operations_of_a_forward_pass_are_counted(tiny: Callable[..., TrainConfig]) -> None:
    """Against the count by hand of every layer with weights, and of attention."""
    import torch

    config = tiny(sizes=(16,))
    network = build_network(config.network, 1, 16)
    total = 0

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        total += 2 * weight[0].numel() * output.numel()  # multiplications and additions for each output

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    network(torch.zeros(1, 1, 16, 16), torch.zeros(1))
    attentions = sum(name.endswith("to_q") for name, _ in network.named_modules())
    total += attentions * 2 * 2 * 64**2 * 16  # q k^T and the weighted sum of v: 64 places, 16 channels
    assert dry_run(config)["gflop_per_sample"][16] == pytest.approx(total / 1e9, rel=1e-6)


def test_pictures_are_counted_and_damage_is_told(tiny: Callable[..., TrainConfig], pictures: Path) -> None:
    config = tiny(unknown="image", channels=3, data=(str(pictures),))
    assert dry_run(config)["pictures"] == 5
    (pictures / "a.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"a\.png' cannot be used"):
        dry_run(config)
