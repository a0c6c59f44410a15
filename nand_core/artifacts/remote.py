"""Where the store is: ``.nand/store``, a folder that several share, or a second level behind an fsspec URL.

An environment variable names it and no setting does: it belongs to the machine, and no result depends on it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, ValidationError

from nand_core.artifacts.disk import put_in_place, temporary_file
from nand_core.artifacts.store import Record, Store, sha256_file
from nand_core.errors import NandError

VARIABLE = "NAND_STORE"
PATIENCE = 30.0
"""Seconds after which a place that does not say whether it has a record counts as out of reach."""

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


def open_store(state: Path, environment: Mapping[str, str] = os.environ) -> Store:
    """The store that NAND_STORE asks for; without it the one in ``state``.

    Raises
    ------
    NandError
        When NAND_STORE names a file, an unknown protocol or one whose package is not installed.
    """
    named = environment.get(VARIABLE, "").strip()
    if "://" in named:
        return SharedStore(root=state / "store", url=named, **_behind(named))
    root = Path(named).expanduser() if named else state / "store"
    if root.exists() and not root.is_dir():
        raise NandError(f"{root}: not a folder; {VARIABLE} has to name one, or an address such as s3://bucket/folder")
    return Store(root=root)


def within_reach(state: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a run's stages: a second level that does not answer now is named and left out."""
    store = open_store(state, environment)
    out_of_reach = isinstance(store, SharedStore) and not store.answers()
    return {name: value for name, value in environment.items() if name != VARIABLE or not out_of_reach}


def _behind(url: str) -> dict[str, Any]:
    import fsspec  # and with it the protocol's package: nobody else needs them

    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise NandError(
            f"{VARIABLE}: give no user, password or token in the address; fsspec takes them from its own environment "
            "variables and files"
        )
    try:
        files, base = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise NandError(f"{VARIABLE}: {parts.scheme}:// cannot be used ({error})") from error
    if not base.strip("/"):
        raise NandError(f"{VARIABLE}: {url} names no bucket and no folder")
    return {"files": files, "base": base.rstrip("/")}


class SharedStore(Store):
    """A local store with a second level that other machines share, laid out alike.

    What the local store lacks is fetched, its sha256 checked; what is computed is uploaded, the object before the
    record that names it. There is no lock between machines: the same item is computed at most once on each.
    A second level out of reach costs one warning, and the run goes on without it.

    Attributes:
        url: the second level as it was named.
        files: its fsspec file system.
        base: its folder there.
    """

    url: str
    files: Any = Field(repr=False)
    base: str
    _lost: dict[str, object] = PrivateAttr(default_factory=dict)

    def lookup(self, key: str) -> Record | None:
        """As in a local store; a record that is missing there is fetched with its object."""
        return super().lookup(key) or self._fetch(key)

    def note(self, key: str, record: Record) -> None:
        """As in a local store; then both are uploaded."""
        super().note(key, record)

        def upload() -> None:
            self._put(self.path(record), record)
            self.files.pipe_file(f"{self.base}/records/{key}", record.model_dump_json().encode())

        self._reaching(upload, "written")

    def answers(self) -> bool:
        """Whether the second level can be asked for a record."""
        self._fetch("nobody-0")
        return "read" not in self._lost

    def _fetch(self, key: str) -> Record | None:
        def ask() -> Record:
            return Record.model_validate_json(self.files.cat_file(f"{self.base}/records/{key}"))

        record = self._reaching(lambda: _within(PATIENCE, ask))
        if record is None:
            return None
        if not (self.holds(record) or self.mend(record)):
            return None
        super().note(key, record)
        return record

    def mend(self, record: Record) -> bool:
        """Fetch an object, whatever lies in its place; whether the second level has it."""
        with temporary_file(self.root / "tmp", f".{record.ext}") as temporary:
            self._reaching(lambda: self.files.get_file(self._there(record), str(temporary)))
            if not temporary.is_file() or sha256_file(temporary) != record.sha256:
                return False
            put_in_place(temporary, self.path(record))
        return True

    def _there(self, record: Record) -> str:
        return f"{self.base}/{self.path(record).relative_to(self.root).as_posix()}"

    def _put(self, path: Path, record: Record) -> None:
        target = self._there(record)
        try:
            self.files.put_file(str(path), target)
        except FileNotFoundError:  # for want of a folder; a bucket that is not there is a mistake, and not made
            bucket = self.base[:1] + self.base[1:].partition("/")[0]
            if not self.files.exists(bucket):
                raise
            for folder in (target.rpartition("/")[0], f"{self.base}/records"):
                self.files.makedirs(folder, exist_ok=True)
            self.files.put_file(str(path), target)

    def _reaching(self, call: Callable[[], Answer], verb: str = "read") -> Answer | None:
        """What ``call`` gives; None when the second level lacks it or is out of reach."""
        if verb in self._lost:
            return None
        try:
            return call()
        except Exception as error:
            if verb == "read" and isinstance(error, (FileNotFoundError, ValidationError)):
                return None
            me = object()
            first = self._lost.setdefault(verb, me) is me
            if verb == "read":
                first &= self._lost.setdefault("written", me) is me
            if first:
                text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                logger.warning("%s %s cannot be %s (%s); going on without it", VARIABLE, self.url, verb, text)
            return None


def _within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """What ``call`` gives or raises; TimeoutError when it takes longer. It is left to itself then."""
    answers: list[Answer] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(call())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return answers[0]
