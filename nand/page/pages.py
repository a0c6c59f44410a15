"""Addresses of what somebody reads: classes, one class, the line, the log, and the way in."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import Field
from starlette.exceptions import HTTPException

from nand.page.guard import COOKIE, Rules, kept
from nand.page.inbox import day_of
from nand.page.shell import chosen, page, server_of, static_files
from nand.page.snapshot import digest_now
from nand.page.views import PART, REJECTED, lists, summary, tiles
from nand.project.log import read
from nand.project.place import PARAMS
from nand.project.standing import standings, unlogged
from nand_core.config import load_params
from nand_core.errors import NandError

routes = APIRouter()


@routes.get("/")
def classes(request: Request) -> Response:
    """All classes."""
    snapshot = server_of(request).snapshot()
    found = [summary(server_of(request).view(name)) for name in snapshot.groups]
    return page(request, "classes.html.j2", classes=found, detector=snapshot.detectors[0])


@routes.get("/c/{name}")
def one_class(request: Request, name: str, detector: str = "", show: str = REJECTED) -> Response:
    """A class: what is rejected, what is fine, and the form that says so."""
    view, detector = chosen(request, name, detector)
    server_of(request).prepare(name)
    state = view.state(detector)
    found, following = tiles(state, show, 0)
    return page(
        request,
        "class.html.j2",
        view=view,
        detector=detector,
        detectors=view.snapshot.detectors,
        show=show,
        lists=lists(state),
        tiles=found,
        following=following,
        digest=view.snapshot.digest,
        held=view.held,
    )


@routes.get("/c/{name}/images")
def more_images(
    request: Request, name: str, detector: str, show: str, start: Annotated[int, Field(ge=0)] = PART
) -> Response:
    """A further part of a list."""
    view, detector = chosen(request, name, detector)
    found, following = tiles(view.state(detector), show, start)
    return page(
        request, "tiles.html.j2", view=view, tiles=found, detector=detector, show=show, following=following
    )


@routes.get("/line")
def line(request: Request, day: str = "") -> Response:
    """What ``inspect`` saw."""
    server = server_of(request)
    today = datetime.now().astimezone().date()
    try:
        shown = date.fromisoformat(day) if day else today
    except ValueError:
        raise NandError(f"{day!r} is no day; write it as {today}") from None
    found = [day_of(server.inbox, name, shown) for name in server.snapshot().groups]
    before = max((one.before for one in found if one.before), default=None)
    return page(
        request,
        "line.html.j2",
        days=[one for one in found if one.images],
        day=shown,
        today=today,
        before=before,
        inbox=server.inbox,
    )


@routes.get("/log")
def log(request: Request) -> Response:
    """Who made what normal."""
    prompts = load_params(PARAMS).prompts
    found = read(prompts)
    return page(
        request,
        "log.html.j2",
        rows=standings(found.entries, prompts)[::-1],
        by_hand=[(name, text) for name, text in unlogged(found.entries, prompts)],
        faults=found.faults,
        digest=digest_now(),
    )


@routes.get("/login")
def login_form(request: Request) -> Response:
    """Asks for the token."""
    return page(request, "login.html.j2", wrong=False)


@routes.post("/login")
async def login(request: Request) -> Response:
    """Lets in who has the token."""
    rules: Rules = request.app.state.rules
    said = {name: values[0] for name, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()}
    session = request.scope["state"]["session"]
    if said.get("form_token") != rules.form_token(session):
        return RedirectResponse("/login", 303)  # the page was started anew
    if not rules.token or not rules.is_token(said.get("token", "").strip()):
        await asyncio.sleep(0.5)
        return page(request, "login.html.j2", 403, wrong=True)
    answer = RedirectResponse("/", 303)
    answer.headers["set-cookie"] = kept(rules.cookie(rules.new(known=True)), request.headers)
    return answer


@routes.post("/logout")
def logout(request: Request) -> Response:
    """Forgets a browser."""
    answer = JSONResponse({})
    answer.headers["set-cookie"] = f"{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
    return answer


@routes.get("/static/{name}")
def static(name: str) -> Response:
    """Style and scripts."""
    if name not in static_files():
        raise HTTPException(404)
    data, kind = static_files()[name]
    return Response(data, media_type=kind, headers={"cache-control": "no-cache"})
