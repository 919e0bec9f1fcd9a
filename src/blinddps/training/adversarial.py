"""A generator trained against critics: two optimisers that take their steps in turn, in the same loop."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from blinddps.baselines.supervised import critics
from blinddps.core import InputError, PriorError
from blinddps.priors import read_checkpoint

from .optimisation import learning_rate
from .restorer import RestorerOptimisation
from .restorer_config import RestorerConfig

__all__ = ["AdversarialOptimisation", "Features", "critic_loss", "generator_loss", "slope_penalty"]

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation of what VGG-19 has seen
LAYERS = ((0, 64), (2, 64), (5, 128), (7, 128), (10, 256), (12, 256), (14, 256))  # its convolutions up to conv3_3
POOLED = (5, 10)  # convolutions before which the size is halved


class Features(nn.Module):
    """VGG-19 (Simonyan and Zisserman 2015) up to its convolution 3_3, before the ReLU, of pictures in [0, 1].

    Raises:
        InputError: the file is no file of weights, or not of this network.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        try:
            state = read_checkpoint(file)
        except PriorError as error:
            raise InputError(f"features: {error}") from None
        self.convolutions, inputs = nn.ModuleList(), 3
        for index, outputs in LAYERS:
            layer = nn.Conv2d(inputs, outputs, 3, padding=1)
            for name, parameter in layer.named_parameters():
                value = state.get(f"features.{index}.{name}")
                if value is None or value.shape != parameter.shape:
                    raise InputError(
                        f"features '{file}' hold no VGG-19: 'features.{index}.{name}' is missing or of another shape; "
                        "give torchvision's file vgg19-dcbb9e9d.pth"
                    )
                parameter.data = value.float()
            self.convolutions.append(layer)
            inputs = outputs
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in IMAGENET)
        x = (x - mean) / deviation
        for (index, _), layer in zip(LAYERS, self.convolutions, strict=True):
            x = x if index == 0 else x.relu()
            x = layer(F.max_pool2d(x, 2) if index in POOLED else x)
        return x


def critic_loss(kind: str, true: Tensor, made: Tensor) -> Tensor:
    """What a critic makes least of, of its scores ``(B, 1, h, w)`` of true pictures and of made ones.

    ``wgan-gp``: ``mean(made) - mean(true)``. ``ragan-ls``: the mean of ``(true - mean(made) - 1)^2`` and of
    ``(made - mean(true) + 1)^2``, halved.
    """
    if kind == "wgan-gp":
        return made.mean() - true.mean()
    return ((true - made.mean() - 1).square().mean() + (made - true.mean() + 1).square().mean()) / 2


def generator_loss(kind: str, true: Tensor, made: Tensor) -> Tensor:
    """What a generator makes least of, of each sample ``(B,)``: ``-mean(made)``, or the signs of
    :func:`critic_loss` reversed."""
    if kind == "wgan-gp":
        return -made.flatten(1).mean(1)
    first, second = (true - made.mean() + 1).square(), (made - true.mean() - 1).square()
    return (first.flatten(1).mean(1) + second.flatten(1).mean(1)) / 2


def slope_penalty(critic: nn.Module, true: Tensor, made: Tensor, share: Tensor) -> Tensor:
    """``mean((|grad critic(z)| - 1)^2)`` at ``z = share true + (1 - share) made``, the norm over a whole picture, the
    critic's score the mean of its patches'; ``share`` is ``(B,)``."""
    mixed = share.view(-1, 1, 1, 1)
    z = (mixed * true + (1 - mixed) * made).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(z).flatten(1).mean(1).sum(), z, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


class AdversarialOptimisation(RestorerOptimisation):
    """The same steps, averages and states of a generator, before each of which the critics take one.

    The critics see what the generator has just made, have the same optimiser and rate, and are part of the checkpoint.
    They are not handed out. Under ``torchrun`` their gradients are averaged; means inside ``ragan-ls`` are those of a
    process.
    """

    def __init__(self, config: RestorerConfig, device: str = "cpu") -> None:
        super().__init__(config, device)
        given = config.adversary
        if config.accumulate > 1:  # critics would take a step for each part
            raise InputError(f"accumulate is {config.accumulate}, and critics see a batch whole; leave it out")
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(config.seed + 1)
            self.critics = critics(given.critics, given.width).to(device)
        self.critic_optimizer = torch.optim.AdamW(
            self.critics.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        self.features: Features | None = None
        if given.features is not None:
            self.features = Features(given.features).to(device)
        elif given.perceptual:
            warnings.warn(
                "the loss has no perceptual part, since no file of VGG-19's weights is given; give one "
                "(--set adversary.features=FILE) for the published loss",
                stacklevel=3,
            )

    def _loss(self, stages: list[Tensor], truth: Tensor, share: Tensor) -> Tensor:
        given, made = self.config.adversary, 2 * stages[0] - 1
        self._teach(2 * truth - 1, made.detach(), share)
        total = given.content * super()._loss(stages, truth, share)
        if self.features is not None:
            apart = (self.features(stages[0]) - self.features(truth)).square()
            total = total + given.perceptual * apart.flatten(1).mean(1)
        self.critics.requires_grad_(False)
        said = [generator_loss(given.kind, critic(2 * truth - 1), critic(made)) for critic in self.critics]
        self.critics.requires_grad_(True)
        return total + given.weight * torch.stack(said).mean(0)

    def _teach(self, true: Tensor, made: Tensor, share: Tensor) -> None:
        """One step of the critics."""
        given = self.config.adversary
        for group in self.critic_optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        losses = [critic_loss(given.kind, critic(true), critic(made)) for critic in self.critics]
        if given.kind == "wgan-gp":
            losses += [given.penalty * slope_penalty(critic, true, made, share) for critic in self.critics]
        loss = torch.stack(losses).sum() / len(self.critics)
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if dist.is_available() and dist.is_initialized():
            for parameter in self.critics.parameters():
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= dist.get_world_size()
        self._clipped(self.critics, loss.detach())
        self.critic_optimizer.step()

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "critics": self.critics.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.critics.load_state_dict(state["critics"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
