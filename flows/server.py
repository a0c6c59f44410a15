"""Whether a Prefect server answers at an address."""

from __future__ import annotations

import base64
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nand_core.errors import NandError

if TYPE_CHECKING:
    import httpx

VARIABLE = "PREFECT_API_URL"
PROCESS = "NAND_SERVER_PROCESS"
"""The number of the process that was started as the server, for whoever waits for it."""
STARTING = 180.0
"""Seconds that a server which has just been started may take."""
GIVEN = 10.0
"""Seconds for one that is said to be there."""
SILENT = 2.0


def wait_for_server(url: str, patience: float = STARTING, number: int | None = None) -> None:
    """Wait until the Prefect server at ``url`` answers.

    Args:
        number: of its process, where that is known.

    Raises
    ------
    NandError
        When it does not within ``patience`` seconds; at once for what is no address, holds a password, is no Prefect
        API, or asks for a password that it was not given, and when its process has ended.
    """
    import httpx

    if "@" in url or "?" in url:  # Prefect prints the address, and so would every line below
        said = "holds a user, a password or a query; write user:password into PREFECT_API_AUTH_STRING instead"
        raise NandError(f"{VARIABLE}: {said}")
    if not _is_address(url):
        raise NandError(f"{VARIABLE}: {url!r} is no address; write one such as http://127.0.0.1:4200/api")
    begun, told, url = time.monotonic(), False, url.rstrip("/")
    while True:
        try:
            answer = _ask(f"{url}/health", patience)
            if answer.is_success or (answer.is_client_error and patience < STARTING):
                return _checked(url, answer)
        except httpx.HTTPError:
            pass
        if not told and time.monotonic() > begun + SILENT:
            print(f"waiting for the Prefect server at {url}", flush=True)
            told = True
        if number is not None and _ended(number):
            raise NandError("the local Prefect server ended while it was starting; .nand/prefect/server.log says why")
        if time.monotonic() >= begun + patience:
            raise NandError(f"{VARIABLE}: no Prefect server answers at {url}; start it, or unset the variable")
        time.sleep(0.2)


def _ended(number: int) -> bool:
    import psutil

    from flows.processes import at_work

    try:
        return not at_work(psutil.Process(number))
    except psutil.NoSuchProcess:
        return True


def _is_address(url: str) -> bool:
    import httpx

    try:
        parts, name = urlsplit(url), httpx.URL(url).host
        name.encode("idna")
        return parts.scheme in ("http", "https") and bool(name) and parts.port != 0 and url.split() == [url]
    except (ValueError, httpx.InvalidURL):
        return False


def _ask(url: str, patience: float) -> httpx.Response:
    import httpx

    headers = {}
    if password := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(password.encode()).decode()}"
    elif key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    return httpx.get(url, headers=headers, timeout=min(5.0, patience), trust_env=False)


def _checked(url: str, health: httpx.Response) -> None:
    """Refuse what answers, but is no Prefect API or does not let us in."""
    if not _json(health):
        there = not url.endswith("/api") and _json(_ask(f"{url}/api/health", GIVEN))
        advice = f"its API is at {url}/api" if there else "give the address of one, which ends in /api, or unset it"
        raise NandError(f"{VARIABLE}: what answers at {url} is no Prefect API; {advice}")
    if _ask(f"{url}/admin/version", GIVEN).status_code in (401, 403):
        raise NandError(f"{VARIABLE}: {url} asks for a password; set PREFECT_API_AUTH_STRING or PREFECT_API_KEY")


def _json(answer: httpx.Response) -> bool:
    return answer.is_success and answer.headers.get("Content-Type", "").startswith("application/json")
