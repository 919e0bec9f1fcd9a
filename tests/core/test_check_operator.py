"""What ``check_operator`` finds: each fault alone, in an operator that is otherwise good."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import blinddps
from blinddps import Blur, check_operator
from blinddps.core import InputError

SHAPES = {"image": (2, 6, 7), "gain": (1, 1, 1)}


def good(*, image: Tensor, gain: Tensor) -> Tensor:
    return gain * image


def test_a_good_operator_is_told_so_line_by_line() -> None:
    report = str(check_operator(good, **SHAPES))
    for line in ("shapes: torch.float64 of shape (3, 2, 6, 7)", "determinism", "batch independence", "values: finite"):
        assert line in report
    for name in SHAPES:
        assert f"gradient of {name}: " in report
        assert f"adjoint of {name}: " in report
    assert blinddps.check_operator(Blur("valid"), image=(1, 8, 8), kernel=(1, 3, 4))


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None: ...

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return 2 * g

    @staticmethod
    def jvp(ctx: object, t: Tensor) -> Tensor:
        return t.clone()


def in_place(*, image: Tensor, gain: Tensor) -> Tensor:
    image[..., 0, 0] = 0.0
    return gain * image


COUNT = itertools.count()
FAULTS: list[tuple[Callable[..., Tensor], str]] = [
    (lambda *, image, gain: (gain * image).sum(), r"gives torch.float64 of shape \(\) for 3 samples"),
    (lambda *, image, gain: gain * image + next(COUNT), "another result for equal arguments"),
    (lambda *, image, gain: gain * (image - image.mean()), "mixes the samples of a batch"),
    (lambda *, image, gain: gain.detach() * image, "derivative in gain that is not its difference quotient"),
    (
        lambda *, image, gain: gain * (image + (image.round() - image).detach()),
        "derivative in image that is not its difference quotient",
    ),
    (lambda *, image, gain: gain * WrongBackward.apply(image), "derivative in image that is not the transpose"),
    (lambda *, image, gain: gain * image.log(), "values not finite"),
    (lambda *, image, gain: gain * torch.from_numpy(image.detach().numpy()), "derivative in image|differentiated in"),
    (in_place, "changes its argument image in place"),
    (lambda *, image, gain: gain * image.mul_(2) + 1, "changes its argument image in place"),
    (lambda *, image, gain: gain * image @ torch.ones(5, 5, dtype=torch.float64), "cannot be called .* 3 samples"),
    (lambda *, image, gain: gain * image / (len(image) > 1 or 1 // 0), "cannot be called .* 1 sample:"),
    (lambda *, image, gain: (gain * image).float(), "gives torch.float32 for float64 arguments"),
    (lambda *, image, gain: (gain * image)[..., :0], r"shape \(3, 2, 6, 0\)"),
    (lambda *, image, gain: gain * image.round(), "has no derivative in image"),
    (lambda *, image, gain: 2 * image, "has no derivative in gain"),
    (3, "the operator is of type int"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("operator", "fault"), FAULTS)
def test_each_fault_is_named(operator: Callable[..., Tensor], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        check_operator(operator, **SHAPES)


def test_shapes_are_those_of_the_unknowns() -> None:
    with pytest.raises(InputError, match="unknowns are image, gain and shapes were given of image"):
        check_operator(good, image=(1, 4, 4))
    with pytest.raises(InputError, match=r"unknowns are image, gain, power .* functools.partial"):
        check_operator(lambda *, image, gain, power=2: gain * image**power, **SHAPES)
    with pytest.raises(InputError, match="shapes were given of none"):
        check_operator(lambda: torch.zeros(3, 3))


@pytest.mark.parametrize("shape", [3, (0, 3, 3), (3, 3), "abc", (1.0, 2, 2)])
def test_what_is_no_shape_is_named(shape: object) -> None:
    with pytest.raises(InputError, match=r"shape of image is .*; give \(C, h, w\)"):
        check_operator(good, image=shape, gain=(1, 1, 1))  # type: ignore[arg-type]
