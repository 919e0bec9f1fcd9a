"""Layouts of data sets, in folders and tars."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from blinddps.core import InputError
from blinddps.evaluation.datasets import Item, items_of
from blinddps.evaluation.spec import Data
from blinddps.io import write_image


def put(path: Path, value: float, size: tuple[int, int] = (20, 24), channels: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((*size, channels), value, dtype=np.float32))


def values(items: list[Item]) -> list[int]:
    return [round(float(item.truth().mean()) * 255) for item in items]


@pytest.mark.parametrize(
    ("layout", "files", "order"),
    [
        ("pictures", ["b/1.png", "a.png", "b/0.jpg", ".hidden.png", "notes.txt"], [1, 2, 0]),
        ("ffhq", ["00000/00010.png", "00000/00009.png", "LICENSE.png"], [1, 0]),
        ("afhq-dog", ["test/dog/b.jpg", "test/dog/a.png", "test/cat/c.jpg", "train/dog/d.jpg"], [1, 0]),
        ("afhq-dog", ["val/dog/b.jpg", "train/dog/a.png"], [0]),
        ("imagenet", ["n02/ILSVRC2012_val_00000001.JPEG", "n01/ILSVRC2012_val_00000002.JPEG"], [0, 1]),
    ],
)
def test_order_of_items(layout: str, files: list[str], order: list[int], tmp_path: Path) -> None:
    root = tmp_path / "set"
    for n, name in enumerate(files):
        path = root / name
        if name.endswith("txt"):
            path.write_text("no picture")
        else:
            put(path.with_suffix(".png"), (40 + 20 * n) / 255)
            path.with_suffix(".png").rename(path)
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as tar:
        tar.add(root, arcname="./set")
    wanted = [40 + 20 * n for n in order]
    for source in (root, tmp_path / "set.tar.gz"):
        items = items_of(Data(source="s", layout=layout), source)
        assert values(items) == wanted
        assert [item.index for item in items] == list(range(len(wanted)))
        assert all(item.name.startswith(f"{item.index:05d}-") for item in items)
    (last,) = items_of(Data(source="s", layout=layout, start=len(wanted) - 1, count=1), root)
    assert (last.index, last.name, last.sha256) == (items[-1].index, items[-1].name, items[-1].sha256)


def test_crop_and_size(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).random((40, 60, 3)).astype(np.float32)
    write_image(tmp_path / "p.tif", picture)
    (item,) = items_of(Data(source="s", crop=16), tmp_path)
    assert np.array_equal(item.truth()[0].permute(1, 2, 0).numpy(), picture[12:28, 22:38])
    (item,) = items_of(Data(source="s", size=10), tmp_path)
    assert item.truth().shape == (1, 3, 10, 10)
    assert float(item.truth().mean()) == pytest.approx(picture[:, 10:50].mean(), abs=0.01)
    (item,) = items_of(Data(source="s", size=50), tmp_path)  # enlarged: the shorter side becomes 50
    assert item.truth().shape == (1, 3, 50, 50)
    assert float(item.truth().mean()) == pytest.approx(picture[:, 10:50].mean(), abs=0.01)
    (item,) = items_of(Data(source="s", crop=41), tmp_path)
    with pytest.raises(InputError, match=r"60 x 40 pixels, data\.crop 41"):
        item.truth()


def test_levin(tmp_path: Path) -> None:
    root = tmp_path / "levin"
    for i in (1, 2):
        put(root / f"gt/im{i}.png", 0.2 * i, channels=1)
        for j in (1, 10):
            put(root / f"im{i}_kernel{j}_img.png", 0.3 * i, channels=1)
    (root / "kernels_conv").mkdir()
    for j in (1, 10):
        np.save(root / f"kernels_conv/kernel{j}.npy", np.full((3, 5), float(j)))
    items = items_of(Data(source="s", layout="levin"), tmp_path)
    assert [item.name for item in items] == [
        "00000-im1_kernel1",
        "00001-im1_kernel10",
        "00002-im2_kernel1",
        "00003-im2_kernel10",
    ]
    y, kernel = items[3].own()
    assert float(y.mean()) == pytest.approx(0.6, abs=0.003)
    torch.testing.assert_close(kernel, torch.full((1, 1, 3, 5), 1 / 15))
    (root / "kernels_conv/kernel10.npy").unlink()
    with pytest.raises(InputError, match=r"have no 'levin/kernels_conv/kernel10\.npy'"):
        items_of(Data(source="s", layout="levin"), tmp_path)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not exist"):
        items_of(Data(source="s"), tmp_path / "none")
    (tmp_path / "x.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match="give a folder or a whole tar"):
        items_of(Data(source="s"), tmp_path / "x.tar")
    (tmp_path / "set").mkdir()
    for layout, needs in (
        ("pictures", "pictures"),
        ("ffhq", "numbers"),
        ("afhq-dog", "test/dog"),
        ("imagenet", "ILSVRC"),
    ):
        with pytest.raises(InputError, match=f"layout '{layout}' needs .*{needs}"):
            items_of(Data(source="s", layout=layout), tmp_path / "set")
    put(tmp_path / "set" / "a.png", 0.5)
    with pytest.raises(InputError, match=r"have 1 items .*, the spec asks for 0 to 1"):
        items_of(Data(source="s", count=2), tmp_path / "set")
    with pytest.raises(InputError, match="the spec asks for item 3 on; give"):
        items_of(Data(source="s", start=3), tmp_path / "set")
    (tmp_path / "set" / "a.png").write_bytes(b"no picture")
    (item,) = items_of(Data(source="s"), tmp_path / "set")
    with pytest.raises(InputError, match="picture '00000-a' cannot be used"):
        item.truth()


def test_hidden_files_and_folders_are_no_items(tmp_path: Path) -> None:
    for name in ("a.png", ".b.png", ".cache/c.png", "d/.thumbs/e.png"):
        put(tmp_path / "set" / name, 0.5)
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(tmp_path / "set", arcname="./set")
    for source in (tmp_path / "set", tmp_path / "set.tar"):
        assert [item.name for item in items_of(Data(source="s"), source)] == ["00000-a"]


def test_hard_links_of_a_tar_are_items(tmp_path: Path) -> None:
    put(tmp_path / "d/a.png", 0.1)
    (tmp_path / "d/b.png").hardlink_to(tmp_path / "d/a.png")
    with tarfile.open(tmp_path / "d.tar", "w") as tar:
        tar.add(tmp_path / "d", "d")
    found = items_of(Data(source="d.tar"), tmp_path / "d.tar")
    assert len(found) == 2
    assert values(found) == values(items_of(Data(source="d"), tmp_path / "d"))
