from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blinddps.core import InputError
from blinddps.training import TrainConfig, make_data, train
from blinddps.training.sources import Source, attribution, chosen, read_sources

TABLE = """file,stored_size,licence,url,repo
a.png,16x16,CC0 (NASA; CQ100 set CC BY-SA 4.0),https://example.org/a_(1).png,owner/set@1 a.png
b.PNG,16x16,CC BY 4.0 (Ann *Lee*),https://example.org/b,
c.png,16x16,CC BY-SA 4.0,pictures/c.png,owner/set
d.png,16x16,"Unsplash licence (Bo, Cy)",,
e.png,16x16,CC BY 4.0 (Dee),https://example.org/e f,
unused.png,1x1,CC0,,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "sources.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def settings(pictures: Path, table: Path) -> dict[str, Any]:
    return {"unknown": "image", "channels": 3, "data": (str(pictures),), "sources": (str(table),), "sizes": (8,)}


def test_rows_are_read_by_the_picture_s_name(table: Path) -> None:
    found = read_sources([table])
    assert list(found) == ["a.png", "b.PNG", "c.png", "d.png", "e.png", "unused.png"]
    assert found["d.png"] == Source("d.png", "Unsplash licence (Bo, Cy)")
    assert found["c.png"].repo == "owner/set"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no rows; give a CSV with the columns file, licence"),
        ("file,license\na.png,CC0\n", "has no file or no licence in row 2"),
        ("file,licence\na.png,CC0\nb.png, \n", "has no file or no licence in row 3"),
        ("file,licence\na.png,CC0\na.png,CC BY 4.0\n", "picture 'a.png' has two licences, 'CC0' and 'CC BY 4.0'"),
        ('file,licence\na.png,"CC0\n', "cannot read table of sources"),
        (None, "it does not exist"),
    ],
)
def test_a_table_that_tells_too_little(tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(sentence)) as caught:
        read_sources([tmp_path / "s.csv"])
    assert "\n" not in str(caught.value)


def test_licences_are_left_out_by_their_first_words(table: Path) -> None:
    found = read_sources([table])

    def kept(*leave_out: str) -> str:
        return "".join(name[0] for name in found if chosen(found, leave_out)(f"some/folder/{name}"))

    assert kept() == "abcdeu"
    assert kept("CC BY-S") == "abcdeu"  # half a word
    assert kept("CC BY-SA") == kept("CC BY-SA 4.0") == "abdeu"  # a's own licence is another than its set's
    assert kept("CC BY") == kept("CC BY 4.0") == "acdu"
    assert kept("CC0", "Unsplash") == "bce"
    with pytest.raises(InputError, match=r"training picture 'x/f\.png' is in no table of sources"):
        chosen(found, ())("x/f.png")


def test_pictures_are_chosen_and_credited(settings: dict[str, Any], tiny: Callable[..., TrainConfig]) -> None:
    data: Any = make_data(tiny(**settings))
    assert len(data.pictures) == 5
    data = make_data(tiny(**settings, leave_out=("CC BY-SA 4.0",)))
    assert [tuple(p.shape[1:]) for p in data.pictures] == [(16, 16), (20, 24), (17, 16), (10, 12)]


def test_the_prior_s_folder_has_the_attribution(
    settings: dict[str, Any], tiny: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    prior = train(tiny(**settings, leave_out=("CC BY-SA 4.0",), steps=1), tmp_path / "run", progress=False)
    assert (prior / "ATTRIBUTION.md").read_text().splitlines() == [
        "# Pictures that tiny was trained on",
        "",
        "4 pictures. The network saw crops of them: reduced, mirrored, some made grey, with noise added. "
        "The pictures themselves are not in this folder.",
        "Licences and authors are as the places named state them.",
        "",
        "## CC BY 4.0: 2 pictures",
        "",
        "<https://creativecommons.org/licenses/by/4.0/>",
        "",
        "* `b.PNG`, Ann \\*Lee\\*, <https://example.org/b>",
        "* `e.png`, Dee, https://example.org/e f",
        "",
        "## CC0: 1 picture",
        "",
        "<https://creativecommons.org/publicdomain/zero/1.0/>",
        "",
        "* `a.png`, NASA; CQ100 set CC BY-SA 4.0, <https://example.org/a_(1).png>, owner/set@1 a.png",
        "",
        "## Unsplash licence: 1 picture",
        "",
        "<https://unsplash.com/license>",
        "",
        "* `d.png`, Bo, Cy",
    ]
    assert "; the pictures are credited in `ATTRIBUTION.md`" in (prior / "README.md").read_text()


def test_share_alike_has_its_own_deed() -> None:
    text = attribution("p", [Source("a.png", "CC BY-SA 2.5 (Eve)"), Source("b.png", "own work")])
    assert "## CC BY-SA 2.5: 1 picture\n\n<https://creativecommons.org/licenses/by-sa/2.5/>\n" in text
    assert text.endswith("## own work: 1 picture\n\n* `b.png`\n")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sources": ()}, "leave_out needs sources"),
        ({"unknown": "kernel", "channels": 1, "data": ()}, "sources are of pictures, which a kernel prior has none of"),
    ],
)
def test_settings_that_do_not_fit(
    settings: dict[str, Any], tiny: Callable[..., TrainConfig], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        tiny(**(settings | {"leave_out": ("CC0",)} | changes))
