"""Each of ``examples/`` restores something, in at most 60 lines."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
GAINS = {"blind_super_resolution": 1.0, "vignetting": 6.0, "mri_motion": 1.5}  # dB, of the fewer steps here


@pytest.mark.parametrize("name", sorted(GAINS))
def test_an_example_restores(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(str(tmp_path), steps=6)
    ((after, before),) = re.findall(r"PSNR ([\d.]+) dB, \w+ ([\d.]+) dB", capsys.readouterr().out)
    assert float(after) - float(before) > GAINS[name]
    (figure,) = tmp_path.glob("*.png")
    assert Image.open(figure).width > 300


@pytest.mark.parametrize("name", sorted(GAINS))
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60
