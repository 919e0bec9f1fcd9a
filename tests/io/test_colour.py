import numpy as np
import pytest
import torch

from blinddps.core.errors import InputError
from blinddps.io.colour import to_display, to_linear


def test_values_of_the_standard():
    # 8-bit code values and their linear light, from the two branches of IEC 61966-2-1 worked out by hand.
    codes = np.array([0, 10, 128, 188, 255]) / 255
    light = np.array([0, 10 / 255 / 12.92, ((128 / 255 + 0.055) / 1.055) ** 2.4, 0.502886, 1])
    np.testing.assert_allclose(to_linear(codes), light, atol=1e-6)
    np.testing.assert_allclose(to_display(light), codes, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_of_each_other(dtype):
    x = np.linspace(0, 1, 65536, dtype=dtype)
    for there, back in ((to_linear, to_display), (to_display, to_linear)):
        assert there(x).dtype == dtype
        np.testing.assert_allclose(back(there(x)), x, atol=1e-6, rtol=0)
        assert (np.diff(there(x)) > 0).all()


def test_every_16_bit_value_survives():
    x = np.arange(65536) / 65535
    back = to_display(to_linear(x.astype(np.float32)))
    np.testing.assert_array_equal(np.rint(back * 65535), np.arange(65536))


def test_torch_agrees_with_numpy_and_has_finite_gradients():
    x = torch.linspace(0, 1, 1001, dtype=torch.float64, requires_grad=True)
    for function in (to_linear, to_display):
        y = function(x)
        np.testing.assert_allclose(y.detach(), function(x.detach().numpy()), rtol=1e-12)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.isfinite(gradient).all()
        assert (gradient > 0).all()
    assert to_linear(torch.zeros(2, 3, 4, 5)).shape == (2, 3, 4, 5)


def test_integers_are_refused():
    for x in (np.arange(3, dtype=np.uint8), torch.arange(3)):
        for function in (to_linear, to_display):
            with pytest.raises(InputError, match="needs floating-point values"):
                function(x)
