"""Batches made by processes: the same, in order, whatever their number; what goes wrong there is one sentence here."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from blinddps.core import InputError
from blinddps.training import KernelData, TrainConfig, train
from blinddps.training.batches import batches
from blinddps.training.checkpoint import load_checkpoint
from blinddps.training.network import draws

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


class Failing(KernelData):
    """Raises at step 2, and dies at step 3."""

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        if items[0] == 8:
            raise InputError("no such picture")
        if items[0] == 12:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(items, size)


def test_a_run_is_the_same_whatever_makes_its_batches(tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    train(tiny(mixture={"gaussian": 1.0}), tmp_path / "alone", progress=False)
    # stopped after three steps, when batches of later ones have been made, and gone on with by another number
    for workers, minutes in ((2, 0.0), (1, None)):
        config = tiny(mixture={"gaussian": 1.0}, loader_workers=workers)
        train(config, tmp_path / "two", progress=False, resume=workers == 1, max_minutes=minutes)
    alone, two = (load_checkpoint(tmp_path / name) for name in ("alone", "two"))
    assert alone["step"] == two["step"] == 6
    assert all(torch.equal(value, two["network"][key]) for key, value in alone["network"].items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_goes_wrong_in_a_process_is_one_sentence(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny(loader_workers=1)
    data = Failing({"gaussian": 1.0}, 0)
    with closing(batches(config, data, draws, range(1, 6))) as coming:
        assert next(coming)[0].shape == (4, 1, 8, 8)
        with pytest.raises(InputError, match=r"^no such picture$"):
            next(coming)
    with closing(batches(config, data, draws, range(3, 6))) as coming:  # noqa: SIM117
        with pytest.raises(
            InputError, match=r"^a process that makes batches has ended \(DataLoader worker .*; give fewer"
        ):
            next(coming)


def test_a_share_of_each_batch(tiny: Callable[..., TrainConfig]) -> None:
    data = KernelData({"gaussian": 1.0}, 0)
    (whole,) = batches(tiny(), data, draws, range(1, 2))
    parts = [next(batches(tiny(), data, draws, range(1, 2), rank=rank, world=2)) for rank in range(2)]
    assert all(torch.equal(torch.cat(pair), every) for every, *pair in zip(whole, *parts, strict=True))
