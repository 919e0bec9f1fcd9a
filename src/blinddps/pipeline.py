"""Blind deblurring as a pipeline of diffusers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.utils import BaseOutput

from .core import InputError, Outcome, PriorError, Step
from .priors import AnyPrior, DiffusionPrior, PriorCard, as_prior, find_prior, load_prior, read_card
from .priors.card import CARD_NAME
from .priors.parts import card_of, checked_card, prior_of, scheduler_of
from .restore import DeblurSettings, deblur
from .restore.geometry import crop

if TYPE_CHECKING:
    import numpy as np

    from .io import Picture

__all__ = ["BlindDeblurOutput", "BlindDeblurPipeline"]

_OWN = {
    "prior": "it is unet, scheduler and card",
    "kernel_prior": "it is kernel_unet, kernel_scheduler and kernel_card",
    "num_steps": "give num_inference_steps",
    "samples": "give num_images_per_prompt",
    "seed": "give generator",
    "device": "call pipe.to(device)",
    "dtype": "call pipe.to(dtype)",
}
_SHOWN = ("image", "kernel")


@dataclass
class BlindDeblurOutput(BaseOutput):
    """What a call of :class:`BlindDeblurPipeline` returns; of several samples a picture's come one after another.

    Attributes:
        images: PIL images; or values in [0, 1], ``(N, H, W, C)`` of NumPy or ``(N, C, H, W)`` of torch. Pictures of
            several sizes are a list.
        kernels: ``(h, w)`` float32 each, sum one.
        outcomes: how each ended; ``None`` where a callback interrupted.
        confidence: probability that each kernel is right; ``None`` where nothing judged it.
        seeds: what :func:`blinddps.deblur` was called with, one for each picture.
    """

    images: Any
    kernels: list[np.ndarray]
    outcomes: list[Outcome | None]
    confidence: list[float | None]
    seeds: list[int]


class _Interrupted(Exception):
    def __init__(self, step: Step) -> None:
        self.step = step


class BlindDeblurPipeline(DiffusionPipeline):
    """:func:`blinddps.deblur` with the priors as components: ``y = k * x + n``, picture and kernel found.

    ``BlindDeblurPipeline.from_priors("faces-128")(image=picture).images[0]``. It is saved and loaded as any pipeline;
    weights are safetensors alone. ``dtype`` of the pipeline is that of the arithmetic.

    Args:
        unet: unconditional network of the picture, ``UNet2DModel`` or blinddps' ``ResidualUNet``.
        scheduler: its scheduler; noise levels and prediction are taken from it, not its steps.
        kernel_unet, kernel_scheduler: those of the kernel. Without them the kernel has a uniform prior (Algorithm 3).
        card, kernel_card: fields of :class:`~blinddps.priors.PriorCard`; by default what the networks tell.

    Raises:
        PriorError: a network, scheduler or card that makes no prior.
    """

    _optional_components = ["kernel_unet", "kernel_scheduler"]  # noqa: RUF012  # as diffusers has it
    _callback_tensor_inputs = list(_SHOWN)  # noqa: RUF012

    def __init__(
        self,
        unet: ModelMixin,
        scheduler: SchedulerMixin,
        kernel_unet: ModelMixin | None = None,
        kernel_scheduler: SchedulerMixin | None = None,
        card: dict[str, Any] | None = None,
        kernel_card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            unet=unet, scheduler=scheduler, kernel_unet=kernel_unet, kernel_scheduler=kernel_scheduler
        )
        self.register_to_config(card=card, kernel_card=kernel_card)
        self._interrupt = False
        self._priors()  # what makes no prior is told now

    @classmethod
    def from_priors(
        cls, prior: AnyPrior = "photos", kernel_prior: AnyPrior | None = "kernel", *, device: str = "cpu"
    ) -> BlindDeblurPipeline:
        """A pipeline of priors: shipped names, folders, pipelines of the hub, or loaded ones, whose networks it shares.

        Args:
            prior, kernel_prior: as :func:`blinddps.deblur` takes them; ``None`` or ``"uniform"``: no prior of kernels.
            device: where the networks go.

        Raises:
            PriorError: a prior that cannot be loaded, or a denoiser that is no network of diffusers.
        """
        unet, scheduler, card = _parts(prior, "image")
        if kernel_prior is None or (isinstance(kernel_prior, str) and kernel_prior == "uniform"):
            return cls(unet, scheduler, card=card).to(device)
        kernel_unet, kernel_scheduler, kernel_card = _parts(kernel_prior, "kernel")
        return cls(unet, scheduler, kernel_unet, kernel_scheduler, card, kernel_card).to(device)

    @classmethod
    def from_pretrained(cls, folder: Any, **options: Any) -> BlindDeblurPipeline:
        """As of any pipeline, from safetensors alone.

        Raises:
            PriorError: a folder that is a prior and no pipeline of two, or weights asked for as a pickle.
        """
        if (Path(folder) / CARD_NAME).exists():
            raise PriorError(f"'{folder}' is a prior; BlindDeblurPipeline.from_priors makes a pipeline of it")
        if options.setdefault("use_safetensors", True) is not True:
            raise PriorError("use_safetensors is not True, and pickled weights are not loaded; leave it out")
        return super().from_pretrained(folder, **options)

    def save_pretrained(self, save_directory: Any, safe_serialization: bool = True, **options: Any) -> None:
        """As of any pipeline, as safetensors alone.

        Raises:
            PriorError: weights asked for as a pickle.
        """
        if not safe_serialization:
            raise PriorError("safe_serialization is False, and pickled weights are not written; leave it out")
        super().save_pretrained(save_directory, **options)

    @property
    def interrupt(self) -> bool:
        """Whether a callback asked to end the call, by setting ``pipe._interrupt``."""
        return self._interrupt

    def __call__(
        self,
        image: Any,
        num_inference_steps: int | None = None,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[BlindDeblurPipeline, int, float, dict[str, Any]], Any] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = _SHOWN,
        **settings: Any,
    ) -> BlindDeblurOutput | tuple[Any, ...]:
        """Restore pictures, each by :func:`blinddps.deblur` on its own.

        Args:
            image: what :func:`blinddps.io.as_picture` takes, with values in [0, 1]; a list of these; an array
                ``(N, H, W, C)`` or a tensor ``(N, C, H, W)``.
            num_inference_steps: of the solver; ``None``: its own choice.
            num_images_per_prompt: posterior samples of each picture.
            generator: one, from which a seed is drawn for each picture in turn, or one for each. ``None``: torch's.
            output_type: ``pil``, ``np`` or ``pt``.
            return_dict: false: ``(images, kernels, outcomes)``.
            callback_on_step_end: ``callback(pipe, step, timestep, tensors)`` after each step, with the names of
                ``callback_on_step_end_tensor_inputs``: denoised ``image`` in [-1, 1] and ``kernel``. They are to be
                looked at; what it returns changes nothing. With ``pipe._interrupt = True`` it ends the call: what is
                returned ends with the picture at hand, as it stood.
            settings: of :class:`~blinddps.restore.DeblurSettings`, as ``solver="paper"`` or ``known_kernel=k``.

        Raises:
            InputError: as :func:`blinddps.deblur`; generators that are not one for each picture.
        """
        for name in settings.keys() & _OWN:
            raise InputError(f"{name} is no option of a pipeline's call; {_OWN[name]}")
        if output_type not in ("pil", "np", "pt"):
            raise InputError(f"output_type is {output_type!r}; give pil, np or pt")
        for name in callback_on_step_end_tensor_inputs:
            if name not in _SHOWN:
                raise InputError(f"callback_on_step_end_tensor_inputs has {name!r}; there are image and kernel")
        pictures = _pictures(image)
        prior, kernel_prior = self._priors()
        chosen = DeblurSettings(
            prior=prior,
            kernel_prior="uniform" if kernel_prior is None else kernel_prior,
            num_steps="auto" if num_inference_steps is None else num_inference_steps,
            samples=num_images_per_prompt,
            device=str(self._execution_device),
            **_known(settings),
        )
        self._interrupt = False
        found = BlindDeblurOutput([], [], [], [], [])
        for picture, seed in zip(pictures, _seeds(generator, len(pictures)), strict=True):
            with self._listener(prior, callback_on_step_end, callback_on_step_end_tensor_inputs) as listen:
                try:
                    result = deblur(picture, chosen, on_step=listen, seed=seed)
                except _Interrupted as interrupted:
                    self._keep(found, *_as_it_stood(picture, interrupted.step), [None], None, seed)
                    break
            self._keep(found, result.images, result.kernels, list(result.outcome), result.confidence, seed)
        found.images = _of_type(found.images, output_type)
        self.maybe_free_model_hooks()
        return found if return_dict else (found.images, found.kernels, found.outcomes)

    def _priors(self) -> tuple[DiffusionPrior, DiffusionPrior | None]:
        image = _prior(self.unet, self.scheduler, self.config.card, "image")
        if self.kernel_unet is None or self.kernel_scheduler is None:
            return image, None
        return image, _prior(self.kernel_unet, self.kernel_scheduler, self.config.kernel_card, "kernel")

    @contextmanager
    def _listener(
        self, prior: DiffusionPrior, callback: Callable[..., Any] | None, names: Sequence[str]
    ) -> Iterator[Callable[[Step], None]]:
        """A bar as the pipeline's are, the callback, and the end when that asks for it."""
        bar: Any = None

        def listen(step: Step) -> None:
            nonlocal bar
            if bar is None:
                bar = self.progress_bar(total=step.total)
            elif step.index == 0:  # another source of the search, or a restart
                bar.reset(total=step.total)
            bar.total = step.total
            bar.update(step.index + 1 - bar.n)
            if callback is not None:
                level = torch.tensor([step.sigma.get("image", 0.0)])
                shown = {name: step.estimate[name] for name in names if name in step.estimate}
                callback(self, step.index, float(prior.schedule.timestep(level)), shown)
            if self._interrupt:
                raise _Interrupted(step)

        try:
            yield listen
        finally:
            if bar is not None:
                bar.close()

    @staticmethod
    def _keep(
        found: BlindDeblurOutput, images: Any, kernels: Any, outcomes: Any, confidence: float | None, seed: int
    ) -> None:
        found.images.extend(images)
        found.kernels.extend(kernels)
        found.outcomes.extend(outcomes)
        found.confidence.extend([confidence, *[None] * (len(outcomes) - 1)])  # the first sample is what was judged
        found.seeds.append(seed)


def _parts(given: AnyPrior, unknown: str) -> tuple[Any, Any, dict[str, Any]]:
    """Network, scheduler and card of a prior; those of a name are loaded anew, since a pipeline moves its networks."""
    import diffusers

    prior = load_prior(given) if isinstance(given, str | Path) else as_prior(given, unknown=unknown, device=_at(given))
    if not isinstance(prior, DiffusionPrior) or not isinstance(prior.network, ModelMixin):
        raise PriorError(
            f"prior '{prior.card.name}' is no network of diffusers, which a pipeline is made of; give it to "
            "blinddps.deblur"
        )
    if prior.process is not None and isinstance(given, str | Path):  # of another diffusion; its scheduler knows
        folder = find_prior(given) / "scheduler"
        kind = getattr(diffusers, diffusers.ConfigMixin.load_config(folder)["_class_name"])
        return prior.network, kind.from_pretrained(folder), read_card(given).model_dump(mode="json")
    return prior.network, scheduler_of(prior), prior.card.model_dump(mode="json")


def _at(given: Any) -> torch.device | str:
    return given.device if isinstance(given, DiffusionPrior) else "cpu"


def _prior(network: Any, scheduler: Any, fields: dict[str, Any] | None, unknown: str) -> DiffusionPrior:
    taken = inspect.signature(type(scheduler).__init__).parameters  # of another scheduler's settings it knows nothing
    told = {k: v for k, v in scheduler.config.items() if k in taken} | {"_class_name": type(scheduler).__name__}
    where = Path(f"{unknown} of this pipeline")
    card: PriorCard = (
        card_of(network.config, told["_class_name"], unknown, where, unknown)
        if fields is None
        else checked_card(fields, where)
    )
    if card.unknown != unknown:
        raise PriorError(f"prior '{card.name}' models the {card.unknown}, not the {unknown}; choose another")
    inner = card.channels * card.pixel_unshuffle**2
    if network.config["in_channels"] != inner:
        raise PriorError(
            f"the network of the {unknown} has {network.config['in_channels']} channels, its card says {inner}; one of "
            "them is of another prior"
        )
    return prior_of(network, told, card, where, network.dtype)


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that there are, else refused as :func:`blinddps.deblur` does."""
    from .restore.settings import with_options

    if settings.keys() - {f.name for f in fields(DeblurSettings)}:
        with_options(DeblurSettings(), settings)
    return settings


def _pictures(image: Any) -> list[Picture]:
    from .io import as_picture

    batch = list(image) if isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4 else [image]
    if not batch:
        raise InputError("there is no picture in the list; give one at least")
    return [as_picture(one) for one in batch]


def _seeds(generator: Any, count: int) -> list[int]:
    """One for each picture, drawn from its generator or from the one."""
    given = list(generator) if isinstance(generator, list | tuple) else [generator] * count
    if len(given) != count:
        raise InputError(f"there are {len(given)} generators for {count} pictures; give one, or one for each")
    return [int(torch.randint(2**31 - 1, (1,), generator=g, device="cpu" if g is None else g.device)) for g in given]


def _as_it_stood(picture: Picture, step: Step) -> tuple[Any, Any]:
    """The first sample after ``step``; the picture as given where that is a part of it, or of another size."""
    image, size = step.estimate["image"][:1].detach(), picture.data.shape[:2]
    kernel: Any = step.estimate["kernel"][:1, 0].detach().float().cpu().numpy() if "kernel" in step.estimate else []
    height, width = (a - b for a, b in zip(image.shape[-2:], size, strict=True))
    if not (0 <= height < min(size) and 0 <= width < min(size)):
        return picture.data[None], kernel
    seen = (crop(image, torch.Size(size)) + 1) / 2
    return seen.clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy(), kernel


def _of_type(images: list[Any], kind: str) -> Any:
    import numpy as np

    if kind == "pil":
        return [p for one in images for p in DiffusionPipeline.numpy_to_pil(np.clip(one, 0, 1)[None])]
    seen = images if kind == "np" else [torch.from_numpy(one).permute(2, 0, 1) for one in images]
    if len({one.shape for one in seen}) > 1:
        return seen
    return np.stack(seen) if kind == "np" else torch.stack(seen)
