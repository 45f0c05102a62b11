"""Routes of the page. Its files are the same for every service and say nothing about this one, so they need no key."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES = Path(__file__).with_name("static")
INDEX = "index.html"
# Only files of this service are loaded and only this service is asked. A clip is shown from the browser's own memory
# (blob:). Trusted types make the browser refuse text as HTML, so that a file's name or an answer can never be run.
POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "media-src blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
HEADERS = {
    "Content-Security-Policy": "; ".join(POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # asked for again with its ETag, so that the files of two versions are never mixed
    "Cache-Control": "no-cache",
}


class PageFiles(StaticFiles):
    """The folder of the page, with the headers above on every file."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """See the class."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


def add_page(app: FastAPI) -> None:
    """Add `/` and the files that it loads, below `/page`."""
    files = PageFiles(directory=FILES)

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return await files.get_response(INDEX, request.scope)

    app.mount("/page", files)
