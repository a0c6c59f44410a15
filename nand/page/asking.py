"""Addresses of questions and changes: what a draft would do, accepting it, taking back, and how far a change is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import Field
from starlette.concurrency import iterate_in_threadpool
from starlette.exceptions import HTTPException

from nand.page.change import MEANWHILE, Job, Place
from nand.page.draft import Draft, for_operators
from nand.page.preview import Preview, Progress
from nand.page.shell import chosen, server_of, templates
from nand.page.snapshot import View, digest_now
from nand.page.views import answer, question
from nand_core.errors import NandError
from nand_core.settings import Settings

OPERATING = Path("results/operating.parquet")

routes = APIRouter()


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
    return JSONResponse({"unknown": server_of(request).snapshot().unknown(said.text)})


@routes.post("/look")
async def look(request: Request, asking: Asking) -> Response:
    """What a draft would change: lines of JSON, how far it is and at the end what to show."""
    server = server_of(request)

    def lines() -> Generator[str]:
        try:
            view, detector = chosen(request, asking.draft.class_name, asking.detector)
            unknown = None
            for found in server.look(asking.draft, detector, asking.live):
                if isinstance(found, Progress):
                    yield json.dumps({"done": found.done, "of": found.of}) + "\n"
                    continue
                if unknown is None:
                    said = " ".join((asking.draft.text, *asking.draft.phrases)) if found.phrases else ""
                    unknown = view.snapshot.unknown(said)
                yield json.dumps(_shown(view, found, detector, unknown)) + "\n"
        except NandError as error:
            yield json.dumps({"error": for_operators(error)}) + "\n"

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
    server, draft = server_of(request), said.draft
    if (refused := _meanwhile(said.digest)) is not None:
        return refused
    if not draft.text.strip():
        raise NandError("give it a name: a few words that say what is fine")
    given = draft.examples(server.find)
    like, unlike = (tuple(Place(path=one.path, box=one.box) for one in side) for side in (given.like, given.unlike))
    job = Job(
        what="add", digest=said.digest, class_name=draft.class_name, text=draft.text.strip(), phrases=draft.phrases,
        like=like, unlike=unlike, ask=draft.ask, strength=draft.strength, agreed=said.agreed,
    )  # fmt: skip
    return JSONResponse({"number": server.jobs.start(job, said.who).number})


@routes.post("/back")
def take_back(request: Request, said: Taking) -> Response:
    """Begins what ``nand remove`` or ``nand undo`` does."""
    if (refused := _meanwhile(said.digest)) is not None:
        return refused
    what = "undo" if said.entry else "remove"
    job = Job(what=what, digest=said.digest, class_name=said.class_name, text=said.text, entry=said.entry)
    return JSONResponse({"number": server_of(request).jobs.start(job, said.who).number})


def _meanwhile(digest: str) -> Response | None:
    if digest == digest_now():
        return None
    return JSONResponse({"error": MEANWHILE, "changed": True}, 409)


@routes.post("/answer")
def answered(request: Request, said: Answering) -> Response:
    """The answer to what a change asks."""
    server_of(request).jobs.answer(said.number, said.agreed)
    return JSONResponse({})


@routes.get("/state")
def state(request: Request) -> Response:
    """Whether something has changed, and how far the change at work is."""
    jobs = server_of(request).jobs
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
    work = server_of(request).jobs.last
    if work is None or work.number != number or work.step != "asking":
        raise HTTPException(404)
    view = server_of(request).view(work.job.class_name)
    return HTMLResponse(_question(view, work.job.text, question(view, work.question)))
