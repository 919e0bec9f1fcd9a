"""Critics of pictures, for the training of generators: patches of one size (Isola et al. 2017) or of two (Kupyn et al.
2019)."""

from __future__ import annotations

from torch import Tensor, nn

from .common import PictureNorm

__all__ = ["PatchCritic", "critics"]


class PatchCritic(nn.Module):
    """Scores of overlapping patches, ``(B, 1, h, w)``.

    ``layers`` convolutions of 4 x 4 halve the size, each with twice the channels, up to eight times ``width``; one more
    keeps it; the last one scores. A norm follows all but the first and the last, a leaky ReLU of 0.2 all but the last.
    With 3 layers a score sees 70 pixels a side, with 5 it sees 286.

    Args of ``forward``: ``(B, 3, H, W)`` in [-1, 1].
    """

    def __init__(self, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        found: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 2), nn.LeakyReLU(0.2)]
        inputs = width
        for i in range(1, layers + 1):
            outputs = width * min(2**i, 8)
            stride = 2 if i < layers else 1
            found += [nn.Conv2d(inputs, outputs, 4, stride, 2), PictureNorm(outputs), nn.LeakyReLU(0.2)]
            inputs = outputs
        self.model = nn.Sequential(*found, nn.Conv2d(inputs, 1, 4, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


def critics(kind: str, width: int) -> nn.ModuleList:
    """``single``: of patches; ``double``: of patches and of nearly the whole, DeblurGAN-v2's two scales."""
    return nn.ModuleList(PatchCritic(width, layers) for layers in ((3, 5) if kind == "double" else (3,)))
