"""The command tree, and how every failure leaves it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ..version import __version__
from .bench import bench
from .console import listen, prepare, silence
from .convert import convert
from .deblur import deblur
from .demo import demo
from .errors import INTERRUPTED, report
from .kernel import kernel
from .panels import InPanels
from .priors import priors
from .simulate import simulate
from .train import train
from .train_search import train_search
from .turbulence import turbulence
from .web import web

__all__ = ["app", "main"]

app = typer.Typer(
    name="blinddps",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", envvar="BLINDDPS_DEBUG", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Blind image restoration: one diffusion prior for the image and one for every unknown of the operator.

    Exit codes: 0 done; 1 something failed, one line 'error: ...' for each failure on standard error; 2 wrong usage;
    130 interrupted.
    """
    if debug:
        os.environ["BLINDDPS_DEBUG"] = "1"


app.command(cls=InPanels)(deblur)
app.command(cls=InPanels)(kernel)
app.command(cls=InPanels)(turbulence)
app.add_typer(simulate)
app.add_typer(priors)
app.command()(convert)
app.command()(train)
app.command()(train_search)
app.add_typer(bench, name="bench")
app.command()(demo)
app.command()(web)


def main() -> None:
    """Entry point of ``blinddps`` and ``python -m blinddps``."""
    prepare()
    listen()
    try:
        app(prog_name="blinddps")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        report(error)
        silence()
        sys.exit(1)
