"""FID's arithmetic against SciPy's matrix square root, and its network with seeded random weights.

Once, by hand: the network equals torch-fidelity 0.3.0's with the same random weights to the last bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.linalg import sqrtm
from torch import Tensor, nn

from blinddps.core.errors import InputError
from blinddps.metrics import FidInception, frechet_distance, load_inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of He's variance: PyTorch's own fade with depth, and every FID would be 0."""
    torch.manual_seed(0)
    network = FidInception()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    save_file({k: v for k, v in network.state_dict().items() if "num_batches" not in k}, path)
    return path


def features(n: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 12, generator=g) @ torch.randn(12, 12, generator=g) + seed


@pytest.mark.parametrize(("n", "m"), [(40, 50), (8, 50), (40, 9), (5, 5)])
def test_frechet_distance_against_scipy(n: int, m: int) -> None:
    """Of 12 features: covariances of full rank and, from few pictures, of less."""
    a, b = features(n, 0), features(m, 1)
    x, y = a.double().numpy(), b.double().numpy()
    s, t = np.cov(x.T), np.cov(y.T)
    eigenvalues = np.linalg.eigvals(s @ t)
    if min(n, m) > 12:
        assert np.trace(sqrtm(s @ t).real) == pytest.approx(np.sqrt(eigenvalues.real).sum())
    root = np.sqrt(eigenvalues.real.clip(0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(a + 2, a) == pytest.approx(12 * 4, rel=1e-5)  # a translation


def test_a_distance_needs_two_pictures() -> None:
    with pytest.raises(InputError, match="two rows"):
        frechet_distance(features(1, 0), features(5, 0))


def test_network(weights: Path) -> None:
    network, file = load_inception(weights)
    assert not file.published
    with_classes = sum(p.numel() for p in network.parameters()) + 1008 * 2049
    assert with_classes == 23_850_960  # torchvision's Inception-v3 without its auxiliary part, with 1008 classes
    x = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    f = network(x)
    assert f.shape == (2, 2048)
    assert float(f.std()) > 0.1  # alive
    torch.testing.assert_close(network(x[1:]), f[1:], rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="shape"):
        network(x[:, :2])


def test_a_lacking_weight_is_named(weights: Path, tmp_path: Path) -> None:
    state = {k: v for k, v in FidInception().state_dict().items() if k != "Mixed_6c.branch_pool.bn.bias"}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"no fitting 'Mixed_6c\.branch_pool\.bn\.bias'"):
        load_inception(tmp_path / "w.pth")
