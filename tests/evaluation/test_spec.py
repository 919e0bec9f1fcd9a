"""What a spec may hold, and the sentence that refuses the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blinddps.core import InputError
from blinddps.evaluation import builtin_specs, load_spec, parse_spec
from blinddps.evaluation.scores import METRICS
from blinddps.priors import PriorCard
from blinddps.restore import DeblurSettings
from blinddps.restore.plan import resolve

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPECS = builtin_specs()
PLAIN = """
name = "a"
[data]
source = "x"
[[degradation]]
kind = "motion"
[[method]]
name = "input"
[[method]]
name = "fast"
options = { prior = "faces-128" }
"""


def test_defaults_and_names(spec_text: Callable[..., str]) -> None:
    spec = parse_spec(spec_text())
    assert [d.name for d in spec.degradation] == ["motion", "soft"]
    assert [(m.name, m.call, m.label) for m in spec.method] == [
        ("input", "input", "input"),
        ("known-kernel", "known-kernel", "known-kernel"),
        ("fast", "deblur", "fast"),
    ]
    given, _, fast = spec.method
    assert spec.options(given) == {}
    assert spec.options(fast)["num_steps"] == 3  # over the default of 2
    assert spec.options(fast)["noise"] == 0.02


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name = "a"', 'nam = "a"', "unknown key 'nam'; did you mean 'name'?"),
        ('source = "x"', 'source = "x"\nsizes = 3', "data: unknown key 'sizes'; did you mean 'size'?"),
        ('kind = "motion"', 'kind = "motion"\nstd = 3', "degradation 1: unknown key 'std'"),
        ('kind = "motion"', 'kind = "moton"', "degradation 1: unknown kind 'moton'; did you mean 'motion'?"),
        ('kind = "motion"', "noise = 0.1", "degradation 1: 'kind' is missing"),
        ('kind = "motion"', 'kind = "motion"\nintensity = 2', "degradation 1 intensity: input should be less than"),
        ('kind = "motion"', 'kind = "own"', "layout 'pictures' has no blurred pictures of its own"),
        ('source = "x"', "", "data: 'source' is missing"),
        ("[data]", 'reference = "fsat"\n[data]', "unknown method 'fsat'; did you mean 'fast'?"),
        ("[data]", f'seeds = ["{"9" * 5000}"]\n[data]', "seeds 1: it has too many digits; give a smaller number"),
        ("[data]", "seeds = []\n[data]", "seeds: tuple should have at least 1 item"),
        ("[data]", "seeds = [1, 1]\n[data]", "seed '1' is there twice"),
        ('name = "fast"', 'name = "input"', "method 'input' is there twice"),
        ('name = "fast"', 'name = "a/b"', "method 2 name: string should match pattern"),
        ('name = "fast"', 'name = "fast"\ncount = 0', "method 2 count: input should be greater than"),
        ('name = "fast"', 'name = "fast"\ncall = "debur"', "method 2 call: input should be 'deblur'"),
        ("prior = ", "priro = ", "method 'fast': unknown option 'priro'; did you mean 'prior'?"),
        ('prior = "faces-128"', 'solver = "pan-l9"', "method 'fast': unknown solver 'pan-l9'"),
        ('prior = "faces-128"', "num_steps = 0", "method 'fast': num_steps is 0; give a whole number"),
        ('prior = "faces-128"', "seed = 3", "method 'fast': 'seed' cannot be an option"),
        ('name = "fast"', 'name = "fast"\ncall = "turbulence"', "is for degradations of the kind 'turbulence' alone"),
        ('name = "input"', 'name = "input"\noptions = { noise = 1 }', "'input' is the measurement and has no options"),
        ('name = "a"', "name = a", "is no TOML"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(old: str, new: str, sentence: str) -> None:
    assert old in PLAIN
    parse_spec(PLAIN)
    with pytest.raises(InputError) as caught:
        parse_spec(PLAIN.replace(old, new, 1), "my.toml")
    assert sentence in str(caught.value)
    assert str(caught.value).removeprefix("cannot read ").startswith("spec 'my.toml'")
    assert "\n" not in str(caught.value)


def test_known_kernel_needs_a_call_that_takes_one() -> None:
    text = PLAIN.replace('name = "fast"', 'name = "fast"\ncall = "turbulence"\nknown_kernel = true')
    with pytest.raises(InputError, match="takes no 'known_kernel'"):
        parse_spec(text.replace('kind = "motion"', 'kind = "turbulence"'))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read spec"):
        load_spec(tmp_path / "none.toml")
    with pytest.raises(InputError, match="does not exist"):
        builtin_specs(tmp_path / "none")


def test_the_papers_tables_are_there() -> None:
    tables = {name.partition("_")[0] for name in SPECS}
    assert {"table1", "table3", "table4", "tableC1", "progress", "compute", "ablation", "levin"} <= tables


@pytest.mark.parametrize("name", SPECS)
def test_each_shipped_spec_loads(name: str) -> None:
    raw = tomllib.loads(SPECS[name].read_text())
    assert raw["name"] == name
    spec = load_spec(SPECS[name])
    assert len(spec.method) == len(raw["method"])
    labels = [method.label for method in spec.method]
    assert len(set(labels)) == len(labels)


def test_published_figures_stand_where_they_belong() -> None:
    for name in ("faces", "ffhq", "photos", "imagenet"):
        assert {p.degradation for p in load_spec(SPECS[f"table3_{name}"]).published} == {"paper-tilt"}
    gaussian = [p.values["MNC"] for p in load_spec(SPECS["table4_faces"]).published if p.degradation == "gaussian"]
    assert gaussian == [0.996, 0.997, 0.996, 0.997]
    columns = {METRICS[name].label for name in METRICS}
    levin = load_spec(SPECS["levin"]).published
    assert {column for p in levin for column in p.values} == {"PSNR 1/4"} <= columns


@pytest.mark.parametrize("name", ["table1_2_photos", "levin"])
def test_labels_say_scales_and_starts(name: str) -> None:
    spec = load_spec(SPECS[name])
    side = {"levin": 255, "table1_2_photos": 128}[name]
    for method in spec.method:
        if method.name.startswith("fast"):
            used = resolve(DeblurSettings(**spec.options(method)), torch.zeros(1, 1, side, side), torch.device("cpu"))
            scales = f"{used.scales} scale{'s' * (used.scales != 1)}, {used.restarts} start{'s' * (used.restarts != 1)}"
            way = f"{scales}, {used.num_steps} steps" if used.search == "none" else "searched along edges"
            assert method.label == f"fast (ours), {way}"
            if method.name == "fast":  # what the solver chooses by itself
                free = replace(used, scales="auto", restarts="auto", start="auto", search="auto", boundary="auto")
                assert resolve(free, torch.zeros(1, 1, side, side), torch.device("cpu")) == used


@pytest.mark.parametrize("name", ["table1_2_ffhq", "table1_2_afhq"])
def test_the_papers_tables_take_priors_of_one_size(name: str, tmp_path: Path) -> None:
    """Converted ones are of 256 and 64 pixels alone."""
    folders = {}
    for unknown, size, channels in (("image", 256, 3), ("kernel", 64, 1)):
        card = PriorCard(name="x", unknown=unknown, channels=channels, units="[-1, 1]", sizes=(size,))
        folders[unknown] = tmp_path / unknown
        folders[unknown].mkdir()
        (folders[unknown] / "blinddps.json").write_text(card.model_dump_json())
    given = {"prior": str(folders["image"]), "kernel_prior": str(folders["kernel"])}
    spec = load_spec(SPECS[name], given)
    picture, cpu = torch.rand(1, 3, 256, 256), torch.device("cpu")
    used = {
        method.name: resolve(DeblurSettings(**spec.options(method)), picture, cpu)
        for method in spec.method
        if method.call == "deblur" and not method.known_kernel
    }
    assert {u.prior for u in used.values()} == {given["prior"]}
    assert (used["fast"].scales, used["fast"].kernel_size, used["fast"].num_steps) == (1, 64, 50)
    assert used["published"].solver == "paper"
    assert (used["published"].step_schedule, used["published"].num_steps) == ("sqrt_alpha_bar", 1000)
    shipped = load_spec(SPECS[name])
    fast = next(shipped.options(m) for m in shipped.method if m.name == "fast")
    assert resolve(DeblurSettings(**fast), picture, cpu).scales == 2


def test_given_options_stand_over_the_specs_own(spec_text: Callable[..., str]) -> None:
    spec = parse_spec(spec_text(), "my.toml", {"num_steps": 7, "noise": 0.05})
    given, _, fast = spec.method
    assert spec.options(given) == {}
    assert (spec.options(fast)["num_steps"], spec.options(fast)["noise"]) == (7, 0.05)
    assert "num_steps" not in fast.options
    with pytest.raises(InputError, match=r"my.toml.*unknown option 'num_stepz'; did you mean 'num_steps'"):
        parse_spec(spec_text(), "my.toml", {"num_stepz": 7})


@pytest.mark.parametrize(
    ("name", "method", "chosen"),
    [
        ("ablation_steps", "fast-50", {"num_steps": 50}),
        ("progress_faces", "fast", {"num_steps": 50}),
        ("table4_faces", "l1-1", {"sparsity_norm": "l1", "sparsity": 1.0}),
        ("ablation_step_schedule", "constant", {"step_schedule": "constant", "step_size": 0.3 * 4}),
        ("ablation_step_schedule", "constant-paper", {"step_size": 0.3, "kernel_step_size": 0.3}),
    ],
)
def test_what_a_label_says_is_what_the_solver_chooses(name: str, method: str, chosen: dict[str, object]) -> None:
    """Options are left out where they are the solver's choice, so that tables share their jobs."""
    spec = load_spec(SPECS[name])
    (options,) = (spec.options(m) for m in spec.method if m.name == method)
    used = resolve(DeblurSettings(**options), torch.zeros(1, 3, 128, 128), torch.device("cpu"))
    assert {key: getattr(used, key) for key in chosen} == pytest.approx(chosen)
