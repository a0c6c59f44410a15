"""What every answer of the page is made with: its templates, its own files, and the project behind a request."""

from __future__ import annotations

import importlib.resources
import mimetypes
from functools import cache
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from nand.page.server import Server
from nand.page.snapshot import View
from nand.page.views import stood
from nand_core.errors import NandError
from nand_core.report.panels import ANOMALY, gradient


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
    made.filters |= {"address": lambda text: quote(str(text), safe=""), "of_operators": stood}
    return made


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Name -> content and type; nothing else is served by its name."""
    own = importlib.resources.files("nand.page") / "static"
    found = {one.name: one.read_bytes() for one in own.iterdir() if one.name.endswith((".css", ".js", ".svg"))}
    found["report.css"] = (importlib.resources.files("nand_core.report") / "templates" / "style.css").read_bytes()
    return {name: (data, mimetypes.guess_type(name)[0] or "text/plain") for name, data in found.items()}


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of the template's name, with what all of them need."""
    told = {"form_token": request.scope["state"]["form_token"], "here": request.url.path, "ramp": gradient(ANOMALY)}
    return HTMLResponse(templates().get_template(template).render(**told, **values), status)


def server_of(request: Request) -> Server:
    """The project that the page is of."""
    found: Server = request.app.state.server
    return found


def wants_page(request: Request) -> bool:
    """Whether a browser asks, not a script of the page."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def chosen(request: Request, name: str, detector: str) -> tuple[View, str]:
    """A class, and a detector of the project: the first one where none is named.

    Raises:
        NandError: there is no such class or detector.
    """
    view = server_of(request).view(name)
    known = view.snapshot.detectors
    if detector and detector not in known:
        raise NandError(f"no detector is called {detector!r}")
    return view, detector or known[0]
