"""The command ``nand page``."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from nand.cli.console import one_line
from nand.cli.place import typed
from nand.project.place import require_project
from nand_core.errors import NandError

VARIABLE = "NAND_PAGE_TOKEN"
LEAST = 16
"""Characters of a token."""


def page(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own demands a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8423,
    name: Annotated[
        list[str] | None, typer.Option(help="A name under which browsers ask for it; may be given several times.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            parser=typed, metavar="FILE", help=f"Holds the token; else {VARIABLE}, else a new one is made."
        ),
    ] = None,
    inbox: Annotated[
        Path, typer.Option(parser=typed, metavar="FOLDER", help="Of 'inspect', as its flow names it.")
    ] = Path("inspection"),
) -> None:
    """Serve a page on which somebody says what is fine, sees at once what that would change, and accepts it.

    It works offline, and is for this machine alone unless --host says otherwise.
    """
    with one_line():
        require_project()
        own = _loopback(host)
        token, made = _token(own, token_file)
        from flows.inbox.folder import below_checkout

        folder = below_checkout(str(inbox))
        listening = _listen(host, port)

    import torch
    import uvicorn

    from nand.page.app import create_app
    from nand.page.guard import Rules
    from nand.page.memory import give_back
    from nand.page.server import Server

    give_back()
    torch.set_num_threads(1)  # the images are what goes in parallel
    number = listening.getsockname()[1]
    names = {"localhost", "127.0.0.1", "::1", host.lower(), *(one.lower() for one in name or ())}
    rules = Rules(frozenset(names), any_ip=not own, token=token, uploads=frozenset({"/sent"}))
    shown = f"[{host}]" if ":" in host else "localhost" if own else (name or [socket.gethostname()])[0]
    print(f"NAND's page: http://{shown}:{number}    to end it: Ctrl-C", flush=True)
    if made:
        print(f"token, to be typed once in each browser: {token}", flush=True)
    settings = uvicorn.Config(
        create_app(Server(folder), rules), access_log=False, log_level="warning", server_header=False, ws="none",
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # how it is to end
        uvicorn.Server(settings).run(sockets=[listening])


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(own: bool, file: Path | None) -> tuple[str, bool]:
    """The token, and whether it was made here; "" where nobody has to bring one.

    Raises
    ------
    NandError
        For a file that cannot be read, and a token that is easily guessed.
    """
    said = os.environ.get(VARIABLE, "").strip()
    if file is not None:
        try:
            said = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NandError(f"--token-file {file}: cannot be read ({error})") from error
        if not said:
            raise NandError(f"--token-file {file}: is empty; write a token of {LEAST} characters or more into it")
    if said and len(said) < LEAST:
        where = VARIABLE if file is None else f"--token-file {file}"
        raise NandError(f"{where}: the token is easily guessed; it needs {LEAST} characters or more")
    if said or own:
        return said, False
    return secrets.token_urlsafe(24), True


def _listen(host: str, port: int) -> socket.socket:
    """A socket, bound before anything is loaded.

    Raises
    ------
    NandError
        When the address is not this machine's, or the port is taken.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, UnicodeError) as error:
        made.close()
        said = getattr(error, "strerror", None) or str(error)
        raise NandError(f"{host}:{port}: cannot listen there ({said}); name another --host or --port") from error
    return made
