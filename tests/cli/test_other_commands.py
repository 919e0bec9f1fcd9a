"""``simulate``, ``priors``, ``train`` and ``demo``."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

Call = Callable[..., Any]


def test_simulated_blur(several: Call, tmp_path: Path) -> None:
    from blinddps.operators import Blur
    from blinddps.simulate import defocus_kernels

    sharp = np.random.default_rng(0).integers(8000, 58000, (40, 48, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", sharp, photometric="rgb")
    alpha = np.random.default_rng(1).integers(0, 255, (40, 48, 4), dtype=np.uint8)
    Image.fromarray(alpha).save(tmp_path / "a.png")
    out, motion = tmp_path / "out", tmp_path / "motion"
    options = ["--kernel", "defocus", "--radius", 3, "--kernel-size", 9, "--seed", 5, "--boundary", "valid"]
    both, late, refused, unknown, wide, negative = several(
        [
            ["simulate", "blur", tmp_path / "a.png", tmp_path / "x.tif", "--out", out, *options, "--noise", 0],
            ["simulate", "blur", tmp_path / "x.tif", "--out", motion, "--seed", 5, "--start", 1, "--linear-light"],
            ["simulate", "blur", tmp_path / "x.tif", "--out", out, *options],
            ["simulate", "blur", tmp_path / "x.tif", "--out", tmp_path, "--kernel", "moton"],
            [
                "simulate",
                "blur",
                tmp_path / "x.tif",
                "--out",
                motion,
                "--std",
                "-1",
                "--kernel",
                "gaussian",
                "--overwrite",
            ],
            ["simulate", "blur", tmp_path / "x.tif", "--out", motion, "--noise", "-1", "--overwrite"],
        ]
    )
    assert (both.code, late.code) == (0, 0), both.err + late.err
    kinds = ("truth_kernel.npy", "truth_kernel.png", "truth.json")
    names = {f"{n}_{kind}" for n in "ax" for kind in kinds} | {"a_blurred.png", "x_blurred.tif"}
    assert {path.name for path in out.iterdir()} == names

    kernel = np.load(out / "x_truth_kernel.npy")
    assert np.array_equal(kernel, defocus_kernels(1, 9, radius=3, seed=5, start=1)[0, 0].numpy())
    blurred = tifffile.imread(out / "x_blurred.tif")
    assert blurred.dtype == np.uint16
    x = torch.from_numpy(sharp.astype(np.float32).transpose(2, 0, 1))[None]
    expected = Blur(boundary="valid")(image=x, kernel=torch.from_numpy(kernel)[None, None])
    assert np.abs(blurred - expected[0].permute(1, 2, 0).numpy()).max() <= 1
    assert np.array_equal(np.asarray(Image.open(out / "a_blurred.png"))[..., 3], alpha[4:-4, 4:-4, 3])

    truth = json.loads((out / "x_truth.json").read_text())
    known = {"kernel": {"kind": "defocus", "radius": 3.0}, "noise": 0.0, "seed": 5, "number": 1, "clipped_share": 0.0}
    assert {key: truth[key] for key in known} == known
    assert truth["files"] == ["x_blurred.tif", "x_truth_kernel.npy", "x_truth_kernel.png"]
    assert tifffile.imread(motion / "x_blurred.tif").shape == sharp.shape
    assert json.loads((motion / "x_truth.json").read_text())["linear_light"] is True

    assert (refused.code, len(refused.errors)) == (1, 1)
    assert "--overwrite" in refused.err
    assert unknown.code == 2
    assert "did you mean 'motion'?" in unknown.err
    assert (wide.code, negative.code) == (1, 1)
    assert "std is" in wide.err
    assert "sigma_y is" in negative.err


def test_kernel_database(several: Call, tmp_path: Path) -> None:
    from blinddps.simulate import read_kernel_database

    file = tmp_path / "new" / "kernels.safetensors"
    options = ["--count", 5, "--size", 16, "--seed", 2, "--quiet"]
    made, again, folder = several(
        [["simulate", "kernels", "--out", path, *options] for path in (file, file, tmp_path)],
    )
    assert (made.code, made.out.strip()) == (0, str(file))
    kernels, about = read_kernel_database(file)
    assert kernels.shape == (5, 1, 16, 16)
    assert about["seed"] == 2
    assert (again.code, folder.code) == (1, 1)
    assert "--overwrite" in again.err
    assert "is a folder" in folder.err


def test_priors(
    image_prior: Path,
    kernel_prior: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import blinddps.priors
    from blinddps.cli import app

    def said(*arguments: object) -> str:
        with pytest.raises(SystemExit) as end:
            app(list(map(str, arguments)))
        assert end.value.code == 0
        return capsys.readouterr().out

    shipped = {"tiny": image_prior, "other": kernel_prior}
    monkeypatch.setattr(blinddps.priors, "shipped_priors", lambda: shipped)
    parameters = sum(p.numel() for p in blinddps.priors.load_prior(image_prior).network.parameters())
    head, first, second = said("priors", "list").splitlines()
    assert head.split()[:7] == ["name", "unknown", "sizes", "channels", "parameters", "MB", "steps"]
    assert head.endswith("  allowed use (licence or data)")
    assert first.split()[:4] == ["tiny", "image", "32", "(any)"]
    assert f"{parameters / 1e6:.2f} M" in first
    assert first.endswith("  CC0-1.0")
    assert second.split()[:2] == ["other", "kernel"]
    rows = json.loads(said("priors", "list", "--json"))
    assert [row["name"] for row in rows] == ["tiny", "other"]
    assert rows[0]["parameters"] == parameters
    stored = sum(f.stat().st_size for f in image_prior.rglob("*.safetensors"))
    assert rows[0]["megabytes"] == pytest.approx(stored / 1e6, abs=0.001)
    assert 2 * parameters < stored < 2 * parameters + 20_000  # half precision, and the names

    about = json.loads(said("priors", "show", image_prior, "--json"))
    assert about["folder"] == str(image_prior)
    assert about["readme"] is None
    assert about["card"]["licence"] == "CC0-1.0"
    assert '"licence": "CC0-1.0"' in said("priors", "show", image_prior)


def test_training(several: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ["--size", 16, "--batch-size", 2, "--device", "cpu", "--quiet", "--name", "mine", "--licence", "CC0-1.0"]
    small += ["--set", "network.channels=[8,16]", "--set", "network.head_dim=8", "--set", "network.groups=4"]
    small += ["--set", "dtype=float32", "--set", "sample_every=100"]
    np.save(tmp_path / "y.npy", np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
    (tmp_path / "list.json").write_text("[]")
    calls: list[tuple[list[object], int, str]] = [
        (["kernel", "--out", run, "--steps", 2, *small, "--dry-run"], 0, "estimated_hours"),
        (["kernel", "--out", run, "--steps", 2, *small], 0, str(run / "prior")),
        (["kernel", "--out", run, "--steps", 2, *small], 1, "--resume"),
        (["kernel", "--out", run, "--steps", 3, "--resume", "--quiet", "--device", "cpu"], 0, str(run / "prior")),
        (
            ["kernel", "--out", tmp_path / "c", "--steps", 1, *small, "--from", run / "prior", "--set", "data_std=0.5"],
            0,
            f"warning: prior '{run / 'prior'}' models values of data_mean, data_std = (-0.88, 0.41)",
        ),
        (["kernel", "--out", tmp_path / "b", *small, "--config", run / "config.json", "--dry-run"], 0, '"parameters"'),
        (["kernel", "--out", tmp_path / "b", "--recipe", "kernl"], 1, "did you mean 'kernel'?"),
        (["kernel", "--out", tmp_path / "b", "--recipe", "photos"], 1, "prior of the image, not of the kernel"),
        (["image", "--out", tmp_path / "b"], 1, "needs data"),
        (["image", "--out", tmp_path / "b", "--data", tmp_path / "none"], 1, str(tmp_path / "none")),
        (["kernel", "--out", tmp_path / "b", "--learning-rate", "-1"], 1, "learning_rate"),
        (["kernel", "--out", tmp_path / "b", "--set", "batchsize=3"], 1, "did you mean 'batch_size'?"),
        (["kernel", "--out", tmp_path / "b", "--set", "batch_size"], 2, "KEY=VALUE"),
        (["kernel", "--out", tmp_path / "b", "--config", tmp_path / "none.json"], 1, "none.json"),
        (["kernel", "--out", tmp_path / "b", "--config", tmp_path / "list.json"], 1, "it holds no JSON object"),
        (["kernel", "--out", tmp_path / "b", "--config", tmp_path / "list.json", "--recipe", "kernel"], 2, "not both"),
        (["kernl", "--out", tmp_path / "b"], 2, "kernl"),
    ]
    for done, (options, code, sentence) in zip(several([["train", *o] for o, _, _ in calls]), calls, strict=True):
        assert (done.code, sentence in done.out + done.err) == (code, True), (options, done)
        assert "Traceback" not in done.err
        assert len(done.errors) == (code == 1)
    assert not (tmp_path / "b").exists()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 3]
    config = json.loads((run / "config.json").read_text())
    assert (config["name"], config["sizes"], config["network"]["channels"]) == ("mine", [16], [8, 16])


@pytest.fixture
def cases(tmp_path: Path, image_prior: Path, kernel_prior: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo with tiny priors and pictures."""
    from blinddps.simulate import motion_kernels

    module = import_module("blinddps.cli.demo")
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("face", "photo"):
        blocks = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        sharp = blocks.repeat(4, 0).repeat(4, 1)  # noise alone would come back as it was
        Image.fromarray(sharp).save(assets / f"{name}_sharp.png")
        Image.fromarray(255 - sharp).save(assets / f"{name}_blurred.png")
        np.save(assets / f"{name}_kernel.npy", motion_kernels(1, 15)[0, 0].numpy())
    options = {"prior": str(image_prior), "kernel_prior": str(kernel_prior)}
    monkeypatch.setattr(module, "CASES", tuple(module.Case(name, options) for name in ("face", "photo")))
    monkeypatch.setattr(module, "assets", lambda: assets)
    return tmp_path / "demo"


@pytest.mark.parametrize("diverges", [False, True])
def test_demo(cases: Path, diverges: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from blinddps.cli import app

    if diverges:
        module = import_module("blinddps.cli.demo")
        cases.mkdir()
        for kind in ("restored.png", "kernel.npy", "kernel.png", "figure.png"):
            (cases / f"face_{kind}").write_bytes(b"of an earlier run")
        earlier = {"psnr_input": 20, "environment": {"blinddps": "0.1.0"}}  # which named no files
        (cases / "result.json").write_text(json.dumps(earlier))
        wild = tuple(
            module.Case(case.name, case.options | {"solver": "paper", "step_size": 1e38}) for case in module.CASES
        )
        monkeypatch.setattr(module, "CASES", wild)
    with pytest.raises(SystemExit) as end:
        app(["demo", "--out", str(cases), "--steps", "2", "--quiet"])
    assert end.value.code == 0
    result = json.loads((cases / "result.json").read_text())
    out = capsys.readouterr().out
    for name, numbers in (("face", result), ("photo", result["photo"])):
        truth = np.asarray(Image.open(cases.parent / "assets" / f"{name}_sharp.png")) / 255
        assert numbers["psnr_input"] == pytest.approx(-10 * np.log10(np.mean((1 - 2 * truth) ** 2)), abs=1e-3)
        assert f"{name}: {numbers['outcome']}, PSNR {numbers['psnr_input']:.2f} dB -> " in out
        if diverges:
            assert numbers["outcome"] == "diverged"
            assert numbers["psnr"] is numbers["psnr_sub"] is numbers["mnc_sub"] is None
            assert [path.name for path in cases.iterdir()] == ["result.json"]
            continue
        assert numbers["outcome"] in ("finished", "rejected")
        restored = np.asarray(Image.open(cases / f"{name}_restored.png")) / 255
        assert numbers["psnr"] == pytest.approx(-10 * np.log10(np.mean((restored - truth) ** 2)), abs=0.01)
        assert 0 < numbers["mnc_sub"] <= 1
        assert numbers["seconds"] > 0
        for kind in ("kernel.npy", "kernel.png", "figure.png"):
            assert (cases / f"{name}_{kind}").exists()


def test_converted_checkpoint(several: Call, tmp_path: Path) -> None:
    from tests.priors.adm import Adm

    torch.save(Adm(channels=1).state(), tmp_path / "kernel.pt")
    small = ["--size", 16, "--head-channels", 16]
    good = ["convert", tmp_path / "kernel.pt", "--out", tmp_path / "prior", "--unknown", "kernel", *small]
    calls: list[tuple[list[Any], int, str]] = [
        (good, 0, "kernel, 1 channel, 16 x 16, 0.8 M parameters, variance learned"),
        (good, 1, "is there already; give another folder"),
        (["convert", tmp_path / "none.pt", "--out", tmp_path / "b"], 1, "there is no file"),
        ([*good, "--steps", 1], 2, "Invalid value for '--steps'"),
        ([*good, "--unknown", "krnl"], 2, "krnl"),
        (["convert", "", "--out", tmp_path / "b"], 2, "the path is empty"),
        (["priors", "show", tmp_path / "prior"], 0, '"converted_from": "kernel.pt"'),
    ]
    for done, (_, code, sentence) in zip(several([call for call, _, _ in calls]), calls, strict=True):
        assert (done.code, sentence in done.out + done.err) == (code, True), done
        assert len(done.errors) == (code == 1)
    assert not (tmp_path / "b").exists()
