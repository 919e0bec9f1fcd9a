"""Networks that were trained to restore pictures, to compare with: one file each, written from their publications.

``blinddps.deblur(picture, solver="nafnet", weights="NAFNet-GoPro-width32.pth")`` is the usual way in. None of them
estimates a kernel. See ``docs/baselines.md``.
"""

from .common import padded
from .critic import critics
from .deblurganv2 import DeblurGANv2
from .load import ABOUT, NETWORKS, WRAPPERS, network_of, restorer
from .mprnet import MPRNet
from .nafnet import GOPRO, NAFNet
from .tsr_wgan import TSRWGAN

__all__ = [
    "ABOUT",
    "GOPRO",
    "NETWORKS",
    "TSRWGAN",
    "WRAPPERS",
    "DeblurGANv2",
    "MPRNet",
    "NAFNet",
    "critics",
    "network_of",
    "padded",
    "restorer",
]
