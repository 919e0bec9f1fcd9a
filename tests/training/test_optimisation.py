from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from blinddps.core import InputError, PriorError
from blinddps.priors import folder as prior_folder
from blinddps.priors import save_prior
from blinddps.training import KernelData, TrainConfig
from blinddps.training.export import as_prior
from blinddps.training.optimisation import Optimisation, learning_rate, size_of_step, update_average


def test_the_rate_rises_stays_and_falls(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny(steps=100, warmup=10, decay_steps=20, learning_rate=0.01)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.001 * (i + 1) for i in range(10)])
    assert rates[10:80] == [0.01] * 70
    assert rates[80:] == pytest.approx([0.01 * (100 - i) / 20 for i in range(80, 101)])
    assert learning_rate(tiny(steps=100, warmup=10), 99) == tiny().learning_rate  # no decay unless asked for


def test_the_decay_starts_where_the_steps_say_now(tiny: Callable[..., TrainConfig]) -> None:
    # a run of 100 steps that is resumed for 200 decays in the new last steps
    assert learning_rate(tiny(steps=200, decay_steps=20), 95) == tiny().learning_rate


def test_sizes_are_drawn_with_their_weights(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny(sizes=(8, 12, 16), size_weights=(0.5, 0.0, 1.5))
    drawn = [size_of_step(config, step) for step in range(400)]
    assert drawn == [size_of_step(config, step) for step in range(400)]
    assert drawn.count(12) == 0
    assert drawn.count(16) / 400 == pytest.approx(0.75, abs=0.09)
    assert drawn != [size_of_step(tiny(sizes=(8, 12, 16), size_weights=(0.5, 0, 1.5), seed=1), s) for s in range(400)]


def test_the_average_is_exponential() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    average = {"weight": torch.tensor([[0.0]])}
    for value in (1.0, 2.0, 3.0):
        torch.nn.init.constant_(network.weight, value)
        update_average(average, network, 0.9)
    assert float(average["weight"]) == pytest.approx(0.1 * (0.81 * 1 + 0.9 * 2 + 3))


def test_the_average_follows_the_weights_with_a_rising_decay(tiny: Callable[..., TrainConfig]) -> None:
    run = Optimisation(tiny(ema=0.25))
    key = "conv_in.weight"
    expected = run.network.state_dict()[key].clone()
    data = KernelData(tiny().mixture, 0)
    for step, decay in ((1, 2 / 11), (2, 0.25), (3, 0.25)):  # (1 + step) / (10 + step), at most ema
        run.advance(run.draws(run.config, data.batch(range(4), 8), range(4)))
        expected = decay * expected + (1 - decay) * run.network.state_dict()[key]
        assert run.step == step
        assert torch.allclose(run.average[key], expected, atol=1e-7)
    assert not torch.allclose(run.average[key], run.network.state_dict()[key], atol=1e-7)


def test_a_step_is_clipped_adam(tiny: Callable[..., TrainConfig]) -> None:
    """The first step of Adam moves each weight by the rate, against its gradient's sign."""
    run = Optimisation(tiny(learning_rate=1e-3, warmup=4))
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    rows, rate, norm = run.advance(run.draws(run.config, KernelData(tiny().mixture, 0).batch(range(4), 8), range(4)))
    assert rate == pytest.approx(1e-3 / 4)
    assert rows.shape == (2, 4)
    assert norm > 0
    for name, p in run.network.named_parameters():
        gradient = p.grad
        assert gradient is not None
        clear = gradient.abs() > 1e-4  # far above Adam's epsilon
        step = (p.detach() - before[name])[clear]
        assert torch.allclose(step, -rate * gradient[clear].sign(), rtol=1e-2), name
    total = sum(float(p.grad.square().sum()) for p in run.network.parameters() if p.grad is not None) ** 0.5
    assert total <= 1 + 1e-4


def test_parts_of_a_batch_make_its_step(tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blinddps.training.optimisation.COMPILER", "eager")  # traced, without a minute of C++
    data, seen = KernelData(tiny().mixture, 0), []
    for settings in ({}, {"accumulate": 2}, {"compile": True}):
        run = Optimisation(tiny(**settings))
        run.network.register_forward_hook(lambda module, x, y: seen.append(len(x[0])))
        told = run.advance(run.draws(run.config, data.batch(range(4), 8), range(4)))
        if not settings:
            rows, rate, norm = told
            moved = {key: value.clone() for key, value in run.network.state_dict().items()}
        assert torch.allclose(told[0], rows, atol=1e-5)
        assert told[1:] == (rate, pytest.approx(norm, rel=1e-4))
        # Adam's first step is the gradient's sign, so where that is nearly zero any step is right
        apart = [(value - moved[key]).abs() < 1e-6 for key, value in run.network.state_dict().items()]
        assert float(torch.cat([a.flatten() for a in apart]).float().mean()) > 0.98
    assert seen[:3] == [4, 2, 2]


def test_weights_survive_a_gradient_that_is_not_finite(tiny: Callable[..., TrainConfig]) -> None:
    run = Optimisation(tiny(learning_rate=0.5))
    before = {key: value.clone() for key, value in run.network.state_dict().items()}
    with pytest.raises(InputError, match=r"gradient became nan at step 1 \(loss nan\); lower learning_rate \(0\.5\)"):
        run.advance(run.draws(run.config, torch.full((4, 1, 8, 8), float("nan")), range(4)))
    assert run.step == 0
    assert all(torch.equal(before[key], value) for key, value in run.network.state_dict().items())
    assert all(torch.equal(before[key], value) for key, value in run.average.items())


class TestStartFrom:
    @pytest.fixture
    def prior(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> Path:
        config = tiny(seed=9)
        return save_prior(as_prior(config, Optimisation(config).average), tmp_path / "prior")

    def test_weights_and_average_are_the_prior_s(self, tiny: Callable[..., TrainConfig], prior: Path) -> None:
        run = Optimisation(tiny(seed=0))
        run.start_from(prior)
        theirs = Optimisation(tiny(seed=9)).network.state_dict()
        for key, value in run.network.state_dict().items():
            assert torch.equal(value, theirs[key].half().float())  # priors are stored in float16
            assert torch.equal(value, run.average[key])

    def test_weights_of_other_values_are_a_start(self, tiny: Callable[..., TrainConfig], prior: Path) -> None:
        run = Optimisation(tiny(seed=0, data_mean=-0.8, data_std=0.4))
        with pytest.warns(UserWarning, match=r"data_mean, data_std = \(0.0, 1.0\), the configuration of \(-0.8, 0.4\)"):
            run.start_from(prior)
        assert torch.equal(run.average["conv_in.weight"], Optimisation(tiny(seed=9)).average["conv_in.weight"].half())

    def test_a_shipped_prior_by_name(
        self, tiny: Callable[..., TrainConfig], prior: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prior_folder, "shipped_priors", lambda: {"kernel": prior})
        run = Optimisation(tiny(seed=0))
        run.start_from("kernel")
        assert torch.equal(run.average["conv_in.weight"], Optimisation(tiny(seed=9)).average["conv_in.weight"].half())

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"network": {"channels": (8, 24), "head_dim": 8, "groups": 4}}, "block_out_channels = "),
            ({"network": {"channels": (8, 16), "head_dim": 4, "groups": 4}}, "attention_head_dim = 8"),
            ({"network": {"channels": (8, 16), "head_dim": 8, "groups": 8}}, "norm_num_groups = 4"),
            ({"prediction": "epsilon"}, "prediction = v_prediction, the configuration epsilon"),
        ],
    )
    def test_another_network_is_refused(
        self, tiny: Callable[..., TrainConfig], prior: Path, settings: dict[str, object], sentence: str
    ) -> None:
        with pytest.raises(InputError, match=sentence):
            Optimisation(tiny(**settings)).start_from(prior)

    def test_a_prior_that_does_not_exist(self, tiny: Callable[..., TrainConfig]) -> None:
        with pytest.raises(PriorError, match="unknown prior 'nowhere'"):
            Optimisation(tiny()).start_from("nowhere")
