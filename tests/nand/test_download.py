"""``nand weights --download`` from a server that breaks off, redirects, or sends another file."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from http_server import Answer, answering
from ruamel.yaml import YAML
from typer.testing import CliRunner

from nand import download, published
from nand.cli.app import app
from nand.download import fetch
from nand_core.errors import NandError

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HUB_PATH = "/timm/vit_large_patch14_clip_336.openai/resolve/main/open_clip_model.safetensors"


ODD = {
    "/page": (200, "text/html", b"<html>"),
    "/upper": (200, "TEXT/HTML", b"<html>"),
    "/login": (200, "application/octet-stream", b"<!DOCTYPE html><html>"),
    "/error": (200, "application/json", b'{"error": "quota"}'),
    "/pointer": (200, "application/octet-stream", b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n"),
    "/empty": (204, {}, b""),
    "/packed": (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08"),
    "/part": (206, {"Content-Range": "bytes 5-10/100"}, CONTENT[5:11]),
}
"""What is sent in the place of a file."""


class Files:
    """What the server has, and which parts of it were asked for."""

    def __init__(self) -> None:
        self.ranges: list[str] = []
        self.broken = 0
        self.content = CONTENT
        self.most = len(CONTENT)

    def __call__(self, path: str, headers: Mapping[str, str]) -> Answer:
        if path in ("/moved", HUB_PATH):
            elsewhere = headers["Host"].replace("127.0.0.1", "localhost")  # the hub answers for its own host alone
            linked = {"X-Linked-ETag": f'"{SHA256}"', "X-Linked-Size": str(len(CONTENT)), "X-Repo-Commit": "abc"}
            return 302, {"Location": f"http://{elsewhere}/file"} | linked, b""
        if path != "/file":
            return ODD.get(path, (404, "text/plain", b""))
        self.ranges.append(headers.get("Range", ""))
        start = int(self.ranges[-1][6:-1]) if self.ranges[-1] else 0
        if start >= len(self.content):
            return 416, {}, b""
        rest = self.content[start:]
        kind = {"Content-Length": str(len(rest)), "ETag": '"1"'}
        if start:
            rest = rest[: self.most]
            kind["Content-Range"] = f"bytes {start}-{start + len(rest) - 1}/{len(self.content)}"
            kind["Content-Length"] = str(len(rest))
        if self.broken:
            self.broken -= 1
            rest = rest[: len(rest) // 2]
        return 206 if start else 200, kind, rest


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def url(files: Files, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(download, "PAUSE", 0)
    with answering(files) as address:
        yield address


@pytest.mark.parametrize("path", ["file", "moved"])
@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8].upper(), ""])
def test_a_file_comes_whole_though_the_server_breaks_off(files, url, tmp_path, path, sha256):
    files.broken = 2
    target = fetch(f"{url}/{path}", tmp_path / "models/a.pt", sha256)
    assert target.read_bytes() == CONTENT and [one.name for one in target.parent.iterdir()] == ["a.pt"]
    half = len(CONTENT) // 2
    assert files.ranges == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_another_run_goes_on_where_the_last_one_was_stopped(files, url, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 1)
    files.broken = 10_000
    with pytest.raises(NandError, match=r"/file: broke off .*what came is kept"):
        fetch(f"{url}/file", tmp_path / "a.pt", SHA256)
    assert not (tmp_path / "a.pt").exists()
    have = (tmp_path / "a.pt.part").stat().st_size
    files.broken = 0
    fetch(f"{url}/file", tmp_path / "a.pt", SHA256)
    assert files.ranges[-1] == f"bytes={have}-" and (tmp_path / "a.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"", CONTENT[:1000]])
@pytest.mark.parametrize("content", [CONTENT[:-1] + b"?", CONTENT[:500]])
def test_another_file_is_not_kept(files, url, tmp_path, content, part):
    files.content = content
    (tmp_path / "a.pt").write_bytes(b"earlier")
    if part:
        (tmp_path / "a.pt.part").write_bytes(part)
    with pytest.raises(NandError, match=rf"/file: sends another file .*, not sha256 {SHA256}; it is not kept"):
        fetch(f"{url}/file", tmp_path / "a.pt", SHA256)
    assert (tmp_path / "a.pt").read_bytes() == b"earlier" and not (tmp_path / "a.pt.part").exists()


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_a_server_that_sends_the_rest_in_parts_is_asked_for_all_of_them(files, url, tmp_path, sha256):
    files.broken, files.most = 1, len(CONTENT) // 5
    assert fetch(f"{url}/file", tmp_path / "a.pt", sha256).read_bytes() == CONTENT
    assert len(files.ranges) == 4


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("gone", "answers 404"),
        ("page", "sends a page and no file"),
        ("upper", "sends a page and no file"),
        *((path, "sends a text or nothing, and no weights") for path in ("login", "error", "pointer", "empty")),
        ("packed", r"sends it packed \(gzip\)"),
        ("part", r"sends another part \(bytes 5-10/100\)"),
    ],
)
def test_what_is_no_file_is_one_line(url, tmp_path, path, said):
    with pytest.raises(NandError, match=said):
        fetch(f"{url}/{path}", tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


def test_the_command_fetches_what_is_missing_to_where_it_is_looked_for(files, url, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    linear = published.Published("https://authors.example", "MIT", SHA256, url=f"{url}/moved")
    monkeypatch.setitem(published.LINEAR_LAYERS, "visa_pretrained.pth", linear)
    monkeypatch.chdir(tmp_path)
    values = {
        "dataset": {"kind": "folder", "root": "parts"},
        "encoder": {"model": "ViT-L-14-336", "pretrained": "openai", "linear_layers": "weights/visa_pretrained.pth"},
        "detectors": {"april_gan": {"kind": "april_gan"}},
    }
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    listed = CliRunner().invoke(app, ["weights", "params.yaml"])
    assert listed.exit_code == 1
    assert f"from https://authors.example; licence: MIT; sha256: {SHA256}" in listed.output
    assert "from https://huggingface.co/timm/vit_large_patch14_clip_336.openai; licence: MIT" in listed.output
    assert "nand weights --download" in listed.output and files.ranges == []
    done = CliRunner().invoke(app, ["weights", "params.yaml", "--download"])
    assert done.exit_code == 0 and len(re.findall(f" here +{SHA256}", done.output)) == 2, done.output
    assert (tmp_path / "hub/models--timm--vit_large_patch14_clip_336.openai/snapshots/abc").is_dir()
    assert Path("weights/visa_pretrained.pth").read_bytes() == CONTENT
    files.content = CONTENT[::-1]
    Path("weights/visa_pretrained.pth").unlink()
    shutil.rmtree("hub")
    refused = CliRunner().invoke(app, ["weights", "params.yaml", "--download"])
    assert refused.exit_code == 1 and "error: " in refused.stderr and "sends another file" in refused.stderr
    assert not list(Path("hub").rglob("*.safetensors")), "the hub's own sha256 is compared"
