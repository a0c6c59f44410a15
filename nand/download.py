"""Fetching a published weight file: to the place where it is looked for, whole and checked, or not at all."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tqdm import tqdm

from nand.published import Published
from nand_core.artifacts.disk import refusals
from nand_core.artifacts.store import sha256_file
from nand_core.errors import NandError

if TYPE_CHECKING:
    import httpx

TRIES = 5
"""In a row without a byte more."""
PAUSE = 1.0


def download(source: Published, target: Path | None, sha256: str | None) -> Path:
    """Fetch a file.

    Args:
        source: where it comes from.
        target: where the settings want it; None: where the library that knows the file looks for it.
        sha256: the one in the settings, if any.

    Raises
    ------
    NandError
        When it cannot be had, or what is sent is not that file; an earlier file at that place stays as it is.
    """
    if not source.repository:
        target = target or _torch_folder() / PurePosixPath(source.url).name
        return fetch(source.url, target, sha256 or source.sha256)
    from huggingface_hub import constants, get_hf_file_metadata

    address = f"{constants.ENDPOINT}/{source.repository}/resolve/main/{source.file}"
    try:
        found = get_hf_file_metadata(address)
    except Exception as error:  # it has many of its own
        raise NandError(f"{address}: not to be had ({str(error).splitlines()[0][:120]})") from error
    folder = Path(constants.HF_HUB_CACHE, f"models--{source.repository.replace('/', '--')}")
    commit = found.commit_hash or "main"
    published = found.etag if found.etag and re.fullmatch("[0-9a-f]{64}", found.etag) else ""
    made = fetch(
        found.location, target or folder / "snapshots" / commit / source.file, sha256 or published, found.size
    )
    if target is None:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs/main").write_text(commit)
    return made


def fetch(url: str, target: Path, sha256: str = "", size: int | None = None) -> Path:
    """Fetch ``url`` to ``target``, going on where an earlier try broke off.

    Args:
        url: of the file; redirections are followed.
        target: appears once all is there and checked.
        sha256: all of it, or its first digits; "" where it is not known: then a file is begun anew in every process.
        size: in bytes, where it is known.

    Raises
    ------
    NandError
        When the server does not send it, or sends another file.
    """
    import httpx

    part = target.with_name(f"{target.name}.part")
    with refusals(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not sha256:
            part.unlink(missing_ok=True)
        failed, etag = 0, ""
        with httpx.Client(follow_redirects=True, timeout=30) as client:
            while True:
                before = _size(part)
                try:
                    etag = _append(client, url, part, etag)
                    break
                except httpx.TransportError as error:
                    failed = 0 if _size(part) > before else failed + 1
                    if failed == TRIES:
                        kept = "; what came is kept, the same command goes on from there" if sha256 else ""
                        raise NandError(f"{url}: broke off ({error or type(error).__name__}){kept}") from error
                    time.sleep(PAUSE)
                except httpx.HTTPError as error:
                    raise NandError(f"{url}: {error}") from error
        _check(url, part, sha256, size)
        part.replace(target)
    return target


def _append(client: httpx.Client, url: str, part: Path, etag: str) -> str:
    """Add to ``part`` what the server has beyond it, or begin it anew; returns the file's ETag."""
    import httpx

    have = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": etag} if etag else {})
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == 416:  # nothing beyond it: it is whole, or another file
            return etag
        if not answer.is_success:
            raise NandError(f"{url}: the server answers {answer.status_code} {answer.reason_phrase}")
        if "html" in answer.headers.get("Content-Type", "").lower():
            raise NandError(f"{url}: the server sends a page and no file; see the source page")
        if (packed := answer.headers.get("Content-Encoding", "identity").lower()) != "identity":
            raise NandError(f"{url}: the server sends it packed ({packed}), unasked; see the source page")
        sent = answer.headers.get("Content-Range", "")
        goes_on = answer.status_code == 206 and sent.startswith(f"bytes {have}-")
        if answer.status_code == 206 and not goes_on:
            part.unlink(missing_ok=True)
            raise NandError(f"{url}: the server sends another part ({sent}); the same command begins anew")
        if not goes_on:
            have = 0
        total = have + int(answer.headers.get("Content-Length", 0))
        bar = tqdm(total=total or None, initial=have, desc=part.stem, unit="B", unit_scale=True, mininterval=1)
        with part.open("ab" if goes_on else "wb") as file, bar:
            for block in answer.iter_raw():  # as it comes: of a block that is not full nothing would be kept
                file.write(block)
                bar.update(len(block))
        if goes_on and _size(part) < int((re.findall(r"/(\d+)$", sent) or [0])[0]):
            raise httpx.RemoteProtocolError("a part of the rest came")
        found: str = answer.headers.get("ETag", "")
        return "" if found.startswith("W/") else found


def _check(url: str, part: Path, sha256: str, size: int | None) -> None:
    if not sha256 and _is_text(part):
        part.unlink()
        raise NandError(f"{url}: the server sends a text or nothing, and no weights; see the source page")
    found = sha256_file(part)
    if not found.startswith(sha256.lower()) or (size is not None and _size(part) != size):
        expected = f"sha256 {sha256}" if sha256 else f"{size} bytes"
        length = _size(part)
        part.unlink()
        raise NandError(f"{url}: sends another file ({length} bytes, sha256 {found}), not {expected}; it is not kept")


def _is_text(path: Path) -> bool:
    """Whether it begins as no file of weights does: zip archives, safetensors and pickles have a control character."""
    with path.open("rb") as file:
        return not re.search(rb"[\x00-\x08\x0e-\x1f\x80]", file.read(64))


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _torch_folder() -> Path:
    import torch

    return Path(torch.hub.get_dir(), "checkpoints")
