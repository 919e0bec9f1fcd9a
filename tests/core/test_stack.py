"""Frames held in a file: what is read is what was written, in whole steps."""

from __future__ import annotations

import pytest
import torch

from blinddps.core import InputError
from blinddps.core import stack as module
from blinddps.core.stack import Stack, parts, stack_like


def test_what_was_written_is_read_in_any_part() -> None:
    x = torch.rand(5, 3, 6, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    stack = Stack((5, 3, 6, 7))
    stack[0:2], stack[2:5] = x[:2], x[2:]
    assert stack.shape == x.shape
    torch.testing.assert_close(stack[1:4], x[1:4], atol=stack.step / 2, rtol=0)
    torch.testing.assert_close(stack.rows(2, 5), x[:, :, 2:5], atol=stack.step / 2, rtol=0)
    stack.append(x[0])
    stack.keep([5, 3])
    torch.testing.assert_close(stack[:], x[[0, 3]], atol=stack.step / 2, rtol=0)
    stack.first_channel()
    torch.testing.assert_close(stack[:], x[[0, 3], :1], atol=stack.step / 2, rtol=0)


def test_every_level_of_8_bit_comes_back() -> None:
    levels = torch.arange(256).reshape(1, 1, 16, 16) / 255 * 2 - 1
    stack = Stack((1, 1, 16, 16))
    stack[0:1] = levels
    assert torch.equal(((stack[:] + 1) / 2 * 255).round(), torch.arange(256).reshape(1, 1, 16, 16).float())


def test_what_was_never_written_is_zero_and_what_is_beyond_is_clipped() -> None:
    stack = Stack((3, 1, 2, 2), step=0.5)
    stack[1:2] = torch.full((1, 1, 2, 2), 1e9)
    assert stack[:].unique().tolist() == [0.0, 0.5 * 32767]


def test_parts_cover_all_frames_and_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 100)
    stack = Stack((7, 1, 5, 10))
    assert [(p.start, p.stop) for p in parts(stack)] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert isinstance(stack_like(stack, (7, 2, 5, 10), 1.0), Stack)
    assert isinstance(stack_like(stack[:], (7, 2, 5, 10), 1.0), torch.Tensor)


def test_a_full_disk_is_a_sentence() -> None:
    stack = Stack((1, 1, 2, 2))
    stack._file.close()
    stack._file = open("/dev/full", "r+b", buffering=0)  # type: ignore[assignment]  # noqa: SIM115
    with pytest.raises(InputError, match=r"do not fit in .*make room there, name another folder in TMPDIR"):
        stack[0:1] = torch.zeros(1, 1, 2, 2)
    stack._file.close()
