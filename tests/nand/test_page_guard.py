"""What the page refuses, before anything of a request is looked at: other sites, other names, what is too large."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from nand.cli.app import app as cli
from nand.page.app import create_app
from nand.page.guard import COOKIE, Rules
from nand.page.server import Server

HOST = "127.0.0.1:8423"
HERE = f"http://{HOST}"
TOKEN = "a token of the plant"
NEVER = "<script>alert(1)</script>"


class Page:
    """The page's app, asked without a port; what its project would be is never reached."""

    def __init__(self, token: str = "", any_ip: bool = False) -> None:
        names = frozenset({"127.0.0.1", "localhost"})
        self.server = Server()
        rules = Rules(names, any_ip=any_ip, token=token, uploads=frozenset({"/sent"}), upload=1000)
        transport = httpx.ASGITransport(create_app(self.server, rules), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url=HERE)

    def ask(self, method: str, path: str, **request) -> httpx.Response:
        return asyncio.run(self.client.request(method, path, **request))

    def post(self, path: str, **request) -> httpx.Response:
        """As the page's own script does."""
        headers = {"origin": HERE, "x-nand-token": self.form_token(), **request.pop("headers", {})}
        return self.ask("POST", path, headers=headers, **request)

    def form_token(self) -> str:
        return re.search('name="form-token" content="([0-9a-f]{64})"', self.ask("GET", "/login").text)[1]


@pytest.fixture
def page(tmp_path, monkeypatch) -> Iterator[Page]:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("dataset: {kind: demo}\ndetectors: {}\n")
    made = Page()
    yield made
    assert made.server.jobs.last is None, "a change was begun"
    made.server.close()


def locked(tmp_path, monkeypatch, **settings) -> Page:
    monkeypatch.chdir(tmp_path)
    return Page(token=TOKEN, **settings)


def test_every_answer_says_what_a_browser_may_do_with_it(page):
    for path in ("/login", "/static/page.css", "/nowhere"):
        headers = page.ask("GET", path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert "frame-ancestors 'none'" in policy and headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_no_page_holds_a_script_or_a_style_of_its_own():
    folder = Path(__file__).parents[2] / "nand/page"
    found = [path.read_text() for path in (folder / "templates").iterdir()]
    assert found
    for text in found:
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|https?://", text)
        assert all("src=" in tag for tag in re.findall("<script[^>]*>", text))
    for path in (folder / "static").glob("*.js"):
        assert not re.search(r"https?://|eval\(|new Function", path.read_text())


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8423", "127.0.0.1.evil.example", "10.0.0.7:8423", "", "[::1", "a@127.0.0.1.x"],
)
def test_another_name_for_this_machine_is_refused(page, host):
    assert page.ask("GET", "/login", headers={"host": host}).status_code == 421


def test_one_that_listens_everywhere_goes_by_any_address_but_by_no_other_name(tmp_path, monkeypatch):
    made = locked(tmp_path, monkeypatch, any_ip=True)
    assert made.ask("GET", "/login", headers={"host": "10.0.0.7:8423"}).status_code == 200
    assert made.ask("GET", "/login", headers={"host": "evil.example:8423"}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": f"{HERE}.evil.example"},
        {"origin": HERE, "sec-fetch-site": "cross-site"},
        {"origin": HERE, "sec-fetch-site": "same-site"},
    ],
)
def test_a_post_from_another_site_is_refused(page, headers):
    for path in ("/accept", "/back", "/answer", "/look", "/words", "/sent?name=a.png", "/login", "/logout"):
        answer = page.ask("POST", path, headers={"x-nand-token": page.form_token(), **headers})
        assert (answer.status_code, answer.text) == (403, "not from this page")


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_a_post_without_the_forms_token_is_refused(page, token):
    headers = [(b"origin", HERE.encode()), (b"x-nand-token", token.encode())]
    answer = page.ask("POST", "/words", headers=headers, json={"text": "a"})
    assert answer.status_code == 403 and "load it again" in answer.text
    other = Page()
    answer = page.post("/words", headers={"x-nand-token": other.form_token()}, json={"text": "a"})
    assert answer.status_code == 403, "the token of another session"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/page.css/..",
        "/sent/../../params.yaml",
        "/sent/0123456789abcde*/small.webp",
        "/sent/%2e%2e/small.webp",
        "/sent/0123456789abcdef/..%2f..%2fparams.yaml",
        "/params.yaml",
        "/.nand/store",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_is_served(page, path):
    answer = page.ask("GET", path)
    assert answer.status_code in (400, 404) and "kind: demo" not in answer.text and "create_app" not in answer.text


@pytest.mark.parametrize("where", ["..", "%2e%2e", ".", "%00", "a%2fb", NEVER.replace("/", "%2f")])
def test_a_class_is_one_of_the_data_set(page, where):
    """And no folder."""
    for rest in ("", "/picture/0123456789abcdef/small.webp", "/line/0123456789abcdef/seen.webp", "/overlay/x/0.png"):
        answer = page.ask("GET", f"/c/{where}{rest}", headers={"accept": "text/html"})
        assert answer.status_code in (303, 400, 404, 409) and "<script>" not in answer.text.replace(
            '<script type="module"', ""
        )


def test_what_is_too_large_is_refused_before_it_is_read(page):
    async def endless():
        for _ in range(100):
            yield b"x" * 1_000_000
        raise AssertionError("it was read to its end")

    answer = page.post("/sent?name=a.png", content=b"", headers={"content-length": "100000000"})
    assert answer.status_code == 413
    answer = page.post("/sent?name=a.png", content=endless())
    assert answer.status_code == 413 and not list(Path().rglob("*.png"))
    assert page.post("/accept", content=b"x" * 300_000).status_code == 413
    assert page.post("/words", content=b"", headers={"content-length": "-5"}).status_code == 413


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.svg", b"<svg onload=alert(1)>", "not named as an image"),
        ("../../a.png", b"no image", "a.png"),
        ("a.png", b"GIF89a", "a.png"),
        ("b.png", b"", "empty"),
    ],
)
def test_what_is_no_image_is_not_kept(page, name, data, says):
    answer = page.post(f"/sent?name={name}", content=data)
    assert answer.status_code == 400 and says in answer.json()["error"]
    assert ".tmp-" not in answer.json()["error"]
    assert {path.name for path in Path().rglob("*") if path.is_file()} <= {"params.yaml"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{" * 10_000,
        b'{"draft": {"class": "carpet", "like": [{"source": "file", "key": "/etc/passwd"}]}, "digest": "x"}',
        b'{"draft": {"class": "carpet", "like": [{"source": "line", "key": "../../../etc/pa"}]}, "digest": "x"}',
        b'{"draft": {"class": "carpet", "text": "a", "from_test": true}, "digest": "x"}',
        b'{"draft": {"class": "carpet", "like": [{"source": "sent", "key": "0123456789abcdef", "box": [-1]}]}}',
    ],
)
def test_what_the_page_does_not_send_is_refused(page, body):
    for path in ("/accept", "/look"):
        answer = page.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422 and "passwd" not in answer.text


def test_nothing_is_shown_without_the_token(tmp_path, monkeypatch):
    made = locked(tmp_path, monkeypatch)
    for path in ("/", "/c/carpet", "/log", "/line", "/state", "/question/1", f"/c/a/picture/{'a' * 16}/small.webp"):
        answer = made.ask("GET", path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert made.post("/words", json={"text": "a"}).status_code == 401
    made.client.cookies.set(COOKIE, "a.1.1." + "0" * 64, domain="127.0.0.1")
    assert made.ask("GET", "/").status_code == 303


def test_the_token_opens_the_page_for_a_browser(tmp_path, monkeypatch, capfd):
    made = locked(tmp_path, monkeypatch)

    def typed(token: str, **more: str) -> httpx.Response:
        said = {"token": token, "form_token": made.form_token(), **more}
        return made.ask("POST", "/login", headers={"origin": HERE}, data=said)

    wrong = typed("a token of the plant?")
    assert wrong.status_code == 403 and "This is not the token" in wrong.text and TOKEN not in wrong.text
    assert typed(TOKEN, form_token="0" * 64).headers["location"] == "/login"
    before = made.client.cookies[COOKIE]
    right = typed(TOKEN)
    cookie = right.headers["set-cookie"]
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert made.client.cookies[COOKIE] != before, "whoever knew the old name of the session is not in"
    assert made.ask("GET", "/state").status_code != 303
    assert TOKEN not in "".join(capfd.readouterr())


def test_a_browser_is_known_for_half_a_day(monkeypatch):
    rules = Rules(frozenset({"localhost"}), token=TOKEN)
    cookie = rules.cookie(rules.new(known=True))
    assert rules.session(cookie).known
    assert rules.session(cookie.replace(".1.", ".0.")) is None and Rules(frozenset()).session(cookie) is None
    monkeypatch.setattr("nand.page.guard.time.time", lambda: 4e9)
    assert rules.session(cookie) is None


@pytest.mark.parametrize(
    ("arguments", "token", "says"),
    [
        (["--host", "203.0.113.9"], "short", "NAND_PAGE_TOKEN: the token is easily guessed"),
        (["--token-file", "none"], "", "--token-file none: cannot be read"),
        (["--host", "203.0.113.9"], TOKEN, "203.0.113.9:8423: cannot listen there"),
        (["--inbox", "artifacts"], "", "folder: 'artifacts' cannot hold an inspection"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_loaded(tmp_path, monkeypatch, arguments, token, says):
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.yaml", "params.yaml"):
        Path(name).touch()
    done = CliRunner().invoke(cli, ["page", *arguments], env={"NAND_PAGE_TOKEN": token})
    assert done.exit_code == 1 and done.stderr.startswith(f"error: {says}") and done.stderr.count("\n") == 1
