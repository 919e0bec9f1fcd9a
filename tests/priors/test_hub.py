"""Priors of the Hugging Face hub: from its cache, without a network; and what is said when there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants

from blinddps.core import PriorError
from blinddps.priors import DiffusionPrior, find_prior, load_prior, save_prior
from blinddps.priors.hub import hub_folder, hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(make_prior: Callable[..., DiffusionPrior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with ``me/tiny`` in it, and no hub to ask."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    repository = tmp_path / "hub" / "models--me--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    folder = save_prior(make_prior(), repository / "snapshots" / COMMIT)
    (folder / "blinddps.json").unlink()  # as others publish them
    return folder


@pytest.mark.parametrize("name", ["me/tiny", "me/tiny@main", f"me/tiny@{COMMIT}"])
def test_cached_pipeline_is_a_prior_that_names_its_commit(cache: Path, name: str) -> None:
    assert find_prior(name) == cache
    assert load_prior(name).card.name == f"me/tiny@{COMMIT}"


def test_oldest_pipelines_have_their_parts_beside_each_other(cache: Path) -> None:
    expected = load_prior("me/tiny")
    for part in ("unet", "scheduler"):
        for file in (cache / part).iterdir():
            file.rename(cache / file.name)
        (cache / part).rmdir()
    x, sigma = torch.randn(1, 3, 16, 16), torch.tensor([1.0])
    with torch.no_grad():
        assert torch.equal(load_prior("me/tiny")(x, sigma), expected(x, sigma))


def test_folders_come_first_and_paths_are_never_asked_for(cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "me" / "tiny")
    assert find_prior("me/tiny") == Path("me/tiny")
    assert load_prior("me/tiny").card.name == "tiny"
    for name in (Path("me/other"), "me/other", "./me/other", "a/b/c", "me/other/", "../other"):
        with pytest.raises(PriorError, match="does not exist; check the path"):
            find_prior(name)


def test_what_cannot_be_got_is_one_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        PriorError, match=r"'me/other' does not exist, and the Hugging Face hub cannot be asked \(.*go online"
    ):
        find_prior("me/other")
    for kind, sentence in (
        (huggingface_hub.errors.RepositoryNotFoundError, "has no public repository of that name: check it"),
        (huggingface_hub.errors.RevisionNotFoundError, "has no such revision: check it"),
        (huggingface_hub.errors.GatedRepoError, "is gated"),
        (ConnectionError, r"cannot be asked \(no route\)"),
    ):

        def fails(*_: object, kind: type[Exception] = kind, **__: object) -> None:
            error = kind.__new__(kind)
            error.args = ("no route",)
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
        with pytest.raises(PriorError, match=sentence) as told:
            find_prior("me/other")
        assert "\n" not in str(told.value)


def test_only_data_are_fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def fetched(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assert hub_folder("me/tiny@v1") == cache
    assert (asked["repository"], asked["revision"]) == ("me/tiny", "v1")
    there = ["pipeline.py", "unet/model.py", "unet/diffusion_pytorch_model.bin", "pytorch_model.pt", "unet/config.json"]
    there += ["unet/diffusion_pytorch_model.safetensors", "model_index.json", "samples.png"]
    wanted = huggingface_hub.utils.filter_repo_objects(there, allow_patterns=asked["allow_patterns"])  # type: ignore[arg-type]
    assert list(wanted) == ["unet/config.json", "unet/diffusion_pytorch_model.safetensors", "model_index.json"]


def test_name_of_a_snapshot() -> None:
    assert hub_name(Path("/c/models--google--ddpm--x/snapshots/abc")) == "google/ddpm--x@abc"
    assert hub_name(Path("/c/models/ddpm")) is None
