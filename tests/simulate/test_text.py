"""Pages of text: their seeds, their values, whose fonts they are of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import ImageFont

from blinddps.core import InputError
from blinddps.simulate import Face, Fonts, find_fonts, text_pages

OWN = Fonts((Face(""),))  # Pillow's, which is on every machine


def test_a_page_depends_on_seed_and_index_alone() -> None:
    whole = text_pages(8, (24, 40), seed=3, fonts=OWN)
    assert whole.shape == (8, 1, 24, 40)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(text_pages(2, (24, 40), seed=3, start=6, fonts=OWN), whole[6:], rtol=0, atol=0)
    assert not torch.equal(text_pages(8, (24, 40), seed=4, fonts=OWN), whole)
    assert text_pages(0, 16, fonts=OWN).shape == (0, 1, 16, 16)


def test_pages_are_sharp_of_both_polarities_and_within_range() -> None:
    pages = text_pages(150, 64, seed=1, fonts=OWN)
    assert pages.min() >= 0
    assert pages.max() <= 1
    share_of_dark = (pages < pages.mean((2, 3), keepdim=True)).float().mean((1, 2, 3))
    assert 0.5 < float((share_of_dark < 0.5).float().mean()) < 0.9  # ink covers less than paper
    written = pages[pages.amax((1, 2, 3)) - pages.amin((1, 2, 3)) > 0.5]
    assert len(written) > 75
    steps = torch.maximum(written.diff(dim=3).abs().amax((1, 2, 3)), written.diff(dim=2).abs().amax((1, 2, 3)))
    assert float(steps.median()) > 0.4  # an edge is a pixel or two wide
    assert not (pages[:, :, 0] == pages[:, :, 1]).all()  # text goes on beyond the border


def test_a_far_page_needs_none_before_it() -> None:
    far = text_pages(1, 32, start=10**9, fonts=OWN)
    assert torch.equal(far, text_pages(1, 32, start=10**9, fonts=OWN))
    assert far.std() < 1


def test_only_letters_that_a_face_has_are_written() -> None:
    (face,) = OWN.faces
    assert "latin" in face.scripts
    assert "han" not in face.scripts
    assert face.writes("a的1") == "a1"
    assert face.digits == "0123456789"
    assert set(OWN.families) == set(face.scripts)


def test_fonts_of_folders_are_found_and_others_told(tmp_path: Path) -> None:
    whole = ImageFont.load_default(12)
    assert isinstance(whole, ImageFont.FreeTypeFont)
    (tmp_path / "deep").mkdir()
    whole.path.seek(0)
    (tmp_path / "deep" / "own.ttf").write_bytes(whole.path.read())
    (tmp_path / "broken.otf").write_bytes(b"no font")
    (tmp_path / "none").mkdir()
    fonts = find_fonts([tmp_path])
    assert [Path(face.path).name for face in fonts.faces] == ["own.ttf"]
    assert fonts.faces[0].name == OWN.faces[0].name
    for folder in (tmp_path / "none", tmp_path / "absent"):
        with pytest.raises(InputError, match="has no fonts with letters; give a folder"):
            find_fonts([folder])


def test_a_system_without_fonts_has_those_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blinddps.simulate.text.SYSTEM_FONTS", ("/nowhere",))
    assert find_fonts() == OWN


def test_a_page_too_small_is_told() -> None:
    with pytest.raises(InputError, match="size is 8; a page of text needs at least 16 x 16 pixels"):
        text_pages(1, 8, fonts=OWN)
