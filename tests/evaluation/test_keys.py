"""What a result's key depends on, and what not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blinddps.core import InputError, PriorError
from blinddps.evaluation import parse_spec
from blinddps.evaluation.datasets import items_of
from blinddps.evaluation.keys import _file_hash, job_key, prior_hash


def keys(text: str, data: Path) -> dict[tuple[str, str, str, int], str]:
    spec = parse_spec(text)
    return {
        (item.name, d.name, m.name, seed): job_key(spec, item, d, m, seed)
        for item in items_of(spec.data, data / "pictures")
        for d in spec.degradation
        for m in spec.method
        for seed in spec.seeds
    }


def test_each_job_has_its_own(spec_text: Callable[..., str], data: Path) -> None:
    found = keys(spec_text(seeds="[0, 1]"), data)
    assert len(set(found.values())) == len(found) == 2 * 2 * 3 * 2
    assert keys(spec_text(seeds="[0, 1]"), data) == found


def test_names_labels_counts_and_other_methods_do_not_matter(spec_text: Callable[..., str], data: Path) -> None:
    before = keys(spec_text(), data)
    text = spec_text({"input": "", "known-kernel": "", "fast": "num_steps = 3", "more": "num_steps = 4"}, count=3)
    text = text.replace('title = "A tiny', 'about = "longer"\ntitle = "Another')
    after = keys(text, data)
    assert {k: after[k] for k in before} == before
    renamed = keys(spec_text().replace('name = "fast"', 'name = "quick"'), data)
    assert {v for (_, _, m, _), v in renamed.items() if m == "quick"} == {
        v for (_, _, m, _), v in before.items() if m == "fast"
    }


@pytest.mark.parametrize(
    ("old", "new", "touched"),
    [
        ("num_steps = 3", "num_steps = 4", {"fast"}),
        ("num_steps = 2", "num_steps = 4", {"known-kernel"}),  # a default, which 'fast' replaces
        ("std = 1.5", "std = 1.6", {"input", "known-kernel", "fast"}),
        ("size = 32", "size = 31", {"input", "known-kernel", "fast"}),
        ("\n[data]", "trace = true\n[data]", {"known-kernel", "fast"}),
    ],
)
def test_what_is_edited_changes(
    old: str, new: str, touched: set[str], spec_text: Callable[..., str], data: Path
) -> None:
    text = spec_text()
    assert old in text
    before, after = keys(text, data), keys(text.replace(old, new, 1), data)
    changed = {m for (_, d, m, _) in before for k in before if before[k] != after[k] and k[2] == m}
    assert changed == touched


def test_the_bytes_of_trained_weights_matter(spec_text: Callable[..., str], data: Path, tmp_path: Path) -> None:
    file, text = tmp_path / "w.pth", spec_text()
    text = text.replace("num_steps = 3", f'solver = "nafnet", weights = "{tmp_path / "w.pth"}"', 1)
    found = []
    for content in (b"one", b"one", b"two"):
        file.write_bytes(content)
        _file_hash.cache_clear()
        found.append(keys(text, data))
    assert found[0] == found[1]
    assert {m for (_, _, m, _) in found[0] for k in found[0] if found[0][k] != found[2][k] and k[2] == m} == {"fast"}
    file.unlink()
    _file_hash.cache_clear()
    with pytest.raises(InputError, match="cannot read weights"):
        keys(text, data)


def test_prior_weights_matter(priors: dict[str, str], tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(priors["prior"], copy)
    assert prior_hash(str(copy)) == prior_hash(priors["prior"])  # where it lies does not
    (copy / "README.md").write_text("another model card")
    prior_hash.cache_clear()
    assert prior_hash(str(copy)) == prior_hash(priors["prior"])
    (weights,) = copy.glob("unet/*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    prior_hash.cache_clear()
    assert prior_hash(str(copy)) != prior_hash(priors["prior"])
    with pytest.raises(PriorError):
        prior_hash("no-such-prior")
