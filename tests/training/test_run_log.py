from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from blinddps.core import InputError
from blinddps.training.run_log import RunLog, loss_summary


def line(step: int) -> dict[str, Any]:
    return {
        "loss": 1 / step,
        "loss_by_noise_quartile": [0.1, None, 0.3, 0.4],
        "step": step,
        "lr": 1e-3,
        "grad_norm": 2.0,
    }


def test_the_loss_by_noise_quartile() -> None:
    sigma = torch.tensor([8.0, 1, 7, 2, 6, 3, 5, 4])
    loss = 10 * sigma
    summary = loss_summary(loss, sigma)
    assert summary["loss"] == 45
    assert summary["loss_by_noise_quartile"] == [15, 35, 55, 75]
    assert summary["sigma_quartiles"] == [2.75, 4.5, 6.25]


def test_equal_levels_leave_quartiles_empty() -> None:
    summary = loss_summary(torch.tensor([1.0, 2, 3]), torch.ones(3))
    assert summary["loss_by_noise_quartile"] == [2, None, None, None]


def test_lines_after_the_checkpoint_and_halves_are_dropped(tmp_path: Path) -> None:
    lines = [json.dumps(line(step)) for step in (2, 4, 6)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + '\n{"loss": 0.1, "loss_by')
    log = RunLog(tmp_path, 4)
    log.write(line(5))
    log.close()
    assert [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        line(2),
        line(4),
        line(5),
    ]


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path, 0, tensorboard=True)
    for step in (2, 4, 6):
        log.write(line(step))
    log.close()
    log = RunLog(tmp_path, 4, tensorboard=True)  # steps after 4 are done again
    log.write(line(5))
    log.close()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    names = {"loss", "lr", "grad_norm", *(f"loss_by_noise_quartile/{i}" for i in (1, 3, 4))}
    assert set(board.Tags()["scalars"]) == names
    assert [(e.step, e.value) for e in board.Scalars("loss")] == [(s, pytest.approx(1 / s)) for s in (2, 4, 5)]


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="TensorBoard is not installed; pip install 'blinddps\\[train\\]'"):
        RunLog(tmp_path, 0, tensorboard=True)


def test_without_tensorboard_nothing_but_the_log_is_written(tmp_path: Path) -> None:
    RunLog(tmp_path, 0).write(line(1))
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"step" 4}\n', "it is no JSON"),
        (b'{"step": 2}\n', "a line is not of a run"),
        (b'{"step": 2, "loss": 1, "loss_by_noise_quartile": [0.1, "x"]}\n', "a line is not of a run"),
        (b"\xff\xfe{}\n", "it is not UTF-8 text"),
        (b'{"step": ' + b"9" * 5000 + b"}\n", "more than 64 bits"),
    ],
)
def test_a_damaged_log_is_told_and_left(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=f"log .*log.jsonl.*{message}.*; mend it or move it away, then resume"):
        RunLog(tmp_path, 4)
    assert (tmp_path / "log.jsonl").read_bytes() == content
