from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import blinddps.provenance
from blinddps.core import InputError, PriorError
from blinddps.priors import folder as prior_folder
from blinddps.priors import load_prior, read_card, sample_prior
from blinddps.training import ImageData, KernelData, TrainConfig, train
from blinddps.training import loop as training_loop
from blinddps.training import tasks as training_tasks
from blinddps.training.checkpoint import load_checkpoint

# The victim is started, killed at random moments and resumed, three times over, then left to finish; beside it an
# unbroken run. Children are forked from a process that has only imported, which costs no second start of torch.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path

import diffusers.models.unets.unet_2d, diffusers.schedulers.scheduling_ddpm
from blinddps.training import TrainConfig, train

config, out = TrainConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2])

def start(folder):
    child = os.fork()
    if child == 0:
        train(config, folder, resume=(folder / "checkpoint.pt").exists(), progress=False)
        os._exit(0)
    return child

def age(path):
    return path.stat().st_mtime_ns if path.exists() else 0

assert os.waitpid(start(out / "unbroken"), 0)[1] == 0
kills = 0
for _ in range(3):
    before = age(out / "broken" / "checkpoint.pt")
    child, ended = start(out / "broken"), 0
    while not ended and age(out / "broken" / "checkpoint.pt") == before:
        time.sleep(0.002)
        ended = os.waitpid(child, os.WNOHANG)[0]
    assert not ended, "the victim ended before it was killed"
    time.sleep(random.uniform(0, 0.25))
    os.kill(child, signal.SIGKILL)
    kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
assert os.waitpid(start(out / "broken"), 0)[1] == 0
print("kills:", kills)
"""

SPREAD = """
import sys
from blinddps.training import TrainConfig, train

train(TrainConfig.model_validate_json(sys.argv[1]), sys.argv[2], resume="--resume" in sys.argv, progress=False)
"""


def weights(folder: Path, key: str = "network") -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_checkpoint(folder)[key]
    return tensors


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in ("seconds", "waited")} for line in lines]


def assert_same_run(a: Path, b: Path) -> None:
    """Weights, average and optimizer bit for bit, and the log save the seconds."""
    assert without_seconds(log(a)) == without_seconds(log(b))
    one, other = load_checkpoint(a), load_checkpoint(b)
    assert one["step"] == other["step"]
    for key in ("network", "average"):
        assert one[key].keys() == other[key].keys()
        for name in one[key]:
            assert torch.equal(one[key][name], other[key][name]), (key, name)
    for i, moments in one["optimizer"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, other["optimizer"]["state"][i][name]), (i, name)
    files = "unet/diffusion_pytorch_model.safetensors"
    assert (a / "prior" / files).read_bytes() == (b / "prior" / files).read_bytes()


class Scripted:
    """Kernel data that calls ``act`` before the batch of step ``step`` (counted from 1)."""

    def __init__(self, step: int, act: Callable[[], object], batch_size: int = 4) -> None:
        self.data, self.first, self.act = KernelData({"gaussian": 1.0}, 0), (step - 1) * batch_size, act

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        if items[0] == self.first:
            self.act()
        return self.data.batch(items, size)


class TestBroken:
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the victims are forked")
    def test_killed_and_resumed_equals_unbroken(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        # the log's windows straddle the saves, and sizes vary
        config = tiny(
            steps=40, log_every=7, save_every=3, sample_every=20, sizes=(8, 16), decay_steps=10, mixture={"motion": 1.0}
        )
        done = subprocess.run(
            [sys.executable, "-c", KILLED, config.model_dump_json(), str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "kills: 3" in done.stdout
        assert_same_run(tmp_path / "broken", tmp_path / "unbroken")
        assert [line["step"] for line in log(tmp_path / "broken")] == [7, 14, 21, 28, 35, 40]
        sheets = [(tmp_path / name / "samples" / "00000040.png").read_bytes() for name in ("broken", "unbroken")]
        assert sheets[0] == sheets[1]

    @pytest.mark.parametrize(("number", "dtype"), [(signal.SIGINT, "float32"), (signal.SIGTERM, "bfloat16")])
    def test_a_request_to_stop_ends_the_step_and_saves(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path, number: signal.Signals, dtype: str
    ) -> None:
        config = tiny(save_every=5, mixture={"gaussian": 1.0}, dtype=dtype)
        before = signal.getsignal(number)
        stop = Scripted(3, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped", progress=False, data=stop)
        assert signal.getsignal(number) is before
        assert load_checkpoint(tmp_path / "stopped")["step"] == 3
        train(config, tmp_path / "stopped", progress=False, resume=True)
        train(config, tmp_path / "unbroken", progress=False)
        assert_same_run(tmp_path / "stopped", tmp_path / "unbroken")

    def test_a_second_request_ends_at_once(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        def twice() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            train(tiny(save_every=2), tmp_path, progress=False, data=Scripted(4, twice))
        assert load_checkpoint(tmp_path)["step"] == 2

    def test_time_that_runs_out_saves(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        prior = train(tiny(save_every=5), tmp_path, progress=False, max_minutes=0)
        assert load_checkpoint(tmp_path)["step"] == 1
        assert read_card(prior).training["steps"] == 1
        train(tiny(save_every=5), tmp_path / "unbroken", progress=False)
        train(tiny(save_every=5), tmp_path, progress=False, resume=True)
        assert_same_run(tmp_path, tmp_path / "unbroken")

    def test_a_loss_that_is_not_finite_leaves_the_last_save(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path
    ) -> None:
        class Poisoned(KernelData):
            def batch(self, items: Sequence[int], size: int) -> Tensor:
                x0 = super().batch(items, size)
                return x0 * math.nan if items[0] >= 16 else x0  # from step 5 on

        # a save before the next line of the log must not store it
        config = tiny(save_every=2, log_every=100)
        with pytest.raises(InputError, match=r"gradient became nan at step 5 .*lower learning_rate \(0\.0004\)"):
            train(config, tmp_path, progress=False, data=Poisoned(config.mixture, 0))
        state = load_checkpoint(tmp_path)
        assert state["step"] == 4
        assert all(bool(value.isfinite().all()) for key in ("network", "average") for value in state[key].values())
        load_prior(tmp_path / "prior")

    def test_a_kill_between_checkpoint_and_prior_is_made_good(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*arguments: object) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(training_tasks, "write_prior", killed)
            with pytest.raises(RuntimeError, match="killed"):
                train(tiny(steps=3), tmp_path, progress=False)
        assert not (tmp_path / "prior").exists()
        assert read_card(train(tiny(steps=3), tmp_path, progress=False, resume=True)).training["steps"] == 3

    def test_a_run_that_died_before_its_first_save_leaves_no_lines(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path
    ) -> None:
        def fail() -> None:
            raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            train(tiny(save_every=100, log_every=1), tmp_path, progress=False, data=Scripted(4, fail))
        assert len(log(tmp_path)) == 3
        train(tiny(log_every=1), tmp_path, progress=False)
        assert [line["step"] for line in log(tmp_path)] == [1, 2, 3, 4, 5, 6]


class TestProcesses:
    def test_two_processes_equal_one(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        """Each begun by a torchrun of its own, as two machines do."""
        script = tmp_path / "spread.py"
        script.write_text(SPREAD)
        # the first step of each weight whose gradient is rounding alone is arbitrary in Adam: keep the rate low
        config = tiny(batch_size=8, steps=6, log_every=4, save_every=5, learning_rate=1e-4)
        for _ in range(3):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                meet = f"127.0.0.1:{free.getsockname()[1]}"
            command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
            command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", meet, str(script)]
            command += [config.model_dump_json(), str(tmp_path / "two")]
            both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in "ab"]
            try:
                said = [node.communicate(timeout=300)[1] for node in both]
            finally:
                for node in both:
                    node.kill()
            # seen once in about 60 runs on a busy machine: the C++ runtime aborts a process that is leaving
            if not any("terminate called without an active exception" in one for one in said):
                break
            shutil.rmtree(tmp_path / "two", ignore_errors=True)
        assert [node.returncode for node in both] == [0, 0], said
        train(config, tmp_path / "one", progress=False)
        for ours, theirs in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
            assert ours["step"] == theirs["step"]
            assert ours["samples"] == theirs["samples"]
            for key in ("loss", "grad_norm", "lr", "loss_by_noise_quartile", "sigma_quartiles"):
                assert ours[key] == pytest.approx(theirs[key], rel=1e-4), key
        one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
        start = weights_at_start(config)
        moved = sum(float((one[key] - start[key]).square().sum()) for key in one) ** 0.5
        apart = sum(float((one[key] - two[key]).square().sum()) for key in one) ** 0.5
        assert apart < 1e-3 * moved
        environment = json.loads((tmp_path / "two" / "environment.json").read_text())
        assert environment["processes"] == 2
        # and one process goes on with what two have left
        longer = config.model_copy(update={"steps": 8})
        train(longer, tmp_path / "two", progress=False, resume=True)
        assert log(tmp_path / "two")[-1]["step"] == 8

    def test_a_batch_that_does_not_split(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from contextlib import nullcontext

        from blinddps.training.processes import Processes

        monkeypatch.setattr(training_loop, "join_processes", lambda device: nullcontext(Processes(0, 3, device)))
        with pytest.raises(InputError, match="batch_size 4 does not split over 3 processes"):
            train(tiny(), tmp_path, progress=False)


def weights_at_start(config: TrainConfig) -> dict[str, Tensor]:
    from blinddps.training.optimisation import Optimisation

    return Optimisation(config).average


class TestFolders:
    def test_a_folder_that_holds_a_run(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        train(tiny(steps=1), tmp_path, progress=False)
        with pytest.raises(InputError, match=re.escape(f"'{tmp_path}' already holds a training run; continue it with")):
            train(tiny(steps=1), tmp_path, progress=False)

    def test_a_file_in_the_way(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="a file is in the way"):
            train(tiny(steps=1), tmp_path / "file", progress=False)

    def test_nothing_to_resume(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"has no checkpoint\.pt to resume from"):
            train(tiny(), tmp_path / "none", progress=False, resume=True)
        assert not (tmp_path / "none").exists()

    def test_data_that_cannot_be_read_leave_no_folder(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        config = tiny(unknown="image", channels=3, data=(str(tmp_path / "missing"),))
        with pytest.raises(InputError, match="do not exist"):
            train(config, tmp_path / "run", progress=False)
        assert not (tmp_path / "run").exists()

    def test_a_resume_with_other_settings_names_the_setting(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path
    ) -> None:
        train(tiny(steps=2), tmp_path, progress=False)
        others: list[tuple[dict[str, Any], str]] = [
            ({"learning_rate": 0.1}, "the run was started with learning_rate = 0.0004, now it is 0.1"),
            ({"seed": 1}, "the run was started with seed = 0, now it is 1"),
            (
                {"network": {"channels": (8, 16), "head_dim": 8, "groups": 8}},
                "the run was started with network.groups = 4, now it is 8",
            ),
        ]
        kept = (tmp_path / "log.jsonl").read_bytes(), (tmp_path / "config.json").read_bytes()
        for settings, sentence in others:
            with pytest.raises(InputError, match=re.escape(sentence)):
                train(tiny(steps=2, **settings), tmp_path, progress=False, resume=True)
        assert ((tmp_path / "log.jsonl").read_bytes(), (tmp_path / "config.json").read_bytes()) == kept
        longer = tiny(steps=3, decay_steps=2, save_every=1, licence="CC0-1.0")
        assert read_card(train(longer, tmp_path, progress=False, resume=True)).licence == "CC0-1.0"
        assert load_checkpoint(tmp_path)["step"] == 3

    def test_a_setting_of_another_version(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        train(tiny(steps=1), tmp_path, progress=False)
        state = load_checkpoint(tmp_path)
        state["config"] = json.dumps(json.loads(state["config"]) | {"novelty": 1})
        torch.save(state, tmp_path / "checkpoint.pt")
        with pytest.raises(InputError, match="the run's setting 'novelty' is not known here"):
            train(tiny(steps=1), tmp_path, progress=False, resume=True)

    def test_a_damaged_checkpoint(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        train(tiny(steps=1), tmp_path, progress=False)
        whole = (tmp_path / "checkpoint.pt").read_bytes()
        (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=r"checkpoint\.pt' cannot be read .* restore it from a copy or start anew"):
            train(tiny(steps=1), tmp_path, progress=False, resume=True)

    def test_a_checkpoint_of_the_first_version(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        """It has no window and its configuration no ``tensorboard``; its environment does not say where it began."""
        config = tiny(save_every=2)
        train(config, tmp_path / "unbroken", progress=False)
        train(config.model_copy(update={"steps": 4}), tmp_path / "old", progress=False)
        state = load_checkpoint(tmp_path / "old")
        del state["window"]
        state["config"] = config.model_dump_json(exclude={"tensorboard"})
        torch.save(state, tmp_path / "old" / "checkpoint.pt")
        environment = json.loads((tmp_path / "old" / "environment.json").read_text())
        del environment["from_step"], environment["earlier"]
        (tmp_path / "old" / "environment.json").write_text(json.dumps(environment))
        train(config, tmp_path / "old", progress=False, resume=True)
        assert_same_run(tmp_path / "old", tmp_path / "unbroken")


class TestPrior:
    def test_a_run_learns(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        pictures = [torch.full((1, 8, 8), level, dtype=torch.uint8) for level in (0, 255)]
        config = tiny(
            unknown="image",
            data=("black and white",),
            steps=80,
            batch_size=16,
            learning_rate=1e-2,
            ema=0.9,
            decay_steps=40,
            log_every=10,
            save_every=200,
            # levels at which 64 pixels tell black from white for certain, so that the least loss is zero
            p_mean=-0.5,
            p_std=0.5,
            uniform_share=0.0,
        )
        prior = load_prior(train(config, tmp_path, progress=False, data=ImageData(pictures, seed=0, channels=1)))
        lines = log(tmp_path)
        assert lines[0]["loss"] > 0.4
        assert lines[-1]["loss"] < 0.1
        x0 = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)
        noisy = x0 + 0.6 * torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
        x0_hat = prior(noisy, torch.full((2,), 0.6))
        assert (x0_hat - x0).square().mean().sqrt() < 0.2  # the noise: 0.6

    def test_the_prior_is_a_diffusers_pipeline(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        from diffusers import DDPMPipeline

        folder = train(tiny(steps=2, sizes=(8, 16), size_weights=(1, 3)), tmp_path, progress=False)
        pipeline = DDPMPipeline.from_pretrained(folder, use_safetensors=True)
        assert pipeline.scheduler.config.prediction_type == "v_prediction"
        pictures = pipeline(batch_size=1, num_inference_steps=2, output_type="np").images
        assert pictures.shape == (1, 16, 16, 1)  # the most frequent size
        assert np.isfinite(pictures).all()

    def test_the_prior_is_the_average_with_a_true_card(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path, pictures: Path
    ) -> None:
        config = tiny(
            unknown="image",
            channels=3,
            data=(str(pictures),),
            sizes=(16,),
            random_scale=0.5,
            grey_share=0.5,
            any_size=True,
            network={"channels": (8, 16), "head_dim": 8, "groups": 4, "pixel_unshuffle": 2},
            licence="CC0-1.0",
        )
        folder = train(config, tmp_path / "run", progress=False)
        prior = load_prior(folder)
        average = weights(tmp_path / "run", "average")
        assert all(torch.equal(v, average[k].half().float()) for k, v in prior.network.state_dict().items())
        card = prior.card
        assert (card.name, card.unknown, card.channels, card.licence) == ("tiny", "image", 3, "CC0-1.0")
        assert (card.sizes, card.any_size, card.size_multiple, card.pixel_unshuffle) == ((16,), True, 4, 2)
        assert card.grey == "replicate"
        training = card.training
        assert (training["steps"], training["samples"]) == (6, 24)
        assert training["parameters"] == sum(p.numel() for p in prior.network.parameters())
        assert training["environment"]["commit"] == blinddps.provenance.commit()
        assert TrainConfig(**training["config"]) == config
        assert sample_prior(prior, 1, 16, num_steps=2).shape == (1, 3, 16, 16)
        text = (folder / "README.md").read_text()
        assert "6 steps, 24 samples, 0 minutes on cpu" in text
        assert f"seed 0, commit {blinddps.provenance.commit()}" in text
        assert "data: pictures; licence: CC0-1.0" in text
        loss = log(tmp_path / "run")[-1]["loss"]
        assert f"| 6 | {loss:.4f} |" in text

    def test_the_card_names_the_sessions_that_made_the_steps(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def session(name: str, **settings: Any) -> str:
            monkeypatch.setattr(training_loop, "environment", lambda *_: environment | {"commit": name})
            folder = train(tiny(save_every=2), tmp_path, progress=False, max_minutes=0, **settings)
            return (folder / "README.md").read_text()

        environment = blinddps.provenance.environment()
        assert "commit aaa\n" in session("aaa")
        assert "commit aaa from step 0, bbb from step 1\n" in session("bbb", resume=True)

        def fail() -> None:
            raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            session("ccc", resume=True, data=Scripted(3, fail))
        assert "commit aaa from step 0, bbb from step 1, ddd from step 2\n" in session("ddd", resume=True)

    def test_a_card_written_by_hand_stays(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        folder = train(tiny(steps=2), tmp_path, progress=False)
        (folder / "README.md").write_text("# by hand\n")
        train(tiny(steps=4), tmp_path, progress=False, resume=True)
        assert (folder / "README.md").read_text() == "# by hand\n"

    def test_samples_are_drawn_as_a_sheet(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        train(tiny(steps=4, sample_every=3, save_every=10), tmp_path, progress=False)
        assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["00000003.png", "00000004.png"]
        with Image.open(tmp_path / "samples" / "00000004.png") as sheet:
            assert sheet.width > 8 * 8  # eight kernels of 8 px side by side
            assert sheet.height > 2 * 8

    def test_a_run_begins_with_the_weights_of_a_shipped_prior(
        self, tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = train(tiny(steps=4), tmp_path / "first", progress=False)
        monkeypatch.setattr(prior_folder, "shipped_priors", lambda: {"kernel": first})
        # a rate of nearly nothing: what is trained is what it began with
        config = tiny(steps=1, learning_rate=1e-12, seed=3)
        train(config, tmp_path / "second", progress=False, start_from="kernel")
        theirs = load_prior(first).network.state_dict()
        assert all(torch.allclose(v, theirs[k], atol=1e-9) for k, v in weights(tmp_path / "second").items())
        with pytest.raises(PriorError, match="unknown prior 'kernal'; did you mean 'kernel'"):
            train(config, tmp_path / "third", progress=False, start_from="kernal")
        other = tiny(network={"kind": "residual", "channels": (8, 16)})
        with pytest.raises(InputError, match="has class = UNet2DModel, the configuration ResidualUNet"):
            train(other, tmp_path / "third", progress=False, start_from="kernel")
