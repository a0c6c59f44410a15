"""The page as a program: its parts, who may reach them, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from nand.page import asking, images, pages
from nand.page.draft import for_operators
from nand.page.guard import Guard, Rules
from nand.page.server import Server
from nand.page.shell import page, wants_page
from nand_core.errors import NandError

THREADS = 4
"""Answers that are made at once; each thread that ever worked keeps some memory."""


def create_app(server: Server, rules: Rules) -> FastAPI:
    """The page of the project in the current folder.

    Args:
        server: the project.
        rules: who may reach it.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        await anyio.to_thread.run_sync(server.close)

    app = FastAPI(title="NAND", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.state.server, app.state.rules = server, rules
    for part in (pages, images, asking):
        app.include_router(part.routes)
    app.add_exception_handler(NandError, _mistake)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(ClientDisconnect, _too_long)
    app.add_middleware(Guard, rules=rules)
    return app


async def _mistake(request: Request, error: Exception) -> Response:
    said = for_operators(error)
    if wants_page(request):
        return page(request, "notice.html.j2", 409, title="That does not work", says=said)
    return JSONResponse({"error": said}, 400)


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if wants_page(request):
        return page(request, "notice.html.j2", status, title="Not here", says="There is no such page.")
    return JSONResponse({"error": "not here"}, status)


async def _unreadable(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "this is not what the page sends"}, 422)


async def _too_long(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "too large"}, 413)
