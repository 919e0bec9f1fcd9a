"""Conversion of guided-diffusion checkpoints, against a forward pass written from the paper; and what is none."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline
from safetensors.torch import load_file, save_file
from tests.priors.adm import Adm
from torch import Tensor, nn

from blinddps.core import InputError, PriorError
from blinddps.priors import convert_checkpoint, load_prior
from blinddps.priors.guided import guided_network, guided_size

TINY = Adm()
OPTIONS: dict[str, Any] = {"size": 16, "head_channels": 16}


def saved(path: Path, adm: Adm = TINY, **changes: Tensor | None) -> Path:
    state = adm.state() | {name.replace("__", "."): value for name, value in changes.items()}
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    return path


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize(
    ("adm", "steps"),
    [
        (TINY, 1000),
        (Adm(updown=False, scale_shift=False, variance=False, channels=1, blocks=2), 1000),
        (Adm(channels=2, new_order=True, attention=(0, 1), updown=False), 1000),
        (Adm(multipliers=(1, 1, 2, 2), attention=(2,), scale_shift=False), 1000),
        (Adm(multipliers=(1,), attention=(), blocks=2), 1000),
        (Adm(model=64, multipliers=(0.5, 1)), 24),
    ],
    ids=["colour", "grey, conv", "tilt, new order", "four levels", "one level", "half at first"],
)
@torch.no_grad()
def test_output_equals_that_of_the_network_described(adm: Adm, steps: int, tmp_path: Path) -> None:
    state = adm.state(seed=1)
    torch.save(state, tmp_path / "model.pt")
    options = OPTIONS | {"heads_first": not adm.new_order, "steps": steps}
    unknown: Any = "image" if adm.channels == 1 else None
    made = convert_checkpoint(tmp_path / "model.pt", tmp_path / "prior", unknown=unknown, **options)
    loaded = load_prior(tmp_path / "prior")
    x = torch.randn(2, adm.channels, 16, 16, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([7, steps - 1])
    expected = adm(state, x, t)
    for prior in (made, loaded):
        assert relative(prior.network(x, t).sample, expected) < 1e-5
    sigma = loaded.schedule.sigmas[t]
    x0_hat = loaded(x / (1 + sigma.float() ** 2).rsqrt().reshape(-1, 1, 1, 1), sigma)
    noise = expected[:, : adm.channels]
    root_a = (1 + sigma**2).rsqrt().reshape(-1, 1, 1, 1)
    assert relative(x0_hat, x / root_a - sigma.reshape(-1, 1, 1, 1) * noise) < 1e-5


@torch.no_grad()
def test_order_and_number_of_heads_change_the_output() -> None:
    state, x, t = TINY.state(), torch.randn(1, 3, 16, 16), torch.tensor([5])
    right = TINY(state, x, t)
    for wrong in ({"heads_first": False}, {"head_channels": 32}):
        assert relative(guided_network(state, **OPTIONS | wrong)(x, t).sample, right) > 1e-3
    four = guided_network(state, size=16, heads=4)(x, t).sample
    assert relative(four, right) < 1e-5
    one = guided_network(state, size=16, heads=1)(x, t).sample
    assert relative(one, Adm(head_channels=64)(state, x, t)) < 1e-5


def test_table_of_512_pixels_is_the_sinusoids() -> None:
    """256 channels of time, 128 of the first level, 1000 steps: as published."""
    adm = Adm(model=256, multipliers=(0.5, 1), attention=())
    state = adm.state()
    network = guided_network(state, size=16, head_channels=64)
    angle = torch.arange(1000.0).double()[:, None] * 10_000 ** (-torch.arange(128).double() / 128)
    expected = torch.cat([angle.cos(), angle.sin()], 1) @ state["time_embed.0.weight"].double().T
    got = network.time_proj.weight @ network.time_embedding.linear_1.weight.T
    assert relative(got, expected) < 1e-6
    with pytest.raises(PriorError, match="256 channels at 4000 steps, and its first level has 128, too few"):
        guided_network(state, size=16, head_channels=64, steps=4000)


@pytest.mark.parametrize(
    ("adm", "size", "millions"),
    [
        (Adm(128, (1, 1, 2, 2, 4, 4), 1, (4,), head_channels=64), 256, 93.6),
        (Adm(64, (1, 2, 3, 4), 1, (2,), channels=1, head_channels=64), 64, 17.1),
        (Adm(64, (1, 1, 2, 2, 4, 4), 1, (4,), channels=2, head_channels=64), 256, 23.4),
        (Adm(256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5), head_channels=64), 256, 552.8),
        (Adm(256, (0.5, 1, 1, 2, 2, 4, 4), 2, (4, 5, 6), head_channels=64), 512, None),
    ],
    ids=["DPS FFHQ", "kernel", "tilt", "ImageNet 256", "ImageNet 512"],
)
def test_published_layouts_are_told_from_names_and_shapes(adm: Adm, size: int, millions: float | None) -> None:
    network: Any = guided_network(adm.state(seed=None))
    assert network.config.sample_size == size
    assert millions is None or round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions


@torch.no_grad()
def test_prior_is_a_pipeline_of_diffusers(tmp_path: Path) -> None:
    made = convert_checkpoint(saved(tmp_path / "a b.pt"), tmp_path / "prior", half=True, licence="CC0-1.0", **OPTIONS)
    assert made.card.name == "a b"
    assert made.card.training["converted_from"] == "a b.pt"
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "prior")
    assert pipeline.scheduler.config.variance_type == "learned_range"
    assert torch.allclose(pipeline.scheduler.alphas_cumprod.double(), made.schedule.alpha_bar, rtol=1e-5)
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(num_inference_steps=3, output_type="np", generator=torch.Generator().manual_seed(0)).images
    assert pictures.shape == (1, 16, 16, 3)
    assert pictures.std() > 0
    stored = load_file(tmp_path / "prior/unet/diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}


@torch.no_grad()
def test_table_of_steps_is_read_at_whole_steps(tmp_path: Path) -> None:
    adm = Adm(model=64, multipliers=(0.5, 1))
    prior = convert_checkpoint(saved(tmp_path / "m.pt", adm), tmp_path / "prior", steps=24, **OPTIONS)
    x = torch.randn(2, 3, 16, 16)
    between = prior.schedule.sigmas[[3, 3]] * torch.tensor([1.0, 1.01])
    assert bool(prior(x, between).isfinite().all())
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "prior")
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(num_inference_steps=2, output_type="np").images.shape == (1, 16, 16, 3)


def test_safetensors_half_precision_and_old_files_convert_alike(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in TINY.state().items()}
    save_file(state, tmp_path / "m.safetensors")
    torch.save(state, tmp_path / "m.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    found = []
    for name in ("m.safetensors", "m.pt", "old.pt"):
        network: nn.Module = convert_checkpoint(tmp_path / name, tmp_path / f"{name}-prior", **OPTIONS).network
        found.append(network.state_dict())
    assert all(v.dtype == torch.float32 for v in found[0].values())
    for other in found[1:]:
        assert all(torch.equal(v, other[k]) for k, v in found[0].items())


def test_cosine_schedule_and_fewer_steps(tmp_path: Path) -> None:
    file = saved(tmp_path / "m.pt")
    cosine = convert_checkpoint(file, tmp_path / "cosine", schedule="cosine", prediction="sample", **OPTIONS)
    place = torch.tensor([0, 100, 500]).double() + 1
    shape = (((place / 1000) + 0.008) / 1.008 * torch.pi / 2).cos() ** 2
    shape /= (torch.tensor(0.008 / 1.008).double() * torch.pi / 2).cos() ** 2
    assert torch.allclose(cosine.schedule.alpha_bar[[0, 100, 500]], shape, rtol=1e-5)
    loaded = load_prior(tmp_path / "cosine")
    assert loaded.prediction == "sample"
    assert torch.allclose(loaded.schedule.alpha_bar, cosine.schedule.alpha_bar, rtol=1e-6)
    linear = convert_checkpoint(file, tmp_path / "linear", steps=100, **OPTIONS)
    assert linear.schedule.alpha_bar[0] == pytest.approx(1 - 1e-3)
    assert len(linear.schedule) == 100


class Object:
    """What only unpickling would make."""


GREY = Adm(channels=1)
WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "class-conditional": ({"label_emb__weight": torch.ones(10, 128)}, {}, "class-conditional"),
    "no network": (lambda p: torch.save({"fc.weight": torch.ones(2, 2)}, p), {}, "of no guided-diffusion network"),
    "prefix": (
        lambda p: torch.save({f"module.{k}": v for k, v in TINY.state().items()}, p),
        {},
        "begin with 'module.'; save them without it",
    ),
    "nested": (lambda p: torch.save({"ema": TINY.state()}, p), {}, "holds 'ema', which is no tensor of weights"),
    "a tensor": (lambda p: torch.save(torch.ones(2), p), {}, "no named tensors"),
    "object": (lambda p: torch.save({"model": Object()}, p), {}, "nothing else is unpickled"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps(Object())), {}, "nothing else is unpickled"),
    "text": (lambda p: p.write_text("weights"), {}, "nothing else is unpickled|cannot be read"),
    "empty": (lambda p: p.write_bytes(b""), {}, "nothing else is unpickled|cannot be read"),
    "truncated": (
        lambda p: p.write_bytes(saved(p.with_name("whole.pt")).read_bytes()[:-2000]),
        {},
        "nothing else is unpickled|cannot be read",
    ),
    "classifier": (
        lambda p: torch.save({k: v for k, v in TINY.state().items() if not k.startswith("output_blocks")}, p),
        {},
        "is a classifier",
    ),
    "super-resolution": (
        {"input_blocks__0__0__weight": torch.ones(32, 6, 3, 3), "out__2__weight": torch.ones(3, 32, 3, 3)},
        {},
        "6 channels in and 3 out, so it is a super-resolution network",
    ),
    "volumes": ({"input_blocks__0__0__weight": torch.ones(32, 3, 3, 3, 3)}, {}, "works on no pictures"),
    "text-conditional": (
        {"input_blocks__1__1__transformer_blocks__0__norm1__weight": torch.ones(32)},
        {},
        "'input_blocks.1.1.transformer_blocks.0.norm1.weight' belongs to none",
    ),
    "block lacking": (
        {"input_blocks__1__0__out_layers__3__bias": None},
        {},
        r"down_blocks.0.resnets.0.conv2.bias should",
    ),
    "other shape": ({"middle_block__0__in_layers__2__bias": torch.ones(3)}, {}, r"has \(3,\)"),
    "qkv": ({"middle_block__1__qkv__weight": torch.ones(100, 64, 1)}, {}, "no query, key and value"),
    "first output lacking": (
        {name.replace(".", "__"): None for name in TINY.state() if name.startswith("output_blocks.0.")},
        {},
        "make no levels",
    ),
    "output lacking": ({"output_blocks__3__0__in_layers__0__weight": None}, {}, "make no levels of equal length"),
    "not finite": ({"out__0__bias": torch.full((32,), torch.nan)}, {}, "'out.0.bias' that are not finite"),
    "whole numbers": (
        {"out__0__bias": torch.ones(32, dtype=torch.int64)},
        {},
        "holds 'out.0.bias', which is no tensor",
    ),
    "declared": ({"out__2__weight": torch.zeros(1).expand(6, 32, 300, 300)}, {}, "declares more weights than it holds"),
    "heads": ({}, {"head_channels": 48}, "64 channels, which make no heads of 48"),
    "number of heads": ({}, {"heads": 3}, "64 channels, and 3 heads"),
    "size": ({}, {"size": None}, r"multipliers are 1, 2, which are of no known picture size; give the size \(--size\)"),
    "grey or kernel": (lambda p: saved(p, GREY), {}, r"of 1 channel, .* say so \(--unknown"),
    "not a tilt": ({}, {"unknown": "tilt"}, "a prior of the tilt has 2"),
    "steps": ({}, {"steps": 1}, "num_train_timesteps is 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_converted_is_one_sentence(case: str, tmp_path: Path) -> None:
    make, options, sentence = WRONG[case]
    file = tmp_path / "model.pt"
    if callable(make):
        make(file)
    else:
        saved(file, **make)
    with pytest.raises(PriorError, match=sentence) as error:
        convert_checkpoint(file, tmp_path / "prior", **OPTIONS | options)
    assert str(file) in str(error.value)
    assert str(error.value).count("\n") == 0
    assert not (tmp_path / "prior").exists()


def test_damage_inside_the_file_is_told(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.pt")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(PriorError, match="is damaged"):
        convert_checkpoint(file, tmp_path / "prior", **OPTIONS)
    with pytest.raises(PriorError, match="there is no file"):
        convert_checkpoint(tmp_path / "other.pt", tmp_path / "prior", **OPTIONS)


def test_nothing_that_is_there_is_replaced(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.pt")
    (tmp_path / "prior").mkdir()
    convert_checkpoint(file, tmp_path / "prior", **OPTIONS)  # an empty folder is fine
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "prior").rglob("*"))
    for out in (tmp_path / "prior", file):
        with pytest.raises(InputError, match="is there already"):
            convert_checkpoint(file, out, **OPTIONS)
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "prior").rglob("*")) == before
    with pytest.raises(InputError, match="scale"):
        convert_checkpoint(file, tmp_path / "other", scale=0.0, **OPTIONS)
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "prior"]


def test_sizes_of_published_multipliers() -> None:
    assert guided_size((128, 128, 256, 256, 512, 512), 128) == 256
    assert guided_size((128, 256, 256, 512, 512, 1024, 1024), 256) == 512
    with pytest.raises(PriorError, match="no known picture size"):
        guided_size((128, 256), 128)
