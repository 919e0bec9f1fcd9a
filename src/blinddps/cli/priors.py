"""``blinddps priors``: which priors there are, and what they say of themselves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

__all__ = ["priors"]

priors = typer.Typer(name="priors", no_args_is_help=True, rich_markup_mode=None, help="Show the priors installed.")

Json = Annotated[bool, Option("--json", help="Machine readable.")]


@priors.command("list")
def list_(as_json: Json = False) -> None:
    """List the priors that are installed with the package."""
    from ..priors import shipped_priors

    rows = [_row(name, folder) for name, folder in shipped_priors().items()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    head = ("name", "unknown", "sizes", "channels", "parameters", "MB", "steps", "allowed use (licence or data)")
    table = [head] + [
        (
            row["name"],
            row["unknown"],
            ", ".join(map(str, row["sizes"])) + (" (any)" if row["any_size"] else ""),
            str(row["channels"]),
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['megabytes']:.1f}",
            str(row["trained_steps"] or "unknown"),
            row["licence"],
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    for line in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@priors.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="photos, text, faces-128, kernel, tilt, or a folder.")],
    as_json: Json = False,
) -> None:
    """Show the card of a prior, its folder and its README."""
    from ..priors import find_prior, read_card

    folder = find_prior(name)
    readme = folder / "README.md"
    card = read_card(name).model_dump(mode="json")
    if as_json:
        about = {"folder": str(folder), "readme": str(readme) if readme.exists() else None, "card": card}
        typer.echo(json.dumps(about, indent=2))
        return
    typer.echo(f"folder: {folder}\nreadme: {readme if readme.exists() else 'none'}\n{json.dumps(card, indent=2)}")


def _row(name: str, folder: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    from ..core import PriorError
    from ..priors import read_card, weight_files

    card = read_card(folder)
    parameters = 0
    weights = weight_files(folder / "unet")
    for file in weights:
        try:
            with safe_open(file, framework="numpy") as stored:
                shapes = [stored.get_slice(key).get_shape() for key in stored.keys()]  # noqa: SIM118  # no dictionary
        except (SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise PriorError(f"prior file '{file}' cannot be read ({reason}); get the folder again") from None
        parameters += sum(math.prod(shape) for shape in shapes)
    return {
        "name": name,
        "unknown": card.unknown,
        "sizes": card.sizes,
        "any_size": card.any_size,
        "channels": card.channels,
        "parameters": parameters,
        "megabytes": round(sum(file.stat().st_size for file in weights) / 1e6, 3),
        "licence": card.licence,
        "trained_steps": card.training.get("steps"),
    }
