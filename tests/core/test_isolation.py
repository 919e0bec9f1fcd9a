"""Calls that do not mind what the caller has set torch to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from blinddps.core import isolated, linear_schedule


@dataclass(frozen=True)
class Holder:
    name: str
    value: Tensor


@isolated
def seen(x: Tensor, *rest: object, **named: object) -> tuple[object, ...]:
    assert not torch.is_inference_mode_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert torch.ones(1).device.type == "cpu"
    y = x.clone().requires_grad_()
    (y * y).sum().backward()
    assert torch.equal(y.grad, 2 * x)  # type: ignore[arg-type]
    return x, rest, named


@pytest.fixture
def odd_state() -> object:
    with torch.device("meta"):
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(torch.float32)


def test_the_usual_state_is_there_and_the_callers_is_back(odd_state: object) -> None:
    x = torch.ones(3, device="cpu")
    with torch.inference_mode():
        seen(x)
        assert torch.is_inference_mode_enabled()
    assert torch.get_default_dtype() == torch.float64
    assert torch.ones(1).device.type == "meta"

    @isolated
    def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert torch.get_default_dtype() == torch.float64


def test_tensors_of_inference_mode_are_copied_and_nothing_else() -> None:
    plain = torch.ones(2)
    with torch.inference_mode():
        made = torch.ones(2)
    held, bound = Holder("a", made), partial(torch.add, made, other=plain)
    x, rest, named = seen(made, plain, held, bound, (made, plain), a={"b": held}, c=Holder("d", plain))
    assert not x.is_inference()  # type: ignore[attr-defined]
    assert torch.equal(x, made)  # type: ignore[arg-type]
    assert rest[0] is plain  # type: ignore[index]
    assert not rest[1].value.is_inference()  # type: ignore[index]
    assert not rest[2].args[0].is_inference()  # type: ignore[index]
    assert rest[2].keywords["other"] is plain  # type: ignore[index]
    assert not rest[3][0].is_inference()  # type: ignore[index]
    assert not named["a"]["b"].value.is_inference()  # type: ignore[index,call-overload]
    same = Holder("d", plain), {"e": plain}, (plain, 1), partial(torch.add, plain)
    _, rest, _ = seen(plain, *same)
    assert all(a is b for a, b in zip(rest, same, strict=True))  # type: ignore[call-overload]


def test_what_a_schedule_keeps_can_meet_gradients() -> None:
    schedule = linear_schedule()
    with torch.inference_mode():
        first = schedule.timestep(torch.tensor([1.0]))
    sigma = torch.ones(1, requires_grad=True)
    schedule.timestep(sigma).sum().backward()
    assert sigma.grad is not None
    assert torch.equal(schedule.timestep(torch.tensor([1.0])), first)
