from __future__ import annotations

import contextlib
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from blinddps.core import InputError, ensure_output_dir
from blinddps.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint


def state(step: int = 3) -> dict[str, Any]:
    weights = {"weight": torch.arange(4096.0)}
    return {
        "config": "{}",
        "network": weights,
        "average": weights,
        "optimizer": {"state": {}, "param_groups": []},
        "step": step,
        "seconds": 1.5,
    }


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state())
    read = load_checkpoint(tmp_path)
    assert torch.equal(read["network"].pop("weight"), torch.arange(4096.0))
    assert (read["step"], read["seconds"], read["config"]) == (3, 1.5, "{}")
    assert os.listdir(tmp_path) == [CHECKPOINT]


def test_a_write_that_fails_leaves_the_old_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, state(step=3))

    def disk_full(content: object, stream: Any) -> None:
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(InputError, match=r"cannot be written .*No space left on device.*previous checkpoint is whole"):
        save_checkpoint(tmp_path, state(step=4))
    assert load_checkpoint(tmp_path)["step"] == 3
    assert os.listdir(tmp_path) == [CHECKPOINT]


def test_what_a_kill_leaves_half_written_goes_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    monkeypatch.setattr(torch, "save", lambda content, stream: names.extend(os.listdir(tmp_path)))
    save_checkpoint(tmp_path, state())
    (name,) = names
    (tmp_path / name.replace(f"-{os.getpid()}-", "-4194999-")).write_bytes(b"half of it")  # beyond Linux's last number
    ensure_output_dir(tmp_path)
    assert os.listdir(tmp_path) == [CHECKPOINT]


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(f"'{tmp_path}' has no checkpoint.pt to resume from")):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_one_cut_short_is_told(tmp_path: Path, share: float) -> None:
    save_checkpoint(tmp_path, state())
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"checkpoint\.pt' cannot be read \(.+\); restore it from a copy") as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_changed_weight_is_told(tmp_path: Path) -> None:
    """One flipped bit: ``torch.load`` itself takes it."""
    save_checkpoint(tmp_path, state())
    path = tmp_path / CHECKPOINT
    damaged = bytearray(path.read_bytes())
    place = damaged.index(torch.arange(1000.0, 1004.0).numpy().tobytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    torch.load(path, weights_only=True)
    with pytest.raises(InputError, match=r"is damaged \(wrong checksum of .+\)"):
        load_checkpoint(tmp_path)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("bare", [False, True])
def test_nothing_is_unpickled(tmp_path: Path, bare: bool) -> None:
    """Neither from torch's own format nor from a bare pickle."""
    path, mark = tmp_path / CHECKPOINT, tmp_path / "executed"
    content = state() | {"window": Malicious(mark)}
    if bare:
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"checkpoint\.pt' (holds more than tensors and plain values|cannot be read)"):
        load_checkpoint(tmp_path)
    assert not mark.exists()
    with contextlib.suppress(RuntimeError):
        torch.load(path, weights_only=False)  # the trap is a real one
    assert mark.exists()


@pytest.mark.parametrize("content", [{"step": 1}, [1, 2], torch.zeros(2)])
def test_a_file_of_something_else(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match=r"checkpoint\.pt' has no 'average', so it is of no training run"):
        load_checkpoint(tmp_path)
