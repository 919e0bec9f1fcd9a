from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from blinddps.core import InputError
from blinddps.training import TrainConfig, configure, recipe

# config.json of the run that made the shipped kernel prior, as it was written by the first version
FIRST_VERSION = """{"unknown": "kernel", "name": "kernel", "data": [], "channels": 1, "sizes": [16, 32, 48, 64],
"size_weights": [0.2, 0.6, 0.05, 0.15], "any_size": true, "random_scale": 1.0, "flip": false, "grey_share": 0.0,
"mixture": {"motion": 0.65, "gaussian": 0.25, "defocus": 0.1}, "network": {"channels": [32, 64, 128], "layers": 1,
"attention": true, "head_dim": 32, "groups": 8, "pixel_unshuffle": 1}, "prediction": "v_prediction", "steps": 12000,
"batch_size": 16, "learning_rate": 0.0004, "warmup": 200, "decay_steps": 500, "weight_decay": 0.0, "ema": 0.999,
"p_mean": -0.4, "p_std": 1.4, "uniform_share": 0.2, "dtype": "bfloat16", "seed": 0, "log_every": 50, "save_every": 250,
"sample_every": 1000, "units": "2 k / max(k) - 1", "licence": "Apache-2.0 (generated data)"}"""


def test_configurations_of_the_first_version_are_still_read() -> None:
    config = TrainConfig.model_validate_json(FIRST_VERSION)
    ours = {"steps": 12000, "decay_steps": 500, "sample_every": 1000, "licence": "Apache-2.0 (generated data)"}
    ours |= {"data_mean": 0.0, "data_std": 1.0}  # of raw values then
    assert config == TrainConfig(**(recipe("kernel") | ours))


@pytest.mark.parametrize("name", ["kernel", "faces-128", "photos", "text"])
def test_recipes_are_complete(name: str) -> None:
    assert configure(recipe(name) | {"data": ("pictures",)}).name == name


@pytest.mark.parametrize("name", ["text", "stars"])
def test_pictures_that_are_generated_need_no_data(name: str) -> None:
    config = configure(recipe(name))
    assert isinstance(config, TrainConfig)
    assert (config.generator, config.channels, config.any_size) == (name, 1, True)


def test_an_unknown_recipe_is_told_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown training recipe 'faces128'; did you mean 'faces-128'"):
        recipe("faces128")


def test_the_main_size_is_the_most_frequent(tiny: Callable[..., TrainConfig]) -> None:
    assert tiny(sizes=(8, 16, 12), size_weights=(0.2, 0.5, 0.3)).main_size == 16
    assert tiny(sizes=(12, 8)).main_size == 12


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batchsize": 4}, "unknown training setting 'batchsize'; did you mean 'batch_size'?"),
        ({"network": {"chanels": (8,)}}, "unknown training setting 'chanels'; did you mean 'channels'?"),
        ({"steps": "9" * 5000}, "training setting steps does not fit: it has too many digits; give a smaller number"),
        ({"steps": 0}, "training setting steps does not fit: input should be greater than 0"),
        (
            {"learning_rate": float("nan")},
            "training setting learning_rate does not fit: input should be a finite number",
        ),
        ({"network": {"channels": ()}}, "training setting network.channels does not fit"),
        ({"network": {"channels": (12, 20)}}, "12 channels do not split into 8 groups"),
        ({"network": {"channels": (8, 48)}}, "48 channels do not split into attention heads of 32"),
        (
            {"sizes": (10,)},
            "training settings do not fit: size 10 is no multiple of 4, ",
        ),
        ({"sizes": ()}, "training setting sizes does not fit"),
        ({"sizes": (16, 32), "size_weights": (1.0,)}, "1 size_weights for 2 sizes"),
        ({"sizes": (16, 32), "size_weights": (0.0, 0.0)}, "must not be negative and not all zero"),
        ({"sizes": (16, 32), "size_weights": (-1.0, 2.0)}, "must not be negative and not all zero"),
        ({"channels": 3}, "a kernel has one channel, not 3; set"),
        ({"unknown": "tilt", "channels": 1}, "a tilt has two channels, not 1, and no data; set"),
        ({"unknown": "image", "channels": 3}, "an image prior needs data"),
        ({"generator": "text"}, "generator text makes grey images; set unknown = image and channels = 1"),
        ({"unknown": "image", "generator": "text", "channels": 3}, "makes grey images; set"),
        ({"unknown": "image", "generator": "stars", "data": ("a",)}, "stars are made by the package, and need no data"),
        ({"unknown": "image", "generator": "stars", "sources": ("a",)}, "sources are of pictures, and generator stars"),
        ({"unknown": "image", "generator": "starz"}, "training setting generator does not fit"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        configure({"unknown": "kernel", "name": "k", "channels": 1} | settings)
