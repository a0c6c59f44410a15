"""The page's addresses."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import mimetypes
import re
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

import anyio
import pandas as pd
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field, ValidationError
from starlette.concurrency import iterate_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from nand.page.change import MEANWHILE, Job, Place
from nand.page.draft import Draft, Pointed
from nand.page.guard import COOKIE, Guard, Rules, kept
from nand.page.inbox import day_of, line_image, line_overlay
from nand.page.pictures import SIZES, overlay, picture
from nand.page.preview import Preview, Progress
from nand.page.sent import keep, sent_image
from nand.page.server import Server
from nand.page.snapshot import View, digest_now
from nand.page.views import PART, REJECTED, answer, lists, question, summary, tiles
from nand.project.log import read
from nand.project.place import PARAMS
from nand.project.standing import standings, unlogged
from nand_core.artifacts.store import sha256_file
from nand_core.config import load_params
from nand_core.datasets.images import read_image
from nand_core.errors import NandError
from nand_core.report.panels import ANOMALY, gradient
from nand_core.settings import Settings

OPERATING = Path("results/operating.parquet")
THREADS = 4
"""Answers that are made at once; each thread that ever worked keeps some memory."""
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
KEY = r"[0-9a-f]{16}"

routes = APIRouter()


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
    app.include_router(routes)
    app.add_exception_handler(NandError, _mistake)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(ClientDisconnect, _too_long)
    app.add_middleware(Guard, rules=rules)
    return app


# What everything is made of.


@cache
def templates() -> Environment:
    """The page's templates; every text in them is escaped."""
    made = Environment(
        loader=PackageLoader("nand.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"address": lambda text: quote(str(text), safe="")}
    return made


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Name -> content and type; nothing else is served by its name."""
    own = importlib.resources.files("nand.page") / "static"
    found = {one.name: one.read_bytes() for one in own.iterdir() if one.name.endswith((".css", ".js", ".svg"))}
    found["report.css"] = (importlib.resources.files("nand_core.report") / "templates" / "style.css").read_bytes()
    return {name: (data, mimetypes.guess_type(name)[0] or "text/plain") for name, data in found.items()}


def _page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    told = {"form_token": request.scope["state"]["form_token"], "here": request.url.path, "ramp": gradient(ANOMALY)}
    return HTMLResponse(templates().get_template(template).render(**told, **values), status)


def _server(request: Request) -> Server:
    found: Server = request.app.state.server
    return found


def _wants_page(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


async def _mistake(request: Request, error: Exception) -> Response:
    said = " ".join(str(error).split())
    if _wants_page(request):
        return _page(request, "notice.html.j2", 409, title="Not now", says=said)
    return JSONResponse({"error": said}, 400)


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if _wants_page(request):
        return _page(request, "notice.html.j2", status, title="Not here", says="There is no such page.")
    return JSONResponse({"error": "not here"}, status)


async def _unreadable(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "this is not what the page sends"}, 422)


async def _too_long(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "too large"}, 413)


# Pages.


@routes.get("/")
def classes(request: Request) -> Response:
    """All classes."""
    snapshot = _server(request).snapshot()
    found = [summary(_server(request).view(name)) for name in snapshot.groups]
    return _page(request, "classes.html.j2", classes=found, detector=snapshot.detectors[0])


@routes.get("/c/{name}")
def one_class(request: Request, name: str, detector: str = "", show: str = REJECTED) -> Response:
    """A class: what is rejected, what is fine, and the form that says so."""
    view, detector = _chosen(request, name, detector)
    _server(request).prepare(name)
    state = view.state(detector)
    found, following = tiles(state, show, 0)
    return _page(
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
    view, detector = _chosen(request, name, detector)
    found, following = tiles(view.state(detector), show, start)
    return _page(
        request, "tiles.html.j2", view=view, tiles=found, detector=detector, show=show, following=following
    )


@routes.get("/line")
def line(request: Request, day: str = "") -> Response:
    """What ``inspect`` saw."""
    server = _server(request)
    today = datetime.now().astimezone().date()
    try:
        chosen = date.fromisoformat(day) if day else today
    except ValueError:
        raise NandError(f"{day!r} is no day; write it as {today}") from None
    found = [day_of(server.inbox, name, chosen) for name in server.snapshot().groups]
    before = max((one.before for one in found if one.before), default=None)
    return _page(
        request,
        "line.html.j2",
        days=[one for one in found if one.images],
        day=chosen,
        today=today,
        before=before,
        inbox=server.inbox,
    )


@routes.get("/log")
def log(request: Request) -> Response:
    """Who made what normal."""
    prompts = load_params(PARAMS).prompts
    found = read(prompts)
    return _page(
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
    return _page(request, "login.html.j2", wrong=False)


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
        return _page(request, "login.html.j2", 403, wrong=True)
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


# Pictures.


@routes.get("/c/{name}/picture/{key}/{size}.webp")
def image(request: Request, name: str, key: str, size: str) -> Response:
    """A test image."""
    view = _server(request).view(name)
    if key not in view.number or size not in SIZES:
        raise HTTPException(404)
    number = view.number[key]
    data = picture(view.run.work.root / view.ids[number], str(view.rows["sha256"].iloc[number]), size)
    return Response(data, media_type="image/webp", headers=FOREVER)


@routes.get("/c/{name}/overlay/{detector}/{number}.png")
def shown_where(request: Request, name: str, detector: str, number: int) -> Response:
    """Where a detector sees something in a test image, after all that is fine."""
    view, detector = _chosen(request, name, detector)
    if not 0 <= number < len(view.ids):
        raise HTTPException(404)
    final, limit = view.final(detector, number)
    return Response(overlay(final.numpy(), limit), media_type="image/png", headers=FOREVER)


@routes.get("/c/{name}/line/{key}/{size}.webp")
def line_picture(request: Request, name: str, key: str, size: str) -> Response:
    """An image that the line dropped, or what ``inspect`` saw in it (``seen``)."""
    server = _server(request)
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
    width, height = read_image(_server(request).find(name, pointed)).size
    return JSONResponse({"width": width, "height": height})


@routes.post("/sent")
async def send(request: Request, name: Annotated[str, Field(max_length=300)]) -> Response:
    """Takes an image: the body is its file."""
    data = await request.body()
    key = await anyio.to_thread.run_sync(keep, name, data)
    return JSONResponse({"key": key})


# Questions and changes.


class Words(Settings):
    """A text while somebody types it."""

    text: str = Field(max_length=2000)


class Asking(Settings):
    """A draft to look at, by a detector; ``live`` while somebody types."""

    draft: Draft
    detector: str = Field(max_length=200)
    live: bool = False


class Accepting(Settings):
    """A draft to accept: on which settings it was made, by whom, and which lost alarms they agreed to."""

    draft: Draft
    digest: str = Field(max_length=64)
    who: str = Field("", max_length=200)
    agreed: str = Field("", max_length=64)


class Taking(Settings):
    """A normality to take back, or the entry of the log to undo."""

    digest: str = Field(max_length=64)
    class_name: str = Field("", alias="class", max_length=200)
    text: str = Field("", max_length=200)
    entry: int = 0
    who: str = Field("", max_length=200)


class Answering(Settings):
    """The answer to the question of a change."""

    number: int
    agreed: bool


@routes.post("/words")
def words(request: Request, said: Words) -> Response:
    """The words of a text that have no meaning for the model."""
    return JSONResponse({"unknown": _server(request).snapshot().unknown(said.text)})


@routes.post("/look")
async def look(request: Request, asking: Asking) -> Response:
    """What a draft would change: lines of JSON, how far it is and at the end what to show."""
    server = _server(request)

    def lines() -> Generator[str]:
        try:
            view, detector = _chosen(request, asking.draft.class_name, asking.detector)
            unknown = None
            for found in server.look(asking.draft, detector, asking.live):
                if isinstance(found, Progress):
                    yield json.dumps({"done": found.done, "of": found.of}) + "\n"
                    continue
                if unknown is None:
                    unknown = view.snapshot.unknown(" ".join(found.phrases))
                yield json.dumps(_shown(view, found, detector, unknown)) + "\n"
        except NandError as error:
            yield json.dumps({"error": " ".join(str(error).split())}) + "\n"

    made = lines()

    async def until_nobody_waits() -> AsyncIterator[str]:
        try:
            async for one in iterate_in_threadpool(made):
                yield one
        finally:
            made.close()

    return StreamingResponse(until_nobody_waits(), media_type="application/x-ndjson")


def _shown(view: View, found: Preview, detector: str, unknown: list[str]) -> dict[str, Any]:
    values = answer(view, found, detector, _operating())
    html = templates().get_template("preview.html.j2").render(view=view, unknown=unknown, **values)
    asked = question(view, values["lost"]) if values["asks"] else None
    return {
        "html": html,
        "whole": values["whole"],
        "asks": bool(values["asks"]),
        "agreement": values["agreement"],
        "digest": view.snapshot.digest,
        "question": _question(view, found.normality.text, asked) if asked else "",
    }


def _operating() -> pd.DataFrame:
    return pd.read_parquet(OPERATING, columns=["detector", "class", "group", "accepted_wrong"])


def _question(view: View, text: str, asked: dict[str, Any]) -> str:
    return templates().get_template("question.html.j2").render(view=view, text=text, **asked)


@routes.post("/accept")
def accept(request: Request, said: Accepting) -> Response:
    """Begins what ``nand add`` does."""
    server, draft = _server(request), said.draft
    if (refused := _meanwhile(said.digest)) is not None:
        return refused
    if not draft.text.strip():
        raise NandError("give it a name: a few words that say what is fine")
    given = draft.examples(server.find)
    like, unlike = (tuple(Place(path=one.path, box=one.box) for one in side) for side in (given.like, given.unlike))
    job = Job(
        what="add", digest=said.digest, class_name=draft.class_name, text=draft.text.strip(), phrases=draft.phrases,
        like=like, unlike=unlike, ask=draft.ask, agreed=said.agreed,
    )  # fmt: skip
    return JSONResponse({"number": server.jobs.start(job, said.who).number})


@routes.post("/back")
def take_back(request: Request, said: Taking) -> Response:
    """Begins what ``nand remove`` or ``nand undo`` does."""
    if (refused := _meanwhile(said.digest)) is not None:
        return refused
    what = "undo" if said.entry else "remove"
    job = Job(what=what, digest=said.digest, class_name=said.class_name, text=said.text, entry=said.entry)
    return JSONResponse({"number": _server(request).jobs.start(job, said.who).number})


def _meanwhile(digest: str) -> Response | None:
    if digest == digest_now():
        return None
    return JSONResponse({"error": MEANWHILE, "changed": True}, 409)


@routes.post("/answer")
def answered(request: Request, said: Answering) -> Response:
    """The answer to what a change asks."""
    _server(request).jobs.answer(said.number, said.agreed)
    return JSONResponse({})


@routes.get("/state")
def state(request: Request) -> Response:
    """Whether something has changed, and how far the change at work is."""
    jobs = _server(request).jobs
    jobs.tend()
    work = jobs.last
    found: dict[str, Any] = {"digest": digest_now(), "work": None}
    if work is not None:
        found["work"] = {
            "number": work.number,
            "step": work.step,
            "over": work.over,
            "who": work.who,
            "what": work.job.what,
            "class": work.job.class_name,
            "text": work.job.text,
            "entry": work.job.entry,
            "message": work.message,
        }
    return JSONResponse(found)


@routes.get("/question/{number}")
def asked(request: Request, number: int) -> Response:
    """What a change asks, with pictures."""
    work = _server(request).jobs.last
    if work is None or work.number != number or work.step != "asking":
        raise HTTPException(404)
    view = _server(request).view(work.job.class_name)
    return HTMLResponse(_question(view, work.job.text, question(view, work.question)))


def _chosen(request: Request, name: str, detector: str) -> tuple[View, str]:
    """A class, and a detector of the project: the first one where none is named.

    Raises:
        NandError: there is no such class or detector.
    """
    view = _server(request).view(name)
    known = view.snapshot.detectors
    if detector and detector not in known:
        raise NandError(f"no detector is called {detector!r}")
    return view, detector or known[0]
