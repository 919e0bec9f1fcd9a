"""A call that does not mind what the caller has set torch to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["isolated"]

P = ParamSpec("P")
R = TypeVar("R")


def isolated(call: Callable[P, R]) -> Callable[P, R]:
    """``call`` in torch's usual state: no inference mode, float32 the default type, the CPU the default device.

    So gradients can be taken and numbers do not depend on what the caller has set, which is set again afterwards.
    Tensors that were made in inference mode, of which none can be taken, are copied: arguments, and those in
    dictionaries, tuples, dataclasses and partial functions among them.
    """

    @wraps(call)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with _usual_state():
            return call(*_plain(args), **_plain(kwargs))

    return inner


@contextmanager
def _usual_state() -> Iterator[None]:
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if dtype != torch.float32:
            stack.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        yield


def _plain(value: Any) -> Any:
    """``value``, or a copy where there are tensors in it that were made in inference mode."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if type(value) in (tuple, list):
        parts = [_plain(part) for part in value]
        return type(value)(parts) if _changed(parts, value) else value
    if type(value) is dict:
        parts = [_plain(part) for part in value.values()]
        return dict(zip(value, parts, strict=True)) if _changed(parts, value.values()) else value
    if isinstance(value, partial):
        args, keywords = _plain(value.args), _plain(value.keywords)
        return value if args is value.args and keywords is value.keywords else partial(value.func, *args, **keywords)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        parts = _plain(fields)
        return value if parts is fields else dataclasses.replace(value, **parts)
    return value


def _changed(parts: Any, before: Any) -> bool:
    return any(a is not b for a, b in zip(parts, before, strict=True))
