"""What the page's server answers. A visitor reaches its own files alone, and of those what the page shows or offers."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..core import BlinddpsError
from . import controls as choices
from .guard import Guard
from .jobs import Desk, Job
from .limits import Limits, Refused
from .visits import Store, Upload, Visit, of

__all__ = ["make_app"]

COOKIE = "blinddps-visit"
STATIC = {"": "index.html", **{name: name for name in ("page.js", "stage.js", "draw.js", "page.css")}}
EXAMPLES = {"photo": "photo_blurred.png", "face": "face_blurred.png"}
SHOWN = ("running.png", "running_kernel.png", "before.png", "after.png", "small.png")


def make_app(
    controls: Mapping[str, Sequence[choices.Control]], desk: Desk, store: Store, limits: Limits, local: bool, auth: str
) -> ASGIApp:
    """The page as an ASGI application."""
    offered = {kind: choices.described(kind, given) for kind, given in controls.items()}
    pages = _Pages(offered, desk, store, limits)
    get, post = ["GET"], ["POST"]
    routes = [
        *(Route(f"/{path}", pages.static(name), methods=get) for path, name in STATIC.items()),
        *(Route(f"/examples/{name}.png", pages.example(asset), methods=get) for name, asset in EXAMPLES.items()),
        Route("/options", pages.options, methods=get),
        Route("/uploads", pages.bring, methods=post),
        Route("/uploads/{id}/read", pages.read, methods=post),
        Route("/uploads/{id}/preview.png", pages.preview, methods=get),
        Route("/jobs", pages.begin, methods=post),
        Route("/jobs", pages.jobs, methods=get),
        Route("/jobs/{id}", pages.job, methods=get),
        Route("/jobs/{id}", pages.remove, methods=["DELETE"]),
        Route("/jobs/{id}/cancel", pages.cancel, methods=post),
        Route("/jobs/{id}/shown/{name}", pages.shown, methods=get),
        Route("/jobs/{id}/files/{name}", pages.file, methods=get),
    ]
    told: dict[Any, Callable[[Request, Exception], Response]] = {
        Refused: lambda _, error: JSONResponse({"error": str(error)}, getattr(error, "status", 400)),
        BlinddpsError: lambda _, error: JSONResponse({"error": str(error)}, 400),
        HTTPException: lambda _, error: JSONResponse(
            {"error": "there is no such page"}, getattr(error, "status_code", 404)
        ),
        Exception: lambda _, error: JSONResponse({"error": f"unexpected {type(error).__name__}"}, 500),
    }
    return Guard(Starlette(routes=routes, exception_handlers=told), local, auth)


class _Pages:
    def __init__(self, offered: Mapping[str, list[dict[str, Any]]], desk: Desk, store: Store, limits: Limits) -> None:
        self._offered, self._desk, self._store, self._limits = offered, desk, store, limits

    def static(self, name: str) -> Callable[[Request], Response]:
        path = Path(str(files("blinddps"))) / "web" / "static" / name

        def answer(request: Request) -> Response:
            response = FileResponse(path)
            if name == "index.html" and self._store.visit(request.cookies.get(COOKIE, "")) is None:
                response.set_cookie(COOKIE, self._store.welcome().name, httponly=True, samesite="strict")
            return response

        return answer

    def example(self, asset: str) -> Callable[[Request], Response]:
        path = Path(str(files("blinddps"))) / "assets" / asset
        return lambda request: FileResponse(path)

    def options(self, request: Request) -> Response:
        """What the page needs to draw itself."""
        return JSONResponse(
            {
                "kinds": self._offered,
                "presets": choices.PRESETS,
                "examples": dict(EXAMPLES),
                "bytes": self._limits.bytes,
                "keep": self._limits.keep,
            }
        )

    async def bring(self, request: Request) -> Response:
        """Keep a file: the body, called ``name``, of the upload ``more`` where it is one of several frames."""
        visit = self._visit(request)
        query = request.query_params
        upload = await run_in_threadpool(self._store.upload, visit, query.get("more", ""))
        path, size = upload.place(query.get("name", "")), 0
        try:
            with open(path, "wb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > self._limits.bytes:
                        raise Refused(f"the file is larger than {self._limits.bytes // 1_000_000} MB", 413)
                    file.write(part)
        except (Refused, ClientDisconnect, OSError) as error:
            self._store.forget(visit, upload)
            if isinstance(error, OSError):
                raise Refused(f"the file cannot be kept here: {error.strerror}", 507) from None
            raise
        return JSONResponse({"id": upload.id, "name": path.name})

    def read(self, request: Request) -> Response:
        """Say what an upload is."""
        visit = self._visit(request)
        upload: Upload = of(visit.uploads, request.path_params["id"])
        frames = request.query_params.get("kind") == "turbulence"
        try:
            upload.about = self._desk.read(upload.source, upload.folder, frames)
        except Refused:
            self._store.forget(visit, upload)
            raise
        return JSONResponse(upload.about | {"files": len(upload.files), "name": upload.files[0].name})

    def preview(self, request: Request) -> Response:
        upload: Upload = of(self._visit(request).uploads, request.path_params["id"])
        return _file(upload.folder / "preview.png")

    async def begin(self, request: Request) -> Response:
        """Put a restoration into the queue."""
        visit = self._visit(request)
        try:
            asked = json.loads(await _body(request))
        except ValueError:
            raise Refused("the request is no JSON") from None
        return JSONResponse(await run_in_threadpool(self._begin, visit, asked))

    def _begin(self, visit: Visit, asked: Any) -> dict[str, Any]:
        from ..restore import DeblurSettings, TurbulenceSettings
        from ..restore.settings import from_text

        if not isinstance(asked, dict) or asked.get("kind") not in self._offered:
            raise Refused("the request names no kind of restoration")
        kind = asked["kind"]
        chosen = choices.checked(self._offered[kind], asked.get("options", {}))
        upload: Upload = of(visit.uploads, str(asked.get("upload")))
        if not upload.about:
            raise Refused("the file was not read yet")
        folder = visit.folder / f"out-{secrets.token_hex(8)}"
        given: Upload | None = of(visit.uploads, str(asked["kernel"])) if asked.get("kernel") else None
        kernel = self._known(kind, given)
        settings = {k: v for k, v in chosen.items() if k not in choices.OWN}
        from_text(
            DeblurSettings if kind == "deblur" else TurbulenceSettings,
            settings | ({"known_kernel": str(given.source)} if given else {}),
        )
        folder.mkdir()
        options = dict(chosen)
        if given is not None:
            (folder / "given").mkdir()
            options["known_kernel"] = str(shutil.copyfile(given.source, folder / "given" / kernel))
        source = upload.source
        typed = upload.files[0].name if source.is_file() else "frames"
        job = Job(
            visit.name,
            kind,
            source.stem if source.is_file() else "frames",
            source,
            folder,
            options,
            choices.command(kind, self._offered[kind], chosen, typed, kernel),
            kernel,
        )
        try:
            self._desk.submit(job)
        except Refused:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        visit.jobs[job.id] = job
        return self._told(job)

    @staticmethod
    def _known(kind: str, given: Upload | None) -> str:
        """Name of a known kernel, which is read once to see whether it is one; empty where none is given."""
        from ..restore.known_kernel import read_kernel

        if given is None:
            return ""
        if kind != "deblur":
            raise Refused("a kernel that is known belongs to 'deblur'")
        try:
            read_kernel(given.source)
        except BlinddpsError as error:
            raise Refused(str(error).replace(str(given.source), given.source.name)) from None
        return given.source.name

    def jobs(self, request: Request) -> Response:
        return JSONResponse([self._told(job) for job in self._visit(request).jobs.values()])

    def job(self, request: Request) -> Response:
        return JSONResponse(self._told(self._job(request)))

    def cancel(self, request: Request) -> Response:
        job = self._job(request)
        self._desk.cancel(job)
        return JSONResponse(self._told(job))

    def remove(self, request: Request) -> Response:
        self._store.forget(self._visit(request), self._job(request))
        return JSONResponse({})

    def shown(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in SHOWN:
            raise Refused("there is no such picture", 404)
        return _file(self._job(request).folder / name)

    def file(self, request: Request) -> Response:
        job, name = self._job(request), request.path_params["name"]
        if name and name == job.kernel:
            return _file(job.folder / "given" / name, name)
        if name not in job.result.get("files", ()):
            raise Refused("there is no such file", 404)
        return _file(job.folder / name, name)

    def _visit(self, request: Request) -> Visit:
        found = self._store.visit(request.cookies.get(COOKIE, ""))
        if found is None:
            raise Refused("this visit is over; load the page anew", 410)
        return found

    def _job(self, request: Request) -> Job:
        found: Job = of(self._visit(request).jobs, request.path_params["id"])
        return found

    def _told(self, job: Job) -> dict[str, Any]:
        left = job.remaining()
        return {
            "id": job.id,
            "kind": job.kind,
            "name": job.name,
            "state": job.state,
            "message": job.message,
            "ahead": self._desk.ahead(job) if job.state == "waiting" else 0,
            "step": job.index + 1 if job.total else 0,
            "of": job.total,
            "left": None if left is None else round(left),
            "shown": job.shown,
            "command": job.command,
            "kernel": job.kernel,
            "unwanted": job.unwanted,
            "result": job.result,
        }


def _file(path: Path, download: str | None = None) -> Response:
    if not path.is_file():
        raise Refused("it is not here; uploads and results are removed after a while", 404)
    kind = "image/png" if download is None else "application/octet-stream"
    return FileResponse(path, media_type=kind, filename=download)


async def _body(request: Request, most: int = 1 << 16) -> bytes:
    """The request's body, which must be short."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > most:
            raise Refused("the request is too long", 413)
    return found
