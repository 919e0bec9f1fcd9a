"""``blinddps web``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from .console import say
from .errors import note
from .threads import Threads, set_threads

if TYPE_CHECKING:
    from ..web.controls import Control

__all__ = ["web"]


def web(
    host: Annotated[
        str, Option(metavar="ADDRESS", help="Where it is served; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    auth: Annotated[
        str,
        Option(
            metavar="USER:PASSWORD",
            envvar="BLINDDPS_WEB_AUTH",
            show_envvar=True,
            help="What a browser must give. The variable keeps it out of the list of processes.",
        ),
    ] = "",
    megapixels: Annotated[float, Option(min=0.01, max=200, help="Of a picture, at most.")] = 60,
    queue: Annotated[int, Option(min=1, help="Restorations that may wait.")] = 20,
    minutes: Annotated[float, Option(min=0.01, help="That one restoration may take.")] = 60,
    keep: Annotated[
        float, Option(metavar="MINUTES", min=0.01, help="How long uploads and results stay; at the end all go.")
    ] = 60,
    memory: Annotated[
        str,
        Option(
            metavar="auto|GB", help="What the process that restores may hold. auto: three quarters of the machine's."
        ),
    ] = "auto",
    threads: Threads = "auto",
) -> None:
    """Serve a page to restore pictures in the browser.

    Open the address that is printed; Ctrl-C ends it. It is reached from this machine alone unless --host says
    otherwise, asks nothing of the network, and removes what visitors brought after an hour and when it ends.
    The results are those of 'blinddps deblur' and 'blinddps turbulence', byte for byte.
    """
    from ..core import InputError

    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise InputError("the page needs the extra 'web'; install blinddps[web]") from None
    import torch

    from ..web import serve
    from ..web.limits import Limits, three_quarters_of_memory
    from ..web.serve import is_local

    if auth and not all(auth.partition(":")[::2]):
        raise typer.BadParameter("give USER:PASSWORD, neither of them empty", param_hint="--auth")
    set_threads(threads)
    limits = Limits(
        pixels=round(1e6 * megapixels),
        waiting=queue,
        minutes=minutes,
        keep=keep,
        memory=three_quarters_of_memory() if memory == "auto" else _bytes(memory),
    )
    if not is_local(host):
        others = (
            "anybody who reaches this machine" if not auth else "whoever knows the password, which is sent in clear,"
        )
        note("warning", f"at {host} {others} can use the page; behind a proxy with TLS it is safer")
    serve(
        {kind: controls(kind) for kind in ("deblur", "turbulence")},
        host,
        port,
        limits=limits,
        auth=auth,
        threads=torch.get_num_threads(),
        ready=lambda address: say(f"open {address} in a browser; Ctrl-C ends it"),
    )


def _bytes(gigabytes: str) -> int:
    try:
        found = float(gigabytes)
    except ValueError:
        found = 0.0
    if not 0.5 <= found <= 1e5:
        raise typer.BadParameter(f"memory is '{gigabytes}'; give at least 0.5 GB, or auto", param_hint="--memory")
    return round(1e9 * found)


def controls(kind: str) -> list[Control]:
    """The options of a command, as its --help has them."""
    from ..web.controls import Control
    from .app import app

    found = []
    for param in typer.main.get_command(app).commands[kind].params:  # type: ignore[attr-defined]
        if param.param_type_name != "option" or param.name is None:
            continue
        default = param.default if param.default is not None else ""
        found.append(
            Control(
                name=param.name,
                flag=max(param.opts, key=len),
                default=str(default).lower() if param.is_flag else str(default),
                help=param.help or "",
                metavar=param.metavar or "",
                off=param.secondary_opts[0] if param.secondary_opts else "",
                is_flag=bool(param.is_flag),
                more=getattr(param, "rich_help_panel", None) or "",
            )
        )
    return found
