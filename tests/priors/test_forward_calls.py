"""Item 9 of method.md, section 8: networks run forward once per step; nothing is computed again in the backward pass.

The authors' code checkpoints attention always, which costs time for memory that posterior sampling has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import nn
from torch.utils.checkpoint import checkpoint

from blinddps.core import Unknown, simplex
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior, load_prior, save_prior
from blinddps.samplers import blind_dps

STEPS = 3


@contextmanager
def calls_of(network: nn.Module) -> Iterator[Counter[str]]:
    """How often each module of ``network`` is called; the network itself is ``""``."""
    calls: Counter[str] = Counter()

    def count(name: str) -> Callable[..., None]:
        return lambda *_: calls.update([name])

    hooks = [module.register_forward_pre_hook(count(name)) for name, module in network.named_modules()]
    yield calls
    for hook in hooks:
        hook.remove()


def solve(image: DiffusionPrior, kernel: DiffusionPrior) -> None:
    y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    unknowns = {
        "image": Unknown(image, (3, 16, 16)),
        "kernel": Unknown(kernel, (1, 8, 8), to_physical=simplex),
    }
    blind_dps(y, Blur("circular"), unknowns, num_steps=STEPS)


@pytest.mark.parametrize("recomputes", [False, True])
def test_every_module_runs_once_per_step(
    make_prior: Callable[..., DiffusionPrior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recomputes: bool
) -> None:
    """As loaded; and the count sees it when attention is computed again, as there."""
    priors = [load_prior(save_prior(make_prior(c, attention=True), tmp_path / str(c))) for c in (3, 1)]
    once = []
    for prior in priors:
        with calls_of(prior.network) as calls, torch.no_grad():
            prior(torch.zeros(1, prior.card.channels, 16, 16), torch.ones(1))
        once.append(calls)
    if recomputes:
        forward = Attention.forward
        monkeypatch.setattr(Attention, "forward", lambda *a, **k: checkpoint(forward, *a, use_reentrant=False, **k))
    with calls_of(priors[0].network) as of_image, calls_of(priors[1].network) as of_kernel:
        solve(*priors)
    for prior, single, calls in zip(priors, once, (of_image, of_kernel), strict=True):
        attention = [name for name, module in prior.network.named_modules() if isinstance(module, Attention)]
        assert attention
        assert all(single[name] == 1 for name in ("", *attention))
        again = {name for name, n in calls.items() if n != STEPS * single[name]}
        assert again.isdisjoint(attention)  # a module's own hook is outside what it checkpoints
        inside = {f"{name}.to_q" for name in attention}
        assert inside <= single.keys()
        assert (inside <= again) if recomputes else not again
