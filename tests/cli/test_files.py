"""Which inputs are found, and which names of results are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from blinddps.cli.files import expand
from blinddps.core import InputError
from blinddps.core.outputs import Outputs
from blinddps.results import restored


def test_a_path_that_cannot_be_looked_at_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good, loop, locked = tmp_path / "good.png", tmp_path / "loop.png", tmp_path / "locked"
    good.touch()
    loop.symlink_to(loop)
    locked.mkdir()
    listing = Path.iterdir

    def refuses(folder: Path) -> object:  # tests may run as root, whom no permission stops
        if folder == locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", refuses)
    inputs = [loop, tmp_path / ("n" * 300), locked, good, tmp_path / "." / "good.png"]
    found, failures = expand(inputs)
    errors = capsys.readouterr().err.splitlines()
    assert good in found
    assert all(line.startswith("error: cannot use input '") and line.count("; ") == 1 for line in errors)
    # where Python finds no fault with a path, the reader names the missing file
    assert failures == len(errors) == len(inputs) - len(found) - 1
    assert any(str(locked) in line for line in errors)


@pytest.mark.parametrize("samples", [1, 12])
def test_results_whose_names_are_too_long_are_refused_at_once(tmp_path: Path, samples: int) -> None:
    """``_restored.tiff`` are 14 of the 255 bytes of a name."""
    fits = 255 - len("_restored.tiff" if samples == 1 else "_restored_sample12.tiff")

    def of(length: int) -> Outputs:
        return restored(tmp_path, tmp_path / "x", "n" * length, ["kernel.npy"], samples, ["figure.png"], ".tiff")

    of(fits).check(overwrite=False)
    with pytest.raises(InputError, match=r"^cannot name results like 'n+_restored.*\.tiff': .*; rename the input$"):
        of(fits + 1).check(overwrite=False)
