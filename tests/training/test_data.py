from __future__ import annotations

import pickle
import re
import tarfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from torch import Tensor

from blinddps.core import InputError, from_simplex
from blinddps.simulate import read_kernel_database, star_fields, write_kernel_database
from blinddps.training import ImageData, KernelData, KernelDatabase, TrainConfig, make_data, read_pictures
from blinddps.training.data import GeneratedImages, attribution_of

MIXTURE = {"motion": 0.6, "gaussian": 0.3, "defocus": 0.1}


def flat(*levels: int, size: int = 16, channels: int = 3) -> list[Tensor]:
    """Pictures that tell by their level which they are."""
    return [torch.full((channels, size, size), level, dtype=torch.uint8) for level in levels]


def coordinates(height: int, width: int) -> Tensor:
    """A picture whose red is its row, green its column, blue zero."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)]).to(torch.uint8)


def bytes_of(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round().to(torch.uint8)


def tar_of(folder: Path, path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for file in sorted(folder.rglob("*"), reverse=True):  # not in the order of names
            tar.add(file, arcname=str(file.relative_to(folder)), recursive=False)
    return path


class TestGenerated:
    @pytest.mark.parametrize("generator", ["text", "stars"])
    def test_an_item_is_a_function_of_seed_and_number(self, generator: str, tiny: Callable[..., TrainConfig]) -> None:
        config = tiny(unknown="image", generator=generator, seed=3)
        data = make_data(config)
        batch = data.batch(range(5, 9), 16)
        assert batch.shape == (4, 1, 16, 16)
        assert torch.equal(batch[[3, 0]], make_data(config).batch([8, 5], 16))
        assert batch.min() >= -1
        assert batch.max() <= 1

    def test_stars_are_in_the_prior_s_range(self) -> None:
        made = GeneratedImages("stars", (), 4).batch([6], 24)
        assert torch.equal(made, 2 * star_fields(1, 24, seed=4, start=6) - 1)

    def test_the_fonts_of_text_are_named(self, tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
        font = ImageFont.load_default(12)
        assert isinstance(font, ImageFont.FreeTypeFont)
        font.path.seek(0)
        (tmp_path / "one.ttf").write_bytes(font.path.read())
        config = tiny(unknown="image", generator="text", data=(str(tmp_path),))
        assert "| Aileron | Regular | `one.ttf` |" in str(attribution_of(config))
        assert attribution_of(tiny(unknown="image", generator="stars")) is None
        with pytest.raises(InputError, match="has no fonts with letters"):
            make_data(config.model_copy(update={"data": (str(tmp_path / "absent"),)}))


class TestKernels:
    def test_an_item_is_a_function_of_seed_and_number(self) -> None:
        data = KernelData(MIXTURE, seed=3)
        batch = data.batch(range(5, 13), 16)
        assert batch.shape == (8, 1, 16, 16)
        assert torch.equal(batch[2:6], data.batch(range(7, 11), 16))
        assert torch.equal(batch[[4, 0, 7]], data.batch([9, 5, 12], 16))
        assert not torch.equal(batch, KernelData(MIXTURE, seed=4).batch(range(5, 13), 16))

    def test_the_range_is_the_priors(self) -> None:
        batch = KernelData(MIXTURE, seed=0).batch(range(32), 16)
        assert torch.allclose(batch.amax((1, 2, 3)), torch.ones(32))
        assert batch.min() >= -1

    def test_a_wrong_mixture_is_told_before_training(self) -> None:
        with pytest.raises(InputError, match="unknown kernel class 'motoin'; did you mean 'motion'"):
            KernelData({"motoin": 1.0}, seed=0)


class TestKernelDatabase:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        return write_kernel_database(tmp_path / "k.safetensors", 5, 8, seed=2, progress=False)

    def test_an_item_is_a_row_of_the_file(self, database: Path, tiny: Callable[..., TrainConfig]) -> None:
        data = make_data(tiny(data=(str(database),)))
        assert isinstance(data, KernelDatabase)
        rows = from_simplex(read_kernel_database(database)[0])
        assert torch.equal(data.batch(range(3, 8), 8), rows[[3, 4, 0, 1, 2]])
        assert torch.equal(data.batch([11, 4], 8), rows[[1, 4]])

    def test_another_size_is_told_before_training(self, database: Path, tiny: Callable[..., TrainConfig]) -> None:
        with pytest.raises(InputError, match=r"k\.safetensors' are 8 x 8, the configuration asks for size 16; give"):
            make_data(tiny(data=(str(database),), sizes=(8, 16)))

    def test_pictures_of_kernels_and_other_files_are_refused(
        self, database: Path, pictures: Path, tmp_path: Path, tiny: Callable[..., TrainConfig]
    ) -> None:
        for data in ((str(pictures),), (str(database), str(database))):
            with pytest.raises(InputError, match=r"no kernel database, and crops .* give one \.safetensors file"):
                make_data(tiny(data=data))
        (tmp_path / "text.safetensors").write_text("no database")
        with pytest.raises(InputError, match="is not a kernel database"):
            make_data(tiny(data=(str(tmp_path / "text.safetensors"),)))
        with pytest.raises(InputError, match="does not exist"):
            make_data(tiny(data=(str(tmp_path / "none.safetensors"),)))


class TestCrops:
    def test_an_item_is_a_function_of_seed_and_number(self) -> None:
        pictures = [coordinates(40, 30), coordinates(24, 50), coordinates(33, 33)]
        options = {"random_scale": 0.5, "grey_share": 0.3}
        data = ImageData(pictures, seed=1, **options)
        batch = data.batch(range(12), 16)
        assert torch.equal(batch[7:9], ImageData(pictures, seed=1, **options).batch([7, 8], 16))
        assert torch.equal(batch[[10, 2]], data.batch([10, 2], 16))
        assert not torch.equal(batch, ImageData(pictures, seed=2, **options).batch(range(12), 16))

    def test_each_epoch_shows_each_picture_once_in_its_own_order(self) -> None:
        levels = list(range(0, 70, 10))
        data = ImageData(flat(*levels), seed=0)
        seen = bytes_of(data.batch(range(28), 8))[:, 0, 0, 0].tolist()
        epochs = [seen[i : i + 7] for i in range(0, 28, 7)]
        assert all(sorted(epoch) == levels for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 4

    def test_a_crop_is_a_part_of_the_picture_and_every_place_occurs(self) -> None:
        data = ImageData([coordinates(12, 10)], seed=0, flip=False)
        crops = bytes_of(data.batch(range(200), 8)).long()
        top, left = crops[:, 0, 0, 0], crops[:, 1, 0, 0]
        steps = torch.arange(8)
        assert torch.equal(crops[:, 0], (top[:, None, None] + steps[:, None]).expand(-1, 8, 8))
        assert torch.equal(crops[:, 1], (left[:, None, None] + steps).expand(-1, 8, 8))
        assert set(top.tolist()) == {0, 1, 2, 3, 4}
        assert set(left.tolist()) == {0, 1, 2}

    def test_half_of_the_crops_are_mirrored(self) -> None:
        data = ImageData([coordinates(8, 8)], seed=0)
        falls = data.batch(range(400), 8)[:, 1, 0].diff(dim=1).mean(1) < 0
        assert 160 < int(falls.sum()) < 240  # 4 standard deviations of 10

    def test_pictures_are_reduced_by_a_factor_of_the_range(self) -> None:
        picture = coordinates(64, 80)
        spans = {}
        for scale in (1.0, 0.5, 0.1):
            crops = ImageData([picture], seed=0, flip=False, random_scale=scale).batch(range(300), 16)
            spans[scale] = (
                (crops[:, 0, -1].mean(1) - crops[:, 0, 0].mean(1)) * 127.5 / 15
            )  # rows of the picture per pixel
        assert torch.allclose(spans[1.0], torch.ones(300), atol=1e-4)
        # the span at the crop's two ends is a little short, where the kernel meets the crop's border
        assert 0.95 < spans[0.5].min() < 1.05
        assert 1.85 < spans[0.5].max() < 2.05
        assert 3.6 < spans[0.1].max() < 4.1  # never below the crop's size: 64 / 16

    def test_a_smaller_picture_is_enlarged(self) -> None:
        crop = ImageData([coordinates(8, 12)], seed=0, flip=False).batch([0], 16)
        assert crop.shape == (1, 3, 16, 16)
        assert float((crop[0, 0].amax() + 1) * 127.5) == pytest.approx(7, abs=0.3)

    def test_bicubic_overshoot_stays_in_range(self) -> None:
        edge = torch.zeros(3, 32, 32, dtype=torch.uint8)
        edge[..., 16:] = 255
        crops = ImageData([edge], seed=0, random_scale=0.3).batch(range(50), 12)
        assert crops.min() == -1
        assert crops.max() == 1

    @pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
    def test_a_share_is_grey(self, share: float) -> None:
        colour = torch.tensor([200, 100, 0], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 8, 8)
        crops = ImageData([colour], seed=0, grey_share=share).batch(range(400), 8)
        grey = (crops == crops[:, :1]).flatten(1).all(1)
        assert abs(float(grey.float().mean()) - share) <= 4 * (share * (1 - share) / 400) ** 0.5
        luma = (0.299 * 200 + 0.587 * 100) / 127.5 - 1  # Rec. 601
        assert torch.allclose(crops[grey], torch.tensor(luma), atol=1e-6)

    def test_whether_it_is_mirrored_and_whether_it_is_grey_are_unrelated(self) -> None:
        crops = ImageData([coordinates(8, 8)], seed=0, grey_share=0.5).batch(range(400), 8)
        mirrored = crops[:, 1, 0].diff(dim=1).mean(1) < 0
        grey = (crops == crops[:, :1]).flatten(1).all(1)
        assert 70 < int((mirrored & grey).sum()) < 130  # 100, 3.5 standard deviations either way

    @pytest.mark.parametrize("channels", [1, 3])
    def test_one_channel_from_grey_and_from_colour(self, channels: int) -> None:
        crop = ImageData(flat(50, channels=channels), seed=0, channels=1).batch([0], 8)
        assert crop.shape == (1, 1, 8, 8)
        assert torch.allclose(crop, torch.tensor(50 / 127.5 - 1), atol=1e-6)

    def test_no_pictures(self) -> None:
        with pytest.raises(InputError, match="the training data hold no pictures"):
            ImageData([], seed=0)


class TestReading:
    def test_a_folder_is_read_in_depth_and_in_name_order(self, pictures: Path) -> None:
        (pictures / "notes.txt").write_text("no picture")
        (pictures / "._a.png").write_bytes(b"hidden: a Finder's side file")
        read = read_pictures([pictures])
        assert [tuple(p.shape) for p in read] == [(3, 16, 16), (3, 20, 24), (3, 30, 18), (1, 17, 16), (3, 10, 12)]
        assert all(p.dtype == torch.uint8 for p in read)
        expected = np.asarray(Image.open(pictures / "b.PNG"))
        assert np.array_equal(read[1].permute(1, 2, 0).numpy(), expected)

    @pytest.mark.parametrize("mode", ["w", "w:gz"])
    def test_a_tar_equals_its_folder(self, pictures: Path, tmp_path: Path, mode: str) -> None:
        tar = tar_of(pictures, tmp_path / "pictures.tar", mode)
        pairs = zip(read_pictures([tar]), read_pictures([pictures]), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)

    def test_several_sources_follow_each_other(self, pictures: Path, tmp_path: Path) -> None:
        tar = tar_of(pictures, tmp_path / "pictures.tar")
        assert len(read_pictures([tar, pictures])) == 10

    def test_sixteen_bits_are_rounded_to_eight(self, tmp_path: Path) -> None:
        deep = np.array([[0, 128, 129, 65535], [257, 514, 32896, 65278]], dtype=np.uint16)
        Image.fromarray(deep).save(tmp_path / "deep.png")
        read = read_pictures([tmp_path])[0]
        assert read[0].tolist() == np.rint(deep / 257).astype(int).tolist()

    def test_the_camera_s_orientation_is_applied(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        Image.new("RGB", (12, 8)).save(tmp_path / "turned.jpg", exif=exif)
        assert read_pictures([tmp_path])[0].shape == (3, 12, 8)

    def test_a_set_larger_than_memory_gives_the_same(self, pictures: Path) -> None:
        everything = read_pictures([pictures])
        # room for one picture, for some, for all
        for memory in (0, 1500, 10**6):
            part = read_pictures([pictures], memory=memory)
            kept = sum(p.numel() for p in part._kept.values())
            assert kept <= max(memory, max(p.numel() for p in everything))
            for index in (4, 0, 3, 1, 2, 2, 0):
                assert torch.equal(part[index], everything[index])
            assert part._bytes == sum(p.numel() for p in part._kept.values())

    @pytest.mark.parametrize("names", ["p-{00..02}.tar", "p-*.tar"])
    def test_shards_are_one_source(self, pictures: Path, tmp_path: Path, names: str) -> None:
        everything = read_pictures([pictures])
        paths = sorted(p for p in pictures.rglob("*") if p.is_file())
        for n in range(3):
            with tarfile.open(tmp_path / f"p-0{n}.tar", "w") as tar:
                for path in paths[n::3]:
                    tar.add(path, path.name)
                    tar.addfile(tarfile.TarInfo(f"{path.stem}.json"))  # as WebDataset has them
        shards = read_pictures([tmp_path / names])
        assert sorted(p.sum() for p in shards) == sorted(p.sum() for p in everything)
        sent = pickle.loads(pickle.dumps(shards))  # to another process
        assert all(torch.equal(a, b) for a, b in zip(sent, shards, strict=True))
        (tmp_path / "p-01.tar").unlink()
        with pytest.raises(InputError, match=r"p-01\.tar' do not exist") if "{" in names else nullcontext():
            read_pictures([tmp_path / names])

    def test_shards_that_name_nothing(self, pictures: Path, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=r"p-\{3\.\.1\}\.tar' name no files, or more than 100000; give a rising range"
        ):
            read_pictures([tmp_path / "p-{3..1}.tar"])
        packed = read_pictures([tar_of(pictures, tmp_path / "packed.tar", "w:gz")])
        with pytest.raises(InputError, match=r"^a compressed tar cannot be shared by workers; unpack it"):
            pickle.dumps(packed)

    def test_the_configuration_chooses(self, pictures: Path, tiny: Callable[..., TrainConfig]) -> None:
        settings = {"unknown": "image", "channels": 3, "data": (str(pictures),), "random_scale": 0.5, "flip": False}
        data = make_data(tiny(**settings, grey_share=1.0, seed=7))
        assert isinstance(data, ImageData)
        expected = ImageData(read_pictures([pictures]), seed=7, flip=False, random_scale=0.5, grey_share=1.0)
        assert torch.equal(data.batch(range(6), 8), expected.batch(range(6), 8))
        assert isinstance(make_data(tiny()), KernelData)

    def test_a_missing_source(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=re.escape(f"training data '{tmp_path / 'none'}' do not exist")):
            read_pictures([tmp_path / "none"])

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=re.escape(f"training data '{tmp_path}' have no pictures; give some of .bmp, .jpeg")
        ):
            read_pictures([tmp_path])

    def test_a_tar_without_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "texts").mkdir()
        (tmp_path / "texts" / "a.txt").write_text("text")
        tar = tar_of(tmp_path / "texts", tmp_path / "texts.tar")
        with pytest.raises(InputError, match=re.escape(f"training data '{tar}' have no pictures")):
            read_pictures([tar])

    def test_a_file_that_is_no_tar(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar").write_text("not a tar at all")
        with pytest.raises(InputError, match=r"a\.tar' cannot be read as a tar \(.*\); give") as caught:
            read_pictures([tmp_path / "a.tar"])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("mode", ["w", "w:gz"])
    def test_a_tar_cut_short(self, pictures: Path, tmp_path: Path, mode: str) -> None:
        tar = tar_of(pictures, tmp_path / "pictures.tar", mode)
        whole = tar.read_bytes()
        tar.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=r"pictures\.tar' cannot be read as a tar"):
            read_pictures([tar])

    @pytest.mark.parametrize("content", [b"no picture", b"", "half"])
    def test_a_damaged_picture_is_named(self, pictures: Path, tmp_path: Path, content: bytes | str) -> None:
        whole = (pictures / "c.png").read_bytes()
        (pictures / "c.png").write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
        with pytest.raises(InputError, match=re.escape(f"training picture '{pictures / 'c.png'}' cannot be used")):
            read_pictures([pictures])
        tar = tar_of(pictures, tmp_path / "pictures.tar")
        with pytest.raises(InputError, match=re.escape(f"training picture '{tar}:c.png' cannot be used")):
            read_pictures([tar])

    def test_a_picture_that_goes_away_is_named(self, pictures: Path) -> None:
        read = read_pictures([pictures], memory=0)
        (pictures / "a.png").unlink()
        with pytest.raises(InputError, match=r"a\.png' cannot be used"):
            read[0]

    def test_webp(self, tmp_path: Path) -> None:
        Image.new("RGB", (8, 8), (10, 20, 30)).save(tmp_path / "a.webp", lossless=True)
        assert read_pictures([tmp_path])[0][:, 0, 0].tolist() == [10, 20, 30]
