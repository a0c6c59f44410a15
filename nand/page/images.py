"""Addresses of pictures: test images, where a detector sees something, the line's, and those that were sent."""

from __future__ import annotations

import re
from typing import Annotated

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError
from starlette.exceptions import HTTPException

from nand.page.draft import Pointed
from nand.page.inbox import line_image, line_overlay
from nand.page.pictures import SIZES, overlay, picture
from nand.page.sent import keep, sent_image
from nand.page.shell import chosen, server_of
from nand_core.artifacts.store import sha256_file
from nand_core.datasets.images import read_image

FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
KEY = r"[0-9a-f]{16}"

routes = APIRouter()


@routes.get("/c/{name}/picture/{key}/{size}.webp")
def image(request: Request, name: str, key: str, size: str) -> Response:
    """A test image."""
    view = server_of(request).view(name)
    if key not in view.number or size not in SIZES:
        raise HTTPException(404)
    number = view.number[key]
    data = picture(view.run.work.root / view.ids[number], str(view.rows["sha256"].iloc[number]), size)
    return Response(data, media_type="image/webp", headers=FOREVER)


@routes.get("/c/{name}/overlay/{detector}/{number}.png")
def shown_where(request: Request, name: str, detector: str, number: int) -> Response:
    """Where a detector sees something in a test image, after all that is fine."""
    view, detector = chosen(request, name, detector)
    if not 0 <= number < len(view.ids):
        raise HTTPException(404)
    final, limit = view.final(detector, number)
    return Response(overlay(final.numpy(), limit), media_type="image/png", headers=FOREVER)


@routes.get("/c/{name}/line/{key}/{size}.webp")
def line_picture(request: Request, name: str, key: str, size: str) -> Response:
    """An image that the line dropped, or what ``inspect`` saw in it (``seen``)."""
    server = server_of(request)
    server.view(name)
    if not re.fullmatch(KEY, key) or size not in (*SIZES, "seen"):
        raise HTTPException(404)
    if size == "seen":
        return Response(line_overlay(server.inbox, name, key), media_type="image/webp", headers=FOREVER)
    path = line_image(server.inbox, name, key)
    return Response(picture(path, sha256_file(path), size), media_type="image/webp", headers=FOREVER)


@routes.get("/sent/{key}/{size}.webp")
def sent_picture(key: str, size: str) -> Response:
    """An image that was sent."""
    if not re.fullmatch(KEY, key) or size not in SIZES:
        raise HTTPException(404)
    path = sent_image(key)
    return Response(picture(path, sha256_file(path), size), media_type="image/webp", headers=FOREVER)


@routes.get("/c/{name}/{source}/{key}/size")
def size_of(request: Request, name: str, source: str, key: str) -> Response:
    """Width and height of an image in pixels: a box is drawn on a smaller one."""
    return _size(request, name, {"picture": "test", "line": "line"}.get(source, ""), key)


@routes.get("/sent/{key}/size")
def size_of_sent(request: Request, key: str) -> Response:
    """The same of an image that was sent."""
    return _size(request, "", "sent", key)


def _size(request: Request, name: str, source: str, key: str) -> Response:
    try:
        pointed = Pointed.model_validate({"source": source, "key": key})
    except ValidationError:
        raise HTTPException(404) from None
    width, height = read_image(server_of(request).find(name, pointed)).size
    return JSONResponse({"width": width, "height": height})


@routes.post("/sent")
async def send(request: Request, name: Annotated[str, Field(max_length=300)]) -> Response:
    """Takes an image: the body is its file."""
    data = await request.body()
    key = await anyio.to_thread.run_sync(keep, name, data)
    return JSONResponse({"key": key})
