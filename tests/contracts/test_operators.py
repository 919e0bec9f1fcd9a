"""What every operator promises; a new operator is held to it by a row in ``CASES``.

An operator is called with its arguments by name, all tensors whose first dimension is the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from blinddps.core import check_operator
from blinddps.operators import Blur, Composed, Frames, Stretch, StretchedBlur, Tilt

Arguments = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """An operator and how to call it.

    shapes: of one sample of each argument. linear: the arguments it is linear in. adjoints: for arguments it offers a
    transpose of, ``(residual, arguments) -> Tensor``. twin: another operator that computes the same.
    """

    name: str
    operator: Callable[..., Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    linear: tuple[str, ...] = ()
    adjoints: Mapping[str, Callable[[Tensor, Arguments], Tensor]] = field(default_factory=dict)
    twin: Callable[..., Tensor] | None = None

    def arguments(self, batch: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Arguments:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(batch, *shape, generator=generator, dtype=torch.float64).to(dtype)
            for name, shape in self.shapes.items()
        }


BLURS = (
    # every boundary with every method, size and number of channels, and every pair of the latter three
    ("circular", "fft", (3, 3), 1),
    ("circular", "direct", (4, 4), 3),
    ("circular", "fft", (4, 3), 3),
    ("zero", "direct", (3, 3), 3),
    ("zero", "fft", (4, 4), 1),
    ("zero", "direct", (4, 3), 1),
    ("replicate", "fft", (3, 3), 3),
    ("replicate", "direct", (4, 4), 1),
    ("replicate", "direct", (4, 3), 3),
    ("reflect", "direct", (3, 3), 1),
    ("reflect", "fft", (4, 4), 3),
    ("reflect", "fft", (4, 3), 1),
    ("valid", "fft", (3, 3), 1),
    ("valid", "direct", (4, 4), 3),
    ("valid", "fft", (4, 3), 1),
)


def test_the_blurs_hold_every_pair_of_their_factors() -> None:
    factors = [
        ("circular", "zero", "replicate", "reflect", "valid"),
        ("fft", "direct"),
        ((3, 3), (4, 4), (4, 3)),
        (1, 3),
    ]
    for (i, first), (j, second) in combinations(enumerate(factors), 2):
        assert {(row[i], row[j]) for row in BLURS} == set(product(first, second))


def blur_cases() -> list[Case]:
    cases = []
    for boundary, method, size, channels in BLURS:
        blur = Blur(boundary, method)  # type: ignore[arg-type]
        cases.append(
            Case(
                name=f"blur-{boundary}-{method}-{size[0]}x{size[1]}-{channels}ch",
                operator=blur,
                shapes={"image": (channels, 5, 6), "kernel": (1, *size)},
                linear=("image", "kernel"),
                adjoints={
                    "image": lambda r, a, blur=blur: blur.adjoint(r, kernel=a["kernel"], image_shape=a["image"].shape),
                    "kernel": lambda r, a, blur=blur: blur.adjoint_kernel(
                        r, image=a["image"], kernel_shape=a["kernel"].shape
                    ),
                },
                twin=Blur(boundary, "direct" if method == "fft" else "fft"),  # type: ignore[arg-type]
            )
        )
    return cases


def tilt_cases() -> list[Case]:
    cases = []
    for mode, boundary in product(("bilinear", "bicubic"), ("replicate", "reflect", "circular", "zero")):
        tilt = Tilt(mode, boundary)
        cases.append(
            Case(
                name=f"tilt-{mode}-{boundary}",
                operator=tilt,
                shapes={"image": (2, 6, 7), "tilt": (2, 6, 7)},
                linear=("image",),
                adjoints={"image": lambda r, a, tilt=tilt: tilt.adjoint(r, tilt=a["tilt"])},
            )
        )
    return cases


def composed_cases() -> list[Case]:
    shapes = {"image": (2, 6, 7), "tilt": (2, 6, 7), "kernel": (1, 3, 4)}
    tilt, blur = Tilt(), Blur("replicate")
    both = [
        Case(name, operator, shapes, linear=("image", "kernel"))
        for name, operator in (
            ("tilt-then-blur", Composed((tilt, blur))),
            ("blur-then-tilt", Composed((blur, tilt))),
        )
    ]
    frames = Frames(Composed((tilt, blur)), 2)
    per_frame = Frames(Composed((tilt, blur)), 2, ("tilt", "kernel"))
    return [
        *both,
        Case("frames-shared-kernel", frames, shapes | {"tilt": (4, 6, 7)}, linear=("image", "kernel")),
        Case("frames-own-kernels", per_frame, shapes | {"tilt": (4, 6, 7), "kernel": (2, 3, 4)}, linear=("image",)),
    ]


def stretched_cases() -> list[Case]:
    stretch = Stretch(*(torch.full((1, 1, 1, 1), v, dtype=torch.float64) for v in (-0.1, 0.2, 3.0)))
    shapes = {"image": (2, 6, 7), "kernel": (1, 3, 4)}
    return [Case("stretched-blur", StretchedBlur(stretch), shapes, linear=())]


CASES = blur_cases() + tilt_cases() + composed_cases() + stretched_cases()


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def test_adjoints_pass_the_dot_product_test(case: Case) -> None:
    arguments = case.arguments(3)
    y = case.operator(**arguments)
    residual = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    expected = (y * residual).flatten(1).sum(1)
    for name, adjoint in case.adjoints.items():
        with torch.no_grad():
            transposed = adjoint(residual, arguments)
        assert transposed.shape == arguments[name].shape
        torch.testing.assert_close((transposed * arguments[name]).flatten(1).sum(1), expected, rtol=1e-10, atol=1e-10)


def test_linear_in_the_arguments_it_says(case: Case) -> None:
    first, second = case.arguments(3), case.arguments(3, seed=1)
    for name in case.linear:
        mixed = case.operator(**{**first, name: 2 * first[name] - 3 * second[name]})
        apart = 2 * case.operator(**first) - 3 * case.operator(**{**first, name: second[name]})
        torch.testing.assert_close(mixed, apart, rtol=1e-12, atol=1e-12)


def test_gradients(case: Case) -> None:
    """Forward and backward; second derivatives of the operator are not used anywhere but must not be wrong."""
    assert check_operator(case.operator, **case.shapes)
    arguments = case.arguments(2)
    names = list(arguments)
    inputs = [arguments[name].requires_grad_() for name in names]

    def function(*values: Tensor) -> Tensor:
        return case.operator(**dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_samples_of_a_batch_are_independent(case: Case) -> None:
    arguments = case.arguments(3)
    together = case.operator(**arguments)
    for i in range(3):
        alone = case.operator(**{name: value[i : i + 1] for name, value in arguments.items()})
        torch.testing.assert_close(alone[0], together[i], rtol=1e-12, atol=1e-12)
    for name, adjoint in case.adjoints.items():
        together_back = adjoint(together, arguments)
        for i in range(3):
            alone_back = adjoint(together[i : i + 1], {n: value[i : i + 1] for n, value in arguments.items()})
            torch.testing.assert_close(alone_back[0], together_back[i], rtol=1e-12, atol=1e-12, msg=name)


def test_dtype_is_kept(case: Case) -> None:
    for dtype, tolerance in (
        (torch.float64, 1e-12),
        (torch.float32, 1e-5),
        (torch.bfloat16, 2e-2),
        (torch.float16, 2e-3),
    ):
        arguments = case.arguments(2, dtype=dtype)
        y = case.operator(**arguments)
        exact = case.operator(**{name: value.double() for name, value in arguments.items()})
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), exact, rtol=tolerance, atol=tolerance)


def test_half_precision_autocast_changes_nothing(case: Case) -> None:
    arguments = case.arguments(2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = case.operator(**arguments)
    torch.testing.assert_close(y, case.operator(**arguments), rtol=0, atol=0)


def test_twins_agree(case: Case) -> None:
    if case.twin is None:
        pytest.skip("has no twin")
    arguments = case.arguments(3)
    torch.testing.assert_close(case.operator(**arguments), case.twin(**arguments), rtol=1e-12, atol=1e-12)


def test_inputs_are_left_alone_and_nothing_is_remembered(case: Case) -> None:
    arguments = case.arguments(3)
    before = {name: value.clone() for name, value in arguments.items()}
    first = case.operator(**arguments)
    case.operator(**case.arguments(3, seed=1))
    for adjoint in case.adjoints.values():
        adjoint(first, arguments)
    for name, value in arguments.items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    torch.testing.assert_close(case.operator(**arguments), first, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device_is_kept_and_agrees_with_the_cpu(case: Case) -> None:
    arguments = case.arguments(3)
    y = case.operator(**{name: value.cuda() for name, value in arguments.items()})
    assert y.device.type == "cuda"
    torch.testing.assert_close(y.cpu(), case.operator(**arguments), rtol=1e-12, atol=1e-12)
