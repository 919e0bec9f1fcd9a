"""Options of the form KEY=VALUE."""

from __future__ import annotations

from typing import Any

import typer

__all__ = ["assignment"]


def assignment(text: str) -> tuple[str, Any]:
    """Key and value: JSON, or else the text itself."""
    from ..core import InputError
    from ..core.reading import parse_json

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"'{text}' is not of the form KEY=VALUE", param_hint="--set")
    try:
        return key, parse_json(value)
    except InputError:
        return key, value
