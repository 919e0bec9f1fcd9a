"""Priors on disk: round trip, folders made by others, and every way a folder can be wrong."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from blinddps.core import NoiseSchedule, PriorError, linear_schedule
from blinddps.priors import DiffusionPrior, find_prior, load_prior, read_card, save_prior, scheduler, shipped_priors

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(make_prior: Callable[..., DiffusionPrior], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_prior(make_prior(), tmp_path_factory.mktemp("saved") / "tiny")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


def edit(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file; ``None`` removes one."""
    value = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}))


def outputs(prior: DiffusionPrior) -> torch.Tensor:
    x = torch.randn(2, prior.card.channels, 16, 16, generator=torch.Generator().manual_seed(0))
    return prior(x, torch.tensor([0.3, 5.0]))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(("half", "tolerance"), [(True, 5e-3), (False, 1e-6)])
@torch.no_grad()
def test_round_trip(
    make_prior: Callable[..., DiffusionPrior], tmp_path: Path, prediction: str, half: bool, tolerance: float
) -> None:
    prior = make_prior(prediction=prediction, attention=True)
    loaded = load_prior(save_prior(prior, tmp_path / "deeper" / "tiny", half=half))
    assert loaded.card == prior.card
    assert loaded.prediction == prediction
    assert torch.allclose(loaded.schedule.alpha_bar, prior.schedule.alpha_bar, rtol=1e-9)
    assert torch.allclose(outputs(loaded), outputs(prior), rtol=0, atol=5 * tolerance)
    assert not any(p.requires_grad for p in loaded.network.parameters())
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    assert not loaded.network.training
    stored = load_file(tmp_path / "deeper" / "tiny" / WEIGHTS)
    assert {v.dtype for v in stored.values()} == {torch.float16 if half else torch.float32}


@torch.no_grad()
def test_round_trip_of_a_network_of_normalised_values(
    make_prior: Callable[..., DiffusionPrior], tmp_path: Path
) -> None:
    prior = make_prior()
    card = prior.card.model_copy(update={"data_mean": -0.8, "data_std": 0.25})
    prior = replace(prior, card=card, schedule=prior.schedule.scaled(0.25))
    loaded = load_prior(save_prior(prior, tmp_path / "tiny", half=False))
    assert loaded.card == card
    assert torch.allclose(loaded.schedule.sigmas, prior.schedule.sigmas, rtol=1e-9)
    assert torch.allclose(outputs(loaded), outputs(prior), atol=1e-5)
    scheduler = DDPMPipeline.from_pretrained(tmp_path / "tiny").scheduler  # of the network's own, unit, values
    assert torch.allclose(scheduler.alphas_cumprod.double(), linear_schedule().alpha_bar, rtol=1e-4)


def test_a_learned_variance_of_normalised_values_is_refused(
    make_prior: Callable[..., DiffusionPrior], tmp_path: Path
) -> None:
    folder = save_prior(make_prior(out_channels=6), tmp_path / "tiny")
    edit(folder / "blinddps.json", data_std=0.5)
    with pytest.raises(PriorError, match=r"has a learned variance and data_std 0\.5, whose bounds would not fit"):
        load_prior(folder)


@torch.no_grad()
def test_round_trip_with_learned_variance_unshuffling_and_another_schedule(
    make_prior: Callable[..., DiffusionPrior], tmp_path: Path
) -> None:
    cosine = NoiseSchedule(DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.double())
    made = make_prior(unshuffle=2, out_channels=24)
    prior = DiffusionPrior(made.network, cosine, "v_prediction", made.card)
    loaded = load_prior(save_prior(prior, tmp_path / "tiny", half=False))
    assert torch.allclose(loaded.schedule.sigmas, cosine.sigmas, rtol=1e-4)
    assert torch.allclose(outputs(loaded), outputs(prior), rtol=0, atol=1e-3)
    assert loaded.denoise_with_variance(torch.zeros(1, 3, 8, 8), torch.ones(1))[1] is not None


@pytest.mark.parametrize("residual", [False, True])
@torch.no_grad()
def test_diffusers_loads_it(make_prior: Callable[..., DiffusionPrior], tmp_path: Path, residual: bool) -> None:
    saved = save_prior(make_prior(residual=residual), tmp_path / "tiny")
    pipeline = DDPMPipeline.from_pretrained(saved, local_files_only=True)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    x_t, t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), 300
    pipeline.scheduler.register_to_config(clip_sample=False)
    theirs = pipeline.scheduler.step(pipeline.unet(x_t, t).sample, t, x_t).pred_original_sample
    prior = load_prior(saved)
    assert type(prior.network) is type(pipeline.unet)
    ours = prior(x_t / prior.schedule.alpha_bar[t].sqrt().float(), prior.schedule.sigmas[t][None])
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-3)


def test_others_may_read_it_and_nothing_is_left_behind(
    make_prior: Callable[..., DiffusionPrior], tmp_path: Path
) -> None:
    mask = os.umask(0o022)
    try:
        folder = save_prior(make_prior(), tmp_path / "tiny")
    finally:
        os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o444 == 0o444, path
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


@torch.no_grad()
def test_saving_again_replaces_the_weights_and_keeps_what_is_not_its_own(
    make_prior: Callable[..., DiffusionPrior], folder: Path
) -> None:
    (folder / "README.md").write_text("card")
    other = make_prior(seed=1)
    save_prior(other, folder, half=False)
    assert torch.allclose(outputs(load_prior(folder)), outputs(other), atol=1e-6)
    assert (folder / "README.md").read_text() == "card"
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_failed_save_leaves_the_old_prior(
    make_prior: Callable[..., DiffusionPrior], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / WEIGHTS).read_bytes()

    def fails(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(UNet2DModel, "save_config", fails)
    with pytest.raises(OSError, match="No space left"):
        save_prior(make_prior(seed=1), folder)
    assert (folder / WEIGHTS).read_bytes() == before
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_failed_rename_puts_the_old_prior_back(
    make_prior: Callable[..., DiffusionPrior], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = (folder / WEIGHTS).read_bytes(), Path.rename

    def fails(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith("-old"):
            raise OSError("Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="Input/output"):
        save_prior(make_prior(seed=1), folder)
    assert (folder / WEIGHTS).read_bytes() == before
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_every_shipped_prior_loads() -> None:
    assert "kernel" in shipped_priors()
    for name in shipped_priors():
        prior = load_prior(name)
        assert prior.card == read_card(name)
        assert prior.card.licence != "unknown"


@torch.no_grad()
def test_a_foreign_folder(make_network: Callable[..., UNet2DModel], tmp_path: Path) -> None:
    """As diffusers saves it: an image prior of its own channels and size."""
    network = make_network(3)
    DDPMPipeline(network, DDPMScheduler()).save_pretrained(tmp_path / "cats")
    prior = load_prior(tmp_path / "cats")
    card = prior.card
    assert (card.name, card.unknown, card.channels, card.sizes) == ("cats", "image", 3, (16,))
    assert (card.any_size, card.size_multiple, card.licence) == (False, 2, "unknown")
    same = DiffusionPrior(network, linear_schedule(), "epsilon", card)
    assert torch.allclose(outputs(prior), outputs(same), rtol=0, atol=1e-5)


@torch.no_grad()
def test_names_of_attention_weights_before_diffusers_0_14(
    make_prior: Callable[..., DiffusionPrior], tmp_path: Path
) -> None:
    prior = make_prior(attention=True)
    folder = save_prior(prior, tmp_path / "tiny", half=False)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(folder / WEIGHTS)
    for new, before in old.items():
        state = {k.replace(f".{new}.", f".{before}."): v for k, v in state.items()}
    assert any(".proj_attn." in k for k in state)
    save_file(state, folder / WEIGHTS)
    assert torch.allclose(outputs(load_prior(folder)), outputs(prior), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        DPMSolverMultistepScheduler(beta_schedule="squaredcos_cap_v2"),
        DDPMScheduler(num_train_timesteps=50, beta_start=0.002, beta_end=0.3),
        DDIMScheduler(num_train_timesteps=3, trained_betas=[0.1, 0.2, 0.4]),
    ],
    ids=["ddim-scaled_linear", "dpm-cosine", "ddpm-50", "ddim-trained_betas"],
)
def test_schedulers_of_other_kinds(folder: Path, scheduler: Any) -> None:
    scheduler.register_to_config(prediction_type="sample")
    scheduler.save_pretrained(folder / "scheduler")
    prior = load_prior(folder)
    assert prior.prediction == "sample"
    assert torch.allclose(prior.schedule.alpha_bar.float(), scheduler.alphas_cumprod, rtol=2e-3, atol=0)
    assert float((prior.schedule.alpha_bar - scheduler.alphas_cumprod).abs().max()) < 1e-6


def refuses(name: str | Path) -> str:
    """The one sentence that ``load_prior`` refuses with."""
    with pytest.raises(PriorError) as caught:
        load_prior(name)
    message = str(caught.value)
    assert "\n" not in message
    assert ". " not in message
    return message


def test_a_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    assert refuses(path).startswith(f"prior folder '{path}' does not exist; check the path, or give one of faces-128, ")


@pytest.mark.parametrize("name", ["a" * 5000, "\ud800", "~nobody-here", "x\0y"])
def test_names_that_no_folder_can_have(name: str) -> None:
    assert " does not exist; check the path, or give one of faces-128, " in refuses(Path(name))


def test_a_misspelt_name() -> None:
    assert refuses("kernal").startswith("unknown prior 'kernal'; did you mean 'kernel'? (known: ")


def test_a_shipped_name_comes_before_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernel").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_prior("kernel") == shipped_priors()["kernel"]
    assert find_prior("./kernel") == Path("kernel")
    for path in ("./priors/foto", "./photo", "~nobody/photo", "/nowhere/photos", Path("phots"), ""):
        with pytest.raises(
            PriorError, match=r"^prior folder '.*' does not exist; check the path, or give one of faces-128"
        ):
            find_prior(path)


class Canary:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_named_and_not_loaded(folder: Path) -> None:
    canary = folder / "canary"
    (folder / "prior.pt").write_bytes(pickle.dumps(Canary(canary)))
    assert "prior.pt' is a file; give a diffusers pipeline folder" in refuses(folder / "prior.pt")
    (folder / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Canary(canary)))
    message = refuses(folder)
    assert message.startswith(f"prior network '{folder / 'unet'}' has no diffusion_pytorch_model.safetensors")
    assert "found diffusion_pytorch_model.bin, a pickle, which is not loaded: convert it to safetensors" in message
    assert not canary.exists()
    pickle.loads((folder / "prior.pt").read_bytes())
    assert canary.exists()  # it would have shown


def test_no_weights_at_all(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert (
        refuses(folder)
        == f"prior network '{folder / 'unet'}' has no diffusion_pytorch_model.safetensors; get the folder again"
    )


def test_only_the_file_that_counts_is_read(make_prior: Callable[..., DiffusionPrior], folder: Path) -> None:
    before = outputs(load_prior(folder))
    other = save_prior(make_prior(seed=1), folder.parent / "other") / WEIGHTS
    for stray in ("diffusion_pytorch_model_old", "a", "diffusion_pytorch_model.fp16", "zz"):
        shutil.copy(other, folder / "unet" / f"{stray}.safetensors")
    assert torch.equal(outputs(load_prior(folder)), before)
    (folder / WEIGHTS).unlink()
    assert "has no diffusion_pytorch_model.safetensors (found a.safetensors, rename it if it is meant)" in refuses(
        folder
    )


def in_shards(folder: Path, places: Callable[[int], str]) -> dict[str, Any]:
    """Weights of ``folder`` cut in two files and an index."""
    state = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    where = {key: places(i) for i, key in enumerate(state)}
    for name in set(where.values()):
        save_file({k: v for k, v in state.items() if where[k] == name}, folder / "unet" / name)
    index = {"metadata": {}, "weight_map": where}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return index


def test_files_that_an_index_names(folder: Path) -> None:
    before = outputs(load_prior(folder))
    whole = (folder / WEIGHTS).read_bytes()
    index = in_shards(folder, lambda i: f"part-{i % 2}.safetensors")
    path = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    shutil.copy(folder / "unet" / "part-0.safetensors", folder / "unet" / "part-2.safetensors")
    assert torch.equal(outputs(load_prior(folder)), before)
    first = next(iter(index["weight_map"]))
    for name in ("../../part-0.safetensors", "/etc/hostname", "part-0.pt", "..", 3, None):
        path.write_text(json.dumps({"weight_map": {**index["weight_map"], first: name}}))
        assert "has no weight_map of weights to .safetensors files beside it" in refuses(folder)
    for wrong, words in (({first: "part-9.safetensors"}, "part-9"), ({"more": "part-0.safetensors"}, "more")):
        path.write_text(json.dumps({"weight_map": {**index["weight_map"], **wrong}}))
        message = refuses(folder)
        assert "cannot be loaded (" in message
        assert words in message
    path.write_text(json.dumps(index))
    (folder / WEIGHTS).write_bytes(whole)
    assert "has both diffusion_pytorch_model.safetensors and" in refuses(folder)


def test_nothing_is_drawn_from_a_global_generator(folder: Path) -> None:
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002  # the state that others' code draws from
    random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index,union-attr] # noqa: NPY002
    load_prior(folder)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index,union-attr] # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:keep])
    message = refuses(folder)
    assert message.startswith(f"prior network '{folder / 'unet'}' cannot be loaded (")
    assert message.endswith("get the folder again")


def test_weights_that_are_something_else(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"<html>404</html>" * 100)
    assert "cannot be loaded (" in refuses(folder)


def test_weights_of_another_network(make_network: Callable[..., UNet2DModel], folder: Path) -> None:
    save_file(make_network(3, attention=True).state_dict(), folder / WEIGHTS)
    assert "cannot be loaded (Error(s) in loading state_dict" in refuses(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    state = load_file(folder / WEIGHTS)
    state["conv_out.bias"][1] = value
    save_file(state, folder / WEIGHTS)
    assert refuses(folder).endswith("has weights that are not finite; get the folder again")


@pytest.mark.parametrize("name", ["blinddps.json", "scheduler/scheduler_config.json", "unet/config.json"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "it is no JSON: "),
        (b"", "it is no JSON: "),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"[1]", "it holds no JSON object"),
        (b'{"a":' * 10_000, "it is nested deeper than 64 levels"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it holds a whole number of more than 64 bits"),
    ],
)
def test_json_that_is_damaged(folder: Path, name: str, content: bytes, words: str) -> None:
    (folder / name).write_bytes(content)
    message = refuses(folder)
    assert message.startswith(f"cannot read prior file '{folder / name}': {words}")
    assert message.endswith(("get it again", "get the folder again"))


@pytest.mark.parametrize("name", ["scheduler/scheduler_config.json", "unet/config.json"])
def test_a_file_that_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refuses(folder).startswith(f"cannot read prior file '{folder / name}': it does not exist; ")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sizes": []}, "sizes"),
        ({"sizes": [0]}, "sizes.0"),
        ({"channels": 10**9}, "channels"),
        ({"size_multiple": 10**9}, "size_multiple"),
        ({"pixel_unshuffle": 0}, "pixel_unshuffle"),
        ({"data_std": 1e-30}, "data_std"),
        ({"data_mean": 1e30}, "data_mean"),
        ({"scale": 1e300}, "scale"),
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"error_spectrum": {}}, "error_spectrum"),
        ({"error_spectrum": {"sigma": [1, 2], "frequency": [0, 1], "power": [[1, 1], [1, 1e300]]}}, "error_spectrum"),
        ({"error_spectrum": {"sigma": "ab", "frequency": [0, 1], "power": [[1, 1], [1, 1]]}}, "error_spectrum"),
        ({"error_spectrum": {"sigma": [2, 1], "frequency": [0, 1], "power": [[1, 1], [1, 1]]}}, "error_spectrum"),
        ({"colour": True}, "colour"),
        ({"format": 2}, "format"),
        ({"channels": 0}, "channels"),
        ({"unknown": None}, "unknown"),
        ({"sizes": ["large"]}, "sizes.0"),
        ({"grey": "maybe"}, "grey"),
    ],
)
def test_a_description_that_is_wrong(folder: Path, changes: dict[str, Any], field: str) -> None:
    edit(folder / "blinddps.json", **changes)
    message = refuses(folder)
    assert message.startswith(f"{folder / 'blinddps.json'} is not a valid prior description: field '{field}': ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prediction_type": "flow"}, "has prediction_type 'flow'; supported are epsilon, v_prediction and sample"),
        ({"rescale_betas_zero_snr": True}, "has a zero terminal SNR schedule, whose last noise level is infinite"),
        ({"trained_betas": [0.1, 1.0]}, "has a noise schedule that cannot be used"),
        ({"beta_schedule": "wavy"}, "has a noise schedule that cannot be used"),
        ({"beta_end": -0.5}, "has a noise schedule that cannot be used"),
        ({"trained_betas": [0.1, 0.2]}, "it has 2 trained_betas for 1000 steps"),
        ({"trained_betas": "many"}, "its betas are not numbers"),
        ({"beta_start": "low"}, "its betas are not numbers"),
        ({"beta_end": 0.9999}, "has a noise schedule that cannot be used ("),
        ({"beta_start": 1e-13}, ", not within 1e-06 to 1e+06)"),
        ({"num_train_timesteps": 10**12}, "num_train_timesteps is 1000000000000, not a whole number from 2 to"),
        ({"num_train_timesteps": 1}, "num_train_timesteps is 1, not a whole number from 2 to"),
        ({"num_train_timesteps": 10.5}, "num_train_timesteps is 10.5, not a whole number"),
        ({"predict_epsilon": True}, "has predict_epsilon true and prediction_type 'v_prediction'"),
        ({"predict_epsilon": False}, "has predict_epsilon false and prediction_type 'v_prediction'"),
        ({"predict_epsilon": "no"}, "has predict_epsilon 'no'"),
        ({"use_flow_sigmas": True}, "has flow matching, which is not"),
        ({"use_dynamic_shifting": True}, "has flow matching, which is not"),
        ({"shift_terminal": 0.1}, "has flow matching, which is not"),
        ({"timestep_type": "continuous"}, "has timestep_type 'continuous'"),
        ({"variance_type": "learned"}, "has variance_type 'learned'"),
        ({"snr_shift_scale": 3.0}, "has the setting 'snr_shift_scale' in its scheduler, which is not known"),
        ({"_class_name": "CogVideoXDDIMScheduler"}, "has the scheduler 'CogVideoXDDIMScheduler', which is not known"),
        ({"_class_name": "LCMScheduler"}, "has the scheduler 'LCMScheduler', which is not known"),
        ({"_class_name": "FlowMatchLCMScheduler"}, "has the scheduler 'FlowMatchLCMScheduler'"),
        ({"_class_name": ["a", "b"]}, "has the scheduler '['a', 'b']'"),
        ({"num_train_timesteps": None}, "has a scheduler without num_train_timesteps or betas"),
        ({"beta_schedule": None, "beta_start": None, "beta_end": None}, "without num_train_timesteps or betas"),
    ],
)
def test_a_scheduler_that_cannot_be_used(folder: Path, changes: dict[str, Any], words: str) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", **changes)
    message = refuses(folder)
    assert message.startswith(f"prior '{folder}' has ")
    assert words in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "is a UNet2DConditionModel; only unconditional UNet2DModel"),
        ({"_class_name": "ResidualUNet"}, "cannot be loaded ("),  # the weights of another
        ({"_class_name": ["ResidualUNet"]}, "only unconditional UNet2DModel and ResidualUNet networks"),
        ({"num_class_embeds": 10}, "only unconditional UNet2DModel"),
        ({"in_channels": 1}, "has 1 channels in and 3 out, its blinddps.json says 3"),
        ({"out_channels": 4}, "has 3 channels in and 4 out"),
        ({"down_block_types": ["Wrong", "DownBlock2D"]}, "cannot be loaded ("),
        ({"block_out_channels": []}, "cannot be loaded ("),
        ({"norm_num_groups": 0}, "cannot be loaded ("),
        ({"time_embedding_type": "wavy"}, "has time_embedding_type wavy, which is none of fourier, positional and"),
        ({"sample_size": "large"}, "has sample_size 'large', which is no size"),
        ({"sample_size": [16, -1]}, "has sample_size [16, -1], which is no size"),
        ({"block_out_channels": [10**9, 10**9]}, "cannot be loaded ("),
        ({"layers_per_block": 10**9}, "cannot be loaded ("),
        ({"layers_per_block": True}, "cannot be loaded ("),
        ({"mid_block_scale_factor": 0}, "gives numbers that are not finite"),
        ({"freq_shift": 4}, "gives numbers that are not finite"),
    ],
)
def test_a_network_that_cannot_be_used(folder: Path, changes: dict[str, Any], words: str) -> None:
    edit(folder / "unet" / "config.json", **changes)
    message = refuses(folder)
    assert message.startswith(f"prior network '{folder / 'unet'}' ")
    assert words in message


@pytest.mark.parametrize(
    "changes",
    [
        {"in_channels": "abc"},
        {"in_channels": 10**12},
        {"sample_size": 10**12},
        {"in_channels": -1},
        {"sample_size": "large"},
        {"sample_size": {}, "in_channels": [3]},
    ],
)
def test_a_foreign_network_that_cannot_be_described(folder: Path, changes: dict[str, Any]) -> None:
    (folder / "blinddps.json").unlink()
    edit(folder / "unet" / "config.json", **changes)
    assert refuses(folder).startswith(f"prior network '{folder / 'unet'}' has in_channels, sample_size or block_out")


@pytest.mark.parametrize(("size", "sizes"), [(16, (16,)), ([24, 24], (24,)), ([16], None), ([16, 32], None)])
def test_a_foreign_network_of_two_sizes(folder: Path, size: Any, sizes: tuple[int, ...] | None) -> None:
    (folder / "blinddps.json").unlink()
    edit(folder / "unet" / "config.json", sample_size=size)
    if sizes is None:
        assert refuses(folder)
    else:
        assert load_prior(folder).card.sizes == sizes
    if size == [16, 32]:
        assert "was trained on pictures that are not square (sample_size 16 x 32)" in refuses(folder)
        edit(folder / "unet" / "config.json", sample_size=16, center_input_sample=True)
        assert "has center_input_sample in its network, so its pictures are in [0, 1]" in refuses(folder)


@pytest.mark.parametrize("any_size", [True, False])
def test_a_network_that_needs_another_multiple(folder: Path, any_size: bool) -> None:
    edit(folder / "blinddps.json", size_multiple=1, any_size=any_size)
    if any_size:
        assert "does not work on 1 x 1 pixels (" in refuses(folder)
    else:
        load_prior(folder)  # its own sizes are multiples


@pytest.mark.parametrize(
    ("changes", "prediction"),
    [
        ({"predict_epsilon": False}, "sample"),
        ({"predict_epsilon": True}, "epsilon"),
        ({}, "epsilon"),
        ({"predict_epsilon": False, "prediction_type": "sample"}, "sample"),
        ({"use_flow_sigmas": False, "timestep_type": "discrete", "shift_terminal": False}, "epsilon"),
        ({"a_flag_of_tomorrow": False, "another": False, "_hidden": 3, "use_karras_sigmas": True}, "epsilon"),
    ],
)
def test_what_a_network_predicts(folder: Path, changes: dict[str, Any], prediction: str) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", **{"prediction_type": None, **changes})
    assert load_prior(folder).prediction == prediction


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of diffusers with this NumPy
@pytest.mark.parametrize("kind", sorted(scheduler._DEFAULTS))
def test_noise_levels_of_every_scheduler_that_is_known(kind: str, folder: Path) -> None:
    """With the defaults of its own class where its configuration is silent."""
    if kind == "DPMSolverSDEScheduler":
        pytest.importorskip("torchsde")
    made = getattr(diffusers, kind)(num_train_timesteps=200)
    given = {"_class_name": kind, "num_train_timesteps": 200}
    config = given | {"beta_schedule": "squaredcos_cap_v2" if kind == "UnCLIPScheduler" else "linear"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    found = load_prior(folder).schedule.alpha_bar
    assert torch.allclose(found.float(), made.alphas_cumprod, rtol=2e-3, atol=1e-7)
    made.save_pretrained(folder / "scheduler")
    assert torch.equal(load_prior(folder).schedule.alpha_bar, found)


def test_another_range(folder: Path) -> None:
    edit(folder / "blinddps.json", value_range=[0, 1])
    assert refuses(folder) == (
        f"prior '{folder}' has value_range (0.0, 1.0); only priors of values in (-1, 1) are supported"
    )


def test_a_latent_pipeline(folder: Path) -> None:
    (folder / "blinddps.json").unlink()
    edit(folder / "model_index.json", vae=["diffusers", "AutoencoderKL"])
    assert refuses(folder).startswith(f"prior '{folder}' has the parts scheduler, unet, vae; only pipelines of a unet")
