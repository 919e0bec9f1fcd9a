"""The page's server, from the socket to the last file removed."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from ..core import InputError
from .controls import Control
from .jobs import Desk
from .limits import Limits
from .visits import Store

__all__ = ["is_local", "serve"]

EVERY = 30.0  # seconds between two looks for what is old


def is_local(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def serve(
    controls: Mapping[str, Sequence[Control]],
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    limits: Limits | None = None,
    auth: str = "",
    threads: int = 0,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the page until it is interrupted; ``ready`` is told its address.

    Args:
        controls: of ``deblur`` and ``turbulence``.
        port: 0 takes a free one.
        auth: ``USER:PASSWORD`` that a browser must give.
        threads: of the process that restores; 0 leaves torch's own.

    Raises:
        InputError: the address cannot be had.
    """
    import uvicorn

    from .pages import make_app

    limits = limits or Limits()
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot serve at {host}, port {port}: {reason}; give another --port or --host") from None
    desk = Desk(limits, threads)
    store = Store(desk, limits)
    stopped = threading.Event()

    def tidy() -> None:
        while not stopped.wait(EVERY):
            store.tidy()

    threading.Thread(target=tidy, daemon=True).start()
    if threading.current_thread() is threading.main_thread():  # uvicorn raises it again, and files must go first
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app = make_app(controls, desk, store, limits, is_local(host), auth)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
        )
        named = f"[{host}]" if ":" in host else host
        ready(f"http://{named}:{listening.getsockname()[1]}")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        stopped.set()
        listening.close()
        desk.close()
        store.close()
