"""The paper's table from converted checkpoints: everything as at its size, but small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tests.priors.adm import Adm

from blinddps.evaluation import builtin_specs, make_report, parse_spec, run_bench
from blinddps.io import write_image
from blinddps.priors import convert_checkpoint


def test_table_of_ffhq_runs_from_converted_checkpoints(tmp_path: Path) -> None:
    for name, size, adm in (("image", 32, Adm()), ("kernel", 8, Adm(channels=1))):
        state = {weight: 0.3 * value for weight, value in adm.state().items()}
        torch.save(state, tmp_path / f"{name}.pt")
        convert_checkpoint(tmp_path / f"{name}.pt", tmp_path / name, unknown=name, size=size, head_channels=16)  # type: ignore[arg-type]
    (tmp_path / "ffhq").mkdir()
    write_image(tmp_path / "ffhq" / "00000.png", np.random.default_rng(0).random((32, 32, 3), dtype=np.float32))
    text = builtin_specs()["table1_2_ffhq"].read_text(encoding="utf-8")
    text = (
        text.replace("count = 1000", "count = 1")
        .replace("size = 256", "size = 32")
        .replace("kernel_size = 64", "kernel_size = 8")
    )
    given = {"prior": str(tmp_path / "image"), "kernel_prior": str(tmp_path / "kernel"), "num_steps": 3}
    spec = parse_spec(text, options=given)
    methods = ("input", "published", "fast", "known-kernel")
    summary = run_bench(spec, tmp_path / "run", data=tmp_path, only=methods, progress=False)
    assert (summary.done, summary.failed) == (8, 0), summary.first_failure
    records = {path: json.loads(path.read_text()) for path in (tmp_path / "run" / "records").rglob("*.json")}
    published = [r for path, r in records.items() if path.parent.name == "published"]
    assert [r["nfe"] for r in published] == 2 * [{"image": 3, "kernel": 3}]
    assert all(r["settings"]["as_published"] and r["settings"]["kernel_size"] == 8 for r in published)
    told = make_report(tmp_path / "run").text
    assert "BlindDPS" in told  # the published figures, beside
    assert "constants of the authors' code" in told
