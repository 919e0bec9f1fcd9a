"""``restore_turbulence``: one picture and frames, both solvers, both orders, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.baselines.conftest import blocks

from blinddps import deblur
from blinddps.baselines import fusion
from blinddps.core import InputError, Outcome, PriorError
from blinddps.core.stack import Stack
from blinddps.io import from_tensor, read_frames, write_image
from blinddps.operators import Blur, Tilt
from blinddps.restore import Cards, Problem, TurbulenceSettings, restore_turbulence, run, solve
from blinddps.restore.halves import Added
from blinddps.restore.solvers import FUSIONS
from blinddps.restore.turbulence import fused, joint, restoration
from blinddps.restore.turbulence.settings import begin_frames, motion, not_used, resolve_tilt, resolve_tilts
from blinddps.simulate import atmospheric_tilts, gaussian_kernels

Make = Callable[..., str]


def test_one_picture(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    seen: list[int] = []
    result = restore_turbulence(picture(32, 40), **tiny, on_step=lambda s: seen.append(s.index))
    assert seen == [0, 1, 2]
    assert result.image.shape == (32, 40, 3)
    assert result.kernel.shape == (8, 8)
    assert result.kernel.sum() == pytest.approx(1, abs=1e-5)
    assert result.tilt.shape == (1, 2, 32, 40)
    np.testing.assert_allclose(result.tilt.mean((2, 3)), 0, atol=1e-5)
    assert result.settings.tilt_start == 0.1
    assert set(result.nfe) == {"image", "kernel", "tilt"}


JOINT = {"tilts": "joint", "fall_back": False}


@pytest.mark.parametrize("more", [{}, {"kernel_per_frame": True}, {"order": "blur-tilt"}, {"solver": "paper"}])
def test_frames(tiny: dict[str, Any], picture: Callable[..., np.ndarray], more: dict[str, Any]) -> None:
    frames, samples = [np.roll(picture(), i, axis=1) for i in range(3)], 1 if more else 2
    options = {**tiny, **JOINT, **more, "samples": samples, "num_steps": 2}
    result = restore_turbulence(frames, **options)
    assert (result.kept, result.agreement) == ("restored", None)
    assert result.images.shape == (samples, 32, 32, 3)
    assert result.tilts.shape == (samples, 3, 2, 32, 32)
    assert result.kernels.shape == (samples, 3 if options.get("kernel_per_frame") else 1, 8, 8)
    np.testing.assert_allclose(result.kernels.sum((2, 3)), 1, atol=1e-5)
    assert np.isfinite(result.images).all()
    if options.get("solver") != "paper":
        assert result.noise >= 0.02
        assert (result.settings.start, result.settings.tilt_start) == (1.0, 4.0)  # frames that move much
        # what all frames share belongs to the image
        np.testing.assert_allclose(result.tilts.mean((1, 3, 4)), 0, atol=1e-4)
    if not more:
        np.testing.assert_array_equal(restore_turbulence(frames, **options).images, result.images)


def test_tilts_of_frames_are_registered_and_held(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint, "REPEATED", -1.0)  # anything is trusted
    frames = [np.roll(picture(), i, axis=1) for i in range(5)]
    seen: list[tuple[int, int]] = []
    options = {**tiny, "samples": 2, "restarts": 2}
    result = restore_turbulence(frames, **options, on_step=lambda s: seen.append((s.index, s.total)))
    assert (result.settings.tilts, result.settings.start, result.kept) == ("registered", 0.2, "restored")
    assert seen == [(i, 6) for i in range(6)]  # of the halves, and of all frames
    fused = fusion.registered(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2) * 2 - 1)
    for tilts in result.tilts:
        np.testing.assert_array_equal(tilts, fused.tilt)
    assert fused.moving is not None
    assert result.moving is not None
    np.testing.assert_array_equal(result.moving, fused.moving[0, 0])
    assert not np.array_equal(*result.images)
    assert "tilt" not in result.nfe
    assert result.agreement is not None
    assert f"agreement {result.agreement:.2f}" in result.outcome[0].message
    alone = restore_turbulence(frames, **options, fall_back=False)
    assert result.nfe["image"] > alone.nfe["image"]
    np.testing.assert_array_equal(alone.images, result.images)


@pytest.mark.parametrize("registering_helps", [True, False])
def test_what_halves_of_the_frames_do_not_share_is_not_returned(
    tiny: dict[str, Any],
    picture: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    registering_helps: bool,
) -> None:
    monkeypatch.setattr(joint, "REPEATED", 1.1)  # nothing is trusted
    monkeypatch.setattr(joint, "fused_explains_more", lambda y, fused: registering_helps)
    frames = [np.roll(picture(), i, axis=1) for i in range(4)]
    kept = "registered" if registering_helps else "mean"
    expected = restore_turbulence(frames, solver=kept)
    for options in ({}, {"tilts": "joint", "kernel_per_frame": True}) if registering_helps else ({},):
        result = restore_turbulence(frames, **{**tiny, **options, "num_steps": 2}, samples=2)
        assert result.kept == kept
        assert result.outcome[0].status == "rejected"
        assert ("registered and averaged" if registering_helps else "plain mean") in result.outcome[0].message
        for image in result.images:
            np.testing.assert_allclose(image, expected.image, atol=1e-6)
        np.testing.assert_array_equal(result.tilts[1], expected.tilt)
        assert result.kernels.max() == 1  # no blur
        assert np.isfinite(result.residual).all()


def test_who_asks_for_joint_tilts_or_has_one_picture_gets_them(tiny: dict[str, Any], make_prior: Make) -> None:
    def tilts(count: int = 2, **options: Any) -> str:
        settings = TurbulenceSettings(**{**tiny, **options})
        return resolve_tilts(settings, count, Cards.of(settings)).tilts

    assert tilts() == "registered"
    assert {tilts(tilt_start=1.0), tilts(start=0.5), tilts(solver="paper"), tilts(1)} == {"joint"}
    fixed = make_prior("image", 3, any_size=False)
    assert tilts(prior=fixed) == "joint"
    assert tilts(prior=fixed, tilts="registered") == "registered"
    note = "solver 'paper' finds its tilts itself and does not use tilts (registered)"
    assert not_used(TurbulenceSettings(solver="paper", tilts="registered")) == [note]


def test_frames_of_an_image_from_noise_let_the_tilt_move_further() -> None:
    assert resolve_tilt(TurbulenceSettings(start="noise", tilt_start="auto"), 2).tilt_start == 8.0


@pytest.mark.parametrize("solver", FUSIONS)
def test_frames_made_one_picture(tiny: dict[str, Any], picture: Callable[..., np.ndarray], solver: str) -> None:
    frames = [np.roll(picture(32, 40), i, axis=1) for i in range(3)]
    result = restore_turbulence(frames, solver=solver, seed=3)
    expected = fusion.FUSIONS[solver](torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2) * 2 - 1)
    np.testing.assert_allclose(result.image, from_tensor(expected.image), atol=1e-6)
    np.testing.assert_array_equal(result.tilt, expected.tilt)
    assert (result.kernel.shape, result.nfe, result.notes) == ((1, 1), {}, ())
    assert "(3); no blur was taken off" in result.outcome[0].message

    tiny = {name: value for name, value in tiny.items() if name != "search"}
    deblurred = restore_turbulence(frames, **tiny, solver=solver, then="fast", samples=2)
    alone = deblur(result.image, **tiny, samples=2)
    np.testing.assert_array_equal(deblurred.images, alone.images)
    np.testing.assert_array_equal(deblurred.kernels[:, 0], alone.kernels)
    assert deblurred.tilts.shape == (2, 3, 2, 32, 40)
    assert "then deblurred: residual is" in deblurred.outcome[0].message
    assert deblurred.residual == alone.residual
    assert deblurred.priors == alone.priors
    assert not deblurred.notes


def test_noise_is_that_of_a_frame(picture: Callable[..., np.ndarray]) -> None:
    frames = [picture()] * 4
    noise = {
        solver: restore_turbulence(frames, solver=solver, then="pan-l0", noise=given, kernel_size=5).noise
        for solver, given in (("mean", 0.04), ("sharpest", 0.04), ("lucky", 0.006))
    }
    assert noise == {"mean": 0.02, "sharpest": 0.04, "lucky": 0.005}


def test_networks_are_those_of_the_deblurring() -> None:
    assert TurbulenceSettings().networks() == ["kernel", "photos"]
    assert TurbulenceSettings(solver="mean").networks() == []
    assert TurbulenceSettings(solver="mean", then="pan-l0").networks() == []
    assert TurbulenceSettings(solver="mean", then="fast").networks() == ["kernel", "photos"]


def test_several_starts_take_more_evaluations(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    one, three = (restore_turbulence(picture(16, 16), **tiny, restarts=n).nfe["image"] for n in (1, 3))
    assert three > one


def test_what_is_not_used_is_noted(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    fast = not_used(TurbulenceSettings(tilt_step_size=0.1, sparsity=0.5))
    assert fast == ["solver 'fast' does not use sparsity, tilt_step_size; choose solver 'paper' for these"]
    paper = restore_turbulence(picture()[..., :1], **tiny, solver="paper", restarts=2)
    assert "solver 'paper' does not use restarts (2); choose solver 'fast' for it" in paper.notes
    assert any("not trained on grey pictures" in note for note in paper.notes)
    assert not restore_turbulence(picture(), **tiny).notes
    alone = restore_turbulence(picture(), solver="mean", num_steps=3, tilt_start=1.0, device="cpu")
    assert alone.notes == ("solver 'mean' does not use num_steps, tilt_start",)
    then = not_used(TurbulenceSettings(then="fast"))
    assert then == ["solver 'fast' takes the blur off itself and does not use then (fast)"]


def test_a_tilt_network_serves_too(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray], make_prior: Callable[..., str]
) -> None:
    result = restore_turbulence(picture(), **tiny, tilt_prior=make_prior("tilt", 2, scale=2.0))
    assert "tilt" in result.priors
    assert result.tilt.shape == (1, 2, 32, 32)


def test_what_does_not_fit_is_refused(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"frame 2 is 40 x 32 .* frames of one size"):
        restore_turbulence([picture(), picture(32, 40)], **tiny)
    with pytest.raises(InputError, match="kernel_per_frame is 'yes'; give True or False"):
        restore_turbulence(picture(), **tiny, kernel_per_frame="yes")
    with pytest.raises(InputError, match="no frames"):
        restore_turbulence([], **tiny)
    with pytest.raises(InputError, match="did you mean 'tilt_start'"):
        restore_turbulence(picture(), **tiny, tilt_starts=1)
    with pytest.raises(InputError, match="'valid', which a tilt cannot take"):
        TurbulenceSettings(boundary="valid")
    with pytest.raises(PriorError, match="not a tilt"):
        restore_turbulence(picture(), **tiny, tilt_prior=tiny["kernel_prior"])


def test_a_divergence_is_started_again_with_all_three_steps_halved(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[object, ...]] = []

    def failing(problem: Problem, on_step: Any = None) -> Any:
        plan = problem.plan
        tried.append((plan.step_size, plan.kernel_step_size, plan.tilt_step_size))
        solution = solve(problem, on_step)
        lost = Outcome("diverged", 1, "lower step_size") if len(tried) < 3 else solution.outcome[0]
        return replace(solution, outcome=(lost,))

    monkeypatch.setattr(run, "solve", failing)
    options = {"step_size": 0.4, "kernel_step_size": 0.2, "tilt_step_size": 0.1}
    result = restore_turbulence(picture(), **{**tiny, **options}, solver="paper")
    assert tried == [(0.4, 0.2, 0.1), (0.2, 0.1, 0.05), (0.1, 0.05, 0.025)]
    assert result.attempts == 3
    assert result.settings.tilt_step_size == 0.025
    assert sum("with the step sizes halved" in note for note in result.notes) == 2


def test_what_read_frames_gives_can_be_restored(
    tmp_path: Path, tiny: dict[str, Any], picture: Callable[..., np.ndarray]
) -> None:
    for i in range(2):
        write_image(tmp_path / f"{i}.png", picture())
    assert restore_turbulence(read_frames(tmp_path).frames, **tiny).tilt.shape[0] == 2


@pytest.mark.parametrize(("rms", "start", "tilt_start"), [(0.5, 0.2, 1.0), (3.0, 1.0, 4.0)])
def test_frames_that_move_much_begin_further_from_their_mean(rms: float, start: float, tilt_start: float) -> None:
    i = torch.arange(64.0)
    image = (torch.sin(i / 3)[:, None] * torch.cos(i / 4)[None]).expand(8, 1, -1, -1).contiguous()
    tilts = atmospheric_tilts(8, 64, rms=rms, aperture=16.0, seed=0)
    frames = Tilt()(image=image, tilt=tilts)
    assert motion(frames) == pytest.approx(rms, rel=0.6)
    chosen = begin_frames(TurbulenceSettings(), frames)
    assert (chosen.start, chosen.tilt_start) == (start, tilt_start)
    for given in ({"start": 0.5}, {"prior": "faces-128"}, {"solver": "paper"}):
        settings = TurbulenceSettings(**given)
        assert begin_frames(settings, frames) == settings


def test_a_stack_is_restored_as_a_list_is(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    frames, told = [picture(), picture()], list[float]()
    stack = Stack((2, 3, *frames[0].shape[:2]))
    stack[:] = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2) * 2 - 1)
    for options in ({"solver": "registered"}, {"fall_back": False}):
        listed = restore_turbulence(frames, **tiny, **options)
        stacked = restore_turbulence(stack, **tiny, **options, on_fused=told.append)
        assert stacked.tilt.shape == listed.tilt.shape
        assert np.abs(stacked.image - listed.image).mean() < 0.01
    assert told[-1] == pytest.approx(1)


@pytest.fixture(scope="module")
def seen_through_air() -> tuple[np.ndarray, list[np.ndarray]]:
    """A scene of 72 px, and six frames of it: tilts of 1 px, a blur of 1.2 px."""
    truth = blocks(72, 72, 3)
    tilt = atmospheric_tilts(6, 72, rms=1.0, aperture=24.0, seed=0)
    y = Blur("replicate")(
        image=Tilt("bicubic")(image=truth.expand(6, -1, -1, -1), tilt=tilt), kernel=gaussian_kernels(1, 13, std=1.2)
    )
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    return from_tensor(truth[0]), [from_tensor(frame) for frame in y]


def test_the_registered_mean_is_deblurred_where_that_can_be_trusted(
    seen_through_air: tuple[np.ndarray, list[np.ndarray]],
) -> None:
    truth, frames = seen_through_air
    result = restore_turbulence(frames)
    alone, mean = restore_turbulence(frames, solver="registered"), np.mean(frames, 0)
    assert result.kept == "deblurred"
    assert result.seeing is not None
    assert result.seeing.of_air  # a Gaussian is rather like it
    assert 0 < result.seeing.d_over_r0 < 10
    assert alone.seeing is None
    assert result.agreement is not None
    assert result.agreement > 0.5
    assert "then deblurred (two halves agree to" in result.outcome[0].message
    error = [np.square(x - truth)[8:-8, 8:-8].mean() for x in (result.image, alone.image, mean)]
    assert error[0] < 0.8 * error[1] < 0.8 * error[2]


def test_a_kernel_that_is_rather_right_than_wrong_is_taken_with_a_warning(
    seen_through_air: tuple[np.ndarray, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, frames = seen_through_air

    def unsure(*args: Any, **options: Any) -> Any:
        return replace(deblur(*args, **options), confidence=0.6, outcome=(Outcome("doubtful", "look at it"),))

    monkeypatch.setattr(fused, "deblur", unsure)
    result = restore_turbulence(frames)
    assert (result.kept, result.outcome[0].status) == ("deblurred", "doubtful")


def test_kernels_that_vary_are_found_anew_in_each_half(
    seen_through_air: tuple[np.ndarray, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, frames = seen_through_air
    field, asked = np.full((1, 2, 3, 3), 1 / 9, np.float32), list[Any]()

    def varied(x: np.ndarray, how: Any, **_: Any) -> Any:
        asked.append(how)
        sure = {"confidence": 0.9, "outcome": (Outcome("restored", ""),), "kernel_field": field}
        return replace(deblur(x, num_steps=1, known_kernel=np.ones((3, 3))), image=truth, **sure)

    monkeypatch.setattr(fused, "deblur", varied)
    result = restore_turbulence(frames, varying=True)
    assert (result.kept, result.kernel_field) == ("deblurred", field)
    assert [(how.varying, how.known_kernel) for how in asked] == [(True, None)] * 3
    field = None  # type: ignore[assignment] - the regions were alike
    asked.clear()
    assert restore_turbulence(frames, varying=True).kernel_field is None
    assert [how.varying for how in asked] == [True, False, False]
    assert any("varying is not used" in note for note in not_used(TurbulenceSettings(varying=True)))


@pytest.mark.parametrize("large", [False, True])
def test_a_kernel_that_cannot_be_trusted_is_the_next_steps(
    seen_through_air: tuple[np.ndarray, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    _, frames = seen_through_air
    alone = restore_turbulence(frames, solver="registered").image
    unsure = deblur(frames[0], num_steps=1, search="none")  # nothing judged it
    monkeypatch.setattr(fused, "deblur", lambda *args, **options: unsure)
    monkeypatch.setattr(restoration, "JOINTLY", 100 if large else 10**9)
    together = replace(restore_turbulence(frames, solver="mean"), kept="restored")
    monkeypatch.setattr(restoration, "restore_jointly", lambda *args: together)
    result = restore_turbulence(frames)
    if large:
        assert (result.kept, result.outcome[0].status) == ("registered", "rejected")
        np.testing.assert_array_equal(result.image, alone)
        assert "too many to find image, kernel and tilts of together" in result.notes[-1]
    else:
        assert result.kept == "restored"
    assert "with no blur taken off: nothing judged the kernel" in result.outcome[0].message


@pytest.mark.parametrize("options", [{"restarts": 1}, {"search": "none"}, {"boundary": "zero"}, {"fall_back": False}])
def test_what_has_no_search_along_edges_is_found_together_at_once(
    seen_through_air: tuple[np.ndarray, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    _, frames = seen_through_air
    together = restore_turbulence(frames, solver="mean")
    monkeypatch.setattr(restoration, "restore_jointly", lambda *args: together)
    monkeypatch.setattr(restoration, "fuse_and_judge", lambda *args: pytest.fail("no verdict can be had"))
    assert restore_turbulence(frames, **options) is together


def test_halves_that_differ_are_not_deblurred(
    seen_through_air: tuple[np.ndarray, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, frames = seen_through_air
    sure = replace(deblur(frames[0], num_steps=1, search="none"), confidence=0.99)
    noise = np.random.default_rng(0)

    def made_up(x: np.ndarray, *args: Any, **options: Any) -> Any:
        return replace(sure, image=(x + 0.1 * noise.standard_normal(x.shape)).astype(np.float32), images=x[None])

    monkeypatch.setattr(fused, "deblur", made_up)
    monkeypatch.setattr(restoration, "JOINTLY", 100)
    result = restore_turbulence(frames)
    assert result.kept == "registered"
    assert "deblurring makes different detail of two halves of them" in result.outcome[0].message


@pytest.mark.parametrize(
    ("both", "said"),
    [
        (Added(agreement=0.4, gain=1.0), "deblurring makes different detail of two halves of them (agreement 0.40)"),
        (Added(agreement=0.9, gain=-1.0), "deblurring adds more noise than detail to them (agreement 0.90)"),
    ],
)
def test_a_gain_that_halves_share_by_less_than_half_or_that_is_none_is_not_trusted(
    both: Added,
    said: str,
    seen_through_air: tuple[np.ndarray, list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, frames = seen_through_air
    sure = replace(deblur(frames[0], num_steps=1, search="none"), confidence=0.99)
    monkeypatch.setattr(fused, "deblur", lambda *args, **options: sure)
    monkeypatch.setattr(fused, "added", lambda *_: both)
    monkeypatch.setattr(restoration, "JOINTLY", 100)
    result = restore_turbulence(frames)
    assert result.kept == "registered"
    assert said in result.outcome[0].message


def test_what_no_verdict_judges_is_deblurred_all_the_same(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoration, "JOINTLY", 100)
    monkeypatch.setattr(fused, "ROOM", 4 * picture()[..., 0].size)
    frames = [picture(), picture()]
    result = restore_turbulence(frames, **tiny)
    assert (result.settings.solver, result.settings.then) == ("registered", "fast")
    assert result.tilt.shape == (2, 2, *(n // 2 for n in frames[0].shape[:2]))  # a fourth of the room
    assert any("registered and averaged, and that deblurred" in note for note in result.notes)
    assert restore_turbulence(frames, **tiny, samples=2).settings.solver == "fast"  # asked for what that alone has
    assert restore_turbulence(frames[0], **tiny).settings.solver == "fast"
