"""What stands between the page and whoever else can reach its port: other sites, other names, other people."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse, Response

COOKIE = "nand_page"
HEADER = "x-nand-token"
LASTS = 12 * 3600
"""Seconds for which a browser stays known."""
BODY = 256 * 1024
"""Bytes of a form at most."""
OPEN_PATHS = ("/login", "/static/")
"""What needs no token; paths that end in a slash with all below them."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Session:
    """A browser: a random name, since when, and whether it brought the token."""

    name: str
    since: int
    known: bool


@dataclass(frozen=True)
class Rules:
    """Who may do what.

    Attributes:
        names: under which the page is asked for, without a port; any address of an interface is one where ``any_ip``.
        token: that a browser has to bring once; "" where nobody else can reach the port.
        uploads: paths that take ``upload`` bytes in place of ``BODY``.
        secret: signs what browsers keep; another one each time the page starts.
    """

    names: frozenset[str]
    any_ip: bool = False
    token: str = ""
    uploads: frozenset[str] = frozenset()
    upload: int = 30_000_000
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def named(self, host: str) -> bool:
        """Whether a Host header is one of the page's own: another site's name may point to this machine."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_ip

    def cookie(self, session: Session) -> str:
        """What a browser keeps of its session."""
        said = f"{session.name}.{session.since}.{int(session.known)}"
        return f"{said}.{self._sign('session', said)}"

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie that this page made; None for any other, and an old one."""
        said, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", said).encode()):
            return None
        name, since, known = said.split(".")
        if time.time() - int(since) > LASTS:
            return None
        return Session(name, int(since), known == "1")

    def new(self, known: bool) -> Session:
        """A browser that was never here, or has just brought the token."""
        return Session(secrets.token_urlsafe(16), int(time.time()), known)

    def form_token(self, session: Session) -> str:
        """What a form of this session has to bring: no other site can read it."""
        return self._sign("form", session.name)

    def is_token(self, said: str) -> bool:
        """Whether somebody has the page's token."""
        return hmac.compare_digest(said.encode(), self.token.encode())

    def _sign(self, what: str, said: str) -> str:
        return hmac.new(self.secret, f"{what}\0{said}".encode(), hashlib.sha256).hexdigest()


class Guard:
    """Refuses before anything of a request is looked at, and says on every answer what a browser may do with it."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], rules: Rules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        session = self._session(headers.get("cookie", ""))
        fresh = None
        if session is None:
            session = fresh = self.rules.new(known=not self.rules.token)
        scope.setdefault("state", {}).update(session=session, form_token=self.rules.form_token(session))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers(message, fresh, headers)]
            await send(message)

        refused = self._refused(scope, headers, session)
        limit = self.rules.upload if scope["path"] in self.rules.uploads else BODY
        if refused is None and _length(headers) > limit:
            refused = PlainTextResponse(f"more than {limit / 1e6:g} MB", 413)
        if refused is not None:
            await refused(scope, receive, answer)
            return
        await self.app(scope, _limited(receive, limit), answer)

    def _session(self, cookies: str) -> Session | None:
        try:
            found = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return None
        return self.rules.session(found.value) if found and found.value.isascii() else None

    def _refused(self, scope: Scope, headers: dict[str, str], session: Session) -> Response | None:
        host = headers.get("host", "")
        if not self.rules.named(host):
            return PlainTextResponse("this page has no such name", 421)
        reads = scope["method"] in ("GET", "HEAD")
        if not reads and not self._own(headers, host):
            return PlainTextResponse("not from this page", 403)
        if not session.known and not _below(scope["path"], OPEN_PATHS):
            return RedirectResponse("/login", 303) if reads else PlainTextResponse("log in first", 401)
        # The form that logs in brings its token itself: it has to work without a script.
        if not reads and scope["path"] != "/login":
            said = headers.get(HEADER, "")
            if not hmac.compare_digest(said.encode(), self.rules.form_token(session).encode()):
                return PlainTextResponse("the page was started anew: load it again, your words stay", 403)
        return None

    @staticmethod
    def _own(headers: dict[str, str], host: str) -> bool:
        """Whether a browser says that one of the page's own forms sends this."""
        origin = urlsplit(headers.get("origin", ""))
        same = origin.scheme in ("http", "https") and origin.netloc == host
        return same and headers.get("sec-fetch-site", "same-origin") == "same-origin"

    def _headers(self, message: Message, fresh: Session | None, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        had = {name.lower() for name, _ in message.get("headers", ())}
        added = {**HEADERS, "cache-control": "no-store"}
        found = [(name.encode(), value.encode()) for name, value in added.items() if name.encode() not in had]
        if fresh is not None and b"set-cookie" not in had:
            found.append((b"set-cookie", kept(self.rules.cookie(fresh), headers).encode()))
        return found


def kept(cookie: str, headers: Any) -> str:
    """The header that makes a browser keep its session for this page alone."""
    secure = "; Secure" if headers.get("origin", "").startswith("https:") else ""
    return f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={LASTS}{secure}"


def _length(headers: dict[str, str]) -> float:
    said = headers.get("content-length", "0")
    return int(said) if said.isdecimal() else float("inf")


def _limited(receive: Receive, limit: int) -> Receive:
    """A body that ends, as if its sender had left, where it becomes too long: not every one says how long it is."""
    got = 0

    async def counted() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        return {"type": "http.disconnect"} if got > limit else message

    return counted


def _below(path: str, known: Collection[str]) -> bool:
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in known)
