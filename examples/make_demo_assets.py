"""Makes the pictures of ``blinddps demo`` from two of scikit-image's.

``pip install scikit-image && python examples/make_demo_assets.py``

The kernels come from a seed that no training run uses; the blurred pictures are rounded to 8 bit like a photograph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import blinddps
from blinddps.io import from_tensor, write_image
from blinddps.simulate import motion_kernels, simulate_blur

SEED, SIGMA_Y, KERNEL = 1_234_567, 0.02, 32
CASES = {
    # picture, box that puts the eyes where the faces of the training set have them, size
    "face": ("astronaut.png", (142, 27, 307, 192), 128, 1),
    "photo": ("chelsea.png", (96, 24, 352, 280), 192, 6),
}


def main() -> None:
    import skimage

    source = Path(skimage.__file__).parent / "data"
    target = Path(blinddps.__file__).parent / "assets"
    for name, (file, box, size, item) in CASES.items():
        picture = Image.open(source / file).convert("RGB").crop(box).resize((size, size), Image.Resampling.LANCZOS)
        sharp = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
        kernel = motion_kernels(1, KERNEL, intensity=0.5, seed=SEED, start=item)
        blurred = simulate_blur(sharp, kernel, sigma_y=SIGMA_Y, seed=SEED)
        write_image(target / f"{name}_sharp.png", from_tensor(sharp), dtype=np.uint8)
        write_image(target / f"{name}_blurred.png", from_tensor(blurred), dtype=np.uint8)
        np.save(target / f"{name}_kernel.npy", kernel[0, 0].numpy())


if __name__ == "__main__":
    main()
