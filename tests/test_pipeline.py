"""``BlindDeblurPipeline``: the same numbers as ``deblur``, in the manner of diffusers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny import tiny_network, tiny_prior

import blinddps
from blinddps import BlindDeblurPipeline
from blinddps.core import InputError, PriorError
from blinddps.priors import DiffusionPrior, save_prior

OPTIONS: dict[str, Any] = {"num_inference_steps": 3, "search": "none", "kernel_size": 8, "output_type": "np"}


def priors() -> tuple[DiffusionPrior, DiffusionPrior]:
    image = tiny_prior(3, seed=3, unshuffle=2, residual=True, name="pictures", sizes=(32,))
    return image, tiny_prior(1, seed=1, unknown="kernel", name="kernels", sizes=(32,))


def pipeline() -> BlindDeblurPipeline:
    pipe = BlindDeblurPipeline.from_priors(*priors())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    i, j = np.mgrid[:32, :32] / 32
    waves = np.stack([0.5 + 0.3 * np.sin(5 * i + 2 * c) * np.cos(4 * j) for c in range(3)], axis=-1)
    noisy = waves + 0.02 * np.random.default_rng(0).standard_normal(waves.shape)
    return noisy.clip(0, 1).astype(np.float32)


def test_it_is_deblur(picture: np.ndarray) -> None:
    image, kernel = priors()
    found = pipeline()(picture, generator=seeded(), **OPTIONS)
    options = {"search": "none", "kernel_size": 8, "num_steps": 3, "device": "cpu"}
    plain = blinddps.deblur(picture, prior=image, kernel_prior=kernel, seed=found.seeds[0], **options)
    assert np.array_equal(found.images[0], plain.image)
    assert np.array_equal(found.kernels[0], plain.kernel)
    assert found.outcomes[0] == plain.outcome[0]


def test_a_saved_pipeline_gives_the_same_numbers(picture: np.ndarray, tmp_path: Path) -> None:
    pipe = pipeline()
    pipe.save_pretrained(tmp_path / "pipe")
    assert not list((tmp_path / "pipe").rglob("*.bin"))
    index = json.loads((tmp_path / "pipe" / "model_index.json").read_text())
    assert index["card"]["name"] == "pictures"
    assert index["card"]["pixel_unshuffle"] == 2
    again = BlindDeblurPipeline.from_pretrained(tmp_path / "pipe")
    again.set_progress_bar_config(disable=True)
    assert again.config.kernel_card == pipe.config.kernel_card
    one, other = (p(picture, generator=seeded(), **OPTIONS).images for p in (pipe, again))
    assert np.allclose(one, other, rtol=0, atol=1e-6)  # weights lie elsewhere in memory, which rounds otherwise


def test_shipped_priors_keep_their_cards_and_levels(tmp_path: Path) -> None:
    BlindDeblurPipeline.from_priors("faces-128", "kernel").save_pretrained(tmp_path)
    image, kernel = BlindDeblurPipeline.from_pretrained(tmp_path)._priors()
    for found, name in ((image, "faces-128"), (kernel, "kernel")):
        shipped = blinddps.load_prior(name)
        assert found is not None
        assert found.card == shipped.card
        assert torch.allclose(found.schedule.sigmas, shipped.schedule.sigmas, rtol=1e-9)
        assert found.prediction == shipped.prediction


def test_without_a_kernel_network_the_prior_is_uniform(picture: np.ndarray, tmp_path: Path) -> None:
    pipe = BlindDeblurPipeline.from_priors(priors()[0], None)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(tmp_path)
    again = BlindDeblurPipeline.from_pretrained(tmp_path)
    assert again.kernel_unet is None
    again.set_progress_bar_config(disable=True)
    found = again(picture, generator=seeded(), **OPTIONS)
    options = {"search": "none", "kernel_size": 8, "num_steps": 3, "device": "cpu"}
    plain = blinddps.deblur(picture, prior=priors()[0], kernel_prior="uniform", seed=found.seeds[0], **options)
    assert np.array_equal(found.images[0], plain.image)


def test_parts_of_diffusers_need_no_card(picture: np.ndarray) -> None:
    from diffusers import DDIMScheduler, EDMEulerScheduler

    foreign = EDMEulerScheduler.from_config({**DDIMScheduler().config, "skip_prk_steps": True})
    assert foreign.config.skip_prk_steps  # diffusers keeps what it does not use
    for scheduler in (DDIMScheduler(prediction_type="sample"), EDMEulerScheduler(), foreign):
        pipe = BlindDeblurPipeline(tiny_network(3, size=32), scheduler)
        assert pipe._priors()[0].card.sizes == (32,)
        pipe.set_progress_bar_config(disable=True)
        assert pipe(picture, **OPTIONS).images.shape == (1, 32, 32, 3)


def test_each_picture_of_a_batch_is_on_its_own(picture: np.ndarray) -> None:
    pipe = pipeline()
    batch = pipe([picture, picture[::-1].copy()], generator=[seeded(0), seeded(1)], **OPTIONS)
    assert batch.images.shape == (2, 32, 32, 3)
    alone = pipe(picture[::-1].copy(), generator=seeded(1), **OPTIONS)
    assert np.array_equal(batch.images[1], alone.images[0])
    tensors = torch.from_numpy(np.stack([picture, picture[::-1]])).permute(0, 3, 1, 2)
    assert np.array_equal(pipe(tensors, generator=[seeded(0), seeded(1)], **OPTIONS).images, batch.images)
    one = seeded(0)  # from which both seeds are drawn
    seeds = pipe([picture, picture], generator=one, **OPTIONS).seeds
    assert seeds[0] == batch.seeds[0]
    assert seeds[0] != seeds[1]


def test_several_samples_and_sizes(picture: np.ndarray) -> None:
    pipe = pipeline()
    found = pipe([picture, picture], num_images_per_prompt=2, generator=seeded(), **OPTIONS)
    assert found.images.shape == (4, 32, 32, 3)
    assert len(found.kernels) == len(found.outcomes) == len(found.confidence) == 4
    sizes = pipe([picture, picture[:, :28]], **OPTIONS).images
    assert [x.shape for x in sizes] == [(32, 32, 3), (32, 28, 3)]


def test_pictures_of_every_type_agree(picture: np.ndarray) -> None:
    pipe = pipeline()
    eight = np.round(255 * picture).astype(np.uint8)  # PIL has no more; that rounding is noise to a deconvolution
    values = eight.astype(np.float32) / 255
    given = (Image.fromarray(eight), eight, values, torch.from_numpy(values).permute(2, 0, 1))
    first, *others = (pipe(x, generator=seeded(), **OPTIONS).images for x in given)
    for other in others:
        assert np.array_equal(first, other)
    of = {kind: pipe(values, generator=seeded(), **{**OPTIONS, "output_type": kind}) for kind in ("np", "pt", "pil")}
    assert np.array_equal(of["np"].images, first)
    assert np.array_equal(of["pt"].images.permute(0, 2, 3, 1).numpy(), first)
    assert isinstance(of["pil"].images[0], Image.Image)
    assert np.abs(np.asarray(of["pil"].images[0]) / 255 - first[0]).max() <= 0.5 / 255 + 1e-6
    images, kernels, outcomes = pipe(values, generator=seeded(), return_dict=False, **OPTIONS)
    assert np.array_equal(images, first)
    assert kernels[0].shape == (8, 8)
    assert len(outcomes) == 1


def test_a_callback_sees_each_step_and_may_interrupt(picture: np.ndarray) -> None:
    seen: list[tuple[int, float]] = []

    def look(pipe: Any, step: int, timestep: float, tensors: dict[str, Any]) -> dict[str, Any]:
        assert list(tensors) == ["image"]
        seen.append((step, timestep))
        pipe._interrupt = step == 1 and stop
        return tensors

    pipe, stop = pipeline(), False
    options = {"callback_on_step_end": look, "callback_on_step_end_tensor_inputs": ["image"], **OPTIONS}
    whole = pipe(picture, generator=seeded(), **options)
    assert [step for step, _ in seen] == [0, 1, 2]
    assert seen[0][1] > seen[1][1] > seen[2][1] >= 0
    seen.clear()
    stop = True
    cut = pipe([picture, picture], generator=[seeded(), seeded()], **options)
    assert [step for step, _ in seen] == [0, 1]
    assert cut.outcomes == [None]
    assert cut.images.shape == (1, 32, 32, 3)
    assert not np.array_equal(cut.images[0], picture)
    stop = False
    assert np.array_equal(pipe(picture, generator=seeded(), **options).images, whole.images)


def test_the_bar_is_that_of_the_pipeline(picture: np.ndarray) -> None:
    pipe = BlindDeblurPipeline.from_priors(*priors())
    with redirect_stderr(io.StringIO()) as told:
        pipe(picture, **OPTIONS)
    assert "3/3" in told.getvalue()
    pipe.set_progress_bar_config(disable=True)
    with redirect_stderr(io.StringIO()) as told:
        pipe(picture, **OPTIONS)
    assert told.getvalue() == ""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_its_dtype_is_that_of_the_arithmetic(dtype: torch.dtype, picture: np.ndarray) -> None:
    pipe = pipeline()
    exact = pipe(picture, generator=seeded(), **OPTIONS).images
    pipe.to(dtype)
    assert pipe._priors()[0].dtype == dtype
    found = pipe(picture, generator=seeded(), **OPTIONS).images
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).mean() < 0.02  # 8 bits of an untrained network


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 3}, "generator"),
        ({"prior": "photos"}, "unet"),
        ({"solvr": "paper"}, "did you mean 'solver'"),
        ({"output_type": "latent"}, "pil, np or pt"),
        ({"generator": [seeded()] * 2}, "2 generators for 1 pictures"),
        ({"callback_on_step_end_tensor_inputs": ["latents"]}, "image and kernel"),
    ],
)
def test_a_call_that_cannot_be_meant(options: dict[str, Any], said: str, picture: np.ndarray) -> None:
    with pytest.raises(InputError, match=said):
        pipeline()(picture, **{**OPTIONS, **options})


def test_parts_that_make_no_pipeline(tmp_path: Path) -> None:
    image, kernel = priors()
    pipe = pipeline()
    cases: list[tuple[str, Callable[[], Any]]] = [
        ("models the kernel", lambda: BlindDeblurPipeline.from_priors(kernel, kernel)),
        ("no network of diffusers", lambda: BlindDeblurPipeline.from_priors(lambda x, sigma: x)),
        ("channels", lambda: BlindDeblurPipeline(tiny_network(1), pipe.scheduler, card=pipe.config.card)),
        ("field 'name'", lambda: BlindDeblurPipeline(pipe.unet, pipe.scheduler, card={"channels": 3})),
        ("from_priors", lambda: BlindDeblurPipeline.from_pretrained(save_prior(image, tmp_path / "prior"))),
        ("safe_serialization", lambda: pipe.save_pretrained(tmp_path / "pipe", safe_serialization=False)),
        ("use_safetensors", lambda: BlindDeblurPipeline.from_pretrained(tmp_path, use_safetensors=False)),
    ]
    for said, call in cases:
        with pytest.raises(PriorError, match=said):
            call()
    assert not (tmp_path / "pipe").exists()


def test_a_network_in_bfloat16_is_told_the_exact_step() -> None:
    network: Any = priors()[0].network
    told: list[torch.Tensor] = []
    network.time.register_forward_pre_hook(lambda _, args: told.append(args[0].float()))
    x = torch.zeros(1, 12, 4, 4)
    network(x, 998.4)
    network.bfloat16()(x.bfloat16(), 998.4)
    assert (told[0] - told[1]).abs().max() < 2**-8
